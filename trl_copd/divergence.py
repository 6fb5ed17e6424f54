"""
Divergences between learner and teacher over the full vocabulary, from their hidden states.

All branches share one LM head, so two hidden states are enough; TRL's chunked kernel never builds the `(B, T, V)`
logits.

Shapes: N token positions, H hidden size, V vocabulary.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

from .distillation import topk_reverse_kl


# What the kernel calls `beta`: 0 is KL(teacher || learner), 1 is KL(learner || teacher), between them lies the JSD
INTERPOLATION = {"forward_kl": 0.0, "jsd": 0.5, "reverse_kl": 1.0}
LOGIT_SCALES = ("logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")
TOPK_LOGITS = 2**24  # numbers in one tensor of logits for `"topk"`: 64 MiB in float32
_ASIDE = ContextVar("aside", default=False)


@dataclass(frozen=True)
class Divergence:
    """
    One of `opd_loss`'s divergences, for one model.

    Args:
        name (`str`): A key of `INTERPOLATION`, or `"topk"`.
        model ([`~transformers.PreTrainedModel`]): Its LM head and its soft-capping of logits, if it has one, are used.
        temperature (`float`): What logits are divided by, > 0.
        top_k (`int`): k of `"topk"`.

    Raises:
        ValueError: The model scales its logits, which is not handled.
    """

    name: str
    model: PreTrainedModel
    temperature: float = 1.0
    top_k: int = 16

    def __post_init__(self):
        config = self.model.config.get_text_config()
        scaled = [name for name in LOGIT_SCALES if getattr(config, name, None) not in (None, 1, 1.0)]
        if scaled:
            raise ValueError(
                f"opd_loss={self.name!r} needs the logits of the LM head, but {config.model_type} scales them "
                f"({scaled[0]}={getattr(config, scaled[0])}). Set opd_loss='sampled'."
            )

    def __call__(self, learner: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """
        Divergence at each position.

        Args:
            learner (`torch.Tensor`): Last hidden states, `(N, H)`; the gradient flows to them.
            teacher (`torch.Tensor`): Likewise, without a gradient, `(N, H)`.

        Returns:
            `torch.Tensor`: Nats, float32, shape `(N,)`.
        """
        head = self.model.get_output_embeddings()
        weight, bias = _whole(head.weight), None if head.bias is None else _whole(head.bias)
        cap = getattr(self.model.config.get_text_config(), "final_logit_softcapping", None)
        teacher = teacher.to(learner.dtype)
        if self.name in INTERPOLATION:
            settings = (INTERPOLATION[self.name], self.temperature, 1.0, cap, 1.0, cap)
            divergence, _ = ChunkedDivergenceFunction.apply(learner, weight, bias, teacher, weight, bias, *settings)
            return divergence

        def chunk(hidden: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
            with torch.autocast(hidden.device.type, enabled=False):  # it would round the logits that choose the k
                logits = [
                    nn.functional.linear(states.to(weight.dtype), weight, bias).float() for states in (hidden, taught)
                ]
            if cap is not None:
                logits = [cap * torch.tanh(part / cap) for part in logits]
            return topk_reverse_kl(logits[0] / self.temperature, logits[1] / self.temperature, self.top_k)

        size = max(1, TOPK_LOGITS // weight.size(0))
        parts = zip(learner.split(size), teacher.split(size), strict=True)
        return torch.cat([checkpoint(chunk, *part, use_reentrant=False) for part in parts])


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor  # FSDP2 shards the head


@contextmanager
def last_hidden_states(model: PreTrainedModel) -> Iterator[list[torch.Tensor]]:
    """Collect what the model's backbone gives to its LM head, `(B, L, H)` per forward that is not `aside`."""
    states: list[torch.Tensor] = []

    def collect(module: nn.Module, inputs: tuple, output: tuple) -> None:
        if not _ASIDE.get():
            states.append(output[0])

    # the decoder: OPT for one calls it past its backbone
    hook = model.get_decoder().register_forward_hook(collect)
    try:
        yield states
    finally:
        hook.remove()


@contextmanager
def aside() -> Iterator[None]:
    """Run forwards, of prompts alone or for a comparison, whose states `last_hidden_states` leaves out."""
    token = _ASIDE.set(True)
    try:
        yield
    finally:
        _ASIDE.reset(token)
