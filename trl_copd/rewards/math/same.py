"""When two answers are the same. What they are said to be (`x` in "x = 5") counts where both say it."""

from dataclasses import replace
from fractions import Fraction
from math import gcd
from typing import Any

from .bounds import Unreadable
from .formula import Node, parse, variables
from .kinds import LABEL, Reading, unlabelled
from .plain import words
from .points import check_value, proportional, same_value
from .region import region_of
from .scalars import COORDINATES, asked, same_equation, same_label, same_scalar
from .series import is_series, is_sum_of
from .spaces import as_basis, as_eigen, same_basis, same_eigen
from .value import constant


def same(gold: Reading, given: Reading) -> bool:
    """
    Whether the two are the same answer.

    Raises:
        Unreadable: One of them has no value.
    """
    if given.kind == "choice" and gold.kind != "choice":  # "(B) 12": the letter or the value may be what was asked
        return gold == Reading("words", given.value) or _is_letter(gold, given.value) or same(gold, given.items[0])
    if gold.kind == "choice" and given.kind != "choice":
        return same(given, gold)
    if gold.kind == "basis":
        return same_basis(gold, as_basis(given))
    if gold.kind == "eigen":
        return same_eigen(gold, as_eigen(given))
    if given.kind in ("basis", "eigen"):
        return False
    if (gold.kind, given.kind) == ("clock", "ratio") and gcd(*gold.value[:2]) != 1:
        return False  # 10:30 is a time of day; as a ratio it would be 1:3
    if (gold.kind, given.kind) == ("list", "set") and _is_assigned(gold):
        return False
    if gold.kind == given.kind == "scalar":
        return same_label(gold, given) and same_scalar(gold, given) or _is_line(gold, given)
    if gold.kind == given.kind:
        return _SAME[gold.kind](gold, given) and same_label(gold, given)
    for (kind, other), compare in _ACROSS.items():
        if (gold.kind, given.kind) == (kind, other):
            return compare(gold, given)
        if (given.kind, gold.kind) == (kind, other):
            return compare(given, gold)
    if gold.kind == "scalar" and given.kind == "equation":
        if gold.label and variables(gold.value):
            return same_equation(gold, given)
        if is_series(gold.value):  # e^x = Σ x^n/n!
            left, right = given.items
            return is_sum_of(left.value, right.value) and same(gold, right)
        # "a + b = 5" for 5; not for a formula, since the left side may be what the question gave
        left, right = given.items
        if gold.label and LABEL.fullmatch(gold.label):
            return same_value(parse(gold.label), left.value) and same(unlabelled(gold), right)
        return not variables(gold.value) and not variables(right.value) and asked(left.value) and same(gold, right)
    if gold.kind == "equation" and given.kind == "scalar":
        if given.label:
            return same_equation(gold, given)
        left, right = gold.items
        line = left.value[0] != "f" and variables(left.value) <= COORDINATES
        return not line and not variables(right.value) and asked(left.value) and same(right, given)
    return False


def _is_assigned(gold: Reading) -> bool:
    """Whether a list gives values to different names or parts: "x = 1, y = 2", and not "x_1 = 1, x_2 = 2"."""
    return len({item.label.partition("_")[0] for item in gold.items if item.label}) > 1


def _is_letter(reading: Reading, letter: str) -> bool:
    return reading.kind == "scalar" and reading.value[0] in "vc" and reading.value[1].casefold() == letter


def _is_line(gold: Reading, given: Reading) -> bool:
    """y = 2x is x = y/2; but f(x) = 2x is not g(x) = 2x."""
    labels = (gold.label, given.label)
    if not all(labels) or any("(" in label for label in labels if label) or gold.unit or given.unit:
        return False
    return bool(variables(gold.value)) and same_equation(gold, given)


def _same_inequality(gold: Reading, given: Reading) -> bool:
    return gold.label == given.label and proportional(gold.value, given.value, positive=True)


def _same_region(gold: Reading, given: Reading) -> bool:
    return len(gold.value) == len(given.value) and all(
        a[1] == b[1] and a[3] == b[3] and _same_end(a[0], b[0]) and _same_end(a[2], b[2])
        for a, b in zip(gold.value, given.value, strict=True)
    )


def _same_end(a: Any, b: Any) -> bool:
    return a is b if a is None or b is None else same_value(a, b)


def _same_ratio(gold: Reading, given: Reading) -> bool:
    a, b = gold.value, given.value
    return len(a) == len(b) and all(x * b[0] == y * a[0] for x, y in zip(a, b, strict=True)) and any(b) == any(a)


