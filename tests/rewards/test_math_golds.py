r"""
`math_reward` against references as data sets hold them, of the kinds of `cases/math_golds.txt`, and
`benchmarks/golds.py`, which measures reading on real ones.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from math_rows import cases, grade, table

from trl_copd.rewards import MathReward, math_reward


REPOSITORY = Path(__file__).resolve().parents[2]


ODD_NOUNS = {
    "4 (down votes)",
    "0 (Lemon Head)",
    "8 (4-seater tables)",
    "100 (M&Ms)",
    "7 (groups of 8 people)",
    "13 (mL of soup)",
}


class TestGolds:
    @pytest.mark.parametrize("solution, answer, reward", table("math_golds.txt"))
    def test_reward(self, solution, answer, reward):
        assert grade(math_reward, rf"So it is \boxed{{{answer}}}.", solution) == reward

    # 900 forms and near misses by who did not write the grammar, in one batch a section
    @pytest.mark.parametrize("reward", [1.0, 0.0])
    def test_forms(self, reward):
        rows = [row.values for row in table("math_forms.txt") if row.values[2] == reward]
        solutions, answers, _ = zip(*rows, strict=True)
        completions = [rf"So it is \boxed{{{answer}}}." for answer in answers]
        grades = math_reward(prompts=["?"] * len(rows), completions=completions, solution=list(solutions))
        assert len(rows) > 400
        assert [row for row, found in zip(rows, grades, strict=True) if found != reward] == []

    # Whatever is read is right as an answer to itself; odd words in parentheses are read in references only
    @pytest.mark.parametrize("solution", sorted({row.values[0] for row in table("math_golds.txt")} - ODD_NOUNS))
    def test_reference_equals_itself(self, solution):
        if solution.count("{") == solution.count("}"):  # else the box would not close
            shown = solution if re.match("The |Solution", solution) else rf"\displaystyle {solution}"
            assert grade(math_reward, rf"\boxed{{{shown}}}", solution) == 1.0

    # Prose, and commands whose meaning is not known here, are no silent 0
    @pytest.mark.parametrize(
        "solution",
        [r"\triangle ABC", r"\frac17\triangle ABC", r"1,2,\ldots,n", r"a\perp b", "x=1=2", r"\begin{cases}\end{cases}",
         r"k\pi, n\in\mathbb{Z}", r"3\pmod{0}", r"3\pmod{x}", r"\begin{aligned}x&=1\\x&=2\end{aligned}",
         r"\begin{pmatrix}1\end{pmatrix}+\begin{pmatrix}1\\2\end{pmatrix}", "the number (a) of them"],
    )  # fmt: skip
    def test_unreadable(self, solution):
        for answer in ("5", solution):
            assert grade(math_reward, rf"\boxed{{{answer}}}", solution) is None


class TestTolerance:
    # References of physics are rounded; the share is of the reference's size, and units are converted before
    ROWS = cases(
        ("2", "1.99", 1.0), ("2", "1.98", 1.0), ("-2", "-2.01", 1.0), (r"8.7\times10^8", "8.66e8", 1.0),
        (r"\sqrt2", "1.41", 1.0), (r"3.1", r"\pi", 0.0), ("3.14", r"\pi", 1.0), ("(1,2)", "(1.001,2)", 1.0),
        (r"5\text{ km}", "5010 m", 1.0), ("1.5, 2.5", "2.51, 1.51", 1.0), ("x=2", "x=2.01", 1.0),
        (r"\frac13", "0.333", 1.0),
        ("2", "1.97", 0.0), ("-2", "2", 0.0), ("0", "0.001", 0.0), (r"8.7\times10^8", "8.6e7", 0.0),
        ("x+1", "x+1.001", 0.0),
        ("[0,1)", "[0,1.001)", 0.0), ("x<1", "x<1.001", 0.0), ("(1,2)", "(1.1,2)", 0.0),
        (r"5\text{ km}", "5.01 m", 0.0),
        ("2x", "2.01x", 0.0), ("x=2", "y=2.01", 0.0), ("Friday", "Saturday", 0.0), (r"\infty", "1e300", 0.0),
    )  # fmt: skip

    @pytest.mark.parametrize("solution, answer, reward", ROWS)
    def test_reward(self, solution, answer, reward):
        assert grade(MathReward(tolerance=0.01), rf"\boxed{{{answer}}}", solution) == reward

    # Off by default
    @pytest.mark.parametrize("solution, answer", [row.values[:2] for row in ROWS if row.values[0] != "3.1"])
    def test_exact_by_default(self, solution, answer):
        assert grade(math_reward, rf"\boxed{{{answer}}}", solution) == 0.0

    @pytest.mark.parametrize("tolerance", [-0.1, 1, 2.0, float("nan"), float("inf")])
    def test_share_is_below_one(self, tolerance):
        with pytest.raises(ValueError, match="tolerance"):
            MathReward(tolerance=tolerance)


class TestBenchmark:
    # One of them is unreadable; all others are read, and no other reference and no near miss passes for them
    @pytest.mark.parametrize("peer_rows", [0, pytest.param(2, marks=pytest.mark.slow)])
    def test_prints_json(self, tmp_path, peer_rows):
        golds = ["12", r"\frac{3}{4}", r"\triangle ABC", "(1,2)", r"90^\circ", "[0,1)", "1,000", "x^2+1"]
        file = tmp_path / "mine.jsonl"
        file.write_text("\n".join(json.dumps({"question": "?", "answer": gold}) for gold in golds))
        command = [sys.executable, "benchmarks/golds.py", str(file), "--rows", "8", "--peer-rows", str(peer_rows)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        result = json.loads(done.stdout.splitlines()[-1])["mine"]
        ours = result["ours"]
        assert (ours["golds"], ours["none"], ours["self_failed"]) == (8, 12.5, 0.0)
        assert (ours["rewritten"], ours["other"], ours["near"]) == (100.0, 0.0, 0.0)
        assert ours["rewritten_rows"] > 60 and ours["near_rows"] > 8
        assert set(result) == ({"ours", "math_verify", "accuracy_reward"} if peer_rows else {"ours"})
