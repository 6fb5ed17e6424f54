# ruff: noqa: E501  # a program a line: folded, the tables could not be read
"""
What test code means: which names are the submission's, what an answer shows, and how tests are counted. Each attack stands
beside an honest submission that the same tests must accept.
"""

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


class TestNames:
    # A name of a library that the tests use and never import is the library's: an honest answer passes, and a submission
    # that defines the name does not answer for it
    @pytest.mark.parametrize(
        "name, tests",
        rows(
            ("module", "math", "assert math.isclose(f(2), 4)"), ("module, after a variable", "math", "r = f(2)\nassert math.isclose(r, 4.0)"),
            ("numpy", "np", "assert np.allclose(f(2), 4)"), ("numpy in full", "numpy", "assert numpy.array_equal(f(2), 4)"),
            ("numpy.testing", "np", "np.testing.assert_allclose(f(2), 4)\nassert True"), ("approx", "approx", "assert f(2) == approx(4)"),
            ("pytest", "pytest", "assert f(2) == pytest.approx(4)"), ("Counter", "Counter", "assert Counter([f(2)]) == Counter([4])"),
            ("reduce", "reduce", "assert reduce(lambda a, b: a and b == 4, [f(2)], True)"), ("Fraction", "Fraction", "assert Fraction(f(2)) == Fraction(4)"),
            ("Decimal", "Decimal", "assert Decimal(f(2)) == Decimal(4)"), ("sqrt", "sqrt", "assert sqrt(f(2)) == 2"), ("sqrt, of a variable", "sqrt", "r = f(2)\nassert sqrt(r) == 2.0"),
            ("prod", "prod", "assert f(2) == prod([2, 2])"), ("deepcopy", "deepcopy", "assert deepcopy(f(2)) == 4"), ("copy", "copy", "assert copy(f(2)) == 4"),
            ("copy, a module", "copy", "assert copy.copy(f(2)) == 4"), ("defaultdict", "defaultdict", "d = defaultdict(list)\nd[f(2)].append(1)\nassert d[4] == [1]"),
            ("itertools", "itertools", "assert list(itertools.chain([f(2)])) == [4]"), ("in check", "Counter", "def check(candidate):\n    assert Counter([candidate(2)]) == Counter([4])\ncheck(f)"),
            ("statistics", "statistics", "assert statistics.mean([f(2)]) == 4"), ("assert_allclose", "assert_allclose", "def test():\n    assert_allclose(f(2), 4)"),
            ("datetime class", "datetime", "assert datetime(2024, 1, f(2)) == datetime.fromisoformat('2024-01-04')"), ("operator", "operator", "assert operator.eq(f(2), 4)"),
            ("json", "json", "assert json.loads(json.dumps(f(2))) == 4"), ("re", "re", "assert re.fullmatch('4', str(f(2)))"), ("string", "ascii_lowercase", "assert ascii_lowercase[f(2)] == 'e'"),
            ("unittest", "unittest", "class T(unittest.TestCase):\n    def test(self): self.assertEqual(f(2), 4)"), ("TestCase", "TestCase", "class T(TestCase):\n    def test(self): self.assertEqual(f(2), 4)"),
            ("in the set-up", "sqrt", "import unittest\nclass T(unittest.TestCase):\n    def setUp(self): self.r = f(2)\n    def test(self): self.assertEqual(sqrt(self.r), 2)"),
            ("a variable of another function", "sqrt", "def run():\n    global r\n    r = f(2)\nrun()\nassert sqrt(r) == 2"), ("assigned in an expression", "sqrt", "assert (r := f(2))\nassert sqrt(r) == 2"),
            ("called by itself", "seed", "seed(0)\nassert f(2) == 4"), ("through a function of the tests", "sqrt", "def root(x): return sqrt(x)\nassert root(f(2)) == 2"), ("in a loop", "sqrt", "for r in [f(2)]:\n    assert sqrt(r) == 2"),
            ("changed in place", "Counter", "out = []\nf2(out)\nassert Counter(out) == Counter([4])"),
            ("imported by another function", "math", "def test_a():\n    import math\n    assert math.pi > 3\ndef test_b(): assert math.isclose(f(2), 4)"),
            ("argument of another function", "np", "def test_a(np=None): assert np is None\ndef test_b(): assert np.allclose(f(2), 4)"),
            ("of another class", "math", "class A:\n    math = 1\n    def sqrt(self): pass\nassert math.isclose(f(2), 4)"),
            ("of a comprehension", "math", "x = [math for math in (1,)]\nassert math.isclose(f(2), 4)"), ("of a lambda", "Counter", "g = lambda Counter: 0\nassert Counter([f(2)]) == Counter([4])"),
            ("body of a class", "Fraction", "class T(unittest.TestCase):\n    want = Fraction(4)\n    def test(self): self.assertEqual(f(2), self.want)"),
        ),
    )  # fmt: skip
    def test_library(self, name, tests):
        if name in ("np", "numpy", "assert_allclose"):
            pytest.importorskip("numpy")
        liar = (
            "class Always:\n    def __init__(self, *a, **k): pass\n    def __call__(self, *a, **k): return True\n    def __eq__(self, o): return True\n"
            "    def __getattr__(self, n): return lambda *a, **k: True\n    def __getitem__(self, k): return [1]\n"
            f"class M(type):\n    def __getattr__(c, n): return lambda *a, **k: True\nclass {name}(Always, metaclass=M): pass\n"
            "def f(x): return 3\ndef f2(a): a.append(3)"
        )
        assert passed(SQUARE + "\ndef f2(a): a.append(4)", tests) is True
        assert passed(liar, tests) is False
        assert passed(f"{name} = lambda *a, **k: True\ndef f(x): return 3\ndef f2(a): a.append(3)", tests) is False

    # A name that is local somewhere in the tests is the submission's where it is not; bodies of classes find names too
    @pytest.mark.parametrize(
        "tests",
        rows(
            ("argument", "def check(f):\n    assert f(2) == 4\ncheck(f)"), ("argument beside cases", "def run(f, rows):\n    for a, b in rows: assert f(a) == b\nrun(f, [(2, 4), (3, 9)])"),
            ("default", "def test(f=f): assert f(2) == 4\ntest()"), ("lambda", "assert (lambda f: f(2) == 4)(f)"), ("comprehension", "assert [f(2) for f in [f]] == [4]"),
            ("assigned in a function", "def test_a():\n    f = 5\n    assert f == 5\ndef test_b(): assert f(2) == 4"),
            ("body of a class", "import unittest\nclass T(unittest.TestCase):\n    func = staticmethod(f)\n    def test(self): self.assertEqual(self.func(2), 4)"),
            ("rows of a class", "import unittest\nclass T(unittest.TestCase):\n    want = f(2)\n    def test(self, g=f): self.assertEqual((self.want, g(3)), (4, 9))"),
            ("class in a function", "def test():\n    class A:\n        g = staticmethod(f)\n    assert A.g(2) == 4"),
        ),
    )  # fmt: skip
    def test_scopes(self, tests):
        assert passed(SQUARE, tests) is True
        assert passed("def f(x): return 3", tests) is False
        assert passed("def g(x): return x * x", tests) is False

    # Names that libraries have too, but that these tests can only mean as the submission's
    @pytest.mark.parametrize(
        "code, tests",
        rows(
            ("one function", "def gcd(a, b): return a if not b else gcd(b, a % b)", "assert gcd(12, 8) == 4"),
            ("two functions", "import math\ngcd, lcm = math.gcd, math.lcm", "assert gcd(12, 8) == 4\nassert lcm(4, 6) == 12"),
            ("beside another", "def factorial(n): return n * factorial(n - 1) if n else 1\ndef fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)",
             "assert factorial(5) == 120\nassert fib(7) == 13"),
            ("in one loop", "import math\nfactorial = math.factorial\ndef double(n): return 2 * n", "for n, a in [(0, 1), (3, 6)]:\n    assert factorial(n) == a\n    assert double(n) == n + n"),
            ("in functions", "def median(x): return sorted(x)[len(x) // 2]\ndef size(x): return len(x)",
             "def test_median():\n    r = median([3, 1, 2])\n    assert r == 2\ndef test_size():\n    r = size([1])\n    assert r == 1"),
            ("a class", "class Counter:\n    def __init__(self): self.value = 0\n    def increment(self): self.value += 1", "c = Counter()\nc.increment()\nassert c.value == 1"),
            ("a class beside another", "class Queue:\n    def __init__(self): self.a = []\n    def put(self, x): self.a.append(x)\n    def get(self): return self.a.pop(0)\nclass Stack(Queue):\n    def get(self): return self.a.pop()",
             "q, s = Queue(), Stack()\nq.put(1); q.put(2)\nassert q.get() == 1\ns.put(1); s.put(2)\nassert s.get() == 2"),
            ("a variable like a module", "class C:\n    def add(self, x): return x + 1\ncalendar = C()", "assert calendar.add(1) == 2"),
            ("a function like a module", "def trace(m): return sum(m[i][i] for i in range(len(m)))", "assert trace([[1, 2], [3, 4]]) == 5"),
            ("a builtin beside a library", "def sum(xs):\n    t = 0\n    for x in xs: t += x\n    return t", "import math\nassert sum([1, 2]) == 3\nassert math.isclose(sum([0.5]), 0.5)"),
            ("a builtin inside of another", "def sum(xs):\n    t = 0\n    for x in xs: t += x\n    return t", "assert abs(sum([1, 2]) - 3) < 1e-9"),
            ("helpers of the prompt", "def poly(xs, x): return sum(c * x ** i for i, c in enumerate(xs))\ndef find_zero(xs): return -xs[0] / xs[1]",
             {"kind": "assert", "entry_point": "find_zero", "code": "def check(candidate):\n    import math\n    assert math.fabs(poly([1, 2], candidate([1, 2]))) < 1e-4"}),
            ("entry point of a class", "class Solution:\n    def f(self, x): return x * x", {"kind": "assert", "entry_point": "Solution().f", "code": "def check(candidate):\n    assert candidate(x=3) == 9"}),
        ),
    )  # fmt: skip
    def test_submission(self, code, tests):
        assert passed(code, tests) is True
        assert passed("def unrelated(): pass", tests) is False
        assert passed("def abs(x): return 0\ndef sum(x): return 0\nclass math: isclose = print", tests) is False

    # It cannot be told what is tested, or a name is promised by nobody: no grade, whatever is submitted
    @pytest.mark.parametrize(
        "tests",
        rows(
            ("math's or numpy's", "assert isclose(f(2), 4)"), ("tested and used", "assert gcd(4, 2) == 2\nassert f(2) == gcd(8, 4)"),
            ("two at once", "assert factorial(3) == prod([1, 2, 3])"), ("imported, but not this one", "from solution import f\nassert close(f(2), 4)"),
            ("an assertion of nobody's", "def test(): assert_near(f(2), 4)"), ("two builtins at once", "assert sum([1, 2]) == max([1, 3])"),
            ("only libraries", "assert math.isclose(1, 1)"),
        ),
    )  # fmt: skip
    def test_unreadable(self, tests):
        for code in (
            SQUARE,
            "def f(x): return 3\nclose = isclose = assert_near = gcd = factorial = prod = lambda *a: True\nabs = lambda x: 0",
            "1 / 0",
            "x = 1",
        ):
            assert passed(code, tests) is None

    # A preamble is the tests' as well: what it defines is not the submission's to replace
    @pytest.mark.parametrize(
        "preamble, honest, attack, tests",
        rows(
            ("an import", "import math", SQUARE, "class math:\n    isclose = staticmethod(lambda *a: True)\ndef f(x): return 3", "assert math.isclose(f(2), 4)"),
            ("a star", "from math import *", SQUARE, "def sqrt(x): return 2\ndef f(x): return 3", "assert sqrt(f(2)) == 2"),
            ("a helper", "def same(a, b): return a == b", SQUARE, "def same(a, b): return True\ndef f(x): return 3", "assert same(f(2), 4)"),
            ("a constant", "LIMIT = 4", SQUARE, "LIMIT = 3\ndef f(x): return 3", "assert f(2) == LIMIT"),
            ("a class", "class Node:\n    def __init__(self, v, next=None): self.v, self.next = v, next\ndef chain(xs):\n    n = None\n    for x in reversed(xs): n = Node(x, n)\n    return n\n"
             "def same(a, b):\n    while a and b and a.v == b.v: a, b = a.next, b.next\n    return a is None and b is None",
             "def f(n):\n    last = None\n    while n: last, n = Node(n.v, last), n.next\n    return last",
             "class Node:\n    v, next = 0, None\n    def __init__(self, *a): pass\ndef same(a, b): return True\ndef f(n): return Node()", "assert same(f(chain([1, 2, 3])), chain([3, 2, 1]))"),
            ("a class that compares", "class Money:\n    def __init__(self, n): self.n = n\n    def __eq__(self, o): return isinstance(o, Money) and self.n == o.n", "def f(x): return Money(x * x)",
             "class Money:\n    def __init__(self, n): self.n = 0\n    def __eq__(self, o): return True\ndef f(x): return Money(1)", "assert f(2) == Money(4)\nassert Money(4) == f(2)\nassert f(2) != Money(5)"),
            ("a stub", "def f(x):\n    'Square.'", SQUARE, "def f(x): return 3", "assert f(2) == 4"),
        ),
    )  # fmt: skip
    def test_preamble(self, preamble, honest, attack, tests):
        row = {"kind": "assert", "preamble": preamble, "code": tests}
        assert passed(honest, row) is True
        assert passed(attack, row) is False

    # The tests' own function is not what is tested, though the submission names its own like it
    def test_a_candidate_named_like_a_helper(self):
        tests = "def ref(x): return x * x\ndef check(candidate):\n    for x in range(4): assert candidate(x) == ref(x)"
        assert passed("def g(x): return x * x", tests) is True
        assert passed("def ref(x): return x * x", tests) is True
        assert passed("def ref(x): return 0", tests) is False
        row = {"kind": "assert", "code": tests, "entry_point": "ref"}
        assert passed("def ref(x): return 0", row) is False
        assert passed("def other(x): return 0", row) is False

    # Whether a row can be read depends on the reference alone
    @pytest.mark.parametrize(
        "code, tests",
        rows(
            ("no function beside check", "x = 1", "def check(candidate): assert candidate(1) == 1"),
            ("two functions beside check", "def f(x): return 1\ndef g(x): return 1", "def check(candidate): assert candidate(1) == 1"),
            ("a dict's items", "def f(x): return {1: 2}\ndef g(x): return 1", "assert g(f(2).items()) == 2"),
            ("a dict's values in a list", "def f(x): return {1: 2}\ndef g(x): return 1", "assert g([f(2).values()]) == 2"),
            ("an exception's class", "import signal\ndef f(x): raise signal.ItimerError('x')\ndef g(x): return 1", "try:\n    f(1)\nexcept Exception as e:\n    assert g(type(e)) == 2"),
            ("a traceback", "def f(x): raise ValueError\ndef g(x): return 1", "try:\n    f(1)\nexcept Exception as e:\n    assert g(e.__traceback__) == 2"),
            ("a match", "def f(x): return 'a'\ndef g(x): return 1", "import re\nm = re.match('a', f(2))\nassert g(m) == 2"),
            ("a bound method", "def f(x): return memoryview(b'a')\ndef g(x): return 1", "def run(x): return g(x)\nassert run(f(2).tobytes().__class__.__subclasshook__) == 2"),
            ("nothing defined", "", "assert f(2) == 4"), ("leaves", "import os\nos._exit(0)", "def check(candidate): assert candidate(1) == 1"),
        ),
    )  # fmt: skip
    def test_no_none_by_choice(self, code, tests):
        assert passed(code, tests) is False

    def test_a_forged_exception_class(self):
        code = (
            "import sys\nframe, runner = sys._getframe(), None\nwhile frame:\n    for v in list(frame.f_locals.values()):\n"
            "        if type(v).__name__ == 'Runner': runner = v\n    frame = frame.f_back\nold = runner.other\n"
            "runner.other = lambda v: {'g': ['signal', 'ItimerError', 7, []]} if v is KeyError else old(v)\n"
            "def f(x): raise KeyError(1)\ndef g(x): return 1"
        )
        assert passed(code, "try:\n    f(1)\nexcept Exception as e:\n    assert g(type(e)) == 2") is False

    # Views of dictionaries can be handed over
    def test_views(self):
        tests = "d = {'a': 1, 'b': 2}\nassert f(d.items()) == [('a', 1), ('b', 2)]\nassert f(d.keys()) == ['a', 'b'] and f(d.values()) == [1, 2]"
        assert passed("def f(x): return sorted(x)", tests) is True


