"""Table of docs/scaling.md and its figure, from docs/results/scaling.json: `python benchmarks/scaling_page.py`."""

import json
import re
import sys
from pathlib import Path


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from trl_copd.style import INK, MUTED, PALETTE, STYLE  # noqa: E402


RESULTS = ROOT / "docs" / "results" / "scaling.json"
PAGE = ROOT / "docs" / "scaling.md"
FIGURE = ROOT / "docs" / "figures" / "scaling.png"
PARTS = ("update", "rollouts", "teaching", "measuring")


def table(results: dict) -> str:
    """Measured / predicted, for each K, as Markdown."""
    rows = results["experts"]
    single = results["memory_mib"]["grpo"]

    def both(pair: dict[str, float], digits: int) -> str:
        return f"{pair['measured']:.{digits}f} / {pair['predicted']:.{digits}f}"

    lines = {"": [f"K = {count}" for count in rows], "-": ["---"] * len(rows)}
    lines["peak memory, MiB"] = [both(row["memory_mib"], 0) for row in rows.values()]
    lines["error of the model"] = [f"{row['memory_error']:+.1%}" for row in rows.values()]
    lines[f"of one `GRPOTrainer`'s {single} MiB"] = [
        f"{row['memory_mib']['measured'] / single:.3f}" for row in rows.values()
    ]
    for part in PARTS:
        cells = [both(row["seconds"][part], 1) if part in row["seconds"] else "" for row in rows.values()]
        lines[f"{part}, s"] = cells
    lines["rollouts per branch, s"] = [f"{row['seconds_per_branch']['rollouts']:.2f}" for row in rows.values()]
    lines["a round without measuring, s"] = [both(row["round_seconds"], 1) for row in rows.values()]
    lines["error of the model "] = [f"{row['time_error']:+.1%}" for row in rows.values()]
    return "\n".join("| " + " | ".join([label.replace("-", "---") if label == "-" else label, *cells]) + " |"
                     for label, cells in lines.items())  # fmt: skip


def update_page() -> None:
    """Put table and figure of the committed results into the page."""
    results = json.loads(RESULTS.read_text())
    rates = results["calibration"]
    note = (
        f"{results['machine']}, load {results['load']}; calibrated with K = 1: {rates['bandwidth_gb_s']} GB/s, "
        f"{rates['gflops']} GFLOP/s, {rates['thin_gflops']} GFLOP/s while decoding, {rates['process_mib']} MiB of "
        "libraries."
    )
    begin, end = "<!-- measured: benchmarks/scaling.py -->", "<!-- end -->"
    text = re.sub(
        f"{begin}.*?{end}", lambda _: f"{begin}\n{table(results)}\n\n{note}\n{end}", PAGE.read_text(), flags=re.DOTALL
    )
    PAGE.write_text(text)
    draw(results, FIGURE)


def draw(results: dict, path: Path) -> None:
    """Memory against the single run's, and seconds per branch by part; predictions as hollow marks."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    counts = [int(count) for count in results["experts"]]
    rows = list(results["experts"].values())
    single = results["memory_mib"]["grpo"]
    places = range(len(counts))
    with rc_context(STYLE):
        figure = Figure(figsize=(11, 3.9), layout="constrained", dpi=200)
        left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
        hollow = {"mfc": "none", "color": INK, "ms": 10, "ls": "none", "marker": "o", "label": "predicted"}
        left.plot(places, [row["memory_mib"]["measured"] / single for row in rows], "o-", color=PALETTE[0], lw=2,
                  label="measured")  # fmt: skip
        left.plot(places, [row["memory_mib"]["predicted"] / single for row in rows], **hollow)
        left.plot(places, [1 + 0.05 * count for count in counts], ":", color=MUTED, label="1 + 0.05 K")
        left.set(title="Peak memory / that of one GRPO run", ylim=(0, 1.6))
        left.legend(loc="lower right")
        bottom = [0.0] * len(rows)
        for color, part in zip(PALETTE, PARTS, strict=False):
            heights = [row["seconds_per_branch"].get(part, 0.0) for row in rows]
            right.bar(places, heights, 0.6, bottom, color=color, label=part, alpha=0.85)
            bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
        totals = [
            sum(part["predicted"] for part in row["seconds"].values()) / count
            for count, row in zip(counts, rows, strict=True)
        ]
        right.plot(places, totals, **hollow)
        right.set(title="Seconds per branch: an OPD round, and one measurement", ylim=(0, 1.3 * max(bottom)))
        right.legend(loc="upper left", ncols=3)
        for ax in (left, right):
            ax.set_xticks(places, counts)
            ax.set_xlabel("experts K")
        figure.savefig(path)


if __name__ == "__main__":
    update_page()
