"""Answers that are a box in a picture."""

import math
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from ..base import Verdict, VerifierReward
from .answer import answer_of, number_of


_COORDINATE = r"\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*"
_BOX = re.compile(r"[\[(]" + ",".join([_COORDINATE] * 4) + r"[\])]")


def verify_iou(completion: str, solution: Any, threshold: float = 0.5) -> Verdict:
    """
    Compare the one box that a completion answers with to the solution's.

    Args:
        completion (`str`): Text to grade; a box is `[x1, y1, x2, y2]`, in brackets or parentheses.
        solution (`Sequence[float]` or `str`): The box, of an area above 0.
        threshold (`float`): Smallest overlap that passes.

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
    `threshold`, else 0.0; see [`VerifierReward`] for `None`, and [`NumberReward`] for how the answer is found.

    Boxes are compared in the solution's units. Several different boxes are no answer.

    Args:
        threshold (`float`, *optional*, defaults to `0.5`): Smallest intersection over union that passes, in (0, 1].
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


def _box(value: Any) -> tuple[float, ...] | None:
    """Four finite numbers `x1 < x2`, `y1 < y2`, from a sequence or a text; `None` for all others."""
    if isinstance(value, str):
        match = _BOX.fullmatch(value.strip())
        value = [float(number) for number in match.groups()] if match else None
    if not isinstance(value, (list, tuple)) or len(value) != 4:
        return None
    numbers = [None if isinstance(number, str) else number_of(number) for number in value]
    if any(number is None for number in numbers):
        return None
    x1, y1, x2, y2 = (float(number) for number in numbers if number is not None)
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


iou_reward = IoUReward()
