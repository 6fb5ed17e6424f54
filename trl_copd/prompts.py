"""Endless streams of prompts that can be resumed: where a dataset row enters a round."""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from datasets import Dataset, IterableDataset
from transformers import PreTrainedTokenizerBase, ProcessorMixin
from trl.data_utils import is_conversational
from trl.trainer.utils import RepeatSampler

from .allocation import Turns
from .schedule import BranchPlan, cross_prompts
from .topology import Edge


RowCheck: TypeAlias = Callable[[int, dict[str, Any]], None]  # raises for a row that cannot be used


class PromptStream:
    """
    The rows of a dataset, epoch after epoch, in the order in which `GRPOTrainer` draws its prompts.

    Unlike TRL's sampler it hands out any number of prompts at a time, so that an OPD round, which takes fewer native
    prompts than an RLVR round, skips none.

    Args:
        dataset ([`~datasets.Dataset`] or [`~datasets.IterableDataset`]): Rows to draw from.
        batch_size (`int`): Prompts of a full generation batch; as in TRL, an epoch drops its incomplete last batch.
        shuffle (`bool`): Whether to shuffle, anew in each epoch.
        seed (`int`): Seed of the order.
        check (`Callable`, *optional*): Called with each row that is drawn and its number; a stream has no numbers of
            its own, there it is that of rows drawn before.
    """

    def __init__(
        self,
        dataset: Dataset | IterableDataset,
        batch_size: int,
        shuffle: bool,
        seed: int,
        check: RowCheck | None = None,
    ):
        self.dataset, self.batch_size, self.shuffle, self.seed = dataset, batch_size, shuffle, seed
        self.check = check
        self.consumed = 0
        self._batches = 0  # full batches that a streamed dataset has given
        self._order = self._draw()

    @property
    def size(self) -> int | None:
        """Rows of an epoch; `None` for a stream, which does not know."""
        return len(self.dataset) if isinstance(self.dataset, Dataset) else None

    def take(self, count: int) -> list[dict[str, Any]]:
        """The next `count` rows."""
        drawn = [next(self._order) for _ in range(count)]
        numbers: Sequence[int] = range(self.consumed, self.consumed + count)
        self.consumed += count
        if isinstance(self.dataset, Dataset):
            numbers, drawn = drawn, [self.dataset[index] for index in drawn]
        if self.check is not None:
            for number, row in zip(numbers, drawn, strict=True):
                self.check(number, row)
        return [dict(row) for row in drawn]

    def skip_to(self, consumed: int) -> None:
        """Move the stream to where `consumed` rows have been taken since its start."""
        if consumed < self.consumed:
            self.consumed, self._order = 0, self._draw()
        for _ in range(consumed - self.consumed):
            next(self._order)  # indices for a map-style dataset, so nothing is read
        self.consumed = consumed

    def _draw(self) -> Iterator[Any]:
        if isinstance(self.dataset, Dataset):
            sampler = RepeatSampler(self.dataset, 1, self.batch_size, shuffle=self.shuffle, seed=self.seed)
            while True:
                yield from sampler  # the sampler's own generator moves on: each epoch has an order of its own
        dataset = self.dataset.shuffle(seed=self.seed) if self.shuffle else self.dataset
        epoch = 0
        while True:
            dataset.set_epoch(epoch)
            batch: list[Any] = []
            before = self._batches
            for row in dataset:
                batch.append(row)
                if len(batch) == self.batch_size:
                    self._batches += 1
                    yield from batch
                    batch = []
            if self._batches == before:
                raise ValueError(
                    f"A streamed dataset gave {len(batch)} rows in an epoch, but a generation batch takes "
                    f"{self.batch_size} different prompts. Add rows, or lower the batch size."
                )
            epoch += 1


def cross_stream(
    dataset: Dataset | IterableDataset, seed: int, learner: str, domain: str, check: RowCheck | None = None
) -> PromptStream:
    """Prompts of `domain` for `learner` to be taught on; drawing them never advances a native order."""
    return PromptStream(dataset, 1, shuffle=True, seed=derived_seed(seed, "cross", learner, domain), check=check)


class Mixture:
    """
    Prompts of several domains for one branch, shared out in proportion to weights that may change.

    Args:
        streams (`dict[str, PromptStream]`): Each domain's prompts.
        weights (`Callable`): Gives the domains' weights now, > 0.
    """

    def __init__(self, streams: dict[str, PromptStream], weights: Callable[[], Mapping[str, float]]):
        self.streams, self.weights, self.turns = streams, weights, Turns()

    def take(self, count: int) -> list[dict[str, Any]]:
        """The next `count` rows."""
        return [self.streams[name].take(1)[0] for name in self.turns.split(self.weights(), count)]

    @property
    def size(self) -> int:
        """Rows of all domains."""
        return sum(stream.size or 0 for stream in self.streams.values())

    @property
    def consumed(self) -> dict[str, Any]:
        """How many prompts each domain has given, and what each has coming."""
        taken = {name: stream.consumed for name, stream in self.streams.items()}
        return {"taken": taken, "credit": dict(self.turns.credit)}

    def skip_to(self, consumed: Mapping[str, Any]) -> None:
        for name, count in consumed["taken"].items():
            self.streams[name].skip_to(count)
        self.turns.credit = dict(consumed["credit"])


