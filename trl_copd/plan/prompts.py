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
    try:
        tokenizer = _load_tokenizer(recipe, model)
        lengths = [len(_ids(tokenizer, row)) for rows in _rows(recipe) for row in rows]
    except Exception as error:  # no network, no tokenizer beside a config.json, rows that are somewhere else
        return None, f"the recipe's prompts could not be counted ({str(error).splitlines()[0][:120]})"
    return max(lengths), f"the longest of {len(lengths)} prompts of the recipe"


def _load_tokenizer(recipe: dict[str, Any], model: str) -> Any:
    """The tokenizer of the base, or the processor of one that sees."""
    from transformers import AutoConfig, AutoProcessor, AutoTokenizer

    from ..adapters import is_multimodal
    from ..recipes.build import load_processor  # loads torch

    if not is_multimodal(AutoConfig.from_pretrained(model)):
        return AutoTokenizer.from_pretrained(model, padding_side="left")
    return load_processor(recipe.get("builtin_base"), model) or AutoProcessor.from_pretrained(model)


def _rows(recipe: dict[str, Any]) -> list[list[dict[str, Any]]]:
    from ..pictures import COLUMNS
    from ..recipes.build import build_experts  # loads torch

    experts = build_experts(recipe.get("domains") or [], int(recipe.get("seed", 42)))
    read = ("prompt", *COLUMNS)
    return [
        list(rows.take(min(ROWS, len(rows))).select_columns([name for name in read if name in rows.column_names]))
        for rows in (expert.train_dataset for expert in experts)
    ]


def _ids(tokenizer: Any, row: dict[str, Any]) -> list[int]:
    from transformers import ProcessorMixin
    from trl.data_utils import prepare_multimodal_messages

    from ..pictures import prepared

    prompt, sees = prepared(row)["prompt"], isinstance(tokenizer, ProcessorMixin)
    if isinstance(prompt, str):
        ids = tokenizer(text=prompt)["input_ids"]
        return ids[0] if sees else ids
    prompts = [prepare_multimodal_messages(prompt)] if sees else prompt
    ids = tokenizer.apply_chat_template(prompts, add_generation_prompt=True, tokenize=True, return_dict=True)[
        "input_ids"
    ]
    return ids[0] if sees else ids
