"""`allocation`, `max_rollouts`, frozen experts, and the grades of cross rows, in runs."""

import pytest
import torch
from datasets import concatenate_datasets
from tiny import (
    build_experts,
    build_trainer,
    distance,
    history,
    letter_reward,
    replay_copd,
    rows,
    weights,
)
from transformers import TrainerCallback

from trl_copd import Expert
from trl_copd.compare.jobs import rollouts_of
from trl_copd.trainers.learner import signals


def learnt(completions, **kwargs):
    """Every answer is right: no group's rewards differ, and there is no room."""
    return [1.0] * len(completions)


def experts(**options):
    return [Expert("easy", rows(0, 20), learnt, **options), Expert("hard", rows(1, 20), letter_reward, **options)]


ADAPTIVE = {"allocation": "adaptive", "allocation_floor": 0.25, "overlap_every": 0}


def live_rounds(trainer):
    """Which branches take part in each round."""
    seen, sample = [], trainer.round._sample

    def watch():
        seen.append([branch.name for branch in trainer.round.live])
        sample()

    trainer.round._sample = watch
    return seen


def test_a_learnt_domain_rests_is_unmoved_and_is_woken(tmp_path):
    trainer = build_trainer(tmp_path, experts(), topology="mutual", opd_steps=0, max_steps=9, **ADAPTIVE)
    seen, start = live_rounds(trainer), weights(trainer, "easy")
    trainer.train()
    assert seen == [["easy", "hard"]] + ([["hard"]] * 3 + [["easy", "hard"]]) * 2
    assert distance(start, weights(trainer, "easy")) == 0.0, "without a difference nothing moves it, awake or not"
    logs = [log for log in trainer.state.log_history if "easy/rests" in log]
    assert [log["easy/rests"] for log in logs] == [0, 1, 1, 1, 0, 1, 1, 1, 0]
    assert logs[-1]["easy/allocation"] == 0.25 and logs[-1]["hard/allocation"] == 1.0
    assert logs[-1]["rollouts"] == 8 * sum(map(len, seen)) == 96


def test_what_is_logged_of_an_allocation_is_the_mean_over_rounds(tmp_path):
    trainer = build_trainer(
        tmp_path, experts(), topology="mutual", opd_steps=0, max_steps=4, logging_steps=4, **ADAPTIVE
    )
    trainer.train()
    (log,) = (log for log in trainer.state.log_history if "easy/rests" in log)
    assert (log["easy/rests"], log["hard/rests"]) == (0.75, 0.0)
    assert (log["easy/allocation"], log["hard/allocation"]) == ((1 + 3 * 0.25) / 4, 1.0)


def test_a_run_ends_with_its_rollouts_and_keeps_some_for_the_student(tmp_path):
    """12 generations of 8 rows; the last 3 are the student's, whichever rounds that are."""
    trainer = build_trainer(
        tmp_path, experts(), topology="student", rlvr_steps=4, opd_steps=0, final_opd_steps=3, max_rollouts=96,
        max_steps=-1, save_strategy="steps", save_steps=100, **ADAPTIVE,
    )  # fmt: skip
    seen = live_rounds(trainer)
    trainer.train()
    assert trainer.round.rollouts == 96 == 8 * sum(map(len, seen))
    assert seen[-3:] == [["student"]] * 3 and all("hard" in live for live in seen[:-3])
    tokens = [log["num_tokens"] for log in history(trainer) if "loss" in log]
    assert len(tokens) == len(seen) and tokens == sorted(tokens) and tokens[-1] == trainer.state.num_input_tokens_seen
    assert trainer.state.global_step == len(seen) < trainer.state.max_steps == 12
    assert (tmp_path / f"checkpoint-{len(seen)}").is_dir(), "the end of a run is saved"


