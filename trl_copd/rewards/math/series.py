r"""
Series: `\sum_{n=0}^{\infty}`. Two are equal if all their terms are, after the letter that runs is shifted or terms are
taken out of the sum; a series is not the function that it is of, which is often what a question gives.

A power series is compared close to its centre, where each power is far below the one before it, so that one value
shows all coefficients in turn; others, such as Fourier's, term by term.
"""

import random
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from .bounds import NoGrammar, Unreadable
from .formula import Node, has, names_letter, variables
from .value import DIGITS, Evaluator, NoValue, Point, as_float, mp


STEP = 40  # bits that one power is below the one before
PRECISION = 2_000  # bits to which values agree: 50 powers
MAX_BITS = 12_000  # of the size of a term
TERMS = 24  # of a series of another kind


def is_series(node: Node) -> bool:
    """Whether it has an infinite sum or product of terms with variables."""
    return has(node, "∞") and bool(variables(node))


def same_series(left: Node, right: Node, log_base: int, seeds: int = 2) -> bool:
    """
    Whether two formulas with infinite sums are equal, term by term.

    Raises:
        Unreadable: One of them has no value, or no terms that can be told apart.
    """
    if not (is_series(left) and is_series(right)):
        return False
    names = sorted(variables(left) | variables(right))
    whole = _in_bounds(left) | _in_bounds(right)
    centres = {_centre(total, names) for total in _totals(left)}
    found = 0
    for seed in range(seeds):
        draw = random.Random(seed)
        point: Point = {}
        for name in names:
            point[name] = Fraction(draw.randint(3, 9)) if name in whole else _generic(draw) + 1
        centre = centres.copy().pop() if len(centres) == 1 else None
        if centre is not None:
            point[centre[0]] = centre[1] + point[centre[0]] / 2 ** (STEP + 1)
        try:
            agree = _values_agree if centre is not None else _terms_agree
            if not agree(left, right, point, log_base):
                return False
            found += 1
        except NoValue:
            continue
    if not found:
        raise Unreadable("a series without a value")
    return True


def sum_points(left: Node, right: Node) -> list[Point]:
    """Points for finite sums: whole numbers for what stands in their bounds, up to 40, others between 0 and 3."""
    whole, draw = _in_bounds(left) | _in_bounds(right), random.Random(0)
    names = sorted(variables(left) | variables(right))
    return [
        {name: Fraction(draw.randint(2, 40)) if name in whole else _generic(draw) * 3 for name in names}
        for _ in range(20)
    ]


def _generic(draw: random.Random) -> Fraction:
    """Between 0 and 1, with a denominator that no factor in an answer makes whole."""
    whole = draw.getrandbits(512) | 1 << 511 | 1
    return Fraction(draw.getrandbits(550) % whole, whole)


def _totals(node: Node) -> Iterator[Node]:
    """The infinite sums and products in it."""
    if node[:2] in (("f", "∑"), ("f", "∏")) and node[3] == ("c", "∞"):
        yield node
    for part in node[1:]:
        if isinstance(part, tuple):
            yield from _totals(part)


def _in_bounds(node: Node) -> set[str]:
    """Variables in the bounds of sums, which are whole numbers."""
    own = variables(node[2]) | variables(node[3]) if node[:2] in (("f", "∑"), ("f", "∏")) else set()
    return own.union(*(_in_bounds(part) for part in node[1:] if isinstance(part, tuple)))


def _centre(total: Node, names: list[str]) -> tuple[str, Fraction] | None:
    """The variable of a power series and where it has its centre: `x` and 5 of $(x-5)^n$."""
    letter = total[5][1]
    for base in _bases(total[4], letter):
        inner = variables(base)
        for name in sorted(inner, key=lambda name: (name not in "xzt", name)):
            values = []
            for at in range(3):
                point = {other: Fraction(3) for other in names} | {name: Fraction(at)}
                try:
                    values.append(Evaluator(point, DIGITS, False, 0).value(base))
                except (NoValue, KeyError):
                    break
            if values and values[0] == 0:
                return name, Fraction(0)
            if len(inner) == 1 and len(values) == 3 and all(isinstance(value, Fraction) for value in values):
                step = values[1] - values[0]
                if step and values[2] - values[1] == step:
                    return name, -values[0] / step
    return None


def _bases(node: Node, letter: str) -> Iterator[Node]:
    """What is raised to powers with the letter that runs."""
    if node[0] == "^" and names_letter(node[2], letter) and variables(node[1]):
        yield node[1]
    for part in node[1:]:
        if isinstance(part, tuple):
            yield from _bases(part, letter)


def _values_agree(left: Node, right: Node, point: Point, log_base: int) -> bool:
    digits = int((PRECISION + 10 * STEP) * 0.302)
    values = []
    for node in (left, right):
        evaluator = Evaluator(point, digits, False, log_base)
        values.append(as_float(evaluator.bounded_value(node, MAX_BITS)))
    mp.dps = digits
    apart = abs(values[0] - values[1])
    return bool(apart <= max(map(abs, values)) * mp.mpf(2) ** -PRECISION)


def _terms_agree(left: Node, right: Node, point: Point, log_base: int) -> bool:
    """Terms that are not 0, in order, and what is beside the sums."""
    ours, theirs = ([*_terms(node, point, log_base)] for node in (left, right))
    mp.dps = DIGITS
    return len(ours) == len(theirs) and all(
        abs(one - other) <= max(abs(one), abs(other)) * mp.mpf(10) ** -40
        for one, other in zip(ours, theirs, strict=True)
    )


def _terms(node: Node, point: Point, log_base: int) -> Iterator[Any]:
    def value(part: Node, at: Point) -> Any:
        return as_float(Evaluator(at, DIGITS, False, log_base).value(part))

    sums, rest = [], mp.mpf(0)
    for part in _summands(node):
        if has(part, "∞"):
            sums.append(part)
        else:
            rest += value(part, point)
    if len(sums) != 1:
        raise Unreadable("several series that are no power series")
    total, *more = _totals(sums[0])
    if more or total[1] != "∑" or not _is_factor(sums[0], total):
        raise Unreadable("a series within a formula")
    yield rest + 1
    first = value(total[2], point)
    kept = at = 0
    while kept < TERMS:
        here = point | {total[5][1]: Fraction(int(first) + at)}
        term = value(_with(sums[0], total, total[4]), here)
        at += 1
        if abs(term) > mp.mpf(10) ** -45:
            kept += 1
            yield term
        elif at - kept > 4 * TERMS:
            raise Unreadable("a series of zeros")


def _summands(node: Node, sign: int = 1) -> Iterator[Node]:
    if node[0] == "+":
        yield from _summands(node[1], sign)
        yield from _summands(node[2], sign)
    elif node[0] == "-":
        yield from _summands(node[1], -sign)
    else:
        yield node if sign > 0 else ("-", node)


def _is_factor(node: Node, total: Node) -> bool:
    if node == total:
        return True
    if node[0] in "-*":
        return any(_is_factor(part, total) for part in node[1:])
    return node[0] == "/" and _is_factor(node[1], total)


def _with(node: Node, old: Node, new: Node) -> Node:
    if node == old:
        return new
    return tuple(_with(part, old, new) if isinstance(part, tuple) else part for part in node)


def check_series(node: Node) -> None:
    """
    Raises:
        NoGrammar: It has an infinite sum that cannot be compared here.
    """
    try:
        if not same_series(node, node, 0, seeds=1):
            raise NoGrammar("an infinite sum")
    except NoGrammar:
        raise
    except Unreadable as problem:
        raise NoGrammar(str(problem)) from problem
