# ruff: noqa: E501  # a program a line: folded, the tables could not be read
"""
Assertions that an empty answer passes because they never run, and names that tests read before they bind them. A table is
graded at once; the honest submission of a row must pass the same tests.
"""

import pytest

from trl_copd.rewards.code import CodeReward
from trl_copd.rewards.sandbox import available_level


pytestmark = pytest.mark.skipif(available_level() == "rlimit", reason="this host confines nothing")
SQUARES = "def f(n): return [i * i for i in range(n)]"
POSITIVE = "def f(a): return [x for x in a if x > 0]"
SQUARE = "def f(x): return x * x"


def grades(rows):
    """Rewards of pairs of a submission and tests, in one batch."""
    completions = [f"```python\n{code}\n```" for code, _ in rows]
    tests = [{"kind": "assert", "code": test} for _, test in rows]
    return CodeReward()(prompts=["?"] * len(rows), completions=completions, tests=tests)


def constant(answer):
    return f"def f(*args): return {answer}"


# Tests, the honest submission, and an empty answer that passed them
VACUOUS = [
    ("for k, v in f(3).items(): assert v == k * k\nassert isinstance(f(3), dict)", "def f(n): return {i: i * i for i in range(n)}", constant("{}")),
    ("def check(candidate):\n    for v in candidate(3): assert v in (0, 1, 4)", SQUARES, constant("()")),
    ("assert f(0) == []\nassert all(v in (0, 1, 4) for v in f(3))", SQUARES, constant("[]")),
    ("assert all(map(lambda v: v >= 0, f(3)))", SQUARES, constant("[]")), ("assert not any(v < 0 for v in f(3))", SQUARES, constant("[]")),
    ("assert all(v >= 0 for row in f(2) for v in row)", "def f(n): return [[1], [2]]", constant("[[], []]")),
    ("assert all(all(v >= 0 for v in row) for row in f(2))", "def f(n): return [[1], [2]]", constant("[[], []]")),
    ("for row in f(2):\n    for v in row: assert v > 0", "def f(n): return [[1], [2]]", constant("[[], []]")),
    ("def fine(r):\n    for v in r:\n        if v < 0: return False\n    return True\nassert fine(f(3))", SQUARES, constant("[]")),
    ("def fine(r): return all(v >= 0 for v in r)\nok = fine(f(3))\nassert ok", SQUARES, constant("[]")),
    ("import unittest\nclass T(unittest.TestCase):\n    def setUp(self): self.r = f(3)\n    def test(self):\n        for v in self.r: self.assertGreaterEqual(v, 0)", SQUARES, constant("[]")),
    ("import pytest\n@pytest.mark.parametrize('n', [3, 4])\ndef test_f(n):\n    for v in f(n): assert v >= 0", SQUARES, constant("[]")),
    ("r = f(3)\nwhile r: assert r.pop() >= 0", SQUARES, constant("[]")), ("r = f(3)\nfor i in range(len(r)): assert r[i] == i * i", SQUARES, constant("[]")),
    ("bad = [v for v in f(3) if v < 0]\nassert not bad", SQUARES, constant("[]")), ("ok = True\nfor v in f(3):\n    if v < 0: ok = False\nassert ok", SQUARES, constant("[]")),
    ("for v in f(3): assert v >= 0", "def f(n): yield from range(n)", "def f(n):\n    return\n    yield"),
    ("a = [3, 1]\nf(a)\nfor x, y in zip(a, a[1:]): assert x <= y", "def f(a): a.sort()", "def f(a): a.clear()"),
    ("assert sum(v < 0 for v in f(3)) == 0", SQUARES, constant("[]")), ("r = f(3)\nif r:\n    assert r[0] == 0", SQUARES, constant("[]")),
    ("import asyncio\nasync def main():\n    for v in await f(3): assert v < 3\nasyncio.run(main())\nassert True", "async def f(n): return list(range(n))", "async def f(n): return []"),
    ("n, want = build([1, 2]), 1\nwhile n:\n    assert n.v == want\n    want, n = want + 1, n.next", "class N:\n    def __init__(self, v, next): self.v, self.next = v, next\ndef build(a):\n    n = None\n    for x in reversed(a): n = N(x, n)\n    return n", "def build(a): return None"),
    ("t = Tree()\nt.add(3)\nfor v in t.walk(): assert v == 3", "class Tree:\n    def __init__(self): self.a = []\n    def add(self, v): self.a.append(v)\n    def walk(self): return self.a", "class Tree:\n    def add(self, v): pass\n    def walk(self): return []"),
    ("assert g(2) == 4\nfor v in f(3): assert v >= 0", SQUARES + "\ndef g(x): return x * x", constant("[]") + "\ndef g(x): return x * x"),
    ("r = f(3)\nassert r == sorted(r) and len(r) == len(set(r))", SQUARES, constant("[]")), ("assert set(f(3)) <= {0, 1, 4}", SQUARES, constant("[]")),
    ("assert f(2) in 'abc'", constant("'b'"), constant("''")), ("assert 'abc'.startswith(f(2))", constant("'a'"), constant("''")), ("assert not set(f(3)) - {0, 1, 4}", SQUARES, constant("[]")),
]  # fmt: skip

