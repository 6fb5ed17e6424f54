"""Answers that are a number, within a tolerance, or a count."""

import math
import re
from functools import partial
from typing import Any

from ..base import Verdict, VerifierReward
from .answer import answer_of, number_of, numbers_in


_WORDS = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split()
    )
} | {"no": 0, "none": 0}
_WORD = re.compile(r"\b(?:" + "|".join(_WORDS) + r")\b", re.IGNORECASE)


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
    found = numbers_in(answer)
    if len(found) != 1:
        return Verdict(False, f"the answer holds {len(found)} numbers; it must hold one")
    bound = max(tolerance, relative * abs(expected))
    near = math.isfinite(found[0]) and abs(found[0] - expected) <= bound + 1e-12 * abs(expected)
    return Verdict(near, f"{found[0]} against {expected}, at most {bound} apart")


class NumberReward(VerifierReward):
    """
    Reward 1.0 where the answer is one number near the column `solution`, else 0.0; see [`VerifierReward`] for `None`.

    The answer is the content of `<answer>` tags; without tags, the text after the last "answer:" or "answer is"; else
    the whole completion.
    Several different numbers are no answer.

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
    """Compare the one count that a completion answers with, in digits or as an English word up to twenty."""
    expected = number_of(solution)
    if expected is None or expected < 0 or expected != int(expected):
        return Verdict(None, f"a count must be a whole number >= 0, got {solution!r:.50}")
    answer = answer_of(completion)
    if answer is None:
        return Verdict(False, "no answer")
    words = [float(_WORDS[match.group().lower()]) for match in _WORD.finditer(answer)]
    found = list(dict.fromkeys(numbers_in(answer) + words))
    if len(found) != 1:
        return Verdict(False, f"the answer holds {len(found)} counts; it must hold one")
    return Verdict(found[0] == expected, f"{found[0]:g} against {expected:g}")


class CountReward(VerifierReward):
    """
    Reward 1.0 where the answer is the count in the column `solution`, in digits or as a word up to twenty, else 0.0;
    see [`VerifierReward`] for `None`, and [`NumberReward`] for how the answer is found.

    Args:
        name (`str`, *optional*, defaults to `"count_reward"`): Name in metrics.
    """

    contained = True

    def __init__(self, name: str = "count_reward"):
        super().__init__(verify_count, name=name)


number_reward = NumberReward()
count_reward = CountReward()
