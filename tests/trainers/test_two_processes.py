"""Property 6: two processes over gloo give the weights of one with the same global batch, rollouts replayed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import distance


SCRIPT = Path(__file__).parent.parent / "two_processes.py"


def run(folder, topology, loss_type, processes, checkpointing):
    folder.mkdir()
    # `accelerate launch --cpu --num_processes 2` silently runs one process; the script asserts that there are two
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"] if processes == 2 else []
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    arguments = [str(folder), topology, loss_type, str(processes), checkpointing]
    process = subprocess.run(
        [sys.executable, *launcher, str(SCRIPT), *arguments], capture_output=True, text=True, env=environment
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return torch.load(folder / "result.pt")


@pytest.mark.parametrize(
    ("topology", "loss_type", "checkpointing"),
    [("student", "grpo", "plain"), ("mutual", "dapo", "checkpointing"), ("mopd", "grpo", "plain")],
)
def test_two_processes_equal_one(tmp_path, topology, loss_type, checkpointing):
    one = run(tmp_path / "one", topology, loss_type, 1, checkpointing)
    two = run(tmp_path / "two", topology, loss_type, 2, checkpointing)
    for name in one["weights"]:
        assert distance(one["weights"][name], two["weights"][name]) < 1e-6, name
    for single, double in zip(one["logs"], two["logs"], strict=True):
        assert single.keys() == double.keys()
        assert all(single[key] == pytest.approx(double[key], abs=1e-5) for key in single)
