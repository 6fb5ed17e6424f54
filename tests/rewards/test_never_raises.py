"""No reference and no completion makes a reward raise: the batches of others are never lost to one row."""

import importlib.util
import json
import shutil
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trl_copd.rewards import (
    ChoiceReward,
    InstructionReward,
    Verdict,
    VerifierReward,
    choice_reward,
    code_reward,
    coq_reward,
    exact_match_reward,
    json_reward,
    lean_reward,
    math_reward,
    sql_reward,
)
from trl_copd.rewards.gym import GymReward
from trl_copd.rewards.gym.graders import TASKS
from trl_copd.rewards.instructions.reward import KINDS, PACKAGES


def deep(levels):
    value = []
    for _ in range(levels):
        value = {"a": [value]}
    return value


def as_json(value):
    try:
        return json.dumps(value, default=str)
    except (RecursionError, ValueError, TypeError):
        return "{"


# What no JSON holds, no pickle carries, no repr shows, or no reader's stack bears
NASTY = [
    deep(100_000), "[" * 200_000, '{"a":' * 100_000, 10**5000, -(10**5000), float("nan"), float("inf"), b"\xff",
    threading.Lock(), lambda: 0, object(), {1: 2}, {"a": {1, 2}}, "\ud800", "\x00", [None], {}, [], "", True, 1j,
    {"$schema": []}, '{"$schema": 5}', {"$ref": "#/x", "x": 5}, "\\frac{1" * 2_000, "9" * 20_000,
    "{" * 20_000, range(3),
    {"kind": "assert", "code": "[" * 200_000}, {"kind": "stdio", "cases": [{"input": 5}]}, {"kind": []}, "[" * 100_000,
    {"kind": "assert", "code": "assert f(1) == \ud800"}, {"kind": "assert", "code": 10**5000}, type, Verdict,
    '{"task": "gcd", "answer": 5}', '{"task": "countdown", "answer": null, "numbers": 5, "target": []}',
    '{"task": [], "answer": "1"}', '{"task": "jugs", "answer": "[]", "puzzle": 3}',
]  # fmt: skip
ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
    st.integers(0, len(NASTY) - 1).map(lambda index: NASTY[index]),  # not sampled from: some of them have no repr
    st.text("0123456789\\{}()[]$^_,.+-*/=<>abfrac\"'", max_size=40),
)  # fmt: skip
VALUES = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
SCHEMA_WORDS = (
    "$schema $ref $id id type properties patternProperties items required format pattern const enum not anyOf extends "
    "disallow divisibleBy multipleOf minLength maximum dependencies $defs additionalProperties $dynamicRef"
).split()
SCHEMAS = st.recursive(
    ATOMS | st.sampled_from(["#", "#/$defs/a", "string", "(", "http://json-schema.org/draft-03/schema#", 0, 1.5]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*SCHEMA_WORDS, "a"]), inner, max_size=4)
    ),
    max_leaves=10,
)
ENTRIES = st.builds(
    lambda task, fields: json.dumps({"task": task, **fields}, default=str),
    st.sampled_from(sorted(TASKS)),
    st.fixed_dictionaries({"answer": st.text(max_size=8) | st.none() | st.integers()}).flatmap(
        lambda fields: st.dictionaries(
            st.sampled_from(sorted({need for task in TASKS.values() for need in task.needs})),
            st.recursive(st.none() | st.integers(-5, 5) | st.text(max_size=5), st.lists, max_leaves=5),
        ).map(lambda more: {**more, **fields})
    ),
)
TESTS = st.fixed_dictionaries(
    {"kind": st.sampled_from(["assert", "stdio", 3])},
    optional={
        "code": ATOMS,
        "cases": VALUES,
        "entry_point": ATOMS,
        "preamble": ATOMS,
        "input": ATOMS,
        "output": ATOMS,
    },
)
TEXTS = st.one_of(
    st.text(),
    st.text("0123456789\\{}()[]$^_,.+-*/=<>abfrac\"' \n", max_size=60),
    st.text(st.characters(), max_size=20).map(lambda text: f"\\boxed{{{text}}}"),
    st.text(max_size=30).map(lambda text: f"```python\n{text}\n```"),
    st.sampled_from(["\ud800", "```python\nx = '\ud800'\n```", "```json\n\"\\ud800\"\n```", "SELECT '\ud800'", "\x00",
                     "[" * 99_000, "\\boxed{" + "(" * 5_000 + "}", "<answer>" + "(" * 9_000 + "</answer>", "<think>",
                     "SELECT " + "(" * 5_000, "{" * 50_000, "\\boxed{" + "9" * 6_000 + "}", "```", "-" * 50_000]),
)  # fmt: skip
MESSAGES = st.lists(
    st.dictionaries(st.sampled_from(["role", "content", "x"]), VALUES | st.lists(
        st.fixed_dictionaries({}, optional={"type": ATOMS, "text": ATOMS}) | ATOMS, max_size=3), max_size=3),
    max_size=2,
)  # fmt: skip
COMPLETIONS = TEXTS | MESSAGES

