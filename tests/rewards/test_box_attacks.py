"""
Attacks on the sandbox's clock, memory and files, and on what runs beside it, at each level that promises to stop them,
as this user and as an ordinary one, with and without parts of the kernel. Threats: docs/rewards/threats.md.
"""

import logging
import os
import shutil
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import box_attacks
import pytest
from box_attacks import ATTACKS, EITHER, HARMLESS, ORDINARY, REFUSED

from trl_copd.rewards.code import CodeReward
from trl_copd.rewards.sandbox import _files, _seccomp, _watch, available_level, command, run_command, slot
from trl_copd.rewards.sandbox.slots import Execution, Slots
from trl_copd.rewards.sandbox.turns import Turns


HOST = available_level()
LEVELS = [level for level in ("full", "landlock") if HOST in ("full", level)]
pytestmark = pytest.mark.skipif(not LEVELS, reason="this host confines nothing")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="these tests run as an ordinary user as it is")
KINDS = sorted({attack.kind for attack in ATTACKS})
HONEST = "def f(x): return x * x"
TESTS = {"kind": "assert", "code": "assert f(2) == 4"}


def of(kind):
    return [attack for attack in ATTACKS if attack.kind == kind]


def check(found, level, attacks):
    for attack in attacks:
        if level in attack.levels:
            outcome, why = found[level][f"{attack.kind}: {attack.name}"]
            assert outcome == attack.expected or attack.expected == EITHER, f"{attack.name}: {outcome}, {why}"


def check_nothing_left(found):
    assert (found["changed"], found["signals"], found["stderr"]) == ({}, [], "")
    for level in LEVELS:
        if level in found:
            assert found[level]["honest"][0] == HARMLESS
            assert found[f"{level} servers"], "a server had to be started again"


class TestTable:
    @pytest.fixture(scope="class")
    def found(self):
        return box_attacks.attack(LEVELS)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("level", LEVELS)
    def test_kind(self, found, level, kind):
        check(found, level, of(kind))

    # Limits alone stop little, but what they promise they keep. Root runs no attack at this level
    @pytest.mark.slow
    def test_limits_alone(self):
        if os.geteuid() == 0 and box_attacks.reachable_python() is None:
            pytest.skip("no Python that another user can start")
        found = box_attacks.attack(["rlimit"], user=None if os.geteuid() else ORDINARY)
        for kind in KINDS:
            check(found, "rlimit", of(kind))
        check_nothing_left(found)

    @pytest.mark.parametrize("level", LEVELS)
    def test_planted_module(self, found, level):
        assert found[level]["planted: a module"][0] == REFUSED

    def test_nothing_is_left(self, found):
        check_nothing_left(found)

    # An ordinary user has other processes, which are what these attacks aim at. Landlock 5 keeps no signals in;
    # without Landlock, what is mounted is all that keeps a program from writing
    @needs_root
    @pytest.mark.parametrize(
        "abi, kinds",
        [
            ("99", ("signals", "priority", "files", "quota", "planted")),
            ("5", ("signals", "priority")),
            ("0", ("signals", "files", "planted")),
        ],
    )
    def test_as_an_ordinary_user(self, abi, kinds):
        if box_attacks.reachable_python() is None:
            pytest.skip("no Python that another user can start")
        found = box_attacks.attack(LEVELS, kinds, ORDINARY, {"TRL_COPD_LANDLOCK_ABI": abi})
        assert found["uid"] == ORDINARY and (HOST != "full" or "full" in found)
        assert ("landlock" in found) == (abi != "0")
        for level in LEVELS:
            if level in found:
                for kind in kinds:
                    check(found, level, of(kind))
                assert found[level].get("planted: a module", [REFUSED])[0] == REFUSED
        check_nothing_left(found)

    # Seams take away, and say so
    @needs_root
    def test_without_user_namespaces(self):
        found = box_attacks.attack(["full", "landlock"], ["quota"], seams={"TRL_COPD_NO_USER_NAMESPACES": "1"})
        assert found["level"] == "landlock" and "full" not in found
        check(found, "landlock", of("quota"))

    # Tables of both architectures: a jump over more than 255 steps would not fit
    @pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
    def test_filters_can_be_built(self, machine, monkeypatch):
        monkeypatch.setattr(_seccomp.os, "uname", lambda: os.uname_result(("Linux", "", "", "", machine)))
        for fork, metadata, child in ((True, True, False), (False, False, True), (True, False, True)):
            program = _seccomp.build_filter(fork, None if fork else 7, metadata, child)
            assert len(program) % 8 == 0 and len(program) < 8 * 4096


