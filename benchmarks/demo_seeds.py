"""
The demonstration over seeds, with and without distillation: `python benchmarks/demo_seeds.py`, after `make demo`.

The one that sees, with and without teaching across modality:
`python benchmarks/demo_seeds.py --config recipes/vision_demo.yaml --folder runs/vision-seeds`.

Runs `recipes/copd.py` (or reads runs that are there already), prints a Markdown table and, last, one JSON object.
Held-out accuracy, mean over the domains. Runs that are there are read, whatever made them: after a change
of code or settings, remove `runs/seeds` first.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean


ROOT = Path(__file__).resolve().parent.parent
OTHERS = "others' skills"
METHODS = {"copd": [], "no-opd": ["--no_opd"]}


def run(method: str, seed: int, folder: Path, extra: list[str]) -> dict[str, dict[str, float]]:
    """The capability matrix of one run, which is made unless it is there."""
    target = folder / f"{method}-seed{seed}"
    if not (target / "capability_matrix.json").is_file():
        command = [sys.executable, str(ROOT / "recipes/copd.py"), "--output_dir", str(target), "--seed", str(seed)]
        # one thread a run: two threads beside another busy process took 8.5 s a round, not 0.75
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(
            [*command, *METHODS[method], *extra], check=True, cwd=ROOT, capture_output=True, env=environment
        )
    return json.loads((target / "capability_matrix.json").read_text())


def average(row: dict[str, float]) -> float:
    return mean(row.values())


def summarise(matrices: dict[str, dict[int, dict]]) -> dict[str, dict]:
    """Mean accuracy of base, of experts on their own skill and on the others', and of the student, by method."""
    table: dict[str, dict] = {}
    for method, by_seed in matrices.items():
        for seed, matrix in by_seed.items():
            own = mean(row[name] for name, row in matrix.items() if name in row)
            experts = {name: row for name, row in matrix.items() if name in row}
            others = mean(row[skill] for name, row in experts.items() for skill in row if skill != name)
            base, student = average(matrix["base"]), average(matrix["student"])
            row = {"base": base, "own skill": own, OTHERS: others, "student": student}
            table.setdefault(method, {})[seed] = row
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "seeds")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    options, extra = parser.parse_known_args()
    jobs = [(method, seed) for method in METHODS for seed in options.seeds]
    with ThreadPoolExecutor(options.jobs) as executor:
        done = list(executor.map(lambda job: run(*job, options.folder, extra), jobs))
    matrices: dict[str, dict[int, dict]] = {}
    for (method, seed), matrix in zip(jobs, done, strict=True):
        matrices.setdefault(method, {})[seed] = matrix
    table = summarise(matrices)
    print(
        "| seed | base | experts alone, own skill | on the others' skills, alone / CoPD | experts alone, averaged "
        "| **CoPD student** | gain over base |"
    )
    print("|---" * 7 + "|")
    for seed in options.seeds:
        copd, plain = table["copd"][seed], table["no-opd"][seed]
        others = f"{plain[OTHERS]:.3f} / {copd[OTHERS]:.3f}"
        cells = [f"{copd['base']:.3f}", f"{plain['own skill']:.3f}", others, f"{plain['student']:.3f}"]
        gain = copd["student"] - copd["base"]
        print(f"| {seed} | " + " | ".join(cells) + f" | **{copd['student']:.3f}** | {gain:+.3f} |")
    print(json.dumps(table))


if __name__ == "__main__":
    main()
