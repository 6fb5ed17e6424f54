"""How long a recipe's prompts are: counted with the model's own tokenizer, where rows and tokenizer can be had."""

import importlib
import sys
from pathlib import Path
from typing import Any


ROWS = 512  # of each domain, from the front


def count_prompt_tokens(recipe: dict[str, Any], path: str, model: str) -> tuple[int | None, str]:
    """
    Tokens of the longest prompt among the first rows of every domain: shorter ones are padded to it.

    Args:
        recipe (`dict`): The recipe.
        path (`str`): Its file; the rows are built by `recipes/build.py`, which lies beside the repository's recipes.
        model (`str`): Where the tokenizer comes from.

    Returns:
        `tuple[int | None, str]`: The length, `None` if it cannot be counted, and how it was got or why not.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
        experts = _build_experts(recipe, path)
        lengths = [len(_ids(tokenizer, prompt)) for rows in experts for prompt in rows]
    except Exception as error:  # no network, no tokenizer beside a config.json, rows that are somewhere else
        return None, f"the recipe's prompts could not be counted ({str(error).splitlines()[0][:120]})"
    return max(lengths), f"the longest of {len(lengths)} prompts of the recipe"


def _build_experts(recipe: dict[str, Any], path: str) -> list[list[Any]]:
    roots = [Path(path).absolute().parent.parent, Path.cwd(), Path(__file__).parents[2]]
    root = next((root for root in roots if (root / "recipes" / "build.py").is_file()), None)
    if root is None:
        raise ValueError("there is no recipes/build.py that reads its domains")
    if str(root) not in sys.path:
        sys.path.append(str(root))
    # by name, at run time: the package itself needs no recipes
    build = importlib.import_module("recipes.build")
    experts = build.build_experts(recipe.get("domains") or [], int(recipe.get("seed", 42)))
    return [list(expert.train_dataset.take(min(ROWS, len(expert.train_dataset)))["prompt"]) for expert in experts]


def _ids(tokenizer: Any, prompt: Any) -> list[int]:
    if isinstance(prompt, str):
        return tokenizer(prompt)["input_ids"]
    return tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=True, return_dict=True)[
        "input_ids"
    ]