def _same_proportion(gold: Reading, given: Reading) -> bool:
    """1 : √2 is √2 : 2."""
    first, other = gold.items[0].value, given.items[0].value
    if any(same_value(value, ("n", Fraction(0))) for value in (first, other)):
        raise Unreadable("a ratio with 0")
    return len(gold.items) == len(given.items) and all(
        same_value(("*", a.value, other), ("*", b.value, first))
        for a, b in zip(gold.items[1:], given.items[1:], strict=True)
    )


def _same_clock(gold: Reading, given: Reading) -> bool:
    """3:30 PM is 15:30; without AM or PM on one side the digits decide."""
    (hour, minute, half), (other_hour, other_minute, other_half) = gold.value, given.value
    if bool(half) != bool(other_half) and 0 < min(hour, other_hour) and max(hour, other_hour) <= 12:
        return (hour % 12, minute) == (other_hour % 12, other_minute)
    return (_hours(hour, half), minute) == (_hours(other_hour, other_half), other_minute)


def _hours(hour: int, half: str) -> int:
    return hour if not half else hour % 12 + (12 if half == "p" else 0)


def _members(reading: Reading) -> list[Reading]:
    """Of a set, each once."""
    found: list[Reading] = []
    for item in reading.items:
        if reading.kind == "list" or not any(same(item, other) for other in found):
            found.append(item)
    return found


def _same_members(gold: list[Reading], given: list[Reading]) -> bool:
    if len(gold) != len(given):
        return False
    rest = list(given)
    for item in gold:
        match = next((index for index, other in enumerate(rest) if same(item, other)), None)
        if match is None:
            return False
        del rest[match]
    return True


def _same_chain(gold: Reading, given: Reading) -> bool:
    return _same_members(list(gold.items), list(given.items))


def _same_congruence(gold: Reading, given: Reading) -> bool:
    """The same classes: 8 is 3 modulo 5."""
    if gold.value != given.value:
        return False
    modulus = int(gold.value)
    classes = [{_whole(item) % modulus for item in side.items} for side in (gold, given)]
    return classes[0] == classes[1]


def _same_class(family: Reading, congruence: Reading) -> bool:
    """7k + 3 for every whole k is 3 modulo 7."""
    name, domain = family.value
    first, second, last = (_whole(renamed(family.items[0], name, ("n", Fraction(at)))) for at in range(3))
    if domain != "ℤ" or len(congruence.items) != 1 or first - 2 * second + last:
        return False
    return abs(second - first) == congruence.value and (_whole(congruence.items[0]) - first) % (second - first) == 0


def _whole(reading: Reading) -> int:
    value = constant(reading.value) if reading.kind == "scalar" and reading.value[0] != "∞" else None
    if not isinstance(value, Fraction) or value.denominator > 1:
        raise Unreadable("a class that is not a whole number")
    return int(value)


def _same_family(gold: Reading, given: Reading) -> bool:
    """Also where the whole number is called otherwise, counts backwards, or from another start."""
    if gold.value[1] != given.value[1]:
        return False
    number: Node = ("v", "#k")
    reference = renamed(gold.items[0], gold.value[0], number)
    steps = [(sign, shift) for shift in (0, 1, -1, 2, -2) for sign in (1, -1)]
    for sign, shift in steps if gold.value[1] == "ℤ" else [(1, 0)]:
        other: Node = ("+", number if sign > 0 else ("-", number), ("n", Fraction(shift)))
        if same(reference, renamed(given.items[0], given.value[0], other)):
            return True
    return False


def renamed(reading: Reading, name: str, node: Node) -> Reading:
    def within(value: Any) -> Any:
        if not isinstance(value, tuple):
            return value
        return node if value == ("v", name) else tuple(within(part) for part in value)

    items = tuple(renamed(item, name, node) for item in reading.items)
    return replace(reading, value=within(reading.value), items=items, text="")


def _same_list(gold: Reading, given: Reading) -> bool:
    """Without order, unless one side says which is which: "x = 1, y = 2" is "1, 2" and not "2, 1"."""
    labels = [[item.label for item in side.items] for side in (gold, given)]
    for name, others in ((gold.label, labels[1]), (given.label, labels[0])):
        if name and any(other and other.partition("_")[0] != name.partition("_")[0] for other in others):
            return False  # "x = 3 or x = -2" is not "x = 3 and y = -2"
    apart = [any(name and name[0] == "⟬" for name in names) for names in labels]
    if all(labels[0]) and len(set(labels[0])) > 1 and (set(labels[0]) == set(labels[1]) or apart[0] != apart[1]):
        labels[1] = []  # the parts of an answer are in order, whatever is named in them
    if any(all(ours) and len(set(ours)) > 1 and not any(theirs) for ours, theirs in (labels, labels[::-1])):
        sides = [sorted(side.items, key=lambda item: item.label or "") for side in (gold, given)]
        return _same_order(*(Reading("list", items=tuple(map(unlabelled, side))) for side in sides))
    return _same_members(_members(gold), _members(given))


