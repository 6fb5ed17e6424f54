# ruff: noqa: E501  # tables
"""Which part of a completion is graded, forms of tests, and references and completions that nobody would write."""

import json
import random

import pytest

from trl_copd.rewards.code import LEETCODE, CodeReward, remote
from trl_copd.rewards.code.submission import fenced_blocks, read_submission
from trl_copd.rewards.code.text import read_tests
from trl_copd.rewards.sandbox import available_level


pytestmark = pytest.mark.skipif(available_level() == "rlimit", reason="this host confines nothing")
REWARD = CodeReward()
SQUARE = "def f(x): return x * x"
TEST = {"kind": "assert", "code": "assert f(2) == 4"}


def block(code):
    return f"```python\n{code}\n```"


class TestLines:
    # Characters at which `str.splitlines` breaks, and Python and Markdown do not
    @pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
    def test_inside_a_literal(self, character):
        assert fenced_blocks(block(f"s = 'a{character}b'")) == [("python", f"s = 'a{character}b'\n")]
        code = f"def f(x): return len('a{character}b') + 1"
        assert REWARD.verify(block(code), TEST).passed is True
        assert (
            REWARD.verify(
                block(f"print('a{character}b'.isprintable())"), {"kind": "stdio", "cases": [{"output": "False"}]}
            ).passed
            is True
        )

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_ends(self, end):
        assert fenced_blocks(f"```python{end}a{end}b{end}```{end}x") == [("python", "a\nb\n")]


class TestBlocks:
    HELPER, MAIN, EXAMPLE = block("def g(x): return x * x"), block("def f(x): return g(x)"), block("print(f(3))")

    # The last block alone by default; all that compile on request; what was graded is said
    @pytest.mark.parametrize(
        "completion, last, joined",
        [
            (HELPER + "\n" + MAIN, False, True), (HELPER + "\n" + MAIN + "\nUse:\n" + EXAMPLE, False, True),
            (block(SQUARE) + "\n" + block(">>> f(3)\n9"), False, True), (block(SQUARE) + "\n" + block("pip install x"), False, True),
            (block("def f(x): return 3") + "\nbetter:\n" + block(SQUARE), True, True), (block(SQUARE) + "\nworse:\n" + block("def f(x): return 3"), False, False),
            (block(SQUARE) + "\n```bash\nrm\n```", True, True), (block("def f(x) return"), False, False), (block(SQUARE) + "\n" + block("1 / 0"), False, False), ("```\n" + SQUARE + "\n```", True, True),
        ],
    )  # fmt: skip
    def test_joined(self, completion, last, joined):
        assert REWARD.verify(completion, TEST).passed is last
        assert CodeReward(blocks="all").verify(completion, TEST).passed is joined

    def test_what_is_graded_is_said(self):
        text = self.HELPER + "\n" + self.MAIN + "\n" + block("pip install x")
        assert "graded: the last of 3 blocks" in REWARD.verify(text, TEST).reason
        assert "graded: 2 of 3 blocks, joined" in CodeReward(blocks="all").verify(text, TEST).reason
        assert "graded: the only block" in REWARD.verify(block(SQUARE), TEST).reason
        assert (
            "continuation"
            in CodeReward(unfenced="continuation").verify("  return 4", {**TEST, "prefix": "def f(x):\n"}).reason
        )

    # Text without a block: nothing by default, a program, or the rest of a function that the row begins
    @pytest.mark.parametrize(
        "completion, prefix, nothing, program, continuation",
        [
            (SQUARE, "", False, True, True), ("    return x * x\n", "def f(x):\n", False, False, True), ("    y = x\n\n    return y * y\n\nprint(f(1/0))\n", "def f(x):\n", False, False, True),
            ("    return x * x\n\ndef f(x):\n    return 3", "def f(x):\n", False, False, True), ("    return x * x\n# that is\nraise", "def f(x):\n", False, False, True), (" x * x", "def f(x): return", False, False, True),
            ("    return 3\n", "def f(x):\n", False, False, False), ("The answer is 4.", "def f(x):\n", False, False, False), ("", "def f(x): return 4\n", False, False, False), ("```bash\nls\n```", SQUARE + "\n", False, False, False),
            ("<think>a</think>" + SQUARE, "", False, True, True), ("<think>" + SQUARE, "", False, False, False),
        ],
    )  # fmt: skip
    def test_without_a_block(self, completion, prefix, nothing, program, continuation):
        tests = {**TEST, "prefix": prefix}
        assert REWARD.verify(completion, tests).passed is nothing
        assert CodeReward(unfenced="program").verify(completion, tests).passed is program
        assert CodeReward(unfenced="continuation").verify(completion, tests).passed is continuation

    def test_unknown_options(self):
        for options in ({"blocks": "first"}, {"unfenced": "yes"}):
            with pytest.raises(ValueError, match="blocks"):
                CodeReward(**options)
        assert read_submission("", "all") is None


