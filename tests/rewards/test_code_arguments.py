# ruff: noqa: E501  # a program a line: folded, the tables could not be read
"""
What tests hand to a submission: keywords, objects with an identity of their own, and the same start for every submission.
"""

import random
import textwrap

import pytest

from trl_copd.rewards.code import CodeReward
from trl_copd.rewards.sandbox import available_level


pytestmark = pytest.mark.skipif(available_level() == "rlimit", reason="this host confines nothing")
REWARD = CodeReward()
PARTIAL = CodeReward(partial_credit=True)
SQUARE = "def f(x): return x * x"


def rows(*cases):
    return [pytest.param(*case[1:], id=case[0]) for case in cases]


def verify(code, tests, reward=REWARD):
    tests = {"kind": "assert", "code": textwrap.dedent(tests)} if isinstance(tests, str) else tests
    return reward.verify(f"```python\n{textwrap.dedent(code)}\n```", tests)


def passed(code, tests, reward=REWARD):
    return verify(code, tests, reward).passed


class TestArguments:
    # Names of keywords are the tests' to choose, whatever ours are called
    def test_keywords(self):
        ours = [
            "self",
            "x",
            "operation",
            "args",
            "kwargs",
            "function",
            "name",
            "value",
            "number",
            "remote",
            "runner",
            "proxy",
            "method",
            "test",
            "cls",
            "key",
            "link",
            "message",
            "request",
        ]
        draw = random.Random(18)
        drawn = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz_", k=draw.randint(1, 9))) + "_" for _ in range(40)]
        names = [*ours, *drawn, "é", "a b", "", "class", "__class__", "\ud800"]
        code = "def f(*args, **kwargs): return kwargs\nclass C:\n    def __init__(*args, **kwargs): args[0].k = kwargs\n    def __call__(*args, **kwargs): return kwargs\n    def m(*args, **kwargs): return kwargs\ndef back(g, names): return [g(**{n: 1}) for n in names]"
        tests = f"""
            for n in {names!r}:
                k = {{n: 1}}
                assert f(**k) == k and C(**k).k == k and C().m(**k) == k and C()(**k) == k, n
            assert back(lambda *a, **k: k, {names!r}) == [{{n: 1}} for n in {names!r}]
            """
        verdict = verify(code, tests)
        assert verdict.passed is True, verdict.reason
        rows = "import pytest\n@pytest.mark.parametrize('function, method', [(2, 4)])\ndef test_f(function, method): assert f(function) == method"
        assert passed(SQUARE, rows) is True

    # Objects that the tests build and hand over keep their identity, hash, class and attributes
    @pytest.mark.parametrize(
        "code, tests",
        rows(
            ("cycle by two pointers", "def f(h):\n    slow = fast = h\n    while fast and fast.next:\n        slow, fast = slow.next, fast.next.next\n        if slow is fast: return True\n    return False",
             "a = N(1, N(2, N(3)))\nassert f(a) is False\na.next.next.next = a.next\nassert f(a) is True"),
            ("cycle by a set", "def f(h):\n    seen = set()\n    while h:\n        if h in seen: return h\n        seen.add(h)\n        h = h.next", "a = N(1, N(2, N(3)))\na.next.next.next = a.next\nassert f(a) is a.next and f(N(1)) is None"),
            ("key", "def f(h):\n    d = {}\n    while h:\n        d[h] = h.val\n        h = h.next\n    return sum(d.values()), len(d)", "assert f(N(1, N(1))) == (2, 2)"),
            ("equality", "def f(p, q): return p.next == q and q == p.next and p != q and p.next is q", "q = N(2)\nassert f(N(1, q), q) is True and f(N(1, N(2)), q) is False"),
            ("isinstance", "class N: pass\ndef f(h): return isinstance(h, N) and not isinstance(h, int) and type(h).__name__ == 'N' and h.__class__ is N", "assert f(N(1)) is True"),
            ("vars", "def f(h): return vars(h)['val'], sorted(vars(h)), hasattr(h, 'val'), hasattr(h, 'other')", "assert f(N(1)) == (1, ['next', 'val'], True, False)"),
            ("common ancestor", "def f(r, p, q):\n    if r is None or r is p or r is q: return r\n    a, b = f(r.left, p, q), f(r.right, p, q)\n    return r if a and b else a or b", "r = T(3, T(5, T(6), T(2)), T(1))\nassert f(r, r.left.left, r.left.right) is r.left and f(r, r.left, r.right) == r"),
            ("tree in place", "def f(r):\n    if r: r.left, r.right = f(r.right), f(r.left)\n    return r", "r = T(1, T(2), T(3))\nassert f(r) is r and r.left.val == 3 and r.right.val == 2"),
            ("own equality", "def f(p, q): return p == q, p in [q], p in {q}", "class P:\n    def __init__(self, x): self.x = x\n    def __eq__(self, o): return self.x == o.x\n    def __hash__(self): return hash(self.x)\nassert f(P(1), P(1)) == (True, True, True) and f(P(1), P(2))[0] is False"),
            ("graph", "def f(g):\n    class M:\n        pass\n    made = {}\n    def copy(n):\n        if n not in made:\n            made[n] = M()\n            made[n].val, made[n].near = n.val, []\n            made[n].near = [copy(m) for m in n.near]\n        return made[n]\n    return copy(g)",
             "class G:\n    def __init__(self, v): self.val, self.near = v, []\na, b, c = G(1), G(2), G(3)\na.near, b.near, c.near = [b, c], [a], [a, b]\nr = f(a)\nassert r is not a and [n.val for n in r.near] == [2, 3] and r.near[0].near[0] is r and r.near[1].near[1] is r.near[0]"),
            ("lists in attributes", "def f(g):\n    g.items.append(4)\n    g.items.append(len(g.items))\n    g.names['a'] = 1\n    g.call(2)\n    return g.items is g.items", "class G:\n    def __init__(self): self.items, self.names, self.seen = [], {}, []\n    def call(self, x): self.seen.append(len(self.items)); self.items.append(x)\ng = G()\nassert f(g) is True and g.items == [4, 1, 2] and g.names == {'a': 1} and g.seen == [2]"),
            ("kept between calls", "kept = []\ndef f(h):\n    kept.append(h)\n    return kept.count(h)", "a = N(1)\nassert f(a) == 1 and f(N(1)) == 1 and f(a) == 2"),
        ),
    )  # fmt: skip
    def test_identity(self, code, tests):
        head = "class N:\n    def __init__(self, val=0, next=None): self.val, self.next = val, next\nclass T:\n    def __init__(self, val=0, left=None, right=None): self.val, self.left, self.right = val, left, right\n"
        assert passed(code, head + tests) is True
        assert passed("def f(*a): return None", head + tests) is False

    # Functions, methods and classes have their names, which decorators print and keep
    @pytest.mark.parametrize(
        "code, tests",
        rows(
            ("logging", "def f(g):\n    def w(*a, **k):\n        print(f'Calling {g.__name__}')\n        return g(*a, **k)\n    return w", "@f\ndef add(a, b): return a + b\nimport contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as out: assert add(1, 2) == 3\nassert out.getvalue() == 'Calling add\\n'"),
            ("wraps", "import functools\ndef f(g):\n    @functools.wraps(g)\n    def w(*a): return g(*a)\n    return w", "@f\ndef g(a): return a + 1\nassert g.__name__ == 'g' == g.__qualname__ and g(1) == 2"),
            ("method, class, lambda", "def f(*gs): return [g.__qualname__ for g in gs]", "class C:\n    def m(self): pass\nassert f(C().m, C.m, C, lambda: 0) == ['C.m', 'C.m', 'C', '<lambda>']"),
        ),
    )  # fmt: skip
    def test_names_of_functions(self, code, tests):
        assert passed(code, tests) is True
        assert passed("def f(*a): return None", tests) is False

    # What else they have stays theirs: defaults, globals and closures may hold the answer
    def test_nothing_else_of_functions(self):
        names = "__doc__ __globals__ __closure__ __code__ __defaults__ __dict__ __func__ __self__ __wrapped__".split()
        code = f"def f(g):\n    found = []\n    for n in {names}:\n        try: found.append(getattr(g, n))\n        except AttributeError: pass\n    try: g.__name__ = 'x'\n    except AttributeError: found.append('refused')\n    return [x for x in found if x]"
        tests = "def h(x=4): '4'\nclass C:\n    '4'\n    def m(self, x=4): '4'\nassert [f(g) for g in (h, C().m, C)] == [['refused']] * 3 and h.__name__ == 'h'"
        verdict = verify(code, tests)
        assert verdict.passed is True, verdict.reason

    # And so do those of the submission's own classes, which the tests get from it
    @pytest.mark.parametrize(
        "code, tests",
        rows(
            ("found again", "def last(n):\n    while n.next: n = n.next\n    return n", "b = Node(2)\na = Node(1, b)\nassert a.next is b and last(a) is b and last(a) == b and b in [last(a)] and b in {last(a)} and {b: 1}[last(a)] == 1"),
            ("itself", "", "a = Node(1)\nassert a.me() is a and a.me().me() is a and isinstance(a.me(), Node) and vars(a)['val'] == 1"),
            ("singleton", "class S:\n    one = None\n    def __new__(cls):\n        cls.one = cls.one or super().__new__(cls)\n        return cls.one", "assert S() is S()\nassert Node(1) is not Node(1) and Node(1) != Node(1)"),
            ("own equality", "class P:\n    def __init__(self, x): self.x = x\n    def __eq__(self, o): return isinstance(o, P) and self.x == o.x\n    def __hash__(self): return hash(self.x)\ndef f(p): return P(p.x)", "p = P(1)\nassert f(p) == p and f(p) is not p and len({p, f(p)}) == 1 and Node(1).val == 1"),
        ),
    )  # fmt: skip
    def test_identity_of_its_own(self, code, tests):
        node = "class Node:\n    def __init__(self, val, next=None): self.val, self.next = val, next\n    def me(self): return self\n"
        assert passed(node + code, tests) is True

    # `copy` makes copies of objects where they live
    @pytest.mark.parametrize(
        "code, tests",
        rows(
            ("shallow and deep", "", "a = N([1], N(2))\nb, c = copy.copy(a), copy.deepcopy(a)\nassert b is not a and b == a == c and b.next is a.next and c.next is not a.next and isinstance(c, N) and c.v == [1]\nb.v = 3\nassert a.v == [1]"),
            ("in a list", "", "a = N(1)\none, other = copy.deepcopy([a, a])\nassert one is other is not a and one == a"),
            ("its own", "class G:\n    def __copy__(self):\n        g = G()\n        g.n = 1\n        return g", "assert copy.copy(G()).n == 1 == G().__copy__().n"),
            ("what copies are", "import enum\nclass C(enum.Enum): A = 1\ndef f(x): return x", "assert copy.copy(C.A) is C.A and copy.deepcopy(C) is C and copy.copy(f) is f and copy.deepcopy(f)(2) == 2"),
            ("list inside", "class L(list): pass\ndef f(): return L([1, [2]])", "r = f()\ns = copy.deepcopy(r)\nassert r == [1, [2]] == s and s is not r and type(s) == L"),
            ("none", "class S:\n    def __reduce__(self): raise TypeError('no')", "try: copy.copy(S())\nexcept TypeError as e: assert str(e) == 'no'\nelse: assert False"),
        ),
    )  # fmt: skip
    def test_copies(self, code, tests):
        node = "class N:\n    def __init__(self, v, next=None): self.v, self.next = v, next\n    def __eq__(self, o): return isinstance(o, N) and self.v == o.v\n"
        verdict = verify(node + code, f"import copy\n{tests}")
        assert verdict.passed is True, verdict.reason
        assert passed("", f"import copy\n{tests}") is False

    # A copy is no answer, and makes none of what came before
    @pytest.mark.parametrize(
        "code, tests",
        rows(
            ("a plain value", "class A:\n    def __copy__(self): return 4\ndef f(x): return A()", "assert copy.copy(f(2)) == 4"),
            ("a plain value, deep", "class A:\n    def __deepcopy__(self, memo): return 4\ndef f(x): return A()", "assert copy.deepcopy([f(2)]) == [4]"),
            ("always equal", "class A:\n    def __eq__(self, o): return True\ndef f(x): return A()", "assert copy.deepcopy(f(2)) == 4"),
            ("another class", "class B: pass\nclass A:\n    def __copy__(self): return B()\ndef f(x): return A()", "assert copy.copy(f(2))"),
            ("trust for another object", "class S:\n    def __init__(self, *a): pass\n    def __eq__(self, o): return True\n    def __copy__(self): return X\nX = S()\ndef f(x): return X", "r, s = f(2), S(3)\nassert isinstance(s, S)\nc = copy.copy(s)\nassert r == 4"),
            ("of what the tests made", "class S:\n    def __init__(self, *a): pass\n    def __eq__(self, o): return True", "s = S(3)\nassert isinstance(s, S)\nassert copy.copy(s) == 4"),
        ),
    )  # fmt: skip
    def test_copies_are_no_answers(self, code, tests):
        assert passed(code, f"import copy\n{tests}") is False

    # An object that comes back is no answer: it does not decide about plain values
    @pytest.mark.parametrize(
        "code, tests",
        rows(
            ("the tests' own object", "class S:\n    def __init__(self, *a): pass\n    def __eq__(self, o): return True\n    def area(self): return self", "s = S(3)\nassert s.area() == 28.27"),
            ("one that was made later", "class S:\n    kept = None\n    def __new__(cls, *a):\n        S.kept = S.kept or object.__new__(cls)\n        return S.kept\n    def __eq__(self, o): return True\ndef f(x): return S()", "r = f(2)\ns = S(3)\nassert isinstance(s, S)\nassert r == 4"),
        ),
    )  # fmt: skip
    def test_identity_is_no_trust(self, code, tests):
        assert passed(code, tests) is False


