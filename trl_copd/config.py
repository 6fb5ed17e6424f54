"""Configuration of [`CoPDTrainer`]."""

from dataclasses import dataclass, field
from typing import Any, Literal

from trl import GRPOConfig

from .config_checks import check_values
from .config_together import check_reuse, check_together
from .redaction import redact, secrets_of
from .schedule import OverlapSchedule, Schedule
from .spelling import suggesting
from .topology import STUDENT, Topology


BEST_MODEL_METRIC = "eval_student/accuracy"


@suggesting
@dataclass
class CoPDConfig(GRPOConfig):
    r"""
    Configuration class for the [`CoPDTrainer`].

    Every parameter of [`~trl.GRPOConfig`] keeps its meaning, per branch: `per_device_train_batch_size` counts rows per
    branch, so that one expert alone is exactly TRL's GRPO. The paper trains with `loss_type="grpo"`,
    `epsilon_high=0.28` and `beta=0.0`; TRL's default loss is `"dapo"`.

    Parameters:
        rlvr_steps (`int`, *optional*, defaults to `10`):
            Rounds of RLVR in a cycle, >= 0. With `opd_steps=20` it is 0.5 : 1, in `docs/experiments.md` the best
            of five for mutual teaching, and for a fresh student no worse than the paper's 1.5 : 1 (arXiv 2604.27083).
            Before `final_opd_steps`, 30 and 10 with `opd_fraction=1/16` are better there.
        opd_steps (`int`, *optional*, defaults to `20`):
            Rounds of on-policy distillation in a cycle, >= 0. `0` trains the experts apart.
        final_opd_steps (`int`, *optional*, defaults to `0`):
            The last rounds of the run, out of `max_steps`, >= 0: the experts are frozen and teach the student alone.
            Only for `topology="student"`; with `student_init="merge"` the student starts them from the experts' mean.
            In `docs/experiments.md` a fifth of all rollouts in it is what the student's accuracy owes most to.
        topology (`str`, *optional*, defaults to `"student"`):
            Who teaches whom: `"student"`, `"mutual"` (the paper's Algorithm 1), `"hub"` or `"mopd"`. In
            `docs/experiments.md`, each at its best, `"student"` is ahead of `"mutual"` and `"hub"` and on a level with
            `"mopd"`, with `student_init="merge"`, `opd_loss="forward_kl"` and `final_opd_steps`, half of the rounds
            there. Without a final phase it is behind `"mutual"`.
        hub (`str`, *optional*):
            Name of the expert that is the hub of `topology="hub"`.
        opd_beta (`float`, `dict[str, float]` or `list[float]`, *optional*, defaults to `1.0`):
            Scale of the distillation advantage, > 0; one number, or one per learner (by name, or in the order of the
            experts with the student last). The paper does not give its value; for mutual teaching, with gradients
            clipped at 1, 0.1 is worse than 1 in `docs/experiments.md`, and 10 no better.
        opd_fraction (`float`, *optional*, defaults to `0.25`):
            Share of a branch's prompts that are cross-branch in an OPD round, 0 < f < 1: of the P prompts of a
            generation batch min(P - 1, max(1, round(f * P))). One stays native, so that RLVR does not pause: with
            P = 1 an expert is not taught. A branch without a domain of its own (the student) is all cross. The
            paper does not give its value. In `docs/experiments.md` 0.25 is about as good as 0.5 for mutual teaching,
            and 1/16 too little; with 30 and 10 rounds before `final_opd_steps` 1/16 is enough.
        opd_loss (`str`, *optional*, defaults to `"sampled"`):
            `"sampled"` is the paper's sampled-token reverse KL. `"reverse_kl"`, `"forward_kl"` and `"jsd"` are taken
            over the full vocabulary at each position of the rollout, `"topk"` is the reverse KL over the learner's
            `opd_top_k` most likely tokens and all others as one.
        opd_clip (`float`, *optional*):
            Largest log-ratio of `"sampled"` in nats, > 0: what is beyond counts as the bound. `None` bounds nothing.
        opd_top_k (`int`, *optional*, defaults to `16`):
            k of `opd_loss="topk"`, >= 1.
        score_in_fp32 (`bool`, *optional*, defaults to `False`):
            Whether teachers and learners of cross rows are scored, and overlap is measured, in float32 where the model
            computes in 16 bits. The LM head is so in any case. It removes the noise of rounding (`docs/precision.md`)
            and makes scoring several times slower on a GPU.
        opd_max_completion_length (`int`, *optional*):
            Tokens after which a cross rollout is cut, >= 1: its first tokens alone are scored and learnt from. `None`
            keeps all of them.
        schedule (`str`, *optional*, defaults to `"fixed"`):
            `"fixed"` cycles through `rlvr_steps` and `opd_steps`. `"overlap"` leaves RLVR when the overlap of an edge
            falls below `overlap_low`, and OPD when that of every edge is above `overlap_high` or the lowest has not
            risen over two measurements; `rlvr_steps` and `opd_steps` are then the longest phases.
        overlap_low (`float`, *optional*, defaults to `0.9`):
            Top-k overlap below which `schedule="overlap"` leaves RLVR, in [0, 1] (in the paper it stays above 0.90).
        overlap_high (`float`, *optional*, defaults to `0.95`):
            Top-k overlap above which `schedule="overlap"` leaves OPD, in (`overlap_low`, 1].
        student_init (`str`, *optional*, defaults to `"fresh"`):
            Where the student of `"student"` and `"mopd"` starts: `"fresh"`: as every branch does; `"merge"`: at the
            start of each OPD phase it is set to the exact mean of the experts (rank K*r), and distilled from there
            (better in `docs/experiments.md`).
        merge_method (`str`, *optional*, defaults to `"average"`):
            How `"mutual"` and `"hub"` make the student when it is saved: `"average"` is the exact mean of the experts'
            weight deltas (rank K*r), `"linear"` averages the LoRA factors (rank r, with cross terms), `"svd"` is the
            rank-r matrix closest to the exact mean, `"ties"` and `"dare"` prune the deltas first (rank r).
        merge_density (`float`, *optional*, defaults to `0.5`):
            Share of each expert's delta that `merge_method="ties"` and `"dare"` keep, 0 < d <= 1.
        allocation (`str`, *optional*, defaults to `"uniform"`):
            Who gets a round's rollouts. `"uniform"`: every branch that its phase lets learn. `"adaptive"`: experts in
            proportion to what is left to learn on their domain, so that one whose domain is learnt rests and still
            teaches; the student's cross prompts in proportion to the gap between it and its teacher; the domains of
            an expert with a `domain_column` likewise.
        allocation_floor (`float`, *optional*, defaults to `0.1`):
            Least share of rounds, or of prompts, that `allocation="adaptive"` leaves a domain, relative to the one
            that gets most, 0 < f <= 1.
        max_rollouts (`int`, *optional*):
            Rollouts after which the run ends, over all branches and processes, >= 1; probes and evaluations are not
            counted. `final_opd_steps`, and the OPD of `topology="mopd"`, are counted back from there. `max_steps`
            then is a bound, and defaults to what a single branch would need.
        overlap_top_k (`int`, *optional*, defaults to `10`):
            k of the top-k token overlap, >= 1 (paper: 10).
        overlap_every (`int`, *optional*, defaults to `5`):
            Rounds between two measurements of overlap and symmetric KL, >= 0; `0` measures never.
        overlap_edges (`str`, *optional*, defaults to `"turns"`):
            Which edges a measurement compares: `"turns"` takes one edge of every learner, the next one each time, so
            that it costs one comparison per branch; `"all"` takes all of them, up to K per branch.
            `schedule="overlap"` measures all edges in any case.
        probe_prompts (`int`, *optional*, defaults to `4`):
            Held-out prompts per domain on which overlap and symmetric KL are measured, >= 1.
        matrix_at_end (`bool`, *optional*, defaults to `True`):
            Whether `train` ends with the capability matrix, if an expert has held-out rows.
        check_data (`bool`, *optional*, defaults to `True`):
            Whether every prompt of map-style data is rendered and tokenized once before training, so that an error
            names the expert and the row at once. With `False`, and in streamed data, a row is checked when it is
            drawn.
        rollout_chunk_rows (`int`, *optional*):
            Most rows, over all branches, that one call of `generate` samples, >= 1; bounds the KV cache. `None`
            samples the whole round at once.
        share_prompts (`bool` or `"auto"`, *optional*, defaults to `False`):
            Whether the rows that sample from one prompt run it once in the update and in scoring, forward and
            backward: the same numbers up to rounding (1e-5), for a quarter less computation in a short round. `False`
            takes TRL's own forward, to the bit. `"auto"` shares with several branches, and leaves a single one to TRL.
            With `True` a single one shares the prefill of its rollouts, too, as several do in any case.
        live_view (`bool`, *optional*, defaults to `True`):
            Whether a terminal shows the run as a live view (needs `rich`). Elsewhere, and with `False`, there is a
            progress bar and a line per log; `disable_tqdm=True` turns both off.

    `num_generations_eval` is the number of completions per held-out row of the capability matrix: `None` and `1`
    decode greedily, n > 1 samples n at `temperature`. `docs/settings.md` says what becomes of every inherited field.

    With `load_best_model_at_end` or `save_strategy="best"`, `metric_for_best_model` defaults to
    `"eval_student/accuracy"`: the student's mean accuracy over all domains.
    """

    rlvr_steps: int = field(
        default=10, metadata={"help": "Rounds of RLVR in a cycle, >= 0 (paper: best ratio 1.5:1)."}
    )
    opd_steps: int = field(
        default=20, metadata={"help": "Rounds of on-policy distillation in a cycle, >= 0. 0 trains the experts apart."}
    )
    final_opd_steps: int = field(
        default=0, metadata={"help": "Last rounds of the run, in which frozen experts teach the student alone."}
    )
    topology: str = field(
        default="student", metadata={"help": "Who teaches whom: 'student', 'mutual', 'hub' or 'mopd'."}
    )
    hub: str | None = field(default=None, metadata={"help": "Expert that is the hub of topology='hub'."})
    # `str` is there for the command line parser alone, which allows a union of several types only beside it
    opd_beta: float | str | dict[str, float] | list[float] = field(
        default=1.0, metadata={"help": "Scale of the distillation advantage, > 0; one number, or one per learner."}
    )
    opd_fraction: float = field(
        default=0.25, metadata={"help": "Share of cross-branch prompts of a branch in an OPD round, 0 < f < 1."}
    )
    opd_loss: str = field(
        default="sampled",
        metadata={"help": "'sampled' (the paper's), 'reverse_kl', 'forward_kl', 'jsd' or 'topk'."},
    )
    opd_clip: float | None = field(
        default=None, metadata={"help": "Largest log-ratio of opd_loss='sampled' in nats, > 0; None: no bound."}
    )
    opd_top_k: int = field(default=16, metadata={"help": "k of opd_loss='topk', >= 1."})
    score_in_fp32: bool = field(
        default=False,
        metadata={"help": "Whether cross rows are scored, and overlap is measured, in float32."},
    )
    opd_max_completion_length: int | None = field(
        default=None, metadata={"help": "Tokens after which a cross rollout is cut, >= 1; None keeps all."}
    )
    schedule: str = field(
        default="fixed",
        metadata={"help": "'fixed' cycles through rlvr_steps and opd_steps; 'overlap' lets the overlap decide."},
    )
    overlap_low: float = field(
        default=0.9, metadata={"help": "Overlap below which schedule='overlap' leaves RLVR, in [0, 1]."}
    )
    overlap_high: float = field(
        default=0.95, metadata={"help": "Overlap above which schedule='overlap' leaves OPD, in (overlap_low, 1]."}
    )
    student_init: str = field(
        default="fresh",
        metadata={"help": "'fresh', or 'merge': the student restarts from the experts' mean at each OPD phase."},
    )
    merge_method: str = field(
        default="average",
        metadata={"help": "'average' (exact, rank K*r), or at rank r 'linear', 'svd', 'ties' or 'dare'."},
    )
    merge_density: float = field(
        default=0.5, metadata={"help": "Share of a delta that merge_method='ties' and 'dare' keep, 0 < d <= 1."}
    )
    allocation: str = field(
        default="uniform", metadata={"help": "Who gets a round's rollouts: 'uniform' or 'adaptive'."}
    )
    allocation_floor: float = field(
        default=0.1, metadata={"help": "Least share of rounds that allocation='adaptive' leaves a domain, 0 < f <= 1."}
    )
    max_rollouts: int | None = field(
        default=None, metadata={"help": "Rollouts after which the run ends, over all branches; None: max_steps rules."}
    )
    overlap_top_k: int = field(default=10, metadata={"help": "k of the top-k token overlap, >= 1 (paper: 10)."})
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
        default=None, metadata={"help": "Most rows in one call of generate, over all branches; None: no bound."}
    )
    share_prompts: Literal["auto", True, False] = field(
        default=False,
        metadata={"help": "Whether rows of one prompt share its forward and backward: 'auto', True or False."},
    )
    live_view: bool = field(
        default=True, metadata={"help": "Whether a terminal shows the run as a live view (needs rich)."}
    )

    def __post_init__(self):
        check_values(self)
        check_together(self)
        if self.selects_best_model and self.metric_for_best_model is None:
            self.metric_for_best_model = BEST_MODEL_METRIC
        super().__post_init__()
        if self.max_rollouts is not None and self.max_steps <= 0:
            generations = -(-self.max_rollouts // self.generation_batch_size)
            self.max_steps = generations * self.rounds_per_generation
        check_reuse(self)

    def to_dict(self) -> dict[str, Any]:
        """What trackers are told: as in transformers, without the secrets that it leaves inside of values."""
        return redact(super().to_dict(), secrets_of(self))

    @property
    def selects_best_model(self) -> bool:
        return self.load_best_model_at_end or self.save_strategy == "best"

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

    def shares_prompts(self, topology: Topology) -> bool:
        """Whether rows of one prompt share it in update and scoring."""
        return len(topology.branches) > 1 if self.share_prompts == "auto" else bool(self.share_prompts)

    def learner_betas(self, topology: Topology) -> dict[str, float]:
        """
        beta of each learner, from one number, a mapping, or a list in the order of the experts (student last).

        Raises:
            ValueError: A list of another length, a name that is no branch, or a learner without a value.
        """
        beta, branches = self.opd_beta, topology.branches
        if isinstance(beta, dict):
            unknown = sorted(set(beta) - set(branches))
            if unknown:
                raise ValueError(
                    f"`opd_beta` names {unknown[0]!r}, which is no branch. Branches: {', '.join(branches)}."
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
        last["reserve"] = self.final_opd_steps // reuse * self.generation_batch_size
        if self.schedule == "overlap":
            return OverlapSchedule(*steps, reuse=reuse, low=self.overlap_low, high=self.overlap_high, **last)
        static = self.topology == "mopd"
        if static and self.max_rollouts is not None:  # the student is one branch, and every expert is one
            whole = self.rlvr_steps * experts + self.opd_steps
            last["reserve"] = self.max_rollouts * self.opd_steps // whole
        return Schedule(*steps, static=static, reuse=reuse, **last)
