"""QLoRA: several experts on a base in 4 or 8 bit (bitsandbytes, which also runs on a CPU)."""

import inspect

import pytest
import torch
from tiny import build_experts, lora, settings, tiny_model, tiny_tokenizer, weights
from transformers import BitsAndBytesConfig

from trl_copd import CoPDConfig, CoPDTrainer, adapters
from trl_copd.adapters import PACKS_FOR_INFERENCE
from trl_copd.plan import Run, count_model
from trl_copd.plan.space import base_bytes


bitsandbytes = pytest.importorskip("bitsandbytes")

QUANTISED = {
    "4bit": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32),
    "8bit": BitsAndBytesConfig(load_in_8bit=True),
}
CYCLE = {"topology": "mutual", "rlvr_steps": 1, "opd_steps": 1, "max_steps": 2, "overlap_every": 2}


def build(tmp_path, bits, **overrides):
    # layers wide enough for bitsandbytes' blocks of 64
    tiny_model(hidden_size=64, intermediate_size=128).save_pretrained(tmp_path / "base")
    args = CoPDConfig(**settings(tmp_path / "run", **CYCLE, **overrides))
    return CoPDTrainer(
        str(tmp_path / "base"), build_experts(), args, processing_class=tiny_tokenizer(), peft_config=lora(),
        quantization_config=QUANTISED[bits],
    )  # fmt: skip


def frozen(trainer):
    return {
        name: tensor.detach().clone() for name, tensor in trainer.model.state_dict().items() if "lora_" not in name
    }


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_experts_train_on_a_quantised_base_which_stays_as_it_is(tmp_path, bits):
    trainer = build(tmp_path, bits)
    layers = {type(module).__name__ for name, module in trainer.model.named_modules() if name.endswith("q_proj")}
    assert layers == {"Linear4bit" if bits == "4bit" else "Linear8bitLt"}
    assert trainer.forwards.can_stack(list(trainer.experts))
    before, base = {name: weights(trainer, name) for name in trainer.experts}, frozen(trainer)
    trainer.train()
    after = frozen(trainer)
    assert base.keys() == after.keys() and all(torch.equal(base[name], after[name]) for name in base)
    for name in trainer.experts:
        moved = weights(trainer, name)
        assert any(not torch.equal(before[name][key], moved[key]) for key in moved)
        assert {value.dtype for value in moved.values()} == {torch.bfloat16}  # TRL's choice for a quantised base
        assert all(value.isfinite().all() for value in moved.values())
    # the plan's size of the base, against the stored weights (the scales of tiny layers weigh more)
    size = count_model(str(tmp_path / "base"), rank=4)
    stored = sum(p.numel() * p.element_size() for n, p in trainer.model.named_parameters() if "lora_" not in n)
    run = Run(3, "mutual", weight_bytes=4, value_bytes=4, quantize=int(bits[0]))
    scales = 4 * size.linear / 64 if bits == "4bit" else 0
    assert base_bytes(size, run) == stored + scales


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_greedy_rollouts_of_all_branches_equal_one_at_a_time(tmp_path, bits):
    trainer = build(tmp_path, bits)
    trainer.train()
    prompts = [[1, 4 + i, 14, 5 + i] for i in (0, 0, 1, 1, 2, 3)]
    names = ["math", "math", "code", "code", "logic", "logic"]
    together, _ = trainer.engine.generate(prompts, names, greedy=True)
    trainer.forwards.stackable[frozenset(names)] = False  # one branch after the other
    assert together == trainer.engine.generate(prompts, names, greedy=True)[0]
    assert len({tuple(row) for row in together}) > 1


def gradients(trainer, ids):
    trainer.model.train()
    trainer.model.zero_grad()
    trainer.model(input_ids=ids, labels=ids).loss.backward()
    return [p.grad.float().clone() for p in trainer.branches["math"].parameters]


def test_an_evaluation_leaves_the_gradients_of_a_4bit_base_as_they_were(tmp_path):
    trainer = build(tmp_path, "4bit")
    ids = torch.randint(4, 20, (2, 8))
    adapters.activate(trainer.peft_model, "math")
    for parameter in trainer.branches["math"].parameters:
        torch.nn.init.normal_(parameter, std=0.1)  # B is 0 at first, and A would get no gradient
    before = gradients(trainer, ids)
    with torch.no_grad():
        trainer.model.eval()(input_ids=ids)
    after = gradients(trainer, ids)
    assert all(gradient.abs().max() > 0 for gradient in before)
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new, old)


def test_the_attribute_that_keeps_layers_from_being_packed_is_bitsandbytes_own():
    source = inspect.getsource(bitsandbytes.nn.Linear4bit)
    assert f"self.{PACKS_FOR_INFERENCE} = " in source and f"and self.{PACKS_FOR_INFERENCE}" in source
