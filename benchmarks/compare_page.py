"""Table and figures of docs/experiments.md out of docs/results/compare.jsonl: `python benchmarks/compare.py page`."""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.compare_ablations import SEEDS as FEW_SEEDS  # noqa: E402
from benchmarks.compare_added import added_table  # noqa: E402
from benchmarks.compare_anytime import anytime_table  # noqa: E402
from benchmarks.compare_baselines import baselines_table, measured_runs  # noqa: E402
from benchmarks.compare_curves import (  # noqa: E402
    ablation_tables,
    conflict_table,
    pilot,
    sawtooth,
    text_of_pilot,
    text_of_sawtooth,
    trade_off,
)
from benchmarks.compare_falling import CONSTANT, FALLING  # noqa: E402
from benchmarks.compare_figures import draw_ablations, draw_accuracy, draw_learnt, draw_overlap, draw_pilot  # noqa: E402
from benchmarks.compare_methods import ALLOCATED, CLOSE, METHODS, WITHOUT, Method  # noqa: E402
from benchmarks.compare_results import (  # noqa: E402
    MORE_SEEDS,
    SEARCH_SEEDS,
    SEEDS,
    Results,
    accuracy,
    best,
    domains,
)
from benchmarks.compare_smollm2 import SMOLLM2_LONG, TRANSFER, smollm2_table  # noqa: E402
from benchmarks.compare_tables import chosen  # noqa: E402
from benchmarks.compare_tricks import tricks_table  # noqa: E402
from benchmarks.compare_unequal import unequal_table  # noqa: E402
from trl_copd.compare.intervals import interval, paired, span  # noqa: E402


PAGE, README = ROOT / "docs" / "experiments.md", ROOT / "README.md"
ADDED = ROOT / "docs" / "add_a_skill.md"
SHORT = {  # in README.md: a method, what it is, when to choose it
    "base": ("the untrained base", ""),
    "experts": ("each expert on its own task", "you can route each request to an adapter"),
    "mixed": ("one policy on all data", "the tasks do not conflict: try it first"),
    "mopd-merge": ("`mopd`: separate experts, merged, then distilled", "you want one model and the tasks conflict"),
    "copd-student": ("`copd`: experts and student teach one another, then distilled", "the same, in one run"),
    "copd-mutual": ("experts teach one another, then merged", "you want the method nearest to the paper's"),
}
_SEEDS = {"0 to 4": SEEDS, "5 to 9": MORE_SEEDS, "0 to 9": SEEDS + MORE_SEEDS}
PAIRS = (
    ("mopd-merge", "mixed"),
    ("copd-mutual", "mixed"),
    ("copd-paper", "mixed"),
    ("copd-mutual-polished", "mopd-merge"),
)  # differences that the text speaks of
SHOWN = (0, 7)  # seeds of the figure of who learnt when: one on which all is learnt, and the hardest
FIGURES = ROOT / "docs" / "figures"
CONFLICT = ROOT / "docs" / "results" / "gradient_conflict.json"


def measured(
    method: Method, results: Results, seeds: Iterable[int], searched: Results | None = None
) -> dict[int, dict[str, Any]]:
    """The records of a method's best candidate by seed; seeds that were not run are left out."""
    job = best(method, searched or results)
    found = {seed: results.find(job, seed) for seed in seeds}
    return {seed: record for seed, record in found.items() if record is not None}


def best_copd(searched: Results, methods: dict[str, Method]) -> str | None:
    """The form of CoPD that is best on the search seeds; the first one if there was no search."""

    def score(name: str) -> float:
        records = measured(methods[name], searched, SEARCH_SEEDS).values()
        return mean([accuracy(methods[name], record) for record in records] or [0.0])

    return max((name for name, method in methods.items() if method.copd), key=score, default=None)


