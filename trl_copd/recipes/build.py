"""From a recipe's YAML to experts: bases that are built on the spot, domains, rewards, and the baselines' data."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate import PartialState
from datasets import Dataset, concatenate_datasets
from transformers import ProcessorMixin
from trl.trainer.utils import get_callable_name

from ..experts import Expert
from ..spelling import did_you_mean
from .demo_base import ACCURACY
from .demo_base import build_base as build_demo
from .domains import DEMO
from .rewards import find_environment, find_reward, import_path
from .rows import load_rows


logger = logging.getLogger(__name__)
BUILTIN_BASES = ("demo", "smollm2", "vision", "agent")
WARMED = {"demo": "demo/", "vision": "scene/"}  # bases that are warmed up on the domains of a family
DOMAIN_KEYS = {
    "name", "builtin", "options", "dataset", "subset", "split", "eval_dataset", "eval_split", "prompt", "system",
    "chat", "solution", "n_train", "n_eval", "rewards", "reward_weights", "adapter", "frozen", "learning_rate",
    "base_accuracy", "tools", "environment", "max_tool_calling_iterations", "tool_timeout",
}  # fmt: skip
KINDS = {
    str: ("name builtin dataset subset split eval_dataset eval_split prompt system solution adapter", "a text"),
    bool: ("chat frozen", "true or false"),
    dict: ("options", "a mapping"),
    list: ("tools", "a list"),
}


def build_base(name: str, folder: Path, seed: int, domains: list[dict[str, Any]]) -> str:
    """
    Build one of `BUILTIN_BASES` unless it is there already.

    Args:
        name (`str`): `"demo"`, `"smollm2"`, `"vision"` or `"agent"`.
        folder (`Path`): Where bases are kept; each seed has its own.
        seed (`int`): Seed of the warm start.
        domains (`list[dict]`): The recipe's domains, which the base is warm-started on.

    Returns:
        `str`: Path of the model.

    Raises:
        ValueError: Unknown base.
    """
    if name not in BUILTIN_BASES:
        raise ValueError(
            f"builtin_base={name!r} is unknown. Choose one of {BUILTIN_BASES}, or set model_name_or_path."
        )
    skills = _skills(domains, WARMED[name]) if name in WARMED else {}
    plain = set(skills) <= set(DEMO) and set(skills.values()) <= {ACCURACY}
    named = [] if plain else [f"{skill}{accuracy:g}" for skill, accuracy in skills.items()]
    target = folder / "-".join([name, *named, f"seed{seed}"])
    with PartialState().main_process_first():  # one process builds, the others find it done
        if name in WARMED:
            done = target / "done"  # written last: an interrupted build counts as none
            if not done.is_file():
                if name == "demo":
                    build_demo(target, seed, skills=None if plain else skills)
                else:
                    from .vision_base import build_vision_base

                    build_vision_base(target, seed, skills=skills)
                done.touch()
        elif name == "agent":
            done = target / "done"
            if not done.is_file():
                from .agent import build_base as build_agent

                build_agent(target, seed)
                done.touch()
        else:
            from .smollm2 import build_smollm2

            build_smollm2(target, warm_start_rows(domains, seed), seed=seed)
    return str(target)


def load_processor(name: str | None, folder: str) -> ProcessorMixin | None:
    """The processor of a base that was built on the spot and sees; `None` for others, whose TRL loads itself."""
    if name != "vision":
        return None
    from .vision_base import PictureProcessor

    return PictureProcessor.from_pretrained(folder)


def warm_start_rows(domains: list[dict[str, Any]], seed: int, n_rows: int = 1200) -> list[dict[str, Any]]:
    """Rows of their own on which a language model is warm-started, of every `gym/` and `small/` domain."""
    from .gym import gym_warm_start
    from .small import small_warm_start

    rows: list[dict[str, Any]] = []
    for domain in domains:
        family, task = _task(domain)
        if family == "small":
            rows += list(small_warm_start(task, n_rows, seed))
        else:
            rows += list(gym_warm_start(task, n_rows, seed, **domain.get("options", {})))
    return rows


def build_experts(domains: list[dict[str, Any]], seed: int) -> list[Expert]:
    """One expert per domain of the recipe; unknown keys and missing ones are a ValueError."""
    if not domains:
        raise ValueError("The recipe names no domain. Add a list `domains` to the YAML file.")
    return [_build_expert(domain, seed) for domain in domains]


def _build_expert(domain: dict[str, Any], seed: int) -> Expert:
    if not isinstance(domain, dict) or "name" not in domain:
        raise ValueError(f"`domains` must list mappings with a `name`, got {domain!r}.")
    unknown = sorted(set(domain) - DOMAIN_KEYS)
    if unknown:
        near, known = did_you_mean(unknown[0], DOMAIN_KEYS), sorted(DOMAIN_KEYS)
        raise ValueError(f"Domain {domain['name']!r}: unknown key {unknown[0]!r}.{near} Known: {known}.")
    domain = {key: value for key, value in domain.items() if value is not None or key in ("name", "rewards")}
    _check_kinds(domain)
    _check_base_accuracy(domain)
    if str(domain.get("builtin")).startswith("agent/"):  # an expert that acts brings its rewards and tools
        from .agent import agent_expert

        return agent_expert(domain, domain["builtin"].partition("/")[2], seed)
    train, held_out = _load_rows(domain, seed)
    own = [] if "environment" in domain else ["exact_match_reward"]  # an environment may have a reward of its own
    rewards = domain.get("rewards", own)
    rewards = rewards if isinstance(rewards, list) else [rewards]
    acting = {key: domain[key] for key in ("max_tool_calling_iterations", "tool_timeout") if key in domain}
    if "environment" in domain:
        acting["environment_factory"] = find_environment(domain["environment"])
    if "tools" in domain:
        acting["tools"] = [import_path(path, "tool") for path in domain["tools"]]
    try:
        funcs = [find_reward(reward) for reward in rewards]
    except ValueError as error:
        raise ValueError(f"Domain {domain['name']!r}: {error}") from error
    weights = domain.get("reward_weights")
    return Expert(
        name=domain["name"],
        train_dataset=train,
        reward_funcs=funcs,
        reward_weights=[*map(_number, weights)] if isinstance(weights, list) else weights,
        eval_dataset=held_out,
        adapter=domain.get("adapter"),
        frozen=domain.get("frozen", False),
        learning_rate=_number(domain.get("learning_rate")),
        **acting,
    )


def _number(value: Any) -> Any:
    """YAML reads 1e-3 as text, 1.0e-3 as a number."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:  # `Expert` says what it must be
        return value


