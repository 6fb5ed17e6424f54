# ruff: noqa: E501  # a program a line: folded, the tables could not be read
"""Functions against tests, honest ones: each must pass, and the same with a mistake in it must not."""

import pytest
from code_rows import ADD, cases, grade, verdict

from trl_copd.rewards.code import CodeReward


STACK = """
    class Stack:
        def __init__(self, items=()):
            self.items = list(items)
        def push(self, item):
            self.items.append(item)
            return self
        def pop(self):
            if not self.items:
                raise IndexError("empty")
            return self.items.pop()
        def __len__(self):
            return len(self.items)
        def __iter__(self):
            return iter(self.items)
        def __contains__(self, item):
            return item in self.items
        def __getitem__(self, index):
            return self.items[index]
        def __enter__(self):
            return self
        def __exit__(self, *error):
            self.items.clear()
        def __repr__(self):
            return f"Stack({self.items})"
"""
VECTOR = """
    class Vector:
        def __init__(self, x, y):
            self.x, self.y = x, y
        def __add__(self, other):
            return Vector(self.x + other.x, self.y + other.y)
        def __mul__(self, k):
            return Vector(self.x * k, self.y * k)
        __rmul__ = __mul__
        def __eq__(self, other):
            return isinstance(other, Vector) and (self.x, self.y) == (other.x, other.y)
        def __hash__(self):
            return hash((self.x, self.y))
        def __abs__(self):
            return (self.x ** 2 + self.y ** 2) ** 0.5
        def __lt__(self, other):
            return abs(self) < abs(other)
        @classmethod
        def unit(cls):
            return cls(1, 0)
        @property
        def norm(self):
            return abs(self)
        @staticmethod
        def dot(a, b):
            return a.x * b.x + a.y * b.y
"""


