"""
Runs that the tests compare between one process and two, and between plain and sharded parameters.

`run(name, folder)` trains in the processes that there are, and returns on the main one what the run left behind.
"""

import os
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any
from zlib import crc32


sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent.parent)]
import conftest  # noqa: E402, F401
import torch  # noqa: E402
from accelerate import PartialState  # noqa: E402
from accelerate.utils import gather_object  # noqa: E402
from tiny import CHARACTERS, build_trainer, letter_reward, rows, tiny_model  # noqa: E402
from tiny_acting import TURNS, a, b, copd, state_reward, talk_reward  # noqa: E402
from tiny_acting import Counter as Counter_  # noqa: E402
from tiny_acting import rows as acting_rows  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402
from transformers import TrainerCallback  # noqa: E402

from trl_copd import Expert, adapters, sharding  # noqa: E402


ROWS = 16  # of a branch in one micro-step, over all processes
SHARED = {
    "rlvr_steps": 2,
    "opd_steps": 2,
    "max_steps": 6,
    "gradient_accumulation_steps": 2,
    "max_grad_norm": 0.5,
    "optim": "sgd",  # Adam blows rounding differences of tiny gradients up to the learning rate
    "learning_rate": 0.05,
    "overlap_every": 2,
    "probe_prompts": 4,
}
SCENARIOS = {
    "student": {"topology": "student", "share_prompts": True},
    # three cross prompts of eight: a group is split over the processes
    "mutual": {
        "topology": "mutual",
        "share_prompts": True,
        "loss_type": "dapo",
        "gradient_checkpointing": True,
        "opd_fraction": 0.4,
    },
    "mopd": {"topology": "mopd", "share_prompts": True, "beta": 0.04},
    "hub": {"topology": "hub", "hub": "code", "share_prompts": True, "num_iterations": 2},
    # real rollouts of unlike number: of one probe prompt for two processes, of three in chunks of two rows
    "one_probe": {"topology": "mutual", "max_steps": 3, "rlvr_steps": 1, "probe_prompts": 1, "overlap_edges": "all"},
    "chunked_probes": {
        "topology": "mutual",
        "max_steps": 1,
        "probe_prompts": 3,
        "rollout_chunk_rows": 5,
        "overlap_edges": "all",
    },
    # rows with pictures beside rows without, and groups of them that are split over the processes
    "pictures": {"topology": "mutual", "opd_fraction": 0.4},
    # fresh samples and Adam: compared within one number of processes only
    "resume": {
        "topology": "mopd",
        "optim": "adamw_torch",
        "rlvr_steps": 2,
        "opd_steps": 2,
        "max_steps": 8,
        "save_strategy": "steps",
        "save_steps": 3,
    },
}

SAMPLED = ("one_probe", "chunked_probes", "resume")  # with rollouts of the engine's own


def run(name: str, folder: Path) -> dict[str, Any]:
    if name == "acting":
        return acting(folder)
    if name == "resume":
        return {"uninterrupted": train(name, folder), "resumed": train(name, folder, folder / "checkpoint-3")}
    return train(name, folder)