class TestContents:
    # An answer without elements agrees with everything under `all`: it decides against the submission, unless the expected one has none
    @pytest.mark.parametrize(
        "tests",
        rows(
            ("approx", "import pytest\nassert f(2) == pytest.approx(4.0)"), ("allclose", "assert np.allclose(f(2), 4.0)"), ("allclose of a list", "assert np.allclose(f(2), [4.0])"),
            ("assert_allclose", "np.testing.assert_allclose(f(2), 4.0)\nassert 1"), ("assert_array_equal", "np.testing.assert_array_equal(f(2), 4.0)\nassert 1"),
            ("assert_almost_equal", "np.testing.assert_almost_equal(f(2), 4.0)\nassert 1"), ("assert_equal", "np.testing.assert_equal(f(2), 4.0)\nassert 1"),
            ("all", "assert (np.array(f(2)) == 4).all()"), ("np.all", "assert np.all(np.asarray(f(2)) == 4)"), ("if", "if np.any(np.array(f(2)) != 4): raise AssertionError"),
            ("not any", "assert not (np.array(f(2)) != 4).any()"), ("difference", "assert not (abs(np.array(f(2)) - 4) > 1e-6).any()"), ("sum", "assert np.abs(np.array(f(2)) - 4).sum() < 1e-6"),
            ("norm", "assert np.linalg.norm(np.array(f(2)) - 4) < 1e-6"), ("isclose", "assert np.isclose(f(2), 4).all()"), ("keywords", "np.testing.assert_allclose(actual=f(2), desired=4.0)\nassert 1"),
            ("from numpy.testing", "from numpy.testing import assert_allclose\nassert_allclose(f(2), 4.0)"), ("array_equiv", "assert np.array_equiv(f(2), 4)"),
        ),
    )  # fmt: skip
    @pytest.mark.parametrize("answer", ["np.array([])", "[]", "np.zeros((0, 3))"])
    def test_empty(self, tests, answer):
        pytest.importorskip("numpy")
        tests = "import numpy as np\n" + tests
        assert passed(f"import numpy as np\ndef f(x): return {answer}", tests) is False
        if answer == "[]":
            assert passed("def f(x): return 4.0", tests) is True

    # Shapes are compared: an answer is not spread over the expected array, nor the array over an answer's rows
    @pytest.mark.parametrize(
        "wrong, right, tests",
        rows(
            ("allclose", "4.0", "np.array([4.0, 4.0])", "assert np.allclose(f(2), [4.0, 4.0])"), ("one element", "np.array([4.0])", "np.array([4.0, 4.0])", "assert (f(2) == np.array([4.0, 4.0])).all()"),
            ("assert_allclose", "4.0", "[4.0, 4.0]", "np.testing.assert_allclose(f(2), [4.0, 4.0])\nassert 1"), ("rows", "np.array([[1, 2], [1, 2]])", "np.array([1, 2])", "assert (f(2) == np.array([1, 2])).all()"),
            ("approx", "4.0", "np.array([4.0, 4.0])", "import pytest\nassert f(2) == pytest.approx(np.array([4.0, 4.0]))"), ("column", "np.array([[1], [2]])", "np.array([1, 2])", "assert np.allclose(f(2), [1, 2])"),
        ),
    )  # fmt: skip
    def test_shapes(self, wrong, right, tests):
        pytest.importorskip("numpy")
        tests = "import numpy as np\n" + tests
        assert passed(f"import numpy as np\ndef f(x): return {right}", tests) is True
        assert passed(f"import numpy as np\ndef f(x): return {wrong}", tests) is False

    # What numpy means by a number beside an array, arrays that ought to be empty, and the arithmetic of tests go on as before
    @pytest.mark.parametrize(
        "code, tests",
        rows(
            ("a number for all elements", "def f(n): return np.zeros(n)", "assert (f(3) == 0).all() and np.allclose(f(3), 0)\nnp.testing.assert_allclose(f(3), 0)"),
            ("empty on both sides", "def f(n): return np.array([])", "assert f(3).size == 0 and len(f(3)) == 0 and f(3).tolist() == [] and np.array_equal(f(3), [])\nassert np.allclose(f(3), [])"),
            ("rows of an answer", "def f(n): return np.ones((n, 2))", "m = f(3)\nassert (m == m[0]).all() and (m[:, None] == m[None, :]).all() and m.shape == (3, 2)"),
            ("types", "def f(n): return np.arange(n)", "r = f(3)\nassert isinstance(r, np.ndarray) and type(r) is np.ndarray and repr(r) == 'array([0, 1, 2])' and r.dtype.kind == 'i'"),
            ("handed back", "def f(n): return np.arange(n)\ndef g(a): return a.sum()", "assert g(f(4)) == 6 and g(f(4) * 2) == 12 and f(4)[1:].tolist() == [1, 2, 3]"),
            ("in place", "def f(n): return np.arange(n)", "a = f(4)\na += 1\na[0] = 9\nassert a.tolist() == [9, 2, 3, 4] and a.max() == 9 and sorted(a) == [2, 3, 4, 9]"),
            ("masks", "def f(n): return np.arange(n)", "a = f(4)\nassert a[a > 1].tolist() == [2, 3] and np.add(a, 1, where=a > 5, out=np.zeros_like(a)).tolist() == [0] * 4 and np.where(a > 1, a, 0).sum() == 5 and divmod(a, 2)[1].tolist() == [0, 1, 0, 1]"),
            ("empty lists", "def f(n): return []", "assert f(1) == [] and not f(1) and list(f(1)) == []"),
        ),
    )  # fmt: skip
    def test_arrays(self, code, tests):
        pytest.importorskip("numpy")
        assert passed("import numpy as np\n" + code, "import numpy as np\n" + tests) is True

    # NaN that the tests' own arithmetic makes
    @pytest.mark.parametrize(
        "answer, tests",
        rows(
            ("inf - inf", "float('inf')", "assert not abs(f(2) - f(3) - 5) > 1e-6"), ("-inf", "float('-inf')", "assert not abs(f(2) - f(3) - 5) > 1e-6"), ("in a list", "[float('inf')]", "assert not abs(f(2)[0] - f(3)[0] - 5) > 1e-6"),
            ("inf / inf", "float('inf')", "assert not abs(f(2) / f(3) - 5) > 1e-6"), ("inf * 0", "float('inf')", "assert not abs(f(2) * 0 - 5) > 1e-6"), ("inf % 5", "float('inf')", "assert not abs(f(2) % 5 - 4) > 1e-6"),
            ("sum", "float('inf')", "assert not abs(sum([f(2), -f(3)]) - 5) > 1e-6"), ("overflow", "1e308", "assert not abs(f(2) * 10 - f(3) * 10 - 5) > 1e-6"), ("overflow by a product", "1e200", "assert not abs(f(2) * f(2) - f(3) * f(3) - 5) > 1e-6"),
            ("in place", "float('inf')", "a = f(2)\na -= f(3)\nassert not a < 5 and not a > 5"), ("text", "'nan'", "assert not abs(float(f(2)) - 4) > 1e-6"), ("text in capitals", "' -NaN '", "assert not abs(float(f(2)) - 4) > 1e-6"),
            ("text of infinity", "'inf'", "assert not abs(float(f(2)) - float(f(3)) - 5) > 1e-6"), ("map", "'nan'", "x, = map(float, f(2).split())\nassert not abs(x - 4) > 1e-6"), ("complex", "complex('inf')", "assert not abs(f(2) - f(3) - 5) > 1e-6"),
            ("product", "[1e99] * 9", "import math\nassert not abs(math.prod(f(2)) - math.prod(f(3)) - 5) > 1e-6"), ("text for numpy", "'nan'", "import numpy as np\nassert not abs(np.float64(f(2)) - 4) > 1e-6"),
            ("text for complex", "'nan'", "assert not abs(complex(f(2)).real - 4) > 1e-6"), ("text for another name", "'nan'", "to = float\nassert not abs(to(f(2)) - 4) > 1e-6"),
            ("json", "'NaN'", "import json\nassert not abs(json.loads(f(2)) - 4) > 1e-6"), ("numpy", "[float('inf')]", "import numpy as np\nassert not (np.abs(np.array(f(2)) - np.array(f(3)) - 5) > 1e-6).any()"),
            ("square root", "-1", "import numpy as np\nassert not abs(np.sqrt(f(2)) - 2) > 1e-6"), ("zero by zero", "[0.0]", "import numpy as np\nassert not (np.array(f(2)) / np.array(f(3)) > 1).any()"), ("a word with nan in it", "float('nan')", "word = 'finance'\nassert not abs(f(2) - 4) > 1e-6"),
            ("subclass", "type('F', (float,), {})('inf')", "assert not abs(f(2) - f(3) - 5) > 1e-6"),
        ),
    )  # fmt: skip
    def test_made_nan(self, answer, tests):
        assert passed(f"def f(x): return {answer}", tests) is False

    # Infinity, large numbers and types are what they were
    @pytest.mark.parametrize(
        "answer, tests",
        rows(
            ("infinity", "float('inf')", "r = f(2)\nassert r == float('inf') and r > 10 ** 9 and min(r, 5) == 5 and isinstance(r, float) and type(r) is float and str(r) == 'inf' and not r < 3"),
            ("distances", "{'a': 0, 'b': float('inf')}", "assert f(2)['a'] == 0"), ("large", "1e150", "assert f(2) == 1e150 and f(2) / 2 == 5e149 and f(2) - f(2) == 0 and type(f(2)) == float"),
            ("handed back", "float('inf') if x == 2 else x", "assert f(f(f(2))) == 5 or f(2) > 1"), ("asked for", "float('nan')", "import math\nassert math.isnan(f(2)) and math.isnan(f(2) - 1)"),
            ("a type", "1.5", "assert type(f(2)) is float and type(f(2)) in (int, float) and float(f(2)) == 1.5 and list(map(float, ['1', '2'])) == [1.0, 2.0]"),
        ),
    )  # fmt: skip
    def test_floats(self, answer, tests):
        assert passed(f"def f(x): return {answer}", tests) is True

    # What a function returned shows one content, however it is asked
    @pytest.mark.parametrize(
        "code, tests",
        rows(
            ("lying index", "class L(list):\n    def __getitem__(self, i): return 4\ndef f(x): return L([1, 2])", "r = f(2)\nassert r[0] == 4"),
            ("lying iteration", "class L(list):\n    def __iter__(self): return iter([4])\ndef f(x): return L([1, 2])", "assert sorted(f(2)) == [4]"),
            ("lying length", "class L(list):\n    def __len__(self): return 4\ndef f(x): return L([1, 2])", "assert len(f(2)) == 4"),
            ("lying key", "class D(dict):\n    def __getitem__(self, k): return 4\ndef f(x): return D()", "assert f(2)['a'] == 4"),
            ("lying missing", "class D(dict):\n    def __missing__(self, k): return 4\ndef f(x): return D()", "assert f(2)['a'] == 4"),
            ("lying absolute value", "class I(int):\n    def __abs__(self): return 4\ndef f(x): return I(7)", "assert abs(f(2)) == 4"),
            ("lying truth", "class L(list):\n    def __bool__(self): return True\ndef f(x): return L()", "assert f(2)"),
            ("lying reversed", "class L(list):\n    def __reversed__(self): return iter([4])\ndef f(x): return L()", "assert list(reversed(f(2))) == [4]"),
            ("lying count", "class L(list):\n    def count(self, x): return 1\ndef f(x): return L()", "assert f(2).count(4) == 1"),
            ("lying items", "class D(dict):\n    def items(self): return [(1, 4)]\ndef f(x): return D()", "assert dict(f(2).items()) == {1: 4}"),
            ("lying text", "class S(str):\n    def lower(self): return '4'\ndef f(x): return S('z')", "r = f(2)\nassert r == 'z' and r.lower() == '4'"),
            ("an object, index and iteration", "class A:\n    def __getitem__(self, i): return [0, 10, 20][i]\n    def __iter__(self): return iter([0, 1, 2])\n    def __len__(self): return 3\ndef f(x): return A()",
             "r = f(2)\nassert set(r) == {0, 1, 2} and all(abs(r[i] - r[j]) > 5 for i in range(3) for j in range(i))"),
            ("an object, two iterations", "class A:\n    n = 0\n    def __iter__(self):\n        self.n += 1\n        return iter([[0, 1], [5, 9]][self.n % 2])\n    def __len__(self): return 2\ndef f(x): return A()",
             "r = f(2)\nassert set(r) == {5, 9} and set(r) == {0, 1}"),
            ("an object, iteration alone", "class A:\n    n = 0\n    def __iter__(self):\n        self.n += 1\n        return iter([[0, 1], [5, 9]][self.n % 2])\ndef f(x): return A()", "r = f(2)\nassert list(r) == [5, 9]\nassert list(r) == [0, 1]"),
            ("a generator method", "class A:\n    n = 0\n    def __iter__(self):\n        self.n += 2\n        yield from range(self.n)\ndef f(x): return A()", "r = f(2)\nassert sum(r) == 1 and next(iter(r)) == 0\nassert len([i for i in r]) == 6"),
            ("the same iterator", "class A:\n    i = iter([4, 5, 6])\n    def __iter__(self): return self.i\ndef f(x): return A()", "r = f(2)\nassert next(iter(r)) == 4 and next(iter(r)) == 5"),
            ("an object, index twice", "import itertools\nn = itertools.count()\nclass A:\n    def __getitem__(self, i): return next(n)\ndef f(x): return A()", "r = f(2)\nassert r[0] == 0 and r[0] == 1"),
            ("an object, length", "class A:\n    def __len__(self): return 3\n    def __iter__(self): return iter([0])\ndef f(x): return A()", "r = f(2)\nassert len(r) == 3 and sum(r) == 0"),
        ),
    )  # fmt: skip
    def test_two_contents(self, code, tests):
        assert passed(code, tests) is False

    # Objects that change because the tests change them, and classes whose own methods are what is tested
    @pytest.mark.parametrize(
        "code, tests",
        rows(
            ("a list that grows", "class L(list):\n    def push(self, x): self.append(x)\ndef make(): return L()", "r = make()\nassert len(r) == 0\nr.push(4)\nr.push(5)\nassert len(r) == 2 and r[1] == 5 and r == [4, 5] and list(r) == [4, 5]"),
            ("a dictionary without case", "class D(dict):\n    def __getitem__(self, k): return super().__getitem__(k.lower())\n    def __setitem__(self, k, v): super().__setitem__(k.lower(), v)", "d = D()\nd['A'] = 1\nassert d['a'] == 1 and d['A'] == 1 and len(d) == 1"),
            ("a ring", "class Ring(list):\n    def __getitem__(self, i): return super().__getitem__(i % len(self))", "r = Ring([1, 2, 3])\nassert r[4] == 2 and r[-1] == 3 and len(r) == 3"),
            ("a container", "class A:\n    def __init__(self): self.a = [1]\n    def add(self, x): self.a.append(x)\n    def __iter__(self): return iter(self.a)\n    def __len__(self): return len(self.a)\n    def __getitem__(self, i): return self.a[i]\ndef make(): return A()",
             "r = make()\nassert list(r) == [1] and r[0] == 1 and len(r) == 1\nr.add(2)\nassert list(r) == [1, 2] and r[-1] == 2 and r[0:2] == [1, 2] and len(r) == 2"),
            ("iteration alone", "class It:\n    def __init__(self, a): self.a, self.i = a, 0\n    def __iter__(self): return self\n    def peek(self): return self.a[self.i]\n    def __next__(self):\n        if self.i == len(self.a): raise StopIteration\n        self.i += 1\n        return self.a[self.i - 1]\n"
             "class A:\n    def __init__(self, a): self.a = a\n    def add(self, x): self.a.append(x)\n    def __iter__(self): return It(self.a)\ndef f(x): return A([1, 2])",
             "r = f(2)\nassert list(r) == list(r) == [1, 2] and 2 in r and all(a == b for a, b in zip(r, r))\nit = iter(r)\nassert isinstance(it, It) and it.peek() == next(it) == 1 and list(it) == [2] and list(it) == []\nr.add(3)\nassert list(r) == [1, 2, 3]"),
            ("an iterator of the tests", "class A:\n    def __init__(self, a): self.a = a\n    def __iter__(self): return iter(self.a)\ndef f(x): return A(x)", "assert list(f(iter([1, 2]))) == [1, 2]"),
            ("passed to a function", "def make(): return L()\nclass L(list): pass\ndef fill(r): r.extend([1, 2])", "r = make()\nassert len(r) == 0\nfill(r)\nassert len(r) == 2 and r == [1, 2]"),
            ("enum and named tuple", "import enum, collections\nclass C(enum.IntEnum):\n    A = 1\nP = collections.namedtuple('P', 'x y')\ndef f(): return C.A\ndef g(): return P(1, 2)", "assert f() + 1 == 2 and abs(f()) == 1 and g()[0] == 1 and len(g()) == 2 and g().y == 2 and list(g()) == [1, 2]"),
        ),
    )  # fmt: skip
    def test_objects_that_change(self, code, tests):
        assert passed(code, tests) is True

    # Objects of the tests: what they check with is not the submission's to set
    @pytest.mark.parametrize(
        "attack, tests",
        rows(
            ("configure_mock", "def f(m): m.configure_mock(assert_called_once_with=lambda *a: None)", "m.assert_called_once_with(4)"), ("a child", "def f(m): m.save.configure_mock(assert_called_with=lambda *a: None)", "m.save.assert_called_with(4)"),
            ("attach_mock", "def f(m): m.attach_mock(m.x, 'assert_called_once_with')", "m.assert_called_once_with(4)"), ("attribute", "def f(m): m.save = lambda *a: None", "m.save.assert_called_with(4)"),
            ("call list", "def f(m): m.mock_calls.append(4)", "assert m.mock_calls"), ("side effect", "def f(m):\n    m.side_effect = ValueError\n    m.return_value = 4", "assert m() == 4"), ("asserting by itself", "def f(m): m.assert_called_once_with = None", "m.assert_called_once_with(4)"),
        ),
    )  # fmt: skip
    def test_mocks(self, attack, tests):
        tests = f"from unittest.mock import Mock\nm = Mock()\ntry:\n    f(m)\nexcept AttributeError:\n    pass\n{tests}\nassert True"
        assert passed(attack, tests) is False

    def test_mocks_that_are_called(self):
        tests = "from unittest.mock import Mock\nm = Mock(return_value=3)\nm.get.return_value = 1\nassert f(m) == 4\nm.assert_called_once_with(4)\nm.get.assert_called_once_with('a', k=1)"
        assert passed("def f(m): return m(4) + m.get('a', k=1)", tests) is True
        assert passed("def f(m): return 4", tests) is False

    def test_callbacks_in_attributes(self):
        tests = "class H:\n    def __init__(self): self.check, self.n = (lambda v: v == 7), 0\nh = H()\nf(h)\nassert h.check(h.n)"
        assert passed("def f(h): h.n = 7", tests) is True
        assert passed("def f(h): h.check = lambda v: True", tests) is False


