"""One test for each row of the table in docs/faults.md: what goes wrong in a round, and what becomes of the run."""

import math
import types
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import build_trainer, distance, length_reward, letter_reward, replay_copd, rows, weights
from transformers import TrainerCallback

from trl_copd import Expert, adapters, last_checkpoint
from trl_copd.trainers.faults import MOST_IN_A_ROW, RewardError, guarded


class Snapshots(TrainerCallback):
    """The weights of every branch at the start of the run and after every round."""

    def __init__(self, trainer):
        self.trainer, self.taken = trainer, []

    def _take(self, *args, **kwargs):
        self.taken.append({name: weights(self.trainer, name) for name in self.trainer.branches})

    on_train_begin = on_step_end = _take


def build(folder, reward=letter_reward, **overrides):
    """Two experts without distillation on replayed rollouts, so that what one meets can show in the other."""
    experts = [Expert("math", rows(0, 20), reward), Expert("code", rows(1, 20), letter_reward)]
    settings = {"topology": "mutual", "opd_steps": 0, "rlvr_steps": 1, "max_steps": 4} | overrides
    trainer = build_trainer(folder, experts, **settings)
    replay_copd(trainer)
    trainer.add_callback(Snapshots(trainer))
    return trainer


def snapshots(trainer) -> list[dict]:
    return next(c for c in trainer.callback_handler.callbacks if isinstance(c, Snapshots)).taken


def logged(trainer, key) -> list:
    return [log[key] for log in trainer.state.log_history if key in log and "train_runtime" not in log]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    trainer = build(tmp_path_factory.mktemp("healthy"))
    trainer.train()
    return trainer


def assert_other_branch_unmoved(trainer, healthy):
    for one, other in zip(snapshots(trainer), snapshots(healthy), strict=True):
        assert distance(one["code"], other["code"]) == 0.0


# ---- Rewards --------------------------------------------------------------------------------------------------------


def spoilt(value, call=2, which=lambda row: row % 4 == 1):
    """`letter_reward`, with `value` instead of some grades of one call."""
    calls = [0]

    def reward(completions, solution, **kwargs):
        calls[0] += 1
        grades = letter_reward(completions, solution)
        bad = calls[0] == call or call is None
        return [value if bad and which(row) else grade for row, grade in enumerate(grades)]

    return reward


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_reward_is_no_number(tmp_path, healthy, caplog, value, proved):
    trainer = build(tmp_path / "bad", spoilt(value))
    trainer.train()
    ungraded = build(tmp_path / "none", spoilt(None))
    ungraded.train()
    assert distance(weights(trainer, "math"), weights(ungraded, "math")) == 0.0, "as if it had not been graded"
    assert distance(weights(trainer, "math"), weights(healthy, "math")) > 0.0
    assert_other_branch_unmoved(trainer, healthy)
    assert logged(trainer, "math/non_finite_rewards") == [2.0, 2.0, 2.0]  # from round 2 on, of 8 rows
    assert logged(ungraded, "math/ungraded_rows") == [2.0, 2.0, 2.0]
    assert not logged(trainer, "code/non_finite_rewards") and not logged(ungraded, "math/non_finite_rewards")
    assert all(math.isfinite(value) for value in logged(trainer, "math/reward"))
    assert caplog.text.count("a reward is NaN or infinite") == 1
    proved("a NaN or infinite reward counts as ungraded, bit for bit, and moves no other branch")


def test_reward_raises(tmp_path, proved):
    def broken_reward(completions, trainer_state, **kwargs):
        return [1 / (3 - trainer_state.global_step)] * len(completions)

    trainer = build(tmp_path, broken_reward, save_strategy="steps", save_steps=2)
    with pytest.raises(RuntimeError, match=r"Expert 'math': the reward 'broken_reward' raised ZeroDivisionError"):
        trainer.train()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
    proved("a reward that raises stops the run, named with its expert; the last checkpoint is intact")


