"""transformers' schedules end with a budget of rollouts, whichever function of the step they are."""

import pytest
import torch
from transformers import get_scheduler

from trl_copd.trainers.budget import follow_rollouts


STEPS, BUDGET = 20, 80
KINDS = {
    "linear": {}, "cosine": {}, "polynomial": {}, "constant": {}, "constant_with_warmup": {}, "inverse_sqrt": {},
    "cosine_with_restarts": {"num_cycles": 2}, "cosine_with_min_lr": {"min_lr": 0.1},
    "cosine_warmup_with_min_lr": {"min_lr": 0.1}, "warmup_stable_decay": {"num_decay_steps": 8},
}  # fmt: skip


def schedule(kind):
    """A rate of 1 and one of 10, as an expert may have."""
    optimizer = torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (1.0, 10.0)])
    return get_scheduler(kind, optimizer, 2, STEPS, scheduler_specific_kwargs=KINDS[kind])


def rates(scheduler):
    scheduler.optimizer.step()
    scheduler.step()
    return [group["lr"] for group in scheduler.optimizer.param_groups]


@pytest.mark.parametrize("kind", KINDS)
def test_a_schedule_stands_where_the_rollouts_do(kind):
    plain = schedule(kind)
    by_step = [rates(plain) for _ in range(STEPS)]  # after so many steps, from 1
    following, spent = schedule(kind), 0
    follow_rollouts(following, STEPS, BUDGET, lambda: spent)
    for steps in (1, 4, 5, 10, 17, 20):  # a round may take several branches' rollouts
        spent = steps * BUDGET // STEPS
        assert rates(following) == by_step[steps - 1]


def test_rounds_that_outrun_the_rollouts_count():
    following = schedule("linear")
    follow_rollouts(following, 4, BUDGET, lambda: 0)
    assert [rates(following)[0] for _ in range(3)] == [0.5, 1.0, 17 / 18]


def test_beyond_the_budget_a_schedule_stays_at_its_end():
    following = schedule("cosine")
    follow_rollouts(following, STEPS, BUDGET, lambda: BUDGET + 20)
    assert rates(following) == pytest.approx([0.0, 0.0])


def test_what_follows_no_step_is_left_alone():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    plateau = get_scheduler("reduce_lr_on_plateau", optimizer)
    before = dict(vars(plateau))
    follow_rollouts(plateau, STEPS, BUDGET, lambda: BUDGET)
    assert vars(plateau) == before
