"""
Short, exactly graded domains out of reasoning-gym's generators, sized for a 135M model on two CPU cores.

A question belongs to one split for good: the split is a hash of its text, so no seed, task option or number of rows
can carry a question from the warm start or the training rows into the evaluation.
"""

from collections.abc import Callable
from typing import Any

from datasets import Dataset

from ..rewards.gym import gym_rows, stable_int


# Buckets out of 100 that the hash of a question can fall into.
SPLITS = {"eval": range(0, 20), "warm_start": range(20, 50), "train": range(50, 100)}

# The three domains of the demonstration: task, and options at which a warm-started 135M model is right about a third
# of the time. (Tried and too hard for it: spelling backward, filtering numbers, sums of two-digit numbers.)
DOMAINS: dict[str, tuple[str, dict[str, Any]]] = {
    "sums": ("chain_sum", {"min_terms": 2, "max_terms": 3, "min_digits": 1, "max_digits": 1}),
    "words": ("word_sequence_reversal", {"min_words": 4, "max_words": 6}),
    "logic": ("family_relationships", {"min_family_size": 4, "max_family_size": 5}),
}


def gym_domain(task: str, n_train: int, n_eval: int, seed: int, **task_options: Any) -> tuple[Dataset, Dataset]:
    """
    Rows to train on and to evaluate on; no question occurs twice.

    Args:
        task (`str`): Name of a reasoning-gym task.
        n_train (`int`): Training rows.
        n_eval (`int`): Evaluation rows.
        seed (`int`): Seed of the generator; the two splits stay apart across seeds too.
        **task_options: Options of the task's generator.

    Returns:
        Two datasets with columns `prompt` (one user message) and `solution` (the exact answer).

    Raises:
        ValueError: The task has too few distinct questions with these options.
    """
    return _draw(task, "train", n_train, seed, task_options), _draw(task, "eval", n_eval, seed, task_options)


def gym_warm_start(task: str, n_rows: int, seed: int, **task_options: Any) -> Dataset:
    """
    Up to `n_rows` rows for a supervised warm start, as many as the task has, disjoint from both splits of
    [`gym_domain`], with its columns and a third, `task`, by which a warm start can see how far each task has come.
    """
    rows = _draw(task, "warm_start", n_rows, seed, task_options, at_least=1)
    return rows.add_column("task", [task] * len(rows))


def _draw(
    task: str, split: str, count: int, seed: int, options: dict[str, Any], at_least: int | None = None
) -> Dataset:
    # a stream per split: row i of one split says nothing about row i of another
    stream = stable_int(f"{seed}/{split}") % 2**31
    rows = gym_rows(task, count, SPLITS[split], stream, options, _SHORTEN.get(task), at_least)
    prompts = [[{"role": "user", "content": row["prompt"]}] for row in rows]
    return Dataset.from_dict({"prompt": prompts, "solution": [row["solution"] for row in rows]})


def _short_sum(item: dict[str, Any]) -> str:
    return f"{item['metadata']['expression']} = ?\nAnswer with the number only."


def _short_reversal(item: dict[str, Any]) -> str:
    return f"Reverse the list: {', '.join(item['metadata']['words'])}\nAnswer with the list only."


def _short_family(item: dict[str, Any]) -> str:
    story, _ = item["question"].split("\n\n")
    person, other = item["metadata"]["person1"], item["metadata"]["person2"]
    return f"{story}\nWhat is {person} to {other}? Answer with one word."


# The generators' own wordings ask the same thing in up to four times the tokens.
_SHORTEN: dict[str, Callable[[dict[str, Any]], str]] = {
    "chain_sum": _short_sum,
    "word_sequence_reversal": _short_reversal,
    "family_relationships": _short_family,
}