class TestAssert:
    # Plain values in and out: every type of the codec, nested, long, empty
    @pytest.mark.parametrize(
        "code, tests",
        cases(
            ("add", ADD, "assert add(2, 3) == 5\nassert add('a', 'b') == 'ab'"),
            ("keywords", "def f(a, *b, c=1, **d): return [a, b, c, d]",
             "assert f(1, 2, c=3, e=4) == [1, (2,), 3, {'e': 4}]"),
            ("types", "def f(x): return x",
             "for x in (None, True, 1, -1.5, 'é\\ud800', b'\\xff', [1, [2]], (1, (2,)), {1: {'a': (1,)}}, {1, 2},"
             "frozenset({3}), 1 + 2j, range(3), bytearray(b'a')):\n    assert f(x) == x and type(f(x)) is type(x)"),
            ("stdlib types", """
                from collections import Counter, OrderedDict, defaultdict, deque
                from datetime import date, timedelta
                from decimal import Decimal
                from fractions import Fraction
                def f():
                    d = defaultdict(list); d['a'].append(1)
                    return [Counter('aab'), d, OrderedDict(a=1), deque([1], 3), Fraction(1, 3), Decimal('0.10'),
                            date(2024, 2, 29), timedelta(days=2)]
                """, """
                from decimal import Decimal
                from fractions import Fraction
                import datetime
                c, d, o, q, r, m, t, s = f()
                assert c.most_common(1) == [('a', 2)] and d == {'a': [1]} and o == {'a': 1} and list(q) == [1]
                assert r == Fraction(1, 3) and m == Decimal('0.1') and str(m) == '0.10'
                assert t == datetime.date(2024, 2, 29) and s.days == 2
                """),
            ("long integers", "def f(n):\n    r = 1\n    for i in range(2, n + 1): r *= i\n    return r",
             "import math\nassert f(3000) == math.factorial(3000)\nassert f(5) == 120"),
            ("floats", "def f(x): return x / 3", "import math\nassert math.isclose(f(1), 1 / 3) and abs(f(2) - 2 / 3) < 1e-9"),
            ("infinity", "def f(): return float('inf')", "assert f() == float('inf')"),
            ("nan", "def f(): return float('nan')", "import math\nassert math.isnan(f())"),
            ("large list", "def f(n): return list(range(n))", "assert f(200_000) == list(range(200_000))"),
            ("deep list", "def f(n):\n    r = []\n    for _ in range(n): r = [r]\n    return r",
             "r, n = f(300), 0\nwhile r: r, n = r[0], n + 1\nassert n == 300"),
            ("named tuple", "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)",
             "p = f()\nassert p == (1, 2) and p.x == 1 and p[1] == 2 and len(p) == 2\nx, y = p\nassert y == 2"),
            ("int enum", "import enum\nclass C(enum.IntEnum):\n    RED = 1\ndef f(): return C.RED",
             "assert f() == 1 and f() == C.RED and f().name == 'RED' and f() is not None"),
            ("enum", "import enum\nclass C(enum.Enum):\n    RED = 'r'\n    BLUE = 'b'\ndef f(): return C.RED",
             "assert f() == C.RED and f() != C.BLUE and C('b') == C.BLUE and f().value == 'r'\nassert len(list(C)) == 2"),
            ("numpy", "import numpy as np\ndef f(x): return np.array(x) * 2\ndef g(x): return np.mean(x)",
             "import numpy as np\nassert (f([1, 2]) == np.array([2, 4])).all() and g([1, 2, 3]) == 2.0"),
        ),
    )  # fmt: skip
    def test_values(self, code, tests):
        assert grade(code, tests) == 1.0

    # Arguments: changed in place, returned, callables, iterators, objects of the test, objects of the submission
    @pytest.mark.parametrize(
        "code, tests",
        cases(
            ("sort in place", "def f(a): a.sort()", "a = [3, 1, 2]\nassert f(a) is None\nassert a == [1, 2, 3]"),
            ("nested in place", "def f(m):\n    for r in m: r.reverse()",
             "m = [[1, 2], [3, 4]]\nr = m[0]\nf(m)\nassert m == [[2, 1], [4, 3]] and r == [2, 1]"),
            ("dict and set in place", "def f(d, s):\n    d['k'] = 1\n    s.discard(1)",
             "d, s = {}, {1, 2}\nf(d, s=s)\nassert d == {'k': 1} and s == {2}"),
            ("same object returned", "def f(a):\n    a.append(1)\n    return a", "a = []\nassert f(a) is a and a == [1]"),
            ("not changed", "def f(a): return sorted(a)", "a = [2, 1]\nassert f(a) == [1, 2] and a == [2, 1]"),
            ("lambda", "def f(g, x): return g(g(x))", "assert f(lambda x: x * 3, 2) == 18"),
            ("builtin function", "def f(g, xs): return list(map(g, xs))",
             "import math\nassert f(str, [1]) == ['1'] and f(math.sqrt, [4]) == [2.0] and f(len, ['ab']) == [2]"),
            ("callback that calls back", "def f(g, n): return g(n) if n else 0\ndef h(n): return f(k, n)\nk = None",
             "assert f(lambda n: n + f(lambda m: m, n - 1), 3) == 5"),
            ("callback raises", "def f(g):\n    try:\n        g()\n    except ValueError as e:\n        return str(e)",
             "def g(): raise ValueError('x')\nassert f(g) == 'x'"),
            ("iterator", "def f(it): return sum(it)", "assert f(iter([1, 2, 3])) == 6 and f(x for x in range(4)) == 6"),
            ("returned function", "def f(n):\n    return lambda x: x + n", "assert f(2)(3) == 5\nadd = f(1)\nassert add(1) == 2"),
            ("decorator", "def twice(g):\n    def inner(*a):\n        return g(*a) * 2\n    return inner",
             "@twice\ndef h(x): return x + 1\nassert h(2) == 6"),
            ("linked list of the test", "def length(node):\n    n = 0\n    while node:\n        n, node = n + 1, node.next\n    return n",
             "class Node:\n    def __init__(self, v, next=None): self.val, self.next = v, next\n"
             "assert length(Node(1, Node(2))) == 2 and length(None) == 0"),
            ("in place on objects of the test", """
                class Solution:
                    def reverse(self, head):
                        last = None
                        while head:
                            head.next, last, head = last, head, head.next
                        return last
                """, """
                class ListNode:
                    def __init__(self, val=0, next=None):
                        self.val, self.next = val, next
                head = ListNode(1, ListNode(2, ListNode(3)))
                node, seen = Solution().reverse(head), []
                while node:
                    seen.append(node.val)
                    node = node.next
                assert seen == [3, 2, 1] and head.next is None
                """),
            ("objects handed back", STACK + "\n    def total(stack): return sum(stack)",
             "s = Stack([1, 2])\nassert total(s) == 3 and total(s.push(4)) == 7"),
        ),
    )  # fmt: skip
    def test_arguments(self, code, tests):
        assert grade(code, tests) == 1.0

    # Classes of the submission: state, operators, protocols, identity, generators, coroutines
    @pytest.mark.parametrize(
        "code, tests",
        cases(
            ("stack", STACK, """
                s = Stack()
                s.push(1).push(2)
                assert len(s) == 2 and list(s) == [1, 2] and 2 in s and 3 not in s and s[0] == 1 and s[-1] == 2
                assert s.pop() == 2 and str(s) == 'Stack([1])' and f'{s}' == repr(s) and bool(s)
                assert s.items == [1] and hasattr(s, 'push') and not hasattr(s, 'peek') and isinstance(s, Stack)
                assert type(s).__name__ == 'Stack' and callable(s.push) and not callable(s)
                with s as t:
                    assert t is s
                assert not s
                s.name = 'n'
                assert s.name == 'n'
                try:
                    s.pop()
                except IndexError as error:
                    assert str(error) == 'empty'
                else:
                    raise AssertionError
                """),
            ("vector", VECTOR, """
                a, b = Vector(1, 2), Vector(3, 4)
                assert a + b == Vector(4, 6) and a * 2 == Vector(2, 4) and 2 * a == Vector(2, 4) and a != b
                assert abs(b) == 5 and b.norm == 5.0 and Vector.unit() == Vector(1, 0) and Vector.dot(a, b) == 11
                assert a < b and b > a and max(a, b) is b and sorted([b, a])[0] == a and len({a, Vector(1, 2)}) == 1
                assert (a + b).x == 4 and {a: 1}[Vector(1, 2)] == 1 and a in [b, a]
                """),
            ("dataclass", "from dataclasses import dataclass\n@dataclass(order=True, frozen=True)\nclass P:\n    x: int\n    y: int = 0",
             "assert P(1) == P(1, 0) and P(1) < P(2) and P(1).y == 0 and repr(P(1)) == 'P(x=1, y=0)'\n"
             "try:\n    P(1).x = 2\n    assert False\nexcept AttributeError:\n    pass"),
            ("own comparison with plain values", "class Money:\n    def __init__(self, n): self.n = n\n"
             "    def __eq__(self, o): return self.n == getattr(o, 'n', o)\n    def __lt__(self, o): return self.n < getattr(o, 'n', o)\n"
             "    def __sub__(self, o): return Money(self.n - o)",
             "assert Money(5) == Money(5)\nassert Money(5) == 5 and not Money(5) == 6 and Money(3) < 4 and (Money(5) - 2) == Money(3)\nm = Money(5) - 1\nassert m - 2 == Money(2)"),
            ("what says that a name is a class", "class Deg:\n    def __init__(self, n): self.n = n\n    def __eq__(self, o): return self.n == getattr(o, 'n', o)",
             "d = Deg(3)\nassert d == 3 and d.n == 3"),
            ("the same by isinstance", "class Deg:\n    def __init__(self, n): self.n = n\n    def __eq__(self, o): return self.n == getattr(o, 'n', o)",
             "from solution import Deg as D\nassert isinstance(D(3), D) and D(3) == 3"),
            ("container without other signs", "class Bag:\n    def __init__(self): self.d = []\n    def add(self, x): self.d.append(x)\n    def __contains__(self, x): return x in self.d",
             "b = Bag()\nb.add(3)\nassert 3 in b and 4 not in b"),
            ("class method and chain of operators", VECTOR, "assert (Vector.unit() + Vector(0, 1)) * 3 == Vector(3, 3) and abs(Vector(3, 0) + Vector(0, 4)) == 5"),
            ("sign of what an operator gave", "class V:\n    def __init__(self, x): self.x = x\n    def __add__(self, o): return V(self.x + o.x)\n    def __mul__(self, k): return V(self.x * k)\n    def __neg__(self): return V(-self.x)",
             "a = V(1) + V(3)\nb = -(a * 2)\nassert b.x == -8"),
            ("type", VECTOR, "v = Vector(1, 2)\nassert type(v) == Vector and not type(v) != Vector and not type(3) == Vector"),
            ("static method", "class Calculator:\n    @staticmethod\n    def add(a, b): return a + b\n    @classmethod\n    def make(cls): return cls()",
             "assert Calculator.add(2, 3) == 5 and isinstance(Calculator.make(), Calculator)"),
            ("documentation", "def f():\n    'Say hello.'\nclass C:\n    'A class.'", "assert f.__doc__ == 'Say hello.' and f.__name__ == 'f' and C.__doc__ == 'A class.' == C().__doc__"),
            ("subclass of list", "class L(list):\n    def double(self): return L(x * 2 for x in self)\ndef f(): return L([1, 2])",
             "assert f() == [1, 2] and f().double() == [2, 4] and len(f()) == 2 and f()[1] == 2 and isinstance(f(), list)"),
            ("inheritance", "class A:\n    def hi(self): return 'a'\nclass B(A):\n    def hi(self): return super().hi() + 'b'",
             "assert B().hi() == 'ab' and isinstance(B(), A) and issubclass(B, A) and not isinstance(A(), B)"),
            ("generator", "def count(n):\n    while True:\n        yield n\n        n += 1",
             "from itertools import islice\nassert list(islice(count(3), 3)) == [3, 4, 5]\ng = count(0)\nassert next(g) == 0 and next(g) == 1"),
            ("generator send", "def f():\n    x = yield 1\n    yield x * 2", "g = f()\nassert next(g) == 1 and g.send(5) == 10 and list(g) == []"),
            ("coroutine", "import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x + 1",
             "import asyncio\nassert asyncio.run(f(1)) == 2\nasync def both(): return await asyncio.gather(f(1), f(2))\n"
             "assert asyncio.run(both()) == [2, 3]"),
            ("cache of a class", "class LRUCache:\n    def __init__(self, n):\n        self.n, self.d = n, {}\n    def get(self, k):\n"
             "        if k not in self.d: return -1\n        self.d[k] = self.d.pop(k)\n        return self.d[k]\n    def put(self, k, v):\n"
             "        self.d.pop(k, None)\n        self.d[k] = v\n        if len(self.d) > self.n: del self.d[next(iter(self.d))]",
             "c = LRUCache(2)\nc.put(1, 1); c.put(2, 2)\nassert c.get(1) == 1\nc.put(3, 3)\nassert c.get(2) == -1 and c.get(3) == 3"),
            ("threads", "import threading\nclass C:\n    def __init__(self): self.n, self.lock = 0, threading.Lock()\n    def inc(self):\n"
             "        with self.lock: self.n += 1\ndef run():\n    c = C(); ts = [threading.Thread(target=c.inc) for _ in range(8)]\n"
             "    [t.start() for t in ts]; [t.join() for t in ts]\n    return c.n",
             "import threading\nassert run() == 8\nc = C()\nts = [threading.Thread(target=c.inc) for _ in range(5)]\n"
             "[t.start() for t in ts]; [t.join() for t in ts]\nassert c.n == 5"),
        ),
    )  # fmt: skip
    def test_objects(self, code, tests):
        assert grade(code, tests) == 1.0

    # Exceptions arrive as what they are: builtin, of the standard library, of the submission
    @pytest.mark.parametrize(
        "code, tests",
        cases(
            ("builtin", "def f(x): return 1 / x", "try:\n    f(0)\n    assert False\nexcept ZeroDivisionError as e:\n    assert 'division' in str(e)"),
            ("pytest.raises", "def f(): raise KeyError('k')", "import pytest\nwith pytest.raises(KeyError) as e: f()\nassert e.value.args == ('k',)"),
            ("own", "class Broke(Exception):\n    def __init__(self, need):\n        super().__init__(f'need {need}')\n        self.need = need\n"
             "class Poor(Broke): pass\ndef f(): raise Poor(3)",
             "try:\n    f()\n    assert False\nexcept Broke as e:\n    assert str(e) == 'need 3' and e.need == 3 and type(e).__name__ == 'Poor'"),
            ("own, of a builtin", "class E(ValueError): pass\ndef f(): raise E('x')", "import pytest\nwith pytest.raises(ValueError, match='x'): f()\n"
             "with pytest.raises(E): f()"),
            ("library", "import json\ndef f(s): return json.loads(s)", "import json\ntry:\n    f('{')\n    assert False\nexcept json.JSONDecodeError: pass"),
            ("exit", "import sys\ndef main(): sys.exit(3)", "try:\n    main()\n    assert False\nexcept SystemExit as e:\n    assert e.code == 3"),
            ("recursion", "def f(n): return f(n + 1)", "try:\n    f(0)\n    assert False\nexcept RecursionError: pass"),
        ),
    )  # fmt: skip
    def test_exceptions(self, code, tests):
        assert grade(code, tests) == 1.0

    # Styles of test code: HumanEval, MBPP, LeetCode, unittest, pytest, printed text, imports of the submission
    @pytest.mark.parametrize(
        "code, tests",
        cases(
            ("check called", ADD, "def check(candidate):\n    assert candidate(1, 2) == 3\ncheck(add)"),
            ("check with entry point", ADD, {"kind": "assert", "code": "METADATA = {}\ndef check(candidate):\n    assert candidate(1, 2) == 3",
                                             "entry_point": "add"}),
            ("nothing but a call in try", "def f(x): raise ValueError", "try:\n    f(-1)\nexcept ValueError: pass"),
            ("check never called, one function", ADD, "def check(candidate):\n    assert candidate(1, 2) == 3"),
            ("a function as an alias", "import operator\nadd = operator.add\ntotal = sum", "assert add(1, 2) == 3 and total([1, 2]) == 3"),
            ("a function with the name of a helper", "def isclose(a, b): return abs(a - b) < 1e-9", "assert isclose(1, 1.0) and not isclose(1, 2)"),
            ("a builtin's name, imported by star", "def sum(xs): return len(xs)", "from solution import *\nassert sum([1, 2, 3, 1]) == 4"),
            ("classes that a reply may name", "from collections import OrderedDict\ndef f(): return int\ndef g(): return [str, OrderedDict, ValueError]",
             "import collections\nassert f() is int and g() == [str, collections.OrderedDict, ValueError] and isinstance(3, f())"),
            ("StopIteration that the test speaks of", "class It:\n    def __next__(self): raise StopIteration",
             "import pytest\nwith pytest.raises(StopIteration): It().__next__()"),
            ("list of asserts", ADD, {"kind": "assert", "code": ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]}),
            ("fields that a data set filled up", ADD, {"kind": "assert", "code": "assert add(1, 2) == 3", "cases": None, "entry_point": None}),
            ("leetcode", "class Solution:\n    def twoSum(self, nums: List[int], target: int) -> Optional[List[int]]:\n"
             "        seen = {}\n        for i, n in enumerate(nums):\n            if target - n in seen: return [seen[target - n], i]\n            seen[n] = i",
             "assert Solution().twoSum([2, 7], 9) == [0, 1]\ncheck = Solution().twoSum\nassert sorted(check(nums=[3, 3], target=6)) == [0, 1]"),
            ("preamble", "def f(root: Tree): return root.v", {"kind": "assert", "preamble": "class Tree:\n    def __init__(self, v): self.v = v",
                                                          "code": "assert f(Tree(3)) == 3"}),
            ("unittest", ADD, "import unittest\nclass T(unittest.TestCase):\n    def setUp(self): self.a = 1\n    def test_a(self):\n"
             "        self.assertEqual(add(self.a, 2), 3)\n        with self.assertRaises(TypeError): add(1, 'a')\n"
             "    def test_b(self): self.assertAlmostEqual(add(0.1, 0.2), 0.3)\nif __name__ == '__main__':\n    unittest.main()"),
            ("pytest", ADD, "import pytest\n@pytest.mark.parametrize('a, b, c', [(1, 2, 3), (0, 0, 0)])\ndef test_add(a, b, c):\n    assert add(a, b) == c\n"
             "def test_float(): assert add(0.1, 0.2) == pytest.approx(0.3)\nclass TestMore:\n    def test_text(self): assert add('a', 'b') == 'ab'"),
            ("main block", ADD, "def run():\n    assert add(1, 2) == 3\nif __name__ == '__main__':\n    run()"),
            ("import", ADD, "from solution import add\nassert add(1, 2) == 3"),
            ("import star", ADD, "from solution import *\nassert add(1, 2) == 3"),
            ("import module", ADD, "import solution\nassert solution.add(1, 2) == 3"),
            ("printed", "def hi(n): print('hi', n)", "import io, contextlib\nout = io.StringIO()\nwith contextlib.redirect_stdout(out):\n"
             "    hi('you')\nassert out.getvalue() == 'hi you\\n'"),
            ("helpers and random", "import random\ndef f(n):\n    random.seed(n)\n    return random.random()",
             "import random\nfor n in range(20):\n    random.seed(n)\n    assert f(n) == random.random()"),
            ("a builtin's name", "def sum(xs):\n    t = 0\n    for x in xs: t += x\n    return t", "assert sum([1, 2]) == 3"),
            ("module variable", "LIMIT = 10\ndef f(): return LIMIT", "assert LIMIT == 10 and f() == LIMIT"),
            ("demo left in the submission", ADD + "\nprint(add(1, 2))\nif __name__ == '__main__':\n    input()", "assert add(2, 2) == 4"),
            ("slow test code", ADD, "import time\ntime.sleep(0.3)\nassert add(1, 1) == 2"),
        ),
    )  # fmt: skip
    def test_styles(self, code, tests):
        assert grade(code, tests) == 1.0

    # Wrong programs: the first thing that is wrong decides
    @pytest.mark.parametrize(
        "code, tests",
        cases(
            ("wrong value", "def add(a, b): return a - b", "assert add(2, 3) == 5"),
            ("wrong for one", "def add(a, b): return 5", "assert add(2, 3) == 5\nassert add(1, 1) == 2"),
            ("wrong type", "def add(a, b): return str(a + b)", "assert add(2, 3) == 5"),
            ("nothing returned", "def add(a, b): a + b", "assert add(2, 3) == 5"),
            ("other name", "def plus(a, b): return a + b", "assert add(2, 3) == 5"),
            ("does not compile", "def add(a, b) return a + b", "assert add(2, 3) == 5"),
            ("does not load", "import nothing_of_this_name\n" + ADD, "assert add(2, 3) == 5"),
            ("no exception", "def f(x): return x", "try:\n    f(0)\n    assert False\nexcept ValueError: pass"),
            ("another exception, without an assertion", "def f(x): raise KeyError", "try:\n    f(-1)\nexcept ValueError: pass"),
            ("other exception", "def f(): raise TypeError", "import pytest\nwith pytest.raises(ValueError): f()"),
            ("in place, but a copy", "def f(a): a = sorted(a)", "a = [2, 1]\nf(a)\nassert a == [1, 2]"),
            ("unittest", "def add(a, b): return 0", "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): self.assertEqual(add(1, 2), 3)"),
            ("pytest", "def add(a, b): return 0", "def test_add(): assert add(1, 2) == 3"),
            ("identity lost", "class A: pass\ndef f(a): return A()", "a = A()\nassert f(a) is a"),
            ("a builtin's name not defined", "def total(xs): return 3", "assert sum([1, 2]) == 3"),
        ),
    )  # fmt: skip
    def test_wrong(self, code, tests):
        assert grade(code, tests) == 0.0

    # References at fault get no grade, whatever is submitted
    @pytest.mark.parametrize(
        "tests",
        cases(
            ("no test", "import math\nx = 1"),
            ("nothing that could fail", "add(1, 2)"), ("helper that is not imported", "assert isclose(add(1, 2), 3)"),
            ("does not compile", "assert add(1, 2) ="),
            ("only builtins", "assert (1, 2) == (1, 2)"),
            ("fixtures", "def test_it(tmp_path): assert add(1, 2) == 3"),
            ("no code", {"kind": "assert"}), ("no cases", {"kind": "stdio", "cases": []}), ("no kind", {"code": "assert f()"}),
            ("no output", {"kind": "stdio", "cases": [{"input": "1"}]}), ("not JSON", {"kind": 1}),
            ("argument that cannot be passed", "import sys\nassert add(sys._getframe(), 1) == 1"),
        ),
    )  # fmt: skip
    def test_unreadable(self, tests):
        assert grade(ADD, tests) is None

    def test_a_share_of_the_tests_on_request(self):
        tests = "assert add(2, 3) == 5\nassert add(1, 1) == 2\nassert add(0, 0) == 1\nx = 1\nassert add(x, 4) == 5"
        half = "def add(a, b): return 5"
        assert verdict(half, tests).score == 0.25  # all or nothing stops at the first one
        assert grade(half, tests) == 0.0
        assert grade(half, tests, CodeReward(partial_credit=True)) == 0.5
        assert grade(ADD, tests, CodeReward(partial_credit=True)) == 0.75
