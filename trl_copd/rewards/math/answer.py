r"""
From normalised text to what the answer is: a number, a set, an interval, an equation …

Only what has the shape of an answer is read: text that hedges becomes a list of two, and a chain like "3 = 7" is
refused.
"""

import functools
import re
from fractions import Fraction

from .formula import Node, has, parse, variables
from .kinds import LABEL, Reading, unlabelled
from .plain import based, number, words
from .region import REALS, combine, combine_sets, inequality, region_of
from .same import same
from .bounds import Unreadable
from .brackets import closing, split
from .units import Unit, measures, split_unit
from .value import constant
from .vocabulary import labels


_OR = re.compile(r"(?:[,;]\s*)?(?<![A-Za-z«])(?:or|and)(?![A-Za-z»])|[;,]", re.IGNORECASE)
_UNION = re.compile(r"∪|(?<![A-Za-z«])U(?![A-Za-z»_])")
_RELATION = re.compile(r"[=<>≤≥≠≈∈]|:=")
_THOUSANDS = re.compile(r"(?<![0-9.,])([0-9]{1,3}(?:,[0-9]{3})+)(?![0-9,])")
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2}) ?«?([ap])?(?:\.?m\.?)?»?", re.IGNORECASE)
_CLOCK_HOUR = re.compile(r"([0-9]{1,2}) ?«?([ap])\.?m\.?»?", re.IGNORECASE)
_RATIO = re.compile(r"[0-9.]+(?: ?: ?[0-9.]+)+|[0-9.]+ to [0-9.]+")
_CHOSEN = re.compile(r"«\(?([A-F])\)?[.:]?» ?(.+)")  # \textbf{(B)}\ 12
_MONTHS = {name: index for index, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_DATES = (
    re.compile(r"(?P<m>[A-Za-z]{3,9})\.? (?P<d>[0-9]{1,2})(?:st|nd|rd|th)?(?:,? (?P<y>[0-9]{4}))?"),
    re.compile(r"(?P<d>[0-9]{1,2})(?:st|nd|rd|th)?(?: of)? (?P<m>[A-Za-z]{3,9})\.?(?:,? (?P<y>[0-9]{4}))?"),
    re.compile(r"(?P<y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})"),
)
_ARC = re.compile(
    r"([0-9]+(?:\.[0-9]+)?) ?\^?° ?([0-9]+(?:\.[0-9]+)?) ?(?:'|\^\{'\})(?: ?([0-9]+(?:\.[0-9]+)?) ?(?:''|\"))?"
)


@functools.lru_cache(maxsize=4096)
def readings(text: str) -> tuple[Reading, ...]:
    """
    The ways to read a normalised text: two if its commas may separate thousands or members.

    Raises:
        Unreadable: There is none.
    """
    grouped = _THOUSANDS.sub(lambda match: match[1].replace(",", ""), text)
    found: list[Reading] = []
    problem: Unreadable | None = None
    for version in dict.fromkeys((grouped, text)):
        try:
            found.append(read(version))
        except Unreadable as error:
            problem = problem or error
    if not found:
        raise problem or Unreadable("it is empty")
    return tuple(found)


def read(text: str) -> Reading:
    """One reading. Raises `Unreadable`."""
    text = text.strip().rstrip(".,;").strip()
    if not text:
        raise Unreadable("a part of it is empty")
    special = _special(text)
    if special:
        return special
    parts, joints = split(text, _OR)
    if len(parts) > 1:
        return _list([read(part) for part in parts], joints)
    return _item(text)


def _special(text: str) -> Reading | None:
    """What is no formula: words, dates, times of day, ratios, numbers in a base."""
    if (said := words(text)) is not None:
        if said.isdigit():
            return Reading("scalar", parse(said), text=said)
        if said == "infinity":
            return Reading("scalar", ("∞", 1))
        if said == "ℝ":
            return REALS
        return Reading("words", said)
    bare = re.sub(r"[«»]", "", text).strip()
    for pattern in _DATES:
        if (match := pattern.fullmatch(bare)) and (month := _month(match["m"])):
            return Reading("words", f"{match['y'] or ''}-{month}-{int(match['d'])}")
    if (match := _CLOCK.fullmatch(text)) and int(match[1]) < 25 and int(match[2]) < 60:
        return Reading("clock", (int(match[1]), int(match[2]), (match[3] or "").lower()))
    if match := _CLOCK_HOUR.fullmatch(text):
        return Reading("clock", (int(match[1]), 0, match[2].lower()))
    if _RATIO.fullmatch(text):
        numbers = [number(part) for part in re.split(r" ?: ?| to ", text)]
        if all(value is not None for value in numbers) and any(numbers):
            return Reading("ratio", tuple(numbers))
    if (amount := measures(text)) is not None:
        return Reading("scalar", ("n", amount[0]), unit=amount[1])
    if (match := _CHOSEN.fullmatch(text)) and (chosen := read(match[2])).kind == "scalar":
        if not chosen.unit and re.search("[0-9]", match[2]):
            return Reading("choice", match[1].casefold(), (chosen,))
    if (value := based(text)) is not None:
        digits = Reading("scalar", ("n", Fraction(value[0])), text=str(value[0]))
        return digits if value[1] == 10 else Reading("based", value)
    return None


def _month(text: str) -> int | None:
    if text.isdigit():
        return int(text) if 1 <= int(text) <= 12 else None
    full = "january february march april may june july august september october november december".split()
    lower = text.lower()
    return _MONTHS.get(lower) or (full.index(lower) + 1 if lower in full else None)


def _list(items: list[Reading], joints: list[str]) -> Reading:
    """Several answers; conditions on one variable are one region: "x < 1 or x > 5"."""
    if all(item.kind == "region" for item in items) and len({item.label for item in items}) == 1:
        either = combine(items, any)
        both = combine(items, all)
        conjunction = all(re.search("and|,", joint, re.IGNORECASE) for joint in joints)
        if not both.value and any(re.search("and", joint, re.IGNORECASE) for joint in joints):
            raise Unreadable("no number meets all its conditions")
        chosen = both if conjunction and both.value else either
        return Reading("region", chosen.value, label=items[0].label)
    flat: list[Reading] = []
    for item in items:  # "±1, 2" has three members
        flat.extend(item.items if item.kind == "list" else [item])
    if len({item.label for item in flat}) == 1 or all(item.label in (flat[0].label, None) for item in flat):
        label = flat[0].label  # "x = 1 or x = 2", "x = 1, 2"
        return Reading("list", items=tuple(unlabelled(item) for item in flat), label=label)
    return Reading("list", items=tuple(flat))


def _item(text: str) -> Reading:
    parts, relations = split(text, _RELATION)
    if not relations:
        return _value(text)
    if not parts[0] and relations[0] in "=≈" and len(parts) == 2:  # "= 5" goes on from the text before the box
        return read(parts[1])
    if any(not part for part in parts):
        raise Unreadable("a side of a relation is empty")
    if relations == ["∈"]:
        if not _is_label(parts[0]) or _value(parts[1]).kind not in ("set", "tuple", "region", "words"):
            raise Unreadable("nothing that is a member of a set")
        return Reading(**{**_value(parts[1]).__dict__, "label": parts[0]})
    kinds = set(relations)
    if kinds <= {"<", "≤"} or kinds <= {">", "≥"} or relations == ["≠"]:
        return inequality(parts, relations)
    if kinds <= {"=", ":=", "≈"}:
        return _equation(parts, relations)
    raise Unreadable("relations of different kinds stand in one chain")


def _value(text: str) -> Reading:
    """What has no relation and no separator outside brackets."""
    for operator in ("∪", "∖", "∩"):
        parts, found = split(text, _UNION if operator == "∪" else re.compile(operator))
        if found and all(parts):
            return combine_sets([region_of(read(part)) for part in parts], operator)
    if text in ("ℝ", "∅", "⦃ ⦄", "⦃⦄"):
        return REALS if text == "ℝ" else Reading("words", "no solution")
    if text[0] in "([⦃⟨⟦|" or text[0] == "{":
        if text[0] != "|" and closing(text, 0) == len(text) - 1:
            bracketed = _bracketed(text)
            if bracketed:
                return bracketed
    return _scalar(text)


def _bracketed(text: str) -> Reading | None:
    inner = text[1:-1].strip()
    if text[0] == "⟦":
        rows = [row.split("¦") for row in inner.split("‖")]
        if len({len(row) for row in rows}) != 1:
            raise Unreadable("the rows of a matrix differ in length")
        return Reading("matrix", (len(rows), len(rows[0])), tuple(read(cell) for row in rows for cell in row))
    if text[0] == "⦃" and (builder := re.match(r"\\?[a-zA-Z]+ ?(?:∈ ?ℝ ?)?[|:](.*)", inner)):
        return read(builder[1])
    if not inner:
        raise Unreadable("brackets hold nothing")
    parts, joints = split(inner, re.compile(r"[,;]"))
    if not joints and text[0] != "⦃":
        if text[-1] != {"(": ")", "[": "]", "⟨": "⟩", "{": "}"}[text[0]]:
            raise Unreadable("brackets that do not match hold one member")
        if (
            inner[0] == "⟦"
            or re.search(r"[=<>≤≥≠]", inner)
            or re.search(r"(?<![A-Za-z])(?:or|and)(?![A-Za-z])", inner)
        ):
            return read(inner)
        return None  # a group within a formula
    items = tuple(read(part) for part in parts)
    if text[0] == "⦃":
        members = [member for item in items for member in (item.items if item.kind == "list" else (item,))]
        return Reading("set", items=tuple(unlabelled(member) for member in members))
    return Reading("tuple", text[0] + text[-1], items)


def _scalar(text: str) -> Reading:
    if text in ("∞", "+∞", "+ ∞", "-∞", "- ∞"):
        return Reading("scalar", ("∞", -1 if text[0] == "-" else 1))
    if match := _ARC.fullmatch(text):
        value = Fraction(match[1]) + Fraction(match[2]) / 60 + Fraction(match[3] or 0) / 3600
        return Reading("scalar", ("n", value), unit=Unit((("angle", 1),), Fraction(1)))
    core, unit = split_unit(text)
    exact = number(core)
    tree: Node = ("n", exact) if exact is not None else parse(core)
    if unit is not None and unit.multiple != 1:  # 5 million
        tree, core = ("*", tree, ("n", unit.multiple)), ""
    if unit is not None and not unit.dimensions:  # 5 units, 5 cm/m
        tree, unit = tree if unit.factor == 1 else ("*", tree, ("n", unit.factor)), None
    if has(tree, "±", "∓"):
        both = [_signed(tree, sign) for sign in (1, -1)]
        return Reading("list", items=tuple(Reading("scalar", part, unit=unit) for part in both))
    return Reading("scalar", tree, unit=unit, text=core)


def _signed(node: Node, sign: int) -> Node:
    """The tree with ± as + or −."""
    if node[0] in ("±", "∓"):
        inner = _signed(node[1], sign)
        return inner if (sign > 0) == (node[0] == "±") else ("-", inner)
    return tuple(_signed(part, sign) if isinstance(part, tuple) else part for part in node)


def _is_label(text: str) -> bool:
    """A name, or words that say what the number is; not a formula, whose value the number would be."""
    if LABEL.fullmatch(text):
        word = re.match("[A-Za-z]*", text)[0]  # type: ignore[index]
        return len(word) < 2 or labels(word)
    return ("«" in text or words(text, loose=True) is not None) and labels(text)


def _equation(parts: list[str], relations: list[str]) -> Reading:
    label = None
    if LABEL.fullmatch(parts[0]) and not _is_label(parts[0]) and not (words(parts[0]) or "").isdigit():
        raise Unreadable("what stands before '=' is no name")
    if _is_label(parts[0]):
        if not (len(parts) == 2 and words(parts[0]) and words(parts[1])):
            label, parts, relations = re.sub(r"[{} ]", "", parts[0]), parts[1:], relations[1:]
    sides = [read(part) for part in parts]
    last = sides[-1]
    if label is not None:
        _consistent(sides, relations)
        return Reading(**{**sides[0].__dict__, "label": label})
    if not all(side.kind == "scalar" and side.value[0] != "∞" for side in sides):
        raise Unreadable("an equation between what has no value")
    if any(has(side.value, "±", "∓") for side in sides):
        raise Unreadable("± in an equation")
    free = [variables(side.value) for side in sides]
    if len(sides) == 2 and not free[0] and free[1] and LABEL.fullmatch(parts[1]) and _is_label(parts[1]):
        return Reading(**{**sides[0].__dict__, "label": parts[1]})
    if not free[0] and not any(free):
        _consistent(sides, relations)
        return sides[0]
    if relations != ["="]:
        raise Unreadable("a chain of equations between formulas")
    return Reading("equation", ("+", sides[0].value, ("-", last.value)), items=(sides[0], last))


def _consistent(sides: list[Reading], relations: list[str]) -> None:
    """A chain must not contradict itself; an approximation must be what rounding gives."""
    for index, relation in enumerate(relations):
        left, right = sides[index], sides[index + 1]
        if relation == "≈":
            if left.kind != "scalar" or right.kind != "scalar":
                raise Unreadable("an approximation of what is no number")
            exact, near = constant(left.value), constant(right.value)
            if abs(float(exact) - float(near)) > 0.01 * abs(float(exact)):
                raise Unreadable("an approximation that is far off")
        elif not same(left, right):
            raise Unreadable("it contradicts itself")
