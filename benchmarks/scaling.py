"""
What K = 1, 2, 4, 8 experts on one base cost, and how well the cost model (`trl_copd.plan`) says so beforehand:
`python benchmarks/scaling.py [--quick]`; the last line is one JSON object. It rewrites docs/results/scaling.json, and
with it the table of docs/scaling.md and docs/figures/scaling.png (`benchmarks/scaling_page.py`).

SmolLM2-135M as it comes, 8 rows a branch (4 rollouts a prompt, 24 tokens each), topology `mutual`, cycles of one RLVR
and one OPD round; one expert alone has no OPD. Every branch has the same task, so that all do the same work.

- Memory: peak resident memory (`VmHWM`) of a run of one cycle in a process of its own, with an allocator that gives
  freed memory back, against that of a run of one `GRPOTrainer` (`grpo`) and of one expert. By part of a round: the
  highest point within it.
- Time: CPU time of one thread, which other processes disturb less than the clock; cycles of all K in turn in one
  process, medians over the rounds, so that noise meets all alike.
- Prediction: rates and the bytes of a bare process are calibrated with K = 1 alone, from its update, its rollouts with
  8 and with 32 rows, and what its process holds between rounds; K = 2, 4, 8 are predictions.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import median


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["OMP_NUM_THREADS"] = "1"  # a process's CPU time is then what its one thread took

import torch  # noqa: E402
from transformers import TrainerCallback  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402

from benchmarks.round_cost import GENERATIONS, lora, peak_kib, settings  # noqa: E402
from benchmarks.scaling_page import RESULTS, table, update_page  # noqa: E402
from trl_copd import CoPDConfig, CoPDTrainer  # noqa: E402
from trl_copd.plan import DEVICES, Device, ModelSize, Run, calibrated, count_model, memory, peak, seconds  # noqa: E402
from trl_copd.recipes.build import build_experts  # noqa: E402
from trl_copd.recipes.smollm2 import build_smollm2  # noqa: E402


BASE = "smollm2"
COUNTS = (1, 2, 4, 8)
ROWS, TOKENS, PROBES, REPEATS = 8, 24, 1, 2
MANY_ROWS = 32  # the second number of rows that one expert's rollouts are timed with
PARTS = {"rollouts": ("round", "_sample"), "teaching": ("teaching", "teach"), "measuring": ("overlap", "measure")}


def experts(count: int):
    task = {"builtin": "gym/word_sequence_reversal", "options": {"min_words": 4, "max_words": 6}}
    rows = {"n_train": 200, "n_eval": PROBES, "rewards": ["exact_match_reward"]}
    return build_experts([{"name": f"e{i}", **task, **rows} for i in range(count)], seed=0)


def schedule(count: int) -> dict:
    return {"topology": "mutual", "rlvr_steps": 1, "opd_steps": int(count > 1)}


def copd(model: str, count: int) -> CoPDTrainer:
    measuring = {"overlap_every": 2, "probe_prompts": PROBES, "matrix_at_end": False}
    args = CoPDConfig(**settings(BASE, 2), **schedule(count), **measuring)
    return CoPDTrainer(model, experts(count), args, peft_config=lora())


def grpo(model: str) -> GRPOTrainer:
    expert = experts(1)[0]
    args = GRPOConfig(**settings(BASE, 2))
    return GRPOTrainer(model, expert.reward_funcs, args, expert.train_dataset, peft_config=lora())


# ---- Memory, in processes of their own --------------------------------------------------------------------------


class PeakOf:
    """Notes the highest resident memory within each part of a round; the kernel lets a process reset its `VmHWM`."""

    def __init__(self, trainer):
        self.mib: dict[str, float] = defaultdict(float)
        self.held_mib = 0.0  # between two rounds
        self.part = "start"
        watched = [(part, getattr(trainer, owner), method) for part, (owner, method) in PARTS.items()
                   if hasattr(trainer, owner)]  # fmt: skip
        learners = trainer.branches.values() if hasattr(trainer, "branches") else [trainer]
        watched += [("update", learner, "compute_loss") for learner in learners]
        for part, owner, method in [*watched, ("round", trainer, "training_step")]:
            setattr(owner, method, self.within(part, getattr(owner, method)))

    def within(self, part: str, call):
        def noted(*args, **kwargs):
            outer, _ = self.part, self.turn(part)
            if part == "round":
                self.held_mib = resident_mib()
            try:
                return call(*args, **kwargs)
            finally:
                # `backward` follows the loss within TRL's step: the update lasts until another part begins
                self.turn("update" if part == "update" else outer)

        return noted

    def turn(self, part: str) -> None:
        self.mib[self.part] = max(self.mib[self.part], peak_kib() / 1024)
        Path("/proc/self/clear_refs").write_text("5")
        self.part = part


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure_memory(kind: str, model: str) -> None:
    """Run in a process of its own: train through a cycle, print peaks in MiB."""
    trainer = grpo(model) if kind == "grpo" else copd(model, int(kind))
    peaks = PeakOf(trainer)
    trainer.train()
    peaks.turn("end")
    result = {"peak": max(peaks.mib.values()), "held": peaks.held_mib}
    result["parts"] = {part: round(peaks.mib[part]) for part in (*PARTS, "update") if peaks.mib[part]}
    print(json.dumps(result))


def run_for_memory(kind: str, model: str) -> dict:
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, __file__, "--memory", kind, "--model", model]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(run.stdout.splitlines()[-1])


# ---- Time -------------------------------------------------------------------------------------------------------


class RoundClock(TrainerCallback):
    """Seconds of each round, and what had been spent on each part when it ended."""

    def __init__(self, spent: dict[str, float]):
        self.spent = spent
        self.seconds: list[float] = []
        self.marks: list[dict[str, float]] = []

    def on_step_begin(self, args, state, control, **kwargs):
        self.start = time.process_time()

    def on_step_end(self, args, state, control, **kwargs):
        self.seconds.append(time.process_time() - self.start)
        self.marks.append(dict(self.spent))


class SecondsOf:
    """Seconds of each part of each round of a trainer."""

    def __init__(self, trainer: CoPDTrainer):
        self.trainer, self.parts = trainer, defaultdict(list)
        self.prompt_length, self.spent = 0, defaultdict(float)
        for part, (owner, method) in PARTS.items():
            timed = self.timed(part, getattr(getattr(trainer, owner), method))
            setattr(getattr(trainer, owner), method, timed)
        generate = trainer.engine.generate

        def noted(prompt_ids, *args, **kwargs):
            self.prompt_length = max(self.prompt_length, *map(len, prompt_ids))
            return generate(prompt_ids, *args, **kwargs)

        trainer.engine.generate = noted

    def timed(self, part: str, call):
        def noted(*args, **kwargs):
            start = time.process_time()
            try:
                return call(*args, **kwargs)
            finally:
                self.spent[part] += time.process_time() - start

        return noted

    def cycle(self) -> None:
        """Train one cycle; what is no rollout and no teaching is the update, rewards included."""
        self.spent.clear()
        clock = RoundClock(self.spent)
        self.trainer.add_callback(clock)
        self.trainer.train()
        self.trainer.remove_callback(clock)
        before: dict[str, float] = {}
        for total, mark in zip(clock.seconds, clock.marks, strict=True):
            spent = {part: mark.get(part, 0.0) - before.get(part, 0.0) for part in PARTS}
            before = mark
            self.parts["rollouts"].append(spent["rollouts"])
            self.parts["update"].append(total - sum(spent.values()))
            if spent["teaching"]:
                self.parts["teaching"].append(spent["teaching"])
            if self.trainer.topology.edges and not self.parts["measuring"]:  # it is measured in the first round alone
                self.parts["measuring"].append(spent["measuring"])

    def medians(self) -> dict[str, float]:
        return {part: round(median(values), 3) for part, values in self.parts.items() if values}


def measure_seconds(model: str, repeats: int) -> tuple[dict[int, SecondsOf], dict[int, float]]:
    """Cycles of all K in turn; and the seconds of one expert's rollouts with `ROWS` and with `MANY_ROWS` rows."""
    timed = {count: SecondsOf(copd(model, count)) for count in COUNTS}
    alone, rollouts = timed[1].trainer, defaultdict(list)
    prompts = [row["prompt"] for row in alone.experts["e0"].train_dataset.take(MANY_ROWS // GENERATIONS)]
    ids = list(alone._tokenize_prompts([prompt for prompt in prompts for _ in range(GENERATIONS)])[0])
    for repeat in range(repeats):
        for each in timed.values():
            each.cycle()
            each.trainer.args.overlap_every = 0  # once is enough: the cost of measuring grows with K * (K - 1)
        for rows in (ROWS, MANY_ROWS):
            start = time.process_time()
            alone.engine.generate(ids[:rows], ["e0"] * rows)
            rollouts[rows].append(time.process_time() - start)
        print(f"repeat {repeat + 1} of {repeats}", flush=True)
    return timed, {rows: median(values) for rows, values in rollouts.items()}


# ---- Predictions ------------------------------------------------------------------------------------------------


def predicted_run(count: int, prompt_length: int) -> Run:
    lengths = {"prompt_length": prompt_length, "completion_length": TOKENS, "generations": GENERATIONS}
    precision = {"weight_bytes": 4, "value_bytes": 4, "checkpointing": False}
    return Run(count, rows=ROWS, overlap_every=2, probe_prompts=PROBES, **lengths, **precision, **schedule(count))


def device_of_one(size: ModelSize, run: Run, update: float, rollouts: dict[int, float], held_mib: float) -> Device:
    known = sum(memory(size, run, DEVICES["cpu"])["resident"].values()) - DEVICES["cpu"].process
    return calibrated(size, run, DEVICES["cpu"], update, rollouts, held_mib * 2**20 - known)


def error(predicted: float, measured: float) -> float:
    return round(predicted / measured - 1, 3)


def compare(count: int, size: ModelSize, run: Run, device: Device, peaks: dict, timed: SecondsOf) -> dict:
    """One K: measured, predicted, and the error of either."""
    parts = memory(size, run, device)
    resident = sum(parts["resident"].values())
    measured, forecast = timed.medians(), seconds(size, run, device)
    whole = {key: round(sum(source.get(part, 0.0) for part in ("rollouts", "update", "teaching")), 3)
             for key, source in {"measured": measured, "predicted": forecast}.items()}  # fmt: skip
    trainer = timed.trainer
    weights = [p for branch in trainer.branches.values() for p in branch.parameters]
    moments = [m for state in trainer.optimizer.state.values() for m in state.values() if torch.is_tensor(m)]
    adapter_bytes = sum(p.numel() * p.element_size() for p in weights)
    return {
        "memory_mib": {"measured": round(peaks["peak"]), "predicted": round(peak(parts)[0] / 2**20)},
        "memory_error": error(peak(parts)[0] / 2**20, peaks["peak"]),
        "memory_parts_mib": {
            part: {"measured": mib, "predicted": round((resident + sum(parts[part].values())) / 2**20)}
            for part, mib in peaks["parts"].items() if part in parts
        },
        "seconds": {part: {"measured": value, "predicted": round(forecast[part], 3)}
                    for part, value in measured.items()},
        "seconds_per_branch": {part: round(value / count, 3) for part, value in measured.items()},
        "round_seconds": whole,  # the more expensive phase's, without measuring
        "time_error": error(whole["predicted"], whole["measured"]),
        "adapter_bytes": adapter_bytes,
        "optimizer_bytes": sum(m.numel() * m.element_size() for m in moments),
        "reduced_bytes": adapter_bytes,  # gradients, once a round, whatever the accumulation
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one cycle each, to see that it runs; writes no file")
    parser.add_argument("--model", help="the base, if it is built already")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        measure_memory(options.memory, options.model)
        return
    model = options.model or build_smollm2(ROOT / "runs" / "bases" / "smollm2-raw", [], steps=0)
    peaks = {kind: run_for_memory(kind, model) for kind in ("grpo", *map(str, COUNTS))}
    print("memory", json.dumps(peaks), flush=True)
    timed, rollouts = measure_seconds(model, 1 if options.quick else REPEATS)

    size, length = count_model(model), timed[COUNTS[-1]].prompt_length
    alone = predicted_run(1, length)
    device = device_of_one(size, alone, timed[1].medians()["update"], rollouts, peaks["1"]["held"])
    compared = {
        str(count): compare(count, size, predicted_run(count, length), device, peaks[str(count)], timed[count])
        for count in COUNTS
    }
    single, one = peaks["grpo"]["peak"], peaks["1"]["peak"]
    ratios = {k: round(row["memory_mib"]["measured"] / single, 3) for k, row in compared.items()}
    results = {
        "memory_ratio": ratios,
        "memory_ratio_to_one_expert": {k: round(ratio * single / one, 3) for k, ratio in ratios.items()},
        "memory_bound_met": all(ratio <= 1 + 0.05 * int(k) for k, ratio in ratios.items()),
        "rollout_seconds_per_branch": {k: row["seconds_per_branch"]["rollouts"] for k, row in compared.items()},
        "memory_error": {k: row["memory_error"] for k, row in compared.items()},
        "time_error": {k: row["time_error"] for k, row in compared.items()},
        "memory_mib": {kind: round(result["peak"]) for kind, result in peaks.items()},
        "calibration": {
            "process_mib": round(device.process / 2**20),
            "bandwidth_gb_s": round(device.bandwidth / 1e9, 2),
            "gflops": round(device.flops / 1e9, 1),
            "thin_gflops": round(device.thin_flops / 1e9, 1),
            "rollout_seconds": {str(rows): round(value, 3) for rows, value in rollouts.items()},
        },
        "prompt_length": length,
        "experts": compared,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} thread(s)",
        "load": round(os.getloadavg()[1], 1),
    }
    if not options.quick:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        update_page()
    print(table(results))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
