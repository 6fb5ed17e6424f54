"""Checkpoints that are complete or are not there, and what a run does when one cannot be written."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.logging import get_logger
from safetensors import SafetensorError
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints

from .. import checkpoints


logger = get_logger(__name__)


class SavingMixin:
    """
    The part of [`CoPDTrainer`] that writes checkpoints, at a signal as well, and survives when it cannot. Overrides
    `train`, `_run_epoch`, `_save_checkpoint`.
    """

    _saving = False
    _shown_args: Any = None  # the run's arguments, while `args` holds rotation and pushing back
    _save_error: Exception | None = None  # what a process that others wait for could not write
    _unsaved: str | None = None  # why the last checkpoint was not written
    _resumed_loss: tuple[torch.Tensor, int] | None = None

    def train(self, *args, **kwargs):
        """Train; ends by SystemExit after a signal, by OSError if the last checkpoint could not be written."""
        try:
            with self._interruption.listening():
                result = super().train(*args, **kwargs)
        except SystemExit:
            if self._interruption.signal is None:
                raise
            self.control = self.callback_handler.on_train_end(self.args, self.state, self.control)
            self._await_pushes()  # an interpreter that ends starts no thread for them
            if self._unsaved is None:
                raise
        if self._unsaved is not None:
            raise OSError(
                f"The last checkpoint could not be written: {self._unsaved}. Free space, then resume from the one "
                "before with resume_from_checkpoint=True, or call `trainer.save_model(FOLDER)` where this still runs."
            )
        return result

    def _run_epoch(self, *args, **kwargs) -> None:
        """Train no further round if the checkpoint was the last one's: transformers would train one more."""
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **kwargs)
            return
        self._load_rng_state(kwargs["resume_from_checkpoint"])
        self.control.should_training_stop = True

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """
        Write a checkpoint, declare it complete, and only then push it and remove old ones.

        One that cannot be written, for a full disk as a rule, is removed; the run goes on and tries again next time.
        """
        run_dir = self._get_output_dir(trial=trial)
        folder = Path(run_dir) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        best = self.state.best_model_checkpoint
        error = self._write_checkpoint(model, trial, folder)
        self._unsaved = None if error is None else f"{folder}: {error}"
        if error is not None:
            self.state.best_model_checkpoint = best  # transformers names it as soon as the folder exists
            if self.args.should_save:
                checkpoints.remove(folder)
            logger.warning(
                f"CHECKPOINT NOT WRITTEN: {self._unsaved}. What was written of it is removed, earlier checkpoints are "
                "intact. Training goes on and tries again at the next save: free space before that."
            )
            return
        if self.args.push_to_hub:
            self._push_from_checkpoint(str(folder))
        if self.args.should_save and self.args.save_total_limit:
            checkpoints.remove_torn(run_dir)
            rotate_checkpoints(
                output_dir=run_dir, save_total_limit=self.args.save_total_limit,
                best_model_checkpoint=self.state.best_model_checkpoint, use_mtime=True,
            )  # fmt: skip

    def _write_checkpoint(self, model: torch.nn.Module, trial: Any, folder: Path) -> Exception | None:
        """All files of a checkpoint, the manifest last; returns the same kind of answer in every process."""
        self._save_error = None
        if self.args.should_save:
            checkpoints.remove(folder)  # what an earlier attempt at this round has left
        self.accelerator.wait_for_everyone()
        with self._remembering_errors(saving=True), self._neither_pushed_nor_rotated():
            super()._save_checkpoint(model, trial)
        error = self._first_error()
        if error is not None:
            return error
        if self.args.should_save:
            with self._remembering_errors(saving=True):
                resumable = not self.args.save_only_model
                everyone = [] if self.args.save_on_each_node or not resumable else range(self.args.world_size)
                expected = ["trainer_state.json", *(Path(self._state_file(folder, rank)).name for rank in everyone)]
                checkpoints.write_manifest(folder, resumable, expected)
        return self._first_error()

    def _first_error(self) -> Exception | None:
        """This process's error, or another's: all must decide alike."""
        if self.accelerator.num_processes == 1:
            return self._save_error
        failed = torch.tensor([float(self._save_error is not None)], device=self.accelerator.device)
        if not self.accelerator.reduce(failed, reduction="sum").item():
            return None
        return self._save_error or OSError("another process could not write its part")

    @contextmanager
    def _remembering_errors(self, saving: bool = False) -> Iterator[None]:
        """While a checkpoint is saved, remember what could not be written instead of raising it."""
        outer, self._saving = self._saving, saving or self._saving
        try:
            yield
        except (OSError, SafetensorError, RuntimeError) as error:
            if not self._saving or not is_write_error(error):
                raise
            self._save_error = self._save_error or error
        finally:
            self._saving = outer

    @contextmanager
    def _neither_pushed_nor_rotated(self) -> Iterator[None]:
        """Hold back what transformers does at the end of a save, until the manifest is there."""
        self._shown_args = copy.copy(self.args)
        self.args.push_to_hub, self.args.save_total_limit = False, None
        try:
            yield
        finally:
            shown, self._shown_args = self._shown_args, None
            self.args.push_to_hub, self.args.save_total_limit = shown.push_to_hub, shown.save_total_limit


def is_write_error(error: Exception) -> bool:
    """Whether a file could not be written; torch's writer says so by a RuntimeError."""
    return (
        not isinstance(error, RuntimeError) or "PytorchStreamWriter" in str(error) or "inline_container" in str(error)
    )
