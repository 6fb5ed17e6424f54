"""What a run shows in the terminal: a live view where that is possible, else a progress bar and a line per log."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import ProgressCallback
from transformers.utils import is_rich_available

from ..history import Matrix
from ..schedule import Schedule
from ..topology import Topology


def choose_progress(topology: Topology, schedule: Schedule, live_view: bool) -> "PhaseProgress":
    """The live view on a terminal that can show it, unless `live_view=False`; the plain progress bar otherwise."""
    if live_view and sys.stdout.isatty() and is_rich_available():
        from rich.console import Console

        from .live import LiveProgress

        if Console().is_terminal and not Console().is_dumb_terminal:
            return LiveProgress(topology, schedule)
    return PhaseProgress(topology, schedule)


class PhaseProgress(ProgressCallback):
    """
    transformers' progress bar with the cycle and the phase in front, and rewards and overlap beside it.

    Args:
        topology ([`Topology`]): Branches.
        schedule ([`Schedule`]): Phases.
    """

    shows_matrix = False  # whether `close` does

    def __init__(self, topology: Topology, schedule: Schedule):
        super().__init__()
        self.topology, self.schedule = topology, schedule

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Make room for what prints to the terminal by itself."""
        yield

    def close(self, matrix: Matrix | None = None, matrix_round: int | None = None) -> None:
        """
        Leave the terminal as it was found, also after an error.

        Args:
            matrix (`dict`, *optional*): The last capability matrix, to be shown if training came to its end.
            matrix_round (`int`, *optional*): The round whose weights it measured, if not the last one's.
        """

    def on_step_begin(self, args, state, control, **kwargs):
        if state.is_world_process_zero and self.training_bar is not None:
            schedule = self.schedule
            phase = schedule.phase(state.global_step, state.max_steps).upper()
            self.training_bar.set_description(
                f"cycle {schedule.cycle(state.global_step, state.max_steps) + 1} {phase:>4}"
            )

    def on_log(self, args, state, control, logs: dict[str, Any] | None = None, **kwargs):
        if state.is_world_process_zero and self.training_bar is not None and logs:
            line = self._summary(logs)
            if line:
                self.training_bar.write(f"round {state.global_step:>4}  {line}")

    def _summary(self, logs: dict[str, Any]) -> str:
        def mean(suffix: str) -> float | None:
            values = [value for key, value in logs.items() if key.endswith(suffix) and value is not None]
            return sum(values) / len(values) if values else None

        rewards = {name: logs.get(f"{name}/reward") for name in self.topology.branches}
        parts = []
        if graded := [f"{name} {value:.2f}" for name, value in rewards.items() if value is not None]:
            parts.append(f"reward: {', '.join(graded)}")
        if (overlap := mean("/opd/overlap")) is not None:
            parts.append(f"overlap {overlap:.3f}   symmetric KL {mean('/opd/symmetric_kl'):.4f}")
        if (accuracy := logs.get("eval_student/accuracy")) is not None:
            parts.append(f"accuracy of the student: {accuracy:.3f}")
        return "   ".join(parts)