INSTRUCTIONS = st.lists(
    st.fixed_dictionaries(
        {"id": st.sampled_from([*sorted(KINDS), "no:such"])},
        optional={"arguments": VALUES | st.dictionaries(
            st.sampled_from(sorted({name for kind in KINDS.values() for name in kind.arguments})), VALUES)},
    ),
    max_size=3,
)  # fmt: skip
REWARDS = {
    "math": (math_reward, {"solution": VALUES}),
    "exact": (exact_match_reward, {"solution": VALUES}),
    "choice": (choice_reward, {"solution": VALUES}),
    "choices": (ChoiceReward(multiple=True), {"solution": VALUES}),
    "json": (json_reward, {"schema": SCHEMAS | SCHEMAS.map(as_json)
                           | VALUES}),
    "instructions": (None, {"instructions": INSTRUCTIONS | VALUES}),
    "sql": (sql_reward, {"solution": VALUES, "database": VALUES}),
    "gym": (GymReward(), {"entry": ENTRIES | VALUES}),
    "code": (code_reward, {"tests": TESTS | VALUES}),
    "coq": (coq_reward, {"statement": VALUES, "preamble": VALUES}),
    "lean": (lean_reward, {"statement": VALUES, "preamble": VALUES}),
}  # fmt: skip
EXAMPLES = {"exact": 200, "choice": 200, "choices": 200, "coq": 15, "lean": 15}


def missing(name):
    if name == "coq":
        return not (shutil.which("coqc") or shutil.which("rocq"))
    if name == "lean":
        return not shutil.which("lean")
    if name == "instructions":
        return any(importlib.util.find_spec(package) is None for package in PACKAGES)
    return False


def grades(reward, completions, **columns):
    found = reward(prompts=[""] * len(completions), completions=completions, **columns)
    assert all(grade is None or grade in (0.0, 1.0) for grade in found)
    return found


@pytest.mark.parametrize("name", REWARDS)
def test_no_row_raises(name):
    if missing(name):
        pytest.skip(f"{name} is not installed")
    reward, columns = REWARDS[name]
    reward = reward or InstructionReward()
    names = sorted(columns)

    @settings(max_examples=EXAMPLES.get(name, 40), derandomize=True, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.tuples(*(columns[column] for column in names)), COMPLETIONS)
    def check(values, completion):
        grades(reward, [completion], **{column: [value] for column, value in zip(names, values, strict=True)})

    check()


# Each nasty reference by itself, beside a row that can be graded and keeps its grade
HONEST = {
    "math": (r"\boxed{5}", {"solution": "5"}),
    "exact": ("5", {"solution": "5"}),
    "choice": ("B", {"solution": "B"}),
    "choices": ("B", {"solution": "B"}),
    "json": ("5", {"schema": {"type": "integer"}}),
    "sql": ("SELECT 5", {"solution": "SELECT 5", "database": "CREATE TABLE a(b);"}),
    "gym": ("6", {"entry": '{"task": "gcd", "answer": "6"}'}),
    "code": ("```python\ndef f(x):\n    return x\n```", {"tests": {"kind": "assert", "code": "assert f(1) == 1"}}),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_rows_beside_nasty_references(name):
    reward, _ = REWARDS[name]
    text, columns = HONEST[name]
    rows = {
        column: [value, *(nasty if column == min(columns) else value for nasty in NASTY), value]
        for column, value in columns.items()
    }
    found = grades(reward, [text] * (len(NASTY) + 2), **rows)
    assert (found[0], found[-1]) == (1.0, 1.0)
    assert 1.0 not in found[1:-1]


@pytest.mark.parametrize("name", HONEST)
def test_nasty_completions_beside_honest_rows(name):
    reward, _ = REWARDS[name]
    text, columns = HONEST[name]
    nasty = ["\ud800", "\x00", "[" * 99_000, "```python\nx = '\ud800'\n```", "```json\n\"\ud800\"\n```",
    "\\boxed{\ud800}",
             "<answer>\ud800</answer>", [{"content": 5}], [{"content": [5, {"text": 5}, {"type": []}]}],
             [{"role": []}],
             [{"content": {"text": "5"}}], [{"content": [None]}], "\\boxed{" + "9" * 6_000 + "}"]  # fmt: skip
    completions = [text, *nasty, text]
    found = grades(reward, completions, **{column: [value] * len(completions) for column, value in columns.items()})
    assert found == [1.0, *[0.0] * len(nasty), 1.0]


# ---- the guard of the adapter ----


class Brittle(VerifierReward):
    contained = True

    def __init__(self):
        super().__init__(brittle, name="brittle")


def brittle(completion, solution):
    if solution == "bad":
        raise KeyError("reference")
    if completion == "bad":
        raise ZeroDivisionError("completion")
    if completion == "disk":
        raise OSError("no space left on device")
    return Verdict(completion == solution, "")


# Whose fault it is: the reference's if it raises for an empty completion as well
def test_a_contained_reward_blames_the_reference_or_the_completion(caplog):
    reward = Brittle()
    assert grades(reward, ["a", "a", "bad", "b"], solution=["a", "bad", "a", "a"]) == [1.0, None, 0.0, 0.0]
    assert grades(reward, ["bad", "bad"], solution=["bad", "a"]) == [None, 0.0]
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert any("unreadable reference 'bad' (grading by it raises KeyError" in message for message in messages)
    assert any("a completion made the verifier raise" in message for message in messages)


# What is the machine's fault must not become a grade
def test_errors_of_the_machine_surface():
    with pytest.raises(OSError, match="no space"):
        grades(Brittle(), ["disk"], solution=["a"])
    with pytest.raises(KeyError):
        grades(VerifierReward(brittle), ["a"], solution=["bad"])
