"""
What holds for tiny models of many families, `make test-families`: rows of several branches are sampled as apart, a
resumed run is the uninterrupted one to the bit, gradient checkpointing changes nothing, and the experts are merged
exactly. docs/support.md has the table.
"""

import pytest
import torch
from models import KINDS, family_model, vision_language_model
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from tiny import build_experts, build_trainer, distance, lora, weights


pytestmark = pytest.mark.slow

CYCLE = {
    "rlvr_steps": 1,
    "opd_steps": 1,
    "max_steps": 2,
    "overlap_every": 1,
    "save_strategy": "steps",
    "save_steps": 1,
}
# What PEFT or TRL cannot do, said in docs/support.md: the refusal, and the settings under which the family runs
REFUSED: dict[str, tuple[str, dict, dict]] = {
    "phimoe": ("PhimoeTopKRouter returns a tuple", {"exclude_modules": ["router"]}, {"router_aux_loss_coef": 0.0}),
    "granitemoe": ("router_aux_loss_coef=0.0", {}, {"router_aux_loss_coef": 0.0}),
}


def model_of(family):
    return vision_language_model() if family == "qwen2_5_vl on text" else family_model(family)


def run(folder, family, **overrides):
    _, of_adapters, settings = REFUSED.get(family, ("", {}, {}))
    adapters = lora(init_lora_weights=False, **of_adapters)  # random from the start, so that branches differ
    return build_trainer(folder, build_experts(2), model_of(family), adapters, **CYCLE | settings | overrides)


@pytest.mark.parametrize("family", [*KINDS, "qwen2_5_vl on text"])
def test_family(tmp_path, family):
    if family in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[family][0]):
            build_trainer(tmp_path / "refused", build_experts(2), model_of(family), **CYCLE)
    trainer = run(tmp_path / "run", family)
    before = {name: weights(trainer, name) for name in trainer.branches}
    trainer.train()
    trained = {name: weights(trainer, name) for name in trainer.branches}
    assert all(distance(before[name], trained[name]) > 0 for name in trained)
    _check_rollouts(trainer)

    resumed = run(tmp_path / "resumed", family)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-1"))
    assert {name: distance(weights(resumed, name), trained[name]) for name in trained} == dict.fromkeys(trained, 0.0)

    if trainer.peft_model.get_base_model().supports_gradient_checkpointing:
        again = run(tmp_path / "checkpointing", family, gradient_checkpointing=True)
        again.train()
        assert max(distance(weights(again, name), trained[name]) for name in trained) < 1e-4
    _check_merge(tmp_path / "mutual", family)


def _check_rollouts(trainer):
    prompts = [[1, 4 + i, 14, 5 + i] + [7] * (i % 3) for i in (0, 0, 1, 1, 1, 2, 2, 3, 3)]
    names = ["math"] * 4 + ["code"] * 3 + ["student"] * 2  # groups of several sizes
    with trainer.forwards.without_dropout():  # gpt2, opt and seed_oss have some, and phimoe's router adds noise
        together, _ = trainer.engine.generate(prompts, names, greedy=True)
        trainer.forwards.stackable[frozenset(names)] = False
        apart, _ = trainer.engine.generate(prompts, names, greedy=True)
    assert together == apart
    assert len({tuple(row) for row in together}) > 1


def _check_merge(folder, family):
    """The student of `mutual` is the mean of the experts."""
    trainer = run(folder, family, topology="mutual", max_steps=1)
    trainer.train()
    trainer.save_model()
    means = {
        name: torch.stack([layer.get_delta_weight(expert) for expert in ("math", "code")]).mean(0)
        for name, layer in trainer.peft_model.named_modules()
        if isinstance(layer, LoraLayer) and "math" in layer.lora_A
    }
    student = PeftModel.from_pretrained(model_of(family), folder)
    layers = dict(student.named_modules())
    assert means
    for name, mean in means.items():
        torch.testing.assert_close(layers[name].get_delta_weight("default"), mean, atol=1e-5, rtol=1e-4)
