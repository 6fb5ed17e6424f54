# ruff: noqa: E501  # a program a line: folded, the table could not be read
"""
Attacks on the sandbox as a box: on its clock, its memory, its files, and on what runs beside it. A table, and what
runs it in a process of its own, which may be another user's. `test_box_attacks.py` and the red team's script use it.
"""

import glob
import json
import os
import platform
import shutil
import signal
import stat
import subprocess
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path


CONFINED, ALL = ("full", "landlock"), ("full", "landlock", "rlimit")
REFUSED, HARMLESS, EITHER, NO_GRADE = "refused", "right", "either", "none"
X86 = platform.machine() == "x86_64"
ORDINARY = 65533  # uid of an ordinary user
TESTS = "assert f(2) == 4"
MARK = "copd-box-left"
PRELUDE = """
import ctypes, fcntl, mmap, os, resource, signal, socket, sys, threading, time
C = ctypes.CDLL(None, use_errno=True)
TRAINER = {trainer}
def call(*args): return C.syscall(*args) != -1
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
def f(x): return 4 if done else None
"""


@dataclass(frozen=True)
class Attack:
    """
    One submission.

    Args:
        kind (`str`): Row of the threats page.
        name (`str`): What it does.
        code (`str`): After `PRELUDE`. Answers right if what it tried has worked, by `done` or by an `f` of its own.
        levels (`tuple[str, ...]`): Levels that promise to stop it.
        expected (`str`): `"refused"`, or `"right"` where the program is to pass, and must only leave nothing behind.
    """

    kind: str
    name: str
    code: str
    levels: tuple[str, ...] = CONFINED
    expected: str = REFUSED


# The parent answers when the children have burnt their time, however busy the machine is
FORKS = """
def f(x):
    r, w = os.pipe()
    for _ in range(COUNT):
        if os.fork() == 0:
            BURN
            os.write(w, b'x')
            os._exit(0)
    for _ in range(COUNT): os.read(r, 1)
    return 4
"""
IGNORE = "try: signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nexcept OSError: pass\n"
HOLD_FILE = """
held = []
def f(x):
    for number in range(30):
        file = os.open(f'a{number}', os.O_RDWR | os.O_CREAT)
        os.write(file, bytes(8 << 20))
        HOLD
    time.sleep(0.3)
    return 4
"""


def _forks(start: str = "", count: int = 6, burn: str = "burn(0.15)") -> str:
    return start + FORKS.replace("COUNT", str(count)).replace("BURN", burn)


def _hold(how: str) -> str:
    return HOLD_FILE.replace("HOLD", how)


def _try(statement: str) -> str:
    return f"{statement}\ndone = True"


