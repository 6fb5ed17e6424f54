"""Checkpoints that are complete or are not there, and what a run does when one cannot be written."""

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from safetensors import SafetensorError
from transformers import TrainerState
from transformers.trainer_utils import rotate_checkpoints

from ..adapters import AdapterCopy
from ..config import CoPDConfig
from ..redaction import without_secrets
from . import checkpoints
from .folder import RUN_FILE, state_file


logger = get_logger(__name__)


class Saver:
    """
    Writes checkpoints, and survives when one cannot be written: it is removed, and the next save tries again.

    Args:
        args ([`CoPDConfig`]): Where to, and how many are kept.
        accelerator ([`~accelerate.Accelerator`]): Lets the processes agree.
    """

    def __init__(self, args: CoPDConfig, accelerator: Accelerator):
        self.args, self.accelerator = args, accelerator
        self.unsaved: str | None = None  # why the last checkpoint was not written
        self._saving = False
        self._error: Exception | None = None  # what a process that others wait for could not write
        self._shown_args: CoPDConfig | None = (
            None  # the arguments as they were, while pushing and rotation are switched off in `args`
        )

    def raise_if_unsaved(self) -> None:
        """
        End a run whose last checkpoint could not be written.

        Raises:
            OSError: It could not.
        """
        if self.unsaved is not None:
            raise OSError(
                f"The last checkpoint could not be written: {self.unsaved}. Free space, then resume from the previous "
                "one with resume_from_checkpoint=True, or call `trainer.save_model(FOLDER)` if the process still runs."
            )

    def checkpoint(
        self, folder: Path, write: Callable[[], None], push: Callable[[str], None], state: TrainerState
    ) -> None:
        """
        Write a checkpoint, declare it complete, and only then push it and remove old ones.

        Args:
            folder (`Path`): The checkpoint.
            write (`Callable`): transformers' `_save_checkpoint`.
            push (`Callable`): transformers' `_push_from_checkpoint`, with the folder.
            state ([`~transformers.TrainerState`]): Names the best checkpoint.
        """
        best = state.best_model_checkpoint
        error = self._write(folder, write)
        self.unsaved = None if error is None else f"{folder}: {error}"
        if error is not None:
            state.best_model_checkpoint = best  # transformers names it as soon as the folder exists
            if self.args.should_save:
                checkpoints.remove(folder)
            logger.warning(
                f"CHECKPOINT NOT WRITTEN: {self.unsaved}. Its files are removed; earlier checkpoints are intact. "
                "Training continues and tries again at the next save: free space before that."
            )
            return
        if self.args.push_to_hub:
            push(str(folder))
        if self.args.should_save and self.args.save_total_limit:
            checkpoints.remove_torn(folder.parent)
            rotate_checkpoints(
                output_dir=str(folder.parent), save_total_limit=self.args.save_total_limit,
                best_model_checkpoint=state.best_model_checkpoint, use_mtime=True,
            )  # fmt: skip

    def _write(self, folder: Path, write: Callable[[], None]) -> Exception | None:
        """All files of a checkpoint, the manifest last; returns the same kind of answer in every process."""
        self._error = None
        if self.args.should_save:
            checkpoints.remove(folder)  # what an earlier attempt at this round has left
        self.accelerator.wait_for_everyone()
        with self.remembering_errors(saving=True), self._neither_pushed_nor_rotated():
            write()
        error = self._first_error()
        if error is not None:
            return error
        if self.args.should_save:
            with self.remembering_errors(saving=True):
                resumable = not self.args.save_only_model
                everyone = [] if self.args.save_on_each_node or not resumable else range(self.args.world_size)
                expected = ["trainer_state.json", *(state_file(folder, rank).name for rank in everyone)]
                checkpoints.write_manifest(folder, resumable, expected)
        return self._first_error()

    def _first_error(self) -> Exception | None:
        """This process's error, or another's: all must decide alike."""
        if self.accelerator.num_processes == 1:
            return self._error
        failed = torch.tensor([float(self._error is not None)], device=self.accelerator.device)
        if not self.accelerator.reduce(failed, reduction="sum").item():
            return None
        return self._error or OSError("another process could not write its part")

    @contextmanager
    def remembering_errors(self, saving: bool = False) -> Iterator[None]:
        """While a checkpoint is saved, remember what could not be written instead of raising it."""
        outer, self._saving = self._saving, saving or self._saving
        try:
            yield
        except (OSError, SafetensorError, RuntimeError) as error:
            if not self._saving or not is_write_error(error):
                raise
            self._error = self._error or error
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

    def write_model(
        self, folder: Path, copies: dict[str, AdapterCopy], processing_class: Any, description: dict[str, Any]
    ) -> None:
        """
        Write adapters, tokenizer, arguments and what the run is.

        Args:
            folder (`Path`): Is created.
            copies (`dict[str, AdapterCopy]`): Adapters by their place in it.
            processing_class: The tokenizer, or `None`.
            description (`dict`): For `copd.json`.
        """
        with self.remembering_errors():
            for place, copied in copies.items():
                copied.write(folder / place)
            if processing_class is not None:
                processing_class.save_pretrained(str(folder))
            torch.save(without_secrets(self._shown_args or self.args), folder / "training_args.bin")
            write_run_file(folder, description)


def write_run_file(folder: str | Path, description: dict[str, Any]) -> None:
    """Write `copd.json`."""
    (Path(folder) / RUN_FILE).write_text(json.dumps(description, indent=2))


def is_write_error(error: Exception) -> bool:
    """Whether a file could not be written; torch's writer says so by a RuntimeError."""
    return (
        not isinstance(error, RuntimeError) or "PytorchStreamWriter" in str(error) or "inline_container" in str(error)
    )
