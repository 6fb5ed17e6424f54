"""Rows with pictures: two processes over gloo against one with the same global batch, rollouts replayed (float32)."""

import pytest
from tiny import distance


pytestmark = pytest.mark.slow


@pytest.mark.parametrize("scenario", ["pictures"])
def test_two_processes_equal_one(single, ddp, scenario):
    """Two processes give one process's weights, within 1e-6, its logs and matrix, with rows that hold pictures."""
    one, two = single(scenario), ddp[scenario]
    assert (one["processes"], two["processes"], two["kind"]) == (1, 2, "DistributedType.MULTI_CPU")
    assert all(one["moved"]) and one["moved"] == two["moved"]
    for name in one["weights"]:
        assert distance(one["weights"][name], two["weights"][name]) < 1e-6, name
    assert one["matrix"] == two["matrix"] and one["matrix"]["student"]["eye"] is not None
    for single_log, double_log in zip(one["logs"], two["logs"], strict=True):
        assert single_log.keys() == double_log.keys()
        assert all(single_log[key] == pytest.approx(double_log[key], abs=1e-5, nan_ok=True) for key in single_log)
    assert {"kl", "overlap", "symmetric_kl"} <= {key.split("/")[-1] for log in one["logs"] for key in log}
