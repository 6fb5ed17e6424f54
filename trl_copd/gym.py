"""Experts out of reasoning-gym's procedural tasks: rows to train on, rows to evaluate on, and a strict reward."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from datasets import Dataset

from .experts import Expert
from .rewards.gym.reward import (
    EVAL_BUCKETS,
    INSTRUCTION,
    TRAIN_BUCKETS,
    GymReward,
    check_task,
    gym_rows,
    messages,
    stable_int,
)


def reasoning_gym_expert(
    name: str,
    size: int = 1000,
    eval_size: int = 100,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    instruction: str | None = INSTRUCTION,
    system_prompt: str | None = None,
    expert_name: str | None = None,
    **expert_options: Any,
) -> Expert:
    """
    An [`Expert`] for a task of reasoning-gym: training and evaluation rows that share no question, and a strict
    reward of 1.0 or 0.0.

    Args:
        name (`str`): Name of the task, e.g. `"countdown"`. All but `"composite"` are supported.
        size, eval_size (`int`, *optional*, defaults to 1000 and 100):
            Rows to train on and to evaluate on; `eval_size=0` gives no evaluation dataset.
        seed (`int`, *optional*, defaults to 0): Seed of the generator. The two sets stay disjoint across seeds.
        options (`Mapping`, *optional*): Options of the task's generator, e.g. `{"max_terms": 3}`.
        instruction (`str`, *optional*): Text after each question. With `None` the answer is either between tags or the
            whole completion.
        system_prompt (`str`, *optional*): Content of a system message before each question, e.g. one of
            `reasoning_gym.utils.SYSTEM_PROMPTS`.
        expert_name (`str`, *optional*): Name of the adapter; defaults to the task's.
        **expert_options: Further arguments of [`Expert`], such as `adapter` or `learning_rate`. `reward_funcs` is
            appended to the strict reward, which stays the first and so the domain's accuracy.

    Raises:
        ImportError: reasoning-gym is not installed.
        ValueError: The task is unknown or refused, does not take the options, or has too few distinct questions with
            them.

    Example:
    ```python
    >>> from trl_copd.gym import reasoning_gym_expert

    >>> expert = reasoning_gym_expert("chain_sum", size=200, eval_size=50, options={"max_terms": 3})
    >>> expert.train_dataset.column_names
    ['prompt', 'solution', 'entry']
    ```
    """
    check_task(name)
    prompt = partial(messages, instruction=instruction, system_prompt=system_prompt)
    splits = []
    for count, split, buckets in ((size, "train", TRAIN_BUCKETS), (eval_size, "eval", EVAL_BUCKETS)):
        try:
            rows = gym_rows(name, count, buckets, stable_int(f"{seed}/{split}") % 2**31, options)
        except (TypeError, AssertionError) as error:  # reasoning-gym asserts what options may be
            who = f"Expert {expert_name or name!r}"
            raise ValueError(f"{who}: {name!r} cannot be generated with options {options}: {error}.") from error
        splits.append(Dataset.from_list([{**row, "prompt": prompt(row["prompt"])} for row in rows]))
    further = expert_options.pop("reward_funcs", [])
    rewards = [GymReward(f"{name}_reward"), *(further if isinstance(further, (list, tuple)) else [further])]
    if eval_size:
        expert_options["eval_dataset"] = splits[1]
    return Expert(expert_name or name, splits[0], rewards, **expert_options)
