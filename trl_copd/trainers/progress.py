"""The progress bar of a run: names the phase, and prints one short line per log instead of every metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import ProgressCallback


if TYPE_CHECKING:
    from .copd_trainer import CoPDTrainer


class PhaseProgress(ProgressCallback):
    """
    transformers' progress bar with the cycle and the phase in front, and rewards and overlap beside it.

    Args:
        trainer ([`CoPDTrainer`]): The run it reports on.
    """

    def __init__(self, trainer: CoPDTrainer):
        super().__init__()
        self.trainer = trainer

    def on_step_begin(self, args, state, control, **kwargs):
        if state.is_world_process_zero and self.training_bar is not None:
            schedule = self.trainer.schedule
            phase = schedule.phase(state.global_step, state.max_steps).upper()
            self.training_bar.set_description(f"cycle {schedule.cycle(state.global_step) + 1} {phase:>4}")

    def on_log(self, args, state, control, logs: dict[str, Any] | None = None, **kwargs):
        if state.is_world_process_zero and self.training_bar is not None and logs:
            line = self._summary(logs)
            if line:
                self.training_bar.write(f"round {state.global_step:>4}  {line}")

    def _summary(self, logs: dict[str, Any]) -> str:
        names = self.trainer.branches
        rewards = {n: logs[f"{n}/reward"] for n in names if logs.get(f"{n}/reward") is not None}
        parts = [f"{name} {value:.2f}" for name, value in rewards.items()]
        overlaps = [value for key, value in logs.items() if key.endswith("/opd/overlap") and value is not None]
        divergences = [value for key, value in logs.items() if key.endswith("/opd/symmetric_kl") and value is not None]
        line = f"reward: {', '.join(parts)}" if parts else ""
        if overlaps and divergences:
            line += f"   overlap {sum(overlaps) / len(overlaps):.3f}"
            line += f"   symmetric KL {sum(divergences) / len(divergences):.4f}"
        return line
