"""
Anytime: accuracy of the student at a quarter, half and three quarters of the budget, with an allocation.

One policy on all data and CoPD's student are read off one run each. Static distillation must know its end, so it runs
anew for each budget. Nothing is searched: settings are those of `ALLOCATED`.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.compare_methods import ALLOCATED, BUDGET, Job, Method, adaptive_mopd  # noqa: E402
from benchmarks.compare_results import MORE_SEEDS, SEEDS, Results, accuracy  # noqa: E402
from trl_copd.compare.intervals import interval, span  # noqa: E402


SHARES = (0.25, 0.5, 0.75)
STATIC = "mopd-merge-adaptive"


def _watched(name: str) -> Job:
    """The method's own run, evaluated on its way."""
    (job,) = ALLOCATED[name].candidates
    whole = {"max_steps": BUDGET, "max_rollouts": 128 * BUDGET}
    return Job({**job.fields, **whole}, baseline={"watch": list(SHARES)})


def _part(share: float) -> Job:
    """Static distillation with a share of the budget: experts and student in the same proportion."""
    (job,) = ALLOCATED[STATIC].candidates
    rounds, final = round(BUDGET * share), round(job.fields["opd_steps"] / 4 * share)
    limits = {"max_steps": rounds, "max_rollouts": 128 * rounds}
    return Job({**adaptive_mopd(final).fields, "rlvr_steps": rounds - final, **limits})


ANYTIME: dict[str, Method] = {
    "mixed-adaptive": Method("student", (_watched("mixed-adaptive"),)),
    "copd-student-adaptive": Method("student", (_watched("copd-student-adaptive"),), copd=True),
    **{f"{STATIC}-{share:.0%}": Method("student", (_part(share),)) for share in SHARES},
}


def scores(results: Results, seeds: Iterable[int] = SEEDS + MORE_SEEDS) -> dict[str, dict[float, dict[int, float]]]:
    """The student's accuracy by method, share of the budget and seed."""
    found: dict[str, dict[float, dict[int, float]]] = {}
    for seed in seeds:
        for name in ("mixed-adaptive", "copd-student-adaptive"):
            if record := results.find(ANYTIME[name].candidates[0], seed):
                rows = sorted(record["evaluations"].items(), key=lambda pair: int(pair[0]))
                values = [mean(matrix["student"].values()) for _, matrix in rows]
                _note(found, name, seed, zip((*SHARES, 1.0), (*values, accuracy(ANYTIME[name], record)), strict=True))
        jobs = {share: ANYTIME[f"{STATIC}-{share:.0%}"] for share in SHARES} | {1.0: ALLOCATED[STATIC]}
        records = {share: results.find(method.candidates[0], seed) for share, method in jobs.items()}
        if all(records.values()):
            _note(found, STATIC, seed, ((s, accuracy(jobs[s], r)) for s, r in records.items() if r is not None))
    return found


def _note(found: dict[str, Any], name: str, seed: int, values: Iterable[tuple[float, float]]) -> None:
    for share, value in values:
        found.setdefault(name, {}).setdefault(share, {})[seed] = value


def anytime_table(results: Results) -> str:
    """Mean and interval at each share of the budget; empty if nothing was run."""
    found = scores(results)
    if not found:
        return ""
    shares = (*SHARES, 1.0)
    lines = ["| Method | " + " | ".join(f"{share:.0%} of the rollouts" for share in shares) + " | seeds |"]
    lines.append("|---" * (len(shares) + 2) + "|")
    for name, by_share in found.items():
        cells = [list(by_share[share].values()) for share in shares]
        shown = [f"{mean(values):.3f} {span(interval(values))}".strip() for values in cells]
        lines.append(f"| {name} | " + " | ".join(shown) + f" | {', '.join(map(str, by_share[1.0]))} |")
    return "\n".join(lines)
