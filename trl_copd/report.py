"""
Figures of a run, redrawn from what the run left on disk: `trl-copd report OUTPUT_DIR`.

    copd.json               branches and phases           ┐    figures/reward.png             reward per branch
    trainer_state.json      `log_history`                 ├─>  figures/overlap.png            the saw-tooth, per edge
    capability_matrix.json  {adapter: {domain: accuracy}} ┘    figures/capability_matrix.png  accuracy, gain over base
                                                               figures/summary.png            all three, side by side

x is `global_step`, the rounds done: rewards of step s are those of the 0-based round s - 1, overlap is measured after
s rounds, and rounds [start, end) span x from start to end.
"""

import logging
import math
import sys
from pathlib import Path

from .history import Run, Series, edge_parts, load_run, matrix_rows, mean_by_learner
from .spelling import Parser
from .topology import STUDENT


logger = logging.getLogger(__name__)

# Okabe and Ito's colour-blind safe palette, without its yellow (too pale for a line on white), and two of Paul Tol's.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933")
INK, MUTED, SHADE = "#222222", "#767676", "#F1EFE9"
GAIN, LOSS = (0.42, 0.68, 0.86), (0.93, 0.62, 0.36)  # ends of the heat map's scale; white is the base
MARKERS = "os^DvpXP"
LONGEST = 16  # characters of a name on a figure
STYLE = {"axes.titlelocation": "left", "axes.titleweight": "bold", "axes.titlesize": 11, "legend.frameon": False}
STYLE |= {"axes.edgecolor": "#B5B5B5", "axes.spines.top": False, "axes.spines.right": False}
STYLE |= {"xtick.color": MUTED, "ytick.color": MUTED, "axes.ymargin": 0.12}
STYLE |= {"figure.constrained_layout.w_pad": 0.1, "figure.constrained_layout.h_pad": 0.08}


def color_of(run: Run, adapter: str) -> str:
    """Colour of an expert, the same in all figures; base and student are in ink."""
    experts = [name for name in run.branches if name != STUDENT]
    return PALETTE[experts.index(adapter) % len(PALETTE)] if adapter in experts else INK


def dashes_of(run: Run, adapter: str) -> str:
    """Style of a line: dashed once the palette repeats."""
    return "-" if adapter == STUDENT or run.branches.index(adapter) < len(PALETTE) else "--"


def running_mean(values: list[float], half: int) -> list[float]:
    """Centred mean over `2 * half + 1` points, over fewer near the ends."""
    chunks = [values[max(0, i - half) : i + half + 1] for i in range(len(values))]
    return [sum(chunk) / len(chunk) for chunk in chunks]


def short(name: str, width: int = LONGEST) -> str:
    """The name in at most `width` characters, cut in its middle: ends tell names apart more often."""
    tail = (width - 1) // 2
    return name if len(name) <= width else f"{name[: width - 1 - tail]}…{name[len(name) - tail :]}"


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


def draw_lines(ax, run: Run, lines: Series, smooth: bool = False) -> None:
    """One line per branch, named at its end; with `smooth`, faint under its running mean."""
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
    finish(ax, run)
    ax.set_xlabel("round (bold: running mean)" if half else "round")
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


def draw_matrix(ax, run: Run) -> None:
    """Accuracy in per cent, the best in bold; gain over base in points, below it and as the cell's colour."""
    adapters, domains, rows = matrix_rows(run)
    base = rows[adapters.index("base")] if "base" in adapters else [None] * len(rows[0])
    gains = [[None if None in pair else pair[0] - pair[1] for pair in zip(row, base, strict=True)] for row in rows]
    scale = max((abs(gain) for row in gains for gain in row if gain), default=1)
    best = [max((value for value in column if value is not None), default=None) for column in zip(*rows, strict=True)]
    shades = [[(abs(gain or 0) / scale, GAIN if (gain or 0) > 0 else LOSS) for gain in row] for row in gains]
    ax.imshow([[[1 - depth * (1 - part) for part in end] for depth, end in row] for row in shades], aspect="auto")
    style = {"textcoords": "offset points", "ha": "center", "va": "center", "color": INK}
    for i, j in ((i, j) for i in range(len(rows)) for j in range(len(best))):
        value, gain = rows[i][j], None if adapters[i] == "base" else gains[i][j]
        text, weight = "–" if value is None else f"{100 * value:.1f}", "bold" if value == best[j] else "normal"
        ax.annotate(text, (j, i), (0, 0 if gain is None else 6), size=11, weight=weight, **style)
        ax.annotate("" if gain is None else f"{100 * gain:+.1f}".replace("-", "−"), (j, i), (0, -8), size=8.5, **style)
    bars = [2] * (len(domains) - 1) + [8]  # the widest sets the mean apart
    ax.vlines([j + 0.5 for j in range(len(domains))], -0.5, len(rows) - 0.5, "white", lw=bars)
    ax.hlines([i - 0.5 for i in range(1, len(rows))], -0.5, len(best) - 0.5, "white", lw=2)
    long = max(len(short(domain)) for domain in domains) > 8
    ax.set_xticks(
        range(len(best)), [*map(short, domains), "mean"], rotation=30 * long, ha="right" if long else "center"
    )
    ax.set_yticks(range(len(rows)), map(short, adapters), weight="bold")
    for name, tick in zip(adapters, ax.get_yticklabels(), strict=True):
        tick.set_color(color_of(run, name))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


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
            ax.set_ylim(*limits(edges))  # the same for every learner
            ax.tick_params(labelleft=column == 0)
        top.set_title(f"{short(learner)} learns", color=color_of(run, learner))
        bottom.set_ylim(0, None)
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


