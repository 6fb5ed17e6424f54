"""
The Linux calls that the sandbox is made of: namespaces, mounts, capabilities, Landlock.

ctypes rather than a library: the bindings on PyPI for Landlock are pre-releases or a few months old, all wrap these
three calls, and none covers the rest. Every function raises [`SandboxError`] where the kernel refuses.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable


class SandboxError(RuntimeError):
    """The host does not allow a step of the confinement, or the sandbox itself broke."""


# To see what a sandbox is worth where the kernel offers less: the highest version of Landlock to use, and "1" for no
# user namespaces. They can only take away, and are read when a process starts.
SEAMS = ("TRL_COPD_LANDLOCK_ABI", "TRL_COPD_NO_USER_NAMESPACES")
_MOST_LANDLOCK = int(os.environ.get(SEAMS[0], "99"))
_NO_USER_NAMESPACES = os.environ.get(SEAMS[1]) == "1"

# PyDLL keeps the interpreter's lock, which must not be given away around a clone
libc = ctypes.PyDLL(None, use_errno=True)

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 32, 4096, 8192, 16384, 1 << 18
_CLONE = {"x86_64": 56, "aarch64": 220}
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPSET = {"x86_64": 126, "aarch64": 91}
_MOUNT_SETATTR, _LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 442, 444, 445, 446


def check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise SandboxError(f"{what}: {os.strerror(code)}")
    return result


def _machine(table: dict[str, int]) -> int:
    machine = os.uname().machine
    if machine not in table:
        raise SandboxError(f"no system call table for {machine}")
    return table[machine]


def unshare(flags: int) -> None:
    if flags & CLONE_NEWUSER and _NO_USER_NAMESPACES:
        raise SandboxError(f"unshare: refused by {SEAMS[1]}")
    check(libc.unshare(flags), "unshare")


def clone(flags: int = 0) -> int:
    """
    `os.fork`, into new namespaces, for processes with one thread.

    It leaves out what Python does after a fork to mend locks that other threads held. There are none, and the mending
    touches a hundred pages, which costs more than the fork.
    """
    if sys.platform != "linux":
        return os.fork()
    return check(libc.syscall(ctypes.c_long(_machine(_CLONE)), ctypes.c_long(flags | 17), 0, 0, 0, 0), "clone")


def mount(source: str | None, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    result = libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3])
    check(result, f"mount {kind or source} on {target}")


def bind(source: str, target: str, device: bool = False) -> None:
    """Show `source`, with what is mounted below it, at `target`: read-only, no set-user-id, no devices."""
    mount(source, target, None, MS_BIND | MS_REC)
    attributes = struct.pack("QQQQ", MS_RDONLY | MS_NOSUID | (0 if device else MS_NODEV), 0, 0, 0)
    result = libc.syscall(ctypes.c_long(_MOUNT_SETATTR), -100, os.fsencode(target), 0x8000, attributes, 32)
    check(result, f"mount_setattr {target}")


def pivot_root(new: str, old: str) -> None:
    check(libc.syscall(ctypes.c_long(_machine(_PIVOT_ROOT)), os.fsencode(new), os.fsencode(old)), "pivot_root")


def unmount(target: str) -> None:
    check(libc.umount2(os.fsencode(target), 2), f"umount {target}")  # 2: MNT_DETACH


def drop_capabilities() -> None:
    header = struct.pack("Ii", 0x20080522, 0)
    check(libc.syscall(ctypes.c_long(_machine(_CAPSET)), header, bytes(24)), "capset")


def set_dumpable(on: bool) -> None:
    check(libc.prctl(4, int(on), 0, 0, 0), "prctl(PR_SET_DUMPABLE)")


def die_with_parent() -> None:
    check(libc.prctl(1, 9, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def adopt_orphans() -> None:
    check(libc.prctl(36, 1, 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)")


def landlock_abi() -> int:
    """Version of the kernel's Landlock; 0 where there is none."""
    return max(0, min(_MOST_LANDLOCK, libc.syscall(ctypes.c_long(_LANDLOCK_CREATE), None, ctypes.c_size_t(0), 1)))


_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read files, list directories
_ONLY_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15  # rights that make sense on a file


def restrict_files(readable: Iterable[str], writable: Iterable[str]) -> None:
    """
    Landlock: from here on this process and its children reach nothing but these paths, no TCP port, and, on kernels
    that know it, no signal and no abstract socket outside themselves.
    """
    abi = landlock_abi()
    if abi == 0:
        raise SandboxError("the kernel has no Landlock")
    handled = (
        (1 << 13) - 1 | (1 << 13 if abi >= 2 else 0) | (1 << 14 if abi >= 3 else 0) | (1 << 15 if abi >= 5 else 0)
    )
    attributes = struct.pack("QQQ", handled, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    ruleset = libc.syscall(ctypes.c_long(_LANDLOCK_CREATE), attributes, ctypes.c_size_t(size), 0)
    check(ruleset, "landlock_create_ruleset")
    rules = [(path, _READ) for path in readable] + [(path, handled) for path in writable]
    for path, rights in rules:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        if not os.path.isdir(path):
            rights &= _ONLY_FILES
        rule = struct.pack("=Qi", rights & handled, descriptor)
        check(libc.syscall(ctypes.c_long(_LANDLOCK_ADD), ruleset, 1, rule, 0), f"landlock_add_rule {path}")
        os.close(descriptor)
    check(libc.prctl(38, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    check(libc.syscall(ctypes.c_long(_LANDLOCK_RESTRICT), ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)
