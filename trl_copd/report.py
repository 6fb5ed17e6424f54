"""
Figures of a run, redrawn from what the run left on disk: `python -m trl_copd.report OUTPUT_DIR`.

    copd.json               branches and phases             ┐   figures/reward.png             reward per branch
    trainer_state.json      `log_history`, one entry a log  ├─▶ figures/overlap.png            the saw-tooth, per edge
    capability_matrix.json  {adapter: {domain: accuracy}}   ┘   figures/capability_matrix.png  accuracy, gain over base
                                                                figures/summary.png            all three, side by side

Neither torch nor TRL is needed here, and matplotlib only once something is drawn. x is `global_step`: the entry with
step s closes the 0-based round s - 1, so that a phase of rounds [start, end) shades x from start to end.
"""

import argparse
import json
import logging
import math
import re
from dataclasses import dataclass
from pathlib import Path

from .topology import STUDENT


logger = logging.getLogger(__name__)

# Okabe and Ito's colour-blind safe palette, without its yellow (too pale for a line on white).
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, MUTED, SHADE = "#222222", "#767676", "#F1EFE9"
GAIN, LOSS = "#3F8FC4", "#E0813A"  # ends of the heat map's scale; white is the base
MARKERS = "os^Dvp"
STYLE = {
    "font.size": 10,
    "axes.edgecolor": "#B5B5B5",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 11,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
}
NAME = r"[A-Za-z0-9_-]+?"
EDGE = re.compile(rf"({NAME})->({NAME})(?:@({NAME}))?")

Series = dict[str, tuple[list[int], list[float]]]


# What the run left: read, and turned into plain numbers.


@dataclass(frozen=True)
class Run:
    """
    What a run left on disk.

    Args:
        branches (`tuple[str, ...]`): Experts in the user's order, then the student if it is a branch.
        spans (`list[tuple[str, int, int]]`): Phases `(phase, start, end)` in rounds, end exclusive.
        history (`list[dict]`): `log_history` of transformers' `TrainerState`.
        matrix (`dict[str, dict[str, float | None]]`): Accuracy in [0, 1] per adapter and domain; may be empty.
    """

    branches: tuple[str, ...]
    spans: list[tuple[str, int, int]]
    history: list[dict]
    matrix: dict[str, dict[str, float | None]]

    @property
    def rounds(self) -> int:
        return max((entry.get("step", 0) for entry in self.history), default=0)

    def rewards(self) -> Series:
        found = series(self.history, "reward")
        return {branch: found[branch] for branch in self.branches if branch in found}

    def per_edge(self, suffix: str) -> Series:
        """Series of the edges between this run's branches, ordered by learner, then by domain."""
        found = {label: points for label, points in series(self.history, suffix).items() if EDGE.fullmatch(label)}
        known = [label for label in found if set(edge_parts(label)) <= set(self.branches)]
        rank = self.branches.index
        known.sort(key=lambda label: [rank(name) for name in edge_parts(label)[1:]])
        return {label: found[label] for label in known}

    def color(self, branch: str) -> str:
        experts = [name for name in self.branches if name != STUDENT]
        return INK if branch == STUDENT else PALETTE[experts.index(branch) % len(PALETTE)]


def series(log_history: list[dict], suffix: str) -> Series:
    """
    Points of every metric `{label}/{suffix}`, as logged: `{label: (steps, values)}` with rising steps.

    Entries where the metric is absent, `None` or not finite are left out. If a step was logged twice (the run was
    resumed from before it), the later entry holds.
    """
    points: dict[str, dict[int, float]] = {}
    for entry in log_history:
        for key, value in entry.items():
            label, _, rest = key.partition("/")
            if rest == suffix and isinstance(value, int | float) and math.isfinite(value):
                points.setdefault(label, {})[entry["step"]] = value
    return {label: (sorted(values), [values[step] for step in sorted(values)]) for label, values in points.items()}