def test_the_learning_rate_falls_with_the_rollouts_to_the_end_of_the_run(tmp_path):
    trainer = build_trainer(
        tmp_path, experts(), topology="student", rlvr_steps=4, opd_steps=0, final_opd_steps=3, max_rollouts=96,
        max_steps=-1, learning_rate=1e-3, lr_scheduler_type="linear", **ADAPTIVE,
    )  # fmt: skip
    trainer.train()
    logs = [log for log in trainer.state.log_history if "learning_rate" in log]
    before = [0, *(log["rollouts"] for log in logs[:-1])]
    assert [log["learning_rate"] for log in logs] == pytest.approx([1e-3 * (1 - spent / 96) for spent in before])
    assert before[1] == 16 and before[-1] == 96 - 8, "two experts begin; the student's last round has a twelfth left"


@pytest.mark.parametrize(
    ("overrides", "rounds", "rollouts"),
    [
        ({}, 6, 6 * 8),
        ({"num_iterations": 2}, 6, 3 * 8),  # a generation serves two rounds
        ({"gradient_accumulation_steps": 2, "steps_per_generation": 4}, 6, 3 * 32),
        ({"gradient_accumulation_steps": 2, "steps_per_generation": 1}, 6, 12 * 8),  # a round has two generations
        ({"steps_per_generation": 4, "num_iterations": 8, "per_device_train_batch_size": 4}, 32, 16),
    ],
)
def test_with_one_branch_a_budget_is_as_many_steps(tmp_path, overrides, rounds, rollouts):
    settings = {"topology": "mutual", "opd_steps": 0, "lr_scheduler_type": "linear", "warmup_steps": 2, **overrides}
    runs = {}
    for name, budget in {"steps": None, "rollouts": rollouts}.items():
        runs[name] = build_trainer(tmp_path / name, experts()[1:], **settings, max_steps=rounds, max_rollouts=budget)
        runs[name].train()
    assert history(runs["steps"]) == history(runs["rollouts"]) and runs["rollouts"].round.rollouts == rollouts
    assert distance(weights(runs["steps"], "hard"), weights(runs["rollouts"], "hard")) == 0.0


@pytest.mark.parametrize(
    ("overrides", "rollouts"),
    [
        (
            {"gradient_accumulation_steps": 4, "steps_per_generation": 1},
            240,
        ),  # an epoch's last round is short
        ({"gradient_accumulation_steps": 2, "steps_per_generation": 3}, 96),  # a round ends in mid-generation
        ({"num_iterations": 2}, 50),  # the last generation goes beyond it
    ],
)
def test_a_budget_is_spent_whatever_rounds_that_takes(tmp_path, overrides, rollouts):
    trainer = build_trainer(
        tmp_path, experts()[1:], topology="mutual", opd_steps=0, max_steps=-1, max_rollouts=rollouts,
        lr_scheduler_type="cosine", **overrides,
    )  # fmt: skip
    trainer.train()
    assert rollouts <= trainer.round.rollouts <= rollouts + trainer.args.generation_batch_size
    rates = [log["learning_rate"] for log in trainer.state.log_history if "learning_rate" in log]
    assert rates == sorted(rates, reverse=True) and rates[-1] < 0.1 * rates[0]


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"num_iterations": 2},
        {"gradient_accumulation_steps": 4, "steps_per_generation": 2},
        {"gradient_accumulation_steps": 4, "generation_batch_size": 8},
        {"generation_batch_size": 16},
    ],
)
def test_a_comparison_counts_what_a_run_samples(tmp_path, overrides):
    phases = {"topology": "student", "rlvr_steps": 2, "opd_steps": 2, "final_opd_steps": 2, "max_steps": 8}
    recipe = {"domains": [{"name": "easy"}, {"name": "hard"}], "per_device_train_batch_size": 8, **phases, **overrides}
    pair = [Expert("easy", rows(0, 32), learnt), Expert("hard", rows(1, 32), letter_reward)]  # whole rounds an epoch
    trainer = build_trainer(tmp_path, pair, overlap_every=0, **phases, **overrides)
    trainer.train()
    assert rollouts_of(recipe) == trainer.round.rollouts


