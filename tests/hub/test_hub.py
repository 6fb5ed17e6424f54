"""Runs the quick ones of `cases/` among the slow tests; `make test-hub` runs them all."""

import subprocess
import sys
from pathlib import Path

import pytest


sys.path.insert(0, str(Path(__file__).parent))

from run_hub import run


@pytest.mark.slow  # `make test-hub`
def test_pushing_and_loading_against_a_local_hub():
    process = run(["-m", "not slow"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.returncode == 0, process.stdout[-6000:]