ATTACKS = (
    # Children that nobody waits for take what they used with them
    Attack("clock", "SIGCHLD ignored", _forks("signal.signal(signal.SIGCHLD, signal.SIG_IGN)"), ALL),
    Attack("clock", "SIGCHLD ignored if that may be", _forks(IGNORE), ALL),
    Attack("clock", "children that nobody waits for", _forks(), ALL),
    Attack("clock", "grandchildren", _forks(burn="burn(0.05); pid = os.fork(); burn(0.1); pid and os._exit(0)"), ALL),
    Attack("clock", "children one after the other", _forks(IGNORE).replace("for _ in range(6): os.read(r, 1)", "").replace("            os._exit(0)", "            os._exit(0)\n        os.read(r, 1)"), ALL),
    Attack("clock", "many short children", _forks(IGNORE, 50, "burn(0.02)")),
    # Sleep that cannot be interrupted
    # (seccomp says EPERM, the kernel would say EINVAL to these flags alone)
    Attack("clock", "a thread in vfork", "call(56, 0x14000, 0, 0, 0, 0)\ndone = ctypes.get_errno() != 1"),
    Attack("clock", "a process in vfork whose child is another's", "def f(x):\n    if os.fork() == 0:\n        if C.syscall(56, 0xC111, 0, 0, 0, 0) == 0:\n            C.sleep(99)\n            C._exit(0)\n        os._exit(0)\n    time.sleep(99)", ("full", "rlimit")),
    Attack("clock", "sleep in vfork", "def f(x):\n    if C.vfork() == 0:\n        C.sleep(99)\n        C._exit(0)\n    return 4", ("full", "rlimit")),
    Attack("clock", "sleep", "def f(x): time.sleep(99)", ALL),
    Attack("clock", "stopped", "def f(x): os.kill(os.getpid(), 19); time.sleep(99); return 4", ALL),
    Attack("clock", "nice 19", "os.nice(19)\nwhile True: pass", ALL),
    # Names and counts that a watcher might read
    Attack("watcher", "a name that is no UTF-8", "C.prctl(15, b'\\xff\\xfe)\\xff', 0, 0, 0)\ntime.sleep(0.2)\ndone = True", ALL, HARMLESS),
    Attack("watcher", "a name that looks like numbers", "C.prctl(15, b') R 1 2 3\\n 4', 0, 0, 0)\ntime.sleep(0.2)\ndone = True", ALL, HARMLESS),
    Attack("watcher", "names of threads", "def g():\n    C.prctl(15, b'\\xc3(\\n)', 0, 0, 0)\n    time.sleep(0.3)\nthreads = [threading.Thread(target=g) for _ in range(5)]\n[t.start() for t in threads]\n[t.join() for t in threads]\ndone = True", ALL, HARMLESS),
    Attack("watcher", "files whose names are no UTF-8", "open(b'\\xff\\n', 'w').write('x')\nos.mkdir(b'\\xfe')\ntime.sleep(0.2)\ndone = True", ALL, HARMLESS),
    Attack("watcher", "no first thread", "def g():\n    time.sleep(0.2)\n    burn(9)\nthreading.Thread(target=g).start()\nC.syscall(60, 0)", ALL),
    Attack("watcher", "not to be looked at", _try("assert C.prctl(4, 0, 0, 0, 0) == 0")),
    # Signals to others
    Attack("signals", "F_SETOWN", _try("fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, TRAINER)")),
    Attack("signals", "F_SETOWN of the group", _try("fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, -TRAINER)")),
    Attack("signals", "F_SETSIG", _try("fcntl.fcntl(os.pipe()[0], 10, 9)")),
    Attack("signals", "F_SETOWN_EX", _try("fcntl.fcntl(os.pipe()[0], 15, bytes(8))")),
    Attack("signals", "F_NOTIFY", _try("fcntl.fcntl(os.open('.', 0), 1026, 2)")),
    Attack("signals", "F_SETLEASE", _try("fcntl.fcntl(os.open('l', os.O_CREAT), 1024, 0)")),
    Attack("signals", "FIOSETOWN", _try("fcntl.ioctl(socket.socketpair()[0], 0x8901, TRAINER.to_bytes(4, 'little'))")),
    Attack("signals", "SIOCSPGRP", _try("fcntl.ioctl(socket.socketpair()[0], 0x8902, TRAINER.to_bytes(4, 'little'))")),
    Attack("signals", "pipe that signals its owner", "r, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)\nfcntl.fcntl(r, fcntl.F_SETOWN, TRAINER)\nos.write(w, b'x')\ndone = True"),
    Attack("signals", "kill", _try("os.kill(TRAINER, 10)")),
    # Priorities and processors of others
    Attack("priority", "of the trainer", _try("os.setpriority(os.PRIO_PROCESS, TRAINER, 9)")),
    Attack("priority", "of the parent", _try("os.setpriority(os.PRIO_PROCESS, os.getppid() or 2, 9)")),
    Attack("priority", "of the group", _try("os.setpriority(os.PRIO_PGRP, 0, 9)")),
    Attack("priority", "of the user", _try("os.setpriority(os.PRIO_USER, os.getuid(), 9)")),
    Attack("priority", "processors of the trainer", _try("os.sched_setaffinity(TRAINER, {max(os.sched_getaffinity(0))})")),
    Attack("priority", "limits of the trainer", _try("resource.prlimit(TRAINER, resource.RLIMIT_NOFILE, (9, 9))")),
    Attack("priority", "its own", "os.setpriority(os.PRIO_PROCESS, 0, os.nice(1) + 1)\nos.sched_setaffinity(0, os.sched_getaffinity(0))\ndone = True", ALL, HARMLESS),
    # Files
    Attack("files", "directories of mode 0300", f"os.mkdir('{MARK}')\nos.mkdir('{MARK}/a')\nopen('{MARK}/a/b', 'w').close()\nos.mkdir('c', 0o300)\ntry: os.chmod('{MARK}', 0o300)\nexcept OSError: pass\ndone = True", ALL, EITHER),
    Attack("files", "directories of mode 0", "os.mkdir('d', 0)\nos.umask(0o777)\nos.mkdir('e')\ndone = True", ALL, EITHER),
    Attack("files", "300 levels of directories", "for _ in range(300):\n    os.mkdir('d' * 200)\n    os.chdir('d' * 200)\nos.mkdir('e', 0)\ndone = True", ALL, EITHER),
    Attack("files", "many files", _hold("os.close(file)"), ALL),
    Attack("files", "files without a name", _hold("os.unlink(f'a{number}')"), ALL),
    Attack("files", "files that are mapped alone", "C.mmap.restype = ctypes.c_void_p\n" + _hold("C.mmap(None, 4096, 3, 2, file, 0), os.close(file), os.unlink(f'a{number}')"), ALL),
    Attack("files", "descriptors in flight", _try("socket.send_fds(socket.socketpair()[0], [b'x'], [0])")),
    Attack("files", "attributes of what may be read", _try("fcntl.ioctl(os.open(os.__file__, 0), 0x40086602, (0x40).to_bytes(8, 'little'))")),
    # Memory that no process is seen to hold
    Attack("memory", "shared and given back", "held = []\ndef f(x):\n    for _ in range(4):\n        held.append(mmap.mmap(-1, 200 << 20))\n        held[-1].write(bytes(200 << 20))\n        held[-1].madvise(mmap.MADV_DONTNEED)\n    return 4"),
    Attack("memory", "shared, a page kept of each", "m = C.mmap\nm.restype = ctypes.c_void_p\ndone = m(None, 1 << 20, 3, 0x21, -1, 0) not in (None, 2 ** 64 - 1)"),
    Attack("memory", "shared and validated", "m = C.mmap\nm.restype = ctypes.c_void_p\ndone = m(None, 1 << 20, 3, 0x23, -1, 0) not in (None, 2 ** 64 - 1)"),
    Attack("memory", "/dev/zero mapped", _try("mmap.mmap(os.open('/dev/zero', os.O_RDWR), 1 << 20)")),
    Attack("memory", "/dev/zero mapped to read", _try("mmap.mmap(os.open('/dev/zero', 0), 1 << 20, prot=mmap.PROT_READ)")),
    Attack("memory", "pages given to a pipe", "done = call(278, os.pipe()[1], None, 0, 0)"),
    Attack("memory", "long pipes", _try("fcntl.fcntl(os.pipe()[1], 1031, 1 << 20)")),
    Attack("memory", "swapped out", "b = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\ntry: b.madvise(21)\nexcept OSError: done = False\nelse: done = True"),
    Attack("memory", "in children", "def f(x):\n    for _ in range(5):\n        if os.fork() == 0:\n            b = bytearray(200 << 20)\n            time.sleep(9)\n    time.sleep(3)\n    return 4", ALL),
    Attack("memory", "threads without end", "def f(x):\n    for _ in range(300): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n    time.sleep(0.5)\n    return 4", ALL),
    # Quotas of the user or the machine
    Attack("quota", "inotify", "done = C.inotify_init() >= 0 or C.inotify_init1(0) >= 0"),
    Attack("quota", "fanotify", "done = call(300, 0, 0)"),
    Attack("quota", "asynchronous input and output", "done = call(206, 1000, ctypes.byref(ctypes.c_void_p()))"),
    Attack("quota", "signals in a queue", "signal.pthread_sigmask(signal.SIG_BLOCK, [40])\nn = 0\nwhile n < 5000 and C.sigqueue(os.getpid(), 40, None) == 0: n += 1\ndone = n >= 5000"),
    Attack("quota", "descriptors", "held = [os.open('/dev/null', 0) for _ in range(200)]\ndone = True"),
    Attack("quota", "locked memory", "done = C.mlock(ctypes.create_string_buffer(1 << 20), 1 << 20) == 0"),
)  # fmt: skip
# One after the other on the same server: what the first one wrote the second one imports
PLANT = """
places = {*sys.path, *PLACES, '/tmp', '.', '/', '/dev', '/dev/shm', '/proc', '/fresh', '/var/tmp', '/run'}
for place in places:
    try: open(os.path.join(place, 'planted_by_a_row.py'), 'w').write('done = True')
    except OSError: pass
def f(x): return 0
"""
HARVEST = """
sys.path += sorted(PLACES)
from planted_by_a_row import done
"""


