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
from .formula import Node, has, has_name, variables
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
    if not all(_forms(right, name) <= _forms(left, name) for name in names):
        return False  # a function in it that the reference's terms do not have: its closed form
    whole = _in_bounds(left) | _in_bounds(right)
    centres = {_centre(total, names) for total in _totals(left)}
    agree = _values_agree if len(centres) == 1 and None not in centres else _terms_agree
    found = 0
    for seed in range(seeds):
        try:
            if not agree(left, right, _near(centres, names, whole, random.Random(seed)), log_base):
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


def is_sum_of(function: Node, series: Node) -> bool:
    """Whether a power series is that of a function, close to its centre."""
    if is_series(function) or not is_series(series):
        return False
    names = sorted(variables(function) | variables(series))
    centres = {_centre(total, names) for total in _totals(series)}
    point = _near(centres, names, _in_bounds(series), random.Random(0))
    try:
        return len(centres) == 1 and None not in centres and _values_agree(function, series, point, 0)
    except NoValue:
        return False


def _near(centres: set, names: list[str], whole: set[str], draw: random.Random) -> Point:
    """A point close to the centre, if there is one."""
    point: Point = {}
    for name in names:
        point[name] = Fraction(draw.randint(3, 9)) if name in whole else _generic(draw) + 1
    if len(centres) == 1 and (centre := next(iter(centres))) is not None:
        point[centre[0]] = centre[1] + point[centre[0]] / 2 ** (STEP + 1)
    return point


def _totals(node: Node) -> Iterator[Node]:
    """The infinite sums and products in it."""
    if node[:2] in (("f", "∑"), ("f", "∏")) and node[3] == ("c", "∞"):
        yield node
    for part in node[1:]:
        if isinstance(part, tuple):
            yield from _totals(part)


def _forms(node: Node, name: str) -> set[str]:
    """How a variable occurs other than in sums, products and powers: functions, divisions, exponents, roots."""
    if not has_name(node, name):
        return set()
    found = set().union(*(_forms(part, name) for part in node[1:] if isinstance(part, tuple)))
    if node[0] == "f" and node[1] not in "∑∏":
        return found | {node[1]}
    if node[0] == "/" and has_name(node[2], name):
        return found | {"/"}
    if node[0] == "^" and has_name(node[2], name):
        return found | {"exp"}
    if node[0] == "^" and node[2][0] in "-/" and not _indexed(node[2]):
        return found | {"/" if node[2][0] == "-" else "root"}
    return found


def _indexed(node: Node) -> bool:
    """Whether a letter that runs occurs."""
    return node[0] == "v" and node[1][0] == "∑" or any(_indexed(part) for part in node[1:] if isinstance(part, tuple))


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
    if node[0] == "^" and has_name(node[2], letter) and variables(node[1]):
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
        Unreadable: It has an infinite sum that cannot be compared.
    """
    try:
        same_series(node, node, 0, seeds=1)
    except NoGrammar as problem:  # math-verify would take a series for the function that it is of
        raise Unreadable(str(problem)) from problem
