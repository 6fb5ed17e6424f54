"""
What K branches on one base cost: `python benchmarks/round_cost.py [--quick]`; the last line is one JSON object.

Per base (SmolLM2-135M and the demonstration's 0.3M model), all measured side by side in one run, medians of repeats:

- `rollout_ratio[K]`: sampling the rows of K adapters in one grouped `generate` / with TRL's own, one adapter after the
  other; `peft_ratio[K]`: PEFT's own mixed batch (`adapter_names`) / one after the other. The rows are those of a
  round: four rollouts of each prompt.
- `round_ratio[K]`: a round of CoPD (topology `mutual`, cycles of 3 RLVR and 2 OPD rounds, overlap measured every 5
  rounds, all included) / K steps of plain `GRPOTrainer`.
- `k1_ratio`: a round of CoPDTrainer with one expert and no OPD / a step of `GRPOTrainer`.
- `memory_ratio`: peak resident memory of a run of 4 experts and a student / of a run of one `GRPOTrainer` with LoRA,
  each in a process of its own, with an allocator that gives freed memory back; `memory_ratio_net`: the same above what
  a process holds after its imports; `memory_ratio_malloc`: with glibc's default, which keeps what it cannot reuse.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# all cores, for a machine that is doing nothing else; beside another busy process take OMP_NUM_THREADS=1 (LOG.md)
os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))

import torch  # noqa: E402
from peft import LoraConfig  # noqa: E402
from transformers import TrainerCallback  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402

from recipes.build import build_base, build_experts  # noqa: E402
from recipes.smollm2 import build_smollm2  # noqa: E402
from trl_copd import CoPDConfig, CoPDTrainer  # noqa: E402


BASES = {
    # rows per branch, tokens per completion, repeats of rollouts, of rounds, and of the K = 1 comparison
    "smollm2": {"rows": 8, "tokens": 24, "rollouts": 3, "rounds": 2, "single": 3},
    "demo": {"rows": 64, "tokens": 8, "rollouts": 7, "rounds": 3, "single": 9},
}
DOMAINS = {
    "smollm2": [("gym/chain_sum", {"min_terms": 2, "max_terms": 3}), ("gym/word_sequence_reversal", {"min_words": 4})],
    "demo": [("demo/sort", {}), ("demo/rev", {}), ("demo/count", {})],
}
GENERATIONS = 4  # rollouts of a prompt
QUICK = {"rollouts": 2, "rounds": 1, "single": 2}


class Clock(TrainerCallback):
    """Seconds of each round or step."""

    def __init__(self):
        self.seconds: list[float] = []

    def on_step_begin(self, args, state, control, **kwargs):
        self.start = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        self.seconds.append(time.perf_counter() - self.start)


def experts(base: str, count: int):
    kinds = DOMAINS[base]
    domains = [
        {"name": f"e{i}", "builtin": kinds[i % len(kinds)][0], "options": kinds[i % len(kinds)][1], "n_train": 400,
         "n_eval": 8, "rewards": ["exact_match_reward"]}
        for i in range(count)
    ]  # fmt: skip
    if base == "demo":
        for domain in domains:
            del domain["options"]
    return build_experts(domains, seed=0)


def settings(base: str, steps: int) -> dict:
    size = BASES[base]
    return {
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": size["rows"],
        "num_generations": GENERATIONS,
        "max_completion_length": size["tokens"],
        "generation_kwargs": {"min_new_tokens": size["tokens"]},  # the same work whatever the adapters have learnt
        "max_steps": steps,
        "learning_rate": 1e-5,
        "loss_type": "grpo",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 100,
        "disable_tqdm": True,
        "log_level": "error",
    }


def lora() -> LoraConfig:
    return LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")


def grpo(base: str, model: str, steps: int) -> GRPOTrainer:
    expert = experts(base, 1)[0]
    return GRPOTrainer(
        model, expert.reward_funcs, GRPOConfig(**settings(base, steps)), expert.train_dataset, peft_config=lora()
    )


def copd(base: str, model: str, steps: int, count: int, **overrides) -> CoPDTrainer:
    args = {
        "topology": "mutual",
        "rlvr_steps": 3,
        "opd_steps": 2,
        "overlap_every": 5,
        "probe_prompts": BASES[base]["rows"] // GENERATIONS,  # as many as a branch has prompts in a round
        "matrix_at_end": False,
        **overrides,
    }
    return CoPDTrainer(model, experts(base, count), CoPDConfig(**settings(base, steps), **args), peft_config=lora())


def seconds_of(trainer) -> list[float]:
    clock = Clock()
    trainer.add_callback(clock)
    trainer.train()
    trainer.remove_callback(clock)
    return clock.seconds


def interleave(repeats: int, warm_up: bool = True, **calls) -> dict[str, list[float]]:
    """Call each function in turn, `repeats` times over, after once to warm up, so that noise meets all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(0 if warm_up else 1, repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            result = call()
            if repeat:
                seconds[name].append(result if isinstance(result, float) else time.perf_counter() - start)
    return seconds


def ratio(seconds: dict[str, list[float]], top: str, bottom: str, factor: float = 1.0) -> float:
    return round(median(t / (factor * b) for t, b in zip(seconds[top], seconds[bottom], strict=True)), 3)


def rollout_ratios(base: str, model: str, repeats: int) -> dict[str, dict[str, float]]:
    result: dict[str, dict[str, float]] = {"rollout_ratio": {}, "peft_ratio": {}, "rollout_seconds_one_by_one": {}}
    for count in (2, 3, 4):
        trainer = copd(base, model, 1, count)
        rows = BASES[base]["rows"]
        names = [name for name in trainer.experts for _ in range(rows)]
        prompts = [
            row["prompt"]
            for expert in trainer.experts.values()
            for row in expert.train_dataset.take(rows // GENERATIONS).to_list()
            for _ in range(GENERATIONS)
        ]
        ids = list(trainer._tokenize_prompts(prompts)[0])

        def one_by_one(trainer=trainer, ids=ids, rows=rows):
            for index, name in enumerate(trainer.experts):
                trainer.peft_model.set_adapter(name)
                part = ids[index * rows :][:rows]
                GRPOTrainer._generate_single_turn(trainer, part, None, {}, GENERATIONS)

        def mixed(trainer=trainer, ids=ids, names=names):
            model = trainer.peft_model
            batch = trainer._tokenizer.pad({"input_ids": ids}, return_tensors="pt")
            model.eval()  # PEFT refuses mixed batches in training mode
            with torch.no_grad():
                model.generate(**batch, generation_config=trainer.generation_config, adapter_names=names)
            model.train()

        seconds = interleave(
            repeats, grouped=lambda t=trainer, i=ids, n=names: t.engine.generate(i, n), apart=one_by_one, mixed=mixed
        )
        result["rollout_ratio"][str(count)] = ratio(seconds, "grouped", "apart")
        result["peft_ratio"][str(count)] = ratio(seconds, "mixed", "apart")
        result["rollout_seconds_one_by_one"][str(count)] = round(median(seconds["apart"]), 3)
    return result


def round_ratios(base: str, model: str, repeats: int) -> dict[str, float]:
    # five rounds are one cycle, with one measurement of the edges; long enough to need no warm-up
    trainers = {str(count): copd(base, model, 5, count) for count in (2, 3, 4)}
    trainers["grpo"] = grpo(base, model, 5)
    calls = {name: lambda t=trainer: sum(seconds_of(t)) / 5 for name, trainer in trainers.items()}
    seconds = interleave(repeats, warm_up=False, **calls)
    return {name: ratio(seconds, name, "grpo", int(name)) for name in trainers if name != "grpo"}


def k1_ratio(base: str, model: str, repeats: int) -> float:
    plain, trainer = grpo(base, model, 3), copd(base, model, 3, 1, opd_steps=0)
    seconds = interleave(repeats, copd=lambda: median(seconds_of(trainer)), grpo=lambda: median(seconds_of(plain)))
    return ratio(seconds, "copd", "grpo")


def memory(base: str, model: str) -> dict[str, float]:
    peaks = {kind: run_for_memory(kind, base, model) for kind in ("grpo", "copd")}
    kept = {kind: run_for_memory(kind, base, model, give_back=False) for kind in ("grpo", "copd")}
    net = [peaks[kind]["peak"] - peaks[kind]["imported"] for kind in ("copd", "grpo")]
    return {
        "memory_ratio": round(peaks["copd"]["peak"] / peaks["grpo"]["peak"], 3),
        "memory_ratio_net": round(net[0] / net[1], 3),
        "memory_ratio_malloc": round(kept["copd"]["peak"] / kept["grpo"]["peak"], 3),
        "memory_mib": {kind: round(peak["peak"] / 1024) for kind, peak in peaks.items()},
    }


def run_for_memory(kind: str, base: str, model: str, give_back: bool = True) -> dict[str, int]:
    # a fixed threshold: glibc raises its own with every large block that is freed, and then keeps such blocks for good
    environment = {**os.environ, **({"MALLOC_MMAP_THRESHOLD_": "65536"} if give_back else {})}
    command = [sys.executable, __file__, "--memory", kind, "--base", base, "--model", model]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(run.stdout.splitlines()[-1])


def peak_kib() -> int:
    """Peak resident memory of this process. `getrusage` would count the parent's, which outlives the exec."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def measure_memory(kind: str, base: str, model: str) -> None:
    """Run in a process of its own: train through a cycle, print the peak in KiB."""
    imported = peak_kib()
    if kind == "grpo":
        trainer = grpo(base, model, 5)
    else:
        trainer = copd(base, model, 5, 4, topology="student")
    trainer.train()
    print(json.dumps({"imported": imported, "peak": peak_kib()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few repeats, to see that it runs")
    parser.add_argument("--base", choices=BASES, help="this base only")
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--memory", choices=("grpo", "copd"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        measure_memory(options.memory, options.base, options.model)
        return
    results = {}
    for base in [options.base] if options.base else BASES:
        repeats = {**BASES[base], **(QUICK if options.quick else {})}
        folder = ROOT / "runs" / "bases"
        if base == "smollm2":  # as it comes: what is timed does not depend on what the model knows
            model = build_smollm2(folder / "smollm2-raw", [], steps=0)
        else:
            model = build_base(base, folder, 0, [])
        results[base] = {
            **rollout_ratios(base, model, repeats["rollouts"]),
            "round_ratio": round_ratios(base, model, repeats["rounds"]),
            "k1_ratio": k1_ratio(base, model, repeats["single"]),
            **memory(base, model),
        }
        print(base, json.dumps(results[base], indent=2), flush=True)
    load, threads = os.getloadavg()[1], torch.get_num_threads()
    print(f"{platform.processor() or platform.machine()}, {threads} threads, load of the last five minutes {load:.1f}")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
