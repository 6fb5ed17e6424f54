"""`opd_loss` over the full vocabulary: the gradient that reaches an adapter is that of beta times the divergence."""

from functools import partial

import pytest
import torch
from peft import get_peft_model
from tiny import CHARACTERS, build_experts, build_trainer, distance, lora, replay_copd, tiny_model, weights

from trl_copd.divergence import Divergence


LOSSES = ["reverse_kl", "forward_kl", "jsd", "topk"]


def divergence_by_hand(name: str, learner: torch.Tensor, teacher: torch.Tensor, k: int = 16) -> torch.Tensor:
    """`(..., V)` logits to nats per position, by the definitions."""
    learner, teacher = learner.log_softmax(-1), teacher.log_softmax(-1)

    def kl(p, q):
        return (p.exp() * (p - q)).sum(-1)

    if name == "reverse_kl":
        return kl(learner, teacher)
    if name == "forward_kl":
        return kl(teacher, learner)
    if name == "jsd":
        mixture = ((learner.exp() + teacher.exp()) / 2).log()
        return (kl(learner, mixture) + kl(teacher, mixture)) / 2
    order = learner.argsort(-1, descending=True)
    learner, teacher = (x.gather(-1, order) for x in (learner, teacher))
    parts = [torch.cat([x[..., :k], x[..., k:].logsumexp(-1, keepdim=True)], -1) for x in (learner, teacher)]
    return kl(*parts)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_divergence_and_its_gradient(name, temperature):
    model = tiny_model()
    torch.manual_seed(0)
    learner = torch.randn(9, 32, requires_grad=True)
    teacher = torch.randn(9, 32)
    scale = torch.rand(9)
    values = Divergence(name, model, temperature, top_k=5)(learner, teacher)
    (gradient,) = torch.autograd.grad((values * scale).sum(), learner)
    head = model.get_output_embeddings().weight
    expected = divergence_by_hand(name, learner @ head.T / temperature, teacher @ head.T / temperature, k=5)
    (wanted,) = torch.autograd.grad((expected * scale).sum(), learner)
    torch.testing.assert_close(values, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(gradient, wanted, atol=1e-5, rtol=1e-4)


def test_topk_of_everything_is_the_reverse_kl_and_less_is_less():
    model = tiny_model()
    torch.manual_seed(1)
    learner, teacher = torch.randn(9, 32), torch.randn(9, 32)
    whole = Divergence("reverse_kl", model)(learner, teacher)
    torch.testing.assert_close(Divergence("topk", model, top_k=1000)(learner, teacher), whole, atol=1e-5, rtol=1e-4)
    assert (Divergence("topk", model, top_k=3)(learner, teacher) < whole).all()


def test_a_model_that_scales_its_logits_is_refused():
    model = tiny_model()
    model.config.logit_scale = 0.5
    with pytest.raises(ValueError, match="logit_scale"):
        Divergence("jsd", model)


def reload(adapter_weights: dict[str, torch.Tensor]):
    model = get_peft_model(tiny_model(), lora())
    for key, parameter in model.named_parameters():
        if ".default." in key:
            parameter.data.copy_(adapter_weights[key.replace(".default.", ".")])
    return model


def completion_logits(model, batch, temperature):
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    length = batch["completion_ids"].size(1)
    return model(input_ids=ids, attention_mask=mask).logits[:, -length - 1 : -1] / temperature


@pytest.mark.parametrize("name", LOSSES)
def test_the_update_follows_the_divergence(tmp_path, name):
    """
    One round of OPD with SGD and no clipping: each branch moves by minus the learning rate times the gradient of
    (mean over rows, mean over tokens) of beta * divergence on cross rows and of GRPO's loss on native ones.
    """
    trainer = build_trainer(
        tmp_path,
        build_experts(2),
        topology="mutual",
        opd_loss=name,
        opd_top_k=5,
        opd_beta=3.0,
        temperature=0.7,
        rlvr_steps=1,
        opd_steps=1,
        max_steps=2,
        overlap_every=0,
        optim="sgd",
        learning_rate=0.5,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
    )
    replay_copd(trainer)
    seen = []

    def spy(branch, generate, inputs):
        batch = generate(inputs)
        seen.append((branch.name, batch, {n: weights(trainer, n) for n in trainer.branches}))
        return batch

    for branch in trainer.branches.values():
        branch._generate_and_score_completions = partial(spy, branch, branch._generate_and_score_completions)
    trainer.train()
    for learner, batch, before in seen[2:]:
        teacher = next(n for n in trainer.branches if n != learner)
        mask, cross = batch["completion_mask"], batch["taught"].any(1)
        assert 0 < cross.sum() < len(cross)
        model = reload(before[learner])
        logits = completion_logits(model, batch, 0.7)
        with torch.no_grad():
            taught = completion_logits(reload(before[teacher]), batch, 0.7)
        logps = logits.log_softmax(-1).gather(-1, batch["completion_ids"].unsqueeze(-1)).squeeze(-1)
        loss = torch.where(
            cross.unsqueeze(1),
            3.0 * divergence_by_hand(name, logits, taught, k=5),
            -batch["advantages"] * torch.exp(logps - logps.detach()),
        )
        ((loss * mask).sum(1) / mask.sum(1)).mean().backward()
        after = weights(trainer, learner)
        moved = {}
        for key, parameter in model.named_parameters():
            if ".default." in key:
                moved[key.replace(".default.", ".")] = parameter.detach() - 0.5 * parameter.grad
        assert distance(before[learner], after) > 1e-4
        assert distance(moved, after) < 2e-6
    log = next(log for log in trainer.state.log_history if log.get("phase") == 1)
    assert log["math/opd/divergence"] > 0 and "code->math/opd/kl" in log


def test_against_trl_distillation_trainer(tmp_path):
    """A student that learns by reverse KL alone: the gradient of TRL's DistillationTrainer on the same batch."""
    from trl.trainer.distillation_trainer import _chunked_divergence_loss

    trainer = build_trainer(
        tmp_path, build_experts(1), topology="mopd", opd_loss="reverse_kl", loss_type="bnpo", rlvr_steps=1,
        opd_steps=1, max_steps=2, overlap_every=0, max_grad_norm=0.0, optim="sgd", learning_rate=0.5,
        lr_scheduler_type="constant",
    )  # fmt: skip
    replay_copd(trainer)
    seen = []

    def spy(generate, inputs):
        batch = generate(inputs)
        seen.append((batch, {n: weights(trainer, n) for n in trainer.branches}))
        return batch

    for branch in trainer.branches.values():
        branch._generate_and_score_completions = partial(spy, branch._generate_and_score_completions)
    trainer.train()
    batch, before = seen[1]
    student, teacher = reload(before["student"]), reload(before["math"])
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    length = batch["completion_ids"].size(1)
    states = [
        m.get_base_model().base_model(input_ids=ids, attention_mask=mask).last_hidden_state[:, -length - 1 : -1]
        for m in (student, teacher)
    ]
    head = student.get_output_embeddings().weight.detach()
    loss, _, _ = _chunked_divergence_loss(states[0], states[1].detach(), head, head, batch["completion_mask"], 1.0)
    loss.backward()
    moved = {
        key.replace(".default.", "."): parameter.detach() - 0.5 * parameter.grad
        for key, parameter in student.named_parameters()
        if ".default." in key
    }
    assert distance(before["student"], weights(trainer, "student")) > 1e-4
    assert distance(moved, weights(trainer, "student")) < 2e-6
    assert len(CHARACTERS) + 4 == head.size(0)


def test_reused_rollouts_and_accumulation_run(tmp_path):
    trainer = build_trainer(
        tmp_path, opd_loss="jsd", num_iterations=2, gradient_accumulation_steps=2, rlvr_steps=2, opd_steps=2,
        max_steps=4, per_device_train_batch_size=16, overlap_every=2,
    )  # fmt: skip
    before = {name: weights(trainer, name) for name in trainer.branches}
    trainer.train()
    for name in trainer.branches:
        assert distance(before[name], weights(trainer, name)) > 1e-4


@pytest.mark.parametrize("lengths", [(6, 2), (2, 6)])
def test_cross_rows_shorter_or_longer_than_native_ones(tmp_path, lengths):
    """Completions on `math` and on `code` differ in length: the teachers' tensors are padded to the longer ones."""
    trainer = build_trainer(
        tmp_path, build_experts(2), topology="mutual", opd_loss="reverse_kl", rlvr_steps=1, opd_steps=1, max_steps=2,
        overlap_every=0,
    )  # fmt: skip
    replay_copd(trainer)
    generate = trainer.engine.generate

    def cut(prompt_ids, names, greedy=False):
        completions, logps = generate(prompt_ids, names, greedy)
        native = {"math": 0, "code": 1}  # the rows of expert i read `<n+i>+<n>=`
        texts = trainer.processing_class.batch_decode(prompt_ids, skip_special_tokens=True)
        sums = [text.replace(" ", "").rstrip("=").split("+") for text in texts]
        own = [int(a) - int(b) == native[name] for (a, b), name in zip(sums, names, strict=True)]
        return [ids[: lengths[0 if mine else 1]] for ids, mine in zip(completions, own, strict=True)], logps

    trainer.engine.generate = cut
    before = {name: weights(trainer, name) for name in trainer.branches}
    trainer.train()
    for name in trainer.branches:
        assert distance(before[name], weights(trainer, name)) > 1e-4


@pytest.mark.parametrize("bf16", [True, False])
def test_the_heads_products_run_in_the_precision_of_the_forward(tmp_path, bf16):
    """Not inside of the model's forward, which alone is in autocast by itself."""
    trainer = build_trainer(
        tmp_path, build_experts(2), topology="mutual", opd_loss="jsd", bf16=bf16, rlvr_steps=1, opd_steps=1,
        max_steps=2, overlap_every=0,
    )  # fmt: skip
    divergence, seen = trainer.teaching.divergence, []

    class Noted(Divergence):
        def __call__(self, learner, teacher):
            seen.append(torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu"))
            return super().__call__(learner, teacher)

    trainer.teaching.divergence = Noted(divergence.name, divergence.model, divergence.temperature)
    trainer.train()
    assert set(seen) == {torch.bfloat16 if bf16 else False}


def test_autocast_does_not_choose_the_top_k():
    model = tiny_model()
    states = torch.randn(2, 5, 32)
    exact = Divergence("topk", model, top_k=3)(*states)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(Divergence("topk", model, top_k=3)(*states), exact)


def test_topk_takes_hidden_states_of_another_precision_than_the_heads():
    model = tiny_model().bfloat16()
    states = torch.randn(2, 5, 32)
    assert Divergence("topk", model, top_k=3)(*states).shape == (5,)
