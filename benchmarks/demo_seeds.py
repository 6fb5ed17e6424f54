"""
A demonstration over seeds, with other methods beside it: `python benchmarks/demo_seeds.py`.

The one that sees, with and without teaching across modality:
`python benchmarks/demo_seeds.py --config recipes/vision_demo.yaml --methods copd no-opd --seeds 0 1 2 --folder
runs/vision-seeds`.

Runs `recipes/copd.py` (or reads runs that are there already), prints a Markdown table and, last, one JSON object.
Greedy accuracy on held-out problems, mean over the skills. Runs that are there are read, whatever made them: after a
change of code or settings, remove their folder first.
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
# one policy has the rate that did best in the comparison's search (docs/experiments.md)
METHODS = {
    "copd": [],
    "mixed": ["--method", "mixed", "--learning_rate", "1e-3"],
    "no-opd": ["--no_opd"],
}


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
    """Mean accuracy of base and student, and of experts, if there are any, on their own skill and on the others'."""
    table: dict[str, dict] = {}
    for method, by_seed in matrices.items():
        for seed, matrix in by_seed.items():
            row = {name: round(mean(matrix[name].values()), 4) for name in ("base", "student")}
            experts = {name: values for name, values in matrix.items() if name in values}
            if experts:
                row["own skill"] = round(mean(values[name] for name, values in experts.items()), 4)
                others = [values[skill] for name, values in experts.items() for skill in values if skill != name]
                row[OTHERS] = round(mean(others), 4)
            table.setdefault(method, {})[seed] = row
    return table


def markdown(table: dict[str, dict], seeds: list[int]) -> str:
    """A row per seed: the base, then what each method has."""
    columns = [
        (method, key)
        for method in table
        for key in ("own skill", OTHERS, "student")
        if all(key in row for row in table[method].values())
    ]
    first, *rest = table
    header = ["seed", "base", *(f"{method}: {key}" for method, key in columns)]
    header += [f"student of {first} minus {other}" for other in rest]
    lines = [header, ["---"] * len(header)]
    for seed in seeds:
        student = table[first][seed]["student"]
        cells = [f"{table[method][seed][key]:.3f}" for method, key in columns]
        leads = [f"{student - table[other][seed]['student']:+.3f}" for other in rest]
        lines.append([str(seed), f"{table[first][seed]['base']:.3f}", *cells, *leads])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["copd", "mixed"])
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "seeds")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    options, extra = parser.parse_known_args()
    jobs = [(method, seed) for seed in options.seeds for method in options.methods]
    with ThreadPoolExecutor(options.jobs) as executor:
        done = list(executor.map(lambda job: run(*job, options.folder, extra), jobs))
    matrices: dict[str, dict[int, dict]] = {}
    for (method, seed), matrix in zip(jobs, done, strict=True):
        matrices.setdefault(method, {})[seed] = matrix
    table = summarise(matrices)
    print(markdown(table, options.seeds))
    print(json.dumps(table))


if __name__ == "__main__":
    main()
