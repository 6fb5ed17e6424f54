"""Rows of one prompt that share it, against TRL's own forward: log-probabilities, gradients, whole runs."""

import pytest
import torch
from accelerate import PartialState
from peft import get_peft_model
from tiny import (
    build_experts,
    build_trainer,
    distance,
    length_reward,
    letter_reward,
    lora,
    replay_copd,
    replay_grpo,
    rows,
    settings,
    tiny_model,
    tiny_tokenizer,
    weights,
)
from transformers import AutoModelForCausalLM, MistralConfig, Qwen3Config
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from trl_copd import Expert, adapters
from trl_copd.shared_prompts import RepeatedPrompts, SharedPrompts, completion_start, like_prompts
from trl_copd.trainers.batches import keep_prompts_together


# Adam blows rounding differences of tiny gradients up to the learning rate
CYCLE = {"rlvr_steps": 1, "opd_steps": 1, "max_steps": 2, "overlap_every": 0, "optim": "sgd", "learning_rate": 0.1}
NAMES = ("math", "code")


@pytest.fixture(autouse=True)
def logging_works():
    PartialState(cpu=True)  # accelerate's loggers ask for it


def adapted(model=None, dropout=0.0):
    model = model if model is not None else tiny_model()
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    torch.manual_seed(0)
    model = get_peft_model(model, lora(init_lora_weights=False, lora_dropout=dropout), adapter_name="math")
    model.add_adapter("code", lora(init_lora_weights=False, lora_dropout=dropout))
    return model.train()


def batch(prompts=(0, 1, 0, 1, 1, 0, 0, 2), length=9, completion=5):
    """Rows of three prompts, not in order, padded on the left by 3, 0 and 6; completions of 1 to 5 tokens."""
    generator = torch.Generator().manual_seed(1)
    known = torch.randint(4, 20, (3, length), generator=generator)
    known_mask = torch.ones_like(known)
    for prompt, padding in enumerate((3, 0, 6)):
        known[prompt, :padding], known_mask[prompt, :padding] = 0, 0
    ids = torch.randint(4, 20, (len(prompts), completion), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(len(prompts)):
        mask[row, 1 + row % completion :] = 0
    ids, mask = torch.cat([known[list(prompts)], ids], 1), torch.cat([known_mask[list(prompts)], mask], 1)
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :length] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "fused_lm_head": True}


def outcome(model, inputs, shared=None, names=None, counts=None):
    """Log-probabilities, entropies and the gradients of a sum over both that tells all positions apart."""
    model.zero_grad()
    weight = torch.linspace(-1, 1, inputs["labels"][:, 1:].numel()).view_as(inputs["labels"][:, 1:])
    if names is None:
        with shared.active() if shared is not None else torch.enable_grad():
            output = model(**inputs)
    else:
        with adapters.grouped(model, names, counts) as groups, shared.active(groups):
            output = model(**inputs)
    ((output.log_probs + 0.3 * output.entropy) * weight).sum().backward()
    gradients = [p.grad.flatten().clone() for n, p in model.named_parameters() if p.grad is not None]
    return output.log_probs.detach(), output.entropy.detach(), torch.cat(gradients)


def counted(model):
    """Positions that each forward of the first layer runs, filled in as the model runs."""
    positions = []
    layer = model.get_base_model().base_model.layers[0]
    layer.register_forward_pre_hook(lambda module, args: positions.append(args[0].shape[:2].numel()))
    return positions


def assert_close(shared, plain, tolerance=1e-5):
    for name, ours, theirs in zip(("log_probs", "entropy", "gradient"), shared, plain, strict=True):
        assert ((ours - theirs).norm() / theirs.norm()).item() < tolerance, name


def sliding(window=4):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(MistralConfig(
        vocab_size=30, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=window, initializer_range=0.3,
    ))  # fmt: skip


def some_layers_slide():
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(Qwen3Config(
        vocab_size=30, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, use_sliding_window=True, sliding_window=3, initializer_range=0.3,
        layer_types=["full_attention", "sliding_attention"],
    ))  # fmt: skip


