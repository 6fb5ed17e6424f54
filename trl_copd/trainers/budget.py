"""A run that ends with its budget of rollouts (`max_rollouts`): how many rounds that takes is not known before."""

from collections.abc import Callable
from fractions import Fraction

from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import TrainerCallback
from transformers.trainer_utils import SaveStrategy

from .round import Round


class OutOfRollouts(TrainerCallback):
    """
    Ends a run when its rollouts are spent and the last ones have been learnt from.

    Args:
        round ([`Round`]): Counts them.
    """

    def __init__(self, round: Round):
        self.round = round

    def on_step_end(self, args, state, control, **kwargs):
        if self.round.is_last(state.global_step):
            control.should_training_stop = control.should_log = True
            control.should_save = control.should_save or args.save_strategy != SaveStrategy.NO


def follow_rollouts(scheduler: LRScheduler, steps: int, budget: int, learnt_from: Callable[[], Fraction]) -> None:
    """
    Let a learning-rate schedule end with the budget. It stands where the rollouts learnt from stand in the budget, or
    where the rounds do in `steps`, whichever is further. With one branch the two are the same, if `steps` are the
    rounds of its budget. Several branches spend the budget in fewer rounds than that.

    Args:
        scheduler (`LRScheduler`): Changed in place, if it is a function of the step; others follow no step.
        steps (`int`): Its length.
        budget (`int`): Rollouts of the run.
        learnt_from (`Callable`): Rollouts learnt from so far. A last generation may go beyond the budget.
    """
    if not isinstance(scheduler, LambdaLR):
        return

    def following(rate: Callable[[int], float]) -> Callable[[int], float]:
        return lambda step: rate(max(step, min(steps, int(steps * learnt_from() / budget))))

    scheduler.lr_lambdas = [following(rate) for rate in scheduler.lr_lambdas]