def summary(
    results: Results,
    names: Iterable[str],
    seeds: Iterable[int],
    methods: dict[str, Method] = METHODS,
    searched: Results | None = None,
) -> dict[str, Any]:
    """What `compare.py table --json` prints; methods that were not run are left out."""
    found: dict[str, Any] = {}
    searched = searched or results
    scores: dict[str, dict[int, float]] = {}
    for name in names:
        records = measured(methods[name], results, seeds, searched)
        if not records:
            continue
        method, runs = methods[name], list(records.values())
        scores[name] = {seed: accuracy(method, record) for seed, record in records.items()}
        trained = method.read != "base"
        found[name] = {
            "mean": round(mean(scores[name].values()), 4),
            "ci95": interval(list(scores[name].values())),
            "domains": {d: round(mean(domains(method, r)[d] for r in runs), 4) for d in runs[0]["matrix"]["base"]},
            "rollouts": runs[0]["rollouts"] if trained else 0,
            "tokens": round(mean(record["tokens"] for record in runs)) if trained else 0,
            "seconds": round(mean(record["train_seconds"] for record in runs), 1) if trained else 0.0,
            "seeds": sorted(records),
            "settings": best(method, searched).describe() if trained else None,
        }
    chosen = best_copd(searched, {name: methods[name] for name in scores})
    found["best_copd"] = chosen
    found["paired"] = {
        name: paired(scores[chosen], other) for name, other in scores.items() if chosen and name != chosen
    }
    if chosen and "experts" in scores:
        ours, theirs = (
            {
                seed: domains(methods[name], record)
                for seed, record in measured(methods[name], results, seeds, searched).items()
            }
            for name in (chosen, "experts")
        )
        found["paired_domains"] = {
            domain: paired(*({seed: row[domain] for seed, row in rows.items()} for rows in (ours, theirs)))
            for domain in found["experts"]["domains"]
        }
    return found


# ---- The page ---------------------------------------------------------------------------------------------------


def table(found: dict[str, Any]) -> str:
    rows = {name: row for name, row in found.items() if isinstance(row, dict) and "mean" in row}
    if not rows:
        return "Nothing was measured yet: `python benchmarks/compare.py run`."
    names = list(next(iter(rows.values()))["domains"])
    chosen = found["best_copd"]
    lines = [f"| Method | mean | 95 % | {' | '.join(names)} | {chosen} minus it | rollouts | tokens, M | CPU s |"]
    lines.append("|---" * (len(names) + 7) + "|")
    for name, row in rows.items():
        label = f"**{name}**" if name == chosen else name
        gap = found["paired"].get(name)
        cells = [f"{row['mean']:.3f}", span(row["ci95"]), *(f"{row['domains'][d]:.3f}" for d in names)]
        cells += [f"{gap['diff']:+.3f} {span(gap['ci95'], '+')}" if gap else ""]
        cells += [f"{row['rollouts']:,}", f"{row['tokens'] / 1e6:.2f}", f"{row['seconds']:.0f}"]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def short_table(found: dict[str, Any], more: dict[str, Any]) -> str:
    """
    What a method is, when to choose it, and its accuracy. `more` has the same on all seeds, for the methods that were
    run with them; the paired difference is of all seeds that there are.
    """
    chosen = found["best_copd"]
    lines = [f"| Method | What it is | Choose it if | Accuracy | {chosen} minus it |", "|---|---|---|---|---|"]
    for name, words in SHORT.items():
        row = found.get(name)
        accuracy = f"{row['mean']:.3f} {span(row['ci95'])}" if row else ""
        gap = (more if name in more else found)["paired"].get(name)
        difference = f"{gap['diff']:+.3f} {span(gap['ci95'], '+')}" if gap else ""
        lines.append(f"| {' | '.join([f'`{name}`', *words, accuracy, difference])} |")
    return "\n".join(lines)


def settings(found: dict[str, Any]) -> str:
    """What was chosen for each method."""
    lines = ["| Method | Chosen on the search seeds |", "|---|---|"]
    for name, row in found.items():
        if name in METHODS and row["settings"]:
            lines.append(f"| {name} | " + listed(row["settings"]["fields"]) + parent(row["settings"]) + " |")
    return "\n".join(lines)


