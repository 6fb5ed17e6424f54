"""Token advantages and divergences against hand-computed values and autograd."""

import math

import pytest
import torch

from trl_copd.distillation import symmetric_kl, token_advantages, topk_overlap


def test_token_advantages_by_hand():
    teacher = torch.tensor([[-1.0, -2.0, -9.0]])
    learner = torch.tensor([[-1.5, -1.0, -3.0]])
    mask = torch.tensor([[1, 1, 0]])
    assert token_advantages(teacher, learner, mask, 2.0).tolist() == [[1.0, -2.0, 0.0]]
    # padding is zero even where a log-probability is not finite
    assert token_advantages(torch.tensor([[-math.inf]]), torch.zeros(1, 1), torch.zeros(1, 1), 1.0).item() == 0.0


def test_gradient_points_along_the_reverse_kl():
    """In expectation over the learner's tokens, minus advantage times grad log pi is the gradient of KL."""
    torch.manual_seed(0)
    logits = torch.randn(5, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(5, dtype=torch.float64).log_softmax(-1)
    learner = logits.log_softmax(-1)
    (learner.exp() * (learner - teacher)).sum().backward(retain_graph=True)
    exact = logits.grad.clone()
    expected = torch.zeros(5, dtype=torch.float64)
    for token in range(5):
        advantage = token_advantages(
            teacher[token].view(1, 1), learner[token].detach().view(1, 1), torch.ones(1, 1), beta=1.0
        )
        gradient = torch.autograd.grad(learner[token], logits, retain_graph=True)[0]
        expected += learner[token].exp().detach() * -advantage.item() * gradient
    torch.testing.assert_close(expected, exact, atol=1e-9, rtol=1e-7)


def test_symmetric_kl_by_hand():
    p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1])
    forward = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    backward = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    logits = p.log().view(1, 1, 2), q.log().view(1, 1, 2)
    value = symmetric_kl(*logits, torch.ones(1, 1))
    assert value.item() == pytest.approx((forward + backward) / 2, abs=1e-6)
    assert symmetric_kl(*logits[::-1], torch.ones(1, 1)).item() == pytest.approx(value.item(), abs=1e-6)
    assert symmetric_kl(*logits, torch.zeros(1, 1)).item() == 0.0


def test_topk_overlap_by_hand():
    learner = torch.tensor([[[5.0, 4.0, 3.0, 0.0], [5.0, 4.0, 3.0, 0.0], [5.0, 4.0, 3.0, 0.0]]])
    teacher = torch.tensor([[[4.0, 5.0, 0.0, 3.0], [0.0, 5.0, 3.0, 4.0], [0.0, 1.0, 5.0, 4.0]]])
    assert topk_overlap(learner, teacher, torch.ones(1, 3), k=2).tolist() == [[1.0, 0.5, 0.0]]
    assert topk_overlap(learner, teacher, torch.tensor([[1, 0, 0]]), k=2).tolist() == [[1.0, 0.0, 0.0]]
    assert topk_overlap(learner, teacher, torch.ones(1, 3), k=10).tolist() == [[1.0, 1.0, 1.0]]  # capped at V


def test_bounded_log_ratios():
    teacher, learner = torch.tensor([[-1.0, -9.0, -0.1]]), torch.tensor([[-1.5, -1.0, -9.0]])
    advantages = token_advantages(teacher, learner, torch.ones(1, 3), 3.0, bound=2.0)
    assert advantages.tolist() == [[1.5, -6.0, 6.0]]
