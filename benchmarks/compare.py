"""
Does co-evolving beat the alternatives? `python benchmarks/compare.py run` trains each method on four skills that
conflict (`recipes/compare.yaml`), with as many rollouts each; `table` prints and draws what was measured.

    python benchmarks/compare.py search            # candidates of every method with seed 100, the better ones with 101
    python benchmarks/compare.py run               # the best candidate of each, seeds 0 to 4
    python benchmarks/compare.py ablate            # one setting at a time, and the pilot study, seeds 0 to 2
    python benchmarks/compare.py table [--json]    # what was measured, as Markdown or as one JSON object
    python benchmarks/compare.py page              # docs/experiments.md and its figures

Results are appended to a file, one JSON object a run, and a run that is there is not run again: a comparison that was
killed goes on. The authors' is docs/results/compare.jsonl; the settings that its search found are used whatever file
is named by `--results`. Settings are searched on seeds that the table does not use. What is compared, and the grid, is
in `benchmarks/compare_methods.py` and `compare_ablations.py`.

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

from benchmarks import compare_ablations  # noqa: E402
from benchmarks.compare_methods import MAIN, METHODS, SMOLLM2, Job, Method  # noqa: E402
from recipes.build import build_base  # noqa: E402
from trl_copd.history import series  # noqa: E402
from trl_copd.schedule import Schedule  # noqa: E402
from trl_copd.topology import build_topology  # noqa: E402


RESULTS = ROOT / "docs" / "results" / "compare.jsonl"
STUDIES = {"conflict": METHODS, "smollm2": SMOLLM2}
_BUILDING = threading.Lock()
SEEDS, SEARCH_SEEDS = (0, 1, 2, 3, 4), (100, 101)
MARGIN = 0.05  # accuracy by which a candidate may be behind after the first search seed


class Results:
    """
    The results file: one JSON object a line, found by what was run and with which seed.

    Args:
        path (`Path`): The file; it need not be there. A line that was cut off counts as not there.
        searched (`Path`, *optional*): A file whose records of the search seeds count too.
    """

    def __init__(self, path: Path, searched: Path | None = None):
        self.path, self._lock = path, threading.Lock()
        found = {at: record for at, record in read(searched).items() if at[1] in SEARCH_SEEDS} if searched else {}
        self.records = found | read(path)

    def find(self, job: Job, seed: int) -> dict[str, Any] | None:
        return self.records.get((key(job), seed))

    def add(self, record: dict[str, Any]) -> None:
        with self._lock:
            self.records[record["key"], record["seed"]] = record
            self.path.parent.mkdir(parents=True, exist_ok=True)
            torn = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
            with self.path.open("a") as file:
                file.write("\n" * (torn and self.path.stat().st_size > 0) + json.dumps(record) + "\n")


def read(path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    records = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        records[record["key"], record["seed"]] = record
    return records


def key(job: Job) -> str:
    """Short hash of everything that a job is, the recipe's file excepted."""
    return hashlib.sha256(json.dumps(job.describe(), sort_keys=True).encode()).hexdigest()[:10]


# ---- Running ----------------------------------------------------------------------------------------------------


def recipe(job: Job, folder: Path, parent: Path | None) -> dict[str, Any]:
    """The job's recipe with the job's fields, and the parent's experts as adapters."""
    settings = load(job.recipe)
    fields = dict(job.fields)
    rate, n_eval = fields.pop("expert_learning_rate", None), fields.pop("n_eval", None)
    if job.domains:
        settings["domains"] = [domain for domain in settings["domains"] if domain["name"] in job.domains]
    for domain in settings["domains"]:
        if rate is not None:
            domain["learning_rate"] = rate
        if n_eval is not None:
            domain["n_eval"] = n_eval
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


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "recipes" / f"{name}.yaml").read_text())


def base(seed: int, folder: Path, name: str = "compare") -> str:
    """The seed's base of a recipe, built unless it is there."""
    settings = load(name)
    with _BUILDING:
        return build_base(settings["builtin_base"], folder / "bases", seed, settings["domains"])


def execute(job: Job, seed: int, folder: Path, parent: Path | None) -> dict[str, Any]:
    output = target(job, seed, folder)
    output.mkdir(parents=True, exist_ok=True)
    settings = recipe(job, output, parent) | {"seed": seed, "model_name_or_path": base(seed, folder, job.recipe)}
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
    if settings["save_strategy"] == "steps":
        record["head"] = head(settings, state, record)
    if settings.get("eval_strategy") == "steps":
        record |= {
            "edges": series(state["log_history"], "opd/overlap"),
            "evaluations": evaluations(state["log_history"]),
        }
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


