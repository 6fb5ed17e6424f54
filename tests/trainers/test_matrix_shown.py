"""The matrix at the end of a script, and the plain names of a single branch."""

import pytest
from tiny import build_trainer, history, letter_reward, lora, rows, settings, tiny_model, tiny_tokenizer
from trl import GRPOTrainer

from trl_copd import Expert


def ones_and_zeros(completions, **kwargs):
    return [float(index % 2) for index in range(len(completions))]


@pytest.mark.parametrize("reward, measures", [(ones_and_zeros, "accuracy"), (letter_reward, "mean reward")])
def test_train_prints_the_matrix_once(tmp_path, capsys, reward, measures):
    expert = Expert("math", rows(), reward, eval_dataset=rows(50, 8))
    trainer = build_trainer(tmp_path, [expert], topology="mutual", opd_steps=0, max_steps=1, disable_tqdm=False)
    trainer.train()
    shown = capsys.readouterr().out
    assert shown.count("| student |") == 1 and f"Capability matrix, {measures} on held-out rows" in shown
    assert f"{measures.capitalize()} on held-out rows" in (tmp_path / "capability_matrix.md").read_text()
    for row in trainer.last_matrix.values():
        assert all(value == round(value, 6) for value in row.values())


def test_a_mean_is_rounded_to_what_float32_rewards_can_say(tmp_path):
    nine_of_forty = lambda completions, **kwargs: [float(i % 40 < 9) for i in range(len(completions))]  # noqa: E731
    expert = Expert("math", rows(), nine_of_forty, eval_dataset=rows(50, 40))
    trainer = build_trainer(tmp_path, [expert], topology="mutual", opd_steps=0, per_device_eval_batch_size=40)
    assert trainer.capability_matrix() == {name: {"math": 0.225} for name in ("base", "math", "student")}


def test_one_branch_logs_what_grpo_logs(tmp_path):
    overrides = {"max_steps": 2, "logging_steps": 2}
    from trl import GRPOConfig

    plain = GRPOTrainer(tiny_model(), letter_reward, GRPOConfig(**settings(tmp_path / "grpo", **overrides)), rows(),
                        processing_class=tiny_tokenizer(), peft_config=lora())  # fmt: skip
    plain.train()
    expert = Expert("math", rows(), letter_reward)
    trainer = build_trainer(tmp_path / "copd", [expert], topology="mutual", opd_steps=0, **overrides)
    trainer.train()
    (theirs,), (ours,) = history(plain), history(trainer)
    assert {key: ours[key] for key in theirs} == theirs
    assert ours["math/reward"] == ours["reward"]
    several = build_trainer(tmp_path / "two", topology="mutual", opd_steps=0, max_steps=1)
    several.train()
    assert "entropy" not in history(several)[0] and "math/entropy" in history(several)[0]
