"""Run by `test_failing.py` in two processes: the second one raises. `failing.py FOLDER WHERE`."""

import os
import sys
import threading
import traceback
from pathlib import Path


sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
import conftest  # noqa: E402, F401
from tiny import build_trainer, letter_reward, rows  # noqa: E402
from transformers import TrainerCallback  # noqa: E402

from trl_copd import Expert  # noqa: E402
from trl_copd.run import watch  # noqa: E402


watch.GRACE = 3.0
SECOND = os.environ["RANK"] == "1"


class Fails(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if SECOND:
            raise KeyError("in a callback")


def broken(completions, solution, trainer_state, **kwargs):
    if SECOND and trainer_state.global_step == 1:
        raise ValueError("the grader is broken")
    return letter_reward(completions, solution)


async def broken_later(completions, solution, trainer_state, **kwargs):
    return broken(completions, solution, trainer_state)


def short(completions, solution, **kwargs):
    return letter_reward(completions, solution)[: 3 if SECOND else None]


def main(folder: str, where: str) -> None:
    reward = {"reward": broken, "async": broken_later, "short": short}.get(where, letter_reward)
    experts = [Expert("math", rows(0, 20), reward), Expert("code", rows(1, 20), letter_reward)]
    trainer = build_trainer(folder, experts, max_steps=4, rlvr_steps=1, opd_steps=1, per_device_train_batch_size=4)
    assert trainer.accelerator.num_processes == 2
    if where == "callback":
        trainer.add_callback(Fails())
    if where == "loss" and SECOND:  # somewhere inside of the update
        trainer.branches["code"]._compute_loss = lambda *args: 1 / 0
    if where == "rollouts" and SECOND:
        trainer.engine.generate = lambda *args, **kwargs: [].pop()
    try:
        trainer.train()
    except Exception:
        Path(folder, f"error-{os.environ['RANK']}").write_text(traceback.format_exc())
        if SECOND:  # does not end, so that no connection is closed and no launcher steps in
            threading.Event().wait()
        raise


if __name__ == "__main__":
    main(*sys.argv[1:])
