"""Means over seeds and their intervals."""

import math
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any


def t_quantile(level: float, degrees: int) -> float:
    """
    What a Student's t variable is below in absolute value with probability `level`.

    Args:
        level (`float`): Probability in (0, 1), such as 0.95.
        degrees (`int`): Degrees of freedom, >= 1.
    """
    low, high = 0.0, 1.0
    while _within(high, degrees) < level:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < level else (low, middle)
    return high


def _within(t: float, degrees: int) -> float:
    """P(|T| < t), the finite sums of Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle, odd = math.atan(t / math.sqrt(degrees)), degrees % 2
    sine, cosine = math.sin(angle), math.cos(angle)
    term, total = cosine if odd else 1.0, 0.0
    for k in range(odd, degrees - odd, 2):
        total += term
        term *= cosine**2 * (k + 1) / (k + 2)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def interval(values: Sequence[float], level: float = 0.95) -> list[float] | None:
    """Student's t interval of the mean, `[low, high]`; `None` for fewer than two values."""
    if len(values) < 2:
        return None
    middle, count = mean(values), len(values)
    spread = (sum((value - middle) ** 2 for value in values) / (count - 1) / count) ** 0.5
    half = t_quantile(level, count - 1) * spread
    return [round(middle - half, 4), round(middle + half, 4)]


def paired(ours: Mapping[int, float], other: Mapping[int, float]) -> dict[str, Any]:
    """Mean difference over the seeds that both have, and its interval; empty if there are none."""
    differences = [ours[seed] - other[seed] for seed in ours if seed in other]
    return {"diff": round(mean(differences), 4), "ci95": interval(differences)} if differences else {}


def span(bounds: Sequence[float] | None, sign: str = "") -> str:
    """The interval as text; with `sign="+"` numbers bear their sign."""
    return f"[{bounds[0]:{sign}.3f}, {bounds[1]:{sign}.3f}]" if bounds else ""
