"""
Every file name of a run's folder.

    OUTPUT_DIR/
      adapter_config.json, adapter_model.safetensors    the student
      experts/NAME/                                     every expert, in the same form
      copd.json                                         what the run is, for resuming and for figures
      capability_matrix.json, .md                       accuracy of every adapter on every domain
      completions/completions_00010.parquet             with `log_completions`
      figures/                                          drawn at the end
      _samples.png                                      held-out pictures with answers, if there are any
      checkpoint-10/                                    the above, and copd_state_RANK.pt, copd_manifest.json

`_push-*` and `_rollout_adapters-*` come and go while a run pushes or samples with an engine that reads files; an
underscore keeps them, and pictures of the data, out of what is pushed.
"""

from pathlib import Path


RUN_FILE = "copd.json"
MANIFEST_FILE = "copd_manifest.json"
MATRIX_FILE = "capability_matrix.json"
MATRIX_TABLE = "capability_matrix.md"
EXPERTS = "experts"
FIGURES = "figures"
SUMMARY_FIGURE = f"{FIGURES}/summary.png"
SAMPLES_FIGURE = "_samples.png"
STAGING = "_push-"
ROLLOUT_ADAPTERS = "_rollout_adapters-"


def expert_place(name: str) -> str:
    """Where an expert's adapter lies below a run's folder, a checkpoint or the root of a repo."""
    return f"{EXPERTS}/{name}"


def state_file(folder: str | Path, rank: int) -> Path:
    """What a process needs to go on from a checkpoint, besides weights and transformers' own files."""
    return Path(folder) / f"copd_state_{rank}.pt"


def completions_file(output_dir: str | Path, step: int) -> Path:
    """The completions that were logged after a round."""
    return Path(output_dir) / "completions" / f"completions_{step:05d}.parquet"
