"""Gradients over processes of which some have none: two threads stand for two processes."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import SimpleNamespace

import torch

from trl_copd.trainers.round import Round


class Process:
    """An accelerator's `reduce` for one of several threads; it fails where the tensors differ in size."""

    device = torch.device("cpu")

    def __init__(self, place, given, barrier):
        self.place, self.given, self.barrier = place, given, barrier

    def reduce(self, tensor, reduction):
        self.given[self.place] = tensor.clone()
        self.barrier.wait()
        total = torch.stack(self.given).sum(0)
        self.barrier.wait()
        return total / len(self.given) if reduction == "mean" else total


def averaged(*processes):
    """What each process has after the reductions, of gradients by branch."""
    given, barrier = [None] * len(processes), Barrier(len(processes), timeout=10)

    def work(place):
        branches = []
        for gradients in processes[place]:
            parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in gradients]
            for parameter, value in zip(parameters, gradients, strict=True):
                parameter.grad = None if value is None else torch.full((2,), value)
            branches.append(SimpleNamespace(parameters=parameters))
        try:
            Round._average_gradients(SimpleNamespace(live=branches, accelerator=Process(place, given, barrier)))
        except Exception:
            barrier.abort()  # the others would wait
            raise
        return [[p.grad if p.grad is None else p.grad.tolist() for p in branch.parameters] for branch in branches]

    with ThreadPoolExecutor() as pool:
        return list(pool.map(work, range(len(processes))))


def test_a_gradient_that_one_process_lacks_counts_as_zero():
    first = [[2.0, 4.0, None], [None, None], [6.0]]
    second = [[4.0, None, None], [None, None], [8.0]]
    expected = [[[3.0, 3.0], [2.0, 2.0], None], [None, None], [[7.0, 7.0]]]
    assert averaged(first, second) == [expected, expected]
