"""
System calls that confined programs may not make, as a seccomp filter.

A list of what is refused, not of what is allowed: provers and numerical libraries need most of the rest, and calls
newer than this file are refused by number. Refused calls fail with EPERM; the program goes on, so that a library which
only probes for a feature falls back. ctypes and a table rather than a library: `pyseccomp` (2021) needs libseccomp,
which wheels cannot bring, and this filter is all that is used.
"""

import ctypes
import os
import struct
from collections.abc import Sequence

from ._linux import SandboxError, check, libc


# name: (x86_64, aarch64); None where the architecture does not have the call
_REFUSED = {
    # other processes' memory, descriptors and signals
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "perf_event_open": (298, 241),
    # quotas of the user or of the machine, which one program could take whole
    "inotify_init": (253, None), "inotify_init1": (294, 26), "io_setup": (206, 0),
    # mounts, namespaces, identity
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268),
    "unshare": (272, 97), "mount_setattr": (442, 442), "move_mount": (429, 429), "open_tree": (428, 428),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143),
    "setresuid": (117, 147), "setresgid": (119, 149), "setfsuid": (122, 151), "setfsgid": (123, 152),
    "setgroups": (116, 159), "capset": (126, 91), "personality": (135, 92),
    # descriptors in flight, larger socket buffers, pages given to a pipe: held where no watcher can count them
    "sendmsg": (46, 211), "sendmmsg": (307, 269), "setsockopt": (54, 208), "vmsplice": (278, 75),
    # network: socketpair stays, for asyncio and multiprocessing
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202),
    "accept4": (288, 242),
    # memory that outlives the process or escapes its limits
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "msgget": (68, 186), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "msgctl": (71, 187), "semget": (64, 190), "semop": (65, 193), "semctl": (66, 191),
    "semtimedop": (220, 192), "mq_open": (240, 180), "mq_unlink": (241, 181), "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # large kernel surfaces with a history of holes
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "userfaultfd": (323, 282), "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "modify_ldt": (154, None), "uselib": (134, None), "ustat": (136, None), "sysfs": (139, None),
    "_sysctl": (156, None), "lookup_dcookie": (212, 18), "vhangup": (153, 58), "nfsservctl": (180, 42),
    "move_pages": (279, 239), "migrate_pages": (256, 238), "mbind": (237, 235), "set_mempolicy": (238, 237),
    # the machine itself (capabilities are gone as well; this is the second lock)
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "swapon": (167, 224), "swapoff": (168, 225),
    "acct": (163, 89), "syslog": (103, 116), "sethostname": (170, 161), "setdomainname": (171, 162),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171),
    "iopl": (172, None), "ioperm": (173, None), "mknod": (133, None), "mknodat": (259, 33),
    "sched_setscheduler": (144, 119), "sched_setattr": (314, 274), "sched_setparam": (142, 118),
    "ioprio_set": (251, 30),
}  # fmt: skip
# what Landlock does not cover: owners, modes, times and attributes of files that this user owns anywhere
_METADATA = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "chown": (92, None), "fchown": (93, 55),
    "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None), "futimesat": (261, None),
    "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
}  # fmt: skip
_CONDITIONAL = {
    "clone": (56, 220), "clone3": (435, 435), "fork": (57, None), "vfork": (58, None), "kill": (62, 129),
    "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "prctl": (157, 167), "prlimit64": (302, 261), "socketpair": (53, 199), "fcntl": (72, 25), "ioctl": (16, 29),
    "setpriority": (141, 140), "sched_setaffinity": (203, 122), "mmap": (9, 222), "madvise": (28, 233),
    "rt_sigaction": (13, 134),
}  # fmt: skip
# F_SETOWN, F_SETSIG, F_SETOWN_EX: signals to whom one likes, at levels and on kernels where nothing else stops them.
# F_SETLEASE, F_NOTIFY: others' opens wait, or signal. F_SETPIPE_SZ: the user's quota of pipe memory
_FCNTL_REFUSED = (8, 10, 15, 1024, 1026, 1031)
# FIONREAD, FIONBIO, FIOCLEX, FIONCLEX; TCGETS, TCGETS2, TIOCGWINSZ, by which programs ask if they face a terminal.
# A list of what is allowed: others set owners (FIOSETOWN, SIOCSPGRP), or attributes of files that are open to read
_IOCTL_ALLOWED = (0x541B, 0x5421, 0x5451, 0x5450, 0x5401, 0x802C542A, 0x5413)
# PR_SET_PDEATHSIG: nobody may outlive the server. PR_SET_DUMPABLE: hides from the watcher. PR_SCHED_CORE: idles others
_PRCTL_REFUSED = (1, 4, 62)
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, AUDIT_ARCH_*
_NEWEST = 450  # calls above this number are younger than the table: refused as if the kernel did not have them

