"""Topologies, schedules and prompt streams as pure data, against hand-written values."""

import pytest
from tiny import rows
from trl.trainer.utils import RepeatSampler

from trl_copd.prompts import PromptStream, derived_seed, hold_out_probe
from trl_copd.schedule import BranchPlan, OverlapSchedule, Schedule, cross_prompts
from trl_copd.topology import Edge, build_topology


NAMES = ("a", "b", "c")


def labels(name, hub=None):
    return sorted(edge.label for edge in build_topology(name, NAMES, hub).edges)


def test_edges():
    assert labels("mutual") == ["a->b", "a->c", "b->a", "b->c", "c->a", "c->b"]
    assert labels("hub", "b") == ["a->b", "b->a", "b->c", "c->b"]
    assert labels("mopd") == ["a->student", "b->student", "c->student"]
    assert labels("student") == sorted(
        ["a->student", "b->student", "c->student"]
        + ["student->a@b", "student->a@c", "student->b@a", "student->b@c", "student->c@a", "student->c@b"]
    )
    assert "a->student" in str(build_topology("mopd", NAMES))


@pytest.mark.parametrize("order", [NAMES, NAMES[::-1]])
def test_turns_do_not_depend_on_the_order_of_experts(order):
    topology = build_topology("mutual", order)
    assert topology.edges_into("b") == (Edge("a", "b", "a"), Edge("c", "b", "c"))


def test_cyclic_schedule():
    schedule = Schedule(3, 2)
    assert "".join(schedule.phase(i, 12)[0] for i in range(12)) == "rrroorrroorr"
    assert [schedule.cycle(i, 20) for i in (0, 4, 5, 11)] == [0, 0, 1, 2]
    assert schedule.phases(7) == [("rlvr", 0, 3), ("opd", 3, 5), ("rlvr", 5, 7)]
    assert Schedule(0, 2).phases(4) == [("opd", 0, 2), ("opd", 2, 4)]


def test_static_schedule_has_as_many_rounds_of_either_phase():
    schedule = Schedule(3, 2, static=True)
    for total in range(1, 16):
        cyclic = [Schedule(3, 2).phase(i, total) for i in range(total)]
        assert [schedule.phase(i, total) for i in range(total)] == sorted(cyclic, reverse=True)


def test_final_phase():
    schedule = Schedule(3, 2, final_opd_steps=4)
    assert "".join(schedule.phase(i, 11)[0] for i in range(11)) == "rrroorroooo"
    assert schedule.phases(11) == [("rlvr", 0, 3), ("opd", 3, 5), ("rlvr", 5, 7), ("opd", 7, 11)]
    assert [schedule.cycle(i, 11) for i in (0, 5, 6, 7, 10)] == [0, 1, 1, 2, 2]
    assert schedule.phases(9)[1:] == [("opd", 3, 5), ("opd", 5, 9)], "an OPD phase before it is one of its own"
    assert [i for i in range(9) if schedule.opd_begins(i, 9)] == [3, 5]
    assert (
        Schedule(3, 2).phase(12, 12) == "rlvr"
        and Schedule(3, 2).plan(build_topology("mutual", NAMES), 12, 12)["a"].native
    )
    reused = Schedule(2, 2, reuse=2, final_opd_steps=3)
    assert reused.phases(9) == [("rlvr", 0, 2), ("opd", 2, 4), ("rlvr", 4, 6), ("opd", 6, 9)]
    student = build_topology("student", NAMES)
    assert schedule.plan(student, 6, 11) == Schedule(3, 2).plan(student, 6, 11)
    final = schedule.plan(student, 7, 11)
    assert all(final[name].idle for name in NAMES) and len(final["student"].edges) == 3
    adaptive = OverlapSchedule(3, 2, final_opd_steps=4)
    for index in range(11):
        adaptive.advance(index, [])
    assert adaptive.phases(11) == schedule.phases(11)


def test_plans():
    schedule = Schedule(1, 1)
    student = build_topology("student", NAMES)
    assert schedule.plan(student, 0, 2) == {**{n: BranchPlan(True) for n in NAMES}, "student": BranchPlan(False)}
    opd = schedule.plan(student, 1, 2)
    assert all(opd[name].native for name in NAMES), "RLVR does not pause"
    assert [e.label for e in opd["student"].edges] == ["a->student", "b->student", "c->student"]
    assert [e.label for e in opd["b"].edges] == ["student->b@a", "student->b@c"]
    mopd = Schedule(1, 1, static=True).plan(build_topology("mopd", NAMES), 1, 2)
    assert all(mopd[name].idle for name in NAMES) and not mopd["student"].idle


# min(P - 1, max(1, round(f P))): one native prompt remains, so that RLVR does not pause
@pytest.mark.parametrize(
    ("prompts", "fraction", "cross"),
    [(8, 0.5, 4), (4, 0.1, 1), (1, 0.1, 0), (1, 0.99, 0), (2, 0.25, 1), (2, 0.99, 1), (3, 0.9, 2), (8, 0.99, 7)],
)
def test_cross_prompts(prompts, fraction, cross):
    assert cross_prompts(prompts, fraction) == cross


def trl_order(dataset, batch, epochs, seed):
    sampler = RepeatSampler(dataset, 1, batch, shuffle=True, seed=seed)
    return [dataset[i]["prompt"] for _ in range(epochs) for i in sampler]


