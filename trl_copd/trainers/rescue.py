"""What happens when the rollout engine is gone for good: the run stops, and nothing that it learnt is lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import checkpoints
from ..rollouts import EngineUnavailable
from .branch import random_state, set_random_state


class RescueMixin:
    """The part of [`CoPDTrainer`] that outlives its rollout engine. Overrides `train`."""

    def train(self, *args, **kwargs):
        """
        Train as [`RunStateMixin`] does.

        Raises:
            EngineUnavailable: The engine was waited for in vain. The rounds up to there are in a checkpoint.
        """
        try:
            return super().train(*args, **kwargs)
        except EngineUnavailable as error:
            folder = self._save_complete_rounds()
            self._await_pushes()
            if folder is not None:
                error.add_note(f"All rounds up to here are saved: resume from {str(folder)!r}.")
            raise

    def _save_complete_rounds(self) -> Path | None:
        """A checkpoint as of the last complete round, if the run is not inside another one."""
        step = self.state.global_step
        if self.args.save_only_model or step == 0 or self._step != step * self.args.gradient_accumulation_steps:
            return None  # nothing to resume from, nothing learnt yet, or gradients that a checkpoint cannot hold
        folder = Path(self.args.output_dir) / f"checkpoint-{step}"
        if checkpoints.defect(folder) is not None:  # not one file's presence: another process may be writing it
            self._save_checkpoint(self.model, trial=None)
        return folder if self._unsaved is None else None

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Put prompts and random numbers back if the engine fails, so that a resumed run draws them again."""
        numbers, live, logged = random_state(), self._live, len(self.state.log_history)
        measured, phases = self._measured_round, self.schedule.state_dict()
        positions = {name: branch.position() for name, branch in self.branches.items()}
        try:
            yield
        except EngineUnavailable:
            set_random_state(numbers)
            self._live = live
            self._measured_round = measured
            self.schedule.load_state_dict(phases)
            del self.state.log_history[logged:]  # the resumed run measures again
            for name, position in positions.items():
                self.branches[name].move_to(position)
            raise
