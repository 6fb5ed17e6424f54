"""
The comparison on a real language model, SmolLM2-135M-Instruct as it comes, at a size that two CPU cores allow: what is
run, and its table.

Every method has as many rollouts. Nothing is searched but the experts' rate, on a seed that the table does not use
(LOG.md). Phases are those of the conflict task's search, as shares of a run.
"""

import sys
from pathlib import Path
from typing import Any


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.compare_methods import Job, Method  # noqa: E402
from benchmarks.compare_results import Results  # noqa: E402
from benchmarks.compare_tables import chosen_of, table_of  # noqa: E402


RECIPE = "compare_smollm2"
EXPERTS, ROUNDS, ROWS = 3, 60, 16  # domains; rounds of one branch that every method has; rollouts in each of them
FINAL = 17  # rounds of the student alone, 0.28 of all
AGAINST = ("copd-student", "mixed-adaptive")


def _job(fields: dict[str, Any], *measured: str) -> Job:
    """Of the matrix only what the table reads is measured: it takes longer than the training otherwise."""
    return Job(fields, recipe=RECIPE, baseline={"measure": [*measured, "student"]})


def _allocated(**fields: Any) -> Job:
    """Ends with the budget; the number of rounds only says when it would end at the latest."""
    limits = {"max_steps": ROUNDS, "max_rollouts": ROWS * ROUNDS}
    return _job({"allocation": "adaptive", "allocation_floor": 0.05, **limits, **fields})


_APART = {"topology": "mutual", "student_init": "fresh", "rlvr_steps": 1, "opd_steps": 0}
_ALONE = _job({**_APART, "max_steps": ROUNDS // EXPERTS}, "base", "own")
_TAUGHT = {"final_opd_steps": FINAL, "opd_beta": [0.1] * EXPERTS + [1.0]}  # what the student teaches counts little
_STATIC = {"topology": "mopd", "rlvr_steps": ROUNDS - FINAL, "opd_steps": FINAL * EXPERTS}
SMOLLM2: dict[str, Method] = {
    "base": Method("base", (_ALONE,)),
    "experts": Method("experts", (_ALONE,)),
    "average": Method("student", (_ALONE,)),
    "mixed": Method("student", (_job({"method": "mixed", "max_steps": ROUNDS // EXPERTS}),)),
    "mixed-adaptive": Method("student", (_allocated(method="mixed"),)),
    "mopd-merge": Method("student", (_allocated(**_STATIC),)),
    "copd-student": Method("student", (_allocated(**_TAUGHT),), copd=True),
}


def smollm2_table(results: Results, searched: Results | None = None) -> str:
    """What each method has on each domain, with the paired differences of `AGAINST`; empty if nothing was run."""
    return table_of(chosen_of(SMOLLM2, results, searched), AGAINST)
