"""Experts that see on other vision-language models: what holds for Qwen2.5-VL holds there."""

import pytest
from tiny import distance, lora, settings, weights
from tiny_vision import colour_reward, different_adapters, mixed_rows, read_rows, seen_rows
from tiny_vision_families import FAMILIES
from trl import GRPOConfig, GRPOTrainer

from trl_copd import CoPDConfig, CoPDTrainer, Expert
from trl_copd.pictures import prepared


OTHERS = [family for family in FAMILIES if family != "qwen2_5_vl"]


def build(folder, family, experts, **overrides):
    model, processor = FAMILIES[family]()
    args = CoPDConfig(**settings(folder, **{"opd_fraction": 0.5, "topology": "mutual"} | overrides))
    return CoPDTrainer(model, experts, args, processing_class=processor, peft_config=lora())


@pytest.mark.parametrize("family", OTHERS)
def test_one_expert_that_sees_is_grpo_bit_for_bit(tmp_path, family):
    model, processor = FAMILIES[family]()
    args = GRPOConfig(**settings(tmp_path / "grpo"))
    config = lora(exclude_modules=r".*(visual|vision_tower|multi_modal_projector).*")
    reference = GRPOTrainer(model, colour_reward, args, seen_rows(), processing_class=processor, peft_config=config)
    reference.train()
    trainer = build(tmp_path / "copd", family, [Expert("eye", seen_rows(), colour_reward)], opd_steps=0)
    start = weights(trainer, "eye")
    trainer.train()
    assert distance(weights(trainer, "eye"), start) > 1e-3
    assert distance(weights(trainer, "eye"), weights(reference, "default")) == 0.0


@pytest.mark.parametrize("family", ["qwen3_vl", pytest.param("gemma3", marks=pytest.mark.slow)])
def test_greedy_rollouts_of_all_branches_equal_rows_alone_and_a_cycle_runs(tmp_path, family):
    domains = {"eye": seen_rows(20), "text": read_rows(20), "mix": mixed_rows(20)}
    experts = [Expert(name, rows, colour_reward) for name, rows in domains.items()]
    trainer = build(tmp_path, family, experts, rlvr_steps=1, opd_steps=1, max_steps=2, overlap_every=1)
    different_adapters(trainer)
    prompts = trainer.round.tokenize([prepared(row)["prompt"] for rows in domains.values() for row in rows.take(3)])[0]
    names = [name for name in domains for _ in range(3)]
    together = trainer.engine.generate(prompts, names, greedy=True)[0]
    apart = [trainer.engine.generate([p], [n], greedy=True)[0][0] for p, n in zip(prompts, names, strict=True)]
    assert together == apart
    start = {name: weights(trainer, name) for name in domains}
    trainer.train()
    assert all(trainer.forwards.stackable.values())
    assert all(distance(weights(trainer, name), start[name]) > 1e-4 for name in domains)
