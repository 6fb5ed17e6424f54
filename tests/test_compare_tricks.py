"""Tricks from elsewhere: each against a closed form, and what is run."""

import math
from functools import partial

import pytest
import torch
from compare_records import record
from test_compare import recipe
from tiny import build_experts, build_trainer, replay_copd

from benchmarks import tricks
from benchmarks.compare import rollouts
from benchmarks.compare_methods import BUDGET, TAIL
from benchmarks.compare_results import Results, key
from benchmarks.compare_tricks import PLAIN, REFERENCES, TRICKS, tricks_table
from trl_copd import divergence
from trl_copd.distillation import token_advantages, topk_reverse_kl
from trl_copd.trainers import teaching


@pytest.fixture
def patched(monkeypatch):
    """`tricks.play`, taken back after the test."""
    for place, name in ((teaching, "token_advantages"), (teaching.Teaching, "teach"), (divergence, "topk_reverse_kl")):
        monkeypatch.setattr(place, name, getattr(place, name))
    return tricks.play


def test_a_bounded_ratio_by_hand():
    teacher, learner = torch.tensor([[-1.0, -9.0, -0.1]]), torch.tensor([[-1.5, -1.0, -9.0]])
    mask = torch.tensor([[1, 1, 0]])
    plain = token_advantages(teacher, learner, mask, 2.0)
    assert torch.equal(tricks.bounded_ratio(1.0)(teacher, learner, mask, 2.0, None), plain)
    half = tricks.bounded_ratio(0.5)(teacher, learner, mask, 2.0, None)
    by_hand = [2 * math.log(0.5 * math.exp(0.5) + 0.5), 2 * math.log(0.5 * math.exp(-8.0) + 0.5), 0.0]
    assert half.tolist()[0] == pytest.approx(by_hand, abs=1e-6)
    assert tricks.bounded_ratio(0.1)(teacher - 1000, learner, mask, 2.0, None)[0, 0].item() == pytest.approx(
        2 * math.log(0.9), abs=1e-6
    )


def test_targets_by_hand():
    torch.manual_seed(0)
    head, (base, up, down) = torch.randn(7, 4), torch.randn(3, 5, 4)
    assert torch.equal(tricks.target(up, base, [], 1.0, 0.0), up)
    for own, others in ((1.5, 0.0), (1.0, 1.0), (0.25, 0.25)):
        logits = [states @ head.T for states in (base, up, down)]
        wanted = logits[0] + own * (logits[1] - logits[0]) + others * (logits[2] - logits[0])
        found = tricks.target(up, base, [down - base], own, others) @ head.T
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_domains_of_unlike_lengths_weigh_the_same():
    tokens, domains = [2, 2, 8, 4], ["up", "up", "back", "down"]
    weights = tricks.token_weights(tokens, domains)
    assert weights == pytest.approx([16 / 3 / 4, 16 / 3 / 4, 16 / 3 / 8, 16 / 3 / 4])
    assert sum(w * t for w, t in zip(weights, tokens, strict=True)) == pytest.approx(16)
    assert tricks.token_weights([7] * 4, ["up", "up", "back", "back"]) == [1.0] * 4


def test_the_teachers_most_likely_tokens():
    learner = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]]).log()
    teacher = torch.tensor([[0.2, 0.5, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]]).log()
    by_hand = 0.1 * math.log(0.1 / 0.5) + 0.9 * math.log(0.9 / 0.5)
    assert tricks.teacher_topk_reverse_kl(learner, teacher, 1).tolist() == pytest.approx([by_hand, 0.0], abs=1e-6)
    torch.manual_seed(0)
    one, other = torch.randn(2, 9, 32)
    whole = topk_reverse_kl(one, other, 1000)
    torch.testing.assert_close(tricks.teacher_topk_reverse_kl(one, other, 1000), whole)
    same = other + 0.01 * one  # both have the same order of the likeliest ones
    order = other.argsort(-1, descending=True)[:, :2]
    kept = (same.argsort(-1, descending=True)[:, :2] == order).all(-1)
    ours, theirs = tricks.teacher_topk_reverse_kl(same, other, 2), topk_reverse_kl(same, other, 2)
    assert kept.sum() > 5
    torch.testing.assert_close(ours[kept], theirs[kept])


