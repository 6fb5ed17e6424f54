"""What a sandbox uses, seen from outside: CPU time, memory, and time in which it waited for nothing."""

import os
import signal
import time
from collections.abc import Sequence

from ._confine import Limits


_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Watch:
    """
    Looks at a process and all that descends from it.

    `idle` is what tells a program that sleeps from one that is starved on a busy machine: the time in which none of
    its threads ran or waited for a processor. It grows alike on an idle machine and on a loaded one.

    Args:
        pid (`int`): The process.
        companions (`Sequence[int]`): Processes that it may be waiting for: it is not idle while one of them works.
        waited (`bool`): Whether the CPU time of children that it has waited for counts.

    Attributes:
        cpu (`float`): CPU time used, seconds, of those that live and of those they waited for.
        resident (`int`): Bytes of memory, shared pages counted once per process.
        processes (`int`): How many live.
        idle (`float`): Seconds of idleness so far.
    """

    def __init__(self, pid: int, companions: Sequence[int] = (), waited: bool = True):
        self.pid, self.companions, self._times = pid, list(companions), 4 if waited else 2
        self.cpu, self.resident, self.processes, self.idle = 0.0, 0, 1, 0.0
        self._last = time.monotonic()
        self._tasks: dict[str, int] = {}

    def look(self) -> None:
        """Update the attributes. Where there is no /proc they stay, and the limits of the kernel remain."""
        now = time.monotonic()
        cpu, resident, processes = 0.0, 0, 0
        waiting, parents = set[int](), set[int]()
        tasks: dict[str, int] = {}
        family = descendants(self.pid)
        for pid in [*family, *self.companions]:
            try:
                with open(f"/proc/{pid}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
                with open(f"/proc/{pid}/statm") as file:
                    pages = int(file.read().split()[1])
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                        ran, waited = file.read().split()[:2]
                    tasks[task] = int(ran) + int(waited)
            except (OSError, IndexError):
                continue  # ended meanwhile
            if pid in self.companions:
                continue
            cpu += sum(map(int, fields[11 : 11 + self._times])) / _TICK
            resident += pages * _PAGE
            processes += 1
            parents.add(int(fields[1]))
            if fields[0] == "D":
                waiting.add(pid)
        if not processes:
            return
        wanted = sum(value - self._tasks.get(task, 0) for task, value in tasks.items()) / 1e9
        busy = max(wanted, cpu - self.cpu)
        if not waiting - parents:  # for a disk; a parent may be in this state because it waits for its `vfork`
            self.idle += max(0.0, now - self._last - busy)
        self.cpu, self.resident, self.processes = max(cpu, self.cpu), resident, processes
        self._last, self._tasks = now, tasks

    def over(self, limits: Limits, wall: float) -> str | None:
        """Which limit is exceeded, after so many seconds of wall time; `None` if none is."""
        if self.cpu > limits.cpu_seconds:
            return "cpu"
        if self.resident > limits.memory_mib << 20:
            return "memory"
        if self.processes > limits.processes:
            return "processes"
        if self.idle > limits.idle_seconds:
            return "idle"
        return "wall" if wall > limits.wall_seconds else None


def descendants(pid: int) -> list[int]:
    """`pid` and all below it, as far as the kernel tells."""
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children") as file:
                    found.extend(map(int, file.read().split()))
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