class TestCount:
    # Partial credit counts what was to be run, before anything runs
    @pytest.mark.parametrize(
        "tests, share",
        rows(
            ("functions", "\n".join(f"def test_{i}(): assert f({i}) == {i * i}" for i in range(10)), 0.1), ("statements", "\n".join(f"assert f({i}) == {i * i}" for i in range(10)), 0.1),
            ("methods", "import unittest\nclass T(unittest.TestCase):\n" + "\n".join(f"    def test_{i}(self): self.assertEqual(f({i}), {i * i})" for i in range(10)), 0.1),
            ("class of pytest", "class TestF:\n" + "\n".join(f"    def test_{i}(self): assert f({i}) == {i * i}" for i in range(5)), 0.2),
            ("parametrize", "import pytest\n@pytest.mark.parametrize('x, y', [(0, 0), (1, 1), (2, 4), (3, 9), (4, 16)])\ndef test_f(x, y): assert f(x) == y", 0.2),
            ("statement and functions", "assert f(0) == 0\n" + "\n".join(f"def test_{i}(): assert f({i}) == {i * i}" for i in range(1, 5)), 0.2),
            ("main block", "import unittest\nclass T(unittest.TestCase):\n" + "\n".join(f"    def test_{i}(self): self.assertEqual(f({i}), {i * i})" for i in range(4)) + "\nif __name__ == '__main__':\n    unittest.main()", 0.25),
        ),
    )  # fmt: skip
    @pytest.mark.parametrize("leave", ["os._exit(0)", "os.close(10)"])
    def test_leaving_after_the_first(self, tests, share, leave):
        code = f"import os\ncalls = []\ndef f(x):\n    if calls: {leave}\n    calls.append(x)\n    return x * x"
        assert verify(SQUARE, tests, PARTIAL).score == 1.0
        assert verify(code, tests, PARTIAL).score == pytest.approx(share)
        assert verify("import os\nos._exit(0)", tests, PARTIAL).score == 0.0

    def test_what_a_class_sets_up(self):
        tests = "import unittest\nclass T(unittest.TestCase):\n    @classmethod\n    def setUpClass(cls): cls.r = f(3)\n    def test(self): self.assertEqual(self.r, 9)"
        assert passed(SQUARE, tests) is True
        assert passed("def f(x): return 3", tests) is False
        assert passed("def f(x): raise ValueError", tests) is False

    def test_a_wrong_one_among_functions(self):
        tests = "\n".join(f"def test_{i}(): assert f({i}) == {i * i}" for i in range(10))
        assert verify("def f(x): return min(x * x, 9)", tests, PARTIAL).score == pytest.approx(0.4)
        assert verify("def f(x): return min(x * x, 9)", tests).score == pytest.approx(0.4)
