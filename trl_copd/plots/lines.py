"""Curves over rounds: rewards, overlap and KL per edge, the student."""

from itertools import pairwise
from math import nan
from statistics import median

from ..history import Bands, Run, Series, edge_parts, learners_of
from ..style import INK, MARKERS, MUTED, running_mean, short
from .style import color_of, dashes_of, finish, grid_of, limits, spread, unit_limits


LEAST_OVERLAP, LEAST_KL = 0.05, 0.02  # least range of an axis, a share and nats: less is noise


def draw_lines(ax, run: Run, lines: Series, smooth: bool = False, bands: Bands | None = None) -> None:
    """
    One line per branch, named at its end; with `smooth`, faint under its running mean. `bands` are shaded behind it.
    Shares are drawn from 0 to 1; with bands, over a range of at least `LEAST_OVERLAP`.
    """
    ends, half = [], 0
    for branch, (steps, values) in lines.items():
        half = len(values) // 24 if smooth else 0
        mean, color = running_mean(values, half), color_of(run, branch)
        style = (
            {"alpha": 0.25 if len(lines) < 5 else 0.12, "lw": 1} if half else {"lw": 2, "ls": dashes_of(run, branch)}
        )
        ax.plot(steps, values, color=color, label=branch, **style)
        if half:
            ax.plot(steps, mean, color=color, lw=2.2, ls=dashes_of(run, branch))
        ends.append((mean[-1], branch, color))
    for branch, (steps, lows, highs) in (bands or {}).items():
        ax.fill_between(steps, lows, highs, color=color_of(run, branch), alpha=0.14, linewidth=0)
    finish(ax, run)
    if bands:
        edges = {f"{name}{i}": (band[0], band[i]) for name, band in bands.items() for i in (1, 2)}
        ax.set_ylim(*limits(edges, LEAST_OVERLAP))
    elif (bounds := unit_limits(lines)) is not None:
        ax.set_ylim(*bounds)
    note = " (bold: running mean)" if half else " (band: range over teachers)" if bands else ""
    ax.set_xlabel(f"round{note}")
    low, high = ax.get_ylim()
    heights = spread([(y - low) / (high - low) for y, *_ in sorted(ends)], gap=0.07)
    for y, (_, branch, color) in zip(heights, sorted(ends), strict=True):
        ax.annotate(short(branch), (1.02, y), xycoords="axes fraction", color=color, va="center", weight="bold")


