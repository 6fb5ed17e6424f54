"""
The seam to the engine that samples: rows with an adapter each go in, completions come out.

An engine has `generate(prompt_ids, adapters)`, and `sync(adapters)` to make it sample from the current weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import groupby
from typing import TYPE_CHECKING

from trl import GRPOTrainer

from .adapters import BASE, grouped, only


if TYPE_CHECKING:
    from .trainers import CoPDTrainer


class TransformersEngine:
    """
    Samples the rows of all adapters in one transformers `generate`.

    Adapters that cannot be stacked (see [`adapters.stacking_obstacle`]) are sampled one after the other.

    Args:
        trainer ([`CoPDTrainer`]): Owns the model, the tokenizer and the generation settings.
        chunk_rows (`int`, *optional*): Most rows in one `generate`; bounds the KV cache.
    """

    def __init__(self, trainer: CoPDTrainer, chunk_rows: int | None = None):
        self.trainer, self.chunk_rows = trainer, chunk_rows

    def sync(self, adapters: Sequence[str]) -> None:
        """Nothing to do: the engine samples from the weights that are trained."""

    def generate(self, prompt_ids: list[list[int]], adapters: Sequence[str], greedy: bool = False) -> list[list[int]]:
        """
        Sample one completion per row.

        Args:
            prompt_ids (`list[list[int]]`): Token ids of N prompts.
            adapters (`Sequence[str]`): Adapter of each row, or `"base"`; rows of one adapter are consecutive.
            greedy (`bool`): Take the most likely token instead of sampling.

        Returns:
            `list[list[int]]`: Token ids of N completions, up to and with the first end-of-sequence token.
        """
        size = self.chunk_rows or len(prompt_ids)
        completions: list[list[int]] = []
        with greedy_decoding(self.trainer) if greedy else nullcontext():
            for start in range(0, len(prompt_ids), size):
                chunk = slice(start, start + size)
                completions += self._generate_chunk(prompt_ids[chunk], adapters[chunk])
        return completions

    def _generate_chunk(self, prompt_ids: list[list[int]], adapters: Sequence[str]) -> list[list[int]]:
        names, counts = run_lengths(adapters)
        if self.trainer.can_stack([name for name in names if name != BASE]):
            with grouped(self.trainer.peft_model, names, counts):
                return self._generate_rows(prompt_ids)
        completions, start = [], 0
        for name, count in zip(names, counts, strict=True):
            with only(self.trainer.peft_model, name):
                completions += self._generate_rows(prompt_ids[start : start + count])
            start += count
        return completions

    def _generate_rows(self, prompt_ids: list[list[int]]) -> list[list[int]]:
        trainer = self.trainer
        completions, _ = GRPOTrainer._generate_single_turn(trainer, prompt_ids, None, {}, trainer.num_generations)
        return completions


def run_lengths(adapters: Sequence[str]) -> tuple[list[str], list[int]]:
    """Consecutive equal names and how often each occurs: `a a b` gives `[a, b]` and `[2, 1]`."""
    runs = [(name, len(list(run))) for name, run in groupby(adapters)]
    return [name for name, _ in runs], [count for _, count in runs]


@contextmanager
def greedy_decoding(trainer: GRPOTrainer) -> Iterator[None]:
    """Let TRL's generation take the most likely token for the length of the context."""
    config, kwargs = trainer.generation_config, trainer.generation_kwargs
    neutral = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None, "min_p": None}
    trainer.generation_kwargs = {**kwargs, **neutral}
    trainer.generation_config = copy.deepcopy(config)
    trainer.generation_config.update(**neutral)
    try:
        yield
    finally:
        trainer.generation_config, trainer.generation_kwargs = config, kwargs
