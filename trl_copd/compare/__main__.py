"""
Which method wins on your data.

    trl-copd compare --config mine.yaml --methods mixed mopd copd --seeds 0 1 2

Each method runs once per seed from one recipe. All get the same number of rollouts (`--equal rollouts`, as many as the
recipe has), or the same number of consecutive rounds (`--equal rounds`, where one policy on all data samples a batch K
times as large). The command first estimates the time. It appends results to OUTPUT/results.jsonl, one JSON object per
run, and skips runs that are there. So the same command continues a comparison that was killed.
"""

import argparse
import json
import queue
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from .. import methods
from ..recipes.reading import load_yaml
from ..spelling import Parser, did_you_mean
from . import estimate, launch
from .figure import draw
from .jobs import EQUAL, Job, build_jobs
from .results import Results
from .summary import measured, score, summary, table, verdict


_BUILDING = threading.Lock()
OWN = ("method", "seed", "output_dir", "base_dir", "resume_from_checkpoint")  # fields that are set for each run
DEFAULT_METHODS = ("mixed", "average", "experts", "mopd", "copd")


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run a comparison, or go on with it, and print what came of it.

    Args:
        argv (`Sequence[str]`, *optional*): Command line without the program's name; by default that of the process.

    Returns:
        `int`: Exit status: 0, or 1 if a run failed.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    folder = options.output or Path("runs") / f"compare-{Path(options.config).stem}"
    try:
        recipe = read_recipe(options.config)
        jobs = _jobs(recipe, options)
        results = Results(folder / "results.jsonl")
        if not options.table:
            _check_pooled(jobs, results, options.seeds)
    except (OSError, ValueError, TypeError, ImportError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    try:
        if not options.table:
            run_all(recipe, jobs, results, folder, options)
    except launch.RunFailed as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. The same command continues with the unfinished runs.", file=sys.stderr)
        return 130
    if not options.estimate:
        _show(jobs, results, folder, options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="trl-copd compare", description=__doc__)
    parser.add_argument("--config", required=True, help="the recipe: a YAML file, or the name of a built-in one")
    parser.add_argument("--methods", nargs="+", default=list(DEFAULT_METHODS), metavar="METHOD",
                        help=f"of {', '.join(methods.METHODS)} (default: {' '.join(DEFAULT_METHODS)})")  # fmt: skip
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument(
        "--equal", choices=EQUAL, default="rollouts", help="what all methods get the same number of (rollouts)"
    )
    parser.add_argument("--budget", type=int, help="rollouts or rounds of each run; default: the recipe's own")
    parser.add_argument("--set", nargs="+", default=[], metavar="METHOD.FIELD=VALUE", dest="changes",
                        help="a setting of only one method, such as mixed.learning_rate=5e-4")  # fmt: skip
    parser.add_argument("--output", type=Path, help="folder of results, runs and figure (runs/compare-NAME)")
    parser.add_argument("--jobs", type=int, help="runs at a time (1), not with --gpus")
    parser.add_argument("--gpus", nargs="+", help="devices, one run at a time on each, such as 0 1")
    parser.add_argument("--processes", type=int, default=1, help="processes of one run (1)")
    parser.add_argument("--table", action="store_true", help="show the results so far, and run nothing")
    parser.add_argument("--estimate", action="store_true", help="estimate the time, and stop")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object instead of the table")
    return parser


def read_recipe(config: str) -> dict[str, Any]:
    """The mapping of a recipe's file; a ValueError if it is none, or has no domains."""
    path = _find(config)
    try:
        recipe = load_yaml(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(recipe, dict) or not isinstance(recipe.get("domains"), list) or not recipe["domains"]:
        raise ValueError(f"{path} is not a recipe: it must be a mapping with a list `domains` (docs/recipes.md).")
    for domain in recipe["domains"]:
        if not isinstance(domain, dict) or "name" not in domain:
            raise ValueError(f"{path}: `domains` must list mappings with a `name`, got {domain!r}.")
    return recipe


def _find(config: str) -> Path:
    from ..recipes import find_recipe

    return Path(find_recipe(config))


def _jobs(recipe: dict[str, Any], options: argparse.Namespace) -> dict[str, Job]:
    names = list(dict.fromkeys(options.methods))
    for name in names:
        if name not in methods.METHODS:
            near = did_you_mean(name, methods.METHODS)
            raise ValueError(f"method {name!r} is unknown.{near} Choose from {', '.join(methods.METHODS)}.")
    if options.budget is not None and options.budget < 1:
        raise ValueError(f"--budget must be >= 1, got {options.budget}.")
    if options.gpus and options.jobs is not None:
        raise ValueError("--gpus runs one at a time on each device, so --jobs would have no effect. Leave one out.")
    options.jobs = 1 if options.jobs is None else options.jobs
    for option in ("jobs", "processes"):
        if getattr(options, option) < 1:
            raise ValueError(f"--{option} must be >= 1, got {getattr(options, option)}.")
    changes: dict[str, dict[str, Any]] = {}
    for change in options.changes:
        target, _, value = change.partition("=")
        name, _, field = target.partition(".")
        if not field or not value or name not in names:
            raise ValueError(f"--set {change!r}: give METHOD.FIELD=VALUE, with one of {', '.join(names)}.")
        _check_field(change, field)
        changes.setdefault(name, {})[field] = load_yaml(value)
    built = build_jobs(recipe, names, options.equal, options.budget, options.processes)
    return {job.method: Job(job.method, {**job.settings, **changes.get(job.method, {})}) for job in built}


def _check_field(change: str, field: str) -> None:
    from ..train import known_keys  # torch and TRL, which take seconds to import

    if field not in known_keys():
        raise ValueError(f"--set {change!r}: there is no field {field!r}.{did_you_mean(field, known_keys())}")
    if field in OWN:
        raise ValueError(f"--set {change!r}: this command sets {field!r} of each run. Remove it.")


def _check_pooled(jobs: dict[str, Job], results: Results, seeds: Sequence[int]) -> None:
    """Raise what keeps the domains from being pooled, before other runs have taken hours."""
    for job in jobs.values():
        if methods.METHODS[job.method].pooled and any(results.get(job.key, seed) is None for seed in seeds):
            from ..recipes.build import build_experts, pool

            sys.path.append(str(Path.cwd()))  # rewards of one's own
            pool(build_experts(job.settings["domains"], seeds[0]), seeds[0])


def run_all(
    recipe: dict[str, Any], jobs: dict[str, Job], results: Results, folder: Path, options: argparse.Namespace
) -> None:
    """Run what is not in the results yet, after saying how long it will take."""
    todo: dict[tuple[str, int], tuple[Job, int]] = {}  # methods that are read off one run share it
    for seed in options.seeds:
        for job in jobs.values():
            if results.get(job.key, seed) is None:
                todo.setdefault((job.key, seed), (job, seed))
    there = len({(job.key, seed) for job in jobs.values() for seed in options.seeds}) - len(todo)
    if not todo:
        print(f"All {there} runs are in {results.path}.")
        return
    known: dict[str, list[float]] = {}
    for record in results.records.values():
        known.setdefault(record["key"], []).append(record["wall_seconds"])

    @cache
    def measure() -> estimate.Pace:
        print("Measuring the pace with a few rounds ...", flush=True)
        settings = {
            **estimate.short_settings(recipe),
            "seed": options.seeds[0],
            "output_dir": str(folder / "pace" / "run"),
        }
        settings["base_dir"] = str(recipe.get("base_dir") or folder / "bases")
        _build_base(settings)
        seen = _sees(options.gpus[0] if options.gpus else None)
        left = launch.execute(launch.training_command(options.processes), settings, folder / "pace", seen)
        return estimate.pace(settings, left)

    slots: list[str | None] = list(options.gpus) if options.gpus else [None] * options.jobs
    seconds = estimate.total(list(todo.values()), known, measure, options.processes) / min(len(slots), len(todo))
    beside = f", {len(slots)} at a time" if len(slots) > 1 else ""
    done = f" ({there} are done)" if there else ""
    print(f"{len(todo)} runs{done}{beside}: about {estimate.as_text(seconds)}, {seconds:.0f} s.", flush=True)
    if options.estimate:
        return
    free: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    for slot in slots:
        free.put(slot)

    stopped = threading.Event()

    def run(job: Job, seed: int) -> None:
        slot = free.get()
        try:
            if not stopped.is_set():
                _run(recipe, job, seed, results, folder, slot, options)
        except BaseException:
            stopped.set()  # before the thread takes another one
            raise
        finally:
            free.put(slot)

    with ThreadPoolExecutor(len(slots)) as executor:
        futures = [executor.submit(run, job, seed) for job, seed in todo.values()]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            stopped.set()
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def _run(
    recipe: dict[str, Any], job: Job, seed: int, results: Results, folder: Path, gpu: str | None,
    options: argparse.Namespace,
) -> None:  # fmt: skip
    target = folder / "runs" / f"{job.method}-{job.key}-seed{seed}"
    settings = {**job.settings, "seed": seed, "output_dir": str(target / "run")}
    settings["base_dir"] = str(recipe.get("base_dir") or folder / "bases")
    if settings.get("save_strategy", "steps") != "no":
        settings["resume_from_checkpoint"] = "true"  # of a run that was killed
    _build_base(settings)
    left = launch.execute(launch.training_command(options.processes), settings, target, _sees(gpu))
    left.pop("history")
    record = {
        "key": job.key, "method": job.method, "seed": seed, "equal": options.equal, **left,
        "settings": job.settings, "commit": launch.commit(Path(__file__).parent, "."), "machine": launch.machine(),
    }  # fmt: skip
    results.add(record)
    print(
        f"seed {seed}, {job.method}: {score(job.domains(left['matrix'])):.3f} in {left['wall_seconds']:.0f} s",
        flush=True,
    )


def _sees(gpu: str | None) -> dict[str, str]:
    """The variable that shows a process one device alone."""
    return {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}


def _build_base(settings: dict[str, Any]) -> None:
    """Build the base of a recipe that has one on the spot, once, before runs beside each other look for it."""
    if settings.get("builtin_base") is not None:
        from ..recipes.build import build_base

        with _BUILDING:
            build_base(settings["builtin_base"], Path(settings["base_dir"]), settings["seed"], settings["domains"])


def _show(jobs: dict[str, Job], results: Results, folder: Path, options: argparse.Namespace) -> None:
    found = summary(jobs, results.records, options.seeds)
    if options.json:
        print(json.dumps(found))
        return
    print("\n" + table(found))
    if set(found) == {"paired"}:  # nothing was measured yet
        return
    print("\n" + verdict(found))
    if options.equal == "rollouts":
        print("\nRollouts for evaluation and for measuring overlap do not count.")
    scores = {name: {seed: score(row) for seed, row in by_seed.items()}
              for name, by_seed in measured(jobs, results.records, options.seeds).items()}  # fmt: skip
    try:
        print("Figure: " + ", ".join(map(str, draw(scores, folder))))
    except ImportError as error:
        print(error)


if __name__ == "__main__":
    sys.exit(main())
