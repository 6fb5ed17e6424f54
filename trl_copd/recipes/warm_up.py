"""
A warm start that is steered, not timed: how long a skill takes to appear depends on the seed, so that a skill is
trained only while sampling would solve it too rarely, measured on each batch before its update.
"""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch


def warm_up(
    model: torch.nn.Module,
    skills: Mapping[str, float],
    draw: Callable[[str], Any],
    grade: Callable[[list[Any]], tuple[torch.Tensor, torch.Tensor]],
    seed: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    besides: Collection[str] = (),
) -> None:
    """
    Train a model until sampling solves every skill as often as it should.

    Args:
        model (`torch.nn.Module`): The model; it is left in evaluation mode.
        skills (`Mapping[str, float]`): The accuracy of sampling, in (0, 1], at which each skill is held.
        draw (`Callable`): A skill's name to a row.
        grade (`Callable`): Rows to each answer's cross-entropy in nats per token, and to the probability that sampling
            gives it; both `(B,)`.
        seed (`int`): Of the order of skills.
        steps (`int`): Optimizer steps at most, >= 0.
        batch_size (`int`): Rows per step.
        learning_rate (`float`): Peak learning rate.
        besides (`Collection[str]`): What is trained in every step, to whatever accuracy.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    rng = random.Random(seed)
    accuracy = dict.fromkeys(skills, 0.0)
    model.train()
    for step in range(steps):
        behind = {name for name, target in skills.items() if accuracy[name] < target}
        if not behind:
            break
        # slower as the last skill comes near: at the peak rate accuracies swing from step to step
        distance = 1.0 - min(accuracy[name] / target for name, target in skills.items())
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1.0, (step + 1) / 30) * max(distance, 0.1)
        names = rng.choices([*skills, *besides], k=batch_size)
        losses, chances = grade([draw(name) for name in names])
        # a skill at its target is measured, not trained
        trained = [loss for name, loss in zip(names, losses, strict=True) if name in behind or name in besides]
        torch.stack(trained).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        for name, chance in zip(names, chances.tolist(), strict=True):
            if name in accuracy:
                accuracy[name] += 0.02 * (chance - accuracy[name])
    model.eval()


def grade_answers(
    forward: Callable[..., torch.Tensor],
    inputs: Mapping[str, torch.Tensor],
    answers: Sequence[list[int]],
    pad_token_id: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Losses and chances of answers, as `warm_up` takes them, by one forward.

    Args:
        forward (`Callable`): The model; takes `logits_to_keep`.
        inputs (`Mapping[str, torch.Tensor]`): Those of the prompts, padded on the left, with `input_ids` and
            `attention_mask`, `(B, P)`.
        answers (`Sequence[list[int]]`): Token ids of each answer, its end token included.
        pad_token_id (`int`): Fills up the answers on the right, so that all start in one column.
    """
    keep = max(map(len, answers))
    pad = torch.full((len(answers), keep), pad_token_id)
    labels = torch.full((len(answers), keep), -100)  # (B, keep)
    for row, answer in enumerate(answers):
        pad[row, : len(answer)] = labels[row, : len(answer)] = torch.tensor(answer)
    added = {"input_ids": pad, "attention_mask": (labels >= 0).long(), "mm_token_type_ids": torch.zeros_like(pad)}
    whole = {key: torch.cat([value, added[key]], 1) if key in added else value for key, value in inputs.items()}
    logits = forward(**whole, logits_to_keep=keep + 1).logits[:, :-1]  # (B, keep, V)
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")  # 0 where ignored
    losses = losses.sum(1)
    return losses / (labels >= 0).sum(1), torch.exp(-losses.detach())
