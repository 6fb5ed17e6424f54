"""Batches of native and of cross rows, put into one; micro-batches with the rows of a prompt in one of them."""

import torch
from trl.trainer.utils import pad

from .. import pixels


def concat_batches(batches: list[dict[str, torch.Tensor]], pad_token_id: int) -> dict[str, torch.Tensor]:
    """
    Put TRL's batches of native and of cross rows into one.

    Args:
        batches (`list[dict]`): Outputs of `_generate_and_score_completions`: prompts `(B, P)` padded on the left,
            completions `(B, T)` on the right, advantages `(B,)` or `(B, T)`.
        pad_token_id (`int`): Padding of token ids.

    Returns:
        `dict`: The rows of all batches in order, advantages of shape `(B, T)`; token counts are added up.
    """
    if len(batches) == 1:
        return batches[0]
    merged = {}
    if any("tool_mask" in batch for batch in batches):
        batches = [{"tool_mask": torch.ones_like(batch["completion_mask"]), **batch} for batch in batches]
    for key in batches[-1]:
        if key in pixels.FIELDS:
            continue
        if key == "num_items_in_batch":
            merged[key] = sum(batch[key] for batch in batches)
            continue
        if isinstance(batches[-1][key], list):  # an entry per row
            merged[key] = [row for batch in batches for row in batch.get(key, [None] * len(batch["prompt_ids"]))]
            continue
        tensors = [batch[key] if key in batch else _untaught(batch, batches[-1][key]) for batch in batches]
        if key == "advantages":  # a sequence's advantage holds for each of its tokens
            tensors = [
                tensor.unsqueeze(1) * sampled_tokens(batch) if tensor.dim() == 1 else tensor
                for tensor, batch in zip(tensors, batches, strict=True)
            ]
        value = pad_token_id if key in ("prompt_ids", "completion_ids") else int(key == "tool_mask")
        side = "left" if key.startswith("prompt") else "right"
        merged[key] = pad([row for tensor in tensors for row in tensor], padding_value=value, padding_side=side)
    return merged | pixels.join(batches)


def sampled_tokens(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Which tokens the learner has sampled, `(B, T)`: neither padding nor what tools have said."""
    mask = batch["completion_mask"]
    return mask * batch["tool_mask"] if "tool_mask" in batch else mask


def _untaught(batch: dict[str, torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    """What native rows have in place of a teacher's tensor `(B, T, ...)`: zeros, as long as their completions."""
    return like.new_zeros(*batch["completion_ids"].shape, *like.shape[2:])


def keep_prompts_together(batches: list[dict[str, torch.Tensor | None]]) -> list[dict[str, torch.Tensor | None]]:
    """
    Deal the rows of TRL's shuffled micro-batches out again, so that the rows of a prompt stand in as few as possible.

    Args:
        batches (`list[dict]`): Micro-batches of equally many rows; tensors without dimensions hold for all of them.

    Returns:
        `list[dict]`: As many, of as many rows; the prompts in the order in which they first appear.
    """
    rows = torch.cat([torch.cat([batch["prompt_ids"], batch["prompt_mask"]], dim=1) for batch in batches])  # (B, 2 P)
    unlike, prompt = torch.unique(rows, dim=0, return_inverse=True)
    places = torch.arange(len(rows), device=rows.device)
    first = places.new_full((len(unlike),), len(rows)).scatter_reduce(0, prompt, places, "amin")
    order = torch.argsort(first[prompt], stable=True).chunk(len(batches))
    dealt: list[dict[str, torch.Tensor | None]] = [{} for _ in batches]
    for key, value in batches[0].items():
        if isinstance(value, list):  # a value of each row, as teachers' states are
            rows_of = [row for batch in batches for row in batch[key]]
            for batch, part in zip(dealt, order, strict=True):
                batch[key] = [rows_of[place] for place in part.tolist()]
            continue
        whole = value if value is None or value.dim() == 0 else torch.cat([batch[key] for batch in batches])
        for batch, part in zip(dealt, order, strict=True):
            batch[key] = whole if whole is None or whole.dim() == 0 else whole[part]
    return dealt