# ---- One forward and backward ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [tiny_model, sliding, some_layers_slide])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_log_probabilities_and_gradients_are_those_of_the_plain_forward(build, checkpointing, caplog):
    model, inputs = adapted(build()), batch()
    if checkpointing:  # a layer runs again in the backward, and must not add its keys and values a second time
        model.gradient_checkpointing_enable({"use_reentrant": False})
    plain = outcome(model, inputs)
    shared, positions = SharedPrompts(model), None
    assert_close(outcome(model, inputs, shared), plain)
    assert shared.trusted == {False: True}
    positions = counted(model)
    assert_close(outcome(model, inputs, shared), plain)
    # three prompts of 9 tokens without their last, then that and 5 more of each of 8 rows, instead of 8 times 14
    assert positions[:2] == [3 * 8, 8 * 6] and not caplog.records
    assert "forward" not in vars(model.get_base_model().base_model)
    assert all("_can_checkpoint_with_cache" not in vars(module) for module in model.modules())


def test_rows_of_different_adapters_are_never_alike():
    model, inputs = adapted(), batch((0, 0, 1, 0, 0, 0, 0, 0))
    shared = SharedPrompts(model)
    expected = []
    for name, part in (("math", slice(0, 3)), ("code", slice(3, 8))):
        with torch.no_grad(), adapters.only(model, name):
            some = {key: value[part] if torch.is_tensor(value) else value for key, value in inputs.items()}
            expected.append(model(**some).log_probs)
    with torch.no_grad(), adapters.grouped(model, NAMES, [3, 5]) as groups, shared.active(groups):
        together = model(**inputs).log_probs
        assert groups.rows == [3, 5]
        positions = counted(model)
        model(**inputs)
    assert positions == [3 * 8, 8 * 6]  # two prompts of `math` and one of `code`
    torch.testing.assert_close(together, torch.cat(expected), atol=1e-5, rtol=1e-5)
    assert not together[:3].equal(together[3:6])


def test_half_precision_is_as_close_to_float32_as_the_plain_forward():
    exact = outcome(adapted(), batch())
    with torch.autocast("cpu", torch.bfloat16):
        model = adapted()
        plain, shared = outcome(model, batch()), outcome(model, batch(), SharedPrompts(model))
    for ours, theirs, target in zip(shared, plain, exact, strict=True):
        assert (ours.float() - target).norm() < 1.5 * (theirs.float() - target).norm()


def dropped():
    return adapted(dropout=0.1), {}


def with_masked_images():
    return adapted(), {"pixel_attention_mask": torch.ones(8, 4, 4)}


def reentrant():
    model = adapted()
    model.gradient_checkpointing_enable({"use_reentrant": True})
    return model, {}


def routed():
    model = adapted()
    model.get_base_model().config.output_router_logits = True
    return model, {}


def states_beside_keys():
    model = adapted()
    model.get_base_model().config.layer_types = ["full_attention", "linear_attention"]
    return model, {}


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (dropped, "dropout"),
        (with_masked_images, "pixel_attention_mask"),
        (reentrant, "use_reentrant=True"),
        (routed, "load-balancing"),
        (states_beside_keys, "more than keys and values"),
    ],
)
def test_what_cannot_share_says_so_once(build, reason, caplog):
    model, more = build()
    shared = SharedPrompts(model)
    obstacle = shared.obstacle(batch() | more)
    assert reason in obstacle
    calls = []
    for _ in range(2):
        shared._forward(lambda **inputs: calls.append(inputs), batch() | more, None)
    (told,) = caplog.records
    assert told.message.endswith(f"Rows of one prompt do not share it in update and scoring: {obstacle}.")
    assert len(calls) == 2 and all(call["input_ids"].shape == (8, 14) for call in calls)


