# ruff: noqa: E501, F811  # a program a line: folded, the tables could not be read; fixtures are arguments
"""
Submissions that want the reward without the work, by getting out of the sandbox or holding it up. None may pass, none
may leave a process or a file behind, and an honest submission must pass right after each. Threats that these stand
for: docs/rewards/threats.md.
"""

import os
import socket
import time
from dataclasses import replace

import pytest
from code_attack_tools import CASES, CONFINED, MARK, SLEEPER, X86, attacks, bombed, reward, run, run_program  # noqa: F401

from trl_copd.rewards.code import CodeReward


pytestmark = CONFINED


# a repository below /tmp: the sandbox has a /tmp of its own, where the same path is the submission's to write
IN_REPOSITORY = (
    () if os.getcwd().startswith("/tmp/") else (("file in the repository", f"open({os.getcwd()!r} + '/{MARK}', 'w')"),)
)


class TestEscapes:
    # Each answers right only if what it tried has worked
    @pytest.mark.parametrize(
        "attempt",
        attacks(
            ("file in the home directory", f"open({os.path.expanduser('~')!r} + '/{MARK}', 'w')"),
            ("file in a world-writable directory", f"open('/var/tmp/{MARK}', 'w')"),
            *IN_REPOSITORY,
            ("file in /usr", f"open('/usr/{MARK}', 'w')"),
            ("file in /proc", "open('/proc/sys/kernel/core_pattern', 'w')"),
            ("read passwords", "open('/etc/passwd').read()"), ("list the root's home", "'.bashrc' in os.listdir('/root') or '.profile' in os.listdir('/root')"),
            ("read the tests", f"open({__file__!r}).read()"),
            ("symbolic link out", f"os.symlink({__file__!r}, 'l') or open('l').read()"),
            ("hard link out", "os.link('/etc/hostname', 'l') or open('l').read()"),
            ("parents", "open('../../../../../../etc/passwd').read()"),
            ("device", "open('/dev/mem', 'rb') or open('/dev/kmsg')"), ("make a device", "os.mknod('d', 0o660 | 0o20000, 0x101) or open('d')"),
            ("shell", f"os.system('touch /var/tmp/{MARK} 2>/dev/null') == 0"),
            ("C library", f"ctypes.CDLL(None).system(b'touch /var/tmp/{MARK} 2>/dev/null') == 0"),
            ("set-user-id", "os.setuid(0) or True"), ("set-group-id", "os.setgid(0) or True"), ("group list", "os.setgroups([0]) or True"),
            ("owner", "os.chown('/usr/bin', 0, 0) or True"), ("mode", f"os.chmod({__file__!r}, 0o644) or True"), ("times", f"os.utime({__file__!r}) or True"), ("chroot", "os.chroot('/') or True"), ("host name", "socket.sethostname('x') or True"),
            ("nice", "os.setpriority(os.PRIO_PROCESS, 0, -20) or True"),
            ("more processor time", "resource.setrlimit(resource.RLIMIT_CPU, (9999, 9999)) or True"),
            ("more memory", "resource.setrlimit(resource.RLIMIT_AS, (-1, -1)) or True"),
            ("core dumps", "resource.setrlimit(resource.RLIMIT_CORE, (1 << 30, 1 << 30)) or True"),
            ("limits of the parent", "resource.prlimit(os.getppid() or 1, resource.RLIMIT_CPU, (1, 1))"),
            ("kill the parent", "os.getppid() > 1 and (os.kill(os.getppid(), 9) or True)"),
            ("TCP", "socket.create_connection(('127.0.0.1', PORT), 1)"), ("TCP server", "socket.socket().bind(('127.0.0.1', 0)) or True"),
            ("UDP", "socket.socket(2, 2).sendto(b'x', ('127.0.0.1', PORT))"), ("raw socket", "socket.socket(2, 3, 1)"),
            ("IPv6", "socket.socket(10, 1)"), ("netlink", "socket.socket(16, 3, 0)"), ("packet", "socket.socket(17, 3)"), ("vsock", "socket.socket(40, 1)"),
            ("name service", "socket.getaddrinfo('example.com', 80)"), ("UNIX socket", "socket.socket(1, 1).connect(UNIX) or True"),
            ("abstract socket", "socket.socket(1, 1).connect('\\0' + NAME) or True"), ("datagram to a socket", "socket.socketpair(1, 2)[0].sendto(b'x', UNIX)"),
            ("memory file", "os.memfd_create('x')"),
        ),
    )  # fmt: skip
    def test_python(self, reward, attempt, listeners):
        assert run(reward, self.submission(attempt, listeners)) == 0.0

    # The same by system call, past Python: number, arguments; success is anything but -1
    @pytest.mark.skipif(not X86, reason="numbers are those of x86_64")
    @pytest.mark.parametrize(
        "call",
        attacks(
            ("ptrace", "101, 0, 0, 0, 0"), ("ptrace attach", "101, 16, os.getppid(), 0, 0"), ("process_vm_readv", "310, os.getppid(), 0, 0, 0, 0, 0"),
            ("mount", "165, b'none', b'/tmp', b'tmpfs', 0, 0"), ("umount", "166, b'/proc', 2"), ("pivot_root", "155, b'/tmp', b'/tmp'"),
            ("unshare user", "272, 0x10000000"), ("unshare mount", "272, 0x20000"), ("setns", "308, 0, 0"), ("clone into a user namespace", "56, 0x10000011, 0, 0, 0, 0"),
            ("clone3", "435, 0, 0"), ("keyctl", "250, 0, -3, 1"), ("add_key", "248, b'user', b'a', b'b', 1, -2"), ("bpf", "321, 0, 0, 0"),
            ("io_uring", "425, 1, ctypes.create_string_buffer(200)"), ("userfaultfd", "323, 1"), ("perf_event_open", "298, ctypes.create_string_buffer(200), 0, -1, -1, 0"),
            ("memfd_secret", "447, 0"), ("shmget", "29, 0, 4096, 0o600"), ("msgget", "68, 0, 0o600"), ("semget", "64, 0, 1, 0o600"),
            ("pidfd_open", "434, os.getppid() or 1, 0"), ("pidfd_getfd", "438, 3, 0, 0"), ("kcmp", "312, 1, 1, 0, 0, 0"), ("personality", "135, 0x0040000"),
            ("open_by_handle_at", "304, -100, 0, 0"), ("fanotify", "300, 0, 0"), ("reboot", "169, 0, 0, 0"), ("kexec", "246, 0, 0, 0, 0"),
            ("init_module", "175, 0, 0, b''"), ("settimeofday", "164, 0, 0"), ("syslog", "103, 3, 0, 0"), ("acct", "163, 0"), ("swapon", "167, b'/tmp/x', 0"),
            ("prctl death signal", "157, 1, 0, 0, 0, 0"), ("sched fifo", "144, 0, 1, ctypes.byref(ctypes.c_int(1))"), ("capset", "126, 0, 0"),
            ("32-bit call numbers", "0x40000000 | 39"), ("a call from the future", "9999"), ("socket by number", "41, 2, 1, 0"), ("io port", "173, 0, 1, 1"),
        ),
    )  # fmt: skip
    def test_system_calls(self, reward, call, listeners):
        assert run(reward, self.submission(f"ctypes.CDLL(None).syscall({call}) != -1", listeners)) == 0.0

    @staticmethod
    def submission(attempt, listeners):
        port, path, name = listeners
        return (
            "import ctypes, os, resource, socket, sys\n"
            f"PORT, UNIX, NAME = {port}, {path!r}, {name!r}\n"
            f"done = {attempt}\n"
            "def f(x): return x * x if done else None\n"
        )

    @pytest.fixture
    def listeners(self, tmp_path_factory):
        """Servers of this process that a submission must not reach."""
        name = f"{MARK}-{os.getpid()}"
        path = f"/tmp/{name[-9:]}.sock"
        with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix, socket.socket(socket.AF_UNIX) as abstract:
            tcp.bind(("127.0.0.1", 0))
            unix.bind(path)
            abstract.bind(f"\0{name}")
            for server in (tcp, unix, abstract):
                server.listen()
            os.chmod(path, 0o777)
            try:
                yield tcp.getsockname()[1], path, name
            finally:
                os.unlink(path)


