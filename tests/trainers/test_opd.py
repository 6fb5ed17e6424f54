"""Properties 3, 4 and 7: what a cross row carries, who moves and who does not, and that a run can be repeated."""

import copy
from functools import partial

import pytest
import torch
from peft import get_peft_model
from tiny import (
    build_experts,
    build_trainer,
    distance,
    length_reward,
    letter_reward,
    lora,
    replay_copd,
    tiny_model,
    tiny_tokenizer,
    weights,
)

from trl_copd.adapters import branch_parameters


CYCLE = {"rlvr_steps": 2, "opd_steps": 2, "max_steps": 4, "overlap_every": 0}


def domain_of(prompt: str) -> str:
    """The rows of expert i read `<n+i>+<n>=`."""
    left, right = prompt.rstrip("=").split("+")
    return ["math", "code", "logic"][int(left) - int(right)]


def spy_on_batches(trainer):
    """Record, for each generation of each branch, the weights at that moment and the batch that was built."""
    records = []

    def spy(branch, generate, inputs):
        batch = generate(inputs)
        state = {name: weights(trainer, name) for name in trainer.branches}
        rewards = list(branch._logs["rewards"].get("letter_reward", []))
        records.append((trainer.state.global_step, branch.name, copy.deepcopy(batch), state, rewards))
        return batch

    for branch in trainer.branches.values():
        branch._generate_and_score_completions = partial(spy, branch, branch._generate_and_score_completions)
    return records


def logps_by_hand(trainer, adapter_weights, batch):
    """Log-probabilities from the plain logits of a fresh base with these adapter weights, temperature included."""
    model = get_peft_model(tiny_model(), lora())
    for key, parameter in model.named_parameters():
        if ".default." in key:
            parameter.data.copy_(adapter_weights[key.replace(".default.", ".")])
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    length = batch["completion_ids"].size(1)
    with torch.no_grad():
        logits = model.eval()(input_ids=ids, attention_mask=mask).logits[:, -length - 1 : -1] / trainer.temperature
    return logits.log_softmax(-1).gather(-1, batch["completion_ids"].unsqueeze(-1)).squeeze(-1)


@pytest.mark.parametrize("topology", ["student", "mutual", "hub", "mopd"])
def test_cross_rows_carry_beta_delta_and_native_rows_trl_advantages(tmp_path, topology):
    betas = {"math": 0.5, "code": 2.0, "logic": 3.0, "student": 5.0}
    if topology in ("mutual", "hub"):
        del betas["student"]
    hub = "code" if topology == "hub" else None
    trainer = build_trainer(
        tmp_path, topology=topology, hub=hub, opd_beta=betas, temperature=0.7, per_device_train_batch_size=24, **CYCLE
    )
    records = spy_on_batches(trainer)
    trainer.train()
    tokenizer, checked = tiny_tokenizer(), set()
    for step, learner, batch, state, rewards in records:
        prompts = tokenizer.batch_decode(batch["prompt_ids"], skip_special_tokens=True)
        domains = [domain_of(prompt.replace(" ", "")) for prompt in prompts]
        cross = torch.tensor([domain != learner for domain in domains])
        assert cross.any() == (step >= 2), "cross rows belong to OPD rounds"
        if topology != "mopd" and learner != "student" and step >= 2:
            assert cross.sum() == 12  # half of 6 prompts, 4 generations each
        if not cross.any():
            assert batch["advantages"].dim() == 1
            continue
        mask = batch["completion_mask"]
        learner_logps = logps_by_hand(trainer, state[learner], batch)
        for teacher, edges in {e.teacher: e for e in trainer.topology.edges_into(learner)}.items():
            teacher_logps = logps_by_hand(trainer, state[teacher], batch)
            expected = betas[learner] * (teacher_logps - learner_logps) * mask
            taught = torch.tensor([c and edges.domain == d for c, d in zip(cross, domains, strict=True)])
            if teacher == "student":
                taught = cross
            torch.testing.assert_close(batch["advantages"][taught], expected[taught], atol=5e-5, rtol=1e-4)
            assert (batch["advantages"][taught][mask[taught] == 0] == 0).all()
            assert (batch["advantages"][taught].abs() > 1e-4).any(), "teacher and learner differ"
            checked.add((teacher, learner))
        if learner != "student":  # native rows: (r - mean) / (std + 1e-4) of the group, on every token
            native = torch.tensor(rewards[-int((~cross).sum()) :]).view(-1, 4)
            groups = (native - native.mean(1, keepdim=True)) / (native.std(1, keepdim=True) + 1e-4)
            expected = groups.flatten().unsqueeze(1) * mask[~cross]
            torch.testing.assert_close(batch["advantages"][~cross], expected, atol=1e-5, rtol=1e-5)
    assert checked == {(edge.teacher, edge.learner) for edge in trainer.topology.edges}


