"""Tiny random models, tokenizers and rows under the names by which TRL's own tests fetch them from the Hub."""

import re
from pathlib import Path

import torch
from datasets import Dataset
from models import family_model
from tiny import tiny_tokenizer
from tiny_vision import ImageProcessor, picture, vision_model, vision_processor
from tiny_vision_families import gemma3
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForSequenceClassification,
    AutoProcessor,
    Gemma3Processor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
)
from transformers.utils import logging
from trl.chat_template_utils import qwen3_chat_template


OWNER = "trl-internal-testing"
MODELS = {
    "tiny-Qwen2ForCausalLM-2.5": "qwen2", "tiny-LlamaForCausalLM-3.2": "llama",
    "tiny-MistralForCausalLM-0.2": "mistral", "tiny-Gemma2ForCausalLM": "gemma2",
    "tiny-Cohere2ForCausalLM": "cohere2", "tiny-GptOssForCausalLM": "gpt_oss", "tiny-Glm4MoeForCausalLM": "glm4_moe",
}  # fmt: skip
# tests put completions in Qwen's token ids into their mouths
CALLING = {"tiny-Qwen3ForCausalLM": "qwen3", "tiny-Qwen3MoeForCausalLM": "qwen3_moe"}
REWARD_MODELS = {
    "tiny-Qwen2ForSequenceClassification-2.5": "qwen2", "tiny-Qwen3ForSequenceClassification": "qwen3",
    "tiny-LlamaForSequenceClassification-3.2": "llama",
}  # fmt: skip
SEEING = {
    "tiny-Qwen2_5_VLForConditionalGeneration": lambda: (vision_model(), vision_processor()),
    "tiny-Gemma3ForConditionalGeneration": gemma3,
}
MADE = {*MODELS, *CALLING, *REWARD_MODELS, *SEEING}
ROWS = {"train": 4, "test": 2}  # three epochs of four prompts: a few seconds a test

# Tokens of Qwen's vocabulary, by id, that the tests' completions hold besides single bytes, whose ids are below 256
QWEN = {
    330: ' "', 314: " {", 293: " b", 397: ">\n", 450: "de", 497: '",', 522: "</", 606: "name",
    788: '":', 944: "'t", 894: " any", 927: "sh", 411: "out", 1318: "text", 1414: " know",
    1513: " don", 2765: " won", 4913: '{"', 5212: ' {"', 5392: " tool", 6023: "hi", 6659: "call", 7692: "async",
    9520: "step", 11248: "}}\n", 13477: "crement", 14172: "tool", 16252: " increment", 16370: "arguments",
    17453: "Done", 22785: "_tool", 35744: "increment", 64648: "multiply", 93054: "_multiply", 95642: '"}}\n',
    151643: "<|endoftext|>", 151644: "<|im_start|>", 151645: "<|im_end|>", 151657: "<tool_call>",
    151658: "</tool_call>", 151665: "<tool_response>", 151666: "</tool_response>", 151667: "<think>",
    151668: "</think>",
}  # fmt: skip
WHOLE = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"]  # also when read
SMALL = {index: 256 + at for at, index in enumerate(QWEN)}  # ids under which the tiny vocabulary holds them
PLAIN = {151643: 0, 151645: 2}  # the ends, for models that call no tools: their vocabulary has 30 tokens


def with_small_ids(source: str) -> str:
    """The source of TRL's tests with the stand-ins' ids in its lists of token ids: those of the model of each test."""

    def of_a_test(test: re.Match) -> str:
        ids = SMALL if any(name in test[0] for name in CALLING) else PLAIN
        return re.sub(r"^ *\[[\d, ]+\],", lambda line: renumbered(line[0], ids), test[0], flags=re.MULTILINE)

    return re.sub(r"^    def test_.*?(?=^    def |^class |\Z)", of_a_test, source, flags=re.MULTILINE | re.DOTALL)


def renumbered(text: str, ids: dict[int, int]) -> str:
    return re.sub(r"\d+", lambda number: str(ids.get(int(number[0]), number[0])), text)


