"""
What a processor makes of pictures, as inputs of a model: joined and cut by rows.

Shapes: B rows, P prompt tokens, T completion tokens. `pixel_values` has a row per picture or patch, not per prompt, so
that TRL's own helpers cut and join it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from trl.trainer.utils import pad, split_pixel_values_by_grid, unsplit_pixel_values_by_grid


PER_TOKEN = ("token_type_ids", "mm_token_type_ids")
COUNTS = ("num_images", "num_tiles")
PIXELS = (
    "pixel_values", "image_grid_thw", "pixel_attention_mask", "spatial_shapes", "image_sizes", "image_position_ids"
)  # fmt: skip
FIELDS = (*PIXELS, *COUNTS, *PER_TOKEN)


class PromptIds(list):
    """
    Token ids of a prompt, with what the processor made of it besides.

    Args:
        ids (`list[int]`): The token ids.
        fields (`dict`): Further inputs of the model for this prompt alone: tensors, or numbers per token.
    """

    def __init__(self, ids: list[int], fields: dict[str, Any]):
        super().__init__(ids)
        self.fields = fields

    @property
    def has_pixels(self) -> bool:
        return any(name not in PER_TOKEN for name in self.fields)


def multimodal_fields(prompts: Sequence[list[int]]) -> dict[str, Any]:
    """The further inputs of several prompts, as TRL's `_generate_single_turn` takes them; empty for texts alone."""
    fields: list[dict[str, Any]] = [getattr(prompt, "fields", {}) for prompt in prompts]
    joined: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in fields for name in row):
        if name in PER_TOKEN:
            joined[name] = [row.get(name, [0] * len(ids)) for row, ids in zip(fields, prompts, strict=True)]
        else:
            joined[name] = torch.cat([row[name] for row in fields if name in row])
    return joined


def model_inputs(prompts: Sequence[list[int]], length: int, device: torch.device) -> dict[str, torch.Tensor]:
    """The further inputs of a forward over prompts, padded on the left, each with a completion of `length` tokens."""
    inputs = {}
    for name, value in multimodal_fields(prompts).items():
        if name in PER_TOKEN:
            value = pad([torch.tensor(row) for row in value], padding_value=0, padding_side="left")  # (B, P)
            value = torch.cat([value, value.new_zeros(len(value), length)], dim=1)  # (B, P + T)
        inputs[name] = value.to(device)
    return inputs


def of_rows(batch: dict[str, Any], rows: slice) -> dict[str, Any]:
    """
    The further inputs of some rows of TRL's batch, for `_get_per_token_logps_and_entropies`.

    Rows without a picture have no pixels at all: a model fails on pixels of no row.
    """
    given = {name: batch[name] for name in FIELDS if batch.get(name) is not None}
    cut = {name: value[rows] for name, value in split_pixel_values_by_grid(given).items()}
    if "num_images" in cut and not any(cut["num_images"]):
        return {name: value for name, value in cut.items() if name in PER_TOKEN}
    return unsplit_pixel_values_by_grid(cut)


def join(batches: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The further inputs of the rows of several of TRL's batches, of which some or all may have none."""
    split = [split_pixel_values_by_grid({name: b[name] for name in FIELDS if name in b}) for b in batches]
    sizes = [len(batch["prompt_ids"]) for batch in batches]
    joined: dict[str, Any] = {}
    for name in FIELDS:
        known = next((part[name] for part in split if name in part), None)
        if known is None:
            continue
        if name in PER_TOKEN:
            joined[name] = _join_per_token(name, batches)
        elif name in COUNTS:
            joined[name] = [n for part, size in zip(split, sizes, strict=True) for n in part.get(name, [0] * size)]
        else:
            none = known[0].new_empty(0, *known[0].shape[1:])
            joined[name] = [x for part, size in zip(split, sizes, strict=True) for x in part.get(name, [none] * size)]
    return unsplit_pixel_values_by_grid(joined)


def _join_per_token(name: str, batches: Sequence[dict[str, Any]]) -> torch.Tensor:
    """Numbers per token of all rows, `(B, P + T)`: zeros in batches that have none, and on all completions."""
    prompts: list[torch.Tensor] = []
    for batch in batches:
        width = batch["prompt_ids"].size(1)
        prompts += batch[name][:, :width] if name in batch else torch.zeros_like(batch["prompt_ids"])
    padded = pad(prompts, padding_value=0, padding_side="left")  # (B, P)
    length = max(batch["completion_ids"].size(1) for batch in batches)
    return torch.cat([padded, padded.new_zeros(len(padded), length)], dim=1)
