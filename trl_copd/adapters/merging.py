"""Making one adapter out of several."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer

from .. import sharding
from ..randomness import forked
from ..topology import STUDENT
from .parts import adapter_modules, part_parameters


# By `merge_method`: PEFT's name for it, and the weight of each of K experts. PEFT's TIES divides by the experts that
# agree in sign, so that a weight of 1 gives their mean.
_COMBINATIONS: dict[str, tuple[str, Callable[[int], float]]] = {
    "average": ("cat", lambda k: 1 / k),
    "linear": ("linear", lambda k: 1 / k),
    "svd": ("svd", lambda k: 1 / k),
    "ties": ("ties_svd", lambda k: 1.0),
    "dare": ("dare_linear_svd", lambda k: 1 / k),
}


@torch.no_grad()
def set_to_average(model: PeftModel, adapter: str, experts: Sequence[str]) -> None:
    """
    Make an adapter the exact mean of the experts' weight deltas, in place.

    Args:
        model ([`~peft.PeftModel`]): Holds them all.
        adapter (`str`): Its rank is that of all experts together and its scaling theirs (see `create_branches`).
        experts (`Sequence[str]`): Adapters to average with equal weight.
    """
    for module in model.modules():
        if not isinstance(module, LoraLayer):
            continue
        for down, up in ((module.lora_A, module.lora_B), (module.lora_embedding_A, module.lora_embedding_B)):
            if adapter not in down:
                continue
            a, b = part_parameters(down[adapter])[0], part_parameters(up[adapter])[0]
            a.copy_(torch.cat([part_parameters(down[name])[0] for name in experts]))  # (K * r, d_in)
            b.copy_(torch.cat([part_parameters(up[name])[0] for name in experts], dim=1))  # (d_out, K * r)
            b.div_(len(experts))


@contextmanager
def merged_student(
    model: PeftModel, experts: Sequence[str], method: str = "average", density: float = 0.5
) -> Iterator[None]:
    """
    Add the merge of the experts as the adapter `"student"` for the length of the context; the experts stay.

    Args:
        model ([`~peft.PeftModel`]): Holds one LoRA adapter per expert.
        experts (`Sequence[str]`): Adapters to merge with equal weight.
        method (`str`): `"average"`: the exact mean of the weight deltas, at rank K*r (PEFT's `cat`). At rank r:
            `"linear"`: the mean of the factors, which is exact only if the factors agree; `"svd"`: the closest to the
            exact mean; `"ties"` (arXiv 2306.01708) and `"dare"` (arXiv 2311.03099) of the deltas, then the closest to
            what they give.
        density (`float`): Share of each expert's delta that `"ties"` and `"dare"` keep, in (0, 1]. `"dare"` draws it
            from a fixed seed.
    """
    combination, weight = _COMBINATIONS[method]
    active = model.active_adapters[0]
    factors = [part for expert in experts for part in adapter_modules(model, expert)]
    # PEFT draws initial weights that the merge overwrites, and cannot put shards together
    with forked(), torch.no_grad(), sharding.whole_parameters(model, factors):
        torch.manual_seed(0)  # the same draw in every process and at every evaluation
        model.base_model.add_weighted_adapter(
            list(experts),
            [weight(len(experts))] * len(experts),
            STUDENT,
            combination_type=combination,
            density=density if method in ("ties", "dare") else None,
            svd_full_matrices=False,
        )
        _undo_scaling(model)
    try:
        model.set_adapter(active)
        yield
    finally:
        model.delete_adapter(STUDENT)
        model.set_adapter(active)


def _undo_scaling(model: PeftModel) -> None:
    # PEFT folds each expert's scaling into the factors and expects a scaling of 1, which rsLoRA does not give
    for module in model.modules():
        if isinstance(module, LoraLayer) and STUDENT in module.lora_B:
            module.lora_B[STUDENT].weight.data /= module.scaling[STUDENT]
