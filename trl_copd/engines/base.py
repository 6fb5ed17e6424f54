"""What the trainer asks of an engine."""

from collections.abc import Sequence
from typing import Protocol


# token ids of N completions; log-probabilities that the sampled tokens had, in nats, or `None`
Completions = tuple[list[list[int]], list[list[float | None]] | None]


class EngineUnavailable(ConnectionError):
    """The engine does not answer, and has been waited for."""


class Engine(Protocol):
    """Samples rows with an adapter each."""

    mixes_ranks: bool  # whether adapters of different rank can share a batch

    def sync(self, adapters: Sequence[str]) -> None:
        """
        Make the engine sample from the adapters' weights as they are now. Every process calls it, with the same list.

        Args:
            adapters (`Sequence[str]`): Names of adapters, `"base"` among them if it will be sampled.
        """

    def generate(self, prompt_ids: list[list[int]], adapters: Sequence[str], greedy: bool = False) -> Completions:
        """
        Sample one completion per row. Every process calls it, with rows of its own or none.

        Args:
            prompt_ids (`list[list[int]]`): Token ids of N prompts.
            adapters (`Sequence[str]`): Adapter of each row, or `"base"`; rows of one adapter are consecutive.
            greedy (`bool`): Take the most likely token instead of sampling.

        Returns:
            Token ids of N completions, up to and with the first end-of-sequence token, and the log-probabilities that
            the sampled tokens had, in nats, or `None` if the engine computes what the trainer does: the two that TRL
            expects from `_generate_single_turn`.
        """
