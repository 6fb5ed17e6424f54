"""What stands before an equals sign: a name, or the side of an equation; and which claim of a derivation counts."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

from .bounds import Unreadable
from .brackets import closing
from .formula import has, parse, variables
from .kinds import LABEL, Reading
from .plain import significant_digits, words
from .same import same
from .symbols import MARKS
from .value import as_float, constant
from .vocabulary import labels


Reader = Callable[[str], Reading]

_NAME = re.compile(rf"\\?[A-Za-z]+ ?[{MARKS}]?(?:_ ?(?:\w|\{{ ?\w+ ?\}}))?")


def ungrouped(text: str) -> str:
    """`{a_5}` as `a_5`."""
    while text.startswith("{") and closing(text, 0) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def is_label(text: str) -> bool:
    """A name, or words that say what the number is; not a formula, whose value the number would be."""
    if LABEL.fullmatch(text):
        word = re.match("[A-Za-z]*", text)[0]  # type: ignore[index]
        return len(word) < 2 or labels(word)
    return ("«" in text or words(text, loose=True) is not None) and labels(text)


def equation(parts: list[str], relations: list[str], read: Reader) -> Reading:
    label = None
    if LABEL.fullmatch(parts[0]) and not is_label(parts[0]) and not (words(parts[0]) or "").isdigit():
        raise Unreadable("the part before '=' is not a name")
    if is_label(parts[0]):
        if not (len(parts) == 2 and words(parts[0]) and words(parts[1])):
            label, parts, relations = re.sub(r"[{} ]", "", parts[0]), parts[1:], relations[1:]
    if label is not None and len(parts) > 1 and all(map(_is_name, parts[:-1])):
        return _names(label, parts, relations, read)
    for at in range(len(parts) - 2, -1, -1):  # a determinant or a product of vectors names what it is equal to
        if _VECTORS.search(parts[at]) and not _is_read(parts[at], read):
            label = label or "" if at == 0 else label
            parts, relations = [*parts[:at], *parts[at + 1 :]], [*relations[:at], *relations[at + 1 :]]
    sides = [read(part) for part in parts]
    if len(sides) > 1 and label is None and sides[0].kind == "matrix" and _are_unknowns(sides):
        label, sides, relations = "", sides[1:], relations[1:]  # the vector (x, y, z)
    last = sides[-1]
    if len(sides) > 1 and sides[0].kind == "scalar" and variables(sides[0].value):
        if all(side.kind == "matrix" for side in sides[1:]):  # as does a formula with names of vectors
            label, sides, relations = label or "", sides[1:], relations[1:]
    if label is not None:
        if len(sides) > 1 or sides[0].kind != "equation":
            _consistent(sides, relations)
            return replace(sides[0], label=label or None)
    if set(relations) == {"="} and all(side.kind in ("region", "tuple", "set", "matrix") for side in sides):
        _consistent(sides, relations)
        return sides[0]
    if not all(side.kind == "scalar" and side.value[0] != "∞" for side in sides):
        raise Unreadable("an equation between parts without a value")
    if any(has(side.value, "±", "∓") for side in sides):
        raise Unreadable("± in an equation")
    free = [variables(side.value) for side in sides]
    if len(sides) == 2 and not free[0] and free[1] and LABEL.fullmatch(parts[1]) and is_label(parts[1]):
        return replace(sides[0], label=parts[1])
    if not free[0] and not any(free):
        _consistent(sides, relations)
        return sides[0]
    if set(relations) != {"="}:
        raise Unreadable("an approximation of a formula")
    if len(sides) > 2 and free[0] and not any(free[1:]):  # |PQ × PR| = √(64 + 9) = √73
        _consistent(sides[1:], relations[1:])
        sides = [sides[0], last]
    if len(sides) == 2 and "*" in parts[0] and len(free[0]) > 1 and not free[1]:
        if all(name[-1] in MARKS for name in free[0]):  # a product of vectors, whose name `operator_name` compares
            return last
    if len(sides) > 2:
        return Reading("chain", items=tuple(sides))
    if any(side.unit for side in sides):
        raise Unreadable("an equation of a formula with a unit")
    return Reading("equation", ("+", sides[0].value, ("-", last.value)), items=(sides[0], last))


_VECTORS = re.compile(rf"⟦|\\overrightarrow|[{MARKS}]")


def _is_name(part: str) -> bool:
    return bool(_NAME.fullmatch(part) or LABEL.fullmatch(part) or words(part)) and is_label(part)


def _are_unknowns(sides: list[Reading]) -> bool:
    """Whether the first is a vector of names that the others do not have."""
    if not all(item.kind == "scalar" and item.value[0] == "v" for item in sides[0].items):
        return False
    names = {item.value[1] for item in sides[0].items}
    return len(names) == len(sides[0].items) and not any(
        names & variables(item.value) for side in sides[1:] for item in side.items if item.kind == "scalar"
    )


def _is_read(text: str, read: Reader) -> bool:
    try:
        read(text)
    except Unreadable:
        return False
    return True


def _names(label: str, parts: list[str], relations: list[str], read: Reader) -> Reading:
    """`x = y = 1`: each of them is; `a = b = c`: all are the same."""
    last = read(parts[-1])
    if set(relations) != {"="} or last.kind != "scalar":
        raise Unreadable("a chain of names")
    names = [label, *(re.sub(r"[{} ]", "", part) for part in parts[:-1])]
    if not variables(last.value):
        return Reading("list", items=tuple(replace(last, label=name) for name in names))
    if not all(map(_NAME.fullmatch, names)):
        raise Unreadable("a chain of names")
    return Reading("chain", items=(*(Reading("scalar", parse(name)) for name in names), last))


def _consistent(sides: list[Reading], relations: list[str]) -> None:
    """A chain must not contradict itself; an approximation must be what rounding gives."""
    for index, relation in enumerate(relations):
        left, right = sides[index], sides[index + 1]
        if relation == "≈":
            if left.kind != "scalar" or right.kind != "scalar":
                raise Unreadable("an approximation of something that is not a number")
            exact, near = constant(left.value), constant(right.value)
            if abs(float(exact) - float(near)) > 0.01 * abs(float(exact)):
                raise Unreadable("an approximation that is far off")
        elif not same(left, right) and not is_rounded(left, right):
            raise Unreadable("it contradicts itself")


def is_rounded(exact: Reading, decimal: Reading) -> bool:
    """Whether a decimal of three digits or more is a number, cut or rounded: 20 cos 20° = 18.79."""
    if not exact.kind == decimal.kind == "scalar" or significant_digits(decimal.text) < 3 or exact.unit:
        return False
    if exact.value[0] in "n∞" or variables(exact.value):
        return False
    places = len(decimal.text.partition(".")[2])
    number, step = as_float(constant(exact.value)), as_float(Fraction(1, 10**places))
    return bool(abs(number - as_float(constant(decimal.value))) <= step)


def final_claim(claims: Sequence[Reading | None]) -> Reading:
    """
    The last claim of a derivation. What comes before it may be anything but another value of the same thing.

    Raises:
        Unreadable: It cannot be read, or an earlier one says otherwise.
    """
    last = claims[-1] if claims else None
    if last is None:
        raise Unreadable("its last step is not an answer")
    for claim in claims[:-1]:
        if claim is None or claim.kind != last.kind or last.kind != "scalar" or claim.label != last.label:
            continue
        if not variables(claim.value) and not variables(last.value) and not same(claim, last):
            raise Unreadable("it contradicts itself")
    return last
