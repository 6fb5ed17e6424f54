"""Brackets of a normalised text: where they close, how deep they are, and which separators stand outside of them."""

import re
from collections.abc import Callable

from .bounds import MAX_DEPTH, Unreadable


_OPEN, _CLOSE = "([{⦃⟨⟦⟪⌊⌈", ")]}⦄⟩⟧⟫⌋⌉"
_CLOSED_BY = {"(": ")]", "[": ")]"}


def closing(text: str, start: int) -> int:
    """Index of the bracket that closes the one at `start`, of any kind; -1 if none does."""
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] in _OPEN) - (text[index] in _CLOSE)
        if depth == 0:
            return index
    return -1


def check_depth(text: str) -> None:
    """
    Raises:
        Unreadable: Brackets do not match, or are nested more than `MAX_DEPTH` deep.
    """
    opened: list[str] = []
    for char in text:
        if char in _OPEN:
            opened.append(char)
        elif char in _CLOSE:
            # an interval may close as it likes; nothing else may
            if not opened or char not in _CLOSED_BY.get(opened[-1], _CLOSE[_OPEN.index(opened[-1])]):
                raise Unreadable("a bracket closes nothing")
            opened.pop()
        if len(opened) > MAX_DEPTH:
            raise Unreadable(f"brackets are nested more than {MAX_DEPTH} deep")
    if opened or text.count("|") > 2 * MAX_DEPTH:
        raise Unreadable("a bracket is not closed")


def _depths(text: str) -> list[int]:
    """How many brackets, or texts in `«»`, each character stands in."""
    depths, depth = [], 0
    for char in text:
        depth -= char in _CLOSE or char == "»"
        depths.append(depth)
        depth += char in _OPEN or char == "«"
    return depths


def split(text: str, separators: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """Parts of `text` between matches of `separators` outside all brackets, and the matches."""
    depths = _depths(text)
    parts, found, start = [], [], 0
    for match in separators.finditer(text):
        if depths[match.start()] == 0:
            parts.append(text[start : match.start()].strip())
            found.append(match[0].strip())
            start = match.end()
    return [*parts, text[start:].strip()], found


def replace_outside(text: str, pattern: re.Pattern[str], how: Callable[[re.Match[str]], str]) -> str:
    """`pattern.sub`, outside all brackets."""
    depths = _depths(text)
    return pattern.sub(lambda match: match[0] if depths[match.start()] else how(match), text)