def phase_spans(plan: dict, log_history: list[dict]) -> list[tuple[str, int, int]]:
    """Phases that were reached, as `(phase, start, end)` in rounds: planned in `copd.json`, cut at the last log."""
    last = max((entry.get("step", 0) for entry in log_history), default=0)
    spans = [(span["phase"], span["start"], min(span["end"], last)) for span in plan.get("phases", [])]
    return [span for span in spans if span[1] < span[2]]


def edge_parts(label: str) -> tuple[str, str, str]:
    """Teacher, learner and domain of an edge label: `math->code`, or `student->math@code`."""
    teacher, learner, domain = EDGE.fullmatch(label).groups()
    return teacher, learner, domain or teacher


def mean_by_learner(edges: Series) -> Series:
    """Mean over the edges into each learner, at the steps where all of them were measured."""
    grouped: dict[str, list[dict[int, float]]] = {}
    for label, points in edges.items():
        grouped.setdefault(edge_parts(label)[1], []).append(dict(zip(*points, strict=True)))
    means = {}
    for learner, members in grouped.items():
        steps = sorted(set.intersection(*map(set, members)))
        means[learner] = (steps, [sum(points[step] for points in members) / len(members) for step in steps])
    return {learner: points for learner, points in means.items() if points[0]}


def running_mean(values: list[float], window: int) -> list[float]:
    """Centred mean over `window` (odd) points, over fewer near the ends."""
    half = window // 2
    chunks = [values[max(0, i - half) : i + half + 1] for i in range(len(values))]
    return [sum(chunk) / len(chunk) for chunk in chunks]


def mean_accuracy(row: dict[str, float | None], domains: list[str]) -> float | None:
    """Mean over the domains; `None` unless every one of them was measured."""
    values = [row.get(domain) for domain in domains]
    return None if None in values else sum(values) / len(values)


def load_run(output_dir: str | Path) -> Run:
    """
    Read a run's folder.

    Raises:
        FileNotFoundError: Neither a log nor a capability matrix is there.
        ValueError: A file is not JSON.
    """
    root = Path(output_dir)
    state_path = next((path for path in _state_paths(root) if path.exists()), None)
    state = _read(state_path) if state_path else {}
    matrix, plan = _read(root / "capability_matrix.json"), _read(root / "copd.json")
    history = state.get("log_history", [])
    if not history and not matrix:
        raise FileNotFoundError(
            f"Nothing to draw in '{root}': looked for a log in trainer_state.json (there, then in the latest "
            "checkpoint-N folder) and for capability_matrix.json. Pass the `output_dir` of a run that has saved a "
            "checkpoint, or call `trainer.save_state()` or `trainer.capability_matrix()` first."
        )
    if not plan:
        logger.warning("No copd.json in '%s': branches are taken from the log, phases are not shaded.", root)
    branches = plan.get("branches") or logged_branches(history)
    return Run(tuple(branches), phase_spans(plan, history), history, matrix)


def logged_branches(log_history: list[dict]) -> list[str]:
    """Branches that a log speaks of, for a run without `copd.json`: those with rewards first, the student last."""
    edges = [label for label in series(log_history, "opd/overlap") if EDGE.fullmatch(label)]
    names = [*series(log_history, "reward"), *(name for label in edges for name in edge_parts(label))]
    return sorted(dict.fromkeys(names), key=lambda name: name == STUDENT)


def _state_paths(root: Path) -> list[Path]:
    numbered = [path for path in root.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdecimal()]
    numbered.sort(key=lambda path: int(path.name.removeprefix("checkpoint-")), reverse=True)
    return [folder / "trainer_state.json" for folder in (root, *numbered)]


def _read(path: Path) -> dict:
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"'{path}' is not JSON ({error}). Was it cut off? Restore it, or move it away.") from error


# Panels: each draws on one matplotlib Axes.


