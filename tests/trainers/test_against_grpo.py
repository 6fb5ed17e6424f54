"""Properties 1 and 2: one expert is TRL's GRPO to the bit, and K experts are K separate GRPO runs."""

import pytest
import torch
from tiny import (
    build_experts,
    build_trainer,
    distance,
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
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from trl_copd import Expert


def grpo(tmp_path, dataset, peft_config=None, reward=letter_reward, **overrides):
    return GRPOTrainer(
        tiny_model(),
        reward,
        GRPOConfig(**settings(tmp_path / "grpo", **overrides)),
        dataset,
        processing_class=tiny_tokenizer(),
        peft_config=peft_config or lora(),
    )


# Each row changes how TRL forms, scales or reuses a batch; past an epoch the sampler draws a new order
SETTINGS = [
    {"loss_type": "grpo"},
    {"loss_type": "grpo", "gradient_accumulation_steps": 2},
    {"loss_type": "dapo"},
    {"loss_type": "dapo", "gradient_accumulation_steps": 2},
    {"loss_type": "bnpo", "scale_rewards": "batch"},
    {"loss_type": "dr_grpo", "beta": 0.1},
    {"num_iterations": 2, "epsilon_high": 0.28},
    {"steps_per_generation": 4, "gradient_accumulation_steps": 2, "num_iterations": 2},
    {"max_steps": 14, "lr_scheduler_type": "cosine"},
    {"gradient_checkpointing": True, "max_grad_norm": 0.1},
    {"num_train_epochs": 2, "max_steps": -1},
    {"mask_truncated_completions": True, "top_entropy_quantile": 0.5},
    {"use_adaptive_entropy": True, "entropy_coef": 0.01, "entropy_target": 3.0, "max_steps": 4},
    {"bf16": True},
]


@pytest.mark.parametrize("overrides", SETTINGS, ids=lambda o: ",".join(f"{k}={v}" for k, v in o.items()))
def test_one_expert_is_grpo_bit_for_bit(tmp_path, overrides):
    reference = grpo(tmp_path, rows(), **overrides)
    reference.train()  # before the other trainer is built: both seed the random generators when they are
    trainer = build_trainer(
        tmp_path / "copd", [Expert("math", rows(), letter_reward)], topology="mutual", opd_steps=0, **overrides
    )
    start = weights(trainer, "math")
    trainer.train()
    assert distance(weights(reference, "default"), weights(trainer, "math")) == 0.0
    assert distance(start, weights(trainer, "math")) > 1e-3  # and it did learn
    theirs, ours = reference.state.log_history, trainer.state.log_history
    assert [log.get("loss") for log in theirs] == [log.get("loss") for log in ours]
    assert [log.get("reward") for log in theirs] == [log.get("math/reward") for log in ours]


def test_train_again_is_grpos(tmp_path):
    """A second `train` starts another run from the weights at hand: as in TRL, with the first prompts."""
    short = {"max_steps": 1, "max_completion_length": 3}
    reference = grpo(tmp_path, rows(), **short)
    reference.train(), reference.train()
    trainer = build_trainer(
        tmp_path / "copd", [Expert("math", rows(), letter_reward)], topology="mutual", opd_steps=0, **short
    )
    trainer.train(), trainer.train()
    assert distance(weights(reference, "default"), weights(trainer, "math")) == 0.0


def test_train_again_after_an_interruption_samples_anew(tmp_path):
    class Interrupt(TrainerCallback):
        def on_substep_end(self, args, state, control, **kwargs):
            raise KeyboardInterrupt

    # both are built before one trains: that seeds the random generators
    fresh, trainer = (
        build_trainer(tmp_path, [Expert("math", rows(), letter_reward)], topology="mutual", opd_steps=0, max_steps=1,
                      max_completion_length=3, gradient_accumulation_steps=2)
        for _ in range(2)
    )  # fmt: skip
    trainer.add_callback(Interrupt())
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    trainer.remove_callback(Interrupt)
    for run in (fresh, trainer):
        torch.manual_seed(0)
        run.train()
    assert trainer._step == fresh._step == 2
    assert distance(weights(fresh, "math"), weights(trainer, "math")) == 0.0  # it had learnt nothing yet


def test_one_expert_with_dropout_weighted_rewards_and_a_stream(tmp_path):
    def constant(completions, **kwargs):
        return [0.5] * len(completions)

    config = lora(lora_dropout=0.3)
    overrides = {"max_steps": 6}
    reference = GRPOTrainer(
        tiny_model(),
        [letter_reward, constant],
        GRPOConfig(**settings(tmp_path / "grpo", reward_weights=[2.0, 0.5], **overrides)),
        rows().to_iterable_dataset(),
        processing_class=tiny_tokenizer(),
        peft_config=config,
    )
    reference.train()
    expert = Expert("math", rows().to_iterable_dataset(), [letter_reward, constant], reward_weights=[2.0, 0.5])
    trainer = build_trainer(
        tmp_path / "copd", [expert], peft_config=config, topology="mutual", opd_steps=0, **overrides
    )
    trainer.train()
    assert distance(weights(reference, "default"), weights(trainer, "math")) == 0.0


def test_disabled_dropout_is_disabled_in_every_branch(tmp_path):
    config = lora(lora_dropout=0.3)
    reference = grpo(tmp_path, rows(), peft_config=config, disable_dropout=True)
    reference.train()
    experts = [Expert("math", rows(), letter_reward)]
    trainer = build_trainer(tmp_path, experts, None, config, topology="mutual", opd_steps=0, disable_dropout=True)
    trainer.train()
    assert distance(weights(reference, "default"), weights(trainer, "math")) == 0.0


# What could leak between branches: loss scale and normalisers, clipping, moments, the random stream of dropout
ISOLATION = [
    {"loss_type": "grpo"},
    {"loss_type": "dapo", "gradient_accumulation_steps": 2},
    {"loss_type": "bnpo", "num_iterations": 2},
    {"loss_type": "dapo", "steps_per_generation": 4, "gradient_accumulation_steps": 2, "max_grad_norm": 0.05},
    {"loss_type": "grpo", "beta": 0.1, "gradient_checkpointing": True},
]


@pytest.mark.parametrize("overrides", ISOLATION, ids=lambda o: ",".join(f"{k}={v}" for k, v in o.items()))
def test_experts_equal_separate_grpo_runs_on_replayed_rollouts(tmp_path, overrides):
    compare_with_separate_runs(tmp_path, lora(), 20, {}, overrides)


@pytest.mark.parametrize("overrides", ISOLATION[:2], ids=["grpo", "dapo"])
def test_experts_equal_separate_runs_with_dropout_past_an_epoch(tmp_path, overrides):
    # completions of unequal length: the dropout masks of a branch take other numbers of draws than another's
    compare_with_separate_runs(tmp_path, lora(lora_dropout=0.2), 8, {}, overrides)


def compare_with_separate_runs(tmp_path, config, size, lengths, overrides):
    overrides = {"max_steps": 6, **overrides}
    experts = build_experts(3, size)
    trainer = build_trainer(tmp_path / "copd", experts, None, config, topology="mutual", opd_steps=0, **overrides)
    replay_copd(trainer, **lengths)
    trainer.train()
    trained = {name: weights(trainer, name) for name in ("math", "code", "logic")}
    for index, name in enumerate(trained):
        reference = grpo(tmp_path, rows(index, size), peft_config=config, **overrides)
        replay_grpo(reference, **lengths)
        reference.train()
        assert distance(weights(reference, "default"), trained[name]) < 1e-6, name
    assert distance(trained["math"], trained["code"]) > 1e-3  # different data made different experts


def test_learning_rate_of_its_own(tmp_path):
    experts = build_experts(2)
    experts[1].learning_rate = 3e-3
    trainer = build_trainer(tmp_path / "copd", experts, topology="mutual", opd_steps=0, max_steps=4)
    replay_copd(trainer)
    trainer.train()
    for index, (name, rate) in enumerate({"math": 1e-2, "code": 3e-3}.items()):
        reference = grpo(tmp_path, rows(index, 20), learning_rate=rate, max_steps=4)
        replay_grpo(reference)
        reference.train()
        assert distance(weights(reference, "default"), weights(trainer, name)) < 1e-6


def test_unequal_datasets_recycle_until_the_longest_is_through(tmp_path):
    experts = [Expert("long", rows(0, 20), letter_reward), Expert("short", rows(1, 5), letter_reward)]
    trainer = build_trainer(
        tmp_path / "copd", experts, topology="mutual", opd_steps=0, max_steps=-1, num_train_epochs=1
    )
    trainer.train()
    assert trainer.state.global_step == 10  # 20 rows, 2 prompts a round
    assert trainer.branches["long"].prompts.native.consumed == trainer.branches["short"].prompts.native.consumed == 20
