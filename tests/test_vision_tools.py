"""What stands around a run on a vision-language base: export, model card, and the plan."""

import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tiny import lora, settings
from tiny_vision import (
    different_adapters,
    mixed_rows,
    picture,
    seen_rows,
    two_experts,
    vision_model,
    vision_processor,
)
from transformers import AutoModelForImageTextToText

from trl_copd import CoPDConfig, CoPDTrainer
from trl_copd.export import export
from trl_copd.plan import count_model
from trl_copd.plan.prompts import _ids


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    vision_model().save_pretrained(folder / "base")
    args = CoPDConfig(**settings(folder / "run", topology="student", rlvr_steps=1, opd_steps=1))
    trainer = CoPDTrainer(
        str(folder / "base"), two_experts(), args, processing_class=vision_processor(), peft_config=lora()
    )
    different_adapters(trainer)
    trainer.save_model()
    trainer.create_model_card()
    return folder


def logits(model):
    inputs = vision_processor()(
        text=["<|vision_start|><|image_pad|><|vision_end|>a+b="], images=[[picture(3)]], return_tensors="pt"
    )
    with torch.no_grad():
        return model.eval()(**inputs).logits


def test_a_merged_model_sees_as_the_adapter_does(run, tmp_path):
    checked = export(str(run / "run"), tmp_path / "merged", expert="eye")
    assert checked == "96 of 96 greedy tokens (4 prompts) equal the adapter's"
    merged = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged")
    base = AutoModelForImageTextToText.from_pretrained(run / "base")
    assert not torch.allclose(logits(merged), logits(base), atol=1e-2)
    adapted = PeftModel.from_pretrained(base, run / "run" / "experts" / "eye")
    torch.testing.assert_close(logits(merged), logits(adapted), atol=1e-5, rtol=0)
    theirs, ours = (load_file(folder / "model.safetensors") for folder in (run / "base", tmp_path / "merged"))
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs if "visual" in name)
    assert (tmp_path / "merged" / "processor_config.json").is_file(), "the picture's size is part of the model"
    assert "pipeline_tag: image-text-to-text" in (tmp_path / "merged" / "README.md").read_text()


def test_the_card_loads_what_sees(run):
    card = (run / "run" / "README.md").read_text()
    assert "pipeline_tag: image-text-to-text" in card
    assert (
        "AutoModelForImageTextToText.from_pretrained(" in card and "processor = AutoProcessor.from_pretrained(" in card
    )
    assert "AutoTokenizer" not in card and "CausalLM" not in card


def test_the_plan_counts_the_language_model_and_the_tokens_of_pictures(run):
    model = vision_model()
    size = count_model(str(run / "base"), rank=4)
    assert size.parameters == sum(p.numel() for p in model.parameters())
    language = sum(p.numel() for p in model.model.language_model.parameters())
    assert size.active == language - model.get_input_embeddings().weight.numel()
    assert size.hidden == 32 and size.layers == 2
    factors = load_file(run / "run" / "experts" / "eye" / "adapter_model.safetensors")
    assert size.adapter == sum(tensor.numel() for tensor in factors.values())
    # 16 by 24 and 16 by 16 pixels in squares of 8, two marks, "a+b" and "="
    assert [len(_ids(vision_processor(), row)) for row in seen_rows(2)] == [6 + 2 + 4, 4 + 2 + 4]
    assert len(_ids(vision_processor(), seen_rows(2, column="images")[1])) == 2 * 4 + 2 * 2 + 4
    assert len(_ids(vision_processor(), mixed_rows(1)[0])) == 2, "a row without a picture"
    config = json.loads((run / "base" / "config.json").read_text())
    assert config["model_type"] == "qwen2_5_vl"