def reward_at(level, **limits):
    reward = CodeReward(level=level, cpu_seconds=1.0, memory_mib=512)
    reward.execution = replace(reward.execution, **{"idle_seconds": 1.0, **limits})
    return reward


def grade(reward, *codes, tests=TESTS):
    completions = [f"```python\n{code}\n```" for code in codes]
    return reward(prompts=["?"] * len(codes), completions=completions, tests=[tests] * len(codes))


def stdio(*pairs):
    return {"kind": "stdio", "cases": [{"input": data, "output": output} for data, output in pairs]}


@pytest.fixture(params=LEVELS)
def level(request):
    return request.param


class TestCases:
    # Objects and frames of a case hold no input but its own: neither of those before it nor of those to come
    def test_a_case_sees_its_own_input(self, level):
        code = """
import gc, sys
own, seen, frame = input(), [], sys._getframe(1)
others = [other for other in ("".join(("in", "put ", "no. ", str(n))) for n in range(3)) if other != own]
while frame:
    seen += [repr(value) for value in list(frame.f_locals.values())]
    frame = frame.f_back
for value in gc.get_objects():
    if type(value) in (list, tuple, dict) and value is not others and value is not seen and value is not globals():
        seen += [text for text in (value.values() if type(value) is dict else value) if type(text) in (str, bytes)]
print(any(other in str(text) for text in seen for other in others))
"""
        cases = stdio(*((f"input no. {number}\n", "False") for number in range(3)))
        assert grade(reward_at(level), code, tests=cases) == [1.0]

    # Modes that keep a directory from being listed or emptied do not keep it for the next case
    @pytest.mark.parametrize("mode", ["0o500", "0o300", "0", "0o700"])
    def test_directories_do_not_stay(self, level, mode):
        code = (
            "import os\nprint(input() if os.listdir('.') == ['.stdin'] else os.listdir('.'))\nos.mkdir('d')\n"
            "open('d/f', 'w').close()\nos.makedirs('e/f')\nos.umask(0)\n"
            f"try:\n    os.chmod('d', {mode})\nexcept OSError: pass\nos.mkdir('g', {mode})"
        )
        assert grade(reward_at(level), code, tests=stdio(*((f"{n}\n", f"{n}\n") for n in range(3)))) == [1.0]

    # A mode that a case may not change at this level is one that only process 1 may
    def test_modes_of_what_it_may_read(self):
        code = (
            f"import os\ntry:\n    os.chmod({os.__file__!r}, 0o644)\n    print('done')\nexcept OSError:\n    print(4)"
        )
        assert grade(reward_at(LEVELS[-1]), code, tests=stdio(("", "4"))) == [1.0]

    # Each case may be idle for a while, all of them together not for all these whiles
    def test_idle_in_all_cases(self, level):
        code = "import time\nn = input()\ntime.sleep(0.4)\nprint(n)"
        cases = stdio(*((f"{n}\n", f"{n}\n") for n in range(20)))
        reward = reward_at(level, idle_seconds=0.6)
        began = time.monotonic()
        assert grade(reward, code, tests=cases) == [0.0]
        assert time.monotonic() - began < 20 * 0.4 + 60  # a machine that is very busy
        assert grade(reward, code, tests=stdio(("1\n", "1\n"), ("2\n", "2\n"))) == [1.0]

    def test_the_wall_limit_is_that_of_one_case(self):
        assert Execution(cpu_seconds=2.0).as_limits()["wall_seconds"] == 20.0

    # Orphans of a case are its own: they count, and are gone before the next one
    def test_orphans_of_a_case(self):
        code = (
            "import os, time\nr, w = os.pipe()\nif os.fork() == 0:\n    if os.fork() == 0:\n"
            "        while time.process_time() < 0.7: pass\n        os.write(w, b'x')\n    os._exit(0)\n"
            "os.wait()\nos.read(r, 1)\nprint(4)"
        )
        if HOST == "full":
            assert grade(reward_at("full", cpu_seconds=0.5, idle_seconds=5.0), code, tests=stdio(("", "4"))) == [0.0]


