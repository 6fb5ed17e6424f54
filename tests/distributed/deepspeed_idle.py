"""Why DeepSpeed is refused, measured: of two branches one is idle for three steps. `deepspeed_idle.py STAGE`."""

import os
import sys


os.environ["DS_ACCELERATOR"] = "cpu"
import deepspeed
import torch


def main(stage: int) -> None:
    deepspeed.init_distributed("gloo")
    torch.manual_seed(0)
    branches = torch.nn.ModuleList(torch.nn.Linear(4, 4, bias=False) for _ in range(2))
    configuration = {
        "train_micro_batch_size_per_gpu": 1,
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }
    optimizer = torch.optim.AdamW(branches.parameters(), lr=1e-2, weight_decay=0.0)
    engine, *_ = deepspeed.initialize(model=branches, optimizer=optimizer, config=configuration)

    def learn(branch: int) -> None:
        engine.backward(branches[branch](torch.ones(1, 4)).sum())
        engine.step()

    def weights(branch: int) -> torch.Tensor:
        parameter = branches[branch].weight
        with deepspeed.zero.GatheredParameters([parameter], enabled=stage == 3):
            return parameter.detach().clone()

    for branch in (0, 1):
        learn(branch)
    before = weights(1)
    for _ in range(3):
        learn(0)
    moved = (weights(1) - before).abs().max().item()
    if torch.distributed.get_rank() == 0:
        print(f"ZeRO-{stage}: the idle branch moved by {moved:.4f}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
