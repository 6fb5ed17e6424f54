"""Answers that are no formula: words, dates, times of day, ratios, numbers in a base, mixed measures."""

import re
from fractions import Fraction

from .formula import parse
from .kinds import Reading
from .plain import based, number, words
from .region import REALS
from .units import Unit, measures


_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2}) ?«?([ap])?(?:\.?m\.?)?»?", re.IGNORECASE)
_CLOCK_SECONDS = re.compile(r"([0-9]{1,2}):([0-9]{2}):([0-9]{2}) ?«?([ap])\.?m\.?»?", re.IGNORECASE)
_CLOCK_HOUR = re.compile(r"([0-9]{1,2}) ?«?([ap])\.?m\.?»?", re.IGNORECASE)
_RATIO = re.compile(r"[0-9.]+(?: ?: ?[0-9.]+)+|[0-9.]+ to [0-9.]+")
_OUT_OF = re.compile(r"([0-9]{1,9}) +out +of +([0-9]{1,9})")
_ARC = re.compile(
    r"(-?)([0-9]+(?:\.[0-9]+)?) ?\^?° ?([0-9]+(?:\.[0-9]+)?) ?(?:'|\^\{'\})(?: ?([0-9]+(?:\.[0-9]+)?) ?(?:''|\"))?"
)
_SHARE = re.compile(r"([^=%«]+?) ?(%?) ?«?of»? ?([0-9][0-9.,]*)")  # 110% of 500
_MONTHS = {name: index for index, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_DATES = (
    re.compile(r"(?P<m>[A-Za-z]{3,9})\.? (?P<d>[0-9]{1,2})(?:st|nd|rd|th)?(?:,? (?P<y>[0-9]{4}))?"),
    re.compile(r"(?P<d>[0-9]{1,2})(?:st|nd|rd|th)?(?: of)? (?P<m>[A-Za-z]{3,9})\.?(?:,? (?P<y>[0-9]{4}))?"),
    re.compile(r"(?P<y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})"),
)


def special(text: str) -> Reading | None:
    """What is no formula: words, dates, times of day, ratios, numbers in a base."""
    if (said := words(text)) is not None:
        if said.isdecimal():
            return Reading("scalar", parse(said), text=said)
        if said == "infinity":
            return Reading("scalar", ("∞", 1))
        if said == "ℝ":
            return REALS
        return Reading("words", said)
    if re.fullmatch(r"[ℝℤℕℚℂ](?: ?[\^_+].{1,6})?", text):
        return Reading("words", re.sub(r"[{} ]", "", text))
    bare = re.sub(r"[«»]", "", text).strip()
    for pattern in _DATES:
        if (match := pattern.fullmatch(bare)) and (month := _month(match["m"])):
            return Reading("words", f"{match['y'] or ''}-{month}-{int(match['d'])}")
    if (match := _CLOCK.fullmatch(text)) and int(match[1]) < 25 and int(match[2]) < 60:
        return Reading("clock", (int(match[1]), int(match[2]), (match[3] or "").lower()))
    if match := _CLOCK_SECONDS.fullmatch(text):
        return Reading("words", f"{int(match[1])}:{match[2]}:{match[3]} {match[4].lower()}m")
    if match := _CLOCK_HOUR.fullmatch(text):
        return Reading("clock", (int(match[1]), 0, match[2].lower()))
    if _RATIO.fullmatch(bare):
        numbers = [number(part) for part in re.split(r" ?: ?| to ", bare)]
        if all(value is not None for value in numbers) and any(numbers):
            return Reading("ratio", tuple(numbers))
    if (match := _OUT_OF.fullmatch(bare)) and int(match[2]) >= int(match[1]) > 0:
        return Reading("scalar", ("n", Fraction(int(match[1]), int(match[2]))))
    if (amount := measures(text)) is not None:
        return Reading("scalar", ("n", amount[0]), unit=amount[1])
    if match := _ARC.fullmatch(text):
        value = Fraction(match[2]) + Fraction(match[3]) / 60 + Fraction(match[4] or 0) / 3600
        value = -value if match[1] else value
        return Reading("scalar", ("n", value), unit=Unit((("angle", 1),), Fraction(1)))
    if (match := _SHARE.fullmatch(text)) and (share := number(match[1])) is not None:
        whole = number(match[3])
        if whole is not None:
            return Reading("scalar", ("n", share * whole / (100 if match[2] else 1)))
    if (digits := based(text)) is not None:
        decimal = Reading("scalar", ("n", digits[0]), text=str(digits[0]))
        return decimal if digits[1] == 10 else Reading("based", digits)
    return None


def _month(text: str) -> int | None:
    if text.isdigit():
        return int(text) if 1 <= int(text) <= 12 else None
    full = "january february march april may june july august september october november december".split()
    lower = text.lower()
    return _MONTHS.get(lower) or (full.index(lower) + 1 if lower in full else None)
