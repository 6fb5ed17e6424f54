"""
The one file that knows FSDP2, whose parameters are shards (`DTensor`) outside of a forward and whole inside.

`gathered`, `full` and what uses them communicate: every process must call them, in the same order.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME


FSDP_MARK = "_is_fsdp_managed_module"  # of a module that accelerate has sharded


def sharded_modules(model: nn.Module) -> list[FSDPModule]:
    """The modules that `fully_shard` was applied to, the root first; none without FSDP2."""
    return [module for module in model.modules() if isinstance(module, FSDPModule)]


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """
    Hold all parameters whole on every process, so that processes may run forwards of different number and length.

    Sampling ends earlier in one process than in another; with a gather in each forward the others would wait for ever.
    transformers' `generate` runs without an exchange per token as well. Inside another `gathered` it does nothing.
    """
    modules = sharded_modules(model)
    groups = [group for module in modules for group in _parameter_groups(module._get_fsdp_state())]
    if all(group.is_unsharded and group.post_forward_mesh_info is None for group in groups):
        yield
        return
    modules[0]._get_fsdp_state()._lazy_init()  # what the root's first forward does
    policies = [group.post_forward_mesh_info for group in groups]
    for module in modules:
        module.unshard()
    for group in groups:
        group.post_forward_mesh_info = None  # do not reshard after a forward; `set_reshard_after_forward` has no undo
    try:
        with _out_of_step(model):
            yield
    finally:
        for group, policy in zip(groups, policies, strict=True):
            group.post_forward_mesh_info = policy
        reshard(model)


def _parameter_groups(state: Any) -> list[Any]:
    """The groups of parameters that a module gathers; before torch 2.13 there was one, or none."""
    if hasattr(state, "_fsdp_param_groups"):
        return list(state._fsdp_param_groups)
    return [state._fsdp_param_group] if state._fsdp_param_group is not None else []


@contextmanager
def _out_of_step(model: nn.Module) -> Iterator[None]:
    """
    Let `generate` take the model for one that is not sharded, which is true while it is gathered.

    By accelerate's mark transformers sets `synced_gpus`: an all-reduce per token, in which a process without rows, or
    with fewer chunks of them, does not take part.
    """
    marked = [module for module in model.modules() if vars(module).pop(FSDP_MARK, False)]
    try:
        yield
    finally:
        for module in marked:
            setattr(module, FSDP_MARK, True)


def reshard(model: nn.Module) -> None:
    """Let the modules hold their shards again: after a forward without a backward some groups stay whole."""
    for module in sharded_modules(model):
        module.reshard()


def full(tensor: torch.Tensor) -> torch.Tensor:
    """The whole of a sharded tensor; any other tensor as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This process's shard of a sharded tensor; any other tensor as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def sharded_like(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """This process's shard of a whole tensor that every process holds, if `other` is sharded."""
    if not isinstance(other, DTensor):
        return tensor
    # no source rank: each process cuts its own share, nothing is sent
    return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements, src_data_rank=None)


@contextmanager
def whole_parameters(model: nn.Module, parts: Iterable[nn.Module | nn.Parameter]) -> Iterator[None]:
    """Replace the sharded parameters of some modules by whole, plain ones for the length of the context."""
    reshard(model)
    replaced = []
    for module in parts:
        if isinstance(module, nn.Parameter):  # of an embedding, which has no module of its own
            if isinstance(module, DTensor):
                raise ValueError(
                    "Adapters on embeddings cannot be merged under FSDP2. Leave embeddings out, or use DDP."
                )
            continue
        for name, parameter in list(module.named_parameters(recurse=False)):
            if isinstance(parameter, DTensor):
                replaced.append((module, name, parameter))
                module._parameters[name] = nn.Parameter(full(parameter.detach()), parameter.requires_grad)
    try:
        yield
    finally:
        for module, name, parameter in replaced:
            module._parameters[name] = parameter


def save_optimizer(optimizer: torch.optim.Optimizer, scheduler: Any, folder: str | Path, writes: bool) -> None:
    """
    Save moments and schedule, whole, as one process without sharding has them.

    The functions of torch behind accelerate's pair restore the moments of what requires grad at that time, which is
    one branch of them all.
    """
    state = full_optimizer_state(optimizer)
    if writes:
        torch.save(state, Path(folder) / OPTIMIZER_NAME)
        torch.save(scheduler.state_dict(), Path(folder) / SCHEDULER_NAME)


def load_optimizer(optimizer: torch.optim.Optimizer, scheduler: Any, folder: str | Path) -> None:
    """Load what `save_optimizer` has saved."""
    load_optimizer_state(optimizer, torch.load(Path(folder) / OPTIMIZER_NAME, map_location="cpu", weights_only=True))
    scheduler.load_state_dict(torch.load(Path(folder) / SCHEDULER_NAME, map_location="cpu", weights_only=True))


def full_optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's state dict with whole tensors, as one process without sharding has it."""
    return tree_map(lambda x: full(x) if isinstance(x, torch.Tensor) else x, optimizer.state_dict())


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load what `full_optimizer_state` gave; a parameter that never took a step has no moments, and gets none."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    shards = {}
    for index, values in state["state"].items():
        like = parameters[index]
        shards[index] = {
            name: sharded_like(value, like) if isinstance(value, torch.Tensor) and value.shape == like.shape else value
            for name, value in values.items()
        }
    optimizer.load_state_dict({**state, "state": shards})
