"""
Two domains beside reasoning-gym's, sized for a 135M model on two CPU cores: what a one-line function returns, and
short texts that follow instructions. Every row has an answer to imitate, so that a warm start can teach the form.

As in `gym.py`, a question belongs to one split for good, by a hash of its text.
"""

import json
import random
from collections.abc import Callable
from typing import Any

from datasets import Dataset

from ..rewards.gym import stable_int
from .gym import SPLITS


_NOUNS = (
    "sun moon river garden market winter summer forest bridge kitchen library station island harbour village teacher "
    "farmer painter doctor sailor horse eagle turtle rabbit train bicycle window candle mirror letter story song "
    "dance bread coffee apple cheese storm cloud desert"
).split()
_ADJECTIVES = "old new quiet bright small large warm cold green famous gentle strange busy happy".split()


def _code(draw: random.Random) -> dict[str, str]:
    a, b, x = draw.randint(2, 5), draw.randint(1, 20), draw.randint(1, 20)
    body, value = draw.choice(
        [(f"x + {b}", x + b), (f"x - {b}", x - b), (f"{a} * x", a * x), (f"{a} * x + {b}", a * x + b),
         (f"x > {b}", x > b), (f"[x, {b}]", [x, b])]
    )  # fmt: skip
    prompt = f"def f(x):\n    return {body}\n\nWhat does f({x}) return? Answer with the value only."
    return {"prompt": prompt, "solution": repr(value)}


def _instructions(draw: random.Random) -> dict[str, str]:
    (noun, other), adjective = draw.sample(_NOUNS, 2), draw.choice(_ADJECTIVES)
    text = f"The {noun} is {adjective}."
    asks, wanted = [], []
    for kind in draw.sample(["keyword", "ending", "title", "comma"], draw.randint(1, 2)):
        if kind == "keyword":
            asks.append(f"Use the word {other}.")
            wanted.append(("keywords:existence", {"keywords": [other]}))
            text = text.replace(".", f" near the {other}.", 1)
        elif kind == "ending":
            asks.append(f"End with: Goodbye {noun}.")
            wanted.append(("startend:end_checker", {"end_phrase": f"Goodbye {noun}."}))
        elif kind == "title":
            asks.append("Begin with a title in <<double angular brackets>>.")
            wanted.append(("detectable_format:title", {}))
        else:
            asks.append("Use no commas.")
            wanted.append(("punctuation:no_comma", {}))
    names = [name for name, _ in wanted]
    text = f"<<{noun.capitalize()}>> {text}" if "detectable_format:title" in names else text
    text = f"{text} Goodbye {noun}." if "startend:end_checker" in names else text
    return {
        "prompt": f"Write one sentence on the {adjective} {noun}. {' '.join(asks)}",
        "solution": text,
        "instructions": json.dumps([{"id": name, "arguments": arguments} for name, arguments in wanted]),
    }


TASKS: dict[str, Callable[[random.Random], dict[str, str]]] = {"code": _code, "instructions": _instructions}


def small_domain(task: str, n_train: int, n_eval: int, seed: int) -> tuple[Dataset, Dataset]:
    """
    Rows to train on and to evaluate on; no question occurs twice.

    Args:
        task (`str`): `"code"` or `"instructions"`.
        n_train (`int`): Training rows.
        n_eval (`int`): Evaluation rows.
        seed (`int`): Seed of the generator; the two splits stay apart across seeds too.

    Returns:
        Two datasets with the columns `prompt` (one user message), `solution` and, for instructions, `instructions`.

    Raises:
        ValueError: There is no such task, or it has too few distinct questions.
    """
    return _draw(task, "train", n_train, seed), _draw(task, "eval", n_eval, seed)


def small_warm_start(task: str, n_rows: int, seed: int) -> Dataset:
    """Rows for a supervised warm start, disjoint from both splits of [`small_domain`], with a column `task`."""
    rows = _draw(task, "warm_start", n_rows, seed).select_columns(["prompt", "solution"])
    return rows.add_column("task", [task] * len(rows))


def _draw(task: str, split: str, count: int, seed: int) -> Dataset:
    if task not in TASKS:
        raise ValueError(f"There is no small domain {task!r}. Choose one of {sorted(TASKS)}.")
    draw = random.Random(f"{seed}/{split}/{task}")
    rows: dict[str, dict[str, Any]] = {}
    for _ in range(100 * count):
        row = TASKS[task](draw)
        if stable_int(row["prompt"]) % 100 in SPLITS[split]:
            rows.setdefault(row["prompt"], {**row, "prompt": [{"role": "user", "content": row["prompt"]}]})
        if len(rows) == count:
            return Dataset.from_list(list(rows.values()))
    raise ValueError(f"{task!r} has only {len(rows)} distinct questions for {split}, asked for {count}.")
