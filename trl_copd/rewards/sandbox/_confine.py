"""
How a process is confined, in two steps.

1. The launcher, which is trusted, enters a root of its own (`enter_root`): a read-only tree of what may be read, an
   unprivileged uid, and namespaces of its own. It stays outside of what follows, so that it can watch and kill.
2. Its child, process 1 of a new PID namespace (`start`), gets a fresh tmpfs, limits, Landlock and seccomp
   (`lock_down`), and only then runs what is not trusted. When process 1 ends, the kernel kills all that is left in its
   namespace.

Level `landlock` skips step 1 and the namespaces; level `rlimit` keeps the limits alone.
"""

import os
import resource
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from . import _linux, _seccomp


NOBODY = 65534
SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
    "/etc/alternatives", "/nix/store",
)  # fmt: skip
DEVICES = ("/dev/null", "/dev/full", "/dev/random", "/dev/urandom")  # /dev/zero, mapped, is memory that nobody counts
_READ_ONLY = _linux.MS_REMOUNT | _linux.MS_BIND | _linux.MS_RDONLY | _linux.MS_NOSUID | _linux.MS_NODEV
_NAMESPACES = (
    _linux.CLONE_NEWUSER | _linux.CLONE_NEWNS | _linux.CLONE_NEWNET | _linux.CLONE_NEWIPC | _linux.CLONE_NEWUTS
)


@dataclass(frozen=True)
class Limits:
    """
    What one sandbox may use.

    Args:
        cpu_seconds (`float`): CPU time of all its processes together.
        memory_mib (`int`): Address space of each process, and resident memory of all together, MiB.
        disk_mib (`int`): Size of its files together, and of each one, MiB.
        processes (`int`): Processes and threads at a time.
        idle_seconds (`float`): Time in which nothing of it ran or waited for a processor, see [`Watch`].
        wall_seconds (`float`): Backstop; what it ends is nobody's fault.
    """

    cpu_seconds: float
    memory_mib: int = 1024
    disk_mib: int = 64
    processes: int = 64
    idle_seconds: float = 10.0
    wall_seconds: float = 100.0


def enter_root(level: str, readable: Sequence[str], hidden: Sequence[str] = (), again: Sequence[str] = ()) -> None:
    """
    Step 1, in the launcher, once: at level `full` nothing but `readable` and the system's programs exists from here
    on.

    Args:
        level (`str`): `"full"`, `"landlock"` or `"rlimit"`.
        readable (`Sequence[str]`): Absolute paths of files and directories to show, read-only.
        hidden (`Sequence[str]`): Directories in these that are to look empty.
        again (`Sequence[str]`): What in the hidden ones is to be shown after all.
    """
    if level != "full":
        if os.geteuid() == 0 and all(_world_readable(path) for path in (*readable, *again)):
            _become_nobody()
        return
    if os.geteuid() == 0:
        _linux.unshare(_linux.CLONE_NEWNS)
        _build_root(readable, hidden, again)
        _become_nobody()
        _own_user_namespace()
    else:
        _own_user_namespace()
        _build_root(readable, hidden, again)


def _own_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    _linux.unshare(_NAMESPACES)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        try:
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        except OSError as error:
            raise _linux.SandboxError(f"/proc/self/{name}: {error.strerror}") from error


def _become_nobody() -> None:
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError as error:
        raise _linux.SandboxError(f"cannot change to uid {NOBODY}: {error.strerror}") from error
    _linux.set_dumpable(True)  # a change of uid takes away the right to one's own /proc/self


def _world_readable(path: str) -> bool:
    """Whether uid nobody can reach `path`: root's home, where pyenv may live, is closed to others."""
    path = os.path.realpath(path)
    while path != "/":
        path = os.path.dirname(path)
        if not os.stat(path).st_mode & stat.S_IXOTH:
            return False
    return True


def _build_root(readable: Sequence[str], hidden: Sequence[str], again: Sequence[str]) -> None:
    paths = [path for path in (*SYSTEM, *readable) if os.path.exists(path)]
    places = {path: os.path.realpath(path) for path in paths}
    _linux.mount(None, "/", None, _linux.MS_REC | _linux.MS_PRIVATE)
    _linux.mount("tmpfs", "/tmp", "tmpfs", _linux.MS_NOSUID, "size=1m,mode=755")
    os.mkdir("/tmp/old")
    os.mkdir("/tmp/new")
    _linux.pivot_root("/tmp", "/tmp/old")
    os.chdir("/")
    _linux.mount("/new", "/new", None, _linux.MS_BIND)
    shown: list[str] = []
    for place in sorted(set(places.values())):
        if not any(place == parent or place.startswith(parent + "/") for parent in shown):
            _show(place, f"/new{place}")
            shown.append(place)
    emptied = [
        place
        for place in sorted({os.path.realpath(f"/old{path}").removeprefix("/old") for path in hidden})
        if os.path.isdir(f"/new{place}")
    ]
    for place in emptied:
        _linux.mount("tmpfs", f"/new{place}", "tmpfs", _linux.MS_NOSUID | _linux.MS_NODEV, "size=1m,mode=755")
    for path in again:
        _show(path, f"/new{path}")
    for path, place in places.items():
        if path != place and not os.path.lexists(f"/new{path}"):
            os.makedirs(os.path.dirname(f"/new{path}"), exist_ok=True)
            os.symlink(place, f"/new{path}")
    for place in emptied:  # they live as long as the server: what one program wrote there the next would import
        _linux.mount(None, f"/new{place}", None, _READ_ONLY)
    os.makedirs("/new/dev", exist_ok=True)
    for device in DEVICES:
        if os.path.exists(f"/old{device}"):
            _show(device, f"/new{device}", device=True)
    os.symlink("/tmp", "/new/dev/shm")
    os.symlink("/tmp/.stdin", "/new/dev/stdin")
    for empty in ("proc", "tmp", "fresh"):
        os.makedirs(f"/new/{empty}", exist_ok=True)
    # the launcher's own view, to watch by; the child mounts over it
    _linux.mount("/old/proc", "/new/proc", None, _linux.MS_BIND | _linux.MS_REC)
    os.chdir("/new")
    _linux.pivot_root(".", ".")
    _linux.unmount(".")
    os.chdir("/")
    _linux.mount(None, "/", None, _READ_ONLY)