class TestTurns:
    # The clock on the wall ends a row twice only if it asks for it: the second time nothing else ran
    def test_the_second_wall_is_wrong(self, level, monkeypatch):
        monkeypatch.setattr(slot, "_BACKSTOP", 0.2)
        reward = reward_at(level, idle_seconds=9.0)
        verdict = reward.verify("```python\nimport time\ntime.sleep(0.9)\n```", TESTS)
        assert (verdict.passed, verdict.failure) == (False, None)
        verdict = reward.verify("```python\nimport time\ntime.sleep(0.9)\nprint(4)\n```", stdio(("", "4")))
        assert (verdict.passed, verdict.failure) == (False, None)

    # A row that must be repeated alone is, when all the others have their grades
    def test_repeated_after_the_others(self, level, monkeypatch):
        log = []
        for name in ("slot", "alone"):
            original = getattr(Slots, name)
            monkeypatch.setattr(Slots, name, lambda self, o=original, n=name: log.append(n) or o(self))
        near = "import time\nwhile time.process_time() < 0.4: pass\ndef f(x): return 4"
        assert grade(reward_at(level, cpu_seconds=0.5), near, HONEST, HONEST + " ", HONEST + "  ") == [1.0] * 4
        assert log == ["slot"] * 4 + ["alone"]

    # Nobody is kept out for long, neither by one that is alone nor by one that waits for it in vain
    def test_nobody_is_kept_out_for_long(self):
        turns, log, release = Turns(hold=0.2), [], threading.Event()

        def alone():
            with turns.alone():
                log.append("alone")
                release.wait(30)

        with turns.beside():
            thread = threading.Thread(target=alone)
            thread.start()
            with turns.beside():  # waits for the one that waits
                log.append("beside")
                while "alone" not in log:
                    time.sleep(0.01)
            with turns.beside():
                release.set()
        thread.join(timeout=30)
        assert sorted(log) == ["alone", "beside"]
        with turns.beside(), turns.beside():
            pass

    # Honest rows beside one attacker of each kind keep their grades, and take what they took
    @pytest.mark.slow
    def test_beside_attackers(self, level):
        reward, calm = reward_at(level, cpu_seconds=0.5, idle_seconds=0.7), reward_at(level)
        honest = [f"def f(x):\n    # {n}\n    return sum(x for _ in range(2))" for n in range(20)]
        assert grade(calm, *honest) == [1.0] * 20
        attackers = [box_attacks.submission(attack.code, os.getpid()) for attack in ATTACKS if level in attack.levels]
        wanted = [attack.expected for attack in ATTACKS if level in attack.levels]
        for first in range(0, len(attackers), 10):
            rows = [*honest[:10], *attackers[first : first + 10], *honest[10:]]
            reward.cache_size = 0
            grades = grade(reward, *rows)
            assert grades[:10] == grades[-10:] == [1.0] * 10
            for found, expected in zip(grades[10:-10], wanted[first : first + 10], strict=True):
                assert found is not None and (expected == EITHER or found == float(expected == HARMLESS))


