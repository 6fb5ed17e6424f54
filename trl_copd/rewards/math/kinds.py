"""The form that an answer takes once it is read."""

import re
from dataclasses import dataclass, field
from typing import Any

from .units import Unit


@dataclass(frozen=True)
class Reading:
    """
    One answer.

    Args:
        kind (`str`):
            `"scalar"`, `"words"`, `"choice"` (a letter and its value), `"based"`, `"clock"`, `"ratio"`, `"list"`,
            `"set"`, `"tuple"`, `"matrix"`, `"region"` (of the real line), `"equation"`, `"inequality"`, `"order"` (of
            several numbers).
        value (`Any`): The tree, words, ends of intervals …, by kind.
        items (`tuple[Reading, ...]`): Members of a list, set, tuple or matrix.
        label (`str`, *optional*): What it was said to be: `x` in "x = 5".
        unit (`Unit`, *optional*): Of a scalar.
        text (`str`): What was read, for decimals that are cut.
    """

    kind: str
    value: Any = None
    items: tuple["Reading", ...] = ()
    label: str | None = None
    unit: Unit | None = None
    text: str = field(default="", compare=False)


# What stands before an equals sign as a name: x, x_1, f(x), f^{-1}(x), S_n, (x, y)
LABEL = re.compile(
    r"\\?[A-Za-z]+ ?(?:_ ?(?:[A-Za-z0-9]|\{[^{}]*\}))?'*(?: ?\^ ?\{ ?-1 ?\} ?)?"
    r"(?: ?\( ?-?(?:[A-Za-z]|[0-9]{1,4})(?:, ?-?(?:[A-Za-z]|[0-9]{1,4}))* ?\))?"
    r"|\( ?[A-Za-z](?:, ?[A-Za-z])+ ?\)"
)


def unlabelled(item: Reading) -> Reading:
    return Reading(item.kind, item.value, item.items, None, item.unit, item.text) if item.label else item