def _show(place: str, target: str, device: bool = False) -> None:
    source = f"/old{place}"
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.lexists(target):
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
    _linux.bind(source, target, device)


def start(level: str) -> int:
    """Fork the child of step 2: 0 in the child, its process id in the launcher."""
    if level != "full":
        return _linux.clone()
    return _linux.clone(_linux.CLONE_NEWPID | _linux.CLONE_NEWNS | _linux.CLONE_NEWIPC)


def mount_proc(show: bool = True) -> None:
    """In the child at level `full`: a /proc with only its own processes, or, on request, with nothing."""
    if show:
        try:
            _linux.mount("proc", "/proc", "proc", _linux.MS_NOSUID | _linux.MS_NODEV | _linux.MS_NOEXEC)
            return
        except _linux.SandboxError:  # a container that masks parts of /proc may not mount another
            pass
    _linux.mount("tmpfs", "/proc", "tmpfs", _linux.MS_RDONLY | _linux.MS_NOSUID | _linux.MS_NODEV, "size=4k")


def below_tmp(shown: Sequence[str]) -> list[str]:
    """What of `shown` a fresh /tmp would hide. A server asks once: for each submission it would show in the rate."""
    return [path for path in map(os.path.realpath, shown) if path.startswith("/tmp/")]


def mount_fresh_tmp(limits: Limits, kept: Sequence[str]) -> None:
    """At level `full`: an empty /tmp, the only place that can be written to, but for what is `kept`."""
    options = f"size={limits.disk_mib}m,nr_inodes=4096,mode=700"
    if not kept:
        _linux.mount("tmpfs", "/tmp", "tmpfs", _linux.MS_NOSUID | _linux.MS_NODEV, options)
        return
    _linux.mount("tmpfs", "/fresh", "tmpfs", _linux.MS_NOSUID | _linux.MS_NODEV, options)
    for path in kept:
        target = path.replace("/tmp", "/fresh", 1)
        if os.path.isdir(path):
            os.makedirs(target, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
        _linux.bind(path, target)
    _linux.mount("/fresh", "/tmp", None, _linux.MS_MOVE)


def set_limits(level: str, limits: Limits) -> None:
    """Limits of the calling process, which it cannot raise again."""
    seconds = int(limits.cpu_seconds) + 1  # the launcher decides; this is for the moments between two of its looks
    chosen = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: limits.memory_mib << 20,
        resource.RLIMIT_FSIZE: limits.disk_mib << 20,
        resource.RLIMIT_NOFILE: 64,  # each may hold a buffer of the kernel's, which no process is seen to hold
    }
    if sys.platform == "linux":  # the user's quota, not the process's: none of it is for a program to use up
        chosen |= {resource.RLIMIT_SIGPENDING: 256, resource.RLIMIT_MSGQUEUE: 0, resource.RLIMIT_MEMLOCK: 0}
    if level == "full":  # elsewhere the count would include all that this user runs
        chosen[resource.RLIMIT_NPROC] = limits.processes
    for kind, value in chosen.items():
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError):
            if kind != resource.RLIMIT_AS:  # macOS does not know it
                raise


def lock_down(level: str, program: bytes | None, readable: Sequence[str], writable: Sequence[str]) -> None:
    """
    In the child: no capability, no path but these, no refused system call, for good.

    Args:
        level (`str`): As in [`enter_root`].
        program (`bytes`): From [`build_filter`]; `None` at level `rlimit`.
        readable (`Sequence[str]`): What may be read at level `landlock`; at `full` all of the root may.
        writable (`Sequence[str]`): What may be written to.
    """
    if level == "rlimit":
        return
    _linux.drop_capabilities()
    if _linux.landlock_abi():
        if level == "full":  # /dev holds but the few devices
            _linux.restrict_files(["/"], [*writable, "/dev"])
        else:
            _linux.restrict_files(readable, [*writable, *DEVICES])
    elif level == "landlock":
        raise _linux.SandboxError("the kernel has no Landlock")
    assert program is not None
    _seccomp.install_filter(program)
