"""The figures of docs/experiments.md, for `benchmarks/compare_page.py`."""

from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.compare_ablations import ABLATIONS
from benchmarks.compare_curves import ablation, mean_curve, phases
from benchmarks.compare_methods import METHODS, SAWTOOTH, Job
from benchmarks.compare_results import SEEDS, Results, best
from trl_copd.compare.intervals import interval
from trl_copd.style import INK, MUTED, PALETTE, SHADE, STYLE, running_mean


UNORDERED = ("opd_loss", "merge_method", "the defaults")  # ablations whose values are no scale
QUANTITIES = {"overlap": "Top-10 overlap", "symmetric_kl": "Symmetric KL, nats per token"}


def draw_accuracy(scores: dict[str, list[float]], path: Path) -> None:
    """A row per method: mean and interval, and a dot per seed."""
    rows = sorted(scores, key=lambda name: mean(scores[name]))
    with rc_context(STYLE):
        figure = Figure(figsize=(8, 0.36 * len(rows) + 1.3), layout="constrained", dpi=200)
        ax = figure.subplots()
        for place, name in enumerate(rows):
            color, middle = PALETTE[1 if name.startswith("copd") else 0], mean(scores[name])
            ax.plot(interval(scores[name]) or [middle, middle], [place, place], color=color, lw=2, alpha=0.6)
            ax.plot(middle, place, "D", ms=6, color=color)
            dots = [place - 0.22] * len(scores[name])  # below the bar, which would hide them
            ax.plot(scores[name], dots, "o", ms=4, color=color, alpha=0.5, mew=0)
        ax.set_yticks(range(len(rows)), rows)
        for label, name in zip(ax.get_yticklabels(), rows, strict=True):
            label.set_color(INK if name.startswith("copd") else MUTED)
        kinds = {"a form of CoPD": PALETTE[1], "not CoPD": PALETTE[0]}
        ax.legend(handles=[Line2D([], [], marker="D", color=c, label=kind) for kind, c in kinds.items()])
        counted = max(map(len, scores.values()))
        ax.set(
            title="Greedy accuracy over four conflicting skills",
            xlabel=f"mean, 95 % interval (not cut at 1), a dot for each of {counted} seeds",
        )
        ax.axvline(1.0, color=MUTED, lw=0.8)
        ax.grid(axis="x", color=SHADE)
        ax.set_axisbelow(True)
        figure.savefig(path)


def draw_learnt(records: dict[int, dict[str, Any]], target: Path) -> None:
    """A column for each seed: rewards of experts and student above, who had the rollouts below."""
    with rc_context(STYLE):
        figure = Figure(figsize=(5.2 * len(records), 5.6), layout="constrained", dpi=150)
        axes = figure.subplots(2, len(records), squeeze=False, sharex=True, sharey="row")
        for column, (seed, record) in enumerate(records.items()):
            found, (above, below) = record["learnt"], axes[:, column]
            experts = [name for name in found["share"] if name != "student"]
            colors = dict(zip(experts, PALETTE, strict=False)) | {"student": MUTED}
            for name in experts:
                for label, line in ((name, "-"), (f"student/{name}", ":")):
                    points = [
                        pair
                        for pair in zip(found["rollouts"], found["reward"][label], strict=True)
                        if pair[1] is not None
                    ]
                    steps, values = zip(*points, strict=True)
                    above.plot(
                        steps, running_mean(list(values), 1), line, color=colors[name], lw=2 if line == "-" else 1.5
                    )
            below.stackplot(
                found["rollouts"],
                found["share"].values(),
                colors=[colors[name] for name in found["share"]],
                alpha=0.85,
            )
            above.set(title=f"Seed {seed}", ylim=(0, 1.02), ylabel="reward" if column == 0 else None)
            below.set(xlabel="rollouts", ylim=(0, 1), ylabel="share of the rollouts" if column == 0 else None)
        marks = [Line2D([], [], color=colors[name], lw=4, label=name) for name in found["share"]]
        marks.append(Line2D([], [], color=INK, ls=":", label="the student on that skill"))
        figure.legend(handles=marks, loc="outside lower center", ncols=6)
        figure.savefig(target)


