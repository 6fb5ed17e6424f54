"""A generation batch with one prompt, or two, of a branch: RLVR does not pause for want of native rows."""

import pytest
from tiny import build_trainer, history

from trl_copd.plan.inputs import Run
from trl_copd.plan.options import check, parse


# 8 rows and 8 generations are TRL's defaults: one prompt
ONE = {"per_device_train_batch_size": 8, "num_generations": 8, "rlvr_steps": 1, "opd_steps": 2, "overlap_every": 0}


def rows_of_rounds(trainer):
    """(native, cross) rows of each branch in every generation, filled in as the run samples."""
    seen, rows = [], trainer.round._rows

    def record(branch, plan):
        drawn = rows(branch, plan)
        seen.append((branch.name, len(drawn.native), len(drawn.cross)))
        return drawn

    trainer.round._rows = record
    return seen


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.99])
def test_one_prompt_stays_native_and_the_student_alone_is_taught(tmp_path, caplog, fraction):
    with caplog.at_level("WARNING"):
        trainer = build_trainer(tmp_path, topology="student", max_steps=3, opd_fraction=fraction, **ONE)
    said = [record.message for record in caplog.records if "Only the student is taught" in record.message]
    assert len(said) == 1 and "holds one prompt" in said[0] and "per_device_train_batch_size" in said[0]
    seen = rows_of_rounds(trainer)
    trainer.train()
    experts = [("math", 8, 0), ("code", 8, 0), ("logic", 8, 0)]
    assert seen == [*experts, *experts, ("student", 0, 8), *experts, ("student", 0, 8)]
    rounds = [log for log in history(trainer) if "phase" in log]
    assert all("math/reward" in log for log in rounds) and [log["phase"] for log in rounds] == [0, 1, 1]
    assert all(any(key.endswith("->student/opd/kl") for key in log) for log in rounds[1:])
    assert not any("student->" in key for log in rounds for key in log)


@pytest.mark.parametrize("topology", [{"topology": "mutual"}, {"topology": "hub", "hub": "code"}])
def test_topologies_that_would_teach_nobody_are_refused(tmp_path, topology):
    with pytest.raises(ValueError, match="one prompt of a branch, which remains native.*opd_steps=0"):
        build_trainer(tmp_path, model="/nowhere/no-model", **ONE | topology)
    build_trainer(tmp_path, **ONE | topology | {"opd_steps": 0, "topology": "mutual", "hub": None})


@pytest.mark.parametrize("fraction", [0.25, 0.99])
def test_of_two_prompts_one_crosses(tmp_path, fraction):
    settings = ONE | {"num_generations": 4, "opd_fraction": fraction, "topology": "mutual", "max_steps": 3}
    trainer = build_trainer(tmp_path, **settings)
    seen = rows_of_rounds(trainer)
    trainer.train()
    assert seen[3:] == [("math", 4, 4), ("code", 4, 4), ("logic", 4, 4)] * 2


def test_frozen_experts_have_no_native_rows_to_keep(tmp_path, caplog):
    with caplog.at_level("WARNING"):
        trainer = build_trainer(tmp_path, topology="mopd", max_steps=3, **ONE)
    assert not any("Only the student" in record.message for record in caplog.records)
    seen = rows_of_rounds(trainer)
    trainer.train()
    assert seen[3:] == [("student", 0, 8)] * 2


def test_the_planner_counts_and_refuses_alike():
    few, more = (Run(experts=3, rows=rows, generations=8, rlvr_steps=1, opd_steps=2) for rows in (8, 16))
    assert few.cross_rows() == 8  # the student's
    assert more.cross_rows() == 3 * 8 + 16
    asked = ["--model", "x", "--experts", "3", "--rows", "8", "--generations", "8"]
    check(parse([*asked, "--topology", "student"]))
    with pytest.raises(ValueError, match="one prompt of a branch.*teach nobody"):
        check(parse([*asked, "--topology", "mutual"]))
