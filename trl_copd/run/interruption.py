"""What a run does when a scheduler asks it to end: a checkpoint at the end of the round, then the exit."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from transformers import TrainerCallback
from transformers.trainer_utils import SaveStrategy


logger = get_logger(__name__)

# SIGUSR1 is what Slurm is commonly told to send ahead of the end (`--signal=USR1@120`)
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class Interruption(TrainerCallback):
    """
    Ends a run at the end of the round in which any of its processes was sent SIGTERM or SIGUSR1.

    transformers' `enable_jit_checkpoint` does not serve here: it saves in the middle of a round, where rollouts and
    random streams of the branches are ahead of the weights, and each process decides for itself.

    Args:
        accelerator ([`~accelerate.Accelerator`]): Lets the processes agree.
    """

    def __init__(self, accelerator: Accelerator):
        self.accelerator = accelerator
        self.received: int | None = None  # by this process
        self.signal: int | None = None  # by any process, agreed on

    @contextmanager
    def listening(self) -> Iterator[None]:
        """
        Take the signals for the length of the context; a second one has its usual effect, which is to kill, and so has
        one that nobody has acted on when the context is left.
        """
        self.received = self.signal = None
        if threading.current_thread() is not threading.main_thread():  # Python delivers signals nowhere else
            yield
            return
        owner = os.getpid()

        def receive(number: int, frame: Any) -> None:
            signal.signal(number, signal.SIG_DFL)
            if os.getpid() != owner:  # a fork of ours, such as a data worker: it ends as it would without us
                os.kill(os.getpid(), number)
            self.received = number

        before = {number: signal.getsignal(number) for number in SIGNALS}
        taken = [number for number in SIGNALS if before[number] == signal.SIG_DFL]
        for number in taken:
            signal.signal(number, receive)
        try:
            yield
        finally:
            for number in taken:
                signal.signal(number, before[number])
        if self.received is not None:  # since `told` was asked last
            signal.raise_signal(self.received)

    def told(self) -> int | None:
        """The signal that any of the processes was sent; every process must ask."""
        self.signal = self._agree()
        return self.signal

    def on_step_end(self, args, state, control, **kwargs):
        if self.told() is None:
            return
        logger.warning(
            f"{signal.Signals(self.signal).name} received: saving after round {state.global_step}, then exiting."
        )
        control.should_save = control.should_training_stop = True
        if args.save_strategy == SaveStrategy.BEST:
            control.should_evaluate = False  # or only a best round would be saved

    def on_save(self, args, state, control, **kwargs):
        # here and not at the end of training, where transformers may load the best model and delete other checkpoints
        if self.signal is not None:
            raise SystemExit(128 + self.signal)

    def _agree(self) -> int | None:
        if self.accelerator.num_processes == 1:
            return self.received
        mine = torch.tensor([self.received or 0], device=self.accelerator.device)
        return int(self.accelerator.gather(mine).max()) or None
