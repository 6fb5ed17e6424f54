"""
What K branches on one base cost: `python benchmarks/round_cost.py [--quick]`; the last line is one JSON object.

Per base (SmolLM2-135M and the demonstration's 0.3M model). Each group of figures comes from one process with one
thread, in which what is compared runs side by side; as many processes as there are cores run at a time. Ratios are of
CPU time, which a busy machine changes little; wall time stands beside it.

- `round_ratio[T][K]`: a round of CoPD at T completion tokens / K steps of plain `GRPOTrainer`. Topology `mutual`,
  `share_prompts="auto"`, cycles of 3 RLVR and 2 OPD rounds, overlap measured every 5 rounds, all included. OPD rounds
  are timed that begin with a measurement, and scoring and measuring weighted as in the cycle; a round of RLVR has the
  rest of it. The comparison that `share_prompts` makes once in a run is not counted.
- `round_shares[T][K]`: what of it are rollouts, scoring of cross rows, measuring, and the update with all else.
- `seconds[T]`: CPU and wall seconds of a step (`grpo`) and of a round of K branches.
- `k1_ratio`: a round of CoPDTrainer with one expert and no OPD / a step of `GRPOTrainer`, at the fewest tokens;
  `k1_ratio_shared`: the same with `share_prompts=True`.
- `rollout_ratio[K]`: sampling the rows of K adapters in one grouped `generate` / with TRL's own, one adapter after the
  other; `peft_ratio[K]`: PEFT's own mixed batch (`adapter_names`) / one after the other.
- A branch has two prompts in a round, four rollouts of each; two rollouts where completions have 256 tokens. Overlap
  is measured on one prompt for eight rollouts, as by default (four prompts for 32), and on one at least.
- Prompts, which the rows of a group share, have 73 to 92 tokens on SmolLM2, 81 on the mean: worked examples stand
  before each question. `--prompt 0` leaves the examples out: 22 to 36 tokens.
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
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import Any


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # two threads beside another busy process can be 5 times slower than one (LOG.md)

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from peft import LoraConfig  # noqa: E402
from transformers import AutoTokenizer, PreTrainedTokenizerBase  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402

from benchmarks.clock import PARTS, Clock, interleave, ratio, timed  # noqa: E402
from trl_copd import CoPDConfig, CoPDTrainer  # noqa: E402
from trl_copd.recipes.build import build_base, build_experts  # noqa: E402
from trl_copd.recipes.smollm2 import build_smollm2  # noqa: E402


BASES = {
    # prompts of a branch and the least tokens of one (0: as they come); tokens of a completion, each with its rounds,
    # and the most rounds with 8 experts; repeats of rollouts, and of one expert alone
    "smollm2": {"prompts": 2, "prompt": 70, "tokens": {24: 2, 128: 1, 256: 1}, "many": 1, "rollouts": 1, "single": 2},
    "demo": {"prompts": 16, "prompt": 0, "tokens": {8: 5}, "many": 5, "rollouts": 5, "single": 7},
}
EXPERTS = (2, 3, 4, 8)
RLVR_STEPS, OPD_STEPS, OVERLAP_EVERY = 3, 2, 5  # of the cycle that the rounds are weighted by
DOMAINS = {
    "smollm2": [("gym/chain_sum", {"min_terms": 2, "max_terms": 3}), ("gym/word_sequence_reversal", {"min_words": 4})],
    "demo": [("demo/sort", {}), ("demo/rev", {}), ("demo/count", {})],
}
GENERATIONS = 4  # rollouts of a prompt
LONGEST = 256  # tokens of completions that have half as many
PROBED = 8  # rollouts of a branch for one prompt that overlap is measured on
QUICK = {"tokens": {}, "rollouts": 1, "single": 1}


def experts(base: str, count: int):
    found = plain_experts(base, count)
    if least := BASES[base]["prompt"]:
        tokenizer = AutoTokenizer.from_pretrained(ROOT / "runs" / "bases" / "smollm2-raw")
        for expert in found:
            rows = expert.train_dataset
            expert.train_dataset = rows.map(partial(with_examples, rows, tokenizer, least))
    return found


def with_examples(
    rows: Dataset, tokenizer: PreTrainedTokenizerBase, least: int, row: dict[str, Any]
) -> dict[str, Any]:
    """A row whose prompt has at least so many tokens: solved questions stand before its own."""
    message, solved = row["prompt"][-1], []
    while True:
        asked = [{**message, "content": "\n\n".join([*solved, message["content"]])}]
        if len(tokenizer.apply_chat_template(asked, add_generation_prompt=True)["input_ids"]) >= least:
            return {"prompt": asked}
        example = rows[len(solved) % len(rows)]
        solved.append(f"{example['prompt'][-1]['content']}\n{example['solution']}")


def plain_experts(base: str, count: int):
    kinds = DOMAINS[base]
    domains = [
        {"name": f"e{i}", "builtin": kinds[i % len(kinds)][0], "options": kinds[i % len(kinds)][1], "n_train": 64,
         "n_eval": 8, "rewards": ["exact_match_reward"]}
        for i in range(count)
    ]  # fmt: skip
    if base == "demo":
        for domain in domains:
            del domain["options"]
    return build_experts(domains, seed=0)


def settings(base: str, steps: int, tokens: int | None = None) -> dict:
    size = BASES[base]
    tokens = tokens or min(size["tokens"])
    generations = GENERATIONS if tokens < LONGEST else GENERATIONS // 2  # the whole would take too long
    return {
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": size["prompts"] * generations,
        "num_generations": generations,
        "max_completion_length": tokens,
        "generation_kwargs": {"min_new_tokens": tokens},  # the same work whatever the adapters have learnt
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


def grpo(base: str, model: str, steps: int, tokens: int | None = None) -> GRPOTrainer:
    expert, args = experts(base, 1)[0], GRPOConfig(**settings(base, steps, tokens))
    return GRPOTrainer(model, expert.reward_funcs, args, expert.train_dataset, peft_config=lora())


def copd(base: str, model: str, steps: int, count: int, tokens: int | None = None, **overrides) -> CoPDTrainer:
    given = settings(base, steps, tokens)
    args = {
        "topology": "mutual",
        "rlvr_steps": 1,
        "opd_steps": 1,
        "overlap_every": 2,
        "probe_prompts": max(1, given["per_device_train_batch_size"] // PROBED),
        "share_prompts": "auto",
        "matrix_at_end": False,
        **overrides,
    }
    args = CoPDConfig(**given, **args)
    trainer = CoPDTrainer(model, experts(base, count), args, peft_config=lora())
    if trainer.forwards.shared_prompts is not None:
        trainer.forwards.shared_prompts.trusted[False] = True  # what a run makes sure of once is no part of a round
    return trainer


def rollout_ratios(base: str, model: str, repeats: int) -> dict[str, dict[str, float]]:
    result: dict[str, dict[str, float]] = {"rollout_ratio": {}, "peft_ratio": {}, "rollout_seconds_one_by_one": {}}
    for count in (2, 3, 4):
        trainer = copd(base, model, 1, count)
        rows = BASES[base]["prompts"] * GENERATIONS
        names = [name for name in trainer.experts for _ in range(rows)]
        prompts = [
            row["prompt"]
            for expert in trainer.experts.values()
            for row in expert.train_dataset.take(BASES[base]["prompts"]).to_list()
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
            repeats,
            warm_up=repeats > 1,
            grouped=lambda t=trainer, i=ids, n=names: t.engine.generate(i, n),
            apart=one_by_one,
            mixed=mixed,
        )
        result["rollout_ratio"][str(count)] = ratio(seconds, "grouped", "apart")
        result["peft_ratio"][str(count)] = ratio(seconds, "mixed", "apart")
        result["rollout_seconds_one_by_one"][str(count)] = round(median(seconds["apart"]), 3)
    return result


def round_ratios(base: str, model: str, repeats: int, tokens: int, counts: list[int]) -> dict[str, dict]:
    """`round_ratio`, `round_shares` and `seconds` of rounds with so many experts, each model on its own in memory."""
    step = timed(grpo(base, model, repeats, tokens))
    one = median(step.seconds)
    result: dict[str, dict] = {"round_ratio": {}, "round_shares": {}, "seconds": {}}
    result["seconds"]["grpo"] = {"cpu": round(one, 3), "wall": round(median(step.wall), 3)}
    for count in counts:
        always = {"rlvr_steps": 0, "overlap_every": 1}
        clock = timed(
            copd(base, model, repeats if count < 8 else min(repeats, BASES[base]["many"]), count, tokens, **always)
        )
        cost = mean_round(clock)
        whole = sum(cost.values())
        result["round_ratio"][str(count)] = round(whole / (count * one), 3)
        result["round_shares"][str(count)] = {part: round(seconds / whole, 3) for part, seconds in cost.items()}
        wall = whole * sum(clock.wall) / sum(clock.seconds)
        result["seconds"][str(count)] = {"cpu": round(whole, 3), "wall": round(wall, 3)}
    return result


def mean_round(clock: Clock) -> dict[str, float]:
    """
    CPU seconds of each part of a mean round of the cycle, from OPD rounds that all begin with a measurement. Rounds of
    RLVR sample and learn from as many rows, and score none of them.
    """
    cost = {part: median(parts[part] for parts in clock.parts) for part in PARTS}
    return cost | {
        "scoring": cost["scoring"] * OPD_STEPS / (RLVR_STEPS + OPD_STEPS),
        "measuring": cost["measuring"] / OVERLAP_EVERY,
    }


def k1_ratio(base: str, model: str, repeats: int) -> dict[str, float]:
    trainers: dict[str, Any] = {"grpo": grpo(base, model, 1)}
    for name, share in (("plain", False), ("shared", True)):
        trainers[name] = copd(base, model, 1, 1, opd_steps=0, share_prompts=share)
    turns = {name: lambda t=trainer: timed(t).seconds[0] for name, trainer in trainers.items()}
    seconds = interleave(repeats, **turns)
    return {"k1_ratio": ratio(seconds, "plain", "grpo"), "k1_ratio_shared": ratio(seconds, "shared", "grpo")}


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
    command = [sys.executable, __file__, "--memory", kind, "--base", base, "--model", model, *as_told(base)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(run.stdout.splitlines()[-1])


def as_told(base: str) -> list[str]:
    """What a process that measures is told of the prompts."""
    return ["--prompt", str(BASES[base]["prompt"])]


def peak_kib() -> int:
    """Peak resident memory of this process. `getrusage` would count the parent's, which outlives the exec."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def measure_memory(kind: str, base: str, model: str) -> None:
    """Run in a process of its own: train through both phases, print the peak in KiB."""
    imported = peak_kib()
    if kind == "grpo":
        trainer = grpo(base, model, 2)
    else:
        trainer = copd(base, model, 2, 4, topology="student")
    trainer.train()
    print(json.dumps({"imported": imported, "peak": peak_kib()}))


