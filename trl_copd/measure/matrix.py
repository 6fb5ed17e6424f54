"""The capability matrix: accuracy of the base, of every expert and of the student on every domain."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from trl.data_utils import is_conversational

from ..adapters import BASE
from ..engines.base import Engine
from ..experts import Expert
from ..forwards import Forwards
from ..history import Matrix
from ..randomness import forked
from ..run.folder import MATRIX_FILE, MATRIX_TABLE
from ..topology import STUDENT


class Grader(Protocol):
    """A branch, as far as its rewards grade completions."""

    def grade(self, rows: list[dict[str, Any]], completions: list[Any], ids: list[list[int]]) -> torch.Tensor:
        """Rewards, `(rows, functions)`, NaN where ungraded."""


class CapabilityMatrix:
    """
    Samples every adapter on every domain's held-out rows and lets the domain's rewards grade the completions.

    Args:
        experts (`dict[str, Expert]`): The domains.
        graders: The experts' branches by name.
        forwards ([`Forwards`]): Holds the model.
        engine ([`Engine`]): Samples.
        tokenize (`Callable`): TRL's: prompts to token ids.
        decode (`Callable`): Token ids to texts, without special tokens.
        accelerator ([`~accelerate.Accelerator`]): Shares the rows out among the processes.
        batch_size (`int`): Rows of one domain that a process samples at once, under each adapter.
        temperature (`float`): What completions are sampled at where they are not greedy.
        merged (`bool`): Whether the student is the merge of the experts.
    """

    def __init__(
        self,
        experts: dict[str, Expert],
        graders: Mapping[str, Grader],
        forwards: Forwards,
        engine: Engine,
        tokenize: Callable[[list], list[list[int]]],
        decode: Callable[[list[list[int]]], list[str]],
        accelerator: Accelerator,
        batch_size: int,
        temperature: float,
        merged: bool,
    ):
        self.experts, self.graders, self.forwards, self.engine = experts, graders, forwards, engine
        self.tokenize, self.decode, self.accelerator = tokenize, decode, accelerator
        self.batch_size, self.temperature, self.merged = batch_size, temperature, merged
        self.last: Matrix | None = None
        self.last_round: int | None = None  # whose weights it was
        self._note = ""  # how it was measured

    def measure(self, student: Callable[[], AbstractContextManager], num_generations: int = 1) -> Matrix:
        """
        Measure it and keep it as the last one; the random stream is left as it was.

        Args:
            student (`Callable`): A context in which the student is an adapter of its own.
            num_generations (`int`): `1` decodes greedily; n > 1 samples n completions per row.

        Returns:
            `dict[str, dict[str, float]]`: `{adapter: {domain: accuracy}}`, `None` where nothing was graded.

        Raises:
            ValueError: No expert has an `eval_dataset`.
        """
        if not any(expert.eval_datasets for expert in self.experts.values()):
            raise ValueError(
                "No expert has an `eval_dataset`, so there is nothing to evaluate on. Give it to `Expert`."
            )
        names = [BASE, *self.experts, STUDENT]
        matrix: Matrix = {name: {} for name in names}
        ungraded = 0
        with self.forwards.without_dropout(), student(), forked():
            for expert_name, expert in self.experts.items():
                for domain, dataset in expert.eval_datasets.items():
                    grades = self._grade(names, expert_name, list(dataset), num_generations)  # (adapters, rows)
                    ungraded += int(grades.isnan().sum())
                    for name, row in zip(names, grades, strict=True):
                        matrix[name][domain] = None if row.isnan().all() else row.nanmean().item()
        how = "greedy" if num_generations == 1 else f"avg@{num_generations}, temperature {self.temperature}"
        self._note = f"Accuracy on held-out rows ({how}); {ungraded} ungraded answers excluded."
        self.last = matrix
        return matrix

    def write(self, output_dir: str | Path) -> None:
        """Write the last matrix as JSON and as a Markdown table."""
        folder = Path(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MATRIX_FILE).write_text(json.dumps(self.last, indent=2))
        (folder / MATRIX_TABLE).write_text(f"{matrix_table(self.last)}\n\n{self._note}\n")

    def keep_only_own(self, folder: str | Path) -> None:
        """Remove a matrix from a copy of the run's folder that an earlier run has measured."""
        if self.last is None:
            for name in (MATRIX_FILE, MATRIX_TABLE):
                (Path(folder) / name).unlink(missing_ok=True)

    def _grade(self, names: list[str], expert: str, rows: list[dict], samples: int) -> torch.Tensor:
        """Grades of every adapter on the rows, shape `(len(names), len(rows) * samples)`, NaN where ungraded."""
        rows = [row for row in rows for _ in range(samples)]
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        padding = -len(rows) % processes  # every process grades as many rows, for the gather
        shard = (rows + rows[-1:] * padding)[rank::processes]
        grades = []
        for start in range(0, len(shard), self.batch_size):
            chunk = shard[start : start + self.batch_size]
            grades.append(self._grade_chunk(names, expert, chunk, greedy=samples == 1))
        local = torch.cat(grades, dim=1)  # (adapters, rows of this process)
        gathered = self.accelerator.gather(local.T.contiguous()).T.reshape(len(names), processes, -1)
        return gathered.transpose(1, 2).reshape(len(names), -1)[:, : len(rows)]

    def _grade_chunk(self, names: list[str], expert: str, rows: list[dict], greedy: bool) -> torch.Tensor:
        prompt_ids = self.tokenize([row["prompt"] for row in rows])
        ids: list[list[int]] = []
        for group in self._sampled_together(names):
            self.engine.sync(group)
            adapter_of_row = [name for name in group for _ in rows]
            ids += self.engine.generate(list(prompt_ids) * len(group), adapter_of_row, greedy=greedy)[0]
        completions: list[Any] = self.decode(ids)
        if is_conversational(rows[0]):
            completions = [[{"role": "assistant", "content": text}] for text in completions]
        rewards = self.graders[expert].grade(rows * len(names), completions, ids)
        return rewards[:, 0].reshape(len(names), len(rows))

    def _sampled_together(self, names: list[str]) -> list[list[str]]:
        # a merged student has the rank of all experts together: it is sampled apart, so that they can be stacked
        together = not self.merged or self.engine.mixes_ranks
        return [names] if together else [[n for n in names if n != STUDENT], [STUDENT]]


def matrix_metrics(matrix: Matrix, prefix: str) -> dict[str, float]:
    """What is logged of it: `<prefix>_<adapter>/<domain>` and the mean `<prefix>_<adapter>/accuracy`."""
    metrics = {}
    for name, row in matrix.items():
        graded = {domain: value for domain, value in row.items() if value is not None}
        metrics |= {f"{prefix}_{name}/{domain}": value for domain, value in graded.items()}
        if graded:
            metrics[f"{prefix}_{name}/accuracy"] = sum(graded.values()) / len(graded)
    return metrics


def matrix_table(matrix: Matrix) -> str:
    """The matrix as a Markdown table with the mean over domains."""
    domains: Sequence[str] = list(next(iter(matrix.values())))
    lines = ["| | " + " | ".join([*domains, "mean"]) + " |", "|---" * (len(domains) + 2) + "|"]
    for name, row in matrix.items():
        graded = [value for value in row.values() if value is not None]
        cells = ["–" if row[domain] is None else f"{row[domain]:.3f}" for domain in domains]
        mean = f"{sum(graded) / len(graded):.3f}" if graded else "–"
        lines.append("| " + " | ".join([name, *cells, mean]) + " |")
    return "\n".join(lines)
