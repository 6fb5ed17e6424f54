"""Who may run at the same time: many beside each other, or one alone. Shared by the pool and the sandbox's slots."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator


HOLD_SECONDS = 10.0  # wall clock for which one that is alone, or waits for it, keeps the others out


class Turns:
    """
    Many may be beside each other, or one alone. One that waits to be alone goes before those that come later.

    Being alone makes a measurement of CPU time better; it is not worth a halt. So nobody is kept out for longer than
    `hold` seconds by one request: after that, whoever wants to be alone goes on in company.

    Args:
        hold (`float`, *optional*, defaults to 10.0): Seconds of wall time.
    """

    def __init__(self, hold: float = HOLD_SECONDS) -> None:
        self.hold = hold
        self._changed = threading.Condition()
        self._beside, self._alone = 0, 0
        self._requests: list[float] = []  # until when each of those that are alone, or wait for it, keeps others out

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        """Run beside others. Waits while one is alone, or waits to be alone."""
        with self._changed:
            self._wait(lambda: not self._kept_out(), max(self._requests, default=0.0))
            self._beside += 1
        try:
            yield
        finally:
            with self._changed:
                self._beside -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Run while nobody else does, or for want of that when others have been kept out for long enough."""
        with self._changed:
            until = time.monotonic() + self.hold
            self._requests.append(until)
            try:
                self._wait(lambda: not self._alone and not self._beside, until)
                self._alone += 1
            except BaseException:  # Ctrl-C while it waits must not keep the others out
                self._leave(until)
                raise
        try:
            yield
        finally:
            with self._changed:
                self._alone -= 1
                self._leave(until)

    def _kept_out(self) -> bool:
        now = time.monotonic()
        return any(now < until for until in self._requests)

    def _leave(self, until: float) -> None:
        self._requests.remove(until)
        self._changed.notify_all()

    def _wait(self, ready: Callable[[], bool], until: float) -> None:
        while not ready() and (left := until - time.monotonic()) > 0:
            self._changed.wait(left)