def train(name: str, folder: Path, checkpoint: Path | None = None) -> dict[str, Any]:
    graded: list[tuple] = []
    seen: list[tuple[int, int]] = []
    settings = SHARED | SCENARIOS[name]
    # by its path: under FSDP2 the first process alone reads the weights
    base = folder / "base"
    if PartialState().is_main_process:
        tiny_model().save_pretrained(base)
    PartialState().wait_for_everyone()
    settings["per_device_train_batch_size"] = ROWS // int(os.environ.get("WORLD_SIZE", 1))
    if name == "pictures":
        trainer = build_seeing_trainer(folder, **settings)
    else:
        trainer = build_trainer(folder, build_experts(graded, seen), model=str(base), **settings)
    moved = Moved(trainer)
    trainer.add_callback(moved)
    if name not in SAMPLED:
        replay(trainer)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trainer.save_model(str(folder / "final"))
    result = {
        "processes": trainer.accelerator.num_processes,
        "kind": str(trainer.accelerator.distributed_type),
        "wrapped": isinstance(trainer.model_wrapped, DistributedDataParallel),
        "sharded": len(sharding.sharded_modules(trainer.peft_model)),
        "weights": {branch: adapters.adapter_weights(trainer.peft_model, branch) for branch in trainer.branches},
        "optimizer": sharding.full_optimizer_state(trainer.optimizer)["state"],
        "moved": moved.rounds,
        "shares prompts": trainer.forwards.shared_prompts is not None
        and trainer.forwards.shared_prompts.trusted[False],
        "matrix": trainer.last_matrix,
        "logs": [comparable(log) for log in trainer.state.log_history],
        "graded": of_every_process(trainer, Counter(graded)),
        "seen": of_every_process(trainer, seen),
    }
    first = next(iter(result["weights"].values()))
    mine = torch.cat([weight.flatten() for weight in first.values()])
    everyone = trainer.accelerator.gather(mine).view(trainer.accelerator.num_processes, -1)
    assert (everyone == everyone[0]).all(), "the processes have drifted apart"
    return result


def acting(folder: Path) -> dict[str, Any]:
    """Conversations of unlike length, in one process and the other, native and cross; one environment fails."""

    class Flaky(Counter_):
        def reset(self, **row):
            if row["prompt"][0]["content"].startswith("4+"):
                raise OSError("gone")
            return super().reset(**row)

    experts = [
        Expert("tools", acting_rows(0), talk_reward, tools=[a, b], eval_dataset=acting_rows(20, 3)),
        Expert("game", acting_rows(3), state_reward, environment_factory=Flaky, eval_dataset=acting_rows(20, 3)),
    ]
    processes = int(os.environ.get("WORLD_SIZE", 1))
    trainer = copd(
        folder, experts, topology="student", rlvr_steps=1, opd_steps=1, max_steps=2, optim="sgd", learning_rate=0.05,
        per_device_train_batch_size=ROWS // processes, opd_fraction=0.5, overlap_every=1, probe_prompts=1,
    )  # fmt: skip
    rank, waves = trainer.accelerator.process_index, []
    tokenizer = trainer.processing_class
    asks = tokenizer.convert_tokens_to_ids("=")

    def generate(prompt_ids, names, greedy=False):
        """By the conversation alone; a first turn also by its place in its group, which may be split."""
        waves.append(len(prompt_ids))
        completions, seen = [], Counter()
        for name, ids in zip(names, map(tuple, prompt_ids), strict=True):
            place = 0
            if ids.count(asks) == 1:
                count = sum((name, ids) == other for other in zip(names, map(tuple, prompt_ids), strict=True))
                place = seen[name, ids] + (trainer.num_generations - count if rank and 1 < count < 4 else 0)
                seen[name, ids] += 1
            turn = TURNS[crc32(repr((ids, place % trainer.num_generations)).encode()) % len(TURNS)]
            completions.append(tokenizer(turn, add_special_tokens=False)["input_ids"])
        return completions, None

    trainer.engine.generate = generate
    trainer.train()
    return {
        "processes": trainer.accelerator.num_processes,
        "weights": {branch: adapters.adapter_weights(trainer.peft_model, branch) for branch in trainer.branches},
        "matrix": trainer.last_matrix,
        "logs": [
            {key: value for key, value in log.items() if "tools/call" in key or "failed_env" in key} | comparable(log)
            for log in trainer.state.log_history
        ],
        "waves": of_every_process(trainer, waves),
    }


def of_every_process(trainer, value) -> list:
    return gather_object([value]) if trainer.accelerator.num_processes > 1 else [value]


