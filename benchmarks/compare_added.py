"""The table of a skill that is added later, for docs/experiments.md and docs/add_a_skill.md."""

import sys
from pathlib import Path
from statistics import mean


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.compare_methods import ADDED_SKILL, NEW, OLD  # noqa: E402
from benchmarks.compare_results import MORE_SEEDS, SEARCH_SEEDS, SEEDS, Results, best, domains  # noqa: E402
from trl_copd.compare.intervals import interval, paired, span  # noqa: E402


PARTS = {"the three old skills": OLD, "the new skill": (NEW,), "all four": (*OLD, NEW)}


def by_seed(results: Results, searched: Results, seeds: tuple[int, ...]) -> dict[str, dict[int, dict[str, float]]]:
    """Accuracy in each domain, by method and seed; methods that were not searched or not run have no seeds."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for name, method in ADDED_SKILL.items():
        if all(searched.find(job, seed) is None for job in method.candidates for seed in SEARCH_SEEDS):
            continue
        records = {seed: results.find(best(method, searched), seed) for seed in seeds}
        found[name] = {seed: domains(method, record) for seed, record in records.items() if record is not None}
    return found


def part_of(found: dict[int, dict[str, float]], names: tuple[str, ...]) -> dict[int, float]:
    """Mean over some domains, by seed; seeds on which one of them was not measured are left out."""
    return {
        seed: mean(row[name] for name in names) for seed, row in found.items() if all(name in row for name in names)
    }


def added_table(results: Results, searched: Results | None = None) -> str:
    """What each method has on the old skills, on the new one, and on all, with paired differences."""
    found = by_seed(results, searched or results, SEEDS + MORE_SEEDS)
    if not any(found.values()):
        return ""
    ours = part_of(found.get("added-expert", {}), PARTS["all four"])
    lines = [f"| Method | {' | '.join(PARTS)} | added-expert minus it | seeds |", "|---" * (len(PARTS) + 3) + "|"]
    for name, runs in found.items():
        cells = []
        for names in PARTS.values():
            values = list(part_of(runs, names).values())
            cells.append(f"{mean(values):.3f} {span(interval(values))}".strip() if values else "")
        gap = paired(ours, part_of(runs, PARTS["all four"])) if name != "added-expert" else {}
        cells.append(f"{gap['diff']:+.3f} {span(gap['ci95'], '+')}".strip() if gap else "")
        lines.append(f"| {name} | {' | '.join(cells)} | {len(runs)} |")
    return "\n".join(lines)
