"""How completions are sampled: one value for every engine."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sampling:
    """
    The settings of GRPOConfig that say how a completion is sampled, checked and completed by TRL.

    Args:
        temperature (`float`): > 0.
        top_p (`float`): In (0, 1].
        top_k (`int`): 0 keeps all tokens.
        min_p (`float`): In [0, 1].
        repetition_penalty (`float`): 1 punishes nothing.
        max_tokens (`int`): Most tokens of a completion.
        stop_token_ids (`tuple[int, ...]`): Any of them ends a completion.
        chunk_rows (`int`, *optional*): Most rows that are sampled at once.
        regex (`str`, *optional*): What completions must match (vLLM's structured outputs).
        extra (`dict`): The user's `generation_kwargs`, in the words of the engine.
    """

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    max_tokens: int
    stop_token_ids: tuple[int, ...]
    chunk_rows: int | None = None
    regex: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
