"""What a run leaves on disk: adapters, model card, run description, and the state that a bit-exact resume needs."""

import importlib.util
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from accelerate.logging import get_logger

from .. import adapters, checkpoints
from ..checkpoints import RUN_FILE
from ..model_card import write_model_card
from ..redaction import without_secrets
from ..report import draw_report
from ..topology import STUDENT
from .fingerprint import differences


logger = get_logger(__name__)

EXPERTS_FOLDER = "experts"


class RunStateMixin:
    """
    The part of [`CoPDTrainer`] that saves and loads. Overrides what TRL and transformers do for one adapter: `train`,
    `create_model_card`, `_save`, `_save_rng_state`, `_load_rng_state`, `_load_from_checkpoint`, `_load_best_model`.
    """

    def train(self, resume_from_checkpoint=None, *args, **kwargs):
        """
        Train, then leave state, capability matrix (if experts have held-out rows) and figures in `output_dir`.

        Args:
            resume_from_checkpoint (`str` or `bool`, *optional*): As in transformers; a checkpoint of another run is a
                ValueError that names what differs. `True` takes the newest that is complete.

        Raises:
            SystemExit: With 128 + the signal's number, after SIGTERM or SIGUSR1 and a checkpoint of the round.
            OSError: The last checkpoint could not be written.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = self._last_complete_checkpoint(self.args.output_dir)
        if resume_from_checkpoint:
            self._check_same_run(resume_from_checkpoint, self.args.output_dir)
        result = super().train(resume_from_checkpoint, *args, **kwargs)
        if self.args.matrix_at_end and self._all_eval_datasets():
            self._last_matrix()
        self.save_state()
        if self.is_world_process_zero():
            (Path(self.args.output_dir) / RUN_FILE).write_text(json.dumps(self._describe_run(), indent=2))
            self._draw_figures(self.args.output_dir)
        self.create_model_card()
        return result

    def _last_matrix(self) -> None:
        """Measure what was learnt; whatever a verifier raises, it is saved."""
        try:
            self.capability_matrix()
        except Exception as error:
            if not self.is_fsdp_enabled:  # where saving takes every process, and this one may be alone
                self._save()
                error.add_note(f"The training was over: student and experts are saved in {self.args.output_dir!r}.")
            raise

    def _draw_figures(self, folder: str | Path, quiet: bool = False) -> None:
        if importlib.util.find_spec("matplotlib") is None:
            logger.warning_once('No figures: matplotlib is missing. `pip install "trl-copd[plots]"` brings it.')
            return
        try:
            draw_report(folder, quiet)
        except Exception as error:  # a run is worth more than its figures, which can be redrawn from what it left
            logger.warning(f"The figures were not drawn: {error!r}. Try `python -m trl_copd.report OUTPUT_DIR`.")

    # ---- The run and its fingerprint --------------------------------------------------------------------------------

    def _check_same_run(self, checkpoint: str | bool, output_dir: str) -> None:
        """Refuse a checkpoint that is torn or another run's, naming what is wrong or differs."""
        folder = Path(self._last_complete_checkpoint(output_dir) if checkpoint is True else checkpoint)
        path = folder / RUN_FILE
        if not path.is_file():
            raise ValueError(
                f"{str(folder)!r} is no checkpoint of a CoPD run: it has no {RUN_FILE}. Pass a `checkpoint-N` folder "
                "that CoPDTrainer wrote."
            )
        reason = checkpoints.defect(folder)
        if reason is not None and checkpoints.list_checkpoints(folder):
            reason = "it is the folder of a run, not one of its checkpoints"
        if reason is not None:
            raise ValueError(
                f"{str(folder)!r} cannot be resumed from: {reason}. Pass a `checkpoint-N` folder, or True for the "
                "newest complete one."
            )
        differing = differences(json.loads(path.read_text())["fingerprint"], self._fingerprint)
        if differing:
            raise ValueError(
                f"{str(folder)!r} is a checkpoint of another run ({'; '.join(differing)}). Resume it with its own "
                "settings, or start afresh in another output_dir."
            )

    def _last_complete_checkpoint(self, output_dir: str) -> str:
        folder = checkpoints.last_checkpoint(output_dir)
        if folder is None:
            torn = [path.name for path in checkpoints.list_checkpoints(output_dir)]
            found = f"; {', '.join(torn)} cannot be resumed from, and the log says why" if torn else ""
            raise ValueError(
                f"No checkpoint found in {output_dir!r}{found}. Train without `resume_from_checkpoint` first."
            )
        return folder

    def _describe_run(self) -> dict[str, Any]:
        total = max(self.state.max_steps, self.state.global_step)
        return {
            "experts": list(self.experts),
            "branches": list(self.topology.branches),
            "topology": self.topology.name,
            "edges": [
                {"teacher": e.teacher, "learner": e.learner, "domain": e.domain, "label": e.label}
                for e in (self.topology.edges if self.args.distils else ())
            ],
            "rlvr_steps": self.args.rlvr_steps,
            "opd_steps": self.args.opd_steps,
            "final_opd_steps": self.args.final_opd_steps,
            "phases": [{"phase": p, "start": s, "end": e} for p, s, e in self.schedule.phases(total)],
            "fingerprint": self._fingerprint,
        }

    # ---- Saving -----------------------------------------------------------------------------------------------------

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """Write the student at the root and each expert in `experts/<name>/`."""
        if not (self.args.should_save or self.is_fsdp_enabled):
            return
        # all of them before any is written: under FSDP2 every process takes part, whether the disk is full or not
        copies = {f"{EXPERTS_FOLDER}/{name}": adapters.copy_adapter(self.peft_model, name) for name in self.experts}
        with self._with_student():
            copies[""] = adapters.copy_adapter(self.peft_model, STUDENT)
        if self.args.should_save:
            with self._remembering_errors():
                self._write(Path(output_dir or self.args.output_dir), copies)

    def _write(self, folder: Path, copies: dict[str, adapters.AdapterCopy]) -> None:
        for place, copied in copies.items():
            copied.write(folder / place)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(str(folder))
        torch.save(without_secrets(self._shown_args or self.args), folder / "training_args.bin")
        (folder / RUN_FILE).write_text(json.dumps(self._describe_run(), indent=2))

    def create_model_card(self, model_name=None, dataset_name=None, tags=None) -> None:
        if self.is_world_process_zero():
            with self._remembering_errors():
                write_model_card(self, model_name or Path(self.args.output_dir).name, dataset_name, tags)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        spent = self._step % (self.args.steps_per_generation * self.num_iterations) == 0
        state = {
            "step": self._step,
            "live": [branch.name for branch in self._live],
            "schedule": self.schedule.state_dict(),
            "branches": {name: branch.state_dict(spent) for name, branch in self.branches.items()},
            "metrics": {key: list(values) for key, values in self._metrics["train"].items()},
            "edge_metrics": {key: list(values) for key, values in self._edge_metrics.items()},
            # of the rounds since the last log
            "loss": self._tr_loss.detach().cpu(),
            "logged": self._globalstep_last_logged,
        }
        torch.save(state, self._state_file(output_dir))

    def _state_file(self, folder: str | Path, rank: int | None = None) -> str:
        return os.path.join(folder, f"copd_state_{self.accelerator.process_index if rank is None else rank}.pt")

    # ---- Loading ----------------------------------------------------------------------------------------------------

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        self._load_adapters(resume_from_checkpoint)
        # several processes on a CPU are on "cpu:0", which torch cannot load to
        device = "cpu" if self.args.device.type == "cpu" else self.args.device
        state = torch.load(self._state_file(resume_from_checkpoint), weights_only=True, map_location=device)
        self._step = state["step"]
        self._measured_round = -1  # the round to come is measured anew
        for name, branch in self.branches.items():
            branch.load_state_dict(state["branches"][name])
        self._live = [self.branches[name] for name in state["live"]]
        self.schedule.load_state_dict(state["schedule"])
        self._metrics["train"] = defaultdict(list, state["metrics"])
        self._edge_metrics = defaultdict(list, state["edge_metrics"])
        self._resumed_loss = state["loss"], state["logged"]

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """The last that transformers restores, inside the loop: the loss since the last log comes with it."""
        super()._load_rng_state(checkpoint)
        if self._resumed_loss is not None:
            loss, self._globalstep_last_logged = self._resumed_loss
            self._tr_loss.copy_(loss)
            self._resumed_loss = None

    def _load_adapters(self, folder: str) -> None:
        for name in self.experts:
            adapters.load_adapter(self.peft_model, name, Path(folder) / EXPERTS_FOLDER / name)
        if self.topology.has_student_branch:
            adapters.load_adapter(self.peft_model, STUDENT, folder)

    def _load_best_model(self) -> None:
        best = self.state.best_model_checkpoint
        if not Path(best).is_dir():
            logger.warning(f"The best checkpoint, {best!r}, is gone: the run ends with its last weights.")
            return
        self._load_adapters(best)
