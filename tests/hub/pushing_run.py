"""A run that pushes with every checkpoint: `python tests/hub/pushing_run.py OUTPUT_DIR [resume]`."""

import sys
from pathlib import Path


sys.path[:0] = [str(Path(__file__).parent / "cases"), str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from runs import pushing_trainer  # noqa: E402


trainer = pushing_trainer(sys.argv[1], hub_always_push=True)
trainer.train(resume_from_checkpoint=len(sys.argv) > 2)
trainer.push_to_hub()
