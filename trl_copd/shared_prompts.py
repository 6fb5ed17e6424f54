"""
Rows that sample from one prompt run it once when TRL takes their log-probabilities, forward and backward.

Shapes: B rows, P prompt tokens, T completion tokens, L = P + T, U unlike prompts.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import torch
from accelerate.logging import get_logger
from peft import PeftModel
from torch import nn
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.modeling_layers import GradientCheckpointingLayer

from . import sharding
from .adapters import RowGroups
from .divergence import aside
from .pixels import PER_TOKEN
from .shared_images import PIXELS, RowImages, has_pixels, image_token, positions_of


logger = get_logger(__name__)

# exactly these: hybrid layers have states besides keys and values, which a row's completion would go on from
REPEATABLE = (DynamicLayer, DynamicSlidingWindowLayer)
TEXT = {"input_ids", "attention_mask", "labels", "fused_lm_head"}  # what TRL gives for rows of text
INPUTS = {*TEXT, *PIXELS, *PER_TOKEN}
# largest mean difference of log-probabilities, nats, that rounding explains; without its prompt a model is far off
ROUNDING = {torch.float32: 0.01, torch.float64: 0.01}
ROUNDING_HALF = 0.1


class SharedPrompts:
    """
    Lets rows with one prompt share its forward and its backward.

    For the length of `active`, a forward with TRL's fused LM head becomes two: each unlike prompt without its last
    token, with its images, once; then the rest of each row, beside the keys and values of its prompt, through which
    the gradient flows back. Dropout, unknown inputs and what `obstacle` names leave the forward as it is, and the log
    says why. The first batch of text, and the first with images, is run either way; where the results differ, the
    model goes on without sharing.

    Args:
        model ([`~peft.PeftModel`]): A causal language model with TRL's fused LM head.
    """

    def __init__(self, model: PeftModel):
        self.model, self.causal_lm = model, cast(PreTrainedModel, model.get_base_model())
        self.trusted: dict[bool, bool] = {}  # whether the first batch came out right; `True`: that with images
        self._told: set[str] = set()

    @contextmanager
    def active(self, groups: RowGroups | None = None) -> Iterator[None]:
        """
        Share prompts in the forwards of the context.

        Args:
            groups ([`RowGroups`], *optional*): Those of `grouped`: rows of different adapters are never alike.
        """
        causal_lm, layers = self.causal_lm, self._checkpointed_layers()
        own, forward = vars(causal_lm).get("forward"), causal_lm.forward

        @functools.wraps(forward)
        def shared_forward(*args: Any, **inputs: Any) -> Any:
            if args or not inputs.get("fused_lm_head"):
                return forward(*args, **inputs)
            return self._forward(forward, inputs, groups)

        causal_lm.forward = shared_forward
        for layer in layers:
            layer._can_checkpoint_with_cache = True  # ours are not written to when a layer runs again
        try:
            yield
        finally:
            for layer in layers:
                del layer._can_checkpoint_with_cache
            del causal_lm.forward
            if own is not None:  # TRL's fused LM head is one
                causal_lm.forward = own

    def _forward(self, forward: Callable, inputs: dict[str, Any], groups: RowGroups | None) -> Any:
        start = completion_start(inputs["labels"])
        if start < 2:  # no prompt, or one of which nothing is left without its last token
            return forward(**inputs)
        obstacle = self.obstacle(inputs)
        if obstacle is not None:
            self._tell(obstacle)
            return forward(**inputs)
        length, sees = start - 1, has_pixels(inputs)
        images = RowImages.found(inputs, length, image_token(self.causal_lm.config)) if sees else None
        if sees and images is None:
            self._tell("it cannot be told which image belongs to which row")
            return forward(**inputs)
        marks = images.marks() if images is not None else None
        first, source, rows = like_prompts(inputs["input_ids"], inputs["attention_mask"], length, groups, marks)
        if sum(rows) == len(source):
            return forward(**inputs)
        positions = positions_of(self.causal_lm.base_model, inputs)
        with groups.resized(rows) if groups is not None else nullcontext():
            cache = self._run(inputs, first, length, images, positions)
        output = self._complete(forward, inputs, length, RepeatedPrompts(cache, source), positions)
        if sees not in self.trusted:
            self._check(forward, inputs, output)
            if not self.trusted[sees]:
                return forward(**inputs)
        return output

    def _run(
        self,
        inputs: dict[str, Any],
        rows: torch.Tensor,
        length: int,
        images: RowImages | None,
        positions: torch.Tensor | None,
    ) -> "Prompts":
        """Keys and values of the prompts of some rows, their first `length` tokens."""
        cache = Prompts(config=self.causal_lm.config)
        names = ("input_ids", "attention_mask", *PER_TOKEN)
        given = {name: inputs[name][rows, :length] for name in names if inputs.get(name) is not None}
        if images is not None:
            given |= images.of(rows.tolist())
        if positions is not None:
            given["position_ids"] = positions[:, rows, :length]
        with aside():  # it is the completions' states that `last_hidden_states` is asked for
            self.causal_lm.base_model(**given, past_key_values=cache, use_cache=False)
        return cache

    def _complete(
        self,
        forward: Callable,
        inputs: dict[str, Any],
        start: int,
        cache: "RepeatedPrompts",
        positions: torch.Tensor | None,
    ) -> Any:
        """The output of the plain forward, from the last token of the prompt on; zeros before it, as TRL has there."""
        rest = {key: value for key, value in inputs.items() if key in TEXT}
        rest |= {key: inputs[key][:, start:] for key in ("input_ids", "labels")}
        if positions is not None:
            rest["position_ids"] = positions[:, :, start:]
        output = forward(**rest, past_key_values=cache)
        for name, value in output.items():
            if torch.is_tensor(value) and value.dim() == 2:
                output[name] = nn.functional.pad(value, (start, 0))  # (B, L - 1)
        return output

    @torch.no_grad()
    def _check(self, forward: Callable, inputs: dict[str, Any], output: Any) -> None:
        with aside():
            scored, plain = output.label_mask, forward(**inputs).log_probs
        difference = (output.log_probs - plain)[scored].abs().mean().item()
        sees = has_pixels(inputs)
        self.trusted[sees] = difference <= ROUNDING.get(self._dtype(inputs), ROUNDING_HALF)
        if not self.trusted[sees]:
            self._tell(f"{self._name} gives other log-probabilities then (by {difference:.2g} nats on average)")

    # ---- Where it cannot be done ------------------------------------------------------------------------------------

    def obstacle(self, inputs: dict[str, Any]) -> str | None:
        """Why rows of one prompt cannot share it in the forward at hand, or `None` if they can."""
        if self._impossible is not None:
            return self._impossible
        if self.trusted.get(has_pixels(inputs)) is False:
            return f"{self._name} gives other log-probabilities with sharing"
        others = sorted(key for key, value in inputs.items() if key not in INPUTS and value is not None)
        if others:
            return f"the model is given {others[0]}"
        if self.model.training and any(drops(module) for module in self.model.modules()):
            return "dropout treats like rows differently"
        if not torch.is_grad_enabled():
            return None
        if any(reentrant(layer) for layer in self._checkpointed_layers()):
            return "gradient checkpointing with use_reentrant=True loses their gradient"
        if sharding.sharded_modules(self.model):
            return "under FSDP2 all processes must run equally many forwards"
        return None

    @functools.cached_property
    def _impossible(self) -> str | None:
        """What in the model itself stands against it."""
        text = self.causal_lm.config.get_text_config(decoder=True)
        if "past_key_values" not in inspect.signature(self.causal_lm.base_model.forward).parameters:
            return f"{self._name} takes no cache of keys and values"
        if any(type(layer) not in REPEATABLE for layer in DynamicCache(config=self.causal_lm.config).layers):
            return f"the cache of {self._name} holds more than keys and values"
        if getattr(text, "num_kv_shared_layers", 0):
            return f"layers of {self._name} read each other's keys and values"
        if getattr(text, "output_router_logits", False):
            return "the load-balancing loss counts the tokens of every row's prompt"
        return None

    @property
    def _name(self) -> str:
        return self.causal_lm.config.model_type

    def _dtype(self, inputs: dict[str, Any]) -> torch.dtype:
        """What the model computes in."""
        device = inputs["input_ids"].device.type
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self.causal_lm.dtype

    def _checkpointed_layers(self) -> list[GradientCheckpointingLayer]:
        return [
            module
            for module in self.causal_lm.modules()
            if isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing
        ]

    def _tell(self, reason: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            logger.warning(f"Rows of one prompt do not share it in update and scoring: {reason}.")


class Prompts(DynamicCache):
    """Keys and values of prompts. A checkpointed layer runs again in the backward, and must find them as they were."""

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        if self.layers[layer_idx].is_initialized:
            return key_states, value_states
        return super().update(key_states, value_states, layer_idx, *args, **kwargs)


class RepeatedPrompts(DynamicCache):
    """
    The prompt of each row before it, of one row for many: nothing is kept of the rows themselves.

    Args:
        prompts ([`Prompts`]): U prompts.
        source (`torch.Tensor`): The prompt of each row, `(B,)`.
    """

    def __init__(self, prompts: Prompts, source: torch.Tensor):
        super().__init__()
        self.layers, self.source = prompts.layers, source

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        prompt = self.layers[layer_idx]
        pairs = ((prompt.keys, key_states), (prompt.values, value_states))
        return tuple(torch.cat([before[self.source], own], dim=-2) for before, own in pairs)


def completion_start(labels: torch.Tensor) -> int:
    """P: the first position with a label in any row; 0 if there is none."""
    labelled = (labels != -100).any(0)
    return int(labelled.int().argmax()) if labelled.any() else 0


def like_prompts(
    ids: torch.Tensor,
    mask: torch.Tensor,
    length: int,
    groups: RowGroups | None,
    marks: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """
    The unlike prompts of a batch, wherever in it their rows stand.

    Args:
        ids, mask (`torch.Tensor`): Of the rows, `(B, L)`.
        length (`int`): Tokens that count as prompt.
        groups ([`RowGroups`], *optional*): Rows of different groups are unlike.
        marks (`torch.Tensor`, *optional*): Rows of different marks are unlike, `(B,)`.

    Returns:
        A row of each prompt `(U,)`, the prompt of each row `(B,)`, and the number of prompts by group.
    """
    rows = groups.rows if groups is not None else [len(ids)]
    group = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor(rows)).to(ids)  # (B,)
    further = [] if marks is None else [marks.to(ids).unsqueeze(1)]
    keys = torch.cat([group.unsqueeze(1), *further, ids[:, :length], mask[:, :length].to(ids.dtype)], dim=1)
    unlike, source = torch.unique(keys, dim=0, return_inverse=True)  # in the order of the groups
    counts = torch.bincount(unlike[:, 0], minlength=len(rows)).tolist()
    first = torch.empty(len(unlike), dtype=torch.long, device=ids.device)
    first[source] = torch.arange(len(ids), device=ids.device)  # whichever: they are alike
    return first, source, counts


def drops(module: nn.Module) -> bool:
    """Whether like rows differ after the module now: a dropout layer or attention that drops, NEFTune's noise."""
    if module.training and getattr(module, "neftune_noise_alpha", None):
        return True
    share = getattr(module, "p" if "Dropout" in type(module).__name__ else "attention_dropout", 0.0)
    return module.training and isinstance(share, float) and share > 0


def reentrant(layer: GradientCheckpointingLayer) -> bool:
    return getattr(layer._gradient_checkpointing_func, "keywords", {}).get("use_reentrant", True)
