"""What a run left on disk, as plain data: rewards, measurements along the edges, phases, capability matrix."""

import json
import logging
import math
import re
from dataclasses import dataclass
from pathlib import Path

from .topology import STUDENT


logger = logging.getLogger(__name__)

EDGE = re.compile(r"([\w-]+?)->([\w-]+)(?:@([\w-]+))?")  # teacher, learner, domain if it is not the teacher's

Matrix = dict[str, dict[str, float | None]]  # accuracy in [0, 1] per adapter and domain; `None`: nothing graded
Series = dict[str, tuple[list[int], list[float]]]


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
    def rewards(self) -> Series:
        found = series(self.history, "reward")
        return {branch: found[branch] for branch in self.branches if branch in found}

    def per_edge(self, suffix: str) -> Series:
        """Series of the edges between this run's branches, ordered by learner, then by domain."""
        found = series(self.history, suffix)
        known = [label for label in found if EDGE.fullmatch(label) and set(edge_parts(label)) <= set(self.branches)]
        known.sort(key=lambda label: [self.branches.index(name) for name in edge_parts(label)[1:]])
        return {label: found[label] for label in known}


def series(log_history: list[dict], suffix: str) -> Series:
    """
    Points of every metric `{label}/{suffix}`: `{label: (steps, values)}`, values as logged, steps rising.

    Entries without the metric, or where it is `None` or not finite, are left out. Of a step that was logged twice
    (the run was resumed from before it) the later entry holds.
    """
    points: dict[str, dict[int, float]] = {}
    for entry in log_history:
        for key, value in entry.items():
            label, _, rest = key.partition("/")
            if rest == suffix and isinstance(value, int | float) and math.isfinite(value):
                points.setdefault(label, {})[entry["step"]] = value
    return {label: (sorted(values), [values[s] for s in sorted(values)]) for label, values in points.items()}


def phase_spans(plan: dict, log_history: list[dict]) -> list[tuple[str, int, int]]:
    """Phases that were reached, as `(phase, start, end)` in rounds: those of `copd.json`, cut at the last log."""
    last = max((entry["step"] for entry in log_history), default=0)
    spans = [(span["phase"], span["start"], min(span["end"], last)) for span in plan.get("phases", [])]
    return [span for span in spans if span[1] < span[2]]


def edge_parts(label: str) -> tuple[str, str, str]:
    """Teacher, learner and domain of an edge label: `math->code`, or `student->math@code`."""
    match = EDGE.fullmatch(label)
    if match is None:
        raise ValueError(
            f"{label!r} names no edge: it is not of the form teacher->learner or teacher->learner@domain."
        )
    teacher, learner, domain = match.groups()
    return teacher, learner, domain or teacher


def mean_by_learner(edges: Series) -> Series:
    """Mean over the edges into each learner, at the steps where all of them were measured."""
    grouped: dict[str, list[dict[int, float]]] = {}
    for label, points in edges.items():
        grouped.setdefault(edge_parts(label)[1], []).append(dict(zip(*points, strict=True)))
    means = {}
    for learner, members in grouped.items():
        steps = sorted(set.intersection(*map(set, members)))
        if steps:
            means[learner] = (steps, [sum(points[step] for points in members) / len(members) for step in steps])
    return means


def matrix_rows(run: Run) -> tuple[list[str], list[str], list[list[float | None]]]:
    """Adapters (base, experts, student), domains, and a row per adapter that ends in its mean (`None` if partial)."""
    adapters = [name for name in dict.fromkeys(["base", *run.branches, *run.matrix]) if name in run.matrix]
    adapters.sort(key=lambda name: name == STUDENT)
    domains = list(dict.fromkeys(domain for name in adapters for domain in run.matrix[name]))
    rows = [[run.matrix[name].get(domain) for domain in domains] for name in adapters]
    means = [None if None in row else sum(value for value in row if value is not None) / len(row) for row in rows]
    return adapters, domains, [[*row, mean] for row, mean in zip(rows, means, strict=True)]


def load_run(output_dir: str | Path) -> Run:
    """Read a run's folder; FileNotFoundError if it has nothing to draw, ValueError if a file is not JSON."""
    root = Path(output_dir)
    checkpoints = [path for path in root.glob("checkpoint-*") if path.name[11:].isdecimal()]
    checkpoints.sort(key=lambda path: int(path.name[11:]), reverse=True)
    states = [path / "trainer_state.json" for path in (root, *checkpoints)]
    state = _read(next((path for path in states if path.exists()), states[0]))
    history = [entry for entry in state.get("log_history", []) if "step" in entry]
    matrix = {name: row for name, row in _read(root / "capability_matrix.json").items() if row}
    plan = _read(root / "copd.json")
    if not history and not matrix:
        raise FileNotFoundError(
            f"Nothing to draw in '{root}': looked for a log in trainer_state.json (there, then in the latest "
            "checkpoint-N folder) and for capability_matrix.json. Pass the `output_dir` of a run that has saved a "
            "checkpoint, or call `trainer.save_state()` or `trainer.capability_matrix()` first."
        )
    if (branches := plan.get("branches")) is None:
        logger.warning("No copd.json in '%s': branches are taken from the log, and phases are not shaded.", root)
        edges = [label for label in series(history, "opd/overlap") if EDGE.fullmatch(label)]
        names = [*series(history, "reward"), *(name for label in edges for name in edge_parts(label))]
        branches = sorted(dict.fromkeys(names), key=lambda name: name == STUDENT)
    return Run(tuple(branches), phase_spans(plan, history), history, matrix)


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise ValueError(f"'{path}' is not JSON ({error}). Was it cut off? Restore it, or move it away.") from error