_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_SET, _AND, _RETURN, _JUMP = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06, 0x05
_ALLOW, _KILL, _EPERM, _ENOSYS, _ENOTTY = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026, 0x00050019
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data; arguments are 8 bytes, little-endian

_NEW_NAMESPACES = 0x7E020000 | 0x80  # CLONE_NEW{USER,PID,NET,IPC,UTS,CGROUP,NS}; CLONE_NEWTIME
_CLONE_THREAD, _CLONE_VFORK = 0x10000, 0x4000
_MAP_SHARED, _MAP_ANONYMOUS = 0x1, 0x20  # MAP_SHARED_VALIDATE has the first bit too
_MADV_PAGEOUT, _SIGCHLD = 21, 17


def _step(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("HBBI", code, then, otherwise, value)


def _argument(position: int) -> bytes:
    """Load the lower half of an argument: the kernel ignores the upper one of those that are an `int`."""
    return _step(_LOAD, _ARGUMENTS + 8 * position)


def _one_of(values: Sequence[int], then: int, otherwise: int) -> list[bytes]:
    """Return `then` if what was loaded is one of `values`, else `otherwise`."""
    tests = [_step(_JUMP_EQUAL, value, len(values) - index, 0) for index, value in enumerate(values)]
    return [*tests, _step(_RETURN, otherwise), _step(_RETURN, then)]


def _both(first: int, second: int, then: int) -> list[bytes]:
    """Return `then` if what was loaded has a bit of `first` and one of `second`; go on otherwise."""
    return [_step(_JUMP_SET, first, 0, 2), _step(_JUMP_SET, second, 0, 1), _step(_RETURN, then)]


def build_filter(
    fork: bool = True, only_signal: int | None = None, metadata: bool = True, child_signal: bool = True
) -> bytes:
    """
    A BPF program for this machine's architecture.

    Args:
        fork (`bool`): Whether new processes are allowed; threads always are.
        only_signal (`int`, *optional*): The one process id that may be signalled. By default any: a PID namespace
            decides what there is to signal.
        metadata (`bool`): Whether modes, owners and times of files may be changed: yes where all that can be seen is
            read-only or the program's own.
        child_signal (`bool`): Whether the program may say what SIGCHLD does, as shells do. A process that ignores it
            has children that vanish unwaited, and what they used with them.

    Raises:
        SandboxError: The architecture is none of x86_64 and aarch64.
    """
    machine = os.uname().machine
    if machine not in _ARCHITECTURES:
        raise SandboxError(f"no system call table for {machine}")
    column, audit = _ARCHITECTURES[machine]

    def number(name: str) -> int | None:
        return (_REFUSED.get(name) or _METADATA.get(name) or _CONDITIONAL[name])[column]

    program = [
        _step(_LOAD, _ARCH), _step(_JUMP_EQUAL, audit, 1, 0), _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER), _step(_JUMP_GREATER, _NEWEST, 0, 1), _step(_RETURN, _ENOSYS),
    ]  # fmt: skip

    rules: dict[int, list[bytes]] = {}

    def rule(name: str, *body: bytes) -> None:
        """If the call is `name`, run `body`, which must return, and skip it otherwise."""
        call = number(name)
        if call is not None:
            rules[call] = [_step(_JUMP_EQUAL, call, 0, len(body)), *body]

    for name in (*_REFUSED, *(() if metadata else _METADATA)):
        rule(name, _step(_RETURN, _EPERM))
    # flags of clone3 lie in memory, where a filter cannot look: glibc falls back to clone
    rule("clone3", _step(_RETURN, _ENOSYS))
    needed = [] if fork else [_step(_JUMP_SET, _CLONE_THREAD, 1, 0), _step(_RETURN, _EPERM)]
    rule(
        "clone", _argument(0), _step(_JUMP_SET, _NEW_NAMESPACES & ~0x80, 0, 1), _step(_RETURN, _EPERM),
        *_both(_CLONE_THREAD, _CLONE_VFORK, _EPERM),  # a thread that waits for another cannot be interrupted
        *needed, _step(_RETURN, _ALLOW),
    )  # fmt: skip
    if not fork:
        rule("fork", _step(_RETURN, _EPERM))
        rule("vfork", _step(_RETURN, _EPERM))
    if only_signal is not None:
        for name in ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"):
            rule(name, _argument(0), *_one_of([only_signal], _ALLOW, _EPERM))
        rule("tkill", _step(_RETURN, _EPERM))
    rule("prctl", _argument(0), *_one_of(_PRCTL_REFUSED, _EPERM, _ALLOW))
    rule("fcntl", _argument(1), *_one_of(_FCNTL_REFUSED, _EPERM, _ALLOW))
    rule("ioctl", _argument(1), *_one_of(_IOCTL_ALLOWED, _ALLOW, _ENOTTY))
    # of the calling process alone: no other, no group, no user
    for name in ("prlimit64", "sched_setaffinity"):
        rule(name, _argument(0), *_one_of([0], _ALLOW, _EPERM))
    rule(
        "setpriority", _argument(0), _step(_JUMP_EQUAL, 0, 1, 0), _step(_RETURN, _EPERM),
        _argument(1), *_one_of([0], _ALLOW, _EPERM),
    )  # fmt: skip
    # shared memory without a file stays when its pages are given back, and no process is seen to hold it
    rule("mmap", _argument(3), *_both(_MAP_SHARED, _MAP_ANONYMOUS, _EPERM), _step(_RETURN, _ALLOW))
    rule("madvise", _argument(2), *_one_of([_MADV_PAGEOUT], _EPERM, _ALLOW))
    if not child_signal:
        rule(
            "rt_sigaction", _argument(0), _step(_JUMP_EQUAL, _SIGCHLD, 1, 0), _step(_RETURN, _ALLOW),
            _argument(1), _step(_JUMP_EQUAL, 0, 1, 0), _step(_RETURN, _EPERM),
            _step(_LOAD, _ARGUMENTS + 12), *_one_of([0], _ALLOW, _EPERM),  # no new action: it only asks
        )  # fmt: skip
    # streams only: a datagram socket could be sent to anybody's address
    rule(
        "socketpair", _argument(0), _step(_JUMP_EQUAL, 1, 0, 3), _argument(1),
        _step(_AND, 0xF), _step(_JUMP_EQUAL, 1, 1, 0), _step(_RETURN, _EPERM), _step(_RETURN, _ALLOW),
    )  # fmt: skip
    return b"".join([*program, *_search(rules, sorted(rules))])


def _search(rules: dict[int, list[bytes]], numbers: list[int]) -> list[bytes]:
    """
    Finds the rule of a call by halves: the kernel tries every call when it installs a filter, for each submission.
    """
    if len(numbers) <= 4:
        return [*(step for number in numbers for step in rules[number]), _step(_RETURN, _ALLOW)]
    half = len(numbers) // 2
    lower, upper = _search(rules, numbers[:half]), _search(rules, numbers[half:])
    return [_step(_JUMP_GREATER, numbers[half - 1], 0, 1), _step(_JUMP, len(lower)), *lower, *upper]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def install_filter(program: bytes) -> None:
    """Confine the calling process and all that it starts, for good. Needs no privilege."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = _Program(len(program) // 8, ctypes.addressof(buffer))
    check(libc.prctl(38, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    check(libc.prctl(22, 2, ctypes.byref(header), 0, 0), "seccomp")
