"""
The base of the demonstration that sees: a Qwen2.5-VL of half a million parameters, built on the spot, that half knows
how to count in pictures and in descriptions.

Model and processor are transformers' own classes from small configurations; the processor works with PIL, without
torchvision. How far it is warmed up: see `warm_up.py`.
"""

import argparse
import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from .demo_base import ACCURACY, SPECIAL_TOKENS
from .scenes import CELL, CELLS, COLOURS, NAMES, QUESTION, SCENES, SHAPES, draw_row
from .warm_up import grade_answers, warm_up


PATCH, MERGE = 4, 2  # pixels of a patch, patches of an image token: one token a cell
MARKS = {"vision_start": "<|vision_start|>", "vision_end": "<|vision_end|>", "image": "<|image_pad|>",
         "video": "<|video_pad|>"}  # fmt: skip
TEMPLATE = (
    "{% for message in messages %}{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %} answer:{% endif %}"
)


class PictureProcessor(Qwen2_5_VLProcessor):
    """Qwen's processor without its part for videos, which needs torchvision."""

    video_processor = None

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]


def build_processor() -> PictureProcessor:
    """A token a word; a picture of 24 by 24 pixels takes 9 tokens and two marks."""
    words = " ".join([*COLOURS, *SHAPES, QUESTION, *NAMES, "answer:"])
    pieces = [piece for piece, _ in pre_tokenizers.Whitespace().pre_tokenize_str(words)]
    names = dict.fromkeys([*SPECIAL_TOKENS.values(), *MARKS.values(), *"0123456789", *pieces])
    core = Tokenizer(WordLevel({name: index for index, name in enumerate(names)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, additional_special_tokens=list(MARKS.values()), padding_side="left",
        clean_up_tokenization_spaces=False, extra_special_tokens={"image_token": MARKS["image"],
        "video_token": MARKS["video"]}, **SPECIAL_TOKENS,
    )  # fmt: skip
    size = {"shortest_edge": (PATCH * MERGE) ** 2, "longest_edge": (CELLS * CELL) ** 2}
    pictures = Qwen2VLImageProcessorPil(patch_size=PATCH, merge_size=MERGE, size=size)
    return PictureProcessor(pictures, tokenizer, video_processor=None, chat_template=TEMPLATE)


def build_model(processor: PictureProcessor, seed: int) -> Qwen2_5_VLForConditionalGeneration:
    """A Qwen2.5-VL with random float32 weights."""
    tokenizer, width = processor.tokenizer, 128
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(mark) for name, mark in MARKS.items()}
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 256,
            "initializer_range": 0.06, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "rope_parameters": {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 1000.0},
        },
        vision_config={
            "depth": 1, "hidden_size": 64, "intermediate_size": 128, "num_heads": 4, "patch_size": PATCH,
            "spatial_merge_size": MERGE, "temporal_patch_size": 2, "out_hidden_size": width, "window_size": 64,
            "fullatt_block_indexes": [0], "initializer_range": 0.1,
        },
        tie_word_embeddings=False, **ids,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):  # the caller's random stream stays as it was
        torch.manual_seed(seed)
        return Qwen2_5_VLForConditionalGeneration(config).float()


def build_vision_base(
    directory: str | Path,
    seed: int,
    steps: int = 600,
    *,
    skills: Mapping[str, float] | None = None,
    batch_size: int = 96,
    learning_rate: float = 2e-3,
) -> None:
    """
    Build processor and model, half teach the skills, and save both.

    Args:
        directory (`str` or `Path`): Where model and processor are saved (2 MB).
        seed (`int`): Seed of the weights and of the rows.
        steps (`int`): Optimizer steps at most, >= 0; fewer when every skill has reached the target.
        skills (`Mapping[str, float]`, *optional*): Domains of scenes, and the accuracy of sampling in (0, 1] at which
            each is held. By default both, at `ACCURACY`.
        batch_size (`int`): Rows per step.
        learning_rate (`float`): Peak learning rate.
    """
    processor = build_processor()
    model = build_model(processor, seed)
    skills, rng = skills or dict.fromkeys(SCENES, ACCURACY), random.Random(f"{seed}/warm_start")
    warm_up(
        model, skills, lambda task: draw_row(task, "warm_start", rng), partial(grade, model, processor), seed, steps,
        batch_size, learning_rate, besides=("name",),
    )  # fmt: skip
    model.save_pretrained(directory)
    processor.save_pretrained(directory)


def grade(model: Any, processor: PictureProcessor, rows: list[dict[str, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of each answer in nats per token, and the probability that sampling gives it; both `(B,)`."""
    tokenizer = processor.tokenizer
    answers = [tokenizer(row["solution"])["input_ids"] + [tokenizer.eos_token_id] for row in rows]
    messages = [
        [{"role": "user", "content": [*[{"type": "image"}] * (row["image"] is not None),
                                      {"type": "text", "text": row["prompt"][0]["content"]}]}] for row in rows
    ]  # fmt: skip
    texts = processor.apply_chat_template(messages, add_generation_prompt=True)
    pictures = [[row["image"]] for row in rows if row["image"] is not None]
    prompts = processor(text=texts, images=pictures or None, padding=True, return_tensors="pt")
    return grade_answers(model, prompts, answers, tokenizer.pad_token_id)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the base of the demonstration that sees.")
    parser.add_argument("directory")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    build_vision_base(options.directory, options.seed)
