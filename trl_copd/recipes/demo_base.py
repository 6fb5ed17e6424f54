"""
The demonstration's base, built on the spot: a character-level Llama of 0.3M parameters that half knows some skills.

Half, because reinforcement learning needs both answers it can reward and answers it can improve. How long a skill
takes to appear depends on the seed, so the warm start is steered, not timed: a skill is trained only while sampling
would solve it too rarely, measured on each batch before its update.
"""

import argparse
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from .domains import DEMO, make_split


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
    _warm_start(model, tokenizer, seed, skills or dict.fromkeys(DEMO, ACCURACY), steps, batch_size, learning_rate)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def _warm_start(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    seed: int,
    skills: Mapping[str, float],
    steps: int,
    batch_size: int,
    learning_rate: float,
) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    rng = random.Random(seed)
    streams = {name: _rows(name, seed) for name in skills}
    accuracy = dict.fromkeys(skills, 0.0)
    model.train()
    for step in range(steps):
        behind = {name for name, target in skills.items() if accuracy[name] < target}
        if not behind:
            break
        # slower as the last skill comes near: at the peak rate accuracies swing from step to step
        distance = 1.0 - min(accuracy[name] / target for name, target in skills.items())
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1.0, (step + 1) / 30) * max(distance, 0.1)
        names = rng.choices(list(skills), k=batch_size)
        losses, chances = _grade(model, tokenizer, [next(streams[name]) for name in names])
        # a skill at its target is measured, not trained
        torch.stack([loss for name, loss in zip(names, losses, strict=True) if name in behind]).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        for name, chance in zip(names, chances.tolist(), strict=True):
            accuracy[name] += 0.02 * (chance - accuracy[name])
    model.eval()


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
    keep = max(map(len, answers))
    # padded on the left and on the right, so that the answers of all rows start in one column
    prompts = tokenizer(text=[prompt for prompt, _ in rows], padding=True, return_tensors="pt")
    pad = torch.full((len(rows), keep), tokenizer.pad_token_id)
    labels = torch.full((len(rows), keep), -100)  # (B, keep)
    for row, answer in enumerate(answers):
        pad[row, : len(answer)] = labels[row, : len(answer)] = torch.tensor(answer)
    logits = model(
        input_ids=torch.cat([prompts["input_ids"], pad], 1),
        attention_mask=torch.cat([prompts["attention_mask"], (labels >= 0).long()], 1),
        logits_to_keep=keep + 1,
    ).logits[:, :-1]  # (B, keep, V)
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")  # 0 where ignored
    losses = losses.sum(1)
    return losses / (labels >= 0).sum(1), torch.exp(-losses.detach())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the demonstration's base model.")
    parser.add_argument("directory")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    build_base(options.directory, options.seed)