def test_distillation_moves_the_student_towards_its_teacher(tmp_path):
    experts = build_experts(1)
    experts[0].learning_rate = 5e-3
    trainer = build_trainer(
        tmp_path,
        experts,
        topology="mopd",
        rlvr_steps=10,
        opd_steps=30,
        max_steps=40,
        overlap_every=10,
        opd_beta=1.0,
        learning_rate=3e-3,
        per_device_train_batch_size=64,
        lr_scheduler_type="constant",
    )
    trainer.train()
    history = trainer.state.log_history
    logged = {name: [log[f"math->student/opd/{name}"] for log in history if f"math->student/opd/{name}" in log]
              for name in ("symmetric_kl", "overlap", "kl")}  # fmt: skip
    divergence, overlap, sampled = logged["symmetric_kl"], logged["overlap"], logged["kl"]
    assert len(divergence) == len(overlap) == 4  # rounds 0, 10, 20, 30
    assert divergence[0] == pytest.approx(0.0, abs=1e-6) and overlap[0] == 1.0  # all adapters start as copies
    assert divergence[3] < 0.5 * divergence[1] and overlap[3] > overlap[1]
    assert sum(sampled[-5:]) < 0.2 * sum(sampled[:5])


def base_hash(trainer) -> int:
    adapters = {id(p) for name in trainer.branches for p in branch_parameters(trainer.peft_model, name)}
    base = [p for p in trainer.model.parameters() if id(p) not in adapters]
    assert base
    return hash(tuple(p.detach().numpy().tobytes() for p in base))


@pytest.mark.parametrize("topology", ["student", "mutual", "mopd"])
def test_base_and_idle_branches_never_move(tmp_path, topology):
    trainer = build_trainer(tmp_path, topology=topology, weight_decay=0.1, **CYCLE)
    before = base_hash(trainer)
    start = {name: weights(trainer, name) for name in trainer.branches}
    moved = []
    clip = trainer._clip_grad_norm

    def watch(model):
        live = {branch.name for branch in trainer.round.live}
        for name, branch in trainer.branches.items():
            if name not in live:
                assert all(p.grad is None for p in branch.parameters), f"{name} is idle: no gradient, not even zeros"
        moved.append(live)
        return clip(model)

    trainer._clip_grad_norm = watch
    trainer.train()
    assert base_hash(trainer) == before
    experts, everyone = set(trainer.experts), set(trainer.branches)
    opd = {"student": everyone, "mutual": experts, "mopd": {"student"}}[topology]
    assert moved == [experts, experts, opd, opd]
    assert all(distance(start[name], weights(trainer, name)) > 1e-4 for name in everyone)


