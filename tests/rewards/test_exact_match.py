"""`exact_match_reward` against hand-made rows."""

import pytest

from trl_copd.rewards import ExactMatchReward, exact_match_reward


def grade(reward, completion, solution):
    """One row through the reward, as TRL would call it."""
    return reward(prompts=["?"], completions=[completion], solution=[solution], completion_ids=[[1]])[0]


def cases(*rows):
    """Parameters with ids that show the row."""
    return [pytest.param(*row, id=" | ".join(str(value)[:40] for value in row)) for row in rows]


class TestExactMatch:
    # To the letter, except for what an option forgives
    @pytest.mark.parametrize(
        "options, completion, solution, reward",
        cases(
            ({}, "Paris", "Paris", 1.0),
            ({}, " Paris\n", "Paris", 1.0),
            ({}, "<think>Rome?</think>Paris", "Paris", 1.0),
            ({}, "<think>Paris", "Paris", 0.0),
            ({}, "<think>\nParis", "Paris", 0.0),
            ({}, "Paris.", "Paris", 0.0),
            ({}, "Paris or Rome", "Paris", 0.0),
            ({}, "paris", "Paris", 0.0),
            ({}, "", "Paris", 0.0),
            ({}, "7", 7, 1.0),
            ({}, "7.0", 7, 0.0),
            ({"strip": False}, "Paris ", "Paris", 0.0),
            ({"strip": False}, "Paris ", "Paris ", 1.0),
            ({"ignore_case": True}, "PARIS", "Paris", 1.0),
            ({"answer_pattern": r"Answer: ([A-D])\b"}, "Answer: A. No: Answer: B", "B", 1.0),
            ({"answer_pattern": r"Answer: ([A-D])\b"}, "Answer: A. No: Answer: B", "A", 0.0),
            ({"answer_pattern": r"Answer: ([A-D])\b"}, "Answer: ABCD", "A", 0.0),
            ({"answer_pattern": r"Answer: ([A-D])\b"}, "B", "B", 0.0),
            ({"answer_pattern": r"[A-D]$"}, "It is B", "B", 1.0),
        ),
    )
    def test_rewards(self, options, completion, solution, reward):
        assert grade(ExactMatchReward(**options), completion, solution) == reward

    # An empty reference would reward silence
    @pytest.mark.parametrize("solution", cases(("",), ("  ",), (True,), (0.5,), (["Paris"],)))
    def test_unreadable(self, solution):
        assert grade(exact_match_reward, "", solution) is None

    @pytest.mark.parametrize("pattern, message", cases(("(", "not a regular expression"), ("(a)(b)", "2 groups")))
    def test_bad_pattern(self, pattern, message):
        with pytest.raises(ValueError, match=message):
            ExactMatchReward(answer_pattern=pattern)
