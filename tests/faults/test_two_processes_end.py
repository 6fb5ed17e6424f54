"""Two processes decide alike: what one of them meets, both act on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import distance

from trl_copd import last_checkpoint
from trl_copd.run.checkpoints import defect


pytestmark = pytest.mark.slow


def run(folder, fault):
    script = str(Path(__file__).with_name("two.py"))
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    process = subprocess.run([*launcher, script, str(folder), fault], capture_output=True, text=True, env=environment)
    assert process.returncode == 0, process.stderr[-3000:]
    results = [torch.load(folder / f"result-{rank}.pt") for rank in (0, 1)]
    for name in ("math", "code", "student"):
        assert distance(results[0]["weights"][name], results[1]["weights"][name]) == 0.0
    assert results[0]["faults"] == results[1]["faults"] and results[0]["round"] == results[1]["round"]
    return results


def test_a_signal_to_one_process(tmp_path, proved):
    results = run(tmp_path, "signal")
    assert [result["code"] for result in results] == [143, 143] and results[0]["round"] == 3
    checkpoint = tmp_path / "checkpoint-3"
    assert last_checkpoint(tmp_path) == str(checkpoint)
    whole = run(tmp_path / "whole", "reward")
    resumed = run(tmp_path, "reward")
    for name in ("math", "code", "student"):
        assert distance(resumed[0]["weights"][name], whole[0]["weights"][name]) == 0.0
    (checkpoint / "copd_state_1.pt").unlink()
    assert "'copd_state_1.pt' is missing" in defect(checkpoint)
    proved("SIGTERM to one of two processes: both saved and exited with 143, and the run went on from there")


def test_a_fault_in_one_process(tmp_path, proved):
    results = run(tmp_path, "gradient")
    faults = results[0]["faults"]["math"]
    assert (faults["non_finite_rewards"], faults["ungraded_rows"], faults["skipped_updates"]) == (5, 5, 1)
    proved("a NaN reward in one process and a NaN gradient in the other: both processes counted and skipped alike")
