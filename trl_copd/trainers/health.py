"""What goes wrong inside a round: rewards, teaching and gradients that are no numbers. See `docs/faults.md`."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.logging import get_logger
from torch import nn
from trl.trainer.utils import is_async_callable

from .branch import Branch


logger = get_logger(__name__)

MOST_IN_A_ROW = 10  # of one fault in one branch; then the run stops


class HealthMixin:
    """
    The part of [`CoPDTrainer`] that keeps a fault to the branch in which it happens, and counts it. Overrides `log`.

    Counts are those of all processes, and every process decides alike: on rewards that were gathered and on gradients
    that were averaged.
    """

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self.model.training:
            for name, branch in self.branches.items():
                for fault, count in branch.faults.items():
                    self._metrics["train"][f"{name}/{fault}"] = [float(count)]
        super().log(logs, start_time)

    def _count(self, branch: Branch, fault: str, times: int, warning: str) -> None:
        if times and not branch.faults[fault]:
            logger.warning(f"{warning} (Said once; `{branch.name}/{fault}` counts them in the log.)")
        if times:
            branch.faults[fault] += times

    def _bound(self, branch: Branch, fault: str, happened: bool, error: str) -> None:
        branch.in_a_row[fault] = branch.in_a_row[fault] + 1 if happened else 0
        if branch.in_a_row[fault] >= MOST_IN_A_ROW:
            raise RuntimeError(f"{error} {MOST_IN_A_ROW} times in a row: the run stops. Checkpoints are intact.")

    # ---- Rewards ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _guarded_rewards(self) -> Iterator[None]:
        """Let the acting branch's reward functions name themselves when they raise, and mark what is no number."""
        funcs = self.reward_funcs
        self.reward_funcs = [
            func
            if isinstance(func, nn.Module)
            else guarded(func, f"Expert {self._acting.name!r}: the reward {name!r}")
            for func, name in zip(funcs, self.reward_func_names, strict=True)
        ]
        try:
            yield
        finally:
            self.reward_funcs = funcs

    def _ungrade_non_finite(self, rewards: torch.Tensor) -> torch.Tensor:
        """Rewards of all processes, `(rows, functions)`: what is no number is NaN, as TRL has it for `None`."""
        infinite = rewards.isinf()
        rewards = rewards.masked_fill(infinite, torch.nan)
        if self.model.training:
            branch = self._acting
            self._count(
                branch, "non_finite_rewards", int(infinite.sum()),
                f"Expert {branch.name!r}: a reward is NaN or infinite. Such rows count as ungraded by that function.",
            )  # fmt: skip
            ungraded = rewards.isnan().all(1)
            self._count(
                branch, "ungraded_rows", int(ungraded.sum()),
                f"Expert {branch.name!r}: a row was graded by no reward function. Its advantage is 0.",
            )  # fmt: skip
            self._bound(
                branch, "ungraded_rows", bool(ungraded.all()),
                f"Expert {branch.name!r}: no row of a batch was graded by any reward function (None, NaN or infinite)",
            )  # fmt: skip
        return rewards

    # ---- Rollouts and teaching --------------------------------------------------------------------------------------

    def _without_empty(self, completions: list[list[int]], names: list[str]) -> list[list[int]]:
        """Give completions of no token the end-of-sequence token that was meant; count those that are nothing else."""
        end = self._tokenizer.eos_token_id
        completions = [ids or [end] for ids in completions]
        empty = [sum(ids == [end] for ids, n in zip(completions, names, strict=True) if n == b) for b in self.branches]
        totals = self.accelerator.reduce(torch.tensor(empty, device=self.accelerator.device), reduction="sum")
        for branch, count in zip(self.branches.values(), totals.tolist(), strict=True):
            self._count(
                branch, "empty_completions", count,
                f"Branch {branch.name!r} sampled an empty completion (only an end-of-sequence token).",
            )  # fmt: skip
        return completions

    def _teachable(self, delta: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The mask `(B, T)` without the rows whose `delta` is no number on one of their tokens: they teach nothing."""
        bad = ~delta.masked_fill(mask == 0, 0.0).isfinite().all(1)  # (B,)
        count = int(self.accelerator.reduce(bad.sum(), reduction="sum"))
        self._count(
            self._acting, "untaught_rows", count,
            f"Branch {self._acting.name!r}: the log-ratio of a row to its teacher is NaN or infinite. The row teaches "
            "nothing.",
        )  # fmt: skip
        return mask.masked_fill(bad.unsqueeze(1), 0)

    # ---- The update -------------------------------------------------------------------------------------------------

    def _is_applied(self, branch: Branch, norm: torch.Tensor) -> bool:
        """Whether the branch's gradient is finite; otherwise it is dropped, so that the optimizer leaves it alone."""
        finite = math.isfinite(norm.item())
        self._count(
            branch, "skipped_updates", int(not finite),
            f"Branch {branch.name!r}: the gradient is NaN or infinite. The branch is not updated in this round.",
        )  # fmt: skip
        scaler = self.accelerator.scaler
        if scaler is None:
            if not finite:
                for parameter in branch.parameters:
                    parameter.grad = None  # not zero: Adam would move the branch by its momentum
            self._bound(branch, "skipped_updates", not finite, f"Branch {branch.name!r}: the gradient was not finite")
        elif not finite and scaler.get_scale() < 1:
            # fp16: the scaler skips the whole round and halves its scale, which begins far too high
            raise RuntimeError(
                f"Branch {branch.name!r}: the gradient is not finite at a loss scale below 1. Use bf16."
            )
        return finite


def guarded(func: Callable, who: str) -> Callable:
    """A reward function whose errors say whose they are, and whose NaN or infinite values are all `inf`."""

    def check(values: Any) -> list[float | None]:
        return [None if v is None else float(v) if math.isfinite(v) else math.inf for v in values]

    def explain(error: Exception) -> RuntimeError:
        return RuntimeError(f"{who} raised {error!r}. Mend it, then go on with resume_from_checkpoint=True.")

    def call(*args, **kwargs):
        try:
            return check(func(*args, **kwargs))
        except Exception as error:
            raise explain(error) from error

    async def call_async(*args, **kwargs):
        try:
            return check(await func(*args, **kwargs))
        except Exception as error:
            raise explain(error) from error

    return call_async if is_async_callable(func) else call


def mean_of_finite(losses: list[torch.Tensor]) -> torch.Tensor:
    """Mean of the branches' losses, without those that are no number."""
    stacked = torch.stack(losses)
    finite = stacked.isfinite()
    return stacked[finite].mean() if finite.any() else stacked.mean()