def jobs(base: str, tokens: list[int] | None, counts: list[int]) -> list[tuple[str, int, list[int]]]:
    """What is measured in a process of its own, the longest first."""
    found = [("rounds", length, counts) for length in sorted(tokens or BASES[base]["tokens"], reverse=True)]
    return [*found, ("memory", 0, []), ("rollouts", 0, []), ("k1", 0, [])]


def run_job(job: tuple[str, int, list[int]], base: str, model: str, quick: bool) -> dict:
    """In a process of its own; says how long it took, and what rounds cost."""
    kind, tokens, counts = job
    command = [sys.executable, __file__, "--job", kind, "--base", base, "--model", model, *["--quick"] * quick]
    command += as_told(base)
    if kind == "rounds":
        command += ["--tokens", str(tokens), "--experts", ",".join(map(str, counts))]
    start = time.perf_counter()
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{run.stderr[-2000:]}")
    result = json.loads(run.stdout.splitlines()[-1])
    print(f"{base}: {kind} {tokens or ''} {counts or ''} took {time.perf_counter() - start:.0f} s", flush=True)
    if kind == "rounds":
        for count in map(str, counts):
            shares = ", ".join(f"{part} {share:.0%}" for part, share in result["round_shares"][count].items())
            cost = result["seconds"][count]
            print(
                f"  {tokens} tokens, K = {count}: {result['round_ratio'][count]} of {count} GRPO steps; {shares}; "
                f"CPU {cost['cpu']} s, wall {cost['wall']} s",
                flush=True,
            )
        return {key: {str(tokens): value} for key, value in result.items()}
    return result


