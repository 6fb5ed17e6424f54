"""The recipes of docs/rewards/own.md for Prime Intellect's `verifiers`, scored by that package itself."""

import asyncio
import re
from pathlib import Path

import pytest


vf = pytest.importorskip("verifiers.v1")
OWN = Path(__file__).resolve().parents[2] / "docs" / "rewards" / "own.md"


@pytest.fixture(scope="module")
def recipe():
    section = OWN.read_text(encoding="utf-8").partition("## Together with Prime Intellect's `verifiers`")[2]
    assert section, "the section has another name"
    names: dict = {"__name__": "recipe"}
    for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        if not block.startswith(">>>"):
            exec(compile(block, str(OWN), "exec"), names)
    return names


def trace_of(task, reply):
    return vf.Trace.model_construct(task=task.data, root_reply=reply, rewards={}, metrics={})


# Ours as a reward there: right, wrong, no answer; a reference that cannot be read leaves the rollout without it
@pytest.mark.parametrize(
    "answer, reply, rewards",
    [("5", r"So \boxed{5}.", {"correct": 1.0}), ("5", r"\boxed{6}", {"correct": 0.0}), ("5", "", {"correct": 0.0}),
     (r"\frac12", r"\boxed{0.5}", {"correct": 1.0}), ("", r"\boxed{5}", {}), (r"\triangle ABC", r"\boxed{5}", {})],
)  # fmt: skip
def test_ours_in_a_task_of_theirs(recipe, answer, reply, rewards):
    task = recipe["SumTask"](recipe["SumData"](prompt="2 + 3?", answer=answer), vf.TaskConfig())
    trace = trace_of(task, reply)
    asyncio.run(task.score(trace))
    assert {name: reward.value for name, reward in trace.rewards.items()} == rewards


# Theirs as a reward here, for texts and for messages
def test_theirs_as_a_reward_here(recipe):
    answers, replies = ["5", "5", ""], [r"\boxed{5}", r"\boxed{6}", "5"]
    messages = [[{"role": "assistant", "content": reply}] for reply in replies]
    for completions in (replies, messages):
        found = recipe["sum_reward"](prompts=["2 + 3?"] * 3, completions=completions, answer=answers)
        assert found == [1.0, 0.0, None]