def _check_kinds(domain: dict[str, Any]) -> None:
    """Refuse a value of the wrong kind, and a key that would have no effect."""
    for kind, (keys, called) in KINDS.items():
        for key in keys.split():
            if key in domain and not isinstance(domain[key], kind):
                value = domain[key]
                hint = " Quote it." if kind is str and isinstance(value, int | float) else ""
                raise ValueError(
                    f"Domain {domain['name']!r}: {key} must be {called}, got {type(value).__name__}: {value!r}.{hint}"
                )
    if "options" in domain and "dataset" in domain:
        raise ValueError(
            f"Domain {domain['name']!r}: `options` belong to a `builtin`, not to a `dataset`. Remove them."
        )


def _load_rows(domain: dict[str, Any], seed: int) -> tuple[Dataset, Dataset]:
    if ("builtin" in domain) == ("dataset" in domain):
        raise ValueError(f"Domain {domain['name']!r} needs either `builtin` or `dataset`, and not both.")
    n_train, n_eval = domain.get("n_train", 2000), domain.get("n_eval", 200)
    for key, count in (("n_train", n_train), ("n_eval", n_eval)):
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"Domain {domain['name']!r}: {key} must be a whole number >= 1, got {count!r}.")
    if "builtin" in domain:
        family, task = _task(domain)
        if family == "demo":
            from .domains import make_domain

            return make_domain(task, n_train, n_eval, seed)
        if family == "scene":
            from .scenes import scene_domain

            return scene_domain(task, n_train, n_eval, seed)
        if family == "small":
            from .small import small_domain

            return small_domain(task, n_train, n_eval, seed)
        from .gym import gym_domain

        return gym_domain(task, n_train, n_eval, seed, **domain.get("options", {}))
    return load_rows(domain, n_train, n_eval, seed)


