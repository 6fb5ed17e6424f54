"""
Comparisons on a real language model, SmolLM2-135M-Instruct as it comes, at a size that two CPU cores allow: what is
run, and their tables. One is of three instructions, the other of transfer: two instructions, and both in one prompt.

Every method has as many rollouts. Nothing is searched but the experts' rate, on a seed that the table does not use
(LOG.md). Phases are those of the conflict task's search, as shares of a run.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.compare_falling import falling  # noqa: E402
from benchmarks.compare_methods import Job, Method  # noqa: E402
from benchmarks.compare_results import Results  # noqa: E402
from benchmarks.compare_tables import chosen_of, table_of  # noqa: E402


RECIPE, TRANSFER_RECIPE = "compare_smollm2", "compare_transfer"
EXPERTS, ROWS = 3, 16  # domains; rollouts in a round of one branch
ROUNDS, LONG = 60, 150  # rounds of one branch that every method has, in two comparisons
FINAL = 0.28  # share of them in which the student is taught alone
AGAINST = ("copd-student", "mixed-adaptive")


def _job(fields: dict[str, Any], *measured: str, recipe: str = RECIPE) -> Job:
    """Of the matrix only what the table reads is measured: it takes longer than the training otherwise."""
    return Job(fields, recipe=recipe, baseline={"measure": [*measured, "student"]})


def _allocated(rounds: int, *measured: str, recipe: str = RECIPE, **fields: Any) -> Job:
    """Ends with the budget; the number of rounds only says when it would end at the latest."""
    limits = {"max_steps": rounds, "max_rollouts": ROWS * rounds}
    return _job({"allocation": "adaptive", "allocation_floor": 0.05, **limits, **fields}, *measured, recipe=recipe)


def _methods(rounds: int, recipe: str = RECIPE, falls: bool = False) -> dict[str, Method]:
    """With a learning rate that is constant, or falls over the last part of the rollouts."""
    end, end_alone = (falling(round(FINAL * n)) if falls else {} for n in (rounds, rounds // EXPERTS))
    allocated = partial(_allocated, rounds, recipe=recipe, **end)
    final = round(FINAL * rounds)
    apart = {"topology": "mutual", "student_init": "fresh", "rlvr_steps": 1, "opd_steps": 0}
    alone = _job({**apart, "max_steps": rounds // EXPERTS, **end_alone}, "base", "own", recipe=recipe)
    taught = {"final_opd_steps": final, "opd_beta": [0.1] * EXPERTS + [1.0]}  # what the student teaches counts little
    static = {"topology": "mopd", "rlvr_steps": rounds - final, "opd_steps": final * EXPERTS}
    return {
        "base": Method("base", (alone,)),
        "experts": Method("experts", (alone,)),
        "average": Method("student", (alone,)),
        "mixed": Method("student", (_job({"method": "mixed", "max_steps": rounds // EXPERTS, **end}, recipe=recipe),)),
        "mixed-adaptive": Method("student", (allocated(method="mixed"),)),
        "mopd-merge": Method("student", (allocated(**static),)),
        "copd-student": Method("student", (allocated(**taught),), copd=True),
    }


def _transfer() -> dict[str, Method]:
    """Experts teach each other in earnest here: each may lack what another has."""
    final, plain = round(FINAL * ROUNDS), _methods(ROUNDS, TRANSFER_RECIPE, falls=True)
    taught = partial(_allocated, ROUNDS, "own", recipe=TRANSFER_RECIPE, opd_beta=1.0, **falling(final))
    student = taught(rlvr_steps=2, opd_steps=2, final_opd_steps=final)
    mutual = taught(topology="mutual", student_init="fresh", rlvr_steps=1, opd_steps=2)
    return {
        **{name: plain[name] for name in ("base", "experts", "average", "mixed-adaptive", "mopd-merge")},
        "copd-student": Method("student", (student,), copd=True),
        "copd-student, its experts": Method("experts", (student,), copd=True),
        "copd-mutual": Method("student", (mutual,), copd=True),
        "copd-mutual, its experts": Method("experts", (mutual,), copd=True),
    }


SMOLLM2, SMOLLM2_LONG, TRANSFER = _methods(ROUNDS), _methods(LONG), _transfer()


def smollm2_table(results: Results, searched: Results | None = None, methods: dict[str, Method] = SMOLLM2) -> str:
    """What each method has on each domain, with the paired differences of `AGAINST`; empty if nothing was run."""
    return table_of(chosen_of(methods, results, searched), AGAINST)
