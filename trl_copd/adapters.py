"""
The one file that touches PEFT's internals: create the branches' adapters, group them, merge them, save and load them.

Shapes: K adapters, N rows, L positions, d features, r rank.
"""

import copy
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import file_exists, try_to_load_from_cache
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import Linear, LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import SAFETENSORS_WEIGHTS_NAME, WEIGHTS_NAME, AuxiliaryTrainingWrapper
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from . import sharding
from .topology import STUDENT, Topology


BASE = "base"  # the frozen model itself, as a row of the capability matrix
QUANTISED_LAYERS = ("Linear4bit", "Linear8bitLt")  # bitsandbytes': base product and LoRA product as in `Linear`
PACKS_FOR_INFERENCE = "support_avx512bf16_for_cpu"  # attribute of bitsandbytes' `Linear4bit`
INITIAL = "default"  # the adapter that TRL creates; every branch starts as its copy
# Initialisations that leave the base weights as they are; the others (PiSSA, OLoRA, CorDA, LoftQ, ...) rewrite them
BASE_PRESERVING_INITS = (True, False, "gaussian", "orthogonal", "eva")


def check_peft_config(
    peft_config: PeftConfig | None, model: str | PreTrainedModel, topology: Topology, student_init: str = "fresh"
) -> None:
    """
    Refuse what several branches on one frozen base cannot work with, before any model is loaded.

    Raises:
        TypeError: `model` or `peft_config` is of the wrong type.
        ValueError: No configuration, a model that has adapters already, an adapter on the LM head, a configuration
            that changes the base, or one that cannot be merged where the topology merges.
    """
    if isinstance(model, PeftModel):
        raise ValueError(
            "`model` is a PeftModel already. Pass the base model with `peft_config`, and start an expert from a "
            "trained adapter with `Expert(adapter=PATH)`."
        )
    if not isinstance(model, (str, Path, PreTrainedModel)):
        raise TypeError(f"`model` must be a model id, a path or a PreTrainedModel, got {type(model).__name__}.")
    if peft_config is None:
        raise ValueError(
            "`peft_config` is None, but every branch is an adapter on one shared base. Pass for example "
            "`LoraConfig(r=16, target_modules='all-linear')`."
        )
    if not isinstance(peft_config, PeftConfig):
        raise TypeError(f"`peft_config` must be a `peft.PeftConfig`, got {type(peft_config).__name__}.")
    if peft_config.is_prompt_learning:
        raise ValueError(
            f"{type(peft_config).__name__} learns prompts, which several branches cannot share a batch with. Use "
            "`LoraConfig`."
        )
    targets = getattr(peft_config, "target_modules", None)
    on_head = re.fullmatch(targets, "lm_head") if isinstance(targets, str) else "lm_head" in (targets or ())
    if on_head or "lm_head" in (getattr(peft_config, "modules_to_save", None) or ()):
        raise ValueError(
            "`peft_config` puts an adapter on `lm_head`, which all branches share and which TRL never trains. Remove "
            "'lm_head' from `target_modules` and `modules_to_save`."
        )
    if getattr(peft_config, "bias", "none") != "none":
        raise ValueError(f"bias={peft_config.bias!r} trains biases of the shared base. Set bias='none'.")
    if isinstance(peft_config, LoraConfig) and peft_config.init_lora_weights not in BASE_PRESERVING_INITS:
        raise ValueError(
            f"init_lora_weights={peft_config.init_lora_weights!r} rewrites the base weights, which all branches "
            "share. Use True or 'gaussian'."
        )
    if not topology.has_student_branch:
        _check_mergeable(peft_config, f"topology={topology.name!r}", "topology='student'")
    elif student_init == "merge":
        _check_mergeable(peft_config, "student_init='merge'", "student_init='fresh'")