FORK_SLEEPER = f"os.execv('/bin/sleep', ['sleep', '{SLEEPER}'])"


class TestResources:
    # Bombs: the right answer comes too late, if at all
    @pytest.mark.parametrize(
        "code",
        attacks(
            ("loop at load", "while True: pass"),
            ("loop", "def f(x):\n    while True: pass"),
            ("loop that catches all", "def f(x):\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass"),
            ("loop in C", "def f(x): return sum(range(10 ** 12))"),
            ("regular expression", "import re\ndef f(x): return re.match('(a+)+$', 'a' * 64 + 'b')"),
            ("power tower", "def f(x): return 9 ** 9 ** 9"),
            ("memory", "def f(x):\n    a = []\n    while True: a.append(bytearray(10 ** 7))"),
            ("memory at once", "def f(x): return bytearray(1 << 40)"),
            ("threads that hang", "import threading\ndef f(x):\n    e = threading.Event()\n    for _ in range(9): threading.Thread(target=e.wait).start()\n    e.wait()"),
            ("threads without end", "import threading, time\ndef f(x):\n    while True: threading.Thread(target=time.sleep, args=(99,), daemon=True).start()"),
            ("sleep", "import time\ndef f(x): time.sleep(10 ** 6)"),
            ("sleep at load", "import signal\nsignal.pause()"),
            ("lock", "import threading\nlock = threading.Lock()\nlock.acquire()\ndef f(x): lock.acquire()"),
            ("wait for input", "import os\ndef f(x):\n    r, w = os.pipe()\n    os.read(r, 1)"),
            ("stopped", "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGSTOP) or signal.pause()"),
            ("descriptors", "import os\ndef f(x):\n    while True: os.open('/dev/null', 0)"),
            ("fill the disk", "def f(x):\n    n = 0\n    while True:\n        n += 1\n        open(f'file{n}', 'wb').write(b'x' * 2 ** 20)"),
            ("sparse file", "import os\ndef f(x):\n    os.truncate(os.open('s', os.O_RDWR | os.O_CREAT), 1 << 50)"),
        ),
    )  # fmt: skip
    def test_bombs(self, bombed, code):
        assert run(bombed, code) == 0.0

    # Processes: bombs, daemons that hold the pipe, time spent where it is not counted
    @pytest.mark.parametrize(
        "code",
        attacks(
            ("fork bomb", "import os\ndef f(x):\n    while True: os.fork()"),
            ("fork bomb that ignores errors", "import os\ndef f(x):\n    while True:\n        try: os.fork()\n        except OSError: pass"),
            ("shell bomb", "import os\ndef f(x): os.system('b() { b | b & }; b')"),
            ("daemon", f"import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: {FORK_SLEEPER}\n    os._exit(0)\ndef f(x): return 5"),
            ("daemon that holds the pipe", f"import os\ndef f(x):\n    if os.fork() == 0:\n        os.setsid()\n        os.set_inheritable(10, True)\n        {FORK_SLEEPER}\n    os._exit(0)"),
            ("child that burns time", "import os\ndef f(x):\n    if os.fork() == 0:\n        while True: pass\n    os.wait()"),
            ("children in turn", "import os, time\ndef f(x):\n    while True:\n        p = os.fork()\n        if p == 0:\n            while time.process_time() < 0.3: pass\n            os._exit(0)\n        os.waitpid(p, 0)"),
            ("kill all", "import os\ntry: os.kill(-1, 9)\nexcept OSError: pass\ndef f(x): return 5"),
            ("kill the group", "import os\ndef f(x):\n    os.killpg(0, 9)\n    return 5"),
            ("kill by number", "import os\nfor p in range(1, 70000):\n    try: os.kill(p, 9)\n    except OSError: pass\ndef f(x): return 5"),
            ("subprocess", f"import subprocess\ndef f(x): subprocess.Popen(['/bin/sleep', '{SLEEPER}'], start_new_session=True); return 5"),
        ),
    )  # fmt: skip
    def test_processes(self, bombed, code):
        assert run(bombed, code) == 0.0

    # Programs: the same, with output, and over more than one case
    @pytest.mark.parametrize(
        "code",
        attacks(
            ("output without end", "while True: print('4' * 1000)"),
            ("loop after the answer", "n = int(input())\nprint(n * n, flush=True)\nwhile True: pass"),
            ("sleep after the answer", "import time\nn = int(input())\nprint(n * n, flush=True)\ntime.sleep(10 ** 6)"),
            ("thread that stays", "import threading\nn = int(input())\nprint(n * n, flush=True)\nthreading.Thread(target=threading.Event().wait).start()"),
            ("loop at exit", "import atexit\nn = int(input())\nprint(n * n, flush=True)\n@atexit.register\ndef g():\n    while True: pass"),
            ("memory", "a = []\nwhile True: a.append(' ' * 10 ** 7)"),
            ("wait for more input", "import sys, time\nwhile True: time.sleep(0.01) if sys.stdin.read() == '' else None"),
        ),
    )  # fmt: skip
    def test_programs(self, bombed, code):
        assert run_program(bombed, code, CASES[:1]) == 0.0

    # What is right passes in spite of what it leaves behind, and nothing is left
    def test_daemon_of_a_right_program(self, bombed):
        code = f"import os\nn = int(input())\nprint(n * n, flush=True)\ntry:\n    if os.fork() == 0: {FORK_SLEEPER}\nexcept OSError: pass"
        assert run_program(bombed, code) == 1.0

    # Sleeping is told from starving by what the process wanted, not by the clock: a sleep that is allowed passes
    def test_a_short_sleep_is_no_crime(self, reward):
        assert run(reward, "import time\ndef f(x):\n    time.sleep(0.2)\n    return x * x", "assert f(2) == 4") == 1.0

    def test_idle_submissions_end_soon(self, bombed):
        began = time.monotonic()
        run(bombed, "import time\ntime.sleep(10 ** 6)")
        assert time.monotonic() - began < 20


