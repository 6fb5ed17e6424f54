"""
Domains beside reasoning-gym's, sized for a 135M model on two CPU cores: what a one-line function returns, short texts
that follow instructions, and texts that follow one instruction, such as to avoid a word. Every row has an answer to
imitate, so that a warm start can teach the form.

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


def _follow(ask: str, answer: str, **wanted: dict[str, Any]) -> Callable[[random.Random], dict[str, str]]:
    """
    A sentence that follows instructions; `{noun}`, `{Noun}`, `{other}` and `{adjective}` stand for its words.

    Args:
        ask (`str`): The instructions in words.
        answer (`str`): A sentence that follows them.
        **wanted (`dict`): Arguments of each instruction, by its id with `__` for `:`.
    """

    def row(draw: random.Random) -> dict[str, str]:
        (noun, other), adjective = draw.sample(_NOUNS, 2), draw.choice(_ADJECTIVES)
        words = {"noun": noun, "Noun": noun.capitalize(), "other": other, "adjective": adjective}
        named = [{"id": name.replace("__", ":"), "arguments": arguments} for name, arguments in wanted.items()]
        return {
            "prompt": f"Write one sentence about the {adjective} {noun} and the {other}. {ask.format(**words)}",
            "solution": answer.format(**words),
            "instructions": json.dumps(named).replace("{noun}", noun),
        }

    return row


_TWICE = {"keywords__frequency": {"keyword": "{noun}", "frequency": 2, "relation": "at least"}}
_PLACEHOLDER = {"detectable_content__number_placeholders": {"num_placeholders": 1}}
TASKS: dict[str, Callable[[random.Random], dict[str, str]]] = {
    "code": _code,
    "instructions": _instructions,
    "avoid": _follow(
        "Do not use the word {noun}.", "The {other} is near.",
        keywords__forbidden_words={"forbidden_words": ["{noun}"]},
    ),
    "twice": _follow(
        "Use the word {noun} at least twice.", "The {noun} near the {other} is a {adjective} {noun}.", **_TWICE
    ),
    "title": _follow(
        "Begin with a title in <<double angular brackets>>.", "<<{Noun}>> The {noun} near the {other} is {adjective}.",
        detectable_format__title={},
    ),
    "placeholder": _follow(
        "Have one [placeholder] in square brackets.", "The {noun} near the {other} of [name] is {adjective}.",
        **_PLACEHOLDER,
    ),
    "twice_and_placeholder": _follow(
        "Use the word {noun} at least twice. Have one [placeholder] in square brackets.",
        "The {noun} near the {other} of [name] is a {adjective} {noun}.", **_TWICE, **_PLACEHOLDER,
    ),
}  # fmt: skip


def small_domain(task: str, n_train: int, n_eval: int, seed: int) -> tuple[Dataset, Dataset]:
    """
    Rows to train on and to evaluate on; no question occurs twice.

    Args:
        task (`str`): One of `TASKS`: `"code"`, `"instructions"`, `"avoid"`, `"twice"`, `"title"`, `"placeholder"`,
            `"twice_and_placeholder"`.
        n_train (`int`): Training rows.
        n_eval (`int`): Evaluation rows.
        seed (`int`): Seed of the generator; the two splits stay apart across seeds too.

    Returns:
        Two datasets with the columns `prompt` (one user message), `solution` and, but for code, `instructions`.

    Raises:
        ValueError: There is no such task, or it has too few distinct questions.
    """
    return _draw(task, "train", n_train, seed), _draw(task, "eval", n_eval, seed)


def small_warm_start(task: str, n_rows: int, seed: int) -> Dataset:
    """
    Up to `n_rows` rows for a supervised warm start, as many as the task has, disjoint from both splits of
    [`small_domain`], with a column `task`.
    """
    rows = _draw(task, "warm_start", n_rows, seed, at_least=1).select_columns(["prompt", "solution"])
    return rows.add_column("task", [task] * len(rows))


def _draw(task: str, split: str, count: int, seed: int, at_least: int | None = None) -> Dataset:
    if task not in TASKS:
        raise ValueError(f"There is no small domain {task!r}. Choose one of {sorted(TASKS)}.")
    draw = random.Random(f"{seed}/{split}/{task}")
    rows: dict[str, dict[str, Any]] = {}
    for _ in range(100 * count):
        row = TASKS[task](draw)
        if stable_int(row["prompt"]) % 100 in SPLITS[split]:
            rows.setdefault(row["prompt"], {**row, "prompt": [{"role": "user", "content": row["prompt"]}]})
        if len(rows) == count:
            break
    if len(rows) < (count if at_least is None else at_least):
        raise ValueError(f"{task!r} has only {len(rows)} distinct questions for {split}, asked for {count}.")
    return Dataset.from_list(list(rows.values()))
