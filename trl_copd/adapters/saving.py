"""Copying, writing and reading adapters."""

import copy
import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import SAFETENSORS_WEIGHTS_NAME, AuxiliaryTrainingWrapper
from safetensors.torch import load_file, save_file
from torch import nn

from .. import sharding
from .pairs import unpaired
from .parts import branch_parameters


def _named_weights(model: PeftModel, adapter: str) -> dict[str, nn.Parameter] | None:
    """
    The adapter's parameters under the names that PEFT saves them with, found by structure: PEFT itself searches names
    for the adapter's, and takes an expert called `layers` for a part of a path. `None` where more is saved: whole
    modules, or the projections of VeRA, which all layers share.
    """
    weights: dict[str, nn.Parameter] = {}
    if getattr(model.peft_config[adapter], "save_projection", False):
        return None
    for path, module in model.named_modules():
        if isinstance(module, AuxiliaryTrainingWrapper):
            return None
        if isinstance(module, BaseTunerLayer):
            for layer in module.adapter_layer_names:
                parts = getattr(module, layer, {})
                if adapter not in parts:
                    continue
                if isinstance(parts[adapter], nn.Parameter):
                    weights[f"{path}.{layer}"] = parts[adapter]
                    continue
                for name, parameter in parts[adapter].named_parameters():
                    # DoRA's magnitudes are saved without the name of the parameter
                    suffix = "" if layer == "lora_magnitude_vector" else f".{name}"
                    weights[f"{path}.{layer}{suffix}"] = parameter
    return weights


def adapter_weights(model: PeftModel, adapter: str) -> dict[str, torch.Tensor]:
    """A copy of one adapter's weights under PEFT's names, whole if they are sharded: then every process must call."""
    sharding.reshard(model)
    weights = _named_weights(model, adapter) or get_peft_model_state_dict(model, adapter_name=adapter)
    return {name: sharding.full(tensor.detach()).clone().contiguous() for name, tensor in weights.items()}


@dataclass(frozen=True)
class AdapterCopy:
    """An adapter at one moment: its configuration and, on the CPU, its weights under PEFT's names."""

    config: PeftConfig
    weights: dict[str, torch.Tensor]

    def write(self, directory: str | Path) -> None:
        """Write it so that `PeftModel.from_pretrained(base, directory)` loads it."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        save_file(self.weights, directory / SAFETENSORS_WEIGHTS_NAME, metadata={"format": "pt"})
        self.config.save_pretrained(str(directory))


def copy_adapter(model: PeftModel, adapter: str) -> AdapterCopy:
    """Copy one adapter; every process must call if the weights are sharded."""
    config = copy.deepcopy(model.peft_config[adapter])
    config.inference_mode = True
    if config.task_type is None:  # as PEFT's own `save_pretrained` does, for its `AutoPeftModel...` classes
        base = type(model.get_base_model())
        config.auto_mapping = {"base_model_class": base.__name__, "parent_library": base.__module__}
    return AdapterCopy(config, {name: tensor.cpu() for name, tensor in adapter_weights(model, adapter).items()})


def save_adapter(model: PeftModel, adapter: str, directory: str | Path) -> None:
    """Write one adapter so that `PeftModel.from_pretrained(base, directory)` loads it."""
    copy_adapter(model, adapter).write(directory)


def check_exportable(model: PeftModel, adapter: str) -> None:
    """
    Refuse an adapter that is more than `export_adapter` can write.

    Raises:
        ValueError: It has parameters other than the two factors of linear layers.
    """
    obstacle = unpaired(model, [adapter], fused=False)
    if obstacle is None and any(adapter in getattr(module, "lora_embedding_A", ()) for module in model.modules()):
        obstacle = "an embedding is adapted"
    if obstacle is not None:
        raise ValueError(
            f"The rollout engine cannot serve adapter {adapter!r}: it has parameters other than LoRA factors of "
            f"linear layers (DoRA, embeddings, biases, `modules_to_save`, fused experts): {obstacle}. Use a plain "
            "`LoraConfig` that names linear layers in `target_modules`, or use_vllm=False."
        )


def export_adapter(model: PeftModel, adapter: str, directory: str | Path, null: bool = False) -> int:
    """
    Write one adapter as the plainest LoRA there is, for an inference engine to read.

    Each module's scaling is folded into its `lora_B`, because engines know one rank and one alpha per adapter: rsLoRA,
    `rank_pattern`, `alpha_pattern` and trained adapters with an alpha of their own need nothing of them.

    Args:
        model ([`~peft.PeftModel`]): Holds the adapter.
        adapter (`str`): Its name.
        directory (`str` or `Path`): Is created.
        null (`bool`): Write zeros for `lora_B` instead: an adapter that adds nothing.

    Returns:
        `int`: Bytes of the weights.

    Raises:
        ValueError: The adapter has parameters other than the two factors of linear layers.
    """
    check_exportable(model, adapter)
    layers = {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, LoraLayer) and adapter in module.lora_A
    }
    rank, weights = max(layer.r[adapter] for layer in layers.values()), {}
    for path, layer in layers.items():
        down, up = layer.lora_A[adapter].weight.detach(), layer.lora_B[adapter].weight.detach()
        missing = rank - layer.r[adapter]  # rows and columns of zeros, which add nothing
        weights[f"{path}.lora_A.weight"] = nn.functional.pad(down, (0, 0, 0, missing)).cpu().contiguous()
        up = up * (0.0 if null else layer.scaling[adapter])
        weights[f"{path}.lora_B.weight"] = nn.functional.pad(up, (0, missing)).cpu().contiguous()
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    save_file(weights, directory / SAFETENSORS_WEIGHTS_NAME, metadata={"format": "pt"})
    targets = sorted({path.split(".")[-1] for path in layers})
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=targets, inference_mode=True)
    config.save_pretrained(str(directory))
    return sum(weight.nbytes for weight in weights.values())


def weights_digest(model: PeftModel, adapter: str) -> str:
    """
    A short text that changes with any bit of an adapter's weights.

    Of each parameter the number of times that it was written in place, which does not count writes to `.data`, and the
    sum of its bits as whole numbers, which a permutation would not change. Both stay where the weights are: copying
    and hashing those of five adapters of 264 MB took seven seconds a round.
    """
    parameters = [sharding.local(parameter.detach()) for parameter in branch_parameters(model, adapter)]
    sums = torch.stack([_as_integers(parameter).sum(dtype=torch.int64) for parameter in parameters]).tolist()
    written = [parameter._version for parameter in branch_parameters(model, adapter)]
    return hashlib.blake2b(repr((sums, written)).encode(), digest_size=16).hexdigest()


def _as_integers(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view({1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.itemsize])


def load_adapter(model: PeftModel, adapter: str, directory: str | Path) -> None:
    """Overwrite one adapter's weights, in place, with those that `save_adapter` wrote."""
    weights = load_file(Path(directory) / SAFETENSORS_WEIGHTS_NAME)
    sharding.reshard(model)
    parameters = _named_weights(model, adapter)
    if parameters is None and not sharding.sharded_modules(model):
        set_peft_model_state_dict(model, weights, adapter_name=adapter)
        return
    # the shards themselves, which PEFT cannot set
    parameters = parameters or get_peft_model_state_dict(model, adapter_name=adapter)
    if parameters.keys() != weights.keys():
        differing = sorted(parameters.keys() ^ weights.keys())
        raise ValueError(f"{directory} does not hold the weights of adapter {adapter!r}: {differing[:3]} differ.")
    for name, parameter in parameters.items():
        parameter.data.copy_(sharding.sharded_like(weights[name], parameter))
