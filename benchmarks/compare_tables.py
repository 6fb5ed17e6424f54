"""The form that tables of most studies have: mean and interval, each domain, and paired differences."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, TypeAlias


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.compare_methods import Method  # noqa: E402
from benchmarks.compare_results import MORE_SEEDS, SEEDS, Results, accuracy, best, domains  # noqa: E402
from trl_copd.compare.intervals import interval, paired, span  # noqa: E402


Runs: TypeAlias = dict[str, tuple[Method, dict[int, dict[str, Any]]]]  # records by method and seed
LAST = {  # columns of a table's end
    "rollouts": lambda method, records: f"{records[0]['rollouts']:,}",
    "CPU s": lambda method, records: (
        f"{mean(record['train_seconds'] for record in records):.0f}" if method.read != "base" else ""
    ),
    "seeds": lambda method, records: str(len(records)),
}


def chosen(method: Method, results: Results, searched: Results | None = None) -> dict[int, dict[str, Any]]:
    """The runs of a method's best candidate by seed; none if it was not searched."""
    searched, jobs = searched or results, method.candidates
    if len(jobs) > 1 and not any(all(searched.find(job, seed) for seed in method.search) for job in jobs):
        return {}
    job = best(method, searched)
    found = {seed: results.find(job, seed) for seed in SEEDS + MORE_SEEDS}
    return {seed: record for seed, record in found.items() if record is not None}


def chosen_of(methods: Mapping[str, Method], results: Results, searched: Results | None = None) -> Runs:
    """[`chosen`] of each method that was run."""
    runs = {name: (method, chosen(method, results, searched)) for name, method in methods.items()}
    return {name: found for name, found in runs.items() if found[1]}


def table_of(runs: Runs, against: Sequence[str], last: Sequence[str] = ("CPU s", "seeds")) -> str:
    """
    What each method has on each domain, with the paired differences of `against`; empty without runs.

    Args:
        runs (`Runs`): Records of each method, as [`chosen_of`] gives them.
        against (sequence of `str`): Methods that all others are subtracted from.
        last (sequence of `str`): Keys of `LAST`.
    """
    if not runs:
        return ""
    scores = {
        name: {seed: accuracy(method, one) for seed, one in ones.items()} for name, (method, ones) in runs.items()
    }
    method, ones = next(iter(runs.values()))
    names = list(domains(method, next(iter(ones.values()))))
    titles = ["mean", "95 %", *names, *(f"{name} minus it" for name in against), *last]
    lines = [f"| Method | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    for name, (method, ones) in runs.items():
        values, records = list(scores[name].values()), list(ones.values())
        rows = [domains(method, record) for record in records]
        cells = [f"{mean(values):.3f}", span(interval(values))]
        cells += [f"{mean(row[domain] for row in rows):.3f}" for domain in names]
        for ours in against:
            gap = paired(scores.get(ours, {}), scores[name]) if name != ours else {}
            cells.append(f"{gap['diff']:+.3f} {span(gap['ci95'], '+')}".strip() if gap else "")
        cells += [LAST[title](method, records) for title in last]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
