"""The capability matrix: accuracy of the base, of every expert and of the student on every domain."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator

from ..adapters import BASE
from ..engines.base import Engine
from ..experts import Expert
from ..forwards import Forwards
from ..history import Matrix
from ..pictures import pictures_of, prepared
from ..randomness import forked
from ..run.folder import MATRIX_FILE, MATRIX_TABLE
from ..topology import STUDENT
from .conversations import Conversations


ANSWERS = 8  # rows with pictures of each domain whose answers are kept, to be shown


class Grader(Protocol):
    """A branch, as far as its rewards grade completions."""

    def grade(
        self,
        rows: list[dict[str, Any]],
        completions: list[Any],
        ids: list[list[int]],
        environments: list[Any] | None = None,
        failures: Collection[int] = (),
    ) -> torch.Tensor:
        """Rewards of all processes, `(rows, functions)`, NaN where ungraded."""


@dataclass(frozen=True)
class Answer:
    """
    What adapters made of a held-out row with a picture.

    Args:
        domain (`str`): The expert whose domain it is of.
        prompt (`list[dict]`): Messages, with the picture in them.
        solution (*optional*): What the row says in the column `solution`.
        texts (`dict[str, str]`): Completion of each adapter.
        grades (`dict[str, float]`): Of the first reward function, NaN where ungraded.
    """

    domain: str
    prompt: list[dict[str, Any]]
    solution: Any
    texts: dict[str, str]
    grades: dict[str, float]


class CapabilityMatrix:
    """
    Samples every adapter on every domain's held-out rows and lets the domain's rewards grade the completions.

    Args:
        experts (`dict[str, Expert]`): The domains.
        graders: The experts' branches by name.
        forwards ([`Forwards`]): Holds the model.
        engine ([`Engine`]): Samples.
        tokenize (`Callable`): TRL's: prompts to token ids.
        complete (`Callable`): Prompts, their token ids and those of completions to what rewards are given.
        accelerator ([`~accelerate.Accelerator`]): Shares the rows out among the processes.
        batch_size (`int`): Rows of one domain that a process samples at once, under each adapter.
        temperature (`float`): What completions are sampled at where they are not greedy.
        merged (`bool`): Whether the student is the merge of the experts.
        samples (`int`): Completions per row where a measurement does not say how many.
        conversations ([`Conversations`], *optional*): Has those of domains whose expert acts.
    """

    def __init__(
        self,
        experts: dict[str, Expert],
        graders: Mapping[str, Grader],
        forwards: Forwards,
        engine: Engine,
        tokenize: Callable[[list], list[list[int]]],
        complete: Callable[[list, list[list[int]], list[list[int]]], list],
        accelerator: Accelerator,
        batch_size: int,
        temperature: float,
        merged: bool,
        samples: int = 1,
        conversations: Conversations | None = None,
    ):
        self.conversations = conversations
        self.experts, self.graders, self.forwards, self.engine = experts, graders, forwards, engine
        self.tokenize, self.complete, self.accelerator = tokenize, complete, accelerator
        self.batch_size, self.temperature, self.merged = batch_size, temperature, merged
        self.samples = samples
        self.answers: list[Answer] = []  # of the last measurement, to a few rows with pictures of this process
        self.measures = "accuracy"  # or "mean reward", where a reward is neither 0 nor 1

    @property
    def title(self) -> str:
        """What the numbers of the last measurement are."""
        return f"{self.measures} on held-out rows"

    def measure(
        self, student: Callable[[], AbstractContextManager], num_generations: int | None = None
    ) -> tuple[Matrix, str]:
        """
        Measure it; the random stream is left as it was.

        Args:
            student (`Callable`): A context in which the student is an adapter of its own.
            num_generations (`int`, *optional*): `1` decodes greedily; n > 1 samples n completions per row.

        Returns:
            `{adapter: {domain: accuracy}}`, `None` where nothing was graded, and how it was measured, in words.

        Raises:
            ValueError: No expert has an `eval_dataset`.
        """
        if not any(expert.eval_datasets for expert in self.experts.values()):
            raise ValueError(
                "No expert has an `eval_dataset`, so there is nothing to evaluate on. Give one to an `Expert`."
            )
        num_generations = num_generations or self.samples
        names = [BASE, *self.experts, STUDENT]
        matrix: Matrix = {name: {} for name in names}
        ungraded, binary = 0, True
        self.answers = []
        with self.forwards.without_dropout(), student(), forked():
            for expert_name, expert in self.experts.items():
                for domain, dataset in expert.eval_datasets.items():
                    rows = [prepared(row) for row in dataset]
                    grades = self._grade(names, expert_name, rows, num_generations)  # (adapters, rows)
                    ungraded += int(grades.isnan().sum())
                    for name, row in zip(names, grades, strict=True):
                        matrix[name][domain] = _mean(row)
                    graded = row[~row.isnan()]
                    binary = binary and bool(((graded == 0) | (graded == 1)).all())
        how = "greedy" if num_generations == 1 else f"avg@{num_generations}, temperature {self.temperature}"
        self.measures = "accuracy" if binary else "mean reward"
        return matrix, f"{self.title.capitalize()} ({how}); {ungraded} ungraded answers excluded."

    def _grade(self, names: list[str], expert: str, rows: list[dict], samples: int) -> torch.Tensor:
        """Grades of every adapter on the rows, shape `(len(names), len(rows) * samples)`, NaN where ungraded."""
        rows = [row for row in rows for _ in range(samples)]
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        padding = -len(rows) % processes  # every process grades as many rows, for the gather
        shard = (rows + rows[-1:] * padding)[rank::processes]
        grades = []
        for start in range(0, len(shard), self.batch_size):
            chunk = shard[start : start + self.batch_size]
            chunk_grades, completions = self._grade_chunk(names, expert, chunk, greedy=samples == 1)
            grades.append(chunk_grades)
            if start == 0:
                self._note_answers(names, expert, chunk, completions, chunk_grades)
        local = torch.cat(grades, dim=1)  # (adapters, rows of this process)
        gathered = self.accelerator.gather(local.T.contiguous()).T.reshape(len(names), processes, -1)
        return gathered.transpose(1, 2).reshape(len(names), -1)[:, : len(rows)]

    def _note_answers(
        self, names: list[str], expert: str, rows: list[dict], completions: list, grades: torch.Tensor
    ) -> None:
        seen = {id(row): index for index, row in reversed([*enumerate(rows)]) if pictures_of(row["prompt"])}
        for index in sorted(seen.values())[:ANSWERS]:
            texts = [_last_text(completions[place * len(rows) + index]) for place in range(len(names))]
            self.answers.append(
                Answer(
                    domain=expert,
                    prompt=rows[index]["prompt"],
                    solution=rows[index].get("solution"),
                    texts=dict(zip(names, texts, strict=True)),
                    grades=dict(zip(names, grades[:, index].tolist(), strict=True)),
                )
            )

    def _grade_chunk(
        self, names: list[str], expert: str, rows: list[dict], greedy: bool
    ) -> tuple[torch.Tensor, list[Any]]:
        """Grades, `(adapters, rows)`, and completions of every adapter, one adapter after the other."""
        if self.conversations is not None and self.conversations.acts(expert):
            return self._grade_conversations(names, expert, rows, greedy)
        prompts = [row["prompt"] for row in rows]
        prompt_ids = self.tokenize(prompts)
        ids: list[list[int]] = []
        for group in self._sampled_together(names):
            self.engine.sync(group)
            adapter_of_row = [name for name in group for _ in rows]
            ids += self.engine.generate(list(prompt_ids) * len(group), adapter_of_row, greedy=greedy)[0]
        completions = self.complete(prompts * len(names), list(prompt_ids) * len(names), ids)
        rewards = self.graders[expert].grade(rows * len(names), completions, ids)
        mine = rewards[self.accelerator.process_index * len(ids) :][: len(ids), 0]
        return mine.reshape(len(names), len(rows)), completions

    def _grade_conversations(
        self, names: list[str], expert: str, rows: list[dict], greedy: bool
    ) -> tuple[torch.Tensor, list[Any]]:
        """As `_grade_chunk`, where the rows take several turns and rewards read what they have left."""
        grades: list[torch.Tensor] = []
        completions: list[Any] = []
        for group in self._sampled_together(names):
            self.engine.sync(group)
            for talk in self.conversations.have(self.engine, [(name, expert, rows) for name in group], greedy):
                rewards = self.graders[expert].grade(
                    talk.observed(rows), talk.completions, talk.ids, talk.environments, talk.failures
                )
                grades.append(rewards[self.accelerator.process_index * len(rows) :][: len(rows), 0])
                completions += talk.completions
        return torch.stack(grades), completions

    def _sampled_together(self, names: list[str]) -> list[list[str]]:
        # a merged student has the rank of all experts together: it is sampled apart, so that they can be stacked
        together = not self.merged or self.engine.mixes_ranks
        return [names] if together else [[n for n in names if n != STUDENT], [STUDENT]]


def _last_text(completion: Any) -> str:
    """What a completion says; of messages, what the last one does."""
    if isinstance(completion, str):
        return completion
    return str((completion[-1].get("content") or "") if completion else "")


def _mean(grades: torch.Tensor) -> float | None:
    """Mean of what was graded; digits beyond those of float32 rewards are noise."""
    graded = grades[~grades.isnan()].double()
    return round(graded.mean().item(), 6) if len(graded) else None


def write_matrix(matrix: Matrix, note: str, output_dir: str | Path) -> None:
    """Write a matrix as JSON and as a Markdown table with a note below."""
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MATRIX_FILE).write_text(json.dumps(matrix, indent=2))
    (folder / MATRIX_TABLE).write_text(f"{matrix_table(matrix)}\n\n{note}\n")


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
