"""
The demonstration over seeds, `python benchmarks/demo_seeds.py`, beside one policy on all skills that has the same
allocation and as many rollouts.

Runs `recipes/copd.py` (or reads runs that are there already), prints a Markdown table and, last, one JSON object.
Greedy accuracy on held-out problems, mean over the skills. Runs that are there are read, whatever made them: after a
change of code or settings, remove `runs/seeds` first.
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
# one policy has the rate that is best for it on the seeds of the comparison's search (docs/experiments.md)
METHODS = {"copd": [], "mixed": ["--method", "mixed", "--learning_rate", "5e-4"]}


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


def summarise(matrices: dict[str, dict[int, dict]]) -> dict[str, dict]:
    """Mean accuracy of base and student, and of each expert on its own skill if there are any, per method and seed."""
    table: dict[str, dict] = {}
    for method, by_seed in matrices.items():
        for seed, matrix in by_seed.items():
            row = {name: round(mean(matrix[name].values()), 4) for name in ("base", "student")}
            own = [values[name] for name, values in matrix.items() if name in values]
            if own:
                row["own skill"] = round(mean(own), 4)
            table.setdefault(method, {})[seed] = row
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "seeds")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    options, extra = parser.parse_known_args()
    jobs = [(method, seed) for seed in options.seeds for method in METHODS]
    with ThreadPoolExecutor(options.jobs) as executor:
        done = list(executor.map(lambda job: run(*job, options.folder, extra), jobs))
    matrices: dict[str, dict[int, dict]] = {}
    for (method, seed), matrix in zip(jobs, done, strict=True):
        matrices.setdefault(method, {})[seed] = matrix
    table = summarise(matrices)
    print("| seed | base | experts, own skill | **student** | mixed, same allocation | student minus mixed |")
    print("|---|---|---|---|---|---|")
    for seed in options.seeds:
        copd, mixed = table["copd"][seed], table["mixed"][seed]
        cells = f"{copd['base']:.3f} | {copd['own skill']:.3f} | **{copd['student']:.3f}** | {mixed['student']:.3f}"
        print(f"| {seed} | {cells} | {copd['student'] - mixed['student']:+.3f} |")
    print(json.dumps(table))


if __name__ == "__main__":
    main()
