"""An expert that acts is TRL's GRPOTrainer with the same tools or environment, to the bit."""

import pytest
from tiny import distance, lora, settings, weights
from tiny_acting import (
    Counter,
    Owner,
    a,
    acting_model,
    acting_tokenizer,
    b,
    copd,
    replay_copd,
    replay_grpo,
    rows,
    state_reward,
    talk_reward,
)
from trl import GRPOConfig, GRPOTrainer

from trl_copd import Expert


LONG = {"max_completion_length": 60, "max_steps": 3}


async def d(x: str) -> str:
    """
    Waits.

    Args:
        x: A text.
    """
    return x[::-1]


def roll_out(prompts, trainer):
    """Samples, says `h` and samples again."""
    tokenizer = trainer.processing_class
    ids = tokenizer.apply_chat_template(prompts, add_generation_prompt=True, tokenize=True, return_dict=True)[
        "input_ids"
    ]
    said = tokenizer.convert_tokens_to_ids("h")
    first, _ = trainer._generate_single_turn(ids, None, {}, trainer.num_generations)
    first = [row[:4] for row in first]
    then, _ = trainer._generate_single_turn(
        [p + row + [said] for p, row in zip(ids, first, strict=True)], None, {}, trainer.num_generations
    )
    then = [row[:6] for row in then]
    return {
        "prompt_ids": ids,
        "completion_ids": [one + [said] + two for one, two in zip(first, then, strict=True)],
        "env_mask": [[1] * len(one) + [0] + [1] * len(two) for one, two in zip(first, then, strict=True)],
        "logprobs": None,
        "turns": [2] * len(ids),
    }


def turns_reward(completions, turns, solution, **kwargs):
    return [sum(map(ord, talk[0]["content"])) % 13 / 13 + n for talk, n in zip(completions, turns, strict=True)]


WORLDS = {
    "tools": ({"tools": [a, b]}, [talk_reward]),
    "coroutines": ({"tools": [a, d]}, [talk_reward]),
    "environment": ({"environment_factory": Counter, "tools": [b]}, [state_reward, talk_reward]),
    "reward of its own": ({"environment_factory": Owner}, None),
    "several": ({"environment_factory": {"one": Counter, "two": Owner}}, [state_reward]),
    "rollout function": ({"rollout_func": roll_out}, [turns_reward]),
}


def data(name):
    dataset = rows()
    return dataset.add_column("environment", ["one", "two"] * 6) if name == "several" else dataset


def grpo(folder, name, **overrides):
    world, rewards = WORLDS[name]
    template = overrides.pop("chat_template_kwargs", None)
    return GRPOTrainer(
        acting_model(),
        list(rewards) if rewards else None,
        GRPOConfig(**settings(folder / "grpo", **LONG | overrides, chat_template_kwargs=template)),
        data(name),
        processing_class=acting_tokenizer(),
        peft_config=lora(),
        **world,
    )


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("tools", {}),
        ("tools", {"loss_type": "dapo", "gradient_accumulation_steps": 2, "max_tool_calling_iterations": 1}),
        ("tools", {"beta": 0.1, "num_iterations": 2, "mask_truncated_completions": True}),
        ("coroutines", {}),
        ("environment", {}),
        ("environment", {"steps_per_generation": 2, "gradient_accumulation_steps": 2}),
        ("reward of its own", {}),
        ("several", {}),
        ("rollout function", {}),
    ],
    ids=str,
)
def test_one_acting_expert_is_grpo_bit_for_bit(tmp_path, name, overrides):
    reference = grpo(tmp_path, name, **overrides)
    reference.train()
    world, rewards = WORLDS[name]
    trainer = copd(
        tmp_path / "copd", [Expert("math", data(name), rewards, **world)],
        topology="mutual", opd_steps=0, **LONG | overrides,
    )  # fmt: skip
    start = weights(trainer, "math")
    trainer.train()
    assert distance(weights(reference, "default"), weights(trainer, "math")) == 0.0
    assert distance(start, weights(trainer, "math")) > 1e-3
    theirs, ours = reference.state.log_history[:-1], trainer.state.log_history[:-1]
    for their, our in zip(theirs, ours, strict=True):
        same = {key: value for key, value in their.items() if key.startswith(("completions/", "tools/", "reward"))}
        assert same == {key: our[f"math/{key}"] for key in same}
        assert their.get("num_tokens") == our.get("num_tokens") and their["loss"] == our["loss"]


def test_acting_experts_are_their_separate_runs_on_replayed_rollouts(tmp_path):
    """Two that act and one that answers at once; turns of all are sampled in waves, as many as the longest needs."""
    worlds = {"tools": WORLDS["tools"], "plain": ({}, [talk_reward]), "environment": WORLDS["environment"]}
    experts = [
        Expert(name, rows(3 * i), rewards, **world) for i, (name, (world, rewards)) in enumerate(worlds.items())
    ]
    trainer = copd(tmp_path / "copd", experts, topology="mutual", opd_steps=0, max_steps=3)
    waves = replay_copd(trainer)
    trainer.train()
    turns = []
    for i, (name, (world, rewards)) in enumerate(worlds.items()):
        reference = GRPOTrainer(
            acting_model(),
            list(rewards),
            GRPOConfig(**settings(tmp_path / name, max_completion_length=60)),
            rows(3 * i),
            processing_class=acting_tokenizer(),
            peft_config=lora(),
            **world,
        )
        replay_grpo(reference)
        single, calls = reference._generate_single_turn, []
        reference._generate_single_turn = lambda *a, single=single, calls=calls, **k: (
            calls.append(1) or single(*a, **k)
        )
        reference.train()
        turns.append(len(calls))
        assert distance(weights(reference, "default"), weights(trainer, name)) < 1e-6
    assert waves[0] == list(worlds) and ["tools", "environment"] in waves
    assert 3 < len(waves) < sum(turns)  # not one call for each turn of each
