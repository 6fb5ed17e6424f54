"""Forwards over rows of several adapters, without dropout: all rows at once where the adapters can be stacked."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import groupby

import torch
from accelerate.logging import get_logger
from peft import PeftModel

from . import adapters, pixels, sharding
from .image_features import ImageFeatures
from .precision import Precision
from .shared_prompts import SharedPrompts


logger = get_logger(__name__)

# (ids, mask, completion length, further inputs by name) to log-probabilities of the completions, nats
LogProbabilities = Callable[..., torch.Tensor]


class Forwards:
    """
    Runs a model over rows of several of its adapters.

    Args:
        model ([`~peft.PeftModel`]): Holds the adapters.
        precision ([`Precision`], *optional*): Of scoring; that of the model if absent.
        shared_prompts ([`SharedPrompts`], *optional*): Lets rows of one prompt share it, in update and scoring.
        images ([`ImageFeatures`], *optional*): Keeps the features of images, of a base that sees.
    """

    def __init__(
        self,
        model: PeftModel,
        precision: Precision | None = None,
        shared_prompts: SharedPrompts | None = None,
        images: ImageFeatures | None = None,
    ):
        self.model, self.precision, self.shared_prompts, self.images = model, precision, shared_prompts, images
        self.stackable: dict[frozenset[str], bool] = {}

    @property
    def scores_in_float32(self) -> bool:
        """Whether a 16-bit model is scored and compared in float32."""
        return self.precision is not None and self.precision.everything

    def can_stack(self, names: Sequence[str]) -> bool:
        """
        Whether groups of rows can share a forward; warns once with the reason if they cannot.

        Args:
            names (`Sequence[str]`): Adapter of each group, or `"base"`. One group alone always can.
        """
        key = frozenset(names) - {adapters.BASE}
        if len(names) < 2 or not key:
            return len(names) < 2  # nothing can be stacked on nothing
        if key not in self.stackable:
            obstacle = adapters.stacking_obstacle(self.model, sorted(key))
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
        if not self.model.training:  # a walk over all modules of all adapters takes as long as a small forward
            yield
            return
        self.model.eval()
        try:
            yield
        finally:
            self.model.train()

    @contextmanager
    def inference(self, names: Sequence[str], like: Sequence[str] | None = None) -> Iterator[Iterator[slice]]:
        """
        Run the model without dropout over rows, the i-th under `names[i]`.

        Yields the slices of rows to run one after the other: all at once if the adapters can be stacked.

        Args:
            names (`Sequence[str]`): Adapter of each row; rows of one adapter are consecutive.
            like (`Sequence[str]`, *optional*): Names, of adapters or others, by which the rows are grouped instead.
                Adapters with equal weights then give equal numbers to the bit: both go through the same operations.
        """
        runs, counts = run_lengths(names, like)
        with self.without_dropout(), sharding.gathered(self.model), self._acting(runs, like) as over:
            yield over(counts)

    @contextmanager
    def _acting(
        self, runs: list[str], like: Sequence[str] | None = None
    ) -> Iterator[Callable[[list[int]], Iterator[slice]]]:
        """Apply `runs[i]` to the i-th run of rows; yields what tells, for the lengths of the runs, what to run."""

        def at_once(counts: list[int]) -> Iterator[slice]:
            with groups.resized(counts), self.sharing(groups):
                yield slice(0, sum(counts))

        def one_by_one(counts: list[int]) -> Iterator[slice]:
            start = 0
            for name, count in zip(runs, counts, strict=True):
                with adapters.only(self.model, name), self.sharing():
                    yield slice(start, start + count)
                start += count

        # whom they are compared with must go the same way; `like` may hold other labels than names of adapters
        others = {*(like or ())} & {*self.model.peft_config} - {*runs}
        if self.can_stack([*runs, *others]):
            with adapters.grouped(self.model, runs, [1] * len(runs), wide=self.precision is not None) as groups:
                yield at_once
        else:
            yield one_by_one

    @torch.no_grad()
    def score(
        self,
        batch: dict[str, torch.Tensor],
        names: Sequence[str],
        logps: LogProbabilities,
        rows: int,
        like: Sequence[str] | None = None,
    ) -> torch.Tensor:
        """
        Log-probabilities of a batch's completions, row by row under `names[i]`, nats, shape `(B, T)`.

        Moves no weight and draws no random number.

        Args:
            batch (`dict`): TRL's: prompts `(B, P)` and completions `(B, T)` with their masks.
            names (`Sequence[str]`): Adapter of each row; rows of one adapter are consecutive.
            logps (`Callable`): Gives a forward's log-probabilities.
            rows (`int`): Most rows in one forward.
            like (`Sequence[str]`, *optional*): See `inference`.
        """
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        length, scored = batch["completion_ids"].size(1), []

        def runs(part: slice) -> tuple[list[str], list[int]]:
            return run_lengths(names[part], like and like[part])

        parts = [slice(start, start + rows) for start in range(0, len(names), rows)]
        with self.without_dropout(), sharding.gathered(self.model), self._scoring():
            for acting, same in groupby(parts, key=lambda part: runs(part)[0]):  # patched once for all alike
                with self._acting(acting, like) as over:
                    for part in same:
                        for group in over(runs(part)[1]):
                            own = slice(part.start + group.start, part.start + group.stop)
                            scored.append(logps(ids[own], mask[own], length, **pixels.of_rows(batch, own)))
        return torch.cat(scored)

    def _scoring(self) -> AbstractContextManager:
        return nullcontext() if self.precision is None else self.precision.scoring()

    @contextmanager
    def comparing(self, names: Sequence[str], like: Sequence[str] | None = None) -> Iterator[Iterator[slice]]:
        """As `inference`, in the precision of scoring; the head's is up to the caller."""
        with nullcontext() if self.precision is None else self.precision.comparing():
            with self.inference(names, like) as groups:
                yield groups


def run_lengths(names: Sequence[str], like: Sequence[str] | None = None) -> tuple[list[str], list[int]]:
    """
    Consecutive equal names and how often each occurs: `a a b` gives `[a, b]` and `[2, 1]`. With `like`, runs end where
    the name there changes as well.
    """
    runs = [(name, len(list(run))) for (name, _), run in groupby(zip(names, like or names, strict=True))]
    return [name for name, _ in runs], [count for _, count in runs]