def _check_mergeable(peft_config: PeftConfig, setting: str, instead: str) -> None:
    reason = None
    if not isinstance(peft_config, LoraConfig):
        reason = f"{type(peft_config).__name__} is no LoRA"
    elif peft_config.use_dora:
        reason = "DoRA's magnitudes cannot be averaged exactly"
    elif peft_config.modules_to_save:
        reason = f"modules_to_save={peft_config.modules_to_save} holds whole modules"
    elif peft_config.target_parameters:
        reason = "target_parameters cannot be merged by PEFT"
    if reason is not None:
        raise ValueError(
            f"{setting} makes the student by merging LoRA adapters, but {reason}. Use a plain `LoraConfig`, or "
            f"{instead}."
        )


def read_adapter_config(adapter: str, topology: Topology, student_init: str = "fresh") -> PeftConfig:
    """
    The configuration of a trained adapter, from a folder, the Hub, or the Hub's cache when there is no network.

    Raises:
        ValueError: It cannot be read, its weights are missing or torn, or the run cannot use its kind.
    """
    try:
        config = PeftConfig.from_pretrained(adapter)
    except Exception as error:  # of many kinds, for a repository that does not exist, is private or out of reach
        raise ValueError(
            f"it can be read neither as a folder nor from the Hub ({error}). Pass a folder that holds "
            "adapter_config.json, as `save_model` writes it, or the id of a repository on the Hub."
        )
    names = (SAFETENSORS_WEIGHTS_NAME, WEIGHTS_NAME)
    if Path(adapter).is_dir():
        found = any((Path(adapter) / name).is_file() for name in names)
        if (Path(adapter) / SAFETENSORS_WEIGHTS_NAME).is_file():
            try:
                with safe_open(Path(adapter) / SAFETENSORS_WEIGHTS_NAME, "pt"):
                    pass
            except SafetensorError as error:
                raise ValueError(f"its {SAFETENSORS_WEIGHTS_NAME} cannot be read ({error}). Save it again.")
    else:
        found = any(_on_hub(adapter, name) for name in names)
    if not found:
        raise ValueError(f"it has a configuration but no weights ({' or '.join(names)}).")
    check_peft_config(config, BASE, topology, student_init)
    return config


