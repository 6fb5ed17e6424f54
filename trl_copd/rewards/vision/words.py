"""Numbers in English words and in digits, each read whole or not at all: "thirty-one" is no 1, "5 million" no 5."""

import math
import re
from collections.abc import Iterator

from .answer import DIGITS, digits_of


_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = {
    "dozen": 12, "hundred": 100, "thousand": 10**3, "lakh": 10**5, "million": 10**6, "mn": 10**6, "crore": 10**7,
    "billion": 10**9, "bn": 10**9, "trillion": 10**12, "tn": 10**12,
}  # fmt: skip
_PART = re.compile(
    rf"(?P<digits>{DIGITS})|\b(?:(?P<ones>{'|'.join(_ONES)})|(?P<tens>{'|'.join(_TENS)})|(?P<scale>{'|'.join(_SCALES)}))\b",
    re.IGNORECASE,
)
_JOIN = r"(?:\s+|[-‐‑])"
_NEXT = re.compile(_JOIN)
_AND = re.compile(rf"{_JOIN}and{_JOIN}", re.IGNORECASE)
_POINT = re.compile(r"\s+point\s+", re.IGNORECASE)
_MINUS = re.compile(r"\b(?:minus|negative)\s+(?:an?\s+)?\Z", re.IGNORECASE)
_HALF = re.compile(rf"\bhalf{_JOIN}(?:an?{_JOIN})?\Z", re.IGNORECASE)
_SHARE = "third|quarter|fourth|fifth|sixth|seventh|eighth|ninth|tenth|hundredth|thousandth|millionth"
# What makes another number of the one before it, which is then not read: fractions, "5 thousands", "thirty-odd"
_GOES_ON = re.compile(
    rf"{_JOIN}and{_JOIN}(?:an?|one){_JOIN}(?:half|{_SHARE})\b|[-‐‑](?:half|halves|(?:{_SHARE})s?|odd|something|ish|plus)\b"
    r"|\s+(?:thirds|fourths|fifths|sixths|sevenths|eighths|ninths|tenths|hundredths?|thousandths?|millionths?)\b"
    rf"|{_JOIN}(?:tens|dozens|hundreds|thousands|lakhs|millions|crores|billions|trillions)\b"
    r"|\s*[\u00bc-\u00be\u2150-\u215f]|\s*[×x*·⋅]\s*10",
    re.IGNORECASE,
)
_ORDINAL = re.compile(
    rf"{_JOIN}(?:and{_JOIN})?(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)\b", re.IGNORECASE
)
_OF_ONE = re.compile(rf"{_JOIN}(?:half|third)\b", re.IGNORECASE)


def whole_numbers(text: str) -> Iterator[tuple[float | None, bool]]:
    """The numbers of a text in their order: the value, `None` if it cannot be read; whether digits are part of it."""
    for run in _runs(text):
        value = _value(run)
        before, after = text[: run[0].start()], run[-1].end()
        tail = run[-1].lastgroup in ("tens", "scale") and _ORDINAL.match(text, after)
        share = value == 1 and _OF_ONE.match(text, after)
        if _GOES_ON.match(text, after) or tail or share or (run[0].lastgroup == "scale" and _HALF.search(before)):
            value = None
        elif value is not None and _MINUS.search(before):
            value = -value
        yield value, any(part.lastgroup == "digits" for part in run)


def _runs(text: str) -> Iterator[list[re.Match[str]]]:
    """The words and digits of each number."""
    run: list[re.Match[str]] = []
    for part in _PART.finditer(text):
        if run and not _joined(run[-1], text[run[-1].end() : part.start()], part):
            yield run
            run = []
        run.append(part)
    if run:
        yield run


def _joined(left: re.Match[str], gap: str, right: re.Match[str]) -> bool:
    if _NEXT.fullmatch(gap):
        return left.lastgroup in ("tens", "scale") or right.lastgroup == "scale"
    return bool(_POINT.fullmatch(gap) or (left.lastgroup == "scale" and _AND.fullmatch(gap)))


def _value(run: list[re.Match[str]]) -> float | None:
    """The value of "two hundred and five thousand"; `None` if the words do not make one number."""
    total, least = 0.0, math.inf
    part: float | None = None
    kind: str | None = None
    for match in run:
        before, kind = kind, match.lastgroup
        word = match.group().lower()
        if kind == "digits":
            if match is not run[0]:
                return None
            part = digits_of(word)
        elif kind in ("ones", "tens"):
            number = _ONES.index(word) if kind == "ones" else 10 * _TENS.index(word) + 20
            fits = before in (None, "hundred", "big") or (before == "tens" and kind == "ones" and number < 10)
            if not fits or (before is not None and number == 0):
                return None
            part = (part or 0) + number
        else:
            scale = _SCALES[word]
            kind = "hundred" if scale == 100 else "big" if scale > 100 else "dozen"
            if before in ("big", "dozen") or scale >= least or (scale <= 100 and part is not None and part >= 100):
                return None
            part = (1 if part is None else part) * scale
            if kind == "big":
                total, part, least = total + part, None, scale
    return total + (part or 0)
