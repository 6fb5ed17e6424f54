"""What measuring asks of those who have conversations."""

from collections.abc import Sequence
from typing import Any, Protocol

from ..engines.base import Engine


class Had(Protocol):
    """Conversations of some rows, see [`Talk`]."""

    prompts: list[Any]
    prompt_ids: list[list[int]]
    ids: list[list[int]]
    mask: list[list[int]]
    completions: list[Any]
    environments: list[Any] | None
    failures: dict[int, str]

    def observed(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows with their prompts as environments have completed them."""


class Conversations(Protocol):
    """Has the conversations of rows in the worlds of their experts."""

    def acts(self, domain: str) -> bool:
        """Whether the expert of a domain acts."""

    def have(
        self, engine: Engine, requests: Sequence[tuple[str, str, list[dict[str, Any]]]], greedy: bool = False
    ) -> Sequence[Had]:
        """
        Have the conversations of adapters with rows of domains, turn by turn together. Every process calls it.

        Args:
            engine ([`Engine`]): Samples, with the adapters' weights as they are now.
            requests: Adapter, domain and rows, perhaps none; an adapter's are consecutive.
            greedy (`bool`): Take the most likely tokens.
        """
