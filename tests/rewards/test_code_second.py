# ruff: noqa: E501  # a program a line: folded, the tables could not be read
"""
Attacks of a second tester, each beside an honest submission that the same tests accept: names, answers without elements,
NaN by way of libraries, objects that show two contents, exceptions, leaving early. A level grades a table at once.
"""

import dataclasses
import json
import textwrap
from pathlib import Path

import pytest

from trl_copd.rewards.code import CodeReward
from trl_copd.rewards.code.preambles import LEETCODE
from trl_copd.rewards.sandbox import available_level
from trl_copd.rewards.sandbox._paths import python_paths


pytestmark = pytest.mark.skipif(available_level() == "rlimit", reason="this host confines nothing")
LEVELS = [level for level in ("full", "landlock") if available_level() in ("full", level)]
TABLES = json.loads((Path(__file__).parent / "cases" / "code_second.json").read_text(encoding="utf-8"))
FAST = LEVELS[:1] + [pytest.param(level, marks=pytest.mark.slow) for level in LEVELS[1:]]


def grades(level, codes, tests, **options):
    reward = CodeReward(level=level, cpu_seconds=1.0, memory_mib=512, **options)
    reward.execution = dataclasses.replace(reward.execution, idle_seconds=1.0)
    tests = [{"kind": "assert", "code": test} if isinstance(test, str) else test for test in tests]
    completions = [f"```python\n{textwrap.dedent(code)}\n```" for code in codes]
    return reward(prompts=["?"] * len(codes), completions=completions, tests=tests)


def wrong(level, table):
    """Rows whose attack is not refused, or whose honest submission is."""
    names, attacks, tests, honest = zip(*table, strict=True)
    found = zip(names, grades(level, attacks, tests), grades(level, honest, tests), strict=True)
    return [(name, attack, right) for name, attack, right in found if (attack, right) != (0.0, 1.0)]


# Accepted, or unreadable, before: pairs with an empty answer, ufuncs on plain lists, NaN through `math`, text and `json`
@pytest.mark.parametrize("level", FAST)
def test_mended(level):
    pytest.importorskip("numpy")
    assert wrong(level, TABLES["mended"]) == []


# Refused before as well
@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_others(level):
    pytest.importorskip("numpy")
    assert wrong(level, TABLES["others"]) == []


# What a function may return that no test expects: given to another function of the submission it must not end without a grade
@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_values_that_cannot_be_handed_back(level):
    modules = "types, enum, weakref, collections, threading, io, sys, typing, functools, array, re, uuid, pathlib, struct, datetime"
    codes = [
        f"import {modules}\nclass X: pass\ndef f(x): return {value}\ndef g(x): return 1" for value in TABLES["values"]
    ]
    found = dict(zip(TABLES["values"], grades(level, codes, ["assert g(f(2)) == 4"] * len(codes)), strict=True))
    assert {value: grade for value, grade in found.items() if grade != 0.0} == {}


# Leaving early with partial credit: the tests that pass, of all that there are
@pytest.mark.parametrize("level", FAST)
def test_leaving_early(level):
    names, codes, tests, shares = zip(*TABLES["early"], strict=True)
    found = grades(level, codes, tests, partial_credit=True)
    assert dict(zip(names, found, strict=True)) == pytest.approx(dict(zip(names, shares, strict=True)))


# Submissions have numpy wherever this interpreter has it, also where Landlock forbids to list the folder around it
@pytest.mark.parametrize("level", LEVELS)
def test_numpy_of_a_submission(level):
    pytest.importorskip("numpy")
    code = "import numpy as np\nfrom numpy.linalg import norm\ndef f(x): return norm(np.array([x, 0.0])) * x"
    assert grades(level, [code], ["assert f(2) == 4"]) == [1.0]


def test_packages_are_found_outside_of_site_packages(tmp_path, monkeypatch):
    (tmp_path / "a_package").mkdir()
    (tmp_path / "a_package" / "__init__.py").write_text("nine = 9")
    (tmp_path / "a_module.py").write_text("four = 4")
    monkeypatch.syspath_prepend(tmp_path)
    found = python_paths(("a_package", "a_module", "no_such_package"))
    assert found["packages"] == [str(tmp_path / "a_package"), str(tmp_path / "a_module.py")]


# A function of the tests that calls `check` is what runs it, whatever else the submission defines
def test_a_check_that_a_test_calls():
    tests = "def check(candidate):\n    assert candidate(2) == 4\ndef test_it():\n    check(f)"
    codes = ["def f(x): return g(x) * x\ndef g(x): return x", "def f(x): return g(x)\ndef g(x): return x"]
    assert grades(LEVELS[0], codes, [tests] * 2) == [1.0, 0.0]


# Honest programs as MBPP, LeetCode and contests ask for them, and a wrong one for each
@pytest.mark.slow
def test_honest_programs():
    pytest.importorskip("numpy")
    names, mutants, tests, right = zip(*TABLES["honest"], strict=True)
    found = zip(
        names, *(grades(LEVELS[0], codes, tests, preamble=LEETCODE) for codes in (mutants, right)), strict=True
    )
    assert [row for row in found if row[1:] != (0.0, 1.0)] == []
