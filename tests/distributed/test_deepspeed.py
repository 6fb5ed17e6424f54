"""What DeepSpeed does to an idle branch, where it is installed; CoPDTrainer refuses it (`test_launch.py`)."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest


SCRIPT = Path(__file__).parent / "deepspeed_idle.py"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="needs deepspeed")
@pytest.mark.parametrize("stage", [2, 3])
def test_zero_moves_an_idle_branch(stage):
    """The reason for refusing DeepSpeed still holds: ZeRO moves a branch that takes no part."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    process = subprocess.run(
        [sys.executable, *launcher, str(SCRIPT), str(stage)], capture_output=True, text=True, env={**os.environ}
    )
    assert process.returncode == 0, process.stderr[-3000:]
    line = next(line for line in process.stdout.splitlines() if "idle branch moved by" in line)
    print(line)
    assert float(line.split()[-1]) > 1e-3
