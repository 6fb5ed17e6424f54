"""
FSDP2 over two CPU processes: CoPD's parts on raw `fully_shard`, and whole runs through accelerate's and the Trainer's
code for FSDP2 (`fsdp_on_cpu.py` says what was changed for that), against one process without sharding (float32).
"""

import pytest
import torch
from test_ddp import MOVING, assert_resumed
from tiny import distance


pytestmark = pytest.mark.slow  # `make test-distributed`


COMPONENTS = {
    "grouped_forward": "stacked adapters in one forward",
    "unequal_forwards": "forwards of different number per process",
    "gradients": "one backward per branch, averaged once, idle branches None",
    "accumulated_gradients": "gradient accumulation",
    "clipping": "the norm of one branch, and clipping by it",
    "moments": "Adam's moments, saved whole and loaded as shards; idle branches have none and do not move",
    "merging": "the exact and the linear merge",
    "saving": "saving and loading adapters",
    "saving_whole_modules": "saving and loading adapters with `modules_to_save`",
}


@pytest.mark.parametrize("part", COMPONENTS)
def test_sharded_parts_equal_unsharded(fsdp, part):
    """Sharded over two processes it equals the unsharded part, within 1e-6."""
    assert fsdp["components"][part] is None, fsdp["components"][part]


RUNS = ["mopd", *(pytest.param(name, marks=pytest.mark.slow) for name in ("student", "mutual", "hub"))]


@pytest.mark.parametrize("scenario", RUNS)
def test_a_sharded_run_equals_one_process(single, fsdp, scenario):
    """A whole run under FSDP2 in two processes gives the weights, norms, rewards and matrix of one process."""
    one, two = single(scenario), fsdp[scenario]
    assert (two["processes"], two["kind"]) == (2, "DistributedType.FSDP") and two["sharded"] > 2
    for name in one["weights"]:
        assert distance(one["weights"][name], two["weights"][name]) < 1e-6, name
    assert one["matrix"] == two["matrix"]
    for single_log, double_log in zip(one["logs"], two["logs"], strict=True):
        assert single_log.keys() == double_log.keys()
        assert all(single_log[key] == pytest.approx(double_log[key], abs=1e-5, nan_ok=True) for key in single_log)
    if scenario in MOVING:
        assert two["moved"] == MOVING[scenario]


@pytest.mark.parametrize("scenario", ["one_probe", pytest.param("chunked_probes", marks=pytest.mark.slow)])
def test_processes_may_sample_unlike_numbers_of_rows(fsdp, scenario):
    """Under FSDP2 a process may have fewer rows to sample than another, fewer calls of `generate`, or none."""
    result = fsdp[scenario]
    assert (result["processes"], result["kind"]) == (2, "DistributedType.FSDP")
    overlaps = [value for log in result["logs"] for key, value in log.items() if key.endswith("opd/overlap")]
    assert len(overlaps) == 6 * (2 if scenario == "one_probe" else 1) and all(0 <= value <= 1 for value in overlaps)


@pytest.mark.parametrize("scenario", ["resume"])
def test_a_sharded_run_is_resumed(fsdp, scenario):
    """A run under FSDP2, stopped in a phase and resumed, ends with the same weights, moments and logs, bit for bit."""
    assert "FSDP" in fsdp[scenario]["resumed"]["kind"]
    assert_resumed(fsdp[scenario])


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_fsdp2_on_gpus(tmp_path):
    """A whole CoPD cycle under FSDP2 on two CUDA devices."""
    from conftest import launch

    result = launch(tmp_path, "gpu", ["resume"])["resume"]
    assert result["resumed"]["kind"] == "DistributedType.FSDP" and result["resumed"]["sharded"] > 2
    assert_resumed(result)