def split_by_column(dataset: Dataset, column: str) -> dict[str, Dataset]:
    """A dataset's rows by the text in one of its columns, in the order in which the texts come."""
    places: dict[str, list[int]] = {}
    for index, name in enumerate(dataset[column]):
        places.setdefault(str(name), []).append(index)
    return {name: dataset.select(indices) for name, indices in places.items()}


@dataclass
class BranchPrompts:
    """
    Where a branch gets its prompts from.

    Args:
        native (`PromptStream` or `Mixture`, *optional*): Prompts of its own domain; the student has none.
        cross (`dict[str, PromptStream]`): Prompts of other branches' domains, streams of their own.
        turn (`int`): Cross prompts drawn so far: whose turn it is among the edges.
        turns (`Turns`): What each edge has coming, where they do not simply take turns.
    """

    native: PromptStream | Mixture | None = None
    cross: dict[str, PromptStream] = field(default_factory=dict)
    turn: int = 0
    turns: Turns = field(default_factory=Turns)

    def draw(
        self, plan: BranchPlan, prompts: int, fraction: float, weights: Mapping[str, float] | None = None
    ) -> tuple[list[dict], list[tuple[Edge, dict]]]:
        """
        Draw the branch's share of the global generation batch.

        Args:
            plan ([`BranchPlan`]): Whether it learns natively and which edges are live.
            prompts (`int`): P, prompts of a full generation batch.
            fraction (`float`): Share of them that is cross-branch while edges are live.
            weights (`Mapping[str, float]`, *optional*): Weight of each edge by its label; `None`: they take turns.

        Returns:
            Native rows, and cross rows with their edges, ordered by edge.
        """
        if not plan.edges:
            crossing = 0
        elif not plan.native:
            crossing = prompts
        else:
            crossing = cross_prompts(prompts, fraction)
        native = self.native.take(prompts - crossing) if self.native is not None and plan.native else []
        if weights is None:
            turns = [plan.edges[(self.turn + i) % len(plan.edges)] for i in range(crossing)]
        else:
            labelled = {edge.label: edge for edge in plan.edges}
            shares = {label: weights[label] for label in labelled}
            turns = [labelled[label] for label in self.turns.split(shares, crossing)] if crossing else []
        self.turn += crossing
        # rows of one edge are consecutive, so that one forward scores each teacher's rows as a group
        cross = [(edge, self.cross[edge.domain].take(1)[0]) for edge in sorted(turns)]
        return native, cross

    def position(self) -> dict[str, Any]:
        """How many prompts have been drawn from each stream."""
        return {
            "turn": self.turn,
            "credit": dict(self.turns.credit),
            "native": self.native.consumed if self.native is not None else None,
            "cross": {domain: stream.consumed for domain, stream in self.cross.items()},
        }

    def move_to(self, position: dict[str, Any]) -> None:
        """Move every stream to a place that `position` gave."""
        self.turn, self.turns.credit = position["turn"], dict(position["credit"])
        if self.native is not None:
            self.native.skip_to(position["native"])
        for domain, consumed in position["cross"].items():
            self.cross[domain].skip_to(consumed)


def check_chat_template(
    expert: str, dataset: Dataset | IterableDataset, processing_class: PreTrainedTokenizerBase | ProcessorMixin
) -> None:
    """Refuse messages that the tokenizer cannot turn into text, before a round finds out."""
    if is_conversational(next(iter(dataset.take(1)))) and not processing_class.chat_template:
        raise ValueError(
            f"The prompts of expert {expert!r} are messages, but the tokenizer has no chat template for them. Set "
            "`processing_class.chat_template`, or use plain text prompts (in a recipe: `chat: false`)."
        )


def derived_seed(seed: int, *names: str) -> int:
    """A seed of its own for a named stream, the same in every process and every run."""
    return zlib.crc32("\0".join([str(seed), *names]).encode()) & 0x7FFFFFFF


def hold_out_probe(
    train: Dataset | IterableDataset, held_out: Dataset | IterableDataset | None, size: int, batch_size: int
) -> tuple[Dataset | IterableDataset, list[dict[str, Any]]]:
    """
    Fixed prompts on which overlap is measured, never trained on.

    Args:
        train: The domain's training data.
        held_out: The domain's evaluation data, whose first rows are the probe; without it, the last rows of `train`
            (of a stream the first) are set aside, as long as a generation batch and nine tenths of the rows remain.
        size (`int`): Rows wanted.
        batch_size (`int`): Prompts of a full generation batch.

    Returns:
        The data to train on, and the probe rows (empty if none can be spared).
    """
    if held_out is not None:
        rows = held_out.take(min(size, len(held_out)) if isinstance(held_out, Dataset) else size)
        return train, list(rows)
    streamed = isinstance(train, IterableDataset)
    enough = max(10 * size, size + batch_size)  # of a stream no more rows are read
    count = sum(1 for _ in train.take(enough)) if streamed else len(train)
    size = max(0, min(size, count // 10, count - batch_size))
    if streamed:
        return (train.skip(size), list(train.take(size))) if size else (train, [])
    rest = count - size
    return train.select(range(rest)), [train[index] for index in range(rest, count)]
