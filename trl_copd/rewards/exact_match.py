"""Answers that must be given to the letter: choices, names, labels, codes."""

import re
from functools import partial
from typing import Any

from .base import Verdict, VerifierReward, after_thinking


def verify_exact_match(
    completion: str,
    solution: Any,
    strip: bool = True,
    ignore_case: bool = False,
    answer_pattern: str | None = None,
) -> Verdict:
    """
    Compare a completion, after any `</think>`, with the solution, character by character.

    Args:
        completion (`str`): Text to grade.
        solution (`str` or `int`): The answer; an integer stands for its decimal digits.
        strip, ignore_case, answer_pattern: As in [`ExactMatchReward`].

    Returns:
        [`Verdict`]: Unreadable where the solution is of another type, or empty (an empty completion would pass).
    """
    if isinstance(solution, bool) or not isinstance(solution, (str, int)):
        return Verdict(None, f"a solution must be a str or an int, got {type(solution).__name__}")
    try:
        expected = str(solution)
    except ValueError as error:
        return Verdict(None, f"the solution has too many digits: {error}")
    if not expected.strip():
        return Verdict(None, "the solution is empty")
    answer = after_thinking(completion)
    if answer is None:
        return Verdict(False, "the reasoning was not closed")
    if answer_pattern is not None:
        matches = list(re.finditer(answer_pattern, answer))
        if not matches:
            return Verdict(False, "the answer pattern matches nothing")
        answer = matches[-1].group(matches[-1].re.groups) or ""
    if strip:
        answer, expected = answer.strip(), expected.strip()
    if ignore_case:
        answer, expected = answer.casefold(), expected.casefold()
    same = answer == expected
    return Verdict(same, "equal" if same else f"{answer!r:.100} is not {expected!r:.100}")


class ExactMatchReward(VerifierReward):
    r"""
    Reward 1.0 for the text in the column `solution` (`str` or `int`), else 0.0; see [`VerifierReward`] for `None`.

    Args:
        strip (`bool`, *optional*, defaults to `True`): Whether white space around either text is dropped.
        ignore_case (`bool`, *optional*, defaults to `False`): Whether case is ignored (Unicode case folding).
        answer_pattern (`str`, *optional*):
            Regular expression that finds the answer in the completion, e.g. `r"Answer:\s*([A-D])\b"`. Its last match
            counts: the group, or the whole match if it has none. By default the whole completion is the answer.
            Completions are long, so avoid patterns that backtrack.
        name (`str`, *optional*, defaults to `"exact_match_reward"`): Name in metrics.

    Raises:
        ValueError: `answer_pattern` is not a regular expression, or has more than one group.
    """

    contained = True

    def __init__(
        self,
        strip: bool = True,
        ignore_case: bool = False,
        answer_pattern: str | None = None,
        name: str = "exact_match_reward",
    ):
        if answer_pattern is not None:
            try:
                groups = re.compile(answer_pattern).groups
            except re.error as error:
                raise ValueError(
                    f"`answer_pattern` {answer_pattern!r} is not a regular expression: {error}."
                ) from error
            if groups > 1:
                raise ValueError(
                    f"`answer_pattern` {answer_pattern!r} has {groups} groups, so it is unclear which is the answer. "
                    "Keep one; write the others as (?:...)."
                )
        verifier = partial(verify_exact_match, strip=strip, ignore_case=ignore_case, answer_pattern=answer_pattern)
        super().__init__(verifier, columns=("solution",), name=name)


exact_match_reward = ExactMatchReward()