def merging_settings(config: PeftConfig) -> dict[str, Any]:
    """What adapters must share for `set_to_average` to give their exact mean."""
    names = ("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "target_modules")
    return {name: getattr(config, name, None) for name in names}


def _on_hub(repository: str, name: str) -> bool:
    if isinstance(try_to_load_from_cache(repository, name), str):
        return True
    try:
        return file_exists(repository, name)
    except Exception:  # offline, and not in the cache
        return False


# ---- Creating and activating ------------------------------------------------------------------------------------


def create_branches(model: PeftModel, branches: Sequence[str], trained: dict[str, str], merging: bool = False) -> None:
    """
    Give every branch an adapter that is a copy of the initial one, then drop the initial one.

    Args:
        model ([`~peft.PeftModel`]): Holds the adapter `"default"`.
        branches (`Sequence[str]`): Adapter names.
        trained (`dict[str, str]`): For the branches that start from a trained adapter, its folder or Hub id.
        merging (`bool`): Give the student the rank of all experts together, so that it can hold their exact mean.
    """
    initial = _adapter_modules(model, INITIAL)
    _keep_differentiable(model)
    with torch.random.fork_rng():  # the fresh weights are overwritten: their draws must not move the run's stream
        for branch in branches:
            if branch in trained:
                model.load_adapter(trained[branch], adapter_name=branch, is_trainable=True)
                continue
            if merging and branch == STUDENT:
                model.add_adapter(branch, widened(model.peft_config[INITIAL], len(branches) - 1))
                for parameter in branch_parameters(model, branch):
                    parameter.data = parameter.data.to(_parameters(initial[0])[0].dtype)
                continue
            model.add_adapter(branch, copy.deepcopy(model.peft_config[INITIAL]))
            for source, target in zip(initial, _adapter_modules(model, branch), strict=True):
                for old, new in zip(_parameters(source), _parameters(target), strict=True):
                    new.data = old.data.clone()  # dtype included: TRL casts the initial adapter of a quantised base
        activate(model, branches[0])
        model.delete_adapter(INITIAL)
    if merging:
        _check_same_layers(model, branches)
    set_trainable(model, branches)


def _check_same_layers(model: PeftModel, branches: Sequence[str]) -> None:
    for path, module in model.named_modules():
        if isinstance(module, LoraLayer):
            lacking = [name for name in branches if next(_parts(module, name), None) is None]
            if 0 < len(lacking) < len(branches):
                raise ValueError(
                    f"student_init='merge' needs every adapter on the same layers, but {lacking[0]!r} has none on "
                    f"{path}. Give `peft_config` the `target_modules` of the trained adapter, or set "
                    "student_init='fresh'."
                )


def _keep_differentiable(model: PeftModel) -> None:
    # On CPUs with AVX512-BF16 bitsandbytes packs a 4-bit layer anew when it first runs in eval mode. The packed form
    # has no backward: every update after an evaluation would lose the gradient of the layers below, without an error.
    for module in model.modules():
        if hasattr(module, PACKS_FOR_INFERENCE):
            setattr(module, PACKS_FOR_INFERENCE, False)


def widened(config: LoraConfig, times: int) -> LoraConfig:
    """The configuration with so many times the rank and the same scaling."""
    config, factor = copy.deepcopy(config), times**0.5 if config.use_rslora else times
    config.r, config.lora_alpha = config.r * times, config.lora_alpha * factor
    config.rank_pattern = {name: rank * times for name, rank in config.rank_pattern.items()}
    config.alpha_pattern = {name: alpha * factor for name, alpha in config.alpha_pattern.items()}
    return config


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
            a, b = _parameters(down[adapter])[0], _parameters(up[adapter])[0]
            a.copy_(torch.cat([_parameters(down[name])[0] for name in experts]))  # (K * r, d_in)
            b.copy_(torch.cat([_parameters(up[name])[0] for name in experts], dim=1) / len(experts))  # (d_out, K * r)


def branch_parameters(model: PeftModel, adapter: str) -> list[nn.Parameter]:
    """The parameters that belong to one adapter, in the order of the model's modules."""
    return [parameter for module in _adapter_modules(model, adapter) for parameter in _parameters(module)]


def base_weights(model: PeftModel) -> Iterator[tuple[str, torch.Tensor]]:
    """The frozen base's parameters, under the names that they have without adapters, sorted."""
    own = {id(part) for adapter in model.peft_config for part in branch_parameters(model, adapter)}
    named = model.get_base_model().named_parameters()
    yield from sorted((name.replace(".base_layer.", "."), p) for name, p in named if id(p) not in own)


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
            for part in _parts(module, adapter):
                return all(parameter.requires_grad for parameter in _parameters(part))
    return True


def _adapter_modules(model: nn.Module, adapter: str) -> list[nn.Module | nn.Parameter]:
    # by structure and not by name: an expert may be called `weight` or `layers`
    return [part for module in model.modules() for part in _parts(module, adapter)]


def _parts(module: nn.Module, adapter: str) -> Iterator[nn.Module | nn.Parameter]:
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


def _parameters(part: nn.Module | nn.Parameter) -> list[nn.Parameter]:
    return [part] if isinstance(part, nn.Parameter) else list(part.parameters())


# ---- Several adapters in one forward ----------------------------------------------------------------------------


def stacking_obstacle(model: PeftModel, adapters: Sequence[str]) -> str | None:
    """Why the adapters cannot share one batched product per factor, or `None` if they can."""
    for module in model.modules():
        if isinstance(module, AuxiliaryTrainingWrapper):
            return "a module in `modules_to_save` or trainable tokens has one copy per adapter"
        if isinstance(module, BaseTunerLayer):
            obstacle = _layer_obstacle(module, adapters)
            if obstacle is not None:
                return obstacle
    return None


def _layer_obstacle(layer: BaseTunerLayer, adapters: Sequence[str]) -> str | None:
    # embeddings, convolutions and the experts' parameters of an MoE multiply otherwise
    if not (isinstance(layer, Linear) or type(layer).__name__ in QUANTISED_LAYERS):
        return f"{type(layer).__name__} is no linear LoRA layer"
    present = [name for name in adapters if name in layer.lora_A]
    if len(present) < len(adapters) or not all(isinstance(layer.lora_A[name], nn.Linear) for name in present):
        return f"{type(layer).__name__} layers are not plain linear LoRA of every adapter"
    if any(name in layer.lora_variant for name in adapters):
        return "an adapter is a LoRA variant such as DoRA"
    if any(layer.lora_B[name].bias is not None for name in adapters):
        return "an adapter has a LoRA bias"
    if len({getattr(layer.lora_dropout[name], "p", 0.0) for name in adapters}) > 1:
        return "the adapters differ in dropout"
    return None


@contextmanager
def grouped(model: PeftModel, adapters: Sequence[str], rows: Sequence[int]) -> Iterator["RowGroups"]:
    """
    Let each forward apply `adapters[i]` to the i-th group of consecutive rows, with one batched product per factor.

    Args:
        model ([`~peft.PeftModel`]): Its adapters must be stackable (see `stacking_obstacle`).
        adapters (`Sequence[str]`): One adapter, or `"base"`, per group.
        rows (`Sequence[int]`): Rows of each group, each > 0; the batch has their sum.

    Yields:
        [`RowGroups`]: Where the groups' rows lie, to be resized for a forward over other numbers of rows.
    """
    groups = RowGroups(rows)
    if len(adapters) == 1:
        with only(model, adapters[0]):
            yield groups
        return
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    for layer in layers:
        layer.forward = _GroupedForward(layer, adapters, groups)
    try:
        yield groups
    finally:
        for layer in layers:
            del layer.forward  # the instance attribute: the class's own forward is back


class RowGroups:
    """Moves N consecutive rows to `(K, n)` groups and back; groups shorter than the longest are padded."""

    def __init__(self, rows: Sequence[int]):
        self.rows = list(rows)
        self.total, self.groups = sum(rows), len(rows)
        self.even = len(set(rows)) == 1
        longest, start, index, inverse = max(rows), 0, [], []
        for group, count in enumerate(rows):
            index += [start + min(i, count - 1) for i in range(longest)]
            inverse += [group * longest + i for i in range(count)]
            start += count
        self._index, self._inverse = torch.tensor(index), torch.tensor(inverse)

    @contextmanager
    def resized(self, rows: Sequence[int]) -> Iterator[None]:
        """For the length of the context, the same groups with `rows[i]` rows each."""
        own = self.__dict__
        self.__dict__ = RowGroups(rows).__dict__
        try:
            yield
        finally:
            self.__dict__ = own

    def split(self, x: torch.Tensor) -> torch.Tensor:  # (N, ..., d) -> (K, n * L, d)
        if not self.even:
            self._index, self._inverse = self._index.to(x.device), self._inverse.to(x.device)
            x = x.reshape(self.total, -1, x.size(-1))[self._index]
        return x.reshape(self.groups, -1, x.size(-1))

    def join(self, y: torch.Tensor, shape: torch.Size) -> torch.Tensor:  # (K, n * L, d) -> (N, ..., d)
        if not self.even:
            length = shape[:-1].numel() // self.total
            y = y.reshape(-1, length, y.size(-1))[self._inverse]
        return y.reshape(shape)


class _GroupedForward:
    """Forward of one LoRA layer over K groups of rows: `base(x) + B_k A_k x` with the K factors stacked."""

    def __init__(self, layer: LoraLayer, adapters: Sequence[str], groups: RowGroups):
        self.layer, self.adapters, self.groups = layer, adapters, groups
        self.factors: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        result = self.layer.base_layer(x, *args, **kwargs)
        if self.factors is None:
            self.factors = self._stack()  # lazily: the layer's weights are on their device by now
        down, up = self.factors  # (K, d_in, r), (K, r, d_out)
        hidden = self.layer.lora_dropout[self._first](x.to(down.dtype))
        hidden = torch.bmm(self.groups.split(hidden), down)  # (K, n * L, r)
        if self.groups.even and result.dtype == hidden.dtype == up.dtype:
            return torch.baddbmm(self.groups.split(result), hidden, up).reshape(result.shape)
        return (result + self.groups.join(torch.bmm(hidden, up), result.shape)).to(result.dtype)

    @property
    def _first(self) -> str:
        return next(name for name in self.adapters if name != BASE)

    def _stack(self) -> tuple[torch.Tensor, torch.Tensor]:
        layer, names = self.layer, self.adapters
        null_down = torch.zeros_like(layer.lora_A[self._first].weight)
        null_up = torch.zeros_like(layer.lora_B[self._first].weight)
        down = [null_down if name == BASE else layer.lora_A[name].weight for name in names]
        up = [null_up if name == BASE else layer.lora_B[name].weight * layer.scaling[name] for name in names]
        ranks = [factor.size(0) for factor in down]
        if len(set(ranks)) > 1:  # zeros add nothing to the product
            down = [nn.functional.pad(d, (0, 0, 0, max(ranks) - rank)) for d, rank in zip(down, ranks, strict=True)]
            up = [nn.functional.pad(u, (0, max(ranks) - rank)) for u, rank in zip(up, ranks, strict=True)]
        return torch.stack(down).transpose(1, 2), torch.stack(up).transpose(1, 2)


# ---- Merging, saving, loading -----------------------------------------------------------------------------------


# By `merge_method`: PEFT's name for it, and the weight of each of K experts. PEFT's TIES divides by the experts that
# agree in sign, so that a weight of 1 gives their mean.
_COMBINATIONS: dict[str, tuple[str, Callable[[int], float]]] = {
    "average": ("cat", lambda k: 1 / k),
    "linear": ("linear", lambda k: 1 / k),
    "svd": ("svd", lambda k: 1 / k),
    "ties": ("ties_svd", lambda k: 1.0),
    "dare": ("dare_linear_svd", lambda k: 1 / k),
}


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
    factors = [part for expert in experts for part in _adapter_modules(model, expert)]
    # PEFT draws initial weights that the merge overwrites, and cannot put shards together
    with torch.random.fork_rng(), torch.no_grad(), sharding.whole_parameters(model, factors):
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


def _named_weights(model: PeftModel, adapter: str) -> dict[str, nn.Parameter] | None:
    """
    The adapter's parameters under the names that PEFT saves them with, found by structure: PEFT itself searches names
    for the adapter's, and takes an expert called `layers` for a part of a path. `None` where whole modules are saved.
    """
    weights = {}
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
    return AdapterCopy(config, {name: tensor.cpu() for name, tensor in adapter_weights(model, adapter).items()})


def save_adapter(model: PeftModel, adapter: str, directory: str | Path) -> None:
    """Write one adapter so that `PeftModel.from_pretrained(base, directory)` loads it."""
    copy_adapter(model, adapter).write(directory)


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
    layers = {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, LoraLayer) and adapter in module.lora_A
    }
    found = [factor for layer in layers.values() for factor in (layer.lora_A[adapter], layer.lora_B[adapter])]
    if sum(factor.weight.numel() for factor in found) != sum(p.numel() for p in branch_parameters(model, adapter)):
        raise ValueError(
            f"Adapter {adapter!r} has parameters that are no LoRA factors of linear layers (DoRA, embeddings, biases, "
            "`modules_to_save`), which the rollout engine cannot serve. Use a plain `LoraConfig`, or use_vllm=False."
        )
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
    """A short text that changes with any bit of an adapter's weights."""
    digest = hashlib.blake2b(digest_size=16)
    for parameter in branch_parameters(model, adapter):
        digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


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


def config_fingerprint(peft_config: PeftConfig) -> str:
    """The settings of an adapter configuration that decide what is trained, as JSON with sorted keys."""
    settings = peft_config.to_dict()
    ignored = ("base_model_name_or_path", "inference_mode", "revision", "auto_mapping", "peft_version")
    return json.dumps({k: v for k, v in settings.items() if k not in ignored}, sort_keys=True, default=_jsonable)


def _jsonable(value: object) -> object:
    return sorted(value) if isinstance(value, set) else str(value)
