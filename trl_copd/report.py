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


# Panels: each draws on one matplotlib Axes, and leaves the numbers as they are.


def shade_phases(ax, spans: list[tuple[str, int, int]], rounds: int) -> None:
    """Shade the OPD phases, and label those that are wide enough for it (the first one always)."""
    opd = [(start, end) for phase, start, end in spans if phase == "opd"]
    for index, (start, end) in enumerate(opd):
        ax.axvspan(start, end, color=SHADE, linewidth=0, zorder=0)
        if index == 0 or end - start > 0.07 * rounds:
            ax.annotate("OPD", ((start + end) / 2, 0.99), xycoords=("data", "axes fraction"), color=MUTED, size=7.5,
                        ha="center", va="top")  # fmt: skip
    ax.set_xlim(0, max(rounds, 1))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.margins(y=0.1)


def end_labels(ax, ends: list[tuple[str, float, str]]) -> None:
    """Write `(text, y, color)` to the right of the axes, in order of y, moved apart where they would overlap."""
    low, high = ax.get_ylim()
    gap, floor = 0.065, -1.0
    for text, y, color in sorted(ends, key=lambda end: end[1]):
        floor = max((y - low) / (high - low), floor + gap)
        ax.annotate(text, (1.02, floor), xycoords="axes fraction", color=color, va="center", weight="bold", size=9.5)


def draw_lines(ax, run: Run, lines: Series, window: int = 1) -> None:
    """One line per branch, named at its end; with `window` > 1 the points are faint under their running mean."""
    ends = []
    for branch, (steps, values) in lines.items():
        color, smooth = run.color(branch), running_mean(values, window)
        ax.plot(
            steps,
            values,
            color=color,
            alpha=1 if window == 1 else 0.22,
            linewidth=1.8 if window == 1 else 1,
            label=branch,
        )
        if window > 1:
            ax.plot(steps, smooth, color=color, linewidth=2.2)
        ends.append((branch, smooth[-1], color))
    shade_phases(ax, run.spans, run.rounds)
    ax.set_xlabel("round")
    end_labels(ax, ends)
