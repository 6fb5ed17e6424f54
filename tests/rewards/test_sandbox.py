"""External programs in the sandbox: what they can do, what they cannot, and what is left when they are gone."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
from box_attacks import reachable_python

from trl_copd.rewards.code import CodeReward
from trl_copd.rewards.sandbox import SandboxError, available_level, command, require_level, run_command
from trl_copd.rewards.sandbox._watch import Watch


HOST = available_level()
LEVELS = [level for level in ("full", "landlock") if HOST in ("full", level)]
pytestmark = pytest.mark.skipif(not LEVELS, reason="this host confines nothing")
PACKAGE = Path(command.__file__).parent


@pytest.fixture(params=LEVELS)
def level(request):
    return request.param


def shell(script, level, **options):
    return run_command(["sh", "-c", script], level=level, **{"cpu_seconds": 2, **options})


class TestRunCommand:
    def test_files_in_and_out(self, level):
        result = shell(
            "cat in/a.txt; cat; echo two > out.txt; mkdir d; echo three > d/e.txt; echo oops >&2; exit 3",
            level, files={"in/a.txt": "one\n", "b": b"\0"}, stdin=b"input\n", outputs=["out.txt", "d/e.txt", "none"],
        )  # fmt: skip
        assert (result.status, result.returncode) == ("ok", 3)
        assert result.stdout == b"one\ninput\n" and result.stderr == b"oops\n"
        assert result.files == {"out.txt": b"two\n", "d/e.txt": b"three\n"}
        assert 0 < result.cpu_seconds < 1

    def test_environment_is_almost_empty(self, level, monkeypatch):
        monkeypatch.setenv("COPD_SECRET", "1")
        names = {line.split(b"=")[0] for line in shell("env", level, environment={"EXTRA": "1"}).stdout.splitlines()}
        assert names <= {
            b"PATH",
            b"HOME",
            b"LANG",
            b"LC_ALL",
            b"TZ",
            b"TMPDIR",
            b"PWD",
            b"EXTRA",
            b"SHLVL",
            b"_",
            b"OLDPWD",
        }
        assert b"EXTRA" in names and b"COPD_SECRET" not in names

    # /proc/self is there for programs that look for themselves, other processes are not
    def test_sees_what_it_may(self, level, tmp_path):
        (tmp_path / "shown").write_text("shown")
        (tmp_path / "other").write_text("other")
        os.chmod(tmp_path, 0o755)
        if level == "full":
            assert shell("ls /proc | grep -c '^[0-9]'", level).stdout.strip() in (b"3", b"4", b"0")
        else:
            for parent in [tmp_path, *tmp_path.parents[:2]]:
                os.chmod(parent, 0o755)
        seen = shell(f"cat {tmp_path}/shown", level, readable=[str(tmp_path / "shown")])
        assert seen.stdout == b"shown"
        assert shell(f"cat {tmp_path}/other", level, readable=[str(tmp_path / "shown")]).returncode != 0
        assert shell(f"echo x > {tmp_path}/shown", level, readable=[str(tmp_path)]).returncode != 0
        assert (tmp_path / "shown").read_text() == "shown"

    # Each over the limit that it names
    @pytest.mark.parametrize(
        "script, options, status",
        [
            ("while :; do :; done", {"cpu_seconds": 0.3}, "cpu"),
            ("(while :; do :; done) & (while :; do :; done) & wait", {"cpu_seconds": 0.4}, "cpu"),
            ("sleep 1000", {"idle_seconds": 0.5}, "idle"),
            ("kill -STOP $$; sleep 1000", {"idle_seconds": 0.5}, "idle"),
            ("yes", {"max_output": 10_000}, "output"),
            ("i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done; wait", {"processes": 20}, "processes"),
        ],
    )
    def test_limits(self, level, script, options, status):
        result = shell(script, level, **options)
        if status == "processes" and level == "full":
            assert result.returncode != 0 or result.status == "processes"  # the kernel refuses the fork first
            return
        assert result.status == status
        assert len(result.stdout) <= options.get("max_output", 1 << 20)

    def test_memory(self, level):
        program = "a = []\nwhile True: a.append(bytearray(1 << 20))"
        result = run_command(
            ["python3", "-I", "-S", "-c", program],
            cpu_seconds=5,
            memory_mib=200,
            level=level,
            environment={"PYTHONMALLOC": "malloc"},
        )
        assert result.status == "memory" or b"MemoryError" in result.stderr

    def test_children_end_with_it(self, level):
        shell("(setsid sleep 45678.9 > /dev/null 2>&1 &) ; (sleep 45678.9 &) ; exit 0", level)
        found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        assert "45678.9" not in found

    def test_writes_nowhere_else(self, level):
        places = ["/var/tmp", "/usr", "/etc", "/root", str(Path.home()), str(Path.cwd()), "/dev"]
        result = shell("; ".join(f"touch {place}/copd-leak 2>/dev/null && echo {place}" for place in places), level)
        assert result.stdout == b""
        assert not any(Path(place, "copd-leak").exists() for place in places)
        assert not Path(shell("echo x > y; pwd", level).stdout.decode().strip()).exists()

    def test_no_network_no_privilege(self, level):
        program = textwrap.dedent("""
            import os, socket
            tries = [socket.socket], [os.setuid, 0], [os.chroot, "/"], [os.chmod, "/usr", 0o777]
            for function, *args in tries:
                try:
                    function(*args)
                    print("done")
                except OSError:
                    pass
            print(os.getuid() != 0 or open("/proc/self/status").read().count("CapEff:\\t0000000000000000"))
        """)
        result = run_command(["python3", "-I", "-S", "-c", program], cpu_seconds=5, level=level)
        assert result.stdout.strip() in (b"True", b"1")

    def test_links_are_not_followed_out(self, level):
        result = shell(
            "ln -s /etc/passwd a; mkdir d; ln -s /etc e; mkfifo p", level, outputs=["a", "e/passwd", "d", "p"]
        )
        assert result.files == {} or set(result.files) == {"p"} and result.files["p"] == b""

    def test_errors_of_the_caller(self, level):
        with pytest.raises(FileNotFoundError, match="no-such-program"):
            run_command(["no-such-program"], cpu_seconds=1, level=level)
        with pytest.raises(FileNotFoundError, match="readable"):
            shell("true", level, readable=["/no/such/path"])
        for options in ({"files": {"../a": "x"}}, {"files": {"/a": "x"}}, {"outputs": ["a/../../b"]}):
            with pytest.raises(ValueError, match="leaves"):
                shell("true", level, **options)


class TestLevels:
    def test_too_much_is_an_error(self, monkeypatch):
        monkeypatch.setattr(command, "available_level", lambda: "landlock")
        assert require_level() == "landlock" and require_level("rlimit") == "rlimit"
        with pytest.raises(SandboxError, match="at most"):
            require_level("full")
        with pytest.raises(ValueError, match="must be one of"):
            require_level("none")

    # Limits alone are used only where somebody said so
    def test_rlimit_must_be_allowed(self, monkeypatch):
        monkeypatch.setattr(command, "available_level", lambda: "rlimit")
        monkeypatch.delenv(command.ALLOW_RLIMIT, raising=False)
        with pytest.raises(SandboxError, match=command.ALLOW_RLIMIT):
            run_command(["true"], cpu_seconds=1)
        assert run_command(["sh", "-c", "echo hi"], cpu_seconds=1, level="rlimit").stdout == b"hi\n"
        assert run_command(["sleep", "100"], cpu_seconds=1, idle_seconds=0.5, level="rlimit").status == "idle"
        monkeypatch.setenv(command.ALLOW_RLIMIT, "1")
        assert run_command(["true"], cpu_seconds=1).status == "ok"


UNPRIVILEGED = """
import json, os, sys, types
package = types.ModuleType("sandbox")
package.__path__ = [sys.argv[1]]
sys.modules["sandbox"] = package
from sandbox import command, slots
os.chdir("/")
out = {"uid": os.getuid(), "level": command.available_level()}
for level in ("full", "landlock"):
    if command.LEVELS.index(level) < command.LEVELS.index(out["level"]):
        continue
    out[level] = one = {}
    script = "id -u; cat /etc/passwd; kill -9 %d; touch /var/tmp/copd-leak" % os.getpid()
    ran = command.run_command(["sh", "-c", script], cpu_seconds=2, level=level)
    one["command"] = [ran.status, ran.stdout.decode()]
    pool = slots.Slots(level, (), 1)
    with pool.slot() as slot:
        limits = slots.Execution(cpu_seconds=1.0, idle_seconds=1.0)
        run = lambda code: slot.run_tests([code], {"code": "assert f(2) == 4"}, limits).result
        one["right"] = run("import statistics\\ndef f(x): return x * x")["passed"]
        one["read"] = run("t = open('/etc/passwd').read()\\ndef f(x): return 4")["passed"]
        one["mode"] = run("import os\\nos.chmod(%r, 0o644)\\ndef f(x): return 4" % sys.argv[2])["passed"]
        one["kill"] = run("import os\\nos.kill(os.getppid() or 1, 9)\\ndef f(x): return 4")
        runs = list(slot.run_cases(["print(input())"], [b"a", b"b"], limits))
        one["program"] = [run.output.decode() for run in runs[:-1]]
    pool.close()
