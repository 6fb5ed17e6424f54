"""Accuracy of every method, seed by seed, as PNG and SVG."""

from collections.abc import Mapping
from pathlib import Path
from statistics import mean

from ..style import INK, MUTED, PALETTE, STYLE, short
from .intervals import interval


def draw(scores: Mapping[str, Mapping[int, float]], folder: Path, name: str = "compare") -> list[Path]:
    """
    A row for each method, best on top: a dot for each seed, their mean and its 95 % interval, clipped to [0, 1].

    Args:
        scores (`Mapping`): Mean accuracy in [0, 1] by method and seed.
        folder (`Path`): Where `NAME.png` and `NAME.svg` go.
        name (`str`): The files' name.

    Returns:
        `list[Path]`: The files.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('The figure needs matplotlib. Install it: pip install "trl-copd[plots]".') from error
    ranked = sorted(scores, key=lambda method: mean(scores[method].values()))
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 1.1 + 0.42 * len(ranked)), layout="constrained", dpi=200)
        ax = figure.subplots()
        for height, method in enumerate(ranked):
            values = list(scores[method].values())
            color = MUTED if method == "base" else PALETTE[0] if method.startswith("copd") else INK
            bounds = interval(values)
            if bounds is not None:
                low, high = (min(1.0, max(0.0, bound)) for bound in bounds)
                ax.plot([low, high], [height, height], color=color, lw=5, alpha=0.25, solid_capstyle="butt")
            ax.plot(values, [height] * len(values), "o", color=color, ms=4, alpha=0.55, mew=0)
            ax.plot([mean(values)], [height], "|", color=color, ms=15, mew=2.5)
            ax.annotate(
                f"{mean(values):.3f}", (1.01, height), xycoords=("axes fraction", "data"), va="center", color=color
            )
        ax.set_yticks(range(len(ranked)), [short(method, 28) for method in ranked])
        ax.set_ylim(-0.6, len(ranked) - 0.4)
        every = [value for by_seed in scores.values() for value in by_seed.values()]
        ax.set_xlim(max(0.0, min(every) - 0.05), min(1.0, max(every) + 0.05))
        ax.set_xlabel("accuracy: a dot for each seed, mean, 95 % interval")
        ax.grid(axis="x", color="#E6E6E6", lw=0.8)
        ax.set_axisbelow(True)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{name}.png", folder / f"{name}.svg"]
        for path in paths:
            figure.savefig(path)
    return paths
