"""Values of single settings, TRL's and transformers' too: those that only training would refuse, or never."""

import math
import numbers
import types
import typing
from typing import Any

from transformers import GenerationConfig
from transformers.generation.configuration_utils import ALL_CACHE_IMPLEMENTATIONS
from trl import GRPOConfig

from .allocation import ALLOCATIONS
from .spelling import did_you_mean
from .topology import TOPOLOGIES


OPD_LOSSES = ("sampled", "reverse_kl", "forward_kl", "jsd", "topk")
MERGE_METHODS = ("average", "linear", "svd", "ties", "dare")
CHOICES: dict[str, tuple] = {
    "topology": TOPOLOGIES,
    "opd_loss": OPD_LOSSES,
    "schedule": ("fixed", "overlap"),
    "student_init": ("fresh", "merge"),
    "merge_method": MERGE_METHODS,
    "allocation": ALLOCATIONS,
    "overlap_edges": ("turns", "all"),
    "loss_type": ("grpo", "bnpo", "dr_grpo", "dapo", "luspo", "cispo", "sapo", "vespo"),
    "scale_rewards": ("group", "batch", "none", True, False),
    "importance_sampling_level": ("token", "sequence"),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
    "vllm_importance_sampling_mode": ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"),
    "cache_implementation": (None, *ALL_CACHE_IMPLEMENTATIONS),
}
# name: (least, most, whether the least itself is allowed); `None` is for the types to allow
RANGES: dict[str, tuple[float, float, bool]] = {
    "rlvr_steps": (0, math.inf, True),
    "opd_steps": (0, math.inf, True),
    "final_opd_steps": (0, math.inf, True),
    "opd_clip": (0, math.inf, False),
    "opd_top_k": (1, math.inf, True),
    "opd_max_completion_length": (1, math.inf, True),
    "overlap_top_k": (1, math.inf, True),
    "overlap_every": (0, math.inf, True),
    "probe_prompts": (1, math.inf, True),
    "merge_density": (0, 1, False),
    "allocation_floor": (0, 1, False),
    "max_rollouts": (1, math.inf, True),
    "rollout_chunk_rows": (1, math.inf, True),
    "num_generations_eval": (1, math.inf, True),
    "learning_rate": (0, math.inf, True),
    "weight_decay": (0, math.inf, True),
    "max_grad_norm": (0, math.inf, True),
    "temperature": (0, math.inf, False),
    "top_p": (0, 1, False),
    "top_k": (0, math.inf, True),
    "min_p": (0, 1, True),
    "repetition_penalty": (0, math.inf, False),
    "max_completion_length": (1, math.inf, True),
    "num_iterations": (1, math.inf, True),
    "per_device_train_batch_size": (1, math.inf, True),
    "per_device_eval_batch_size": (1, math.inf, True),
    "gradient_accumulation_steps": (1, math.inf, True),
    "beta": (0, math.inf, True),
    "epsilon": (0, math.inf, True),
    "epsilon_high": (0, math.inf, True),
    "delta": (0, math.inf, False),
    "top_entropy_quantile": (0, 1, True),
    "router_aux_loss_coef": (0, math.inf, True),
}
ADVICE = {
    "probe_prompts": " overlap_every=0 measures never.",
    "num_generations_eval": " None decodes greedily.",
}


def check_values(args: GRPOConfig) -> None:
    """
    Check each setting by itself, those of GRPOConfig that it takes as they come among them.

    Raises:
        TypeError, ValueError: With the name, what came and what may come.
    """
    for name, hint in typing.get_type_hints(type(args)).items():
        _check_type(name, getattr(args, name, None), hint)
    for name, choices in CHOICES.items():
        value = getattr(args, name)
        if value not in choices:
            raise ValueError(f"{name}={value!r} is unknown. Choose one of {_listed(choices)}.")
    for name, (least, most, closed) in RANGES.items():
        value = getattr(args, name)
        if value is not None and not (least <= value <= most and math.isfinite(value) and (closed or value > least)):
            limits = f"{'>=' if closed else '>'} {least}" + (f" and <= {most}" if most < math.inf else "")
            finite = "" if isinstance(value, int) or most < math.inf else "finite and "
            raise ValueError(f"`{name}` must be {finite}{limits}, got {value}.{ADVICE.get(name, '')}")
    if args.generation_kwargs and not args.use_vllm:
        _check_generation_kwargs(args.generation_kwargs)


def _listed(choices: tuple) -> str:
    return ", ".join(map(repr, choices))


def _check_type(name: str, value: Any, hint: Any) -> None:
    """Numbers that are texts, and switches that are: `"false"` would count as true."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    allowed = set(typing.get_args(hint)) if union else {hint}
    if name in CHOICES and type(value) not in {type(choice) for choice in CHOICES[name]}:
        raise TypeError(f"`{name}` must be one of {_listed(CHOICES[name])}, got {type(value).__name__}: {value!r}.")
    if not allowed <= {int, float, bool, type(None)} or (value is None and type(None) in allowed):
        return
    if allowed & {int, float}:
        kind = numbers.Real if float in allowed else numbers.Integral
        wrong = not isinstance(value, kind) or (isinstance(value, bool) and bool not in allowed)
    else:
        wrong = isinstance(value, str)
    if wrong:
        names = " or ".join(sorted(kind.__name__ for kind in allowed if kind is not type(None)))
        raise TypeError(f"`{name}` must be {names}, got {type(value).__name__}: {value!r}.")


def _check_generation_kwargs(given: Any) -> None:
    known = vars(GenerationConfig())
    for name in given:
        near = did_you_mean(name, known) if name not in known else ""
        if near:  # what is like nothing may be a setting of the model's own `generate`
            raise ValueError(
                f"generation_kwargs has {name!r}, which transformers' GenerationConfig does not know and would ignore."
                f"{near}"
            )
    if given.get("num_return_sequences") not in (None, 1):
        raise ValueError(
            f"generation_kwargs sets num_return_sequences={given['num_return_sequences']}, but a row has one "
            "completion. Set num_generations instead."
        )