print(json.dumps(out))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="these tests run as an unprivileged user as it is")
def test_as_an_unprivileged_user(tmp_path):
    python = reachable_python()
    if python is None:
        pytest.skip("no Python that another user can start")
    package, owned = Path("/tmp") / f"copd-package-{os.getpid()}", Path("/tmp") / f"copd-owned-{os.getpid()}"
    shutil.copytree(PACKAGE, package)  # the repository may be closed to others as well
    owned.write_text("")
    os.chown(owned, 65533, 65533)
    try:
        done = subprocess.run(
            [python, "-c", UNPRIVILEGED, str(package), str(owned)],
            user=65533,
            group=65533,
            extra_groups=[],
            capture_output=True,
            text=True,
        )
        out = json.loads(done.stdout or "null")
        assert out, done.stderr
        assert out["uid"] == 65533 and out["level"] == HOST
        for level in LEVELS:
            assert out[level]["command"] == ["ok", "65533\n"]
            assert (out[level]["right"], out[level]["read"], out[level]["mode"]) == (1, 0, 0)
            assert out[level]["program"] == ["a\n", "b\n"]
        assert not Path("/var/tmp/copd-leak").exists()
    finally:
        shutil.rmtree(package)
        owned.unlink()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_between_two_cases_does_not_answer_for_those_that_are_over():
    script = (
        "import subprocess, sys, time\n"
        "subprocess.run([sys.executable, '-c', 'import time\\nwhile time.process_time() < 0.6: pass'])\n"
        "print(flush=True)\n"
        "time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()  # the child has burnt its time and was waited for
        everything, own = Watch(process.pid), Watch(process.pid, waited=False)
        everything.look()
        own.look()
    finally:
        process.kill()
        process.wait()
    assert everything.cpu >= 0.6
    assert own.cpu < 0.4


@pytest.mark.skipif(available_level() != "full", reason="only there is /tmp a fresh one")
def test_packages_below_tmp(monkeypatch):
    """As in a virtual environment under /tmp: it is shown there and stays for the next case, and nothing else does."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        package = Path(folder) / "site" / "shown_package"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("kept = 7")
        monkeypatch.syspath_prepend(package.parent)
        program = (
            "import os, shown_package\n"
            f"print(shown_package.kept, sorted(os.listdir('/tmp')), sorted(os.listdir({folder!r})))\n"
            f"open('/tmp/mine', 'w').close(); open({folder!r} + '/mine', 'w').close()\n"
        )
        expected = f"7 ['.stdin', {Path(folder).name!r}] ['site']"
        reward = CodeReward(packages=("shown_package",))
        cases = [{"input": "", "output": expected}] * 3
        verdict = reward.verify(f"```python\n{program}```", {"kind": "stdio", "cases": cases})
        assert verdict.passed is True, verdict.reason
        assert [path.name for path in Path(folder).iterdir()] == ["site"]
        assert (package / "__init__.py").read_text() == "kept = 7"
