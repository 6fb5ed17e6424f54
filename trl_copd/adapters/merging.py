"""
Making one adapter out of several.

Shapes: K adapters, E fused experts of a layer (1 for an ordinary layer), r rank, d features. Where E > 1, each fused
expert has a pair of factors of its own, and the products below are batched over them.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora import ParamWrapper
from peft.utils.merge_utils import dare_linear, task_arithmetic, ties

from .. import sharding
from ..randomness import forked
from ..topology import STUDENT
from .pairs import Pair, factors, fused_experts, has_pair, pair_layers, read_pair, write_pair
from .parts import adapter_modules


Factors = tuple[torch.Tensor, torch.Tensor]  # down (E, r, d_in), up (E, d_out, r)


@torch.no_grad()
def set_to_average(model: PeftModel, adapter: str, experts: Sequence[str]) -> None:
    """
    Make an adapter the exact mean of the experts' weight deltas, in place.

    Args:
        model ([`~peft.PeftModel`]): Holds them all, with a pair of factors of every expert on each layer.
        adapter (`str`): Its rank is that of all experts together and its scaling theirs (see `create_branches`).
        experts (`Sequence[str]`): Adapters to average with equal weight.
    """
    for layer in pair_layers(model).values():
        if not has_pair(layer, adapter):
            continue
        down, up = factors(layer, adapter)
        downs, ups = zip(*(factors(layer, name) for name in experts), strict=True)
        fused = fused_experts(layer)
        if fused > 1:  # (E * r, d_in): the fused expert comes first, and then the rank
            downs = [part.unflatten(0, (fused, -1)) for part in downs]
            down.copy_(torch.cat(downs, dim=1).flatten(0, 1))  # (E * K * r, d_in)
        else:
            down.copy_(torch.cat(downs))  # (K * r, d_in)
        up.copy_(torch.cat(ups, dim=1))  # (d_out, K * r * E): here the rank comes first
        up.div_(len(experts))


@contextmanager
def merged_student(
    model: PeftModel, experts: Sequence[str], method: str = "average", density: float = 0.5
) -> Iterator[None]:
    """
    Add the merge of the experts as the adapter `"student"` for the length of the context; the experts stay.

    Args:
        model ([`~peft.PeftModel`]): Holds one LoRA adapter per expert, made of pairs alone (see `unpaired`).
        experts (`Sequence[str]`): Adapters to merge with equal weight.
        method (`str`): `"average"`: the exact mean of the weight deltas, at rank K*r. At rank r: `"linear"`: the mean
            of the factors, which is exact only if the factors agree; `"svd"`: the closest to the exact mean; `"ties"`
            (arXiv 2306.01708) and `"dare"` (arXiv 2311.03099) of the deltas, then the closest to what they give.
        density (`float`): Share of each expert's delta that `"ties"` and `"dare"` keep, in (0, 1]. `"dare"` draws it
            from a fixed seed.
    """
    active = model.active_adapters[0]
    parts = [part for expert in experts for part in adapter_modules(model, expert)]
    # PEFT draws initial weights that the merge overwrites, and shards cannot be put together
    with forked(), torch.no_grad(), sharding.whole_parameters(model, parts):
        torch.manual_seed(0)  # the same draw in every process and at every evaluation
        model.add_adapter(STUDENT, _student_config(model, experts, method))
        for layer in pair_layers(model).values():
            if has_pair(layer, STUDENT):
                pairs = [read_pair(layer, name) for name in experts if has_pair(layer, name)]
                down, up = _merge(pairs, layer.r[STUDENT], len(experts), method, density)
                write_pair(layer, STUDENT, down.to(pairs[0][0].dtype), up.to(pairs[0][1].dtype))
    try:
        model.set_adapter(active)
        yield
    finally:
        model.delete_adapter(STUDENT)
        model.set_adapter(active)


def _student_config(model: PeftModel, experts: Sequence[str], method: str) -> LoraConfig:
    """A configuration with a layer wherever an expert has one, of the rank that the merge needs."""
    configs = [model.peft_config[name] for name in experts]
    config, times = copy.deepcopy(configs[0]), len(experts) if method == "average" else 1
    config.alpha_pattern = {}  # `write_pair` undoes the scaling, whatever it is
    if all((other.r, other.rank_pattern) == (config.r, config.rank_pattern) for other in configs):
        config.r *= times
        config.rank_pattern = {layer: rank * times for layer, rank in config.rank_pattern.items()}
    else:
        largest = [max(other.r, *other.rank_pattern.values(), 0) for other in configs]
        config.r, config.rank_pattern = sum(largest) if times > 1 else max(largest), {}
    config.lora_alpha = config.r
    where = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern")
    if any(getattr(other, name) != getattr(config, name) for other in configs for name in where):
        config.exclude_modules = config.layers_to_transform = config.layers_pattern = None
        layers = [path for path, layer in pair_layers(model).items() if not isinstance(layer, ParamWrapper)
                  and any(has_pair(layer, name) for name in experts)]  # fmt: skip
        config.target_modules = set(layers)
    return config


def _merge(pairs: list[Pair], rank: int, count: int, method: str, density: float) -> Factors:
    """One layer's factors. The `count - len(pairs)` experts that have no adapter there count as zero deltas."""
    if method == "average":
        down = torch.cat([down * (1 / count) * scaling for down, _, scaling in pairs], dim=1)  # (E, K * r, d_in)
        return down, torch.cat([up for _, up, _ in pairs], dim=2)  # (E, d_out, K * r)
    if method == "linear":
        down = torch.stack([down * math.sqrt(scaling) for down, _, scaling in pairs]).mean(0)  # (E, r, d_in)
        up = torch.stack([up * math.sqrt(scaling) for _, up, scaling in pairs]).mean(0)  # (E, d_out, r)
        return down, up  # every expert has a pair here, see `check_mergeable`
    wide = torch.promote_types(pairs[0][0].dtype, torch.float32)  # there is no decomposition in half precision
    deltas = [up.to(wide) @ down.to(wide) * scaling for down, up, scaling in pairs]  # (E, d_out, d_in) each
    return _of_rank(_COMBINATIONS[method](deltas, count, density), rank)


def _of_rank(delta: torch.Tensor, rank: int) -> Factors:
    """The factors of rank r whose product is the closest to a delta `(E, d_out, d_in)`."""
    up, values, down = torch.linalg.svd(delta, full_matrices=False)
    return down[:, :rank], up[:, :, :rank] * values[:, None, :rank]


def _weights(weight: float, deltas: list[torch.Tensor]) -> torch.Tensor:
    return torch.full((len(deltas),), weight, device=deltas[0].device)


# From the deltas of a layer, the number of experts and the density to the delta of the merge. TIES divides by the
# experts that agree in sign, so that a weight of 1 gives their mean.
_COMBINATIONS: dict[str, Callable[[list[torch.Tensor], int, float], torch.Tensor]] = {
    "svd": lambda deltas, count, density: task_arithmetic(deltas, _weights(1 / count, deltas)),
    "ties": lambda deltas, count, density: ties(deltas, _weights(1.0, deltas), density),
    "dare": lambda deltas, count, density: dare_linear(deltas, _weights(1 / count, deltas), density),
}
