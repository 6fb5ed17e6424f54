"""
Recipes as YAML. YAML 1.1, which PyYAML reads, takes `1e-3` for a text, since it has no point; here it is a number, as
in YAML 1.2. A quoted `"1e-3"` is a text.
"""

import re
from typing import Any

import yaml


NUMBER = re.compile(r"[-+]?(?:\d+\.?|\d*\.\d+)[eE][-+]?\d+\Z")
# Keys whose values are texts, whatever they look like
TEXTS = {
    "name", "builtin", "dataset", "subset", "split", "eval_dataset", "eval_split", "prompt", "system", "solution",
    "adapter", "model_name_or_path", "model_revision", "output_dir", "base_dir", "run_name", "project", "hub",
    "hub_model_id", "hub_revision",
}  # fmt: skip
TEXT, FLOAT = "tag:yaml.org,2002:str", "tag:yaml.org,2002:float"


class RecipeLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        for key, value in node.value:
            named = isinstance(key, yaml.ScalarNode) and key.value in TEXTS
            if named and value.tag == FLOAT and NUMBER.match(value.value):
                value.tag = TEXT
        return super().construct_mapping(node, deep)


class RecipeDumper(yaml.SafeDumper):
    """Quotes the texts that `RecipeLoader` would take for numbers."""


RecipeLoader.add_implicit_resolver(FLOAT, NUMBER, list("-+.0123456789"))
RecipeDumper.add_implicit_resolver(FLOAT, NUMBER, list("-+.0123456789"))


def is_true(value: Any) -> bool:
    """Whether a truth value says yes, also as a text: argparse and TRL take `"false"` for `False`."""
    return value is True or str(value).lower() in ("yes", "true", "t", "y", "1")


def load_yaml(text: str) -> Any:
    """What a recipe, or a value on a command line, says. Raises `yaml.YAMLError`."""
    return yaml.load(text, RecipeLoader)


def dump_yaml(settings: dict[str, Any]) -> str:
    """A recipe that `load_yaml` reads as the same mapping."""
    return yaml.dump(settings, Dumper=RecipeDumper, sort_keys=False)
