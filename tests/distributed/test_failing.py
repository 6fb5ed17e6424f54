"""An error in one of two processes ends the other as well, within seconds and with the reason."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


SCRIPT = Path(__file__).with_name("failing.py")
# Where the second process fails, and what the first one says. Reward functions: the processes agree on it in the
# gather of the rewards. Anywhere else the first is stuck in a collective, and the watch ends it.
AGREED = {
    "reward": "RewardError: In another process: Expert 'math': the reward 'broken' raised ValueError('the grader is",
    "async": "RewardError: In another process: Expert 'math': the reward 'broken_later' raised ValueError(",
    "short": "RewardError: In another process: Expert 'math': the reward 'short' returned 3 rewards for 4 compl",
}
STUCK = {
    "callback": "process 1 raised KeyError('in a callback')",
    "loss": "process 1 raised ZeroDivisionError('division by zero')",
    "rollouts": "process 1 raised IndexError('pop from empty list')",
}


def run(folder: Path, where: str) -> tuple[str, str, str]:
    """The errors that the first and the second process raised, and what the first printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
    processes = []
    for rank in ("0", "1"):
        own = {"RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(SCRIPT), str(folder), where]
        environment = {**os.environ, **shared, **own}
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    try:
        printed = processes[0].communicate(timeout=240)[1]
        assert processes[0].returncode == 1, printed[-3000:]
        assert processes[1].poll() is None, processes[1].stderr.read()[-3000:]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    errors = [folder / f"error-{rank}" for rank in (0, 1)]
    return *(path.read_text() if path.exists() else "" for path in errors), printed


@pytest.mark.slow
@pytest.mark.parametrize("where", ["short", "reward", "async"])
def test_a_reward_that_fails_in_one_process_is_an_error_in_both(tmp_path, where):
    """A reward function that raises in one process is an error in both, which says whose it is."""
    first, second, _ = run(tmp_path, where)
    assert AGREED[where] in first
    assert AGREED[where].removeprefix("RewardError: In another process: ") in second


@pytest.mark.parametrize(
    "where", ["loss", *(pytest.param(w, marks=pytest.mark.slow) for w in ("callback", "rollouts"))]
)
def test_a_process_that_waits_for_a_failed_one_ends_with_the_reason(tmp_path, where):
    """An error in one process, wherever it is raised, ends one that waits in a collective, with the reason."""
    first, second, printed = run(tmp_path, where)
    assert f"Process 0 ends: {STUCK[where]}, and this one waits for it." in printed and first == ""
    assert STUCK[where].split("raised ")[1].split("(")[0] in second
