"""What stands before an equals sign: a name, or the side of an equation; and which claim of a derivation counts."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from .bounds import Unreadable
from .brackets import closing
from .formula import has, parse, variables
from .kinds import LABEL, Reading
from .plain import words
from .same import same
from .symbols import MARKS
from .value import constant
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
    if label is not None and len(parts) > 1 and all(_NAME.fullmatch(part) and is_label(part) for part in parts[:-1]):
        return _names(label, parts, relations, read)
    if label is None and "⟦" in parts[0] and len(parts) > 1 and not _is_read(parts[0], read):
        label, parts, relations = "", parts[1:], relations[1:]  # a determinant or inverse names what it is equal to
    sides = [read(part) for part in parts]
    last = sides[-1]
    if len(sides) > 1 and sides[0].kind == "scalar" and variables(sides[0].value) and label is None:
        if all(side.kind == "matrix" for side in sides[1:]):  # as does a formula with names of vectors
            label, sides, relations = "", sides[1:], relations[1:]
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
    if len(sides) > 2:
        return Reading("chain", items=tuple(sides))
    return Reading("equation", ("+", sides[0].value, ("-", last.value)), items=(sides[0], last))


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
        elif not same(left, right):
            raise Unreadable("it contradicts itself")


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
