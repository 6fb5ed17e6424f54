"""How a teacher's log-probabilities, or its whole distribution, become the learner's advantages."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from ..distillation import token_advantages
from ..divergence import Divergence, last_hidden_states
from ..forwards import Forwards, LogProbabilities
from ..show.recorder import Recorder
from ..topology import Edge, Topology
from .batches import sampled_tokens
from .faults import Faults


class Teaching:
    """
    Gives cross rows their advantages: beta * (log pi_teacher - log pi_learner), or what stands for a divergence.

    Args:
        topology ([`Topology`]): The edges.
        betas (`dict[str, float]`): beta of each learner.
        forwards ([`Forwards`]): Runs the model over rows of several adapters.
        logps (`Callable`): TRL's log-probabilities of completions, see [`Forwards.score`].
        rows (`int`): Most rows in one forward.
        clip (`float`, *optional*): Largest log-ratio, nats.
        divergence ([`Divergence`], *optional*): Over the full vocabulary, in place of the sampled log-ratio.
        accelerator ([`~accelerate.Accelerator`]): Adds up over the processes.
        recorder ([`Recorder`]): Logs the sampled KL of every edge.
    """

    def __init__(
        self,
        topology: Topology,
        betas: dict[str, float],
        forwards: Forwards,
        logps: LogProbabilities,
        rows: int,
        clip: float | None,
        divergence: Divergence | None,
        accelerator: Accelerator,
        recorder: Recorder,
    ):
        self.topology, self.betas, self.clip = topology, betas, clip
        self.forwards, self.logps, self.rows = forwards, logps, rows
        self.divergence, self.accelerator, self.recorder = divergence, accelerator, recorder

    def score(self, batch: dict[str, torch.Tensor], names: list[str], like: list[str] | None = None) -> torch.Tensor:
        """Log-probabilities of the batch's completions, row by row under `names[i]`, nats, `(B, T)`."""
        return self.forwards.score(batch, names, self.logps, self.rows, like)

    def teach(self, learner: str, faults: Faults, batch: dict[str, torch.Tensor], edges: list[Edge]) -> None:
        """
        Put what the teachers, as they are now, say about a learner's cross rows into the batch.

        Args:
            learner (`str`): The branch that sampled the rows.
            faults ([`Faults`]): Its own; rows without a finite log-ratio teach nothing and are counted there.
            batch (`dict`): TRL's; its `advantages` are replaced, shape `(B, T)`.
            edges (`list[Edge]`): The edge of each row.
        """
        mask, beta = sampled_tokens(batch), self.betas[learner]
        teachers = [edge.teacher for edge in edges]
        with self.forwards.without_dropout():  # once for both
            learner_logps = self.score(batch, [learner] * len(edges), like=teachers)  # (B, T)
            with nullcontext([]) if self.divergence is None else last_hidden_states(self.divergence.model) as states:
                teacher_logps = self.score(batch, teachers)  # (B, T)
        mask = self._teachable(teacher_logps - learner_logps, mask, learner, faults)
        self._log_sampled_kl(learner, (learner_logps - teacher_logps).masked_fill(mask == 0, 0.0), mask, edges)
        if self.divergence is None:
            batch["advantages"] = token_advantages(teacher_logps, learner_logps, mask, beta, self.clip)
            return
        length = mask.size(1)
        taught_states = torch.cat([state[:, -length - 1 : -1] for state in states])  # (B, T, H)
        # a row's own (n, H), without padding, so that native rows hold none
        batch["teacher_states"] = [row[taught] for row, taught in zip(taught_states, mask.bool(), strict=True)]
        batch["taught"] = mask
        batch["advantages"] = beta * mask.float()

    def _teachable(self, delta: torch.Tensor, mask: torch.Tensor, learner: str, faults: Faults) -> torch.Tensor:
        """The mask `(B, T)` without the rows whose `delta` is not finite on some token: they teach nothing."""
        bad = ~delta.masked_fill(mask == 0, 0.0).isfinite().all(1)  # (B,)
        faults.count(
            "untaught_rows", int(self.accelerator.reduce(bad.sum(), reduction="sum")),
            f"Branch {learner!r}: the log-ratio of a row to its teacher is NaN or infinite. The row teaches nothing.",
        )  # fmt: skip
        return mask.masked_fill(bad.unsqueeze(1), 0)

    def _log_sampled_kl(self, learner: str, divergence: torch.Tensor, mask: torch.Tensor, edges: list[Edge]) -> None:
        """Log the sampled-token KL of each edge: the mean of log pi_learner - log pi_teacher over tokens."""
        labels = [edge.label for edge in self.topology.edges_into(learner)]
        totals = torch.zeros(len(labels), 2, device=divergence.device)
        for row, edge in enumerate(edges):
            totals[labels.index(edge.label)] += torch.stack([divergence[row].sum(), mask[row].sum()])
        totals = self.accelerator.reduce(totals, reduction="sum")
        for label, (total, count) in zip(labels, totals.tolist(), strict=True):
            if count:
                self.recorder.edges[f"{label}/opd/kl"].append(total / count)

    def describe(self, logs: dict[str, Any], batch: dict[str, torch.Tensor], edges: list[Edge]) -> dict[str, Any]:
        """The logs of cross rows for the table of completions: who taught them, and their mean token advantage."""
        mask = sampled_tokens(batch)
        means = (batch["advantages"] * mask).sum(1) / mask.sum(1).clamp(min=1)  # (B,)
        advantages, labels = self.accelerator.gather(means).tolist(), gather_object([edge.label for edge in edges])
        return logs | {"advantages": advantages, "edges": labels}

    # ---- Divergences over the full vocabulary -----------------------------------------------------------------------

    @contextmanager
    def steering(self, inputs: dict[str, torch.Tensor]) -> Iterator[Callable]:
        """
        For the length of a forward, yield what turns its log-probabilities `(B, T)` into such as have, on cross rows,
        the gradient of minus the divergence, and the divergence's mean over all processes (`None` without a token).

        With advantage beta, TRL's loss then has the gradient of beta times the divergence, under its own
        normalisation, accumulation and importance weights.
        """
        with last_hidden_states(self.divergence.model) as states:

            def steer(logps: torch.Tensor) -> tuple[torch.Tensor, float | None]:
                taught = inputs["taught"].bool()  # (B, T)
                # the last: rows whose prompts turn out not to be shareable run once more
                learner = states[-1][:, -logps.size(1) - 1 : -1][taught]  # (N, H)
                teacher = [row for row in inputs["teacher_states"] if row is not None]  # none of native rows
                with self.accelerator.autocast():  # as the model's forward: else the head's products are in float32
                    values = self.divergence(learner, torch.cat([learner[:0], *teacher]))  # (N,)
                fixed = logps.detach()
                steered = fixed.masked_scatter(taught, (fixed[taught] - (values - values.detach())).to(fixed.dtype))
                return torch.where(taught, steered, logps), self._mean(values.detach())

            yield steer

    def _mean(self, values: torch.Tensor) -> float | None:
        total = torch.stack([values.sum(), torch.tensor(float(len(values)), device=values.device)])
        total, count = self.accelerator.reduce(total, reduction="sum").tolist()
        return total / count if count else None
