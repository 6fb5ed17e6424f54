"""What goes wrong inside a round and stays in the branch where it happens. See `docs/faults.md`."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

import torch
from accelerate.logging import get_logger
from accelerate.utils import gather_object
from torch import nn
from trl.trainer.utils import is_async_callable


logger = get_logger(__name__)

MOST_IN_A_ROW = 10  # of one fault in one branch; then the run stops
FAILED = -math.inf  # stands for the rewards of a function that raised


class RewardError(RuntimeError):
    """A reward function raised, in this process or in another: every process has this error."""


class WrongRewards(Exception):
    """What a reward function has returned cannot be rewards; the message says what it was."""


class Faults:
    """
    Counts a branch's faults, and stops the run when one does not end.

    Counts are those of all processes, and every process decides alike: on rewards that were gathered and on gradients
    that were averaged.

    Args:
        branch (`str`): Whose they are, for messages and for the names in the log.
    """

    def __init__(self, branch: str):
        self.branch = branch
        self.counts: Counter[str] = Counter()  # so far in the run, by kind
        self.in_a_row: Counter[str] = Counter()  # of these, without a success in between
        self.failures: list[Exception] = []  # of this process's reward functions, until the processes have met

    def count(self, fault: str, times: int, warning: str) -> None:
        """Add to a fault's count; the first time the warning is logged."""
        if times and not self.counts[fault]:
            logger.warning(f"{warning} (Shown once; `{self.branch}/{fault}` counts them in the log.)")
        if times:
            self.counts[fault] += times

    def bound(self, fault: str, happened: bool, error: str) -> None:
        """RuntimeError if the fault has happened `MOST_IN_A_ROW` times without a success in between."""
        self.in_a_row[fault] = self.in_a_row[fault] + 1 if happened else 0
        if self.in_a_row[fault] >= MOST_IN_A_ROW:
            raise RuntimeError(f"{error} {MOST_IN_A_ROW} times in a row: the run stops. Checkpoints are intact.")

    # ---- Kinds of faults --------------------------------------------------------------------------------------------

    def raise_together(self, rewards: torch.Tensor) -> None:
        """
        Raise on every process if a reward function has failed on one: its own error there, elsewhere what it said.

        Args:
            rewards (`torch.Tensor`): Rewards of all processes, `(rows, functions)`, from functions that are `guarded`.
        """
        if not rewards.isneginf().any():
            return
        own, self.failures[:] = self.failures[:1], []
        reasons = gather_object([str(error) for error in own])  # nothing from a process where all went well
        raise own[0] if own else RewardError(f"In another process: {reasons[0]}")

    def ungrade_non_finite(self, rewards: torch.Tensor, counted: bool) -> torch.Tensor:
        """
        Let infinite rewards count as ungraded; `guarded` has turned a function's NaN into infinity, since NaN means
        `None` in TRL.

        Args:
            rewards (`torch.Tensor`): Rewards of all processes, `(rows, functions)`; NaN is TRL's sign for `None`.
            counted (`bool`): Whether they are of a round; an evaluation has a count of its own.

        Returns:
            `torch.Tensor`: The rewards, NaN where they were not finite.
        """
        infinite = rewards.isinf()
        rewards = rewards.masked_fill(infinite, torch.nan)
        if counted:
            who = f"Expert {self.branch!r}"
            self.count(
                "non_finite_rewards", int(infinite.sum()),
                f"{who}: a reward is NaN or infinite. Such rows count as ungraded by that function.",
            )  # fmt: skip
            ungraded = rewards.isnan().all(1)
            self.count(
                "ungraded_rows", int(ungraded.sum()),
                f"{who}: a row was graded by no reward function. Its advantage is 0.",
            )  # fmt: skip
            self.bound(
                "ungraded_rows", bool(ungraded.all()),
                f"{who}: no row of a batch was graded by any reward function (None, NaN or infinite)",
            )  # fmt: skip
        return rewards

    def check_gradient(self, norm: float, parameters: list[nn.Parameter], scaler: Any) -> bool:
        """
        Drop a gradient that is not finite, so that the optimizer leaves the branch alone.

        Args:
            norm (`float`): The gradient's norm.
            parameters (`list[torch.nn.Parameter]`): The branch's.
            scaler (*optional*): accelerate's loss scaler, with fp16.

        Returns:
            `bool`: Whether the gradient is finite.
        """
        finite, who = math.isfinite(norm), f"Branch {self.branch!r}"
        self.count(
            "skipped_updates", int(not finite),
            f"{who}: the gradient is NaN or infinite. The branch is not updated in this round.",
        )  # fmt: skip
        if scaler is None:
            if not finite:
                for parameter in parameters:
                    parameter.grad = None  # not zero: Adam would move the branch by its momentum
            self.bound("skipped_updates", not finite, f"{who}: the gradient was not finite")
        elif not finite and scaler.get_scale() < 1:
            # fp16: the scaler skips the whole round and halves its scale, which begins far too high
            raise RuntimeError(f"{who}: the gradient is NaN or infinite at a loss scale below 1. Use bf16.")
        return finite

    # ---- State ------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, dict[str, int]]:
        return {"faults": dict(self.counts), "in_a_row": dict(self.in_a_row)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.counts, self.in_a_row = Counter(state["faults"]), Counter(state["in_a_row"])


def guarded(func: Callable, who: str, failures: list[Exception]) -> Callable:
    """
    A reward function whose errors say whose they are, and whose NaN or infinite values are all `inf`.

    Args:
        func (`Callable`): A reward function, or a model, which TRL runs itself.
        who (`str`): Names it in errors.
        failures (`list[Exception]`): Takes its errors. The rows are then `FAILED`: the rewards of all processes are
            gathered next, and a process that raised before would leave the others waiting.
    """
    if isinstance(func, nn.Module):
        return func

    # only TRL's call has `completions`; others may ask an environment's own reward about environments alone, as in TRL
    def count(given: dict[str, Any]) -> int | None:
        return len(given["completions"]) if "completions" in given else None

    def check(values: Any, rows: int | None) -> list[float | None]:
        if not isinstance(values, Iterable) or isinstance(values, Mapping | Set | str | bytes):
            raise WrongRewards(f"a {type(values).__name__}")
        values = list(values)
        if rows is not None and len(values) != rows:
            raise WrongRewards(f"{len(values)} rewards for {rows} completions")
        grades: list[float | None] = []
        for value in values:
            try:
                grades.append(None if value is None else float(value) if math.isfinite(value) else math.inf)
            except (TypeError, ValueError, OverflowError) as error:
                raise WrongRewards(f"{value!r:.80} as the reward of completion {len(grades)}") from error
        return grades

    def fail(error: Exception, rows: int | None) -> list[float | None]:
        if isinstance(error, WrongRewards):
            what = f"returned {error}. It must return a list with a number, or None, for each completion"
        else:
            what = f"raised {error!r}"
        explained = RewardError(f"{who} {what}. Mend it, then go on with resume_from_checkpoint=True.")
        explained.__cause__ = error.__cause__ if isinstance(error, WrongRewards) else error
        if rows is None:
            raise explained
        failures.append(explained)
        return [FAILED] * rows

    def call(*args, **given):
        rows = count(given)  # before the function can change the list
        try:
            return check(func(*args, **given), rows)
        except Exception as error:
            return fail(error, rows)

    async def call_async(*args, **given):
        rows = count(given)
        try:
            return check(await func(*args, **given), rows)
        except Exception as error:
            return fail(error, rows)

    return call_async if is_async_callable(func) else call


def mean_of_finite(losses: list[torch.Tensor]) -> torch.Tensor:
    """Mean of the branches' losses, without those that are NaN or infinite."""
    stacked = torch.stack(losses)
    finite = stacked.isfinite()
    return stacked[finite].mean() if finite.any() else stacked.mean()
