"""
Rollouts of K branches by every engine: `make bench-rollouts`, or `python benchmarks/rollouts.py [--device cuda]`.

The last line is one JSON object. On one base (SmolLM2-135M as it comes, or `--model`), the same rows for all, four
rollouts of each prompt, all of one length, side by side in one run, medians of repeats:

- `tokens_per_second[K]`: `apart`: TRL's `generate`, one branch after the other; `mixed`: PEFT's own mixed batch
  (`adapter_names`); `grouped`: one `generate` with stacked factors; `vllm`: vLLM with a LoRA request per row (`null`
  where vLLM is not installed); on a GPU also `continuous`: transformers' continuous batching, one branch after the
  other.
- `bytes_per_sync[K]`: what travels to vLLM after a round: K adapters, or K times the merged base as in TRL; and
  `share`, the one divided by the other. `sync_seconds`: of the four adapters.
"""

import argparse
import importlib.util
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from statistics import median


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")

import torch  # noqa: E402
from peft import LoraConfig  # noqa: E402
from trl import GRPOTrainer  # noqa: E402

from trl_copd import CoPDConfig, CoPDTrainer  # noqa: E402
from trl_copd.engines import TransformersEngine  # noqa: E402
from trl_copd.recipes.build import build_experts  # noqa: E402
from trl_copd.recipes.smollm2 import build_smollm2  # noqa: E402
from trl_copd.trainers.host import Host  # noqa: E402


BRANCHES = (1, 2, 4)
GENERATIONS = 4  # rollouts of a prompt
HAS_VLLM = importlib.util.find_spec("vllm") is not None


def build(model: str, rows: int, tokens: int, device: str) -> CoPDTrainer:
    domains = [
        {"name": f"e{i}", "builtin": "gym/chain_sum", "options": {"min_terms": 2 + i}, "n_train": 200, "n_eval": 1,
         "rewards": ["exact_match_reward"]}
        for i in range(max(BRANCHES))
    ]  # fmt: skip
    experts = build_experts(domains, seed=0)
    for expert in experts:
        expert.eval_dataset = None
    args = CoPDConfig(
        output_dir=tempfile.mkdtemp(),
        topology="mutual",
        per_device_train_batch_size=rows,
        num_generations=GENERATIONS,
        max_completion_length=tokens,
        use_vllm=HAS_VLLM,
        vllm_max_model_length=256 + tokens,
        generation_kwargs={"min_tokens": tokens} if HAS_VLLM else None,
        use_cpu=device == "cpu",
        bf16=False,
        model_init_kwargs={"dtype": "float32" if device == "cpu" else "bfloat16"},
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        log_level="error",
    )
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    return CoPDTrainer(model, experts, args, peft_config=lora)


