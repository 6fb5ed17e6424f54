"""When two numbers, formulas or equations are the same, and the names that stand before them."""

import re
from fractions import Fraction
from typing import Any

from .bounds import Unreadable
from .formula import Node, parse, variables
from .kinds import LABEL, Reading
from .plain import approximates, number, significant_digits
from .points import proportional, same_value
from .symbols import ACCENTS, MARKS
from .units import Unit
from .value import as_float, constant
from .vocabulary import AMOUNTS, QUANTITIES


# A formula of these, "x + y = 5", may be a line or a circle, which its right side alone is not
COORDINATES = frozenset("xyzrt")


def asked(node: Node) -> bool:
    """
    Whether a question may ask for the value of a formula: `a+b`, `x^2+y^2`, `\\sin x`. With one unknown, or numbers in
    it, it is an equation that is left to solve: `2x`, `x^2`, `x-1`.
    """
    if node[0] == "f" and node[1] in ("sin", "cos", "tan", "cot", "sec", "csc", "gcd", "lcm", "min", "max"):
        return True
    if node[0] == "f" and node[1] == "abs" and _is_measured(node[2]):
        return True
    first = node
    while first[0] in "+*/":
        first = first[1]
    return len(variables(node)) > 1 and first[0] != "-" and not _has_number(node)


def _is_measured(node: Node) -> bool:
    """Whether bars around it mean a length or a modulus, as in |AB|, |z|; |x| = 5 is left to solve."""
    names = variables(node)
    marked = all(name[0] in "uvwz" or name[0].isupper() or name[-1] in MARKS for name in names)
    return bool(names) and not _has_number(node) and (marked or len(names) > 1)


def _has_number(node: Node) -> bool:
    """Other than in an exponent."""
    if node[0] == "n":
        return True
    parts = node[1:2] if node[0] == "^" else node[1:]
    return any(_has_number(part) for part in parts if isinstance(part, tuple))


def same_label(gold: Reading, given: Reading) -> bool:
    """Labels that both name something must agree; words, and y for f(x), name nothing in particular."""
    if gold.label is None or given.label is None or _one_name(gold.label) == _one_name(given.label):
        return True
    if gold.label[0] == given.label[0] == "✦":  # a maximum is no minimum
        return False
    if gold.kind == "scalar" and variables(gold.value) and gold.value[0] != "v":
        # y = 2x + 1 and x = (y − 1)/2 are one line; f(x) = … and y = … one function
        functions = [label for label in (gold.label, given.label) if "(" in label or label == "y"]
        return len(functions) == 2 and "y" in functions
    return not all(map(_is_name, (gold.label, given.label))) and not _other_quantity(gold.label, given.label)


def _is_name(label: str) -> bool:
    return bool(LABEL.fullmatch(label.replace("^-1", "")) or re.fullmatch(r"\\?[A-Za-z]+_\S+", label))


def _other_quantity(gold: str, given: str) -> bool:
    """Whether words before an equals sign say different things: the mean and the median, the areas of ABC and ABD."""
    if _is_name(gold) or _is_name(given):
        return False
    known = [
        {QUANTITIES[word] for word in re.findall("[a-z]+", name.lower()) if word in QUANTITIES}
        for name in (gold, given)
    ]
    points = [
        {"".join(sorted(word)) for word in re.findall(r"(?<![a-z])[A-Z]{2,4}(?![a-z])", name)}
        for name in (gold, given)
    ]
    return any(all(sets) and sets[0].isdisjoint(sets[1]) for sets in (known, points))


_SEGMENT = re.compile(rf"\|([A-Z])([A-Z])[{MARKS}]?\||([A-Z])([A-Z]){ACCENTS['overline']}?")
_OF_TRIANGLE = re.compile(r"(angle_|S_)△?([A-Z])([A-Z])([A-Z])")


def _one_name(label: str) -> str:
    """One spelling for names of one thing: AB, BA and |AB|, the angles ABC and CBA, E[X] and E(X)."""
    if match := _SEGMENT.fullmatch(label):
        return "".join(sorted(letter for letter in match.groups() if letter))
    if match := _OF_TRIANGLE.fullmatch(label):
        kind, first, middle, last = match.groups()
        if kind == "S_":
            return kind + "".join(sorted((first, middle, last)))
        return kind + min(first, last) + middle + max(first, last)
    return label.removeprefix("angle_").replace("[", "(").replace("]", ")")


def same_scalar(gold: Reading, given: Reading) -> bool:
    a, b = gold.value, given.value
    if "∞" in (a[0], b[0]):
        return bool(a == b)
    if gold.unit and given.unit:
        if gold.unit.dimensions != given.unit.dimensions:
            kinds = {gold.unit.dimensions, given.unit.dimensions}
            if (("angle", 1),) in kinds and kinds & {(("celsius", 1),), (("fahrenheit", 1),)}:  # 25° for 25 °C
                return same_value(a, b)
            if kinds == {(("angle", 1),), (("radian", 1),)}:
                a, b = _radians(a, gold.unit), _radians(b, given.unit)
                return same_value(a, b)
            return False
        a, b = ("*", a, ("n", gold.unit.factor)), ("*", b, ("n", given.unit.factor))
    elif given.unit and any(name.lstrip("#") in AMOUNTS for name, _ in given.unit.dimensions):
        return False
    if a == b or same_value(a, b):
        return True
    if gold.tolerance and not variables(a) and not variables(b):
        return near(constant(a), constant(b), gold.tolerance)
    if gold.label and given.label and variables(a) | variables(b) and gold.label != given.label:
        return False
    return gold.unit == given.unit and (_rounded(gold, given) or _rounded(given, gold))


def near(exact: Any, value: Any, tolerance: float) -> bool:
    """Whether a real number is another, up to a share of it. Nothing but 0 is near 0."""
    exact, value = as_float(exact), as_float(value)
    return bool(abs(value - exact) <= abs(exact) * tolerance)


def _radians(value: Node, unit: Unit) -> Node:
    return ("*", value, ("/", ("c", "π"), ("n", Fraction(180)))) if unit.dimensions[0][0] == "angle" else value


def _rounded(decimal: Reading, exact: Reading) -> bool:
    """Whether a decimal of many digits is the other, which has no end, cut or rounded."""
    if significant_digits(decimal.text) == 0 or significant_digits(exact.text) or variables(exact.value):
        return False
    value = number(decimal.text)
    if value is None:
        return False
    try:
        target = constant(exact.value)
    except Unreadable:
        return False
    if not isinstance(target, Fraction):
        # near enough, and without end, as what it stands for
        scale = 10 ** (len(decimal.text) + 20)
        target = Fraction(int(target * scale), scale) + Fraction(1, 3 * scale)
    return approximates(decimal.text, value, target)


def same_equation(gold: Reading, given: Reading) -> bool:
    """Equations with the same solutions, as far as a constant factor tells: y = 2x + 1 and 2x − y + 1 = 0."""
    trees = []
    for side in (gold, given):
        if side.kind == "equation":
            trees.append(side.value)
        else:
            name = "y" if "(" in (side.label or "") else side.label or ""
            left = parse(name) if re.fullmatch(r"\\?[a-z]{1,7}", name) else ("v", name)  # xy is a product
            trees.append(("+", left, ("-", side.value)))
    if len(variables(trees[0])) < 2 and not gold.kind == given.kind == "equation":
        return False  # one unknown: an equation that is not solved is no answer, unless that is what was asked
    return variables(trees[0]) == variables(trees[1]) and proportional(*trees)
