"""What policies are compared in where the model computes in 16 bits: noise, its floor, memory of the comparison."""

import logging

import pytest
import torch
from tiny import build_experts, build_trainer, lora, tiny_model
from transformers import AutoModelForCausalLM, CohereConfig, Gemma2Config, GraniteConfig

from trl_copd import adapters
from trl_copd.distillation import symmetric_kl, topk_overlap
from trl_copd.measure import overlap
from trl_copd.precision import float32, float32_sums, logits
from trl_copd.topology import Edge


EDGE = Edge("code", "math", "code")
OPTIONS = {"topology": "mutual", "rlvr_steps": 1, "opd_steps": 1, "max_steps": 2, "overlap_every": 1}


def perturb(trainer, size: float) -> None:
    """Move `math`, and `code` and `logic` by as much and by `size` more."""
    shared, own = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    branches = [trainer.branches[name].parameters for name in ("math", "code", "logic")]
    with torch.no_grad():
        for math, *others in zip(*branches, strict=True):
            math.copy_(0.05 * torch.randn(math.shape, generator=shared))
            for other in others:
                other.copy_(math + size * torch.randn(math.shape, generator=own))


def batch(count: int = 16, length: int = 8) -> dict[str, torch.Tensor]:
    ids = torch.randint(4, 30, (count, 4 + length), generator=torch.Generator().manual_seed(3))
    ones = torch.ones_like(ids)
    return {"prompt_ids": ids[:, :4], "completion_ids": ids[:, 4:], "prompt_mask": ones[:, :4],
            "completion_mask": ones[:, 4:]}  # fmt: skip


def half(**overrides):
    """As loaded in bfloat16: the weights, and not the frequencies of the positions."""
    model = tiny_model(**overrides)
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16()
    return model