def test_a_verifier_that_raises_in_the_last_matrix_loses_nothing(tmp_path):
    def late_reward(completions, trainer_state, **kwargs):
        if trainer_state.global_step == 3:
            raise KeyError("solution")
        return length_reward(completions)

    experts = [
        Expert(name, rows(i, 20), late_reward, eval_dataset=rows(i, 4)) for i, name in enumerate(("math", "code"))
    ]
    trainer = build_trainer(tmp_path, experts, topology="mutual", opd_steps=0, max_steps=3)
    with pytest.raises(RuntimeError, match="late_reward") as raised:
        trainer.train()
    assert "saved in" in raised.value.__notes__[0]
    saved = load_file(tmp_path / "experts" / "math" / "adapter_model.safetensors")
    kept = adapters.adapter_weights(trainer.peft_model, "math")
    assert all(torch.equal(saved[name], kept[name]) for name in kept)


def test_asynchronous_reward_raises(tmp_path):
    async def broken_reward(completions, **kwargs):
        raise KeyError("solution")

    with pytest.raises(RuntimeError, match=r"Expert 'math': the reward 'broken_reward' raised KeyError"):
        build(tmp_path, broken_reward).train()


RETURNED = {
    "words": (lambda rows: ["good"] * rows, "returned 'good' as the reward of completion 0"),
    "nothing": (lambda rows: None, "returned a NoneType"),
    "one number": (lambda rows: 1.0, "returned a float"),
    "a dictionary": (lambda rows: dict.fromkeys(range(rows), 1.0), "returned a dict"),
    "lists": (lambda rows: [0.5, [1.0]] + [0.0] * (rows - 2), r"returned \[1.0\] as the reward of completion 1"),
    "too many": (lambda rows: [1.0] * (rows + 1), "returned 5 rewards for 4 completions"),
}


@pytest.mark.parametrize("case", RETURNED)
def test_what_a_reward_returns_cannot_be_rewards(case):
    make, message = RETURNED[case]
    failures = []
    call = guarded(lambda completions, **_: make(len(completions)), "Expert 'a': the reward 'f'", failures)
    assert call(completions=[""] * 4) == [-math.inf] * 4
    with pytest.raises(RewardError, match=f"Expert 'a': the reward 'f' {message}. It must return a list with a num"):
        raise failures[0]


@pytest.mark.parametrize("of", [list, tuple, np.array, torch.tensor, iter], ids=lambda of: of.__name__)
def test_what_a_reward_may_return(of):
    failures = []
    call = guarded(lambda completions, **_: of([1, True, 0.5, math.nan]), "f", failures)
    assert call(completions=[""] * 4) == [1.0, 1.0, 0.5, math.inf] and not failures


def test_no_row_is_graded(tmp_path, healthy, proved):
    trainer = build(tmp_path, spoilt(None, which=lambda row: True))
    trainer.train()
    assert_other_branch_unmoved(trainer, healthy)
    assert logged(trainer, "math/ungraded_rows") == [8.0, 8.0, 8.0]
    assert logged(trainer, "math/reward")[1] is None  # TRL's: no number to show
    assert all(tensor.isfinite().all() for tensor in weights(trainer, "math").values())
    proved("a batch that nothing graded is counted and survived, and moves no other branch")


def test_no_row_is_graded_for_long(tmp_path):
    trainer = build(tmp_path, spoilt(None, call=None, which=lambda row: True), max_steps=20)
    with pytest.raises(RuntimeError, match=f"Expert 'math': no row of a batch was graded.*{MOST_IN_A_ROW} times in"):
        trainer.train()
    assert trainer.state.global_step == MOST_IN_A_ROW - 1


def test_reward_is_no_number_in_an_evaluation(tmp_path):
    trainer = build(tmp_path, spoilt(math.inf, call=None))
    trainer.experts["math"].eval_dataset = rows(50, 8)
    matrix = trainer.capability_matrix()
    assert 0.0 <= matrix["math"]["math"] <= 1.0
    assert "8 ungraded answers" in (tmp_path / "capability_matrix.md").read_text()  # 2 of 8 rows, four adapters


# ---- Rollouts and teaching ------------------------------------------------------------------------------------------