def limits(edges: Series) -> tuple[float, float]:
    """Bounds of an axis that shows all of them, with room for markers and the phases' labels."""
    values = [value for _, line in edges.values() for value in line] or [0.0]
    room = 0.12 * (max(values) - min(values)) or 0.1
    return min(values) - room, max(values) + room


def learners_of(edges: Series) -> list[str]:
    return list(dict.fromkeys(edge_parts(label)[1] for label in edges))


def grid_of(panels: int) -> tuple[int, int]:
    """Columns and rows of so many panels, at most five side by side."""
    rows = math.ceil(panels / 5)
    return math.ceil(panels / rows), rows


def panel_size(run: Run, draw) -> tuple[float, float]:
    """Width and height in inches that a panel needs for its names and cells."""
    names = 0.1 * max(len(short(name)) for name in (*run.branches, "student"))
    if draw is draw_matrix:
        adapters, domains, _ = matrix_rows(run)
        return max(3.6, 0.6 + names + 0.7 * (len(domains) + 1)), 1.1 + 0.52 * len(adapters)
    return 3.1 + names, 3.7


def panels_figure(figure, run: Run, panels: list[tuple]) -> None:
    """Panels `(title, draw, *arguments)` side by side, each as wide as it needs."""
    widths = [panel_size(run, draw)[0] for _, draw, *_ in panels]
    parts = figure.subfigures(1, len(panels), width_ratios=widths, squeeze=False)[0]
    for part, (title, draw, *arguments) in zip(parts, panels, strict=True):
        ax = part.subplots()
        draw(ax, run, *arguments)
        ax.set_title(title)


def draw_report(output_dir: str | Path, quiet: bool = False) -> list[Path]:
    """Draw what the run's folder allows into `output_dir/figures`; warn about what it lacks, unless `quiet`."""
    run = load_run(output_dir)
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Figures need matplotlib. Install it: pip install "trl-copd[plots]".') from error
    overlap, kl = run.per_edge("opd/overlap"), run.per_edge("opd/symmetric_kl")
    reward = ("Reward", draw_lines, run.rewards, True)
    teachers = ("Overlap with teachers", draw_lines, mean_by_learner(overlap))
    matrix = ("Accuracy (%)", draw_matrix)
    panels = [panel for panel, data in ((reward, run.rewards), (teachers, teachers[2]), (matrix, run.matrix)) if data]
    sizes = [panel_size(run, draw) for _, draw, *_ in panels]
    columns, blocks = grid_of(len(learners_of(overlap | kl))) if overlap or kl else (1, 1)
    figures = {
        "reward": ((7.5, 4), [reward], run.rewards, "'<branch>/reward' in the log of trainer_state.json"),
        "overlap": (
            (2.3 + max(4, 2.5 * columns), 4.4 * blocks + 0.4), None, overlap | kl,
            "'<edge>/opd/overlap' in the log of trainer_state.json",
        ),
        "capability_matrix": (sizes[-1] if run.matrix else None, [matrix], run.matrix, "capability_matrix.json"),
        "summary": (
            (sum(width for width, _ in sizes), max((height for _, height in sizes), default=0)), panels, panels,
            "reward, overlap or capability matrix",
        ),
    }  # fmt: skip
    folder, drawn = Path(output_dir) / "figures", []
    folder.mkdir(exist_ok=True)
    for name, (size, parts, data, needed) in figures.items():
        if not data:
            (logger.debug if quiet else logger.warning)("%s.png is not drawn: the run has no %s.", name, needed)
            continue
        with rc_context(STYLE):
            figure = Figure(figsize=size, layout="constrained", dpi=200)
            panels_figure(figure, run, parts) if parts else overlap_figure(figure, run)
            figure.savefig(folder / f"{name}.png")
        drawn.append(folder / f"{name}.png")
    return drawn


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = Parser(prog="trl-copd report", description="Draw the figures of a run into its folder.")
    parser.add_argument("output_dir", help="folder of the run, as in `CoPDConfig(output_dir=...)`")
    try:
        print(*draw_report(parser.parse_args(argv).output_dir), sep="\n")
    except (FileNotFoundError, ImportError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
