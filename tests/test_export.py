"""Export: a plain checkpoint that gives the adapter's tokens, or a clear refusal that writes nothing."""

import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tiny import build_experts, build_trainer, tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from trl_copd.export import export, main


PROMPT = torch.tensor([[5, 15, 6, 17]])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    model = tiny_model()
    model.generation_config.repetition_penalty = 1.25  # something of its own, to be found again
    model.save_pretrained(folder / "base")
    trainer = build_trainer(
        folder / "run", build_experts(2), model=str(folder / "base"), topology="mutual", rlvr_steps=1, opd_steps=1,
        max_steps=2, overlap_every=0, save_strategy="steps", save_steps=2,
    )  # fmt: skip
    trainer.train()
    trainer.save_model()
    return folder


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=PROMPT).logits


@pytest.mark.parametrize("expert", [None, "code"])
def test_merged_equals_adapter(run, tmp_path, expert):
    checked = export(str(run / "run"), tmp_path / "merged", expert=expert)
    assert checked == "96 of 96 greedy tokens (4 prompts) equal the adapter's"
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    adapter = run / "run" / (f"experts/{expert}" if expert else ".")
    base = AutoModelForCausalLM.from_pretrained(run / "base")
    assert not torch.equal(logits(merged), logits(base))
    torch.testing.assert_close(logits(merged), logits(PeftModel.from_pretrained(base, adapter)), atol=1e-5, rtol=0)
    # by hand: W + scaling * B A, of one layer
    factors = load_file(adapter / "adapter_model.safetensors")
    config = json.loads((adapter / "adapter_config.json").read_text())
    layer = "model.layers.1.mlp.up_proj"
    down, up = (factors[f"base_model.model.{layer}.lora_{letter}.weight"] for letter in "AB")
    scaling = config["lora_alpha"] / config["r"]
    wanted = tiny_model().get_submodule(layer).weight + scaling * up @ down
    torch.testing.assert_close(merged.get_submodule(layer).weight, wanted, atol=1e-6, rtol=0)
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").vocab_size == 30
    assert GenerationConfig.from_pretrained(tmp_path / "merged").repetition_penalty == 1.25
    card = (tmp_path / "merged" / "README.md").read_text()
    assert (f"the expert `{expert}`" if expert else "the student") in card and "2604.27083" in card
    assert str(run) not in card and not list(tmp_path.glob("*.partial"))


def test_lower_precision_is_of_the_copy_alone(run, tmp_path):
    export(str(run / "run"), tmp_path / "whole")
    checked = export(str(run / "run" / "checkpoint-2"), tmp_path / "half", dtype="bfloat16")
    assert checked.endswith("of 96 greedy tokens (4 prompts) equal the adapter's")
    whole = load_file(tmp_path / "whole" / "model.safetensors")
    half = load_file(tmp_path / "half" / "model.safetensors")
    assert all(torch.equal(half[name], tensor.bfloat16()) for name, tensor in whole.items())  # rounded once


def refusals(run, tmp_path):
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "adapter_config.json").write_text("{}")
    full = tmp_path / "full"
    full.mkdir()
    (full / "something").touch()
    return {
        "no such folder": ({"source": "/no/such/folder"}, "There is no folder '/no/such/folder'"),
        "not a run": ({"source": str(run / "base")}, "holds no student: it has no adapter_config.json"),
        "only checkpoints": ({"source": str(run)}, "holds no student"),
        "torn adapter": ({"source": str(torn)}, "it has no adapter_model.safetensors"),
        "unknown expert": ({"expert": "logic"}, r"no expert 'logic' \(found: code, math\)"),
        "revision of a folder": ({"revision": "main"}, "has no revisions"),
        "not empty": ({"output": str(full)}, "nothing is overwritten"),
        "no such base": ({"base": "/no/such/base"}, "The base '/no/such/base' is neither"),
        "quantised base": ({"base": quantised(tmp_path / "quantised")}, "is quantised"),
    }


def quantised(folder):
    config = tiny_model().config
    config.quantization_config = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    config.save_pretrained(folder)
    return str(folder)


def test_refusals(run, tmp_path):
    for name, (options, message) in refusals(run, tmp_path).items():
        with pytest.raises(ValueError, match=message):
            export(**{"source": str(run / "run"), "output": str(tmp_path / "new"), **options})
        assert not (tmp_path / "new").exists(), name


def test_a_merge_that_differs_is_not_saved(run, tmp_path, monkeypatch):
    monkeypatch.setattr("peft.tuners.lora.LoraModel.merge_and_unload", lambda self, **kwargs: self.unload())
    with pytest.raises(RuntimeError, match="it is not saved"):
        export(str(run / "run"), tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_command_line_says_what_is_wrong_in_one_line(run, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main([str(run / "run"), "--expert", "logic", "--output", str(tmp_path / "new")])
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.startswith("trl-copd export: '") and error.count("\n") == 1
