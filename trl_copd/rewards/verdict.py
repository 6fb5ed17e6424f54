"""What a verifier says about one completion, and how a missing verdict counts."""

import reprlib
from dataclasses import dataclass
from typing import Any, Literal

from .pool import Outcome


@dataclass(frozen=True)
class Verdict:
    """
    What a verifier says about one completion.

    Args:
        passed (`bool` or `None`): Whether the completion is right. `None`: there is no grade; `failure` says why.
        reason (`str`): The reason, for people: shown in logs, never parsed.
        failure (`str`, *optional*):
            Why there is no grade. `"reference"` (the default if `passed` is `None`): the reference is unreadable; this
            depends on the reference alone, never on the completion. `"infrastructure"`: a worker, sandbox or prover
            failed twice; such a verdict is not cached.
        score (`float`, *optional*): Share of the task that is right, in [0, 1], for verifiers that count.
    """

    passed: bool | None
    reason: str
    failure: Literal["reference", "infrastructure"] | None = None
    score: float | None = None

    def __post_init__(self) -> None:
        if self.passed is None and self.failure is None:
            object.__setattr__(self, "failure", "reference")


class VerifierError(RuntimeError):
    """A verifier raised in its worker. The message holds its traceback."""


def verdict_of(outcome: Outcome) -> Verdict:
    """
    The verdict that a call of a verifier in the pool returned, or what its failure means.

    Raises:
        VerifierError: The verifier raised.
        RuntimeError: A worker could not import the verifier.
    """
    if outcome.status == "ok":
        return outcome.value
    if outcome.status == "raised":
        loaded = not (outcome.error or "").startswith("the worker could not load")
        raise (VerifierError if loaded else RuntimeError)(f"The verifier raised in its worker:\n{outcome.error}")
    if outcome.status in ("cpu", "memory"):
        return Verdict(False, f"grading it needs too much: {outcome.error}")
    return Verdict(None, f"{outcome.status}: {outcome.error}", failure="infrastructure")


def is_of_the_data(error: Exception) -> bool:
    """
    Whether an error can come from what was graded, rather than from the machine: a full disk, no more threads and a
    package that is missing are not of the data.
    """
    if isinstance(error, RuntimeError):
        return isinstance(error, (VerifierError, RecursionError, NotImplementedError))
    return not isinstance(error, (OSError, ImportError, MemoryError))


def shown(value: Any, limit: int = 200) -> str:
    """The start of `repr(value)`, also where that has no end (deep nesting) or raises (integers of 5,000 digits)."""
    short = reprlib.Repr()
    short.maxlevel = 4
    short.maxstring = short.maxother = short.maxlong = limit
    try:
        return short.repr(value)[:limit]
    except Exception:
        return f"<a {type(value).__name__} that cannot be shown>"
