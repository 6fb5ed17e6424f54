"""
What K experts on one base cost on one GPU: `python benchmarks/gpu.py --model FOLDER`; ten minutes, then one JSON line.

Without `--model` the base has random weights of Qwen3-0.6B's shape, made on the spot, so that nothing is downloaded;
what is timed does not depend on what a model knows. `--dry-run` runs every part once on a CPU with a tiny model, to
see that it runs; its figures mean nothing.

Each part runs in a process of its own, so that one that fails, or runs out of memory, costs no other: its error stands
in the result. Parts that no longer fit into `--minutes` are named in `left_out`. Seconds are wall time with the GPU
synchronised, on a GPU that should have nothing else to do. All completions have one length, prompts have about 100
tokens, eight rollouts each.

- `generation[K]`: tokens per second of the rows of K adapters: `apart`: TRL's `generate`, one adapter after the other;
  `grouped`: one `generate` with stacked factors; `agree`: share of greedy tokens that are the same in both, up to the
  first that differs (below 1 in 16 bits).
- `vllm[K]`: tokens per second of vLLM with a LoRA request per row, and its start in seconds; absent where vLLM is not
  installed.
- `grpo`: seconds of a step of `GRPOTrainer`, and its peak of memory.
- `rounds[K]`: by `plain` and `shared` (`share_prompts`): seconds of an RLVR and of an OPD round, of each part of the
  latter, the ratio of a mean round of the default cycle to K steps of `GRPOTrainer` (`ratio`), and the peak of memory.
  One expert alone (K = 1) has no OPD.
- Memory is the peak of what torch has allocated, GiB (on a CPU of what is resident, which holds all parts before).
"""

import argparse
import gc
import importlib.util
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from peft import LoraConfig  # noqa: E402
from transformers import Qwen3Config, Qwen3ForCausalLM  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402

from benchmarks.clock import PARTS, device_time, timed  # noqa: E402
from trl_copd import CoPDConfig, CoPDTrainer, Expert  # noqa: E402
from trl_copd.recipes.demo_base import build_tokenizer  # noqa: E402


COUNTS = (1, 2, 4, 8)
QWEN3_06B = {
    "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
    "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": True,
}  # fmt: skip
TINY = QWEN3_06B | {
    "vocab_size": 128, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16,
}  # fmt: skip
# rows of a branch, rollouts of a prompt, tokens of a completion, rank of the adapters
FULL = {"rows": 16, "generations": 8, "tokens": 128, "rank": 32}
DRY = {"rows": 4, "generations": 2, "tokens": 4, "rank": 4}
HAS_VLLM = importlib.util.find_spec("vllm") is not None


def random_base(shape: dict[str, Any], folder: Path) -> str:
    """A Qwen3 with random weights and a tokenizer of one token a character, saved for trainers and vLLM."""
    if not (folder / "config.json").is_file():
        tokenizer = build_tokenizer()
        ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
        torch.manual_seed(0)
        model = Qwen3ForCausalLM(Qwen3Config(**shape, bos_token_id=tokenizer.bos_token_id, **ends))
        model.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return str(folder)


def noise(completions: list[str], **columns: Any) -> list[float]:
    """A reward that differs within a group, so that every row has a gradient."""
    return [float(len(completion) % 3) for completion in completions]


