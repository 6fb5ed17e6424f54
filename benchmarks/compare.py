"""
Does co-evolving beat the alternatives? `python benchmarks/compare.py run` trains each method on four skills that
conflict (`recipes/compare.yaml`), with as many rollouts each; `table` prints and draws what was measured.

    python benchmarks/compare.py search            # every candidate of every method, seeds 100 and 101
    python benchmarks/compare.py run               # the best candidate of each, seeds 0 to 4
    python benchmarks/compare.py table [--json]    # docs/experiments.md and its figures, or one JSON object

Results are appended to docs/results/compare.jsonl, one line a run, and a run that is there is not run again: a
comparison that was killed goes on. Settings are searched on seeds that the table does not use. What is compared, and
the grid, is in `benchmarks/compare_methods.py`.

Greedy accuracy on 500 held-out problems per domain. Time is CPU time of the training process, one thread, evaluation
included, since the clock says more about the machine's other work.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.compare_methods import MAIN, METHODS, Job, Method  # noqa: E402
from recipes.build import build_base  # noqa: E402
from trl_copd.history import series  # noqa: E402
from trl_copd.schedule import Schedule  # noqa: E402
from trl_copd.topology import build_topology  # noqa: E402


RECIPE = ROOT / "recipes" / "compare.yaml"
RESULTS = ROOT / "docs" / "results" / "compare.jsonl"
_BUILDING = threading.Lock()
SEEDS, SEARCH_SEEDS = (0, 1, 2, 3, 4), (100, 101)


class Results:
    """
    The results file: one JSON object a line, found by what was run and with which seed.

    Args:
        path (`Path`): The file; it need not be there. A last line that was cut off counts as not there.
    """

    def __init__(self, path: Path):
        self.path, self.records = path, {}
        self._lock = threading.Lock()
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            self.records[record["key"], record["seed"]] = record

    def find(self, job: Job, seed: int) -> dict[str, Any] | None:
        return self.records.get((key(job), seed))

    def add(self, record: dict[str, Any]) -> None:
        with self._lock:
            self.records[record["key"], record["seed"]] = record
            self.path.parent.mkdir(parents=True, exist_ok=True)
            torn = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
            with self.path.open("a") as file:
                file.write("\n" * (torn and self.path.stat().st_size > 0) + json.dumps(record) + "\n")


def key(job: Job) -> str:
    """Short hash of everything that a job is, the recipe's file excepted."""
    return hashlib.sha256(json.dumps(job.describe(), sort_keys=True).encode()).hexdigest()[:10]


# ---- Running ----------------------------------------------------------------------------------------------------


def recipe(job: Job, folder: Path, parent: Path | None) -> dict[str, Any]:
    """The job as a recipe: `recipes/compare.yaml` with the job's fields, and the parent's experts as adapters."""
    settings = yaml.safe_load(RECIPE.read_text())
    fields = dict(job.fields)
    rate = fields.pop("expert_learning_rate", None)
    if job.domains:
        settings["domains"] = [domain for domain in settings["domains"] if domain["name"] in job.domains]
    for domain in settings["domains"]:
        if rate is not None:
            domain["learning_rate"] = rate
        if parent is not None:
            domain["adapter"] = str(parent / f"checkpoint-{job.head}" / "experts" / domain["name"])
    if "save_steps" in fields:
        fields |= {"save_strategy": "steps", "save_total_limit": None}
    # the base is of the whole recipe, whichever domains the job has
    return {**settings, **fields, "output_dir": str(folder), "builtin_base": None}


def run(job: Job, seed: int, results: Results, folder: Path) -> dict[str, Any]:
    """Run the job, and its parent first, unless they are in the results."""
    found = results.find(job, seed)
    if found is not None:
        return found
    parent, above = None, None
    if job.parent is not None:
        above = run(job.parent, seed, results, folder)
        parent = target(job.parent, seed, folder)
        if not (parent / f"checkpoint-{job.head}").is_dir():  # its result was kept, its adapters were not
            execute(job.parent, seed, folder, None)
    record = execute(job, seed, folder, parent)
    for name, share in ("rollouts", 1), ("tokens", 1), ("cpu_seconds", 1):
        record[name] += share * above["head"][name] if above else 0
    results.add(record)
    return record


def target(job: Job, seed: int, folder: Path) -> Path:
    return folder / f"{key(job)}-seed{seed}"


def base(seed: int, folder: Path) -> str:
    """The seed's base, built unless it is there."""
    settings = yaml.safe_load(RECIPE.read_text())
    with _BUILDING:
        return build_base(settings["builtin_base"], folder / "bases", seed, settings["domains"])


