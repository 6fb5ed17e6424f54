"""Rows of every kind whose grades are known: math, choice, JSON, SQL, code and reasoning-gym tasks."""

import itertools
import json

from trl_copd.rewards.choice import choice_reward
from trl_copd.rewards.code import CodeReward
from trl_copd.rewards.gym import GymReward, gym_rows
from trl_copd.rewards.json_schema import json_reward
from trl_copd.rewards.math import math_reward
from trl_copd.rewards.sql import sql_reward


_code_reward = CodeReward()
_gym_reward = GymReward()


def REWARDS():
    return {
        "math": math_reward, "choice": choice_reward, "json": json_reward, "sql": sql_reward, "code": _code_reward,
        "gym": _gym_reward,
    }  # fmt: skip


def row(kind, completion, grade, **columns):
    return {"kind": kind, "completion": completion, "grade": grade, "columns": columns}


def math_cases(i):
    yield row("math", rf"\boxed{{{i}}}", 1.0, solution=str(i))
    yield row("math", rf"\boxed{{\frac{{{2 * i}}}{{4}}}}", 1.0, solution=rf"\frac{{{i}}}{{2}}")
    yield row("math", rf"\boxed{{{i} \text{{ or }} {i + 1}}}", 0.0, solution=str(i))
    yield row("math", rf"\boxed{{\sqrt{{{i}}}+\sqrt{{{i}}}}}", 1.0, solution=rf"2\sqrt{{{i}}}")
    yield row("math", rf"\boxed{{{i + 1}^{{{i + 1}^{{{i + 1}^{{99}}}}}}}}", 0.0, solution=str(i))
    yield row("math", rf"\boxed{{{i}}}", None, solution="")


def choice_cases(i):
    letter, other = "ABCDE"[i % 5], "ABCDE"[(i + 1) % 5]
    yield row("choice", f"Case {i}. Answer: {letter}", 1.0, solution=letter)
    yield row("choice", f"Case {i}. Answer: {letter} or {other}", 0.0, solution=letter)


def json_cases(i):
    schema = json.dumps({"type": "array", "items": {"const": i}, "minItems": 1})
    slow = json.dumps({"type": "string", "pattern": "^([a-z]+)+$", "minLength": i})
    yield row("json", f"[{i}]", 1.0, schema=schema)
    yield row("json", f"[{i}, {i + 1}]", 0.0, schema=schema)
    # now and then one that backtracks until its CPU time is over, which load must not change
    text, grade = ("a" * 40 + "!", 0.0) if i % 25 == 0 else ("a" * (i + 5), 1.0)
    yield row("json", f'"{text}"', grade, schema=slow)


def sql_cases(i):
    columns = {"solution": "SELECT sum(x) FROM t", "database": f"CREATE TABLE t(x); INSERT INTO t VALUES ({i}), (2);"}
    yield row("sql", "SELECT x + 2 FROM t LIMIT 1", 1.0, **columns)
    yield row("sql", "DROP TABLE t", 0.0, **columns)
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    yield row("sql", endless if i % 10 == 0 else "SELECT 0", 0.0, **columns)


def code_cases(i):
    tests = {"kind": "assert", "code": f"assert add({i}, 3) == {i + 3}"}
    yield row("code", "```python\ndef add(a, b):\n    return a + b\n```", 1.0, tests=tests)
    yield row("code", f"```python\ndef add(a, b):\n    return {i}\n```", 0.0, tests=tests)


def gym_cases():
    for task in ("countdown", "chain_sum", "graph_color", "simple_integration", "tower_of_hanoi"):
        for entry in gym_rows(task, 16, range(100), seed=5):
            yield row("gym", f"<answer>{entry['solution']}</answer>", 1.0, entry=entry["entry"])
            yield row("gym", "<answer>no</answer>", 0.0, entry=entry["entry"])


def mixed_rows(count):
    """`count` rows, the kinds in turn; the same ones each time."""
    families = [math_cases, choice_cases, json_cases, sql_cases, code_cases]
    streams = [itertools.chain.from_iterable(map(family, itertools.count(1))) for family in families]
    streams.append(itertools.cycle(list(gym_cases())))
    return [next(stream) for stream in itertools.islice(itertools.cycle(streams), count)]