# Where the right answer is empty, where something else is asserted, and loops of the tests' own
HONEST = [
    (POSITIVE, "assert f([-1]) == []\nassert all(x > 0 for x in f([-1]))"), (POSITIVE, "r = f([-1])\nassert not r\nfor x in r: assert x > 0"), (POSITIVE, "for x in f([]): assert x > 0"),
    (POSITIVE, "a = []\nassert not any(x < 0 for x in f(a))"), (POSITIVE, "assert f([1, -1]) == [1]\nfor x in f([-5]): assert x > 0"), (POSITIVE, "for x in f([-1]): raise AssertionError(x)"),
    (POSITIVE, "for data, want in [([-1], []), ([-2], [])]:\n    r = f(data)\n    assert r == want\n    assert all(x > 0 for x in r)"),
    (POSITIVE, "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        r = f([-2])\n        self.assertEqual(len(r), 0)\n        self.assertTrue(all(x > 0 for x in r))"),
    (POSITIVE, "r = f([-1])\nassert isinstance(r, list)\nassert r == []"), ("def f(a): return sorted(a)", "def ordered(a): return all(a[i] <= a[i + 1] for i in range(len(a) - 1))\nassert ordered(f([1])) and ordered(f([]))"),
    ("def f(a): a.sort()", "a = [3, 1]\nf(a)\ndef report(): raise AssertionError\nif a != [1, 3]: report()"), ("def f(a): a.sort()", "a = [3, 1]\nf(a)\nassert sum(x != y for x, y in zip(a, [1, 3])) == 0"),
    (SQUARE, "for i in range(3):\n    for j in []: assert f(j) == 1\n    assert f(i) == i * i"), (SQUARE, "assert all(f(x) == y for x, y in [(2, 4)]) and any(f(x) == 4 for x in (2, 3))"),
    (SQUARES, "assert [v for v in f(3) if v] == [1, 4] and all(any(v == w for w in f(3)) for v in (0, 1))"), ("def f(s): return ''", "assert f('x') == '' and isinstance(f('x'), str)"),
]  # fmt: skip


def test_vacuous():
    rows = [(honest, tests) for tests, honest, _ in VACUOUS] + [(attack, tests) for tests, _, attack in VACUOUS]
    found = grades(rows + HONEST)
    expected = [1.0] * len(VACUOUS) + [0.0] * len(VACUOUS) + [1.0] * len(HONEST)
    assert [
        (row, grade) for row, grade, right in zip(rows + HONEST, found, expected, strict=True) if grade != right
    ] == []


# Each reads `f` before it has an `f` of its own, or in a scope of its own
SCOPES = [
    "class A:\n    f = staticmethod(f)\nassert A.f(2) == 4", "def make():\n    class A:\n        f = staticmethod(f)\n    return A\nassert make().f(2) == 4",
    "class TestF:\n    f = staticmethod(f)\n    def test(self): assert self.f(2) == 4", "class Base:\n    def test(self): assert self.g(2) == 4\nclass TestF(Base):\n    g = staticmethod(f)",
    "f = (lambda g: lambda x: g(x))(f)\nassert f(2) == 4", "from functools import lru_cache\nf = lru_cache(None)(f)\ndef test(): assert f(2) == 4", "old = f\ndef f(x): return old(x)\nassert f(2) == 4",
    "for n, f in [(2, f)]: assert f(n) == 4", "assert (f := f)(2) == 4", "g = f\ndel f\nassert g(2) == 4", "import contextlib\nwith contextlib.nullcontext(f) as f: assert f(2) == 4",
    "try:\n    f\nexcept NameError:\n    f = None\nassert f(2) == 4", "@(lambda g: f(2))\ndef value(): pass\nassert value == 4", "assert eval('f(2)') == 4", "def test(): assert globals()['f'](2) == 4",
    "from dataclasses import dataclass\n@dataclass\nclass C:\n    f: object = f\nassert C().f(2) == 4",
    # what is bound before it is read, or in another round, is the tests' own
    "from solution import f\nfor i in (1, 2):\n    if i == 2: assert before == 1\n    before = f(i)", "from solution import f\ntry:\n    unicode\nexcept NameError:\n    unicode = str\nassert unicode(f(2)) == '4'",
    "from solution import f\nassert (y := f(2)) and y == 4", "from solution import f\nmatch [f(2), 1]:\n    case [a, b]: assert a == 4", "from __future__ import annotations\nfrom solution import f\nclass Node:\n    next: Node = None\nassert f(2) == 4",
]  # fmt: skip


def test_scopes():
    found = grades(
        [(code, tests) for tests in SCOPES for code in (SQUARE, "def f(x): return 3", "def other(x): return x * x")]
    )
    triples = zip(SCOPES, *(found[start::3] for start in range(3)), strict=True)
    assert [(tests, *rest) for tests, *rest in triples if rest != [1.0, 0.0, 0.0]] == []


def test_methods_and_bases():
    method = "class A:\n    f = f\nassert A().f(2) == 4"
    derived = "class A(B): pass\nassert A().f(2) == 4"
    rows = [
        ("def f(self, x): return x * x", method),
        (SQUARE, method),
        ("class B: f = 1", derived),
        ("class B(Exception): pass", derived),
    ]
    assert grades(rows) == [1.0, 0.0, None, None]
