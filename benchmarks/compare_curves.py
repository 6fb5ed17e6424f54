"""Saw-tooth, ablations, pilot study and gradients as text and figures, for `benchmarks/compare_page.py`."""

from collections.abc import Iterable
from statistics import mean
from typing import Any

from benchmarks.compare_ablations import ABLATIONS, PILOT, correlation, partial_correlation, pilot_points
from benchmarks.compare_methods import METHODS, SAWTOOTH, TRADE, Job, Method
from benchmarks.compare_results import Results, accuracy, domains, key
from trl_copd.compare.intervals import interval, span
from trl_copd.schedule import Schedule


STUDENT = Method("student", ())


def ablation(name: str, results: Results, seeds: Iterable[int]) -> dict[str, dict[int, float]]:
    """The student's accuracy for each value of the setting, by seed; only seeds that every value was run with."""
    jobs = ABLATIONS[name]
    seeds = [seed for seed in seeds if all(results.find(job, seed) for job in jobs.values())]
    found: dict[str, dict[int, float]] = {label: {} for label in jobs if seeds}
    for seed in seeds:
        rows = {label: domains(STUDENT, results.records[key(job), seed]) for label, job in jobs.items()}
        common = set.intersection(*(set(row) for row in rows.values()))
        for label, row in rows.items():
            found[label][seed] = mean(row[domain] for domain in sorted(common))
    return found