def draw_overlap(results: Results, searched: Results, path: Path) -> None:
    """Overlap and symmetric KL over the rounds: between experts above, between a student and its teachers below."""
    mutual, apart = SAWTOOTH
    static = {name: best(METHODS[name], searched) for name in ("mopd", "mopd-merge")}
    student = best(METHODS["copd-student"], searched)
    with rc_context(STYLE):
        figure = Figure(figsize=(11, 7), layout="constrained", dpi=200)
        for axes, (quantity, title) in zip(figure.subplots(2, 2).T, QUANTITIES.items(), strict=True):
            shade(axes[0], mutual)
            band(axes[0], results, mutual, quantity, PALETTE[1], "mutual, 30:10")
            band(axes[0], results, apart, quantity, PALETTE[0], "apart")
            axes[0].set(title=f"{title}, between experts", xlabel="round of four experts (shaded: OPD)")
            shade(axes[1], student)
            band(axes[1], results, student, quantity, PALETTE[1], "copd-student")
            for color, (name, job) in zip((PALETTE[0], PALETTE[2]), static.items(), strict=True):
                # a student from the merge is measured at round 0 before it is set to the merge
                skip = job.fields["student_init"] == "merge"
                band(axes[1], results, job, quantity, color, name, shift=job.head or 0, skip=skip)
            axes[1].set(title=f"{title}, student and teachers", xlabel="round (shaded: OPD of copd-student)")
            for ax in axes:
                ax.legend()
        figure.savefig(path)


def shade(ax: Axes, job: Job) -> None:
    """The OPD phases of a job's cycles."""
    for phase, start, end in phases(job):
        if phase == "opd":
            ax.axvspan(start, end, color=SHADE, lw=0)


def band(
    ax: Axes, results: Results, job: Job, quantity: str, color: str, label: str, shift: int = 0, skip: bool = False
) -> None:
    """Mean and interval of a job's curve over the seeds, `shift` rounds later, without the first point if `skip`."""
    curves = [record["curves"][quantity] for seed in SEEDS if (record := results.find(job, seed))]
    if not curves:
        return
    points = list(zip(curves[0][0], *(values for _, values in curves), strict=True))[int(skip) :]
    steps = [step + shift for step, *_ in points]
    bounds = [interval(values) or [values[0]] * 2 for _, *values in points]
    ax.fill_between(steps, *zip(*bounds, strict=True), color=color, alpha=0.2, lw=0)
    ax.plot(steps, list(mean_curve(curves).values())[int(skip) :], color=color, lw=2, label=label)


def draw_ablations(results: Results, seeds: Iterable[int], path: Path) -> None:
    """A panel for each ablation: mean, interval, and a dot per seed."""
    seeds = tuple(seeds)
    found = {name: scores for name in ABLATIONS if (scores := ablation(name, results, seeds))}
    if not found:
        return
    with rc_context(STYLE):
        rows = (len(found) + 2) // 3
        figure = Figure(figsize=(11, 2.7 * rows), layout="constrained", dpi=200)
        panels = list(figure.subplots(rows, 3, squeeze=False).flat)
        for (name, scores), ax in zip(found.items(), panels, strict=False):
            for place, by_seed in enumerate(scores.values()):
                ax.plot([place] * len(by_seed), by_seed.values(), "o", ms=4, color=PALETTE[0], alpha=0.35, mew=0)
                if len(by_seed) > 2 and (bounds := interval(list(by_seed.values()))):
                    ax.plot([place, place], bounds, color=PALETTE[0], lw=1.5)
            line = "D" if name.startswith(UNORDERED) else "D-"
            middles = [mean(by_seed.values()) for by_seed in scores.values()]
            ax.plot(range(len(scores)), middles, line, ms=5, color=PALETTE[0], lw=1)
            ax.set_xticks(range(len(scores)), scores)
            if max(map(len, scores)) > 8:
                ax.tick_params(axis="x", rotation=25)
                for label in ax.get_xticklabels():
                    label.set(ha="right", rotation_mode="anchor")
            ax.set_title(name, size=9)
            values = [value for by_seed in scores.values() for value in by_seed.values()]
            ax.set_ylim(max(0.0, min(*values, 0.75) - 0.05), 1.02)  # an interval may go beyond, a seed does not
            ax.set_xlim(-0.5, len(scores) - 0.5)
        for ax in panels[::3]:
            ax.set_ylabel("accuracy")
        for ax in panels[len(found) :]:
            ax.axis("off")
        figure.savefig(path)


def draw_pilot(found: dict[str, Any], path: Path) -> None:
    """Gain against overlap; the colour says how far the teacher was ahead, the marker which schedule it was."""
    with rc_context(STYLE):
        figure = Figure(figsize=(6.5, 3.6), layout="constrained", dpi=200)
        ax = figure.subplots()
        for marker, (schedule, points) in zip("o^", found["points"].items(), strict=False):
            overlaps, gains, gaps = zip(*points, strict=True)
            style = {"s": 16, "cmap": "viridis", "vmin": 0, "vmax": 1, "marker": marker}
            dots = ax.scatter(overlaps, gains, c=gaps, label=f"{schedule} rounds", **style)
        figure.colorbar(dots, label="teacher ahead by")
        ax.axhline(0, color=MUTED, lw=0.8)
        ax.legend()
        ax.set(
            title="Gain of accuracy in 10 OPD rounds", xlabel="overlap with the teacher at the start", ylabel="gain"
        )
        figure.savefig(path)
