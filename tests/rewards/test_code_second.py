# ruff: noqa: E501  # a program a line: folded, the tables could not be read
"""
Attacks of a second tester, each beside an honest submission that the same tests accept: names, answers without elements,
NaN by way of libraries, objects that show two contents, exceptions, leaving early. A level grades a table at once.
"""

import dataclasses
import textwrap

import pytest

from trl_copd.rewards.code import CodeReward
from trl_copd.rewards.code.preambles import LEETCODE
from trl_copd.rewards.sandbox import available_level
from trl_copd.rewards.sandbox._paths import python_paths


pytestmark = pytest.mark.skipif(available_level() == "rlimit", reason="this host confines nothing")
LEVELS = [level for level in ("full", "landlock") if available_level() in ("full", level)]
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
# fmt: off
MENDED = [
    ('own star of math', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\nisclose = Liar()\nmath = Liar()\ndef f(x): return 7\n', 'from math import *\nassert isclose(f(2), 4)', 'def f(x): return x * x'),
    ('zip list', 'def f(*a): return []', 'assert all(a == b for a, b in zip(f(3), [0, 1, 4]))', 'def f(n): return [i * i for i in range(n)]'),
    ('zip list reversed', 'def f(*a): return []', 'assert all(a == b for a, b in zip([0, 1, 4], f(3)))', 'def f(n): return [i * i for i in range(n)]'),
    ('zip tuple var', 'def f(n): return ()', 'expected = (0, 1, 4)\ngot = f(3)\nfor a, b in zip(got, expected):\n    assert a == b', 'def f(n): return [i * i for i in range(n)]'),
    ('zip np', 'import numpy as np\ndef f(x): return np.array([])', 'for a, b in zip(f(2), [4, 4]):\n    assert abs(a - b) < 1e-6', 'import numpy as np\ndef f(x): return np.array([x * x, x * x], dtype=float)'),
    ('zip string', "def f(n): return ''", "assert all(a == b for a, b in zip(f('ab'), 'ba'))", 'def f(s): return s[::-1]'),
    ('zip generator', 'def f(n): return iter([])', 'assert all(a == b for a, b in zip(f(3), [0, 1, 4]))', 'def f(n): return (i * i for i in range(n))'),
    ('zip dict', 'def f(n): return {}', "assert all(a == b for a, b in zip(f(2), ['a', 'b']))", "def f(n): return {'a': 1, 'b': 2}"),
    ('map eq', 'def f(*a): return []', 'import operator\nassert all(map(operator.eq, f(3), [0, 1, 4]))', 'def f(n): return [i * i for i in range(n)]'),
    ('map lambda', 'def f(*a): return []', 'assert all(map(lambda a, b: abs(a - b) < 1e-6, f(3), [0, 1, 4]))', 'def f(n): return [i * i for i in range(n)]'),
    ('zip_longest-sum', 'def f(*a): return []', 'assert sum(abs(a - b) for a, b in zip(f(3), [0, 1, 4])) < 1e-6', 'def f(n): return [i * i for i in range(n)]'),
    ('zip in check', 'def f(*a): return []', 'def check(c):\n    for a, b in zip(c(3), [0, 1, 4]):\n        assert a == b', 'def f(n): return [i * i for i in range(n)]'),
    ('zip in helper', 'def f(*a): return []', 'def same(a, b):\n    return all(x == y for x, y in zip(a, b))\nassert same(f(3), [0, 1, 4])', 'def f(n): return [i * i for i in range(n)]'),
    ('zip unittest', 'def f(*a): return []', 'import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        for a, b in zip(f(3), [0, 1, 4]):\n            self.assertAlmostEqual(a, b)', 'def f(n): return [i * i for i in range(n)]'),
    ('zip nested', 'def f(n): return [[], []]', 'for r, e in zip(f(2), [[1, 0], [0, 1]]):\n    for a, b in zip(r, e):\n        assert a == b', 'def f(n): return [[1, 0], [0, 1]]'),
    ('subtract list', 'def f(*a): return []', 'import numpy as np\nassert np.all(np.subtract(f(1), 4.0) == 0)', 'def f(n): return [4.0]'),
    ('equal ufunc', 'def f(*a): return []', 'import numpy as np\nassert np.equal(f(1), 4.0).all()', 'def f(n): return [4.0]'),
    ('norm list', 'def f(*a): return []', 'import numpy as np\nassert np.linalg.norm(np.subtract(f(1), [4.0])) < 1e-6', 'def f(n): return [4.0]'),
    ('from numpy subtract', 'def f(*a): return []', 'from numpy import subtract, sum\nassert sum(subtract(f(1), 4.0)) == 0', 'def f(n): return [4.0]'),
    ('atleast_1d', 'def f(*a): return []', 'import numpy as np\nassert (np.atleast_1d(f(1)) == 4).all()', 'def f(n): return [4.0]'),
    ('ravel', 'def f(n): return [[]]', 'import numpy as np\nassert (np.ravel(f(1)) == 4).all()', 'def f(n): return [4.0]'),
    ('asanyarray', 'def f(*a): return []', 'import numpy as np\nassert (abs(np.asanyarray(f(1)) - 4) < 1e-6).all()', 'def f(n): return [4.0]'),
    ('float64 of list', 'def f(*a): return []', 'import numpy as np\nassert not (np.float64(f(1)) != 4).any()', 'def f(n): return [4.0]'),
    ('concatenate', 'def f(*a): return []', 'import numpy as np\nassert np.all(np.concatenate([f(1)]) == 4)', 'def f(n): return [4.0]'),
    ('fromiter', 'def f(*a): return []', 'import numpy as np\nassert np.all(np.fromiter(f(1), float) == 4)', 'def f(n): return [4.0]'),
    ('complex text', "def f(x): return 'nan+nanj'", 'assert not abs(complex(f(2)) - 4) > 1e-6', "def f(x): return '4+0j'"),
    ('array of nan text', "def f(x): return ['nan', 'nan']", 'import numpy as np\nassert not (np.abs(np.array(f(2), dtype=float) - 4) > 1e-6).any()', "def f(x): return ['4', '4']"),
    ('astype', "def f(x): return ['nan']", 'import numpy as np\nassert not (abs(np.array(f(2)).astype(float) - 4) > 1e-6).any()', "def f(x): return ['4']"),
    ('json inf', "def f(x): return '1e999'", 'import json\nassert not abs(json.loads(f(2)) - json.loads(f(3)) + 5) > 1e-6', 'import json\ndef f(x): return json.dumps(x * x)'),
    ('literal_eval', "def f(x): return '1e999'", 'import ast\nassert not abs(ast.literal_eval(f(2)) - ast.literal_eval(f(3)) + 5) > 1e-6', 'def f(x): return repr(x * x)'),
    ('sqrt of inf', "def f(x): return float('inf')", 'import math\nassert not abs(math.sqrt(f(2)) - math.sqrt(f(3)) + 1) > 1e-6', 'def f(x): return x * x'),
    ('math.dist', "def f(x): return [float('inf')]", 'import math\nassert not math.dist(f(2), f(2)) + 0 > 1 and not abs(math.dist(f(2), f(3)) - 5) > 1e-6', 'def f(x): return [float(x * x)]'),
    ('real', "def f(x): return float('inf')", 'assert not abs(f(2).real - f(3).real + 5) > 1e-6', 'def f(x): return float(x * x)'),
    ('complex call inf', "def f(x): return float('inf')", 'assert not abs(complex(f(2)) - complex(f(3)) + 5) > 1e-6', 'def f(x): return float(x * x)'),
    ('hypot/atan', "def f(x): return float('inf')", 'import math\nassert not abs(math.log(f(2)) - math.log(f(3)) - math.log(4/9)) > 1e-6', 'def f(x): return float(x * x)'),
    ('generator in zip', 'def f(n):\n    return\n    yield', 'for a, b in zip(f(3), [0, 1, 4]): assert a == b', 'def f(n):\n    for i in range(n): yield i * i'),
    ('generator in map', 'def f(n):\n    return\n    yield', 'assert all(map(lambda a, b: a == b, [0, 1, 4], f(3)))', 'def f(n):\n    for i in range(n): yield i * i'),
    ('object in zip', 'class I:\n    def __iter__(s): return iter([])\ndef f(n): return I()', 'for a, b in zip(f(3), [0, 1, 4]): assert a == b', 'def f(n): return [0, 1, 4]'),
    ('object with getitem in zip', 'class I:\n    def __getitem__(s, i): raise IndexError\ndef f(n): return I()', 'for a, b in zip(f(3), [0, 1, 4]): assert a == b', 'def f(n): return [0, 1, 4]'),
    ('dict values in zip', 'def f(n): return {}', 'assert all(a == b for a, b in zip(f(3).values(), [0, 1, 4]))', 'def f(n): return {i: i * i for i in range(n)}'),
    ('dict items in zip', 'def f(n): return {}', 'r = f(3)\nfor (k, v), b in zip(r.items(), [0, 1, 4]): assert v == b', 'def f(n): return {i: i * i for i in range(n)}'),
    ('sorted in zip', 'def f(n): return []', 'assert all(a == b for a, b in zip(sorted(f(3)), [0, 1, 4]))', 'def f(n): return [4, 1, 0]'),
    ('in place in zip', 'def f(a): a.clear()', 'a = [3, 1, 2]\nf(a)\nassert all(x == y for x, y in zip(a, [1, 2, 3]))', 'def f(a): a.sort()'),
    ('zip helper tuple', 'def f(n): return ()', 'def same(a, b): return all(x == y for x, y in zip(a, b))\nassert same(f(3), (0, 1, 4))', 'def f(n): return (0, 1, 4)'),
    ('zip helper str', "def f(n): return ''", "def same(a, b): return not sum(x != y for x, y in zip(a, b))\nassert same(f(3), 'abc')", "def f(n): return 'abc'"),
]
# fmt: on

# Refused before as well
# fmt: off
OTHERS = [
    ('sqrt', 'sqrt = lambda v: 4\ndef f(x): return 9', 'assert f(2) == sqrt(16) and f(3) == 9', 'def f(x): return x * x'),
    ('np.linalg', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\nnp = Liar()\ndef f(x): return 7\n', 'assert np.linalg.norm(np.array(f(2)) - 4) < 1e-9', 'def f(x): return x * x'),
    ('operator', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\noperator = Liar()\ndef f(x): return 7\n', 'assert operator.eq(f(2), 4)', 'def f(x): return x * x'),
    ('json', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\njson = Liar()\ndef f(x): return 7\n', "assert json.dumps(f(2)) == '4'", 'def f(x): return x * x'),
    ('re', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\nre = Liar()\ndef f(x): return 7\n', "assert re.fullmatch('4', str(f(2)))", 'def f(x): return x * x'),
    ('Decimal', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\nDecimal = Liar()\ndef f(x): return 7\n', 'assert Decimal(f(2)) == Decimal(4)', 'def f(x): return x * x'),
    ('deque', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\ndeque = Liar()\ndef f(x): return 7\n', 'assert deque([f(2)]) == deque([4])', 'def f(x): return x * x'),
    ('datetime', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\ntimedelta = Liar()\ndatetime = Liar()\ndef f(x): return 7\n', 'assert timedelta(days=f(2)) == timedelta(days=4)', 'def f(x): return x * x'),
    ('approx', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\napprox = Liar()\ndef f(x): return 7\n', 'assert f(2) == approx(4)', 'def f(x): return x * x'),
    ('assert_allclose', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\nassert_allclose = Liar()\ndef f(x): return 7\n', 'assert_allclose(f(2), 4)\nassert f(3) == 9', 'def f(x): return x * x'),
    ('star, Counter', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\nCounter = Liar()\ndef f(x): return 7\n', 'from solution import *\nassert Counter([f(2)]) == Counter([4])', 'def f(x): return x * x'),
    ('star, np', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\nnp = Liar()\ndef f(x): return 7\n', 'from solution import *\nassert np.allclose(f(2), 4)', 'def f(x): return x * x'),
    ('own star of itertools', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\nproduct = Liar()\nchain = Liar()\ndef f(x): return 7\n', 'from itertools import *\nassert list(chain([f(2)])) == [4]', 'def f(x): return x * x'),
    ('own star of numpy', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\nallclose = Liar()\ndef f(x): return 7\n', 'from numpy import *\nassert allclose(f(2), 4)', 'def f(x): return x * x'),
    ('import in function', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\nmath = Liar()\ndef f(x): return 7\n', 'def same(a, b):\n    import math\n    return math.isclose(a, b)\nassert same(f(2), 4)', 'def f(x): return x * x'),
    ('getattr module', 'def __getattr__(name):\n    return lambda *a, **k: True\ndef f(x): return 7\n', 'assert math.isclose(f(2), 4)\nassert f(3) == 9', 'def f(x): return x * x'),
    ('getattr module, all', "def __getattr__(name):\n    return lambda *a, **k: True\ndef f(x): return 7\n__all__ = ['math', 'abs', 'isclose', 'f']", 'from solution import *\nassert abs(f(2) - 4) < 1e-6', 'def f(x): return x * x'),
    ('statistics', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\nstatistics = Liar()\nmean = Liar()\ndef f(x): return 7\n', 'assert statistics.mean([f(2), f(2)]) == 4', 'def f(x): return x * x'),
    ('heapq', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\nheapq = Liar()\ndef f(x): return 7\n', 'h = [f(2)]\nassert heapq.heappop(h) == 4', 'def f(x): return x * x'),
    ('string.ascii', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\nstring = Liar()\ndef f(x): return 7\n', "assert f('x') == string.ascii_lowercase[23]", 'def f(x): return x'),
    ('copy', 'class copy:\n    deepcopy = staticmethod(lambda x: Always())\nclass Always:\n    def __eq__(s, o): return True\ndef f(x): return 3', 'e = copy.deepcopy([4])\nassert [f(2)] == e', 'def f(x): return x * x'),
    ('partial', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\npartial = Liar()\ndef f(x): return 7\n', 'assert partial(f, 2)() == 4', 'def f(x): return x * x'),
    ('random', 'class Liar:\n    def __init__(s, *a, **k): pass\n    def __call__(s, *a, **k): return True\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a, **k: True\nrandom = Liar()\ndef f(x): return 7\n', 'random.seed(1)\nx = random.randint(2, 2)\nassert f(x) == x * x', 'def f(x): return x * x'),
    ('walrus', "\nclass A:\n    def __eq__(s, o): return True\n    def __ne__(s, o): return False\n    __lt__ = __le__ = __gt__ = __ge__ = __eq__\n    def __hash__(s): return hash(4)\n    def __getattr__(s, n):\n        if n.startswith('__'): raise AttributeError(n)\n        return lambda *a, **k: True\n    def __call__(s, *a, **k): return s\n    def __bool__(s): return True\n    def __iter__(s): return iter([])\n    def __len__(s): return 0\ndef f(x): return A()", 'assert (r := f(2)) == 4 and r == 4', 'def f(x): return x * x'),
    ('pi', "pi = float('nan')\ndef f(x): return 1", 'assert not abs(f(2) - pi * 4) > 1e-6', 'import math\ndef f(x): return math.pi * x * x'),
    ('ref in try', 'def ref(x): return 7', 'try:\n    ref = lambda x: x * x\nfinally:\n    pass\ndef check(c):\n    assert c(2) == ref(2)', 'def f(x): return x * x'),
    ('helper in if', 'def ref(x): return 7', 'if True:\n    def ref(x): return x * x\ndef check(candidate):\n    for i in range(5): assert candidate(i) == ref(i)', 'def f(x): return x * x'),
    ('candidate named check', 'def check(c): return 7', 'def check(candidate):\n    assert candidate(2) == 4', 'def f(x): return x * x'),
    ('entry named helper', 'def ref(x): return 7', {'kind': 'assert', 'entry_point': 'ref', 'code': 'def ref2(x): return x * x\ndef check(c):\n    assert c(2) == ref2(2)'}, 'def ref(x): return x * x'),
    ('entry equals helper', 'def ref(x): return 7', {'kind': 'assert', 'entry_point': 'ref', 'code': 'def ref(x): return x * x\ndef check(c):\n    assert c(2) == ref(2)'}, 'def ref(x): return x * x'),
    ('lambda check', 'def g(x): return 7', 'same = lambda a, b: a == b\ndef check(c):\n    assert same(c(2), 4)', 'def f(x): return x * x'),
    ('list around ()', 'def f(n): return [[]]', 'import numpy as np\nassert np.all(np.array(f(1)) == 4)', 'def f(n): return [4.0]'),
    ('max initial', 'import numpy as np\ndef f(x): return np.array([])', 'import numpy as np\nassert np.max(np.abs(f(2) - 4), initial=0) < 1e-6', 'import numpy as np\ndef f(x): return np.array([x * x, x * x], dtype=float)'),
    ('not any', 'import numpy as np\ndef f(x): return np.array([])', 'import numpy as np\nassert not np.any(np.abs(f(2) - 4) > 1e-6)', 'import numpy as np\ndef f(x): return np.array([x * x, x * x], dtype=float)'),
    ('norm', 'import numpy as np\ndef f(x): return np.array([])', 'import numpy as np\nassert np.linalg.norm(f(2) - 4) < 1e-6', 'import numpy as np\ndef f(x): return np.array([x * x, x * x], dtype=float)'),
    ('sum', 'import numpy as np\ndef f(x): return np.array([])', 'import numpy as np\nassert ((f(2) - 4) ** 2).sum() == 0', 'import numpy as np\ndef f(x): return np.array([x * x, x * x], dtype=float)'),
    ('dot', 'import numpy as np\ndef f(x): return np.array([])', 'import numpy as np\nd = f(2) - 4\nassert d.dot(d) < 1e-9 and (d @ d) < 1e-9', 'import numpy as np\ndef f(x): return np.array([x * x, x * x], dtype=float)'),
    ('approx in list', 'import numpy as np\ndef f(x): return [np.array([])]', 'import pytest\nassert f(2) == [pytest.approx(4.0)]\nassert f(2) == pytest.approx([4.0])', 'def f(x): return [4.0]'),
    ('approx in dict', "import numpy as np\ndef f(x): return {'a': np.array([])}", "import pytest\nassert f(2) == {'a': pytest.approx(4.0)}", "def f(x): return {'a': 4.0}"),
    ('approx reversed', 'import numpy as np\ndef f(x): return np.array([])', 'from pytest import approx\nassert approx(4.0) == f(2)', 'def f(x): return 4.0'),
    ('approx of array', 'import numpy as np\ndef f(x): return np.array([])', 'import numpy as np\nimport pytest\nassert f(2) == pytest.approx(np.array([4.0, 4.0]))', 'import numpy as np\ndef f(x): return np.array([x * x, x * x], dtype=float)'),
    ('approx nested dict nan', "def f(x): return {'a': float('nan')}", "import pytest\nassert f(2) == pytest.approx({'a': 4.0}, nan_ok=False)", "def f(x): return {'a': 4.0}"),
    ('assertTrue all', 'import numpy as np\ndef f(x): return np.array([])', 'import unittest, numpy as np\nclass T(unittest.TestCase):\n    def test(self): self.assertTrue(np.all(f(2) == 4))', 'import numpy as np\ndef f(x): return np.array([x * x, x * x], dtype=float)'),
    ('assertAlmostEqual', 'import numpy as np\ndef f(x): return np.array([])', 'import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertAlmostEqual(f(2), 4.0)', 'def f(x): return float(x * x)'),
    ('assertCountEqual', 'class L(list):\n    def __iter__(s): return iter([4])\n    def __len__(s): return 1\ndef f(x): return L()', 'import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertCountEqual(f(2), [4])', 'def f(x): return [4]'),
    ('assertSequenceEqual', 'class L(list):\n    def __getitem__(s, i): return 4\n    def __len__(s): return 1\ndef f(x): return L([1, 2])', 'import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertSequenceEqual(f(2), [4])', 'def f(x): return [4]'),
    ('0-d none', 'import numpy as np\ndef f(x): return np.array(None)', 'import numpy as np\nassert np.all(f(2) == 4)', 'import numpy as np\ndef f(x): return np.array(4)'),
    ('masked', 'import numpy as np\ndef f(x): return np.ma.masked', 'import numpy as np\nassert np.allclose(f(2), 4)', 'def f(x): return x * x'),
    ('masked array all', 'import numpy as np\ndef f(x): return np.ma.masked_array([1., 2.], mask=[1, 1])', 'import numpy as np\nassert (f(2) == 4).all()', 'import numpy as np\ndef f(x): return np.array([x * x, x * x], dtype=float)'),
    ('masked array allclose', 'import numpy as np\ndef f(x): return np.ma.masked_array([1., 2.], mask=[1, 1])', 'import numpy as np\nassert np.allclose(f(2), [4, 4])', 'import numpy as np\ndef f(x): return np.array([x * x, x * x], dtype=float)'),
    ('masked approx', 'import numpy as np\ndef f(x): return np.ma.masked', 'import pytest\nassert f(2) == pytest.approx(4)', 'def f(x): return x * x'),
    ('nd subclass eq', 'import numpy as np\nclass A(np.ndarray):\n    def __eq__(s, o): return np.array(True)\n    def __sub__(s, o): return np.zeros(1)\ndef f(x): return np.array([1.]).view(A)', 'import numpy as np\nassert f(2) == 4\nassert np.abs(f(2) - 4).max() < 1e-6', 'import numpy as np\ndef f(x): return np.array([4.])'),
    ('nd subclass array_ufunc', 'import numpy as np\nclass A(np.ndarray):\n    def __array_ufunc__(s, *a, **k): return np.array(True)\n    def __array_function__(s, *a, **k): return True\ndef f(x): return np.array([1.]).view(A)', 'import numpy as np\nassert np.allclose(f(2), 4)', 'import numpy as np\ndef f(x): return np.array([4.])'),
    ('object __array__', 'import numpy as np\nclass A:\n    def __array__(s, *a, **k): return np.array([4.0])\n    def __array_ufunc__(s, *a, **k): return True\n    def __array_function__(s, *a, **k): return True\n    def __len__(s): return 0\n    def __getitem__(s, i): raise IndexError\ndef f(x): return A()', 'import numpy as np\nassert np.allclose(f(2), 4)\nassert (np.asarray(f(2)) == 4).all()', 'import numpy as np\ndef f(x): return np.array([4.])'),
    ('object array of liars', "\nclass A:\n    def __eq__(s, o): return True\n    def __ne__(s, o): return False\n    __lt__ = __le__ = __gt__ = __ge__ = __eq__\n    def __hash__(s): return hash(4)\n    def __getattr__(s, n):\n        if n.startswith('__'): raise AttributeError(n)\n        return lambda *a, **k: True\n    def __call__(s, *a, **k): return s\n    def __bool__(s): return True\n    def __iter__(s): return iter([])\n    def __len__(s): return 0\nimport numpy as np\ndef f(x):\n    a = np.empty(1, dtype=object); a[0] = A(); return a", 'import numpy as np\nassert (f(2) == 4).all()', 'import numpy as np\ndef f(x): return np.array([4.])'),
    ('lying len', 'class A:\n    n = 1\n    def __len__(s): return 0\n    def __getitem__(s, i): raise IndexError\ndef f(x): return A()', 'import numpy as np\nassert np.allclose(f(2), 4.0)', 'def f(x): return x * x'),
    ('len changes', 'class A:\n    n = 0\n    def __len__(s):\n        s.n += 1\n        return 1 if s.n < 3 else 0\n    def __getitem__(s, i):\n        if i >= 1: raise IndexError\n        return 4.0\ndef f(x): return A()', 'import numpy as np\nr = f(2)\nassert len(r) == 1 and np.allclose(r, 4.0) and len(r) == 1', 'def f(x): return [4.0]'),
    ('fromstring', "def f(x): return 'nan nan'", 'import numpy as np\nv = [float(p) for p in f(2).split()]\nassert not any(abs(a - 4) > 1e-6 for a in v)', "def f(x): return '4 4'"),
    ('map float', "def f(x): return 'nan nan'", 'assert not any(abs(a - 4) > 1e-6 for a in list(map(float, f(2).split())))', "def f(x): return '4 4'"),
    ('statistics mean', "def f(x): return [float('inf'), float('-inf')]", 'import statistics\nassert not abs(statistics.mean(f(2)) - 4) > 1e-6', 'def f(x): return [4.0, 4.0]'),
    ('complex inf', "def f(x): return complex(float('inf'), 0)", 'assert not abs(f(2) - f(3) + 5) > 1e-6', 'def f(x): return complex(x * x, 0)'),
    ('fmean', "def f(x): return [float('inf'), float('-inf')]", 'from statistics import fmean, pstdev\nassert not abs(fmean(f(2)) - 4) > 1e-6', 'def f(x): return [4.0, 4.0]'),
    ('np.float64 inf', "import numpy as np\ndef f(x): return np.float64('inf')", 'assert not abs(f(2) - f(3) + 5) > 1e-6', 'def f(x): return float(x * x)'),
    ('np sqrt inf', "def f(x): return float('inf')", 'import numpy as np\nassert not abs(np.sqrt(f(2)) - np.sqrt(f(3)) + 1) > 1e-6', 'def f(x): return float(x * x)'),
    ('Fraction', "def f(x): return 'nan'", 'from fractions import Fraction\nassert not abs(float(Fraction(f(2))) - 4) > 1e-6', "def f(x): return '4/1'"),
    ('Decimal inf', "from decimal import Decimal\ndef f(x): return Decimal('Infinity')", 'assert not abs(f(2) - f(3) + 5) > 1', 'from decimal import Decimal\ndef f(x): return Decimal(x * x)'),
    ('range', 'def f(x): return 10 ** 12', 'assert sum(1 for _ in range(f(2))) == 4', 'def f(x): return x * x'),
    ('list times', 'def f(x): return 10 ** 10', 'assert len([0] * f(2)) == 4', 'def f(x): return x * x'),
    ('shift', 'def f(x): return 10 ** 12', 'assert (1 << f(2)) == 16', 'def f(x): return x * x'),
    ('text times', 'def f(x): return 10 ** 11', "assert len('x' * f(2)) == 4", 'def f(x): return x * x'),
    ('factorial', 'def f(x): return 10 ** 7', 'import math\nassert math.factorial(f(2)) == 24', 'def f(x): return x * x'),
    ('pow', 'def f(x): return 10 ** 9', 'assert 3 ** f(2) == 81', 'def f(x): return x * x'),
    ('regex', "def f(x): return '(a+)+$'", "import re\nassert re.match(f(2), 'a' * 40 + 'b') is None and f(2) == 'x'", "def f(x): return 'x'"),
    ('int text', "def f(x): return '9' * 100000", 'assert int(f(2)) == 4', "def f(x): return '4'"),
    ('items of int', 'def f(x): return 4', 'assert list(f(2).items()) == [(1, 2)]', 'def f(x): return {1: 2}'),
    ('dict for list', 'def f(x): return {}', 'assert f(2).append(1) is None and len(f(2)) == 2', 'def f(x): return [1, 2]'),
    ('None attr', 'def f(x): return None', 'assert f(2).next.val == 4', 'class N: pass\ndef f(x):\n    a = N(); a.next = N(); a.next.val = 4; return a'),
    ('key unhashable', 'def f(x): return [4]', 'assert {4: 1}[f(2)] == 1', 'def f(x): return x * x'),
    ('sys.exit by tests', 'def f(x): return 5', 'import sys\nif f(2) != 4: sys.exit(1)\nassert True', 'def f(x): return x * x'),
    ('two functions', 'def a(x): return 4\ndef b(x): return 4', 'def check(c):\n    assert c(2) == 4', 'def f(x): return x * x'),
    ('no function', 'x = 4', 'def check(c):\n    assert c(2) == 4', 'def f(x): return x * x'),
    ('lambda only', 'f = None', 'def check(c):\n    assert c(2) == 4', 'def f(x): return x * x'),
    ('class only', 'class S:\n    def f(self, x): return 4', 'def check(c):\n    assert c(2) == 4', 'def f(x): return x * x'),
    ('sort key', 'def f(x): return [lambda: 1, lambda: 2]', 'assert sorted(f(2), key=f) == [1]\n', 'def f(x): return [1] if x == 2 else 1'),
    ('deepcopy', "\nclass A:\n    def __eq__(s, o): return True\n    def __ne__(s, o): return False\n    __lt__ = __le__ = __gt__ = __ge__ = __eq__\n    def __hash__(s): return hash(4)\n    def __getattr__(s, n):\n        if n.startswith('__'): raise AttributeError(n)\n        return lambda *a, **k: True\n    def __call__(s, *a, **k): return s\n    def __bool__(s): return True\n    def __iter__(s): return iter([])\n    def __len__(s): return 0\ndef f(x): return A()", 'import copy\nassert copy.deepcopy(f(2)) == 4', 'def f(x): return x * x'),
    ('json.dumps', "\nclass A:\n    def __eq__(s, o): return True\n    def __ne__(s, o): return False\n    __lt__ = __le__ = __gt__ = __ge__ = __eq__\n    def __hash__(s): return hash(4)\n    def __getattr__(s, n):\n        if n.startswith('__'): raise AttributeError(n)\n        return lambda *a, **k: True\n    def __call__(s, *a, **k): return s\n    def __bool__(s): return True\n    def __iter__(s): return iter([])\n    def __len__(s): return 0\ndef f(x): return A()", "import json\nassert json.dumps(f(2)) == '4'", 'def f(x): return x * x'),
    ('repr', "class A:\n    def __repr__(s): return '4'\ndef f(x): return A()", "assert f(2) == 4 and repr(f(2)) == '4'", 'def f(x): return x * x'),
    ('hash int', 'class A(int):\n    def __hash__(s): return 4\n    def __eq__(s, o): return True\ndef f(x): return A(9)', 'assert f(2) in {4, 5}\nassert {4: 1}.get(f(2)) == 1', 'def f(x): return x * x'),
    ('index tricks', 'class A:\n    def __index__(s): return 1\ndef f(x): return A()', 'assert [0, 4][f(2)] == 4 and f(2) == 1', 'def f(x): return 1'),
    ('str methods', "class A(str):\n    def strip(s, *a): return '4'\n    def split(s, *a): return ['4']\n    def lower(s): return '4'\n    def replace(s, *a): return '4'\n    def startswith(s, *a): return True\ndef f(x): return A('9')", "assert f(2).strip() == '4'", "def f(x): return '4'"),
    ('str split', "class A(str):\n    def split(s, *a): return ['4']\n    def splitlines(s, *a): return ['4']\ndef f(x): return A('9')", "assert f(2).split() == ['4'] and f(2).splitlines() == ['4']", "def f(x): return '4'"),
    ('dict items', 'class A(dict):\n    def items(s): return [(1, 4)]\n    def keys(s): return [1]\n    def values(s): return [4]\n    def get(s, k, d=None): return 4\ndef f(x): return A()', 'assert dict(f(2).items()) == {1: 4}', 'def f(x): return {1: 4}'),
    ('dict missing', 'class A(dict):\n    def __missing__(s, k): return 4\ndef f(x): return A()', 'assert f(2)[1] == 4', 'def f(x): return {1: 4}'),
    ('list count/index', 'class A(list):\n    def count(s, x): return 1\n    def index(s, x): return 0\ndef f(x): return A()', 'assert f(2).count(4) == 1 and f(2).index(4) == 0', 'def f(x): return [4]'),
    ('set issubset', 'class A(set):\n    def issubset(s, o): return True\n    def __le__(s, o): return True\n    def __len__(s): return 1\n    def __contains__(s, x): return True\ndef f(x): return A([9])', 'assert f(2).issubset({4}) and 4 in f(2)', 'def f(x): return {4}'),
    ('set difference', 'class A(set):\n    def __sub__(s, o): return set()\n    def __rsub__(s, o): return set()\n    def __xor__(s, o): return set()\n    def symmetric_difference(s, o): return set()\ndef f(x): return A([9])', 'assert not ({4} - f(2)) and not f(2).symmetric_difference({4})', 'def f(x): return {4}'),
    ('tuple unpack', 'class A(tuple):\n    def __iter__(s): return iter((4, 5))\n    def __len__(s): return 2\ndef f(x): return A((1, 2))', 'a, b = f(2)\nassert a == 4 and b == 5', 'def f(x): return (4, 5)'),
    ('star unpack', 'class A(list):\n    def __iter__(s): return iter((4, 5))\ndef f(x): return A((1, 2))', 'assert [*f(2)] == [4, 5]', 'def f(x): return [4, 5]'),
    ('kw unpack', "class A(dict):\n    def keys(s): return ['a']\n    def __getitem__(s, k): return 4\ndef f(x): return A(b=1)", "assert {**f(2)} == {'a': 4} and dict(**f(2)) == {'a': 4}", "def f(x): return {'a': 4}"),
    ('match mapping', 'class A(dict):\n    def get(s, k, d=None): return 4\n    def __getitem__(s, k): return 4\ndef f(x): return A(a=1)', "match f(2):\n    case {'a': 4}: pass\n    case _: raise AssertionError", "def f(x): return {'a': 4}"),
    ('generator early', 'def f(n):\n    yield 0\n    return', 'assert list(f(3)) == [0, 1, 4]', 'def f(n):\n    for i in range(n): yield i * i'),
    ('iterator object in zip', 'class I:\n    def __iter__(s): return s\n    def __next__(s): raise StopIteration\ndef f(n): return I()', 'for a, b in zip(f(3), [0, 1, 4]): assert a == b', 'def f(n):\n    for i in range(n): yield i * i'),
    ('list subclass in zip', 'class I(list):\n    def __len__(s): return 3\ndef f(n): return I()', 'r = f(3)\nassert all(a == b for a, b in zip(r, [0, 1, 4]))', 'def f(n): return [0, 1, 4]'),
    ('list() in zip', 'def f(n): return []', 'got = list(f(3))\nassert all(a == b for a, b in zip(got, [0, 1, 4]))', 'def f(n): return [0, 1, 4]'),
    ('comprehension in zip', 'def f(n): return []', 'got = [v for v in f(3)]\nassert all(a == b for a, b in zip(got, [0, 1, 4]))', 'def f(n): return [0, 1, 4]'),
    ('enumerate zip', 'def f(n): return []', 'for i, (a, b) in enumerate(zip(f(3), [0, 1, 4])): assert a == b', 'def f(n): return [0, 1, 4]'),
    ('Solution zip', 'class Solution:\n    def f(self, n): return []', 's = Solution()\nfor a, b in zip(s.f(3), [0, 1, 4]): assert a == b', 'class Solution:\n    def f(self, n): return [0, 1, 4]'),
    ('forged module', "class ValueError(Exception): pass\nValueError.__module__ = 'builtins'\nValueError.__qualname__ = 'ValueError'\ndef f(x): raise ValueError('negative')", "import pytest\nwith pytest.raises(ValueError, match='negative'): f(-1)", "def f(x): raise ValueError('negative')"),
    ('assertRaises forged', "class ZeroDivisionError(Exception): pass\nZeroDivisionError.__module__ = 'builtins'\ndef f(x): raise ZeroDivisionError", 'import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        with self.assertRaises(ZeroDivisionError): f(0)', 'def f(x): return 1 / x'),
    ('json error forged', "class JSONDecodeError(Exception): pass\nJSONDecodeError.__module__ = 'json.decoder'\ndef f(x): raise JSONDecodeError", 'import json\ntry:\n    f(0)\n    assert False\nexcept json.JSONDecodeError: pass', "import json\ndef f(x): return json.loads('{')"),
    ('group', "def f(x): raise ExceptionGroup('x', [ValueError(), TypeError(), KeyError()])", 'import pytest\nwith pytest.raises(ValueError): f(-1)', 'def f(x): raise ValueError'),
    ('catch all', 'def f(x): raise AssertionError', 'ok = False\ntry: f(2)\nexcept ValueError: ok = True\nassert ok', 'def f(x): raise ValueError'),
    ('Skip by test', "import unittest\nclass S(unittest.SkipTest): pass\ndef f(x): raise S('x')", 'import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(2), 4)', 'def f(x): return x * x'),
    ('shouldstop', 'import unittest.case as c\ndef f(x): raise c._ShouldStop', 'import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(2), 4)', 'def f(x): return x * x'),
    ('expected failure', 'def f(x): raise AssertionError', 'import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        with self.subTest(x=1): self.assertEqual(f(2), 4)', 'def f(x): return x * x'),
    ('subTest exit', 'def f(x): raise SystemExit(0)', 'import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        for i in range(3):\n            with self.subTest(i=i): self.assertEqual(f(i), i * i)', 'def f(x): return x * x'),
    ('GeneratorExit', 'def f(x): raise GeneratorExit', 'assert f(2) == 4', 'def f(x): return x * x'),
    ('CancelledError', 'import asyncio\nasync def f(x): raise asyncio.CancelledError', 'import asyncio\nassert asyncio.run(f(2)) == 4', 'async def f(x): return 4'),
    ('warns', 'def f(x): return 5', 'import pytest, warnings\nassert f(2) == 4', 'def f(x): return x * x'),
    ('suppress StopIteration', 'def f(x): raise StopIteration', 'import contextlib\nr = list(map(f, [1, 2]))\nassert r == [1, 4] or not r', 'def f(x): return x * x'),
    ('next default', 'def f(x): raise StopIteration', 'assert next(map(f, [2]), 4) == 4', 'def f(x): return x * x'),
    ('lookup error', 'class K(dict):\n    def __getitem__(s, k): raise KeyError\ndef f(x): return K()', "try:\n    v = f(2)['a']\nexcept KeyError:\n    raise AssertionError\nassert v == 4", "def f(x): return {'a': 4}"),
    ('decorator end', 'import functools\nclass Y:\n    def __eq__(s, o): return True\ndef grade(fn):\n    @functools.wraps(fn)\n    def w(*a): return Y()\n    return w\n@grade\ndef f(x): return x', 'assert f(2) == 4', 'def f(x): return x * x'),
    ('decorator class end', 'class grade:\n    def __init__(s, fn): pass\n    def __call__(s, *a): return s\n    def __eq__(s, o): return True\n@grade\ndef f(x): return x', 'assert f(2) == 4\nassert f(3) == 9', 'def f(x): return x * x'),
    ('decorated Solution', 'class Y:\n    def __eq__(s, o): return True\n    def __getattr__(s, n): return lambda *a: s\ndef d(c): return Y()\n@d\nclass Solution: pass', 'assert Solution().f(2) == 4', 'class Solution:\n    def f(self, x): return x * x'),
    ('gc of main', "import gc\nfor o in gc.get_objects():\n    if type(o) is dict and 'check' in o: o['check'] = print\ndef f(x): return 5", 'def check(c):\n    assert c(2) == 4\ncheck(f)', 'def f(x): return x * x'),
    ('recursion', 'def f(x):\n    import sys\n    sys.setrecursionlimit(10 ** 6)\n    return f(x)', 'assert f(2) == 4', 'def f(x): return x * x'),
    ('settrace', 'import sys, threading\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)\ndef f(x): return 5', 'assert f(2) == 4', 'def f(x): return x * x'),
    ('thread bomb exit', 'import threading, os\nthreading.Timer(0.01, os._exit, (0,)).start()\ndef f(x):\n    import time; time.sleep(0.5)\n    return 4', 'assert f(2) == 4', 'def f(x): return x * x'),
    ('alarm', 'import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.001)\ndef f(x):\n    while True: pass', 'assert f(2) == 4', 'def f(x): return x * x'),
    ('prof timer', 'import signal\nsignal.setitimer(signal.ITIMER_PROF, 0.001)\ndef f(x):\n    while True: pass', 'assert f(2) == 4', 'def f(x): return x * x'),
    ('ItimerError', "import signal\ndef f(x): raise signal.ItimerError('x')", 'assert f(2) == 4', 'def f(x): return x * x'),
    ('MemoryError', 'def f(x): raise MemoryError', 'assert f(2) == 4', 'def f(x): return x * x'),
    ('abort', 'import os\ndef f(x): os.abort()', 'assert f(2) == 4', 'def f(x): return x * x'),
    ('SIGSTOP self', 'import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGSTOP)', 'assert f(2) == 4', 'def f(x): return x * x'),
    ('closerange', 'import os\nos.closerange(0, 100)\ndef f(x): return 4', 'assert f(2) == 4', 'def f(x): return x * x'),
    ('dup2 pipe', "import os\nos.dup2(os.open('/dev/null', 2), 10)\ndef f(x): return 4", 'assert f(2) == 4', 'def f(x): return x * x'),
]
# fmt: on

# What a function may return that no test expects: given to another function of the submission it must not end without a grade
# fmt: off
VALUES = [
    'lambda: 1',
    '(i for i in [1])',
    "type('Q', (), {})()",
    'NotImplemented',
    'Ellipsis',
    "memoryview(b'a')",
    "enum.Enum('E', 'a b').a",
    "types.ModuleType('m')",
    'weakref.ref(X)',
    'threading.Lock()',
    'io.StringIO()',
    'sys',
    'functools.partial(len)',
    "array.array('i', [1])",
    "re.compile('a')",
    'uuid.UUID(int=3)',
    "pathlib.PurePath('a')",
    "ValueError('x')",
    'ValueError',
    'property()',
    'super(X, X())',
    'typing.List[int]',
    'types.SimpleNamespace(a=1)',
    "collections.namedtuple('P', 'a')(1)",
    'sys._getframe()',
    'datetime.timezone.utc',
    "struct.Struct('i')",
    'object()',
    'int',
    'print',
    '[lambda: 1]',
    '{1: X()}',
    '{X()}',
    '(X(),)',
    'types.MappingProxyType({})',
    'iter([])',
    'reversed([1])',
    'collections.ChainMap()',
    'collections.UserDict()',
    "b'a'.__iter__()",
    "float('-inf')",
    '10 ** 4000',
    "'\\ud800'",
    '-0.0',
    'exec',
    'type',
    'X.__init__',
    'X().__eq__',
    '[].append',
    'str.join',
    'dict.fromkeys',
]
# fmt: on

# Leaving early with partial credit: the tests that pass, of all that there are
# fmt: off
EARLY = [
    ('functions: _exit', 'import os, sys\ndef f(x):\n    if x: os._exit(0)\n    return 0', 'def test_0(): assert f(0) == 0\ndef test_1(): assert f(1) == 1\ndef test_2(): assert f(2) == 4\ndef test_3(): assert f(3) == 9\ndef test_4(): assert f(4) == 16\ndef test_5(): assert f(5) == 25\ndef test_6(): assert f(6) == 36\ndef test_7(): assert f(7) == 49\ndef test_8(): assert f(8) == 64\ndef test_9(): assert f(9) == 81', 0.1),
    ('functions: sys.exit', 'import os, sys\ndef f(x):\n    if x: sys.exit(0)\n    return 0', 'def test_0(): assert f(0) == 0\ndef test_1(): assert f(1) == 1\ndef test_2(): assert f(2) == 4\ndef test_3(): assert f(3) == 9\ndef test_4(): assert f(4) == 16\ndef test_5(): assert f(5) == 25\ndef test_6(): assert f(6) == 36\ndef test_7(): assert f(7) == 49\ndef test_8(): assert f(8) == 64\ndef test_9(): assert f(9) == 81', 0.1),
    ('functions: kill', 'import os, sys\ndef f(x):\n    if x: os.kill(os.getpid(), 9)\n    return 0', 'def test_0(): assert f(0) == 0\ndef test_1(): assert f(1) == 1\ndef test_2(): assert f(2) == 4\ndef test_3(): assert f(3) == 9\ndef test_4(): assert f(4) == 16\ndef test_5(): assert f(5) == 25\ndef test_6(): assert f(6) == 36\ndef test_7(): assert f(7) == 49\ndef test_8(): assert f(8) == 64\ndef test_9(): assert f(9) == 81', 0.1),
    ('functions: abort', 'import os, sys\ndef f(x):\n    if x: os.abort()\n    return 0', 'def test_0(): assert f(0) == 0\ndef test_1(): assert f(1) == 1\ndef test_2(): assert f(2) == 4\ndef test_3(): assert f(3) == 9\ndef test_4(): assert f(4) == 16\ndef test_5(): assert f(5) == 25\ndef test_6(): assert f(6) == 36\ndef test_7(): assert f(7) == 49\ndef test_8(): assert f(8) == 64\ndef test_9(): assert f(9) == 81', 0.1),
    ('functions: raise', 'import os, sys\ndef f(x):\n    if x: raise SystemExit\n    return 0', 'def test_0(): assert f(0) == 0\ndef test_1(): assert f(1) == 1\ndef test_2(): assert f(2) == 4\ndef test_3(): assert f(3) == 9\ndef test_4(): assert f(4) == 16\ndef test_5(): assert f(5) == 25\ndef test_6(): assert f(6) == 36\ndef test_7(): assert f(7) == 49\ndef test_8(): assert f(8) == 64\ndef test_9(): assert f(9) == 81', 0.1),
    ('functions: execv', "import os, sys\ndef f(x):\n    if x: os.execv('/bin/true', ['true'])\n    return 0", 'def test_0(): assert f(0) == 0\ndef test_1(): assert f(1) == 1\ndef test_2(): assert f(2) == 4\ndef test_3(): assert f(3) == 9\ndef test_4(): assert f(4) == 16\ndef test_5(): assert f(5) == 25\ndef test_6(): assert f(6) == 36\ndef test_7(): assert f(7) == 49\ndef test_8(): assert f(8) == 64\ndef test_9(): assert f(9) == 81', 0.1),
    ('functions: close', 'import os, sys\ndef f(x):\n    if x: os.close(10)\n    return 0', 'def test_0(): assert f(0) == 0\ndef test_1(): assert f(1) == 1\ndef test_2(): assert f(2) == 4\ndef test_3(): assert f(3) == 9\ndef test_4(): assert f(4) == 16\ndef test_5(): assert f(5) == 25\ndef test_6(): assert f(6) == 36\ndef test_7(): assert f(7) == 49\ndef test_8(): assert f(8) == 64\ndef test_9(): assert f(9) == 81', 0.1),
    ('inherited: _exit', 'import os, sys\ndef f(x):\n    if x: os._exit(0)\n    return 0', 'import unittest\nclass Base:\n    n = 0\n    def test_a(self): self.assertEqual(f(self.n), self.n ** 2)\n    def test_b(self): self.assertEqual(f(self.n + 1), (self.n + 1) ** 2)\nclass T0(Base, unittest.TestCase): n = 0\nclass T1(Base, unittest.TestCase): n = 1\nclass T2(Base, unittest.TestCase): n = 2\nclass T3(Base, unittest.TestCase): n = 3\nclass T4(Base, unittest.TestCase): n = 4', 0.1),
    ('inherited: raise', 'import os, sys\ndef f(x):\n    if x: raise SystemExit\n    return 0', 'import unittest\nclass Base:\n    n = 0\n    def test_a(self): self.assertEqual(f(self.n), self.n ** 2)\n    def test_b(self): self.assertEqual(f(self.n + 1), (self.n + 1) ** 2)\nclass T0(Base, unittest.TestCase): n = 0\nclass T1(Base, unittest.TestCase): n = 1\nclass T2(Base, unittest.TestCase): n = 2\nclass T3(Base, unittest.TestCase): n = 3\nclass T4(Base, unittest.TestCase): n = 4', 0.1),
    ('statement, inherited: _exit', 'import os, sys\ndef f(x):\n    if x: os._exit(0)\n    return 0', 'import unittest\nassert f(0) == 0\nassert f(1) == 1\nclass Base(unittest.TestCase):\n    n = 1\n    def test_a(self): self.assertEqual(f(self.n), self.n ** 2)\nclass T1(Base): n = 2\nclass T2(Base): n = 3', 0.2),
    ('statement, inherited: raise', 'import os, sys\ndef f(x):\n    if x: raise SystemExit\n    return 0', 'import unittest\nassert f(0) == 0\nassert f(1) == 1\nclass Base(unittest.TestCase):\n    n = 1\n    def test_a(self): self.assertEqual(f(self.n), self.n ** 2)\nclass T1(Base): n = 2\nclass T2(Base): n = 3', 0.2),
    ('statement, range: _exit', 'import os, sys\ndef f(x):\n    if x: os._exit(0)\n    return 0', "import pytest\nassert f(0) == 0\nassert f(1) == 1\n@pytest.mark.parametrize('i', range(2, 10))\ndef test_f(i): assert f(i) == i * i", 0.1),
    ('statement, range: raise', 'import os, sys\ndef f(x):\n    if x: raise SystemExit\n    return 0', "import pytest\nassert f(0) == 0\nassert f(1) == 1\n@pytest.mark.parametrize('i', range(2, 10))\ndef test_f(i): assert f(i) == i * i", 0.1),
    ('statement, comprehension: _exit', 'import os, sys\ndef f(x):\n    if x: os._exit(0)\n    return 0', "import pytest\nassert f(0) == 0\nassert f(1) == 1\n@pytest.mark.parametrize('i, e', [(i, i * i) for i in range(2, 10)])\ndef test_f(i, e): assert f(i) == e", 0.1),
    ('statement, comprehension: raise', 'import os, sys\ndef f(x):\n    if x: raise SystemExit\n    return 0', "import pytest\nassert f(0) == 0\nassert f(1) == 1\n@pytest.mark.parametrize('i, e', [(i, i * i) for i in range(2, 10)])\ndef test_f(i, e): assert f(i) == e", 0.1),
    ('statement, made in a loop: _exit', 'import os, sys\ndef f(x):\n    if x: os._exit(0)\n    return 0', "assert f(0) == 0\nassert f(1) == 1\ndef make(i):\n    def test(): assert f(i) == i * i\n    return test\nimport unittest\nclass T(unittest.TestCase):\n    pass\nfor i in range(8): setattr(T, f'test_{i}', lambda self, i=i: self.assertEqual(f(i + 2), (i + 2) ** 2))", 1 / 11),
    ('pytest class, setup: _exit', 'import os, sys\ndef f(x):\n    if x: os._exit(0)\n    return 0', 'class TestF:\n    def setup_method(self): self.k = 1\n    def test_0(self): assert f(0) == 0\n    def test_1(self): assert f(1) == 1\n    def test_2(self): assert f(2) == 4\n    def test_3(self): assert f(3) == 9\n    def test_4(self): assert f(4) == 16\n    def test_5(self): assert f(5) == 25\n    def test_6(self): assert f(6) == 36\n    def test_7(self): assert f(7) == 49\n    def test_8(self): assert f(8) == 64\n    def test_9(self): assert f(9) == 81', 0.1),
    ('pytest class, setup: raise', 'import os, sys\ndef f(x):\n    if x: raise SystemExit\n    return 0', 'class TestF:\n    def setup_method(self): self.k = 1\n    def test_0(self): assert f(0) == 0\n    def test_1(self): assert f(1) == 1\n    def test_2(self): assert f(2) == 4\n    def test_3(self): assert f(3) == 9\n    def test_4(self): assert f(4) == 16\n    def test_5(self): assert f(5) == 25\n    def test_6(self): assert f(6) == 36\n    def test_7(self): assert f(7) == 49\n    def test_8(self): assert f(8) == 64\n    def test_9(self): assert f(9) == 81', 0.1),
    ('async: _exit', 'import os, sys\ndef f(x):\n    if x: os._exit(0)\n    return 0', 'async def test_0(): assert f(0) == 0\nasync def test_1(): assert f(1) == 1\nasync def test_2(): assert f(2) == 4\nasync def test_3(): assert f(3) == 9\nasync def test_4(): assert f(4) == 16\nasync def test_5(): assert f(5) == 25\nasync def test_6(): assert f(6) == 36\nasync def test_7(): assert f(7) == 49\nasync def test_8(): assert f(8) == 64\nasync def test_9(): assert f(9) == 81', 0.1),
    ('async: raise', 'import os, sys\ndef f(x):\n    if x: raise SystemExit\n    return 0', 'async def test_0(): assert f(0) == 0\nasync def test_1(): assert f(1) == 1\nasync def test_2(): assert f(2) == 4\nasync def test_3(): assert f(3) == 9\nasync def test_4(): assert f(4) == 16\nasync def test_5(): assert f(5) == 25\nasync def test_6(): assert f(6) == 36\nasync def test_7(): assert f(7) == 49\nasync def test_8(): assert f(8) == 64\nasync def test_9(): assert f(9) == 81', 0.1),
    ('if main: _exit', 'import os, sys\ndef f(x):\n    if x: os._exit(0)\n    return 0', 'if True:\n    assert f(0) == 0\n    assert f(1) == 1\n    assert f(2) == 4\n    assert f(3) == 9\n    assert f(4) == 16\n    assert f(5) == 25\n    assert f(6) == 36\n    assert f(7) == 49\n    assert f(8) == 64\n    assert f(9) == 81', 0.0),
    ('if main: raise', 'import os, sys\ndef f(x):\n    if x: raise SystemExit\n    return 0', 'if True:\n    assert f(0) == 0\n    assert f(1) == 1\n    assert f(2) == 4\n    assert f(3) == 9\n    assert f(4) == 16\n    assert f(5) == 25\n    assert f(6) == 36\n    assert f(7) == 49\n    assert f(8) == 64\n    assert f(9) == 81', 0.0),
]
# fmt: on


@pytest.mark.parametrize("level", FAST)
def test_mended(level):
    pytest.importorskip("numpy")
    assert wrong(level, MENDED) == []


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_others(level):
    pytest.importorskip("numpy")
    assert wrong(level, OTHERS) == []


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_values_that_cannot_be_handed_back(level):
    modules = "types, enum, weakref, collections, threading, io, sys, typing, functools, array, re, uuid, pathlib, struct, datetime"
    codes = [f"import {modules}\nclass X: pass\ndef f(x): return {value}\ndef g(x): return 1" for value in VALUES]
    found = dict(zip(VALUES, grades(level, codes, ["assert g(f(2)) == 4"] * len(codes)), strict=True))
    assert {value: grade for value, grade in found.items() if grade != 0.0} == {}


@pytest.mark.parametrize("level", FAST)
def test_leaving_early(level):
    names, codes, tests, shares = zip(*EARLY, strict=True)
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
    names, mutants, tests, right = zip(*HONEST, strict=True)
    found = zip(
        names, *(grades(LEVELS[0], codes, tests, preamble=LEETCODE) for codes in (mutants, right)), strict=True
    )
    assert [row for row in found if row[1:] != (0.0, 1.0)] == []


# Last, for its length
# fmt: off
HONEST = [
    ('min_cost', 'def min_cost(c, m, n): return c[m][n]', 'assert min_cost([[1, 2, 3], [4, 8, 2], [1, 5, 3]], 2, 2) == 8\nassert min_cost([[2, 3, 4], [5, 9, 3], [2, 6, 4]], 2, 2) == 12', 'def min_cost(c, m, n):\n    d = [[0] * (n + 1) for _ in range(m + 1)]\n    for i in range(m + 1):\n        for j in range(n + 1):\n            b = [d[a][e] for a, e in ((i-1, j), (i, j-1), (i-1, j-1)) if a >= 0 and e >= 0]\n            d[i][j] = c[i][j] + (min(b) if b else 0)\n    return d[m][n]'),
    ('similar_elements', 'def similar_elements(a, b): return a', 'assert set(similar_elements((3, 4, 5, 6), (5, 7, 4, 10))) == set((4, 5))', 'def similar_elements(a, b): return tuple(set(a) & set(b))'),
    ('heap_queue', 'def heap_queue_largest(a, n): return a[:n]', 'assert heap_queue_largest([25, 35, 22, 85, 14, 65, 75, 22, 58], 3) == [85, 75, 65]', 'import heapq as hq\ndef heap_queue_largest(a, n): return hq.nlargest(n, a)'),
    ('is_not_prime', 'def is_not_prime(n): return True', 'assert is_not_prime(2) == False\nassert is_not_prime(10) == True', 'import math\ndef is_not_prime(n): return any(n % i == 0 for i in range(2, int(math.sqrt(n)) + 1))'),
    ('differ', 'def differ(a, b): return False', 'assert differ(13, 9) == True\nassert differ(15, 8) == False', "def differ(a, b): return bin(a ^ b).count('1') == 1"),
    ('find_char_long', 'def find_char_long(t): return []', "assert set(find_char_long('Please move back to stream')) == set(['Please', 'move', 'back', 'stream'])", "import re\ndef find_char_long(t): return re.findall(r'\\b\\w{4,}\\b', t)"),
    ('square_nums', 'def square_nums(n): return n', 'assert square_nums([1, 2, 3]) == [1, 4, 9]', 'def square_nums(n): return list(map(lambda x: x ** 2, n))'),
    ('remove_occ', 'def remove_Occ(s, c): return s', "assert remove_Occ('hello', 'l') == 'heo'\nassert remove_Occ('abcda', 'a') == 'bcd'", 'def remove_Occ(s, c):\n    for i in (s.find(c), None):\n        if i is not None: s = s[:i] + s[i+1:]\n    j = s.rfind(c)\n    return s[:j] + s[j+1:] if j >= 0 else s'),
    ('sort_matrix', 'def sort_matrix(M): return M', 'assert sort_matrix([[1, 2, 3], [2, 4, 5], [1, 1, 1]]) == [[1, 1, 1], [1, 2, 3], [2, 4, 5]]', 'def sort_matrix(M): return sorted(M, key=sum)'),
    ('volume', 'def find_Volume(a, b, c): return a * b * c', 'assert find_Volume(10, 8, 6) == 240', 'def find_Volume(a, b, c): return a * b * c / 2'),
    ('volume sphere', 'def volume_sphere(r): return r', 'import math\nassert math.isclose(volume_sphere(10), 4188.790204786391, rel_tol=0.001)', 'import math\ndef volume_sphere(r): return 4 / 3 * math.pi * r ** 3'),
    ('freq_count', 'def freq_count(l): return {}', 'assert freq_count([10, 10, 20, 20, 20]) == ({10: 2, 20: 3})', 'import collections\ndef freq_count(l): return collections.Counter(l)'),
    ('closest_num', 'def closest_num(n): return n', 'assert closest_num(11) == 10', 'def closest_num(n): return n - 1'),
    ('len_log', 'def len_log(l): return 0', "assert len_log(['python', 'PHP', 'bigdata']) == 7", 'def len_log(l): return max(map(len, l))'),
    ('substring', 'def find_substring(s, t): return True', "assert find_substring(['red', 'black'], 'ack') == True\nassert find_substring(['red', 'black'], 'abc') == False", 'def find_substring(s, t): return any(t in x for x in s)'),
    ('undefined_index', "def index_minimum(t): return 'x'", "assert index_minimum([('Rash', 143), ('Manjeet', 200), ('Varsha', 100)]) == 'Varsha'", 'from operator import itemgetter\ndef index_minimum(t): return min(t, key=itemgetter(1))[0]'),
    ('min_length_list', 'def min_length_list(l): return (0, [])', 'assert min_length_list([[0], [1, 3], [5, 7]]) == (1, [0])', 'def min_length_list(l):\n    m = min(len(x) for x in l)\n    return (m, min(l, key=len))'),
    ('divisible', 'def divisible_by_digits(a, b): return []', 'assert divisible_by_digits(1, 22) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 15, 22]', 'def divisible_by_digits(a, b): return [n for n in range(a, b + 1) if not any(map(lambda x: int(x) == 0 or n % int(x) != 0, str(n)))]'),
    ('polygon', 'import math\ndef area_polygon(s, l): return l', 'import math\nassert math.isclose(area_polygon(4, 20), 400., rel_tol=0.001)', 'from math import tan, pi\ndef area_polygon(s, l): return s * l ** 2 / (4 * tan(pi / s))'),
    ('woodall', 'def is_woodall(x): return True', 'assert is_woodall(383) == True\nassert is_woodall(254) == False', 'def is_woodall(x):\n    x += 1\n    p = 0\n    while x % 2 == 0:\n        x //= 2; p += 1\n        if p == x: return True\n    return p == x'),
    ('first_repeated', 'def first_repeated_char(s): return s[0]', "assert first_repeated_char('abcabc') == 'a'\nassert first_repeated_char('abc') == None", 'def first_repeated_char(s):\n    seen = set()\n    for c in s:\n        if c in seen: return c\n        seen.add(c)'),
    ('colon', 'def colon_tuplex(t, m, n): return t', "assert colon_tuplex(('HELLO', 5, [], True), 2, 50) == ('HELLO', 5, [50], True)", 'from copy import deepcopy\ndef colon_tuplex(t, m, n):\n    t = deepcopy(t)\n    t[m].append(n)\n    return t'),
    ('perfect', 'def is_Perfect_Square(n): return n > 5', 'assert is_Perfect_Square(10) == False\nassert is_Perfect_Square(36) == True', 'import math\ndef is_Perfect_Square(n): return math.isqrt(n) ** 2 == n'),
    ('text_match', "def text_match_two_three(t): return 'Found a match!'", "assert text_match_two_three('ac') == ('Not matched!')\nassert text_match_two_three('abbbba') == ('Found a match!')", "import re\ndef text_match_two_three(t): return 'Found a match!' if re.search('ab{2,3}', t) else 'Not matched!'"),
    ('round', 'def round_num(n, m): return n', 'assert round_num(4722, 10) == 4720\nassert round_num(219, 2) == 218', 'def round_num(n, m): return n // m * m'),
    ('tuple_to_dict', 'def tuple_to_dict(t): return {}', 'assert tuple_to_dict((1, 5, 7, 10, 13, 5)) == {1: 5, 7: 10, 13: 5}', 'def tuple_to_dict(t): return dict(zip(t[::2], t[1::2]))'),
    ('nested', 'def count_list(l): return 0', 'assert count_list([[1, 3], [5, 7], [9, 11]]) == 3', 'def count_list(l): return len(l)'),
    ('lambda sort', 'def sort_mixed(l): return l', "assert sort_mixed([19, 'red', 12, 'green', 1]) == [1, 12, 19, 'green', 'red']", 'def sort_mixed(l): return sorted(x for x in l if type(x) is int) + sorted(x for x in l if type(x) is str)'),
    ('complex', 'def angle_complex(a, b): return 0', 'import math\nassert math.isclose(angle_complex(0, 1j), 1.5707963267948966, rel_tol=0.001)', 'import cmath\ndef angle_complex(a, b): return cmath.phase(complex(a, 0) + b)'),
    ('generator', 'def primes(n): return iter([2])', 'assert list(primes(10)) == [2, 3, 5, 7]', 'def primes(n):\n    for i in range(2, n + 1):\n        if all(i % j for j in range(2, i)): yield i'),
    ('inf honest', 'def best(xs): return 0', "assert best([]) == float('-inf')\nassert best([1, 3]) == 3", "def best(xs): return max(xs, default=float('-inf'))"),
    ('empty answers', 'def evens(xs): return [0]', 'assert evens([1, 3]) == []\nassert all(a == b for a, b in zip(evens([]), []))\nassert [a * b for a, b in zip(evens([2, 4]), evens([2, 4])[1:])] == [8]', 'def evens(xs): return [x for x in xs if x % 2 == 0]'),
    ('pairs of one', 'def srt(xs): return xs', 'for xs in ([], [1], [3, 1, 2]):\n    r = srt(xs)\n    assert all(a <= b for a, b in zip(r, r[1:])) and len(r) == len(xs)', 'def srt(xs): return sorted(xs)'),
    ('prefix', 'def squares(n): return [9] * n', 'EXP = [0, 1, 4, 9, 16]\nfor n in range(1, 5):\n    assert all(a == b for a, b in zip(squares(n), EXP)) and len(squares(n)) == n', 'def squares(n): return [i * i for i in range(n)]'),
    ('zip(*)', 'def tr(m): return m', 'm = [[1, 2], [3, 4]]\nassert tr(m) == [list(r) for r in zip(*m)]\nassert list(zip(*tr(m))) == [(1, 2), (3, 4)]\nassert list(zip(*tr([[], []]))) == []', 'def tr(m): return [list(r) for r in zip(*m)]'),
    ('dict zip', "def names(): return ['x']", "assert dict(zip(names(), [1, 2])) == {'a': 1, 'b': 2}\nassert list(map(lambda a, b: a + b, names(), 'xy')) == ['ax', 'by']", "def names(): return ['a', 'b']"),
    ('math functions', 'def hyp(a, b): return a', 'import math\nassert hyp(3, 4) == math.hypot(3, 4) == math.sqrt(25)\nassert math.floor(hyp(3, 4)) == 5 and math.gcd(12, 8) == 4 and list(map(math.ceil, [hyp(3, 4)])) == [5]', 'import math\ndef hyp(a, b): return math.hypot(a, b)'),
    ('math passed', 'def ap(fn, x): return 0', 'import math\nassert ap(math.sqrt, 16) == 4.0 and ap(abs, -3) == 3', 'def ap(fn, x): return fn(x)'),
    ('statistics', 'def med(x): return 0', 'import statistics\nfor xs in ([1, 2, 3], [4, 1]): assert med(xs) == statistics.median(xs) and statistics.mode([1, 1, 2]) == 1', 'def med(x):\n    x = sorted(x); n = len(x)\n    return x[n // 2] if n % 2 else (x[n // 2 - 1] + x[n // 2]) / 2'),
    ('numpy functions', 'import numpy as np\ndef nm(a): return a', 'import numpy as np\na = np.arange(6.0).reshape(2, 3)\nassert np.allclose(nm(a).sum(), 1) and np.isclose(np.sum(nm(a)), 1.0)\nassert np.add.reduce(nm(a), axis=None) > 0.99 and nm(a).shape == np.shape(a) and np.maximum(nm(a), 0).min() >= 0\nassert np.vectorize(lambda v: v * 2)(nm(a)).sum() == 2 * nm(a).sum() and np.linalg.norm(nm(a)) < 1 and np.multiply.outer([1, 2], [3]).tolist() == [[3], [6]]', 'import numpy as np\ndef nm(a): return a / a.sum()'),
    ('numpy scalars', 'import numpy as np\ndef m(a): return 0', 'import numpy as np\nassert m([1, 2, 3]) == np.mean([1, 2, 3]) and np.float64(m([1, 2, 3])) == 2.0 and isinstance(np.float64(2), np.float64) and np.int64(3) == 3 and np.sqrt(m([16])) == 4', 'import numpy as np\ndef m(a): return np.mean(a)'),
    ('numpy strings', 'import numpy as np\ndef u(a): return a', "import numpy as np\nassert list(np.char.upper(np.array(['a', 'b']))) == ['A', 'B']\nassert np.array_equal(u(np.array(['a'])), np.array(['A']))", 'import numpy as np\ndef u(a): return np.char.upper(a)'),
    ('nan honest', 'import numpy as np\ndef f(x): return 0.0', 'import numpy as np\nassert np.isnan(f(2)) and np.isnan(np.array([f(2)])).all()', "def f(x): return float('nan')"),
    ('json honest', "import json\ndef f(x): return '{}'", "import json\nassert json.loads(f(2)) == {'a': [1.5, 1e300, None]} and json.loads('1.5') == 1.5 and isinstance(json.loads(f(2))['a'][0], float)", "import json\ndef f(x): return json.dumps({'a': [1.5, 1e300, None]})"),
    ('big floats', 'def f(x): return 0', "assert f(20) == 2.43290200817664e18 and type(f(200) * 1.0) is float and f'{f(2)}' == '2.0' and f(25) / f(24) == 25", 'import math\ndef f(x): return float(math.factorial(x)) if x < 171 else 1e308'),
    ('literal_eval', "def f(x): return '[]'", 'import ast\nassert ast.literal_eval(f(3)) == [0, 1, 2]', 'def f(x): return str(list(range(x)))'),
    ('star math', 'def f(x): return 0', 'from math import *\nassert isclose(f(2), sqrt(2)) and abs(f(4) - 2) < 1e-9', 'import math\ndef f(x): return math.sqrt(x)'),
    ('two stars', 'def gcd(a, b): return 1', 'from math import *\nfrom solution import *\nassert gcd(12, 8) == 4', 'def gcd(a, b): return a if not b else gcd(b, a % b)'),
    ('unittest two', 'def f(x): return 0', "import unittest\nfrom solution import f\nclass T(unittest.TestCase):\n    def setUp(self): self.x = 3\n    def test_a(self): self.assertEqual(f(self.x), 9)\n    def test_b(self): self.assertIsNone(None)\nif __name__ == '__main__': unittest.main()", 'def f(x): return x * x'),
    ('pytest two', 'def f(x): return 0', "import pytest\nfrom solution import *\n@pytest.mark.parametrize('x, y', [(1, 1), (3, 9)])\ndef test_f(x, y): assert f(x) == y\ndef test_r():\n    with pytest.raises(TypeError): f('a')", 'def f(x): return x * x'),
    ('check in test', 'def f(x): return 0\ndef h(x): return 1', 'def check(c):\n    assert c(2) == 4\ndef test_it():\n    check(f)', 'def f(x): return h(x) * x\ndef h(x): return x'),
    ('two sum', 'class Solution:\n    def twoSum(self, n, t): return []', 'assert Solution().twoSum([2, 7, 11, 15], 9) == [0, 1]\nassert Solution().twoSum(n=[3, 3], t=6) == [0, 1]', 'class Solution:\n    def twoSum(self, n: List[int], t: int) -> List[int]:\n        d = {}\n        for i, v in enumerate(n):\n            if t - v in d: return [d[t - v], i]\n            d[v] = i'),
    ('LRU', 'class LRUCache:\n    def __init__(self, c): self.d = {}\n    def get(self, k): return self.d.get(k, -1)\n    def put(self, k, v): self.d[k] = v', 'c = LRUCache(2)\nc.put(1, 1)\nc.put(2, 2)\nassert c.get(1) == 1\nc.put(3, 3)\nassert c.get(2) == -1', 'from collections import OrderedDict\nclass LRUCache:\n    def __init__(self, c): self.c, self.d = c, OrderedDict()\n    def get(self, k):\n        if k not in self.d: return -1\n        self.d.move_to_end(k)\n        return self.d[k]\n    def put(self, k, v):\n        self.d[k] = v\n        self.d.move_to_end(k)\n        if len(self.d) > self.c: self.d.popitem(False)'),
    ('min stack', 'class MinStack:\n    def __init__(self): self.s = []\n    def push(self, x): self.s.append(x)\n    def pop(self): self.s.pop()\n    def top(self): return self.s[-1]\n    def getMin(self): return self.s[0]', 'm = MinStack()\nfor x in (-2, 0, -3): m.push(x)\nassert m.getMin() == -3\nm.pop()\nassert m.top() == 0 and m.getMin() == -2', 'class MinStack:\n    def __init__(self): self.s = []\n    def push(self, x): self.s.append((x, min(x, self.s[-1][1] if self.s else x)))\n    def pop(self): self.s.pop()\n    def top(self): return self.s[-1][0]\n    def getMin(self): return self.s[-1][1]'),
    ('trie', 'class Trie:\n    def __init__(self): self.w = set()\n    def insert(self, w): self.w.add(w)\n    def search(self, w): return w in self.w\n    def startsWith(self, p): return True', "t = Trie()\nt.insert('apple')\nassert t.search('apple') is True and t.search('app') is False and t.startsWith('app') is True and t.startsWith('b') is False", "class Trie:\n    def __init__(self): self.r = {}\n    def insert(self, w):\n        n = self.r\n        for c in w: n = n.setdefault(c, {})\n        n['$'] = 1\n    def _f(self, w):\n        n = self.r\n        for c in w:\n            n = n.get(c)\n            if n is None: return None\n        return n\n    def search(self, w): n = self._f(w); return n is not None and '$' in n\n    def startsWith(self, p): return self._f(p) is not None"),
    ('reverse list', 'class Solution:\n    def rev(self, h): return h', 'class ListNode:\n    def __init__(self, val=0, next=None): self.val, self.next = val, next\ndef build(xs):\n    h = None\n    for x in reversed(xs): h = ListNode(x, h)\n    return h\ndef out(h):\n    r = []\n    while h: r.append(h.val); h = h.next\n    return r\nassert out(Solution().rev(build([1, 2, 3]))) == [3, 2, 1]\nassert Solution().rev(None) is None', 'class Solution:\n    def rev(self, h):\n        p = None\n        while h: h.next, p, h = p, h, h.next\n        return p'),
    ('cycle', 'class Solution:\n    def hasCycle(self, h): return False', 'class ListNode:\n    def __init__(self, x): self.val, self.next = x, None\na, b, c = ListNode(1), ListNode(2), ListNode(3)\na.next, b.next, c.next = b, c, b\nassert Solution().hasCycle(a) is True\nc.next = None\nassert Solution().hasCycle(a) is False', 'class Solution:\n    def hasCycle(self, h):\n        seen = set()\n        while h:\n            if h in seen: return True\n            seen.add(h); h = h.next\n        return False'),
    ('invert tree', 'class Solution:\n    def inv(self, r): return r', 'class TreeNode:\n    def __init__(self, v, l=None, r=None): self.val, self.left, self.right = v, l, r\nt = Solution().inv(TreeNode(1, TreeNode(2), TreeNode(3)))\nassert t.left.val == 3 and t.right.val == 2', 'class Solution:\n    def inv(self, r):\n        if r: r.left, r.right = self.inv(r.right), self.inv(r.left)\n        return r'),
    ('depth', 'class Solution:\n    def d(self, r): return 1', 'class TreeNode:\n    def __init__(self, v, l=None, r=None): self.val, self.left, self.right = v, l, r\nassert Solution().d(TreeNode(1, TreeNode(2, TreeNode(3)), None)) == 3', 'class Solution:\n    def d(self, r): return 1 + max(self.d(r.left), self.d(r.right)) if r else 0'),
    ('islands', 'class Solution:\n    def n(self, g): return 1', "g = [['1', '1', '0'], ['0', '0', '1'], ['1', '0', '1']]\nassert Solution().n(g) == 3", "class Solution:\n    def n(self, g):\n        def go(i, j):\n            if 0 <= i < len(g) and 0 <= j < len(g[0]) and g[i][j] == '1':\n                g[i][j] = '0'\n                for a, b in ((1, 0), (-1, 0), (0, 1), (0, -1)): go(i + a, j + b)\n        c = 0\n        for i in range(len(g)):\n            for j in range(len(g[0])):\n                if g[i][j] == '1': c += 1; go(i, j)\n        return c"),
    ('clone graph', 'class Solution:\n    def clone(self, n): return n', 'class Node:\n    def __init__(self, val=0, neighbors=None): self.val, self.neighbors = val, neighbors or []\na, b = Node(1), Node(2)\na.neighbors.append(b); b.neighbors.append(a)\nc = Solution().clone(a)\nassert c is not a and c.val == 1 and c.neighbors[0].val == 2 and c.neighbors[0].neighbors[0] is c', 'class Solution:\n    def clone(self, n):\n        seen = {}\n        def go(x):\n            if x in seen: return seen[x]\n            y = Node(x.val); seen[x] = y\n            for m in x.neighbors: y.neighbors.append(go(m))\n            return y\n        return go(n) if n else None\nclass Node:\n    def __init__(self, val=0, neighbors=None): self.val, self.neighbors = val, neighbors or []'),
    ('course', 'class Solution:\n    def can(self, n, p): return True', 'assert Solution().can(2, [[1, 0]]) is True and Solution().can(2, [[1, 0], [0, 1]]) is False', 'from collections import defaultdict, deque\nclass Solution:\n    def can(self, n, p):\n        g, d = defaultdict(list), [0] * n\n        for a, b in p: g[b].append(a); d[a] += 1\n        q = deque(i for i in range(n) if not d[i]); k = 0\n        while q:\n            x = q.popleft(); k += 1\n            for y in g[x]:\n                d[y] -= 1\n                if not d[y]: q.append(y)\n        return k == n'),
    ('rotate', 'class Solution:\n    def rotate(self, n, k): pass', 'a = [1, 2, 3, 4, 5]\nSolution().rotate(a, 2)\nassert a == [4, 5, 1, 2, 3]', 'class Solution:\n    def rotate(self, n, k):\n        k %= len(n)\n        n[:] = n[-k:] + n[:-k]'),
    ('solve in place board', 'class Solution:\n    def g(self, b): pass', 'b = [[0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]]\nSolution().g(b)\nassert b == [[0, 0, 0], [1, 0, 1], [0, 1, 1], [0, 1, 0]]', 'class Solution:\n    def g(self, b):\n        m, n = len(b), len(b[0])\n        o = [r[:] for r in b]\n        for i in range(m):\n            for j in range(n):\n                s = sum(o[a][c] for a in range(max(0, i-1), min(m, i+2)) for c in range(max(0, j-1), min(n, j+2))) - o[i][j]\n                b[i][j] = int(s == 3 or (o[i][j] and s == 2))'),
    ('codec', "class Codec:\n    def serialize(self, r): return ''\n    def deserialize(self, s): return None", 'class TreeNode:\n    def __init__(self, v, l=None, r=None): self.val, self.left, self.right = v, l, r\nc = Codec()\nt = c.deserialize(c.serialize(TreeNode(1, TreeNode(2), None)))\nassert t.val == 1 and t.left.val == 2 and t.right is None', "class TreeNode:\n    def __init__(self, v): self.val, self.left, self.right = v, None, None\nclass Codec:\n    def serialize(self, r): return f'{r.val},{self.serialize(r.left)},{self.serialize(r.right)}' if r else '#'\n    def deserialize(self, s):\n        it = iter(s.split(','))\n        def go():\n            v = next(it)\n            if v == '#': return None\n            n = TreeNode(int(v)); n.left = go(); n.right = go()\n            return n\n        return go()"),
    ('random list', 'class Solution:\n    def copy(self, h): return h', 'class Node:\n    def __init__(self, x, next=None, random=None): self.val, self.next, self.random = x, next, random\na, b = Node(7), Node(13)\na.next, b.random, a.random = b, a, None\nc = Solution().copy(a)\nassert c is not a and c.val == 7 and c.next.val == 13 and c.next.random is c and c.random is None', 'class Node:\n    def __init__(self, x, next=None, random=None): self.val, self.next, self.random = x, next, random\nclass Solution:\n    def copy(self, h):\n        m, p = {None: None}, h\n        while p: m[p] = Node(p.val); p = p.next\n        p = h\n        while p: m[p].next, m[p].random = m[p.next], m[p.random]; p = p.next\n        return m[h]'),
    ('merge k lists', 'class Solution:\n    def merge(self, ls): return ls[0]', {'kind': 'assert', 'code': 'assert is_same_list(Solution().merge([list_node([1, 4]), list_node([1, 3]), None]), list_node([1, 1, 3, 4]))'}, 'import heapq\nclass Solution:\n    def merge(self, ls):\n        v = []\n        for l in ls:\n            while l: v.append(l.val); l = l.next\n        d = t = ListNode()\n        for x in sorted(v): t.next = ListNode(x); t = t.next\n        return d.next'),
    ('tree lists', 'class Solution:\n    def f(self, r): return []', {'kind': 'assert', 'code': 'assert Solution().f(tree_node([3, 9, 20, None, None, 15, 7])) == [[3], [9, 20], [15, 7]]'}, 'class Solution:\n    def f(self, r):\n        o, q = [], [r] if r else []\n        while q:\n            o.append([n.val for n in q])\n            q = [c for n in q for c in (n.left, n.right) if c]\n        return o'),
    ('iterator', 'class It:\n    def __init__(self, v): self.v = v\n    def next(self): return self.v.pop(0)\n    def hasNext(self): return True', 'i = It([1, 2])\nr = []\nwhile i.hasNext() and len(r) < 5: r.append(i.next())\nassert r == [1, 2]', 'class It:\n    def __init__(self, v): self.v = list(v)\n    def next(self): return self.v.pop(0)\n    def hasNext(self): return bool(self.v)'),
    ('randomized set', 'class RandomizedSet:\n    def __init__(self): self.s = []\n    def insert(self, v): self.s.append(v); return True\n    def remove(self, v): return True\n    def getRandom(self): return self.s[0]', 's = RandomizedSet()\nassert s.insert(1) is True and s.remove(2) is False and s.insert(2) is True\nassert s.getRandom() in (1, 2) and s.remove(1) and not s.insert(2) and s.getRandom() == 2', 'import random\nclass RandomizedSet:\n    def __init__(self): self.s = set()\n    def insert(self, v):\n        if v in self.s: return False\n        self.s.add(v); return True\n    def remove(self, v):\n        if v not in self.s: return False\n        self.s.remove(v); return True\n    def getRandom(self): return random.choice(list(self.s))'),
    ('matrix class', 'class Matrix:\n    def __init__(self, r): self.r = r\n    def __matmul__(self, o): return self\n    def __eq__(self, o): return self.r == o.r', 'assert Matrix([[1, 2]]) @ Matrix([[3], [4]]) == Matrix([[11]])', 'class Matrix:\n    def __init__(self, r): self.r = r\n    def __matmul__(self, o): return Matrix([[sum(a * b for a, b in zip(x, y)) for y in zip(*o.r)] for x in self.r])\n    def __eq__(self, o): return isinstance(o, Matrix) and self.r == o.r'),
    ('vector', 'class Vec:\n    def __init__(self, *a): self.a = a\n    def __len__(self): return 0\n    def __iter__(self): return iter(())\n    def __getitem__(self, i): return self.a[i]', 'v = Vec(1, 2, 3)\nassert len(v) == 3 and list(v) == [1, 2, 3] and v[1] == 2', 'class Vec:\n    def __init__(self, *a): self.a = a\n    def __len__(self): return len(self.a)\n    def __iter__(self): return iter(self.a)\n    def __getitem__(self, i): return self.a[i]'),
    ('zip object', 'class Vec:\n    def __init__(self, *a): self.a = a\n    def __iter__(self): return iter((9,))', 'assert all(a == b for a, b in zip(Vec(1, 2), [1, 2]))\nassert list(map(lambda a, b: a * b, Vec(1, 2), (3, 4))) == [3, 8]', 'class Vec:\n    def __init__(self, *a): self.a = a\n    def __iter__(self): return iter(self.a)'),
    ('fib memo', 'def fib(n): return 1', 'assert fib(90) == 2880067194370816120 and [fib(i) for i in range(6)] == [0, 1, 1, 2, 3, 5]', 'from functools import lru_cache\n@lru_cache(None)\ndef fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)'),
    ('dijkstra', 'def dij(g, s): return {s: 0}', "assert dij({'a': {'b': 1, 'c': 4}, 'b': {'c': 2}, 'c': {}}, 'a') == {'a': 0, 'b': 1, 'c': 3}", "import heapq\ndef dij(g, s):\n    d, q = {s: 0}, [(0, s)]\n    while q:\n        k, u = heapq.heappop(q)\n        for v, w in g[u].items():\n            if k + w < d.get(v, float('inf')): d[v] = k + w; heapq.heappush(q, (d[v], v))\n    return d"),
    ('permutations', 'class Solution:\n    def p(self, n): return [n]', 'assert sorted(Solution().p([1, 2, 3])) == sorted([[1,2,3],[1,3,2],[2,1,3],[2,3,1],[3,1,2],[3,2,1]])', 'from itertools import permutations\nclass Solution:\n    def p(self, n): return [list(x) for x in permutations(n)]'),
    ('twitter', 'class Twitter:\n    def __init__(self): self.t = []\n    def post(self, u, t): self.t.append(t)\n    def feed(self, u): return self.t', 't = Twitter()\nfor i in range(3): t.post(1, i)\nt.post(2, 9)\nassert t.feed(1) == [2, 1, 0]', 'class Twitter:\n    def __init__(self): self.t = {}\n    def post(self, u, t): self.t.setdefault(u, []).insert(0, t)\n    def feed(self, u): return self.t.get(u, [])[:10]'),
    ('calc', 'class Solution:\n    def calculate(self, s): return 0', "for s, e in (('3+2*2', 7), (' 3/2 ', 1), ('14-3/2', 13)): assert Solution().calculate(s) == e", "class Solution:\n    def calculate(self, s):\n        st, n, op = [], 0, '+'\n        for c in s.replace(' ', '') + '+':\n            if c.isdigit(): n = n * 10 + int(c); continue\n            if op == '+': st.append(n)\n            elif op == '-': st.append(-n)\n            elif op == '*': st.append(st.pop() * n)\n            else: st.append(int(st.pop() / n))\n            n, op = 0, c\n        return sum(st)"),
    ('exceptions', 'def f(x): return x', "try:\n    f(-1)\n    assert False, 'no error'\nexcept ValueError as e:\n    assert 'negative' in str(e)\nassert f(4) == 2", "def f(x):\n    if x < 0: raise ValueError('negative')\n    return x ** .5"),
    ('own exception', 'class BankError(Exception): pass\nclass Account:\n    def __init__(s, b): s.balance = b\n    def take(s, n): s.balance -= n', "a = Account(5)\na.take(2)\nassert a.balance == 3\ntry:\n    a.take(9)\n    raise AssertionError\nexcept BankError as e: assert str(e) == 'too much'\nassert a.balance == 3", "class BankError(Exception): pass\nclass Account:\n    def __init__(s, b): s.balance = b\n    def take(s, n):\n        if n > s.balance: raise BankError('too much')\n        s.balance -= n"),
    ('context manager', 'class Timer:\n    def __enter__(s): return s\n    def __exit__(s, *a): return True\n    log = []', "with Timer() as t: pass\nassert t.log == ['in', 'out']", "class Timer:\n    def __enter__(s): s.log = ['in']; return s\n    def __exit__(s, *a): s.log.append('out')"),
    ('decorator', 'def twice(fn): return fn', '@twice\ndef g(x): return x + 1\nassert g(1) == 3', 'import functools\ndef twice(fn):\n    @functools.wraps(fn)\n    def w(x): return fn(fn(x))\n    return w'),
    ('callback', 'def each(xs, fn): return []', 'seen = []\nassert each([1, 2], lambda v: seen.append(v) or v * 2) == [2, 4] and seen == [1, 2]', 'def each(xs, fn): return [fn(x) for x in xs]'),
    ('dataclass', 'class P:\n    def __init__(s, x, y): s.x = s.y = 0', "assert P(1, 2) == P(1, 2) and P(1, 2) != P(2, 1) and P(1, 2).x == 1 and 'x=1' in repr(P(1, 2))", 'from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n    y: int'),
    ('enum', 'import enum\nclass Color(enum.Enum):\n    RED = 2', "assert Color.RED.value == 1 and Color['RED'].name == 'RED' and Color(1) == Color.RED", 'import enum\nclass Color(enum.Enum):\n    RED = 1'),
    ('namedtuple', "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(2, 1)", 'p = f()\nassert p == (1, 2) and p.x == 1 and p[1] == 2 and tuple(p) == (1, 2)', "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)"),
    ('async', 'async def f(x): return 0', 'import asyncio\nasync def main(): return await asyncio.gather(f(2), f(3))\nassert asyncio.run(main()) == [4, 9]', 'import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x * x'),
    ('printed', "def hello(): print('bye')", "import io, contextlib\nb = io.StringIO()\nwith contextlib.redirect_stdout(b): hello()\nassert b.getvalue() == 'hello\\n'", "def hello(): print('hello')"),
    ('mock', 'def f(x, cb): return x', 'from unittest.mock import Mock\nm = Mock(return_value=7)\nassert f(2, m) == 7\nm.assert_called_once_with(2)', 'def f(x, cb): return cb(x)'),
    ('sum', 'print(0)', {'kind': 'stdio', 'cases': [{'input': '1 2 3', 'output': '6'}, {'input': '4', 'output': '4'}]}, 'print(sum(map(int, input().split())))'),
    ('n lines', 'import sys\nprint(*sys.stdin.read().split()[1:])', {'kind': 'stdio', 'cases': [{'input': '3\n3 1 2', 'output': '1 2 3'}]}, 'import sys\nd = sys.stdin.read().split()\nn = int(d[0])\nprint(*sorted(map(int, d[1:n + 1])))'),
    ('main guard', 'print(1)', {'kind': 'stdio', 'cases': [{'input': '2\n1 2\n3 4\n', 'output': '2\n12\n'}]}, "def main():\n    for _ in range(int(input())):\n        a, b = map(int, input().split())\n        print(a * b)\nif __name__ == '__main__': main()"),
    ('eof', 'import sys\nfor line in sys.stdin: print(line.strip())', {'kind': 'stdio', 'cases': [{'input': 'abc\ndef\n', 'output': 'cba\nfed\n'}]}, 'import sys\nfor line in sys.stdin:\n    print(line.strip()[::-1])'),
    ('buffer', 'print(4)', {'kind': 'stdio', 'cases': [{'input': '2\n2\n3\n', 'output': '4\n9\n'}]}, "import sys\nr = sys.stdin.buffer.readline\nn = int(r())\nsys.stdout.write('\\n'.join(str(int(r()) ** 2) for _ in range(n)) + '\\n')"),
    ('threading', 'print(1)', {'kind': 'stdio', 'cases': [{'input': '5000', 'output': '5000'}]}, 'import sys, threading\nsys.setrecursionlimit(10 ** 6)\nthreading.stack_size(1 << 26)\ndef go(n): return 0 if n == 0 else 1 + go(n - 1)\nt = threading.Thread(target=lambda: print(go(int(input()))))\nt.start(); t.join()'),
    ('exit', "print('pos')", {'kind': 'stdio', 'cases': [{'input': '-1', 'output': 'neg'}, {'input': '1', 'output': 'pos'}]}, "import sys\nx = int(input())\nif x < 0:\n    print('neg')\n    sys.exit(0)\nprint('pos')"),
    ('floats', "print('0.3333')", {'kind': 'stdio', 'cases': [{'input': '1', 'output': '0.3333'}, {'input': '2', 'output': '0.6667'}]}, "print(f'{float(input()) / 3:.4f}')"),
]
# fmt: on
