"""`reasoning_gym_expert`: rows, splits, grading in workers, options, errors, stated answers."""

import subprocess
import sys

import pytest


reasoning_gym = pytest.importorskip("reasoning_gym")

from trl_copd.gym import reasoning_gym_expert  # noqa: E402
from trl_copd.rewards.gym.reward import (  # noqa: E402
    EVAL_BUCKETS,
    TRAIN_BUCKETS,
    GymReward,
    check_task,
    gym_rows,
    stated_answer,
)


# These take seconds a row to generate in some sizes
class TestExpert:
    def test_rows(self):
        expert = reasoning_gym_expert(
            "chain_sum", size=30, eval_size=10, seed=3, options={"max_terms": 3}, system_prompt="S"
        )
        assert expert.name == "chain_sum" and len(expert.train_dataset) == 30
        row = expert.eval_datasets["chain_sum"][0]
        assert [message["role"] for message in row["prompt"]] == ["system", "user"]
        assert row["prompt"][0]["content"] == "S" and row["prompt"][1]["content"].endswith("<answer> and </answer>.")
        assert expert.required_columns == {"chain_sum_reward": {"entry"}}
        again = reasoning_gym_expert(
            "chain_sum", size=30, eval_size=10, seed=3, options={"max_terms": 3}, system_prompt="S"
        )
        assert again.train_dataset.to_list() == expert.train_dataset.to_list()

    # A held-out question is never trained on, whatever the seeds and sizes
    def test_splits_never_meet(self):
        train = {row["prompt"] for seed in range(3) for row in gym_rows("gcd", 200, TRAIN_BUCKETS, seed)}
        held_out = {row["prompt"] for seed in range(3) for row in gym_rows("gcd", 50, EVAL_BUCKETS, seed)}
        assert len(train) > 200 and held_out and not train & held_out
        assert len({row["prompt"] for row in gym_rows("gcd", 200, TRAIN_BUCKETS, 0)}) == 200

    def test_reward_in_workers(self):
        expert = reasoning_gym_expert("countdown", size=6, eval_size=0)
        rows = expert.train_dataset
        completions = [f"<answer>{text}</answer>" for text in rows["solution"]]
        completions[1:3] = ["<answer>1+1</answer>", "<answer>1+"]
        reward = expert.reward_funcs[0]
        assert reward(rows["prompt"], completions, entry=rows["entry"]) == [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]
        assert expert.eval_dataset is None

    def test_further_rewards_and_options(self):
        def short(completions, **columns):
            return [0.0] * len(completions)

        expert = reasoning_gym_expert(
            "gcd",
            4,
            2,
            expert_name="g",
            instruction=None,
            reward_funcs=short,
            reward_weights=[1.0, 0.1],
            learning_rate=1e-5,
        )
        assert isinstance(expert.reward_funcs[0], GymReward) and expert.reward_funcs[1] is short
        assert (expert.name, expert.learning_rate, expert.reward_weights) == ("g", 1e-5, [1.0, 0.1])
        assert "<answer>" not in expert.train_dataset[0]["prompt"][0]["content"]

    # What cannot be built says why: a container of tasks, an unknown one, too few questions
    def test_errors(self):
        with pytest.raises(ValueError, match="composite.*interleave_datasets"):
            reasoning_gym_expert("composite")
        with pytest.raises(ValueError, match="no task 'sums'.*chain_sum"):
            reasoning_gym_expert("sums")
        with pytest.raises(ValueError, match="distinct questions.*not 5000"):
            reasoning_gym_expert("coin_flip", size=5000)
        for options in ({"max_term": 3}, {"min_terms": 0}):
            with pytest.raises(ValueError, match="Expert 'sums': 'chain_sum' cannot be generated with options {'m"):
                reasoning_gym_expert("chain_sum", 4, 2, options=options, expert_name="sums")

    def test_a_newer_task_is_refused(self, monkeypatch):
        monkeypatch.setitem(reasoning_gym.factory.DATASETS, "tomorrow", reasoning_gym.factory.DATASETS["gcd"])
        with pytest.raises(ValueError, match="newer than this package"):
            check_task("tomorrow")

    # The last closed tag counts; without any, the text is the answer and nothing else may stand beside it
    @pytest.mark.parametrize(
        "completion, answer",
        [
            ("<answer>7</answer>", "7"), ("<answer>6</answer> no: <answer> 7 </answer>.", "7"), ("7", "7"),
            ("<think><answer>6</answer></think>7", "7"), ("<think>6</think><answer>7</answer>", "7"),
            ("<answer>7</answer> and <answer>8", "7"), ("<answer>7", None), ("<think>7", None),
        ],
    )  # fmt: skip
    def test_stated_answer(self, completion, answer):
        assert stated_answer(completion) == answer


def test_import_is_light():
    script = (
        "import sys, trl_copd.rewards.gym; "
        "print([m for m in ('torch', 'trl', 'datasets', 'reasoning_gym', 'sympy') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "torch" not in run.stdout and "reasoning_gym" not in run.stdout and "datasets" not in run.stdout, run.stdout
