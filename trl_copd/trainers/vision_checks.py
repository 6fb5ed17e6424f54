"""What a run with pictures needs of its base, its processor and its adapters."""

from typing import Any

from peft import PeftConfig
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from .. import adapters
from ..config import CoPDConfig
from ..experts import Expert


def check_vision(
    experts: dict[str, Expert],
    args: CoPDConfig,
    model: str | PreTrainedModel,
    peft_config: PeftConfig,
) -> PeftConfig:
    """
    Refuse pictures where the base cannot see.

    Returns:
        [`~peft.PeftConfig`]: That of every adapter; on a multimodal base it is kept to the language model.

    Raises:
        ValueError: With what came, why it cannot work, and what to do.
    """
    config = _base_config(model, args)
    seeing = [name for name, expert in experts.items() if expert.sees]
    if seeing and config is not None and not adapters.is_multimodal(config):
        raise ValueError(
            f"Expert {seeing[0]!r} has images, but the base ({config.model_type}) reads only text. Use a "
            "vision-language model, or remove the images."
        )
    return adapters.on_language_model(peft_config) if adapters.is_multimodal(config) else peft_config


def check_processor(expert: Expert, processing_class: PreTrainedTokenizerBase | ProcessorMixin) -> None:
    """Refuse pictures where a tokenizer stands in the processor's place."""
    if expert.sees and not isinstance(processing_class, ProcessorMixin):
        raise ValueError(
            f"Expert {expert.name!r} has images, but `processing_class` is {type(processing_class).__name__}, which "
            "reads only text. Pass the model's processor: `AutoProcessor.from_pretrained(MODEL)`."
        )


def _base_config(model: Any, args: CoPDConfig) -> PretrainedConfig | None:
    """The base's configuration; `None` where it cannot be read, which loading the model will say."""
    if isinstance(model, PreTrainedModel):
        return model.config
    revision = (args.model_init_kwargs or {}).get("revision")
    try:
        return AutoConfig.from_pretrained(str(model), revision=revision, trust_remote_code=args.trust_remote_code)
    except Exception:  # of many kinds, for a repository that does not exist, is private or out of reach
        return None
