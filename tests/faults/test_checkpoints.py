"""What counts as a complete checkpoint: everything that its manifest names is there, to the last byte."""

import errno
import json
import logging
import signal
import subprocess
import sys

import pytest
import torch
from tiny import build_experts, build_trainer, distance, history, weights
from transformers import TrainerCallback

import trl_copd.adapters.saving
from trl_copd import last_checkpoint
from trl_copd.run import checkpoints
from trl_copd.run.checkpoints import MANIFEST_FILE, defect, list_checkpoints, write_manifest


def fake(folder, step: int, resumable: bool = True):
    checkpoint = folder / f"checkpoint-{step}"
    (checkpoint / "experts" / "math").mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text("{}")
    (checkpoint / "experts" / "math" / "weights").write_bytes(b"x" * 100)
    write_manifest(checkpoint, resumable, ["trainer_state.json"])
    return checkpoint


def flip(path):
    path.write_bytes(b"y" + path.read_bytes()[1:])


TORN = {
    "no manifest": (lambda c: (c / MANIFEST_FILE).unlink(), f"no {MANIFEST_FILE}"),
    "half a manifest": (lambda c: (c / MANIFEST_FILE).write_text('{"resumable": true, "fi'), "cannot be read"),
    "a manifest of something else": (lambda c: (c / MANIFEST_FILE).write_text("[]"), "cannot be read"),
    "a file is missing": (lambda c: (c / "experts/math/weights").unlink(), "'experts/math/weights' is missing"),
    "a file is cut": (lambda c: (c / "experts/math/weights").write_bytes(b"x" * 99), "99 bytes instead of 100"),
    "a file is another": (
        lambda c: flip(c / "experts/math/weights"),
        "'experts/math/weights' is not what was written",
    ),
}


@pytest.mark.parametrize("case", TORN)
def test_torn(tmp_path, caplog, case, proved):
    tear, reason = TORN[case]
    for step in (2, 9, 10):
        fake(tmp_path, step)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")  # by number and not by name
    tear(tmp_path / "checkpoint-10")
    assert reason in defect(tmp_path / "checkpoint-10")
    with caplog.at_level(logging.WARNING):
        assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-9")
    assert "checkpoint-10 is skipped" in caplog.text and reason in caplog.text
    proved("a torn checkpoint is skipped for the one before, with the reason")


def test_further_files_do_no_harm_and_adapters_alone_are_no_state(tmp_path):
    (fake(tmp_path, 1) / "note.txt").write_text("mine")
    assert defect(tmp_path / "checkpoint-1") is None
    assert "save_only_model=True" in defect(fake(tmp_path, 2, resumable=False))
    (tmp_path / "checkpoint-best").mkdir()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-1", "checkpoint-2"]
    assert last_checkpoint(tmp_path / "nowhere") is None


def test_a_process_that_wrote_nothing_is_noticed(tmp_path):
    with pytest.raises(OSError, match="copd_state_1.pt"):
        write_manifest(fake(tmp_path, 1), True, ["trainer_state.json", "copd_state_1.pt"])


class At(TrainerCallback):
    """Does something at the end of one round, or at another event of it."""

    def __init__(self, round_, action, event="on_step_end"):
        self.round, self.action = round_, action
        setattr(self, event, self._act)

    def _act(self, args, state, control, **kwargs):
        if state.global_step == self.round:
            self.action()


SETTINGS = {
    "max_steps": 6, "save_strategy": "steps", "save_steps": 2, "rlvr_steps": 2, "opd_steps": 2, "overlap_every": 0,
}  # fmt: skip


def build(folder, **overrides):
    return build_trainer(folder, build_experts(2, size=10), **SETTINGS | overrides)


def assert_same_weights(one, other):
    for name in one.branches:
        assert distance(weights(one, name), weights(other, name)) == 0.0, name


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    trainer = build(tmp_path_factory.mktemp("whole"))
    trainer.train()
    return trainer


# ---- A disk that fills up -------------------------------------------------------------------------------------------


def no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


FULL = {
    "adapters": (trl_copd.adapters.saving, "save_file"),
    "optimizer and state": (torch, "save"),
    "manifest": (checkpoints, "write_whole"),
}


