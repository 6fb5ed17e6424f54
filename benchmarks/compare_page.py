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
from benchmarks.compare_curves import (  # noqa: E402
    ablation_tables,
    conflict_table,
    draw_ablations,
    draw_pilot,
    interval,
    phases,
    pilot,
    sawtooth,
    span,
    text_of_pilot,
    text_of_sawtooth,
    trade_off,
)
from benchmarks.compare_methods import CLOSE, METHODS, SAWTOOTH, SMOLLM2, Method  # noqa: E402
from benchmarks.compare_results import (  # noqa: E402
    MORE_SEEDS,
    SEARCH_SEEDS,
    SEEDS,
    Results,
    accuracy,
    best,
    domains,
)
from trl_copd.report import INK, MUTED, PALETTE, SHADE, STYLE  # noqa: E402


PAGE, README = ROOT / "docs" / "experiments.md", ROOT / "README.md"
SHORT = ("base", "experts", "mixed", "average", "mopd", "mopd-merge", "copd-mutual", "copd-student")  # in README.md
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


def paired(ours: dict[int, float], other: dict[int, float]) -> dict[str, Any]:
    """Mean difference over the seeds that both have, and its interval."""
    differences = [ours[seed] - other[seed] for seed in ours if seed in other]
    return {"diff": round(mean(differences), 4), "ci95": interval(differences)} if differences else {}


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


def short_table(found: dict[str, Any]) -> str:
    """Accuracy and paired difference alone."""
    chosen = found["best_copd"]
    lines = [f"| Method | accuracy | 95 % | {chosen} minus it |", "|---|---|---|---|"]
    for name in SHORT:
        row, gap = found[name], found["paired"].get(name)
        label = f"**{name}**" if name == chosen else name
        difference = f"{gap['diff']:+.3f} {span(gap['ci95'], '+')}" if gap else ""
        lines.append(f"| {label} | {row['mean']:.3f} | {span(row['ci95'])} | {difference} |")
    return "\n".join(lines)


def settings(found: dict[str, Any]) -> str:
    """What was chosen for each method."""
    lines = ["| Method | Chosen on the search seeds |", "|---|---|"]
    for name, row in found.items():
        if name in METHODS and row["settings"]:
            fields = {k: v for k, v in row["settings"]["fields"].items() if k not in ("save_steps", "rlvr_steps")
                      or k == "rlvr_steps" and v < 1_000_000}  # fmt: skip
            after = "; its experts: those of another run" if "parent" in row["settings"] else ""
            lines.append(f"| {name} | " + ", ".join(f"`{k}: {v}`" for k, v in fields.items()) + after + " |")
    return "\n".join(lines)


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


def replication(results: Results, methods: dict[str, Method] = METHODS) -> str:
    """The best form of CoPD against the methods close to it: the table's seeds, the later ones, and both."""
    groups = {"0 to 4": SEEDS, "5 to 9": MORE_SEEDS, "0 to 9": SEEDS + MORE_SEEDS}
    found = {label: summary(results, CLOSE, seeds, methods) for label, seeds in groups.items()}
    chosen = found["0 to 4"]["best_copd"]
    if chosen is None or chosen not in found["5 to 9"]:
        return ""
    others = [name for name in CLOSE if name != chosen and name in found["5 to 9"]]
    lines = [f"| {chosen} minus | " + " | ".join(f"seeds {label}" for label in groups) + " |", "|---" * 4 + "|"]
    for name in others:
        gaps = [seen["paired"][name] for seen in found.values()]
        lines.append(
            f"| {name} | " + " | ".join(f"{gap['diff']:+.3f} {span(gap['ci95'], '+')}" for gap in gaps) + " |"
        )
    return "\n".join(lines)


def markdown(found: dict[str, Any], results: Results, seeds: Iterable[int]) -> str:
    """Everything in the terminal: the table, the form of CoPD against each expert, and the saw-tooth."""
    parts = [table(found), own_domains(found), text_of_sawtooth(sawtooth(results, seeds))]
    return "\n\n".join(part for part in parts if part)


def fill(text: str, name: str, content: str) -> str:
    """The page with `content` between the marks of this name, if it has them."""
    begin, end = f"<!-- measured: {name} -->", "<!-- end -->"
    return re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{content}\n{end}", text, flags=re.DOTALL)