def ablation_tables(results: Results, seeds: Iterable[int]) -> str:
    """A small table for each ablation that was run."""
    seeds, parts = tuple(seeds), []
    for name in ABLATIONS:
        found = ablation(name, results, seeds)
        if not found:
            continue
        rows = [list(scores.values()) for scores in found.values()]
        gaps = [[value - other for value, other in zip(row, rows[0], strict=True)] for row in rows[1:]]
        bounds = interval if len(rows[0]) > 2 else lambda _: None  # of two seeds it would say nothing
        cells = [f"{mean(row):.3f} {span(bounds(row))}".strip() for row in rows]
        rest = [f"{mean(gap):+.3f} {span(bounds(gap), '+')}".strip() for gap in gaps]
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
        close to its teacher cannot gain; `"within"`: the same of what is left when the mean of the phase is taken off
        both, since overlap falls with the rounds; `"points"` by schedule, and `"seeds"`. Empty if nothing was run.
    """
    by_seed: dict[int, list[list[tuple[float, float, float]]]] = {}  # by phase
    by_schedule: dict[str, list[tuple[float, float, float]]] = {}
    for seed in seeds:
        for job in PILOT:
            if (record := results.find(job, seed)) is not None:
                found = [points for phase in phases(job) if (points := pilot_points(record, [phase]))]
                by_seed.setdefault(seed, []).extend(found)
                name = f"{job.fields['rlvr_steps']}:{job.fields['opd_steps']}"
                by_schedule.setdefault(name, []).extend(sum(found, []))
    if not by_seed:
        return {}
    measures: dict[str, list[float]] = {
        "gain": [correlation([point[:2] for point in sum(groups, [])]) for groups in by_seed.values()],
        "given_gap": [partial_correlation(sum(groups, [])) for groups in by_seed.values()],
        "within": [correlation(sum(map(centred, groups), [])) for groups in by_seed.values()],
    }
    rows = {name: {"r": round(mean(values), 3), "ci95": interval(values)} for name, values in measures.items()}
    return {**rows, "points": by_schedule, "seeds": sorted(by_seed)}


def centred(points: list[tuple[float, float, float]]) -> list[tuple[float, float]]:
    """Overlap and gain without their means."""
    overlap, gain = mean(point[0] for point in points), mean(point[1] for point in points)
    return [(point[0] - overlap, point[1] - gain) for point in points]


def text_of_pilot(found: dict[str, Any]) -> str:
    if not found:
        return ""
    seeds = ", ".join(map(str, found["seeds"]))
    parts = {
        name: f"{found[name]['r']:+.2f} {span(found[name]['ci95'], '+')}".strip()
        for name in ("gain", "given_gap", "within")
    }
    counts = " and ".join(f"{len(points)} of {schedule}" for schedule, points in found["points"].items())
    return (
        f"The study uses every edge in every OPD phase of two schedules, {counts} rounds, on seeds {seeds}. It "
        "correlates the overlap at the phase's start with the gain in accuracy on the teacher's domain. Mean over the "
        f"seeds and 95 % interval: {parts['gain']}; given how far the teacher was ahead: {parts['given_gap']}; "
        f"among the edges of one phase, without the phase's means: {parts['within']}."
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
    near, far = (mean_curve([run[seed]["curves"]["symmetric_kl"] for seed in both]) for run in (co, apart))
    ratios = [far[step] / near[step] for step in near if step > first_opd and step in far]
    return {**found, "closer": (min(ratios), max(ratios)), "seeds": both}


def mean_curve(curves: list[list[list[float]]]) -> dict[int, float]:
    """Mean of some `[steps, values]`, by step."""
    return {int(step): mean(values) for step, *values in zip(curves[0][0], *(c[1] for c in curves), strict=True)}


def text_of_sawtooth(found: dict[str, Any]) -> str:
    if not found:
        return ""
    parts = {name: f"{found[name]['mean']:+.4f} {span(found[name]['ci95'], '+')}" for name in ("rlvr", "opd", "above")}
    low, high = found["closer"]
    return (
        "These numbers are for mutual teaching in cycles of 30 RLVR and 10 OPD rounds, averaged over the edges, with "
        f"{len(found['seeds'])} seeds and 95 % intervals. An RLVR phase changes the overlap by {parts['rlvr']} "
        f"(without the first phase, which starts from copies), an OPD phase by {parts['opd']}. From the first OPD "
        f"phase on, overlap is {parts['above']} above that of separate experts at the same number of rollouts, and "
        f"symmetric KL is lower by a factor of {low:.1f} to {high:.1f}."
    )


def trade_off(results: Results, seeds: Iterable[int]) -> str:
    """What mutual teaching gives the merge and takes from the experts, each on its own domain."""
    seeds = [seed for seed in seeds if all(results.find(job, seed) for job in TRADE.values())]
    if not seeds:
        return ""
    runs = {label: [results.records[key(job), seed] for seed in seeds] for label, job in TRADE.items()}
    own = {label: [domains(METHODS["experts"], record) for record in records] for label, records in runs.items()}
    last = list(own)[-1]
    lowest = min(own[last][0], key=lambda name: mean(row[name] for row in own[last]))
    columns = {
        f"overlap, round {runs[last][0]['curves']['overlap'][0][-1]}": {
            label: [record["curves"]["overlap"][1][-1] for record in records] for label, records in runs.items()
        },
        "merged": {
            label: [accuracy(METHODS["average"], record) for record in records] for label, records in runs.items()
        },
        "experts on their own": {label: [mean(row.values()) for row in rows] for label, rows in own.items()},
        f"`{lowest}` alone": {label: [row[lowest] for row in rows] for label, rows in own.items()},
    }
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for place, label in enumerate(TRADE):
        cells = []
        for values in columns.values():
            cell = f"{mean(values[label]):.3f}"
            if place:
                gaps = [x - y for x, y in zip(values[label], values[next(iter(TRADE))], strict=True)]
                cell += f" ({mean(gaps):+.3f} {span(interval(gaps), '+')})"
            cells.append(cell)
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def phases(job: Job) -> list[tuple[str, int, int]]:
    fields = job.fields
    schedule = Schedule(fields["rlvr_steps"], fields["opd_steps"], final_opd_steps=fields.get("final_opd_steps", 0))
    return list(schedule.phases(fields["max_steps"]))
