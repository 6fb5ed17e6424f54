"""What a base or its tokenizer is refused for: as given, or once TRL has loaded it."""

import io
from pathlib import Path
from typing import Any

from peft import PeftConfig
from transformers import PreTrainedModel, PreTrainedTokenizerBase


class ModelNotFoundError(io.UnsupportedOperation):
    """A path that leads nowhere: an `OSError`, as transformers raises, and a `ValueError`, as any other bad value."""


def check_model_path(name: str, argument: str = "model") -> None:
    """
    Refuse a path that leads nowhere, which transformers would take for a Hub id.

    Raises:
        ModelNotFoundError: It looks like a path, and there is no folder.
    """
    like_a_path = name.startswith((".", "/", "~")) or name.count("/") > 1
    if name.startswith("~") and Path(name).expanduser().is_dir():
        raise ModelNotFoundError(
            f"{argument}={name!r}: nothing replaces the '~'. Write {str(Path(name).expanduser())!r}."
        )
    if like_a_path and not Path(name).is_dir():
        raise ModelNotFoundError(f"{argument}={name!r} is neither a folder (looked in {Path.cwd()}) nor a Hub id.")


def check_model(model: PreTrainedModel, peft_config: PeftConfig) -> None:
    """
    Refuse a base that would train on something else than what was meant.

    Raises:
        ValueError: With what came, why it cannot work, and what to do.
    """
    if model.config.is_encoder_decoder:
        raise ValueError(
            f"{type(model).__name__} is an encoder-decoder, whose completions come only from the decoder. TRL's GRPO "
            "takes the tokens after the prompt and would train on one token. Use a causal language model."
        )
    if any(parameter.is_meta for parameter in model.parameters()):
        raise ValueError(
            "The base has no weights: it was built on the meta device. Load it with `from_pretrained`, without "
            "`device_map='meta'` or `torch.device('meta')`."
        )
    tied = getattr(model.config.get_text_config(), "tie_word_embeddings", False)
    if tied and getattr(peft_config, "trainable_token_indices", None):
        raise ValueError(
            "`trainable_token_indices` with tied embeddings (tie_word_embeddings=True) also changes the LM head, "
            "which all branches share and TRL reads directly. Leave them out, or use a base whose embeddings are not "
            "tied."
        )


def check_auxiliary_loss(model: PreTrainedModel, enabled: bool) -> None:
    """
    Refuse a base whose load-balancing loss TRL cannot compute: it looks for `num_experts` in the configuration.

    Args:
        model ([`~transformers.PreTrainedModel`]): As loaded.
        enabled (`bool`): Whether TRL adds that loss.

    Raises:
        ValueError: With what to do.
    """
    if enabled and not hasattr(model.config.get_text_config(), "num_experts"):
        raise ValueError(
            f"TRL cannot compute the load-balancing loss of {type(model).__name__}: its configuration has no "
            "`num_experts`. Train without that loss: router_aux_loss_coef=0.0."
        )


def check_tokenizer(processing_class: Any) -> None:
    """
    Refuse a tokenizer without an end token: no completion could end, and none could be told from a cut one.

    Raises:
        TypeError, ValueError: With what to do.
    """
    if isinstance(processing_class, str):
        raise TypeError(
            f"`processing_class` must be a tokenizer or a processor, got the str {processing_class!r}. Load it with "
            "`AutoTokenizer.from_pretrained`."
        )
    tokenizer: PreTrainedTokenizerBase = getattr(processing_class, "tokenizer", processing_class)
    if getattr(tokenizer, "eos_token_id", None) is None:
        raise ValueError(
            "The tokenizer has no end token (eos_token), so no completion could end by itself. Set "
            "`processing_class.eos_token` to the token that ends the model's answers."
        )
