"""
What the tests of hostile submissions share: both levels, an honest program after each attack, and the search for what
an attack left behind.
"""

import dataclasses
import os
import platform
import textwrap
from pathlib import Path

import pytest

from trl_copd.rewards.code import CodeReward
from trl_copd.rewards.sandbox import available_level


CONFINED = pytest.mark.skipif(available_level() == "rlimit", reason="this host confines nothing")
LEVELS = [level for level in ("full", "landlock") if available_level() in ("full", level)]
REWARDS = {level: CodeReward(level=level, cpu_seconds=0.5, memory_mib=512) for level in LEVELS}
for _reward in REWARDS.values():
    _reward.execution = dataclasses.replace(_reward.execution, idle_seconds=0.8)  # the tests have less patience
TESTS = "assert f(2) == 4\nassert f(3) == 9\nassert f(-5) == 25\n"
CASES = [("2", "4"), ("3", "9"), ("-5", "25")]
HONEST = "def f(x):\n    return x * x"
MARK = "copd-escaped"
SLEEPER = "98765.4321"  # seconds: found again among all processes of the machine by its arguments
SECRET = "the-oracle-knows-this"
PLACES = ["/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~"), os.getcwd(), "/", "/usr", "/etc", "/run"]
X86 = platform.machine() == "x86_64"


def attacks(*rows):
    return [pytest.param(*row[1:], id=row[0]) for row in rows]


@pytest.fixture(params=LEVELS)
def reward(request, monkeypatch):
    monkeypatch.setenv("COPD_SECRET", SECRET)
    yield from _and_after(REWARDS[request.param])


# bombs take their time: at the second level only where there is some
@pytest.fixture(params=LEVELS[:1] + [pytest.param(level, marks=pytest.mark.slow) for level in LEVELS[1:]])
def bombed(request):
    yield from _and_after(REWARDS[request.param])


def _and_after(reward):
    yield reward
    assert run(reward, HONEST) == 1.0, "an honest submission does not pass any more"
    assert leftovers() == []


def run(reward, code, tests=TESTS):
    tests = {"kind": "assert", "code": textwrap.dedent(tests)} if isinstance(tests, str) else tests
    completion = f"```python\n{textwrap.dedent(code)}\n```"
    return reward(prompts=["?"], completions=[completion], tests=[tests])[0]


def run_program(reward, code, rows=CASES):
    return run(reward, code, {"kind": "stdio", "cases": [{"input": data, "output": output} for data, output in rows]})


def leftovers():
    """Files and processes that a submission left on the machine."""
    found = [str(path) for place in PLACES for path in Path(place).glob(f"{MARK}*")]
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                command = Path(f"/proc/{entry}/cmdline").read_bytes()
            except OSError:
                continue
            if SLEEPER.encode() in command.split(b"\0"):
                found.append(command.decode())
    return found
