"""Grades rows with a reward, and counts the grades."""

import asyncio
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..rewards import AsyncReward, VerifierReward


FAILURES = {"reference": "the reference is unreadable", "infrastructure": "grading failed"}


@dataclass(frozen=True)
class Grade:
    """
    A reward's grade of one row.

    Args:
        reward (`float` or `None`): The reward; `None`: no grade.
        reason (`str`): Why; empty for a reward function that gives no reasons.
        failed (`bool`): Whether the row should have a grade and has none.
    """

    reward: float | None
    reason: str
    failed: bool = False


def grade_rows(
    reward: Callable, rows: Sequence[dict[str, Any]], columns: Sequence[str], completion: str = "completion"
) -> list[Grade]:
    """
    Grade rows with a reward.

    Args:
        reward (`Callable`): One of `trl_copd.rewards`, or any reward function of TRL's form.
        rows (`Sequence[dict]`): The rows, with their columns by name.
        columns (`Sequence[str]`): Columns that the reward gets; a row without one has `None` there.
        completion (`str`, *optional*, defaults to `"completion"`): Column of the completions.

    Returns:
        `list[Grade]`: One per row, in order. A row without a completion has no grade.
    """
    reward = reward.reward if isinstance(reward, AsyncReward) else reward
    there = [index for index, row in enumerate(rows) if row.get(completion) is not None]
    given = {name: [rows[index].get(name) for index in there] for name in columns if name != completion}
    prompts = given.pop("prompt", [""] * len(there))
    completions = [rows[index][completion] for index in there]
    grades = [Grade(None, f"no {completion}", failed=True)] * len(rows)
    if not there:
        return grades
    if isinstance(reward, VerifierReward):
        for index, verdict in zip(there, reward.explain(prompts, completions, **given), strict=True):
            if verdict is None:
                grades[index] = Grade(None, "not this reward's row: a column that it reads is empty")
            else:
                value = None if verdict.passed is None else reward._reward(verdict)
                reason = f"{FAILURES[verdict.failure]}: {verdict.reason}" if verdict.failure else verdict.reason
                grades[index] = Grade(value, reason, failed=verdict.failure is not None)
        return grades
    try:
        values = reward(prompts=prompts, completions=completions, **given)
        values = asyncio.run(values) if inspect.iscoroutine(values) else values
    except (TypeError, LookupError, AttributeError) as error:
        raise TypeError(f"{_name(reward)} raised {type(error).__name__}: {error}.{_hint(completions)}") from error
    for index, value in zip(there, values, strict=True):
        grades[index] = Grade(None if value is None else float(value), "")
    return grades


def _name(reward: Any) -> str:
    return getattr(reward, "__name__", type(reward).__name__)


def _hint(completions: Sequence[Any]) -> str:
    """What such a reward function may have missed: TRL's forms of a completion are two, and most know one."""
    if all(isinstance(completion, str) for completion in completions):
        return (
            " The completions are texts. If it needs lists of messages, as `trl.rewards.think_format_reward` does, "
            'write each as [{"role": "assistant", "content": "..."}].'
        )
    return " The completions are lists of messages. If it needs texts, write each as its text."


class Tally:
    """
    Counts grades, and puts a row's grade into words.

    Args:
        expect (`str`, *optional*): Column of the grades that are expected.
    """

    def __init__(self, expect: str | None = None):
        self.expect = expect
        self.rows = self.passed = self.graded = self.failed = self.unexpected = 0
        self.total = 0.0

    def add(self, row: dict[str, Any], grade: Grade) -> tuple[str, bool]:
        """Count a row. Returns its line, and whether it is as it should be: as expected, or else passed."""
        self.rows += 1
        self.failed += grade.failed
        if grade.reward is not None:
            self.graded += 1
            self.total += grade.reward
            self.passed += grade.reward == 1.0
        shown = "-" if grade.reward is None else f"{grade.reward:g}"
        line = f"{self.rows:>6}  {shown:<5} {grade.reason}".rstrip()
        if self.expect is None:
            return line, grade.reward == 1.0
        wanted = _expected(row.get(self.expect), self.rows, self.expect)
        if right := grade.reward == wanted:
            return line, right
        self.unexpected += 1
        return f"{line}  [expected {'no grade' if wanted is None else format(wanted, 'g')}]", right

    def summary(self, seconds: float) -> str:
        parts = [f"{self.passed} passed", f"{self.graded - self.passed} did not"]
        if self.graded < self.rows:
            failed = f" ({self.failed} of them unreadable or failed)" if self.failed else ""
            parts.append(f"{self.rows - self.graded} without a grade{failed}")
        if self.expect is not None:
            parts.append(f"{self.unexpected} not as expected")
        mean = f"; mean reward {self.total / self.graded:.3f}" if self.graded else ""
        rows = "1 row" if self.rows == 1 else f"{self.rows} rows"
        return f"{rows}: {', '.join(parts)}{mean}; {self.rows / max(seconds, 1e-9):.0f} rows/s"


def _expected(value: Any, row: int, column: str) -> float | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return float(value.strip().lower() == "true")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"Row {row}: {column!r} must be 1, 0, true, false or empty, got {value!r:.80}.") from None
