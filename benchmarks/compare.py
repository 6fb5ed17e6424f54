"""
Does co-evolving beat the alternatives? `python benchmarks/compare.py run` trains each method on four skills that
conflict (`recipes/compare.yaml`), with as many rollouts each; `table` prints what was measured.

    python benchmarks/compare.py search            # candidates of every method with seed 100, the better ones with 101
    python benchmarks/compare.py run               # the best candidate of each, seeds 0 to 4
    python benchmarks/compare.py ablate            # one setting at a time, and the pilot study, seeds 0 to 2
    python benchmarks/compare.py table [--json]    # what was measured, as Markdown or as one JSON object
    python benchmarks/compare.py page              # docs/experiments.md and its figures

Results are appended to `--results`, one JSON object a run, and a run that is there is not run again: a comparison that
was killed goes on. By default that is the authors' docs/results/compare.jsonl; name another file to measure. Which
candidate is best is read from `--searched`, the authors' file unless another one is named. Settings are searched on
seeds that the table does not use. What is compared, and the grid, is in `benchmarks/compare_methods.py` and
`compare_ablations.py`.

Greedy accuracy on 500 held-out problems per domain. Seconds are CPU time of one thread while training, since the clock
says more about the machine's other work.
"""

import argparse
import json
import sys
import threading
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import yaml


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import compare_ablations  # noqa: E402
from benchmarks.compare_anytime import ANYTIME, anytime_table  # noqa: E402
from benchmarks.compare_baselines import BASELINES, baselines_table  # noqa: E402
from benchmarks.compare_falling import FALLING  # noqa: E402
from benchmarks.compare_methods import ADDED_SKILL, ALLOCATED, MAIN, METHODS, Job  # noqa: E402
from benchmarks.compare_results import RESULTS, SEARCH_SEEDS, SEEDS, Results, best, contenders, key  # noqa: E402
from benchmarks.compare_smollm2 import SMOLLM2, SMOLLM2_LONG, TRANSFER, smollm2_table  # noqa: E402
from benchmarks.compare_tricks import TRICKS, tricks_table  # noqa: E402
from benchmarks.compare_unequal import UNEQUAL, unequal_table  # noqa: E402
from trl_copd.compare import launch  # noqa: E402
from trl_copd.history import series  # noqa: E402
from trl_copd.recipes.build import build_base  # noqa: E402
from trl_copd.recipes.smollm2 import build_smollm2  # noqa: E402
from trl_copd.schedule import Schedule  # noqa: E402
from trl_copd.topology import build_topology  # noqa: E402


STUDIES = {
    "conflict": METHODS,
    "allocation": ALLOCATED,
    "falling": FALLING,
    "baselines": BASELINES,
    "anytime": ANYTIME,
    "tricks": TRICKS,
    "added": ADDED_SKILL,
    "unequal": UNEQUAL,
    "smollm2": SMOLLM2,
    "smollm2-long": SMOLLM2_LONG,
    "transfer": TRANSFER,
}
TABLES = {  # of studies that have one of their own
    "baselines": baselines_table,
    "anytime": lambda results, _: anytime_table(results),
    "tricks": lambda results, _: tricks_table(results),
    "unequal": unequal_table,
    "smollm2": smollm2_table,
    "smollm2-long": partial(smollm2_table, methods=SMOLLM2_LONG),
    "transfer": partial(smollm2_table, methods=TRANSFER),
}
_BUILDING = threading.Lock()
_LOCKS: defaultdict[tuple[str, int], threading.Lock] = defaultdict(threading.Lock)  # one run of a job at a time


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
        name = domain["name"]
        if parent is not None and job.adapters is None:
            domain["adapter"] = str(experts_folder(parent, job.head) / name)
        elif parent is not None and job.adapters and name in job.adapters:
            domain["adapter"] = str(parent / job.adapters[name])
        if name in job.frozen:
            domain["frozen"] = True
    if job.baseline is not None:
        fields["baseline"] = job.baseline
    if "save_steps" in fields:
        fields |= {"save_strategy": "steps", "save_total_limit": None}
    # the base is of the whole recipe, whichever domains the job has
    return {**settings, "final_opd_steps": 0, **fields, "output_dir": str(folder), "builtin_base": None}


def experts_folder(run: Path, head: int | None) -> Path:
    """Where a run's experts are as they were after `head` rounds, or at its end."""
    return (run if head is None else run / f"checkpoint-{head}") / "experts"


