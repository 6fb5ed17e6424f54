"""Run by `test_rollouts.py` in two processes: trains on rollouts of a server and reports what the processes hold."""

import json
import sys
from pathlib import Path


sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
import conftest  # noqa: E402, F401
import torch  # noqa: E402
from tiny import build_experts, build_trainer, lora, weights  # noqa: E402


def main(folder: str, base: str, url: str) -> None:
    trainer = build_trainer(
        folder, build_experts(2), base, use_vllm=True, vllm_mode="server", vllm_server_base_url=url, rlvr_steps=1,
        opd_steps=1, overlap_every=1, probe_prompts=1, max_steps=2, peft_config=lora(init_lora_weights=False),
    )  # fmt: skip
    assert trainer.accelerator.num_processes == 2
    trainer.train()
    flat = torch.cat([w.flatten() for name in trainer.branches for w in weights(trainer, name).values()])
    both = trainer.accelerator.gather(flat).view(2, -1)
    if trainer.is_world_process_zero():
        held = [adapter.name for adapter in trainer.engine.held.values()]
        (Path(folder) / "result.json").write_text(
            json.dumps({"equal": bool((both[0] == both[1]).all()), "held": held})
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
