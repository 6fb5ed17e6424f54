"""
Runs a program once per case, each in a process forked from a pristine one, with the case's standard input. This
process is the first of its PID namespace: trusted, out of reach of what it forks, and the one that collects what they
leave.
"""

import atexit
import ctypes
import gc
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

from . import _linux, _seccomp, _seed


HEADER = struct.Struct("<iidII")  # case, exit code or minus signal, CPU seconds, bytes of output, bytes of errors
_HEAD = bytes.__basicsize__ - 1  # of a bytes object, before its content
_STDIN = ".stdin"  # in the home directory, where /dev/stdin points


def run(connection: socket.socket, sources: list[str], inputs: list[bytes], level: str) -> None:
    """
    Args:
        connection (`socket.socket`): Receives a `HEADER`, the output and the end of the errors for each case.
        sources (`list[str]`): A preamble, if any, and the program.
        inputs (`list[bytes]`): Standard input, by case.
        level (`str`): Of confinement.
    """
    try:
        code: Any = [compile(source, "solution.py", "exec", dont_inherit=True) for source in sources]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        code = f"{type(error).__name__}: {error}"
    gc.freeze()
    for case in range(len(inputs)):
        data = inputs[case]
        if isinstance(code, str):
            _report(connection, case, 1, 0.0, b"", code.encode())
            continue
        stdin, stdout, stderr = _file(_STDIN, data), _file(".stdout"), _file(".stderr")
        os.unlink(".stdout")
        os.unlink(".stderr")
        before = _children_cpu()
        pid = _linux.clone()
        if pid == 0:
            _forget(inputs)
            del data
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


def _forget(inputs: list[bytes]) -> None:
    """In the forked process: a case sees its own input alone, also in the memory of the frames above it."""
    for data in inputs:
        if len(data) > 1:  # shorter ones are shared by all of the interpreter, and say nothing
            ctypes.memset(id(data) + _HEAD, 0, len(data))
    inputs.clear()


def _file(name: str, data: bytes = b"") -> int:
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


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
    import shutil

    for entry in os.scandir("."):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            os.unlink(entry.path)


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
            _seccomp.install_filter(_seccomp.build_filter(fork=False, only_signal=os.getpid()))
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
