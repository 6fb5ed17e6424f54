"""Answers to questions about pictures: numbers with a tolerance, counts, boxes, and the text in a picture."""

import math
import re
import unicodedata
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from .base import Verdict, VerifierReward, after_thinking


MAX_CHARS = 2_000  # of an answer that is read; what is longer is none
MAX_TEXT = 1_000  # characters of a text whose edit distance is computed

_OPEN, _CLOSE = (re.compile(tag, re.IGNORECASE) for tag in ("<answer>", "</answer>"))
_MARKED = re.compile(r"\banswer\s*(?:is\b|:|=)\s*", re.IGNORECASE)
_NUMBER = re.compile(
    r"(?<![\w.,])[-+−]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?(?!\w|[.,]\d)"
)
_COORDINATE = r"\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*"
_BOX = re.compile(r"[\[(]" + ",".join([_COORDINATE] * 4) + r"[\])]")
_WORDS = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split()
    )
} | {"no": 0, "none": 0}
_WORD = re.compile(r"\b(?:" + "|".join(_WORDS) + r")\b", re.IGNORECASE)


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


def numbers_in(text: str) -> list[float]:
    """The numbers in a text, in digits, each once in the order in which they come."""
    found = (match.group().replace(",", "").replace("−", "-") for match in _NUMBER.finditer(text))
    return list(dict.fromkeys(float(number) for number in found))


# ---- Numbers --------------------------------------------------------------------------------------------------------


def verify_number(completion: str, solution: Any, tolerance: float = 0.0, relative: float = 0.0) -> Verdict:
    """
    Compare the one number that a completion answers with to the solution.

    Args:
        completion (`str`): Text to grade.
        solution (`int`, `float` or `str`): The number.
        tolerance, relative: As in [`NumberReward`].
    """
    expected = _number(solution)
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

    The answer is what `<answer>` tags hold, else what follows the last "answer:" or "answer is", else the completion.
    Several different numbers are no answer.

    Args:
        tolerance (`float`, *optional*, defaults to `0.0`): Largest distance from the solution.
        relative (`float`, *optional*, defaults to `0.0`):
            Largest distance as a share of the solution's size, such as 0.05 for values read off a chart. The larger
            of the two bounds holds.
        name (`str`, *optional*, defaults to `"number_reward"`): Name in metrics.

    Raises:
        ValueError: A bound is negative or not finite, or `relative` is 1 or more, with which 0 would always pass.
    """

    contained = True

    def __init__(self, tolerance: float = 0.0, relative: float = 0.0, name: str = "number_reward"):
        if not (0 <= tolerance < math.inf and 0 <= relative < 1):
            raise ValueError(
                f"`tolerance` must be finite and >= 0 and `relative` in [0, 1), got {tolerance} and {relative}."
            )
        super().__init__(partial(verify_number, tolerance=tolerance, relative=relative), name=name)


# ---- Counts ---------------------------------------------------------------------------------------------------------


def verify_count(completion: str, solution: Any) -> Verdict:
    """Compare the one count that a completion answers with, in digits or as an English word up to twenty."""
    expected = _number(solution)
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
    see [`VerifierReward`] for `None`, and [`NumberReward`] for what is the answer.

    Args:
        name (`str`, *optional*, defaults to `"count_reward"`): Name in metrics.
    """

    contained = True

    def __init__(self, name: str = "count_reward"):
        super().__init__(verify_count, name=name)


# ---- Boxes ----------------------------------------------------------------------------------------------------------


