"""Seconds of rounds and of their parts, for the benchmarks."""

import time
from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from transformers import TrainerCallback

from trl_copd import CoPDTrainer


PARTS = ("rollouts", "scoring", "measuring", "update")


def device_time() -> float:
    """Seconds of the clock on the wall, once the GPU, if there is one, has done what it was told to."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class Clock(TrainerCallback):
    """
    Seconds of each round or step, and of the parts of it.

    Args:
        now (`Callable`): Tells the time that is measured: CPU time of the process, or `device_time`.
    """

    def __init__(self, now: Callable[[], float] = time.process_time):
        self.now = now
        self.seconds: list[float] = []
        self.wall: list[float] = []
        self.parts: list[Counter[str]] = []

    def watch(self, part: str, owner: Any, name: str) -> None:
        """Count calls of `owner.name` as `part`."""
        call: Callable = getattr(owner, name)

        def timed(*args, **kwargs):
            start = self.now()
            try:
                return call(*args, **kwargs)
            finally:
                self.parts[-1][part] += self.now() - start

        setattr(owner, name, timed)

    def on_step_begin(self, args, state, control, **kwargs):
        self.parts.append(Counter())
        self.start = self.now(), time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        self.seconds.append(self.now() - self.start[0])
        self.wall.append(time.perf_counter() - self.start[1])
        self.parts[-1]["update"] = self.seconds[-1] - sum(self.parts[-1].values())  # and all else


def timed(trainer: Any, now: Callable[[], float] = time.process_time) -> Clock:
    """Train, and time each round; of a [`CoPDTrainer`] its parts as well."""
    clock = Clock(now)
    trainer.add_callback(clock)
    if isinstance(trainer, CoPDTrainer):
        clock.watch("measuring", trainer.overlap, "measure")
        clock.watch("rollouts", trainer.round, "_generate")
        clock.watch("scoring", trainer.teaching, "teach")
    trainer.train()
    trainer.remove_callback(clock)
    return clock


def interleave(repeats: int, *, warm_up: bool = True, **calls: Callable[[], float | None]) -> dict[str, list[float]]:
    """CPU seconds of each function, called in turn, `repeats` times over, by default after once to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(0 if warm_up else 1, repeats + 1):
        for name, call in calls.items():
            start = time.process_time()
            result = call()
            if turn:
                seconds[name].append(result if isinstance(result, float) else time.process_time() - start)
    return seconds


def ratio(seconds: dict[str, list[float]], top: str, bottom: str) -> float:
    """Median over the turns of `interleave` of one function's seconds / another's."""
    return round(median(t / b for t, b in zip(seconds[top], seconds[bottom], strict=True)), 3)