class TestFromReview:
    # A submission that is gone, or that the tests wait for in vain, must not leave the trainer waiting
    @pytest.mark.parametrize(
        "code, tests",
        [
            ("def f(): return 10**6", "import time\ntime.sleep(f())\nassert f() == 1"),
            ("def f(done): pass", "import threading\ne = threading.Event()\nf(e.set)\ne.wait()\nassert True"),
        ],
    )
    def test_tests_that_wait_for_ever_fail(self, code, tests):
        reward = CodeReward(cpu_seconds=0.5)
        reward.execution = replace(reward.execution, idle_seconds=1.0)
        verdict = reward.verify(f"```python\n{code}\n```", {"kind": "assert", "code": tests})
        assert verdict.passed is False

    # A NaN makes every comparison false, whatever type it comes as
    def test_a_decimal_that_is_no_number(self):
        code = "from decimal import Decimal\ndef f(x): return Decimal('NaN')"
        tests = "assert not abs(float(f(2)) - 3) > 1e-6"
        assert CodeReward().verify(f"```python\n{code}\n```", {"kind": "assert", "code": tests}).passed is False
        honest = {"kind": "assert", "code": "assert f(1).is_nan()  # a NaN is asked for"}
        assert CodeReward().verify(f"```python\n{code}\n```", honest).passed is True

    # What a submission returns must not turn a wrong answer into one without a grade
    @pytest.mark.parametrize(
        "code, tests",
        [
            ("async def enc(x): return x\ndef dec(x): return x", "assert dec(enc('a')) == 'a'"),
            (
                "class E(Exception): pass\ndef f(): raise E()\ndef g(e): return 1",
                "try:\n    f()\nexcept Exception as e:\n    assert g(e) == 2",
            ),
            (
                "from datetime import *\ndef f(): return datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1)))\n"
                "def g(x): return 1",
                "assert g(f()) == 2",
            ),
        ],
    )
    def test_no_way_out_of_a_grade(self, code, tests):
        assert CodeReward().verify(f"```python\n{code}\n```", {"kind": "assert", "code": tests}).passed is False

    # A reference that cannot be encoded is the data set's fault
    def test_half_a_character(self):
        tests = '{"kind": "stdio", "cases": [{"input": "\\ud800", "output": "1"}]}'
        verdict = CodeReward().verify("```python\nprint(1)\n```", tests)
        assert (verdict.passed, verdict.failure) == (None, "reference")
