"""
What 16 bits add to the comparison of close policies, on SmolLM2-135M: log-ratio, symmetric KL, overlap.

    python benchmarks/bf16_noise.py [--rows 8] [--tokens 32]

A learner and two teachers at growing distance from it, LoRA adapters of rank 16, are compared on the learner's own
rollouts: in float32, which counts as the truth, and in bfloat16 in four ways.

    before      as until version 0.2: all in bf16, teachers grouped and the learner alone
    same path   the learner goes through the operations of its teachers
    default     and the head's product and what layers add up are in float32
    float32     and all of the forward is: score_in_fp32=True

Printed: the standard deviation of the log-ratio's error, the share of tokens whose sign is right, and what symmetric
KL and top-10 overlap become, whose head is in float32 in all ways. With equal weights, in the first lines, what is not
zero is noise.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["ACCELERATE_USE_CPU"] = "true"

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from peft import LoraConfig  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402
from trl.trainer.utils import pad  # noqa: E402

from trl_copd import CoPDConfig, CoPDTrainer, Expert  # noqa: E402
from trl_copd.recipes.smollm2 import _load_gguf  # noqa: E402
from trl_copd.topology import Edge  # noqa: E402


DISTANCES = (0.0, 1.2e-3, 4e-3)  # standard deviation of the difference of the teachers' lora_B
EDGE = Edge(teacher="teacher", learner="learner", domain="teacher")


def build(base: str, folder: str, dtype: torch.dtype, **settings: Any) -> CoPDTrainer:
    tokenizer = AutoTokenizer.from_pretrained(base, padding_side="left")
    questions = [f"What is {i} + {i + 3}? Explain in a short sentence." for i in range(40)]
    rows = Dataset.from_list([{"prompt": [{"role": "user", "content": question}]} for question in questions])
    args = CoPDConfig(
        folder, use_cpu=True, bf16=dtype == torch.bfloat16, per_device_train_batch_size=8, num_generations=4,
        max_steps=1, topology="mutual", gradient_checkpointing=False, report_to="none", disable_tqdm=True,
        overlap_every=0, seed=1, **settings,
    )  # fmt: skip
    names = ("learner", "teacher", "other")
    return CoPDTrainer(
        AutoModelForCausalLM.from_pretrained(base, dtype=dtype),
        [Expert(name, rows, lambda completions, **columns: [0.0] * len(completions)) for name in names],
        args,
        processing_class=tokenizer,
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
    )


@torch.no_grad()
def place(trainer: CoPDTrainer, distance: float) -> None:
    """Give the learner random adapters, and the others the same but for `distance`."""
    shared, own = torch.Generator().manual_seed(5), torch.Generator().manual_seed(6)
    parameters = [trainer.branches[name].parameters for name in ("learner", "teacher", "other")]
    names = [name for name, _ in trainer.model.named_parameters() if ".learner." in name]
    for name, learner, *others in zip(names, *parameters, strict=True):
        if "lora_B" in name:
            learner.copy_(4e-3 * torch.randn(learner.shape, generator=shared))
        for other in others:
            away = distance * torch.randn(learner.shape, generator=own) if "lora_B" in name else 0.0
            other.copy_(learner + away)


def sample(trainer: CoPDTrainer, count: int) -> tuple[list, dict[str, torch.Tensor]]:
    """Rollouts of the learner, as prompt and completion ids, and as TRL's batch."""
    prompts = trainer.overlap.tokenize([row["prompt"] for row in trainer.experts["learner"].train_dataset])[:count]
    torch.manual_seed(0)
    completions, _ = trainer.engine.generate(prompts, ["learner"] * count)
    batch, padding = {}, trainer.overlap.pad_token_id
    for key, ids, side in (("prompt", prompts, "left"), ("completion", completions, "right")):
        tensors = [torch.tensor(row) for row in ids]
        batch[f"{key}_ids"] = pad(tensors, padding_value=padding, padding_side=side)
        batch[f"{key}_mask"] = pad([torch.ones_like(row) for row in tensors], padding_value=0, padding_side=side)
    return list(zip(map(list, prompts), completions, strict=True)), batch


@torch.no_grad()
def measure(trainer: CoPDTrainer, rollouts: list, batch: dict, same_path: bool) -> tuple[torch.Tensor, float, float]:
    """The log-ratio of all tokens, symmetric KL and overlap."""
    count = len(rollouts)
    teachers = (["teacher"] * 4 + ["other"] * 4) * (count // 8)
    learner = trainer.teaching.score(batch, ["learner"] * count, like=teachers if same_path else None)
    delta = (trainer.teaching.score(batch, teachers) - learner)[batch["completion_mask"].bool()]
    overlap, divergence, tokens = trainer.overlap.compare(EDGE, rollouts).tolist()
    return delta, divergence / tokens, overlap / tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8, help="rollouts, a multiple of 8")
    parser.add_argument("--tokens", type=int, default=32, help="longest completion")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = f"{folder}/base"
        for part in _load_gguf():
            part.save_pretrained(base)
        settings = {"max_completion_length": options.tokens}
        exact = build(base, folder, torch.float32, **settings)
        half = build(base, folder, torch.bfloat16, **settings)
        default = half.forwards.precision
        whole = build(base, folder, torch.bfloat16, score_in_fp32=True, **settings)
        ways = {
            "before": (half, None, False),
            "same path": (half, None, True),
            "default": (half, default, True),
            "float32": (whole, whole.forwards.precision, True),
        }
        place(exact, 0.0)
        rollouts, batch = sample(exact, options.rows)
        print(f"{options.rows} rollouts, {int(batch['completion_mask'].sum())} tokens\n")
        print("| std of the true log-ratio | scored | std of the error | sign right | symmetric KL | overlap |")
        print("|---|---|---|---|---|---|")
        for distance in DISTANCES:
            place(exact, distance)
            truth, divergence, overlap = measure(exact, rollouts, batch, True)
            print(f"| {truth.std():.4f} | the truth | | | {divergence:.1e} | {overlap:.3f} |")
            for name, (trainer, precision, same_path) in ways.items():
                trainer.forwards.precision = precision
                place(trainer, distance)
                delta, divergence, overlap = measure(trainer, rollouts, batch, same_path)
                right = "" if distance == 0 else f"{(delta.sign() == truth.sign()).float().mean():.2f}"
                error = (delta - truth).std()
                print(f"| | {name} | {error:.4f} | {right} | {divergence:.1e} | {overlap:.3f} |", flush=True)


if __name__ == "__main__":
    main()