def with_completions(trainer, change):
    generate, calls = trainer.engine.generate, [0]

    def changed(prompt_ids, names, greedy=False):
        calls[0] += 1
        completions, logps = generate(prompt_ids, names, greedy)
        return [change(ids, row, names[row]) if calls[0] == 2 else ids for row, ids in enumerate(completions)], logps

    trainer.engine.generate = changed


@pytest.mark.parametrize("share", ["some rows", "all rows of a branch"])
def test_empty_completions(tmp_path, healthy, share, proved):
    def empty(ids, row, name, nothing):
        return nothing if name == "math" and (share != "some rows" or row % 4 == 0) else ids

    trainer = build(tmp_path / "empty")
    with_completions(trainer, lambda *row: empty(*row, nothing=[]))
    trainer.train()
    ended = build(tmp_path / "ended")
    with_completions(ended, lambda *row: empty(*row, nothing=[2]))  # only `<eos>`
    ended.train()
    assert distance(weights(trainer, "math"), weights(ended, "math")) == 0.0
    assert distance(weights(trainer, "math"), weights(healthy, "math")) > 0.0
    assert_other_branch_unmoved(trainer, healthy)
    count = 2.0 if share == "some rows" else 8.0
    assert logged(trainer, "math/empty_completions") == logged(ended, "math/empty_completions") == [count] * 3
    assert all(tensor.isfinite().all() for tensor in weights(trainer, "math").values())
    proved("empty completions are counted and survived, and move no other branch")


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_row_of_teaching_is_no_number(tmp_path, value):
    """The row is as if its completion were masked: its advantages are 0, and those of the other rows as they were."""
    trainer = build_trainer(tmp_path, max_steps=2, rlvr_steps=1, opd_steps=1, overlap_every=1)
    teaching = trainer.teaching
    score, teach, taught = teaching.score, teaching.teach, []

    def spoil(learner, faults, batch, edges):
        if learner != "student":
            return teach(learner, faults, batch, edges)
        teach(learner, faults, batch, edges)
        clean = batch["advantages"]
        edge_metrics = {key: list(values) for key, values in trainer.recorder.edges.items()}
        calls = [0]

        def scored(*args, **kwargs):
            calls[0] += 1
            logps = score(*args, **kwargs)
            if calls[0] == 2:  # the learner is scored first, then its teachers
                logps[1, 0] = value
            return logps

        teaching.score = scored
        try:
            teach(learner, faults, batch, edges)
        finally:
            teaching.score = score
        taught.append((clean, batch["advantages"]))
        trainer.recorder.edges.update(edge_metrics)

    teaching.teach = spoil
    trainer.train()
    clean, bad = taught[0]
    assert bad[1].eq(0).all() and clean[1].ne(0).any()
    others = [row for row in range(len(clean)) if row != 1]
    assert torch.equal(bad[others], clean[others])
    assert logged(trainer, "student/untaught_rows") == [1.0]
    assert all(math.isfinite(v) for log in trainer.state.log_history for k, v in log.items() if k.endswith("/opd/kl"))
    for name in trainer.branches:
        assert all(tensor.isfinite().all() for tensor in weights(trainer, name).values())


# ---- The update -----------------------------------------------------------------------------------------------------


def spoil_gradient(trainer, value, rounds=(2,)):
    """Multiply the gradient of one tensor of `math` by `value` in some rounds (1-based)."""

    def hook(gradient):
        return gradient * value if trainer.state.global_step + 1 in rounds else gradient

    trainer.branches["math"].parameters[3].register_hook(hook)


def spoil_loss(trainer, value, rounds=(2,)):
    branch = trainer.branches["math"]
    compute = branch.compute_loss

    def spoilt(*args, **kwargs):
        loss = compute(*args, **kwargs)
        return loss * value if trainer.state.global_step + 1 in rounds else loss

    branch.compute_loss = spoilt


@contextmanager
def left_out(trainer, round_):
    """What should come out: in one round `math` takes no part in the optimizer's step."""
    clip = trainer._clip_grad_norm

    def without(model):
        norm = clip(model)
        if trainer.state.global_step + 1 == round_:
            for parameter in trainer.branches["math"].parameters:
                parameter.grad = None
        return norm

    trainer._clip_grad_norm = without
    yield trainer