def taught_batch(tmp_path, count, loss="forward_kl"):
    """The batch of a student's first round, taught by experts that are not yet alike, and the run."""
    trainer = build_trainer(
        tmp_path, build_experts(count), topology="mopd", opd_loss=loss, rlvr_steps=1, opd_steps=1, max_steps=2,
        overlap_every=0, learning_rate=0.1, share_prompts=True,
    )  # fmt: skip
    replay_copd(trainer)
    seen = []

    def spy(generate, inputs):
        seen.append(generate(inputs))
        return seen[-1]

    student = trainer.branches["student"]
    student._generate_and_score_completions = partial(spy, student._generate_and_score_completions)
    trainer.train()
    return seen[0]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The batch of two teachers without a trick."""
    return taught_batch(tmp_path_factory.mktemp("plain"), 2)


def test_a_plain_target_is_the_teacher_to_the_bit(tmp_path, patched, plain):
    patched("target", own=1.0)
    again = taught_batch(tmp_path, 2)
    for one, other in zip(plain["teacher_states"], again["teacher_states"], strict=True):
        assert len(one) > 1 and torch.equal(one, other)


def test_all_teachers_are_the_teacher_if_there_is_one(tmp_path, patched):
    alone = taught_batch(tmp_path / "plain", 1)
    patched("target", own=1.0, others=1.0)
    again = taught_batch(tmp_path / "again", 1)
    assert all(map(torch.equal, alone["teacher_states"], again["teacher_states"]))


def test_other_teachers_and_the_base_are_scored(tmp_path, patched, plain):
    patched("target", own=0.0)
    base = taught_batch(tmp_path / "base", 2)["teacher_states"]
    own = plain["teacher_states"]
    teaching.Teaching.teach = teaching.Teaching.teach.__wrapped__
    patched("target", own=2.0)
    for beyond, row, start in zip(taught_batch(tmp_path / "2", 2)["teacher_states"], own, base, strict=True):
        assert (row - start).abs().max() > 1e-3
        torch.testing.assert_close(beyond, 2 * row - start, atol=1e-5, rtol=1e-5)
    teaching.Teaching.teach = teaching.Teaching.teach.__wrapped__
    patched("target", own=0.0, others=1.0)  # the base plus what the other of the two teachers adds
    other = taught_batch(tmp_path / "others", 2)["teacher_states"]
    assert all((a - b).abs().max() > 1e-4 for rows in (own, base) for a, b in zip(other, rows, strict=True))


def test_token_shares_weigh_the_rows_of_a_run(tmp_path, patched, plain):
    patched("token-share")
    again = taught_batch(tmp_path, 2)
    tokens = plain["completion_mask"].sum(1)
    half = len(tokens) // 2
    totals = [(again["advantages"][part].sum()).item() for part in (slice(half), slice(half, None))]
    assert tokens[:half].sum() != tokens[half:].sum()
    assert totals == pytest.approx([tokens.sum().item() / 2] * 2)


@pytest.mark.parametrize("trick, loss", [("bounded-ratio", "sampled"), ("teacher-top-k", "topk")])
def test_a_run_uses_the_patch(tmp_path, patched, trick, loss, monkeypatch):
    asked = []
    place, name = (teaching, "token_advantages") if loss == "sampled" else (divergence, "topk_reverse_kl")
    patched(trick, **({"alpha": 0.5} if loss == "sampled" else {}))
    trick_itself = getattr(place, name)
    monkeypatch.setattr(place, name, lambda *args: asked.append(1) or trick_itself(*args))
    taught_batch(tmp_path, 1, loss)
    assert asked


def test_an_unknown_trick_is_refused():
    with pytest.raises(ValueError, match="magic"):
        tricks.play("magic")


def test_all_runs_are_unlike_and_have_the_rollouts_of_the_other_methods(tmp_path):
    assert len({key(method.candidates[0]) for method in TRICKS.values()}) == len(TRICKS)
    assert set(REFERENCES) == set(TRICKS) - {PLAIN} and set(REFERENCES.values()) < set(TRICKS)
    for method in TRICKS.values():
        (job,) = method.candidates
        own = recipe(job, tmp_path, tmp_path)
        steps = own["max_steps"] * (4 if own.get("method") == "mixed" else 1)
        spent = rollouts(own, steps)
        if job.head is None:
            assert set(job.adapters) == {domain["name"] for domain in own["domains"]}
            spent += rollouts(recipe(job.parent, tmp_path, tmp_path), job.parent.fields["max_steps"])
            job = job.parent
        assert spent == 128 * TAIL
        assert spent + rollouts(recipe(job.parent, tmp_path, None), job.head) == 128 * BUDGET


def test_the_table_of_tricks(tmp_path):
    made = Results(tmp_path / "results.jsonl")
    made.add(record(TRICKS[PLAIN].candidates[0], 100, 1.0))
    assert tricks_table(made) == ""
    made.add(record(TRICKS[PLAIN].candidates[0], 101, 0.5))
    made.add(record(TRICKS["beyond, 1.5"].candidates[0], 100, 0.9))
    made.add(record(TRICKS["beyond, 1.5"].candidates[0], 101, 0.6))
    made.add(record(TRICKS["bounded-ratio, 0.5"].candidates[0], 101, 0.5))
    assert tricks_table(made).splitlines() == [
        "| Run | 100 | 101 | mean | `back` | reference | minus it, seed by seed | CPU s |",
        "|---|---|---|---|---|---|---|---|",
        "| mopd-merge-again | 0.800 | 0.400 | 0.600 | 0.600 |  |  | 30 |",
        "| bounded-ratio, 0.5 |  | 0.400 | 0.400 | 0.400 | sampled |  | 30 |",
        "| beyond, 1.5 | 0.720 | 0.480 | 0.600 | 0.600 | mopd-merge-again | -0.080, +0.080 | 30 |",
    ]