def evaluations(history: list[dict]) -> dict[str, dict[str, dict[str, float]]]:
    """Capability matrices that were measured while training, by round."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for entry in history:
        for name, value in entry.items():
            adapter, _, domain = name.removeprefix("eval_").partition("/")
            if name.startswith("eval_") and domain and domain != "accuracy":
                found.setdefault(str(entry["step"]), {}).setdefault(adapter, {})[domain] = round(value, 4)
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


def best(method: Method, results: Results) -> Job:
    """The candidate with the highest mean accuracy over the search seeds, of those that were run with all of them."""
    if len(method.candidates) == 1:
        return method.candidates[0]
    scores = {}
    for job in method.candidates:
        found = [results.find(job, seed) for seed in SEARCH_SEEDS]
        if all(found):
            scores[key(job)] = sum(accuracy(method, record) for record in found if record), job
    if not scores:
        raise SystemExit(f"Not searched with seeds {SEARCH_SEEDS}: {method}. Run `compare.py search` first.")
    return max(scores.values(), key=lambda pair: pair[0])[1]


def contenders(method: Method, results: Results, seed: int) -> list[Job]:
    """The candidates that are at most `MARGIN` behind the best one with this seed: the others are dropped."""
    found = [(job, results.find(job, seed)) for job in method.candidates]
    scores = [(job, accuracy(method, record)) for job, record in found if record is not None]
    return [job for job, score in scores if score >= max(score for _, score in scores) - MARGIN]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("search", "run", "ablate", "table", "page"))
    parser.add_argument(
        "--study", choices=STUDIES, default="conflict", help="the skills that conflict, or SmolLM2-135M"
    )
    parser.add_argument("--methods", nargs="+", help="default: all; --quick: " + " ".join(MAIN))
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 0 to 4; search: 100, 101; ablate: 0 to 2")
    parser.add_argument("--quick", action="store_true", help="the main methods, two seeds")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each (2)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "compare", help="where runs and bases are kept")
    parser.add_argument("--json", action="store_true", help="table: print one JSON object instead")
    options = parser.parse_args()
    results = Results(options.results, RESULTS)
    methods = STUDIES[options.study]
    names = options.methods or (MAIN if options.quick else tuple(methods))
    if unknown := set(names) - set(methods):
        parser.error(
            f"no method {sorted(unknown)[0]!r} in the study {options.study}. Choose from {', '.join(methods)}."
        )
    usual = {"search": SEARCH_SEEDS, "ablate": compare_ablations.SEEDS}
    seeds = options.seeds or usual.get(options.command, SEEDS[:2] if options.quick else SEEDS)
    if options.command in ("table", "page"):
        from benchmarks.compare_page import markdown, summary, update_page

        found = summary(results, names, seeds, methods)
        if options.command == "page":
            update_page(results)
        else:
            print(json.dumps(found) if options.json else markdown(found, results, seeds))
        return
    if options.command == "search":
        candidates = [methods[name].candidates for name in names]
        for seed in seeds:
            run_all([job for jobs in candidates for job in jobs], [seed], results, options)
            candidates = [tuple(contenders(methods[name], results, seeds[0])) for name in names]
    elif options.command == "ablate":
        listed = [job for ablation in compare_ablations.ABLATIONS.values() for job in ablation.values()]
        run_all([*listed, *compare_ablations.PILOT], seeds, results, options)
    else:
        run_all([best(methods[name], results) for name in names], seeds, results, options)


def run_all(jobs: Iterable[Job], seeds: Iterable[int], results: Results, options: argparse.Namespace) -> None:
    """Run each job once with each seed: parents first, so that two jobs with one parent do not both run it."""
    wanted = {key(job): job for job in jobs}
    parents = {key(job.parent): job.parent for job in wanted.values() if job.parent}
    for batch in (parents, wanted):
        with ThreadPoolExecutor(options.jobs) as executor:
            list(executor.map(lambda pair: run(*pair, results, options.folder),
                              [(job, seed) for seed in seeds for job in batch.values()]))  # fmt: skip


if __name__ == "__main__":
    main()
