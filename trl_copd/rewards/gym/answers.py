"""What the graders of reasoning-gym's tasks read out of an answer: numbers, lists, durations. Nothing is evaluated."""

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from ..strict_json import StrictJSONError, parse_json
from .expressions import polynomial_terms


_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
_NUMBER = re.compile(rf"[+-]?(?:{_DIGITS}(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]{{1,3}})?", re.IGNORECASE)


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def decimal(text: str) -> Decimal | None:
    text = text.strip().replace("−", "-")
    return Decimal(text.replace(",", "")) if _NUMBER.fullmatch(text) else None


def rounds_to(text: str, exact: Fraction, figures: int = 0, places: int = 0) -> bool:
    """Whether `text` is `exact`, or `exact` rounded to at least so many significant figures or decimal places."""
    number = decimal(text)
    if number is None:
        return False
    if Fraction(number) == exact:
        return True
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int) or not number:
        return False
    if (figures and len(digits) < figures) or (places and -exponent < places):
        return False
    return abs(Fraction(number) - exact) <= Fraction(10) ** exponent / 2


def fraction(text: str) -> tuple[int, int] | None:
    r"""Numerator and denominator of `a/b` or `\frac{a}{b}`, with or without dollars."""
    bare = re.sub(r"\s+", "", text).strip("$")
    match = re.fullmatch(r"\\d?frac\{(\d{1,50})\}\{(\d{1,50})\}|(\d{1,50})/(\d{1,50})", bare, re.ASCII)
    return (int(match[1] or match[3]), int(match[2] or match[4])) if match else None


def items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")]


def number_list(text: str) -> list[Decimal] | None:
    inner = re.fullmatch(r"\[(.*)\]", text.strip(), re.DOTALL)
    if not inner:
        return None
    if not inner[1].strip():
        return []
    numbers = []
    for item in items(inner[1]):
        number = decimal(item[1:-1] if re.fullmatch(r"'.*'|\".*\"", item) else item)
        if number is None:
            return None
        numbers.append(number)
    return numbers


def nested(text: str, sort: bool) -> list[list[str]]:
    value = parse_json(text)
    lists = isinstance(value, list) and all(isinstance(group, list) for group in value)
    if not lists or not all(isinstance(word, str) for group in value for word in group):
        raise StrictJSONError("not a list of lists of words")
    return sorted(sorted(group) if sort else group for group in value)


def typed(value: Any) -> Any:
    """`value` with the truth values apart from the numbers, since Python has `True == 1`."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return ("bool", value) if isinstance(value, bool) else value


def roles(text: str) -> dict[str, str] | None:
    pair = r"(\w[\w'-]*) is an? (\w+)"
    if not re.fullmatch(rf"{pair}(?:(?:,|,? and) {pair})*\.?", text.strip(), re.IGNORECASE):
        return None
    pairs = re.findall(pair, text.lower())
    return dict(pairs) if len(dict(pairs)) == len(pairs) else None


def complex_parts(text: str) -> tuple[Fraction, Fraction] | None:
    """Real and imaginary part of `1.5 - 2i`, `3i`, `-i` or `4`."""
    bare = re.sub(r"\s+", "", text.replace("−", "-").lower())
    number = r"[0-9]{1,50}(?:\.[0-9]{0,50})?"
    match = re.fullmatch(rf"\(?([+-]?{number})?(?:([+-]?)({number})?\*?([ij]))?\)?", bare)
    if not match or (match[1] and match[4] and not match[2]) or not (match[1] or match[4]):
        # without a sign between them, the digits before `i` are one number
        pure = re.fullmatch(rf"\(?([+-]?{number})\*?[ij]\)?", bare)
        return (Fraction(0), Fraction(pure[1])) if pure else None
    imaginary = Fraction(match[3] or 1) * (-1 if match[2] == "-" else 1) if match[4] else Fraction(0)
    return Fraction(match[1] or 0), imaginary


def milliseconds(text: str) -> int | None:
    shape = r"(?:(\d{1,9})(?: days?)?)?(?:(?:^|, ?)(\d{1,5}):([0-5]\d)(?::([0-5]\d)(?:\.(\d{3}))?)?)?"
    match = re.fullmatch(shape, text.strip(), re.ASCII)
    if not match or not text.strip():
        return None
    days, hours, minutes, seconds, thousandths = (int(part or 0) for part in match.groups())
    return (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000 + thousandths


def univariate(text: str) -> list[tuple[tuple[tuple[str, int]], Fraction]]:
    terms = polynomial_terms(text)
    name = next((powers[0][0] for powers in terms if powers), "x")
    return [((powers[0] if powers else (name, 0),), coefficient) for powers, coefficient in terms.items()]


def refine(terms: Mapping[int, Fraction], root: Fraction) -> Fraction:
    """The root near a root rounded to four decimals, by Newton's method; else the rounded one."""
    x = float(root)
    for _ in range(60):
        slope = float(sum(c * d * Fraction(x) ** (d - 1) for d, c in terms.items() if d))
        if slope == 0:
            return root
        x -= float(sum(c * Fraction(x) ** d for d, c in terms.items())) / slope
        if abs(x - float(root)) > 1e-3:
            return root
    return Fraction(x)


def cut_down(root: Fraction) -> set[Fraction]:
    """Four decimals of `root`, cut off towards zero and downwards."""
    scaled = root * 10**4
    return {Fraction(int(scaled), 10**4), Fraction(scaled.__floor__(), 10**4)}
