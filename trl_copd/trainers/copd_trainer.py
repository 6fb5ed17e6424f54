"""[`CoPDTrainer`]: several experts on one base that teach each other while they train."""

import math
from concurrent.futures import Future
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast
from huggingface_hub import CommitInfo
from peft import PeftConfig, PeftModel
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, SequentialSampler
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, ProcessorMixin, TrainerCallback
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, HubStrategy
from trl import GRPOTrainer

from .. import adapters, sharding
from ..config import CoPDConfig
from ..experts import Expert
from ..measure.matrix import Matrix, matrix_metrics, write_matrix
from ..run.card import weights_round, write_model_card
from ..run.checkpoints import warn_of_earlier
from ..run.fingerprint import BASE_KEY, base_fingerprint
from ..run.folder import state_file
from ..run.hub import Hub
from ..run.interruption import Interruption
from ..run.resuming import checkpoint_to_resume, load_state
from ..show.completions import log_completions
from .branches import give_rates
from .budget import OutOfRollouts, follow_rollouts
from .checks import plan_run
from .ending import card, complete_stage, description, end_if_told, ending, finish
from .parts import build_parts, create_adapters
from .round import without_ddp


class CoPDTrainer(GRPOTrainer):
    """
    Trainer for co-evolving policy distillation (CoPD, arXiv 2604.27083).

    K experts, each a LoRA adapter on one shared frozen base, learn by GRPO from verifiable rewards on their own
    domain. In OPD rounds they also sample on each other's prompts and use their teacher's log-ratio as advantage. The
    run delivers a shared student: an adapter of its own, or the merge of the experts.

    One round is one synchronous update of every branch, and one `global_step`:

        rows of each branch ─> one generate ─> rewards ───────────> advantages (B,) ──┐
        (native and cross)     for all        (native rows, TRL)                      ├─> TRL's loss per branch ─> one
                               branches       teacher scores ─────> advantages (B, T) ┘   optimizer step
                                              (cross rows)

    Each branch is a [`Learner`]: a GRPOTrainer that holds the state of one policy and borrows the rest from this
    trainer. After `__init__` come TRL's and transformers' hooks in the order of a run's life; each calls one part.

    Args:
        model (`str` or [`~transformers.PreTrainedModel`]): The base: id, path or model, as in TRL.
        experts (`list[Expert]`): The domains and their rewards.
        args ([`CoPDConfig`], *optional*): Configuration; defaults to `CoPDConfig("<model>-CoPD")`.
        processing_class (*optional*): Tokenizer, or processor for images; by default loaded from the model id.
        callbacks, quantization_config (*optional*): As in TRL.
        optimizers (`tuple`, *optional*): Refused if it holds anything; see `args.optim` and `args.lr_scheduler_type`.
        peft_config ([`~peft.PeftConfig`]): For every adapter; all start as copies of one initial adapter.

    Raises:
        TypeError, ValueError: Something cannot be trained. Raised before the model is loaded; the message says what
            was wrong and how to fix it.
    """

    _tag_names = ["trl", "copd", "grpo"]
    _name = "CoPD"

    def __init__(
        self,
        model: str | PreTrainedModel,
        experts: list[Expert] | None = None,
        args: CoPDConfig | None = None,
        processing_class: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[torch.optim.Optimizer | None, torch.optim.lr_scheduler.LambdaLR | None] = (None, None),
        quantization_config: Any = None,
        peft_config: PeftConfig | None = None,
        **others,
    ):
        plan = plan_run(model, experts, args, peft_config, quantization_config, optimizers, others, processing_class)
        self.experts, self.topology, self.schedule = plan.experts, plan.topology, plan.schedule
        self.fingerprint = plan.fingerprint
        self.hub = Hub(plan.args, self._create_repo, self._tell_of_push, complete=partial(complete_stage, self))
        super().__init__(
            model=model,
            processing_class=processing_class,
            callbacks=callbacks,
            optimizers=optimizers,
            quantization_config=quantization_config,
            **plan.trl_arguments(),
        )
        create_adapters(self.peft_model, plan)
        self.fingerprint[BASE_KEY] = base_fingerprint(self.peft_model)
        for name, value in plan.engine_args.items():  # of our engine; TRL did not start one of its own
            setattr(self.args, name, value)
        self.use_vllm = self.args.use_vllm  # TRL's scoring corrects for what the engine reports
        self.log_multimodal = False  # TRL gathers pictures where it has some: a process with none would not take part

        parts = build_parts(self, plan)
        self.recorder, self.progress, self.saver = parts.recorder, parts.progress, parts.saver
        self.forwards, self.engine, self.weights = parts.forwards, parts.engine, parts.weights
        self.branches, self.teaching, self.round = parts.branches, parts.teaching, parts.round
        self.overlap, self.evaluation = parts.overlap, parts.evaluation
        self.conversations = parts.conversations
        self.interruption = Interruption(self.accelerator)
        self.add_callback(self.interruption)
        self.add_callback(OutOfRollouts(self.round))
        self.remove_callback(PrinterCallback if self.args.disable_tqdm else DEFAULT_PROGRESS_CALLBACK)
        if not self.args.disable_tqdm:
            self.add_callback(self.progress)
        self.last_matrix: Matrix | None = None
        self.last_matrix_round: int | None = None  # whose weights it was
        self._resumed_loss: tuple[torch.Tensor, int] | None = None

    @property
    def peft_model(self) -> PeftModel:
        return self.accelerator.unwrap_model(self.model)

    # ---- Training ---------------------------------------------------------------------------------------------------

    def train(self, resume_from_checkpoint: str | bool | None = None, *args, **kwargs):
        """
        Train, then save state, capability matrix (if experts have held-out rows) and figures in `output_dir`.

        Args:
            resume_from_checkpoint (`str` or `bool`, *optional*): A checkpoint, or `True` for the newest complete one.

        Raises:
            ValueError: The checkpoint is torn, or belongs to another run; the message names the differences.
            SystemExit: After SIGTERM or SIGUSR1 and a checkpoint of the round, with 128 + the signal's number.
            EngineUnavailable: The engine did not come back. A checkpoint holds the rounds up to there.
            OSError: The last checkpoint could not be written.
        """
        with ending(self):
            folder = checkpoint_to_resume(resume_from_checkpoint, self.args, self.fingerprint)
            if folder is None:
                self.round.restart()
                self._step = 0
                if self.is_world_process_zero():
                    warn_of_earlier(self.args.output_dir)
            with self.interruption.listening():
                result = super().train(folder, *args, **kwargs)
                end_if_told(self)
            self.saver.raise_if_unsaved()
            finish(self)
            return result

    def get_train_dataloader(self) -> DataLoader:
        """A loader of micro-steps; the rows of the branches come from their own streams when a generation is due."""
        steps = range(self.round.micro_steps_per_epoch * self.accelerator.num_processes)
        return self._get_dataloader(steps, "Training", batch_size=1, sampler_fn=SequentialSampler, is_training=True)

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        # the optimizer takes what requires grad now, and PEFT lets only the active adapter do so
        adapters.set_trainable(self.peft_model, list(self.branches))
        fresh = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if fresh:
            give_rates(optimizer, self.branches.values())
        return optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> LRScheduler:
        fresh = self.lr_scheduler is None
        scheduler, budget = super().create_scheduler(num_training_steps, optimizer), self.args.max_rollouts
        if fresh and budget is not None:
            follow_rollouts(scheduler, num_training_steps, budget, lambda: self.round.learnt_from(self._step))
        return scheduler

    def _prepare_for_training(self, *args, **kwargs):
        replicated = self.accelerator.num_processes > 1 and not self.is_fsdp_enabled
        with without_ddp(self.accelerator) if replicated else nullcontext():
            prepared = super()._prepare_for_training(*args, **kwargs)
        for name, branch in self.branches.items():  # FSDP2 has put shards in their place
            branch.parameters = adapters.branch_parameters(self.peft_model, name)
            if replicated:  # as DDP does
                broadcast([parameter.detach() for parameter in branch.parameters])
        return prepared

    def _run_epoch(self, *args, **kwargs) -> None:
        if self.state.global_step < self.state.max_steps and not self.round.is_last(self.state.global_step):
            super()._run_epoch(*args, **kwargs)
        else:  # the checkpoint was the last one's; transformers would train one round more
            self._load_rng_state(kwargs["resume_from_checkpoint"])
            self.control.should_training_stop = True

    def training_step(self, model: torch.nn.Module, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """One step per live branch instead of one."""
        self.round.begin(self.state, self._step)
        loss = self.round.learn(model, inputs, num_items_in_batch, self._step)
        self._step += 1
        return loss

    def _clip_grad_norm(self, model: torch.nn.Module) -> torch.Tensor:
        """Clip each branch by its own norm; returns the norm of all gradients that are applied."""
        self.accelerator.unscale_gradients()
        return self.round.clip(self.args.max_grad_norm or torch.inf)

    def _get_grad_norm(self, model: torch.nn.Module, grad_norm: torch.Tensor | None = None) -> Any:
        if grad_norm is None:  # max_grad_norm=0; transformers would multiply all gradients by one norm's NaN
            grad_norm = self._clip_grad_norm(model)
        return super()._get_grad_norm(model, grad_norm=grad_norm)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log every branch's metrics under its name, and the edges' under theirs."""
        if self.model.training:
            self.recorder.collect(self.branches, self.state.num_input_tokens_seen)
        tables, self.log_completions = self.log_completions, False  # TRL's table is one policy's; ours are per branch
        try:
            super().log(logs, start_time)
        finally:
            self.log_completions = tables
        if tables and self.model.training:
            log_completions(self.branches, self.state, self.args, self.progress)

    # ---- Evaluation -------------------------------------------------------------------------------------------------

    def capability_matrix(self, num_generations: int | None = None) -> Matrix:
        """
        Accuracy of the base, of every expert and of the student on every domain's held-out rows.

        Args:
            num_generations (`int`, *optional*, defaults to `args.num_generations_eval`, else to `1`):
                `1` decodes greedily; n > 1 samples n completions per row at `args.temperature` (avg@n).

        Returns:
            `{adapter: {domain: accuracy}}`: the mean of the expert's first reward function over the rows that it
            grades, or `None` if it grades none. Also written to `capability_matrix.json` and `.md` in `output_dir`.

        Raises:
            ValueError: No expert has an `eval_dataset`.
        """
        with self.recorder.untracked():
            matrix, note = self.evaluation.measure(self.weights.student, num_generations)
        self.last_matrix, self.last_matrix_round = matrix, weights_round(self.state, self.args, self.is_in_train)
        if self.is_world_process_zero():
            write_matrix(matrix, note, self.args.output_dir)
        return matrix

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """Log the capability matrix: `eval_<adapter>/<domain>` and the mean `eval_<adapter>/accuracy`."""
        if eval_dataset is not None and eval_dataset is not self.eval_dataset:
            raise ValueError("`evaluate` takes no dataset: held-out rows belong to `Expert(eval_dataset=...)`.")
        metrics = matrix_metrics(self.capability_matrix(), metric_key_prefix)
        self.recorder.log_alone(dict(metrics))
        # what was not graded never counts as the best, and does not end a run that selects by it
        names = [f"{name}/{key}" for name, row in self.last_matrix.items() for key in ("accuracy", *row)]
        metrics = {f"{metric_key_prefix}_{name}": math.nan for name in names} | metrics
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    # ---- Saving and loading -----------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        write = super()._save_checkpoint
        self.saver.checkpoint(folder, lambda: write(model, trial), self._push_from_checkpoint, self.state)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the student at the root and each expert in `experts/<name>/`."""
        if not self.is_fsdp_enabled:
            super().save_model(output_dir, _internal_call)
            return
        # transformers would gather the frozen base for it, or write nothing for sharded state dicts
        self._save(output_dir)
        if self.args.push_to_hub and not _internal_call:
            self.push_to_hub(commit_message="Model save", revision=self.args.hub_revision)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        copies = self.weights.copies() if self.args.should_save or self.is_fsdp_enabled else {}
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            self.saver.write_model(folder, copies, self.processing_class, description(self))

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        state = self.round.state_dict(self._step) | self.recorder.state_dict() | {"round": self.state.global_step}
        state |= {"loss": self._tr_loss.detach().cpu(), "logged": self._globalstep_last_logged}  # since the last log
        torch.save(state, state_file(output_dir, self.accelerator.process_index))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.is_fsdp_enabled:
            sharding.save_optimizer(self.optimizer, self.lr_scheduler, output_dir, self.args.should_save)
        else:
            super()._save_optimizer_and_scheduler(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None and self.is_fsdp_enabled:
            sharding.load_optimizer(self.optimizer, self.lr_scheduler, checkpoint)
        else:
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        self.weights.load(resume_from_checkpoint)
        state = load_state(resume_from_checkpoint, self.accelerator.process_index, self.args.device)
        self._step = self.round.micro_step(state["round"])
        self.round.load_state_dict(state)
        self.recorder.load_state_dict(state)
        self._resumed_loss = state["loss"], state["logged"]

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """The last that transformers restores, inside the loop: the loss since the last log comes with it."""
        super()._load_rng_state(checkpoint)
        if self._resumed_loss is not None:
            loss, self._globalstep_last_logged = self._resumed_loss
            self._tr_loss.copy_(loss)
            self._resumed_loss = None

    def _load_best_model(self) -> None:
        self.weights.load_best(self.state.best_model_checkpoint)

    # ---- Card and Hub -----------------------------------------------------------------------------------------------

    def create_model_card(self, model_name=None, dataset_name=None, tags=None) -> None:
        if self.is_world_process_zero():
            with self.saver.remembering_errors():
                write_model_card(card(self, model_name, dataset_name, tags), self.args.output_dir)

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        if self.is_world_process_zero():
            self.hub.start(token, private)

    def push_to_hub(
        self, commit_message="End of training", blocking=True, token=None, revision=None, private=None, **kwargs
    ) -> CommitInfo | Future | None:
        """
        Save the student and the experts in `output_dir` and push it: student at the root, experts in
        `experts/<name>/`, card and figures. Parameters as in [`~transformers.Trainer.push_to_hub`].

        Raises:
            RuntimeError: The upload failed, also on retry; everything is still in `output_dir`.
        """
        self._tell_of_push()
        self.save_model(_internal_call=True)  # on all processes, and first: what fails below loses nothing
        if not self.is_world_process_zero():
            return None
        name = kwargs.pop("model_name", None) or self.hub.repo_name.split("/")[-1]
        self._finish_current_push()
        write_card = partial(self.create_model_card, model_name=name, **kwargs)
        return self.hub.push(commit_message, write_card, blocking, token, revision, private)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if self.args.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
            self.accelerator.wait_for_everyone()  # every process writes its own part of the checkpoint
        if self.is_world_process_zero():
            self.hub.push_checkpoint(Path(checkpoint_folder))

    def _finish_current_push(self) -> None:
        self.hub.finish() if self.is_in_train else self.hub.wait()

    def _create_repo(self, token: str | None, private: bool | None) -> str:
        super().init_hf_repo(token, private)
        return self.hub_model_id

    def _tell_of_push(self) -> None:
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