class TestForms:
    # APPS and TACO: a function's name, argument lists and results
    @pytest.mark.parametrize(
        "code, inputs, outputs, passed",
        [
            ("def f(a, b): return a + b", [[1, 2], [3, 4]], [3, 7], True), ("def f(a, b): return a + b", [[1, 2], [3, 4]], [3, 8], False),
            ("class Solution:\n    def f(self, a): return a[::-1]", [[[1, 2]]], [[2, 1]], True), ("def f(a): return tuple(a), {1: (2,)}", [[[1]]], [[[1], {"1": [2]}]], True),
            ("def f(a): return a", [[1], [2]], [[1], [2]], True), ("def f(a): return [a]", [[1], [2]], [[1], [2]], True), ("def f(a): return a", [[1], [2]], [[1], 2], False),
            ("def f(a): return [a]", [[1], [[1, 2]]], [[1], [[1, 2]]], True), ("def g(a): return a", [[1]], [1], False), ("class A:\n    def __eq__(self, o): return True\ndef f(a): return A()", [[1]], [1], False),
            ("def f(a): return [A()]\nclass A:\n    def __eq__(self, o): return True", [[1]], [[1]], False), ("def _same(a, b): return True\ndef f(a): return 3", [[1]], [1], False), ("def f(): return None", [[]], [None], True), ("def f(x): return True", [[1]], [False], False),
        ],
    )  # fmt: skip
    def test_function_name(self, code, inputs, outputs, passed):
        tests = {"fn_name": "f", "inputs": inputs, "outputs": outputs}
        for form in (tests, json.dumps(tests), {"kind": "calls", **tests}):
            assert REWARD.verify(block(code), form).passed is passed

    # A name that Python, or the preamble, has as well is the submission's all the same
    @pytest.mark.parametrize(
        "code, name, inputs, outputs, passed",
        [
            ("class Solution:\n    def sum(self, a, b): return a + b", "sum", [[1, 2]], [3], True), ("def sum(a, b): return a + b", "sum", [[1, 2]], [3], True), ("class Solution:\n    def sum(self, a, b): return a", "sum", [[1, 2]], [3], False),
            ("def f(a): return len(a)", "len", [[[1, 2]]], [2], False), ("class Solution:\n    def permutations(self, a): return [a]", "permutations", [[1]], [[1]], True), ("def permutations(a): return a", "permutations", [[1]], [1], True),
            ("class Solution:\n    def __init__(self, x): pass\ndef f(x): return x", "f", [[1]], [1], True), ("def f(x): return 2\nclass Solution:\n    def f(self, x): return 1", "f", [[1]], [1], True),
            ("class Any(type):\n    def __getattr__(c, n): return lambda *a: 1\nclass Solution(metaclass=Any): pass", "f", [[1]], [1], False), ("class A:\n    def __eq__(s, o): return True\nclass Solution:\n    def max(self, x): return A()", "max", [[1]], [1], False),
        ],
    )  # fmt: skip
    def test_function_name_of_python(self, code, name, inputs, outputs, passed):
        tests = {"fn_name": name, "inputs": inputs, "outputs": outputs}
        assert CodeReward(preamble=LEETCODE).verify(block(code), tests).passed is passed

    def test_share_of_the_calls(self):
        tests = {"fn_name": "f", "inputs": [[1], [2], [3], [4]], "outputs": [1, 4, 9, 16]}
        assert CodeReward(partial_credit=True).verify(block("def f(x): return min(x * x, 4)"), tests).score == 0.5

    def test_programs_without_a_kind(self):
        tests = {"inputs": ["2\n", ["3", "4"]], "outputs": ["2", ["3", "4"]]}
        assert REWARD.verify(block("import sys\nprint(sys.stdin.read())"), tests).passed is True
        assert REWARD.verify(block("print(input())"), tests).passed is False

    @pytest.mark.parametrize(
        "tests",
        [
            {"fn_name": "f x", "inputs": [[1]], "outputs": [1]}, {"fn_name": "f", "inputs": [], "outputs": []}, {"fn_name": "f", "inputs": [[1]], "outputs": [1, 2]}, {"fn_name": "f", "inputs": [1], "outputs": [1]},
            {"fn_name": 3, "inputs": [[1]], "outputs": [1]}, {"inputs": [1], "outputs": ["1"]}, {"inputs": "ab", "outputs": "ab"}, {"kind": "assert", "code": "def check(c): assert c(1)", "entry_point": "f("},
        ],
    )  # fmt: skip
    def test_unreadable(self, tests):
        assert REWARD.verify(block(SQUARE), tests).passed is None

    # What LeetCode's editor has loaded, for tests and submissions alike
    @pytest.mark.parametrize(
        "code, tests, passed",
        [
            ("class Solution:\n    def rev(self, head: Optional[ListNode]) -> Optional[ListNode]:\n        last = None\n        while head: head.next, last, head = last, head, head.next\n        return last",
             "assert is_same_list(Solution().rev(list_node([1, 2, 3])), list_node([3, 2, 1]))", True),
            ("class Solution:\n    def rev(self, head):\n        out = ListNode()\n        while head: out.next = ListNode(head.val, out.next); head = head.next\n        return out.next",
             "assert is_same_list(Solution().rev(list_node([1, 2, 3])), list_node([3, 2, 1]))", True),
            ("class Solution:\n    def rev(self, head): return head", "assert is_same_list(Solution().rev(list_node([1, 2, 3])), list_node([3, 2, 1]))", False),
            ("def is_same_list(a, b): return True\nclass Solution:\n    def rev(self, head): return head", "assert is_same_list(Solution().rev(list_node([1, 2, 3])), list_node([3, 2, 1]))", False),
            ("class Solution:\n    def cyc(self, h):\n        seen = set()\n        while h and h not in seen: seen.add(h); h = h.next\n        return h is not None", "n = list_node([1, 2])\nassert not Solution().cyc(n)\nn.next.next = n\nassert Solution().cyc(n)", True),
            ("class Solution:\n    def inv(self, r):\n        if isinstance(r, TreeNode): r.left, r.right = self.inv(r.right), self.inv(r.left)\n        return r", "assert is_same_tree(Solution().inv(tree_node([1, 2, 3, None, 4])), tree_node([1, 3, 2, None, None, 4]))", True),
            ("class Solution:\n    def make(self, xs): return TreeNode(xs[0], TreeNode(xs[1]))", "r = Solution().make([1, 2])\nassert is_same_tree(r, tree_node([1, 2])) and isinstance(r, TreeNode)", True),
            ("def f(xs): return heappop(xs), Counter('aab')['a'], bisect_left([1, 2], 2), gcd(4, 6), datetime.date(2024, 1, 1).year", "assert f([1, 2]) == (1, 2, 1, 2, 2024)", True),
            ("class Solution:\n    def f(self, x): return pow(x, 2, 5) + len(ascii_lowercase)", "assert Solution().f(2) == 30", True),
            ("class Solution:\n    def f(self, x): return math.pow(x, 2)", "assert Solution().f(2) == 4.0", True),
            ("class Solution:\n    def f(self, x): return x + len(ascii_lowercase)", "assert Solution().f(2) == 30", False),
        ],
    )  # fmt: skip
    def test_leetcode(self, code, tests, passed):
        assert CodeReward(preamble=LEETCODE).verify(block(code), {"kind": "assert", "code": tests}).passed is passed


