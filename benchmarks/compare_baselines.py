"""
Simple baselines of the conflict task, and the control for every claim about teaching: what is run, and their table.

`benchmarks/baseline.py` carries them out. The adapters of the experts that taught `mopd-merge` were not kept, and such
a run does not repeat to the digit on another version. So experts are trained again, with the same settings, for all
methods here, and `mopd-merge` is taught again by them.
"""

import sys
from pathlib import Path
from typing import Any


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.compare_methods import (  # noqa: E402
    ALLOCATED,
    CHEAP,
    EXPERTS,
    METHODS,
    SEARCH_SEEDS,
    TAIL,
    Job,
    Method,
    alone,
    taught,
)
from benchmarks.compare_results import Results  # noqa: E402
from benchmarks.compare_tables import Runs, chosen_of, table_of  # noqa: E402


WIDE_ROUNDS = 250  # as many as `copd-student` takes, one after the other
ONE = SEARCH_SEEDS[:1]  # there was no time for a second one
_QUICK = {name: CHEAP[name] for name in ("overlap_every", "share_prompts")}
AGAIN = alone(1e-3, **_QUICK)


def _constant(rate: float, advantage: float) -> Job:
    """`mopd-merge` with the sampled loss, where a number takes the place of log pi_teacher - log pi_student."""
    job = taught(AGAIN, rate, "merge", "sampled", **_QUICK)
    return Job(job.fields, job.parent, job.head, baseline={"advantage": advantage})


def _scaled(scale: float) -> Job:
    """The sum of the deltas of experts that had the whole budget; `average` is the scale 1/4."""
    return Job({}, AGAIN, None, baseline={"scale": scale})


def _supervised(rate: float, epochs: int, **fields: Any) -> Job:
    """Trained on rollouts of the experts after `HEAD` rounds, as many as `mopd`'s student samples itself."""
    baseline = {"epochs": epochs, "rollouts": 128 * TAIL}
    return Job({"learning_rate": rate, **fields}, AGAIN, baseline=baseline)


def _wide(rate: float) -> Job:
    """One policy on all data, with the batch of four experts in each round."""
    rows = 128 * EXPERTS
    more = {"max_steps": WIDE_ROUNDS, "max_rollouts": rows * WIDE_ROUNDS, "per_device_train_batch_size": rows}
    return Job({"method": "mixed", "learning_rate": rate, **CHEAP, **more})


BASELINES: dict[str, Method] = {
    "mopd-merge-again": Method("student", (taught(AGAIN, 2.5e-4, "merge", **_QUICK),)),  # as its search chose it
    "mopd-merge-constant": Method(
        "student",
        (_constant(2.5e-4, -1.0), _constant(1.25e-4, -1.0), _constant(5e-4, -1.0), _constant(2.5e-4, -0.1)),
        search=ONE,
    ),
    "task-arithmetic": Method("student", tuple(map(_scaled, (0.25, 0.35, 0.5, 0.7, 1.0))), search=ONE),
    "sft": Method(
        "student",
        (
            _supervised(1e-3, 4),
            _supervised(5e-4, 4),
            _supervised(2e-3, 4),
            _supervised(1e-3, 8),
            _supervised(1e-3, 4, lora_r=16 * EXPERTS, lora_alpha=32 * EXPERTS),
        ),
        search=ONE,
    ),
    # not in the plan: about as many updates as the student of `mopd-merge` has, the settings of `sft` otherwise
    "sft-one-epoch": Method("student", (_supervised(1e-3, 1),)),
    "mixed-wide": Method("student", tuple(_wide(rate) for rate in (5e-4, 1e-3, 2e-3))),
}

BESIDE = (  # of the tables above, for comparison
    "mixed",
    "mixed-adaptive",
    "mopd-merge",
    "mopd-merge-adaptive",
    "copd-student",
    "copd-student-adaptive",
)
READ = {"experts-again": Method("experts", (AGAIN,)), "average-again": Method("student", (AGAIN,))}  # off that run
AGAINST = ("mopd-merge-again", "sft")


def measured_runs(results: Results, searched: Results | None = None) -> Runs:
    """Each method of the table with its runs by seed; empty unless a baseline was run."""
    beside = {name: (METHODS | ALLOCATED)[name] for name in BESIDE}
    runs = chosen_of(READ | BASELINES | beside, results, searched)
    return runs if set(runs) & set(BASELINES) else {}


def baselines_table(results: Results, searched: Results | None = None) -> str:
    """What each baseline has, beside methods of the other tables, with the paired differences of `AGAINST`."""
    return table_of(measured_runs(results, searched), AGAINST, ("rollouts", "seeds"))
