"""Forwards over rows of several adapters, without dropout: all rows at once where the adapters can be stacked."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import groupby

import torch
from accelerate.logging import get_logger
from peft import PeftModel

from . import adapters, pixels, sharding
from .shared_prompts import SharedPrompts


logger = get_logger(__name__)

# (ids, mask, completion length, further inputs by name) to log-probabilities of the completions, nats
LogProbabilities = Callable[..., torch.Tensor]


class Forwards:
    """
    Runs a model over rows of several of its adapters.

    Args:
        model ([`~peft.PeftModel`]): Holds the adapters.
        shared_prompts ([`SharedPrompts`], *optional*): Lets rows of one prompt share it, in update and scoring.
    """

    def __init__(self, model: PeftModel, shared_prompts: SharedPrompts | None = None):
        self.model, self.shared_prompts = model, shared_prompts
        self.stackable: dict[frozenset[str], bool] = {}

    def can_stack(self, names: Sequence[str]) -> bool:
        """Whether the adapters can share a forward; warns once with the reason if they cannot."""
        key = frozenset(names)
        if key not in self.stackable:
            obstacle = adapters.stacking_obstacle(self.model, names) if len(key) > 1 else None
            if obstacle is not None and all(self.stackable.values()):
                logger.warning(f"Branches are sampled and scored one after the other: {obstacle}.")
            self.stackable[key] = obstacle is None
        return self.stackable[key]

    def forget(self, name: str) -> None:
        """An adapter is gone, or another one bears its name."""
        self.stackable = {key: value for key, value in self.stackable.items() if name not in key}

    def sharing(self, groups: adapters.RowGroups | None = None) -> AbstractContextManager[None]:
        """Let rows of one prompt share it in forwards with TRL's fused LM head, if the run does so."""
        return self.shared_prompts.active(groups) if self.shared_prompts is not None else nullcontext()

    @contextmanager
    def without_dropout(self) -> Iterator[None]:
        """Put the model into evaluation mode, and back as it was."""
        training = self.model.training
        self.model.eval()
        try:
            yield
        finally:
            self.model.train(training)

    @contextmanager
    def inference(self, names: Sequence[str]) -> Iterator[Iterator[slice]]:
        """
        Run the model without dropout over rows, the i-th under `names[i]`.

        Yields the slices of rows to run one after the other: all at once if the adapters can be stacked.
        """
        runs, counts = run_lengths(names)
        with self.without_dropout(), sharding.gathered(self.model):
            if self.can_stack([name for name in runs if name != adapters.BASE]):
                with adapters.grouped(self.model, runs, counts) as groups, self.sharing(groups):
                    yield iter([slice(0, len(names))])
            else:
                yield self._one_by_one(runs, counts)

    def _one_by_one(self, runs: list[str], counts: list[int]) -> Iterator[slice]:
        start = 0
        for name, count in zip(runs, counts, strict=True):
            with adapters.only(self.model, name), self.sharing():
                yield slice(start, start + count)
            start += count

    @torch.no_grad()
    def score(
        self, batch: dict[str, torch.Tensor], names: Sequence[str], logps: LogProbabilities, rows: int
    ) -> torch.Tensor:
        """
        Log-probabilities of a batch's completions, row by row under `names[i]`, nats, shape `(B, T)`.

        Moves no weight and draws no random number.

        Args:
            batch (`dict`): TRL's: prompts `(B, P)` and completions `(B, T)` with their masks.
            names (`Sequence[str]`): Adapter of each row; rows of one adapter are consecutive.
            logps (`Callable`): Gives a forward's log-probabilities.
            rows (`int`): Most rows in one forward.
        """
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        length, scored = batch["completion_ids"].size(1), []
        for start in range(0, len(names), rows):
            part = slice(start, start + rows)
            with self.inference(names[part]) as groups:
                for group in groups:
                    own = slice(start + group.start, start + group.stop)
                    scored.append(logps(ids[own], mask[own], length, **pixels.of_rows(batch, own)))
        return torch.cat(scored)


def run_lengths(names: Sequence[str]) -> tuple[list[str], list[int]]:
    """Consecutive equal names and how often each occurs: `a a b` gives `[a, b]` and `[2, 1]`."""
    runs = [(name, len(list(run))) for name, run in groupby(names)]
    return [name for name, _ in runs], [count for _, count in runs]