def finish(ax, run: Run) -> None:
    """Axis of rounds, OPD phases shaded; labelled where wide enough (the first one always)."""
    opd = [(start, end) for phase, start, end in run.spans if phase == "opd"]
    for index, (start, end) in enumerate(opd):
        ax.axvspan(start, end, color=SHADE, linewidth=0, zorder=0)
        if index == 0 or end - start > 0.07 * run.rounds:
            style = {"xycoords": ("data", "axes fraction"), "color": MUTED, "size": 8, "ha": "center", "va": "top"}
            ax.annotate("OPD", ((start + end) / 2, 0.99), **style)
    ax.margins(y=0.12)
    ax.set_xlim(0, max(run.rounds, 1))
    ax.xaxis.get_major_locator().set_params(integer=True)


def draw_lines(ax, run: Run, lines: Series, window: int = 1) -> None:
    """One line per branch, named at its end; with `window` > 1 the points are faint under their running mean."""
    ends = []
    for branch, (steps, values) in lines.items():
        color, smooth = run.color(branch), running_mean(values, window)
        ax.plot(steps, values, color=color, label=branch, alpha=0.25 if window > 1 else 1)
        if window > 1:
            ax.plot(steps, smooth, color=color, linewidth=2.2)
        ends.append((smooth[-1], branch, color))
    finish(ax, run)
    (low, high), floor = ax.get_ylim(), -1.0
    for y, branch, color in sorted(ends):  # upwards, moved apart where the names would overlap
        floor = max((y - low) / (high - low), floor + 0.065)
        ax.annotate(branch, (1.02, floor), xycoords="axes fraction", color=color, va="center", weight="bold")


