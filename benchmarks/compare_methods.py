"""
The methods that `benchmarks/compare.py` compares: how each is run, where its accuracy is read, what is searched.

Every method gets `BUDGET` rounds of one branch, of 128 rollouts each; a method of several branches spends them on all
of its branches. Methods that go on from trained experts (`parent`) take them as they were after `HEAD` rounds, so that
experts and what they teach afterwards are paid for out of the same budget.
"""

from dataclasses import dataclass, field
from typing import Any


EXPERTS = 4
BUDGET = 640  # rounds of one branch
ROUNDS = BUDGET // EXPERTS  # of four branches
HEAD = 120  # of the experts, where a student is taught afterwards
TAIL = BUDGET - EXPERTS * HEAD  # of that student
RATES = (2.5e-4, 5e-4, 1e-3)
SEARCH_SEEDS = (100, 101)
CHEAP = {"max_steps": BUDGET, "overlap_every": 0, "share_prompts": True}  # same rollouts, fewer CPU seconds


@dataclass(frozen=True)
class Job:
    """
    One run of `recipes/copd.py`.

    Args:
        fields (`dict`): Fields of the recipe beside those of its file. `expert_learning_rate` and `n_eval` are given
            to every domain.
        parent (`Job`, *optional*): Run whose experts it starts from.
        head (`int`, *optional*): The parent's rounds after which they are taken; `None`: at its end.
        domains (`tuple[str, ...]`, *optional*): The domains, if not all.
        recipe (`str`): Name of the recipe, a file in `recipes/`, that it is a change of.
        adapters (`dict[str, str]`, *optional*): For each domain that starts from an adapter of the parent, the
            adapter's folder in that of the run: `"experts/up"`, or `"."` for the student. `None`: each has its own.
        frozen (`tuple[str, ...]`): The domains whose experts only teach.
        baseline (`dict`, *optional*): What `benchmarks/baseline.py` does with the recipe in place of training it.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    parent: "Job | None" = None
    head: int | None = HEAD
    domains: tuple[str, ...] | None = None
    recipe: str = "compare"
    adapters: dict[str, str] | None = None
    frozen: tuple[str, ...] = ()
    baseline: dict[str, Any] | None = None

    def describe(self) -> dict[str, Any]:
        """What tells two jobs apart, as JSON."""
        described: dict[str, Any] = {"fields": self.fields}
        if self.domains:
            described["domains"] = list(self.domains)
        if self.recipe != "compare":
            described["recipe"] = self.recipe
        if self.adapters is not None:
            described |= {"adapters": self.adapters, "frozen": list(self.frozen)}
        if self.baseline is not None:
            described["baseline"] = self.baseline
        if self.parent:
            described |= {"parent": self.parent.describe(), "head": self.head}
        return described


@dataclass(frozen=True)
class Method:
    """
    Args:
        read (`str`): `"student"`, `"experts"` (each on its own domain), `"branches"` (each on all domains, their mean)
            or `"base"`.
        candidates (`tuple[Job, ...]`): What is searched; the first wins a tie.
        copd (`bool`): Whether it is a form of CoPD.
        search (`tuple[int, ...]`): The seeds that it was searched on.
    """

    read: str
    candidates: tuple[Job, ...]
    copd: bool = False
    search: tuple[int, ...] = SEARCH_SEEDS


def alone(rate: float, rounds: int = ROUNDS, **fields: Any) -> Job:
    """Experts that never teach each other; `opd_steps=1` after more rounds than there are measures their overlap."""
    apart = {"topology": "mutual", "student_init": "fresh", "rlvr_steps": 1_000_000, "opd_steps": 1}
    return Job({**apart, "learning_rate": rate, "max_steps": rounds, "save_steps": HEAD, **fields})


def mixed(rate: float, **fields: Any) -> Job:
    """One policy on all domains; the recipe makes `max_steps` as many times longer as there are domains."""
    return Job({"method": "mixed", "learning_rate": rate, "max_steps": ROUNDS, **fields})


def taught(parent: Job, rate: float, init: str, loss: str = "forward_kl", **fields: Any) -> Job:
    """A student alone, taught by the parent's experts, frozen."""
    alone_ = {"topology": "mopd", "rlvr_steps": 0, "opd_steps": 1, "student_init": init, "opd_loss": loss}
    return Job({**alone_, "learning_rate": rate, "max_steps": TAIL, **fields}, parent)


def mutual(rate: float, rlvr: int, opd: int, fraction: float, beta: float = 1.0, **fields: Any) -> Job:
    phases = {"topology": "mutual", "student_init": "fresh", "rlvr_steps": rlvr, "opd_steps": opd}
    teaching = {"opd_fraction": fraction, "opd_beta": beta, "opd_loss": "forward_kl"}
    return Job({**phases, **teaching, "learning_rate": rate, "max_steps": ROUNDS, "save_steps": HEAD, **fields})


