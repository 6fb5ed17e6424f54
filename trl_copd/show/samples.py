"""Held-out pictures with what the base answered and what the student answers, as one figure."""

import importlib.util
import textwrap
from pathlib import Path
from typing import Any

from accelerate.logging import get_logger

from ..pictures import pictures_of
from ..run.folder import SAMPLES_FIGURE
from ..topology import STUDENT


logger = get_logger(__name__)

RIGHT, WRONG, UNGRADED = "#1B7837", "#B2182B", "#555555"
WIDTH = 28  # characters of a line below a picture
LINES = 3  # of an answer
COLUMNS = 4


def draw_samples(answers: list[Any], folder: str | Path, base: str = "base") -> None:
    """
    Draw `SAMPLES_FIGURE` into the folder; a run is worth more than it.

    Args:
        answers (`list`): Answers to rows with pictures, as [`CapabilityMatrix`] keeps them; nothing is drawn without.
        folder (`str` or `Path`): The run's.
        base (`str`): Name of the adapter whose answers are shown before the student's.
    """
    if not answers or importlib.util.find_spec("matplotlib") is None:
        return
    try:
        _draw(answers, Path(folder) / SAMPLES_FIGURE, base)
    except Exception as error:
        logger.warning(f"{SAMPLES_FIGURE} was not drawn: {error!r}.")


def _draw(answers: list[Any], path: Path, base: str) -> None:
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(answers))
    rows = -(-len(answers) // columns)
    figure = Figure(figsize=(2.7 * columns, 3.5 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for ax in axes:
        ax.axis("off")
    for ax, answer in zip(axes, answers, strict=False):
        picture = pictures_of(answer.prompt)[0]
        small = max(picture.size) < 128  # each pixel is one to be seen
        ax.imshow(picture, interpolation="nearest" if small else "antialiased")
        ax.set_title(shorten(f"{answer.domain}: {_question(answer.prompt)}", 2), fontsize=8, loc="left")
        below = [("right", answer.solution, UNGRADED)] if answer.solution is not None else []
        for label, name in (("before", base), ("after", STUDENT)):
            below.append((label, answer.texts[name], _colour(answer.grades[name])))
        height = -0.03
        for label, text, colour in below:
            lines = shorten(f"{label}: {text}", LINES)
            ax.text(0, height, lines, transform=ax.transAxes, color=colour, fontsize=8, va="top", family="monospace")
            height -= 0.075 * (lines.count("\n") + 1)
    figure.savefig(path, dpi=110)


def shorten(text: str, lines: int) -> str:
    """The text in at most some lines; a dollar sign is one."""
    text = " ".join(str(text).split()).replace("$", r"\$")
    return "\n".join(textwrap.wrap(text, WIDTH, max_lines=lines, placeholder=" …")) or " "


def _question(prompt: list[dict[str, Any]]) -> str:
    texts = [part["text"] for message in prompt if message["role"] == "user" for part in message["content"]
             if isinstance(part, dict) and part["type"] == "text"]  # fmt: skip
    return " ".join(texts)


def _colour(grade: float) -> str:
    return UNGRADED if grade != grade else RIGHT if grade > 0 else WRONG
