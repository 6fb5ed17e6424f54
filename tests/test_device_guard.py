"""
Whole runs on a pretended GPU (`device_guard.py`): no tensor of the CPU where CUDA would refuse it. That the guard sees
what it should is shown by mutations of the package, each of which it has to find.
"""

import inspect
import textwrap

import pytest
import torch
from device_guard import DeviceMismatch, pretend_gpu
from tiny import build_experts, build_trainer, rows, tiny_model

from trl_copd import adapters, distillation
from trl_copd.measure.overlap import Overlap
from trl_copd.randomness import forked
from trl_copd.trainers.policy import Taught
from trl_copd.trainers.round import Round
from trl_copd.trainers.teaching import Teaching


CYCLE = {"rlvr_steps": 1, "opd_steps": 1, "max_steps": 2, "overlap_every": 1, "topology": "student"}
RUNS = {
    "student": {},
    "student from the merge": {"student_init": "merge"},
    "mutual": {"topology": "mutual"},
    "hub": {"topology": "hub", "hub": "code"},
    "mopd": {"topology": "mopd"},
    "reverse KL": {"opd_loss": "reverse_kl"},
    "forward KL": {"opd_loss": "forward_kl"},
    "JSD": {"opd_loss": "jsd"},
    "top k": {"opd_loss": "topk"},
    "chunks": {"rollout_chunk_rows": 7, "topology": "mutual"},
    "reuse": {"gradient_accumulation_steps": 4, "steps_per_generation": 2, "num_iterations": 2, "beta": 0.04},
    "bf16, scored in float32": {"bf16": True, "score_in_fp32": True},
    "bf16, its noise measured": {"bf16": True, "schedule": "overlap"},
}


def build(guard, folder, evaluate=False, **options):
    experts = build_experts(3, eval_dataset=rows(50, 4)) if evaluate else build_experts(3)
    base = tiny_model(attn_implementation="eager")
    trainer = build_trainer(folder, experts, model=base, **CYCLE | options)
    guard.adopt(trainer.model)
    return trainer


@pytest.mark.parametrize("name", RUNS)
def test_no_device_is_mixed_up(tmp_path, name):
    with pretend_gpu() as guard:
        build(guard, tmp_path, **RUNS[name]).train()
    assert guard.faults == [] and guard.calls > 1000


def test_evaluation_resume_and_the_seam_to_other_engines(tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 1}
    with pretend_gpu() as guard:
        trainer = build(guard, tmp_path, evaluate=True, **saving)
        trainer.train()  # ends with the capability matrix
        resumed = build(guard, tmp_path, evaluate=True, **saving)
        resumed.train(resume_from_checkpoint=f"{tmp_path}/checkpoint-1")
        digest = adapters.weights_digest(trainer.peft_model, "math")
        assert digest != adapters.weights_digest(trainer.peft_model, "code")
        assert adapters.export_adapter(trainer.peft_model, "math", tmp_path / "exported") > 0
    assert guard.faults == [] and trainer.last_matrix == resumed.last_matrix


# What is dropped or put in; where it would be raised on a GPU
MUTATIONS = {
    "padded rows stay on the CPU": (Overlap, "_states", ".to(device)", "", {}),
    "a CPU tensor in a collective": (Round, "_without_empty", ", device=self.accelerator.device", "", {}),
    "totals on the CPU": (Teaching, "_log_sampled_kl", ", device=divergence.device", "", {}),
    "a CPU index in a gather": (
        distillation, "topk_reverse_kl", "topk(k, dim=-1).indices", "topk(k, dim=-1).indices.cpu()",
        {"opd_loss": "topk"},
    ),
    "rewards on the CPU": (Taught, "_calculate_rewards", ", device=self.accelerator.device", "", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_guard_finds_mutations(tmp_path, monkeypatch, name):
    owner, function, old, new, options = MUTATIONS[name]
    original = getattr(owner, function)
    source = textwrap.dedent(inspect.getsource(original))
    assert old in source
    scope = dict(original.__globals__)
    exec(source.replace(old, new), scope)
    if owner is distillation:
        monkeypatch.setattr("trl_copd.divergence.topk_reverse_kl", scope[function])
    monkeypatch.setattr(owner, function, scope[function])
    with pretend_gpu() as guard, pytest.raises((DeviceMismatch, RuntimeError), match="device|collective"):
        build(guard, tmp_path, **options).train()
    assert guard.faults


def test_a_decode_step_waits_at_most_once(tmp_path):
    """Tokens more or less: what is waited for in each is transformers' question whether all rows have ended."""
    waits = {}
    for length in (4, 12):
        with pretend_gpu() as guard:
            trainer = build(guard, tmp_path, max_completion_length=length, topology="mutual")
            trainer.engine.generate_rows.__self__.run.generation_config.eos_token_id = None
            prompts = [[4, 5, 6]] * 8
            guard.waits.clear()
            trainer.engine.generate(prompts, ["math"] * 4 + ["code"] * 4)
            waits[length] = sum(guard.waits.values())
    assert waits[12] - waits[4] <= 8


def test_a_prefill_moves_as_much_whatever_the_number_of_layers(tmp_path):
    """Which rows share a prompt is moved to the device once, not for each layer of the cache."""
    copies = []
    for layers in (2, 4):
        with pretend_gpu() as guard:
            base = tiny_model(attn_implementation="eager", num_hidden_layers=layers)
            trainer = build_trainer(tmp_path, build_experts(3), model=base, **CYCLE | {"topology": "mutual"})
            guard.adopt(trainer.model)
            guard.copies.clear()
            trainer.engine.generate([[4, 5, 6]] * 8, ["math"] * 4 + ["code"] * 4)
            # transformers makes an empty tensor for each layer of a cache
            copies.append({site: count for site, count in guard.copies.items() if "(torch.tensor)" not in site})
    assert copies[0] == copies[1] and any("grouped.py" in site for site in copies[0])


def test_one_device_alone_is_forked(monkeypatch):
    """By itself, torch would keep the state of every GPU that it sees."""
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: asked.append(devices))
    forked()
    assert asked == [[3]]


def test_random_numbers_are_those_of_the_cpu_run(tmp_path):
    """The guard computes nothing itself: weights are those of the run without it."""
    with pretend_gpu() as guard:
        guarded = build(guard, tmp_path / "a")
        guarded.train()
    plain = build_trainer(tmp_path / "b", build_experts(3), model=tiny_model(attn_implementation="eager"), **CYCLE)
    plain.train()
    for name in plain.branches:
        pairs = zip(plain.branches[name].parameters, guarded.branches[name].parameters, strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
