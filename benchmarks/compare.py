"""
CoPD against its alternatives with equal numbers of rollouts: `python benchmarks/compare.py run`, then `... table`.

    run     runs methods x seeds and appends a line per run to the results; what is there already is not run again
    search  the same over a grid of settings, with seeds that the comparison does not use
    table   prints the table, paired by seed, with 95 % intervals, and draws the figures; `--json` for scripts

Four skills in two pairs that look alike and conflict (`recipes/compare.yaml`), 500 held-out problems each, greedy.
"""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from scipy import stats


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from trl_copd.schedule import Schedule  # noqa: E402
from trl_copd.topology import build_topology  # noqa: E402


RECIPE = ROOT / "recipes" / "compare.yaml"
RESULTS = ROOT / "docs" / "results"
SEARCH_SEEDS, SEEDS = (100, 101), (0, 1, 2, 3, 4)
RATES = (5e-4, 1e-3, 2e-3)
BUDGET = 200  # rounds of all experts: every method takes as many rollouts, up to one round

# Arguments of recipes/copd.py; the adapter of the capability matrix that the method delivers
METHODS: dict[str, dict] = {
    "mixed": {"method": "mixed"},
    # trained apart: no OPD round ever comes, but overlap is measured
    "average": {"topology": "mutual", "rlvr_steps": 1_000_000, "opd_steps": 1},
    "mopd": {"topology": "mopd"},
    "copd-student": {"topology": "student"},
    "copd-mutual": {"topology": "mutual"},
    "copd-hub": {"topology": "hub", "hub": "up"},
}


def recipe(settings: dict) -> dict:
    return {**yaml.safe_load(RECIPE.read_text()), **settings}


def rollouts(settings: dict, rounds: int) -> int:
    """Rows that a run samples to train on."""
    config = recipe(settings)
    experts = tuple(domain["name"] for domain in config["domains"])
    rows = config["per_device_train_batch_size"]
    if config.get("method") == "mixed":  # one branch and as many times more rounds
        return rounds * len(experts) * rows
    topology = build_topology(config["topology"], experts, config.get("hub"))
    schedule = Schedule(config["rlvr_steps"], config["opd_steps"], static=config["topology"] == "mopd")
    plans = (schedule.plan(topology, index, rounds).values() for index in range(rounds))
    return rows * sum(not plan.idle for branches in plans for plan in branches)


def rounds_for_budget(settings: dict, budget: int) -> int:
    """Most rounds whose rollouts do not exceed those of `budget` rounds of all experts."""
    limit = rollouts(METHODS["average"], budget)
    rounds = budget
    while rollouts(settings, rounds + 1) <= limit:
        rounds += 1
    while rollouts(settings, rounds) > limit:
        rounds -= 1
    return rounds


def key(job: dict) -> tuple:
    return job["method"], job["seed"], job["budget"], json.dumps(job["settings"], sort_keys=True)


