"""Experts out of environments of Prime Intellect's `verifiers`; the run itself samples what the agent says."""

from itertools import islice
from typing import Any

from datasets import Dataset

from ..experts import Expert
from ..worlds import EMPTY_PROMPT
from .checks import check_environment, check_tasks
from .episodes import Episodes, episode_reward
from .parts import opening, toolsets
from .tools import tools_environment, tools_reward


__all__ = ["verifiers_expert"]


def verifiers_expert(name: str, env: Any, size: int = 1000, eval_size: int = 0, **expert_options: Any) -> Expert:
    """
    An [`Expert`] that plays the one agent of a `verifiers` environment (version 0.4, `verifiers.v1`).

    The environment's own `run`, `finalize`, stop conditions and rewards decide; the first reward is the sum of its
    weighted rewards. If its tasks bring toolsets, TRL's loop plays the conversation instead, and the task grades it.
    Everything runs in the training process: no harness, no runtime, no network unless the environment uses one.

    Args:
        name (`str`): Name of the adapter.
        env (`verifiers.v1.Env`): The environment, with its taskset.
        size, eval_size (`int`, *optional*, defaults to 1000 and 0):
            Tasks to train on, >= 1, and those after them to evaluate on, >= 0.
        **expert_options:
            Further arguments of [`Expert`]. `reward_funcs` is appended to the environment's rewards. `tool_timeout`
            bounds the time that the environments of a branch take between two turns.

    Raises:
        ImportError: `verifiers` is not installed.
        TypeError, ValueError: The environment needs what this process does not have, or has too few tasks.

    Example:
    ```python
    >>> import verifiers.v1 as vf  # doctest: +SKIP
    >>> from trl_copd.from_verifiers import verifiers_expert

    >>> config = vf.resolve_env_config({"taskset": {"id": "textarena", "game": "Wordle-v0"}})  # doctest: +SKIP
    >>> expert = verifiers_expert("wordle", vf.load_environment(config), size=500)  # doctest: +SKIP
    ```
    """
    check_environment(env)
    if size < 1 or eval_size < 0:
        raise ValueError(f"Expert {name!r}: `size` must be >= 1 and `eval_size` >= 0, got {size} and {eval_size}.")
    tasks = list(islice(env.taskset, size + eval_size))
    if len(tasks) < size + eval_size:
        raise ValueError(
            f"Expert {name!r} asks for {size} tasks to train on and {eval_size} to evaluate on, but the environment "
            f"{env.config.env_id!r} has {len(tasks)}. Ask for fewer."
        )
    check_tasks(env, tasks)
    rows = [
        {"prompt": opening(task.data) or EMPTY_PROMPT, "task": task.data.model_dump_json(exclude_defaults=True)}
        for task in tasks
    ]
    further = expert_options.pop("reward_funcs", [])
    rewards = [episode_reward, *(further if isinstance(further, (list, tuple)) else [further])]
    if eval_size:
        expert_options["eval_dataset"] = Dataset.from_list(rows[size:])
    if toolsets(env):
        rewards[0] = tools_reward
        expert_options["environment_factory"] = tools_environment(env)
    else:
        expert_options["rollout_func"] = Episodes(env)
    return Expert(name, Dataset.from_list(rows[:size]), rewards, **expert_options)
