"""Endless streams of prompts that can be resumed: where a dataset row enters a round."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from datasets import Dataset, IterableDataset
from transformers import PreTrainedTokenizerBase, ProcessorMixin
from trl.data_utils import is_conversational
from trl.trainer.utils import RepeatSampler

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


@dataclass
class BranchPrompts:
    """
    Where a branch gets its prompts from.

    Args:
        native (`PromptStream`, *optional*): Prompts of its own domain; the student has none.
        cross (`dict[str, PromptStream]`): Prompts of other branches' domains, streams of their own.
        turn (`int`): Cross prompts drawn so far: whose turn it is among the edges.
    """

    native: PromptStream | None = None
    cross: dict[str, PromptStream] = field(default_factory=dict)
    turn: int = 0

    def draw(self, plan: BranchPlan, prompts: int, fraction: float) -> tuple[list[dict], list[tuple[Edge, dict]]]:
        """
        Draw the branch's share of the global generation batch.

        Args:
            plan ([`BranchPlan`]): Whether it learns natively and which edges are live.
            prompts (`int`): P, prompts of a full generation batch.
            fraction (`float`): Share of them that is cross-branch while edges are live.

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
        turns = [plan.edges[(self.turn + i) % len(plan.edges)] for i in range(crossing)]
        self.turn += crossing
        # rows of one edge are consecutive, so that one forward scores each teacher's rows as a group
        cross = [(edge, self.cross[edge.domain].take(1)[0]) for edge in sorted(turns)]
        return native, cross

    def position(self) -> dict[str, Any]:
        """How many prompts have been drawn from each stream."""
        return {
            "turn": self.turn,
            "native": self.native.consumed if self.native is not None else None,
            "cross": {domain: stream.consumed for domain, stream in self.cross.items()},
        }

    def move_to(self, position: dict[str, Any]) -> None:
        """Move every stream to a place that `position` gave."""
        self.turn = position["turn"]
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
            f"The prompts of expert {expert!r} are messages, but the tokenizer has no chat template to turn them into "
            "text. Set `processing_class.chat_template`, or use prompts that are plain text (in a recipe: `chat: "
            "false`)."
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
            are set aside, as long as a generation batch and nine tenths of the rows remain.
        size (`int`): Rows wanted.
        batch_size (`int`): Prompts of a full generation batch.

    Returns:
        The data to train on, and the probe rows (empty if none can be spared).
    """
    if held_out is not None:
        rows = held_out.take(min(size, len(held_out)) if isinstance(held_out, Dataset) else size)
        return train, list(rows)
    if isinstance(train, Dataset):
        size = max(0, min(size, len(train) // 10, len(train) - batch_size))
        rest = len(train) - size
        return train.select(range(rest)), [train[index] for index in range(rest, len(train))]
    return train.skip(size), list(train.take(size))