IDS = torch.tensor([[5, 6, 7, 8]])
LAYOUTS = {
    "one teacher": ["code"] * 16,
    "two in a chunk": (["code"] * 4 + ["logic"] * 4) * 2,
    "unlike numbers of rows": (["code"] * 3 + ["logic"] * 5) * 2,
    "over the chunks' ends": ["code"] * 11 + ["logic"] * 5,
}
KINDS = {
    "float32": {},
    "bf16": {"bf16": True, "model": half},
    "a scaling of 1.5": {"bf16": True, "model": half, "peft_config": lora(lora_alpha=6)},
    "bf16 adapters": {"bf16": True, "model": half, "adapters": torch.bfloat16},
    "DoRA, one by one": {"bf16": True, "model": half, "peft_config": lora(use_dora=True), "topology": "student"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_equal_weights_have_a_log_ratio_of_zero(tmp_path, kind):
    """Teacher and learner go through the same operations, so that rounding is the same: exactly 0, however grouped."""
    options = dict(KINDS[kind])
    dtype, model = options.pop("adapters", None), options.pop("model", tiny_model)
    trainer = build_trainer(tmp_path, model=model(), **OPTIONS | options)
    perturb(trainer, 0.0)
    for branch in trainer.branches.values() if dtype else ():
        for parameter in branch.parameters:
            parameter.data = parameter.data.to(dtype)
    for teachers in LAYOUTS.values():
        learner = trainer.teaching.score(batch(), ["math"] * 16, like=teachers)
        assert trainer.teaching.score(batch(), teachers).equal(learner)
    perturb(trainer, 0.01)
    assert not trainer.teaching.score(batch(), teachers).equal(learner)


def noise(folder, plain: bool = False, **options) -> float:
    """Standard deviation of what 16 bits add to the log-ratio of close policies, nats; `plain`: as TRL scores."""
    exact = build_trainer(folder, model=tiny_model(hidden_size=128, num_hidden_layers=2), **OPTIONS)
    rounded = build_trainer(folder, model=half(hidden_size=128, num_hidden_layers=2), **OPTIONS, **options)
    exact.peft_model.get_base_model().load_state_dict(
        {k: v.float() for k, v in rounded.peft_model.get_base_model().state_dict().items() if "lora" not in k},
        strict=False,
    )
    ratios = []
    for trainer in (exact, rounded):
        perturb(trainer, 1e-3)
        trainer.forwards.precision = None if plain else trainer.forwards.precision
        teachers = ["code"] * 8 + ["logic"] * 8
        learner = trainer.teaching.score(batch(), ["math"] * 16, like=teachers)
        ratios.append(trainer.teaching.score(batch(), teachers) - learner)
    return (ratios[1] - ratios[0]).std().item()


def test_scoring_has_less_noise_than_16_bits_and_in_float32_none(tmp_path):
    """Half of it on SmolLM2 (docs/precision.md), which has more layers than this."""
    default = noise(tmp_path, bf16=True, per_device_train_batch_size=16)
    assert noise(tmp_path, bf16=True, per_device_train_batch_size=16, score_in_fp32=True) < 1e-4 < default
    assert default < 0.9 * noise(tmp_path, plain=True, bf16=True, per_device_train_batch_size=16)


def test_sums_in_float32_are_left_without_a_trace():
    model = half()
    with torch.no_grad():
        before = model(IDS).logits
        with float32_sums(model):
            wide = model(IDS, output_hidden_states=True).hidden_states
        assert all(states.dtype == torch.float32 for states in wide) and torch.equal(model(IDS).logits, before)
    assert "forward" not in vars(model) and not model.get_input_embeddings()._forward_hooks
    exact = tiny_model()
    with float32_sums(exact):  # float32 weights need none of it
        assert "forward" not in vars(exact)


def test_float32_is_left_without_a_trace():
    model = half()
    before = {name: (parameter.dtype, parameter.data_ptr()) for name, parameter in model.named_parameters()}
    ids = batch()["completion_ids"]
    with torch.no_grad():
        rounded = model(ids).logits
        with torch.autocast("cpu", torch.bfloat16), float32(model):
            exact = model(ids).logits
        assert exact.dtype == torch.float32 and torch.equal(exact, tiny_like(model)(ids).logits)
        assert torch.equal(model(ids).logits, rounded) and rounded.dtype == torch.bfloat16
    assert before == {name: (p.dtype, p.data_ptr()) for name, p in model.named_parameters()}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    with pytest.raises(IndexError), float32(model):  # an id that the vocabulary does not have
        model(ids + 1000)
    assert before == {name: (p.dtype, p.data_ptr()) for name, p in model.named_parameters()}


def tiny_like(model):
    copy = tiny_model()
    copy.load_state_dict({name: value.float() for name, value in model.state_dict().items()})
    return copy


SIZES = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
         "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16, "pad_token_id": 0}  # fmt: skip
CONFIGS = {
    "soft-capped": Gemma2Config(**SIZES, final_logit_softcapping=3.0),
    "multiplied": CohereConfig(**SIZES, logit_scale=0.3),
    "divided": GraniteConfig(**{k: v for k, v in SIZES.items() if k != "head_dim"}, logits_scaling=4.0),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_heads_of_other_models(name, monkeypatch):
    """In tiles, with the model's own scale and soft-capping."""
    monkeypatch.setattr("trl_copd.precision.HEAD_TILE", 10)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[name]).eval()
    with torch.no_grad():
        output = model(torch.arange(12).view(2, 6), output_hidden_states=True)
        hidden = model.base_model(torch.arange(12).view(2, 6)).last_hidden_state
        assert torch.allclose(logits(model, hidden.flatten(0, 1)), output.logits.flatten(0, 1), atol=1e-6)


def test_overlap_holds_few_logits(tmp_path, monkeypatch):
    """Chunks of positions give the sums of all at once, and no tensor is larger than the budget."""
    trainer = build_trainer(tmp_path, **OPTIONS)
    perturb(trainer, 0.02)
    data = batch(6)
    rollouts = list(zip(data["prompt_ids"].tolist(), data["completion_ids"].tolist(), strict=True))
    rollouts = [(prompt[: 1 + i % 4], completion[: 8 - i]) for i, (prompt, completion) in enumerate(rollouts)]
    expected = torch.zeros(3)
    for prompt, completion in rollouts:  # row by row, from the model's own logits
        both = []
        for name in ("math", "code"):
            with adapters.only(trainer.peft_model, name), torch.no_grad():
                own = trainer.peft_model(torch.tensor([prompt + completion])).logits[:, len(prompt) - 1 : -1]
                both.append(own / trainer.temperature)
        mask = torch.ones(1, len(completion))
        values = topk_overlap(*both, mask, 10).sum(), symmetric_kl(*both, mask).sum(), mask.sum()
        expected += torch.stack(values)
    largest = []
    real = overlap.symmetric_kl
    monkeypatch.setattr(overlap, "symmetric_kl", lambda a, b, mask: (largest.append(a.numel()), real(a, b, mask))[1])
    vocabulary = trainer.peft_model.config.vocab_size
    for budget in (overlap.LOGITS_BUDGET, 7 * vocabulary, 1):
        monkeypatch.setattr(overlap, "LOGITS_BUDGET", budget)
        monkeypatch.setattr(overlap, "TOKENS_BUDGET", 60 if budget < 1000 else 2**14)
        largest.clear()
        with torch.no_grad():
            assert torch.allclose(trainer.overlap.compare(EDGE, rollouts), expected, atol=1e-4)
        assert max(largest) <= max(budget, vocabulary) and len(largest) > 1 or budget > 1000


def test_learner_and_teacher_are_compared_in_one_forward(tmp_path, caplog):
    trainer = build_trainer(tmp_path, **OPTIONS)
    forwards = []
    trainer.peft_model.register_forward_hook(lambda module, inputs, output: forwards.append(len(output.logits)))
    perturb(trainer, 0.02)
    rollouts = [([4, 5], [6, 7, 8]), ([4, 5, 6], [7, 8])]
    for edge in (EDGE, Edge("math", "math", "math")):  # a policy beside itself, as the floor of 16 bits is measured
        with torch.no_grad():
            overlap_, divergence, tokens = trainer.overlap.compare(edge, rollouts).tolist()
        assert tokens == 5 and (divergence == 0) == (overlap_ == tokens) == (edge.teacher == "math")
    assert forwards == [4, 4] and "one after the other" not in caplog.text


def test_the_floor_is_measured_once_and_warned_about(tmp_path, caplog):
    """In 16 bits only, and a threshold inside of the noise is named."""
    caplog.set_level(logging.WARNING)
    trainer = build_trainer(
        tmp_path, model=half(), bf16=True, schedule="overlap", overlap_low=0.5, overlap_high=1.0, **OPTIONS
    )
    trainer.train()
    floors = [log for log in trainer.state.log_history if "opd/floor/overlap" in log]
    assert len(floors) == 1 and 0.5 < floors[0]["opd/floor/overlap"] <= 1 and floors[0]["opd/floor/symmetric_kl"] > 0
    assert "An overlap of 1.0 decides about phases" in caplog.text and "An overlap of 0.5" not in caplog.text
    for options in ({}, {"model": half(), "bf16": True, "score_in_fp32": True}):
        quiet = build_trainer(tmp_path, **OPTIONS, **options)
        quiet.train()
        assert not any("opd/floor/overlap" in log for log in quiet.state.log_history)


def test_scoring_patches_the_model_once(tmp_path, monkeypatch):
    """Evaluation mode, gathering and stacking once per scoring, and not for each chunk of rows."""
    trainer = build_trainer(tmp_path, **OPTIONS)
    counts = {"grouped": 0, "gathered": 0, "eval": 0}

    def counting(module, name, key):
        real = getattr(module, name)

        def call(*args, **kwargs):
            counts[key] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, call)

    counting(adapters, "grouped", "grouped")
    counting(trainer.peft_model, "eval", "eval")
    monkeypatch.setattr("trl_copd.forwards.adapters", adapters)
    from trl_copd import sharding

    counting(sharding, "gathered", "gathered")
    trainer.teaching.rows = 4
    trainer.teaching.score(batch(), (["code"] * 2 + ["logic"] * 2) * 4)  # four chunks
    assert counts == {"grouped": 1, "gathered": 1, "eval": 1}


WIDE = "loaded in float32"
LOADED = [
    # weights wider than what is computed in: TRL's default
    (tiny_model, {"bf16": True}, True),
    # nothing to gain
    (half, {"bf16": True}, False),
    (tiny_model, {"bf16": False}, False),
    (half, {"bf16": False}, False),
]


@pytest.mark.parametrize(("model", "options", "warned"), LOADED)
def test_float32_weights_under_bf16_are_warned_about(tmp_path, caplog, model, options, warned):
    caplog.set_level(logging.WARNING)
    build_trainer(tmp_path, model=model(), **OPTIONS, **options)
    assert (WIDE in caplog.text) == warned and ('"dtype": "bfloat16"' in caplog.text) == warned


def test_float32_weights_of_a_path_are_warned_about(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    tiny_model().save_pretrained(tmp_path / "base")
    for dtype, warned in ((None, True), ("float32", True), ("bfloat16", False)):
        caplog.clear()
        options = {"model_init_kwargs": {"dtype": dtype}} if dtype else {}
        build_trainer(tmp_path, model=str(tmp_path / "base"), bf16=True, **OPTIONS, **options)
        assert (WIDE in caplog.text) == warned


@pytest.mark.parametrize("by_path", [False, True])
def test_a_float32_head_of_tied_embeddings_is_refused(tmp_path, by_path):
    model = tiny_model(tie_word_embeddings=True)
    model.save_pretrained(tmp_path / "base")
    with pytest.raises(ValueError, match=r"head and embeddings are one matrix.*score_in_fp32"):
        build_trainer(
            tmp_path, model=str(tmp_path / "base") if by_path else model, cast_lm_head_to_fp32=True, **OPTIONS
        )
    build_trainer(tmp_path, model=tiny_model(), cast_lm_head_to_fp32=True, **OPTIONS)


def test_native_rows_hold_no_teacher_states(tmp_path):
    trainer = build_trainer(tmp_path, build_experts(2), opd_loss="reverse_kl", **OPTIONS)
    kept = []
    learner = trainer.branches["math"]
    real = learner._compute_loss
    learner._compute_loss = lambda model, inputs: (kept.append(inputs), real(model, inputs))[1]
    trainer.train()
    states = kept[-1]["teacher_states"]
    taught = kept[-1]["taught"].sum(1)
    assert [None if row is None else len(row) for row in states] == [int(n) or None for n in taught]
    assert 0 < sum(row is None for row in states) < len(states)


def test_a_digest_changes_with_any_bit(tmp_path):
    trainer = build_trainer(tmp_path, **OPTIONS)
    model, parameter = trainer.peft_model, trainer.branches["math"].parameters[3]
    digest, others = adapters.weights_digest(model, "math"), adapters.weights_digest(model, "code")
    assert digest == adapters.weights_digest(model, "math")
    parameter.data.view(torch.int32)[0, 0] += 1  # one bit, past the counter of writes
    changed = adapters.weights_digest(model, "math")
    with torch.no_grad():
        parameter.copy_(parameter.flip(0))  # the same numbers in other places
    assert len({digest, changed, adapters.weights_digest(model, "math")}) == 3
    assert adapters.weights_digest(model, "code") == others
    for branch in trainer.branches.values():
        for weight in branch.parameters:
            weight.data = weight.data.bfloat16()
    assert adapters.weights_digest(model, "code") != others