def submission(code: str, trainer: int) -> str:
    return PRELUDE.replace("{trainer}", str(trainer)) + code


def run(pool, limits, code: str) -> list[str]:
    """What became of a submission, and why."""
    with pool.slot() as slot:
        ran = slot.run_tests([submission(code, os.getpid())], {"code": TESTS}, limits)
    if ran.status in ("wall", "infrastructure") or "unreadable" in (ran.result or {}):
        return [NO_GRADE, f"{ran.status} {ran.reason}"]
    right = ran.status == "ok" and ran.result["passed"] == ran.result["total"] == 1
    return [HARMLESS if right else REFUSED, ran.status if ran.status != "ok" else ran.result["reason"][:200]]


def state(servers=()) -> dict:
    """What an attack could have changed of this process and its surroundings; the directories that servers left."""
    return {
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "processors": sorted(os.sched_getaffinity(0)),
        "files": [path for pid in servers for path in glob.glob(f"/tmp/sandbox-{pid}-*")] + glob.glob(f"/tmp/{MARK}*"),
    }


def main(package: str, levels: list[str], kinds: list[str]) -> dict:
    """
    Run the table with the sandbox whose package lies at a path. At each level only what it promises to stop: the
    rest would work. At `rlimit`, and as root, it would plant modules in the system and change every process.

    Args:
        package (`str`): Path.
        levels (`list[str]`): Levels, those that the host does not offer are left out.
        kinds (`list[str]`): Kinds of attacks; all if empty.
    """
    module = types.ModuleType("sandbox")
    module.__path__ = [package]
    sys.modules["sandbox"] = module
    from sandbox import _linux, _paths, command, slots  # type: ignore[import-not-found]

    signals: list[int] = []
    for number in (signal.SIGIO, signal.SIGURG, signal.SIGUSR1):
        signal.signal(number, lambda number, frame: signals.append(number))
    found: dict = {"uid": os.getuid(), "level": command.available_level(), "signals": signals}
    before, started = state(), []
    places = _paths.python_paths([])["hidden"]
    limits = slots.Execution(cpu_seconds=0.5, memory_mib=512, idle_seconds=0.7)
    for level in levels:
        offered = command.LEVELS[command.LEVELS.index(found["level"]) :]
        if level not in offered or (level == "landlock" and not _linux.landlock_abi()):
            continue
        results = found[level] = {}
        pool = slots.Slots(level, (), 1)
        run(pool, limits, "")
        servers = [process.pid for process in pool._free[0]._processes]
        started += servers
        for attack in ATTACKS:
            if not X86 and "call(" in attack.code:  # numbers are those of x86_64
                results[f"{attack.kind}: {attack.name}"] = [attack.expected, "not tried"]
            elif (attack.kind in kinds or not kinds) and level in attack.levels:
                results[f"{attack.kind}: {attack.name}"] = run(pool, limits, attack.code)
        if ("planted" in kinds or not kinds) and level in CONFINED:
            run(pool, limits, PLANT.replace("PLACES", repr(places)))
            results["planted: a module"] = run(pool, limits, HARVEST.replace("PLACES", repr(places)))
        results["honest"] = run(pool, limits, "def f(x): return x * x")
        found[f"{level} servers"] = servers == [process.pid for process in pool._free[0]._processes]
        pool.close()
    time.sleep(0.1)
    found["changed"] = {name: [before[name], now] for name, now in state(started).items() if now != before[name]}
    return found