@pytest.mark.parametrize("case", FULL)
def test_full_disk(tmp_path, whole, monkeypatch, caplog, case):
    """It fills up after round 3 and has space again after round 5: one checkpoint is missing, and nothing else."""
    target = FULL[case]
    original = getattr(*target)
    trainer = build(tmp_path, save_total_limit=1)
    trainer.add_callback(At(3, lambda: setattr(*target, no_space)))
    trainer.add_callback(At(5, lambda: setattr(*target, original)))
    seen = []
    trainer.add_callback(At(5, lambda: seen.extend(path.name for path in tmp_path.glob("checkpoint-*"))))
    try:
        trainer.train()
    finally:
        setattr(*target, original)
    assert seen == ["checkpoint-2"], "the old one stays, nothing is left of the one that was not written"
    assert "CHECKPOINT NOT WRITTEN" in caplog.text and "No space left on device" in caplog.text
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-6")
    assert_same_weights(trainer, whole)


def test_a_last_checkpoint_that_is_not_written_is_an_error(tmp_path, whole, monkeypatch):
    trainer = build(tmp_path)
    trainer.add_callback(At(5, lambda: monkeypatch.setattr(torch, "save", no_space)))
    with pytest.raises(OSError, match="checkpoint-6.*No space left"):
        trainer.train()
    monkeypatch.undo()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    resumed = build(tmp_path)
    resumed.train(resume_from_checkpoint=True)
    assert_same_weights(resumed, whole)


