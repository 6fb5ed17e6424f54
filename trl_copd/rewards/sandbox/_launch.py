"""
Runs one external program in the sandbox: a process of its own, started by `run_command`, which reads a job from its
standard input and writes the outcome to its standard output. It is trusted, and so are both pipes.
"""

import errno
import os
import pickle
import selectors
import signal
import sys
import tempfile
import time
from typing import Any

from . import _confine, _files, _linux, _seccomp, _watch


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the trainer may ignore it, and a child of ours would vanish
    job = pickle.load(sys.stdin.buffer)
    job["limits"] = _confine.Limits(**job["limits"])
    try:
        outcome = run(job)
    except (_linux.SandboxError, OSError) as error:
        outcome = {"status": "infrastructure", "stderr": f"{type(error).__name__}: {error}".encode()}
    pickle.dump(outcome, sys.stdout.buffer)


def run(job: dict[str, Any]) -> dict[str, Any]:
    level, limits = job["level"], job["limits"]
    if sys.platform == "linux":
        _linux.adopt_orphans()
    _confine.enter_root(level, job["readable"])
    if level == "full":
        home = "/tmp"
        _confine.mount_fresh_tmp(limits, _confine.below_tmp(job["readable"]))
    else:
        home = tempfile.mkdtemp(prefix="sandbox-")
    try:
        work = os.path.join(home, "work")
        os.mkdir(work)
        for name, content in job["files"].items():
            _write(os.path.join(work, name), content)
        return _run_in(work, home, job)
    finally:
        if level != "full":
            _files.remove(home)


def _write(path: str, content: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def _run_in(work: str, home: str, job: dict[str, Any]) -> dict[str, Any]:
    level, limits = job["level"], job["limits"]
    program = None if level == "rlimit" else _seccomp.build_filter(metadata=level == "full")
    with tempfile.TemporaryFile(dir=home) as stdin:
        stdin.write(job["stdin"])
        stdin.seek(0)
        out, err = os.pipe(), os.pipe()
        failed = os.pipe()  # closed by a successful exec; carries the reason of a failed one
        pid = _confine.start(level)
        if pid == 0:
            try:
                os.setsid()
                if sys.platform == "linux":
                    _linux.die_with_parent()
                for source, target in ((stdin.fileno(), 0), (out[1], 1), (err[1], 2)):
                    os.dup2(source, target)
                reason = os.dup2(failed[1], 3, inheritable=False)
                os.closerange(4, 4096)
                if level == "full":
                    _confine.mount_proc()
                os.chdir(work)
                _confine.set_limits(level, limits)
                _confine.lock_down(level, program, [*_confine.SYSTEM, *job["readable"]], [home])
                os.execvpe(job["argv"][0], job["argv"], {**job["environment"], "HOME": work, "TMPDIR": home})
            except (
                BaseException
            ) as error:  # whatever it is, the parent must hear of it, and this process must not go on
                code = error.errno if isinstance(error, OSError) else None
                os.write(reason, pickle.dumps((code, f"{type(error).__name__}: {error}")))
            finally:
                os._exit(126)
    for end in (out[1], err[1], failed[1]):
        os.close(end)
    result = _attend(pid, out[0], err[0], job, None if level == "full" else home)
    with os.fdopen(failed[0], "rb") as pipe:
        trouble = pipe.read()
    if trouble:
        code, text = pickle.loads(trouble)
        missing = code in (errno.ENOENT, errno.EACCES)
        return {"status": "infrastructure", "stderr": text.encode(), "missing": missing}
    result["files"] = {name: content for name in job["outputs"] if (content := _read(work, name, limits)) is not None}
    return result


def _attend(pid: int, out: int, err: int, job: dict[str, Any], home: str | None) -> dict[str, Any]:
    """Collect the output, look at what the program uses, end it where it is over a limit, and wait for it."""
    limits, level = job["limits"], job["level"]
    streams: dict[int, bytearray] = {out: bytearray(), err: bytearray()}
    # what lost its parent is this launcher's child, and the program's still
    watch, began = _watch.Watch(os.getpid(), apart=[os.getpid()], home=home), time.monotonic()
    status, ended = "ok", False
    code, usage = 0, None
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(0.02 if selector.get_map() else 0):
                chunk = os.read(key.fd, 65536)
                streams[key.fd] += chunk
                if not chunk:
                    selector.unregister(key.fd)
            if not ended:
                done, code, usage = os.wait4(pid, os.WNOHANG)
                ended = done == pid
                if ended and level != "full":
                    _watch.end_orphans()
            if ended and not selector.get_map():
                break
            if ended:
                continue
            if not selector.get_map():
                time.sleep(0.002)
            watch.look(limits)
            over = watch.over(limits, time.monotonic() - began)
            if sum(map(len, streams.values())) > job["max_output"]:
                over = "output"
            if over and status == "ok":
                status = over
                _watch.end(pid, level)
    assert usage is not None
    cpu = max(usage.ru_utime + usage.ru_stime, watch.cpu)  # what was killed unreaped is in the second alone
    code = os.waitstatus_to_exitcode(code)
    if status == "ok" and (cpu > limits.cpu_seconds or code == -signal.SIGXCPU):
        status = "cpu"
    stdout, stderr = (bytes(streams[stream][: job["max_output"]]) for stream in (out, err))
    os.close(out)
    os.close(err)
    return {"status": status, "returncode": code, "stdout": stdout, "stderr": stderr, "cpu_seconds": cpu}


def _read(work: str, name: str, limits: _confine.Limits) -> bytes | None:
    """A file that the program left; not through a symbolic link, which could point anywhere."""
    folder = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
    try:
        *parents, last = name.split("/")
        for parent in parents:
            inner = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        file = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    finally:
        os.close(folder)
    with os.fdopen(file, "rb") as stream:
        return stream.read(limits.disk_mib << 20)
