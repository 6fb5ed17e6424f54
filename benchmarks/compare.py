"""
CoPD against its alternatives with equal numbers of rollouts: `python benchmarks/compare.py run`, then `... table`.

    run     runs methods x seeds and appends a line per run to the results; what is there already is not run again
    search  the same over a grid of settings, with seeds that the comparison does not use
    table   prints the table, paired by seed, with 95 % intervals, and draws the figures; `--json` for scripts

Four skills in two pairs that look alike and conflict (`recipes/compare.yaml`), 500 held-out problems each, greedy.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from trl_copd.schedule import Schedule  # noqa: E402
from trl_copd.topology import build_topology  # noqa: E402


RECIPE = ROOT / "recipes" / "compare.yaml"
BUDGET = 200  # rounds of all experts: every method takes as many rollouts, up to one round

# Arguments of recipes/copd.py; the adapter of the capability matrix that the method delivers
METHODS: dict[str, dict] = {
    "mixed": {"method": "mixed"},
    "average": {"method": "experts"},
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
    if config.get("method") in ("mixed", "experts"):  # `mixed` has one branch and as many times more rounds
        return rounds * len(experts) * rows
    topology = build_topology(config["topology"], experts, config.get("hub"))
    schedule = Schedule(config["rlvr_steps"], config["opd_steps"], static=config["topology"] == "mopd")
    plans = (schedule.plan(topology, index, rounds).values() for index in range(rounds))
    return rows * sum(not plan.idle for branches in plans for plan in branches)


def rounds_for_budget(settings: dict, budget: int) -> int:
    """Most rounds whose rollouts do not exceed those of `budget` rounds of all experts."""
    limit = rollouts({"method": "experts"}, budget)
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
            print(f"{line['method']} seed {line['seed']} {line['settings']}: {score:.3f}, {line['seconds']} s", flush=True)


def load(results: Path) -> list[dict]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.is_file() else []
