"""Saw-tooth, ablations, pilot study and gradients as text and figures, for `benchmarks/compare_page.py`."""

from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

from scipy.stats import t as student_t

from benchmarks.compare_ablations import ABLATIONS, PILOT, correlation, partial_correlation, pilot_points
from benchmarks.compare_methods import METHODS, SAWTOOTH, TRADE, Job, Method
from benchmarks.compare_results import Results, accuracy, domains, key
from trl_copd.report import MUTED, PALETTE, STYLE
from trl_copd.schedule import Schedule


STUDENT = Method("student", ())
UNORDERED = ("opd_loss", "merge_method")  # ablations whose values are no scale


def interval(values: list[float], level: float = 0.95) -> list[float] | None:
    """Student's t interval of the mean, `[low, high]`; `None` for a single value."""
    if len(values) < 2:
        return None
    middle, count = mean(values), len(values)
    spread = (sum((value - middle) ** 2 for value in values) / (count - 1) / count) ** 0.5
    half = float(student_t.ppf((1 + level) / 2, count - 1)) * spread
    return [round(middle - half, 4), round(middle + half, 4)]


def span(bounds: list[float] | None, sign: str = "") -> str:
    return f"[{bounds[0]:{sign}.3f}, {bounds[1]:{sign}.3f}]" if bounds else ""


def ablation(jobs: dict[str, Job], results: Results, seeds: Iterable[int]) -> dict[str, dict[int, float]]:
    """The student's accuracy for each value of the setting, by seed; only seeds that every value was run with."""
    seeds = [seed for seed in seeds if all(results.find(job, seed) for job in jobs.values())]
    return {label: {seed: accuracy(STUDENT, results.records[key(job), seed]) for seed in seeds}
            for label, job in jobs.items() if seeds}  # fmt: skip


def ablation_tables(results: Results, seeds: Iterable[int]) -> str:
    """A small table for each ablation that was run."""
    seeds, parts = tuple(seeds), []
    for name, jobs in ABLATIONS.items():
        found = ablation(jobs, results, seeds)
        if not found:
            continue
        rows = [list(scores.values()) for scores in found.values()]
        gaps = [[value - other for value, other in zip(row, rows[0], strict=True)] for row in rows[1:]]
        cells = [f"{mean(row):.3f} {span(interval(row))}".strip() for row in rows]
        rest = [f"{mean(gap):+.3f} {span(interval(gap), '+')}".strip() for gap in gaps]
        kept = ", ".join(map(str, next(iter(found.values()))))
        lines = ["| " + " | ".join([name, *found]) + " |", "|---" * (len(found) + 1) + "|",
                 f"| accuracy, seeds {kept} | " + " | ".join(cells) + " |",
                 "| minus the first, paired | | " + " | ".join(rest) + " |"]  # fmt: skip
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def pilot(results: Results, seeds: Iterable[int]) -> dict[str, Any]:
    """
    The correlation over edges and phases of overlap at the start of an OPD phase with what the phase gave.

    Returns:
        `dict`: `"gain"`: the mean over the seeds of Pearson's r with the gain in accuracy, and its interval;
        `"given_gap"`: the same of the partial correlation given how far the teacher was ahead, since a learner that is
        close to its teacher cannot gain; `"points"`, all of them, and `"seeds"`. Empty if nothing was run.
    """
    by_seed: dict[int, list[tuple[float, float, float]]] = {}
    for seed in seeds:
        for job in PILOT:
            if (record := results.find(job, seed)) is not None:
                steps = Schedule(job.fields["rlvr_steps"], job.fields["opd_steps"]).phases(job.fields["max_steps"])
                by_seed.setdefault(seed, []).extend(pilot_points(record, steps))
    if not by_seed:
        return {}
    gains = [correlation([(overlap, gain) for overlap, gain, _ in points]) for points in by_seed.values()]
    given = [partial_correlation(points) for points in by_seed.values()]
    return {
        "gain": {"r": round(mean(gains), 3), "ci95": interval(gains)},
        "given_gap": {"r": round(mean(given), 3), "ci95": interval(given)},
        "points": [point for points in by_seed.values() for point in points],
        "seeds": sorted(by_seed),
    }


def text_of_pilot(found: dict[str, Any]) -> str:
    if not found:
        return ""
    seeds = ", ".join(map(str, found["seeds"]))
    parts = {
        name: f"{found[name]['r']:+.2f} {span(found[name]['ci95'], '+')}".strip() for name in ("gain", "given_gap")
    }
    return (
        f"{len(found['points'])} points: every edge in every OPD phase of two schedules, seeds {seeds}. "
        "Correlation of the overlap at the phase's start with the gain in accuracy on the teacher's domain, mean over "
        f"the seeds and 95 % interval: {parts['gain']}; given how far the teacher was ahead: {parts['given_gap']}."
    )


