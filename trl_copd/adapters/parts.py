"""Which parameters belong to an adapter, by structure and not by name."""

from collections.abc import Iterator

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import AuxiliaryTrainingWrapper
from torch import nn


BASE = "base"  # the frozen model itself, as a row of the capability matrix
INITIAL = "default"  # the adapter that TRL creates; every branch starts as its copy


def branch_parameters(model: PeftModel, adapter: str) -> list[nn.Parameter]:
    """The parameters that belong to one adapter, in the order of the model's modules; each once if layers share it."""
    parts = adapter_modules(model, adapter)
    return list({id(parameter): parameter for part in parts for parameter in part_parameters(part)}.values())


def base_weights(model: PeftModel) -> Iterator[tuple[str, torch.Tensor]]:
    """The frozen base's parameters, under the names that they have without adapters, sorted."""
    own = {id(part) for adapter in model.peft_config for part in branch_parameters(model, adapter)}
    named = model.get_base_model().named_parameters()
    yield from sorted((name.replace(".base_layer.", "."), p) for name, p in named if id(p) not in own)


def adapter_modules(model: nn.Module, adapter: str) -> list[nn.Module | nn.Parameter]:
    # by structure and not by name: an expert may be called `weight` or `layers`
    return [part for module in model.modules() for part in layer_parts(module, adapter)]


def layer_parts(module: nn.Module, adapter: str) -> Iterator[nn.Module | nn.Parameter]:
    if isinstance(module, BaseTunerLayer):
        for name in module.adapter_layer_names:
            parts = getattr(module, name, {})
            if adapter in parts:
                yield parts[adapter]
    elif isinstance(module, AuxiliaryTrainingWrapper):
        for name in module.adapter_layer_names:
            parts = getattr(module, name, {})
            if adapter in parts:
                yield parts[adapter]


def part_parameters(part: nn.Module | nn.Parameter) -> list[nn.Parameter]:
    return [part] if isinstance(part, nn.Parameter) else list(part.parameters())
