"""Answers in a few fixed words: a function that is 0 otherwise, `4 ft × 12 ft`, `3000 @ 11%`, binomials as columns."""

import re
from collections.abc import Callable
from fractions import Fraction

from .bounds import Unreadable
from .brackets import split
from .formula import parse, variables
from .kinds import Reading
from .plain import number
from .points import same_value
from .same import renamed
from .units import Unit, singular, split_unit
from .vocabulary import counted


Reader = Callable[[str], Reading]

_NAME = r"\\?[A-Za-z]+ ?(?:_ ?(?:\w|\{[^{}]*\}))? ?\([^()]+\)"
_ELSE = r"«?(?:otherwise|elsewhere)»?"
_OTHERWISE = re.compile(
    rf"(?P<rest>.+?)[,;]? ?(?:«?and»? )?(?:(?:{_NAME} ?(?:=|equals) ?)?0,? {_ELSE}"
    rf"|{_ELSE},? ?(?:{_NAME} ?= ?|equals )?0"
    r"|P\( ?X ?= ?x ?\) ?= ?0,? «?for»? x ?≠ ?[0-9, ]+)"
)
_PIECE = re.compile(
    rf"(?:(?P<label>{_NAME}) ?(?:=|equals) ?)?(?P<value>[^=<>≤≥]+?),? «?(?:for|if|when)»? (?P<where>.+)"
)
_BY = re.compile(r" ?(?:\*|(?<=[ »])x(?=[ 0-9])|«by»|(?<= )by(?= )) ?")
_AT = re.compile(r" ?@ ?")
_COUNT = r"[0-9]+ «?[a-z]{3,12}»?"
_COUNTS = re.compile(rf"{_COUNT}(?:(?:,| and|, and) {_COUNT})+")
_WHERE = re.compile(r"(?P<main>.+?)[,;]? «?where»? (?P<names>.+)")
_COLUMN = re.compile(r"\(? ?⟦ ?([0-9]{1,3}) ?‖ ?([0-9]{1,3}) ?⟧ ?\)?")


def read_phrase(text: str, read: Reader) -> Reading | None:
    """`None` for texts that are none of these."""
    if "otherwise" in text or "elsewhere" in text or "=0 for x" in text:
        return _otherwise(text, read)
    if "where" in text:
        return _where(text, read)
    if "," in text and _COUNTS.fullmatch(text):
        return _counts(text)
    if "@" in text:
        return _rates(text, read)
    if "»" in text or " by " in text:
        return _dimensions(text, read)
    return None


def _otherwise(text: str, read: Reader) -> Reading | None:
    """`f(x) = 2x for 0 < x < 1 and 0 otherwise` as its pieces; of `p(1) = 1/4, … and 0 otherwise` the values."""
    match = _OTHERWISE.fullmatch(text)
    if not match or "⟪" in text:
        return None
    piece = _PIECE.fullmatch(match["rest"])
    if not piece:
        values = read(match["rest"])
        return values if values.kind == "list" and all(item.label for item in values.items) else None
    pieces = f"⟪§{piece['value']}¦{piece['where']}‖0¦otherwise⟫"
    return read(f"{piece['label']} = {pieces}" if piece["label"] else pieces)


def _rates(text: str, read: Reader) -> Reading | None:
    """`3000 @ 11%; 2400 @ 7%`: pairs, in any order."""
    pairs = []
    for part in split(text, re.compile(r"[,;]|(?<![A-Za-z])and(?![A-Za-z])"))[0]:
        sides = _AT.split(part)
        if len(sides) != 2:
            raise Unreadable("no amounts and their rates")
        items = tuple(read(side) for side in sides)
        if not all(item.kind == "scalar" for item in items):
            raise Unreadable("no amounts and their rates")
        pairs.append(Reading("tuple", "()", items))
    return pairs[0] if len(pairs) == 1 else Reading("list", items=tuple(pairs))


def _dimensions(text: str, read: Reader) -> Reading | None:
    """`4 ft × 12 ft`: both lengths, in any order."""
    sides = _BY.split(text)
    if not 2 <= len(sides) <= 3 or re.search(r"\b(?:wide|long|tall|high|deep|thick)\b", text):
        return None
    for side in sides:
        core, unit = split_unit(side)
        if number(core) is None or unit is None or unit.dimensions != (("length", 1),):
            return None
    return Reading("list", items=tuple(read(side) for side in sides))


def _where(text: str, read: Reader) -> Reading | None:
    """`v = ab, where a = 2 and b = x + 1`: the names stand for what is said."""
    match = _WHERE.fullmatch(text)
    named = match and [_read_or_none(part, read) for part in split(match["names"], re.compile(r"[,;]|\band\b"))[0]]
    if not match or not named or not all(item and item.kind == "scalar" and item.label for item in named):
        return None
    found = read(match["main"])
    for item in named:
        name = parse(item.label or "") if item else ("",)
        if not item or name[0] != "v" or item.value[0] == "∞" or name[1] in variables(item.value):
            return None
        found = renamed(found, name[1], item.value)
    return found


def _read_or_none(text: str, read: Reader) -> Reading | None:
    try:
        return read(text)
    except Unreadable:
        return None


def _counts(text: str) -> Reading | None:
    """`236 adult, 342 child`: nouns that are in the plural only in speech."""
    items = []
    for amount, noun in re.findall(r"([0-9]+) «?([a-z]+)", text):
        counts = counted(noun if noun.endswith("s") else f"{noun}s", False)
        if not counts or split_unit(f"5 «{noun}»")[1] is not None and not noun.endswith("s"):
            return None
        unit = Unit(((f"#{singular(counts)}", 1),), Fraction(1))
        items.append(Reading("scalar", ("n", Fraction(amount)), unit=unit))
    return Reading("list", items=tuple(items)) if len({item.unit for item in items}) == len(items) else None


def as_binomials(text: str) -> str | None:
    r"""`(9 over 7) = 36` where the binomial is written as a column: only if it has the value that is claimed."""
    text = _COLUMN.sub(r"\\binom {\1}{\2}", text)
    parts, relations = split(text, re.compile("="))
    if "⟦" in text or not relations or "\\binom" not in parts[0]:
        return None
    try:
        return text if same_value(parse(parts[0]), parse(parts[1])) else None
    except Unreadable:
        return None