def _same_order(gold: Reading, given: Reading) -> bool:
    return len(gold.items) == len(given.items) and all(
        same(a, b) for a, b in zip(gold.items, given.items, strict=True)
    )


_VECTORS = ("()", "⟨⟩")


def _same_coordinates(listed: Reading, other: Reading) -> bool:
    """A list against a tuple: "1, 2" in order, or "x = 1, y = 2" in any."""
    if other.value not in _VECTORS or any(item.kind == "list" for item in other.items):
        return False
    if all(item.label for item in listed.items):
        ordered = tuple(unlabelled(item) for item in sorted(listed.items, key=lambda item: item.label or ""))
        return _same_order(Reading("tuple", items=ordered), other)
    return listed.label is None and _same_order(listed, other)


def _same_as_region(region: Reading, other: Reading) -> bool:
    try:
        return _same_region(region, region_of(other))
    except Unreadable:
        return False


def _is_fraction(ratio: Reading) -> bool:
    return len(ratio.value) == 2 and ratio.value[1] != 0


def _quotient(ratio: Reading) -> Fraction:
    return ratio.value[0] / ratio.value[1]


_SAME = {
    "words": lambda gold, given: gold.value == given.value,
    "choice": lambda gold, given: gold.value == given.value and same(gold.items[0], given.items[0]),
    "based": lambda gold, given: gold.value == given.value,
    "clock": _same_clock,
    "ratio": _same_ratio,
    "list": _same_list,
    "set": lambda gold, given: _same_members(_members(gold), _members(given)),
    "tuple": lambda gold, given: (
        gold.value.replace("⟨", "(").replace("⟩", ")") == given.value.replace("⟨", "(").replace("⟩", ")")
        and _same_order(gold, given)
    ),
    "matrix": lambda gold, given: gold.value == given.value and _same_order(gold, given),
    "order": lambda gold, given: gold.value == given.value and _same_order(gold, given),
    "region": _same_region,
    "equation": same_equation,
    "inequality": _same_inequality,
    "chain": _same_chain,
    "proportion": _same_proportion,
    "congruence": _same_congruence,
    "family": _same_family,
    "pieces": lambda gold, given: _same_members(list(gold.items), list(given.items)),
}

# Kinds that mean the same in other clothes; the first is passed first, whichever of them is the reference
_ACROSS = {
    ("region", "tuple"): _same_as_region,
    ("region", "set"): _same_as_region,
    ("region", "words"): _same_as_region,
    ("set", "tuple"): lambda one, other: len(one.items) == 1 and same(one.items[0], other),
    ("list", "set"): lambda one, other: _same_members(_members(one), _members(other)),
    ("set", "scalar"): lambda one, other: len(one.items) == 1 and same(one.items[0], unlabelled(other)),
    ("list", "tuple"): _same_coordinates,
    ("matrix", "tuple"): lambda one, other: one.value[1] == 1 and other.value in _VECTORS and _same_order(one, other),
    ("ratio", "scalar"): lambda one, other: _is_fraction(one) and same_value(("n", _quotient(one)), other.value),
    ("ratio", "clock"): lambda one, other: (
        not other.value[2] and _same_ratio(one, Reading("ratio", tuple(map(Fraction, other.value[:2]))))
    ),
    # "k\\pi" where it goes without saying that k is a whole number
    **{
        ("family", kind): lambda one, other: same(one.items[0], other)
        for kind in ("scalar", "list", "tuple", "region")
    },
    # the letter of a choice, or those of several
    ("words", "scalar"): lambda one, other: _is_letter(other, one.value) or one.value == words(other.text, loose=True),
    ("family", "congruence"): lambda one, other: _same_class(one, other),
}


def check(reading: Reading) -> None:
    """Raise `Unreadable` for an answer without a value, such as 1/0: as a reference it would match nothing."""
    for item in reading.items:
        check(item)
    if reading.kind in ("scalar", "equation", "inequality") and reading.value[0] != "∞":
        check_value(reading.value)
