"""`benchmarks/gpu.py` on a CPU with a tiny model: every part runs, and the last line is the whole result."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import gpu  # noqa: E402


@pytest.mark.slow
def test_a_dry_run_fills_every_figure(capsys):
    result = gpu.main(["--dry-run", "--experts", "1,2"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == result
    assert result["left_out"] == [] and "error" not in json.dumps(result)
    assert result["grpo"]["seconds"] > 0
    for count, phases in (("1", {"rlvr"}), ("2", {"rlvr", "opd"})):
        for way in ("plain", "shared"):
            found = result["rounds"][count][way]
            assert phases == found.keys() & {"rlvr", "opd"} and found["ratio"] > 0 and found["memory_gib"] > 0
            assert sum(found["parts"].values()) > 0 and (found["parts"]["scoring"] > 0) == (count == "2")
        assert result["generation"][count]["apart"] > 0 and result["generation"][count]["grouped"] > 0
        assert result["generation"][count]["agree"] == 1.0  # float32


def test_the_share_of_tokens_before_the_first_that_differs():
    assert gpu.agreement([[1, 2, 3, 4], [5, 6]], [[1, 2, 0, 4], [5, 6]]) == 0.75
    assert gpu.agreement([[1, 2]], [[1, 2, 3, 4]]) == 0.5


def test_the_ratio_is_that_of_the_default_cycle():
    rounds = {"plain": {"rlvr": 6.0, "opd": 9.0, "measuring": 5.0}}
    result = {"grpo": {"seconds": 2.0}, "rounds": {"4": rounds, "8": {"error": "out of memory"}}}
    gpu.ratios(result)
    assert rounds["plain"]["ratio"] == pytest.approx((10 * 6 + 20 * 9) / 30 / 8 + 5 / 5 / 8)
    result = {"grpo": {"error": "out of memory"}, "rounds": {"4": {"plain": {"rlvr": 1.0}}}}
    gpu.ratios(result)
    assert "ratio" not in result["rounds"]["4"]["plain"]


def test_a_part_that_fails_leaves_its_error_and_ends_nothing(monkeypatch):
    def fails(command, **kwargs):
        return subprocess.CompletedProcess(command, 1, stdout="", stderr="Traceback\nOutOfMemoryError: 3 GiB")

    monkeypatch.setattr(gpu.subprocess, "run", fails)
    assert gpu.spawn("grpo", 1, []) == {"error": "Traceback\nOutOfMemoryError: 3 GiB"}

    def hangs(command, timeout, **kwargs):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(gpu.subprocess, "run", hangs)
    assert "longer than the 7 s" in gpu.spawn("grpo", 7, [])["error"]


def test_without_a_gpu_it_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        gpu.main([])
    assert "--dry-run" in capsys.readouterr().err
