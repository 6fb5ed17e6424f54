"""Answers that are a number, within a tolerance, or a count."""

import math
import re
from functools import partial
from typing import Any

from ..base import Verdict, VerifierReward
from .answer import answer_of, number_of
from .words import whole_numbers


_NONE = re.compile(r"\b(?:no|none)\b", re.IGNORECASE)


def verify_number(completion: str, solution: Any, tolerance: float = 0.0, relative: float = 0.0) -> Verdict:
    """
    Compare the one number that a completion answers with to the solution.

    Args:
        completion (`str`): Text to grade.
        solution (`int`, `float` or `str`): The number.
        tolerance, relative: As in [`NumberReward`].
    """
    expected = number_of(solution)
    if expected is None:
        return Verdict(None, f"a solution must be a finite number, got {solution!r:.50}")
    answer = answer_of(completion)
    if answer is None:
        return Verdict(False, "no answer")
    found = list(dict.fromkeys(value for value, in_digits in whole_numbers(answer) if in_digits))
    if len(found) != 1:
        return Verdict(False, f"the answer holds {len(found)} numbers; it must hold one")
    value = found[0]
    if value is None:
        return Verdict(False, "the number cannot be read as a whole")
    bound = max(tolerance, relative * abs(expected))
    near = math.isfinite(value) and abs(value - expected) <= bound + 1e-12 * abs(expected)
    return Verdict(near, f"{value} against {expected}, at most {bound} apart")


class NumberReward(VerifierReward):
    """
    Reward 1.0 where the answer is one number near the column `solution`, else 0.0; see [`VerifierReward`] for `None`.

    The answer is the content of `<answer>` tags; without tags, the text after the last "answer:" or "answer is"; else
    the whole completion.
    Several different numbers are no answer. "5 million" and "minus 5" are one number; "5 and a half" is not read.

    Args:
        tolerance (`float`, *optional*, defaults to `0.0`): Largest distance from the solution, finite, >= 0.
        relative (`float`, *optional*, defaults to `0.0`):
            Largest distance as a share of the solution's size, in [0, 1), such as 0.05 for values read off a chart.
            The larger of the two bounds applies.
        name (`str`, *optional*, defaults to `"number_reward"`): Name in metrics.

    Raises:
        ValueError: A bound is negative, NaN or infinite, or `relative` is 1 or more, with which 0 would always pass.
    """

    contained = True

    def __init__(self, tolerance: float = 0.0, relative: float = 0.0, name: str = "number_reward"):
        if not (0 <= tolerance < math.inf and 0 <= relative < 1):
            raise ValueError(
                f"`tolerance` must be finite and >= 0 and `relative` in [0, 1), got {tolerance} and {relative}."
            )
        super().__init__(partial(verify_number, tolerance=tolerance, relative=relative), name=name)


def verify_count(completion: str, solution: Any) -> Verdict:
    """Compare the one count that a completion answers with, in digits or in English words."""
    expected = number_of(solution)
    if expected is None or expected < 0 or expected != int(expected):
        return Verdict(None, f"a count must be a whole number >= 0, got {solution!r:.50}")
    answer = answer_of(completion)
    if answer is None:
        return Verdict(False, "no answer")
    found = list(dict.fromkeys(value for value, _ in whole_numbers(answer)))
    if _NONE.search(answer) and 0.0 not in found:
        found.append(0.0)
    if len(found) != 1:
        return Verdict(False, f"the answer holds {len(found)} counts; it must hold one")
    if found[0] is None:
        return Verdict(False, "the count cannot be read as a whole")
    return Verdict(found[0] == expected, f"{found[0]:g} against {expected:g}")


class CountReward(VerifierReward):
    """
    Reward 1.0 where the answer is the count in the column `solution`, in digits or in English words
    ("thirty-one", "two dozen"), else 0.0; see [`VerifierReward`] for `None`, and [`NumberReward`] for how the answer
    is found.

    Args:
        name (`str`, *optional*, defaults to `"count_reward"`): Name in metrics.
    """

    contained = True

    def __init__(self, name: str = "count_reward"):
        super().__init__(verify_count, name=name)


number_reward = NumberReward()
count_reward = CountReward()