def test_an_error_that_is_not_the_disks_is_raised(tmp_path, monkeypatch):
    trainer = build(tmp_path)
    monkeypatch.setattr(torch, "save", lambda *args: (_ for _ in ()).throw(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        trainer.train()


# ---- Rotation -------------------------------------------------------------------------------------------------------


def test_old_checkpoints_go_only_when_the_new_one_is_complete(tmp_path, monkeypatch):
    trainer = build(tmp_path, save_total_limit=1)
    there = []
    original = checkpoints.write_whole

    def spy(path, content):
        there.append(sorted(p.name for p in tmp_path.glob("checkpoint-*")))
        original(path, content)

    monkeypatch.setattr(checkpoints, "write_whole", spy)
    (tmp_path / "checkpoint-99").mkdir()  # torn, and ahead: it must not be kept in place of a complete one
    trainer.train()
    assert there == [
        ["checkpoint-2", "checkpoint-99"],
        ["checkpoint-2", "checkpoint-4"],
        ["checkpoint-4", "checkpoint-6"],
    ]
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-6"]
    args = torch.load(tmp_path / "checkpoint-6" / "training_args.bin", weights_only=False)
    assert args.save_total_limit == 1, "what was held back while saving shows in the saved arguments"


def test_the_log_between_two_logs_survives(tmp_path):
    """Saved inside a span of logging: the loss and the metrics of the rounds before are part of its mean."""
    whole = build(tmp_path / "whole", logging_steps=3)
    whole.train()
    killed = build(tmp_path / "killed", logging_steps=3)
    killed.add_callback(At(3, lambda: signal.raise_signal(signal.SIGTERM)))
    with pytest.raises(SystemExit):
        killed.train()
    assert last_checkpoint(tmp_path / "killed") == str(tmp_path / "killed" / "checkpoint-4")
    resumed = build(tmp_path / "killed", logging_steps=3)
    resumed.train(resume_from_checkpoint=True)
    assert history(resumed) == history(whole) and len(history(whole)) == 2


def test_a_run_that_had_ended_trains_no_further(tmp_path, whole):
    """Killed after its last checkpoint and before its end."""
    build(tmp_path).train()
    resumed = build(tmp_path)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 6 and history(resumed) == history(whole)
    assert_same_weights(resumed, whole)


# ---- Signals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("strategy", ["steps", "no", "epoch"])
def test_a_signal_saves_and_exits(tmp_path, whole, number, strategy, proved):
    if number == signal.SIGUSR1 and strategy != "steps":
        pytest.skip("the same path")
    before = signal.getsignal(number)
    trainer = build(tmp_path, save_strategy=strategy, enable_jit_checkpoint=True)
    trainer.add_callback(At(2, lambda: signal.raise_signal(number)))  # taken up at the end of round 3
    with pytest.raises(SystemExit) as exit_:
        trainer.train()
    assert exit_.value.code == 128 + number
    assert signal.getsignal(number) == before
    assert trainer.state.global_step in (2, 3)
    assert last_checkpoint(tmp_path) == str(tmp_path / f"checkpoint-{trainer.state.global_step}")
    resumed = build(tmp_path, save_strategy=strategy)
    resumed.train(resume_from_checkpoint=True)
    assert_same_weights(resumed, whole)
    steps = [log["step"] for log in resumed.state.log_history if "loss" in log]
    assert steps == [1, 2, 3, 4, 5, 6]
    proved("SIGTERM and SIGUSR1: a checkpoint at the end of the round, exit by 128 + signal, same end")


# the next thing that the run would do is to measure the matrix, for minutes
LATE = {
    "while it is saved": ("on_save", {}),
    "once it is saved": ("on_train_end", {}),
    "nothing is saved by itself": ("on_train_end", {"save_strategy": "no"}),
    "adapters alone are saved": ("on_train_end", {"save_strategy": "no", "save_only_model": True}),
}


@pytest.mark.parametrize("case", LATE)
def test_a_signal_after_the_last_round_saves_and_exits(tmp_path, whole, monkeypatch, case):
    event, options = LATE[case]
    trainer = build(tmp_path, **options)
    trainer.add_callback(At(6, lambda: signal.raise_signal(signal.SIGTERM), event))
    with monkeypatch.context() as patched, pytest.raises(SystemExit) as exit_:
        patched.setattr("trl_copd.trainers.copd_trainer.finish", lambda run: pytest.fail("not acted on"))
        trainer.train()
    assert exit_.value.code == 128 + signal.SIGTERM
    assert (tmp_path / "checkpoint-6" / "experts" / "math" / "adapter_model.safetensors").is_file()
    if "save_only_model" not in options:
        resumed = build(tmp_path)
        resumed.train(resume_from_checkpoint=True)
        assert_same_weights(resumed, whole)


def test_a_signal_that_nobody_has_acted_on_has_its_usual_effect():
    """Between the last question and the end of listening."""
    program = (
        "import signal\nfrom accelerate import Accelerator\nfrom trl_copd.run.interruption import Interruption\n"
        "signal.signal(signal.SIGTERM, signal.SIG_DFL)\n"  # whatever the tests were started with
        "with Interruption(Accelerator(cpu=True)).listening():\n    signal.raise_signal(signal.SIGTERM)\n"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == -signal.SIGTERM


def test_a_signal_on_a_full_disk_is_an_error(tmp_path, monkeypatch):
    trainer = build(tmp_path)
    trainer.add_callback(At(3, lambda: (monkeypatch.setattr(torch, "save", no_space), signal.raise_signal(15))))
    with pytest.raises(OSError, match="No space left"):
        trainer.train()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")


# ---- Another run ----------------------------------------------------------------------------------------------------


def test_another_base_is_refused(tmp_path, proved):
    from tiny import lora, settings, tiny_model, tiny_tokenizer

    from trl_copd import CoPDConfig, CoPDTrainer

    def on(model, **overrides):
        args = CoPDConfig(**settings(tmp_path, **SETTINGS | overrides))
        return CoPDTrainer(model, build_experts(2, size=10), args, tiny_tokenizer(), peft_config=lora())

    on(tiny_model(), max_steps=2).train()
    tiny_model().save_pretrained(tmp_path / "moved")
    tiny_tokenizer().save_pretrained(tmp_path / "moved")
    on(str(tmp_path / "moved")).train(resume_from_checkpoint=True)  # the same base, from a folder
    with pytest.raises(ValueError, match="another run.*base model: weights: .* in the checkpoint, .* here"):
        on(tiny_model(seed=1)).train(resume_from_checkpoint=True)
    with pytest.raises(ValueError, match="another run.*base model: config: rms_norm_eps"):
        on(tiny_model(rms_norm_eps=1e-3)).train(resume_from_checkpoint=True)
    manifest = json.loads((tmp_path / "checkpoint-2" / "copd.json").read_text())["fingerprint"]["base model"]
    assert "parameters in float32" in manifest["weights"]
    proved("another base is refused on resume, with what differs; one that has moved is not")
