"""
Images in forwards whose rows share prompts: whose they are, which rows see the same ones, and where tokens stand.

Shapes: B rows, L tokens. `pixel_values` has a row per image, or per patch beside a grid per image.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig


PIXELS = ("pixel_values", "image_grid_thw")


class RowImages:
    """
    The images of each row of a forward.

    Args:
        images (`list[torch.Tensor]`): Pixels, or features, of each image, in the order of the rows.
        grids (`torch.Tensor`, *optional*): Patches of each image: time, height, width.
        owned (`list[range]`): The images of each row.
    """

    def __init__(self, images: Sequence[torch.Tensor], grids: torch.Tensor | None, owned: Sequence[range]):
        self.images, self.grids, self.owned = images, grids, owned

    @classmethod
    def found(cls, inputs: dict[str, Any], length: int, token: int | None) -> "RowImages | None":
        """
        The images of a forward, `None` where it cannot be told whose they are.

        Args:
            inputs (`dict`): Of the forward.
            length (`int`): Tokens that count as prompt.
            token (`int`, *optional*): Stands in a prompt for each feature of an image, if one does.
        """
        pixels, grids = inputs["pixel_values"], inputs.get("image_grid_thw")
        if token is None or (grids is None and pixels.dim() != 4):
            return None
        sizes = [1] * len(pixels) if grids is None else grids.prod(-1).tolist()
        owned = shared_out(sizes, _places(inputs["input_ids"][:, :length], token))
        return None if owned is None else cls(pixels.split(sizes), grids, owned)

    @classmethod
    def seen(cls, features: Any, ids: torch.Tensor, token: int | None) -> "RowImages | None":
        """
        The same from what the vision tower made of the images.

        Args:
            features: Its output; `pooler_output` has the features of each image.
            ids (`torch.Tensor`): Of the prompts, `(B, P)`.
            token (`int`, *optional*): Stands in a prompt for each feature of an image, if one does.
        """
        pooled = getattr(features, "pooler_output", None)
        images = [] if pooled is None else list(pooled)
        layers = features.get("deepstack_features") or []  # of a list of images each; some models join them
        joined = any(torch.is_tensor(layer) or len(layer) != len(images) for layer in layers)
        if token is None or joined or not images or not all(map(torch.is_tensor, images)):
            return None
        owned = shared_out([len(image) for image in images], _places(ids, token))
        return None if owned is None else cls(images, None, owned)

    def marks(self) -> torch.Tensor:
        """Equal numbers for rows with the same images in the same order, `(B,)`."""
        kinds: dict[tuple[int, ...], int] = {}
        same = self._same()
        return torch.tensor([kinds.setdefault(tuple(same[i] for i in own), len(kinds)) for own in self.owned])

    def _same(self) -> list[int]:
        """For each image the first one that is equal. It waits for the device once, and for each comparison."""
        sums = torch.stack([image.sum(dtype=torch.float64) for image in self.images]).tolist()
        known: dict[tuple, list[int]] = {}
        first = []
        for index, (image, total) in enumerate(zip(self.images, sums, strict=True)):
            alike = known.setdefault((*image.shape, total), [])
            equal = next((other for other in alike if torch.equal(self.images[other], image)), index)
            if equal == index:
                alike.append(index)
            first.append(equal)
        return first

    def of_rows(self, rows: Sequence[int]) -> list[int]:
        """The images of these rows, in their order."""
        return [index for row in rows for index in self.owned[row]]

    def features(self, output: Any, rows: Sequence[int]) -> Any:
        """What the vision tower made of the images of these rows alone, of its output for all."""
        chosen, pooled = self.of_rows(rows), output.pooler_output
        found: dict[str, Any] = {
            "pooler_output": pooled[chosen] if torch.is_tensor(pooled) else tuple(pooled[i] for i in chosen)
        }
        if output.get("deepstack_features") is not None:
            found["deepstack_features"] = [tuple(layer[i] for i in chosen) for layer in output.deepstack_features]
        return type(output)(**found)

    def of(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """The inputs of these rows alone, without pixels if they have none."""
        chosen = self.of_rows(rows)
        if not chosen:
            return {}
        given = {"pixel_values": torch.cat([self.images[index] for index in chosen])}
        return given if self.grids is None else given | {"image_grid_thw": self.grids[chosen]}


def has_pixels(inputs: dict[str, Any]) -> bool:
    """Whether a forward is given images."""
    return inputs.get("pixel_values") is not None


def _places(ids: torch.Tensor, token: int) -> list[int]:
    return (ids == token).sum(1).tolist()


def image_token(config: PreTrainedConfig) -> int | None:
    """The token that stands in a prompt for each feature of an image, if the model has one."""
    return getattr(config, "image_token_id", None)


def shared_out(sizes: Sequence[int], places: Sequence[int]) -> list[range] | None:
    """
    Which images are whose, `None` if they cannot be shared out: `sizes` is proportional to the tokens of each, and
    `places` counts the tokens of each row.
    """
    whole, tokens = sum(sizes), sum(places)
    owned, start = [], 0
    for count in places:
        stop, room = start, count * whole
        while room > 0 and stop < len(sizes):
            room -= sizes[stop] * tokens
            stop += 1
        if room != 0:
            return None
        owned.append(range(start, stop))
        start = stop
    return owned if start == len(sizes) else None


def positions_of(model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor | None:
    """
    Positions `(3, B, L)` as the plain forward of a model has them that counts time, height and width of images; `None`
    for other models, which count on from the cache.

    Args:
        model (`torch.nn.Module`): With its language model inside.
        inputs (`dict`): Of the forward.
    """
    computed = getattr(model, "compute_3d_position_ids", None)
    if computed is None:
        return None
    ids, positions = inputs["input_ids"], None
    if has_pixels(inputs):
        fields = ("image_grid_thw", "attention_mask", "mm_token_type_ids")
        given = {name: inputs.get(name) for name in fields}
        others = dict.fromkeys(("video_grid_thw", "inputs_embeds", "past_key_values"))
        positions = computed(input_ids=ids, **given, **others)
    if positions is None:
        return torch.arange(ids.size(1), device=ids.device).expand(3, *ids.shape)
    return positions