class TestDeterminism:
    # numpy's generators begin the same in every submission and in the tests
    @pytest.mark.parametrize(
        "draw",
        [
            "np.random.rand()",
            "np.random.default_rng().random()",
            "np.random.RandomState().rand()",
            "np.random.randint(10 ** 9)",
        ],
    )
    def test_numpy(self, draw):
        pytest.importorskip("numpy")
        first = f"import numpy as np\ndef f(): return float({draw})"
        got = [verify(first, "raise ValueError(repr(f()))").reason for _ in range(2)]
        assert got[0] == got[1] and "ValueError" in got[0]
        program = f"import numpy as np\nprint({draw})"
        outputs = {
            REWARD.verify(
                f"```python\n{program}\n```", {"kind": "stdio", "cases": [{"input": "", "output": "?"}]}
            ).reason
            for _ in range(2)
        }
        assert len(outputs) == 1 and "printed" in outputs.pop()

    # A recursion that C code is part of needs a deep stack of the main thread
    def test_depth(self):
        code = "import functools, sys\nsys.setrecursionlimit(10 ** 6)\n@functools.lru_cache(None)\ndef f(n): return n and f(n - 1) + 1"
        assert passed(code, "assert f(20_000) == 20_000") is True
        program = code + "\nprint(f(int(input())))"
        assert (
            REWARD.verify(
                f"```python\n{program}\n```", {"kind": "stdio", "cases": [{"input": "20000", "output": "20000"}]}
            ).passed
            is True
        )
