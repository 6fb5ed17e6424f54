"""
Methods with an allocation whose learning rate falls to zero at the end, in place of a constant one.

`warmup_stable_decay` holds the rate and lets it fall over its last `num_decay_steps`. With a budget of rollouts the
schedule counts in rounds of one branch, so for a student it can fall over just the phase in which it learns alone.
Each method has four candidates, the constant rate first.
"""

import sys
from pathlib import Path
from typing import Any


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.compare_methods import ALLOCATED, Job, Method, adaptive, adaptive_mopd  # noqa: E402


def falling(rounds: int) -> dict[str, Any]:
    """A rate that falls linearly to zero over the last `rounds` of one branch."""
    return {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {"num_decay_steps": rounds}}


def _mixed(rounds: int, rate: float = 5e-4) -> Job:
    (job,) = ALLOCATED["mixed-adaptive"].candidates
    return Job({**job.fields, "learning_rate": rate, **falling(rounds)})


FALLING: dict[str, Method] = {
    "mixed-adaptive-falling": Method(
        "student", (*ALLOCATED["mixed-adaptive"].candidates, _mixed(180), _mixed(180, 1e-3), _mixed(320))
    ),
    "mopd-merge-adaptive-falling": Method(
        "student",
        (
            *ALLOCATED["mopd-merge-adaptive"].candidates,
            adaptive_mopd(180, **falling(180)),
            adaptive_mopd(180, **falling(180), learning_rate=5e-4),
            adaptive_mopd(120, **falling(120)),
        ),
    ),
    "copd-student-adaptive-falling": Method(
        "student",
        (
            *ALLOCATED["copd-student-adaptive"].candidates,
            adaptive(30, 10, 180, **falling(180)),
            adaptive(30, 10, 180, **falling(180), learning_rate=5e-4),
            adaptive(30, 10, 120, **falling(120)),
        ),
        copd=True,
    ),
}
CONSTANT = {name: name.removesuffix("-falling") for name in FALLING}  # the same method at a constant rate