def merged(results: list[dict]) -> dict:
    """Dictionaries of dictionaries as one."""
    whole: dict = {}
    for result in results:
        for key, value in result.items():
            whole[key] = merged([whole.get(key, {}), value]) if isinstance(value, dict) else value
    return whole


def measure(options: argparse.Namespace) -> dict:
    """One job, in this process."""
    base, model = options.base, options.model
    repeats = {**BASES[base], **(QUICK if options.quick else {})}
    if options.job == "rounds":
        tokens = options.tokens[0]
        return round_ratios(base, model, repeats["tokens"].get(tokens, 1), tokens, options.experts)
    if options.job == "rollouts":
        return rollout_ratios(base, model, repeats["rollouts"])
    return k1_ratio(base, model, repeats["single"]) if options.job == "k1" else memory(base, model)


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few repeats, to see that it runs")
    parser.add_argument("--base", choices=BASES, help="this base only")
    parser.add_argument("--tokens", type=numbers, help="completion tokens, such as 24,128 (default: the base's)")
    parser.add_argument("--experts", type=numbers, default=list(EXPERTS), help="numbers of experts, such as 2,3")
    parser.add_argument("--only", choices=("rounds", "memory", "rollouts", "k1"), help="this group of figures only")
    parser.add_argument("--prompt", type=int, help="least tokens of SmolLM2's prompts (default: 70)")
    for hidden in ("--model", "--memory", "--job"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.base == "demo" and options.prompt:
        parser.error("--prompt: the demonstration's base reads no worked examples. Leave it out, or take SmolLM2.")
    if options.prompt is not None:
        BASES[options.base or "smollm2"]["prompt"] = options.prompt
    if options.memory:
        measure_memory(options.memory, options.base, options.model)
        return
    if options.job:
        print(json.dumps(measure(options)))
        return
    bases = [options.base] if options.base else list(BASES)
    folder, todo = ROOT / "runs" / "bases", []
    for base in bases:
        if base == "smollm2":  # as it comes: what is timed does not depend on what the model knows
            model = str(build_smollm2(folder / "smollm2-raw", [], steps=0))
        else:
            model = str(build_base(base, folder, 0, []))
        wanted = [job for job in jobs(base, options.tokens, options.experts) if options.only in (None, job[0])]
        todo += [(job, base, model) for job in wanted]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = list(pool.map(run_job, *zip(*todo, strict=True), repeat(options.quick)))
    results = {
        base: merged([result for (_, whose, _), result in zip(todo, found, strict=True) if whose == base])
        for base in bases
    }
    print(f"{platform.processor() or platform.machine()}, load of the last five minutes {os.getloadavg()[1]:.1f}")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
