"""Parts of the real line: intervals, inequalities in one variable, unions and differences, in one form."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

from .bounds import Unreadable
from .formula import Node, has, parse, variables
from .kinds import Reading
from .value import order


# Intervals in order: lower end, whether it belongs, upper end, whether it belongs; an end that is `None` is infinite
REALS = Reading("region", ((None, False, None, False),))


def inequality(parts: list[str], relations: list[str]) -> Reading:
    sides = [parse(part) if "∞" not in part else None for part in parts]
    if relations == ["≠"] and sides[1] and sides[1][0] == "±":  # x ≠ ±5
        return combine([inequality([parts[0], f"{sign}{parts[1].lstrip('± ')}"], relations) for sign in "+-"], all)
    if any(side and has(side, "±", "∓") for side in sides):
        raise Unreadable("± in an inequality")
    if any(side and has(side, "i") for side in sides):
        raise Unreadable("an inequality between numbers that are not real")
    if len(sides) == 2 and any(side and side[:2] == ("f", "abs") for side in sides):
        return _absolute(sides, relations[0])
    sides, relations = _without_factor(sides, relations)
    names = sorted(set().union(*(variables(side) for side in sides if side)))
    variable = [index for index, side in enumerate(sides) if side and side[0] == "v"]
    if len(names) != 1 or len(variable) != 1 or len(parts) > 3 or relations == ["≠"] and len(parts) > 2:
        return _general_inequality(sides, relations)
    if any(side and variables(side) for index, side in enumerate(sides) if index != variable[0]):
        return _general_inequality(sides, relations)
    at, label = variable[0], names[0]
    if len(parts) == 3 and at != 1:
        raise Unreadable("a chain of inequalities with the variable at its end")
    if relations == ["≠"]:
        point = sides[1 - at]
        return Reading("region", ((None, False, point, False), (point, False, None, False)), label=label)
    low: tuple[Any, bool] = (None, False)
    high: tuple[Any, bool] = (None, False)
    for index, relation in enumerate(relations):
        other = index if index != at else index + 1
        below = (other < at) == (relation in "<≤")  # the other side is the lower end
        end = (sides[other], relation in "≤≥" and sides[other] is not None)
        low, high = (end, high) if below else (low, end)
    return Reading("region", _merged([(*low, *high)]), label=label)


def _without_factor(sides: list[Node | None], relations: list[str]) -> tuple[list[Node | None], list[str]]:
    """-x > -1 as x < 1: the factor of a variable is divided out; what is added to it is left to solve."""
    at = [index for index, side in enumerate(sides) if side and variables(side)]
    split = _factor(sides[at[0]]) if len(at) == 1 else None  # type: ignore[arg-type]
    if split is None:
        return sides, relations
    factor, variable = split
    if (sign := order(factor)) == 0:
        raise Unreadable("an inequality of 0 times a variable")
    sides = [variable if index == at[0] else side and ("/", side, factor) for index, side in enumerate(sides)]
    return sides, relations if sign > 0 else [_TURNED[relation] for relation in relations]


_TURNED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤", "≠": "≠"}


def _factor(node: Node) -> tuple[Node, Node] | None:
    """A variable and what it is multiplied with; `None` where it stands alone, or in something else."""
    if node[0] == "-":
        inner = node[1] if node[1][0] == "v" else None
        factor, variable = (("n", Fraction(1)), inner) if inner else _factor(node[1]) or (None, None)
        return (("-", factor), variable) if factor and variable else None
    if node[0] in "*/":
        left, right = node[1:]
        if left[0] == "v" and not variables(right):
            return (right, left) if node[0] == "*" else (("/", ("n", Fraction(1)), right), left)
        if node[0] == "*" and right[0] == "v" and not variables(left):
            return left, right
    return None


def _absolute(sides: list[Node | None], relation: str) -> Reading:
    """|x + a| < b and its like as a region."""
    at = 0 if sides[0] and sides[0][:2] == ("f", "abs") else 1
    inner, bound = sides[at][2], sides[1 - at]  # type: ignore[index]
    names = sorted(variables(inner))
    shift: Node = ("n", Fraction(0))
    if inner[0] == "+" and inner[1][0] == "v":
        inner, shift = inner[1], inner[2]
    if inner[0] != "v" or variables(shift) or bound is None or variables(bound):
        return _general_inequality(sides, [relation])
    closed, less = relation in "≤≥", (relation in "<≤") == (at == 0)
    ends = [("+", ("-", shift), ("-", bound)), ("+", ("-", shift), bound)]
    if less:
        return Reading("region", _merged([(ends[0], closed, ends[1], closed)]), label=names[0])
    return Reading("region", _merged([(None, False, ends[0], closed), (ends[1], closed, None, False)]), label=names[0])


def _general_inequality(sides: list[Node | None], relations: list[str]) -> Reading:
    left, right = sides[0], sides[-1]
    if len(sides) > 2 and all(sides):  # f(2) < f(1) < f(4)
        up = relations[0] in "<≤"
        items = tuple(Reading("scalar", side) for side in (sides if up else sides[::-1]))
        strict = tuple(relation in "<>" for relation in (relations if up else relations[::-1]))
        return Reading("order", strict, items)
    if len(sides) != 2 or left is None or right is None or relations == ["≠"]:
        raise Unreadable("an inequality of this form is not supported")
    difference = ("+", left, ("-", right)) if relations[0] in "<≤" else ("+", right, ("-", left))
    return Reading("inequality", difference, label="strict" if relations[0] in "<>" else "weak")


def region_of(reading: Reading) -> Reading:
    """As a region of the real line. Raises `Unreadable` for what is none."""
    if reading.kind == "region":
        return reading
    if reading == Reading("words", "no solution"):
        return Reading("region", ())
    if reading.kind == "set" and all(item.kind == "scalar" for item in reading.items):
        return Reading("region", _merged([(item.value, True, item.value, True) for item in reading.items]))
    if reading.kind == "tuple" and len(reading.items) == 2 and reading.value[0] in "([" and reading.value[1] in ")]":
        ends = [None if item.value[0] == "∞" else item.value for item in reading.items if item.kind == "scalar"]
        infinite = [item.value[0] == "∞" for item in reading.items if item.kind == "scalar"]
        if len(ends) == 2 and all(
            not flag or item.value[1] == sign
            for flag, item, sign in zip(infinite, reading.items, (-1, 1), strict=True)
        ):
            if (infinite[0] and reading.value[0] == "[") or (infinite[1] and reading.value[1] == "]"):
                raise Unreadable("an interval that contains infinity")
            return Reading("region", _merged([(ends[0], reading.value[0] == "[", ends[1], reading.value[1] == "]")]))
    raise Unreadable("it is not a part of the real line")


def _key(end: Any, closed: bool, low: bool) -> tuple[Any, int]:
    """Where an end lies, in order: an open lower end lies just above its number, an open upper end just below."""
    if end is None:
        return (float("-inf") if low else float("inf"), 0)
    return (order(end), 0 if closed else (1 if low else -1))


def _merged(intervals: list[tuple]) -> tuple[tuple, ...]:
    """Intervals in order, without empty ones, and joined where they touch."""
    kept = []
    for interval in intervals:
        low, high = _key(interval[0], interval[1], True), _key(interval[2], interval[3], False)
        if low <= high:
            kept.append((low, high, interval))
    kept.sort(key=lambda entry: entry[0])
    out: list[list[Any]] = []
    for low, high, interval in kept:
        if out and (low[0] < out[-1][1][0] or low[0] == out[-1][1][0] and low[1] - out[-1][1][1] <= 1):
            if high > out[-1][1]:
                out[-1][1], out[-1][2] = high, (*out[-1][2][:2], *interval[2:])
        else:
            out.append([low, high, interval])
    return tuple(entry[2] for entry in out)


def _complement(intervals: tuple[tuple, ...]) -> tuple[tuple, ...]:
    ends: list[tuple] = []
    low: tuple[Any, bool] | None = (None, False)
    for start, start_closed, end, end_closed in intervals:
        if start is not None and low is not None:
            ends.append((*low, start, not start_closed))
        low = None if end is None else (end, not end_closed)
    if low is not None:
        ends.append((*low, None, False))
    return _merged(ends)


def complement(regions: list[Reading]) -> Reading:
    """What lies in none of them. Raises `Unreadable` where one is no region."""
    names = {region.label for region in regions}
    parts = [part for region in regions for part in region_of(as_region(region)).value]
    return Reading("region", _complement(_merged(parts)), label=names.pop() if len(names) == 1 else None)


def as_region(reading: Reading) -> Reading:
    """x = 3, which stands beside x > 3, as {3}; x = 1, 2 likewise."""
    if reading.kind == "list" and reading.label and all(item.kind == "scalar" for item in reading.items):
        return replace(region_of(Reading("set", items=reading.items)), label=reading.label)
    if reading.kind == "scalar" and reading.label and reading.value[0] != "∞":
        return Reading("region", ((reading.value, True, reading.value, True),), label=reading.label)
    return reading


def combine_sets(regions: list[Reading], operator: str) -> Reading:
    if operator == "∪":
        return combine(regions, any)
    first, *others = regions
    if operator == "∖":
        others = [Reading("region", _complement(other.value)) for other in others]
    return combine([first, *others], all)


def combine(regions: list[Reading], how: Any) -> Reading:
    """Union (`any`) or intersection (`all`), the latter by complements."""
    if how is any:
        return Reading("region", _merged([part for region in regions for part in region.value]))
    outside = _merged([part for region in regions for part in _complement(region.value)])
    return Reading("region", _complement(outside))
