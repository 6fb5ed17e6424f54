"""Creating the branches' adapters, and making one of them active."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer

from ..randomness import forked
from ..topology import STUDENT
from .configs import widened
from .parts import BASE, INITIAL, adapter_modules, branch_parameters, layer_parts, part_parameters


PACKS_FOR_INFERENCE = "support_avx512bf16_for_cpu"  # attribute of bitsandbytes' `Linear4bit`


def create_branches(model: PeftModel, branches: Sequence[str], trained: dict[str, str], merging: bool = False) -> None:
    """
    Give every branch an adapter that is a copy of the initial one, then drop the initial one.

    Args:
        model ([`~peft.PeftModel`]): Holds the adapter `"default"`.
        branches (`Sequence[str]`): Adapter names.
        trained (`dict[str, str]`): For the branches that start from a trained adapter, its folder or Hub id.
        merging (`bool`): Give the student the rank of all experts together, so that it can hold their exact mean.
    """
    initial = adapter_modules(model, INITIAL)
    _keep_differentiable(model)
    with forked():  # the fresh weights are overwritten: their draws must not move the run's stream
        for branch in branches:
            if branch in trained:
                model.load_adapter(trained[branch], adapter_name=branch, is_trainable=True)
                continue
            if merging and branch == STUDENT:
                model.add_adapter(branch, widened(model.peft_config[INITIAL], len(branches) - 1))
                for parameter in branch_parameters(model, branch):
                    parameter.data = parameter.data.to(part_parameters(initial[0])[0].dtype)
                continue
            model.add_adapter(branch, copy.deepcopy(model.peft_config[INITIAL]))
            for source, target in zip(initial, adapter_modules(model, branch), strict=True):
                for old, new in zip(part_parameters(source), part_parameters(target), strict=True):
                    new.data = old.data.clone()  # dtype included: TRL casts the initial adapter of a quantised base
        activate(model, branches[0])
        model.delete_adapter(INITIAL)
    set_trainable(model, branches)


def _keep_differentiable(model: PeftModel) -> None:
    # On CPUs with AVX512-BF16 bitsandbytes packs a 4-bit layer anew when it first runs in eval mode. The packed form
    # has no backward: every update after an evaluation would lose the gradient of the layers below, without an error.
    for module in model.modules():
        if hasattr(module, PACKS_FOR_INFERENCE):
            setattr(module, PACKS_FOR_INFERENCE, False)


def set_trainable(model: PeftModel, branches: Sequence[str]) -> None:
    """Let every branch's parameters require grad at once: an optimizer takes only what does when it is built."""
    for branch in branches:
        for parameter in branch_parameters(model, branch):
            parameter.requires_grad_(True)


def activate(model: PeftModel, adapter: str) -> None:
    """Make one adapter the active one. PEFT freezes the others, so only the active branch receives gradients."""
    if model.active_adapters != [adapter] or not _is_trainable(model, adapter):
        model.set_adapter(adapter)


@contextmanager
def only(model: PeftModel, adapter: str) -> Iterator[None]:
    """Run with one adapter, or with none for `"base"`, and restore the active one afterwards."""
    previous = model.active_adapters[0]
    try:
        if adapter == BASE:
            with model.disable_adapter():
                yield
        else:
            activate(model, adapter)
            yield
    finally:
        activate(model, previous)


def _is_trainable(model: PeftModel, adapter: str) -> bool:
    # one layer tells for all: leaving `disable_adapter` re-enables the active adapter as a whole
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            for part in layer_parts(module, adapter):
                return all(parameter.requires_grad for parameter in part_parameters(part))
    return True
