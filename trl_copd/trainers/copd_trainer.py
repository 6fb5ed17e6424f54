"""[`CoPDTrainer`]: several experts on one base that teach each other while they train."""

import copy
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from accelerate.logging import get_logger
from peft import PeftConfig, PeftModel
from torch.utils.data import DataLoader, SequentialSampler
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin, TrainerCallback
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK
from trl import GRPOTrainer
from trl.trainer.utils import disable_dropout_in_model, get_config_model_id

from .. import adapters, sharding
from ..divergence import Divergence
from ..evaluation import EvaluationMixin
from ..experts import Expert, check_experts
from ..prompts import PromptStream, check_chat_template, hold_out_probe
from ..redaction import redact, secrets_of
from ..rollouts import build_engine, check_engine
from ..schedule import BranchPlan
from ..topology import STUDENT, build_topology
from .branch import (
    PER_BRANCH_ATTRIBUTES,
    Branch,
    RoundRows,
    concat_batches,
    cross_stream,
    fresh_logs,
    fresh_metrics,
    random_state,
    set_random_state,
)
from .checks import check_run, refuse_unsupported
from .copd_config import CoPDConfig
from .fingerprint import BASE_KEY, base_fingerprint, run_fingerprint
from .health import HealthMixin, mean_of_finite
from .hub import HubMixin, check_hub
from .interruption import Interruption
from .logs import LogsMixin
from .progress import choose_progress
from .rescue import RescueMixin
from .run_state import RunStateMixin
from .saving import SavingMixin
from .sharded import ShardedMixin
from .teaching import TeachingMixin


logger = get_logger(__name__)

UNGRADED = [None]  # stands for the reward functions of cross rows: one column, always NaN


