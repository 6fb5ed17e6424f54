"""What a run is refused for, before its model is loaded."""

from typing import Any

from accelerate.logging import get_logger
from datasets import IterableDataset
from trl import GRPOConfig

from ..experts import Expert
from ..schedule import cross_prompts
from ..topology import STUDENT, Topology
from .copd_config import CoPDConfig


logger = get_logger(__name__)

UNSUPPORTED = {
    "train_dataset": "Data belongs to a domain: pass it to `Expert(train_dataset=...)`.",
    "eval_dataset": "Data belongs to a domain: pass it to `Expert(eval_dataset=...)`.",
    "reward_funcs": "Rewards belong to a domain: pass them to `Expert(reward_funcs=...)`.",
    "reward_processing_classes": "Pass them to `Expert(reward_processing_classes=...)`.",
    "tools": "Tool calls are multi-turn and cannot share a `generate` with other branches yet. Use GRPOTrainer.",
    "rollout_func": "CoPDTrainer samples all branches itself, in one `generate`. Use GRPOTrainer for custom rollouts.",
    "environment_factory": "Environments are multi-turn and not supported yet. Use GRPOTrainer.",
}


def refuse_unsupported(arguments: dict[str, Any]) -> None:
    """Turn TRL's arguments that CoPDTrainer has no place for into an error that says where to go."""
    for name, value in arguments.items():
        if name not in UNSUPPORTED:
            raise TypeError(f"CoPDTrainer got an unexpected argument {name!r}.")
        if value is not None:
            raise ValueError(f"CoPDTrainer does not take `{name}`. {UNSUPPORTED[name]}")


def check_run(experts: dict[str, Expert], args: CoPDConfig, topology: Topology) -> dict[str, float]:
    """
    Check experts, configuration and topology against each other.

    Returns:
        `dict[str, float]`: beta of each learner.

    Raises:
        ValueError: With what came, why it cannot work, and what to do.
    """
    if args.opd_steps > 0 and not topology.edges:
        raise ValueError(
            f"topology={topology.name!r} with {len(experts)} expert(s) has no edge, so OPD rounds would teach nobody. "
            "Set opd_steps=0, add an expert, or use topology='student'."
        )
    if topology.name == "mopd" and args.rlvr_steps == 0:
        fresh = [name for name, expert in experts.items() if expert.adapter is None]
        if fresh:
            raise ValueError(
                f"topology='mopd' with rlvr_steps=0: the experts {fresh} would teach before they learnt anything. "
                "Give them `Expert(adapter=PATH)`, or set rlvr_steps > 0."
            )
    if topology.has_student_branch and args.max_steps > 0 and args.schedule == "fixed":
        if all(phase == "rlvr" for phase, _, _ in args.build_schedule().phases(args.max_steps)):
            logger.warning(
                f"max_steps={args.max_steps} holds no OPD round (rlvr_steps={args.rlvr_steps}): the student "
                "will not learn."
            )
    _check_distribution(args)
    _check_data(experts, args)
    _check_rewards(experts, args)
    if any(expert.adapter is not None for expert in experts.values()) and args.beta != 0.0:
        raise ValueError(
            f"beta={args.beta} with Expert(adapter=...): TRL's reference would be the trained adapter, here it is the "
            "base. Set beta=0.0, or start from fresh adapters."
        )
    return _betas(experts, args, topology)


def _check_distribution(args: GRPOConfig) -> None:
    kind = str(args.distributed_state.distributed_type) if args.distributed_state is not None else ""
    if args.deepspeed or args.fsdp or "DEEPSPEED" in kind or "FSDP" in kind:
        raise ValueError(
            "DeepSpeed and FSDP shard or clip over all branches at once, which CoPDTrainer does not handle yet. "
            "Launch with plain data parallelism (DDP)."
        )


def _check_data(experts: dict[str, Expert], args: CoPDConfig) -> None:
    prompts = args.generation_batch_size // args.num_generations
    for name, expert in experts.items():
        dataset = expert.train_dataset
        if isinstance(dataset, IterableDataset):
            if args.max_steps <= 0:
                raise ValueError(
                    f"Expert {name!r} streams its data, so the number of rounds is unknown. Set `max_steps` > 0."
                )
        elif len(dataset) < prompts:
            raise ValueError(
                f"Expert {name!r} has {len(dataset)} training rows, but a generation batch takes {prompts} different "
                "prompts (generation batch size / num_generations). Add rows, or lower the batch size."
            )
    if args.opd_steps > 0:
        crossing = cross_prompts(prompts, args.opd_fraction) * args.num_generations
        if crossing % args.world_size:
            raise ValueError(
                f"{crossing} cross rows (opd_fraction={args.opd_fraction} of {prompts} prompts, "
                f"{args.num_generations} generations each) do not split evenly over {args.world_size} processes. "
                "Change num_generations, the batch size or opd_fraction."
            )
    if args.eval_strategy != "no" and not any(expert.eval_datasets for expert in experts.values()):
        raise ValueError(
            f"eval_strategy={str(args.eval_strategy)!r}, but no expert has an eval_dataset. Give one to an `Expert`, "
            "or set eval_strategy='no'."
        )


def _check_rewards(experts: dict[str, Expert], args: CoPDConfig) -> None:
    if args.reward_weights is None:
        return
    for name, expert in experts.items():
        if expert.reward_weights is None and len(args.reward_weights) != len(expert.reward_funcs):
            raise ValueError(
                f"`args.reward_weights` has {len(args.reward_weights)} weights, but expert {name!r} has "
                f"{len(expert.reward_funcs)} reward functions. Give it `Expert(reward_weights=...)`."
            )


def _betas(experts: dict[str, Expert], args: CoPDConfig, topology: Topology) -> dict[str, float]:
    """beta per learner, from one number, a mapping, or a list in the order of the experts (student last)."""
    beta, branches = args.opd_beta, topology.branches
    if isinstance(beta, dict):
        unknown = sorted(set(beta) - set(branches))
        if unknown:
            raise ValueError(f"`opd_beta` names {unknown[0]!r}, which is no branch. Branches: {', '.join(branches)}.")
        missing = [edge.learner for edge in topology.edges if edge.learner not in beta]
        if missing and args.opd_steps > 0:
            raise ValueError(f"`opd_beta` has no value for {missing[0]!r}, which learns by OPD. Add it.")
        return {name: float(value) for name, value in beta.items()}
    if isinstance(beta, list):
        if len(beta) != len(branches):
            raise ValueError(
                f"`opd_beta` lists {len(beta)} values for {len(branches)} branches ({', '.join(branches)}). Give one "
                f"per branch{', the student last' if STUDENT in branches else ''}, or a mapping by name."
            )
        return dict(zip(branches, map(float, beta), strict=True))
    return dict.fromkeys(branches, float(beta))
