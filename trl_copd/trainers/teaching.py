"""How a teacher's log-probabilities, or its whole distribution, become the learner's advantages."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from .. import adapters, sharding
from ..distillation import token_advantages
from ..divergence import last_hidden_states
from ..rollouts import run_lengths
from ..topology import Edge


class TeachingMixin:
    """
    The part of [`CoPDTrainer`] that teaches. Overrides `_compute_loss` and `_get_per_token_logps_and_entropies`, for
    the divergences over the full vocabulary alone.
    """

    _teachers: dict[str, torch.Tensor] | None = None  # inputs of the loss at hand, if they hold a teacher's states

    def _teach(self, batch: dict[str, torch.Tensor], edges: list[Edge]) -> None:
        """Put what the teachers, as they are now, say about the acting branch's cross rows into the batch."""
        learner, mask, beta = self._acting.name, batch["completion_mask"], self.betas[self._acting.name]
        learner_logps = self._score(batch, [learner] * len(edges))  # (B, T)
        sampled = self.args.opd_loss == "sampled"
        with nullcontext() if sampled else last_hidden_states(self.peft_model.get_base_model()) as states:
            teacher_logps = self._score(batch, [edge.teacher for edge in edges])  # (B, T)
        mask = self._teachable(teacher_logps - learner_logps, mask)
        self._log_sampled_kl((learner_logps - teacher_logps).masked_fill(mask == 0, 0.0), mask, edges)
        if sampled:
            batch["advantages"] = token_advantages(teacher_logps, learner_logps, mask, beta, self.args.opd_clip)
            return
        length = mask.size(1)
        batch["teacher_states"] = torch.cat([state[:, -length - 1 : -1] for state in states])  # (B, T, H)
        batch["taught"] = mask
        batch["advantages"] = beta * mask.float()

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        self._teachers = inputs if "teacher_states" in inputs else None
        try:
            return super()._compute_loss(model, inputs)
        finally:
            self._teachers = None

    def _get_per_token_logps_and_entropies(self, model, *args, **kwargs):
        """
        TRL's log-probabilities; on cross rows of a full-vocabulary `opd_loss` their gradient is that of minus the
        divergence. With advantage beta, TRL's loss then has the gradient of beta times the divergence, under its own
        normalisation, accumulation and importance weights.
        """
        inputs = self._teachers
        if inputs is None:
            return super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        base = self.peft_model.get_base_model()
        with last_hidden_states(base) as states:
            logps, entropies, aux_loss = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        taught = inputs["taught"].bool()  # (B, T)
        learner = states[0][:, -logps.size(1) - 1 : -1][taught]  # (N, H)
        values = self.divergence(learner, inputs["teacher_states"][taught])  # (N,)
        self._log_divergence(values.detach())
        fixed = logps.detach()
        steered = fixed.masked_scatter(taught, (fixed[taught] - (values - values.detach())).to(fixed.dtype))
        return torch.where(taught, steered, logps), entropies, aux_loss

    def _log_divergence(self, values: torch.Tensor) -> None:
        total = torch.stack([values.sum(), torch.tensor(float(len(values)), device=values.device)])
        total, count = self.accelerator.reduce(total, reduction="sum").tolist()
        if count:
            self._metrics["train"]["opd/divergence"].append(total / count)

    @torch.no_grad()
    def _score(self, batch: dict[str, torch.Tensor], names: list[str]) -> torch.Tensor:
        """
        Log-probabilities of the batch's completions, row by row under `names[i]`, nats, shape `(B, T)`.

        Neither moves a weight nor draws a random number: dropout is off.
        """
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        length, size = batch["completion_ids"].size(1), self.args.per_device_train_batch_size
        scored = []
        for start in range(0, len(names), size):
            rows = slice(start, start + size)
            with self._inference(names[rows]) as groups:
                for adapter_rows in groups:
                    logps, _, _ = self._get_per_token_logps_and_entropies(
                        self.model, ids[rows][adapter_rows], mask[rows][adapter_rows], length
                    )
                    scored.append(logps)
        return torch.cat(scored)

    @contextmanager
    def _inference(self, names: list[str]) -> Iterator[Iterator[slice]]:
        """
        Run the model over rows of several adapters without dropout.

        Yields the slices of rows to run one after the other: all at once if the adapters can be stacked.
        """
        runs, counts = run_lengths(names)
        training = self.model.training
        self.model.eval()
        try:
            with sharding.gathered(self.peft_model):
                if self.can_stack([name for name in runs if name != adapters.BASE]):
                    with adapters.grouped(self.peft_model, runs, counts):
                        yield iter([slice(0, len(names))])
                else:
                    yield self._one_by_one(runs, counts)
        finally:
            self.model.train(training)

    def _one_by_one(self, runs: list[str], counts: list[int]) -> Iterator[slice]:
        start = 0
        for name, count in zip(runs, counts, strict=True):
            with adapters.only(self.peft_model, name):
                yield slice(start, start + count)
            start += count

    def _log_sampled_kl(self, divergence: torch.Tensor, mask: torch.Tensor, edges: list[Edge]) -> None:
        """Log the sampled-token KL of each edge: the mean of log pi_learner - log pi_teacher over tokens."""
        labels = [edge.label for edge in self.topology.edges_into(self._acting.name)]
        totals = torch.zeros(len(labels), 2, device=divergence.device)
        for row, edge in enumerate(edges):
            totals[labels.index(edge.label)] += torch.stack([divergence[row].sum(), mask[row].sum()])
        totals = self.accelerator.reduce(totals, reduction="sum")
        for label, (total, count) in zip(labels, totals.tolist(), strict=True):
            if count:
                self._edge_metrics[f"{label}/opd/kl"].append(total / count)
