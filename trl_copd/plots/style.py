"""What the figures of a run have in common: colours of its branches, axes, titles. No matplotlib is imported here."""

import math

from ..history import Run, Series
from ..style import GAIN, INK, MUTED, PALETTE, SHADE, short
from ..topology import STUDENT


FULL = GAIN  # a cell of the matrix at accuracy 1; at 0 it is white, in every figure of every run


def color_of(run: Run, adapter: str) -> str:
    """Colour of an expert, the same in all figures; base and student are in ink."""
    experts = [name for name in run.branches if name != STUDENT]
    return PALETTE[experts.index(adapter) % len(PALETTE)] if adapter in experts else INK


def dashes_of(run: Run, adapter: str) -> str:
    """Style of a line: dashed once the palette repeats."""
    return "-" if adapter == STUDENT or run.branches.index(adapter) < len(PALETTE) else "--"


def spread(heights: list[float], gap: float) -> list[float]:
    """Rising heights in [0, 1], moved as little as puts neighbours `gap` apart and keeps them in the panel."""
    heights = list(heights)
    for i in [*range(1, len(heights))] * 50:
        push = max(0.0, gap - (heights[i] - heights[i - 1])) / 2
        heights[i - 1], heights[i] = max(0.0, heights[i - 1] - push), min(1.0, heights[i] + push)
    return heights


def finish(ax, run: Run) -> None:
    """Axis of rounds, with the OPD phases shaded, and labelled where there is room (the first one always)."""
    last = max((entry["step"] for entry in run.history), default=1)
    style = {"xycoords": ("data", "axes fraction"), "color": MUTED, "size": 7.5, "va": "top"}
    for index, (start, end) in enumerate((start, end) for phase, start, end in run.spans if phase == "opd"):
        ax.axvspan(start, end, color=SHADE, linewidth=0, zorder=0)
        wide = end - start > 0.09 * last
        if index == 0 or wide:
            ax.annotate("OPD", ((start + end) / 2 if wide else start, 0.99), ha="center" if wide else "left", **style)
    ax.set_xlim(0, last)
    ax.xaxis.get_major_locator().set_params(integer=True)


def title_of(run: Run) -> str:
    """What tells the figures of several runs apart: folder, topology, seed, rounds."""
    rounds = max((entry["step"] for entry in run.history), default=0)
    parts = [
        short(run.name, 24),
        run.topology and f"topology {run.topology}",
        run.seed is not None and f"seed {run.seed}",
    ]
    return " · ".join([part for part in parts if part] + [f"{rounds} rounds"] * (rounds > 0))


def limits(edges: Series, least: float = 0.0) -> tuple[float, float]:
    """
    Bounds of an axis that shows all of them, with room for markers and the phases' labels. They are at least `least`
    apart: what hardly moves shall look so.
    """
    values = [value for _, line in edges.values() for value in line] or [0.0]
    low, high = min(values), max(values)
    low = min(low, high - least)
    room = 0.12 * (high - low) or 0.1
    return low - room, high + room


def unit_limits(lines: Series) -> tuple[float, float] | None:
    """0 to 1 with a margin for shares and accuracies, `None` for what leaves that range."""
    values = [value for _, line in lines.values() for value in line]
    return (-0.03, 1.06) if values and 0 <= min(values) <= max(values) <= 1 else None


def grid_of(panels: int) -> tuple[int, int]:
    """Columns and rows of so many panels, at most five side by side."""
    rows = math.ceil(panels / 5)
    return math.ceil(panels / rows), rows
