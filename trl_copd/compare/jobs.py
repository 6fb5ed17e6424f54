"""What each method runs, so that all of them get the same budget. Pure data, no torch."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import methods
from ..schedule import Schedule
from ..topology import build_topology


EQUAL = ("rollouts", "rounds")
# what says where and how a run is carried out, and nothing about what comes of it
_ASIDE = ("output_dir", "seed", "base_dir", "resume_from_checkpoint", "logging_dir", "report_to", "run_name", "method")


@dataclass(frozen=True)
class Job:
    """
    One method's run, but for its seed.

    Args:
        method (`str`): One of `trl_copd.methods.METHODS`.
        settings (`dict`): The recipe that is run: every field that it sets.
    """

    method: str
    settings: dict[str, Any]

    @property
    def key(self) -> str:
        """Short hash of what is run; methods that are read off one run share it."""
        kept = {name: value for name, value in self.settings.items() if name not in _ASIDE}
        described = [kept, methods.METHODS[self.method].pooled]
        return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()[:12]

    def domains(self, matrix: Mapping[str, Mapping[str, float | None]]) -> dict[str, float | None]:
        """Accuracy of the method in each domain, out of its run's capability matrix."""
        names = list(matrix["base"])
        if self.method == "experts":
            return {name: matrix[name][name] for name in names}
        return {name: matrix["student"][name] for name in names}


def build_jobs(
    recipe: Mapping[str, Any], names: list[str], equal: str, budget: int | None, processes: int
) -> list[Job]:
    """
    The jobs of a comparison.

    Args:
        recipe (`Mapping`): The YAML file's mapping.
        names (`list[str]`): Methods.
        equal (`str`): `"rollouts"`: each method samples `budget` rollouts, at most; `"rounds"`: each takes `budget`
            rounds one after the other, and one policy on all data samples in each as much as all experts do.
        budget (`int`, *optional*): Rollouts or rounds; by default those of the recipe as it stands.
        processes (`int`): Processes of one run, each of which samples the recipe's batch.

    Raises:
        ValueError: The recipe's own budget is not known, or too small for a method's first round.
    """
    own = dict(recipe)
    if own.get("method") is not None:
        own = methods.settings(str(own["method"]), own)
    if budget is None:
        budget = rounds_of(own) if equal == "rounds" else rollouts_of(own, processes)
    return [_equal_rounds(recipe, name, budget, processes) if equal == "rounds" else
            _equal_rollouts(recipe, name, budget, processes) for name in names]  # fmt: skip


def rounds_of(settings: Mapping[str, Any]) -> int:
    """The recipe's `max_steps`; a ValueError if it has none."""
    rounds = settings.get("max_steps", -1)
    if not isinstance(rounds, int) or rounds <= 0:
        raise ValueError(
            f"The recipe has max_steps={rounds!r}, so its budget is not known. Set max_steps or max_rollouts in it, "
            "or give --budget."
        )
    return rounds


def generation_rows(settings: Mapping[str, Any], processes: int = 1) -> int:
    """Rollouts of a branch in one generation, over all processes."""
    if settings.get("generation_batch_size"):
        return int(settings["generation_batch_size"])
    steps = settings.get("steps_per_generation") or settings.get("gradient_accumulation_steps") or 1
    return _batch(settings, processes) * int(steps)


