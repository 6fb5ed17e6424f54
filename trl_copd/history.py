"""What a run left on disk, as plain data: rewards, measurements along the edges, phases, capability matrix."""

import json
import logging
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .topology import STUDENT


logger = logging.getLogger(__name__)

EDGE = re.compile(r"([\w-]+?)->([\w-]+)(?:@([\w-]+))?")  # teacher, learner, domain if it is not the teacher's

Matrix = dict[str, dict[str, float | None]]  # accuracy in [0, 1] per adapter and domain; `None`: nothing graded
Series = dict[str, tuple[list[int], list[float]]]
Bands = dict[str, tuple[list[int], list[float], list[float]]]  # steps, lowest, highest


@dataclass(frozen=True)
class Run:
    """
    What a run left on disk.

    Args:
        branches (`tuple[str, ...]`): Experts in the user's order, then the student if it is a branch.
        spans (`list[tuple[str, int, int]]`): Phases `(phase, start, end)` in rounds, end exclusive.
        history (`list[dict]`): `log_history` of transformers' `TrainerState`.
        matrix (`dict[str, dict[str, float | None]]`): Accuracy in [0, 1] per adapter and domain; may be empty.
        name, topology (`str`), seed (`int`), *optional*: What tells it apart from other runs.
        held_out (`dict[str, int]`): Completions per domain that the matrix was measured on, where that is known.
    """

    branches: tuple[str, ...]
    spans: list[tuple[str, int, int]]
    history: list[dict]
    matrix: dict[str, dict[str, float | None]]
    name: str = ""
    topology: str | None = None
    seed: int | None = None
    held_out: dict[str, int] = field(default_factory=dict)

    @property
    def rewards(self) -> Series:
        found = series(self.history, "reward")
        return {branch: found[branch] for branch in self.branches if branch in found}

    @property
    def student_rewards(self) -> Series:
        """Accuracy of the student's cross rows, by domain."""
        return {
            domain: found[STUDENT]
            for domain in self.branches
            if STUDENT in (found := series(self.history, f"{domain}/reward"))
        }

    @property
    def student_accuracy(self) -> tuple[list[int], list[float]] | None:
        """The student's accuracy on held-out rows, averaged over the domains, wherever it was measured."""
        steps, values = series(self.history, "accuracy").get(f"eval_{STUDENT}", ([], []))
        last = max((entry["step"] for entry in self.history), default=0)
        final = mean_of(self.matrix.get(STUDENT, {}))
        if final is not None and last not in steps:
            steps, values = [*steps, last], [*values, final]
        return (steps, values) if steps else None

    @property
    def rests(self) -> Series:
        """Share of the logged rounds in which a branch rested; empty unless `allocation="adaptive"`."""
        found = series(self.history, "rests")
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
            f"{label!r} does not name an edge: it must have the form teacher->learner or teacher->learner@domain."
        )
    teacher, learner, domain = match.groups()
    return teacher, learner, domain or teacher


def learners_of(edges: Iterable[str]) -> list[str]:
    """The learners of these edges' labels, each once, in their order."""
    return list(dict.fromkeys(edge_parts(label)[1] for label in edges))


def mean_by_learner(edges: Series) -> Series:
    """Mean over the edges into each learner, each as last measured: edges may take turns (`overlap_edges`)."""
    return {
        learner: (steps, [sum(values) / len(values) for values in columns])
        for learner, (steps, columns) in _by_learner(edges).items()
    }


def range_by_learner(edges: Series) -> Bands:
    """Lowest and highest of the edges into each learner, each as last measured."""
    return {
        learner: (steps, [min(values) for values in columns], [max(values) for values in columns])
        for learner, (steps, columns) in _by_learner(edges).items()
    }


def _by_learner(edges: Series) -> dict[str, tuple[list[int], list[list[float]]]]:
    grouped: dict[str, list[dict[int, float]]] = {}
    for label, points in edges.items():
        grouped.setdefault(edge_parts(label)[1], []).append(dict(zip(*points, strict=True)))
    found = {}
    for learner, members in grouped.items():
        steps = sorted(set().union(*members))
        columns: list[list[float]] = []
        latest: dict[int, float] = {}
        for step in steps:
            latest |= {index: points[step] for index, points in enumerate(members) if step in points}
            columns.append(list(latest.values()))
        found[learner] = (steps, columns)
    return found


def mean_of(row: dict[str, float | None]) -> float | None:
    """The mean over the domains of a row of the matrix; `None` if one of them is missing."""
    values = [value for value in row.values() if value is not None]
    return sum(values) / len(values) if values and len(values) == len(row) else None


def standard_errors(run: Run, domains: list[str], rows: list[list[float | None]]) -> list[list[float | None]]:
    """
    One standard error of each cell of [`matrix_rows`], `None` where the number of rows is unknown or a value is no
    share. It is that of an accuracy, sqrt(p (1 - p) / n), and of the mean over the domains.
    """
    found: list[list[float | None]] = []
    for row in rows:
        errors: list[float | None] = [
            None if p is None or not 0 <= p <= 1 or not run.held_out.get(domain) else _error(p, run.held_out[domain])
            for p, domain in zip(row, domains, strict=False)  # the mean has no domain
        ]
        known = [error for error in errors if error is not None]
        whole = len(known) == len(errors) and bool(errors)
        found.append([*errors, math.sqrt(sum(error**2 for error in known)) / len(errors) if whole else None])
    return found


def _error(share: float, rows: int) -> float:
    return math.sqrt(share * (1 - share) / rows)


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
            f"Nothing to draw in '{root}': there is neither a log in trainer_state.json (there, or in the latest "
            "checkpoint-N folder) nor a capability_matrix.json. Pass the `output_dir` of a run that has saved a "
            "checkpoint, or call `trainer.save_state()` or `trainer.capability_matrix()` first."
        )
    if (branches := plan.get("branches")) is None:
        logger.warning("No copd.json in '%s': branches are taken from the log, and phases are not shaded.", root)
        edges = [label for label in series(history, "opd/overlap") if EDGE.fullmatch(label)]
        names = [*series(history, "reward"), *(name for label in edges for name in edge_parts(label))]
        branches = sorted(dict.fromkeys(names), key=lambda name: name == STUDENT)
    settings = plan.get("fingerprint", {}).get("settings", {})
    known = {"topology": plan.get("topology"), "seed": settings.get("seed"), "held_out": plan.get("held_out", {})}
    return Run(tuple(branches), phase_spans(plan, history), history, matrix, root.resolve().name, **known)


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise ValueError(f"'{path}' is not JSON ({error}). Was it cut off? Restore it, or move it away.") from error
