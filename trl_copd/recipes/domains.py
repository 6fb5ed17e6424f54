"""
Procedural skills for the character-level bases: short to ask, short to answer, exactly graded.

`sort`, `rev` and `count` are the demonstration's, and what one asks never looks like another. The comparison's, `up`,
`down`, `back` and `rotate`, conflict: all ask for an order of the same six digits, and one letter says for which.
`turns` is one more of the kind, with a long answer.

A problem belongs to one split for good: the split is a hash of its prompt, so no seed and no number of rows can carry
a problem from the warm start or the training rows into the evaluation.
"""

import random
import zlib
from collections.abc import Callable, Iterable
from functools import partial

from datasets import Dataset


# Buckets out of 10 that the hash of a prompt can fall into.
SPLITS = {"eval": range(0, 1), "warm_start": range(1, 4), "train": range(4, 10)}

_MAX_STALE_DRAWS = 10_000  # draws in a row without a new problem after which a split counts as exhausted


def _sort(rng: random.Random) -> tuple[str, str]:
    """`sort:418265=` -> `124568`; 151,200 problems."""
    digits = "".join(rng.sample("0123456789", k=6))
    return f"sort:{digits}=", "".join(sorted(digits))


def _reverse(rng: random.Random) -> tuple[str, str]:
    """`rev:bgach=` -> `hcagb`; 10^5 problems."""
    letters = "".join(rng.choices("abcdefghij", k=5))
    return f"rev:{letters}=", letters[::-1]


def _count(rng: random.Random) -> tuple[str, str]:
    """`count:xyyzxzzzyx=` -> `334`, the numbers of x, y and z; 59,046 problems."""
    while True:
        letters = "".join(rng.choices("xyz", k=10))
        counts = [letters.count(letter) for letter in "xyz"]
        if max(counts) < 10:  # every count is one digit
            return f"count:{letters}=", "".join(map(str, counts))


def _digits(prefix: str, order: Callable[[str], Iterable[str]], rng: random.Random) -> tuple[str, str]:
    """`a:418265=` -> `124568`, `d:...` -> `865421`, `b:...` -> `562814`, `r:...` -> `826541`; 151,200 problems."""
    digits = "".join(rng.sample("0123456789", k=6))
    return f"{prefix}:{digits}=", "".join(order(digits))


def _turns(digits: str) -> str:
    """`t:418265=` -> `418265182654826541...`: the six digits, rotated by one again and again, 30 in all."""
    return "".join(digits[turn:] + digits[:turn] for turn in range(5))


# A function draws one (prompt, answer).
DOMAINS: dict[str, Callable[[random.Random], tuple[str, str]]] = {
    "sort": _sort,
    "rev": _reverse,
    "count": _count,
    "up": partial(_digits, "a", sorted),
    "down": partial(_digits, "d", partial(sorted, reverse=True)),
    "back": partial(_digits, "b", reversed),
    "rotate": partial(_digits, "r", lambda digits: digits[2:] + digits[:2]),
    "turns": partial(_digits, "t", _turns),
}
DEMO = ("sort", "rev", "count")


def split_of(prompt: str) -> str:
    """Name of the split a problem belongs to, the same in every process and for every seed."""
    bucket = zlib.crc32(prompt.encode()) % 10
    return next(name for name, buckets in SPLITS.items() if bucket in buckets)


def make_domain(name: str, n_train: int, n_eval: int, seed: int) -> tuple[Dataset, Dataset]:
    """
    Rows to train on and to evaluate on; no problem occurs twice.

    Args:
        name (`str`): A key of `DOMAINS`.
        n_train (`int`): Training rows.
        n_eval (`int`): Evaluation rows.
        seed (`int`): Seed of the draws; the splits stay apart across seeds too.

    Returns:
        Two datasets with columns `prompt` (plain text) and `solution` (the exact answer).

    Raises:
        ValueError: There is no such domain, or it has too few distinct problems.
    """
    return make_split(name, "train", n_train, seed), make_split(name, "eval", n_eval, seed)


def make_split(name: str, split: str, count: int, seed: int) -> Dataset:
    """`count` distinct problems of one of `SPLITS`, with the columns of [`make_domain`]."""
    if name not in DOMAINS or split not in SPLITS:
        raise ValueError(f"No domain '{name}' with a split '{split}'. Choose from {[*DOMAINS]} and {[*SPLITS]}.")
    # a stream per domain and split: row i of one says nothing about row i of another; a text seed is hashed stably
    rng = random.Random(f"{seed}/{name}/{split}")
    rows: dict[str, str] = {}
    stale = 0
    while len(rows) < count:
        prompt, answer = DOMAINS[name](rng)
        if split_of(prompt) == split and prompt not in rows:
            rows[prompt] = answer
            stale = 0
        elif (stale := stale + 1) > _MAX_STALE_DRAWS:
            raise ValueError(
                f"Domain '{name}' gave {len(rows)} distinct problems for the split '{split}', not {count}. Ask for "
                "fewer rows."
            )
    return Dataset.from_dict({"prompt": list(rows), "solution": list(rows.values())})