def conflict_table(found: dict[str, Any]) -> str:
    """What `benchmarks/gradient_conflict.py` found: for each round mean cosine, interval, and on how many seeds."""
    pairs = found["looks"][0]["pairs"]
    lines = ["| Round | reward of " + ", ".join(found["looks"][0]["rewards"]) + " | " + " | ".join(pairs) + " |"]
    lines.append("|---" * (len(pairs) + 2) + "|")
    for step in found["rounds"]:
        looks = [look for look in found["looks"] if look["round"] == step]
        rewards = (mean(look["rewards"][name] for look in looks) for name in looks[0]["rewards"])
        cells = [str(step), ", ".join(f"{reward:.2f}" for reward in rewards)]
        for pair in pairs:
            known = [look["pairs"][pair] for look in looks if look["pairs"][pair] is not None]
            bounds = span(interval(known), "+") if len(known) > 2 else ""
            cells.append(f"{mean(known):+.2f} {bounds} ({len(known)})".replace("  ", " ") if known else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def sawtooth(results: Results, seeds: Iterable[int]) -> dict[str, Any]:
    """
    How overlap moves in the phases of a mutual run, and how far it is above that of experts trained apart.

    The first RLVR phase is left out: it starts from copies of one adapter, whose overlap can only fall.
    """
    co, apart = ({s: r for s in seeds if (r := results.find(job, s))} for job in SAWTOOTH)
    both = sorted(set(co) & set(apart))
    if not both:
        return {}
    changes: dict[str, list[float]] = {"rlvr": [], "opd": [], "above": []}
    for seed in both:
        curve = dict(zip(*co[seed]["curves"]["overlap"], strict=True))
        other = dict(zip(*apart[seed]["curves"]["overlap"], strict=True))
        spans = [span for span in phases(SAWTOOTH[0])[1:] if span[1] in curve and span[2] in curve]
        for phase in ("rlvr", "opd"):
            changes[phase].append(mean(curve[end] - curve[start] for kind, start, end in spans if kind == phase))
        first_opd = next(start for kind, start, _ in spans if kind == "opd")
        steps = [step for step in curve if step > first_opd and step in other]
        changes["above"].append(mean(curve[step] - other[step] for step in steps))
    found = {name: {"mean": round(mean(values), 4), "ci95": interval(values)} for name, values in changes.items()}
    return {**found, "seeds": both}


def text_of_sawtooth(found: dict[str, Any]) -> str:
    if not found:
        return ""
    parts = {name: f"{row['mean']:+.4f} {span(row['ci95'], '+')}" for name, row in found.items() if name != "seeds"}
    return (
        f"Mutual teaching in cycles of 30 RLVR and 10 OPD rounds, mean over the edges, {len(found['seeds'])} seeds, "
        f"95 % intervals. An RLVR phase changes the overlap by {parts['rlvr']} (the first one left out: it starts "
        f"from copies), an OPD phase by {parts['opd']}; from the first OPD phase on it is {parts['above']} above that "
        "of experts trained apart, at the same number of rollouts."
    )


def trade_off(results: Results, seeds: Iterable[int]) -> str:
    """What mutual teaching gives the merge and takes from the experts, each on its own domain."""
    seeds = [seed for seed in seeds if all(results.find(job, seed) for job in TRADE.values())]
    if not seeds:
        return ""
    lines = ["| | overlap at the end | merged | experts on their own: mean | the lowest |", "|---" * 5 + "|"]
    for label, job in TRADE.items():
        records = [results.records[key(job), seed] for seed in seeds]
        own = [domains(METHODS["experts"], record) for record in records]
        lowest = min(own[0], key=lambda name: mean(row[name] for row in own))
        overlap = mean(record["curves"]["overlap"][1][-1] for record in records)
        merged = mean(accuracy(METHODS["average"], record) for record in records)
        cells = [f"{value:.3f}" for value in (overlap, merged, mean(mean(row.values()) for row in own))]
        cells.append(f"{mean(row[lowest] for row in own):.3f} (`{lowest}`)")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def phases(job: Job) -> list[tuple[str, int, int]]:
    fields = job.fields
    return list(Schedule(fields["rlvr_steps"], fields["opd_steps"]).phases(fields["max_steps"]))


def draw_ablations(results: Results, seeds: Iterable[int], path: Path) -> None:
    """A panel for each ablation: mean, interval, and a dot per seed."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    seeds = tuple(seeds)
    found = {name: ablation(jobs, results, seeds) for name, jobs in ABLATIONS.items()}
    found = {name: scores for name, scores in found.items() if scores}
    if not found:
        return
    with rc_context(STYLE):
        rows = (len(found) + 2) // 3
        figure = Figure(figsize=(11, 2.7 * rows), layout="constrained", dpi=200)
        panels = figure.subplots(rows, 3, squeeze=False).flat
        for (name, scores), ax in zip(found.items(), panels, strict=False):
            for place, by_seed in enumerate(scores.values()):
                ax.plot([place] * len(by_seed), by_seed.values(), "o", ms=4, color=PALETTE[0], alpha=0.35, mew=0)
                if bounds := interval(list(by_seed.values())):
                    ax.plot([place, place], bounds, color=PALETTE[0], lw=1.5)
            line = "D" if name.startswith(UNORDERED) else "D-"
            ax.plot(
                range(len(scores)), [mean(s.values()) for s in scores.values()], line, ms=5, color=PALETTE[0], lw=1
            )
            ax.set_xticks(range(len(scores)), scores)
            if max(map(len, scores)) > 8:
                ax.tick_params(axis="x", rotation=25)
                for label in ax.get_xticklabels():
                    label.set(ha="right", rotation_mode="anchor")
            ax.set_title(name, size=9)
            ax.set_ylim(0, 1)
            ax.set_xlim(-0.5, len(scores) - 0.5)
        for ax in list(panels):
            ax.axis("off")
        figure.savefig(path)


def draw_pilot(found: dict[str, Any], path: Path) -> None:
    """Gain against overlap; the colour says how far the teacher was ahead."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(6.5, 3.6), layout="constrained", dpi=200)
        ax = figure.subplots()
        overlaps, gains, gaps = zip(*found["points"], strict=True)
        dots = ax.scatter(overlaps, gains, c=gaps, s=14, cmap="viridis", vmin=0, vmax=1)
        figure.colorbar(dots, label="teacher ahead by")
        ax.axhline(0, color=MUTED, lw=0.8)
        ax.set(title="Gain of accuracy in 10 OPD rounds", xlabel="overlap with the teacher at the start")
        figure.savefig(path)
