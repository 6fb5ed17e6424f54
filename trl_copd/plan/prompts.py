"""How long a recipe's prompts are: counted with the model's own tokenizer, where rows and tokenizer can be had."""

from typing import Any


ROWS = 512  # of each domain, from the front


def count_prompt_tokens(recipe: dict[str, Any], model: str) -> tuple[int | None, str]:
    """
    Tokens of the longest prompt among the first rows of every domain: shorter ones are padded to it.

    Args:
        recipe (`dict`): The recipe.
        model (`str`): Where the tokenizer comes from.

    Returns:
        `tuple[int | None, str]`: The length, `None` if it cannot be counted, and how it was got or why not.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
        lengths = [len(_ids(tokenizer, prompt)) for rows in _prompts(recipe) for prompt in rows]
    except Exception as error:  # no network, no tokenizer beside a config.json, rows that are somewhere else
        return None, f"the recipe's prompts could not be counted ({str(error).splitlines()[0][:120]})"
    return max(lengths), f"the longest of {len(lengths)} prompts of the recipe"


def _prompts(recipe: dict[str, Any]) -> list[list[Any]]:
    from ..recipes.build import build_experts  # loads torch

    experts = build_experts(recipe.get("domains") or [], int(recipe.get("seed", 42)))
    return [list(expert.train_dataset.take(min(ROWS, len(expert.train_dataset)))["prompt"]) for expert in experts]


def _ids(tokenizer: Any, prompt: Any) -> list[int]:
    if isinstance(prompt, str):
        return tokenizer(prompt)["input_ids"]
    return tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=True, return_dict=True)[
        "input_ids"
    ]