def test_a_model_that_ignores_the_prompt_goes_on_without_sharing(caplog, monkeypatch):
    model, inputs = adapted(), batch()
    plain, update = outcome(model, inputs), RepeatedPrompts.update

    def blind(self, keys, values, *args, **kwargs):
        return tuple(
            both * (torch.arange(both.size(-2)) >= 8).unsqueeze(1) for both in update(self, keys, values, *args)
        )

    monkeypatch.setattr(RepeatedPrompts, "update", blind)
    shared = SharedPrompts(model)
    for _ in range(2):
        assert_close(outcome(model, inputs, shared), plain)
    assert (
        shared.trusted == {False: False} and len(caplog.records) == 2
    )  # when it is found, and as the reason from then on


def test_dropout_out_of_training_is_no_obstacle():
    model = adapted(dropout=0.1).eval()
    assert SharedPrompts(model).obstacle(batch()) is None


@pytest.mark.parametrize("prompts", [(0, 1), (0,)])
def test_rows_of_unlike_prompts_take_the_plain_forward_to_the_bit(prompts):
    model, inputs = adapted(), batch(prompts)
    plain, shared = outcome(model, inputs), outcome(model, inputs, SharedPrompts(model))
    assert all(ours.equal(theirs) for ours, theirs in zip(shared, plain, strict=True))


def test_where_completions_begin_and_which_prompts_are_alike():
    inputs = batch()
    assert completion_start(inputs["labels"]) == 9
    assert completion_start(torch.full((2, 3), -100)) == 0
    first, source, counts = like_prompts(inputs["input_ids"], inputs["attention_mask"], 8, None)
    assert counts == [3] and len(first) == 3
    for name in ("input_ids", "attention_mask"):
        assert inputs[name][first][source][:, :8].equal(inputs[name][:, :8])
    # a padded token and a real one with the same id are unlike
    ids, mask = torch.zeros(2, 4, dtype=torch.long), torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    assert like_prompts(ids, mask, 3, None)[2] == [2]


# ---- Runs -----------------------------------------------------------------------------------------------------------


def trained(folder, share, dropout=0.0, **overrides):
    peft_config = lora(init_lora_weights=False, lora_dropout=dropout)
    trainer = build_trainer(folder, peft_config=peft_config, share_prompts=share, **CYCLE | overrides)
    replay_copd(trainer)
    before = {name: weights(trainer, name) for name in trainer.branches}
    trainer.train()
    return trainer, {
        name: {key: value - before[name][key] for key, value in weights(trainer, name).items()}
        for name in trainer.branches
    }


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"gradient_checkpointing": True},
        {"loss_type": "dapo", "beta": 0.04},
        {"loss_type": "bnpo", "top_entropy_quantile": 0.5},
        {"loss_type": "cispo", "entropy_coef": 0.01},
        {
            "importance_sampling_level": "sequence",
            "num_iterations": 2,
            "rlvr_steps": 2,
            "opd_steps": 2,
            "max_steps": 4,
        },
        {"gradient_accumulation_steps": 2},
        {"gradient_accumulation_steps": 2, "loss_type": "bnpo"},
        {"topology": "mutual", "opd_loss": "forward_kl"},
        {"topology": "mutual", "opd_loss": "topk", "gradient_accumulation_steps": 2},
        {"mask_truncated_completions": True, "topology": "mutual"},
    ],
)
def test_a_run_moves_as_it_does_without(tmp_path, overrides, caplog):
    plain, moved = trained(tmp_path / "plain", False, **overrides)
    shared, also = trained(tmp_path / "shared", True, **overrides)
    assert plain.forwards.shared_prompts is None and shared.forwards.shared_prompts.trusted[False]
    assert not any("do not share" in record.message for record in caplog.records)
    for name in moved:
        one, two = (torch.cat([value.flatten() for value in own[name].values()]) for own in (moved, also))
        assert ((one - two).norm() / one.norm()).item() < 2e-5, name


def test_under_dropout_a_run_is_the_plain_one_to_the_bit(tmp_path, caplog):
    _, moved = trained(
        tmp_path / "plain", False, dropout=0.2, gradient_accumulation_steps=2, topology="mutual", opd_steps=0
    )
    _, also = trained(
        tmp_path / "shared", True, dropout=0.2, gradient_accumulation_steps=2, topology="mutual", opd_steps=0
    )
    assert all(distance(moved[name], also[name]) == 0 for name in moved)
    assert any("dropout treats like rows differently" in record.message for record in caplog.records)


