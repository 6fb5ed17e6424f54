"""`student_init="merge"`: at the start of each OPD phase the student is the exact mean of the experts."""

import json

import pytest
import torch
from peft import get_peft_model
from tiny import build_experts, build_trainer, distance, lora, tiny_model, weights
from transformers import TrainerCallback

from trl_copd import adapters


def deltas(model, adapter):
    return [m.get_delta_weight(adapter) for m in model.modules() if hasattr(m, "get_delta_weight")]


def watch_students(trainer):
    """Record, for each generation, the round, and how far the student is from the mean of the experts."""
    seen, sample = [], trainer.round._sample

    def spy():
        model, names = trainer.peft_model, list(trainer.experts)
        experts = [deltas(model, name) for name in names]
        means = [sum(parts) / len(names) for parts in zip(*experts, strict=True)]
        gap = max((a - b).abs().max().item() for a, b in zip(deltas(model, "student"), means, strict=True))
        size = max(mean.abs().max().item() for mean in means)
        moments = any(p in trainer.optimizer.state for p in trainer.branches["student"].parameters)
        seen.append((trainer.state.global_step, gap, size, moments))
        sample()

    trainer.round._sample = spy
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


def test_final_phase_freezes_the_experts_and_teaches_their_mean(tmp_path):
    trainer = build_trainer(
        tmp_path, student_init="merge", rlvr_steps=2, opd_steps=1, final_opd_steps=2, max_steps=6, overlap_every=2
    )
    seen, before = watch_students(trainer), {}

    class Watch(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            before[state.global_step] = {name: weights(trainer, name) for name in trainer.branches}

    trainer.add_callback(Watch())
    trainer.train()
    assert [step for step, gap, _, _ in seen if gap < 1e-6] == [0, 2, 4]
    for name in trainer.experts:
        assert distance(before[2][name], before[4][name]) > 1e-5
        assert distance(before[4][name], weights(trainer, name)) == 0.0, name
    assert distance(before[4]["student"], weights(trainer, "student")) > 1e-5


def test_a_final_phase_is_all_the_distillation_a_run_needs(tmp_path):
    settings = {"rlvr_steps": 2, "opd_steps": 0, "final_opd_steps": 2, "max_steps": 4, "overlap_every": 1}
    with pytest.raises(ValueError, match="no value for 'student'"):
        build_trainer(tmp_path, **settings, opd_beta={"math": 1.0})
    trainer = build_trainer(tmp_path, **settings, opd_beta={"student": 1.0})
    start = weights(trainer, "student")
    trainer.train()
    assert distance(start, weights(trainer, "student")) > 1e-5
    assert any(key.endswith("->student/opd/overlap") for entry in trainer.state.log_history for key in entry)
    plan = json.loads((tmp_path / "copd.json").read_text())
    assert (
        plan["edges"] and plan["final_opd_steps"] == 2 and plan["phases"][-1] == {"phase": "opd", "start": 2, "end": 4}
    )


class Kill(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 5:
            raise KeyboardInterrupt


# before the student restarts, and after
@pytest.mark.parametrize("save_steps", [2, pytest.param(3, marks=pytest.mark.slow)])
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


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"r": 8}, "needs adapters like `peft_config`, but r is 8"),
        ({"lora_alpha": 16}, "needs adapters like `peft_config`, but lora_alpha is 16"),
        ({"target_modules": ["q_proj"]}, "needs every adapter on the same layers, but 'math' has none"),
    ],
)
def test_an_expert_that_starts_from_another_kind_of_adapter_is_refused(tmp_path, other, message):
    get_peft_model(tiny_model(), lora(**other)).save_pretrained(tmp_path / "trained")
    experts = build_experts()
    experts[0].adapter = tmp_path / "trained"
    with pytest.raises(ValueError, match=f"student_init='merge' {message}"):
        build_trainer(tmp_path / "run", experts, student_init="merge")


@pytest.mark.parametrize("settings", [{"topology": "mutual"}, {"topology": "student", "student_init": "merge"}])
def test_adapters_on_embeddings_are_averaged_and_saved(tmp_path, settings):
    config = lora(target_modules=["q_proj", "embed_tokens"])
    trainer = build_trainer(tmp_path, peft_config=config, rlvr_steps=1, opd_steps=1, max_steps=2, **settings)
    with torch.no_grad():
        for name in trainer.experts:
            for parameter in trainer.branches[name].parameters:
                parameter.normal_()
    embedding = next(m for m in trainer.peft_model.modules() if hasattr(m, "lora_embedding_A") and m.lora_embedding_A)
    mean = sum(embedding.get_delta_weight(name) for name in trainer.experts) / 3
    if settings["topology"] == "student":
        adapters.set_to_average(trainer.peft_model, "student", list(trainer.experts))
    with trainer.weights.student():
        torch.testing.assert_close(embedding.get_delta_weight("student"), mean, atol=1e-5, rtol=1e-4)
    trainer.save_model()


def test_experts_of_an_earlier_run_with_all_linear(tmp_path):
    """A saved adapter names its layers, "all-linear" does not; they are compared once the base is there."""
    first = build_trainer(tmp_path / "first", topology="mutual", rlvr_steps=1, opd_steps=1, max_steps=2)
    first.train()
    first.save_model()
    experts = build_experts()
    for expert in experts:
        expert.adapter = str(tmp_path / "first/experts" / expert.name)
    polish = {"topology": "mopd", "student_init": "merge", "rlvr_steps": 0, "opd_steps": 1, "max_steps": 2}
    trainer = build_trainer(tmp_path / "second", experts, **polish)
    seen = watch_students(trainer)
    trainer.train()
    step, gap, size, _ = seen[0]
    assert step == 0 and gap < 1e-6 < 1e-4 < size
