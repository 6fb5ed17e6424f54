"""What was measured, as numbers, as a table, and in words what its intervals cannot tell apart."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import mean
from typing import Any

from .intervals import interval, paired, span
from .jobs import Job


Measured = dict[str, dict[int, dict[str, float | None]]]  # accuracy in [0, 1] by method, seed and domain


def measured(jobs: Mapping[str, Job], records: Mapping[tuple[str, int], Mapping], seeds: Sequence[int]) -> Measured:
    """Accuracy of each method by seed and domain, `"base"` first; methods that no seed has are left out."""
    found: Measured = {"base": {}}
    for name, job in jobs.items():
        for seed in seeds:
            record = records.get((job.key, seed))
            if record is not None:
                found["base"].setdefault(seed, dict(record["matrix"]["base"]))
                found.setdefault(name, {})[seed] = job.domains(record["matrix"])
    return found if len(found) > 1 else {}


def score(row: Mapping[str, float | None]) -> float:
    """Mean over the domains; NaN if one was not graded."""
    values = [value for value in row.values() if value is not None]
    return mean(values) if len(values) == len(row) else float("nan")


def summary(
    jobs: Mapping[str, Job], records: Mapping[tuple[str, int], Mapping], seeds: Sequence[int]
) -> dict[str, Any]:
    """
    The comparison as one JSON object: for each method `mean`, `ci95`, `domains`, `rollouts`, `rounds`, `seconds` and
    `seeds`; and under `paired`, for each pair `"A minus B"`, `diff` and `ci95` over the seeds that both have.
    """
    runs = measured(jobs, records, seeds)
    scores = {name: {seed: score(row) for seed, row in by_seed.items()} for name, by_seed in runs.items()}
    found: dict[str, Any] = {}
    for name, by_seed in runs.items():
        own = [records[jobs[name].key, seed] for seed in by_seed] if name in jobs else []
        graded = {d: [row[d] for row in by_seed.values()] for d in next(iter(by_seed.values()))}
        found[name] = {
            "mean": round(mean(scores[name].values()), 4),
            "ci95": interval(list(scores[name].values())),
            "domains": {domain: _mean_of_all(values) for domain, values in graded.items()},
            "rollouts": round(mean(record["rollouts"] for record in own)) if own else 0,
            "rounds": round(mean(record["rounds"] for record in own)) if own else 0,
            "seconds": round(mean(record["seconds"] for record in own), 1) if own else 0.0,
            "seeds": sorted(by_seed),
        }
    names = sorted((name for name in scores if name != "base"), key=lambda name: -found[name]["mean"])
    pairs = {f"{a} minus {b}": paired(scores[a], scores[b]) for a, b in combinations(names, 2)}
    found["paired"] = {label: pair for label, pair in pairs.items() if pair}
    return found


def _mean_of_all(values: Sequence[float | None]) -> float | None:
    """Mean over seeds; `None` if one of them was not graded."""
    known = [value for value in values if value is not None]
    return round(mean(known), 4) if len(known) == len(values) else None


def table(found: Mapping[str, Any]) -> str:
    """The methods, best first, with the difference of the best to each, as Markdown."""
    rows = {name: row for name, row in found.items() if name != "paired"}
    if not rows:
        return "Nothing was measured yet."
    ranked = sorted((name for name in rows if name != "base"), key=lambda name: -rows[name]["mean"])
    domains, best = list(next(iter(rows.values()))["domains"]), ranked[0]
    head = ["Method", "mean", "95 %", *domains, f"{best} minus it", "rollouts", "rounds", "seconds", "seeds"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name in [*ranked, "base"]:
        row, pair = rows[name], found["paired"].get(f"{best} minus {name}")
        cells = [f"**{name}**" if name == best else name, f"{row['mean']:.3f}", span(row["ci95"])]
        cells += ["–" if row["domains"][d] is None else f"{row['domains'][d]:.3f}" for d in domains]
        cells.append(f"{pair['diff']:+.3f} {span(pair['ci95'], '+')}".strip() if pair else "")
        trained = name != "base"
        cells += [f"{row['rollouts']:,}", f"{row['rounds']}", f"{row['seconds']:.0f}"] if trained else [""] * 3
        lines.append("| " + " | ".join([*cells, ", ".join(map(str, row["seeds"]))]) + " |")
    return "\n".join(lines)


def verdict(found: Mapping[str, Any]) -> str:
    """Which differences are established, and which are not, in plain words."""
    told, alike, single = [], [], []
    for label, pair in found["paired"].items():
        text = f"{label}: {pair['diff']:+.3f} {span(pair['ci95'], '+')}".strip()
        if pair["ci95"] is None:
            single.append(text)
        elif pair["ci95"][0] > 0 or pair["ci95"][1] < 0:
            told.append(text)
        else:
            alike.append(text)
    parts = []
    if told:
        parts.append(
            "The seeds tell these apart (the 95 % interval of the paired difference holds no zero):\n  "
            + "\n  ".join(told)
        )
    if alike:
        parts.append("They cannot tell these apart (the interval holds zero):\n  " + "\n  ".join(alike))
    if single:
        parts.append("One common seed alone, which has no interval:\n  " + "\n  ".join(single))
    if told or alike:
        parts.append("Intervals are Student's t over seeds, and are not corrected for their number.")
    return "\n".join(parts)