class CoPDTrainer(
    HealthMixin,
    RescueMixin,
    TeachingMixin,
    LogsMixin,
    EvaluationMixin,
    HubMixin,
    RunStateMixin,
    SavingMixin,
    ShardedMixin,
    GRPOTrainer,
):
    """
    Trainer for co-evolving policy distillation (CoPD, arXiv 2604.27083).

    K experts, each a LoRA adapter on one shared frozen base, learn by GRPO from verifiable rewards on their own
    domain. In the rounds of the OPD phase they also sample on each other's prompts and take their teacher's log-ratio
    as advantage. A shared student, an adapter of its own or the merge of the experts, is what the run delivers.

    One round is one synchronous update of every branch, and one `global_step`:

        rows of each branch ─> one generate ─> rewards ───────────> advantages (B,) ──┐
        (native and cross)     for all        (native rows, TRL)                      ├─> TRL's loss per branch ─> one
                               branches       teacher scores ─────> advantages (B, T) ┘   optimizer step
                                              (cross rows)

    Overridden methods of [`~trl.GRPOTrainer`] and [`~transformers.Trainer`]:
        - `training_step`: one step per live branch instead of one.
        - `_generate_and_score_completions`, `_tokenize_prompts`, `_generate_single_turn`, `_calculate_rewards`: cross
          rows beside native ones, from rollouts that were sampled for all branches at once.
        - `get_train_dataloader`: counts rounds; the rows come from resumable streams.
        - `create_optimizer`, `_clip_grad_norm`, `_get_grad_norm`: all adapters, each with its own learning rate
          and clipping.
        - what logs, evaluates, saves, loads and pushes, and what checks rewards and gradients: see [`LogsMixin`],
          [`EvaluationMixin`], [`RunStateMixin`], [`SavingMixin`], [`ShardedMixin`], [`HubMixin`],
          [`RescueMixin`] and [`HealthMixin`].

    Args:
        model (`str` or [`~transformers.PreTrainedModel`]):
            The base: id, path or model, as in TRL.
        experts (`list[Expert]`):
            The domains and their rewards.
        args ([`CoPDConfig`], *optional*):
            Configuration; defaults to `CoPDConfig("<model>-CoPD")`.
        processing_class ([`~transformers.PreTrainedTokenizerBase`], *optional*):
            Tokenizer; loaded from the model id if absent.
        callbacks, quantization_config (*optional*):
            As in TRL.
        optimizers (`tuple`, *optional*):
            `(None, scheduler)`; an optimizer is chosen with `args.optim`.
        peft_config ([`~peft.PeftConfig`]):
            Configuration of every adapter; all start as copies of one initial adapter.

    Raises:
        TypeError, ValueError: Before the model is loaded, for anything that cannot be trained; the message says what
            came, why it cannot work and what to do.
    """

    _tag_names = ["trl", "copd", "grpo"]
    _name = "CoPD"

    def __init__(
        self,
        model: str | PreTrainedModel,
        experts: list[Expert],
        args: CoPDConfig | None = None,
        processing_class: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[torch.optim.Optimizer | None, torch.optim.lr_scheduler.LambdaLR | None] = (None, None),
        quantization_config: Any = None,
        peft_config: PeftConfig | None = None,
        **unsupported,
    ):
        refuse_unsupported(unsupported)
        if optimizers[0] is not None:
            raise ValueError(
                "`optimizers` holds an optimizer, but the adapters that it should train do not exist yet. Choose one "
                "with `args.optim`; a scheduler may be passed as `(None, scheduler)`."
            )
        self.experts = check_experts(experts)
        if args is None:
            name = model if isinstance(model, str) else get_config_model_id(model.config)
            args = CoPDConfig(f"{name.split('/')[-1]}-CoPD")
        if not isinstance(args, CoPDConfig):
            raise TypeError(f"`args` must be a CoPDConfig, got {type(args).__name__}.")
        self.topology = build_topology(args.topology, tuple(self.experts), args.hub)
        self.schedule = args.build_schedule()
        adapters.check_peft_config(peft_config, model, self.topology, args.student_init)
        self.betas = check_run(self.experts, args, self.topology, peft_config)
        check_engine(args, model, peft_config, self.topology, self.experts, quantization_config)
        check_hub(args)
        self._fingerprint = redact(run_fingerprint(args, peft_config, self.experts), secrets_of(args))
        if args.resume_from_checkpoint:
            self._check_same_run(args.resume_from_checkpoint, args.output_dir)

        args = copy.copy(args)  # the rewards of all experts travel through `args.reward_weights`: keep the user's own
        args.enable_jit_checkpoint = False  # `Interruption` does it, in a way that can be resumed from
        peft_config = copy.copy(peft_config)  # whoever loads an adapter finds the base's revision in it
        peft_config.revision = peft_config.revision or (args.model_init_kwargs or {}).get("revision")
        funcs, weights, processing_classes = self._flatten_rewards(args)
        args.reward_weights = weights
        # TRL would start an engine of its own, for one policy, and read `generation_kwargs` as transformers'
        engine_args = {name: getattr(args, name) for name in ("use_vllm", "generation_kwargs")}
        if args.use_vllm:
            args.use_vllm, args.generation_kwargs = False, None
        first = next(iter(self.experts.values()))
        super().__init__(
            model=model,
            reward_funcs=funcs,
            args=args,
            train_dataset=first.train_dataset,
            eval_dataset=self._all_eval_datasets() or None,
            processing_class=processing_class,
            reward_processing_classes=processing_classes,
            callbacks=callbacks,
            optimizers=optimizers,
            quantization_config=quantization_config,
            peft_config=peft_config,
        )
        trained = {name: str(expert.adapter) for name, expert in self.experts.items() if expert.adapter is not None}
        merging = args.student_init == "merge"
        adapters.create_branches(self.peft_model, self.topology.branches, trained, merging)
        self._fingerprint[BASE_KEY] = base_fingerprint(self.peft_model)
        if args.opd_loss != "sampled":
            base = self.peft_model.get_base_model()
            self.divergence = Divergence(args.opd_loss, base, self.temperature, args.opd_top_k)
        if args.disable_dropout:  # TRL did it for the initial adapter
            disable_dropout_in_model(self.peft_model)
        self._stacking: dict[frozenset[str], bool] = {}
        # tokenized prompts; completions and their log-probabilities: awaiting TRL's generation
        self._sampled: deque[tuple[tuple, tuple]] = deque()
        self._acting: Branch | None = None
        self._measured_round = -1
        self._live: list[Branch] = []  # the branches that take part in the generation at hand
        self._edge_metrics: dict[str, list[float]] = defaultdict(list)
        self.last_matrix: dict[str, dict[str, float | None]] | None = None
        self.last_matrix_round: int | None = None
        self._build_branches()
        self.use_vllm = engine_args["use_vllm"]  # TRL's scoring corrects for what the engine reports
        for name, value in engine_args.items():
            setattr(self.args, name, value)
        self.engine = build_engine(self)
        self._interruption = Interruption(self.accelerator)
        self.add_callback(self._interruption)
        self.progress = choose_progress(self)
        if not args.disable_tqdm:
            self.remove_callback(DEFAULT_PROGRESS_CALLBACK)
            self.add_callback(self.progress)

    # ---- Branches ---------------------------------------------------------------------------------------------------

    @property
    def peft_model(self) -> PeftModel:
        return self.accelerator.unwrap_model(self.model)

    @property
    def prompts_per_generation(self) -> int:
        """P: prompts of a branch in one global generation batch."""
        return self.args.generation_batch_size // self.num_generations

    def can_stack(self, names: list[str]) -> bool:
        """Whether the adapters can share a forward; warns once with the reason if they cannot."""
        key = frozenset(names)
        if key not in self._stacking:
            obstacle = adapters.stacking_obstacle(self.peft_model, names) if len(key) > 1 else None
            if obstacle is not None and all(self._stacking.values()):
                logger.warning(f"Branches are sampled and scored one after the other: {obstacle}.")
            self._stacking[key] = obstacle is None
        return self._stacking[key]

    def _flatten_rewards(self, args: CoPDConfig) -> tuple[list[Callable | str], list[float], list[Any] | None]:
        funcs: list[Callable | str] = []
        weights: list[float] = []
        processing: list[Any] = []
        for expert in self.experts.values():
            funcs += expert.reward_funcs
            weights += expert.reward_weights or args.reward_weights or [1.0] * len(expert.reward_funcs)
            classes = expert.reward_processing_classes
            classes = classes if isinstance(classes, list) else [classes] * len(expert.reward_funcs)
            processing += classes
        return funcs, weights, processing

    def _build_branches(self) -> None:
        """Give each branch its rewards, logs and prompt streams."""
        args, size = self.args, self.prompts_per_generation
        domains, self._probes = {}, {}
        for name, expert in self.experts.items():
            held_out = next(iter(expert.eval_datasets.values()), None)
            probed = args.overlap_every > 0 and any(edge.domain == name for edge in self.topology.edges)
            rows = expert.train_dataset
            check_chat_template(name, rows, self.processing_class)
            if probed and args.distils:
                rows, self._probes[name] = hold_out_probe(rows, held_out, args.probe_prompts, size)
                if not self._probes[name]:
                    logger.warning(
                        f"Expert {name!r} has no rows to spare for measuring overlap: give it eval_dataset."
                    )
            domains[name] = rows
        self.branches: dict[str, Branch] = {}
        start = 0
        for name in self.topology.branches:
            expert = self.experts.get(name)
            stop = start + (len(expert.reward_funcs) if expert is not None else 0)
            branch = Branch(name, expert, self._branch_attributes(slice(start, stop)))
            start = stop
            if expert is not None:
                branch.native = PromptStream(domains[name], size, self.shuffle_dataset, args.seed)
            for edge in self.topology.edges_into(name):
                branch.cross[edge.domain] = cross_stream(domains[edge.domain], args.seed, name, edge.domain)
            branch.parameters = adapters.branch_parameters(self.peft_model, name)
            self.branches[name] = branch

    def _branch_attributes(self, rewards: slice) -> dict[str, Any]:
        attributes = {name: getattr(self, name) for name in PER_BRANCH_ATTRIBUTES}
        for name in ("reward_funcs", "reward_func_names", "reward_weights", "reward_processing_classes"):
            attributes[name] = attributes[name][rewards]
        attributes["_metrics"] = fresh_metrics()
        attributes["_logs"] = fresh_logs(self.args.generation_batch_size)
        return attributes

    @contextmanager
    def _as(self, branch: Branch) -> Iterator[None]:
        """Let the trainer be one branch: its adapter active, its rewards, rollouts and logs in place."""
        shared = {name: self.__dict__[name] for name in PER_BRANCH_ATTRIBUTES}
        self.__dict__.update(branch.attributes)
        self._acting = branch
        adapters.activate(self.peft_model, branch.name)
        try:
            yield
        finally:
            branch.attributes = {name: self.__dict__[name] for name in PER_BRANCH_ATTRIBUTES}
            self.__dict__.update(shared)
            self._acting = None

    @contextmanager
    def _crossing(self) -> Iterator[dict[str, Any]]:
        """Let the acting branch handle cross rows: no rewards, metrics set aside; yields their completions."""
        names = (
            "reward_funcs",
            "reward_func_names",
            "reward_weights",
            "reward_processing_classes",
            "_metrics",
            "_logs",
        )
        native = {name: self.__dict__[name] for name in names}
        self.reward_funcs, self.reward_func_names, self.reward_processing_classes = UNGRADED, [], []
        self.reward_weights = torch.ones(1)  # of the one column that `_calculate_rewards` gives, ungraded
        self._metrics, self._logs = fresh_metrics(), fresh_logs(self.args.generation_batch_size)
        try:
            yield self._logs
            prefix = (
                "cross/" if self._acting.expert is not None else ""
            )  # the student has no native rows to tell apart
            for key, values in self._metrics["train"].items():
                if key.startswith("completions/"):
                    native["_metrics"]["train"][prefix + key] += values
        finally:
            self.__dict__.update(native)

    # ---- The round --------------------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader:
        """
        A loader of micro-steps, as many per epoch as TRL takes for the longest dataset; shorter ones recycle.

        The rows of the branches come from their own streams when a generation is due.
        """
        repeats = self.num_iterations * self.args.steps_per_generation
        sizes = [
            len(branch.native.dataset) // self.prompts_per_generation * repeats
            for branch in self.branches.values()
            if branch.native is not None and hasattr(branch.native.dataset, "__len__")
        ]
        if len(sizes) < len(self.experts):  # a stream has no length: `max_steps` rules, see `check_run`
            sizes = [self.args.max_steps * self.args.gradient_accumulation_steps]
        self._micro_steps_per_epoch = max(sizes)
        return self._get_dataloader(
            dataset=range(max(sizes) * self.accelerator.num_processes),
            description="Training",
            batch_size=1,
            sampler_fn=SequentialSampler,
            is_training=True,
        )

    def training_step(
        self, model: torch.nn.Module, inputs: Any, num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        step = self._step
        with self._all_or_nothing():
            if self._measured_round != self.state.global_step:
                overlaps = self._measure_edges(self.state.global_step)
                self.schedule.advance(self.state.global_step, overlaps)
                self._measured_round = self.state.global_step
            if step % (self.args.steps_per_generation * self.num_iterations) == 0 or not self._live:
                self._start_generation(model)
        if self.accelerator.num_processes > 1:
            model = self.peft_model  # DDP would reduce in each backward, and trips over branches that take no part
        losses = []
        several = len(self.branches) > 1
        for branch in self._live:
            with self._as(branch), self._random_stream(branch, step) if several else nullcontext():
                self._step = step
                losses.append(super().training_step(model, inputs, num_items_in_batch))
        if self.accelerator.sync_gradients and self.accelerator.num_processes > 1 and not self.is_fsdp_enabled:
            self._average_gradients()  # FSDP2 has averaged in the backwards, over the shards of the live branch
        return mean_of_finite(losses) if len(losses) > 1 else losses[0]

    @contextmanager
    def _random_stream(self, branch: Branch, step: int) -> Iterator[None]:
        """
        Shuffle rows and draw dropout from the branch's own stream, as its own GRPOTrainer would; sampling draws from
        the trainer's. All streams start from the same state.
        """
        shared = random_state()
        if branch.random_state is not None:
            set_random_state(branch.random_state)
            if step % self._micro_steps_per_epoch == 0:
                torch.empty((), dtype=torch.int64).random_()  # what a DataLoader draws when an epoch begins
        try:
            yield
            branch.random_state = random_state()
        finally:
            set_random_state(shared)

    def _start_generation(self, model: torch.nn.Module) -> None:
        """Decide what each branch does, draw the rows and sample them all."""
        model.train()
        start = time.perf_counter()
        round_index, total = self.state.global_step, self.state.max_steps
        if self.args.student_init == "merge" and self.schedule.opd_begins(round_index, total):
            self._restart_student()
        plans = self.schedule.plan(self.topology, round_index, total)
        self._live = []
        for branch in self.branches.values():
            branch.attributes["_buffered_inputs"] = None
            plan = plans[branch.name]
            if not plan.idle:
                branch.rows = self._local_rows(branch, plan)
                self._live.append(branch)
        self._sample_round()
        self._metrics["train"]["rollout_time"].append(time.perf_counter() - start)  # not in the branches' step_time
        phase = self.schedule.phase(round_index, total)
        self._metrics["train"]["phase"] = [float(phase == "opd")]
        self._metrics["train"]["cycle"] = [float(self.schedule.cycle(round_index, total))]

    def _restart_student(self) -> None:
        """Set the student to the mean of the experts, and forget the moments of what it was."""
        adapters.set_to_average(self.peft_model, STUDENT, list(self.experts))
        for parameter in self.branches[STUDENT].parameters:
            self.optimizer.state.pop(parameter, None)

    def _local_rows(self, branch: Branch, plan: BranchPlan) -> RoundRows:
        """This process's share of the branch's rows, an equal number of native and of cross rows on each."""
        native, cross = branch.draw(plan, self.prompts_per_generation, self.args.opd_fraction)
        native = self._share([row for row in native for _ in range(self.num_generations)])
        cross = self._share([pair for pair in cross for _ in range(self.num_generations)])
        return RoundRows(native, [row for _, row in cross], [edge for edge, _ in cross])

    def _share(self, rows: list) -> list:
        size = len(rows) // self.accelerator.num_processes
        return rows[self.accelerator.process_index * size :][:size]

    def _sample_round(self) -> None:
        """Sample native and cross rows of all live branches in one `generate`."""
        parts = [(b.name, rows) for b in self._live for rows in (b.rows.native, b.rows.cross) if rows]
        self._sampled.clear()
        tokenized = [self._tokenize_prompts([row["prompt"] for row in rows]) for _, rows in parts]
        names = [name for name, rows in parts for _ in rows]
        self.engine.sync(names)
        completions, logps = self.engine.generate([ids for prompts in tokenized for ids in prompts[0]], names)
        completions = self._without_empty(completions, names)
        logps = logps and [row or [0.0] for row in logps]  # for the token that was put there
        start = 0
        for prompts, (_, rows) in zip(tokenized, parts, strict=True):
            part = slice(start, start + len(rows))
            self._sampled.append((prompts, (completions[part], logps and logps[part])))
            start += len(rows)

    def _tokenize_prompts(self, prompts):
        if self._acting is not None and self._sampled:
            return self._sampled[0][0]
        return super()._tokenize_prompts(prompts)

    def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations, has_tool_images=False):
        if self._acting is not None and self._sampled:
            return self._sampled.popleft()[1]
        return super()._generate_single_turn(
            prompt_ids, images, multimodal_fields, num_generations, has_tool_images=has_tool_images
        )

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if self._acting is None:
            return super()._generate_and_score_completions(inputs)
        rows, batches = self._acting.rows, []
        if rows.native:
            batches.append(super()._generate_and_score_completions(rows.native))
        if rows.cross:
            with self._crossing() as logs:
                batch = super()._generate_and_score_completions(rows.cross)
            self._teach(batch, rows.edges)
            if self.log_completions:
                self._keep_cross_rows(logs, batch, rows.edges)
            batches.append(batch)
        return concat_batches(batches, self._tokenizer.pad_token_id)

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        if self.reward_funcs is not UNGRADED:
            with self._guarded_rewards():
                rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
            return self._ungrade_non_finite(rewards)
        # cross rows: a reward never enters them
        rows = len(prompts) * self.accelerator.num_processes
        return torch.full((rows, 1), torch.nan, device=self.accelerator.device)

    # ---- The update -------------------------------------------------------------------------------------------------

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        # the optimizer takes what requires grad now, and PEFT lets only the active adapter do so
        adapters.set_trainable(self.peft_model, list(self.branches))
        fresh = self.optimizer is None
        optimizer = super().create_optimizer(model)
        rates = {name: e.learning_rate for name, e in self.experts.items() if e.learning_rate is not None}
        if fresh and rates:
            owner = {id(p): name for name in rates for p in self.branches[name].parameters}
            groups = []
            for group in optimizer.param_groups:
                for name in (None, *rates):
                    params = [p for p in group["params"] if owner.get(id(p)) == name]
                    if params:
                        rate = group["lr"] if name is None else rates[name]
                        groups.append({**group, "params": params, "lr": rate})
            optimizer.param_groups[:] = groups
        return optimizer

    def _average_gradients(self) -> None:
        """Average the live branches' gradients over the processes, one reduction per branch."""
        for branch in self._live:
            gradients = [parameter.grad for parameter in branch.parameters if parameter.grad is not None]
            flat = self.accelerator.reduce(torch.cat([g.flatten() for g in gradients]), reduction="mean")
            for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(mean.view_as(gradient))

    def _clip_grad_norm(self, model: torch.nn.Module) -> torch.Tensor:
        """Clip each branch by its own norm; returns the norm of all gradients that are applied."""
        self.accelerator.unscale_gradients()
        norms, limit = [], self.args.max_grad_norm or torch.inf
        for branch in self._live:
            norm = sharding.full(torch.nn.utils.clip_grad_norm_(branch.parameters, limit))
            if self._is_applied(branch, norm):
                branch.attributes["_metrics"]["train"]["grad_norm"].append(norm.item())
                norms.append(norm)
        if not norms:
            return torch.zeros((), device=self.accelerator.device)
        return torch.stack(norms).norm() if len(norms) > 1 else norms[0]

    def _get_grad_norm(self, model: torch.nn.Module, grad_norm: torch.Tensor | None = None) -> Any:
        if grad_norm is None:  # max_grad_norm=0; transformers would multiply all gradients by one norm's NaN
            grad_norm = self._clip_grad_norm(model)
        return super()._get_grad_norm(model, grad_norm=grad_norm)
