"""Engines that hold the base once and load adapters beside it: which weights of which adapter they hold."""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from peft import PeftModel

from ..adapters import BASE, export_adapter, weights_digest
from .sampling import Sampling


class StaleAdapterError(RuntimeError):
    """Rows were to be sampled from weights that the engine does not hold."""


@dataclass
class HeldAdapter:
    """One version of an adapter in the engine: the name it bears there, its file, and its weights' digest."""

    name: str
    folder: Path
    digest: str


class MultiLoRAEngine(ABC):
    """
    An engine in which an adapter travels as a file of its own when its weights have changed, and only then.

    Engines know an adapter by name or number and keep what they loaded under it, prefix caches included; a name that
    is used again serves old weights. So every version of an adapter has a name and a folder that never come back.
    The base is sampled as an adapter that adds nothing: in a batch with other adapters, vLLM on a CPU gives rows
    without one the weights of the last.

    Args:
        model ([`~peft.PeftModel`]): Holds the adapters.
        branches (`Sequence[str]`): Adapters that are trained.
        sampling ([`Sampling`]): How completions are sampled.
        folder (`Path`): Where adapters are written for the engine to read.
        label (`str`): Stands in front of the names, for engines that serve several runs.
    """

    mixes_ranks = True

    def __init__(self, model: PeftModel, branches: Sequence[str], sampling: Sampling, folder: Path, label: str = ""):
        self.model, self.branches, self.sampling = model, tuple(branches), sampling
        self.folder, self.label = folder, label
        self.held: dict[str, HeldAdapter] = {}
        self.bytes_sent = 0  # weights that have travelled so far
        self._versions = 0

    # ---- What an engine has to know ---------------------------------------------------------------------------------

    @abstractmethod
    def _load(self, adapter: HeldAdapter) -> None:
        """Load an adapter that lies in its folder."""

    @abstractmethod
    def _unload(self, adapter: HeldAdapter) -> None:
        """Forget an adapter that will not be asked for again."""

    @abstractmethod
    def _sample(
        self, prompt_ids: list[list[int]], adapters: list[HeldAdapter], greedy: bool
    ) -> tuple[list[list[int]], list[list[float | None]]]:
        """Sample one completion per row, and the log-probabilities of its tokens."""

    # ---- The seam ---------------------------------------------------------------------------------------------------

    def sync(self, adapters: Sequence[str]) -> None:
        """Send the adapters whose weights have changed since they were sent last."""
        changed = {}
        for name in dict.fromkeys(adapters):
            digest = self._digest(name)
            if name not in self.held or self.held[name].digest != digest:
                changed[name] = digest
        for name, digest in changed.items():
            self._versions += 1
            served = f"{self.label}{name}-{self._versions}"
            fresh = HeldAdapter(served, self.folder / served, digest)
            self.bytes_sent += self._write(name, fresh.folder)
            self._load(fresh)
            old, self.held[name] = self.held.get(name), fresh
            if old is not None:
                self._unload(old)
                shutil.rmtree(old.folder, ignore_errors=True)

    def generate(
        self, prompt_ids: list[list[int]], adapters: Sequence[str], greedy: bool = False
    ) -> tuple[list[list[int]], list[list[float | None]]]:
        """
        Sample one completion per row, each with its adapter, in one batch. See [`Engine`].

        Raises:
            StaleAdapterError: The engine does not hold an adapter's weights as they are now.
        """
        for name in dict.fromkeys(adapters):
            self._check_fresh(name)
        if not prompt_ids:
            return [], []
        return self._sample(prompt_ids, [self.held[name] for name in adapters], greedy)

    def _check_fresh(self, name: str) -> None:
        held = self.held.get(name)
        if held is None or held.digest != self._digest(name):
            there = "does not hold it" if held is None else f"holds {held.name!r}, which has been trained since"
            raise StaleAdapterError(
                f"Rows of adapter {name!r} cannot be sampled: the engine {there}, so they would come from other "
                "weights than those in training. Call `engine.sync` before `engine.generate`."
            )

    def _digest(self, name: str) -> str:
        return BASE if name == BASE else weights_digest(self.model, name)

    def _write(self, name: str, folder: Path) -> int:
        return export_adapter(self.model, self.branches[0] if name == BASE else name, folder, null=name == BASE)
