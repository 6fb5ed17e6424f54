"""transformers' `generate` as the engine: it samples from the very weights that are trained."""

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import groupby
from typing import Any

import torch
from peft import PeftModel
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from ..adapters import RowGroups, grouped, only
from ..forwards import Forwards, run_lengths
from ..pixels import PER_TOKEN
from ..sharding import gathered
from ..shared_images import RowImages, image_token
from ..shared_prompts import drops
from .cache import make_room


# Inputs of a forward that have the rows in front, and such as say nothing about a row. With others it is not shared.
ROW_INPUTS = ("input_ids", "inputs_embeds", "attention_mask", "position_ids", *PER_TOKEN)
FEATURES = "mm_encoder_outputs"  # of all images, before the first forward of `generate`
SHARED_INPUTS = ("past_key_values", "use_cache", "return_dict", "logits_to_keep", "cache_position")

# (prompt ids, greedy) to the completions of the adapters that are active
GenerateRows = Callable[[list[list[int]], bool], list[list[int]]]


class TransformersEngine:
    """
    Samples the rows of all adapters in one transformers `generate`.

    Adapters that cannot be stacked (see [`adapters.stacking_obstacle`]) are sampled one after the other.

    Args:
        forwards ([`Forwards`]): Holds the model, and knows which adapters can be stacked.
        generate_rows (`Callable`): Samples a completion per prompt from what is active in the model.
        chunk_rows (`int`, *optional*): Most rows in one `generate`; bounds the KV cache.
        stacks (`bool`): Whether adapters may share a `generate`. `use_transformers_continuous_batching` packs rows so
            that those of an adapter have no place of their own in the batch.
        share_prefill (`bool`): Whether the rows of a prompt share its prefill.
    """

    mixes_ranks = False

    def __init__(
        self,
        forwards: Forwards,
        generate_rows: GenerateRows,
        chunk_rows: int | None = None,
        stacks: bool = True,
        share_prefill: bool = True,
    ):
        self.forwards, self.generate_rows, self.chunk_rows = forwards, generate_rows, chunk_rows
        self.stacks, self.share_prefill = stacks, share_prefill

    def sync(self, adapters: Sequence[str]) -> None:
        """Nothing to do: the engine samples from the weights that are trained."""

    def generate(
        self, prompt_ids: list[list[int]], adapters: Sequence[str], greedy: bool = False
    ) -> tuple[list[list[int]], None]:
        """Sample one completion per row. See [`Engine`]."""
        completions: list[list[int]] = [[] for _ in prompt_ids]
        # gathered even for no rows: every process takes part
        with gathered(self.forwards.model):
            for chunk in interleaved_chunks(prompt_ids, adapters, self.chunk_rows):
                sampled = self._generate_chunk([prompt_ids[i] for i in chunk], [adapters[i] for i in chunk], greedy)
                for index, completion in zip(chunk, sampled, strict=True):
                    completions[index] = completion
        return completions, None

    def _generate_chunk(self, prompt_ids: list[list[int]], adapters: Sequence[str], greedy: bool) -> list[list[int]]:
        names, counts = run_lengths(adapters)
        model = self.forwards.model
        if self.stacks and self.forwards.can_stack(names):
            with grouped(model, names, counts) as groups:
                with shared_prefill(model, groups) if self.share_prefill else nullcontext():
                    return self.generate_rows(prompt_ids, greedy)
        completions, start = [], 0
        for name, count in zip(names, counts, strict=True):
            with only(model, name):
                completions += self.generate_rows(prompt_ids[start : start + count], greedy)
            start += count
        return completions


def interleaved_chunks(
    prompt_ids: Sequence[Sequence[int]], adapters: Sequence[str], most: int | None
) -> list[list[int]]:
    """
    Share rows out over as few chunks as can be, an even part of every adapter in each.

    A product of stacked adapters is padded to the adapter with the most rows: 152 rows cut off the front as 128 of one
    adapter and 24 of another would cost as much as 256.

    Args:
        prompt_ids (`Sequence`): Prompts of N rows; like ones that follow each other stay together where they can.
        adapters (`Sequence[str]`): Adapter of each row; rows of one adapter are consecutive.
        most (`int`, *optional*): Rows of a chunk, at most; all of them by default.

    Returns:
        `list[list[int]]`: Indices of the rows of each chunk, rising.
    """
    rows = range(len(prompt_ids))
    if most is None or len(rows) <= most:
        return [list(rows)] if rows else []
    placed: list[tuple[float, int]] = []  # how far along its adapter's rows a row's prompt begins, in [0, 1)
    for _, own in groupby(rows, key=lambda row: adapters[row]):
        members = list(own)
        for _, like in groupby(members, key=lambda row: prompt_ids[row]):
            same = list(like)
            placed += [((same[0] - members[0]) / len(members), row) for row in same]
    order = [row for _, row in sorted(placed)]
    size = math.ceil(len(order) / math.ceil(len(order) / most))  # even chunks: the last is no remainder
    return [sorted(order[start : start + size]) for start in range(0, len(order), size)]


