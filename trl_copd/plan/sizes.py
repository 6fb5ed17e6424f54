"""Counts a model's parameters from its configuration, on no device and without its weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .inputs import ModelSize


def count_model(model: str, rank: int = 16, target_modules: str | Sequence[str] | None = "all-linear") -> ModelSize:
    """
    Build model and adapter on the meta device and count.

    Args:
        model (`str`): Hub id, local folder, or `config.json`.
        rank (`int`): Rank of the LoRA adapters.
        target_modules (`str` or `Sequence[str]`, *optional*): As in [`~peft.LoraConfig`]; `None` are PEFT's own for
            the model.

    Raises:
        ValueError: The configuration cannot be found, or is not that of a causal language model.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from torch import nn
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    from ..adapters import BEYOND, is_multimodal, reaches_beyond_language

    config = _load_config(model)
    sees = is_multimodal(config)
    with torch.device("meta"):
        try:
            base = (AutoModelForImageTextToText if sees else AutoModelForCausalLM).from_config(config)
        except ValueError as error:
            raise ValueError(f"{model!r} is not a causal language model: {str(error).splitlines()[0]}") from error
        counts = {name: parameter.numel() for name, parameter in base.named_parameters()}  # tied ones once
        embeddings = {id(base.get_input_embeddings().weight), id(base.get_output_embeddings().weight)}
        in_embeddings = {name for name, parameter in base.named_parameters() if id(parameter) in embeddings}
        linear = sum(
            module.weight.numel()
            for module in base.modules()
            if isinstance(module, nn.Linear) and id(module.weight) not in embeddings
        )
        targets = target_modules if isinstance(target_modules, str | None) else list(target_modules)
        adapter = LoraConfig(r=rank, target_modules=targets, task_type="CAUSAL_LM")
        if sees and (not isinstance(targets, str) or targets == "all-linear"):
            adapter.exclude_modules = BEYOND  # as in training: on the language model alone
        adapted = get_peft_model(base, adapter)
    text = config.get_text_config()
    of = _first(text, "num_experts", "num_local_experts")
    chosen = (_first(text, "num_experts_per_tok") or 1) if of else 1
    share = chosen / (of or 1)  # of a mixture's experts, those that a token passes
    active = sum(
        n * (share if ".experts." in name else 1)
        for name, n in counts.items()
        if name not in in_embeddings and not (sees and reaches_beyond_language(name))
    )
    width = (_first(text, "moe_intermediate_size") or text.intermediate_size) * chosen
    return ModelSize(
        name=Path(model).name if Path(model).exists() else model,
        parameters=sum(counts.values()),
        linear=linear,
        active=int(active),
        adapter=sum(p.numel() for p in adapted.parameters() if p.requires_grad),
        hidden=text.hidden_size,
        mlp=width,
        layers=text.num_hidden_layers,
        heads=text.num_attention_heads,
        kv_heads=_first(text, "num_key_value_heads") or text.num_attention_heads,
        head_dim=_first(text, "head_dim") or text.hidden_size // text.num_attention_heads,
        vocabulary=text.vocab_size,
    )


def _load_config(model: str) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"No model configuration found for {model!r}: it is neither a folder nor a config.json here, and the Hub "
            "gave none. Pass the path of a folder with config.json, or a Hub id while you are online."
        ) from error


def _first(config: Any, *names: str) -> int | None:
    return next((getattr(config, name) for name in names if getattr(config, name, None)), None)