def student(
    rlvr: int, opd: int, fraction: float, beta: float, student_beta: float, *, rounds: int = HEAD, **fields: Any
) -> Job:
    """
    Experts and a student that restarts from their mean; whatever the budget leaves is the final phase. `beta` is the
    experts': small, so that what the student teaches them does not cost them their own skill.
    """
    taught_rounds = rounds // (rlvr + opd) * opd + max(0, rounds % (rlvr + opd) - rlvr)
    final = BUDGET - EXPERTS * rounds - taught_rounds
    phases = {"topology": "student", "rlvr_steps": rlvr, "opd_steps": opd, "final_opd_steps": final}
    betas = beta if beta == student_beta else [beta] * EXPERTS + [student_beta]
    teaching = {"opd_fraction": fraction, "opd_beta": betas, "opd_loss": "forward_kl", "student_init": "merge"}
    rates = {"learning_rate": 5e-4, "expert_learning_rate": 1e-3}
    return Job({**phases, **teaching, **rates, "max_steps": rounds + final, **fields})


def adaptive(rlvr: int, opd: int, final: int, floor: float = 0.05, **fields: Any) -> Job:
    """The student of [`student`] whose experts rest once they have learnt; it ends with `final` rounds of its own."""
    phases = {"topology": "student", "rlvr_steps": rlvr, "opd_steps": opd, "final_opd_steps": final}
    teaching = {"opd_fraction": 1 / 16, "opd_beta": [0.1] * EXPERTS + [1.0], "opd_loss": "forward_kl"}
    rates = {"learning_rate": 2.5e-4, "expert_learning_rate": 1e-3, "student_init": "merge"}
    return Job({**phases, **teaching, **rates, **_allocated(floor), **fields})


def adaptive_mopd(final: int, floor: float = 0.05, **fields: Any) -> Job:
    """Experts apart that rest once they have learnt, then a student that starts from their mean, in one run."""
    phases = {"topology": "mopd", "rlvr_steps": BUDGET - final, "opd_steps": final * EXPERTS}
    rates = {"learning_rate": 2.5e-4, "expert_learning_rate": 1e-3, "student_init": "merge"}
    return Job({**phases, "opd_loss": "forward_kl", **rates, **_allocated(floor), **fields})


def _allocated(floor: float) -> dict[str, Any]:
    """Rollouts go to where there is something to learn; the run ends with the budget, not with a number of rounds."""
    return {"allocation": "adaptive", "allocation_floor": floor, "max_rollouts": 128 * BUDGET, **CHEAP}


def _hub(rate: float, rlvr: int, opd: int, fraction: float) -> Job:
    return mutual(rate, rlvr, opd, fraction, topology="hub", hub="up")


APART = alone(1e-3)
MUTUAL = (
    mutual(1e-3, 30, 10, 0.25),
    mutual(5e-4, 30, 10, 0.25),
    mutual(1e-3, 120, 40, 0.5),
    mutual(1e-3, 30, 10, 0.25, opd_loss="sampled"),
    mutual(1e-3, 15, 10, 0.5, opd_loss="sampled"),
    mutual(1e-3, 13, 27, 0.25),
    mutual(1e-3, 13, 27, 0.5),
    mutual(1e-3, 6, 34, 0.25),
    mutual(5e-4, 13, 27, 0.25),
    mutual(2e-3, 13, 27, 0.25),
)
# the paper's topology, loss and ratio
PAPER = tuple(mutual(rate, 15, 10, 0.5, opd_loss="sampled") for rate in (1e-3, 5e-4, 2e-3))
_HUB_PHASES = ((30, 10, 0.25), (120, 40, 0.5), (13, 27, 0.5))
_SHARED_OUT = {"allocation": "adaptive", "allocation_floor": 0.05, "overlap_every": 0, "share_prompts": True}
_WIDE = {"lora_r": 16 * EXPERTS, "lora_alpha": 32 * EXPERTS}

