"""Programs as completions, graded as TRL would have them graded."""

import json
import textwrap

import pytest

from trl_copd.rewards.code import code_reward


def block(code):
    return f"Here it is.\n```python\n{textwrap.dedent(code).strip()}\n```"


def grade(code, tests, reward=code_reward):
    """One row through the reward, as TRL would call it; `tests` is test code, cases, or the whole column's value."""
    if isinstance(tests, str):
        tests = {"kind": "assert", "code": textwrap.dedent(tests)}
    elif isinstance(tests, list):
        tests = {"kind": "stdio", "cases": [{"input": data, "output": output} for data, output in tests]}
    return reward(prompts=["?"], completions=[block(code)], tests=[json.dumps(tests)])[0]


def verdict(code, tests, reward=code_reward):
    return reward.verify(block(code), {"kind": "assert", "code": textwrap.dedent(tests)})


ADD = "def add(a, b):\n    return a + b"


def cases(*rows):
    return [row if hasattr(row, "marks") else pytest.param(*row[1:], id=row[0]) for row in rows]
