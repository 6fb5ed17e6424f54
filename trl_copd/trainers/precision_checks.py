"""What a run's precision costs or cannot be, said before the model is loaded."""

from typing import Any

import torch
from accelerate.logging import get_logger
from transformers import AutoConfig, PreTrainedModel

from ..config import CoPDConfig


logger = get_logger(__name__)


def check_precision(model: str | PreTrainedModel, args: CoPDConfig) -> None:
    """
    Refuse a float32 head that TRL cannot give the model; warn where weights are wider than what is computed in.

    Raises:
        ValueError: `cast_lm_head_to_fp32=True` and the embeddings are tied.
    """
    if args.cast_lm_head_to_fp32 and _embeddings_are_tied(model, args):
        raise ValueError(
            "cast_lm_head_to_fp32=True, but the model's head and embeddings are one matrix. TRL 1.16 then looks for "
            "`model.embed_tokens`, which is elsewhere in a model with adapters. Leave it out: scoring always uses a "
            "head in float32, and score_in_fp32=True does more."
        )
    wanted = "bfloat16" if args.bf16 else "float16" if args.fp16 else None
    if wanted and _weights_are_float32(model, args):
        logger.warning(
            f"{'bf16' if args.bf16 else 'fp16'}=True, but the base is loaded in float32 (TRL's default): it takes "
            "twice the memory, and rollouts are sampled in float32, which is several times slower on a GPU, while "
            f"scores and updates are computed in {wanted}. Load it in {wanted}: "
            f'model_init_kwargs={{"dtype": "{wanted}"}} in CoPDConfig, or from_pretrained(..., dtype="{wanted}").'
        )


def _embeddings_are_tied(model: str | PreTrainedModel, args: CoPDConfig) -> bool:
    if isinstance(model, PreTrainedModel):
        return bool(model.config.get_text_config().tie_word_embeddings or model.config.tie_word_embeddings)
    options = {
        key: value for key, value in (args.model_init_kwargs or {}).items() if key in ("revision", "trust_remote_code")
    }
    config: Any = AutoConfig.from_pretrained(model, **options)
    return bool(config.tie_word_embeddings or config.get_text_config().tie_word_embeddings)


def _weights_are_float32(model: str | PreTrainedModel, args: CoPDConfig) -> bool:
    if isinstance(model, PreTrainedModel):
        quantised = getattr(model, "is_loaded_in_4bit", False) or getattr(model, "is_loaded_in_8bit", False)
        return model.dtype == torch.float32 and not quantised
    options = args.model_init_kwargs or {}
    dtype = options.get("dtype", options.get("torch_dtype"))
    return "quantization_config" not in options and dtype in (None, "float32", torch.float32)
