"""
Runs a program once per case, each in a process forked from a pristine one, with the case's standard input. This
process is the first of its PID namespace: trusted, out of reach of what it forks, and the one that collects what they
leave. An input comes as a file when its case is due, and goes from file to file: what this process has read, the
memory of all that it forks later would hold.
"""

import atexit
import gc
import itertools
import os
import resource
import signal
import socket
import struct
import sys
import threading
import traceback
import types
from typing import Any, NoReturn

from . import _files, _linux, _seccomp, _seed


HEADER = struct.Struct("<iidII")  # case, exit code or minus signal, CPU seconds, bytes of output, bytes of errors
_STDIN = ".stdin"  # in the home directory, where /dev/stdin points


def run(connection: socket.socket, sources: list[str], level: str) -> None:
    """
    Args:
        connection (`socket.socket`):
            Gives a byte and, as a descriptor, the standard input of each case; receives a `HEADER`, the output and the
            end of the errors.
        sources (`list[str]`): A preamble, if any, and the program.
        level (`str`): Of confinement.
    """
    try:
        code: Any = [compile(source, "solution.py", "exec", dont_inherit=True) for source in sources]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        code = f"{type(error).__name__}: {error}"
    gc.freeze()
    for case in itertools.count():
        _, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
        if not descriptors:
            return
        if isinstance(code, str):
            os.close(descriptors[0])
            _report(connection, case, 1, 0.0, b"", code.encode())
            continue
        stdin, stdout, stderr = _file(_STDIN), _file(".stdout"), _file(".stderr")
        _copy(descriptors[0], stdin)
        os.close(descriptors[0])
        os.unlink(".stdout")
        os.unlink(".stderr")
        before = _children_cpu()
        pid = _linux.clone()
        if pid == 0:
            _seed.prepare(sources)
            _become(code, (stdin, stdout, stderr), connection, level)
        _, status = os.waitpid(pid, 0)
        _end_leftovers(level, pid)
        cpu = _children_cpu() - before
        size = os.fstat(stdout).st_size
        errors = os.pread(stderr, 2000, max(0, os.fstat(stderr).st_size - 2000))
        _report(connection, case, os.waitstatus_to_exitcode(status), cpu, os.pread(stdout, size, 0), errors)
        for descriptor in (stdin, stdout, stderr):
            os.close(descriptor)
        _tidy()


def _file(name: str) -> int:
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)


def _copy(source: int, target: int) -> None:
    """The whole of a file into another, by the kernel where it does that, from its beginning."""
    size = os.fstat(source).st_size
    if sys.platform == "linux":
        while (done := os.lseek(target, 0, os.SEEK_CUR)) < size:
            os.sendfile(target, source, done, size - done)
    else:
        os.write(target, os.pread(source, size, 0))
    os.lseek(target, 0, os.SEEK_SET)


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _end_leftovers(level: str, pid: int) -> None:
    """No process of a case is there when the next one starts."""
    try:
        if level == "full":
            os.kill(-1, signal.SIGKILL)
        else:
            os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    try:
        while os.waitpid(-1, 0)[0]:
            pass
    except ChildProcessError:
        pass


def _tidy() -> None:
    """Files of one case are not there for the next."""
    try:
        if os.listdir(".") == [_STDIN]:
            os.unlink(_STDIN)
            return
    except OSError:  # its mode was changed, or .stdin is a directory
        pass
    _files.empty(os.getcwd())


def _report(connection: socket.socket, case: int, code: int, cpu: float, output: bytes, errors: bytes) -> None:
    connection.sendall(HEADER.pack(case, code, cpu, len(output), len(errors)) + output + errors)


def _become(
    code: list[types.CodeType], files: tuple[int, int, int], connection: socket.socket, level: str
) -> NoReturn:
    """In the forked process: the program, as `python solution.py` would run it."""
    status = 1
    try:
        os.setpgid(0, 0)
        connection.close()
        for target, descriptor in enumerate(files):
            os.dup2(descriptor, target)
        os.closerange(3, 64)
        if level == "landlock":
            # the first filter lets the parent mend modes, to tidy up; a program owns more than its own files
            _seccomp.install_filter(_seccomp.build_filter(fork=False, only_signal=os.getpid(), metadata=False))
        sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # type: ignore
        sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # type: ignore
        sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # type: ignore
        sys.argv = ["solution.py"]
        module = types.ModuleType("__main__")
        vars(module)["__file__"] = "solution.py"
        sys.modules["__main__"] = module
        try:
            for part in code:
                exec(part, vars(module))
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        except BaseException:
            traceback.print_exc()
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the end of a program does
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        status = status or 1
    finally:
        os._exit(status & 0xFF)
