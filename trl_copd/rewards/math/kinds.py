"""The form that an answer takes once it is read."""

import re
from dataclasses import dataclass, field, replace
from typing import Any

from .symbols import FUNCTIONS, MARKS
from .units import Unit


@dataclass(frozen=True)
class Reading:
    """
    One answer.

    Args:
        kind (`str`):
            `"scalar"`, `"words"`, `"choice"` (a letter and its value), `"based"`, `"clock"`, `"ratio"`, `"list"`,
            `"set"`, `"tuple"`, `"matrix"`, `"region"` (of the real line), `"equation"`, `"inequality"`, `"order"` (of
            several numbers), `"chain"` (of equals), `"congruence"`, `"family"` (one for each whole
            number), `"pieces"`, `"proportion"` (of formulas), `"basis"` (of a space), `"eigen"` (values with vectors).
        value (`Any`): The tree, words, ends of intervals …, by kind.
        items (`tuple[Reading, ...]`): Members of a list, set, tuple or matrix.
        label (`str`, *optional*): What it was said to be: `x` in "x = 5".
        unit (`Unit`, *optional*): Of a scalar.
        text (`str`): What was read, for decimals that are cut.
        tolerance (`float`): Share of a number's size by which another may differ from it.
    """

    kind: str
    value: Any = None
    items: tuple["Reading", ...] = ()
    label: str | None = None
    unit: Unit | None = None
    text: str = field(default="", compare=False)
    tolerance: float = field(default=0.0, compare=False)


# What stands before an equals sign as a name: x, x_1, f(x), f^{-1}(x), S_n, (x, y), E[X], P(A | B), S_{△ABC}, a:b, y',
# dy/dx. What a letter is applied to may be any formula where the letter is one of those that functions have.
# max(4, 7) and log_2(16) have a value of their own, so they are no names
_LETTERS = rf"(?:(?!\\(?:{'|'.join(sorted(FUNCTIONS))}) ?[_^(])\\?[A-Za-z]+ ?[{MARKS}]?)"
_INDEX = r"(?:_ ?(?:[A-Za-z0-9⊙⊕⊥∥]|\{[^{}]*\}|«[^«»]*»))?'*(?: ?\^ ?\{ ?-1 ?\} ?)?"
_PLAIN_ARGUMENTS = r"\( ?-?(?:[A-Za-z]|[0-9]{1,4})(?:, ?-?(?:[A-Za-z]|[0-9]{1,4}))* ?\)"
_DERIVATIVE = (
    r"\\frac ?\{ ?[d∂](?:\^ ?\{?[0-9]\}?)? ?[A-Za-z]? ?\} ?\{ ?[d∂] ?[A-Za-z](?:\^ ?\{?[0-9]\}?)? ?\}|d[a-z]/d[a-z]"
)
LABEL = re.compile(
    rf"{_LETTERS}{_INDEX}(?: ?{_PLAIN_ARGUMENTS})?"
    rf"|(?:«?[fghuvpqFGHPETV]»?|«?(?:Var|Cov|E|P|Pr|SD)»?)[{MARKS}]?{_INDEX} ?(?:\([^()=]+\)|\[[^\[\]=]+\])"
    r"|\\(?:psi|phi|Phi|Psi) ?\([^()=]+\)|\[ ?[A-Za-z] ?\] ?_ ?(?:[A-Z]|\{[^{}]*\})"  # coordinates in a basis
    rf"|«?Pr?»? ?\([^()]+\)"  # P(X = 2)
    rf"|\( ?[A-Za-z](?:, ?[A-Za-z])+ ?\)|[A-Za-z]{{1,3}}(?: ?: ?[A-Za-z]{{1,3}})+|[∠△] ?[A-Z]{{1,3}}|{_DERIVATIVE}"
    rf"|\|[A-Z]{{2}}[{MARKS}]?\|"  # the length of AB
    r"|\\(?:max|min) ?(?:_ ?\{[^{}]*\} ?)?[A-Za-z](?: ?\([^()=]+\))?"  # max f(x)
)


def unlabelled(item: Reading) -> Reading:
    return replace(item, label=None) if item.label else item


def rounded(reading: Reading, tolerance: float) -> Reading:
    """The same answer, whose numbers, alone or as members, others may differ from; ends of intervals stay exact."""
    interval = reading.kind == "tuple" and reading.value not in ("()", "⟨⟩")
    items = reading.items if interval else tuple(rounded(item, tolerance) for item in reading.items)
    return replace(reading, items=items, tolerance=tolerance)