@pytest.mark.parametrize(("experts", "share", "shares"), [(1, "auto", False), (2, "auto", True), (1, True, True),
                                                          (2, False, False)])  # fmt: skip
def test_one_expert_alone_is_left_to_trl(tmp_path, experts, share, shares):
    trainer = build_trainer(
        tmp_path, build_experts(experts), topology="mutual", opd_steps=0, max_steps=1, share_prompts=share
    )
    assert (trainer.forwards.shared_prompts is not None) == shares
    assert trainer.engine.share_prefill == (experts > 1 or share is True)


@pytest.mark.parametrize("overrides", [{}, {"gradient_accumulation_steps": 2, "loss_type": "dapo"}])
def test_experts_that_share_prompts_equal_separate_grpo_runs(tmp_path, overrides):
    own = {"optim": "sgd", "learning_rate": 0.1} | overrides
    data = {
        "math": (rows(0, 20), letter_reward),
        "code": (rows(1, 20), length_reward),
        "logic": (rows(2, 20), letter_reward),
    }
    experts = [Expert(name, *pair) for name, pair in data.items()]
    trainer = build_trainer(tmp_path / "together", experts, topology="mutual", opd_steps=0, share_prompts=True, **own)
    replay_copd(trainer)
    trainer.train()
    assert trainer.forwards.shared_prompts.trusted[False]
    for name, (dataset, reward) in data.items():
        args = GRPOConfig(**settings(tmp_path / name, **own))
        alone = GRPOTrainer(tiny_model(), reward, args, dataset, processing_class=tiny_tokenizer(), peft_config=lora())
        replay_grpo(alone)
        start = weights(alone, "default")
        alone.train()
        assert distance(start, weights(alone, "default")) > 1e-3
        assert distance(weights(alone, "default"), weights(trainer, name)) < 1e-5


# ---- Micro-batches --------------------------------------------------------------------------------------------------


def test_rows_of_a_prompt_are_dealt_into_as_few_micro_batches_as_possible():
    prompts = torch.tensor([[5], [6], [5], [7], [6], [5], [7], [6]])
    values, scalar = torch.arange(8), torch.tensor(3.0)
    batches = [
        {"prompt_ids": part, "prompt_mask": torch.ones_like(part), "advantages": value, "old": None, "items": scalar}
        for part, value in zip(prompts.split(4), values.split(4), strict=True)
    ]
    first, second = keep_prompts_together(batches)
    assert first["prompt_ids"].flatten().tolist() == [5, 5, 5, 6] and first["advantages"].tolist() == [0, 2, 5, 1]
    assert second["prompt_ids"].flatten().tolist() == [6, 6, 7, 7] and second["advantages"].tolist() == [4, 7, 3, 6]
    assert first["old"] is None and second["items"] is scalar


@pytest.mark.parametrize(
    ("overrides", "together"),
    [
        ({"gradient_accumulation_steps": 2}, True),
        ({"gradient_accumulation_steps": 2, "loss_type": "bnpo"}, False),  # divides by the tokens of a micro-batch
        ({"gradient_accumulation_steps": 1, "steps_per_generation": 2}, False),  # another step, other weights
        ({"gradient_accumulation_steps": 2, "share_prompts": False}, False),
    ],
)
def test_groups_stay_together_where_it_changes_no_update(tmp_path, overrides, together):
    trainer = build_trainer(
        tmp_path, build_experts(2), topology="mutual", opd_steps=0, max_steps=1, overlap_every=0, logging_steps=5,
        **{"per_device_train_batch_size": 8, "share_prompts": "auto"} | overrides,
    )  # fmt: skip
    trainer.train()
    for branch in trainer.branches.values():
        unlike = [len(part["prompt_ids"].unique(dim=0)) for part in branch._buffered_inputs]
        # 16 rows of 4 prompts in two micro-batches
        assert (unlike == [2, 2]) == together
