r"""`math_reward`: which part of a completion is the answer, and which references it reads."""

import pytest
from math_rows import cases, grade, grade_box

from trl_copd.rewards import MathReward, math_reward


class TestExtraction:
    # The last box that closes counts, after the reasoning; a completion without one states no answer
    @pytest.mark.parametrize(
        "completion, reward",
        cases(
            (r"\boxed{71}, no, \boxed{72}", 1.0),
            (r"\boxed{72}, no, \boxed{71}", 0.0),
            (r"\boxed{72} and then \boxed{7", 1.0),
            (r"\boxed{71} and then \boxed{72", 0.0),
            (r"\boxed{\frac{144}{2}}", 1.0),
            (r"\boxed{\boxed{72}}", 1.0),
            (r"\fbox{72}", 1.0),
            (r"\boxed{71 \boxed{72}}", 0.0),
            (r"\boxed{72} \boxed{}", 0.0),
            (r"\boxed{72}\boxed{71}", 0.0),
            (r"\} } \boxed {72} }", 1.0),
            ("\\boxed\n{72}", 1.0),
            (r"<think>\boxed{71}</think> \boxed{72}", 1.0),
            (r"<think>\boxed{72}</think> \boxed{71}", 0.0),
            (r"\boxed{72}</think> So be it.", 0.0),
            (r"<think>It is \boxed{72}, I gu", 0.0),
            (r"<think>a</think>\boxed{72}<think>\boxed{72}", 0.0),
            ("The answer is 72.", 0.0),
            ("#### 72", 0.0),
            ("boxed{72}", 0.0),
            ("", 0.0),
        ),
    )
    def test_boxed(self, completion, reward):
        assert grade(math_reward, completion, "72") == reward
        assert grade(MathReward(answer="boxed"), completion, "72") == reward

    # Nothing but an answer needs no box by default; a sentence, a mark or a second line makes it more than that
    @pytest.mark.parametrize(
        "completion, reward",
        cases(
            ("72", 1.0), (" $72$\n", 1.0), ("**72**", 1.0), ("x = 72", 1.0), (r"36\sqrt{4}", 1.0), ("72.", 1.0),
            ("<think>72</think>72", 1.0), ("<think>72</think>", 0.0), ("<think>72", 0.0),
            ("73", 0.0), ("72 or 73", 0.0), ("71, 72", 0.0), ("72\n73", 0.0), ("So 72", 0.0), ("I think 72", 0.0),
            ("I think it is 72", 0.0), ("Answer: 72", 0.0), ("not 72", 0.0), ("72?", 0.0),
        ),
    )  # fmt: skip
    def test_bare(self, completion, reward):
        assert grade(math_reward, completion, "72") == reward
        assert grade(MathReward(answer="boxed"), completion, "72") == 0.0

    # Boxes that only a comma or a word joins are one answer: both solutions, or a hedge
    @pytest.mark.parametrize(
        "completion, solution, reward",
        cases(
            (r"$x=\boxed{1}$ or $x=\boxed{2}$", "2", 1.0),
            (r"\boxed{1} or \boxed{2}", "1, 2", 1.0),
            (r"\boxed{1}, \boxed{2} and \boxed{3}", "3,2,1", 1.0),
            (r"\boxed{1} or \boxed{2}", "2", 0.0),
            (r"$\boxed{1}$ and $\boxed{2}$", "2", 0.0),
            (r"\boxed{2}, \boxed{2}", "2", 1.0),
        ),
    )
    def test_joined_boxes(self, completion, solution, reward):
        assert grade(math_reward, completion, solution) == reward

    # The lenient rule: a box first, then the last mark, and the last number only where there is no mark
    @pytest.mark.parametrize(
        "completion, reward",
        cases(
            ("The answer is 72.", 1.0),
            ("**Answer:** 72", 1.0),
            ("The answer is $72$. I checked 5 times.", 1.0),
            ("The answer is 71. #### 72", 1.0),
            ("The answer is 72. #### 71", 0.0),
            ("48 + 24 makes 72", 1.0),
            ("48 + 24 makes 72, in 2 steps", 0.0),
            (r"\boxed{71}, so the answer is 72", 0.0),
            ("The answer is 71 or 72", 0.0),
            ("The answer is unknown, 72", 0.0),
            ("The answer is definitely not 72.", 0.0),
            ("It is certainly not 72", 0.0),
            ("I do not know.", 0.0),
            ("72", 1.0),
            ("$72$", 1.0),
            ("x = 72", 1.0),
            (r"36\sqrt{4}", 1.0),
            ("36*sqrt(4)", 1.0),
            (r"\sqrt{72}", 0.0),
            ("71, 72", 0.0),
            ("", 0.0),
        ),
    )
    def test_boxed_or_final(self, completion, reward):
        assert grade(MathReward(answer="boxed_or_final"), completion, "72") == reward

    def test_rule_must_exist(self):
        with pytest.raises(ValueError, match="boxed_or_final"):
            MathReward(answer="last")


