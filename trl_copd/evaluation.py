"""Capability matrix, and overlap and symmetric KL along the edges."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from trl.data_utils import is_conversational
from trl.trainer.utils import pad

from . import adapters, sharding
from .distillation import symmetric_kl, topk_overlap
from .model_card import weights_round
from .prompts import derived_seed
from .topology import STUDENT, Edge


MATRIX_FILE = "capability_matrix.json"
LOGITS_BUDGET = 2**26  # numbers in one tensor of logits: 256 MiB in float32
Matrix = dict[str, dict[str, float | None]]


class EvaluationMixin:
    """
    The part of [`CoPDTrainer`] that measures: what each adapter can do, and how far teachers and learners are apart.
    Overrides `evaluate`.
    """

    def _all_eval_datasets(self) -> dict[str, Any]:
        return {domain: data for expert in self.experts.values() for domain, data in expert.eval_datasets.items()}

    @contextmanager
    def _with_student(self) -> Iterator[None]:
        """The student as an adapter: its own branch, or the merge of the experts for the length of the context."""
        merging = nullcontext()
        if not self.topology.has_student_branch:
            merging = adapters.merged_student(
                self.peft_model, list(self.experts), self.args.merge_method, self.args.merge_density
            )
        with merging:
            yield
        self._stacking = {key: value for key, value in self._stacking.items() if STUDENT not in key}

    # ---- Capability matrix ------------------------------------------------------------------------------------------

    def capability_matrix(self, num_generations: int = 1) -> Matrix:
        """
        Accuracy of the base, of every expert and of the student on every domain's held-out rows.

        Args:
            num_generations (`int`, *optional*, defaults to `1`):
                `1` decodes greedily; n > 1 samples n completions per row at `args.temperature` (avg@n).

        Returns:
            `dict[str, dict[str, float]]`: `{adapter: {domain: accuracy}}`; accuracy is the mean of the expert's first
            reward function, raw; rows that it leaves ungraded (`None`) are excluded and counted in the Markdown. Also
            written to `capability_matrix.json` and `.md` in `output_dir`.

        Raises:
            ValueError: No expert has an `eval_dataset`.
        """
        if not self._all_eval_datasets():
            raise ValueError(
                "No expert has an `eval_dataset`, so there is nothing to evaluate on. Give it to `Expert`."
            )
        names = [adapters.BASE, *self.experts, STUDENT]
        matrix: Matrix = {name: {} for name in names}
        ungraded = 0
        training = self.model.training
        self.model.eval()
        try:
            # an evaluation leaves the run's random stream alone, and the trackers' timings of rounds
            with self._with_student(), torch.random.fork_rng(), self._untracked():
                for expert_name, expert in self.experts.items():
                    for domain, dataset in expert.eval_datasets.items():
                        grades = self._grade(names, expert_name, list(dataset), num_generations)  # (adapters, rows)
                        ungraded += int(grades.isnan().sum())
                        for name, row in zip(names, grades, strict=True):
                            matrix[name][domain] = None if row.isnan().all() else row.nanmean().item()
        finally:
            self.model.train(training)
        self.last_matrix, self.last_matrix_round = matrix, weights_round(self)
        if self.is_world_process_zero():
            self._write_matrix(matrix, ungraded, num_generations)
        return matrix

    def _grade(self, names: list[str], expert: str, rows: list[dict], samples: int) -> torch.Tensor:
        """Grades of every adapter on the rows, shape `(len(names), len(rows) * samples)`, NaN where ungraded."""
        rows = [row for row in rows for _ in range(samples)]
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        padding = -len(rows) % processes  # every process grades as many rows, for the gather
        shard = (rows + rows[-1:] * padding)[rank::processes]
        size, grades = self.args.per_device_eval_batch_size, []
        for start in range(0, len(shard), size):
            chunk = shard[start : start + size]
            grades.append(self._grade_chunk(names, expert, chunk, greedy=samples == 1))
        local = torch.cat(grades, dim=1)  # (adapters, rows of this process)
        gathered = self.accelerator.gather(local.T.contiguous()).T.reshape(len(names), processes, -1)
        return gathered.transpose(1, 2).reshape(len(names), -1)[:, : len(rows)]

    def _grade_chunk(self, names: list[str], expert: str, rows: list[dict], greedy: bool) -> torch.Tensor:
        prompts = [row["prompt"] for row in rows]
        prompt_ids, _, _ = self._tokenize_prompts(prompts)
        ids: list[list[int]] = []
        for group in self._sampled_together(names):
            self.engine.sync(group)
            adapter_of_row = [name for name in group for _ in rows]
            ids += self.engine.generate(list(prompt_ids) * len(group), adapter_of_row, greedy=greedy)[0]
        completions: list[Any] = self.processing_class.batch_decode(ids, skip_special_tokens=True)
        if is_conversational(rows[0]):
            completions = [[{"role": "assistant", "content": text}] for text in completions]
        with self._as(self.branches[expert]):
            # as in training: TRL gathers over processes, so this process takes its slice back
            rewards = self._calculate_rewards(rows * len(names), prompts * len(names), completions, ids)
            self._pending_metrics.clear()
            self._pending_extra_logs.clear()
        mine = rewards[self.accelerator.process_index * len(ids) :][: len(ids), 0]
        return mine.reshape(len(names), len(rows))

    def _sampled_together(self, names: list[str]) -> list[list[str]]:
        # a merged student has the rank of all experts together: it is sampled apart, so that they can be stacked
        together = self.topology.has_student_branch or self.engine.mixes_ranks
        return [names] if together else [[n for n in names if n != STUDENT], [STUDENT]]

    def _write_matrix(self, matrix: Matrix, ungraded: int, samples: int) -> None:
        folder = Path(self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MATRIX_FILE).write_text(json.dumps(matrix, indent=2))
        how = "greedy" if samples == 1 else f"avg@{samples}, temperature {self.temperature}"
        note = f"Accuracy on held-out rows ({how}); {ungraded} ungraded answers excluded."
        (folder / MATRIX_FILE).with_suffix(".md").write_text(f"{matrix_table(matrix)}\n\n{note}\n")

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """
        Log the capability matrix: `eval_<adapter>/<domain>` and the mean `eval_<adapter>/accuracy`.

        Raises:
            ValueError: `eval_dataset` is given: data belongs to the experts.
        """
        if eval_dataset is not None and eval_dataset is not self.eval_dataset:
            raise ValueError("`evaluate` takes no dataset: held-out rows belong to `Expert(eval_dataset=...)`.")
        metrics = {}
        for name, row in self.capability_matrix().items():
            graded = {domain: value for domain, value in row.items() if value is not None}
            metrics |= {f"{metric_key_prefix}_{name}/{domain}": value for domain, value in graded.items()}
            if graded:
                metrics[f"{metric_key_prefix}_{name}/accuracy"] = sum(graded.values()) / len(graded)
        self._log_alone(dict(metrics))
        # a mean that could not be measured is no best one, and does not end a run that selects by it
        metrics = {f"{metric_key_prefix}_{name}/accuracy": math.nan for name in self.last_matrix} | metrics
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    # ---- Overlap and symmetric KL -----------------------------------------------------------------------------------

    @torch.no_grad()
    def _measure_edges(self, round_index: int) -> list[float]:
        """
        Every `overlap_every` rounds, in both phases, compare learner and teacher of every edge on the learner's own
        rollouts for the fixed probe prompts of the edge's domain.

        Returns:
            `list[float]`: Overlap of every edge, the same on every process; empty if nothing was measured.
        """
        every = self.args.overlap_every
        edges = [edge for edge in self.topology.edges if self._probes.get(edge.domain)]
        if not edges or every == 0 or round_index % every:
            return []
        totals = torch.zeros(len(edges), 3, device=self.accelerator.device)
        with sharding.gathered(self.peft_model):  # a process may have fewer probe prompts than another, or none
            with torch.random.fork_rng(), self._untracked():  # measuring moves neither the random stream nor weights
                torch.manual_seed(derived_seed(self.args.seed, "probe", str(round_index)))
                rollouts = self._probe_rollouts(edges)
            for index, edge in enumerate(edges):
                totals[index] = self._compare(edge, rollouts[edge.learner, edge.domain])
        totals = self.accelerator.reduce(totals, reduction="sum")
        metrics = {}
        for edge, (overlap, divergence, tokens) in zip(edges, totals.tolist(), strict=True):
            metrics[f"{edge.label}/opd/overlap"] = overlap / tokens
            metrics[f"{edge.label}/opd/symmetric_kl"] = divergence / tokens
        self._log_alone(metrics)  # now: the round's log would put them at its end, and average over `logging_steps`
        return [overlap / tokens for overlap, _, tokens in totals.tolist()]

    def _probe_rollouts(self, edges: list[Edge]) -> dict[tuple[str, str], list[tuple[list[int], list[int]]]]:
        """The learners' rollouts on the probe prompts of this process, `(prompt ids, completion ids)` per row."""
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        keys, prompt_ids, names = [], [], []
        for learner, domain in sorted({(edge.learner, edge.domain) for edge in edges}):
            for row in self._probes[domain][rank::processes]:
                keys.append((learner, domain))
                names.append(learner)
                prompt_ids.append(self._tokenize_prompts([row["prompt"]])[0][0])
        self.engine.sync(sorted({edge.learner for edge in edges}))  # also where no row falls to this process
        completions, _ = self.engine.generate(prompt_ids, names)
        rollouts: dict = {(edge.learner, edge.domain): [] for edge in edges}
        for key, prompt, completion in zip(keys, prompt_ids, completions, strict=True):
            rollouts[key].append((list(prompt), completion))
        return rollouts

    def _compare(self, edge: Edge, rollouts: list[tuple[list[int], list[int]]]) -> torch.Tensor:
        """Sums over tokens of top-k overlap and symmetric KL, and the number of tokens, shape `(3,)`."""
        totals = torch.zeros(3, device=self.accelerator.device)
        longest = max((len(completion) for _, completion in rollouts), default=1)
        size = max(1, LOGITS_BUDGET // (2 * longest * self.model.config.get_text_config().vocab_size))
        for start in range(0, len(rollouts), size):
            learner, teacher, mask = self._both_logits(edge, rollouts[start : start + size])
            overlap = topk_overlap(learner, teacher, mask, self.args.overlap_top_k)
            divergence = symmetric_kl(learner, teacher, mask)
            totals += torch.stack([overlap.sum(), divergence.sum(), mask.sum()])
        return totals

    def _both_logits(self, edge: Edge, rollouts: list) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits over the completions under learner and teacher, `(B, T, V)` each, and the mask `(B, T)`."""
        pad_id, device = self._tokenizer.pad_token_id, self.accelerator.device
        prompts = [torch.tensor(prompt) for prompt, _ in rollouts]
        completions = [torch.tensor(completion) for _, completion in rollouts]
        ids, mask = [], []
        for tensors, side in ((prompts, "left"), (completions, "right")):
            ids.append(pad(tensors, padding_value=pad_id, padding_side=side).to(device))
            mask.append(pad([torch.ones_like(t) for t in tensors], padding_value=0, padding_side=side).to(device))
        length, rows = ids[1].size(1), len(rollouts)
        input_ids, attention_mask = torch.cat(ids, dim=1).repeat(2, 1), torch.cat(mask, dim=1).repeat(2, 1)
        logits = []
        with self._inference([edge.learner] * rows + [edge.teacher] * rows) as groups, self.accelerator.autocast():
            for part in groups:
                output = self.model(
                    input_ids=input_ids[part], attention_mask=attention_mask[part], logits_to_keep=length + 1
                )
                logits.append(output.logits[:, -length - 1 : -1] / self.temperature)
        both = torch.cat(logits)
        return both[:rows], both[rows:], mask[1]


def matrix_table(matrix: Matrix) -> str:
    """The matrix as a Markdown table with the mean over domains."""
    domains = list(next(iter(matrix.values())))
    lines = ["| | " + " | ".join([*domains, "mean"]) + " |", "|---" * (len(domains) + 2) + "|"]
    for name, row in matrix.items():
        graded = [value for value in row.values() if value is not None]
        cells = ["–" if row[domain] is None else f"{row[domain]:.3f}" for domain in domains]
        mean = f"{sum(graded) / len(graded):.3f}" if graded else "–"
        lines.append("| " + " | ".join([name, *cells, mean]) + " |")
    return "\n".join(lines)
