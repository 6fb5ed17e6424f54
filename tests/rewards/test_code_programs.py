# ruff: noqa: E501  # a program a line: folded, the tables could not be read
"""Whole programs, by what they print; and the reward as TRL calls it."""

import pytest
from code_rows import ADD, block, cases, grade

from trl_copd.rewards.code import CodeReward, code_reward
from trl_copd.rewards.sandbox import available_level


class TestStdio:
    # Programs as `python solution.py` runs them
    @pytest.mark.parametrize(
        "code, rows",
        cases(
            ("input", "n = int(input())\nprint(n * 2)", [("3\n", "6"), ("4", "8\n")]),
            ("several lines", "import sys\nfor line in sys.stdin: print(line.strip()[::-1])", [("ab\ncd\n", "ba\ndc\n"), ("", "")]),
            ("read all", "import sys\nprint(sum(map(int, sys.stdin.read().split())))", [("1 2\n3", "6")]),
            ("readline", "import sys\ninput = sys.stdin.readline\nprint(input().strip(), input().strip())", [("a\nb\n", "a b")]),
            ("descriptor", "import os\nprint(len(os.read(0, 100)))", [("abc", "3")]),
            ("open 0", "print(open(0).read().upper(), end='')", [("abc\n", "ABC\n")]),
            ("buffer", "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read())", [("x y\n", "x y")]),
            ("dev stdin", "print(open('/dev/stdin').readline().strip())", [("hello\nyou\n", "hello")]),
            ("main block", "def main():\n    print(input())\nif __name__ == '__main__':\n    main()", [("a", "a")]),
            ("exit 0", "import sys\nprint(input())\nsys.exit(0)", [("a", "a")]),
            ("exit with nothing", "print(input())\nexit()", [("a", "a")]),
            ("recursion in a thread", "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(2**27)\n"
             "def f(n): return 0 if n == 0 else 1 + f(n - 1)\nt = threading.Thread(target=lambda: print(f(int(input()))))\nt.start()",
             [("20000", "20000")]),
            ("at exit", "import atexit\natexit.register(lambda: print('bye'))\nprint('hi')", [("", "hi\nbye")]),
            ("white space at line ends", "print('a  ')\nprint()\nprint('b')\nprint()", [("", "a\n\nb\n")]),
            ("text of the world", "print(input()[::-1])", [("äö漢", "漢öä")]),
            ("state is fresh per case", "import os\nprint(os.path.exists('f'))\nopen('f', 'w').write('x')", [("", "False"), ("", "False")]),
            ("much output", "print('\\n'.join(map(str, range(200000))))", [("", "\n".join(map(str, range(200000))))]),
            ("printed to stderr", "import sys\nprint('log', file=sys.stderr)\nprint(1)", [("", "1")]),
            pytest.param("from multiprocessing import Pool\ndef f(x): return x * x\nif __name__ == '__main__':\n"
             "    with Pool(2) as p: print(sum(p.map(f, range(5))))", [("", "30")], id="a pool of processes",
             marks=pytest.mark.skipif(available_level() != "full", reason="no new processes at level landlock")),
            ("own class pickled", "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A)", [("", "True")]),
        ),
    )  # fmt: skip
    def test_right(self, code, rows):
        assert grade(code, rows) == 1.0

    # All lines, all cases, the exit code
    @pytest.mark.parametrize(
        "code, rows",
        cases(
            ("first line only", "print(1)", [("", "1\n2")]),
            ("a line too many", "print(1)\nprint(2)", [("", "1")]),
            ("line order", "print(2)\nprint(1)", [("", "1\n2")]),
            ("blank line in between", "print('a')\nprint()\nprint('b')", [("", "a\nb")]),
            ("space at the start", "print(' 1')", [("", "1")]),
            ("two spaces", "print('1  2')", [("", "1 2")]),
            ("case", "print('yes')", [("", "YES")]),
            ("one case of three", "print(input())", [("1", "1"), ("2", "2"), ("3", "4")]),
            ("number as another text", "print(1.0)", [("", "1")]),
            ("exit code", "print(1)\nraise SystemExit(1)", [("", "1")]),
            ("exit with a text", "import sys\nprint(1)\nsys.exit('bad')", [("", "1")]),
            ("exception after the output", "print(1)\n1 / 0", [("", "1")]),
            ("syntax", "print(1", [("", "1")]),
            ("nothing", "pass", [("", "1")]),
        ),
    )  # fmt: skip
    def test_wrong(self, code, rows):
        assert grade(code, rows) == 0.0

    def test_tolerance_is_asked_for(self):
        code, rows = "print('x', 0.333333)", [("", "x 0.3333333333")]
        assert grade(code, rows) == 0.0
        assert grade(code, rows, CodeReward(tolerance=1e-4)) == 1.0
        assert grade("print('x', 'nan')", rows, CodeReward(tolerance=1e-4)) == 0.0
        assert grade("print('y', 0.3333333333)", rows, CodeReward(tolerance=1e-4)) == 0.0

    def test_a_share_of_the_cases_on_request(self):
        code, rows = "print(min(int(input()), 2))", [("1", "1"), ("3", "3"), ("2", "2"), ("9", "9")]
        assert grade(code, rows) == 0.0
        assert grade(code, rows, CodeReward(partial_credit=True)) == 0.5

    def test_each_case_has_its_own_time(self):
        burn = "import time\nn = int(input())\nwhile time.process_time() < n / 10: pass\nprint(n)"
        reward = CodeReward(cpu_seconds=1.0, partial_credit=True)
        rows = [("4", "4"), ("5", "5"), ("4", "4"), ("90", "90"), ("5", "5")]
        assert grade(burn, rows, reward) == 0.8


