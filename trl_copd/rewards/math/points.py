"""
Equality of formulas at fixed points. Two different formulas that agree at all of them to 40 digits do not occur by
accident.
"""

import functools
import random
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

from .bounds import Unreadable
from .formula import Node, has, variables
from .series import check_series, is_series, same_series, sum_points
from .value import DIGITS, Evaluator, NoValue, Point, as_float, is_real, mp, values


# First letters of names that may stand for whole numbers only
_WHOLE = frozenset("abcdjklmnpqrsBCDJKLMNPQRS")
# Those that do wherever a floor or ceiling is taken
_INDICES = frozenset("jkmnpqKMN")


@functools.lru_cache(maxsize=64)
def _points(names: tuple[str, ...], kind: str) -> list[Point]:
    """
    The same for ever: a grade must not depend on chance. Both signs and both sides of 1, for roots and arcs. With
    denominators of 512 bits each, so that no factor an answer has room for makes all of them whole, as it would in
    `x+sin(10^9πx)`.
    """
    draw = random.Random(0)
    ranges = [(0.1, 0.9), (1.2, 3.0), (-0.9, -0.1), (-3.0, -1.2), (3.0, 12.0), (0.1, 3.0), (-2.0, 2.0), (-6.0, 6.0)]
    if kind == "index":
        return [{name: Fraction(draw.randint(1, most)) for name in names} for most in (12, 60, 400) for _ in range(16)]
    if kind == "whole":
        return [{name: Fraction(draw.randint(1, 9) + shift) for name in names} for shift in range(5)]

    def between(low: float, high: float) -> Fraction:
        whole = draw.getrandbits(512) | 1 << 511 | 1
        return Fraction(low) + Fraction(high - low) * Fraction(draw.getrandbits(550) % whole, whole)

    return [{name: between(low, high) for name in names} for low, high in ranges]


def _agree(left: Node, right: Node, point: Point, real: bool, log_base: int) -> bool:
    """Raises `NoValue` where either has no value."""
    (a, a_fine, digits_a), (b, b_fine, digits_b) = (values(node, point, real, log_base) for node in (left, right))
    if digits_a == digits_b == 0:
        return bool(a == b)
    digits = max(digits_a, digits_b)
    if min(digits_a, digits_b) < digits:  # an exact value, or one whose terms are smaller, is taken to the other's
        a_fine, b_fine = (Evaluator(point, digits * 3 // 2, real, log_base).value(node) for node in (left, right))
    mp.dps = digits * 3 // 2
    a, a_fine, b, b_fine = map(as_float, (a, a_fine, b, b_fine))
    # What rounding did to either at the lower precision says how much of a difference at the higher one is rounding
    noise = abs(a - a_fine) + abs(b - b_fine)
    tolerance = max(
        noise * mp.mpf(10) ** -10, max(abs(a_fine), abs(b_fine)) * mp.mpf(10) ** (10 - max(digits, DIGITS))
    )
    return bool(abs(a_fine - b_fine) <= tolerance)


def same_value(left: Node, right: Node) -> bool:
    r"""
    Whether two trees without ± are equal wherever both are defined. A logarithm without a base is natural or to base
    10, in both alike.

    Raises:
        Unreadable: One of them is defined nowhere, or too large.
    """
    same = same_series if is_series(left) or is_series(right) else _same
    return any(same(left, right, base) for base in ((0, 10) if has(left, "log") or has(right, "log") else (0,)))


def _same(left: Node, right: Node, log_base: int) -> bool:
    return _everywhere(left, right, lambda point, real: _agree(left, right, point, real, log_base))


def _everywhere(left: Node, right: Node, agree: Callable[[Point, bool], Any]) -> bool:
    """
    Whether `agree` at real points; where it has too few answers, at whole ones, if the names are such as stand for
    whole numbers; and then with complex values.
    """
    names = tuple(sorted(variables(left) | variables(right)))
    if names and (has(left, "∑", "∏") or has(right, "∑", "∏")):
        answers = list(_answers(agree, sum_points(left, right), True))
        if len(answers) > 8 or not all(answers):
            return all(answers)
        raise Unreadable("it has no value")
    kinds = [("real", True), ("whole", True), ("real", False)]
    if not all(name[0] in _WHOLE for name in names):
        del kinds[1]
    if has(left, "i") or has(right, "i"):
        kinds = [("real", False)]
    if has(left, "floor", "ceil") and names and all(name in _INDICES for name in names):
        kinds = [("index", True)]
    for kind, real in kinds:
        answers = list(_answers(agree, _points(names, kind) if names else [{}], real))
        if not all(answers):
            return False
        if len(answers) >= (2 if names else 1):
            return True
    raise Unreadable("it has no value")


def _answers(agree: Callable[[Point, bool], Any], points: Sequence[Point], real: bool) -> Iterator[bool]:
    for point in points:
        try:
            answer = bool(agree(point, real))
        except NoValue:
            continue
        yield answer
        if not answer:
            return


def proportional(left: Node, right: Node, positive: bool = False) -> bool:
    """Whether `left` is `right` times a constant other than 0, so that both are 0 at the same places."""
    ratios: list[Any] = []

    def agree(point: Point, real: bool) -> bool:
        (_, a, _), (_, b, _) = (values(node, point, real, 0) for node in (left, right))
        if a == 0 or b == 0:
            return bool(a == b)
        mp.dps = DIGITS
        ratios.append(as_float(a) / as_float(b))
        if positive and not is_real(ratios[-1]):
            return False
        apart = abs(ratios[-1] - ratios[0]) > abs(ratios[0]) * mp.mpf(10) ** -30
        return not apart and not (positive and ratios[-1] <= 0)

    return _everywhere(left, right, agree) and bool(ratios)


def check_value(node: Node) -> None:
    """Raise `Unreadable` for a tree that has no value anywhere."""
    if has(node, "∞") and variables(node):
        check_series(node)
    same_value(node, node)
