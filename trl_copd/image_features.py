"""
The vision tower runs once for each image of a round, not once per rollout, branch, and forward.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast

import torch
from accelerate.logging import get_logger
from peft import PeftModel
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from . import sharding
from .adapters import adapts_language_alone, is_multimodal
from .shared_prompts import ROUNDING, ROUNDING_HALF, drops


logger = get_logger(__name__)

FIELDS = ("pooler_output", "deepstack_features")  # what language models read of the tower's output


class ImageFeatures:
    """
    Keeps what the vision tower has made of the latest images.

    Adapters sit on the language model alone, so an image has the same features under all of them. Each image runs
    alone: its features then do not depend on other images, and a resumed run has the same ones to the bit. The plain
    call stays where this does not hold or is not known to hold: adapters on the tower, dropout in it, FSDP2, inputs
    besides pixels and their grid. The first batch runs either way; if the results differ, the plain call stays.

    Args:
        model ([`~peft.PeftModel`]): A vision-language model with adapters.
        most (`int`): Images whose features are kept, >= 1.
    """

    def __init__(self, model: PeftModel, most: int):
        base = cast(PreTrainedModel, model.get_base_model())
        inner: Any = getattr(base, "model", None)
        # the module whose forward asks for them: `Qwen2_5_VLModel`, not `Qwen2_5_VLForConditionalGeneration`
        self.owner: Any = inner if hasattr(inner, "get_image_features") else base
        self.model, self.most = model, most
        self.trusted: bool | None = None  # whether the first batch came out right; `None` before it
        self.runs = 0  # images that the tower has run for
        self._kept: OrderedDict[tuple, list[tuple[torch.Tensor, ModelOutput]]] = OrderedDict()
        if self._possible():
            self._plain: Callable[..., Any] = cast(Any, self.owner).get_image_features
            self.owner.get_image_features = self._features

    def _possible(self) -> bool:
        """Whether the base has such features, and they are the same under all adapters."""
        sees = is_multimodal(cast(PreTrainedModel, self.model.get_base_model()).config)
        return sees and hasattr(self.owner, "get_image_features") and adapts_language_alone(self.model)

    def _features(self, pixel_values: Any, image_grid_thw: torch.Tensor | None = None, **others: Any) -> Any:
        given = {"pixel_values": pixel_values}
        if image_grid_thw is not None:
            given["image_grid_thw"] = image_grid_thw
        if self.trusted is False or not self._known(pixel_values, image_grid_thw, others):
            return self._plain(**given, **others)
        sizes = [1] * len(pixel_values) if image_grid_thw is None else image_grid_thw.prod(-1).tolist()
        images = pixel_values.split(sizes)
        grids: Any = [None] * len(images) if image_grid_thw is None else image_grid_thw.split(1)
        found = [self._of(*one, others) for one in zip(self._keys(images), images, grids, strict=True)]
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)
        features = type(found[0])(**{name: joined([one[name] for one in found]) for name in found[0]})
        if self.trusted is None:
            plain = self._plain(**given, **others)
            self.trusted = _alike(features, plain)
            if not self.trusted:
                logger.warning("The vision tower runs for every row: its output differs when each image runs alone.")
                return plain
        return features

    def _known(self, pixel_values: Any, grid: torch.Tensor | None, others: dict[str, Any]) -> bool:
        """Whether nothing of a call is unknown."""
        tower = self.owner.get_encoder(modality="image")
        return (
            torch.is_tensor(pixel_values)
            and len(pixel_values) > 0
            and (grid is not None or pixel_values.dim() == 4)
            and not any(torch.is_tensor(value) for value in others.values())
            and others.get("return_dict") is not False
            and tower is not self.owner
            and not any(drops(module) for module in tower.modules())
            and not sharding.sharded_modules(self.model)
        )

    def _keys(self, images: tuple[torch.Tensor, ...]) -> list[tuple]:
        """What tells images apart at a glance; those with one key are compared. It waits for the device once."""
        device, first = images[0].device.type, next(self.owner.get_encoder(modality="image").parameters())
        autocast = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device)
        precision = (first.dtype, first.device, autocast)
        sums = torch.stack([image.sum(dtype=torch.float64) for image in images]).tolist()
        return [(*image.shape, total, *precision) for image, total in zip(images, sums, strict=True)]

    @torch.no_grad()
    def _of(self, key: tuple, image: torch.Tensor, grid: torch.Tensor | None, others: dict[str, Any]) -> ModelOutput:
        alike = self._kept.setdefault(key, [])
        self._kept.move_to_end(key)
        for pixels, features in alike:
            if torch.equal(pixels, image):
                return features
        output = self._plain(pixel_values=image, **({} if grid is None else {"image_grid_thw": grid}), **others)
        self.runs += 1
        features = type(output)(**{name: output[name] for name in FIELDS if output.get(name) is not None})
        alike.append((image.clone(), features))
        return features


def _alike(features: Any, plain: Any) -> bool:
    """Whether features differ by no more than rounding explains."""
    pairs = list(zip(_tensors(features.pooler_output), _tensors(plain.pooler_output), strict=False))
    return len(_tensors(plain.pooler_output)) == len(pairs) and all(
        one.shape == other.shape
        and (one - other).abs().mean().item()
        <= ROUNDING.get(one.dtype, ROUNDING_HALF) * max(1.0, other.abs().mean().item())
        for one, other in pairs
    )


def _tensors(features: Any) -> list[torch.Tensor]:
    return [features] if torch.is_tensor(features) else list(features)


def joined(parts: list[Any]) -> Any:
    """Features of several images as of one call: tensors with a row per image, tuples of images, lists of either."""
    if torch.is_tensor(parts[0]):
        return torch.cat(parts)
    if isinstance(parts[0], list):
        return [joined(list(layers)) for layers in zip(*parts, strict=True)]
    return tuple(image for part in parts for image in part)
