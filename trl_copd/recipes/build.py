"""From a recipe's YAML to experts: bases that are built on the spot, domains, rewards, and the baselines' data."""

import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from accelerate import PartialState
from datasets import Dataset, concatenate_datasets
from transformers import ProcessorMixin
from trl.trainer.utils import get_callable_name, is_async_callable

from ..experts import Expert
from .demo_base import ACCURACY
from .demo_base import build_base as build_demo
from .domains import DEMO
from .keys import DOMAIN_KEYS as DOMAIN_KEYS
from .keys import check_domain, family_and_task
from .rewards import find_environment, find_reward, import_path
from .rows import load_rows


logger = logging.getLogger(__name__)
BUILTIN_BASES = ("demo", "smollm2", "vision", "agent")
WARMED = {"demo": "demo/", "vision": "scene/"}  # bases that are warmed up on the domains of a family


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
    """
    Rows of their own on which a language model is warm-started, of every `gym/` and `small/` domain.

    Raises:
        ValueError: There is no such domain.
    """
    from .gym import gym_warm_start
    from .small import small_warm_start

    rows: list[dict[str, Any]] = []
    for domain in domains:
        family, task = family_and_task(domain) if domain.get("builtin") is not None else ("dataset", "")
        if family == "small":
            rows += list(small_warm_start(task, n_rows, seed))
        elif family == "gym":
            rows += list(gym_warm_start(task, n_rows, seed, **(domain.get("options") or {})))
        else:
            logger.warning("The base is not warm-started on the domain %r: it is no gym/ or small/.", domain["name"])
    if not rows:
        raise ValueError(
            f"The domains {', '.join(repr(domain['name']) for domain in domains)} have no rows for the warm start of "
            "builtin_base='smollm2': only gym/<task> and small/<task> have. Set model_name_or_path instead."
        )
    return rows


def build_experts(domains: list[dict[str, Any]], seed: int) -> list[Expert]:
    """One expert per domain of the recipe; unknown keys and missing ones are a ValueError."""
    if not domains:
        raise ValueError("The recipe names no domain. Add a list `domains` to the YAML file.")
    environments: dict[str, Callable] = {}
    return [_build_expert(check_domain(domain), seed, environments) for domain in domains]


def _build_expert(domain: dict[str, Any], seed: int, environments: dict[str, Callable]) -> Expert:
    if "builtin" in domain and family_and_task(domain)[0] == "agent":  # brings its rewards and tools
        from .agent import agent_expert

        own_rate = {"learning_rate": _number(domain.get("learning_rate"))}
        return agent_expert({**domain, **own_rate}, family_and_task(domain)[1], seed)
    train, held_out = _load_rows(domain, seed)
    own = [] if "environment" in domain else ["exact_match_reward"]  # an environment may have a reward of its own
    rewards = domain.get("rewards", own)
    rewards = rewards if isinstance(rewards, list) else [rewards]
    acting = {key: domain[key] for key in ("max_tool_calling_iterations", "tool_timeout") if key in domain}
    if "environment" in domain:
        spec = repr(domain["environment"])
        if spec not in environments:  # domains that name the same one have the same one, and can be pooled
            environments[spec] = find_environment(domain["environment"])
        acting["environment_factory"] = environments[spec]
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


def _load_rows(domain: dict[str, Any], seed: int) -> tuple[Dataset, Dataset]:
    n_train, n_eval = domain.get("n_train", 2000), domain.get("n_eval", 200)
    if "builtin" in domain:
        try:
            return _generated(domain, n_train, n_eval, seed)
        except (ValueError, TypeError, AssertionError) as error:  # reasoning-gym asserts what options may be
            options = f" with options {domain['options']}" if "options" in domain else ""
            raise ValueError(f"Domain {domain['name']!r}, {domain['builtin']}{options}: {error}") from error
    return load_rows(domain, n_train, n_eval, seed)


def _generated(domain: dict[str, Any], n_train: int, n_eval: int, seed: int) -> tuple[Dataset, Dataset]:
    family, task = family_and_task(domain)
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


def _skills(domains: list[dict[str, Any]], family: str) -> dict[str, float]:
    """What a demonstration's base is warmed up on, and to which accuracy of sampling."""
    skills = {}
    for domain in domains:
        if str(domain.get("builtin")).startswith(family):
            skills[family_and_task(domain)[1]] = float(domain.get("base_accuracy") or ACCURACY)
    return skills