class TestMathVerify:
    # Sums, integrals and limits as references: what the grammar here has no rule for
    @pytest.mark.parametrize(
        "solution, answer, reward",
        cases(
            (r"\int_0^1 x dx", r"\frac12", 1.0), (r"\int_0^1 x dx", "0.4", 0.0),
            (r"\int_0^1 x dx", r"\int_0^1 x dx", 1.0),
            (r"\sum_{k=1}^{10} k", "55", 1.0), (r"\sum_{k=1}^{10} k", "54", 0.0),
            (r"\sum_{k=1}^n k", r"\frac{n(n+1)}{2}", 1.0),
            (r"\lim_{x\to 0}\frac{\sin x}{x}", "1", 1.0), (r"\int_0^1 x dx", r"9^{9^{9^9}}", 0.0),
            (r"\int_0^1 x dx", "", 0.0),
            (r"\int_0^1 x dx", r"\frac12 \text{ or } \frac13", 0.0), (r"\sum_{k=1}^{10} k", r"\{55\}\cup\{54\}", 0.0),
        ),
    )  # fmt: skip
    def test_reward(self, solution, answer, reward):
        assert grade_box(answer, solution) == reward


class TestReferences:
    # The forms in which datasets hold their answers
    @pytest.mark.parametrize(
        "solution, answer",
        cases(
            (r"\frac{3}{4}", "0.75"), (r"$\frac{3}{4}$", "0.75"), (r"\[\frac{3}{4}\]", "0.75"),
            (r"\(\frac34\)", "0.75"),
            (r"\boxed{\frac{3}{4}}", "0.75"), (r"We get $x=2$, hence \boxed{\frac{3}{4}}.", "0.75"),
            ("#### 0.75", "0.75"),
            ("She sold 48/2 = <<48/2=24>>24 clips.\n#### 1,072", "1072"), (72, "72"), (0.1, r"\frac{1}{10}"),
            (-3, "-3"),
            (1e-07, "10^{-7}"), ("$$x = 7$$", "7"), ("#### $18", "18"), ("#### 42\n", "42"),
        ),
    )  # fmt: skip
    def test_read(self, solution, answer):
        assert grade_box(answer, solution) == 1.0
        assert grade_box("5", solution) == 0.0

    # None of these tells what the answer is. The completion has no say in it: right, wrong, hostile or empty
    @pytest.mark.parametrize(
        "solution",
        cases(
            ("",), ("$ $",), ("The answer is 72",), ("It is the number of ways",), (r"\frac{1}{0}",), ("9^{9^{9^9}}",),
            (r"\frac{1}{",), (r"\triangle ABC",), (r"\sum_{i=1}^{100000000} i^i",), ("1+" * 200 + "1",),
            (float("nan"),), (float("inf"),), (True,), (["72"],), ({},),
            (r"\text{}",), ("72 =",), ("3 = 7",), (r"\sqrt{}",), ("#### ",),
        ),
    )  # fmt: skip
    def test_unreadable(self, solution):
        for completion in (rf"\boxed{{{solution}}}", r"\boxed{72}", r"\boxed{9^{9^{9^9}}}", ""):
            assert grade(math_reward, completion, solution) is None