def execute(job: Job, seed: int, folder: Path, parent: Path | None) -> dict[str, Any]:
    output = target(job, seed, folder)
    output.mkdir(parents=True, exist_ok=True)
    settings = recipe(job, output, parent) | {"seed": seed, "model_name_or_path": base(seed, folder)}
    (output / "recipe.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, str(ROOT / "recipes" / "copd.py"), "--config", str(output / "recipe.yaml")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "HF_HUB_OFFLINE": "1",
                   "TOKENIZERS_PARALLELISM": "false"}  # fmt: skip
    with (output / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n" + (output / "log.txt").read_text()[-3000:])
    state, matrix = (
        json.loads((output / f"{name}.json").read_text()) for name in ("trainer_state", "capability_matrix")
    )
    record = {
        "key": key(job),
        "seed": seed,
        "job": job.describe(),
        "matrix": {n: {d: round(v, 4) for d, v in row.items()} for n, row in matrix.items()},
        "rollouts": rollouts(settings, state["max_steps"]),
        "tokens": state["num_input_tokens_seen"],
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "curves": curves(state["log_history"]),
        "commit": commit(),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread a run",
    }
    if "save_steps" in settings and settings["save_strategy"] == "steps":
        record["head"] = head(settings, state, record)
    print(f"{output.name}: {json.dumps(job.fields)} {record['cpu_seconds']:.0f} s", flush=True)
    return record


def head(settings: dict[str, Any], state: dict[str, Any], record: dict[str, Any]) -> dict[str, float]:
    """What the first `save_steps` rounds of a run took of its rollouts, tokens and time."""
    rounds = settings["save_steps"]
    tokens = [
        entry["num_tokens"] for entry in state["log_history"] if entry["step"] == rounds and "num_tokens" in entry
    ]
    return {
        "rollouts": rollouts(settings, rounds),
        "tokens": tokens[0],
        "cpu_seconds": round(record["cpu_seconds"] * rounds / state["max_steps"], 1),
    }


def rollouts(settings: dict[str, Any], rounds: int) -> int:
    """Rollouts of a run's first rounds: a batch for each branch that takes part in a round."""
    rows = settings["per_device_train_batch_size"]
    if settings.get("method") == "mixed":
        return rounds * rows
    names = tuple(domain["name"] for domain in settings["domains"])
    topology = build_topology(settings["topology"], names, settings.get("hub"))
    steps = settings["rlvr_steps"], settings["opd_steps"]
    final = settings.get("final_opd_steps", 0)
    schedule = Schedule(*steps, static=settings["topology"] == "mopd", final_opd_steps=final)
    plans = [schedule.plan(topology, index, rounds).values() for index in range(rounds)]
    return rows * sum(not plan.idle for round_ in plans for plan in round_)


def curves(history: list[dict]) -> dict[str, list[list[float]]]:
    """Overlap and symmetric KL, mean over the edges, as `[steps, values]`."""
    found = {}
    for name in ("overlap", "symmetric_kl"):
        edges = [dict(zip(*points, strict=True)) for points in series(history, f"opd/{name}").values()]
        steps = sorted(set.intersection(*map(set, edges))) if edges else []
        found[name] = [steps, [round(sum(edge[step] for edge in edges) / len(edges), 5) for step in steps]]
    return found


def commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


# ---- Choosing ---------------------------------------------------------------------------------------------------


def domains(method: Method, record: dict[str, Any]) -> dict[str, float]:
    """Accuracy of a method in each domain, in [0, 1], out of a run's capability matrix."""
    matrix = record["matrix"]
    if method.read == "experts":
        return {name: matrix[name][name] for name in matrix["base"]}
    if method.read == "branches":
        branches = [row for name, row in matrix.items() if name in matrix["base"]]
        return {name: sum(row[name] for row in branches) / len(branches) for name in matrix["base"]}
    return dict(matrix[method.read])


def accuracy(method: Method, record: dict[str, Any]) -> float:
    """Mean over the domains."""
    values = domains(method, record).values()
    return sum(values) / len(values)


def best(method: Method, results: Results, seeds: Iterable[int] = SEARCH_SEEDS) -> Job:
    """The candidate with the highest mean accuracy over the search seeds."""

    def score(job: Job) -> float:
        found = [results.find(job, seed) for seed in seeds]
        missing = [seed for seed, record in zip(seeds, found, strict=True) if record is None]
        if missing:
            raise SystemExit(
                f"Seed(s) {missing} of {job.describe()} were not searched. Run `compare.py search` first."
            )
        return sum(accuracy(method, record) for record in found if record) / len(found)

    return method.candidates[0] if len(method.candidates) == 1 else max(method.candidates, key=score)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("search", "run", "table"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="default: all; --quick: " + " ".join(MAIN))
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 0 to 4; search: 100 and 101; --quick: 0 and 1")
    parser.add_argument("--quick", action="store_true", help="the main methods, two seeds")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each (2)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "compare", help="where runs and bases are kept")
    parser.add_argument("--json", action="store_true", help="table: print one JSON object instead")
    options = parser.parse_args()
    results, names = Results(options.results), options.methods or (MAIN if options.quick else tuple(METHODS))
    seeds = options.seeds or (SEARCH_SEEDS if options.command == "search" else SEEDS[:2] if options.quick else SEEDS)
    if options.command == "table":
        from benchmarks.compare_page import summary, update_page

        if options.json:
            print(json.dumps(summary(results, names, seeds)))
        else:
            update_page(results)
        return
    jobs: dict[str, Job] = {}
    for name in names:
        method = METHODS[name]
        jobs |= {
            key(job): job for job in (method.candidates if options.command == "search" else [best(method, results)])
        }
    # a job's parent first, so that two jobs with one parent do not both run it
    parents = {key(job.parent): job.parent for job in jobs.values() if job.parent}
    for batch in (parents, jobs):
        with ThreadPoolExecutor(options.jobs) as executor:
            list(executor.map(lambda pair: run(*pair, results, options.folder),
                              [(job, seed) for seed in seeds for job in batch.values()]))  # fmt: skip


if __name__ == "__main__":
    main()
