"""The state of torch's random generators, to be kept and put back."""

from contextlib import AbstractContextManager

import torch


def forked() -> AbstractContextManager:
    """For the length of a context, draws move none of the generators that `random_state` knows."""
    # by itself, torch would keep the state of every GPU that it sees, and warn about it
    return torch.random.fork_rng(devices=[torch.cuda.current_device()] if torch.cuda.is_available() else [])


def random_state() -> list[torch.Tensor]:
    """The state of the CPU's generator, and of the current CUDA device's if there is one."""
    cuda = [torch.cuda.get_rng_state()] if torch.cuda.is_available() else []
    return [torch.random.get_rng_state(), *cuda]


def set_random_state(state: list[torch.Tensor]) -> None:
    """Put back what `random_state` gave."""
    torch.random.set_rng_state(state[0])
    if len(state) > 1:
        torch.cuda.set_rng_state(state[1])
