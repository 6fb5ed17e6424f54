"""Runs the programs of one grading in the sandbox, on one budget of CPU time, and says whose fault a failure is."""

import os
from collections.abc import Mapping, Sequence


MAX_OUTPUT = 1_000_000  # bytes that one process may print
MAX_PROCESSES = 256  # and threads, of which Lean starts one per core and task

Files = Mapping[str, str | bytes]


class Unreadable(Exception):
    """The reference cannot be used, whatever the completion says; the message says why."""


class Refused(Exception):
    """The completion fails; the message says why."""


class Broken(Exception):
    """The machine failed, not the completion."""


class Stuck(Broken):
    """A program reached the wall clock: the machine's fault, unless it does so twice."""


class Session:
    """
    One grading: runs programs in the sandbox on a common budget of CPU time.

    Args:
        cpu_seconds (`float`): Budget of all programs together, seconds.
        memory_mib (`int`): Limit of each program.
        level (`str`, *optional*): Sandbox level; by default the best that the host allows.
        readable (`Sequence[str]`): Directories that the programs may read beside the system's.
    """

    def __init__(self, cpu_seconds: float, memory_mib: int, level: str | None, readable: Sequence[str]):
        self.cpu_seconds, self.memory_mib, self.level, self.readable = cpu_seconds, memory_mib, level, readable
        self.used = 0.0

    def run(
        self,
        argv: Sequence[str],
        files: Files,
        outputs: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> "Ran":
        """
        Run one program in a fresh directory that holds `files`.

        Raises:
            `Refused`: It went over a limit. `Broken`: it did not get to run, or not to its end.
        """
        from ..sandbox import run_command  # late: only who grades proofs needs it

        result = run_command(
            list(argv),
            files=files,
            cpu_seconds=max(self.cpu_seconds - self.used, 0.05),
            memory_mib=self.memory_mib,
            readable=self.readable,
            outputs=outputs,
            level=self.level,
            max_output=MAX_OUTPUT,
            processes=MAX_PROCESSES,
            environment=environment,
        )
        self.used += result.cpu_seconds
        if result.status in ("wall", "infrastructure"):
            kind = Stuck if result.status == "wall" else Broken
            raise kind(f"{os.path.basename(argv[0])} did not finish ({result.status}): {one_line(result.stderr)}")
        if result.status == "cpu":
            self.used = self.cpu_seconds
            raise Refused(f"it needs more than {self.cpu_seconds:g} s of CPU time")
        if result.status != "ok":
            raise Refused(f"it goes over the limit of {result.status}")
        return Ran(result.returncode, _text(result.stdout), _text(result.stderr), dict(result.files))


class Ran:
    """What a program left: exit status, text, and the files asked for that exist."""

    def __init__(self, returncode: int, stdout: str, stderr: str, files: dict[str, bytes]):
        self.returncode, self.stdout, self.stderr, self.files = returncode, stdout, stderr, files

    @property
    def complaint(self) -> str:
        """The end of what it said, on one line."""
        return one_line(self.stderr) or one_line(self.stdout) or f"exit status {self.returncode}"


def is_text(text: str) -> bool:
    """Whether a prover could read `text` from a file: it has no null character, and no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _text(data: bytes | str) -> str:
    return data if isinstance(data, str) else data.decode("utf-8", "replace")


def one_line(data: bytes | str, length: int = 300) -> str:
    """The end of what a program said, on one line."""
    return " ".join(_text(data).split())[-length:]