# ---- The mixed baseline -----------------------------------------------------------------------------------------


class PooledReward:
    """Grades each row of pooled data with the reward of the row's own domain, named in the column `domain`."""

    columns = ("domain",)

    def __init__(self, rewards: dict[str, Callable], name: str):
        self.rewards, self.__name__ = rewards, name

    def __call__(self, prompts: list, completions: list, domain: list[str], **columns: Any) -> list[float | None]:
        shares = _shares(domain, prompts=prompts, completions=completions, **columns)
        return _gathered(domain, shares, [self.rewards[name](**own) for name, (_, own) in shares.items()])


class AsyncPooledReward(PooledReward):
    """The same where a domain's reward must be awaited."""

    async def __call__(  # type: ignore[override]
        self, prompts: list, completions: list, domain: list[str], **columns: Any
    ) -> list[float | None]:
        shares = _shares(domain, prompts=prompts, completions=completions, **columns)
        given = [self.rewards[name](**own) for name, (_, own) in shares.items()]
        return _gathered(domain, shares, [await one if inspect.isawaitable(one) else one for one in given])


Shares: TypeAlias = dict[str, tuple[list[int], dict[str, Any]]]


def _shares(domain: list[str], **columns: Any) -> Shares:
    """For each domain its rows' numbers, and what its reward is called with."""
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(domain):
        rows_of.setdefault(name, []).append(row)

    def part(values: Any, rows: list[int]) -> Any:
        by_row = isinstance(values, list) and len(values) == len(domain)
        return [values[row] for row in rows] if by_row else values

    return {
        name: (rows, {key: part(values, rows) for key, values in columns.items()}) for name, rows in rows_of.items()
    }


def _gathered(domain: list[str], shares: Shares, graded: list[list[float | None]]) -> list[float | None]:
    """The grades of all domains, in the order of the rows."""
    grades: list[float | None] = [None] * len(domain)
    for (rows, _), values in zip(shares.values(), graded, strict=True):
        for row, value in zip(rows, values, strict=True):
            grades[row] = value
    return grades


# of an expert: what one policy can have one of only
OF_ONE_POLICY = ("tools", "environment_factory", "rollout_func", "max_tool_calling_iterations", "chat_template_kwargs",
                 "tool_timeout")  # fmt: skip


def pool(experts: list[Expert], seed: int) -> Expert:
    """
    All domains as one expert, `mixed`: what a single policy gets that is trained on everything at once.

    Raises:
        ValueError: The domains differ in what one policy has one of, or cannot be told apart.
    """
    for field in OF_ONE_POLICY:
        other = next((e for e in experts if getattr(e, field) != getattr(experts[0], field)), None)
        if other is not None:
            raise ValueError(
                f"method=mixed trains one policy, which acts in one way, but the domains {experts[0].name!r} and "
                f"{other.name!r} differ in `{field}`. Give all domains the same, or leave this method out."
            )
    for expert in experts:
        if "domain" in (*expert.train_dataset.column_names, *expert.eval_dataset.column_names):
            raise ValueError(
                f"Domain {expert.name!r} has a column 'domain', in which method=mixed notes where a row comes from. "
                "Rename it."
            )
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
        (AsyncPooledReward if any(is_async_callable(e.reward_funcs[i]) for e in experts) else PooledReward)(
            {e.name: e.reward_funcs[i] for e in experts}, get_callable_name(experts[0].reward_funcs[i])
        )
        for i in range(count.pop())
    ]
    weights = experts[0].reward_weights
    adapter = experts[0].adapter
    if any(e.reward_weights != weights or e.adapter != adapter for e in experts):
        raise ValueError(
            "method=mixed trains one policy: give all domains the same reward_weights, and the same adapter or none."
        )
    if any(e.learning_rate or e.frozen for e in experts):
        logger.warning("method=mixed trains one policy at `learning_rate`, whatever domains say of rate and `frozen`.")
    return Expert(
        "mixed",
        pooled.shuffle(seed=seed),
        rewards,
        eval_dataset=held_out,
        reward_weights=weights,
        adapter=adapter,
        domain_column="domain",
        **{field: getattr(experts[0], field) for field in OF_ONE_POLICY},
    )
