"""What a sandbox uses, seen from outside: CPU time, memory, files, and time in which it waited for nothing."""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from . import _files
from ._confine import Limits


_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TASKS = 512  # of one process that are looked at; a program with as many is over its limit
_CLOSED_LOOKS = 20


@dataclass
class _Usage:
    """Of one process: CPU seconds of its own and of children that it waited for, bytes of memory, threads."""

    own: float
    waited: float
    resident: int
    tasks: int


class Watch:
    """
    Looks at a process and all that descends from it.

    `idle` is what tells a program that sleeps from one that is starved on a busy machine: the time in which none of
    its threads ran or waited for a processor. It grows alike on an idle machine and on a loaded one. A thread that
    cannot be interrupted is idle too: a program can have that by choice.

    Args:
        pid (`int`): The process.
        companions (`Sequence[int]`): Processes that it may be waiting for: it is not idle while one of them works.
        waited (`bool`): Whether the CPU time of children that it has waited for counts.
        apart (`Sequence[int]`): Processes of these that are not the program's.
        home (`str`, *optional*): Directory of the program where no file system of its own limits what it writes.

    Attributes:
        cpu (`float`): CPU time used, seconds, of those that live and of those that are gone, waited for or not.
        resident (`int`): Bytes of memory, shared pages counted once per process.
        disk (`int`): Bytes of files, where it has a `home`.
        processes (`int`): How many live, threads counted.
        idle (`float`): Seconds of idleness so far.
    """

    def __init__(
        self,
        pid: int,
        companions: Sequence[int] = (),
        waited: bool = True,
        apart: Sequence[int] = (),
        home: str | None = None,
    ):
        self.pid, self.companions, self._waited, self.apart, self.home = pid, list(companions), waited, apart, home
        self.cpu, self.resident, self.disk, self.processes, self.idle = 0.0, 0, 0, 1, 0.0
        self._last, self._lost = time.monotonic(), 0.0
        self._tasks: dict[str, int] = {}
        self._closed: dict[int, int] = {}  # looks since a process let itself be looked at
        self._own: dict[tuple[int, bytes], float] = {}

    def look(self, limits: Limits | None = None) -> None:
        """Update the attributes. Where there is no /proc they stay, and the limits of the kernel remain."""
        now = time.monotonic()
        tasks: dict[str, int] = {}
        usages: dict[tuple[int, bytes], _Usage] = {}
        family = [pid for pid in descendants(self.pid) if pid not in self.apart]
        for pid in [*family, *self.companions]:
            try:
                started, usage = _usage(pid, tasks)
            except (OSError, ValueError, IndexError):  # it ended meanwhile
                continue
            if pid not in self.companions:
                usages[pid, started] = usage
        if not usages:
            return
        before = self.cpu
        self._count_cpu(usages)
        wanted = sum(value - self._tasks.get(task, 0) for task, value in tasks.items()) / 1e9
        self.idle += max(0.0, now - self._last - max(wanted, self.cpu - before))
        self.resident = sum(usage.resident for usage in usages.values())
        self.processes = sum(usage.tasks for usage in usages.values())
        if self.home is not None and limits is not None:
            self.disk = self._held(self.home, [pid for pid, _ in usages], limits.disk_mib << 20)
        self._last, self._tasks = now, tasks

    def _count_cpu(self, usages: dict[tuple[int, bytes], _Usage]) -> None:
        """A process that vanished and that nobody waited for takes nothing back: what was last seen of it stays."""
        seen = sum(usage.own + (usage.waited if self._waited else 0.0) for usage in usages.values())
        grown = sum(usage.own - self._own.get(process, 0.0) for process, usage in usages.items())
        self.cpu = max(seen + self._lost, self.cpu + grown)
        self._lost = self.cpu - seen
        self._own = {process: usage.own for process, usage in usages.items()}

    def _held(self, home: str, pids: list[int], most: int) -> int:
        """A process that starts or ends cannot be looked at for a moment; one that never can hides what it holds."""
        size, closed = _files.held(home, pids, most)
        self._closed = {pid: self._closed.get(pid, 0) + 1 for pid in closed if not _is_zombie(pid)}
        return most + 1 if max(self._closed.values(), default=0) > _CLOSED_LOOKS else size

    def over(self, limits: Limits, wall: float) -> str | None:
        """Which limit is exceeded, after so many seconds of wall time; `None` if none is."""
        if self.cpu > limits.cpu_seconds:
            return "cpu"
        if self.resident > limits.memory_mib << 20:
            return "memory"
        if self.disk > limits.disk_mib << 20:
            return "disk"
        if self.processes > limits.processes:
            return "processes"
        if self.idle > limits.idle_seconds:
            return "idle"
        return "wall" if wall > limits.wall_seconds else None


def _usage(pid: int, tasks: dict[str, int]) -> tuple[bytes, _Usage]:
    """
    When a process started, and what it uses; adds to `tasks` how long each of its threads ran or waited to run.
    Read as bytes: the program chooses the name that is in the middle of it.
    """
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    own, waited = sum(map(int, fields[11:13])) / _TICK, sum(map(int, fields[13:15])) / _TICK
    usage = _Usage(own, waited, resident=0, tasks=1)
    try:
        names = os.listdir(f"/proc/{pid}/task")
        usage.tasks = len(names)
        for name in names[:_TASKS]:
            ran, delayed = _read(f"/proc/{pid}/task/{name}/schedstat").split()[:2]
            tasks[name] = int(ran) + int(delayed)
            # memory by any thread: the first one may have ended, and has none then
            if not usage.resident:
                usage.resident = int(_read(f"/proc/{pid}/task/{name}/statm").split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):  # a thread that has ended meanwhile; the rest at the next look
        pass
    return fields[19], usage


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


def _is_zombie(pid: int) -> bool:
    try:
        return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[:1] in ([], [b"Z"])
    except OSError:
        return True


def descendants(pid: int) -> list[int]:
    """`pid` and all below it, as far as the kernel tells."""
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                found.extend(map(int, _read(f"/proc/{parent}/task/{task}/children").split()))
        except OSError:
            continue
    return found


def end(pid: int, level: str) -> None:
    """Kill a sandbox. A PID namespace goes with its first process; elsewhere what is found is stopped, then killed."""
    if level == "full":
        signal_process(pid, signal.SIGKILL)
        return
    for kind in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, so that nothing is born meanwhile
        for found in descendants(pid):
            signal_process(found, kind)
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def end_orphans() -> None:
    """Kill and reap all children of this process: what outlived its parent was handed to it."""
    while True:
        children = descendants(os.getpid())[1:]
        for child in children:
            signal_process(child, signal.SIGKILL)
        try:
            while os.waitpid(-1, 0 if children else os.WNOHANG)[0]:
                pass
            return
        except ChildProcessError:
            return


def kill(pid: int) -> None:
    signal_process(pid, signal.SIGKILL)


def signal_process(pid: int, kind: int) -> None:
    try:
        os.kill(pid, kind)
    except (ProcessLookupError, PermissionError):
        pass
