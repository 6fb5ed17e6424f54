"""Runs to be killed: forks of a server that has imported torch and TRL once, for it takes seconds."""

import json
import multiprocessing
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from tiny import build_experts, build_trainer, history, rows
from transformers import TrainerCallback

from trl_copd import last_checkpoint


torch.set_num_threads(1)

SETTINGS = {
    "max_steps": 14, "rlvr_steps": 2, "opd_steps": 2, "overlap_every": 3, "logging_steps": 3, "eval_strategy": "steps",
    "eval_steps": 5, "save_strategy": "steps", "save_steps": 1, "save_total_limit": 1, "matrix_at_end": False,
}  # fmt: skip
ROUND, WRITING, STARTED = range(3)  # what a run tells: the round it is in, whether it writes, whether it trains


class Tell(TrainerCallback):
    def __init__(self, progress):
        self.progress = progress

    def on_train_begin(self, args, state, control, **kwargs):
        self.progress[ROUND], self.progress[STARTED] = state.global_step, 1

    def on_step_begin(self, args, state, control, **kwargs):
        self.progress[ROUND] = state.global_step

    def on_save(self, args, state, control, **kwargs):
        self.progress[WRITING] = 0


def run(folder: str, progress, overrides: dict) -> None:
    """Train to the end, from the newest complete checkpoint if there is one, and leave weights and log in `end`."""
    log = os.open(f"{folder}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    experts = build_experts(size=10)
    experts[0].eval_dataset = rows(100, 4)
    trainer = build_trainer(folder, experts, **SETTINGS | overrides)
    trainer.add_callback(Tell(progress))
    save = trainer._save_checkpoint

    def tell_and_save(*args):
        progress[WRITING] = 1
        save(*args)

    trainer._save_checkpoint = tell_and_save
    trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    trainer.save_model(f"{folder}/end")
    (Path(folder) / "end" / "history.json").write_text(json.dumps(history(trainer)))


def server(monkeypatch):
    """Forks of a process that has this module loaded."""
    # Python 3.11's server does not take over `sys.path`, and passes over what it cannot import without a word
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def start(context, folder, overrides):
    """A run in a process of its own, and what it tells."""
    progress = context.Array("i", 3, lock=False)
    process = context.Process(target=run, args=(str(folder), progress, overrides))
    process.start()
    return process, progress


def end_of(folder) -> tuple[dict, list]:
    """Final weights by adapter, and the log."""
    end = Path(folder) / "end"
    weights = {str(path.relative_to(end)): load_file(path) for path in sorted(end.rglob("*.safetensors"))}
    return weights, json.loads((end / "history.json").read_text())


def assert_same_end(one, other) -> None:
    (weights, log), (other_weights, other_log) = end_of(one), end_of(other)
    assert weights.keys() == other_weights.keys() and len(weights) == 4, sorted(weights)
    for adapter, tensors in weights.items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, other_weights[adapter][name]), (adapter, name)
    assert len(log) == len(other_log)
    for line, other_line in zip(log, other_log, strict=True):
        differing = {
            k: (line.get(k), other_line.get(k)) for k in {**line, **other_line} if line.get(k) != other_line.get(k)
        }
        assert not differing, (line["step"], differing)


if "pytest" not in sys.modules:  # in the server: what a first trainer would load lazily is loaded before the forks
    import trl.trainer.grpo_trainer  # noqa: F401