class TestReward:
    def test_batch_keeps_its_order_and_counts(self):
        rows = [(ADD, "assert add(1, 2) == 3"), ("x = 1", "assert add(1, 2) == 3"), (ADD, "assert 1 =="), (ADD, None)]
        logged = {}
        rewards = code_reward(
            prompts=["?"] * 4,
            completions=[[{"role": "assistant", "content": block(code)}] for code, _ in rows],
            tests=[tests and {"kind": "assert", "code": tests} for _, tests in rows],
            log_metric=logged.__setitem__,
        )
        assert rewards == [1.0, 0.0, None, None]
        assert logged["code_reward/unreadable"] == 1.0 and logged["code_reward/infrastructure_failures"] == 0.0
        assert logged["code_reward/sandbox_level"] in (1.0, 2.0)

    def test_a_server_that_dies_is_replaced(self):
        assert grade(ADD, "assert add(1, 3) == 4") == 1.0
        slots = code_reward._slots()
        for slot in slots._free:
            for process in slot._processes:
                process.kill()
                process.wait()
        assert grade(ADD, "assert add(1, 4) == 5") == 1.0

    # a level that the host does not have is said when the trainer is built
    def test_check(self, monkeypatch):
        from trl_copd.rewards.sandbox import SandboxError, command

        monkeypatch.setattr(command, "available_level", lambda: "rlimit")
        monkeypatch.delenv(command.ALLOW_RLIMIT, raising=False)
        with pytest.raises(SandboxError, match="TRL_COPD_ALLOW_RLIMIT"):
            code_reward.check()
        with pytest.raises(SandboxError, match="at most"):
            CodeReward(level="landlock").check()
        CodeReward(level="rlimit").check()
        monkeypatch.setenv(command.ALLOW_RLIMIT, "1")
        code_reward.check()

    def test_bad_options(self):
        for options in ({"cpu_seconds": 0}, {"memory_mib": 0}, {"tolerance": -1}, {"level": "high"}):
            with pytest.raises(ValueError):
                CodeReward(**options)