def listed(fields: dict[str, Any]) -> str:
    """A job's fields; for separate experts without the phases, which only set when to measure."""
    hidden = {"save_steps"} | ({"rlvr_steps", "opd_steps"} if fields.get("rlvr_steps", 0) >= 1_000_000 else set())
    return ", ".join(f"`{name}: {value}`" for name, value in fields.items() if name not in hidden)


def parent(described: dict[str, Any]) -> str:
    """Whose experts a job starts from."""
    if "parent" not in described:
        return ""
    return f". Experts: after {described['head']} rounds of {listed(described['parent']['fields'])}"


def own_domains(found: dict[str, Any]) -> str:
    """The best form of CoPD against each expert on the expert's own domain."""
    gaps = found.get("paired_domains", {})
    if not gaps:
        return ""
    cells = [f"{gap['diff']:+.3f} {span(gap['ci95'], '+')}" for gap in gaps.values()]
    return "\n".join([
        "| Domain | " + " | ".join(gaps) + " |",
        "|---" * (len(gaps) + 1) + "|",
        f"| {found['best_copd']} minus the expert | " + " | ".join(cells) + " |",
    ])  # fmt: skip


def replication(results: Results, methods: dict[str, Method] = METHODS, searched: Results | None = None) -> str:
    """
    The best form of CoPD against the methods close to it, and `PAIRS`: the table's seeds, the later ones, and both.
    """
    found = [summary(results, CLOSE, seeds, methods, searched) for seeds in _SEEDS.values()]
    chosen = found[0]["best_copd"]
    if chosen is None or any(chosen not in seen for seen in found):
        return ""
    others = [name for name in CLOSE if name != chosen and all(name in seen for seen in found)]
    lines = ["| | " + " | ".join(f"seeds {label}" for label in _SEEDS) + " |", "|---" * (len(_SEEDS) + 1) + "|"]
    for ours, name in [(chosen, name) for name in others] + [pair for pair in PAIRS if set(pair) <= set(methods)]:
        first, later, both = (
            paired(*by_seed(methods, (ours, name), results, seeds, searched)) for seeds in _SEEDS.values()
        )
        gaps = (first, later, both if later else {})
        cells = [f"{gap['diff']:+.3f} {span(gap['ci95'], '+')}" if gap else "" for gap in gaps]
        lines.append(f"| {ours} minus {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def seeds_table(
    results: Results, searched: Results | None, methods: dict[str, Method], without: dict[str, str], against: str
) -> str:
    """
    Each seed by itself, without and with something; the differences are over the seeds that both have.

    Args:
        results, searched (`Results`): As everywhere.
        methods (`dict[str, Method]`): All of them.
        without (`dict[str, str]`): Methods with it, and the same without.
        against (`str`): One of those with it, that the others are subtracted from.
    """
    runs = {name: chosen(methods[name], results, searched) for pair in without.items() for name in reversed(pair)}
    scores = {
        name: {seed: accuracy(methods[name], run) for seed, run in found.items()} for name, found in runs.items()
    }
    there = [seed for seed in SEEDS + MORE_SEEDS if any(seed in scores[name] for name in without)]
    if not there:
        return ""
    lines = ["| | " + " | ".join(map(str, there)) + f" | mean of these | minus without | minus {against} |"]
    lines.append("|---" * (len(there) + 4) + "|")
    for name, row in scores.items():
        row = {seed: row[seed] for seed in there if seed in row}
        if not row or not any(scores[other] for other in (name, *without) if other.startswith(name)):
            continue
        cells = [f"{row[seed]:.3f}" if seed in row else "" for seed in there]
        cells.append(f"{mean(row.values()):.3f}" if len(row) == len(there) else "")
        for other in (without.get(name), against):
            gap = paired(row, scores[other]) if other and other != name and name in without else {}
            cells.append(f"{gap['diff']:+.3f} {span(gap['ci95'], '+')}".strip() if gap else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_seed(
    methods: dict[str, Method], names: Iterable[str], results: Results, seeds: Iterable[int], searched: Results | None
) -> list[dict[int, float]]:
    """Accuracy of the best candidate of each method, by seed."""
    return [
        {seed: accuracy(methods[name], record)
         for seed, record in measured(methods[name], results, seeds, searched).items()} for name in names
    ]  # fmt: skip


def markdown(
    found: dict[str, Any], results: Results | None, seeds: Iterable[int], searched: Results | None = None
) -> str:
    """For the terminal: the table, the form of CoPD against each expert, and with `results` all measurements."""
    parts = [table(found), own_domains(found)]
    if results is not None:
        parts += [replication(results, searched=searched), text_of_sawtooth(sawtooth(results, seeds))]
        parts += [trade_off(results, seeds), ablation_tables(results, FEW_SEEDS)]
        parts += [text_of_pilot(pilot(results, FEW_SEEDS))]
    return "\n\n".join(part for part in parts if part)


def fill(text: str, name: str, content: str) -> str:
    """The page with `content` between the marks of this name, if it has them."""
    begin, end = f"<!-- measured: {name} -->", "<!-- end -->"
    return re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{content}\n{end}", text, flags=re.DOTALL)


def page_parts(results: Results, searched: Results | None = None) -> dict[str, str]:
    """What stands between the marks of docs/experiments.md and README.md."""
    found = summary(results, METHODS, SEEDS, searched=searched)
    more = summary(results, CLOSE, SEEDS + MORE_SEEDS, searched=searched)
    repeated = replication(results, searched=searched)
    return {
        "table": table(found),
        "short": short_table(found, more if repeated else {}),
        "settings": settings(found),
        "allocation": seeds_table(results, searched, METHODS | ALLOCATED, WITHOUT, "mixed-adaptive"),
        "falling": seeds_table(results, searched, ALLOCATED | FALLING, CONSTANT, "mixed-adaptive-falling"),
        "added": added_table(results, searched),
        "baselines": baselines_table(results, searched),
        "anytime": anytime_table(results),
        "unequal": unequal_table(results, searched),
        "tricks": tricks_table(results),
        "sawtooth": text_of_sawtooth(sawtooth(results, SEEDS)),
        "own": own_domains(found),
        "replication": repeated,
        "trade": trade_off(results, SEEDS),
        "conflict": conflict_table(json.loads(CONFLICT.read_text())) if CONFLICT.is_file() else "",
        "smollm2": smollm2_table(results, searched),
        "smollm2-long": smollm2_table(results, searched, SMOLLM2_LONG),
        "transfer": smollm2_table(results, searched, TRANSFER),
        "ablations": ablation_tables(results, FEW_SEEDS),
        "pilot": text_of_pilot(pilot(results, FEW_SEEDS)),
    }


def update_page(results: Results, searched: Results | None = None) -> None:
    """Put tables and figures of the committed results into the page, and the short table into README.md."""
    parts = page_parts(results, searched)
    for page in (PAGE, README, ADDED):
        text = page.read_text()
        for name, content in parts.items():
            text = fill(text, name, content)
        page.write_text(text)
    names = list(METHODS)
    scores = dict(zip(names, by_seed(METHODS, names, results, SEEDS, searched), strict=True))
    draw_accuracy({name: list(found.values()) for name, found in scores.items() if found}, FIGURES / "compare.png")
    if runs := measured_runs(results, searched):
        found = {name: [accuracy(method, r) for r in records.values()] for name, (method, records) in runs.items()}
        draw_accuracy(found, FIGURES / "compare_baselines.png")
    draw_overlap(results, searched or results, FIGURES / "compare_overlap.png")
    job = ALLOCATED["copd-student-adaptive"].candidates[0]
    learnt = {seed: record for seed in SHOWN if (record := results.find(job, seed)) and "learnt" in record}
    if learnt:
        draw_learnt(learnt, FIGURES / "compare_learnt.png")
    draw_ablations(results, FEW_SEEDS, FIGURES / "compare_ablations.png")
    if studied := pilot(results, FEW_SEEDS):
        draw_pilot(studied, FIGURES / "compare_pilot.png")
