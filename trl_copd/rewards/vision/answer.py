"""What a completion answers to a question about a picture, and the numbers in it."""

import math
import re
from typing import Any

from ..base import after_thinking


MAX_CHARS = 2_000  # of an answer that is read; what is longer is none

_OPEN, _CLOSE = (re.compile(tag, re.IGNORECASE) for tag in ("<answer>", "</answer>"))
_MARKED = re.compile(r"\banswer\s*(?:is\b|:|=)\s*", re.IGNORECASE)
DIGITS = r"(?<![\w.,])[-+−]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?(?!\w|[.,]\d)"
_NUMBER = re.compile(DIGITS)


def answer_of(completion: str) -> str | None:
    """
    The part of a completion that states its answer: what the last `<answer>` tags hold, else what follows the last
    "answer:" or "answer is", else all of it; `None` where the reasoning was not closed, or the answer is too long.
    """
    text = after_thinking(completion)
    if text is None:
        return None
    ends = [match.start() for match in _CLOSE.finditer(text)]
    starts = [match.end() for match in _OPEN.finditer(text) if ends and match.end() <= ends[-1]]
    if starts:
        text = text[starts[-1] : ends[-1]]
    else:
        marks = list(_MARKED.finditer(text))
        text = text[marks[-1].end() :] if marks else text
    text = text.strip().strip("*_`").strip()
    return text if len(text) <= MAX_CHARS else None


def digits_of(text: str) -> float:
    """The value of a number in digits."""
    return float(text.replace(",", "").replace("−", "-"))


def number_of(value: Any) -> float | None:
    """A finite number, from a number or a text that is nothing else; `None` for all others."""
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value.strip())
        value = digits_of(match.group()) if match else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