def run(job: dict, folder: Path) -> dict:
    """One run of the recipe: its capability matrix, overlap and symmetric KL, rollouts and seconds."""
    settings = {**METHODS[job["method"]], **job["settings"]}
    rounds = rounds_for_budget(settings, job["budget"])
    name = "-".join([job["method"], f"seed{job['seed']}", *(f"{k}={v}" for k, v in job["settings"].items())])
    target = folder / name
    arguments = {**settings, "max_steps": rounds, "seed": job["seed"], "output_dir": target}
    command = [sys.executable, str(ROOT / "recipes/copd.py"), "--config", str(RECIPE)]
    command += [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
    start = time.perf_counter()
    # one thread a run: two threads beside another busy process are several times slower
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    if process.returncode:
        raise RuntimeError(f"{name} failed:\n{process.stderr[-3000:]}")
    history = json.loads((target / "trainer_state.json").read_text())["log_history"]
    return {
        **job,
        "matrix": json.loads((target / "capability_matrix.json").read_text()),
        "rounds": rounds,
        "rollouts": rollouts(settings, rounds),
        "tokens": max((log.get("num_tokens", 0) for log in history), default=0),
        "seconds": round(time.perf_counter() - start, 1),
        "curves": curves(history),
    }


def curves(history: list[dict]) -> dict[str, list]:
    """Mean over edges of overlap and symmetric KL, at the rounds that began with a measurement."""
    found: dict[str, list] = {"overlap": [], "symmetric_kl": []}
    for log in history:
        for metric, points in found.items():
            values = [value for name, value in log.items() if name.endswith(f"/opd/{metric}") and value is not None]
            if values:
                points.append([log["step"] - 1, round(sum(values) / len(values), 5)])
    return found


def run_all(jobs: list[dict], results: Path, folder: Path, workers: int) -> None:
    done = {key(line) for line in load(results)}
    todo = [job for job in jobs if key(job) not in done]
    print(f"{len(jobs)} runs, {len(jobs) - len(todo)} of them there already", flush=True)
    results.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(workers) as executor, results.open("a") as file:
        for line in executor.map(lambda job: run(job, folder), todo):
            file.write(json.dumps(line) + "\n")
            file.flush()
            score = sum(line["matrix"]["student"].values()) / len(line["matrix"]["student"])
            print(
                f"{line['method']} seed {line['seed']} {line['settings']}: {score:.3f}, {line['seconds']} s",
                flush=True,
            )


def load(results: Path) -> list[dict]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.is_file() else []


# ---- What comes out of it -------------------------------------------------------------------------------------------


def interval(values: list[float]) -> tuple[float, float | None]:
    """Mean and half the 95 % interval of Student's t; `None` with a single value."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    return mean, float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def average(row: dict[str, float]) -> float:
    return sum(row.values()) / len(row)


def delivered(lines: list[dict]) -> dict[str, dict[int, dict[str, float]]]:
    """Accuracy per domain of what each method delivers, `{method: {seed: {domain: accuracy}}}`, best settings only."""
    table: dict[str, dict[int, dict[str, float]]] = {}
    for line in lines:
        method, seed, matrix = line["method"], line["seed"], line["matrix"]
        table.setdefault(method, {})[seed] = matrix["student"]
        experts = [name for name in matrix if name in matrix["base"]]
        if method == "average":
            table.setdefault("base", {})[seed] = matrix["base"]
            table.setdefault("experts", {})[seed] = {name: matrix[name][name] for name in experts}  # each on its own
        if method == "copd-mutual":  # what one branch can do without merging, the mean over branches
            table.setdefault("copd-mutual, unmerged", {})[seed] = {
                domain: sum(matrix[name][domain] for name in experts) / len(experts) for domain in experts
            }
    return table


def best_settings(lines: list[dict]) -> dict[str, dict]:
    """Per method, the settings with the best mean accuracy over the seeds of the search."""
    scores: dict[str, dict[str, list[float]]] = {}
    for line in lines:
        by_settings = scores.setdefault(line["method"], {})
        by_settings.setdefault(json.dumps(line["settings"]), []).append(average(line["matrix"]["student"]))
    return {
        method: {"settings": json.loads(best), "accuracy": sum(by[best]) / len(by[best]), "seeds": len(by[best])}
        for method, by in scores.items()
        for best in [max(by, key=lambda settings: sum(by[settings]) / len(by[settings]))]
    }


def summary(lines: list[dict], best: str) -> dict[str, dict]:
    """Mean and interval per method, and of the difference between `best` and each, paired by seed."""
    table, result, paired = delivered(lines), {}, {}
    runs = {method: [line for line in lines if line["method"] == method] for method in table}
    for method, by_seed in table.items():
        mean, half = interval([average(row) for row in by_seed.values()])
        own = runs[method] or runs["average"]
        domains = next(iter(by_seed.values()))
        result[method] = {
            "mean": round(mean, 4),
            "ci95": half and round(half, 4),
            "domains": {d: round(sum(row[d] for row in by_seed.values()) / len(by_seed), 4) for d in domains},
            "rollouts": 0 if method == "base" else own[0]["rollouts"],
            "seconds": 0 if method == "base" else round(sum(line["seconds"] for line in own) / len(own), 1),
            "seeds": sorted(by_seed),
        }
        shared = sorted(set(by_seed) & set(table[best]))
        if method != best and shared:
            diff, half = interval([average(table[best][seed]) - average(by_seed[seed]) for seed in shared])
            paired[method] = {"diff": round(diff, 4), "ci95": half and round(half, 4)}
    return {**result, "paired": paired, "best": best}
