"""Run by `test_rollouts.py` in two processes: trains on rollouts of a server and reports what the processes hold."""

import faulthandler
import json
import sys
from pathlib import Path


sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
import conftest  # noqa: E402, F401
import torch  # noqa: E402
from tiny import build_experts, build_trainer, lora, weights  # noqa: E402


def build(folder: Path, base: str, url: str, **overrides):
    trainer = build_trainer(
        folder, build_experts(2), base, use_vllm=True, vllm_mode="server", vllm_server_base_url=url, rlvr_steps=1,
        opd_steps=1, max_steps=2, peft_config=lora(init_lora_weights=False), **overrides,
    )  # fmt: skip
    assert trainer.accelerator.num_processes == 2
    return trainer


def train(folder: Path, base: str, url: str) -> None:
    trainer = build(folder, base, url, overlap_every=1, probe_prompts=1)
    trainer.train()
    flat = torch.cat([w.flatten() for name in trainer.branches for w in weights(trainer, name).values()])
    both = trainer.accelerator.gather(flat).view(2, -1)
    if trainer.is_world_process_zero():
        held = [adapter.name for adapter in trainer.engine.held.values()]
        (folder / "result.json").write_text(json.dumps({"equal": bool((both[0] == both[1]).all()), "held": held}))


def lose(folder: Path, base: str, url: str) -> None:
    """After the first round one process does not reach the server any more, while it syncs or while it samples."""
    for case, method, loser in (("sync", "sync", 0), ("sample", "generate", 1), ("refused", "sync", 0)):
        trainer = build(folder / case, base, url, overlap_every=0, save_strategy="no", vllm_server_timeout=0.2)
        rank = trainer.accelerator.process_index
        original = getattr(trainer.engine, method)

        def losing(*args, case=case, trainer=trainer, original=original, is_loser=rank == loser, **kwargs):
            if trainer.state.global_step == 1 and is_loser:
                # the discard port, where nobody listens; or an endpoint that is not there
                trainer.engine.server.url = f"{url}/nowhere" if case == "refused" else "http://127.0.0.1:9"
            return original(*args, **kwargs)

        setattr(trainer.engine, method, losing)
        try:
            trainer.train()
        except Exception as error:
            end = {"kind": type(error).__name__, "error": str(error), "notes": getattr(error, "__notes__", [])}
            (folder / f"{case}-{rank}.json").write_text(json.dumps(end))
        trainer.accelerator.wait_for_everyone()


if __name__ == "__main__":
    faulthandler.dump_traceback_later(100, exit=True)  # processes that wait for each other at different places
    what, folder, base, url = sys.argv[1:]
    {"train": train, "lose": lose}[what](Path(folder), base, url)
