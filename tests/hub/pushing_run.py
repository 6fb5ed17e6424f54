"""A run that pushes with every checkpoint: `python tests/hub/pushing_run.py OUTPUT_DIR [resume] [checkpoint]`."""

import sys
from pathlib import Path


sys.path[:0] = [str(Path(__file__).parent / "cases"), str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from hub_runs import pushing_trainer  # noqa: E402


strategy = "checkpoint" if "checkpoint" in sys.argv else "every_save"
trainer = pushing_trainer(sys.argv[1], hub_always_push=True, hub_strategy=strategy)
trainer.train(resume_from_checkpoint="resume" in sys.argv)
trainer.push_to_hub()