def draw_edges(ax, run: Run, edges: Series) -> None:
    """One line per edge: the learner's colour, the domain's marker (which name every edge of every topology)."""
    for label, (steps, values) in edges.items():
        _, learner, domain = edge_parts(label)
        marker = {"marker": MARKERS[run.branches.index(domain) % len(MARKERS)], "markevery": max(1, len(steps) // 25)}
        edge = {"markeredgecolor": "white", "markeredgewidth": 0.6, "markersize": 5.5}
        ax.plot(steps, values, color=run.color(learner), label=label.replace("->", " → "), **marker, **edge)
    finish(ax, run)


def draw_matrix(ax, run: Run) -> None:
    """Accuracy in per cent, and gain over base in points: below it, and as the cell's colour. Best in bold."""
    adapters, domains, rows = matrix_rows(run)
    base = rows[adapters.index("base")] if "base" in adapters else [None] * len(rows[0])
    gains = [[None if None in pair else pair[0] - pair[1] for pair in zip(row, base, strict=True)] for row in rows]
    scale = max((abs(gain) for row in gains for gain in row if gain is not None), default=0) or 1
    ax.imshow([[tint((gain or 0) / scale) for gain in row] for row in gains], aspect="auto")
    best = [max((value for value in column if value is not None), default=None) for column in zip(*rows, strict=True)]
    style = {"textcoords": "offset points", "ha": "center", "va": "center", "color": INK}
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            gain = None if adapters[i] == "base" else gains[i][j]
            text, weight = "–" if value is None else f"{100 * value:.1f}", "bold" if value == best[j] else "normal"
            ax.annotate(text, (j, i), (0, 0 if gain is None else 6), size=11, weight=weight, **style)
            if gain is not None:
                ax.annotate(f"{100 * gain:+.1f}", (j, i), (0, -8), size=8.5, **style)
    for j in range(len(domains)):
        ax.axvline(j + 0.5, color="white", linewidth=2 if j < len(domains) - 1 else 8)
    for i in range(len(adapters) - 1):
        ax.axhline(i + 0.5, color="white", linewidth=2)
    ax.set_xticks(range(len(domains) + 1), [*domains, "mean"])
    ax.set_yticks(range(len(adapters)), adapters)
    for name, tick in zip(adapters, ax.get_yticklabels(), strict=True):
        tick.set(color=run.color(name), weight="bold")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def tint(gain: float) -> tuple[float, ...]:
    """Colour of a gain in [-1, 1]: white at 0, towards `LOSS` below and `GAIN` above."""
    return tuple(1 - abs(gain) * (1 - part) for part in (GAIN if gain > 0 else LOSS))


# Figures


def reward_figure(figure, run: Run) -> None:
    ax, window = figure.subplots(), run.window
    draw_lines(ax, run, run.rewards(), window)
    ax.set(title="Reward per branch", xlabel="round", ylabel=f"reward{f' (bold: mean of {window})' * (window > 1)}")


def overlap_figure(figure, run: Run) -> None:
    panels = (("opd/overlap", "top-k overlap"), ("opd/symmetric_kl", "symmetric KL (nats)"))
    axes = figure.subplots(2, sharex=True)
    for ax, (suffix, name) in zip(axes, panels, strict=True):
        draw_edges(ax, run, run.per_edge(suffix))
        ax.set_ylabel(name)
    axes[0].set_title("Teacher and learner on the same prompts")
    axes[1].set_xlabel("round")
    handles = {line.get_label(): line for ax in axes for line in ax.lines}
    figure.legend(handles.values(), handles, loc="outside right center", title="teacher → learner @ domain")


def matrix_figure(figure, run: Run) -> None:
    ax = figure.subplots()
    draw_matrix(ax, run)
    ax.set_title("Accuracy (%), and gain over base" if "base" in run.matrix else "Accuracy (%)")


def summary_figure(figure, run: Run) -> None:
    overlap = mean_by_learner(run.per_edge("opd/overlap"))
    panels = [
        ("Reward", run.rewards(), lambda ax: draw_lines(ax, run, run.rewards(), run.window)),
        ("Overlap with teachers", overlap, lambda ax: draw_lines(ax, run, overlap)),
        ("Accuracy (%)", run.matrix, lambda ax: draw_matrix(ax, run)),
    ]
    panels = [(title, draw) for title, data, draw in panels if data]
    for ax, (title, draw) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw(ax)
        ax.set_title(title)


def draw_report(output_dir: str | Path) -> list[Path]:
    """
    Draw what the run's folder allows into `output_dir/figures`, and warn about what it lacks.

    Returns:
        `list[Path]`: The PNG files, among `reward.png`, `overlap.png`, `capability_matrix.png` and `summary.png`.

    Raises:
        FileNotFoundError: Nothing to draw.
        ImportError: matplotlib is not installed.
    """
    run = load_run(output_dir)
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Figures need matplotlib. Install it: pip install "trl-copd[plots]".') from error
    rewards, edges = run.rewards(), run.per_edge("opd/overlap") | run.per_edge("opd/symmetric_kl")
    width = 1.6 + 1.25 * len(next(iter(run.matrix.values()), ()))
    figures = [
        ("reward", reward_figure, rewards, "a metric '<branch>/reward' in the log", (8, 4.2)),
        ("overlap", overlap_figure, edges, "a metric '<edge>/opd/overlap' in the log", (9.5, 6)),
        ("capability_matrix", matrix_figure, run.matrix, "capability_matrix.json", (width + 1.2, 0.8 + 0.65 * len(run.matrix))),
        ("summary", summary_figure, rewards or edges or run.matrix, "all of them", (12, 3.8)),
    ]
    folder = Path(output_dir) / "figures"
    folder.mkdir(exist_ok=True)
    drawn = []
    for name, draw, data, source, size in figures:
        if not data:
            logger.warning("%s.png is not drawn: it needs %s.", name, source)
            continue
        with rc_context(STYLE):
            figure = Figure(figsize=size, layout="constrained", dpi=200)
            draw(figure, run)
            figure.savefig(folder / f"{name}.png")
        drawn.append(folder / f"{name}.png")
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m trl_copd.report", description=draw_report.__doc__)
    parser.add_argument("output_dir", help="folder of the run, as in `CoPDConfig(output_dir=...)`")
    try:
        print(*draw_report(parser.parse_args().output_dir), sep="\n")
    except (FileNotFoundError, ImportError, ValueError) as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