SPOILT = {
    "gradient NaN": (spoil_gradient, math.nan, 1.0),
    "gradient infinite": (spoil_gradient, math.inf, 1.0),
    "gradient NaN, no clipping": (spoil_gradient, math.nan, 0.0),
    "loss NaN": (spoil_loss, math.nan, 1.0),
    "loss infinite": (spoil_loss, math.inf, 1.0),
}


@pytest.mark.parametrize("case", SPOILT)
def test_gradient_or_loss_is_no_number(tmp_path, healthy, caplog, case, proved):
    spoil, value, max_grad_norm = SPOILT[case]
    trainer = build(tmp_path / "bad", max_grad_norm=max_grad_norm)
    spoil(trainer, value)
    trainer.train()
    before, after = snapshots(trainer)[1:3]
    assert distance(before["math"], after["math"]) == 0.0, "not moved, not even by Adam's momentum"
    assert distance(before["code"], after["code"]) > 0.0
    with left_out(build(tmp_path / "out", max_grad_norm=max_grad_norm), 2) as expected:
        expected.train()
    for name in trainer.branches:
        assert distance(weights(trainer, name), weights(expected, name)) == 0.0, name
    if max_grad_norm == 1.0:
        assert_other_branch_unmoved(trainer, healthy)
    assert logged(trainer, "math/skipped_updates") == [1.0, 1.0, 1.0]
    assert not logged(trainer, "code/skipped_updates")
    assert all(math.isfinite(v) for key in ("loss", "grad_norm", "code/grad_norm") for v in logged(trainer, key))
    assert caplog.text.count("is not updated in this round") == 1
    proved("a NaN or infinite gradient or loss: no update of its branch, others bit for bit the same")


def test_every_branch_is_skipped(tmp_path):
    trainer = build(tmp_path)
    spoil_gradient(trainer, math.nan)
    trainer.branches["code"].parameters[0].register_hook(
        lambda gradient: gradient * (math.nan if trainer.state.global_step == 1 else 1.0)
    )
    trainer.train()
    assert logged(trainer, "grad_norm")[1] == 0.0
    assert all(distance(snapshots(trainer)[1][n], snapshots(trainer)[2][n]) == 0.0 for n in trainer.branches)


def test_gradients_are_no_numbers_for_long(tmp_path):
    trainer = build(tmp_path, max_steps=20)
    spoil_gradient(trainer, math.nan, rounds=[1, *range(3, 20)])
    with pytest.raises(RuntimeError, match=f"'math': the gradient was not finite {MOST_IN_A_ROW} times in a row"):
        trainer.train()
    assert trainer.state.global_step == 1 + MOST_IN_A_ROW  # round 2 was well


def test_counts_are_resumed(tmp_path):
    trainer = build(tmp_path, save_strategy="steps", save_steps=2)
    spoil_gradient(trainer, math.nan)
    trainer.train()
    resumed = build(tmp_path)
    spoil_gradient(resumed, math.nan, rounds=(4,))
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert logged(resumed, "math/skipped_updates") == [1.0, 1.0, 2.0]


def test_fp16_leaves_the_round_to_the_scaler(tmp_path):
    """The scaler skips the step of all branches and lowers its scale: no skipped branch, no limit until it is tiny."""
    trainer = build(tmp_path)
    branch = trainer.branches["math"]
    scaler = types.SimpleNamespace(get_scale=lambda: 65536.0)
    branch.parameters[0].grad = torch.zeros_like(branch.parameters[0])
    for _ in range(2 * MOST_IN_A_ROW):
        assert not branch.faults.check_gradient(math.inf, branch.parameters, scaler)
    assert branch.parameters[0].grad is not None
    scaler = types.SimpleNamespace(get_scale=lambda: 0.5)
    with pytest.raises(RuntimeError, match="loss scale below 1"):
        branch.faults.check_gradient(math.inf, branch.parameters, scaler)