@contextmanager
def shared_prefill(model: PeftModel, groups: RowGroups) -> Iterator[None]:
    """
    Let `generate` run each prompt once, and copy its keys and values to the rows that sample from it.

    The `num_generations` rows of a prompt are consecutive and alike until the first sampled token, so all but one of
    them need no prefill. Left as it is under dropout, which treats like rows differently, and wherever anything is not
    known to be right: other inputs than `ROW_INPUTS`, `SHARED_INPUTS` and features of images, more or fewer rows than
    were given (beams), caches other than `DynamicCache` itself or with layers that cannot copy rows.

    Args:
        model ([`~peft.PeftModel`]): A causal language model, inside `grouped`.
        groups ([`RowGroups`]): Its groups: rows of different adapters are never alike.
    """
    causal_lm = model.get_base_model()
    if any(drops(module) for module in model.modules()):
        yield
        return
    own, forward = vars(causal_lm).get("forward"), causal_lm.forward

    @functools.wraps(forward)  # `generate` reads its signature
    def shared_forward(*args: Any, **inputs: Any) -> Any:
        per_row = {key: _turned(key, inputs[key]) for key in ROW_INPUTS if inputs.get(key) is not None}
        rows = {len(value) for value in per_row.values()}
        if args or rows != {sum(groups.rows)} or not _can_share(inputs):  # beams have rows of their own
            return forward(*args, **inputs)
        seen = (inputs.get(FEATURES) or {}).get("image")
        images = None if seen is None else RowImages.seen(seen, inputs["input_ids"], image_token(causal_lm.config))
        if seen is not None and images is None:
            return forward(**inputs)
        cache = inputs["past_key_values"]
        marks = [] if images is None else [images.marks().unsqueeze(1)]
        first = _first_of_like([*per_row.values(), *marks], groups)  # (N,), on the CPU
        # moved once: as an index in its place the CPU's would be copied for each input and for each layer of the cache
        device = next(iter(per_row.values())).device
        unique, source = first.nonzero().squeeze(1).to(device), (first.cumsum(0) - 1).to(device)
        of_prompts = {key: _turned(key, value[unique]) for key, value in per_row.items()}
        if images is not None:
            of_prompts[FEATURES] = {"image": images.features(seen, unique.tolist())}
        with groups.resized([int(part.sum()) for part in first.split(groups.rows)]):
            output = forward(**inputs | of_prompts)
        cache.batch_select_indices(source)  # (N,): where each row's prompt has gone
        make_room(cache)
        output.logits = output.logits[source]
        return output

    causal_lm.forward = shared_forward
    try:
        yield
    finally:
        del causal_lm.forward  # the instance attribute: the class's own forward is back
        if own is not None:  # unless somebody, such as accelerate's hooks, had put one there
            causal_lm.forward = own


def _can_share(inputs: dict[str, Any]) -> bool:
    """Whether this is a prefill of which nothing is unknown, into a cache that can copy rows."""
    for name, value in inputs.items():
        if name in ROW_INPUTS:  # prepared masks are not (N, P)
            known = (2, 3) if name == "position_ids" else (3,) if name == "inputs_embeds" else (2,)
            if value is not None and not (torch.is_tensor(value) and value.dim() in known):
                return False
        elif name == FEATURES:
            if set(value or {}) - {"image"} or inputs.get("input_ids") is None:
                return False
        elif name not in SHARED_INPUTS and value is not None and value is not False:
            return False
    cache, copies = inputs.get("past_key_values"), (DynamicLayer, DynamicSlidingWindowLayer)
    return (
        type(cache) is DynamicCache  # subclasses and hybrid layers have states that stay as they are
        and not cache.offloading
        and all(type(layer) in copies for layer in cache.layers)
        and cache.get_seq_length() == 0
    )


def _turned(name: str, value: torch.Tensor) -> torch.Tensor:
    """An input with its rows in front, or as it was: positions of several kinds are `(kinds, N, P)`."""
    return value.transpose(0, 1) if name == "position_ids" and value.dim() == 3 else value


def _first_of_like(inputs: Iterable[torch.Tensor], groups: RowGroups) -> torch.Tensor:
    """Which rows differ from the row before them in any input, or are the first of their adapter: `(N,)`, bool."""
    flat = [value.flatten(1) for value in inputs]  # (N, ...)
    changed = torch.stack([(value[1:] != value[:-1]).any(1).cpu() for value in flat]).any(0)  # (N - 1,)
    first = torch.cat([changed.new_ones(1), changed])
    first[torch.tensor([0, *groups.rows[:-1]]).cumsum(0)] = True
    return first
