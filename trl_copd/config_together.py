"""How the settings of CoPDConfig go together. (`args` is one: config.py imports this module.)"""

from typing import Any


def check_together(args: Any) -> None:
    """
    Check what a value by itself does not show, before GRPOConfig completes the others.

    Raises:
        TypeError, ValueError: With the names, what came and what to change.
    """
    if not isinstance(args.hub, (str, type(None))):
        raise TypeError(f"`hub` must be the name of an expert or None, got {type(args.hub).__name__}: {args.hub!r}.")
    if not isinstance(args.share_prompts, bool) and args.share_prompts != "auto":
        wrong = ValueError if isinstance(args.share_prompts, str) else TypeError
        raise wrong(f"`share_prompts` must be 'auto', True or False, got {args.share_prompts!r}.")
    _check_betas(args.opd_beta)
    if args.opd_clip is not None and args.opd_loss != "sampled":
        raise ValueError(
            f"`opd_clip` bounds the log-ratios of opd_loss='sampled', but opd_loss={args.opd_loss!r}. Remove it."
        )
    if args.rlvr_steps + args.opd_steps == 0:
        raise ValueError("rlvr_steps=0 and opd_steps=0 leave no round to train in. Set one of them > 0.")
    if (args.topology == "hub") != (args.hub is not None):
        raise ValueError(
            f"topology={args.topology!r} with hub={args.hub!r}: topology='hub' needs the name of an expert in `hub`, "
            "and other topologies have no hub."
        )
    if not 0 < args.opd_fraction < 1:
        raise ValueError(
            f"`opd_fraction` must lie strictly between 0 and 1, got {args.opd_fraction}, because RLVR continues in "
            "OPD rounds. Without OPD, set opd_steps=0."
        )
    if args.schedule == "overlap":
        _check_overlap_schedule(args)
    if args.student_init == "merge" and args.topology not in ("student", "mopd"):
        raise ValueError(
            f"student_init='merge' with topology={args.topology!r}: there the student is not a branch but the final "
            "merge of the experts. Use student_init='fresh', or topology='student'."
        )
    if args.final_opd_steps:
        _check_final_phase(args)
    if not args.distils and args.topology in ("student", "mopd"):
        raise ValueError(
            f"topology={args.topology!r} with opd_steps=0: the student learns only in OPD rounds, so it would never "
            "learn. Set opd_steps > 0, or train the experts alone with topology='mutual'."
        )


def _check_betas(given: Any) -> None:
    if not isinstance(given, (int, float, dict, list)) or isinstance(given, bool):
        raise TypeError(f"`opd_beta` must be int or float or dict or list, got {type(given).__name__}: {given!r}.")
    values = given.values() if isinstance(given, dict) else given if isinstance(given, list) else [given]
    for beta in values:
        if isinstance(beta, bool) or not isinstance(beta, (int, float)):
            raise TypeError(f"`opd_beta` must hold numbers, got {type(beta).__name__}: {beta!r}.")
        if not 0 < beta < float("inf"):
            raise ValueError(f"`opd_beta` must be finite and > 0, got {beta}. Without OPD, set opd_steps=0.")


def _check_final_phase(args: Any) -> None:
    if args.topology != "student":
        raise ValueError(
            f"final_opd_steps={args.final_opd_steps} with topology={args.topology!r}: in the final phase frozen "
            "experts teach a student that is a branch, which needs topology='student'. Set final_opd_steps=0, or "
            "topology='student'."
        )
    if args.max_steps <= 0 and args.max_rollouts is None:
        raise ValueError(
            f"final_opd_steps={args.final_opd_steps} count back from the end of the run, so its length must be known. "
            f"Set max_steps > 0, got {args.max_steps}."
        )


def _check_overlap_schedule(args: Any) -> None:
    if not 0 <= args.overlap_low < args.overlap_high <= 1:
        raise ValueError(
            f"overlap_low={args.overlap_low} and overlap_high={args.overlap_high} must satisfy "
            "0 <= overlap_low < overlap_high <= 1."
        )
    if args.topology == "mopd":
        raise ValueError(
            "schedule='overlap' with topology='mopd': there the experts finish their training before they teach. Use "
            "schedule='fixed', or another topology."
        )
    if 0 in (args.rlvr_steps, args.opd_steps, args.overlap_every):
        raise ValueError(
            f"schedule='overlap' needs both phases and measurements, got rlvr_steps={args.rlvr_steps}, "
            f"opd_steps={args.opd_steps}, overlap_every={args.overlap_every}. Set them > 0."
        )


def check_reuse(args: Any) -> None:
    """A generation must not straddle two phases: its teachers and advantages are fixed when it is sampled."""
    if args.use_transformers_continuous_batching and (args.bf16 or args.fp16):
        raise ValueError(
            "use_transformers_continuous_batching=True with bf16 or fp16: TRL then casts the whole model in place, "
            "adapters included. Set bf16=False and fp16=False, and load the base in half precision with "
            "model_init_kwargs={'dtype': 'bfloat16'}."
        )
    if not args.distils:
        return  # no phases, nothing to straddle
    micro_steps = args.num_iterations * args.steps_per_generation
    accumulation = args.gradient_accumulation_steps
    reuse = (
        f"num_iterations ({args.num_iterations}) * steps_per_generation ({args.steps_per_generation}) / "
        f"gradient_accumulation_steps ({accumulation})"
    )
    if micro_steps % accumulation and accumulation % micro_steps:
        raise ValueError(
            f"{reuse} is not a whole number, so a generation would end inside a round. Choose values that divide."
        )
    if args.final_opd_steps and args.max_rollouts is not None:
        if args.build_schedule().reserve >= args.max_rollouts:
            raise ValueError(
                f"final_opd_steps={args.final_opd_steps} use up max_rollouts={args.max_rollouts}, so the experts "
                "would never learn. Lower final_opd_steps, or raise max_rollouts."
            )
    elif args.final_opd_steps and args.build_schedule().final_start(args.max_steps) == 0:
        raise ValueError(
            f"final_opd_steps={args.final_opd_steps} use up max_steps={args.max_steps}, so the experts would never "
            "learn. Lower final_opd_steps, or raise max_steps."
        )
    rounds = args.rounds_per_generation
    if args.schedule == "overlap" and args.overlap_every % rounds:
        raise ValueError(
            f"{reuse} = {rounds} rounds use one generation, but schedule='overlap' decides every "
            f"overlap_every={args.overlap_every} rounds, which is not a multiple of it. Change one of them."
        )
    for name in ("rlvr_steps", "opd_steps"):
        if getattr(args, name) % rounds:
            raise ValueError(
                f"{reuse} = {rounds} rounds use one generation, but {name}={getattr(args, name)} is not a multiple of "
                f"{rounds}: the generation would span two phases. Change {name}, or reuse rollouts less."
            )
