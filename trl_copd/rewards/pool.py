"""
Worker processes that can be killed, shared by all rewards of a process.

A verifier that hangs in this process cannot be stopped: signals need the main thread, and threads cannot be killed.
Here each call runs in a plain subprocess under a CPU limit that the kernel keeps; a worker that exceeds it is gone,
and the next call gets another.
"""

import atexit
import contextlib
import os
import pickle
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from .sandbox.turns import Turns
from .worker_process import Job, Outcome, Worker


MAX_WORKERS = 32  # by default: each holds what its verifier imports, about 100 MB for sympy
MEMORY_MIB = 1024  # that one call may take
NEAR_LIMIT = 0.5  # share of its CPU limit above which a call is repeated alone. CPU time varies by a third under load
CALLS_PER_WORKER = 10_000  # then it is replaced: libraries that cache also leak


class WorkerPool:
    """
    Killable workers. Thread-safe; workers start when there is work for them. Use [`shared_pool`] rather than your own.

    Args:
        workers (`int`, *optional*): How many at most; see [`default_workers`].

    Raises:
        ValueError: `workers` is below 1.
    """

    def __init__(self, workers: int | None = None):
        if workers is not None and workers < 1:
            raise ValueError(f"`workers` must be at least 1, got {workers}.")
        self.workers = workers or default_workers()
        self._jobs: queue.SimpleQueue[tuple[Job, Future[Outcome]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._alive: set[Worker] = set()
        self._turns = Turns()

    def map(
        self,
        function: Callable[..., Any],
        calls: Sequence[tuple[Any, ...]],
        cpu_seconds: float,
        wall_seconds: float | None = None,
        memory_mib: int | None = MEMORY_MIB,
        prepare: Callable[[], Any] | None = None,
    ) -> list[Outcome]:
        """
        Call `function` once per tuple of arguments and wait for all.

        CPU time decides, so that a busy machine changes nothing. A call that used more than half of its limit, or was
        ended in any way, is repeated by a fresh worker while the pool does nothing else, and that outcome counts.

        Args:
            function (`Callable`): Picklable by reference: of a module other than `__main__`, or a partial of such.
            calls (`Sequence[tuple]`): Arguments, picklable.
            cpu_seconds (`float`): Limit per call, over all threads of the worker; processes it starts do not count.
            wall_seconds (`float`, *optional*, defaults to `10 * cpu_seconds`): Backstop for a call that sleeps.
            memory_mib (`int`, *optional*, defaults to 1024):
                How far the worker's address space may grow in a call (Linux; elsewhere there is no limit).
            prepare (`Callable`, *optional*): Run once per worker before its first call, not counted: imports, caches.

        Returns:
            `list[Outcome]`: One per call, in order.

        Raises:
            ValueError: `cpu_seconds` is not above 0, or `function` cannot be found by a worker.
        """
        if not cpu_seconds > 0:
            raise ValueError(f"`cpu_seconds` must be above 0, got {cpu_seconds}.")
        packed = pack(function, prepare)
        wall = 10 * cpu_seconds if wall_seconds is None else wall_seconds
        jobs = [Job(packed, tuple(arguments), cpu_seconds, wall, memory_mib) for arguments in calls]
        futures: list[Future[Outcome]] = [Future() for _ in jobs]
        self._need(len(jobs))
        for pair in zip(jobs, futures, strict=True):
            self._jobs.put(pair)
        outcomes = [future.result() for future in futures]  # all, before the first repetition holds up the others
        return [self._settle(job, outcome) for job, outcome in zip(jobs, outcomes, strict=True)]

    def beside(self) -> contextlib.AbstractContextManager[None]:
        """For work outside the pool that must not run while a call is repeated alone."""
        return self._turns.beside()

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """For work outside the pool that is repeated alone: waits until nothing runs and lets nothing start."""
        return self._turns.alone()

    def close(self) -> None:
        """End all workers. Calls that wait get the outcome `"crashed"`; the pool can be used again."""
        with self._lock:
            threads, self._threads = self._threads, []
            with contextlib.suppress(queue.Empty):
                while True:
                    item = self._jobs.get_nowait()
                    if item is not None:
                        item[1].set_result(Outcome("crashed", error="the pool was closed"))
            for _ in threads:
                self._jobs.put(None)
            for worker in list(self._alive):
                worker.kill()
            self._alive.clear()

    def _settle(self, job: Job, outcome: Outcome) -> Outcome:
        """The outcome that counts: the first, unless the call was ended or near its limit."""
        if outcome.status == "raised" or (outcome.status == "ok" and outcome.cpu <= NEAR_LIMIT * job.cpu_seconds):
            return outcome
        with self._turns.alone():
            worker = self._start()
            try:
                return worker.run(job)
            finally:
                self._stop(worker)

    def _need(self, jobs: int) -> None:
        """Have a thread, which is a worker to be, for each of `jobs` if the number of workers allows."""
        with self._lock:
            for _ in range(min(self.workers - len(self._threads), jobs)):
                thread = threading.Thread(target=self._serve, name="trl-copd-pool", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self) -> None:
        worker: Worker | None = None
        while (item := self._jobs.get()) is not None:
            job, future = item
            try:
                with self._turns.beside():
                    if worker is None or worker.dead or worker.calls >= CALLS_PER_WORKER:
                        self._stop(worker)
                        worker = self._start()
                    future.set_result(worker.run(job))
            except BaseException as error:  # whoever waits for the future must hear of it
                future.set_exception(error)
        self._stop(worker)

    def _start(self) -> Worker:
        worker = Worker()
        with self._lock:
            self._alive.add(worker)
        return worker

    def _stop(self, worker: Worker | None) -> None:
        if worker is not None:
            worker.kill()
            with self._lock:
                self._alive.discard(worker)


def pack(function: Callable[..., Any], prepare: Callable[[], Any] | None = None) -> bytes:
    """
    The function as a worker receives it.

    Raises:
        ValueError: It is no function that another process can import.
    """
    try:
        packed = pickle.dumps((function, prepare))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{function!r} cannot run in a worker process: {error}. Define it at the top level of a module, or grade "
            "inline with cpu_seconds=None."
        ) from error
    if b"__main__" in packed:
        raise ValueError(
            f"{function!r} is defined in the running script (__main__), which a worker process cannot import. Move it "
            "to a module beside the script, or grade inline with cpu_seconds=None."
        )
    return packed


def default_workers() -> int:
    """
    `TRL_COPD_WORKERS` if set; else the cores this process may use, shared among the processes that `accelerate` or
    `torchrun` started on the machine (`LOCAL_WORLD_SIZE`), at least 1 and at most 32.

    Raises:
        ValueError: `TRL_COPD_WORKERS` is no number above 0.
    """
    wanted = os.environ.get("TRL_COPD_WORKERS")
    if wanted is not None:
        if not (wanted.isascii() and wanted.isdigit() and int(wanted) > 0):
            raise ValueError(f"TRL_COPD_WORKERS must be a number above 0, got {wanted!r}. Unset it for the default.")
        return int(wanted)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, min(cores // max(1, int(ranks) if ranks.isdigit() else 1), MAX_WORKERS))


_shared: WorkerPool | None = None
_shared_lock = threading.Lock()


def shared_pool() -> WorkerPool:
    """The pool of this process. A fork gets one of its own: the workers of its parent answer to the parent only."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = WorkerPool()
            atexit.register(_shared.close)
        return _shared


def _forget() -> None:
    # No lock of the parent is of use here: the thread that held it does not exist in the fork
    global _shared, _shared_lock
    if _shared is not None:
        atexit.unregister(_shared.close)
    _shared, _shared_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_forget)
