"""A place where submissions run: a server of the sandbox and one of the oracle; and what a job of theirs gives."""

import contextlib
import itertools
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from . import _cases, _wire
from ._linux import SandboxError
from ._paths import python_paths
from .command import TRUSTED_ENVIRONMENT, trusted_python


_BACKSTOP = 10.0  # wall seconds per CPU second
_AHEAD = 2  # inputs that are handed over before they are due, so that a case need not wait for the trainer


@dataclass(frozen=True)
class Execution:
    """
    What one submission may use, per case.

    Args:
        cpu_seconds (`float`): CPU time.
        memory_mib (`int`): Memory, MiB.
        disk_mib (`int`): Size of the tmpfs and of the output, MiB.
        processes (`int`): Processes and threads at a time.
        idle_seconds (`float`): Time in which it neither runs nor waits for a processor (it sleeps, or hangs).
    """

    cpu_seconds: float = 4.0
    memory_mib: int = 1024
    disk_mib: int = 32
    processes: int = 64
    idle_seconds: float = 4.0

    def as_limits(self) -> dict[str, Any]:
        return {**vars(self), "wall_seconds": _BACKSTOP * self.cpu_seconds}


@dataclass
class CaseRun:
    """
    One run of a program.

    Args:
        output (`bytes`): Standard output.
        code (`int`): Exit code, or minus the signal that ended it.
        cpu (`float`): CPU time of the run, seconds.
        errors (`bytes`): End of the standard error.
    """

    output: bytes
    code: int
    cpu: float
    errors: bytes = b""


@dataclass
class JobRun:
    """
    One job of the sandbox.

    Args:
        status (`str`): `"ok"`, the limit that ended it (`"cpu"`, `"memory"`, `"processes"`, `"idle"`, `"wall"`), or
            `"infrastructure"`.
        reason (`str`): Why, where it is not `"ok"`.
        cpu (`float`): CPU time of the submission, and of the oracle if that was more, seconds.
        result (`dict`, *optional*): What the oracle says; `None` if it did not come to that.
        cases (`list[CaseRun]`): What the runs gave, in order, as far as it went.
    """

    status: str
    reason: str = ""
    cpu: float = 0.0
    result: dict[str, Any] | None = None
    cases: list[CaseRun] = field(default_factory=list)


