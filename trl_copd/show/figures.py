"""Figures of a run, where they can be drawn."""

import importlib.util
from pathlib import Path

from accelerate.logging import get_logger

from ..report import draw_report


logger = get_logger(__name__)


def draw_figures(folder: str | Path, quiet: bool = False) -> None:
    """Draw what the folder holds; a run is worth more than its figures, which can be redrawn from what it left."""
    if importlib.util.find_spec("matplotlib") is None:
        logger.warning_once('No figures: matplotlib is missing. Run `pip install "trl-copd[plots]"`.')
        return
    try:
        draw_report(folder, quiet, formats=("png",))  # `trl-copd report` draws SVG and PDF as well
    except Exception as error:
        logger.warning(f"The figures were not drawn: {error!r}. Try `trl-copd report OUTPUT_DIR`.")
