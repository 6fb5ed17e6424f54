"""Pictures in a dataset's rows: where they may stand, how they are opened, how they come into the messages."""

import sys
from collections.abc import Callable, Collection
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset, IterableDataset
from trl.data_utils import is_conversational, prepare_multimodal_messages


if TYPE_CHECKING:  # Pillow is there where pictures are: runs on text go without it
    from PIL import Image


COLUMNS = ("images", "image")  # TRL reads the first of them that is there
DEEP_MODES = ("I", "F")  # whole numbers or floats beyond 255, which RGB would clip; with "I;16" and its like


def prepared(row: dict[str, Any]) -> dict[str, Any]:
    """
    The row with its pictures opened and in its messages, where TRL looks for them; a row without any as it is.

    Raises:
        ValueError, TypeError, OSError: A picture cannot be opened or has no place; the message says why.
    """
    prompt, given = row["prompt"], _column_pictures(row)
    if not prompt or not is_conversational({"prompt": prompt}):
        if given:
            raise ValueError(
                "it has an image, but its prompt is a text. Give it messages, because the model's chat template "
                "places the image: [{'role': 'user', 'content': TEXT}]"
            )
        return row
    parts = any(isinstance(message.get("content"), list) for message in prompt)
    if not given and not parts:
        return row
    messages = [_opened(message) for message in prompt]
    if given:
        messages = prepare_multimodal_messages(messages, images=[open_picture(picture) for picture in given])
    elif any(part["type"] == "image" and "image" not in part for part in _parts(messages)):
        raise ValueError("its messages have a placeholder for an image, but it has none")
    return {**row, "prompt": messages}


def without_columns(row: dict[str, Any]) -> dict[str, Any]:
    """A prepared row without the columns from which TRL would put its pictures into the messages once more."""
    return {key: value for key, value in row.items() if key not in COLUMNS}


def pictures_of(prompt: Any) -> "list[Image.Image]":
    """The pictures of a prepared prompt, in their order."""
    if not isinstance(prompt, list):  # a text, or none at all
        return []
    return [part["image"] for part in _parts(prompt) if part["type"] == "image"]


def open_picture(value: Any) -> "Image.Image":
    """
    A picture, read to its end and in RGB.

    Args:
        value: A `PIL.Image`, a path, a file's bytes, or a dictionary with `bytes` or `path` as `datasets` keeps it.
    """
    if isinstance(value, dict) and (value.get("bytes") or value.get("path")):
        value = value.get("bytes") or value["path"]
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        raise ValueError(f"its image is an address ({value:.80}). Download it before training and give the path")
    if isinstance(value, (str, Path)):
        if not Path(value).is_file():
            raise FileNotFoundError(f"its image {str(value)!r} is not a file")
        value = _read(Path(value).read_bytes())
    elif isinstance(value, (bytes, bytearray)):
        value = _read(bytes(value))
    if not is_picture(value):
        raise TypeError(f"an image must be a PIL image, a path or a file's bytes, not {type(value).__name__}")
    if value.mode in DEEP_MODES or ";" in value.mode:
        raise ValueError(
            f"its image has the mode {value.mode!r}, and RGB would clip its levels. Scale it to 8 bits and convert it "
            "to RGB"
        )
    try:
        return value if value.mode == "RGB" else value.convert("RGB")
    except OSError as error:  # PIL reads a file when its pixels are first asked for
        raise OSError(f"its image cannot be read: {error}") from error


def is_picture(value: Any) -> bool:
    """Whether the value is a `PIL.Image`."""
    return "PIL.Image" in sys.modules and isinstance(value, sys.modules["PIL.Image"].Image)


def check_pictures(dataset: Dataset | IterableDataset, expert: str, argument: str) -> bool:
    """
    Open every picture of map-style data, and those of the first row of streamed data.

    Returns:
        `bool`: Whether there is a picture.

    Raises:
        ValueError: Names the expert and the row that cannot be used.
    """
    if not isinstance(dataset, Dataset):
        return _check_row(lambda: next(iter(dataset)), expert, f"the first row of `{argument}`")
    if not may_hold_pictures(dataset):
        return False
    rows = narrowed(dataset, ("prompt", *COLUMNS))
    seen = [_check_row(partial(rows.__getitem__, i), expert, f"row {i} of `{argument}`") for i in range(len(rows))]
    return any(seen)


def _check_row(read: Callable[[], Any], expert: str, place: str) -> bool:
    try:
        return bool(pictures_of(prepared(read())["prompt"]))
    except Exception as error:  # of many kinds: PIL's, the file system's, those of `datasets`
        raise ValueError(f"Expert {expert!r}, {place}: {error}. Fix the row, or leave it out.") from error


def may_hold_pictures(dataset: Dataset) -> bool:
    """Whether there may be pictures: a column for them, messages whose content is more than a text, or a transform."""
    if transformed(dataset) or any(name in dataset.column_names for name in COLUMNS):
        return True
    message = getattr(dataset.features["prompt"], "feature", None)  # of a list of messages
    content = message.get("content") if isinstance(message, dict) else message
    return content is not None and getattr(content, "dtype", None) != "string"


def transformed(dataset: Dataset) -> bool:
    """Whether a function makes its rows (`with_transform`): the columns of its table then tell nothing about them."""
    return dataset.format["type"] == "custom"


def narrowed(dataset: Dataset, columns: Collection[str]) -> Dataset:
    """The dataset with no other columns, so that these alone are read; a transform may need all of them."""
    if transformed(dataset):
        return dataset
    return dataset.select_columns([name for name in columns if name in dataset.column_names])


def _column_pictures(row: dict[str, Any]) -> list[Any]:
    if row.get("images") is not None:
        return list(row["images"])
    return [] if row.get("image") is None else [row["image"]]


def _opened(message: dict[str, Any]) -> dict[str, Any]:
    """A message with its pictures opened, without the keys that `datasets` fills with `None`."""
    if not isinstance(message.get("content"), list):
        return message
    parts = [{key: value for key, value in part.items() if value is not None} for part in message["content"]]
    for part in parts:
        if part.get("type") == "video":
            raise ValueError("it has a video, which TRL's GRPO does not support. Give some of its frames as images")
        if part.get("type") == "image" and ("image" in part or "path" in part):
            part["image"] = open_picture(part.pop("path", None) or part["image"])
    return {**message, "content": parts}


def _parts(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    contents = [message.get("content") for message in messages]
    return [part for content in contents if isinstance(content, list) for part in content]


def _read(data: bytes) -> "Image.Image":
    from PIL import Image, ImageOps

    try:
        picture = Image.open(BytesIO(data))
        picture.load()
    except Exception as error:  # of many kinds, for what is truncated or no picture
        raise OSError(f"its image cannot be read: {error}") from error
    return ImageOps.exif_transpose(picture)  # as `datasets` and transformers turn a photograph
