"""
The demonstration's base, built on the spot: a character-level Llama of 0.3M parameters that half knows some skills.

Half, because reinforcement learning needs both answers it can reward and answers it can improve; see `warm_up.py`.
"""

import argparse
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from .domains import DEMO, make_split
from .warm_up import grade_answers, warm_up


CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz+-*/=:?<>., "
ACCURACY = 0.18  # of sampling, to which a skill is warmed up unless a recipe says otherwise
SPECIAL_TOKENS = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token a character. A prompt is opened by `<bos>`; `<eos>` is never added, since it ends a completion."""
    vocabulary = {token: index for index, token in enumerate([*SPECIAL_TOKENS.values(), *CHARACTERS])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL_TOKENS["unk_token"]))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.decoder = decoders.Fuse()  # the default puts a space between two tokens
    bos = SPECIAL_TOKENS["bos_token"]
    core.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, vocabulary[bos])])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, padding_side="left", clean_up_tokenization_spaces=False, **SPECIAL_TOKENS
    )


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A Llama with random float32 weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
        initializer_range=0.06,  # about 1/sqrt(hidden_size): a model this small learns faster from larger weights
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):  # the caller's random stream stays as it was
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).float()


def build_base(
    directory: str | Path,
    seed: int,
    steps: int = 400,
    *,
    skills: Mapping[str, float] | None = None,
    batch_size: int = 96,
    learning_rate: float = 2e-3,
) -> None:
    """
    Build tokenizer and model, half teach the skills, and save both where TRL can load them.

    Args:
        directory (`str` or `Path`): Where model and tokenizer are saved (1.4 MB).
        seed (`int`): Seed of the weights and of the rows.
        steps (`int`): Optimizer steps at most, >= 0; fewer when every skill has reached the target.
        skills (`Mapping[str, float]`, *optional*): Keys of `DOMAINS`, and the accuracy of sampling in (0, 1] at which
            each is held; greedy accuracy is about twice it. By default the demonstration's three, at `ACCURACY`.
        batch_size (`int`): Rows per step.
        learning_rate (`float`): Peak learning rate.
    """
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, seed)
    skills = skills or dict.fromkeys(DEMO, ACCURACY)
    streams = {name: _rows(name, seed) for name in skills}
    warm_up(
        model, skills, lambda name: next(streams[name]), partial(_grade, model, tokenizer), seed, steps, batch_size,
        learning_rate,
    )  # fmt: skip
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def _rows(name: str, seed: int) -> Iterator[tuple[str, str]]:
    """Rows of the warm-start split for ever; a pass over them has no problem twice."""
    rows = make_split(name, "warm_start", 12_000, seed)
    while True:
        yield from zip(rows["prompt"], rows["solution"], strict=True)


def _grade(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: list[tuple[str, str]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of each answer in nats per token, and the probability that sampling gives it; both `(B,)`."""
    answers = [
        tokenizer(answer, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id] for _, answer in rows
    ]
    prompts = tokenizer(text=[prompt for prompt, _ in rows], padding=True, return_tensors="pt")
    inputs = {name: prompts[name] for name in ("input_ids", "attention_mask")}
    return grade_answers(model, inputs, answers, tokenizer.pad_token_id)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the demonstration's base model.")
    parser.add_argument("directory")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    build_base(options.directory, options.seed)