def build_seeing_trainer(folder: Path, **settings):
    """Experts with pictures in all rows, in every other row, and in none."""
    from tiny_vision import build_seeing, colour_reward, mixed_rows, picture, read_rows

    pictures = mixed_rows(20).map(
        lambda row, index: {"image": picture(index, 16, 16 + 8 * (index % 2))}, with_indices=True
    )
    domains = {"eye": pictures, "mix": mixed_rows(13), "text": read_rows(11)}
    held_out = {"eye": mixed_rows(5), "mix": None, "text": read_rows(2)}
    return build_seeing(
        folder, [Expert(name, rows, colour_reward, held_out[name]) for name, rows in domains.items()], **settings
    )


def build_experts(graded: list[tuple], seen: list[tuple[int, int]]) -> list[Expert]:
    """
    Domains of unequal size; one has rows that a reward leaves ungraded, and all have held-out rows but one.

    `graded` takes a note of each row that is graded in this process; `seen`, for each call of `math`'s second reward,
    of the number of rows that it grades and of the longest completion.
    """

    def counted(domain):
        def reward(prompts, completions, solution, **kwargs):
            graded.extend((domain, p, c) for p, c in zip(prompts, completions, strict=True))
            return letter_reward(completions, solution)

        return reward

    def picky(prompts, completions, **kwargs):  # in some rounds one process alone has rows that this one grades
        grades = [
            None if int(prompt.split("+")[1][:-1]) % 5 else len(text) / 8
            for prompt, text in zip(prompts, completions, strict=True)
        ]
        seen.append((sum(grade is not None for grade in grades), max(len(text) for text in completions)))
        return grades

    return [
        Expert("math", rows(0, 20), [counted("math"), picky], eval_dataset=rows(30, 5)),
        Expert("code", rows(1, 13), counted("code"), eval_dataset=rows(40, 2)),
        Expert("logic", rows(2, 11), counted("logic")),
    ]


class Moved(TrainerCallback):
    """Notes after each round which branches' weights have changed."""

    def __init__(self, trainer):
        self.trainer, self.rounds = trainer, []

    def on_step_begin(self, *args, **kwargs):
        self.before = self._weights()

    def on_step_end(self, *args, **kwargs):
        after = self._weights()
        self.rounds.append({name for name in after if not after[name].equal(self.before[name])})

    def _weights(self):
        model = self.trainer.peft_model
        return {
            name: torch.cat([weight.flatten() for weight in adapters.adapter_weights(model, name).values()])
            for name in self.trainer.branches
        }


def replay(trainer) -> None:
    """
    Sampled rollouts become tokens that depend on branch, prompt, place in its group and number of the call only, so
    that any number of processes sees the same; greedy ones stay.
    """
    real, calls, rank = trainer.engine.generate, [0], trainer.accelerator.process_index

    def generate(prompt_ids, names, greedy=False):
        if greedy:
            return real(prompt_ids, names, greedy=True)
        calls[0] += 1
        completions = []
        for (name, ids), same in groupby(zip(names, map(tuple, prompt_ids), strict=True)):
            count, group = len(list(same)), trainer.num_generations
            # the second process holds the end of a group that is split; probes are sampled once and have no group
            start = group - count if rank == 1 and 1 < count < group else 0
            completions += [tokens((name, ids, (start + place) % group, calls[0])) for place in range(count)]
        return completions, None

    trainer.engine.generate = generate


def tokens(key: tuple) -> list[int]:
    """One to six tokens; two prompts of three have short answers only, so now and then a process sees no others."""
    generator = torch.Generator().manual_seed(crc32(repr(key).encode()))
    length = 1 if sum(key[1]) % 3 else int(torch.randint(2, 7, (), generator=generator))
    drawn = torch.randint(4, 4 + len(CHARACTERS), (length,), generator=generator).tolist()
    return [*drawn[:-1], 2] if key[2] % 3 == 0 else drawn


def comparable(log: dict[str, float]) -> dict[str, float]:
    endings = ("/reward", "opd/kl", "/grad_norm", "opd/overlap", "opd/symmetric_kl", "/accuracy", "length")
    return {key: value for key, value in log.items() if key.endswith(endings)}
