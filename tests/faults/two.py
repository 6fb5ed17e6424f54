"""Run by `test_two_processes_end.py` under torchrun: a signal to one of two processes, a bad reward in the other."""

import math
import os
import signal
import sys
from pathlib import Path


sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
import conftest  # noqa: E402, F401
import torch  # noqa: E402
from tiny import build_trainer, letter_reward, rows, weights  # noqa: E402
from transformers import TrainerCallback  # noqa: E402

from trl_copd import Expert, last_checkpoint  # noqa: E402


class Terminate(TrainerCallback):
    """Sends SIGTERM to the second process alone, in its third round."""

    def on_step_begin(self, args, state, control, **kwargs):
        if args.process_index == 1 and state.global_step == 2:
            os.kill(os.getpid(), signal.SIGTERM)


def main(folder: str, fault: str) -> None:
    rank = int(os.environ["RANK"])

    def reward(completions, solution, **kwargs):
        grades = letter_reward(completions, solution)
        return [math.nan, *grades[1:]] if rank == 1 and fault != "none" else grades

    experts = [Expert("math", rows(0, 20), reward), Expert("code", rows(1, 20), letter_reward)]
    trainer = build_trainer(
        folder, experts, max_steps=5, save_strategy="steps", save_steps=4, per_device_train_batch_size=4,
        rlvr_steps=2, opd_steps=1,
    )  # fmt: skip
    assert trainer.accelerator.num_processes == 2
    if fault == "gradient" and rank == 0:  # averaging brings it to the other process
        parameter = trainer.branches["math"].parameters[0]
        parameter.register_hook(lambda g: g * (math.nan if trainer.state.global_step == 1 else 1.0))
    if fault == "signal":
        trainer.add_callback(Terminate())
    code = 0
    try:
        trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    except SystemExit as exit_:
        code = exit_.code
    result = {
        "code": code,
        "round": trainer.state.global_step,
        "weights": {name: weights(trainer, name) for name in trainer.branches},
        "faults": {name: dict(branch.faults.counts) for name, branch in trainer.branches.items()},
    }
    torch.save(result, Path(folder) / f"result-{rank}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