def calling_tokenizer() -> PreTrainedTokenizerFast:
    """Single bytes, as in Qwen's, and `QWEN`, under its chat template. What it reads becomes bytes and `WHOLE`."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letter = {byte: chr(byte) for byte in printable} | {byte: chr(256 + at) for at, byte in enumerate(others)}
    vocabulary = {letter[byte]: index for index, byte in enumerate(printable + others)}
    vocabulary |= {"".join(letter[byte] for byte in text.encode()): SMALL[index] for index, text in QWEN.items()}
    core = Tokenizer(models.BPE(vocabulary, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_tokens(WHOLE)  # no special ones: a parser reads them
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<|endoftext|>", eos_token="<|im_end|>", padding_side="left",
        additional_special_tokens=["<|im_start|>"], chat_template=qwen3_chat_template,
    )  # fmt: skip


def make(folder: Path) -> None:
    """Everything as folders below `OWNER`, where `from_pretrained` and `load_dataset` find it from `folder`."""
    logging.disable_progress_bar()
    place = folder / OWNER
    for name, family in MODELS.items():
        family_model(family).save_pretrained(place / name)
        tiny_tokenizer().save_pretrained(place / name)
    for name, family in CALLING.items():
        long = {"vocab_size": 256 + len(QWEN), "max_position_embeddings": 4096, "bos_token_id": None,
                "eos_token_id": SMALL[151645], "pad_token_id": SMALL[151643]}  # fmt: skip
        family_model(family, **long).save_pretrained(place / name)
        calling_tokenizer().save_pretrained(place / name)
    for name, family in REWARD_MODELS.items():
        config = family_model(family).config
        config.num_labels = 1
        torch.manual_seed(1)
        AutoModelForSequenceClassification.from_config(config).save_pretrained(place / name)
        tiny_tokenizer().save_pretrained(place / name)
    for name, build in SEEING.items():
        for part in build():
            part.save_pretrained(place / name)
    # a processor without videos, and with marks that are set on its tokenizer, is not loaded as it was saved
    AutoProcessor.register(Qwen2_5_VLConfig, ImageProcessor, exist_ok=True)
    ImageProcessor.from_pretrained = classmethod(lambda cls, *args, **kwargs: vision_processor())
    Gemma3Processor.from_pretrained = classmethod(lambda cls, *args, **kwargs: gemma3()[1])
    _make_rows(place / "zen", {"standard_prompt_only": _texts, "conversational_prompt_only": _messages})
    _make_rows(place / "zen-image", {"conversational_prompt_only": _seen})
    _make_rows(place / "zen-multi-image", {"conversational_prompt_only": _seen_twice})


def _make_rows(place: Path, kinds: dict) -> None:
    configs = []
    for kind, rows in kinds.items():
        for split, count in ROWS.items():
            (place / kind).mkdir(parents=True, exist_ok=True)
            Dataset.from_list(rows(split, count)).to_parquet(place / kind / f"{split}.parquet")
        files = "".join(f"  - {{split: {split}, path: {kind}/{split}.parquet}}\n" for split in ROWS)
        configs.append(f"- config_name: {kind}\n  data_files:\n{files}")
    (place / "README.md").write_text("---\nconfigs:\n" + "".join(configs) + "---\n")


def _texts(split: str, count: int) -> list[dict]:
    return [{"prompt": f"{split[0]} {index}+{index}="} for index in range(count)]


def _messages(split: str, count: int) -> list[dict]:
    return [{"prompt": [{"role": "user", "content": row["prompt"]}]} for row in _texts(split, count)]


def _seen(split: str, count: int) -> list[dict]:
    return [row | {"image": picture(index)} for index, row in enumerate(_messages(split, count))]


def _seen_twice(split: str, count: int) -> list[dict]:
    return [row | {"images": [picture(index)] * (1 + index % 2)} for index, row in enumerate(_messages(split, count))]
