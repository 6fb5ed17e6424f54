"""How long a comparison will take: from runs that are done, or from a short one of a few rounds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from .. import methods
from .jobs import Job, branches_by_round, generation_rows, generations_per_round, rounds_per_generation


ROUNDS = 3  # generations of each phase in the short run; the first one of the run is left out
EVALUATED = 16  # held-out rows of a domain in it


@dataclass(frozen=True)
class Pace:
    """
    What a short run took, in seconds by the clock.

    Args:
        start (`float`): A run's start and end: imports, loading, saving.
        native (`float`): One branch's generation and update on its own domain.
        taught (`float`): The student's, when it is taught.
        measured (`float`): One measurement of overlap, of one edge.
        row (`float`): Sampling one row.
        rows (`int`): Of one branch's generation.
    """

    start: float
    native: float
    taught: float
    measured: float
    row: float
    rows: int


def short_settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe of few rounds in which a student is taught, and few rows are evaluated."""
    reuse = rounds_per_generation(recipe)
    phases: dict[str, Any] = {
        "rlvr_steps": (ROUNDS + 1) * reuse,
        "opd_steps": ROUNDS * reuse,
        "final_opd_steps": 0,
        "hub": None,
    }
    rounds = phases["rlvr_steps"] + phases["opd_steps"]
    given = {
        key: value for key, value in recipe.items() if key not in ("method", "no_opd", "topology", "hub", "schedule")
    }
    settings = methods.settings("copd", {**given, **phases, "max_steps": rounds, "max_rollouts": None})
    settings["domains"] = [
        {**domain, "n_eval": min(EVALUATED, domain.get("n_eval", 200))} for domain in recipe["domains"]
    ]
    settings |= {"logging_steps": 1, "save_strategy": "no", "eval_strategy": "no", "push_to_hub": False}
    settings |= {"allocation": "uniform", "load_best_model_at_end": False, "report_to": "none"}
    return {key: value for key, value in settings.items() if value is not None}


def pace(settings: Mapping[str, Any], left: Mapping[str, Any]) -> Pace:
    """The pace of a run of `short_settings`, from what `launch.execute` has returned of it."""
    logged = [entry for entry in left["history"] if "rollout_time" in entry]
    experts, many = [domain["name"] for domain in settings["domains"]], generations_per_round(settings)
    rows, served = generation_rows(settings), rounds_per_generation(settings) / many
    # of a generation. `step_time` is of a round; one that serves several has its rollouts in the first of them
    native = [
        entry["rollout_time"] / len(experts) + served * mean(entry[f"{name}/step_time"] for name in experts)
        for entry in logged[1:] if entry["phase"] == 0.0
    ]  # fmt: skip
    taught = [
        served * entry["student/step_time"] + entry["rollout_time"] / (len(experts) + 1)
        for entry in logged if entry["phase"] == 1.0 and "student/step_time" in entry
    ]  # fmt: skip
    busy = sum(
        many * entry["rollout_time"] + sum(value for name, value in entry.items() if name.endswith("/step_time"))
        for entry in logged
    )
    every, edges = settings.get("overlap_every", 5), len(experts) ** 2
    measurements = -(-left["rounds"] // every) if every else 0
    row = median(entry["rollout_time"] for entry in logged[1:]) / len(experts) / rows
    evaluated = sum(domain["n_eval"] for domain in settings["domains"]) * (len(experts) + 2)
    return Pace(
        start=max(0.0, left["wall_seconds"] - left["seconds"] - evaluated * row),
        native=median(native),
        taught=median(taught or native),
        measured=max(0.0, left["seconds"] - busy) / (measurements * edges) if measurements else 0.0,
        row=row,
        rows=rows,
    )


def seconds_of(job: Job, at: Pace, processes: int = 1) -> float:
    """Seconds of a job by the clock."""
    settings, pooled = job.settings, methods.METHODS[job.method].pooled
    rows, reuse = generation_rows(settings, processes), rounds_per_generation(settings, processes)
    experts, many = len(settings["domains"]), generations_per_round(settings, processes)
    adapters = 3 if pooled else experts + 2
    evaluated = adapters * sum(domain.get("n_eval", 200) for domain in settings["domains"]) * at.row
    if settings.get("max_rollouts"):
        generations = settings["max_rollouts"] / rows
        taught = _taught_share(settings, processes) * generations
        larger = rows / (at.rows * processes)  # a row of one policy's larger batch costs what a row costs
        training = larger * ((generations - taught) * at.native + taught * at.taught)
        served = generations * reuse / many
        rounds, edges = (served, 0) if pooled else (served / experts, experts**2)
    else:
        plan = branches_by_round(settings, settings["max_steps"], processes)
        sampled = plan[::reuse]
        taught = sum("student" in names for names in sampled)
        training = many * ((sum(map(len, sampled)) - taught) * at.native + taught * at.taught)
        rounds = settings["max_steps"]
        edges = {"student": experts**2, "mopd": experts, "hub": 2 * (experts - 1)}.get(
            settings["topology"], experts * (experts - 1)
        )
        if not settings.get("opd_steps", 20) and not settings.get("final_opd_steps"):
            edges = 0
    every = settings.get("overlap_every", 5)
    measuring = edges * at.measured * rounds / every if every else 0.0
    return at.start + training + evaluated + measuring


def _taught_share(settings: Mapping[str, Any], processes: int) -> float:
    """About what share of a budget of rollouts is the student's."""
    experts, cycle = len(settings["domains"]), settings.get("rlvr_steps", 10) + settings.get("opd_steps", 20)
    opd = settings.get("opd_steps", 20)
    if settings["topology"] == "mopd":
        return opd / (experts * settings.get("rlvr_steps", 10) + opd)
    if settings["topology"] != "student":
        return 0.0
    rows = generation_rows(settings, processes) * generations_per_round(settings, processes)
    sampling = settings.get("final_opd_steps", 0) / rounds_per_generation(settings, processes)
    last = min(1.0, sampling * rows / settings["max_rollouts"])
    return last + (1 - last) * opd / (experts * cycle + opd)


def total(
    jobs: Sequence[tuple[Job, int]], known: Mapping[str, Sequence[float]], at: Callable[[], Pace], processes: int = 1
) -> float:
    """
    Seconds of some runs, one after the other.

    Args:
        jobs (`Sequence`): Jobs and seeds that are to be run.
        known (`Mapping[str, Sequence[float]]`): Seconds that runs of a job took with other seeds, by the job's key.
        at (`Callable`): Gives the pace; called only if a job is to be run of which nothing is known.
        processes (`int`): Processes of a run.
    """
    guessed: dict[str, float] = {}
    for job, _ in jobs:
        if job.key not in guessed:
            guessed[job.key] = mean(known[job.key]) if known.get(job.key) else seconds_of(job, at(), processes)
    return sum(guessed[job.key] for job, _ in jobs)


def as_text(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
