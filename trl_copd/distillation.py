"""
On-policy distillation as pure functions of tensors.

Shapes: B completions, T completion tokens, V vocabulary.
"""

import torch
import torch.nn.functional as F


def token_advantages(
    teacher_logps: torch.Tensor,
    learner_logps: torch.Tensor,
    mask: torch.Tensor,
    beta: float,
    bound: float | None = None,
) -> torch.Tensor:
    """
    Advantage of each sampled token under the sampled-token reverse KL, `beta * (log pi_teacher - log pi_learner)`
    (arXiv 2604.27083, phase II).

    Args:
        teacher_logps (`torch.Tensor`): Log-probabilities of the sampled tokens under the teacher, nats, `(B, T)`.
        learner_logps (`torch.Tensor`): The same under the learner that sampled them, nats, `(B, T)`.
        mask (`torch.Tensor`): 1 on completion tokens, 0 on padding, shape `(B, T)`.
        beta (`float`): Scale, > 0.
        bound (`float`, *optional*): Largest log-ratio in nats, > 0: what is beyond counts as the bound. Their tails
            are heavy, and one token can outweigh a completion.

    Returns:
        `torch.Tensor`: Advantages, shape `(B, T)`, exactly 0 on padding.
    """
    delta = teacher_logps - learner_logps  # (B, T)
    if bound is not None:
        delta = delta.clamp(-bound, bound)
    return (beta * delta).masked_fill(mask == 0, 0.0)  # (B, T)


def topk_overlap(
    learner_logits: torch.Tensor, teacher_logits: torch.Tensor, mask: torch.Tensor, k: int = 10
) -> torch.Tensor:
    """
    Share of the learner's `k` most likely tokens that are among the teacher's, at each position.

    Args:
        learner_logits (`torch.Tensor`): Shape `(B, T, V)`.
        teacher_logits (`torch.Tensor`): Shape `(B, T, V)`.
        mask (`torch.Tensor`): 1 on visited positions, shape `(B, T)`.
        k (`int`): At least 1; capped at V. The paper's k is 10.

    Returns:
        `torch.Tensor`: Overlap per position in [0, 1], 0 where masked, shape `(B, T)`.
    """
    k = min(k, learner_logits.size(-1))
    learner_top = learner_logits.topk(k, dim=-1).indices  # (B, T, k)
    teacher_top = teacher_logits.topk(k, dim=-1).indices  # (B, T, k)
    shared = (learner_top.unsqueeze(-1) == teacher_top.unsqueeze(-2)).any(-1).float().mean(-1)  # (B, T)
    return shared * mask


def symmetric_kl(learner_logits: torch.Tensor, teacher_logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """
    Half the sum of both Kullback-Leibler divergences over the full vocabulary, at each position.

    Args:
        learner_logits (`torch.Tensor`): Shape `(B, T, V)`, already divided by the temperature.
        teacher_logits (`torch.Tensor`): Shape `(B, T, V)`, likewise.
        mask (`torch.Tensor`): 1 on visited positions, shape `(B, T)`.

    Returns:
        `torch.Tensor`: Divergence per position in nats, 0 where masked, shape `(B, T)`.
    """
    learner = F.log_softmax(learner_logits, dim=-1, dtype=torch.float32)  # (B, T, V), cast inside: no further copy
    teacher = F.log_softmax(teacher_logits, dim=-1, dtype=torch.float32)  # (B, T, V)
    # KL(p||q) + KL(q||p) = sum (p - q) (log p - log q)
    both = ((learner.exp() - teacher.exp()) * (learner - teacher)).sum(-1)  # (B, T)
    return 0.5 * both * mask


def topk_reverse_kl(learner_logits: torch.Tensor, teacher_logits: torch.Tensor, k: int) -> torch.Tensor:
    """
    KL(learner || teacher) over the learner's `k` most likely tokens, with all others as one.

    Args:
        learner_logits (`torch.Tensor`): Shape `(N, V)`, already divided by the temperature; carries the gradient.
        teacher_logits (`torch.Tensor`): Shape `(N, V)`, likewise.
        k (`int`): At least 1; from V - 1 on this is the reverse KL over the full vocabulary.

    Returns:
        `torch.Tensor`: Divergence per position in nats, shape `(N,)`. At most the reverse KL.
    """
    k = min(k, learner_logits.size(-1) - 1)
    learner = learner_logits.float().log_softmax(-1)  # (N, V)
    teacher = teacher_logits.float().log_softmax(-1)  # (N, V)
    top = learner.detach().topk(k, dim=-1).indices  # (N, k)
    rest = torch.ones_like(learner, dtype=torch.bool).scatter(-1, top, False)  # (N, V)

    def grouped(logps: torch.Tensor) -> torch.Tensor:  # (N, V) -> (N, k + 1)
        tail = logps.masked_fill(~rest, -torch.inf).logsumexp(-1, keepdim=True)
        return torch.cat([logps.gather(-1, top), tail], dim=-1)

    learner, teacher = grouped(learner), grouped(teacher)
    return (learner.exp() * (learner - teacher)).sum(-1)