def run(job: Job, seed: int, results: Results, folder: Path) -> dict[str, Any]:
    """Run the job, and its parent first, unless they are in the results."""
    with _LOCKS[key(job), seed]:
        found = results.find(job, seed)
        if found is not None:
            return found
        if job.parent is None:
            record = execute(job, seed, folder, None)
        else:
            paid = run(job.parent, seed, results, folder)
            record = execute(job, seed, folder, trained(job.parent, job.head, seed, results, folder))
            for name in ("rollouts", "tokens", "train_seconds"):
                record[name] = round(record[name] + (paid if job.head is None else paid["head"])[name], 1)
        results.add(record)
        return record


def trained(parent: Job, head: int | None, seed: int, results: Results, folder: Path) -> Path:
    """The folder of a run that has its experts; it is run again if its result was kept and its adapters were not."""
    output = target(parent, seed, folder)
    with _LOCKS[key(parent), seed]:
        if not experts_folder(output, head).is_dir():
            again, found = execute(parent, seed, folder, None), results.find(parent, seed)
            if found is not None and again["matrix"] != found["matrix"]:
                print(f"{output.name}: trained again, its experts are not those of the recorded run", flush=True)
    return output


def target(job: Job, seed: int, folder: Path) -> Path:
    return folder / f"{key(job)}-seed{seed}"


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "recipes" / f"{name}.yaml").read_text())


def base(seed: int, folder: Path, name: str = "compare") -> str:
    """The seed's base of a recipe, built unless it is there; a recipe that names a model has SmolLM2 as it comes."""
    settings = load(name)
    with _BUILDING:
        if "builtin_base" not in settings:
            return build_smollm2(folder / "bases" / "smollm2-raw", [], steps=0)
        return build_base(settings["builtin_base"], folder / "bases", seed, settings["domains"])


def execute(job: Job, seed: int, folder: Path, parent: Path | None) -> dict[str, Any]:
    """Train and measure, in a process of its own."""
    output = target(job, seed, folder)
    settings = recipe(job, output, parent) | {"seed": seed, "model_name_or_path": base(seed, folder, job.recipe)}
    made_by = launch.commit(ROOT, "trl_copd", "recipes", "benchmarks")
    program = ROOT / "recipes" / "copd.py" if job.baseline is None else ROOT / "benchmarks" / "baseline.py"
    command = (sys.executable, str(program))
    left = launch.execute(command, settings, output, {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})
    history = left["history"]
    record = {
        "key": key(job),
        "seed": seed,
        "job": job.describe(),
        "matrix": rounded(left["matrix"]),
        "rollouts": left["rollouts"] or rollouts(settings, left["rounds"]),
        "tokens": left["tokens"],
        "train_seconds": left["cpu_seconds"],  # one thread
        "curves": curves(history),
        "commit": made_by,
        "machine": f"{launch.machine()}, one thread a run",
    }
    if settings.get("allocation") == "adaptive" and settings.get("method") != "mixed":
        record["learnt"] = learnt(history)
    if settings["save_strategy"] == "steps":
        record["head"] = head_of(settings, left, record)
    if settings.get("eval_strategy") == "steps":
        record |= {"edges": series(history, "opd/overlap"), "evaluations": evaluations(history)}
    if "watch" in (job.baseline or {}):
        record["evaluations"] = evaluations(history)
    if right := [entry["right"] for entry in history if "right" in entry]:
        record["right"] = right[0]  # rollouts that were trained on
    print(f"{output.name}: {json.dumps(job.fields)} {record['train_seconds']:.0f} s", flush=True)
    return record


def rounded(matrix: dict[str, dict[str, float | None]]) -> dict[str, dict[str, float]]:
    """To four digits, without what was not measured."""
    rows = {name: {d: round(v, 4) for d, v in row.items() if v is not None} for name, row in matrix.items()}
    return {name: row for name, row in rows.items() if row}


def head_of(settings: dict[str, Any], left: dict[str, Any], record: dict[str, Any]) -> dict[str, float]:
    """What the first `save_steps` rounds of a run took of its rollouts, tokens and time."""
    rounds = settings["save_steps"]
    tokens = [e["num_tokens"] for e in left["history"] if e["step"] == rounds and "num_tokens" in e]
    return {
        "rollouts": rollouts(settings, rounds),
        "tokens": round(tokens[0]),
        "train_seconds": round(record["train_seconds"] * rounds / left["rounds"], 1),
    }


def rollouts(settings: dict[str, Any], rounds: int) -> int:
    """Rollouts of a run's first rounds: a batch for each branch that takes part in a round."""
    rows = settings["per_device_train_batch_size"]
    if settings.get("method") == "mixed":
        return rounds * rows
    names = tuple(domain["name"] for domain in settings["domains"])
    frozen = tuple(domain["name"] for domain in settings["domains"] if domain.get("frozen"))
    topology = build_topology(settings["topology"], names, settings.get("hub"), frozen)
    steps = settings["rlvr_steps"], settings["opd_steps"]
    final = settings.get("final_opd_steps", 0)
    schedule = Schedule(*steps, static=settings["topology"] == "mopd", final_opd_steps=final)
    plans = [schedule.plan(topology, index, rounds).values() for index in range(rounds)]
    return rows * sum(not plan.idle for round_ in plans for plan in round_)