def rounds_per_generation(settings: Mapping[str, Any], processes: int = 1) -> int:
    """Rounds that learn from one generation of rollouts."""
    return max(1, _micro_steps(settings, processes) // int(settings.get("gradient_accumulation_steps") or 1))


def generations_per_round(settings: Mapping[str, Any], processes: int = 1) -> int:
    """Generations of rollouts that one round learns from: several where it accumulates over more than one."""
    return max(1, int(settings.get("gradient_accumulation_steps") or 1) // _micro_steps(settings, processes))


def _batch(settings: Mapping[str, Any], processes: int) -> int:
    return int(settings.get("per_device_train_batch_size", methods.BATCH)) * processes


def _micro_steps(settings: Mapping[str, Any], processes: int) -> int:
    """Micro-steps that one generation serves."""
    steps = generation_rows(settings, processes) // _batch(settings, processes)
    return max(1, steps * int(settings.get("num_iterations") or 1))


def rollouts_of(settings: Mapping[str, Any], processes: int = 1, rounds: int | None = None) -> int:
    """Rollouts of a run of so many rounds, by default of its own, with all branches of each phase taking part."""
    if rounds is None and settings.get("max_rollouts"):
        return int(settings["max_rollouts"])
    rounds = rounds_of(settings) if rounds is None else rounds
    rows = generation_rows(settings, processes) * generations_per_round(settings, processes)
    reuse = rounds_per_generation(settings, processes)
    if settings.get("method") == "mixed":
        return rows * len(settings["domains"]) * -(-rounds // reuse)
    return rows * sum(len(plan) for plan in branches_by_round(settings, rounds, processes)[::reuse])


def branches_by_round(settings: Mapping[str, Any], rounds: int, processes: int = 1) -> list[list[str]]:
    """The branches that sample in each of so many rounds."""
    names = tuple(domain["name"] for domain in settings["domains"])
    frozen = tuple(domain["name"] for domain in settings["domains"] if domain.get("frozen"))
    hub = settings.get("hub")
    topology = build_topology(settings.get("topology", "student"), names, hub, frozen)
    steps = settings.get("rlvr_steps", 10), settings.get("opd_steps", 20)
    final = settings.get("final_opd_steps", 0)
    static, reuse = topology.name == "mopd", rounds_per_generation(settings, processes)
    schedule = Schedule(*steps, static=static, reuse=reuse, final_opd_steps=final)
    plans = (schedule.plan(topology, index, rounds) for index in range(rounds))
    return [[name for name, plan in round_.items() if not plan.idle] for round_ in plans]


def _method_settings(recipe: Mapping[str, Any], name: str, length: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe as a recipe of the method, with another length."""
    given = {
        key: value for key, value in recipe.items() if key not in ("method", "no_opd", "max_steps", "max_rollouts")
    }
    own = recipe.get("method") or "copd"
    if own != name:  # the last phase is a share of the run's length, which is another one now
        given.pop("final_opd_steps", None)
    if name == "copd-hub" and not given.get("hub"):
        given["hub"] = recipe["domains"][0]["name"]
    found = methods.settings(name, {**given, **length})
    betas, experts = found.get("opd_beta"), len(found["domains"])
    if isinstance(betas, list) and len(betas) == experts + 1 and found["topology"] in ("mutual", "hub"):
        found["opd_beta"] = betas[:experts]  # the student's is last, and there it is no branch
    if methods.METHODS[name].pooled:
        found["domains"] = [
            {key: value for key, value in domain.items() if key not in ("learning_rate", "adapter", "frozen")}
            for domain in found["domains"]
        ]
    found = {key: value for key, value in found.items() if value is not None}
    return {**found, "method": "mixed"} if methods.METHODS[name].pooled else found


def _equal_rollouts(recipe: Mapping[str, Any], name: str, budget: int, processes: int) -> Job:
    pooled, adaptive = methods.METHODS[name].pooled, recipe.get("allocation") == "adaptive"
    if pooled or adaptive:  # one branch, or nobody knows beforehand who rests: the run itself counts
        return Job(name, _method_settings(recipe, name, {"max_rollouts": budget, "max_steps": -1}))
    rows, best = generation_rows(recipe, processes), None
    step = rounds_per_generation(recipe, processes)
    for rounds in range(step, budget // rows * step + 1, step):
        settings = _method_settings(recipe, name, {"max_steps": rounds})
        if rollouts_of(settings, processes) > budget:
            break
        if settings.get("final_opd_steps", 0) < rounds:  # the experts need a round as well
            best = settings
    if best is None:
        raise ValueError(
            f"A budget of {budget:,} rollouts is less than one round of method {name!r}, which samples "
            f"{rows * generations_per_round(recipe, processes):,} for "
            f"each branch of {len(recipe['domains'])} domains. Raise --budget, or lower the batch."
        )
    return Job(name, best)


def _equal_rounds(recipe: Mapping[str, Any], name: str, rounds: int, processes: int) -> Job:
    settings = _method_settings(recipe, name, {"max_steps": rounds})
    if methods.METHODS[name].pooled:
        many = len(recipe["domains"])
        settings["gradient_accumulation_steps"] = many * (settings.get("gradient_accumulation_steps") or 1)
        for field in ("steps_per_generation", "generation_batch_size"):
            if settings.get(field):
                settings[field] *= many
        generations = -(-rounds // rounds_per_generation(settings, processes))
        generations *= generations_per_round(settings, processes)
        settings["max_rollouts"] = generation_rows(settings, processes) * generations
        settings["max_steps"] = rounds
    return Job(name, settings)
