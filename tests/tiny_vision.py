"""A vision-language model, its processor and pictures small enough for tests on a CPU without a network."""

from __future__ import annotations

import torch
from datasets import Dataset
from PIL import Image
from tiny import CHARACTERS, letter_reward, lora, settings
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from trl_copd import CoPDConfig, CoPDTrainer, Expert


MARKS = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
TEMPLATE = (
    "{% for m in messages %}{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for part in m['content'] %}{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}={% endif %}"
)


class ImageProcessor(Qwen2_5_VLProcessor):
    """Qwen's processor without its part for videos, which needs torchvision."""

    video_processor = None

    @classmethod
    def get_attributes(cls):
        return ["image_processor", "tokenizer"]


def vision_tokenizer() -> PreTrainedTokenizerFast:
    """A token a character, and Qwen's marks around pictures."""
    names = ["<pad>", "<bos>", "<eos>", "<unk>", *CHARACTERS, *MARKS]
    core = Tokenizer(models.WordLevel({token: index for index, token in enumerate(names)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>",
        additional_special_tokens=MARKS, padding_side="left", chat_template=TEMPLATE,
    )  # fmt: skip
    tokenizer.image_token, tokenizer.video_token = "<|image_pad|>", "<|video_pad|>"
    return tokenizer


def vision_processor() -> ImageProcessor:
    """Qwen's own processor over a tokenizer of characters; the PIL backend needs no torchvision."""
    pictures = Qwen2VLImageProcessorPil(
        patch_size=4, merge_size=2, size={"shortest_edge": 64, "longest_edge": 32 * 32}, min_pixels=64, max_pixels=1024
    )
    return ImageProcessor(pictures, vision_tokenizer(), video_processor=None, chat_template=TEMPLATE)


def vision_model(seed: int = 0) -> Qwen2_5_VLForConditionalGeneration:
    torch.manual_seed(seed)
    first = 4 + len(CHARACTERS)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": first + len(MARKS), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
            "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.3,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
        },
        vision_config={
            "depth": 2, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "patch_size": 4,
            "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 32, "window_size": 16,
            "fullatt_block_indexes": [1], "initializer_range": 0.3,
        },
        vision_start_token_id=first, vision_end_token_id=first + 1, image_token_id=first + 2,
        video_token_id=first + 3, tie_word_embeddings=False,
    )  # fmt: skip
    return Qwen2_5_VLForConditionalGeneration(config).float().eval()


def picture(index: int, width: int = 16, height: int = 16) -> Image.Image:
    """A picture of one colour with a stripe; no two of the first 64 are alike."""
    image = Image.new("RGB", (width, height), (index * 37 % 256, index * 91 % 256, index * 53 % 256))
    for x in range(width):
        image.putpixel((x, index % height), (255 - index, index, 128))
    return image


def colour_reward(completions, solution, **kwargs):
    """As `letter_reward`, on messages."""
    return letter_reward([messages[0]["content"] for messages in completions], solution)


def seen_rows(count: int = 12, column: str = "image", offset: int = 0) -> Dataset:
    """Prompts with a picture each, of two sizes, so that rows differ in their number of patches."""
    rows = []
    for index in range(offset, offset + count):
        image = picture(index, 16, 16 if index % 2 else 24)
        cell = {"image": image} if column == "image" else {"images": [image] * (1 + index % 2)}
        rows.append({"prompt": [{"role": "user", "content": "a+b"}], "solution": "abcdefgh"[index % 8]} | cell)
    return Dataset.from_list(rows)


def read_rows(count: int = 12) -> Dataset:
    """Prompts of text alone, as messages."""
    texts = [f"{index}+{index}" for index in range(count)]
    return Dataset.from_list(
        [{"prompt": [{"role": "user", "content": t}], "solution": "abcdefgh"[i % 8]} for i, t in enumerate(texts)]
    )


def mixed_rows(count: int = 12) -> Dataset:
    """A column of pictures that every other row leaves empty."""
    rows = [
        {
            "prompt": [{"role": "user", "content": f"{index}"}],
            "image": picture(index) if index % 2 else None,
            "solution": "abcdefgh"[index % 8],
        }
        for index in range(count)
    ]
    return Dataset.from_list(rows)


def build_seeing(output_dir, experts, peft_config=None, **overrides):
    """A CoPDTrainer on the tiny vision-language model."""
    args = CoPDConfig(**settings(output_dir, **{"opd_fraction": 0.5} | overrides))
    return CoPDTrainer(
        vision_model(), experts, args, processing_class=vision_processor(), peft_config=peft_config or lora()
    )


def two_experts(size: int = 20, **overrides) -> list[Expert]:
    """An expert with pictures and one without."""
    return [
        Expert("eye", seen_rows(size), colour_reward, **overrides),
        Expert("text", read_rows(size), colour_reward, **overrides),
    ]


def different_adapters(trainer) -> None:
    """Give every adapter weights of its own, so that rows under the wrong one would show."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in trainer.model.named_parameters():
        if "lora_B" in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
