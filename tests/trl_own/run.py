"""
Runs TRL's own tests of GRPO against `CoPDTrainer`, without a network.

    python tests/trl_own/run.py FOLDER --experts 2 [PYTEST OPTIONS]

FOLDER is `tests` of a checkout of TRL; nothing of it is part of this repository. The names `GRPOTrainer` and
`GRPOConfig` that its `test_grpo_trainer.py` imports are taken by `CoPDTrainer` with so many experts, all on the data
and the rewards that a test gives. With `--experts 0` they are TRL's own with a LoRA adapter, where a test brings none:
what fails there is no fault of CoPD's. The models and rows that the tests would fetch are made here, tiny and random;
tests of models that are not in `MODELS`, and all with pictures, are left out. A test that compares all parameters sees
those that are trained.
"""

import argparse
import importlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any


TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS.parent), str(TESTS), str(TESTS / "families")]
os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest  # noqa: E402
import torch  # noqa: E402
import trl  # noqa: E402
from datasets import Dataset  # noqa: E402
from models import family_model  # noqa: E402
from peft import LoraConfig, PeftModel  # noqa: E402
from tiny import tiny_tokenizer  # noqa: E402
from transformers import AutoModelForSequenceClassification  # noqa: E402
from transformers.utils import logging  # noqa: E402

from trl_copd import CoPDConfig, CoPDTrainer, Expert  # noqa: E402


GRPOTrainer, GRPOConfig = trl.GRPOTrainer, trl.GRPOConfig
MODELS = {
    "tiny-Qwen2ForCausalLM-2.5": "qwen2", "tiny-Qwen3ForCausalLM": "qwen3", "tiny-Qwen3MoeForCausalLM": "qwen3_moe",
    "tiny-LlamaForCausalLM-3.2": "llama", "tiny-MistralForCausalLM-0.2": "mistral",
    "tiny-Gemma2ForCausalLM": "gemma2", "tiny-Cohere2ForCausalLM": "cohere2", "tiny-GptOssForCausalLM": "gpt_oss",
    "tiny-Glm4MoeForCausalLM": "glm4_moe",
}  # fmt: skip
REWARD_MODELS = {
    "tiny-Qwen2ForSequenceClassification-2.5": "qwen2", "tiny-Qwen3ForSequenceClassification": "qwen3",
    "tiny-LlamaForSequenceClassification-3.2": "llama",
}  # fmt: skip
ROWS = {"train": 4, "test": 2}  # three epochs of four prompts: a few seconds a test
LORA = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
OF_EXPERTS: dict[int, dict[str, Any]] = {
    1: {"topology": "mutual", "opd_steps": 0},
    2: {"topology": "student", "rlvr_steps": 1, "opd_steps": 1},  # the tests' batches hold one prompt
}


def stand_ins(folder: Path) -> None:
    """Models and data under the names that they have on the Hub, as folders."""
    logging.disable_progress_bar()
    place = folder / "trl-internal-testing"
    for name, family in MODELS.items():
        family_model(family).save_pretrained(place / name)
        tiny_tokenizer().save_pretrained(place / name)
    for name, family in REWARD_MODELS.items():
        config = family_model(family).config
        config.num_labels = 1
        torch.manual_seed(1)
        AutoModelForSequenceClassification.from_config(config).save_pretrained(place / name)
        tiny_tokenizer().save_pretrained(place / name)
    configs = []
    for kind in ("standard_prompt_only", "conversational_prompt_only"):
        for split, count in ROWS.items():
            texts = [f"{split[0]} {i}+{i}=" for i in range(count)]
            prompts = [[{"role": "user", "content": text}] for text in texts] if kind[0] == "c" else texts
            Dataset.from_dict({"prompt": prompts}).to_parquet(place / "zen" / kind / f"{split}.parquet")
        files = "".join(f"  - {{split: {split}, path: {kind}/{split}.parquet}}\n" for split in ROWS)
        configs.append(f"- config_name: {kind}\n  data_files:\n{files}")
    (place / "zen" / "README.md").write_text("---\nconfigs:\n" + "".join(configs) + "---\n")


class Alone(GRPOTrainer):
    """TRL's own, with an adapter."""

    def __init__(self, model, *args, peft_config=None, **others):
        own = None if isinstance(model, PeftModel) else LoraConfig(**LORA)
        super().__init__(model, *args, peft_config=peft_config or own, **others)
        show_trained(self.model)


def copd_trainer(experts: int) -> type:
    class Adapted(CoPDTrainer):
        """Takes GRPOTrainer's arguments."""

        def __init__(self, model, reward_funcs=None, args=None, train_dataset=None, eval_dataset=None,
                     processing_class=None, reward_processing_classes=None, callbacks=None,
                     optimizers=(None, None), quantization_config=None, peft_config=None, **others):  # fmt: skip
            data = (train_dataset, reward_funcs, eval_dataset)
            keywords = {"reward_processing_classes": reward_processing_classes}
            several = [Expert(f"e{index}", *data, **keywords) for index in range(experts)]
            super().__init__(
                model, several, args or copd_config(experts)("copd"), processing_class, callbacks, optimizers,
                quantization_config, peft_config or LoraConfig(**LORA), **others,
            )  # fmt: skip
            show_trained(self.model)

    return Adapted


def copd_config(experts: int):
    return lambda *args, **fields: CoPDConfig(*args, **OF_EXPERTS[experts] | fields)


def show_trained(model: torch.nn.Module) -> None:
    named = model.named_parameters
    model.named_parameters = lambda *args, **kw: ((n, p) for n, p in named(*args, **kw) if p.requires_grad)


def absent(name: str) -> Any:
    """Packages that the tests of another version ask `trl.import_utils` about count as absent."""
    if not name.startswith("is_"):
        raise AttributeError(name)
    return lambda: False


def left_out(source: str) -> list[str]:
    """The tests whose models are not made here, by what pytest calls them."""
    known = {*MODELS, *REWARD_MODELS}
    named = set(re.findall(r"trl-internal-testing/(tiny-[\w.-]+)", source))
    return sorted(named - known) + ["VLM", "multimodal"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="`tests` of a checkout of TRL")
    parser.add_argument("--experts", type=int, choices=(0, 1, 2), required=True)
    options, further = parser.parse_known_args()
    if options.experts:
        trl.GRPOTrainer, trl.GRPOConfig = copd_trainer(options.experts), copd_config(options.experts)
    else:
        trl.GRPOTrainer = Alone
    importlib.import_module("trl.import_utils").__getattr__ = absent
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stand_ins(folder)
        shutil.copytree(options.folder, folder / "tests", ignore=shutil.ignore_patterns("data", "experimental"))
        os.chdir(folder)
        names = left_out((folder / "tests" / "test_grpo_trainer.py").read_text())
        further += (
            ["-k", " and ".join(f"not {part}" for part in ["vllm", "liger", *names])] if "-k" not in further else []
        )
        command = ["tests/test_grpo_trainer.py", "-p", "no:cacheprovider", "-q", "-rfEx", *further]
        return pytest.main(command)


if __name__ == "__main__":
    sys.exit(main())
