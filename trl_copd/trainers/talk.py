"""Conversations that are over, row by row, as TRL's methods take them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .waves import Asking, Conversing, Prompted


@dataclass
class Talk:
    """
    Conversations of N rows; token ids and masks are those of the completions, learner's and tools' turns alike.

    Args:
        prompts (`list`): As an environment has completed them.
        prompt_ids, ids (`list[list[int]]`): Token ids of prompts and completions.
        mask (`list[list[int]]`): 1 for tokens that were sampled, 0 for those of tools.
        completions (`list`): Messages, or texts.
        logps (`list[list[float]]`, *optional*): The engine's, nats, 0 for tokens of tools.
        calls, failed_calls (`int`): Of tools.
        extra (`list[dict]`): What a rollout function has said of each row besides.
        environments (`list`, *optional*): That of each row, as the conversation has left it.
        failures (`dict[int, str]`): Rows whose environment has failed, and why.
        uses_tools (`bool`): Whether there were any to call.
    """

    prompts: list[Any]
    prompt_ids: list[list[int]]
    ids: list[list[int]]
    mask: list[list[int]]
    completions: list[Any]
    logps: list[list[float | None]] | None = None
    calls: int = 0
    failed_calls: int = 0
    extra: list[dict[str, Any]] = field(default_factory=list)
    environments: list[Any] | None = None
    failures: dict[int, str] = field(default_factory=dict)
    uses_tools: bool = False

    def observed(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows with their prompts as environments have completed them, and what a rollout function has said."""
        extra = self.extra or [{}] * len(rows)
        return [{**row, **said, "prompt": prompt} for row, said, prompt in zip(rows, extra, self.prompts, strict=True)]

    def shortened(self, length: int | None) -> "Talk":
        """With the first `length` tokens of each completion alone, if it is given."""
        if length is None:
            return self
        cut: dict[str, Any] = {name: [row[:length] for row in getattr(self, name)] for name in ("ids", "mask")}
        cut["logps"] = self.logps and [row[:length] for row in self.logps]
        return Talk(**{**vars(self), **cut})


class Converses(Protocol):
    """An [`Actor`], as far as others need conversations of it."""

    def conversing(self, adapter: str, rows: Sequence[dict[str, Any]]) -> Conversing:
        """The conversations of some rows; `result` is a [`Talk`] at last."""

    def failed_rewards(self) -> list[str]:
        """Why environments' own rewards have failed since the last call."""


def joined(rows: int, parts: Sequence[tuple[Sequence[int], Talk]]) -> Talk:
    """
    One talk of several.

    Args:
        rows (`int`): Rows of all of them.
        parts: Each talk with the places of its rows; every place occurs once.
    """
    whole: dict[str, Any] = {}
    for name in ("prompts", "prompt_ids", "ids", "mask", "completions", "extra"):
        whole[name] = [None] * rows
        for places, talk in parts:
            for place, value in zip(places, getattr(talk, name) or [{}] * len(places), strict=True):
                whole[name][place] = value
    if all(talk.logps is not None for _, talk in parts):
        whole["logps"] = [None] * rows
        for places, talk in parts:
            for place, value in zip(places, talk.logps or [], strict=True):
                whole["logps"][place] = value
    if any(talk.environments is not None for _, talk in parts):
        whole["environments"] = [None] * rows
        for places, talk in parts:
            for place, value in zip(places, talk.environments or [None] * len(places), strict=True):
                whole["environments"][place] = value
    return Talk(
        **whole,
        calls=sum(talk.calls for _, talk in parts),
        failed_calls=sum(talk.failed_calls for _, talk in parts),
        failures={places[row]: why for places, talk in parts for row, why in talk.failures.items()},
        uses_tools=any(talk.uses_tools for _, talk in parts),
    )


class Sampled:
    """
    Rows of one adapter in a generation, some of them with conversations of their own.

    Args:
        adapter (`str`): That samples.
        rows (`list[dict]`): At least one.
        actors (`list`): What has each row's conversation; `None` for a prompt and a completion.
        tokenize (`Callable`): TRL's `_tokenize_prompts`.
        acting (`bool`): Whether there is a conversation in any process.
    """

    def __init__(
        self,
        adapter: str,
        rows: list[dict[str, Any]],
        actors: Sequence[Converses | None],
        tokenize: Callable[[list], tuple],
        acting: bool,
    ):
        self.rows, self.acting = rows, acting
        self.plain = [place for place, actor in enumerate(actors) if actor is None]
        self.tokenized = tokenize([rows[place]["prompt"] for place in self.plain]) if self.plain else ([], None, {})
        self.prompted = Prompted(adapter, self.tokenized[0])
        self.talks: list[tuple[list[int], Conversing]] = []
        for actor in dict.fromkeys(actor for actor in actors if actor is not None):
            places = [place for place, own in enumerate(actors) if own is actor]
            self.talks.append((places, actor.conversing(adapter, [rows[place] for place in places])))

    @property
    def asking(self) -> list[Asking]:
        return [self.prompted, *(talk for _, talk in self.talks)]

    def result(self) -> tuple[tuple, Talk | None]:
        """What [`Policy.take`] takes, once all tokens are there."""
        ids, logps = self.prompted.completions
        if not self.acting:
            return (self.tokenized, (ids, logps)), None
        alone = Talk(
            prompts=[self.rows[place]["prompt"] for place in self.plain],
            prompt_ids=list(self.tokenized[0]),
            ids=ids,
            mask=[[1] * len(row) for row in ids],
            completions=[None] * len(ids),
            logps=logps,
        )
        parts = [(self.plain, alone)] if self.plain else []
        parts += [(places, talk.result) for places, talk in self.talks]
        talk = joined(len(self.rows), parts)
        return ((talk.prompt_ids, None, {}), (talk.ids, talk.logps)), talk


def shortened(completions: list[list[int]], logps: list[list[float | None]] | None, length: int | None) -> tuple:
    """Completions and their engine's log-probabilities, cut to `length` tokens if it is given."""
    return [ids[:length] for ids in completions], logps and [row[:length] for row in logps]