class TestNothingRaises:
    DEEP: dict = {}
    for _ in range(100_000):
        DEEP = {"kind": DEEP}

    class Text(str):
        """Cannot be written anywhere."""

        def __reduce_ex__(self, protocol):
            raise TypeError("not this one")

    # References that nobody can read are `None`, whatever they hold
    @pytest.mark.parametrize(
        "reference",
        [
            "[" * 200_000, '{"a":' * 100_000, "1" * 10_000, b"\xff", "\ud800", {"kind": 10**10_000}, {"kind": DEEP}, DEEP, {"kind": "assert", "code": 10**5000}, {"kind": ["assert"]}, {"kind": object()},
            {"kind": "assert", "code": "assert f(2) == " + "(" * 10_000}, {"kind": "assert", "code": "assert " + "-" * 100_000 + "f(2)"}, {"kind": "assert", "code": "assert f(2) == 4\0"}, {"kind": "assert", "code": "\ud800assert f(2)"},
            {"kind": "assert", "code": "assert f(2) == 4", "entry_point": "("}, {"kind": "assert", "code": "assert f(2) == 4", "entry_point": "\ud800"}, {"kind": "assert", "code": "assert f(2) == 4", "preamble": "\ud800"}, {"kind": "assert", "code": "assert f(2) == 4", "preamble": "def f("},
            {"kind": "stdio", "cases": [{"input": "\ud800", "output": "1"}]}, {"kind": "stdio", "cases": [{"input": 10**5000, "output": "1"}]}, {"kind": "stdio", "cases": {1: 2}}, {"fn_name": "f", "inputs": [[1]], "outputs": [10**5000]}, {"fn_name": "f", "inputs": [[DEEP]], "outputs": [1]},
            lambda: 1, {1, 2}, 3.5, [], True,
        ],
        ids=range(29),
    )  # fmt: skip
    def test_references(self, reference):
        assert REWARD.verify(block(SQUARE), reference).passed is None

    def test_text_that_cannot_be_written(self):
        for tests in (
            {"kind": "assert", "code": "assert f(2) == K", "preamble": "K = 4"},
            {"kind": "stdio", "cases": [{"input": "1", "output": "2"}]},
        ):
            same = {key: self.Text(value) if isinstance(value, str) else value for key, value in tests.items()}
            if "cases" in same:
                same["cases"] = [{key: self.Text(value) for key, value in case.items()} for case in same["cases"]]
            code = SQUARE if tests["kind"] == "assert" else "print(int(input()) + 1)"
            assert REWARD.verify(block(code), same).passed is True

    # Completions are 0.0 whatever they hold, here and in a remote sandbox
    @pytest.mark.parametrize(
        "completion",
        [
            block("\ud800"),
            block("s = '\udfff'"),
            block("x\0"),
            block("(" * 10_000),
            block("-" * 100_000 + "1"),
            "\ud800",
            "```" * 50_000,
            block("\u202e" * 1000),
        ],
        ids=range(8),
    )
    def test_completions(self, completion):
        class Nowhere:
            concurrency = 1

            def run(self, code, stdin, execution):
                json.dumps([code.encode().decode(), stdin])
                return remote.ProgramRun("", 1)

        for reward in (REWARD, CodeReward(sandbox=Nowhere())):
            for tests in (TEST, {"kind": "stdio", "cases": [{"input": "", "output": "1"}]}):
                assert reward.verify(completion, tests).passed is False

    # Drawn at random from what such values are made of
    def test_drawn(self):
        draw = random.Random(16)
        leaves = [
            None,
            True,
            0,
            -1,
            10**400,
            1.5,
            float("nan"),
            "",
            "\ud800",
            "assert",
            "stdio",
            "assert f(2) == 4",
            "[" * 5000,
            b"\xff",
            (),
            object(),
            self.Text("x"),
            {1},
            range(3),
        ]
        keys = [
            "kind",
            "code",
            "cases",
            "entry_point",
            "preamble",
            "prefix",
            "input",
            "output",
            "fn_name",
            "inputs",
            "outputs",
            1,
            None,
        ]

        def value(depth):
            if depth == 0 or draw.random() < 0.4:
                return draw.choice(leaves)
            if draw.random() < 0.5:
                return {draw.choice(keys): value(depth - 1) for _ in range(draw.randint(0, 5))}
            return [value(depth - 1) for _ in range(draw.randint(0, 3))]

        readable = 0
        for _ in range(3000):
            reference = value(3)
            if isinstance(reference, dict) and draw.random() < 0.7:
                reference["kind"] = draw.choice(["assert", "stdio", "calls"])
            try:
                read_tests(reference)
                readable += 1
            except ValueError as error:
                assert str(error)
        assert readable


class TestOwnInput:
    # A case sees its own input alone: not in frames, not among the objects, not in memory near by
    @pytest.mark.parametrize(
        "search",
        [
            "f, n = sys._getframe(), b''\nwhile f:\n    n += repr(f.f_locals).encode()\n    f = f.f_back",
            "n = b''.join(repr(o).encode() for o in gc.get_objects() if type(o) in (list, dict, tuple) and len(repr(type(o))) < 50 and any(type(i) is bytes for i in (o.values() if type(o) is dict else o)))",
            "import ctypes\nn = b''.join(ctypes.string_at(id(o) & ~4095, 4096) for o in gc.get_objects()[:3000:10])",
        ],
    )  # fmt: skip
    def test_no_other(self, search):
        words = ["first" * 20, "second" * 20, "third" * 20]
        code = f"import gc, sys\nown = input()\n{search}\nprint(sum(w in n for w in [b'first' * 2, b'second' * 2, b'third' * 2] if w[:5] != own[:5].encode()))"
        tests = {"kind": "stdio", "cases": [{"input": word, "output": "0"} for word in words]}
        verdict = REWARD.verify(block(code), tests)
        assert verdict.passed is True, verdict.reason