def test_stream_has_the_order_of_trl_whatever_the_portions():
    data = rows(0, 11)
    expected = trl_order(data, 4, 3, seed=5)  # an epoch drops the 3 rows that make no full batch
    stream = PromptStream(data, 4, True, 5)
    taken = [row["prompt"] for count in (4, 2, 4, 1, 4, 4, 5) for row in stream.take(count)]
    assert taken == expected[:24]


@pytest.mark.parametrize("streamed", [False, True])
def test_stream_resumes_where_it_was(streamed):
    data = rows(0, 11).to_iterable_dataset() if streamed else rows(0, 11)
    whole = PromptStream(data, 2, True, 5)
    expected = [row["prompt"] for row in whole.take(30)]
    stream = PromptStream(data, 2, True, 5)
    stream.skip_to(17)
    assert [row["prompt"] for row in stream.take(13)] == expected[17:]
    stream.skip_to(3)  # back, when a trainer resumes after it has trained
    assert [row["prompt"] for row in stream.take(5)] == expected[3:8]


def test_a_stream_that_makes_no_batch_is_an_error():
    with pytest.raises(ValueError, match="gave 3 rows in an epoch"):
        PromptStream(rows(0, 3).to_iterable_dataset(), 4, True, 0).take(1)


def test_phases_of_a_static_schedule_fit_reused_generations():
    schedule = Schedule(2, 2, static=True, reuse=2)
    assert schedule.phases(5) == [("rlvr", 0, 2), ("opd", 2, 5)]


def test_rows_are_copies():
    stream = PromptStream(rows(0, 2), 2, False, 0)
    row = stream.take(1)[0]
    row["prompt"] = "changed"
    assert stream.take(2)[1]["prompt"] == "0+0="


def test_probe_rows_are_never_trained_on():
    train, probe = hold_out_probe(rows(0, 40), None, 8, 4)
    assert len(probe) == 4 and len(train) == 36  # a tenth at the most
    assert not {row["prompt"] for row in probe} & set(train["prompt"])
    train, probe = hold_out_probe(rows(0, 40), rows(50, 6), 8, 4)
    assert len(train) == 40 and [row["prompt"] for row in probe] == rows(50, 6)["prompt"]
    train, probe = hold_out_probe(rows(0, 4), None, 8, 4)
    assert probe == [] and len(train) == 4
    train, probe = hold_out_probe(rows(0, 4).to_iterable_dataset(), None, 8, 4)
    assert probe == [] and len(list(train)) == 4  # a short stream is no shorter
    train, probe = hold_out_probe(rows(0, 40).to_iterable_dataset(), None, 3, 4)
    assert [row["prompt"] for row in probe] == rows(0, 40)["prompt"][:3] and next(iter(train))["prompt"] == "3+3="


def test_seeds_differ_by_name_and_stay():
    assert (
        derived_seed(0, "cross", "a", "b") == derived_seed(0, "cross", "a", "b") != derived_seed(0, "cross", "b", "a")
    )


def letters(schedule, rounds):
    return "".join(schedule.phase(i, rounds)[0] for i in range(rounds))


def advance(schedule, measured: dict[int, list[float]], rounds: int):
    for index in range(rounds):
        schedule.advance(index, measured.get(index, []))
    return schedule


def test_overlap_ends_the_phases():
    measured = {0: [1.0, 1.0], 2: [0.95, 0.97], 4: [0.93, 0.88], 6: [0.94, 0.93], 8: [0.97, 0.96], 10: [0.95, 0.95]}
    schedule = advance(OverlapSchedule(8, 8), measured, 12)
    assert letters(schedule, 12) == "rrrroooorrrr"  # 0.88 < low at round 4; all > high at round 8
    assert schedule.phases(12) == [("rlvr", 0, 4), ("opd", 4, 8), ("rlvr", 8, 12)]
    assert [schedule.cycle(i, 12) for i in (0, 4, 8)] == [0, 0, 1]


def test_phases_that_do_not_end_are_cut():
    measured = {index: [0.93] for index in range(0, 12, 2)}  # never below low; it stalls below high
    assert letters(advance(OverlapSchedule(4, 4), measured, 12), 12) == "rrrroooorrrr"
    assert letters(advance(OverlapSchedule(3, 2), {}, 10), 10) == "rrroorrroo"  # nothing measured: the bounds alone


def test_opd_ends_when_the_overlap_no_longer_rises():
    measured = {0: [1.0], 2: [0.80], 4: [0.85], 6: [0.84], 8: [0.85], 10: [0.85]}
    assert letters(advance(OverlapSchedule(8, 20), measured, 10), 10) == "rroooooorr"  # 0.84, 0.85 after 0.85


def test_a_generation_is_never_cut():
    measured = {index: [0.5] for index in range(12)}
    schedule = advance(OverlapSchedule(4, 4, reuse=2), measured, 12)
    assert all(start % 2 == 0 for start in schedule.starts)


def test_overlap_schedule_resumes():
    measured = {0: [1.0], 2: [0.80], 4: [0.85], 6: [0.84], 8: [0.85], 10: [0.85], 12: [0.7]}
    whole = advance(OverlapSchedule(8, 20), measured, 14)
    for kill in range(1, 14):
        first = advance(OverlapSchedule(8, 20), measured, kill)
        second = OverlapSchedule(8, 20)
        second.load_state_dict(first.state_dict())
        for index in range(kill, 14):
            second.advance(index, measured.get(index, []))
        assert second.starts == whole.starts