def update_page(results: Results) -> None:
    """Put tables and figures of the committed results into the page, and the short table into README.md."""
    found = summary(results, METHODS, SEEDS)
    parts = {
        "table": table(found),
        "settings": settings(found),
        "sawtooth": text_of_sawtooth(sawtooth(results, SEEDS)),
    }
    studied, small = pilot(results, FEW_SEEDS), summary(results, SMOLLM2, SEEDS, SMOLLM2)
    parts |= {
        "own": own_domains(found),
        "replication": replication(results),
        "trade": trade_off(results, SEEDS),
        "conflict": conflict_table(json.loads(CONFLICT.read_text())) if CONFLICT.is_file() else "",
        "smollm2": table(small) if "experts" in small else "",
        "ablations": ablation_tables(results, FEW_SEEDS),
        "pilot": text_of_pilot(studied),
    }
    parts["short"] = short_table(found)
    for page in (PAGE, README):
        text = page.read_text()
        for name, content in parts.items():
            text = fill(text, name, content)
        page.write_text(text)
    draw_accuracy(results, found, FIGURES / "compare.png")
    draw_overlap(results, FIGURES / "compare_overlap.png")
    draw_ablations(results, FEW_SEEDS, FIGURES / "compare_ablations.png")
    if studied:
        draw_pilot(studied, FIGURES / "compare_pilot.png")


def draw_accuracy(results: Results, found: dict[str, Any], path: Path) -> None:
    """A row per method: mean and interval, and a dot per seed."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rows = sorted((name for name in found if name in METHODS), key=lambda name: found[name]["mean"])
    with rc_context(STYLE):
        figure = Figure(figsize=(8, 0.36 * len(rows) + 1.1), layout="constrained", dpi=200)
        ax = figure.subplots()
        for place, name in enumerate(rows):
            color = PALETTE[1] if METHODS[name].copd else PALETTE[0]
            scores = [accuracy(METHODS[name], record) for record in measured(METHODS[name], results, SEEDS).values()]
            ax.plot(scores, [place] * len(scores), "o", ms=4, color=color, alpha=0.35, mew=0)
            bounds, middle = found[name]["ci95"] or [found[name]["mean"]] * 2, found[name]["mean"]
            ax.plot(bounds, [place, place], color=color, lw=2)
            ax.plot(middle, place, "D", ms=6, color=color)
        ax.set_yticks(range(len(rows)), rows)
        for label, name in zip(ax.get_yticklabels(), rows, strict=True):
            label.set_color(INK if METHODS[name].copd else MUTED)
        ax.set(title="Accuracy over four conflicting skills: seeds, mean, 95 %", xlim=(None, 1.0))
        ax.grid(axis="x", color=SHADE)
        ax.set_axisbelow(True)
        figure.savefig(path)


def draw_overlap(results: Results, path: Path) -> None:
    """Overlap and symmetric KL over the rounds: experts that co-evolve, and experts apart."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(11, 3.6), layout="constrained", dpi=200)
        for ax, (quantity, title) in zip(
            figure.subplots(1, 2),
            {"overlap": "Top-10 overlap between experts", "symmetric_kl": "Symmetric KL, nats per token"}.items(),
            strict=True,
        ):
            for phase, start, end in phases(SAWTOOTH[0]):
                if phase == "opd":
                    ax.axvspan(start, end, color=SHADE, lw=0)
            for color, label, job in zip(PALETTE[1::-1], ("co-evolving", "apart"), SAWTOOTH, strict=True):
                series = [record["curves"][quantity] for seed in SEEDS if (record := results.find(job, seed))]
                if not series:
                    continue
                steps = series[0][0]
                columns = list(zip(*(values for _, values in series), strict=True))
                bounds = [interval(column) or [column[0]] * 2 for column in columns]
                ax.fill_between(steps, *zip(*bounds, strict=True), color=color, alpha=0.2, lw=0)
                ax.plot(steps, [mean(column) for column in columns], color=color, lw=2, label=label)
            ax.set(title=title, xlabel="round (shaded: OPD)")
            ax.legend()
        figure.savefig(path)
