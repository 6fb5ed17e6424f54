"""The verdict of a verifier, and the one adapter from a verifier to a TRL reward function."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """
    What a verifier says about one completion.

    Args:
        passed (`bool` or `None`):
            Whether the completion is right. `None` says that the reference is unreadable, which is a fault of the
            dataset and depends on the reference alone, never on the completion.
        reason (`str`): Why, for people: shown in logs, never parsed.
    """

    passed: bool | None
    reason: str


class VerifierReward:
    """
    A TRL reward function made from a verifier: 1.0 where the completion passes, 0.0 where it does not, `None` where
    the row is not this verifier's (a column is `None`) or its reference is unreadable (warned once, counted).

    Args:
        verifier (`Callable[[str, Any], Verdict]`):
            Pure function of the completion's text and the reference: the row's value of the column, or, with several
            columns, a dictionary of them by name. Picklable (module-level, or a partial of such) if the reward is to
            be. What it raises is not caught: a verifier that breaks must stop the run, not score 0.
        columns (`Sequence[str]`, *optional*, defaults to `("solution",)`):
            Columns of the dataset that the verifier needs, at least one. `CoPDTrainer` checks them before it loads
            the model.
        name (`str`, *optional*): Name in metrics; defaults to the verifier's `__name__`.

    Raises:
        TypeError: `verifier` is not callable, `columns` is a single string, or no name can be found.
        ValueError: `columns` is empty.

    Example:
    ```python
    >>> from trl_copd.rewards import Verdict, VerifierReward

    >>> def is_short(completion, limit):
    ...     return Verdict(len(completion) <= limit, f"{len(completion)} characters, limit {limit}")
    >>> short_reward = VerifierReward(is_short, columns=("limit",))
    >>> short_reward(prompts=["Hi", "Hi", "Hi"], completions=["Hi.", "Good morning.", "Hi."], limit=[5, 5, None])
    [1.0, 0.0, None]
    ```
    """

    def __init__(
        self, verifier: Callable[[str, Any], Verdict], columns: Sequence[str] = ("solution",), name: str | None = None
    ):
        if not callable(verifier):
            raise TypeError(f"`verifier` must be a function (completion, reference) -> Verdict, got {verifier!r}.")
        if isinstance(columns, str):
            raise TypeError(f"`columns` must be a sequence of names, got the string {columns!r}. Use ({columns!r},).")
        if not columns:
            raise ValueError("`columns` is empty: without a reference nothing can be verified. Name at least one.")
        name = name or getattr(verifier, "__name__", None)
        if not isinstance(name, str):
            raise TypeError(f"`verifier` {verifier!r} has no `__name__` to name the reward by. Pass `name`.")
        self.verifier = verifier
        self.columns: tuple[str, ...] = tuple(columns)
        self.__name__ = name  # what TRL's get_callable_name reads
        self._warned = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.__name__!r}, columns={self.columns!r})"

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """
        Grade a batch, as TRL calls it.

        Args:
            prompts (`Sequence`): Unused; TRL passes them.
            completions (`Sequence[str]` or `Sequence[list[dict]]`):
                Texts, or conversations, of which the last assistant message is graded.
            log_metric (`Callable[[str, float], None]`, *optional*):
                TRL's logger of scalars. Receives `"<name>/unreadable"`, the number of rows of this batch whose
                reference was unreadable, on every call so that TRL's mean over calls is true.
            **columns:
                The dataset's columns, one value per completion, and whatever else TRL passes (ignored).

        Returns:
            `list[float | None]`: One of 1.0, 0.0, `None` per completion.

        Raises:
            ValueError: A needed column is missing, or has not one value per completion.
            TypeError: A completion is neither text nor a list of messages.
        """
        references = self._references(columns, len(completions))
        rewards: list[float | None] = []
        unreadable = 0
        for completion, reference in zip(completions, references, strict=True):
            verdict = None if reference is None else self.verifier(completion_text(completion), reference)
            if verdict is not None and verdict.passed is None:
                unreadable += 1
                self._warn_once(verdict.reason, reference)
            rewards.append(None if verdict is None or verdict.passed is None else float(verdict.passed))
        if log_metric is not None:
            log_metric(f"{self.__name__}/unreadable", float(unreadable))
        return rewards

    def _references(self, columns: dict[str, Any], rows: int) -> list[Any]:
        """One reference per row; `None` where any of the row's columns is."""
        for name in self.columns:
            if name not in columns:
                found = ", ".join(sorted(columns)) or "none"
                raise ValueError(
                    f"{self.__name__} was called without the column {name!r} (found: {found}), which holds the "
                    "reference that completions are graded against. Add or rename it in the dataset, or use another "
                    "reward."
                )
            if len(columns[name]) != rows:
                raise ValueError(
                    f"{self.__name__} was given {len(columns[name])} values of the column {name!r} for {rows} "
                    "completions. Pass one per completion."
                )
        if len(self.columns) == 1:
            return list(columns[self.columns[0]])
        rows_of_values = zip(*(columns[name] for name in self.columns), strict=True)
        return [
            None if any(value is None for value in row) else dict(zip(self.columns, row, strict=True))
            for row in rows_of_values
        ]

    def _warn_once(self, reason: str, reference: Any) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "%s: unreadable reference %.200r (%s). Such rows get no reward (None); further ones are not shown, "
                "only counted as %s/unreadable.",
                self.__name__, reference, reason, self.__name__,
            )  # fmt: skip


def completion_text(completion: Any) -> str:
    """
    Text of a completion as TRL passes it.

    Args:
        completion (`str` or `list[dict]`):
            Text, or messages, of which the last one of the assistant counts (a message without a role is taken as
            the assistant's). Content may be text, a list of parts of which the text ones are joined, or `None`.

    Returns:
        `str`: The text; empty where the assistant said nothing.

    Raises:
        TypeError: Neither text nor a list of messages.
    """
    if isinstance(completion, str):
        return completion
    if not isinstance(completion, list) or not all(isinstance(message, dict) for message in completion):
        raise TypeError(f"A completion must be a str or a list of message dicts, got {completion!r:.200}.")
    said = [message for message in completion if message.get("role", "assistant") == "assistant"]
    content = said[-1].get("content") if said else None
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if part.get("type", "text") == "text")
    return content or ""


def after_thinking(text: str) -> str | None:
    """
    The part of a completion that is meant for the reader.

    Args:
        text (`str`): Completion, with or without reasoning that ends in `</think>`.

    Returns:
        `str` or `None`: What follows the last `</think>`, or `None` where a `<think>` after it was never closed: a
        candidate answer in reasoning that was cut off is not an answer.
    """
    tail = text.rpartition("</think>")[2]
    return None if "<think>" in tail else tail
