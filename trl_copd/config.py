"""Configuration of [`CoPDTrainer`]."""

from dataclasses import dataclass, field
from typing import Any, Literal

from trl import GRPOConfig

from .config_checks import check_values
from .config_together import check_reuse, check_together
from .methods import settings as method_settings
from .redaction import redact, secrets_of
from .schedule import OverlapSchedule, Schedule
from .spelling import suggesting
from .topology import STUDENT, Topology


BEST_MODEL_METRIC = "eval_student/accuracy"
METRIC_SCHEDULERS = ("reduce_lr_on_plateau", "greedy")


@suggesting
@dataclass
class CoPDConfig(GRPOConfig):
    r"""
    Configuration class for the [`CoPDTrainer`].

    Every parameter of [`~trl.GRPOConfig`] keeps its meaning, per branch: `per_device_train_batch_size` counts rows per
    branch, so that one expert alone is exactly TRL's GRPO. The paper trains with `loss_type="grpo"`,
    `epsilon_high=0.28` and `beta=0.0`; TRL's default loss is `"dapo"`.

    Two defaults differ from TRL's. `learning_rate` is 1e-4: the best rate of LoRA is about ten times that of full
    fine-tuning (Schulman et al., "LoRA Without Regret", 2025), and TRL's 1e-6 hardly moves an adapter. A batch has 32
    rows, four prompts, so that `opd_fraction` can give one to a teacher; TRL's 8 rows are a single prompt.

    Parameters:
        rlvr_steps (`int`, *optional*, defaults to `10`):
            Rounds of RLVR in a cycle, >= 0. The paper's best ratio of `rlvr_steps` to `opd_steps` (arXiv 2604.27083)
            is 1.5 : 1; `docs/experiments.md` compares others.
        opd_steps (`int`, *optional*, defaults to `20`):
            Rounds of on-policy distillation (OPD) in a cycle, >= 0. `0` trains the experts separately.
        final_opd_steps (`int`, *optional*, defaults to `0`):
            Rounds of the final phase, >= 0; `max_steps` includes them. In this phase the experts are frozen and teach
            only the student. Needs `topology="student"`. With `student_init="merge"` the student starts the phase from
            the experts' mean.
        topology (`str`, *optional*, defaults to `"student"`):
            Who teaches whom. `"student"`: each expert teaches the student on its own domain; the student teaches each
            expert on the others. `"mutual"` (the paper's Algorithm 1): every expert teaches every other. `"hub"`: the
            expert `hub` and every other expert teach each other. `"mopd"`: frozen experts teach the student.
        hub (`str`, *optional*):
            Name of the expert that is the hub. Only for `topology="hub"`.
        opd_beta (`float`, `dict[str, float]` or `list[float]`, *optional*, defaults to `1.0`):
            Scale of the distillation advantage, > 0: one number, or one per learner (by name, or as a list in the
            order of the experts with the student last). The paper does not give its value.
        opd_fraction (`float`, *optional*, defaults to `0.25`):
            Share of a branch's prompts that are cross-branch in an OPD round, 0 < f < 1. Of the P prompts of a
            generation batch, min(P - 1, max(1, round(f * P))) are cross-branch. At least one stays native; with P = 1
            an expert is not taught. All prompts of a branch without its own domain (the student) are cross-branch. The
            paper does not give its value.
        opd_loss (`str`, *optional*, defaults to `"sampled"`):
            Loss of cross rows. `"sampled"` is the paper's reverse KL on the sampled tokens. `"reverse_kl"`,
            `"forward_kl"` and `"jsd"` use the full vocabulary at each position of the rollout. `"topk"` is the reverse
            KL over the learner's `opd_top_k` likeliest tokens, with all other tokens as one.
        opd_clip (`float`, *optional*):
            Largest log-ratio of `"sampled"` in nats, > 0; larger ones are set to it. `None` sets no limit.
        opd_top_k (`int`, *optional*, defaults to `16`):
            k of `opd_loss="topk"`, >= 1.
        score_in_fp32 (`bool`, *optional*, defaults to `False`):
            Whether cross rows are scored, and overlap is measured, in float32 where the model computes in 16 bits. The
            LM head always uses float32. Float32 removes rounding noise (`docs/precision.md`); on a GPU it makes
            scoring several times slower.
        opd_max_completion_length (`int`, *optional*):
            Length of cross rollouts in tokens, >= 1: only the first tokens are scored and learnt from. `None` keeps
            all tokens. Verifiers grade the whole completion, for the log and for `allocation="adaptive"`.
        schedule (`str`, *optional*, defaults to `"fixed"`):
            `"fixed"` cycles through `rlvr_steps` and `opd_steps`. `"overlap"` ends an RLVR phase when the overlap of
            an edge falls below `overlap_low`. It ends an OPD phase when the overlap of every edge is above
            `overlap_high`, or when the lowest has not risen over two measurements. `rlvr_steps` and `opd_steps` then
            limit the phases.
        overlap_low (`float`, *optional*, defaults to `0.9`):
            Top-k overlap below which `schedule="overlap"` ends an RLVR phase, in [0, 1]. In the paper overlap stays
            above 0.90.
        overlap_high (`float`, *optional*, defaults to `0.95`):
            Top-k overlap above which `schedule="overlap"` ends an OPD phase, in (`overlap_low`, 1].
        student_init (`str`, *optional*, defaults to `"fresh"`):
            Where the student of `"student"` and `"mopd"` starts. `"fresh"`: like every branch. `"merge"`: at the start
            of each OPD phase it is set to the exact mean of the experts (rank K*r), and learns from there.
        merge_method (`str`, *optional*, defaults to `"average"`):
            How `"mutual"` and `"hub"` make the student when it is saved. `"average"`: the exact mean of the experts'
            weight deltas (rank K*r). `"linear"`: the mean of the LoRA factors (rank r, with cross terms). `"svd"`: the
            rank-r matrix closest to the exact mean. `"ties"`, `"dare"`: prune the deltas first (rank r).
        merge_density (`float`, *optional*, defaults to `0.5`):
            Share of each expert's delta that `merge_method="ties"` and `"dare"` keep, 0 < d <= 1.
        allocation (`str`, *optional*, defaults to `"uniform"`):
            Who gets a round's rollouts. `"uniform"`: every branch that learns in this phase, equally. `"adaptive"`:
            experts in proportion to what is left to learn on their domain, so an expert that has learnt its domain
            rests and still teaches; the student's cross prompts in proportion to its gap to the teacher; the domains
            of an expert with a `domain_column` in proportion to what is left to learn on them.
        allocation_floor (`float`, *optional*, defaults to `0.1`):
            Smallest share of rounds, or of prompts, that `allocation="adaptive"` gives a domain, relative to the
            domain with the most, 0 < f <= 1.
        max_rollouts (`int`, *optional*):
            Rollouts after which the run ends, over all branches and processes, >= 1. Probes and evaluations do not
            count. `final_opd_steps`, and the OPD of `topology="mopd"`, count back from there. `max_steps` then only
            limits the run, and defaults to the rounds that a single branch needs at most. The learning rate's schedule
            ends with the rollouts: it has `max_steps` steps, warm-up included, and passes them in proportion to the
            rollouts learnt from.
        overlap_top_k (`int`, *optional*, defaults to `10`):
            k of the top-k token overlap, >= 1. The paper uses 10.
        overlap_every (`int`, *optional*, defaults to `5`):
            Rounds between two measurements of overlap and symmetric KL, >= 0; `0` switches them off.
        overlap_edges (`str`, *optional*, defaults to `"turns"`):
            Which edges a measurement compares. `"turns"`: one edge of every learner, in turn, so the cost is one
            comparison per branch. `"all"`: all edges, up to K per branch. `schedule="overlap"` always measures all.
        probe_prompts (`int`, *optional*, defaults to `4`):
            Held-out prompts per domain on which overlap and symmetric KL are measured, >= 1.
        matrix_at_end (`bool`, *optional*, defaults to `True`):
            Whether `train` ends with the capability matrix, if an expert has held-out rows.
        check_data (`bool`, *optional*, defaults to `True`):
            Whether every prompt of map-style data is rendered and tokenized once before training, so that errors come
            early and name the expert and the row. With `False`, and in streamed data, a row is checked when it is
            drawn.
        rollout_chunk_rows (`int`, *optional*):
            Largest number of rows, over all branches, in one call of `generate`, >= 1. It limits the KV cache. `None`
            samples the whole round at once.
        share_prompts (`bool` or `"auto"`, *optional*, defaults to `False`):
            Whether rows with the same prompt run it only once in update and scoring, forward and backward. The numbers
            are the same up to rounding (1e-5). `False`: TRL's own forward, bit for bit. `"auto"`: share if there are
            several branches. `True`: also share with a single branch, prefill included; with several branches the
            prefill is always shared.
        live_view (`bool`, *optional*, defaults to `True`):
            Whether a terminal shows the run as a live view (needs `rich`). Elsewhere, and with `False`, a progress bar
            and one line per log replace it; `disable_tqdm=True` switches both off.

    `num_generations_eval` is the number of completions per held-out row of the capability matrix: `None` and `1`
    decode greedily, n > 1 samples n at `temperature`. `docs/settings.md` lists every inherited field.

    `metric_for_best_model` defaults to `"eval_student/accuracy"`, the student's mean accuracy over all domains, with
    `load_best_model_at_end`, `save_strategy="best"` and the schedulers `"reduce_lr_on_plateau"` and `"greedy"`; these
    two wait for it to rise.
    """

    learning_rate: float = field(
        default=1e-4, metadata={"help": "Peak learning rate; an expert may have its own (`Expert.learning_rate`)."}
    )
    per_device_train_batch_size: int = field(
        default=32, metadata={"help": "Rows per branch, process and micro-batch, a multiple of num_generations."}
    )
    rlvr_steps: int = field(
        default=10, metadata={"help": "Rounds of RLVR in a cycle, >= 0. The paper's best ratio to opd_steps is 1.5:1."}
    )
    opd_steps: int = field(
        default=20, metadata={"help": "Rounds of distillation in a cycle, >= 0. 0 trains the experts separately."}
    )
    final_opd_steps: int = field(
        default=0, metadata={"help": "Final rounds in which frozen experts teach only the student, >= 0."}
    )
    topology: str = field(
        default="student", metadata={"help": "Who teaches whom: 'student', 'mutual', 'hub' or 'mopd'."}
    )
    hub: str | None = field(default=None, metadata={"help": "Name of the expert that is the hub of topology='hub'."})
    # `str` is there for the command line parser alone, which allows a union of several types only beside it
    opd_beta: float | str | dict[str, float] | list[float] = field(
        default=1.0, metadata={"help": "Scale of the distillation advantage, > 0: one number, or one per learner."}
    )
    opd_fraction: float = field(
        default=0.25, metadata={"help": "Share of cross-branch prompts of a branch in an OPD round, 0 < f < 1."}
    )
    opd_loss: str = field(
        default="sampled",
        metadata={"help": "Loss of cross rows: 'sampled' (paper), 'reverse_kl', 'forward_kl', 'jsd' or 'topk'."},
    )
    opd_clip: float | None = field(
        default=None, metadata={"help": "Largest log-ratio of opd_loss='sampled' in nats, > 0; None: no limit."}
    )
    opd_top_k: int = field(default=16, metadata={"help": "k of opd_loss='topk', >= 1."})
    score_in_fp32: bool = field(
        default=False,
        metadata={"help": "Whether cross rows are scored, and overlap is measured, in float32 instead of 16 bits."},
    )
    opd_max_completion_length: int | None = field(
        default=None, metadata={"help": "Tokens of a cross rollout that are scored and learnt from, >= 1; None: all."}
    )
    schedule: str = field(
        default="fixed",
        metadata={"help": "'fixed' cycles through rlvr_steps and opd_steps; 'overlap' lets the overlap end phases."},
    )
    overlap_low: float = field(
        default=0.9, metadata={"help": "Overlap below which schedule='overlap' ends RLVR, in [0, 1]."}
    )
    overlap_high: float = field(
        default=0.95, metadata={"help": "Overlap above which schedule='overlap' ends OPD, in (overlap_low, 1]."}
    )
    student_init: str = field(
        default="fresh",
        metadata={"help": "Start of the student: 'fresh', or 'merge', the experts' mean at each OPD phase."},
    )
    merge_method: str = field(
        default="average",
        metadata={"help": "How experts are merged: 'average' (exact, rank K*r), 'linear', 'svd', 'ties' or 'dare'."},
    )
    merge_density: float = field(
        default=0.5, metadata={"help": "Share of a delta that merge_method='ties' and 'dare' keep, 0 < d <= 1."}
    )
    allocation: str = field(
        default="uniform", metadata={"help": "Who gets a round's rollouts: 'uniform' or 'adaptive'."}
    )
    allocation_floor: float = field(
        default=0.1, metadata={"help": "Smallest share that allocation='adaptive' gives a domain, 0 < f <= 1."}
    )
    max_rollouts: int | None = field(
        default=None, metadata={"help": "Rollouts after which the run ends, over all branches; None: use max_steps."}
    )
    overlap_top_k: int = field(default=10, metadata={"help": "k of the top-k token overlap, >= 1."})
    overlap_every: int = field(
        default=5, metadata={"help": "Rounds between two measurements of overlap and symmetric KL; 0: never."}
    )
    overlap_edges: str = field(
        default="turns", metadata={"help": "Edges that a measurement compares: 'turns' (one per learner) or 'all'."}
    )
    probe_prompts: int = field(
        default=4, metadata={"help": "Held-out prompts per domain for overlap and symmetric KL, >= 1."}
    )
    matrix_at_end: bool = field(
        default=True,
        metadata={"help": "Whether training ends with the capability matrix, if there are held-out rows."},
    )
    check_data: bool = field(
        default=True, metadata={"help": "Whether all prompts are rendered and tokenized once before training."}
    )
    rollout_chunk_rows: int | None = field(
        default=None, metadata={"help": "Rows in one call of generate at most, over all branches; None: all."}
    )
    share_prompts: Literal["auto", True, False] = field(
        default=False,
        metadata={"help": "Whether rows with the same prompt run it only once: 'auto', True or False."},
    )
    live_view: bool = field(
        default=True, metadata={"help": "Whether a terminal shows the run as a live view (needs rich)."}
    )

    def __post_init__(self):
        check_values(self)
        check_together(self)
        if (self.selects_best_model or self.rate_follows_metric) and self.metric_for_best_model is None:
            self.metric_for_best_model = BEST_MODEL_METRIC
        samples, self.num_generations_eval = self.num_generations_eval, 1  # TRL would check that groups fill a batch
        try:
            super().__post_init__()
        finally:
            self.num_generations_eval = samples
        if self.rate_follows_metric:  # by default those schedulers wait for the metric to fall, as a loss does
            mode = "max" if self.greater_is_better else "min"
            self.lr_scheduler_kwargs = {"mode": mode, **(self.lr_scheduler_kwargs or {})}
        if self.max_rollouts is not None and self.max_steps <= 0:
            generations = -(-self.max_rollouts // self.generation_batch_size)
            micro_steps = self.num_iterations * self.steps_per_generation  # of a generation
            # each ends a round at most: the last round of an epoch may be short
            self.max_steps = generations * -(-micro_steps // self.gradient_accumulation_steps)
        check_reuse(self)

    @classmethod
    def preset(cls, method: str, **fields: Any) -> "CoPDConfig":
        """
        The configuration of a method, with the settings that did best in `docs/experiments.md`.

        Args:
            method (`str`): `"copd"`, `"copd-mutual"`, `"copd-hub"`, `"mopd"`, `"experts"`, `"average"` or `"mixed"`,
                which takes one expert on all data.
            **fields: Fields of the configuration; they replace the preset's.

        Returns:
            [`CoPDConfig`]: The configuration. `"copd"` keeps half of `max_steps`, or 9/32 of `max_rollouts`, for
            `final_opd_steps`; without either it has no final phase.

        Raises:
            ValueError: No such method, or a field that would make it another one.
        """
        return cls(**method_settings(method, fields, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """What trackers receive: as in transformers, without the secrets that transformers leaves inside values."""
        return redact(super().to_dict(), secrets_of(self))

    @property
    def selects_best_model(self) -> bool:
        return self.load_best_model_at_end or self.save_strategy == "best"

    @property
    def rate_follows_metric(self) -> bool:
        """Whether an evaluation's `metric_for_best_model` moves the learning rate."""
        return self.lr_scheduler_type in METRIC_SCHEDULERS

    @property
    def distils(self) -> bool:
        """Whether there is any OPD."""
        return self.opd_steps > 0 or self.final_opd_steps > 0

    @property
    def prompts_per_generation(self) -> int:
        """P: prompts of a branch in one global generation batch."""
        return self.generation_batch_size // self.num_generations

    @property
    def rounds_per_generation(self) -> int:
        """Rounds that one generation of rollouts serves: `max(1, mu * steps_per_generation / accumulation)`."""
        return max(1, self.num_iterations * self.steps_per_generation // self.gradient_accumulation_steps)

    @property
    def generations_per_round(self) -> int:
        """Generations that one round learns from: `max(1, accumulation / (mu * steps_per_generation))`."""
        return max(1, self.gradient_accumulation_steps // (self.num_iterations * self.steps_per_generation))

    def shares_prompts(self, topology: Topology) -> bool:
        """Whether rows of one prompt share it in update and scoring."""
        return len(topology.branches) > 1 if self.share_prompts == "auto" else bool(self.share_prompts)

    def learner_betas(self, topology: Topology) -> dict[str, float]:
        """
        beta of each learner, from one number, a mapping, or a list in the order of the experts (student last).

        Raises:
            ValueError: A list of another length, a name that is not a branch, or a learner without a value.
        """
        beta, branches = self.opd_beta, topology.branches
        if isinstance(beta, dict):
            unknown = sorted(set(beta) - set(branches))
            if unknown:
                raise ValueError(
                    f"`opd_beta` names {unknown[0]!r}, which is not a branch. Branches: {', '.join(branches)}."
                )
            taught = topology.edges if self.opd_steps else topology.edges_into(STUDENT) if self.distils else ()
            missing = [edge.learner for edge in taught if edge.learner not in beta]
            if missing:
                raise ValueError(f"`opd_beta` has no value for {missing[0]!r}, which learns by OPD. Add it.")
            return {name: float(value) for name, value in beta.items()}
        if isinstance(beta, list):
            if len(beta) != len(branches):
                raise ValueError(
                    f"`opd_beta` lists {len(beta)} values for {len(branches)} branches ({', '.join(branches)}). Give "
                    f"one per branch{', the student last' if STUDENT in branches else ''}, or a mapping by name."
                )
            return dict(zip(branches, map(float, beta), strict=True))
        return dict.fromkeys(branches, float(beta))

    def build_schedule(self, experts: int = 1) -> Schedule:
        """The phases of a run with so many experts."""
        steps, reuse = (self.rlvr_steps, self.opd_steps), self.rounds_per_generation
        last = {"final_opd_steps": self.final_opd_steps, "budget": self.max_rollouts}
        last["reserve"] = -(-self.final_opd_steps // reuse) * self.generation_batch_size * self.generations_per_round
        if self.schedule == "overlap":
            return OverlapSchedule(*steps, reuse=reuse, low=self.overlap_low, high=self.overlap_high, **last)
        static = self.topology == "mopd"
        if static and self.max_rollouts is not None:  # the student is one branch, and every expert is one
            whole = self.rlvr_steps * experts + self.opd_steps
            last["reserve"] = self.max_rollouts * self.opd_steps // whole
        return Schedule(*steps, static=static, reuse=reuse, **last)
