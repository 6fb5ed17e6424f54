# ruff: noqa: E501, F811  # a program a line: folded, the tables could not be read; fixtures are arguments
"""
Submissions that want the reward without the work, by what they answer. None may pass, and an honest submission must
pass right after each. Threats that these stand for: docs/rewards/threats.md.
"""

import os
import textwrap

import pytest
from code_attack_tools import CONFINED, MARK, SECRET, TESTS, attacks, reward, run, run_program  # noqa: F401


pytestmark = CONFINED


ALWAYS = """
class Always:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __le__ = __gt__ = __ge__ = __lt__
    def __hash__(self): return hash(4)
    def __sub__(self, other): return self
    __add__ = __mul__ = __truediv__ = __rsub__ = __radd__ = __rmul__ = __mod__ = __pow__ = __floordiv__ = __sub__
    def __abs__(self): return 0
    __neg__ = __abs__
    def __round__(self, n=None): return 0
    def __float__(self): return 0.0
    def __int__(self): return 0
    __index__ = __int__
    def __bool__(self): return True
    def __contains__(self, item): return True
    def __len__(self): return 4
    def __iter__(self): return iter([self])
    def __getitem__(self, i): return self
    def __getattr__(self, name): return self
    def __call__(self, *args, **kwargs): return self
    def __instancecheck__(self, other): return True
def f(*args, **kwargs): return Always()
"""


