"""Run by `test_two_processes.py`, in one process or in two: trains on replayed rollouts and saves the weights."""

import sys
from pathlib import Path


sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
import conftest  # noqa: E402, F401
import torch  # noqa: E402
from tiny import build_trainer, replay_copd, weights  # noqa: E402


def main(folder: str, topology: str, loss_type: str, processes: int, checkpointing: bool) -> None:
    trainer = build_trainer(
        folder,
        topology=topology,
        loss_type=loss_type,
        rlvr_steps=2,
        opd_steps=2,
        max_steps=6,
        per_device_train_batch_size=16 // processes,
        gradient_accumulation_steps=2,
        gradient_checkpointing=checkpointing,
        max_grad_norm=0.5,
        optim="sgd",  # Adam blows rounding differences of tiny gradients up to the learning rate
        learning_rate=0.05,
        overlap_every=2,
    )
    assert trainer.accelerator.num_processes == processes
    replay_copd(trainer, rank=trainer.accelerator.process_index)
    trainer.train()
    state = {name: weights(trainer, name) for name in trainer.branches}
    others = trainer.accelerator.gather(torch.cat([w.flatten() for w in state["math"].values()])).view(processes, -1)
    assert (others == others[0]).all(), "the processes have drifted apart"
    if trainer.is_world_process_zero():
        logs = [
            {k: v for k, v in log.items() if k.endswith(("/reward", "opd/kl"))} for log in trainer.state.log_history
        ]
        torch.save({"weights": state, "logs": logs}, Path(folder) / "result.pt")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5] == "checkpointing")