def verify_iou(completion: str, solution: Any, threshold: float = 0.5) -> Verdict:
    """
    Compare the one box that a completion answers with to the solution's.

    Args:
        completion (`str`): Text to grade; a box is `[x1, y1, x2, y2]`, in brackets or parentheses.
        solution (`Sequence[float]` or `str`): The box, of an area above 0.
        threshold (`float`): Least overlap that passes.

    Returns:
        [`Verdict`]: Its score is the intersection over the union, in [0, 1].
    """
    expected = _box(solution)
    if expected is None:
        return Verdict(None, f"a solution must be a box [x1, y1, x2, y2] with x1 < x2, y1 < y2, got {solution!r:.80}")
    answer = answer_of(completion)
    if answer is None:
        return Verdict(False, "no answer", score=0.0)
    found = list(dict.fromkeys(_BOX.findall(answer)))
    if len(found) != 1:
        return Verdict(False, f"the answer holds {len(found)} boxes; it must hold one", score=0.0)
    box = _box([float(number) for number in found[0]])
    if box is None:
        return Verdict(False, "the answer is no box: it must have x1 < x2 and y1 < y2", score=0.0)
    overlap = intersection_over_union(box, expected)
    return Verdict(overlap >= threshold, f"overlap {overlap:.3f}, at least {threshold}", score=overlap)


def intersection_over_union(a: Sequence[float], b: Sequence[float]) -> float:
    """Area that two boxes `(x1, y1, x2, y2)` share, over the area of both together, in [0, 1]."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - shared
    ratio = shared / union
    return ratio if math.isfinite(ratio) else 0.0


class IoUReward(VerifierReward):
    """
    Reward 1.0 where the answer's box overlaps the box in the column `solution`, `[x1, y1, x2, y2]`, by at least
    `threshold`, else 0.0; see [`VerifierReward`] for `None`, and [`NumberReward`] for what is the answer.

    Boxes are compared in the units in which they stand. Several different boxes are no answer.

    Args:
        threshold (`float`, *optional*, defaults to `0.5`): Least intersection over union that passes, in (0, 1].
        partial_credit (`bool`, *optional*, defaults to `False`): Whether the overlap itself is the reward.
        name (`str`, *optional*, defaults to `"iou_reward"`): Name in metrics.

    Raises:
        ValueError: `threshold` is outside of (0, 1].
    """

    contained = True

    def __init__(self, threshold: float = 0.5, partial_credit: bool = False, name: str = "iou_reward"):
        if not 0 < threshold <= 1:
            raise ValueError(f"`threshold` must be in (0, 1], got {threshold}.")
        self.partial_credit = partial_credit
        super().__init__(partial(verify_iou, threshold=threshold), name=name)


# ---- The text in a picture ------------------------------------------------------------------------------------------


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
    [`NumberReward`] for what is the answer.

    White space and forms of the same character (Unicode NFKC) do not count.

    Args:
        max_error (`float`, *optional*, defaults to `0.0`):
            Most wrong characters as a share of the text's length (edit distance), in [0, 1).
        ignore_case (`bool`, *optional*, defaults to `False`): Whether case does not count either.
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
            raise ValueError(f"`max_error` must be in [0, 1), got {max_error}: at 1, nothing read would pass.")
        self.partial_credit = partial_credit
        super().__init__(partial(verify_ocr, max_error=max_error, ignore_case=ignore_case), name=name)


# ---- Reading references ---------------------------------------------------------------------------------------------


def _number(value: Any) -> float | None:
    """A finite number, from a number or a text that is nothing else; `None` for all others."""
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value.strip())
        found = numbers_in(value) if match else []
        value = found[0] if found else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _box(value: Any) -> tuple[float, ...] | None:
    """Four finite numbers `x1 < x2`, `y1 < y2`, from a sequence or a text; `None` for all others."""
    if isinstance(value, str):
        match = _BOX.fullmatch(value.strip())
        value = [float(number) for number in match.groups()] if match else None
    if not isinstance(value, (list, tuple)) or len(value) != 4:
        return None
    numbers = [None if isinstance(number, str) else _number(number) for number in value]
    if any(number is None for number in numbers):
        return None
    x1, y1, x2, y2 = (float(number) for number in numbers if number is not None)
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def _normal(text: str, ignore_case: bool) -> str:
    text = " ".join(unicodedata.normalize("NFKC", text).split())
    return text.casefold() if ignore_case else text


number_reward = NumberReward()
count_reward = CountReward()
iou_reward = IoUReward()
ocr_reward = OCRReward()
