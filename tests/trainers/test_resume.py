"""Property 5: killed at any moment and resumed, a run ends with the same weights and the same logs, bit for bit."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import build_experts, build_trainer, distance, history, weights
from transformers import TrainerCallback

from trl_copd.trainers.ending import save_last_round


class Kill(TrainerCallback):
    """Stops the run like a crash, after so many rounds."""

    def __init__(self, rounds):
        self.rounds = rounds

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.rounds:
            raise KeyboardInterrupt


# save_every and the schedule decide what the checkpoint falls into; 8 rows are an epoch of 4 RLVR rounds
CASES = {
    "in RLVR": {"save_steps": 5, "kill": 6, "rlvr_steps": 3, "opd_steps": 2},
    "in OPD": {"save_steps": 4, "kill": 5, "rlvr_steps": 3, "opd_steps": 3},
    "mutual, past an epoch": {"save_steps": 7, "kill": 9, "rlvr_steps": 2, "opd_steps": 2, "topology": "mutual",
                              "ignore_data_skip": True},  # without meaning, on resume too
    "hub": {"save_steps": 3, "kill": 4, "rlvr_steps": 2, "opd_steps": 2, "topology": "hub", "hub": "code"},
    "final phase": {"save_steps": 8, "kill": 9, "rlvr_steps": 3, "opd_steps": 2, "final_opd_steps": 3,
                    "topology": "student", "student_init": "merge"},
    "mopd, experts frozen": {"save_steps": 8, "kill": 9, "rlvr_steps": 3, "opd_steps": 2, "topology": "mopd"},
    "inside a reused generation, RLVR": {"save_steps": 3, "kill": 4, "rlvr_steps": 4, "opd_steps": 2,
                                         "num_iterations": 2},
    "inside a reused generation, OPD": {"save_steps": 7, "kill": 8, "rlvr_steps": 4, "opd_steps": 4,
                                        "num_iterations": 2, "steps_per_generation": 2},
    "several generations a round": {"save_steps": 4, "kill": 5, "rlvr_steps": 3, "opd_steps": 2,
                                    "gradient_accumulation_steps": 2, "steps_per_generation": 1},
    "at an epoch's end": {"save_steps": 4, "kill": 5, "rlvr_steps": 4, "opd_steps": 1, "max_steps": 8},
    "overlap decides": {"save_steps": 5, "kill": 7, "rlvr_steps": 6, "opd_steps": 6, "schedule": "overlap",
                        "overlap_low": 0.985, "overlap_high": 0.99, "overlap_every": 1, "max_steps": 12},
    "teachers' states in a reused generation": {"save_steps": 7, "kill": 8, "rlvr_steps": 4, "opd_steps": 4,
                                                "num_iterations": 2, "opd_loss": "jsd", "topology": "mutual"},
    "dropout, KL and adaptive entropy": {"save_steps": 5, "kill": 7, "rlvr_steps": 3, "opd_steps": 2, "beta": 0.05,
                                         "use_adaptive_entropy": True, "entropy_coef": 0.01, "entropy_target": 3.0},
    "between two logs": {"save_steps": 4, "kill": 5, "rlvr_steps": 3, "opd_steps": 2, "logging_steps": 3,
                         "max_steps": 9},
}  # fmt: skip


LONG = ("overlap decides", "several generations a round", "between two logs", "final phase", "hub")


@pytest.mark.parametrize("case", [pytest.param(c, marks=pytest.mark.slow if c in LONG else ()) for c in CASES])
def test_resumed_run_equals_uninterrupted_run(tmp_path, case):
    settings = {"max_steps": 10, "save_strategy": "steps", "overlap_every": 2, **CASES[case]}
    kill = settings.pop("kill")

    def build(folder):
        return build_trainer(tmp_path / folder, build_experts(size=10), **settings)

    whole = build("whole")
    whole.train()
    killed = build("killed")
    killed.add_callback(Kill(kill))
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    torch.manual_seed(123)  # nothing may hang on what the process was before
    resumed = build("killed")
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == whole.state.global_step
    for name in whole.branches:
        assert distance(weights(whole, name), weights(resumed, name)) == 0.0, name
    assert history(resumed) == history(whole)


# 12 rows are three generations of two micro-steps, in rounds of 4 and 2; or one of three, in rounds of 2 and 1
SHORT = {
    "a round of several generations": {"gradient_accumulation_steps": 4, "steps_per_generation": 2, "opd_steps": 1,
                                       "rlvr_steps": 1, "save_steps": 2, "max_steps": 3},
    "a generation that ends inside a round": {"gradient_accumulation_steps": 2, "steps_per_generation": 3,
                                              "num_generations": 2, "topology": "mutual", "opd_steps": 0,
                                              "save_steps": 3, "max_steps": 4},
}  # fmt: skip


@pytest.mark.parametrize("case", SHORT)
def test_resume_after_the_short_last_round_of_an_epoch(tmp_path, case):
    def build(folder):
        settings = {"save_strategy": "steps", "overlap_every": 0, **SHORT[case]}
        return build_trainer(tmp_path / folder, build_experts(2, 12), **settings)

    whole, resumed = build("whole"), build("resumed")
    torch.manual_seed(0)
    whole.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{SHORT[case]['save_steps']}"))
    assert resumed._step == whole._step
    for name in whole.branches:
        assert distance(weights(whole, name), weights(resumed, name)) == 0.0, name
    assert history(resumed) == history(whole)
    assert f"checkpoint-{SHORT[case]['max_steps']}" in save_last_round(whole)  # as after a signal


def test_streamed_data_resumes(tmp_path):
    settings = {"max_steps": 8, "save_strategy": "steps", "save_steps": 5, "rlvr_steps": 2, "opd_steps": 1}

    def build(folder):
        experts = build_experts(size=20)
        for expert in experts:
            expert.train_dataset = expert.train_dataset.to_iterable_dataset()
        return build_trainer(tmp_path / folder, experts, overlap_every=0, **settings)

    whole = build("whole")
    whole.train()
    killed = build("killed")
    killed.add_callback(Kill(6))
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    resumed = build("killed")
    resumed.train(resume_from_checkpoint=True)
    for name in whole.branches:
        assert distance(weights(whole, name), weights(resumed, name)) == 0.0, name


SCRIPT = """
import os, signal, sys
sys.path[:0] = [{tests!r}, {root!r}]
import conftest
from tiny import build_experts, build_trainer
from transformers import TrainerCallback