@pytest.mark.parametrize("overrides", [{"max_steps": 8, "rlvr_steps": 2, "opd_steps": 2},
                                       {"max_rollouts": 120, "max_steps": -1, "rlvr_steps": 2, "opd_steps": 0,
                                        "final_opd_steps": 4, "lr_scheduler_type": "cosine"}])  # fmt: skip
def test_resumes_to_the_bit(tmp_path, overrides):
    settings = {"topology": "student", "save_strategy": "steps", "save_steps": 5, **ADAPTIVE, **overrides}
    whole = build_trainer(tmp_path, experts(), **settings)
    whole.train()
    resumed = build_trainer(tmp_path, experts(), **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    assert history(resumed) == history(whole)
    for name in whole.branches:
        assert distance(weights(whole, name), weights(resumed, name)) == 0.0


def test_resumed_in_the_same_process_a_round_is_planned_anew(tmp_path):
    class Interrupt(TrainerCallback):
        def on_substep_end(self, args, state, control, **kwargs):
            if state.global_step == 2:
                raise KeyboardInterrupt

    settings = {"topology": "mutual", "opd_steps": 0, "gradient_accumulation_steps": 2, "max_steps": 3,
                "save_strategy": "steps", "save_steps": 2, **ADAPTIVE}  # fmt: skip
    whole = build_trainer(tmp_path / "whole", experts(), **settings)
    whole.train()
    broken = build_trainer(tmp_path, experts(), **settings)
    broken.add_callback(Interrupt())
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    broken.remove_callback(Interrupt)
    broken.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert broken.round.allocation.state_dict() == whole.round.allocation.state_dict()
    for name in whole.branches:
        assert distance(weights(whole, name), weights(broken, name)) == 0.0


def test_pooled_domains_share_a_branch_by_their_promise(tmp_path):
    pooled = concatenate_datasets(
        [rows(0, 20).add_column("domain", ["easy"] * 20), rows(50, 20).add_column("domain", ["hard"] * 20)]
    )
    drawn = []

    def graded(prompts, completions, domain, solution, **kwargs):
        drawn.append(domain[::4])  # one of each group
        own = letter_reward(completions, solution)
        return [1.0 if name == "easy" else reward for name, reward in zip(domain, own, strict=True)]

    expert = Expert("mixed", pooled, graded, domain_column="domain")
    settings = {"topology": "mutual", "opd_steps": 0, "max_steps": 6, "per_device_train_batch_size": 40}
    trainer = build_trainer(tmp_path, [expert], **settings, **ADAPTIVE)
    trainer.train()
    assert drawn[0].count("easy") == 5 and len(drawn[0]) == 10
    assert [round_.count("easy") for round_ in drawn[1:]] == [2] * 5, "a fifth: weights 0.25 and 1"


def test_the_grade_of_cross_rows_enters_nothing(tmp_path):
    """Grades that are higher by 5 are logged, and move nobody."""
    logged, ends = [], []
    for more in (0.0, 5.0):
        trainer = build_trainer(
            tmp_path / str(more), build_experts(1), topology="student", rlvr_steps=1, opd_steps=3, max_steps=4,
            overlap_every=0,
        )  # fmt: skip
        grade = trainer.branches["math"].grade
        trainer.branches["math"].grade = lambda *args, grade=grade, more=more: grade(*args) + more
        replay_copd(trainer)
        trainer.train()
        logged.append([log["student/math/reward"] for log in trainer.state.log_history if log.get("phase") == 1])
        ends.append({branch: weights(trainer, branch) for branch in trainer.branches})
    assert len(logged[0]) == 3 and logged[1] == pytest.approx([value + 5 for value in logged[0]])
    assert all(distance(ends[0][name], ends[1][name]) == 0.0 for name in ends[0])


def test_the_grade_of_cross_rows_is_the_mean_of_the_first_reward(tmp_path):
    trainer = build_trainer(tmp_path, build_experts(2), topology="student", rlvr_steps=1, opd_steps=1, max_steps=2,
                            overlap_every=0, per_device_train_batch_size=16, log_completions=True)  # fmt: skip
    seen = {}
    student = trainer.branches["student"]
    grade = student._grade_cross_rows

    def watch():
        for (edge, row), (completion, _) in zip(student.rows.crossing, student.taught.sampled, strict=True):
            seen.setdefault(edge.domain, []).append(letter_reward([completion], [row["solution"]])[0])
        grade()

    student._grade_cross_rows = watch
    trainer.train()
    log = next(log for log in trainer.state.log_history if "student/math/reward" in log)
    for domain in ("math", "code"):
        assert log[f"student/{domain}/reward"] == pytest.approx(sum(seen[domain]) / len(seen[domain]))


@pytest.mark.parametrize("topology", ["student", "mutual", "mopd"])
def test_a_frozen_expert_teaches_and_never_moves(tmp_path, topology):
    first = build_trainer(tmp_path / "first", build_experts(1), topology="mutual", opd_steps=0, max_steps=3)
    first.train()
    first.save_model()
    made = [Expert("math", rows(0, 20), letter_reward, adapter=tmp_path / "first/experts/math", frozen=True),
            *build_experts(2)[1:]]  # fmt: skip
    trainer = build_trainer(tmp_path, made, topology=topology, rlvr_steps=2, opd_steps=2, max_steps=4, overlap_every=2)
    before = {name: weights(trainer, name) for name in trainer.branches}
    trainer.train()
    moved = {name: distance(before[name], weights(trainer, name)) for name in trainer.branches}
    assert moved.pop("math") == 0.0 and all(distance > 1e-4 for distance in moved.values())
    assert not [edge for edge in trainer.topology.edges if edge.learner == "math"]
    assert [edge for edge in trainer.topology.edges if edge.teacher == "math"]


def test_a_finished_student_teaches_what_it_knows(tmp_path):
    """Where its experts are lost, the student stands in for each of them; it may have another rank than the run."""
    first = build_trainer(tmp_path / "first", build_experts(2), topology="student", student_init="merge", max_steps=2)
    first.train()
    first.save_model()
    done = [Expert(e.name, e.train_dataset, letter_reward, adapter=tmp_path / "first", frozen=True)
            for e in build_experts(2)]  # fmt: skip
    new = Expert("new", rows(40, 60), letter_reward)
    trainer = build_trainer(tmp_path, [*done, new], topology="mopd", rlvr_steps=2, opd_steps=2, max_steps=4)
    before = {name: weights(trainer, name) for name in trainer.branches}
    trainer.train()
    moved = {name: distance(before[name], weights(trainer, name)) for name in trainer.branches}
    assert moved["math"] == moved["code"] == 0.0 and moved["new"] > 1e-4 and moved["student"] > 1e-4
    assert distance(before["math"], before["code"]) == 0.0


def test_what_cannot_be():
    with pytest.raises(ValueError, match="'math' is frozen, but has no adapter"):
        Expert("math", rows(), letter_reward, frozen=True)
    with pytest.raises(ValueError, match="no column 'kind' in `train_dataset`.*domain_column"):
        Expert("math", rows(), letter_reward, domain_column="kind")


@pytest.mark.parametrize(("overrides", "message"), [
    ({"allocation": "greedy"}, "allocation='greedy' is unknown"),
    ({"allocation_floor": 0.0}, "`allocation_floor` must be > 0"),
    ({"max_rollouts": 0}, "`max_rollouts` must be >= 1"),
    ({"max_rollouts": 16, "final_opd_steps": 2, "topology": "student"}, "use up max_rollouts=16"),
])  # fmt: skip
def test_values_are_checked(tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message):
        build_trainer(tmp_path, **overrides)


def test_signals_by_hand():
    nan = torch.nan
    rewards = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, nan], [1.0, nan], [nan, nan], [nan, nan]])
    shown = signals(rewards, torch.tensor([1.0, 0.1]), ["a", "a", "b"], 2)
    assert shown["a"] == (0.5, 0.75)
    assert all(value != value for value in shown["b"]), "nothing of b was graded"
