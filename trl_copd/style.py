"""How figures look: colours, marks, names that fit."""

from typing import Any


# Okabe and Ito's colour-blind safe palette, without its yellow (too pale for a line on white), and two of Paul Tol's.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933")
INK, MUTED, SHADE = "#222222", "#767676", "#F1EFE9"
GAIN, LOSS = (0.42, 0.68, 0.86), (0.93, 0.62, 0.36)  # ends of the heat map's scale; white is the base
MARKERS = "os^DvpXP"
LONGEST = 16  # characters of a name on a figure
STYLE: dict[Any, Any] = {
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 11,
    "legend.frameon": False,
}
STYLE |= {"axes.edgecolor": "#B5B5B5", "axes.spines.top": False, "axes.spines.right": False}
STYLE |= {"xtick.color": MUTED, "ytick.color": MUTED, "axes.ymargin": 0.12}
STYLE |= {"figure.constrained_layout.w_pad": 0.1, "figure.constrained_layout.h_pad": 0.08}


def running_mean(values: list[float], half: int) -> list[float]:
    """Centred mean over `2 * half + 1` points, over fewer near the ends."""
    chunks = [values[max(0, i - half) : i + half + 1] for i in range(len(values))]
    return [sum(chunk) / len(chunk) for chunk in chunks]


def short(name: str, width: int = LONGEST) -> str:
    """The name in at most `width` characters, cut in its middle: ends tell names apart more often."""
    tail = (width - 1) // 2
    return name if len(name) <= width else f"{name[: width - 1 - tail]}…{name[len(name) - tail :]}"
