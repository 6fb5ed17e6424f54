"""What a run logs: the run's own metrics, every branch's under its name, every edge's under its label."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from transformers import TrainingArguments


OF_THE_RUN = ("grad_norm",)  # which transformers logs by itself


class Counted(Protocol):
    """What holds the counts of a branch's faults."""

    counts: Mapping[str, int]


class Recorded(Protocol):
    """A branch, as far as its numbers are logged."""

    faults: Counted

    def hand_over_metrics(self) -> dict[str, list[float]]:
        """The metrics since the last log."""


class Recorder:
    """
    Gathers the numbers of a round until they are logged.

    Args:
        metrics (`dict[str, list[float]]`): The run's own, from which TRL's `log` takes what it logs.
        log_alone (`Callable`): Logs a dictionary at once, without what is gathered.
        args ([`~transformers.TrainingArguments`]): Name the trackers.
    """

    def __init__(
        self, metrics: dict[str, list[float]], log_alone: Callable[[dict[str, float]], None], args: TrainingArguments
    ):
        self.metrics, self.log_alone, self.args = metrics, log_alone, args
        self.edges: dict[str, list[float]] = defaultdict(list)

    def collect(self, branches: Mapping[str, Recorded], tokens: float) -> None:
        """
        Bring what branches and edges have gathered to the run's metrics.

        Args:
            branches: The branches by name.
            tokens (`float`): Tokens seen by the run; each branch counts up TRL's number of the whole run.
        """
        for name, branch in branches.items():
            for fault, count in branch.faults.counts.items():
                self.metrics[f"{name}/{fault}"] = [float(count)]
        for name, branch in branches.items():
            for key, values in branch.hand_over_metrics().items():
                if key == "num_tokens":
                    self.metrics[key] = [tokens]
                    continue
                self.metrics[f"{name}/{key}"] = values
                if len(branches) == 1 and key not in OF_THE_RUN:
                    self.metrics[key] = values  # TRL's name as well, for what shows runs of GRPOTrainer
                    continue
                if key == "reward":
                    self.metrics[key] += values  # the mean over branches, for tools that look for TRL's name
        self.metrics.update(self.edges)
        self.edges.clear()

    @contextmanager
    def untracked(self) -> Iterator[None]:
        """
        Keep TRL's timings of what is not part of a round out of the trackers: trackio refuses them before the run has
        begun and after it has ended.
        """
        report_to, self.args.report_to = self.args.report_to, []
        try:
            yield
        finally:
            self.args.report_to = report_to

    def state_dict(self) -> dict[str, Any]:
        """What has been gathered since the last log."""
        return {
            "metrics": {key: list(values) for key, values in self.metrics.items()},
            "edge_metrics": {key: list(values) for key, values in self.edges.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for mine, saved in ((self.metrics, state["metrics"]), (self.edges, state["edge_metrics"])):
            mine.clear()
            mine.update(saved)
