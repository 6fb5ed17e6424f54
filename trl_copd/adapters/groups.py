"""
Several adapters in one forward.

Shapes: K adapters, N rows, L positions, d features, r rank.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from peft import PeftModel
from peft.tuners.lora import Linear, LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import AuxiliaryTrainingWrapper
from torch import nn

from .branches import only
from .language import is_multimodal, reaches_beyond_language
from .parts import BASE


HALVES = (torch.bfloat16, torch.float16)
QUANTISED_LAYERS = ("Linear4bit", "Linear8bitLt")  # bitsandbytes': base product and LoRA product as in `Linear`


def stacking_obstacle(model: PeftModel, adapters: Sequence[str]) -> str | None:
    """Why the adapters cannot share one batched product per factor, or `None` if they can."""
    sees = is_multimodal(model.get_base_model().config)
    for name, module in model.named_modules():
        if isinstance(module, AuxiliaryTrainingWrapper):
            return "a module in `modules_to_save` or trainable tokens has one copy per adapter"
        if isinstance(module, BaseTunerLayer):
            if sees and reaches_beyond_language(name):
                return "an adapter reaches beyond the language model, where rows are parts of pictures, not prompts"
            obstacle = _layer_obstacle(module, adapters)
            if obstacle is not None:
                return obstacle
    return None


def _layer_obstacle(layer: BaseTunerLayer, adapters: Sequence[str]) -> str | None:
    # embeddings, convolutions and the experts' parameters of an MoE multiply otherwise
    if not (isinstance(layer, Linear) or type(layer).__name__ in QUANTISED_LAYERS):
        return f"{type(layer).__name__} is not a linear LoRA layer"
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
def grouped(
    model: PeftModel, adapters: Sequence[str], rows: Sequence[int], wide: bool = False
) -> Iterator["RowGroups"]:
    """
    Let each forward apply `adapters[i]` to the i-th group of consecutive rows, with one batched product per factor.

    Args:
        model ([`~peft.PeftModel`]): Its adapters must be stackable (see `stacking_obstacle`).
        adapters (`Sequence[str]`): One adapter, or `"base"`, per group.
        rows (`Sequence[int]`): Rows of each group, each > 0; the batch has their sum.
        wide (`bool`): Give the sum of base and adapter in float32 where they are in 16 bits, which would round away
            most of what close adapters differ by. What follows must take float32, as it does under autocast.

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
        layer.forward = _GroupedForward(layer, adapters, groups, wide)
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

    def __init__(self, layer: LoraLayer, adapters: Sequence[str], groups: RowGroups, wide: bool):
        self.layer, self.adapters, self.groups, self.wide = layer, adapters, groups, wide
        self.factors: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        result = self.layer.base_layer(x, *args, **kwargs)
        if self.factors is None:
            # lazily: the layer's weights are on their device by now; cast once, and not in each forward
            down, up = self._stack()
            self.factors = down.to(result.dtype), up.to(result.dtype)
        down, up = self.factors  # (K, d_in, r), (K, r, d_out)
        hidden = self.layer.lora_dropout[self._first](x.to(down.dtype))
        hidden = torch.bmm(self.groups.split(hidden), down)  # (K, n * L, r)
        if self.wide and result.dtype in HALVES:
            return result.float() + self.groups.join(torch.bmm(hidden, up), result.shape)
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