def test_frozen_teachers_of_mopd_stay_what_they_were(tmp_path):
    trainer = build_trainer(tmp_path, topology="mopd", rlvr_steps=1, opd_steps=2, max_steps=3, overlap_every=1)
    seen = {}
    step = trainer.training_step

    def watch(*args):
        if trainer.state.global_step == 1:
            seen.update({name: weights(trainer, name) for name in trainer.experts})
        return step(*args)

    trainer.training_step = watch
    trainer.train()
    assert all(distance(seen[name], weights(trainer, name)) == 0.0 for name in trainer.experts)


@pytest.mark.parametrize(("topology", "dropout"), [("student", 0.0), ("mutual", 0.0), ("mutual", 0.3)])
def test_the_order_of_branches_changes_nothing(tmp_path, topology, dropout):
    ends = []
    for order in (1, -1):
        config = lora(lora_dropout=dropout)
        trainer = build_trainer(tmp_path, build_experts()[::order], None, config, topology=topology, **CYCLE)
        replay_copd(trainer)
        trainer.train()
        ends.append({name: weights(trainer, name) for name in sorted(trainer.branches)})
    assert all(distance(ends[0][name], ends[1][name]) < 1e-6 for name in ends[0])


def test_same_seed_same_run(tmp_path):
    def run(seed, **overrides):
        trainer = build_trainer(tmp_path, seed=seed, **{**CYCLE, **overrides})
        trainer.train()
        return trainer

    first, again, other = run(7), run(7), run(8)
    for name in first.branches:
        assert distance(weights(first, name), weights(again, name)) == 0.0
        assert distance(weights(first, name), weights(other, name)) > 1e-4
    logged = [log["reward"] for log in first.state.log_history if "reward" in log]
    assert logged == [log["reward"] for log in again.state.log_history if "reward" in log]


def test_measuring_overlap_moves_nothing(tmp_path):
    ends = []
    for every in (1, 2):
        experts = build_experts(eval_dataset=None)
        trainer = build_trainer(tmp_path, experts, **{**CYCLE, "overlap_every": every})
        trainer.train()
        ends.append({name: weights(trainer, name) for name in trainer.branches})
    assert all(distance(ends[0][name], ends[1][name]) == 0.0 for name in ends[0])


def test_rewards_normalised_one_by_one(tmp_path):
    experts = build_experts(2)
    for expert in experts:
        expert.reward_funcs = [letter_reward, length_reward]
    trainer = build_trainer(
        tmp_path, experts, topology="mutual", multi_objective_aggregation="normalize_then_sum", **CYCLE
    )
    records = spy_on_batches(trainer)
    trainer.train()
    assert all(batch["advantages"].isfinite().all() for _, _, batch, _, _ in records) and len(records) == 8


@pytest.mark.parametrize(
    "reuse", [{"num_iterations": 2}, {"gradient_accumulation_steps": 2, "steps_per_generation": 1}]
)
def test_overlap_is_measured_once_a_round_whatever_is_reused(tmp_path, reuse):
    measured = {"overlap_every": 1, "overlap_edges": "all"}
    trainer = build_trainer(tmp_path, rlvr_steps=2, opd_steps=2, max_steps=4, **reuse, **measured)
    rounds = []
    compare = trainer.overlap.compare

    def watch(edge, rollouts):
        rounds.append(trainer.state.global_step)
        return compare(edge, rollouts)

    trainer.overlap.compare = watch
    trainer.train()
    assert sorted(set(rounds)) == [0, 1, 2, 3] and len(rounds) == 4 * len(trainer.topology.edges)


def test_rewards_reach_native_rows_of_their_domain_only(tmp_path):
    seen = {"math": set(), "code": set()}

    def watch(name):
        def reward(prompts, completions, solution, **kwargs):
            seen[name].update(domain_of(prompt) for prompt in prompts)
            return letter_reward(completions, solution)

        return reward

    experts = build_experts(2)
    for expert in experts:
        expert.reward_funcs = [watch(expert.name)]
    build_trainer(tmp_path, experts, topology="mutual", **CYCLE).train()
    assert seen == {"math": {"math"}, "code": {"code"}}
