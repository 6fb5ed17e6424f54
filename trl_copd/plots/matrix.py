"""The capability matrix as a picture."""

from ..history import Run, matrix_rows, standard_errors
from ..style import INK, MUTED, short
from .style import FULL, color_of


ABOVE, BELOW = "#0B5C8F", "#B4460F"  # text of what is above and below the base


def draw_matrix(ax, run: Run) -> None:
    """
    Accuracy in per cent, the best of a column in bold, its colour from 0 (white) to 1; below it the gain over the base
    in points and, where the number of held-out rows is known, one standard error.
    """
    adapters, domains, rows = matrix_rows(run)
    base = rows[adapters.index("base")] if "base" in adapters else [None] * len(rows[0])
    best = [max((value for value in column if value is not None), default=None) for column in zip(*rows, strict=True)]
    errors = standard_errors(run, domains, rows)
    shades = [[min(1.0, max(0.0, value or 0.0)) for value in row] for row in rows]
    ax.imshow([[[1 - depth * (1 - part) for part in FULL] for depth in row] for row in shades], aspect="auto")
    style = {"textcoords": "offset points", "ha": "center", "va": "center"}
    for i, j in ((i, j) for i in range(len(rows)) for j in range(len(best))):
        value, known = rows[i][j], errors[i][j] is not None
        gain = None if adapters[i] == "base" or None in (value, base[j]) else value - base[j]
        text, weight = "–" if value is None else f"{100 * value:.1f}", "bold" if value == best[j] else "normal"
        up = 3 * (gain is not None) + 3 * known + 3 * (gain is not None and known)
        ax.annotate(text, (j, i), (0, up), size=11, weight=weight, color=INK, **style)
        if gain is not None:
            ax.annotate(f"{100 * gain:+.1f}".replace("-", "−"), (j, i), (0, up - 12), size=8.5,
                        color=ABOVE if gain >= 0 else BELOW, **style)  # fmt: skip
        if known:
            ax.annotate(f"±{100 * errors[i][j]:.1f}", (j, i), (0, up - 12 - 10 * (gain is not None)), size=7.5,
                        color=MUTED, **style)  # fmt: skip
    bars = [2] * (len(domains) - 1) + [8]  # the widest sets the mean apart
    ax.vlines([j + 0.5 for j in range(len(domains))], -0.5, len(rows) - 0.5, "white", lw=bars)
    ax.hlines([i - 0.5 for i in range(1, len(rows))], -0.5, len(best) - 0.5, "white", lw=2)
    long = max(len(short(domain)) for domain in domains) > 8
    names = [short(domain) + (f"\nn = {run.held_out[domain]}" if domain in run.held_out else "") for domain in domains]
    ax.set_xticks(range(len(best)), [*names, "mean"], rotation=30 * long, ha="right" if long else "center")
    ax.set_yticks(range(len(rows)), map(short, adapters), weight="bold")
    for name, tick in zip(adapters, ax.get_yticklabels(), strict=True):
        tick.set_color(color_of(run, name))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