METHODS: dict[str, Method] = {
    "base": Method("base", (APART,)),
    "experts": Method("experts", (alone(5e-4), APART, alone(2e-3))),
    "mixed": Method("student", tuple(mixed(rate) for rate in RATES)),
    "mixed-rank64": Method("student", tuple(mixed(rate, **_WIDE) for rate in (1.25e-4, *RATES[:2]))),
    "average": Method("student", (alone(5e-4), APART, alone(2e-3))),
    "mopd": Method(
        "student",
        (
            taught(APART, 5e-4, "fresh"),
            taught(APART, 1e-3, "fresh"),
            taught(APART, 2e-3, "fresh"),
            taught(APART, 5e-4, "fresh", "reverse_kl"),
            taught(APART, 1e-3, "fresh", opd_beta=10.0),
        ),
    ),
    "mopd-merge": Method(
        "student",
        (
            taught(APART, 1.25e-4, "merge"),
            taught(APART, 2.5e-4, "merge"),
            taught(APART, 5e-4, "merge"),
            taught(APART, 5e-4, "merge", opd_beta=10.0),
        ),
    ),
    "copd-student": Method(
        "student",
        (
            student(110, 10, 1 / 16, 0.1, 1.0),
            student(110, 10, 1 / 16, 0.1, 1.0, learning_rate=2.5e-4),
            student(110, 10, 1 / 16, 0.1, 10.0),
            student(30, 10, 1 / 16, 0.1, 1.0),
            student(30, 10, 1 / 16, 0.1, 1.0, learning_rate=2.5e-4),
            student(30, 10, 1 / 16, 0.1, 1.0, learning_rate=1.25e-4),
            student(30, 10, 1 / 16, 1.0, 1.0, learning_rate=2.5e-4),
            student(30, 10, 0.25, 1.0, 1.0),
        ),
        copd=True,
    ),
    "copd-mutual": Method("student", MUTUAL, copd=True),
    "copd-paper": Method("student", PAPER, copd=True),
    "copd-mutual-unmerged": Method("branches", MUTUAL, copd=True),
    "copd-hub": Method(
        "student",
        tuple(_hub(1e-3, *phases) for phases in _HUB_PHASES)
        + tuple(_hub(rate, 120, 40, 0.5) for rate in (5e-4, 2e-3)),
        copd=True,
    ),
    "copd-mutual-polished": Method(
        "student", tuple(taught(MUTUAL[0], rate, "merge") for rate in (1.25e-4, *RATES[:2])), copd=True
    ),
}
# the same with rollouts where something is left to learn; nothing was searched beside what the log tells
ALLOCATED: dict[str, Method] = {
    "mixed-adaptive": Method("student", (mixed(5e-4, **_SHARED_OUT),)),
    "mopd-merge-adaptive": Method("student", (adaptive_mopd(180),)),
    "copd-student-adaptive": Method("student", (adaptive(30, 10, 180),), copd=True),
}
WITHOUT = {name: name.removesuffix("-adaptive") for name in ALLOCATED}  # the same method, each branch in every round

# ---- A skill that is added later ------------------------------------------------------------------------------------

OLD, NEW = ("up", "down", "rotate"), "back"
ADDED = 240  # rounds of one branch for the new skill, by each method
_NO_FINAL = {"overlap_every": 0, "share_prompts": True, "final_opd_steps": 0}
_STUDENT_OF_ALL, _ITS_OWN = dict.fromkeys((*OLD, NEW), "."), {name: f"experts/{name}" for name in OLD}


def _finished() -> Job:
    """A student of three skills, at three quarters of the budget."""
    job = adaptive(30, 10, 135, opd_beta=[0.1] * len(OLD) + [1.0], max_rollouts=128 * BUDGET * 3 // 4)
    return Job(job.fields, domains=OLD)


FINISHED = _finished()


def _added(adapters: dict[str, str], frozen: tuple[str, ...] = (), **fields: Any) -> Job:
    return Job(fields, FINISHED, None, adapters=adapters, frozen=frozen)


def _new_data_alone(rate: float) -> Job:
    """The student goes on with the new skill's data; of the others there is nothing but their evaluation."""
    alone_ = {"topology": "mutual", "student_init": "fresh", "rlvr_steps": 1, "opd_steps": 0, "max_steps": ADDED}
    return _added(_STUDENT_OF_ALL, OLD, **alone_, **_NO_FINAL, learning_rate=rate)


def _all_data(rate: float) -> Job:
    """The student goes on with the data of all four skills, shared out by what is still to be learnt."""
    allocated = _allocated(0.05) | {"max_steps": ADDED, "max_rollouts": 128 * ADDED}
    return _added(_STUDENT_OF_ALL, method="mixed", learning_rate=rate, **allocated)


def _new_expert(rate: float, student_rounds: int) -> Job:
    """A new expert beside the finished ones; then all four teach a student that starts from their mean."""
    phases = {"topology": "mopd", "rlvr_steps": ADDED - student_rounds, "opd_steps": student_rounds}
    rates = {"learning_rate": rate, "expert_learning_rate": 1e-3, "student_init": "merge"}
    return _added(_ITS_OWN, OLD, **phases, **rates, opd_loss="forward_kl", max_steps=ADDED, **_NO_FINAL)


ADDED_SKILL: dict[str, Method] = {
    "finished": Method("student", (FINISHED,)),
    "added-rlvr": Method(NEW, tuple(_new_data_alone(rate) for rate in (*RATES, 1.25e-4))),
    "added-mixed": Method("student", tuple(_all_data(rate) for rate in (*RATES, 1.25e-4))),
    "added-expert": Method(
        "student",
        (_new_expert(2.5e-4, 80), _new_expert(5e-4, 80), _new_expert(2.5e-4, 120), _new_expert(1.25e-4, 80)),
        copd=True,
    ),
}
# ---- Ablations and selections ---------------------------------------------------------------------------------------

SAWTOOTH = (MUTUAL[0], APART)  # experts that co-evolve in cycles, and the same apart
TRADE = {"apart": APART, "30:10": MUTUAL[0], "13:27": mutual(1e-3, 13, 27, 0.25)}  # ever more teaching
MAIN = (
    "base",
    "experts",
    "mixed",
    "average",
    "mopd",
    "mopd-merge",
    "copd-student",
    "copd-mutual",
)  # of `make compare-quick`

CLOSE = ("experts", "mixed", "mixed-rank64", "mopd", "mopd-merge", "copd-student")  # run with more seeds
