"""The benchmark of a round's cost runs, and its parts are those of a round."""

import pytest

from benchmarks import round_cost
from trl_copd.recipes.demo_base import build_base


@pytest.fixture(scope="module")
def untaught(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    build_base(folder, seed=0, steps=0)
    return str(folder)


def test_a_round_is_divided_into_its_parts(untaught, monkeypatch):
    monkeypatch.setitem(round_cost.BASES["demo"], "prompts", 2)
    found = round_cost.round_ratios("demo", untaught, 1, 4, [2])
    shares = found["round_shares"]["2"]
    assert set(shares) == set(round_cost.PARTS) and all(0.0 < share < 1.0 for share in shares.values())
    assert sum(shares.values()) == pytest.approx(1.0, abs=0.01)
    seconds = found["seconds"]
    assert found["round_ratio"]["2"] == pytest.approx(seconds["2"]["cpu"] / (2 * seconds["grpo"]["cpu"]), rel=0.05)


def test_one_expert_against_grpo(untaught, monkeypatch):
    monkeypatch.setitem(round_cost.BASES["demo"], "prompts", 2)
    found = round_cost.k1_ratio("demo", untaught, 1)
    assert set(found) == {"k1_ratio", "k1_ratio_shared"} and min(found.values()) > 0.1


def test_prompts_are_made_long_by_worked_examples():
    class Words:
        def apply_chat_template(self, messages, add_generation_prompt):
            return {"input_ids": messages[0]["content"].split()}

    rows = [{"prompt": [{"role": "user", "content": f"what is {i} ?"}], "solution": str(i)} for i in range(3)]
    (message,) = round_cost.with_examples(rows, Words(), 12, rows[2])["prompt"]
    assert message == {"role": "user", "content": "what is 0 ?\n0\n\nwhat is 1 ?\n1\n\nwhat is 2 ?"}
    assert round_cost.with_examples(rows, Words(), 4, rows[2])["prompt"] == rows[2]["prompt"]
