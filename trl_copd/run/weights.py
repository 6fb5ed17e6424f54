"""The adapters of a run as they are saved and loaded, and the student among them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from accelerate.logging import get_logger

from .. import adapters
from ..config import CoPDConfig
from ..forwards import Forwards
from ..topology import STUDENT, Topology
from .folder import expert_place


logger = get_logger(__name__)


class Weights:
    """
    The adapters of a run.

    Args:
        forwards ([`Forwards`]): Holds the model.
        topology ([`Topology`]): Says which adapters there are.
        args ([`CoPDConfig`]): How the experts are merged.
    """

    def __init__(self, forwards: Forwards, topology: Topology, args: CoPDConfig):
        self.forwards, self.topology, self.args = forwards, topology, args

    @contextmanager
    def student(self) -> Iterator[None]:
        """The student as an adapter: its own branch, or the merge of the experts for the length of the context."""
        merging: AbstractContextManager[None] = nullcontext()
        if not self.topology.has_student_branch:
            merging = adapters.merged_student(
                self.forwards.model, self.topology.experts, self.args.merge_method, self.args.merge_density
            )
        with merging:
            yield
        self.forwards.forget(STUDENT)

    def restart_student(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the student's branch to the mean of the experts, and forget the moments of what it was."""
        adapters.set_to_average(self.forwards.model, STUDENT, self.topology.experts)
        for parameter in adapters.branch_parameters(self.forwards.model, STUDENT):
            optimizer.state.pop(parameter, None)

    def copies(self) -> dict[str, adapters.AdapterCopy]:
        """
        Copies of student and experts by their place in a folder.

        All of them before any is written: under FSDP2 every process takes part, whether the disk is full or not.
        """
        model = self.forwards.model
        copies = {expert_place(name): adapters.copy_adapter(model, name) for name in self.topology.experts}
        with self.student():
            copies[""] = adapters.copy_adapter(model, STUDENT)
        return copies

    def load_best(self, folder: str) -> None:
        """Load the best checkpoint, if it is still there."""
        if Path(folder).is_dir():
            self.load(folder)
        else:
            logger.warning(f"The best checkpoint, {folder!r}, is gone: the run ends with its last weights.")

    def load(self, folder: str | Path) -> None:
        """Overwrite every branch's weights with those that a checkpoint holds."""
        for name in self.topology.branches:
            place = folder if name == STUDENT else Path(folder) / expert_place(name)
            adapters.load_adapter(self.forwards.model, name, place)