class TestPrograms:
    """The same for programs that `run_command` runs."""

    def run(self, code, level, **options):
        limits = {"cpu_seconds": 1.0, "idle_seconds": 2.0, **options}
        return run_command(["python3", "-I", "-S", "-c", code], level=level, **limits)

    # Orphans are handed to the launcher, and are the program's still
    @pytest.mark.parametrize("start", ["", "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"])
    @pytest.mark.parametrize("orphaned", [True, False])
    def test_children_that_nobody_waits_for(self, level, start, orphaned):
        code = f"""
import os, signal, time
{start}
r, w = os.pipe()
def burn():
    while time.process_time() < 0.4: pass
    os.write(w, b'x')
    os._exit(0)
for _ in range(6):
    if os.fork() == 0:
        if {orphaned} and os.fork(): os._exit(0)
        burn()
for _ in range(6): os.read(r, 1)
"""
        assert self.run(code, level).status == "cpu"

    def test_total_size_of_files(self, level):
        code = "for n in range(9): open(str(n), 'wb').write(bytes(4 << 20))\nimport time\ntime.sleep(0.2)"
        result = self.run(code, level, disk_mib=16)
        assert result.status == "disk" or b"No space left" in result.stderr
        assert self.run(code, level, disk_mib=64).status == "ok"

    def test_nothing_stays(self, level, monkeypatch):
        folder = Path(tempfile.mkdtemp(prefix="copd-box-"))  # pytest's own are closed to others
        folder.chmod(0o1777)
        monkeypatch.setitem(command.TRUSTED_ENVIRONMENT, "TMPDIR", str(folder))
        code = "import os\nfor _ in range(50):\n    os.mkdir('d')\n    os.chdir('d')\n"
        code += "os.mkdir('a', 0o300)\nos.mkdir('b', 0)"
        try:
            assert self.run(code, level).status in ("ok", "disk")  # what cannot be listed is taken for too much
            assert list(folder.iterdir()) == []
        finally:
            shutil.rmtree(folder)

    # Shells say what SIGCHLD does, and wait for it
    def test_shells_wait(self, level):
        result = run_command(["sh", "-c", "sleep 0.1 & wait; echo done"], cpu_seconds=2, level=level)
        assert (result.status, result.stdout) == ("ok", b"done\n")


class TestFiles:
    def test_empty(self, tmp_path):
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / "c").write_text("x")
        os.symlink("/etc/passwd", tmp_path / "a" / "l")
        os.mkfifo(tmp_path / "p")
        os.mkdir(os.fsencode(tmp_path) + b"/\xff")
        os.chdir(tmp_path)
        for _ in range(100):  # deeper than a path can be long
            os.mkdir("d" * 100)
            os.chdir("d" * 100)
        os.chdir("/")
        for path in (tmp_path / "a" / "b", tmp_path / "a", tmp_path):
            path.chmod(0)
        _files.empty(str(tmp_path))
        assert os.listdir(tmp_path) == [] and os.path.exists("/etc/passwd")

    def test_what_stays_is_told(self, tmp_path, monkeypatch):
        (tmp_path / "a").write_text("x")
        monkeypatch.setattr(_files.os, "unlink", lambda *args, **kwargs: None)
        with pytest.raises(OSError, match="not empty"):
            _files.empty(str(tmp_path))

    def test_held(self, tmp_path):
        (tmp_path / "a").write_bytes(bytes(1 << 20))
        os.link(tmp_path / "a", tmp_path / "b")
        assert (1 << 20) <= _files.held(str(tmp_path), [], 9 << 20)[0] < (1 << 20) + 9000
        with open(tmp_path / "c", "wb") as file:
            file.write(bytes(1 << 20))
            file.flush()
            (tmp_path / "c").unlink()
            assert _files.held(str(tmp_path), [os.getpid()], 9 << 20)[0] >= 2 << 20


class TestWatch:
    # What was last seen of a process that vanished stays; what its parent waited for is not counted twice
    def test_vanished(self):
        watch = _watch.Watch(1)
        steps = [
            {"a": (0.1, 0.0), "b": (0.5, 0.0), "c": (0.3, 0.0)},
            {"a": (0.2, 0.5), "c": (0.4, 0.0)},  # b was waited for
            {"a": (0.2, 0.5)},  # c was not
            {"a": (0.3, 0.9)},  # one that was never seen was waited for
            {"d": (0.1, 0.0)},  # all gone but for a new one
        ]
        seen = []
        for step in steps:
            watch._count_cpu({(name, b"0"): _watch._Usage(*times, 0, 1) for name, times in step.items()})
            seen.append(round(watch.cpu, 6))
        assert seen == [0.9, 1.1, 1.1, 1.6, 1.7]


# Once at the start, and with what the level does not stop
def test_the_level_is_announced(caplog):
    command.announce.cache_clear()
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            CodeReward(level=LEVELS[-1]).check()
    (record,) = [record for record in caplog.records if "sandbox level" in record.message]
    assert f"level {LEVELS[-1]}" in record.message and "does not stop" in record.message