def draw_edges(ax, run: Run, edges: Series) -> None:
    """One line per edge into a learner, in the colour and with the marker of the edge's domain."""
    dots = {"markersize": 4.5, "markeredgecolor": "white", "markeredgewidth": 0.5, "lw": 1.5}
    for label, (steps, values) in edges.items():
        domain = edge_parts(label)[2]
        marker = {"marker": MARKERS[run.branches.index(domain) % len(MARKERS)], "markevery": max(1, len(steps) // 25)}
        ax.plot(steps, values, color=color_of(run, domain), label=label, **marker, **dots)
    finish(ax, run)


def overlap_figure(figure, run: Run) -> None:
    """A column per learner: overlap above, symmetric KL below, a line for each domain it is taught on."""
    overlap, divergence = run.per_edge("opd/overlap"), run.per_edge("opd/symmetric_kl")
    learners = learners_of(overlap | divergence)
    columns, blocks = grid_of(len(learners))
    axes = figure.subplots(2 * blocks, columns, squeeze=False, sharex=True)
    for index, learner in enumerate(learners):
        block, column = divmod(index, columns)
        top, bottom = axes[2 * block][column], axes[2 * block + 1][column]
        for ax, edges in ((top, overlap), (bottom, divergence)):
            draw_edges(ax, run, {label: line for label, line in edges.items() if edge_parts(label)[1] == learner})
            ax.set_ylim(*limits(edges, LEAST_OVERLAP))  # the same for every learner
            ax.tick_params(labelleft=column == 0)
        top.set_title(f"{short(learner)} learns", color=color_of(run, learner))
        bottom.set_ylim(0, max(bottom.get_ylim()[1], LEAST_KL))
        if column == 0:
            top.set_ylabel("top-k overlap")
            bottom.set_ylabel("symmetric KL (nats)")
    for ax in axes[-1]:
        ax.set_xlabel("round")
    for index in range(len(learners), columns * blocks):
        for row in (0, 1):
            axes[2 * (index // columns) + row][index % columns].set_visible(False)
    lines = {edge_parts(line.get_label())[2]: line for ax in axes.flat for line in ax.lines}
    domains = sorted(lines, key=run.branches.index)
    figure.legend(
        [lines[name] for name in domains], map(short, domains), loc="outside right center", title="taught on"
    )


def draw_student(ax, run: Run, lines: dict[str, float]) -> None:
    """
    The student's accuracy over rounds: on each domain's cross rows as sampled (running mean), and averaged over the
    domains on held-out rows (dots). `lines` are accuracies to compare it with, by name.
    """
    for domain, (steps, values) in run.student_rewards.items():
        mean = running_mean(values, len(values) // 24)
        ax.plot(*broken(steps, mean), color=color_of(run, domain), lw=1.6, label=f"{short(domain)}, sampled")
    if run.student_accuracy:
        steps, values = run.student_accuracy
        ax.plot(steps, values, color=INK, marker="o", lw=2, ms=4.5, clip_on=False, label="held out, averaged")
    finish(ax, run)
    ax.set_ylim(-0.03, 1.06)
    ax.set_xlabel("round")
    heights = spread([(value + 0.03) / 1.09 for value in sorted(lines.values())], gap=0.06)
    for height, (name, value) in zip(heights, sorted(lines.items(), key=lambda pair: pair[1]), strict=True):
        ax.axhline(value, color=MUTED, lw=1, ls=":")
        ax.annotate(f"{name} {value:.2f}", (1.02, height), xycoords="axes fraction", color=MUTED, va="center", size=8)
    if len(ax.lines) > len(lines):
        ax.legend(loc="lower right", fontsize=8)


def broken(steps: list[int], values: list[float]) -> tuple[list[float], list[float]]:
    """The points of a line that is interrupted where more than twice the usual number of rounds lies between two."""
    usual = median(b - a for a, b in pairwise(steps)) if len(steps) > 1 else 0
    x: list[float] = []
    y: list[float] = []
    for step, value in zip(steps, values, strict=True):
        if x and step - x[-1] > 2 * usual:
            x, y = [*x, x[-1]], [*y, nan]
        x, y = [*x, step], [*y, value]
    return x, y


def draw_allocation(ax, run: Run) -> None:
    """Who learnt when: a lane per branch, filled where it took part; in the lane its reward, from 0 to 1."""
    for lane, (branch, (steps, rests)) in enumerate(run.rests.items()):
        color, ends = color_of(run, branch), [0, *steps]
        for start, end, rest in zip(ends, steps, rests, strict=False):
            ax.fill_between([start, end], -lane - 0.4, -lane + 0.4, color=color, alpha=0.3 * (1 - rest), linewidth=0)
        if branch in run.rewards:
            rounds, values = run.rewards[branch]
            mean = running_mean(values, len(values) // 24)
            ax.plot(rounds, [-lane - 0.4 + 0.8 * min(1.0, max(0.0, value)) for value in mean], color=color, lw=1.6)
    ax.set_yticks([-lane for lane in range(len(run.rests))], [short(name) for name in run.rests], weight="bold")
    for name, tick in zip(run.rests, ax.get_yticklabels(), strict=True):
        tick.set_color(color_of(run, name))
    ax.set_xlim(0, max((entry["step"] for entry in run.history), default=1))
    ax.set_xlabel("round (filled: learns; line: reward, 0 to 1)")
    ax.tick_params(axis="y", length=0)
