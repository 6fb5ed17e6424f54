"""
Built-in recipes by name, and the builders behind their YAML files: bases, domains, rewards, the baselines' data.

The YAML files lie in the repository's `recipes/`, where people read and copy them; a wheel holds them in this folder.
"""

import itertools
import re
from pathlib import Path

from ..spelling import did_you_mean


def recipes_folder() -> Path:
    """Folder of the built-in recipes: this one in an installed package, the repository's `recipes/` in a checkout."""
    here = Path(__file__).parent
    return here if (here / "demo.yaml").is_file() else here.parents[1] / "recipes"


def recipe_names() -> list[str]:
    """Names of the built-in recipes, such as `demo`."""
    return sorted(path.stem for path in recipes_folder().glob("*.yaml"))


def recipe_summaries() -> dict[str, str]:
    """The first sentence of each built-in recipe's leading comment, by the recipe's name."""
    return {name: _summary(recipes_folder() / f"{name}.yaml") for name in recipe_names()}


def _summary(path: Path) -> str:
    lines = itertools.takewhile(lambda line: line.startswith("#"), path.read_text().splitlines())
    comment = " ".join(line.removeprefix("#").strip() for line in lines)
    return re.split(r"(?<=[.;]) ", comment)[0].rstrip(".;")


def find_recipe(config: str) -> Path:
    """
    The file of a recipe.

    Args:
        config (`str`): Path of a YAML file, or the name of a built-in recipe. A file wins over a name.

    Raises:
        ValueError: There is neither; the message names the nearest recipe.
    """
    path = Path(config)
    if path.is_file():
        return path
    if config in recipe_names():
        return recipes_folder() / f"{config}.yaml"
    near = did_you_mean(path.stem, recipe_names())
    raise ValueError(
        f"There is no recipe at {config!r} (looked in {Path.cwd()}).{near} Pass the path of a YAML file, or the "
        f"name of a built-in recipe: {', '.join(recipe_names())}."
    )