class Benchmark:
    """
    The parts; each returns what stands under its name in the result.

    Args:
        model (`str`): Folder or id of the base.
        size (`dict`): Rows, rollouts of a prompt, tokens and rank.
        device (`str`): `"cuda"` or `"cpu"`.
    """

    def __init__(self, model: str, size: dict[str, int], device: str):
        self.model, self.size, self.device = model, size, device

    # ---- Trainers ---------------------------------------------------------------------------------------------------

    def _settings(self, steps: int) -> dict[str, Any]:
        size, gpu = self.size, self.device == "cuda"
        return {
            "output_dir": tempfile.mkdtemp(),
            "per_device_train_batch_size": size["rows"],
            "num_generations": size["generations"],
            "max_completion_length": size["tokens"],
            "max_steps": steps,
            "learning_rate": 1e-6,
            "loss_type": "grpo",
            "use_cpu": not gpu,
            "bf16": gpu,
            "model_init_kwargs": {"dtype": "bfloat16" if gpu else "float32"},
            "gradient_checkpointing": False,
            "report_to": "none",
            "save_strategy": "no",
            "logging_steps": 100,
            "disable_tqdm": True,
            "log_level": "error",
        }

    def _data(self, number: int) -> Dataset:
        rows = [f"{number}:{i}: " + " ".join(str((7 * i + j * number) % 97) for j in range(33)) for i in range(64)]
        return Dataset.from_dict({"prompt": rows})

    def _lora(self, **options: Any) -> LoraConfig:
        rank = self.size["rank"]
        return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM", **options)

    def _copd(self, count: int, steps: int, fresh: bool = True, **options: Any) -> CoPDTrainer:
        experts = [Expert(f"e{number}", self._data(number), noise) for number in range(count)]
        cycle = {"rlvr_steps": 1, "opd_steps": int(count > 1), "topology": "mutual", "overlap_every": 2}
        options = {"generation_kwargs": {"min_new_tokens": self.size["tokens"]}} | cycle | options
        args = CoPDConfig(**self._settings(steps), matrix_at_end=False, live_view=False, **options)
        return CoPDTrainer(self.model, experts, args, peft_config=self._lora(init_lora_weights=fresh))

    # ---- Parts ------------------------------------------------------------------------------------------------------

    def grpo(self) -> dict[str, float]:
        """A step of TRL's trainer."""
        kwargs = {"min_new_tokens": self.size["tokens"]}
        args = GRPOConfig(**self._settings(3), generation_kwargs=kwargs)
        trainer = GRPOTrainer(self.model, noise, args, self._data(0), peft_config=self._lora())
        self._forget_peak()
        clock = timed(trainer, device_time)
        return {"seconds": round(median(clock.seconds[1:]), 3), "memory_gib": self._peak()}  # the first warms up

    def rounds(self, count: int) -> dict[str, Any]:
        """Rounds of so many experts, with and without shared prompts."""
        result: dict[str, Any] = {}
        for name, share in (("plain", False), ("shared", True)):
            trainer = self._copd(count, 4, share_prompts=share)
            self._forget_peak()
            clock = timed(trainer, device_time)
            rlvr, opd = clock.seconds[2] - clock.parts[2]["measuring"], clock.seconds[3]  # the first cycle warms up
            result[name] = {"rlvr": round(rlvr, 3), "memory_gib": self._peak(), "measuring": None}
            result[name]["measuring"] = round(clock.parts[2]["measuring"], 3)
            if count > 1:
                result[name] |= {"opd": round(opd, 3)}
            result[name]["parts"] = {part: round(clock.parts[3][part], 3) for part in PARTS if part != "measuring"}
            del trainer, clock
        return result

    def generation(self, counts: Sequence[int]) -> dict[str, dict[str, float]]:
        """The rows of K adapters, sampled one adapter after the other and in one `generate`."""
        trainer, result = self._copd(max(counts), 1, fresh=False), {}
        trainer.model.train()
        for count in counts:
            ids, names = self._rows(trainer, count)
            ways = {"apart": lambda i=ids, n=names: self._apart(trainer, i, n),
                    "grouped": lambda i=ids, n=names: trainer.engine.generate(i, n)[0]}  # fmt: skip
            result[str(count)] = {name: self._speed(way) for name, way in ways.items()}
            greedy = [trainer.engine.generate(ids, names, greedy=True)[0]]
            trainer.forwards.stackable[frozenset(names)] = count == 1
            greedy.append(trainer.engine.generate(ids, names, greedy=True)[0])
            result[str(count)]["agree"] = agreement(*greedy)
        return result

    def vllm(self, counts: Sequence[int]) -> dict[str, Any]:
        """The same rows by vLLM."""
        kwargs = {"generation_kwargs": {"min_tokens": self.size["tokens"]}}
        start = device_time()
        trainer = self._copd(max(counts), 1, fresh=False, use_vllm=True, vllm_mode="colocate",
                             vllm_gpu_memory_utilization=0.5, vllm_max_model_length=1024, **kwargs)  # fmt: skip
        result: dict[str, Any] = {"start": round(device_time() - start, 1)}
        trainer.engine.sync(list(trainer.branches))
        for count in counts:
            ids, names = self._rows(trainer, count)
            result[str(count)] = self._speed(lambda i=ids, n=names: trainer.engine.generate(i, n)[0])
        return result

    # ---- Helpers ----------------------------------------------------------------------------------------------------

    def _rows(self, trainer: CoPDTrainer, count: int) -> tuple[list[list[int]], list[str]]:
        rows, times = self.size["rows"], self.size["generations"]
        experts = list(trainer.experts.values())[:count]
        prompts = [row["prompt"] for expert in experts for row in expert.train_dataset.take(rows // times).to_list()]
        ids = trainer._tokenize_prompts([prompt for prompt in prompts for _ in range(times)])[0]
        return [list(row) for row in ids], [expert.name for expert in experts for _ in range(rows)]

    def _apart(self, trainer: CoPDTrainer, ids: list[list[int]], names: list[str]) -> list[list[int]]:
        completions, rows = [], self.size["rows"]
        for start in range(0, len(ids), rows):
            trainer.peft_model.set_adapter(names[start])
            completions += GRPOTrainer._generate_single_turn(
                trainer, ids[start : start + rows], None, {}, self.size["generations"]
            )[0]
        return completions

    def _speed(self, sample: Any) -> float:
        """Tokens per second of the second call."""
        sample()
        start = device_time()
        tokens = sum(map(len, sample()))
        return round(tokens / (device_time() - start), 1)

    def _forget_peak(self) -> None:
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def _peak(self) -> float:
        if self.device == "cuda":
            return round(torch.cuda.max_memory_allocated() / 2**30, 3)
        status = Path("/proc/self/status").read_text()
        return round(int(status.split("VmHWM:")[1].split()[0]) / 2**20, 3)


def agreement(first: list[list[int]], second: list[list[int]]) -> float:
    """Share of tokens before the first that differs, averaged over rows."""
    shares = []
    for one, other in zip(first, second, strict=True):
        same = [a == b for a, b in zip(one, other, strict=False)]
        shares.append((same.index(False) if False in same else len(same)) / max(len(one), len(other)))
    return round(sum(shares) / len(shares), 4)


def ratios(result: dict[str, Any]) -> None:
    """Put the mean round of the default cycle / K steps of `GRPOTrainer` beside the rounds."""
    step, cycle = result.get("grpo", {}).get("seconds"), CoPDConfig(output_dir="unused", use_cpu=True, bf16=False)
    for count, ways in result.get("rounds", {}).items():
        for way in ways.values() if step and "error" not in ways else ():
            weights = {"rlvr": cycle.rlvr_steps, "opd": cycle.opd_steps if "opd" in way else 0}
            mean = sum(way[phase] * weight for phase, weight in weights.items() if weight) / sum(weights.values())
            way["ratio"] = round((mean + way["measuring"] / cycle.overlap_every) / (int(count) * step), 3)


def run_part(benchmark: Benchmark, part: str, counts: Sequence[int]) -> Any:
    """One part, in this process."""
    name, _, count = part.partition(":")
    if name in ("generation", "vllm"):
        return getattr(benchmark, name)(counts)
    return benchmark.rounds(int(count)) if count else benchmark.grpo()


def spawn(part: str, seconds: float, arguments: Sequence[str]) -> Any:
    """One part, in a process of its own that has so many seconds."""
    command = [sys.executable, __file__, "--part", part, *arguments]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than the {seconds:.0f} s that were left"}
    if run.returncode:
        return {"error": "\n".join(run.stderr.strip().splitlines()[-15:])}
    return json.loads(run.stdout.splitlines()[-1])


def machine(device: str) -> dict[str, Any]:
    """Where it ran."""
    import accelerate
    import peft
    import transformers
    import trl

    packages = {module.__name__: module.__version__ for module in (torch, transformers, trl, peft, accelerate)}
    known = {"device": platform.machine(), "packages": packages | {"python": platform.python_version()}}
    if device == "cuda":
        total = torch.cuda.get_device_properties(0).total_memory
        known |= {"device": torch.cuda.get_device_name(0), "cuda": torch.version.cuda, "gib": round(total / 2**30, 1)}
    return known


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder or id of the base (default: random weights of Qwen3-0.6B's shape)")
    parser.add_argument("--dry-run", action="store_true", help="a tiny model on a CPU, in one process")
    parser.add_argument("--minutes", type=float, default=10, help="parts that no longer fit are left out")
    parser.add_argument("--experts", default=",".join(map(str, COUNTS)), help="numbers of experts, such as 1,4")
    for name, value in FULL.items():
        parser.add_argument(f"--{name}", type=int, help=f"default: {value}")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    counts = [int(count) for count in options.experts.split(",")]
    size = {name: getattr(options, name) or value for name, value in (DRY if options.dry_run else FULL).items()}
    device = "cuda" if torch.cuda.is_available() and not options.dry_run else "cpu"
    if device == "cpu" and not options.dry_run:
        parser.error("no CUDA device; `--dry-run` shows on a CPU that it runs")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if options.dry_run else ROOT / "runs" / "bases" / "qwen3-0.6b-random"
        model = options.model or random_base(TINY if options.dry_run else QWEN3_06B, folder)
        benchmark = Benchmark(model, size, device)
        if options.part:
            print(json.dumps(run_part(benchmark, options.part, counts)))
            return {}
        result: dict[str, Any] = {**machine(device), "model": options.model or "random", **size, "left_out": []}
        end = time.monotonic() + 60 * options.minutes
        parts = ["grpo", *[f"rounds:{count}" for count in counts], "generation", *["vllm"] * HAS_VLLM]
        given = ["--model", model, "--experts", options.experts, *[f"--{k}={v}" for k, v in size.items()]]
        for part in parts:
            left = end - time.monotonic()
            if left < 0:
                result["left_out"].append(part)
                continue
            found = run_part(benchmark, part, counts) if options.dry_run else spawn(part, left, given)
            name, _, count = part.partition(":")
            result[name] = {**result.get(name, {}), count: found} if count else found
            print(f"{part}: {json.dumps(found)}", flush=True)
    ratios(result)
    print(json.dumps(result))
    return result


if __name__ == "__main__":
    main()