def attack(levels, kinds=(), user=None, seams=None) -> dict:
    """
    `main` in a process of its own, its exit awaited.

    Args:
        levels, kinds: As in [`main`].
        user (`int`, *optional*): Uid to run as; this one by default.
        seams (`dict`, *optional*): Environment that takes features of the kernel away.
    """
    from trl_copd.rewards.sandbox import command

    python, package = sys.executable, Path(f"/tmp/copd-package-{os.getpid()}")
    shutil.copytree(Path(command.__file__).parent, package)  # the repository may be closed to others
    script = shutil.copy(__file__, package / "box_attacks.py")
    try:
        if user is not None:
            python = reachable_python() or python
        words = [python, str(script), str(package), ",".join(levels), ",".join(kinds)]
        who = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **(seams or {})}, **who)
        found = json.loads(done.stdout or "null")
        assert found, done.stderr
        return {**found, "stderr": done.stderr}
    finally:
        shutil.rmtree(package)


def reachable_python() -> str | None:
    """An interpreter that another user can start: the one of these tests may lie in a closed home directory."""
    for path in (sys.executable, shutil.which("python3", path="/usr/local/bin:/usr/bin")):
        if path and all(parent.stat().st_mode & stat.S_IXOTH for parent in Path(path).resolve().parents):
            version = subprocess.run(
                [path, "-c", "import sys; print(sys.version_info >= (3, 11))"], capture_output=True, text=True
            )
            if version.stdout.strip() == "True":
                return path
    return None


if __name__ == "__main__":
    os.chdir("/")
    _, where, chosen, wanted = sys.argv
    kinds = [kind for kind in wanted.split(",") if kind]
    print(json.dumps(main(where, chosen.split(","), kinds)))
