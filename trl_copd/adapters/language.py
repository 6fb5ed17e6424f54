"""Adapters on multimodal bases: on the language model alone, where a row of a batch is a prompt."""

import copy
import re

from accelerate.logging import get_logger
from peft import PeftConfig, PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from transformers import PretrainedConfig


logger = get_logger(__name__)

BEYOND = r"(?!(.*\.)?(language_model|text_model)\.).*"  # names of modules outside of the language model


def is_multimodal(config: PretrainedConfig | None) -> bool:
    """Whether a base sees: it has a part for pictures beside its language model."""
    return getattr(config, "vision_config", None) is not None


def reaches_beyond_language(name: str) -> bool:
    """Whether a module of a multimodal base is no part of its language model."""
    return re.fullmatch(BEYOND, name) is not None


def adapts_language_alone(model: PeftModel) -> bool:
    """Whether no adapter of a multimodal base is outside of its language model."""
    kinds = (BaseTunerLayer, AuxiliaryTrainingWrapper)
    adapted = (name for name, module in model.named_modules() if isinstance(module, kinds))
    return not any(map(reaches_beyond_language, adapted))


def on_language_model(peft_config: PeftConfig) -> PeftConfig:
    """
    The configuration, kept to the language model of a multimodal base, unless it says itself what it leaves out or
    names its layers by a pattern.
    """
    targets = getattr(peft_config, "target_modules", None)
    by_pattern = isinstance(targets, str) and targets != "all-linear"
    if by_pattern or not hasattr(peft_config, "exclude_modules") or peft_config.exclude_modules is not None:
        return peft_config
    logger.warning(
        "The base reads images: adapters are put only on its language model. To change this, set `exclude_modules` in "
        "`peft_config`, or a pattern as `target_modules`."
    )
    peft_config = copy.deepcopy(peft_config)
    peft_config.exclude_modules = BEYOND
    return peft_config
