"""
Adapters as pairs of LoRA factors: what is known to be one, and how its factors are read and written.

Shapes: E fused experts of a layer (1 for an ordinary layer), r rank, d features. A layer's delta is `scaling * up @
down`, of shape `(E, d_out, d_in)`.
"""

from collections.abc import Iterable, Sequence

import torch
from peft import PeftConfig, PeftModel
from peft.tuners.lora import Embedding, LoraLayer, ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import AuxiliaryTrainingWrapper
from peft.utils.other import get_pattern_key
from torch import nn

from ..topology import Topology
from .parts import layer_parts, part_parameters


Pair = tuple[torch.Tensor, torch.Tensor, float]  # down (E, r, d_in), up (E, d_out, r), scaling


def check_mergeable(model: PeftModel, topology: Topology, student_init: str, merge_method: str) -> None:
    """
    Refuse adapters that are to be merged and cannot be, as they are on the loaded model.

    By then PEFT has resolved `"all-linear"`, has turned the targets of older models into parameters of fused experts,
    and has read trained adapters.

    Raises:
        ValueError: With the layer, why its adapters cannot be merged, and what to do.
    """
    if not topology.has_student_branch:
        setting, instead = f"topology={topology.name!r}", "topology='student'"
    elif student_init == "merge":
        setting, instead = "student_init='merge'", "student_init='fresh'"
    else:
        return
    obstacle = unpaired(model, topology.experts)
    if obstacle is not None:
        raise ValueError(
            f"{setting} merges LoRA adapters into the student, but {obstacle}. Use a plain `LoraConfig`, or {instead}."
        )
    if topology.has_student_branch:
        _check_alike(model, topology.experts, setting, instead, scaling=True)
    elif merge_method == "linear":
        _check_alike(model, topology.experts, "merge_method='linear'", "merge_method='average'", scaling=False)


def check_layers(model: PeftModel) -> None:
    """
    Refuse adapters on layers of the loaded model that return more than the product to which an adapter adds its own.

    `target_modules="all-linear"` takes the routers of PhiMoE and Llama 4 for linear layers.

    Raises:
        ValueError: With the layer and what to do.
    """
    for path, layer in pair_layers(model).items():
        base = layer.get_base_layer()
        if not isinstance(base, nn.Linear) or not type(base).__module__.startswith("transformers.models."):
            continue
        with torch.no_grad():
            output = base(base.weight.new_zeros(1, base.in_features))
        if not torch.is_tensor(output):
            name = path.rpartition(".")[2]
            raise ValueError(
                f"An adapter cannot be on {path}: {type(base).__name__} returns a {type(output).__name__}, and PEFT "
                f"can add only to a tensor. Leave it out: LoraConfig(..., exclude_modules=[{name!r}])."
            )


def fits_no_layer(model: PeftModel, config: PeftConfig) -> dict[str, list[str]]:
    """
    Names in `target_modules`, `rank_pattern` and `alpha_pattern` that no adapted layer bears, by field: PEFT passes
    over them.
    """
    layers = model.base_model.targeted_module_names
    targets = getattr(config, "target_modules", None) or ()
    found = {} if isinstance(targets, str) else {"target_modules": sorted(set(targets) - _borne(targets, layers))}
    for field in ("rank_pattern", "alpha_pattern"):
        patterns = getattr(config, field, None) or {}
        used = {get_pattern_key(patterns, layer) for layer in layers}  # as PEFT reads a pattern
        found[field] = sorted(set(patterns) - used)
    return {field: names for field, names in found.items() if names}


def _borne(names: Iterable[str], layers: Iterable[str]) -> set[str]:
    return {name for name in names if any(f".{layer}".endswith(f".{name}") for layer in layers)}


def _check_alike(model: PeftModel, experts: Sequence[str], setting: str, instead: str, scaling: bool) -> None:
    """Factors are put together by place: all experts have them on the same layers, in the same rank (and scaling)."""
    for path, layer in pair_layers(model).items():
        lacking = [name for name in experts if not has_pair(layer, name)]
        if len(lacking) == len(experts):
            continue
        if lacking:
            raise ValueError(
                f"{setting} needs every adapter on the same layers, but {lacking[0]!r} has none on {path}. Give "
                f"`peft_config` the `target_modules` of the trained adapter, or set {instead}."
            )
        for what, values in {"rank": layer.r, "scaling": layer.scaling if scaling else {}}.items():
            values = {name: values[name] for name in experts if name in values}
            if len(set(values.values())) > 1:
                raise ValueError(
                    f"{setting} needs every adapter at the same {what}, but on {path} they are {values}. Give "
                    f"`peft_config` that of the trained adapter, or set {instead}."
                )