def learnt(history: list[dict], every: int = 8 * 128) -> dict[str, Any]:
    """
    For each `every` rollouts: the share of them that each branch had, and the mean reward of each expert (`up`) and of
    the student on each domain (`student/up`), in [0, 1]; `None` where there was none.
    """
    experts = [name.removesuffix("/step_time") for name in history[0] if name.endswith("/step_time")]
    branches, rewards = [*experts, "student"], [*experts, *(f"student/{name}" for name in experts)]
    found: dict[str, Any] = {"rollouts": [], "share": {n: [] for n in branches}, "reward": {n: [] for n in rewards}}
    seen: list[dict] = []
    for entry in (entry for entry in history if "rollouts" in entry):
        seen.append(entry)
        if entry["rollouts"] < every * (len(found["rollouts"]) + 1):
            continue
        found["rollouts"].append(round(entry["rollouts"]))
        given = {name: sum(f"{name}/step_time" in one for one in seen) for name in branches}
        for name, count in given.items():
            found["share"][name].append(round(count / sum(given.values()), 3))
        for name, series_ in found["reward"].items():
            values = [one[f"{name}/reward"] for one in seen if f"{name}/reward" in one]
            series_.append(round(sum(values) / len(values), 3) if values else None)
        seen = []
    return found


def curves(history: list[dict]) -> dict[str, list[list[float]]]:
    """Overlap and symmetric KL as `[steps, values]`: mean over the edges into the student if there are any, or all."""
    found = {}
    for name in ("overlap", "symmetric_kl"):
        labels = series(history, f"opd/{name}")
        into = {label: points for label, points in labels.items() if label.endswith("->student")} or labels
        edges = [dict(zip(*points, strict=True)) for points in into.values()]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("search", "run", "ablate", "table", "page"))
    parser.add_argument(
        "--study",
        choices=STUDIES,
        default="conflict",
        help="the skills that conflict, the same with allocation, and with a falling rate, a control and baselines, "
        "accuracy on the way, tricks from elsewhere (search seeds), a skill added, domains of unequal kinds, SmolLM2 "
        "(two budgets), and a skill made of two others",
    )
    parser.add_argument("--methods", nargs="+", help="default: all; --quick: " + " ".join(MAIN))
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 0 to 4; search: 100, 101; ablate: 0 to 2")
    parser.add_argument("--quick", action="store_true", help="the main methods, two seeds")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each (2)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--searched", type=Path, default=RESULTS, help="results whose search says what is best")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "compare", help="where runs and bases are kept")
    parser.add_argument("--json", action="store_true", help="table: print one JSON object instead")
    options = parser.parse_args()
    results = Results(options.results)
    searched = results if options.results == options.searched else Results(options.searched)
    methods = STUDIES[options.study]
    names = options.methods or (MAIN if options.quick else tuple(methods))
    if unknown := set(names) - set(methods):
        parser.error(
            f"no method {sorted(unknown)[0]!r} in the study {options.study}. Choose from {', '.join(methods)}."
        )
    usual = {"search": SEARCH_SEEDS, "ablate": compare_ablations.SEEDS}
    if options.study == "tricks":
        usual["run"] = SEARCH_SEEDS
    seeds = options.seeds or usual.get(options.command, SEEDS[:2] if options.quick else SEEDS)
    if options.command in ("table", "page"):
        from benchmarks.compare_page import markdown, summary, update_page

        if options.command == "page":
            update_page(results, searched)
            return
        if options.study in TABLES and not options.json:
            print(TABLES[options.study](results, searched))
            return
        found = summary(results, names, seeds, methods, searched)
        whole = options.study == "conflict" and not options.quick and not options.methods
        print(json.dumps(found) if options.json else markdown(found, results if whole else None, seeds, searched))
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
        run_all([best(methods[name], searched) for name in names], seeds, results, options)


def run_all(jobs: Iterable[Job], seeds: Iterable[int], results: Results, options: argparse.Namespace) -> None:
    """Run each job once with each seed: parents first, so that jobs with one parent do not wait for each other."""
    wanted = {key(job): job for job in jobs}
    parents = {key(job.parent): job.parent for job in wanted.values() if job.parent}
    for batch in (parents, wanted):
        with ThreadPoolExecutor(options.jobs) as executor:
            pairs = [(job, seed) for seed in seeds for job in batch.values()]
            list(executor.map(lambda pair: run(*pair, results, options.folder), pairs))


if __name__ == "__main__":
    main()
