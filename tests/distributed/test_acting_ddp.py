"""Experts that act in two processes, whose conversations take different numbers of turns."""

import pytest
from tiny import distance


pytestmark = pytest.mark.slow  # `make test-distributed`


@pytest.mark.parametrize("scenario", ["acting"])
def test_conversations_in_two_processes(single, ddp, scenario):
    """Two processes take part in equally many waves and give one process's weights, logs and matrix."""
    one, two = single(scenario), ddp[scenario]
    assert (one["processes"], two["processes"]) == (1, 2)
    first, second = two["waves"]
    assert len(first) == len(second) and any((a == 0) != (b == 0) for a, b in zip(first, second, strict=True))
    for name in one["weights"]:
        assert distance(one["weights"][name], two["weights"][name]) < 1e-6, name
    assert one["matrix"] == two["matrix"]
    keys = set()
    for logs in zip(one["logs"], two["logs"], strict=True):
        single_log, double_log = ({k: v for k, v in log.items() if not k.endswith("_time")} for log in logs)
        assert single_log == pytest.approx(double_log, abs=1e-5, nan_ok=True)
        keys |= set(single_log)
    assert {"tools/tools/call_frequency", "game/tools/call_frequency", "student/game/reward"} <= keys
    assert any(key.endswith("failed_environments") for key in keys)
