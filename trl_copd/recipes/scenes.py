"""
Scenes of coloured shapes, drawn or described: counting is the skill that both modalities share.

`picture` shows a scene and `words` describes one, and both ask "how many of each?". What is to be counted is not
said: in pictures the colours, in descriptions the shapes, and the rewards alone tell. As in `domains.py`, a problem
belongs to one split for good, by a hash of the scene's description.
"""

import random
from typing import Any

from datasets import Dataset, Features, Image, Value
from PIL import Image as PIL
from PIL import ImageDraw

from .domains import split_of


COLOURS = {"red": (214, 39, 40), "green": (44, 160, 44), "blue": (31, 119, 180)}
SHAPES = ("circle", "square", "triangle")
CELLS = 3  # per side of a picture
CELL = 8  # pixels
PAPER = (247, 245, 240)
QUESTION = "how many of each?"
NAMES = {"name the colours": tuple(COLOURS), "name the shapes": SHAPES}

SCENES = ("picture", "words")  # the domains
ASKED = 0.4  # share of answers of the warm start that count what the domain asks for

Scene = list[tuple[int, str, str]]  # cell in reading order, colour, shape


def draw_scene(rng: random.Random) -> Scene:
    """Two to four shapes in cells of their own, in reading order."""
    cells = sorted(rng.sample(range(CELLS * CELLS), rng.randint(2, 4)))
    return [(cell, rng.choice(list(COLOURS)), rng.choice(SHAPES)) for cell in cells]


def paint(scene: Scene) -> PIL.Image:
    """The scene as an RGB picture of 24 by 24 pixels."""
    picture = PIL.new("RGB", (CELLS * CELL, CELLS * CELL), PAPER)
    pen = ImageDraw.Draw(picture)
    for cell, colour, shape in scene:
        y, x = divmod(cell, CELLS)
        left, top, right, bottom = x * CELL + 1, y * CELL + 1, x * CELL + CELL - 2, y * CELL + CELL - 2
        if shape == "circle":
            pen.ellipse((left, top, right, bottom), fill=COLOURS[colour])
        elif shape == "square":
            pen.rectangle((left, top, right, bottom), fill=COLOURS[colour])
        else:
            pen.polygon([(left, bottom), (right, bottom), ((left + right) / 2, top)], fill=COLOURS[colour])
    return picture


def describe(scene: Scene) -> str:
    """The scene in words: `red circle, blue square`."""
    return ", ".join(f"{colour} {shape}" for _, colour, shape in scene)


def count(scene: Scene, kinds: tuple[str, ...]) -> str:
    """How often each colour or shape occurs: `3 0 1`."""
    return " ".join(str(sum(kind in shape for shape in scene)) for kind in kinds)


def draw_row(task: str, split: str, rng: random.Random) -> dict[str, Any]:
    """
    A row of a split: `prompt` (one user message), `image` (`None` without), `solution`, and the `key` it is known by.

    In the split `warm_start` most answers count what the domain does not ask for, and a third task, `name`, lists what
    is in a picture.
    """
    while True:
        scene = draw_scene(rng)
        if split_of(describe(scene)) == split:
            break
    if task == "name":
        question, names = rng.choice(list(NAMES.items()))
        answer = " ".join(word for _, *both in scene for word in both if word in names)
    else:
        own, other = (COLOURS, SHAPES) if task == "picture" else (SHAPES, COLOURS)
        asked = split != "warm_start" or rng.random() < ASKED
        question, answer = QUESTION, count(scene, tuple(own if asked else other))
    text = f"{describe(scene)}: {question}" if task == "words" else question
    image = None if task == "words" else paint(scene)
    return {
        "prompt": [{"role": "user", "content": text}],
        "image": image,
        "solution": answer,
        "key": text if task == "words" else str(scene),
    }


def scene_domain(task: str, n_train: int, n_eval: int, seed: int) -> tuple[Dataset, Dataset]:
    """
    Rows to train on and to evaluate on; no problem occurs twice.

    Args:
        task (`str`): `"picture"` or `"words"`.
        n_train (`int`): Training rows.
        n_eval (`int`): Evaluation rows.
        seed (`int`): Seed of the draws; the splits stay apart across seeds too.

    Returns:
        Two datasets with columns `prompt` (one user message), `solution` and, for pictures, `image`.

    Raises:
        ValueError: There is no such task.
    """
    if task not in SCENES:
        raise ValueError(f"There is no domain of scenes {task!r}. Choose 'picture' or 'words'.")
    return _split(task, "train", n_train, seed), _split(task, "eval", n_eval, seed)


def _split(task: str, split: str, count: int, seed: int) -> Dataset:
    rng = random.Random(f"{seed}/{task}/{split}")
    rows: dict[str, dict[str, Any]] = {}
    while len(rows) < count:  # of 7,371 descriptions and many more pictures
        row = draw_row(task, split, rng)
        rows.setdefault(row.pop("key"), row)
    features = Features({"prompt": [{"role": Value("string"), "content": Value("string")}], "image": Image(),
                         "solution": Value("string")})  # fmt: skip
    dataset = Dataset.from_list(list(rows.values()), features=features)
    return dataset.remove_columns("image") if task == "words" else dataset
