"""What a type of instruction consists of, and its arguments as data sets hold them: numbers may be floats."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from .text import Text


RELATIONS = ("at least", "at most", "less than", "more than", "exactly")


class Unreadable(ValueError):
    """An instruction that nothing can be graded by; the message says why."""


Reader = Callable[[Any], Any]


@dataclass(frozen=True)
class Kind:
    """
    One type of instruction.

    Args:
        check (`Callable[[Text, dict], bool]`): Whether a response that is not empty follows it.
        arguments (`dict[str, Reader]`): Its arguments, each with what reads it; all are needed.
        copies (`bool`): Whether a response that follows it may be found in the prompt word for word.
    """

    check: Callable[["Text", dict[str, Any]], bool]
    arguments: dict[str, Reader] = field(default_factory=dict)
    copies: bool = False


def number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or abs(value) > 1e6:
        raise Unreadable("is not a number")
    if value != int(value) or value < 0:
        raise Unreadable("is not a whole number of at least 0")
    return int(value)


def positive(value: Any) -> int:
    if number(value) < 1:
        raise Unreadable("is not above 0")
    return number(value)


def percentage(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:
        raise Unreadable("is not a percentage")
    return float(value)


def text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Unreadable("is not a text")
    return value


def character(value: Any) -> str:
    if len(text(value).strip()) != 1:
        raise Unreadable("is not one character")
    return text(value).strip()


def texts(value: Any) -> list[str]:
    if not isinstance(value, (list, tuple)) or not value:
        raise Unreadable("is not a list of texts")
    return [text(item) for item in value]


def relation(value: Any) -> str:
    if value not in RELATIONS:
        raise Unreadable(f"is not one of {RELATIONS}")
    return value


def holds(relation: str, wanted: int, count: int, sure: int | None = None) -> bool:
    """
    Whether a count is in the relation to what is wanted.

    Args:
        relation (`str`): One of `RELATIONS`.
        wanted (`int`): The instruction's number.
        count (`int`): Everything counted.
        sure (`int`, *optional*): What counts towards a number to be reached; repetitions do not.
    """
    sure = count if sure is None else sure
    return {
        "at least": sure >= wanted,
        "more than": sure > wanted,
        "at most": count <= wanted,
        "less than": count < wanted,
        "exactly": count == wanted == sure,
    }[relation]
