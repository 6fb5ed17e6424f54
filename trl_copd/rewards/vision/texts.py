"""Answers that are the text in a picture."""

import unicodedata
from functools import partial
from itertools import pairwise
from typing import Any

from ..base import Verdict, VerifierReward
from .answer import answer_of


MAX_TEXT = 1_000  # characters of a text whose edit distance is computed


def verify_ocr(completion: str, solution: Any, max_error: float = 0.0, ignore_case: bool = False) -> Verdict:
    """
    Compare the text that a completion read with the text in the picture.

    Args:
        completion (`str`): Text to grade.
        solution (`str`): The text in the picture, not empty.
        max_error, ignore_case: As in [`OCRReward`].

    Returns:
        [`Verdict`]: Its score is the share of characters that are right, in [0, 1].
    """
    expected = _normal(solution, ignore_case) if isinstance(solution, str) else ""
    if not expected:
        return Verdict(None, f"a solution must be a text that is not empty, got {solution!r:.50}")
    if len(expected) > MAX_TEXT:
        return Verdict(None, f"a solution has at most {MAX_TEXT} characters, got {len(expected)}")
    answer = answer_of(completion)
    if answer is None:
        return Verdict(False, "no answer", score=0.0)
    answer = _normal(answer, ignore_case)
    if len(answer) > 2 * len(expected):  # more than half of it is wrong
        return Verdict(False, "the answer is more than twice as long as the text", score=0.0)
    error = edit_distance(answer, expected) / len(expected)
    return Verdict(error <= max_error, f"error rate {error:.3f}, at most {max_error}", score=max(0.0, 1.0 - error))


def edit_distance(a: str, b: str) -> int:
    """Fewest characters to insert, delete or replace that make one text of the other."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        above, row = row, [i]
        for j, ((diagonal, up), y) in enumerate(zip(pairwise(above), b, strict=True), start=1):
            row.append(min(up + 1, row[j - 1] + 1, diagonal + (x != y)))
    return row[-1]


class OCRReward(VerifierReward):
    """
    Reward 1.0 where the answer is the text in the column `solution`, else 0.0; see [`VerifierReward`] for `None`, and
    [`NumberReward`] for how the answer is found.

    White space and forms of the same character (Unicode NFKC) do not count.

    Args:
        max_error (`float`, *optional*, defaults to `0.0`):
            Largest share of wrong characters in the text's length (edit distance), in [0, 1).
        ignore_case (`bool`, *optional*, defaults to `False`): Whether to ignore case as well.
        partial_credit (`bool`, *optional*, defaults to `False`): Whether the share of right characters is the reward.
        name (`str`, *optional*, defaults to `"ocr_reward"`): Name in metrics.

    Raises:
        ValueError: `max_error` is outside of [0, 1).
    """

    contained = True

    def __init__(
        self,
        max_error: float = 0.0,
        ignore_case: bool = False,
        partial_credit: bool = False,
        name: str = "ocr_reward",
    ):
        if not 0 <= max_error < 1:
            raise ValueError(f"`max_error` must be in [0, 1), got {max_error}: at 1 an empty answer would pass.")
        self.partial_credit = partial_credit
        super().__init__(partial(verify_ocr, max_error=max_error, ignore_case=ignore_case), name=name)


def _normal(text: str, ignore_case: bool) -> str:
    text = " ".join(unicodedata.normalize("NFKC", text).split())
    return text.casefold() if ignore_case else text


ocr_reward = OCRReward()
