"""
Simple baselines of the conflict task, and the control for every claim about teaching: what is run, and their table.

`benchmarks/baseline.py` carries them out. The experts are those of `average`, `mopd` and `mopd-merge`, trained again
where their adapters were not kept.
"""

import sys
from pathlib import Path
from statistics import mean
from typing import Any


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.compare_methods import ALLOCATED, APART, CHEAP, EXPERTS, METHODS, TAIL, Job, Method, taught  # noqa: E402
from benchmarks.compare_results import MORE_SEEDS, SEARCH_SEEDS, SEEDS, Results, accuracy, best, domains  # noqa: E402
from trl_copd.compare.intervals import interval, paired, span  # noqa: E402


WIDE_ROUNDS = 250  # as many as `copd-student` takes, one after the other


def _constant(rate: float, advantage: float) -> Job:
    """`mopd-merge` with the sampled loss, where a number takes the place of log pi_teacher - log pi_student."""
    job = taught(APART, rate, "merge", "sampled", overlap_every=0)
    return Job(job.fields, job.parent, job.head, baseline={"advantage": advantage})


def _scaled(scale: float) -> Job:
    """The sum of the deltas of experts that had the whole budget; `average` is the scale 1/4."""
    return Job({}, APART, None, baseline={"scale": scale})


def _supervised(rate: float, epochs: int, **fields: Any) -> Job:
    """Trained on rollouts of the experts after `HEAD` rounds, as many as `mopd`'s student samples itself."""
    baseline = {"epochs": epochs, "rollouts": 128 * TAIL}
    return Job({"learning_rate": rate, **fields}, APART, baseline=baseline)


def _wide(rate: float) -> Job:
    """One policy on all data, with the batch of four experts in each round."""
    rows = 128 * EXPERTS
    more = {"max_steps": WIDE_ROUNDS, "max_rollouts": rows * WIDE_ROUNDS, "per_device_train_batch_size": rows}
    return Job({"method": "mixed", "learning_rate": rate, **CHEAP, **more})


BASELINES: dict[str, Method] = {
    "mopd-merge-constant": Method(
        "student",
        (_constant(2.5e-4, -1.0), _constant(1.25e-4, -1.0), _constant(5e-4, -1.0), _constant(2.5e-4, -0.1)),
    ),
    "task-arithmetic": Method("student", tuple(_scaled(scale) for scale in (0.25, 0.35, 0.5, 0.7, 1.0))),
    "sft": Method(
        "student",
        (
            _supervised(1e-3, 4),
            _supervised(5e-4, 4),
            _supervised(2e-3, 4),
            _supervised(1e-3, 8),
            _supervised(1e-3, 4, lora_r=16 * EXPERTS, lora_alpha=32 * EXPERTS),
        ),
    ),
    "mixed-wide": Method("student", tuple(_wide(rate) for rate in (5e-4, 1e-3, 2e-3))),
}
