"""Other vision-language models than Qwen2.5-VL, as tiny: model and processor by family."""

from __future__ import annotations

import torch
from tiny import CHARACTERS
from tiny_vision import MARKS, TEMPLATE, vision_model, vision_processor, vision_tokenizer
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3Processor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
)
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil


FIRST = 4 + len(CHARACTERS)  # id of the first of `MARKS`
TEXT = {
    "vocab_size": FIRST + len(MARKS), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.3,
}  # fmt: skip


class Qwen3Processor(Qwen3VLProcessor):
    """Qwen's processor without its part for videos, which needs torchvision."""

    video_processor = None

    @classmethod
    def get_attributes(cls):
        return ["image_processor", "tokenizer"]


def qwen3_vl():
    torch.manual_seed(0)
    config = Qwen3VLConfig(
        text_config=TEXT
        | {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0}},
        vision_config={
            "depth": 2, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "patch_size": 4,
            "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 32, "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0], "initializer_range": 0.3,
        },
        vision_start_token_id=FIRST, vision_end_token_id=FIRST + 1, image_token_id=FIRST + 2,
        video_token_id=FIRST + 3, tie_word_embeddings=False,
    )  # fmt: skip
    processor = Qwen3Processor(
        vision_processor().image_processor, vision_tokenizer(), video_processor=None, chat_template=TEMPLATE
    )
    return Qwen3VLForConditionalGeneration(config).float().eval(), processor


def gemma3():
    torch.manual_seed(0)
    config = Gemma3Config(
        text_config=TEXT | {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]},
        vision_config={
            "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "patch_size": 4, "image_size": 16, "vision_use_head": False,
        },
        mm_tokens_per_image=4, boi_token_index=FIRST, eoi_token_index=FIRST + 1, image_token_index=FIRST + 2,
        tie_word_embeddings=False,
    )  # fmt: skip
    tokenizer = vision_tokenizer()
    tokenizer.boi_token, tokenizer.boi_token_id = MARKS[0], FIRST
    tokenizer.eoi_token, tokenizer.eoi_token_id = MARKS[1], FIRST + 1
    tokenizer.image_token, tokenizer.image_token_id = MARKS[2], FIRST + 2
    processor = Gemma3Processor(
        Gemma3ImageProcessorPil(size={"height": 16, "width": 16}), tokenizer, image_seq_length=4,
        chat_template=TEMPLATE.replace("".join(MARKS[i] for i in (0, 2, 1)), MARKS[0]),
    )  # fmt: skip
    return Gemma3ForConditionalGeneration(config).float().eval(), processor


FAMILIES = {"qwen2_5_vl": lambda: (vision_model(), vision_processor()), "qwen3_vl": qwen3_vl, "gemma3": gemma3}