def _skills(domains: list[dict[str, Any]], family: str) -> dict[str, float]:
    """What a demonstration's base is warmed up on, and to which accuracy of sampling."""
    skills = {}
    for domain in domains:
        if str(domain.get("builtin")).startswith(family):
            skills[_task(domain)[1]] = float(domain.get("base_accuracy", ACCURACY))
    return skills


def _check_base_accuracy(domain: dict[str, Any]) -> None:
    accuracy = domain.get("base_accuracy", ACCURACY)
    if isinstance(accuracy, bool) or not isinstance(accuracy, int | float) or not 0 < accuracy <= 1:
        raise ValueError(f"Domain {domain['name']!r}: base_accuracy must be a number > 0 and <= 1, got {accuracy!r}.")
    if "base_accuracy" in domain and not str(domain.get("builtin")).startswith((*WARMED.values(),)):
        raise ValueError(
            f"Domain {domain['name']!r}: base_accuracy is the demonstration base's accuracy on a demo/<skill> or a "
            "scene/<task>; other domains have a base of their own. Remove it."
        )


def _task(domain: dict[str, Any]) -> tuple[str, str]:
    family, _, task = str(domain["builtin"]).partition("/")
    if family not in ("demo", "gym", "scene", "small") or not task:
        raise ValueError(
            f"Domain {domain['name']!r}: builtin={domain['builtin']!r} is unknown. Use demo/<skill>, gym/<task>, "
            "scene/<task> or small/<task>."
        )
    return family, task


# ---- The mixed baseline -----------------------------------------------------------------------------------------


class PooledReward:
    """Grades each row of pooled data with the reward of the row's own domain, named in the column `domain`."""

    columns = ("domain",)

    def __init__(self, rewards: dict[str, Callable], name: str):
        self.rewards, self.__name__ = rewards, name

    def __call__(self, prompts: list, completions: list, domain: list[str], **columns: Any) -> list[float | None]:
        grades: list[float | None] = [None] * len(prompts)
        rows_of: dict[str, list[int]] = {}
        for row, name in enumerate(domain):
            rows_of.setdefault(name, []).append(row)
        for name, rows in rows_of.items():
            own = {
                key: [values[row] for row in rows]
                if isinstance(values, list) and len(values) == len(prompts)
                else values
                for key, values in columns.items()
            }
            picked = [prompts[row] for row in rows], [completions[row] for row in rows]
            for row, grade in zip(
                rows, self.rewards[name](prompts=picked[0], completions=picked[1], **own), strict=True
            ):
                grades[row] = grade
        return grades


def pool(experts: list[Expert], seed: int) -> Expert:
    """All domains as one expert, `mixed`: what a single policy gets that is trained on everything at once."""
    if len({isinstance(expert.train_dataset[0]["prompt"], str) for expert in experts}) > 1:
        raise ValueError(
            "method=mixed pools all rows, so all prompts must be texts or all messages. Set the same `chat` in every "
            "domain."
        )
    pooled = concatenate_datasets(
        [e.train_dataset.add_column("domain", [e.name] * len(e.train_dataset)) for e in experts]
    )
    held_out = {e.name: e.eval_dataset.add_column("domain", [e.name] * len(e.eval_dataset)) for e in experts}
    count = {len(expert.reward_funcs) for expert in experts}
    if len(count) > 1:
        raise ValueError("method=mixed needs equally many rewards in every domain. Give each domain the same number.")
    rewards = [
        PooledReward({e.name: e.reward_funcs[i] for e in experts}, get_callable_name(experts[0].reward_funcs[i]))
        for i in range(count.pop())
    ]
    weights = experts[0].reward_weights
    adapter = experts[0].adapter
    if any(e.reward_weights != weights or e.adapter != adapter for e in experts):
        raise ValueError(
            "method=mixed trains one policy: give all domains the same reward_weights, and the same adapter or none."
        )
    if any(e.learning_rate for e in experts):
        logger.warning("method=mixed trains one policy at `learning_rate` and ignores the domains' own rates.")
    return Expert(
        "mixed",
        pooled.shuffle(seed=seed),
        rewards,
        eval_dataset=held_out,
        reward_weights=weights,
        adapter=adapter,
        domain_column="domain",
    )
