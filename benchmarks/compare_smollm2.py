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
EXPERTS, ROWS = 3, 16  # domains; rollouts in a round of one branch
ROUNDS, LONG = 60, 150  # rounds of one branch that every method has, in two comparisons
FINAL = 0.28  # share of them in which the student is taught alone
AGAINST = ("copd-student", "mixed-adaptive")


def _job(fields: dict[str, Any], *measured: str) -> Job:
    """Of the matrix only what the table reads is measured: it takes longer than the training otherwise."""
    return Job(fields, recipe=RECIPE, baseline={"measure": [*measured, "student"]})


def _methods(rounds: int) -> dict[str, Method]:
    def allocated(**fields: Any) -> Job:
        """Ends with the budget; the number of rounds only says when it would end at the latest."""
        limits = {"max_steps": rounds, "max_rollouts": ROWS * rounds}
        return _job({"allocation": "adaptive", "allocation_floor": 0.05, **limits, **fields})

    final = round(FINAL * rounds)
    apart = {"topology": "mutual", "student_init": "fresh", "rlvr_steps": 1, "opd_steps": 0}
    alone = _job({**apart, "max_steps": rounds // EXPERTS}, "base", "own")
    taught = {"final_opd_steps": final, "opd_beta": [0.1] * EXPERTS + [1.0]}  # what the student teaches counts little
    static = {"topology": "mopd", "rlvr_steps": rounds - final, "opd_steps": final * EXPERTS}
    return {
        "base": Method("base", (alone,)),
        "experts": Method("experts", (alone,)),
        "average": Method("student", (alone,)),
        "mixed": Method("student", (_job({"method": "mixed", "max_steps": rounds // EXPERTS}),)),
        "mixed-adaptive": Method("student", (allocated(method="mixed"),)),
        "mopd-merge": Method("student", (allocated(**static),)),
        "copd-student": Method("student", (allocated(**taught),), copd=True),
    }


SMOLLM2, SMOLLM2_LONG = _methods(ROUNDS), _methods(LONG)


def smollm2_table(results: Results, searched: Results | None = None, methods: dict[str, Method] = SMOLLM2) -> str:
    """What each method has on each domain, with the paired differences of `AGAINST`; empty if nothing was run."""
    return table_of(chosen_of(methods, results, searched), AGAINST)
