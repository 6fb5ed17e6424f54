"""Who gets a round's rollouts, as pure data: turns, promises and plans against values by hand."""

import math

import pytest
from tiny import settings

from trl_copd import CoPDConfig
from trl_copd.allocation import Allocation, Turns
from trl_copd.schedule import BranchPlan, Schedule
from trl_copd.topology import STUDENT, Edge, build_topology


def test_a_turn_comes_in_one_of_so_many_calls():
    turns = Turns()
    seen = [turns.due({"a": 1.0, "b": 0.5, "c": 0.1}) for _ in range(10)]
    assert [sum(name in due for due in seen) for name in "abc"] == [10, 5, 1]
    assert seen[0] == ["a", "b", "c"], "everybody begins"
    assert seen[1] == ["a"] and seen[2] == ["a", "b"]


def test_turns_are_shared_out_in_proportion():
    turns = Turns()
    assert turns.split({"a": 3.0, "b": 1.0}, 4) == ["a", "a", "b", "a"]
    # 1 of 3 each: what is left over counts for the next call
    thirds = Turns()
    drawn = [name for _ in range(3) for name in thirds.split({"a": 1.0, "b": 1.0, "c": 1.0}, 4)]
    assert sorted(drawn) == ["a"] * 4 + ["b"] * 4 + ["c"] * 4


def test_a_promise_is_room_where_there_is_signal():
    allocation = Allocation(["easy", "rare", "unseen", "dense", "dead"])
    allocation.observe("easy", 0.5, 0.9)
    allocation.observe("rare", 0.25, 0.02)  # counts in full, though half as many of its groups differ
    allocation.observe("dense", 0.05, 3.0)  # rewards beyond 1 say nothing of the room
    allocation.observe("dead", 0.0, 0.0)
    assert allocation.promise("easy") == pytest.approx(0.1) and allocation.promise("rare") == pytest.approx(0.98)
    assert allocation.promise("dense") == pytest.approx(0.5) and allocation.promise("dead") == 0.0
    assert allocation.promise("unseen") == 1.0
    assert allocation.weights(["easy", "rare"]) == {"easy": pytest.approx(0.1 / 0.98), "rare": 1.0}
    assert allocation.weights(["rare", "dead"])["dead"] == 0.1, "the floor"
    allocation.observe("easy", 0.0, 1.0)  # smoothed: 0.35 and 0.93
    assert allocation.promise("easy") == pytest.approx(0.07)
    allocation.observe("easy", 0.0, 1.0)
    allocation.observe("easy", 0.0, 1.0)
    allocation.observe("easy", 0.0, 1.0)
    allocation.observe("easy", 0.0, 1.0)
    assert allocation.signal["easy"] == pytest.approx(0.5 * 0.7**5) and allocation.promise("easy") < 0.017
    allocation.observe("rare", math.nan, math.nan)  # nothing was graded: nothing is learnt of it
    assert allocation.promise("rare") == pytest.approx(0.98)


def test_a_few_groups_without_a_reward_settle_nothing():
    allocation = Allocation(["rare"])
    for seen in range(1, 6):  # five generations of four groups: half of the domains with signal 0.03 look like that
        allocation.observe("rare", 0.0, 0.0, groups=4)
        assert allocation.signal["rare"] == pytest.approx(0.7**seen) and allocation.promise("rare") == 1.0
    for _ in range(10):
        allocation.observe("rare", 0.0, 0.0, groups=16)
    assert allocation.promise("rare") < 0.05, "what is never rewarded gets little in the end"
    for _ in range(20):
        allocation.observe("single", 0.0, 0.0, groups=1)
    assert allocation.signal["single"] == pytest.approx(0.7**5), "twenty groups are twenty groups"
    allocation.observe("known", 0.0, 1.0, groups=1)
    assert allocation.promise("known") == 0.0, "what is right at once has no room"


def test_who_has_learnt_rests_and_the_student_does_not():
    topology = build_topology("student", ("a", "b"))
    allocation = Allocation(["a", "b"], floor=0.25)
    allocation.observe("a", 0.0, 1.0)
    allocation.observe("b", 0.5, 0.5)
    plans = Schedule(1, 1).plan(topology, 1, 4)
    rested = [allocation.rest(plans) for _ in range(5)]
    assert [plan["a"].idle for plan in rested] == [False, True, True, True, False]
    assert all(not plan["b"].idle and plan[STUDENT] == plans[STUDENT] for plan in rested)
    edge = Edge("a", STUDENT, "a")
    assert edge in rested[1][STUDENT].edges, "a rests and still teaches"
    assert allocation.rest({STUDENT: BranchPlan(False, (edge,))}) == {STUDENT: BranchPlan(False, (edge,))}


def test_without_any_signal_all_take_part():
    allocation = Allocation(["a", "b"])
    for name in ("a", "b"):
        allocation.observe(name, 0.0, 0.0)
    assert allocation.weights() == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize(
    ("fields", "rollouts"),
    [
        ({"final_opd_steps": 3}, 3 * 8),
        ({"final_opd_steps": 3, "gradient_accumulation_steps": 4, "steps_per_generation": 1}, 3 * 4 * 8),
        ({"final_opd_steps": 2, "num_iterations": 4}, 8),  # a generation serves 4 rounds: they begin with one
        ({"final_opd_steps": 5, "num_iterations": 4}, 2 * 8),
    ],
)
def test_the_last_phase_keeps_what_its_rounds_sample(tmp_path, fields, rollouts):
    args = settings(tmp_path, rlvr_steps=4, opd_steps=4, max_steps=-1)
    assert CoPDConfig(**args, **fields, max_rollouts=rollouts + 1).build_schedule(2).reserve == rollouts
    with pytest.raises(ValueError, match="would never learn"):
        CoPDConfig(**args, **fields, max_rollouts=rollouts)


def test_a_budget_says_when_the_last_phase_begins():
    schedule = Schedule(4, 0, reuse=1, final_opd_steps=2, budget=100, reserve=20)
    for index, spent in enumerate((0, 30, 60, 79)):
        schedule.advance(index, [], spent)
    assert not schedule.is_final(3, 99) and schedule.phase(3, 99) == "rlvr"
    schedule.advance(4, [], 80)
    assert schedule.is_final(4, 99) and schedule.phase(4, 99) == "opd" and schedule.opd_begins(4, 99)
    again = Schedule(4, 0, reuse=1, final_opd_steps=2, budget=100, reserve=20)
    again.load_state_dict(schedule.state_dict())
    assert again.is_final(4, 99) and not again.is_final(3, 99)