class Die(TrainerCallback):
    def on_substep_end(self, args, state, control, **kwargs):
        if state.global_step == 5:
            os.kill(os.getpid(), signal.SIGKILL)

trainer = build_trainer({folder!r}, build_experts(size=10), max_steps=8, save_strategy="steps", save_steps=2,
                        rlvr_steps=2, opd_steps=2, gradient_accumulation_steps=2, overlap_every=0)
trainer.add_callback(Die())
trainer.train()
"""


@pytest.mark.slow  # `make test-faults` kills twenty times
def test_sigkill_in_the_middle_of_a_round(tmp_path):
    tests = Path(__file__).parent.parent
    script = SCRIPT.format(tests=str(tests), root=str(tests.parent), folder=str(tmp_path / "killed"))
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, env=os.environ)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()[-2000:]
    settings = {"max_steps": 8, "rlvr_steps": 2, "opd_steps": 2, "gradient_accumulation_steps": 2, "overlap_every": 0}
    resumed = build_trainer(tmp_path / "killed", build_experts(size=10), **settings)
    resumed.train(resume_from_checkpoint=True)
    whole = build_trainer(tmp_path / "whole", build_experts(size=10), **settings)
    whole.train()
    for name in whole.branches:
        assert distance(weights(whole, name), weights(resumed, name)) == 0.0, name


def test_a_torn_checkpoint_is_passed_over(tmp_path):
    settings = {"max_steps": 4, "save_strategy": "steps", "save_steps": 1, "overlap_every": 0}
    whole = build_trainer(tmp_path, **settings)
    whole.train()
    (tmp_path / "checkpoint-4" / "copd_manifest.json").unlink()  # it is written last
    (tmp_path / "checkpoint-3" / "copd_state_0.pt").unlink()
    resumed = build_trainer(tmp_path, **settings)
    with pytest.raises(ValueError, match="checkpoint-3' cannot be resumed: 'copd_state_0.pt' is missing"):
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    resumed.train(resume_from_checkpoint=True)  # from checkpoint-2
    assert distance(weights(whole, "math"), weights(resumed, "math")) == 0.0


def test_a_run_that_starts_anew_says_what_is_there(tmp_path, caplog):
    (tmp_path / "checkpoint-7").mkdir()
    build_trainer(tmp_path, max_steps=1, overlap_every=0).train()
    assert "holds checkpoints of an earlier run, up to checkpoint-7, and this run starts anew" in caplog.text


def test_adapters_alone_are_refused(tmp_path):
    settings = {"max_steps": 2, "save_strategy": "steps", "save_steps": 2, "overlap_every": 0, "save_only_model": True}
    build_trainer(tmp_path, **settings).train()
    resumed = build_trainer(tmp_path, **settings)
    with pytest.raises(ValueError, match="cannot be resumed: it holds no state .* save_only_model=True"):
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    with pytest.raises(ValueError, match="checkpoint-2 cannot be resumed from"):
        resumed.train(resume_from_checkpoint=True)


def test_max_steps_and_output_dir_may_change(tmp_path):
    settings = {"save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "constant", "overlap_every": 0}
    short = build_trainer(tmp_path / "short", max_steps=2, **settings)
    short.train()
    longer = build_trainer(tmp_path / "longer", max_steps=4, logging_steps=3, **settings)
    longer.train(resume_from_checkpoint=str(tmp_path / "short" / "checkpoint-2"))
    whole = build_trainer(tmp_path / "whole", max_steps=4, **settings)
    whole.train()
    assert distance(weights(longer, "math"), weights(whole, "math")) == 0.0
