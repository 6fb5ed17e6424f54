"""
Where submissions run: slots, shared by all code rewards of a process. Slots are started when they are first needed,
belong to the process that started them (a fork gets its own), and end with it.
"""

import atexit
import contextlib
import os
import threading
import time
from collections.abc import Iterator

from ._linux import SandboxError
from .command import announce, require_level
from .slot import CaseRun, Execution, JobRun, Slot
from .turns import Turns


__all__ = ["CaseRun", "Execution", "JobRun", "Slot", "Slots", "shared_slots"]


class Slots:
    """
    The slots of one kind.

    Args:
        level (`str`): Level of confinement.
        packages (`tuple[str, ...]`): Installed packages that submissions may import.
        count (`int`): How many.
    """

    def __init__(self, level: str, packages: tuple[str, ...], count: int):
        self.level, self.packages = level, packages
        self.count = count
        self._free = [Slot(level, packages) for _ in range(count)]
        self._condition = threading.Condition()
        self._turns = Turns()

    @contextlib.contextmanager
    def slot(self) -> Iterator[Slot]:
        """A slot for this thread, started."""
        with self._turns.beside(), self._taken() as slot:
            yield slot

    @contextlib.contextmanager
    def alone(self) -> Iterator[Slot]:
        """A slot while no other one works: for a grade that was near a limit."""
        with self._turns.alone(), self._taken() as slot:
            yield slot

    @contextlib.contextmanager
    def _taken(self) -> Iterator[Slot]:
        with self._condition:
            self._condition.wait_for(lambda: self._free)
            slot = self._free.pop()
        try:
            yield self._started(slot)
        finally:
            with self._condition:
                self._free.append(slot)
                self._condition.notify()

    def _started(self, slot: Slot) -> Slot:
        if not slot.alive:
            slot.close()
            for attempt in range(3):
                try:
                    slot.start()
                    break
                except SandboxError:
                    if attempt == 2:
                        raise
                    time.sleep(0.1)
        return slot

    def close(self) -> None:
        with self._condition:
            for slot in self._free:
                slot.close()


_shared: dict[tuple[str, tuple[str, ...]], Slots] = {}
_owner = os.getpid()
_lock = threading.Lock()


def shared_slots(level: str | None, packages: tuple[str, ...], count: int) -> Slots:
    """The slots of this process for these settings; a forked process gets its own."""
    global _owner
    with _lock:
        if _owner != os.getpid():
            _shared.clear()
            _owner = os.getpid()
        key = (require_level(level), packages)
        if key not in _shared:
            announce(key[0])
            _shared[key] = Slots(*key, count)
        return _shared[key]


@atexit.register
def _close_all() -> None:
    if _owner == os.getpid():
        for slots in _shared.values():
            slots.close()


def _forget() -> None:
    """In a forked child: the lock may have been held by a thread that is not there any more."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget)