def unpaired(model: PeftModel, adapters: Sequence[str], fused: bool = True) -> str | None:
    """
    What of the adapters is not known to be a pair of LoRA factors, or `None` if all of it is.

    What is known: two linear maps without a bias, whatever the layer below them is; the two factors of an embedding;
    and, unless `fused` is `False`, those of the parameters of fused experts.
    """
    for path, module in model.named_modules():
        if isinstance(module, AuxiliaryTrainingWrapper):
            return f"{path} is trained itself (`modules_to_save` or trainable tokens)"
        if isinstance(module, BaseTunerLayer):
            for name in adapters:
                if not all(_is_factor(module, name, part) for part in layer_parts(module, name)):
                    return f"{path} ({type(module).__name__}) has other parameters than a pair of LoRA factors"
            if isinstance(module, ParamWrapper) and not fused:
                return f"{path} is adapted as a parameter of fused experts (`target_parameters`)"
    return None


def _is_factor(layer: BaseTunerLayer, adapter: str, part: nn.Module | nn.Parameter) -> bool:
    if not isinstance(layer, LoraLayer) or adapter in layer.lora_variant:  # DoRA and its like compute otherwise
        return False
    if isinstance(part, nn.Parameter):
        return isinstance(layer, Embedding)
    pair = [factors[adapter] for factors in (layer.lora_A, layer.lora_B) if adapter in factors]
    return type(part) is nn.Linear and part.bias is None and any(part is factor for factor in pair)


def pair_layers(model: PeftModel) -> dict[str, LoraLayer]:
    """The layers that LoRA adapters can be on, by the path that their own module has in the base."""
    layers = {path: module for path, module in model.named_modules() if isinstance(module, LoraLayer)}
    return {path.removeprefix("base_model.model."): layer for path, layer in layers.items()}


def has_pair(layer: LoraLayer, adapter: str) -> bool:
    return adapter in layer.lora_A or adapter in layer.lora_embedding_A


def factors(layer: LoraLayer, adapter: str) -> tuple[nn.Parameter, nn.Parameter]:
    """The parameters themselves: `(E * r, d_in)` with the fused expert first, `(d_out, r * E)` with the rank first."""
    down, up = (part_parameters(part)[0] for part in layer_parts(layer, adapter))
    return down, up


def fused_experts(layer: LoraLayer) -> int:
    return layer.num_experts if isinstance(layer, ParamWrapper) else 1


def read_pair(layer: LoraLayer, adapter: str) -> Pair:
    """One adapter's factors on one layer."""
    down, up = factors(layer, adapter)
    fused = fused_experts(layer)
    down = down.data.unflatten(0, (fused, -1))  # (E, r, d_in)
    up = up.data.unflatten(1, (-1, fused)).permute(2, 0, 1)  # (E, d_out, r)
    return down, up, layer.scaling[adapter]


def write_pair(layer: LoraLayer, adapter: str, down: torch.Tensor, up: torch.Tensor) -> None:
    """
    Give an adapter the delta `up @ down` on one layer.

    Args:
        layer ([`~peft.tuners.lora.LoraLayer`]), adapter (`str`): Whose rank is at least that of the factors.
        down (`torch.Tensor`): `(E, r, d_in)`.
        up (`torch.Tensor`): `(E, d_out, r)`.
    """
    own_down, own_up = factors(layer, adapter)
    missing = layer.r[adapter] - down.size(1)  # zeros add nothing to the product
    down = nn.functional.pad(down, (0, 0, 0, missing)).flatten(0, 1)
    up = nn.functional.pad(up, (0, missing)).permute(1, 2, 0).flatten(1)
    own_down.data = down.contiguous()
    own_up.data = (up / layer.scaling[adapter]).contiguous()