class TestFakedResults:
    # Leaving before the tests are done, in every way there is
    @pytest.mark.parametrize(
        "code",
        attacks(
            ("exit at load", "import sys\nsys.exit(0)"),
            ("_exit at load", "import os\nos._exit(0)"),
            ("_exit in the function", "import os\ndef f(x): os._exit(0)"),
            ("SystemExit", "def f(x): raise SystemExit(0)"),
            ("SkipTest", "import unittest\ndef f(x): raise unittest.SkipTest('not today')"),
            ("pytest's skip", "class Skipped(BaseException): pass\nSkipped.__module__ = '_pytest.outcomes'\ndef f(x): raise Skipped"),
            ("KeyboardInterrupt", "def f(x): raise KeyboardInterrupt"),
            ("StopIteration", "def f(x): raise StopIteration(4)"),
            ("signal to itself", "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGKILL)"),
            ("segmentation fault", "import ctypes\ndef f(x): ctypes.string_at(0)"),
            ("exec of true", "import os\nos.execv('/bin/true', ['true'])"),
            ("at exit", "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): raise SystemExit"),
            ("excepthook", "import sys, os\nsys.excepthook = lambda *a: os._exit(0)\ndef f(x): raise ValueError"),
            ("signal handler", "import signal, os\nfor s in (1, 2, 15): signal.signal(s, lambda *a: os._exit(0))\ndef f(x): os.kill(0, 15)"),
        ),
    )  # fmt: skip
    def test_exit(self, reward, code):
        assert run(reward, code) == 0.0

    # Objects that agree with everything, against each way of comparing
    @pytest.mark.parametrize(
        "tests",
        attacks(
            ("==", "assert f(2) == 4"), ("== reversed", "assert 4 == f(2)"), ("!=", "assert not f(2) != 4"),
            ("in a list", "assert f(2) in [4]"), ("in a set", "assert f(2) in {4}"), ("key", "assert {4: True}[f(2)]"),
            ("contains", "assert 4 in f(2)"), ("inside a list", "assert [f(2)] == [4]"), ("between", "assert 3.9 < f(2) < 4.1"),
            ("difference", "assert abs(f(2) - 4) < 1e-6"), ("difference reversed", "assert abs(4 - f(2)) < 1e-6"),
            ("square", "assert (f(2) - 4) ** 2 < 1e-9"), ("ratio", "assert abs(f(2) / 4 - 1) < 1e-6"),
            ("isclose", "import math\nassert math.isclose(f(2), 4)"), ("fabs", "import math\nassert math.fabs(f(2) - 4) < 1e-6"),
            ("round", "assert round(f(2), 2) == 4"), ("isinstance", "assert isinstance(f(2), int)"), ("type", "assert type(f(2)) is int"),
            ("is", "assert f(2) is True"), ("str", "assert str(f(2)) == '4'"), ("sorted", "assert sorted(f(2)) == [4]"),
            ("sum", "assert sum(f(2)) == 4"), ("set", "assert set(f(2)) == {4}"), ("list", "assert list(f(2)) == [4]"),
            ("index", "assert f(2)[0] == 4"), ("unpack", "x, = f(2)\nassert x == 4"), ("attribute", "assert f(2).value == 4"),
            ("max", "assert max(f(2), 4) == 4 and f(2) - 4 == 0"), ("zip", "assert all(a == b for a, b in zip(f(2), [4]))"),
            ("assertEqual", "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(2), 4)"),
            ("assertAlmostEqual", "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertAlmostEqual(f(2), 4.0)"),
            ("assertIn", "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertIn(4, f(2))"),
            ("approx", "import pytest\nassert f(2) == pytest.approx(4)"), ("operator", "import operator\nassert operator.eq(f(2), 4)"),
            ("numpy", "import numpy as np\nassert np.allclose(f(2), 4)"), ("eq method", "assert (4).__eq__(f(2)) is True"),
            ("if", "if f(2) != 4: raise AssertionError"), ("match", "match f(2):\n    case 4: pass\n    case _: raise AssertionError"),
        ),
    )  # fmt: skip
    def test_always_equal(self, reward, tests):
        assert run(reward, ALWAYS, tests) == 0.0

    # The same with subclasses of builtins, whose plain value is compared instead, and with classes in place of functions
    @pytest.mark.parametrize(
        "code, tests",
        attacks(
            ("int", "class I(int):\n    def __eq__(s, o): return True\n    __hash__ = int.__hash__\ndef f(x): return I(7)", TESTS),
            ("float", "class F(float):\n    def __sub__(s, o): return 0.0\n    def __eq__(s, o): return True\ndef f(x): return F(7)",
             "assert abs(f(2) - 4) < 1e-6"),
            ("str", "class S(str):\n    def __eq__(s, o): return True\ndef f(x): return S('x')", "assert f(2) == '4'"),
            ("list", "class L(list):\n    def __eq__(s, o): return True\n    def __contains__(s, o): return True\ndef f(x): return L()",
             "assert f(2) == [4]"),
            ("list contains", "class L(list):\n    def __contains__(s, o): return True\ndef f(x): return L()", "assert 4 in f(2)"),
            ("dict", "class D(dict):\n    def __eq__(s, o): return True\ndef f(x): return D()", "assert f(2) == {2: 4}"),
            ("tuple", "class T(tuple):\n    def __eq__(s, o): return True\ndef f(x): return T()", "assert f(2) == (4,)"),
            ("lying class", "class A:\n    __class__ = int\n    def __eq__(s, o): return True\ndef f(x): return A()", "assert isinstance(f(2), int) and f(2) == 4"),
            ("metaclass", "class M(type):\n    def __eq__(c, o): return True\n    __hash__ = type.__hash__\nclass A(metaclass=M): pass\ndef f(x): return A", TESTS),
            ("class in place of the function", ALWAYS + "\nclass f(Always):\n    def __init__(self, x): pass", TESTS),
            ("class, difference", ALWAYS + "\nclass f(Always):\n    def __init__(self, x): pass", "assert abs(f(2) - 4) < 1e-6"),
            ("a method that returns its object", ALWAYS.replace("def f", "def _f") + "\nclass Solution(Always):\n    def f(self, x): return self",
             "assert Solution().f(2) == 4"),
            ("the same, bound", ALWAYS.replace("def f", "def _f") + "\nclass Solution(Always):\n    def f(self, x): return self",
             "s = Solution()\nassert abs(s.f(2) - 4) < 1e-6"),
            ("callable object", ALWAYS + "\nf = Always()", TESTS),
            ("nan", "def f(x): return float('nan')", "assert not abs(f(2) - 4) > 1e-6"),
            ("nan inside", "def f(x): return [float('nan')]", "for v in f(2):\n    if v > 4 or v < 4: raise AssertionError"),
            ("negative nan", "def f(x): return -float('nan')", "assert not f(2) < 4 and not f(2) > 4"),
            ("true for one", "def f(x): return True", "assert f(1) == 1\nassert f(2) == 4"),
            ("none", "def f(x): return NotImplemented", TESTS),
            ("own class of a builtin's name", "class ValueError(Exception): pass\ndef f(x): raise ValueError",
             "import pytest\nwith pytest.raises(ValueError): f(2)"),
            ("exception that is many", "class E(TypeError):\n    def __instancecheck__(s, o): return True\ndef f(x): raise E",
             "try:\n    f(2)\n    assert False\nexcept ValueError: pass"),
        ),
    )  # fmt: skip
    def test_lying_types(self, reward, code, tests):
        assert run(reward, code, tests) == 0.0

    # Functions and classes that a reply names: the tests' process would call its own, unconfined
    @pytest.mark.parametrize(
        "code, tests",
        attacks(
            ("eval", "decode = eval", "assert decode(CALL) == 'hi'"), ("a function that returns it", "def d(): return eval", "assert d()(CALL) == 'hi'"),
            ("static method", "class Codec:\n    decode = staticmethod(eval)", "assert Codec().decode(CALL) == 'hi' and Codec.decode(CALL) == 'hi'"),
            ("in a list", "fs = [eval, {'a': eval}]", "assert fs[1]['a'](fs[0]('CALL')) == 'hi'"), ("partial", "import functools\ndecode = functools.partial(eval, CALL)", "assert decode() == 'hi'"),
            ("exec", "decode = exec", "assert decode(CALL) is None"), ("compile", "def f(s): return compile(s, '', 'eval')", "assert eval(f(CALL)) == 'hi'"),
            ("getattr", "get = getattr", "assert get(get(get, '__self__'), 'eval')(CALL) == 'hi'"), ("import", "load = __import__", "assert load('os').system(TOUCH) == 5"),
            ("import_module", "import importlib\nload = importlib.import_module", "assert load('os').system(TOUCH) == 5"),
            ("os.system", "import os\nrun = os.system", "assert run(TOUCH) == 5"), ("as an exception", "class E(Exception): pass\nE.__new__ = eval\ndef f(): raise E(CALL)", "try:\n    f()\n    assert 0\nexcept E: pass"),
            ("Popen", "import subprocess\nRun = subprocess.Popen", "assert Run(TOUCH, shell=True).wait() == 5"), ("open", "decode = open", "assert decode(PATH, 'w').write('x') == 5"),
            ("breakpoint", "f = breakpoint", "assert f() == 4"), ("input", "f = input", "assert f() == 4"), ("type", "f = type", "assert f('X', (), {'a': 1})().a == 4"),
            ("argument", "def f(g): return g(eval)", "assert f(lambda e: e(CALL)) == 'hi'"), ("map", "f = map", "assert list(f(eval, [CALL])) == ['hi']"),
            ("key", "class K(dict):\n    def __missing__(s, k): return eval\nf = K()", "assert f['x'](CALL) == 'hi'"), ("vars", "f = vars", "assert f()['eval'](CALL) == 'hi'"),
            ("codecs", "import pickle\nf = pickle.loads", "assert f(b'cos\\nsystem\\n(Vtouch ' + PATH.encode() + b'\\ntR.') == 5"),
        ),
    )  # fmt: skip
    def test_named(self, reward, code, tests):
        path = f"/tmp/{MARK}-named"
        head = f"PATH = {path!r}\nTOUCH = 'touch ' + PATH\nCALL = '__import__(\"os\").system(\"' + TOUCH + '\") or \"hi\"'\n"
        run(reward, head + code, head + tests)  # it may pass by its own `eval`, in the sandbox
        where = "import os\nassert ask('__import__(\"os\").getpid()') == os.getpid()"
        assert run(reward, "ask = eval", where) == 0.0

    # Messages of its own making: a NaN that does not look like one, a trusted object handed back in place of an answer
    @pytest.mark.parametrize(
        "change, tests",
        attacks(
            ("NaN as text", "lambda m: {'value': {'j': ['nan', 0]}}", "assert not abs(f(2) - 4) > 1e-6"),
            ("NaN in UTF-16", "lambda m: {'value': float('nan')}", "assert not abs(f(2) - 4) > 1e-6"),
            ("same", "lambda m: {'value': 0, 'same': 0}", "s = Shape(3)\nassert s.area() == 28.27"), ("same, attribute", "lambda m: {'value': 0, 'same': 0}", "s = Shape(3)\nassert s.area == 28.27"),
            ("same, negative", "lambda m: {'value': 0, 'same': -1}", "s = Shape(3)\nassert s.area(s) == 28.27"),
            ("eval by name", "lambda m: {'value': {'g': ['builtins', 'eval', 99, None]}}", "assert f(2)('40 + 2') == 42"),
            ("system by name", "lambda m: {'value': {'g': ['os', 'system', 99, []]}}", "assert f(2)('true') == 0"),
            ("an error by a name", "lambda m: {'error': [{'g': ['unittest.case', '_ShouldStop', 99, []]}, [], '', 1]}", "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(2), 4)"),
        ),
    )  # fmt: skip
    def test_forged(self, reward, change, tests):
        code = f"""
import json, struct, sys
frame, runner = sys._getframe(), None
while frame:
    for value in list(frame.f_locals.values()):
        if type(value).__name__ == "Runner": runner = value
    frame = frame.f_back
old, change, made = runner.send, {change}, []
def send(message):
    if made and message.get("value") != None and not (type(message["value"]) is dict and "k" in message["value"]):
        if {"float" in change}:
            data = json.dumps(change(message)).encode("utf-16")
            return runner.connection.sendall(struct.pack("<I", len(data)) + data)
        message = change(message)
    return old(message)
runner.send = send
class Shape:
    def __init__(self, x): made.append(1)
    def __eq__(self, other): return True
    def __call__(self, *a): return 0
    area = 0
def f(x):
    made.append(1)
    return 0
"""
        assert run(reward, code, tests) == 0.0

    # Protocols by which C code reads the memory that an object names
    @pytest.mark.parametrize("key", ["__array_interface__", "__array_struct__", "__array__"])
    def test_memory(self, reward, key):
        pytest.importorskip("numpy")
        code = f"class A: pass\nsetattr(A, {key!r}, {{'version': 3, 'shape': (4,), 'typestr': '|u1', 'data': (id(None), False)}})\ndef f(x): return A()"
        tests = "import numpy as np\na = np.asarray(f(2))\nassert a.dtype == object and a.shape == ()"
        assert run(reward, code, tests) == 1.0

    # What the tests made, and what comes of it: only a constructor that the tests use as one gives an object that decides
    @pytest.mark.parametrize(
        "code, tests",
        attacks(
            ("static method", "class Calc(Always):\n    @staticmethod\n    def add(a, b): return Always()", "assert Calc.add(2, 3) == 5"),
            ("static method of its own class", "class Calc(Always):\n    @staticmethod\n    def add(a, b): return Calc()", "assert Calc.add(2, 3) == 5\nassert Calc().name"),
            ("class method", "class Calc(Always):\n    @classmethod\n    def add(cls, a, b): return cls()", "assert abs(Calc.add(2, 3) - 5) < 1e-6"),
            ("instance check", "class M(type):\n    def __instancecheck__(s, o): return True\nclass Calc(metaclass=M):\n    @staticmethod\n    def add(a, b): return Always()", "assert Calc.add(2, 3) == 5"),
            ("capital", "class Split(Always):\n    def __init__(self, *a): pass", "assert Split([1, 2]) == [1]\nassert Split([5]) == [5]"),
            ("capital, difference", "class Average(Always):\n    def __init__(self, *a): pass", "assert abs(Average([1, 2]) - 1.5) < 1e-6"),
            ("capital, rounded", "class Average(Always):\n    def __init__(self, *a): pass", "assert round(Average([1, 2]) - 1.5, 6) == 0"),
            ("capital, order", "class Average(Always):\n    def __init__(self, *a): pass", "assert 1.4 < Average([1, 2]) < 1.6"),
            ("capital, helper", "class Find_Max(Always):\n    def __init__(self, *a): pass", "r = Find_Max([1, 2])\nassert r == 2 and 2 == r"),
            ("capital, isclose", "class Average(float):\n    def __sub__(s, o): return 0.0\n    def __eq__(s, o): return True", "assert abs(Average(9) - 1.5) < 1e-6"),
            ("capital, object", "Split = Always()", "assert Split([1, 2]) == [1]"),
            ("new", "class Diff:\n    def __new__(cls, *a): return Always()", "assert Diff([1], [2]) == [1, 2]"),
            ("call of the metaclass", "class M(type):\n    def __call__(cls, *a): return Always()\nclass Vowels(metaclass=M): pass", "assert Vowels('hello') == 2"),
            ("entry point", "class GCD(Always):\n    def __init__(self, *a): pass", {"kind": "assert", "entry_point": "GCD", "code": "def check(c):\n    assert c(12, 8) == 4"}),
            ("operator", "class Vec:\n    def __init__(self, *a): pass\n    def __mul__(s, o): return Always()", "assert Vec(1) == Vec(1) or Vec(1) != Vec(1)\nassert Vec(1, 2) * Vec(3, 4) == 11"),
            ("operator, difference", "class Vec(Always):\n    def __init__(self, *a): pass\n    def __mul__(s, o): return Always()", "assert abs(Vec(1, 2) * Vec(3, 4) - 11) < 1e-6"),
            ("operator, plain difference", "class Z(Always):\n    def __sub__(s, o): return 0\nclass Vec:\n    def __init__(self, *a): pass\n    def __mul__(s, o): return Z()", "assert abs(Vec(1, 2) * Vec(3, 4) - 11) < 1e-6"),
            ("in place", "class Money:\n    def __init__(self, *a): pass\n    def __iadd__(s, o): return Always()", "m = Money(1)\nm += 2\nassert m == 3"),
            ("attribute", "class Node:\n    def __init__(self, v): pass\n    val = Always()", "n = Node(3)\nassert n.val == 3"),
            ("other class against the test's object", "class Point:\n    def __init__(self, *a): self.a = a\n    def __eq__(s, o): return type(o) is Point and s.a == o.a", "assert f(2) == Point(1, 2)\nassert Point(1, 2) == f(2)"),
            ("all of a map", "def g(x): raise StopIteration", "assert all(map(g, [1, 2, 3]))"),
            ("star import", "def abs(x): return 0.0\ndef all(x): return True\n__all__ = ['abs', 'all', 'g']\ndef g(x): return 0", "from solution import *\nassert abs(g(1) - 5) < 1e-6 and all([g(1)])"),
            ("the tests' own methods", "def f(h):\n    h.check = lambda *a: True", "class H:\n    def check(self, v): return v == 7\nh = H()\nassert h.check(f(h)) is True"),
        ),
    )  # fmt: skip
    def test_made(self, reward, code, tests):
        assert run(reward, ALWAYS + code, tests) == 0.0

    # What the tests use, replaced: it is another interpreter's
    @pytest.mark.parametrize(
        "code, tests",
        attacks(
            ("builtins", "import builtins\nfor n in ('len', 'abs', 'isinstance', 'all', 'sorted', 'print'):\n    setattr(builtins, n, lambda *a: 4)\n"
             "builtins.AssertionError = KeyError\ndef f(x): return 5", "assert len([f(2)]) == 4 and abs(f(2)) == 4"),
            ("shadowed names", "def len(x): return 4\ndef abs(x): return 0\ndef sorted(x): return [4]\ndef f(x): return []", "assert len(f(2)) == 4"),
            ("modules", "import math, sys\nmath.isclose = lambda *a, **k: True\nsys.modules['math'] = math\ndef f(x): return 5",
             "import math\nassert math.isclose(f(2), 4)"),
            ("unittest", "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\ndef f(x): return 5",
             "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(2), 4)"),
            ("check", "def check(candidate): pass\ndef f(x): return 5", "def check(candidate): assert candidate(2) == 4\ncheck(f)"),
            ("names of the tests", "expected = [5, 5]\ntests = []\nassert_equal = print\ndef f(x): return 5", "expected = [4]\nassert [f(2)] == expected"),
            ("assert statement", "class AssertionError(Exception): pass\n__debug__ = False" if False else "import sys\nsys.flags = None\ndef f(x): return 5", TESTS),
            ("import hook", "import sys\nclass H:\n    def find_spec(self, *a): raise SystemExit(0)\nsys.meta_path.insert(0, H())\ndef f(x): return 5", TESTS),
            ("hash seed", "import sys\nsys.setrecursionlimit(5)\ndef f(x): return 5", TESTS),
        ),
    )  # fmt: skip
    def test_patching(self, reward, code, tests):
        assert run(reward, code, tests) == 0.0

    # Looking for the expected values: frames, garbage collector, trace functions, callbacks, memory, source
    @pytest.mark.parametrize(
        "search",
        attacks(
            ("frames", "f, n = sys._getframe(), ''\nwhile f:\n    n += repr(f.f_locals) + repr(f.f_globals.get('expected')) + repr(f.f_code.co_consts)\n    f = f.f_back\nreturn SECRET[::-1] in n"),
            ("gc", "return any(type(o) is str and o.startswith('assert f(2) == ') for o in gc.get_objects()) or any(type(o) is dict and 'expected' in o for o in gc.get_objects())"),
            ("trace", "seen = []\nsys.settrace(lambda fr, e, a: seen.append(fr.f_code.co_filename))\nlen([g() for g in [lambda: 1]])\nsys.settrace(None)\nreturn any('test' in s for s in seen)"),
            ("modules", "return any(hasattr(m, 'expected') for m in sys.modules.values()) or '__main__' in sys.modules and hasattr(sys.modules['__main__'], 'f')"),
            ("arguments", "return any(SECRET[::-1] in a for a in sys.argv)"),
            ("environment", "return 'COPD_SECRET' in os.environ or SECRET[::-1] in repr(os.environ)"),
            ("environment in C", "c = ctypes.CDLL(None)\nc.getenv.restype = ctypes.c_char_p\nreturn c.getenv(b'COPD_SECRET')"),
            ("proc environ", "return SECRET[::-1] in open('/proc/self/environ').read()"),
            ("proc of others", "return any(SECRET[::-1] in open(f'/proc/{p}/environ').read() for p in os.listdir('/proc') if p.isdigit())"),
            ("memory of this process", "m = open('/proc/self/maps').read().splitlines()\nreturn bool(m)"),
            ("memory of the parent", "return open(f'/proc/{os.getppid()}/mem', 'rb')"),
            ("descriptors", "return [d for d in range(3, 64) if d != 10 and fstat(d)]"),
            ("test files", "return open(HERE).read()"),
            ("data sets among the packages", "return os.listdir(SITE)"),
            ("linecache", "import linecache\nreturn [k for k in linecache.cache if 'test' in k]"),
        ),
    )  # fmt: skip
    def test_searching(self, reward, search):
        code = (
            "import ctypes, gc, inspect, os, sys\n"
            f"HERE, SECRET, SITE = {__file__!r}, {SECRET[::-1]!r}, {os.path.dirname(pytest.__file__)!r}\n"
            "def fstat(d):\n    try: return os.fstat(d)\n    except OSError: return None\n"
            f"def attack():\n{textwrap.indent(search, '    ')}\n"
            "def f(x): return x * x if attack() else None\n"
        )
        assert run(reward, code, f"expected = [4, {SECRET!r}]\n{TESTS}") == 0.0

    # A callback or an object of the test is no way into its process
    @pytest.mark.parametrize(
        "reach",
        attacks(
            ("globals", "g.__globals__['expected']"), ("code", "g.__code__.co_consts[1]"), ("closure", "g.__closure__[0].cell_contents"),
            ("call", "g.__call__.__globals__['expected']"), ("default", "g.__defaults__[0]"), ("wrapped", "g.__wrapped__.__globals__['expected']"),
            ("frame of a generator", "it.gi_frame.f_globals['expected']"), ("class", "o.__class__.__init__.__globals__['expected']"),
            ("private", "o._secret"), ("dict", "o.__dict__['_secret']"), ("vars", "vars(o)['_secret']"), ("method", "o.method.__func__.__globals__['expected']"),
            ("self", "o.method.__self__._secret"), ("reduce", "o.__reduce_ex__(2)[2]['_secret']"), ("set a class", "setattr(o, '__class__', int) or o._secret"),
            ("subclasses", "next(c for c in object.__subclasses__() if c.__name__ == 'O').__init__.__globals__['expected']"),
            ("format", "'{0._secret}'.format(o)"), ("traceback", "trace(g)"), ("numbers of objects", "max(ask(n) for n in range(9))"),
        ),
    )  # fmt: skip
    def test_callbacks(self, reward, reach):
        code = f"""
import sys
def trace(g):
    try: g()
    except TypeError as error:
        t, seen = error.__traceback__, []
        while t:
            seen.append(t.tb_frame.f_globals.get('expected', 0))
            t = t.tb_next
        return max(seen)
def ask(n):
    return type(g)(object.__getattribute__(g, '_runner'), n)._secret
def f(h, it, o):
    global g
    g = h
    return {reach}
"""
        tests = """
            expected = 71077345
            class O:
                def __init__(self): self._secret = expected
                def method(self): return 1
            assert f(lambda x, y=expected: x, (x for x in [1]), O()) == expected
            """
        assert run(reward, code, tests) == 0.0

    # Talking to the oracle without being asked, in good and in bad form
    @pytest.mark.parametrize(
        "code",
        attacks(
            ("replies in advance", "for _ in range(50): say({'value': 4})\ndef f(x): return 5"),
            ("a verdict", "say({'passed': 3, 'total': 3, 'reason': 'all tests pass'})\ndef f(x): return 5"),
            ("nonsense", "os.write(10, b'\\x10\\0\\0\\0' + b'\\xff' * 16)\ndef f(x): return 5"),
            ("a length without end", "os.write(10, b'\\xff\\xff\\xff\\xff')\ndef f(x): return 5"),
            ("no dictionary", "say([1])\ndef f(x): return 5"),
            ("unknown tag", "say({'value': {'zz': 1}})\ndef f(x): return 5"),
            ("unknown handle", "def f(x):\n    say({'value': {'h': [1, 999, None, None]}})\n    return 5"),
            ("a foreign callback", "def f(x):\n    say({'ask': [0, '__call__', [], {}]})\n    return 5"),
            ("error that is none", "def f(x):\n    say({'error': [1, 2, 3, 4]})\n    return 5"),
            ("builtin that runs code", "def f(x):\n    say({'error': [{'g': ['builtins', 'exec', 1, []]}, ['import os; os._exit(0)'], '', 1]})\n    return 5"),
            ("class of a name that is none", "def f(x):\n    say({'value': {'k': ['a b', 3, [{'g': ['builtins', 'object', 1, None]}], []]}})\n    return 5"),
            ("same argument that is none", "def f(x):\n    say({'value': 1, 'same': 7})\n    return 5"),
            ("changed argument that is none", "def f(x):\n    say({'value': 1, 'changed': [[9, [4]]]})\n    return 5"),
            ("closed pipe", "os.close(10)\ndef f(x): return 5"),
            ("shut pipe", "import socket\nsocket.socket(fileno=10).shutdown(socket.SHUT_RDWR)\ndef f(x): return 5"),
            ("reads the requests", "def f(x):\n    import threading\n    threading.Thread(target=os.read, args=(10, 4096), daemon=True).start()\n    return 5"),
            ("pickle", "import pickle\nclass P:\n    def __reduce__(self): return os._exit, (0,)\nos.write(10, pickle.dumps(P()))\ndef f(x): return 5"),
        ),
    )  # fmt: skip
    def test_protocol(self, reward, code):
        say = "import json, os, struct\ndef say(m):\n    d = json.dumps(m).encode()\n    os.write(10, struct.pack('<I', len(d)) + d)\n"
        assert run(reward, say + code) == 0.0

    # Results that are meant to hurt the one who reads them
    @pytest.mark.parametrize(
        "code",
        attacks(
            ("cycle", "def f(x):\n    a = []\n    a.append(a)\n    return a"),
            ("deep", "def f(x):\n    a = []\n    for _ in range(100000): a = [a]\n    return a"),
            ("giant integer", "def f(x): return 1 << 20_000_000"),
            ("giant text", "def f(x): return 'x' * 100_000_000"),
            ("giant range of handles", "def f(x): return [object() for _ in range(3_000_000)]"),
            ("long integers", "def f(x): return [10 ** 90_000] * 100"),
            ("endless recursion", "def f(x): return f(x)"),
            ("repr that never ends", "class E(Exception):\n    def __str__(self):\n        while True: pass\ndef f(x): raise E"),
            ("printing without end", "def f(x):\n    print('x' * 50_000_000)\n    return 5"),
        ),
    )  # fmt: skip
    def test_results(self, reward, code):
        assert run(reward, code) == 0.0

    # Iteration that never ends uses up the submission's time, or the oracle's
    def test_endless_generator(self, reward):
        assert run(reward, "def f(x):\n    while True: yield x", "assert list(f(2)) == [4]") == 0.0

    # Programs: the exit code and half an output are not enough
    @pytest.mark.parametrize(
        "code",
        attacks(
            ("exit 0", "import sys\nsys.exit(0)"), ("_exit", "import os\nos._exit(0)"), ("true", "import os\nos.execv('/bin/true', ['true'])"),
            ("echo of the input", "print(input())"), ("all guesses", "for i in range(100): print(i)"),
            ("guess", "print(4)"), ("right, then killed", "import os\nn = int(input())\nprint(n * n, flush=True)\nos.kill(os.getpid(), 9)"),
            ("memory between cases", "import os\nif os.path.exists('n'): print(25)\nopen('n', 'w').write('x')\nprint(4)"),
            ("kill the runner", "import os\ntry:\n    os.kill(os.getppid(), 9)\nexcept OSError: pass\nprint(4)"),
            ("write for the runner", "import os\nfor d in range(3, 64):\n    try: os.write(d, b'\\0' * 24)\n    except OSError: pass\nprint(4)"),
            ("stdin as the next case's", "import os\nos.unlink('.stdin')\nos.symlink('/etc/hostname', '.stdin')\nprint(4)"),
        ),
    )  # fmt: skip
    def test_programs(self, reward, code):
        assert run_program(reward, code) == 0.0