class Ways:
    """The same rows by every engine; each method returns the number of tokens it sampled."""

    def __init__(self, trainer: CoPDTrainer, branches: int, rows: int, tokens: int):
        self.trainer, self.rows = trainer, rows
        self.branches = list(trainer.experts)[:branches]
        self.names = [name for name in self.branches for _ in range(rows)]
        prompts = [
            row["prompt"]
            for name in self.branches
            for row in trainer.experts[name].train_dataset.take(rows // GENERATIONS).to_list()
            for _ in range(GENERATIONS)
        ]
        self.ids = [list(ids) for ids in trainer._tokenize_prompts(prompts)[0]]
        self.ours = TransformersEngine(trainer.forwards, Host(trainer).generate_rows)
        for settings in (trainer.generation_kwargs, vars(trainer.generation_config)):
            settings["min_new_tokens"] = tokens  # the same work whatever a random adapter says

    def _by_trl(self, continuous: bool) -> int:
        trainer, sampled = self.trainer, 0
        trainer.use_vllm, trainer.use_transformers_continuous_batching = False, continuous
        for index, name in enumerate(self.branches):
            trainer.peft_model.set_adapter(name)
            part = self.ids[index * self.rows :][: self.rows]
            completions, _ = GRPOTrainer._generate_single_turn(trainer, part, None, {}, GENERATIONS)
            sampled += sum(map(len, completions))
        trainer.use_transformers_continuous_batching = False
        return sampled

    def apart(self) -> int:
        return self._by_trl(continuous=False)

    def continuous(self) -> int:
        return self._by_trl(continuous=True)

    def mixed(self) -> int:
        trainer = self.trainer
        batch = trainer._tokenizer.pad({"input_ids": self.ids}, return_tensors="pt").to(trainer.accelerator.device)
        trainer.peft_model.eval()  # PEFT refuses mixed batches in training mode
        with torch.no_grad():
            output = trainer.peft_model.generate(
                **batch, generation_config=trainer.generation_config, adapter_names=self.names
            )
        trainer.peft_model.train()
        return output.size(0) * (output.size(1) - batch["input_ids"].size(1))

    def grouped(self) -> int:
        self.trainer.use_vllm = False
        return sum(map(len, self.ours.generate(self.ids, self.names)[0]))

    def vllm(self) -> int:
        return sum(map(len, self.trainer.engine.generate(self.ids, self.names)[0]))


def measure(ways: Ways, tokens: int, repeats: int) -> dict[str, float | None]:
    names = ["apart", "mixed", "grouped", *(["vllm"] if HAS_VLLM else [])]
    if ways.trainer.accelerator.device.type == "cuda":
        names.append("continuous")
    speeds: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(repeats + 1):  # the first one warms up; taking turns, noise meets all alike
        for name in names:
            start = time.perf_counter()
            sampled = getattr(ways, name)()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            assert sampled == len(ways.ids) * tokens, f"{name} sampled {sampled} tokens, not {len(ways.ids) * tokens}"
            print(f"{len(ways.branches)} {name}: {time.perf_counter() - start:.1f} s", flush=True)
            if repeat:
                speeds[name].append(sampled / (time.perf_counter() - start))
    return {name: round(median(values), 1) for name, values in speeds.items()} | ({} if HAS_VLLM else {"vllm": None})


def syncs(trainer: CoPDTrainer) -> dict:
    """Bytes of a sync after a round in which every branch has moved, and seconds of one of all branches."""
    base = sum(p.nbytes for name, p in trainer.peft_model.named_parameters() if "lora_" not in name)
    sizes, seconds = {}, None
    for count in BRANCHES:
        names = list(trainer.experts)[:count]
        with torch.no_grad():
            for name in names:
                trainer.branches[name].parameters[0].mul_(1.001)
        adapters = sum(p.nbytes for name in names for p in trainer.branches[name].parameters)
        if HAS_VLLM:
            sent, start = trainer.engine.bytes_sent, time.perf_counter()
            trainer.engine.sync(names)
            seconds, adapters = time.perf_counter() - start, trainer.engine.bytes_sent - sent
        sizes[str(count)] = {"adapters": adapters, "merged": count * base, "share": round(adapters / count / base, 4)}
    return {"bytes_per_sync": sizes, "sync_seconds": seconds and round(seconds, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--model", help="a base other than SmolLM2-135M: an id or a folder")
    parser.add_argument("--rows", type=int, default=8, help="rows per branch")
    parser.add_argument("--tokens", type=int, default=32, help="tokens per completion")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    model = options.model or build_smollm2(ROOT / "runs" / "bases" / "smollm2-raw", [], steps=0)
    trainer = build(model, options.rows, options.tokens, options.device)
    result = {
        "device": torch.cuda.get_device_name() if options.device == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "rows": options.rows,
        "tokens": options.tokens,
        "tokens_per_second": {
            str(count): measure(Ways(trainer, count, options.rows, options.tokens), options.tokens, options.repeats)
            for count in BRANCHES
        },
        **syncs(trainer),
        "load": round(os.getloadavg()[1], 1),
    }
    print(json.dumps(result, indent=2))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
