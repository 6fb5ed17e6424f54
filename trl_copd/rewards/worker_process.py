"""A worker as its parent sees it: one subprocess that runs `worker.py`, answers calls, and can be killed."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, Literal


Status = Literal["ok", "cpu", "memory", "crashed", "raised", "wall"]

LOAD_SECONDS = 120.0  # wall clock to import a verifier's module on a machine that is busy

# What a verifier could see of its surroundings is the same in every worker
ENVIRONMENT = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "TZ": "UTC", "OMP_NUM_THREADS": "1",
               "PYTHONUTF8": "1", "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """
    What became of one call.

    Args:
        status (`str`):
            `"ok"`; `"raised"` an exception; over its `"cpu"` or `"memory"` limit; `"crashed"`, ended by a signal that
            was not ours; `"wall"`, ended by the backstop. The last two are failures of the infrastructure.
        value (`Any`, *optional*): What the function returned, if `"ok"`.
        error (`str`, *optional*): What happened, if not `"ok"`.
        cpu (`float`): CPU seconds used; the limit, where the call was ended.
    """

    status: Status
    value: Any = None
    error: str | None = None
    cpu: float = 0.0


@dataclass(frozen=True)
class Job:
    """One call: the function and its preparation pickled together, the arguments and the limits."""

    function: bytes
    arguments: tuple[Any, ...]
    cpu_seconds: float
    wall_seconds: float
    memory_mib: int | None


class Worker:
    """One subprocess, in a session of its own so that killing its process group takes its children along."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        self._loaded: set[bytes] = set()
        self._ending = threading.Lock()
        self.calls = 0
        script = str(Path(__file__).with_name("worker.py"))
        with theirs:
            self._process = subprocess.Popen(
                # -P: the folder of the script holds a math.py and a code.py
                [sys.executable, "-P", script, str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._connection.send_bytes(pickle.dumps([os.path.abspath(path) for path in sys.path]))

    def run(self, job: Job) -> Outcome:
        """Answer `job`, or say how the worker ended; afterwards it is `dead`, or ready for the next."""
        self.calls += 1
        if job.function not in self._loaded:
            loaded = self._ask(("load", job.function), LOAD_SECONDS)
            if loaded.status != "ok":
                # not the call's doing: an import that fails, or no memory for another process
                return replace(loaded, error=f"the worker could not load the function: {loaded.error}")
            self._loaded.add(job.function)
        message = ("call", job.function, job.arguments, job.cpu_seconds, job.memory_mib)
        outcome = self._ask(message, job.wall_seconds)
        if outcome.status == "memory":
            self.kill()  # what it holds is fragments
        return replace(outcome, cpu=job.cpu_seconds) if outcome.status == "cpu" else outcome

    def _ask(self, message: tuple, wall_seconds: float) -> Outcome:
        try:
            self._connection.send_bytes(pickle.dumps(message))
            if not self._connection.poll(wall_seconds):
                self.kill()
                return Outcome("wall", error=f"no answer in {wall_seconds:g} s of wall time")
            status, value, cpu = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            code = self.kill()
            if code == -signal.SIGPROF:
                return Outcome("cpu", error="over its CPU time")
            return Outcome("crashed", error=f"the worker ended with code {code}")
        return Outcome(status, value, cpu=cpu) if status == "ok" else Outcome(status, error=value, cpu=cpu)

    @property
    def dead(self) -> bool:
        return self._process.returncode is not None

    def kill(self) -> int:
        """End it and its process group; returns the exit code, that of an earlier end if it had ended."""
        with self._ending:  # `close` of the pool and the thread of this worker may both end it
            if not self.dead:
                with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says EPERM for a zombie's group
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            return int(self._process.returncode)
