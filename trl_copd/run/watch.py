"""An error in one process ends the others too, with its reason, wherever they are waiting for it."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from accelerate import Accelerator
from torch.distributed import DistError, Store
from torch.distributed.distributed_c10d import _get_default_store


EVERY = 1.0  # seconds between two looks at the store
GRACE = 30.0  # seconds in which a process that has been told may end by itself
FAREWELL = 5.0  # seconds in which a failed process waits for the others to have read its reason


class Watch:
    """
    Tells the other processes of a run that this one has failed, and ends this one if another has.

    A process that waits in a collective for one that has raised would wait until the time-out of the backend, ten
    minutes with NCCL and thirty with gloo, and then name the collective and not the reason. So a thread looks for a
    reason in the store that the processes have met by. It only reads: it holds no lock that a fork of this process
    could need.

    Args:
        accelerator ([`~accelerate.Accelerator`]): The processes.
        agreed (`tuple[type[Exception], ...]`): Are raised on all processes at once: there is nobody to tell.
    """

    _runs = 0  # watched so far, the same in every process

    def __init__(self, accelerator: Accelerator, agreed: tuple[type[Exception], ...]):
        self.accelerator, self.agreed = accelerator, agreed

    @contextmanager
    def watching(self) -> Iterator[None]:
        """For the length of the context; an error that leaves it says whether another process had failed before."""
        if self.accelerator.num_processes == 1:
            yield
            return
        Watch._runs += 1
        key, left = f"trl_copd/failed/{Watch._runs}", threading.Event()
        store: Any = _get_default_store()  # torch's types know no `clone`
        # a connection of its own: one that waits holds a lock
        reader = threading.Thread(target=self._read, args=(store.clone(), key, left), daemon=True)
        reader.start()
        try:
            yield
        except self.agreed:
            raise
        except Exception as error:
            left.set()  # this one ends by itself
            first = self._tell(store.clone(), key, f"process {self.accelerator.process_index} raised {error!r}")
            if first is not None:
                error.add_note(f"Before that, {first}.")
            raise
        finally:
            left.set()
            reader.join()

    def _tell(self, store: Store, key: str, reason: str) -> str | None:
        """Leave the reason, unless there is one already, which is returned; then let the others read it."""
        try:
            first = store.compare_set(key, "", reason).decode()
            if first != reason:
                self._count(store, key)
                return first
            store.set_timeout(timedelta(seconds=FAREWELL))
            store.wait([f"{key}/read"])
        except DistError:
            pass  # its process is gone, or the others do not answer
        return None

    def _count(self, store: Store, key: str) -> None:
        """One more process has read the reason; the one that gave it waits for the last."""
        if store.add(f"{key}/readers", 1) >= self.accelerator.num_processes - 1:
            store.set(f"{key}/read", "")

    def _read(self, store: Store, key: str, left: threading.Event) -> None:
        """Look for another process's reason until the context is left; end the process if it is stuck."""
        reason = None
        while reason is None and not left.wait(EVERY):
            try:
                if store.check([key]):
                    reason = store.get(key).decode()
                    self._count(store, key)
            except DistError:
                reason = "the process that holds the store is gone"
        if reason is not None and not left.wait(GRACE):
            print(
                f"Process {self.accelerator.process_index} ends: {reason}, and this one waits for it.", file=sys.stderr
            )
            sys.stderr.flush()
            os._exit(1)
