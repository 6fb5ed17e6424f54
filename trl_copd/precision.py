"""
The precision that policies are compared in, where the model computes in 16 bits.

Shapes: N token positions, H hidden size, V vocabulary.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from peft import PeftModel
from torch import nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel
from trl.trainer.utils import add_fused_lm_head

from .adapters import HALVES


HEAD_TILE = 2**15  # vocabulary entries of the head that are brought to float32 at once


class Precision:
    """
    The forwards that score completions: the head in float32, and everything else too if asked for.

    A head in 16 bits rounds logits by more than close policies differ. Its product in float32 takes no more memory.
    Sums run through the model in float32 as well, see `float32_sums`.

    Args:
        model ([`~peft.PeftModel`]): As TRL has built it, with its fused LM head.
        temperature (`float`): What logits are divided by.
        everything (`bool`): Whether the whole forward runs in float32, see `float32`.
    """

    def __init__(self, model: PeftModel, temperature: float, everything: bool = False):
        self.model, self.everything = model, everything
        causal_lm = cast(PreTrainedModel, model.get_base_model())
        with _forward_kept(causal_lm):
            add_fused_lm_head(causal_lm, temperature, cast_lm_head_to_fp32=True, outputs=("log_probs", "entropy"))
            self._forward = causal_lm.forward

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """For the length of the context, TRL's scoring of completions has this precision."""
        causal_lm = cast(PreTrainedModel, self.model.get_base_model())
        with _forward_kept(causal_lm):
            causal_lm.forward = self._forward
            with self.comparing():
                yield

    @contextmanager
    def comparing(self) -> Iterator[None]:
        """For the length of the context, all of a forward but its head has this precision."""
        causal_lm = cast(PreTrainedModel, self.model.get_base_model())
        with float32(causal_lm) if self.everything else float32_sums(causal_lm):
            yield


@contextmanager
def float32(causal_lm: PreTrainedModel) -> Iterator[None]:
    """
    For the length of the context, forwards run in float32, whatever the weights are stored in and outside of autocast.

    A module's weights are brought to float32 when it runs and put back when it has run, so that one module's are in
    memory twice. Quantised weights stay what they are.
    """
    handles = []

    def widen(module: nn.Module, inputs: Any) -> None:
        narrow = [parameter for parameter in module.parameters() if parameter.dtype in HALVES]
        vars(module)["_narrow"] = [(parameter, parameter.data) for parameter in narrow]
        for parameter in narrow:
            parameter.data = parameter.data.float()

    def restore(module: nn.Module, inputs: Any, output: Any) -> None:
        for parameter, data in vars(module).pop("_narrow", []):
            parameter.data = data

    for module in _units(causal_lm):
        handles.append(module.register_forward_pre_hook(widen))
        handles.append(module.register_forward_hook(restore, always_call=True))
    with _forward_kept(causal_lm):
        inner = causal_lm.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            with torch.autocast(causal_lm.device.type, enabled=False):  # inside of the autocast of whoever calls
                return inner(*args, **kwargs)

        causal_lm.forward = forward
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


@contextmanager
def float32_sums(causal_lm: PreTrainedModel) -> Iterator[None]:
    """
    For the length of the context, what layers add up runs through a model with 16-bit weights in float32, and products
    in 16 bits, as with float32 weights under autocast. Most of the noise of 16 bits is rounding of those sums.
    """
    embeddings = causal_lm.get_input_embeddings()
    weight = getattr(embeddings, "weight", None)
    if weight is None or weight.dtype not in HALVES:
        yield
        return
    handle = embeddings.register_forward_hook(lambda module, inputs, output: output.float())
    with _forward_kept(causal_lm):
        inner = causal_lm.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            with torch.autocast(causal_lm.device.type, weight.dtype):
                return inner(*args, **kwargs)

        causal_lm.forward = forward
        try:
            yield
        finally:
            handle.remove()


def _units(module: nn.Module) -> Iterator[nn.Module]:
    """The modules that hold 16-bit weights of their own; one with adapters, which casts its input, counts as one."""
    for child in module.children():
        whole = hasattr(child, "base_layer")  # as all layers of PEFT
        if any(parameter.dtype in HALVES for parameter in child.parameters(recurse=whole)):
            yield child
        if not whole:
            yield from _units(child)


@contextmanager
def _forward_kept(module: nn.Module) -> Iterator[None]:
    """Put the module's `forward` back to what it was, one of its own or its class's."""
    own = vars(module).get("forward")
    try:
        yield
    finally:
        vars(module).pop("forward", None)
        if own is not None:
            module.forward = own


def in_16_bits(model: nn.Module, mixed_precision: str) -> bool:
    """Whether forwards compute in 16 bits: by the weights, or by accelerate's `mixed_precision`."""
    return mixed_precision in ("bf16", "fp16") or any(parameter.dtype in HALVES for parameter in model.parameters())


def logits(causal_lm: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """
    What the model's head makes of its last hidden states, computed in float32.

    Args:
        causal_lm ([`~transformers.PreTrainedModel`]): Its head, scale of logits and soft-capping are used.
        hidden (`torch.Tensor`): Shape `(N, H)`.

    Returns:
        `torch.Tensor`: float32, shape `(N, V)`.
    """
    head, config = causal_lm.get_output_embeddings(), causal_lm.config.get_text_config()
    weight, bias = _whole(head.weight), None if head.bias is None else _whole(head.bias)
    hidden = hidden.to(weight.device).float()
    values = hidden.new_empty(hidden.size(0), weight.size(0))  # (N, V)
    with torch.autocast(hidden.device.type, enabled=False):
        for start in range(0, weight.size(0), HEAD_TILE):
            tile = slice(start, start + HEAD_TILE)
            values[:, tile] = hidden @ weight[tile].float().t()
    if bias is not None:
        values += bias.float()
    scale = _logit_scale(config)
    if scale != 1:
        values *= scale
    cap = getattr(config, "final_logit_softcapping", None)
    return values if cap is None else values.div_(cap).tanh_().mul_(cap)


def _logit_scale(config: Any) -> float:
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if getattr(config, name, None) is not None:
            return getattr(config, name)
    divisor = getattr(config, "logits_scaling", None)
    if divisor is None:
        return 1.0
    return divisor if config.model_type == "hyperclovax" else 1 / divisor


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
