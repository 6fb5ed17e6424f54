"""Data parallelism: two processes over gloo against one with the same global batch, rollouts replayed (float32)."""

import pytest
from tiny import distance


TOPOLOGIES = [
    "student",
    "mutual",
    pytest.param("mopd", marks=pytest.mark.slow),
    pytest.param("hub", marks=pytest.mark.slow),
]
EXPERTS = {"math", "code", "logic"}
# of `logic`, in two steps of 16 rows a round: RLVR, RLVR, OPD, OPD, RLVR, RLVR, or in `mopd` four of RLVR, then OPD
GRADED_ROWS = {"student": 4 * 32 + 2 * 16, "mutual": 4 * 32 + 2 * 20, "mopd": 4 * 32, "hub": 2 * 32 + 16}
# Rows of each other's domains are graded for the log where a reward can. By hand, of `logic`: in `student`
# 5 prompts of the student's and 4 of each other expert's, in `mutual` 3 of each other expert's, four completions each.
CROSS_ROWS = {"student": 20 + 2 * 16, "mutual": 2 * 12, "mopd": 20, "hub": 8}
MOVING = {
    "student": [EXPERTS] * 2 + [EXPERTS | {"student"}] * 2 + [EXPERTS] * 2,
    "mopd": [EXPERTS] * 4 + [{"student"}] * 2,
}


@pytest.mark.parametrize("scenario", TOPOLOGIES)
def test_two_processes_equal_one(single, ddp, scenario):
    """Two processes give one process's weights, within 1e-6, after two phases with accumulated gradients."""
    one, two = single(scenario), ddp[scenario]
    assert (one["processes"], two["processes"], two["kind"]) == (1, 2, "DistributedType.MULTI_CPU")
    assert one["shares prompts"] and two["shares prompts"]
    assert not two["wrapped"], "DDP would hold buckets for the gradients of all branches, which it never reduces"
    for name in one["weights"]:
        assert distance(one["weights"][name], two["weights"][name]) < 1e-6, name


@pytest.mark.parametrize("scenario", TOPOLOGIES)
def test_logs_and_matrix_equal(single, ddp, scenario):
    """Two processes log one process's rewards, norms, lengths, KL, overlap and capability matrix."""
    one, two = single(scenario), ddp[scenario]
    assert one["matrix"] == two["matrix"] and one["matrix"]["student"]["math"] is not None
    for single_log, double_log in zip(one["logs"], two["logs"], strict=True):
        assert single_log.keys() == double_log.keys()
        assert all(single_log[key] == pytest.approx(double_log[key], abs=1e-5, nan_ok=True) for key in single_log)
    logged = {key.split("/")[-1] for log in one["logs"] for key in log}
    assert {"reward", "grad_norm", "kl", "overlap", "symmetric_kl"} <= logged


@pytest.mark.parametrize("scenario", TOPOLOGIES)
def test_rewards_are_graded_once_each_process_its_own(single, ddp, scenario):
    """Every row is graded once, by the process that sampled it."""
    (one,), (first, second) = single(scenario)["graded"], ddp[scenario]["graded"]
    assert not one - (first + second) and first.total() == second.total()
    # the five held-out rows of `math` are filled up to six: one row more under base, three experts and student
    assert (first + second - one).total() == 5
    trained = sum(count for (domain, _, _), count in one.items() if domain == "logic")
    assert trained == GRADED_ROWS[scenario] + CROSS_ROWS[scenario]


@pytest.mark.parametrize("scenario", ["mutual"])
def test_processes_may_see_unequal_rows(ddp, scenario):
    """Of the runs above, in some rounds one process alone had rows that a reward grades, or long completions."""
    first, second = ddp[scenario]["seen"]
    assert any((a[0] == 0) != (b[0] == 0) for a, b in zip(first, second, strict=True))
    assert any((a[1] <= 1) != (b[1] <= 1) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("scenario", ["student", pytest.param("mopd", marks=pytest.mark.slow)])
def test_idle_branches_do_not_move(ddp, scenario):
    """A branch that is idle in a phase keeps its weights to the bit."""
    assert ddp[scenario]["moved"] == MOVING[scenario]


@pytest.mark.parametrize("scenario", ["resume"])
def test_a_resumed_run_is_the_uninterrupted_one(ddp, scenario):
    """Two processes, stopped in a phase and resumed, end with the same weights, moments and logs, bit for bit."""
    assert_resumed(ddp[scenario])


def assert_resumed(result: dict) -> None:
    whole, resumed = result["uninterrupted"], result["resumed"]
    assert whole["processes"] == 2 and len(resumed["moved"]) == len(whole["moved"]) - 3
    for name in whole["weights"]:
        assert distance(whole["weights"][name], resumed["weights"][name]) == 0, name
    assert whole["optimizer"].keys() == resumed["optimizer"].keys()
    for index, moments in whole["optimizer"].items():
        assert all(moments[key].equal(resumed["optimizer"][index][key]) for key in moments)
    assert whole["logs"] == resumed["logs"]
