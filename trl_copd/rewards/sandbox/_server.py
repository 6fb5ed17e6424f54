"""
The fork server of the sandbox: one submission at a time.

It has the usual modules loaded and has entered its root (`_confine`), so that a submission costs a fork into new
namespaces, not the start of an interpreter. It never sees a test or an expected output: what it has read, its
children's memory holds. It watches the child from outside, ends it when it is over a limit, and reports.
"""

import builtins
import fcntl
import gc
import importlib
import os
import random
import select
import signal
import socket
import sys
import tempfile
import time
import traceback
from typing import Any

from . import _cases, _confine, _files, _linux, _runner, _seccomp, _warm, _watch, _wire


PRELOADED = (
    "abc", "array", "base64", "bisect", "calendar", "cmath", "collections", "contextlib", "copy", "dataclasses",
    "datetime", "decimal", "enum", "fractions", "functools", "heapq", "inspect", "io", "itertools", "json",
    "math", "numbers", "operator", "os", "queue", "random", "re", "statistics", "string", "struct", "sys", "textwrap",
    "threading", "time", "traceback", "types", "typing",
)  # fmt: skip
CONFINED = b"c"
_IDLE_CASES, _IDLE_PER_CASE = 3.0, 0.1  # patience with all cases of a job: idle limits of one, and seconds for each


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the trainer may ignore it, and a child of ours would vanish
    control = socket.socket(fileno=os.dup(0))
    settings, _ = _wire.receive(control)
    sys.path.extend(settings["paths"])
    for name in PRELOADED:
        importlib.import_module(name)
    level = settings["level"]
    try:
        if sys.platform == "linux":
            _linux.adopt_orphans()
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write("1000")  # where memory runs out, what runs here goes before the trainer
        _confine.enter_root(level, settings["readable"], settings["hidden"], settings["packages"])
    except _linux.SandboxError as error:
        _wire.send(control, {"status": "infrastructure", "reason": str(error)})
        return
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]  # as the interpreter's site module does
    os.environ.clear()
    os.environ.update({"HOME": "/tmp", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"})
    # a thread per core would be over the limit of processes on a large machine
    os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    settings["kept"] = _confine.below_tmp([*settings["readable"], *settings["packages"]])
    settings["filters"] = None if level == "rlimit" else _filters(level)
    _warm.warm_up(oracle=False)
    gc.collect()
    gc.freeze()
    _wire.send(control, {"status": "ready"})
    while True:
        try:
            job, descriptors = _wire.receive(control)
        except EOFError:
            return
        if "code" not in job:
            continue  # a late word about the job before
        outcome = serve(control, job, descriptors, settings)
        if outcome is None:
            return
        _wire.send(control, outcome)


def _filters(level: str) -> dict[bool, bytes | None]:
    """
    What is installed before a submission runs, by whether it has cases. Without: `None` where the filter names a
    process that does not exist yet. With: that of process 1, which tidies up, and whose forks get another.
    """
    cases = _seccomp.build_filter(child_signal=False)
    return {True: cases, False: cases if level == "full" else None}


def serve(control: socket.socket, job: dict, descriptors: list[int], settings: dict) -> dict[str, Any] | None:
    """Run one job; `None` where the trainer is gone."""
    job["limits"] = limits = _confine.Limits(**job["limits"])
    full = settings["level"] == "full"
    home, ready = "/tmp", os.pipe()
    try:
        home = home if full else tempfile.mkdtemp(prefix=f"sandbox-{os.getpid()}-")
        pid = _confine.start(settings["level"])
        if pid == 0:
            _run_child(job, home, descriptors[0], ready[1], settings)
        for descriptor in (ready[1], *descriptors):
            os.close(descriptor)
        ready, descriptors = (ready[0], -1), []
        outcome = _attend(control, pid, limits, ready[0], settings["level"], home, job["cases"])
        if not full:
            _files.remove(home)
        return outcome
    except Exception:  # whatever a submission does to this process is told, and is not the end of it
        _watch.end_orphans()
        return {"status": "infrastructure", "reason": traceback.format_exc()[-1000:]}
    finally:
        for descriptor in (*ready, *descriptors):
            if descriptor >= 0:
                os.close(descriptor)


def _run_child(job: dict, home: str, connection: int, ready: int, settings: dict) -> None:
    """In the child: confine, then become the submission. Never returns."""
    level, limits, by_case = settings["level"], job["limits"], job["cases"]
    try:
        os.setsid()
        if sys.platform == "linux":
            _linux.die_with_parent()
        if level == "full":
            _confine.mount_proc(show=False)
            _confine.mount_fresh_tmp(limits, settings["kept"])
        os.chdir(home)
        null = os.open("/dev/null", os.O_RDWR)
        connection, ready = (fcntl.fcntl(end, fcntl.F_DUPFD, 64) for end in (connection, ready))
        os.dup2(connection, 10)
        ready = os.dup2(ready, 11)
        for target in (0, 1, 2):
            os.dup2(null, target)
        os.closerange(3, 10)
        os.closerange(12, 4096)
        _confine.set_limits(level, limits)
        program = settings["filters"] and settings["filters"][by_case]
        if level == "landlock" and not by_case:
            program = _seccomp.build_filter(fork=False, only_signal=os.getpid(), metadata=False)
        _confine.lock_down(level, program, settings["rules"], [home])
        random.seed(0)
        if home != "/tmp":
            os.environ.update({"HOME": home, "TMPDIR": home})
        os.write(11, CONFINED)
        os.close(11)
    except BaseException as error:
        try:
            os.write(ready, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(1)
    try:
        pipe = socket.socket(fileno=10)
        if by_case:
            _cases.run(pipe, job["code"], level)
        else:
            _runner.run(pipe, job["code"])
    finally:
        os._exit(0)


def _attend(
    control: socket.socket, pid: int, limits: _confine.Limits, ready: int, level: str, home: str, by_case: bool
) -> dict[str, Any] | None:
    """Watch the child until it has ended, by itself or because it must."""
    watching = _Cases(pid, limits, home, level) if by_case else _Whole(pid, limits, home, level)
    status = "ok"
    poll = select.poll()
    poll.register(control, select.POLLIN)
    pidfd = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    if pidfd is not None:
        poll.register(pidfd, select.POLLIN)
    gone = stopped = False
    while True:
        events = dict(poll.poll(25 if pidfd is not None else 2))
        done, code, usage = os.wait4(pid, os.WNOHANG)
        if done:
            break
        if control.fileno() in events:
            try:
                message, _ = _wire.receive(control)
            except EOFError:
                message, gone = {"stop": True}, True
            if "companion" in message:
                watching.watch.companions.append(message["companion"])
            if "stop" in message:
                poll.unregister(control)
                stopped = True
                _watch.end(pid, level)
            continue
        if not events:
            status = watching.look() or status  # the last one: of cases, each may be over a limit
    if pidfd is not None:
        os.close(pidfd)
    if gone:
        return None
    if level != "full":
        _watch.end_orphans()
    confined = os.read(ready, 1000)
    if confined != CONFINED and not stopped:
        return {"status": "infrastructure", "reason": confined.decode(errors="replace") or "died while being confined"}
    cpu = usage.ru_utime + usage.ru_stime
    if not by_case and status == "ok" and cpu > limits.cpu_seconds:
        status = "cpu"
    return {"status": status, "code": os.waitstatus_to_exitcode(code), "cpu": max(cpu, watching.watch.cpu)}


class _Whole:
    """Watches a job that is one program, and ends it where it is over a limit."""

    def __init__(self, pid: int, limits: _confine.Limits, home: str, level: str):
        self.pid, self.limits, self.level = pid, limits, level
        self.home = None if level == "full" else home  # there the tmpfs has a size
        self.over: str | None = None
        # what lost its parent is this server's child, and the program's still
        self.watch = self.watch_of(apart=[os.getpid()])

    def watch_of(self, apart: list[int]) -> _watch.Watch:
        self.began = time.monotonic()
        return _watch.Watch(os.getpid(), apart=apart, home=self.home)

    def look(self) -> str | None:
        """The limit for which it was ended, if any."""
        if self.over is None:
            self.watch.look(self.limits)
            self.over = self.watch.over(self.limits, time.monotonic() - self.began)
        if self.over:
            _watch.end(self.pid, self.level)
        return self.over


class _Cases(_Whole):
    """The same by case. Each has its own budget; ending one leaves process 1 to go on with the next."""

    def __init__(self, pid: int, limits: _confine.Limits, home: str, level: str):
        super().__init__(pid, limits, home, level)
        self.case, self.number, self.idle = pid, 0, 0.0
        self.watch = _watch.Watch(pid, waited=False, home=self.home)

    def look(self) -> str | None:
        case = next(iter(_watch.descendants(self.pid)[1:]), self.pid)
        if case != self.case:
            self.idle += self.watch.idle if self.case != self.pid else 0.0
            self.number += case != self.pid
            self.case, self.watch = case, self.watch_of(apart=[os.getpid(), self.pid])
            if case == self.pid:
                # between two cases process 1 itself is looked at, which answers for no case that is over
                self.watch = _watch.Watch(case, waited=False, home=self.home)
        self.watch.look(self.limits)
        over = self.watch.over(self.limits, time.monotonic() - self.began)
        if case == self.pid:
            over = None if over == "idle" else over  # it waits for the next input
        elif self.idle + self.watch.idle > _IDLE_CASES * self.limits.idle_seconds + _IDLE_PER_CASE * self.number:
            over, case = "idle", self.pid
        if not over:
            return None
        if over == "wall" or case == self.pid:
            _watch.end(self.pid, self.level)
        else:
            for process in reversed(_watch.descendants(os.getpid())[1:]):
                if process != self.pid:
                    _watch.kill(process)
        return over


signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the trainer, which then closes the pipe
