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
import shutil
import signal
import socket
import sys
import tempfile
import time
from typing import Any

from . import _cases, _confine, _linux, _runner, _seccomp, _warm, _watch, _wire


PRELOADED = (
    "abc", "array", "base64", "bisect", "calendar", "cmath", "collections", "contextlib", "copy", "dataclasses",
    "datetime", "decimal", "enum", "fractions", "functools", "heapq", "inspect", "io", "itertools", "json",
    "math", "numbers", "operator", "os", "queue", "random", "re", "statistics", "string", "struct", "sys", "textwrap",
    "threading", "time", "traceback", "types", "typing",
)  # fmt: skip
CONFINED = b"c"


def main() -> None:
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
    settings["kept"] = _confine.below_tmp([*settings["readable"], *settings["packages"]])
    settings["filter"] = None if level == "rlimit" else _seccomp.build_filter(metadata=level == "full")
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


def serve(control: socket.socket, job: dict, descriptors: list[int], settings: dict) -> dict[str, Any] | None:
    """Run one job; `None` where the trainer is gone."""
    ready = os.pipe()
    job["limits"] = limits = _confine.Limits(**job["limits"])
    home = "/tmp" if settings["level"] == "full" else tempfile.mkdtemp(prefix="sandbox-")
    pid = _confine.start(settings["level"])
    if pid == 0:
        _run_child(job, home, descriptors[0], ready[1], settings)
    os.close(ready[1])
    for descriptor in descriptors:
        os.close(descriptor)
    try:
        return _attend(control, pid, limits, ready[0], settings["level"], by_case="inputs" in job)
    finally:
        os.close(ready[0])
        if settings["level"] != "full":
            shutil.rmtree(home, ignore_errors=True)


def _run_child(job: dict, home: str, connection: int, ready: int, settings: dict) -> None:
    """In the child: confine, then become the submission. Never returns."""
    level, limits, by_case = settings["level"], job["limits"], "inputs" in job
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
        os.dup2(ready, 11)
        for target in (0, 1, 2):
            os.dup2(null, target)
        os.closerange(3, 10)
        os.closerange(12, 4096)
        _confine.set_limits(level, limits)
        program = settings["filter"]
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
            _cases.run(pipe, job["code"], job["inputs"], level)
        else:
            _runner.run(pipe, job["code"])
    finally:
        os._exit(0)


def _attend(
    control: socket.socket, pid: int, limits: _confine.Limits, ready: int, level: str, by_case: bool
) -> dict[str, Any] | None:
    """Watch the child until it has ended, by itself or because it must."""
    watch, status, began = _watch.Watch(pid, waited=not by_case), "ok", time.monotonic()
    companions: list[int] = []
    case = pid
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
                companions.append(message["companion"])
                watch.companions = companions
            if "stop" in message:
                poll.unregister(control)
                stopped = True
                _watch.end(pid, level)
            continue
        if events:
            continue
        if by_case:
            # each case has its own budget; ending it leaves process 1 to go on with the next
            case = next(iter(_watch.descendants(pid)[1:]), pid)
            if case != watch.pid:
                # between two cases process 1 itself is looked at, which answers for no case that is over
                watch = _watch.Watch(case, waited=case != pid)
        watch.look()
        over = watch.over(limits, time.monotonic() - began)
        if over:
            status = over
            if over == "wall" or case == pid:
                _watch.end(pid, level)
            else:
                for process in reversed(_watch.descendants(case)):
                    _watch.kill(process)
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
    return {"status": status, "code": os.waitstatus_to_exitcode(code), "cpu": max(cpu, watch.cpu)}


signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the trainer, which then closes the pipe
