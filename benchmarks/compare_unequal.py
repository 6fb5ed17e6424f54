"""
A test that was written down before any method had seen it: domains of unequal kinds. What is run, and its table.

Every method but separate experts gives rollouts to where something is left to learn (`allocation: adaptive`). All have
as many of them, and three candidates in the search.
"""

import sys
from pathlib import Path
from typing import Any


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.compare_methods import Job, Method  # noqa: E402
from benchmarks.compare_results import Results  # noqa: E402
from benchmarks.compare_tables import chosen_of, table_of  # noqa: E402


RECIPE = "compare_unequal"
EXPERTS, ROUNDS, ROWS = 4, 400, 64  # domains; rounds of one branch that every method has; rollouts in each of them
STUDENT_RATE = 2.5e-4
AGAINST = ("copd-student", "mixed-adaptive")


def _allocated(**fields: Any) -> Job:
    """Ends with the budget; the number of rounds only says when it would end at the latest."""
    limits = {"max_steps": ROUNDS, "max_rollouts": ROWS * ROUNDS}
    return Job({"allocation": "adaptive", "allocation_floor": 0.05, **limits, **fields}, recipe=RECIPE)


def _alone(rate: float) -> Job:
    apart = {"topology": "mutual", "student_init": "fresh", "rlvr_steps": 1, "opd_steps": 0}
    return Job({**apart, "learning_rate": rate, "max_steps": ROUNDS // EXPERTS}, recipe=RECIPE)


def _mopd(expert_rate: float, final: float) -> Job:
    """Experts apart, then a student that starts from their mean, for a share of the rollouts."""
    last = round(ROUNDS * final)
    phases = {"topology": "mopd", "rlvr_steps": ROUNDS - last, "opd_steps": last * EXPERTS}
    return _allocated(**phases, learning_rate=STUDENT_RATE, expert_learning_rate=expert_rate)


def _student(expert_rate: float, fraction: float) -> Job:
    """CoPD's student; the more the experts are taught, the more it counts."""
    betas = [0.1 if fraction < 0.1 else 1.0] * EXPERTS + [1.0]
    teaching = {"final_opd_steps": round(ROUNDS * 0.28), "opd_fraction": fraction, "opd_beta": betas}
    return _allocated(**teaching, learning_rate=STUDENT_RATE, expert_learning_rate=expert_rate)


ALONE = tuple(_alone(rate) for rate in (1e-3, 5e-4, 2e-3))
UNEQUAL: dict[str, Method] = {
    "base": Method("base", ALONE),
    "experts": Method("experts", ALONE),
    "average": Method("student", ALONE),
    "mixed-adaptive": Method(
        "student", tuple(_allocated(method="mixed", learning_rate=rate) for rate in (5e-4, 2.5e-4, 1e-3))
    ),
    "mopd-merge": Method("student", (_mopd(1e-3, 0.28), _mopd(1e-3, 0.45), _mopd(5e-4, 0.28))),
    "copd-student": Method("student", (_student(1e-3, 1 / 16), _student(1e-3, 0.25), _student(5e-4, 0.25)), copd=True),
}


def unequal_table(results: Results, searched: Results | None = None) -> str:
    """What each method has on each domain, with the paired differences of `AGAINST`; empty if nothing was run."""
    return table_of(chosen_of(UNEQUAL, results, searched), AGAINST)
