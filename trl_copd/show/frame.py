"""One picture of a run in the terminal, from what it has logged: data in, rich's renderables out."""

import math
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..schedule import Schedule
from ..style import short
from ..topology import STUDENT, Edge, Topology


# of the experts, in turn; the student is white, and the phases have colours of their own
COLORS = ("cyan", "magenta", "green", "bright_red", "bright_cyan", "bright_magenta", "bright_green", "red")
PHASE_COLORS = {"rlvr": "blue", "opd": "yellow"}
BARS = "▁▂▃▄▅▆▇█"
# last parts of the metrics that count rows without a grade
UNGRADED = ("unreadable", "infrastructure_failures", "ungraded")
DRAWN = ("reward", "opd/overlap")  # metrics of a branch and of an edge that have a trend
DETAILED = 76  # columns from which a branch's entropy and lengths are shown

Points = list[tuple[int, float]]


@dataclass
class RunView:
    """
    What the picture shows of a run.

    Args:
        topology ([`Topology`]): Branches and edges.
        schedule ([`Schedule`]): Phases.
        total (`int`): Rounds of the run.
        start (`int`): Rounds done when it was started or resumed.
        began (`float`): Clock at that moment, seconds.
    """

    topology: Topology
    schedule: Schedule
    total: int
    start: int = 0
    began: float = 0.0
    round: int = 0
    history: dict[str, Points] = field(default_factory=dict)
    ungraded: dict[str, float] = field(default_factory=dict)
    matrix: dict[str, dict[str, float | None]] = field(default_factory=dict)
    matrix_round: int = 0
    _counted: int = 0

    def update(self, logs: dict[str, Any], step: int) -> None:
        """Take in one log of the trainer."""
        self.round = max(self.round, step)
        numbers = {k: v for k, v in logs.items() if isinstance(v, int | float) and math.isfinite(v)}
        measured: dict[str, dict[str, float | None]] = {}
        for key, value in numbers.items():
            label, _, rest = key.partition("/")
            if label.startswith("eval_"):
                if rest != "accuracy":
                    measured.setdefault(label.removeprefix("eval_"), {})[rest] = value
                continue
            points = self.history.setdefault(key, [])
            if rest not in DRAWN:  # their last value is enough
                points.clear()
            points.append((step, value))
            if key.rpartition("/")[2] in UNGRADED:  # logged as the mean of the rounds since the last log
                self.ungraded[label] = self.ungraded.get(label, 0) + value * (step - self._counted)
        if "phase" in numbers:
            self._counted = step
        if measured:
            self.matrix, self.matrix_round = measured, step

    def last(self, key: str, fresh: bool = False) -> float | None:
        """The latest value of a metric; with `fresh`, only if it is of the latest round that was logged."""
        points = self.history.get(key)
        return points[-1][1] if points and (not fresh or points[-1][0] >= self._counted) else None

    def phase(self) -> str:
        return self.schedule.phase(min(self.round, self.total - 1), self.total)

    def color(self, branch: str) -> str:
        experts = self.topology.experts
        return COLORS[experts.index(branch) % len(COLORS)] if branch in experts else "white"


def frame(view: RunView, width: int, height: int, now: float) -> RenderableType:
    """
    The picture, as wide as the terminal and no higher than it: what does not fit is shown shorter, or left out.

    Args:
        view ([`RunView`]): The run.
        width (`int`): Columns.
        height (`int`): Rows.
        now (`float`): Clock, seconds.
    """
    inner = width - 4
    left = inner - 4 - _matrix_width(view)
    beside = bool(view.matrix) and left >= DETAILED  # the matrix stands beside the tables, or below them
    adapters, edges, learners = len(view.matrix), 0, 0
    if any("/opd/" in key for key in view.history):
        edges, learners = len(view.topology.edges), len({edge.learner for edge in view.topology.edges})
    shorter = [(edges, adapters), (learners, adapters), (learners, min(adapters, 2)), (learners, 0), (0, 0)]
    above = 5 + len(view.topology.branches)  # border, bar, titles, branches
    for edge_rows, adapter_rows in shorter:
        tables, matrix = above + edge_rows + 2 * bool(edge_rows), adapter_rows + 2 * bool(adapter_rows)
        if (max(tables, matrix + 2) if beside else tables + matrix) <= height:
            break
    parts: list[RenderableType] = [_branches(view, left if beside else inner)]
    if edge_rows:
        parts += ["", _edges(view, left if beside else inner, merged=edge_rows < edges)]
    if adapter_rows and beside:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_row(Group(*parts), _matrix(view, _matrix_width(view), brief=adapter_rows < adapters))
        parts = [grid]
    elif adapter_rows:
        parts += ["", _matrix(view, inner, brief=adapter_rows < adapters)]
    return Panel(Group(_bar(view, inner), *parts), title=_title(view), subtitle=_times(view, now), width=width,
                 title_align="left", subtitle_align="right", border_style="bright_black")  # fmt: skip


