"""What a run leaves on disk: adapters, model card, run description, and the state that a bit-exact resume needs."""

import hashlib
import importlib.util
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from accelerate.logging import get_logger
from datasets import Dataset
from peft import PeftConfig
from trl.trainer.utils import get_callable_name

from .. import adapters
from ..model_card import write_model_card
from ..report import draw_report
from ..topology import STUDENT
from .copd_config import CoPDConfig


logger = get_logger(__name__)

RUN_FILE = "copd.json"
EXPERTS_FOLDER = "experts"


class RunStateMixin:
    """
    The part of [`CoPDTrainer`] that saves and loads. Overrides what TRL and transformers do for one adapter: `train`,
    `create_model_card`, `_save`, `_save_rng_state`, `_load_from_checkpoint`, `_load_best_model`.
    """

    def train(self, resume_from_checkpoint=None, *args, **kwargs):
        """
        Train, then leave state, capability matrix (if experts have held-out rows) and figures in `output_dir`.

        Args:
            resume_from_checkpoint (`str` or `bool`, *optional*): As in transformers; a checkpoint of another run is a
                ValueError that names what differs.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = self._last_complete_checkpoint(self.args.output_dir)
        if resume_from_checkpoint:
            self._check_same_run(resume_from_checkpoint, self.args.output_dir)
        result = super().train(resume_from_checkpoint, *args, **kwargs)
        if self.args.matrix_at_end and self._all_eval_datasets():
            self.capability_matrix()
        self.save_state()
        if self.is_world_process_zero():
            (Path(self.args.output_dir) / RUN_FILE).write_text(json.dumps(self._describe_run(), indent=2))
            self._draw_figures()
        self.create_model_card()
        return result

    def _draw_figures(self) -> None:
        if importlib.util.find_spec("matplotlib") is None:
            logger.warning('No figures: matplotlib is missing. `pip install "trl-copd[plots]"` brings it.')
            return
        try:
            draw_report(self.args.output_dir)
        except Exception as error:  # a run is worth more than its figures, which can be redrawn from what it left
            logger.warning(f"The figures were not drawn: {error!r}. Try `python -m trl_copd.report OUTPUT_DIR`.")

    # ---- The run and its fingerprint --------------------------------------------------------------------------------

    def _run_fingerprint(self, args: CoPDConfig, peft_config: PeftConfig) -> dict[str, Any]:
        """What makes two runs the same run; `output_dir`, logging and `max_steps` may differ."""
        settings = (
            "rlvr_steps opd_steps topology hub opd_beta opd_fraction opd_loss opd_clip opd_top_k student_init schedule "
            "seed shuffle_dataset num_generations generation_batch_size steps_per_generation num_iterations "
            "gradient_accumulation_steps"
        )
        if args.schedule == "overlap":
            settings += " overlap_low overlap_high overlap_every overlap_top_k probe_prompts"
        print_ = {name: getattr(args, name) for name in settings.split()}
        print_["processes"] = args.world_size
        print_["adapter"] = adapters.config_fingerprint(peft_config)
        if args.topology == "mopd":
            print_["length"] = [args.max_steps, args.num_train_epochs]  # says when its experts are frozen
        for name, expert in self.experts.items():
            print_[f"expert {name}"] = {
                "rewards": [f if isinstance(f, str) else get_callable_name(f) for f in expert.reward_funcs],
                "reward_weights": expert.reward_weights or args.reward_weights,
                "learning_rate": expert.learning_rate,
                "adapter": str(expert.adapter),
                # without held-out rows, those that overlap is measured on are set aside from the training rows
                "set_aside": args.probe_prompts if not expert.eval_datasets and args.overlap_every else 0,
                "data": data_fingerprint(expert.train_dataset),
            }
        print_["experts"] = list(self.experts)
        return json.loads(json.dumps(print_))

    def _check_same_run(self, checkpoint: str | bool, output_dir: str) -> None:
        """Refuse a checkpoint of another run, naming what differs."""
        folder = self._last_complete_checkpoint(output_dir) if checkpoint is True else checkpoint
        path = Path(folder) / RUN_FILE
        if not path.is_file():
            raise ValueError(
                f"{str(folder)!r} is no checkpoint of a CoPD run: it has no {RUN_FILE}. Pass a `checkpoint-N` folder "
                "that CoPDTrainer wrote."
            )
        if not list(Path(folder).glob("copd_state_*.pt")) or not (Path(folder) / "trainer_state.json").is_file():
            raise ValueError(
                f"{str(folder)!r} cannot be resumed from: it holds no state of the run, because save_only_model=True "
                "or because the run was killed while it was written. Pass an earlier checkpoint."
            )
        saved = json.loads(path.read_text())["fingerprint"]
        differing = [key for key in {**saved, **self._fingerprint} if saved.get(key) != self._fingerprint.get(key)]
        if differing:
            shown = "; ".join(f"{k}: there {saved.get(k)!r}, here {self._fingerprint.get(k)!r}" for k in differing[:3])
            raise ValueError(
                f"{str(folder)!r} is a checkpoint of another run ({shown}). Resume it with its own settings, or start "
                "afresh in another output_dir."
            )

    def _last_complete_checkpoint(self, output_dir: str) -> str:
        """The newest checkpoint that was written to its end: `trainer_state.json` comes last."""
        folders = sorted(Path(output_dir).glob("checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1]))
        complete = [folder for folder in folders if (folder / "trainer_state.json").is_file()]
        if not complete:
            raise ValueError(f"No checkpoint found in {output_dir!r}. Train without `resume_from_checkpoint` first.")
        return str(complete[-1])

    def _describe_run(self) -> dict[str, Any]:
        total = max(self.state.max_steps, self.state.global_step)
        return {
            "experts": list(self.experts),
            "branches": list(self.topology.branches),
            "topology": self.topology.name,
            "edges": [
                {"teacher": e.teacher, "learner": e.learner, "domain": e.domain, "label": e.label}
                for e in (self.topology.edges if self.args.opd_steps else ())
            ],
            "rlvr_steps": self.args.rlvr_steps,
            "opd_steps": self.args.opd_steps,
            "phases": [{"phase": p, "start": s, "end": e} for p, s, e in self.schedule.phases(total)],
            "fingerprint": self._fingerprint,
        }

    # ---- Saving -----------------------------------------------------------------------------------------------------

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """Write the student at the root and each expert in `experts/<name>/`."""
        if not self.args.should_save:
            return
        folder = Path(output_dir or self.args.output_dir)
        for name in self.experts:
            adapters.save_adapter(self.peft_model, name, folder / EXPERTS_FOLDER / name)
        with self._with_student():
            adapters.save_adapter(self.peft_model, STUDENT, folder)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(str(folder))
        torch.save(self.args, folder / "training_args.bin")
        (folder / RUN_FILE).write_text(json.dumps(self._describe_run(), indent=2))

    def create_model_card(self, model_name=None, dataset_name=None, tags=None) -> None:
        if self.is_world_process_zero():
            write_model_card(self, model_name or Path(self.args.output_dir).name, dataset_name, tags)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        state = {
            "step": self._step,
            "live": [branch.name for branch in self._live],
            "schedule": self.schedule.state_dict(),
            "branches": {name: branch.state_dict() for name, branch in self.branches.items()},
            "metrics": {key: list(values) for key, values in self._metrics["train"].items()},
            "edge_metrics": {key: list(values) for key, values in self._edge_metrics.items()},
        }
        torch.save(state, self._state_file(output_dir))

    def _state_file(self, folder: str) -> str:
        return os.path.join(folder, f"copd_state_{self.accelerator.process_index}.pt")

    # ---- Loading ----------------------------------------------------------------------------------------------------

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        self._check_same_run(resume_from_checkpoint, self.args.output_dir)
        self._load_adapters(resume_from_checkpoint)
        state = torch.load(self._state_file(resume_from_checkpoint), weights_only=True, map_location=self.args.device)
        self._step = state["step"]
        for name, branch in self.branches.items():
            branch.load_state_dict(state["branches"][name])
        self._live = [self.branches[name] for name in state["live"]]
        self.schedule.load_state_dict(state["schedule"])
        self._metrics["train"] = defaultdict(list, state["metrics"])
        self._edge_metrics = defaultdict(list, state["edge_metrics"])

    def _load_adapters(self, folder: str) -> None:
        for name in self.experts:
            adapters.load_adapter(self.peft_model, name, Path(folder) / EXPERTS_FOLDER / name)
        if self.topology.has_student_branch:
            adapters.load_adapter(self.peft_model, STUDENT, folder)

    def _load_best_model(self) -> None:
        self._load_adapters(self.state.best_model_checkpoint)


def data_fingerprint(dataset: Any, rows: int = 64) -> str:
    """Hash of a dataset's columns, length and `rows` evenly spaced rows (the first ones of a stream)."""
    if isinstance(dataset, Dataset):
        step = max(1, len(dataset) // rows)
        content: Any = [len(dataset), dataset.column_names, [dataset[i] for i in range(0, len(dataset), step)]]
    else:
        content = list(dataset.take(8))
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]
