"""
The fork server of the oracle: a trusted process that runs the test code, one job at a time, each in a fork of its own.

The test code comes from the dataset, so it is not confined, but limited: its CPU time and memory end with the fork.
The submission reaches this process through the messages of `_proxy` alone.
"""

import fcntl
import gc
import importlib
import json
import os
import random
import resource
import select
import signal
import socket
import sys
from typing import Any

from . import _linux, _tests, _warm, _wire
from ._server import PRELOADED


def main() -> None:
    control = socket.socket(fileno=os.dup(0))
    settings, _ = _wire.receive(control)
    sys.path[:] = [*settings["paths"], *sys.path]
    for name in PRELOADED:
        importlib.import_module(name)
    _warm.warm_up(oracle=True)
    gc.collect()
    gc.freeze()
    _wire.send(control, {"status": "ready"})
    while True:
        try:
            job, descriptors = _wire.receive(control)
            if "limits" in job:
                _serve(control, job, descriptors)
        except EOFError:
            return


def _serve(control: socket.socket, job: dict[str, Any], descriptors: list[int]) -> None:
    pid = _linux.clone()
    if pid == 0:
        _run_child(job["limits"], *descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    try:
        _wire.send(control, {"pid": pid})
        _wire.send(control, {"cpu": _wait(control, pid)})
    finally:
        if _is_child(pid):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _wait(control: socket.socket, pid: int) -> float:
    poll = select.poll()
    poll.register(control, select.POLLIN)
    pidfd = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    if pidfd is not None:
        poll.register(pidfd, select.POLLIN)
    try:
        while True:
            events = dict(poll.poll(None if pidfd is not None else 5))
            done, _, usage = os.wait4(pid, os.WNOHANG)
            if done:
                return usage.ru_utime + usage.ru_stime
            if control.fileno() in events:
                _wire.receive(control)  # "stop", or the end of the trainer
                os.kill(pid, signal.SIGKILL)
    finally:
        if pidfd is not None:
            os.close(pidfd)


def _is_child(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return False


def _run_child(limits: dict[str, Any], tests: int, pipe: int) -> None:
    """In the fork: read the tests, run them, write the result. Never returns."""
    try:
        tests, pipe = (fcntl.fcntl(end, fcntl.F_DUPFD, 64) for end in (tests, pipe))
        os.dup2(tests, 10)
        os.dup2(pipe, 11)
        null = os.open("/dev/null", os.O_RDWR)
        for target in (0, 1, 2):
            os.dup2(null, target)
        os.closerange(3, 10)
        os.closerange(12, 256)
        seconds = int(limits["oracle_seconds"]) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if sys.platform == "linux":
            memory = limits["memory_mib"] << 20
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        random.seed(0)
        sys.setrecursionlimit(6000)
        channel = socket.socket(fileno=10)
        job = json.loads(_wire.read(channel, int.from_bytes(_wire.read(channel, 4), "little")))
        result = json.dumps(_tests.run(socket.socket(fileno=11), job)).encode()
        channel.sendall(len(result).to_bytes(4, "little") + result)
    finally:
        os._exit(0)