def _title(view: RunView) -> Text:
    at, schedule = min(view.round, view.total - 1), view.schedule
    phase = view.phase()
    first, end = next((start, end) for _, start, end in schedule.phases(view.total) if start <= at < end)
    text = Text.assemble(
        (f" {phase.upper()} ", f"bold black on {PHASE_COLORS[phase]}"), f" {at - first + 1}/{end - first}"
    )
    cycles = schedule.cycle(view.total - 1, view.total) + 1
    if cycles > 1:
        text.append(f"  cycle {schedule.cycle(at, view.total) + 1}/{cycles}")
    return Text.assemble(("CoPD", "bold"), " ", text, f"  round {view.round}/{view.total}")


def _times(view: RunView, now: float) -> str:
    elapsed, done = now - view.began, view.round - view.start
    left = (
        f", {_clock(elapsed / done * (view.total - view.round))} left" if 0 < done and view.round < view.total else ""
    )
    return f"{_clock(elapsed)}{left}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _bar(view: RunView, width: int) -> Text:
    """The whole run: rounds done in bold, each in its phase's colour."""
    text = Text()
    for cell in range(width):
        phase = view.schedule.phase(min(view.total - 1, cell * view.total // width), view.total)
        done = (cell + 0.5) * view.total / width < view.round
        text.append("━" if done else "─", style=PHASE_COLORS[phase] if done else f"dim {PHASE_COLORS[phase]}")
    return text


def _table(*columns: str | int, names: int) -> Table:
    """A table without lines whose first column is `names` wide; an `int` is the column of trends, and its width."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bright_black")
    for index, column in enumerate(columns):
        if isinstance(column, int):
            table.add_column("trend", width=column, no_wrap=True)
        else:
            table.add_column(
                column, justify="right" if index else "left", no_wrap=True, width=None if index else names
            )
    return table


def _branches(view: RunView, width: int) -> Table:
    names = min(max(map(len, view.topology.branches)), width // 4)
    names = max(names, len("branch"))
    details = ["entropy", "length", "clipped"] if width >= DETAILED else []
    trend = max(4, width - names - (50 if details else 24))
    table = _table("branch", "reward", trend, *details, "ungraded", names=names)
    bounds = _bounds(view, "/reward", 0.0)
    for name in view.topology.branches:
        points = view.history.get(f"{name}/reward", [])
        line = _sparkline(view, points, trend, *bounds)
        if not points:
            idle = view.last(f"{name}/entropy", fresh=True) is None
            line = Text("rests" if idle else "learns from the experts", "bright_black", overflow="ellipsis")
        row = [Text(short(name, names), view.color(name)), _number(view.last(f"{name}/reward"), ".2f"), line]
        if details:
            row += [
                _number(view.last(f"{name}/entropy", fresh=True), ".2f"),
                _number(view.last(f"{name}/completions/mean_length", fresh=True), ".0f"),
                _number(view.last(f"{name}/completions/clipped_ratio", fresh=True), ".0%"),
            ]
        count = view.ungraded.get(name, 0)
        table.add_row(*row, Text(f"{count:.0f}", "bold red") if count >= 0.5 else _number(None, ""))
    return table


def _edges(view: RunView, width: int, merged: bool) -> Table:
    """A row per edge, or, `merged`, the mean of the edges into a learner."""
    groups: dict[str, list[Edge]] = {}
    for edge in view.topology.edges:
        groups.setdefault(edge.learner if merged else edge.label, []).append(edge)
    labels = [_edge_name(view, group, (width - 32) // 3) for group in groups.values()]
    names = max(len("teacher → learner"), *(label.cell_len for label in labels))
    trend = max(4, min(40, width - names - 31))
    table = _table("teacher → learner", "KL", "overlap", trend, "sym. KL", names=names)
    bounds = _bounds(view, "/opd/overlap", 0.5)
    for label, group in zip(labels, groups.values(), strict=True):
        kl, overlap, symmetric = (
            _mean([view.history.get(f"{edge.label}/opd/{suffix}", []) for edge in group])
            for suffix in ("kl", "overlap", "symmetric_kl")
        )
        last = [_number(points[-1][1] if points else None, ".3f") for points in (kl, overlap, symmetric)]
        table.add_row(label, *last[:2], _sparkline(view, overlap, trend, *bounds), last[2])
    return table


def _edge_name(view: RunView, group: list[Edge], width: int) -> Text:
    edge, several = group[0], len(group) > 1
    name = Text(f"{len(group)} teachings" if several else short(edge.teacher, width), view.color(edge.teacher))
    if several:
        name.style = "bright_black"
    name.append(" → ", "bright_black").append(short(edge.learner, width), view.color(edge.learner))
    if edge.domain != edge.teacher and not several:
        name.append(f" @ {short(edge.domain, width)}", "bright_black")
    return name


def _matrix_width(view: RunView) -> int:
    return 18 + 9 * (1 + len(next(iter(view.matrix.values()), {})))


def _matrix(view: RunView, width: int, brief: bool) -> Table:
    """Accuracies in per cent, the best of a column in bold, gains over the base in green and losses in red."""
    experts = view.topology.experts
    matrix = {
        name: view.matrix[name] for name in dict.fromkeys(["base", *experts, *view.matrix]) if name in view.matrix
    }
    measured = {domain for row in matrix.values() for domain in row}
    domains = sorted(
        measured, key=lambda domain: (experts.index(domain) if domain in experts else len(experts), domain)
    )
    names = [name for name in matrix if not brief or name in ("base", STUDENT)]
    title = f"accuracy @{view.matrix_round}"
    cell = max(5, (width - len(title) - 2) // (len(domains) + 1) - 2)
    table = _table(title, *(short(domain, cell) for domain in domains), "mean", names=len(title))
    rows = {name: [matrix[name].get(domain) for domain in domains] for name in matrix}
    rows = {name: [*row, None if None in row else sum(row) / len(row)] for name, row in rows.items()}
    best = [max((v for v in column if v is not None), default=None) for column in zip(*rows.values(), strict=True)]
    base = rows.get("base", [None] * len(best))
    for name in names:
        cells = []
        for value, top, start in zip(rows[name], best, base, strict=True):
            change = "" if None in (value, start) or value == start else ("green" if value > start else "red")
            cells.append(
                Text("–" if value is None else f"{100 * value:.1f}", f"{'bold ' if value == top else ''}{change}")
            )
        table.add_row(Text(short(name, len(title)), view.color(name)), *cells)
    return table


def _bounds(view: RunView, suffix: str, low: float, high: float = 1.0) -> tuple[float, float]:
    """The scale of the trends: from `low` to `high`, or as far as the values go. So a constant 1 is a full bar."""
    values = [value for key, points in view.history.items() if key.endswith(suffix) for _, value in points]
    return min([low, *values]), max([high, *values])


def _mean(series: list[Points]) -> Points:
    found: dict[int, list[float]] = {}
    for points in series:
        for step, value in points:
            found.setdefault(step, []).append(value)
    return [(step, sum(values) / len(values)) for step, values in sorted(found.items())]


def _sparkline(view: RunView, points: Points, width: int, low: float, high: float) -> Text:
    """The run so far in at most `width` columns, each the mean of its points, in the colour of its phase."""
    columns = min(width, len(points))
    text, cells = Text(), 2 if 2 * columns <= width else 1
    for column in range(columns):
        part = points[column * len(points) // columns : (column + 1) * len(points) // columns]
        value = sum(v for _, v in part) / len(part)
        level = (value - low) / (high - low)
        step = part[len(part) // 2][0]
        phase = view.schedule.phase(max(0, step - 1), view.total)
        text.append(BARS[min(len(BARS) - 1, int(level * len(BARS)))] * cells, PHASE_COLORS[phase])
    return text


def _number(value: float | None, form: str) -> Text:
    return Text("–", "bright_black") if value is None else Text(format(value, form))