class Slot:
    """Runs one submission at a time. Not safe in threads: `Slots` hands a slot to one thread at a time."""

    def __init__(self, level: str, packages: Sequence[str]):
        self.settings = {"level": level, **python_paths(packages)}
        self._processes: list[subprocess.Popen] = []
        self._controls: list[socket.socket] = []

    def start(self) -> None:
        """
        Raises:
            SandboxError: The sandbox cannot be set up.
        """
        for module, settings in (("_server", self.settings), ("_oracle", {"paths": list(sys.path)})):
            ours, theirs = socket.socketpair()
            process = subprocess.Popen(
                trusted_python(module),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=TRUSTED_ENVIRONMENT,
                cwd="/",
            )
            theirs.close()
            self._processes.append(process)
            self._controls.append(ours)
            _wire.send(ours, settings)
        for control in self._controls:
            try:
                word, _ = _wire.receive(control)
            except (EOFError, OSError):
                word = {"status": "infrastructure", "reason": "a server of the sandbox did not start"}
            if word["status"] != "ready":
                self.close()
                raise SandboxError(word["reason"])

    def close(self) -> None:
        for control in self._controls:
            with contextlib.suppress(OSError):
                control.shutdown(socket.SHUT_RDWR)  # the servers' word to end, even if a fork of ours holds it open
            control.close()
        for process in self._processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._controls, self._processes = [], []

    @property
    def alive(self) -> bool:
        return bool(self._processes) and all(process.poll() is None for process in self._processes)

    def run_tests(self, sources: list[str], tests: dict[str, Any], execution: Execution) -> JobRun:
        """
        A submission against test code.

        Args:
            sources (`list[str]`): Code to load in the sandbox: a preamble, if any, and the submission.
            tests (`dict`): For the oracle: `code`, and optionally `entry_point` and `partial`.
            execution ([`Execution`]): Limits.
        """
        server, oracle = self._controls
        channel, theirs = socket.socketpair()
        left, right = socket.socketpair()
        limits = execution.as_limits()
        oracle_seconds = execution.cpu_seconds + 1  # it decodes what the submission may send at length
        try:
            _wire.send(
                oracle, {"limits": {**limits, "oracle_seconds": oracle_seconds}}, [theirs.fileno(), right.fileno()]
            )
            _wire.send(server, {"code": sources, "limits": limits, "cases": False}, [left.fileno()])
            for end in (theirs, left, right):
                end.close()
            data = json.dumps(tests).encode()
            channel.sendall(len(data).to_bytes(4, "little") + data)
            return self._attend_tests(channel, execution)
        except (EOFError, OSError) as error:
            self.close()
            return JobRun("infrastructure", f"a server of the sandbox ended: {type(error).__name__}")
        except BaseException:
            self.close()  # what this job still says must not be read as the next one's
            raise
        finally:
            for end in (channel, theirs, left, right):
                end.close()

    def _attend_tests(self, channel: socket.socket, execution: Execution) -> JobRun:
        server, oracle = self._controls
        ended: dict[str, Any] | None = None
        oracle_cpu: float | None = None
        answer, result, answered = bytearray(), None, False
        deadline: float | None = None  # of the tests, once the submission is gone: they may sleep, or wait for it
        poll = select.poll()
        for end in (channel, server, oracle):
            poll.register(end, select.POLLIN)
        while not (answered and ended is not None and oracle_cpu is not None):
            left = None if deadline is None else 1000 * max(0.0, deadline - time.monotonic())
            events = {descriptor for descriptor, _ in poll.poll(left)}
            if not events:
                _wire.send(oracle, {"stop": True})
                deadline = None
            if oracle.fileno() in events:
                word, _ = _wire.receive(oracle)
                if "pid" in word and ended is None:
                    _wire.send(server, {"companion": word["pid"]})
                oracle_cpu = word.get("cpu")
            if server.fileno() in events:
                ended, _ = _wire.receive(server)
                if ended["status"] == "infrastructure" and oracle_cpu is None:
                    _wire.send(oracle, {"stop": True})
                elif oracle_cpu is None:
                    over = ended["status"] != "ok"  # then it has failed whatever the tests say
                    grace = execution.idle_seconds if over else _BACKSTOP * execution.cpu_seconds
                    deadline = time.monotonic() + grace
            if channel.fileno() in events:
                chunk = channel.recv(65536)
                answer += chunk
                if len(answer) >= 4 and len(answer) == 4 + int.from_bytes(answer[:4], "little"):
                    result, answered = json.loads(answer[4:]), True
                elif not chunk:
                    answered = True
                if answered:
                    poll.unregister(channel)
                    if ended is None:
                        _wire.send(server, {"stop": True})
        assert ended is not None and oracle_cpu is not None
        if ended["status"] == "infrastructure":
            return JobRun("infrastructure", ended["reason"])
        run = JobRun(ended["status"], cpu=max(ended["cpu"], oracle_cpu), result=result)
        if run.status == "ok" and result is None:
            run.status, run.reason = "oracle", "the tests went over their own limit of time or memory"
        return run

    def run_cases(
        self, sources: list[str], inputs: list[bytes], execution: Execution
    ) -> Generator[CaseRun | JobRun, bool | None]:
        """
        A program on one input after another. Yields a [`CaseRun`] for each, and a [`JobRun`] without cases at last; a
        consumer that has seen enough sends `True`.
        """
        (server, _), (ours, theirs) = self._controls, socket.socketpair()
        reader = ours.makefile("rb")
        stopped = finished = False
        try:
            job = {"code": sources, "limits": execution.as_limits(), "cases": True}
            _wire.send(server, job, [theirs.fileno()])
            theirs.close()
            due = iter(inputs)
            _give(ours, due, _AHEAD)
            for _ in inputs:
                case = _next_report(reader)
                if case is None:
                    break
                if (yield case):
                    _wire.send(server, {"stop": True})
                    stopped = True
                    break
                _give(ours, due)
            with contextlib.suppress(OSError):
                ours.shutdown(socket.SHUT_WR)  # no further input
            ended, _ = _wire.receive(server)
            finished = True
            if ended["status"] == "infrastructure":
                yield JobRun("infrastructure", ended["reason"])
            else:
                yield JobRun("ok" if stopped else ended["status"], cpu=ended["cpu"])
        except (EOFError, OSError) as error:
            self.close()
            finished = True
            yield JobRun("infrastructure", f"a server of the sandbox ended: {type(error).__name__}")
        finally:
            if not finished:
                self.close()  # whoever asked went away: what this job still says must not be read as the next one's
            reader.close()
            for end in (ours, theirs):
                end.close()


def _next_report(reader: IO[bytes]) -> CaseRun | None:
    """The report on a case; `None` where there is none, because the sandbox was ended."""
    with contextlib.suppress(ConnectionResetError):  # ended with inputs that it had not taken
        header = reader.read(_cases.HEADER.size)
        if len(header) == _cases.HEADER.size:
            _, code, cpu, size, length = _cases.HEADER.unpack(header)
            output, errors = reader.read(size), reader.read(length)
            if len(output) + len(errors) == size + length:
                return CaseRun(output, code, cpu, errors)
    return None


def _give(connection: socket.socket, due: Iterator[bytes], count: int = 1) -> None:
    """Hand over the next inputs, each as a file."""
    for data in itertools.islice(due, count):
        descriptor = os.memfd_create("input") if sys.platform == "linux" else os.dup(tempfile.TemporaryFile().fileno())
        with contextlib.suppress(ConnectionError), open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            socket.send_fds(connection, [b"."], [descriptor])
