"""
Changes of one run's distillation that others report, each in place of one function of the package.

`benchmarks/baseline.py` calls [`play`] for a recipe with `baseline: {"trick": NAME, ...}`; `compare_tricks.py` says
which runs there are. None of this is an option of the package.

Shapes: B completions, T completion tokens, N token positions, H hidden size, V vocabulary.
"""

import functools
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from trl_copd import adapters, divergence  # noqa: E402
from trl_copd.topology import Edge  # noqa: E402
from trl_copd.trainers import teaching  # noqa: E402


def play(trick: str, **settings: float) -> None:
    """Put the trick in place, for the rest of the process."""
    if trick == "bounded-ratio":
        teaching.token_advantages = bounded_ratio(**settings)
    elif trick == "target":
        teaching.Teaching.teach = with_target(teaching.Teaching.teach, **settings)
    elif trick == "token-share":
        teaching.Teaching.teach = with_token_share(teaching.Teaching.teach)
    elif trick == "teacher-top-k":
        divergence.topk_reverse_kl = teacher_topk_reverse_kl
    else:
        raise ValueError(f"There is no trick {trick!r}.")


def bounded_ratio(alpha: float) -> Callable:
    """
    What stands for [`trl_copd.distillation.token_advantages`]: beta * log(alpha * rho + 1 - alpha) with
    rho = pi_teacher / pi_learner (arXiv 2607.04751). It is at least beta * log(1 - alpha); alpha = 1 is the log-ratio.
    """
    keep = math.log1p(-alpha) if alpha < 1 else -math.inf

    def advantages(
        teacher_logps: torch.Tensor, learner_logps: torch.Tensor, mask: torch.Tensor, beta: float, bound: float | None
    ) -> torch.Tensor:
        delta = teacher_logps - learner_logps  # (B, T)
        bounded = torch.logaddexp(delta + math.log(alpha), torch.full_like(delta, keep))
        return (beta * bounded).masked_fill(mask == 0, 0.0)  # (B, T)

    return advantages


def with_target(teach: Callable, own: float = 1.0, others: float = 0.0) -> Callable:
    """
    [`Teaching.teach`] with another target: the base's logits, plus `own` times what a row's teacher adds to them, plus
    `others` times what every other expert adds.

    `own` > 1 goes beyond the teacher (arXiv 2602.12125); `own = others = 1` is the base plus the sum of what all
    experts add. The head is linear, so hidden states are combined in place of logits.
    """

    @functools.wraps(teach)
    def taught(self: teaching.Teaching, learner: str, faults: Any, batch: dict, edges: list[Edge]) -> None:
        head = self.divergence.model.get_output_embeddings()
        if head.bias is not None or getattr(self.divergence.model.config, "final_logit_softcapping", None) is not None:
            raise ValueError("The target is a sum of hidden states, which needs a head without bias and soft-capping.")
        teach(self, learner, faults, batch, edges)
        base = _states(self, batch, adapters.BASE)
        asked = self.topology.experts if others else ()
        deltas = {name: [s - b for s, b in zip(_states(self, batch, name), base, strict=True)] for name in asked}
        batch["teacher_states"] = [
            target(row, base[i], [deltas[name][i] for name in asked if name != edge.teacher], own, others)
            for i, (row, edge) in enumerate(zip(batch["teacher_states"], edges, strict=True))
        ]

    return taught


def target(
    teacher: torch.Tensor, base: torch.Tensor, deltas: list[torch.Tensor], own: float, others: float
) -> torch.Tensor:
    """base + own * (teacher - base) + others * sum(deltas), all `(N, H)`; the teacher to the bit if 1 and 0."""
    moved = teacher + (own - 1) * (teacher - base)
    return moved + others * sum(deltas) if deltas else moved


def _states(self: teaching.Teaching, batch: dict, name: str) -> list[torch.Tensor]:
    """Last hidden states of one adapter on the taught tokens of each row, `(N, H)`."""
    taught = batch["taught"].bool()  # (B, T)
    with self.forwards.without_dropout(), divergence.last_hidden_states(self.divergence.model) as found:
        self.score(batch, [name] * len(taught))
    length = taught.size(1)
    rows = torch.cat([states[:, -length - 1 : -1] for states in found])  # (B, T, H)
    return [row[mask] for row, mask in zip(rows, taught, strict=True)]


def with_token_share(teach: Callable) -> Callable:
    """[`Teaching.teach`] after which all domains of the batch weigh the same, however long their completions are."""

    @functools.wraps(teach)
    def taught(self: teaching.Teaching, learner: str, faults: Any, batch: dict, edges: list[Edge]) -> None:
        teach(self, learner, faults, batch, edges)
        weights = token_weights(batch["completion_mask"].sum(1).tolist(), [edge.domain for edge in edges])
        batch["advantages"] = batch["advantages"] * torch.tensor(weights).unsqueeze(1)

    return taught


def token_weights(tokens: list[int], domains: list[str]) -> list[float]:
    """A weight for each row, with which its domain has as many tokens as the others; those of all stay as many."""
    counts = dict.fromkeys(domains, 0)
    for count, domain in zip(tokens, domains, strict=True):
        counts[domain] += count
    share = sum(tokens) / len(counts)
    return [share / max(counts[domain], 1) for domain in domains]


def teacher_topk_reverse_kl(learner_logits: torch.Tensor, teacher_logits: torch.Tensor, k: int) -> torch.Tensor:
    """
    What stands for [`trl_copd.distillation.topk_reverse_kl`]: KL(learner || teacher) over the *teacher's* `k` most
    likely tokens, with all others as one; logits `(N, V)`, nats `(N,)`.
    """
    k = min(k, teacher_logits.size(-1) - 1)
    order = teacher_logits.argsort(-1, descending=True)  # (N, V)

    def parts(logits: torch.Tensor) -> torch.Tensor:  # (N, V) -> (N, k + 1)
        top, rest = logits.float().log_softmax(-1).gather(-1, order).tensor_split([k], dim=-1)
        return torch.cat([top, rest.logsumexp(-1, keepdim=True)], dim=-1)

    learner, teacher = parts(learner_logits), parts(teacher_logits)
    return (learner.exp() * (learner - teacher)).sum(-1)
