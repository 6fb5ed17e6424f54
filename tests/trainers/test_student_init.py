"""`student_init="merge"`: at the start of each OPD phase the student is the exact mean of the experts."""

import pytest
import torch
from tiny import build_experts, build_trainer, distance, lora, weights
from transformers import TrainerCallback


def deltas(model, adapter):
    return [m.get_delta_weight(adapter) for m in model.modules() if hasattr(m, "get_delta_weight")]


def watch_students(trainer):
    """Record, for each generation, the round, and how far the student is from the mean of the experts."""
    seen, sample = [], trainer._sample_round

    def spy():
        model, names = trainer.peft_model, list(trainer.experts)
        experts = [deltas(model, name) for name in names]
        means = [sum(parts) / len(names) for parts in zip(*experts, strict=True)]
        gap = max((a - b).abs().max().item() for a, b in zip(deltas(model, "student"), means, strict=True))
        size = max(mean.abs().max().item() for mean in means)
        moments = any(p in trainer.optimizer.state for p in trainer.branches["student"].parameters)
        seen.append((trainer.state.global_step, gap, size, moments))
        sample()

    trainer._sample_round = spy
    return seen


@pytest.mark.parametrize(
    "config", [lora(), lora(use_rslora=True), lora(alpha_pattern={"q_proj": 32}, rank_pattern={"k_proj": 2})]
)
def test_student_restarts_from_the_mean_of_the_experts(tmp_path, config):
    trainer = build_trainer(tmp_path, peft_config=config, student_init="merge", rlvr_steps=2, opd_steps=2, max_steps=8)
    seen = watch_students(trainer)
    trainer.train()
    assert [step for step, gap, _, _ in seen if gap < 1e-6] == [0, 2, 6]  # at 0 all are zero
    assert all(size > 1e-3 for step, _, size, _ in seen if step > 0)
    assert [step for step, _, _, moments in seen if moments] == [3, 4, 5, 7]  # Adam's state was of another student
    assert trainer.peft_model.peft_config["student"].r == 12


def test_mopd_starts_once(tmp_path):
    trainer = build_trainer(
        tmp_path, topology="mopd", student_init="merge", rlvr_steps=2, opd_steps=1, max_steps=6, overlap_every=2
    )
    seen = watch_students(trainer)
    trainer.train()
    assert [step for step, gap, _, _ in seen if gap < 1e-6] == [0, 4]


class Kill(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 5:
            raise KeyboardInterrupt


@pytest.mark.parametrize("save_steps", [2, 3])  # before the student restarts, and after
def test_resumes(tmp_path, save_steps):
    settings = {"student_init": "merge", "rlvr_steps": 2, "opd_steps": 2, "max_steps": 8, "save_strategy": "steps"}

    def build(folder):
        return build_trainer(tmp_path / folder, build_experts(), save_steps=save_steps, **settings)

    whole = build("whole")
    whole.train()
    killed = build("killed")
    killed.add_callback(Kill())
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    torch.manual_seed(5)
    resumed = build("killed")
    resumed.train(resume_from_checkpoint=True)
    for name in whole.branches:
        assert distance(weights(whole, name), weights(resumed, name)) == 0.0, name
