r"""`math_reward` where English stands around the number, and attacks on its grammar by who has read it."""

import time

import pytest

from trl_copd.rewards import math_reward
from trl_copd.rewards.math import vocabulary


def grade_box(answer, solution):
    return math_reward(prompts=["?"], completions=[rf"So it is \boxed{{{answer}}}."], solution=[solution])[0]


class TestBehindTheNumber:
    # A word that changes the number, or takes it back, is no unit: number words, fractions, multiples, operators
    CHANGES = (
        "eight", "eight nine", "twos", "tens", "hundreds", "hundredths", "thousandth", "tenths", "halves", "thirds",
        "quarters", "sevenths", "twenty-firsts", "thirtieths", "million", "quadrillion", "septillions", "lakh",
        "crore", "googol", "googols", "myriad", "dozen", "dozens", "dozen eggs", "score", "grand", "pairs of shoes",
        "couples", "tenfold", "doubles", "factorial", "reciprocal", "inverse", "negative", "negative units",
        "squared", "choose two", "remainder two", "mod thirteen", "base three", "times two", "less one", "over five",
        "point five", "eighth notes", "to the eighth", "thousand people", "million dollars", "and a half",
        "tens of thousands", "th", "fold", "half-miles", "half pairs",
    )  # fmt: skip

    # Hedges, negations, comparisons
    HEDGES = (
        "incorrect", "wrong", "wrong apples", "is wrong", "impossible", "impossible cases", "excluded", "rejected",
        "never", "hardly", "unlikely", "unsure", "necessarily", "undecided", "improbable", "nope", "below", "above",
        "onwards", "upwards", "thereabouts", "besides", "minimum", "maximum", "fewer", "fewer cars", "greater",
        "more apples", "units less", "or more", "otherwise", "alternatively eight", "rather eight", "versus",
        "probably apples", "apples or eight", "apples not pears", "apples minus pears", "old", "total of eight",
        "in all but one", "left of eight", "plus", "minus",
    )  # fmt: skip

    @pytest.mark.parametrize("words", CHANGES + HEDGES)
    @pytest.mark.parametrize("number", ["7", "1"])
    def test_other_answer(self, words, number):
        assert grade_box(rf"{number}\text{{ {words}}}", number) == 0.0
        assert grade_box(f"{number} {words}", number) == 0.0

    # No list has all of them, so behind a number above 1 a noun must be in the plural
    @pytest.mark.parametrize("words", ["hmm", "whatever", "eleventy", "lol", "kilo", "apple", "red marble"])
    def test_no_plural(self, words):
        assert grade_box(rf"7\text{{ {words}}}", "7") == 0.0

    # What is counted leaves the number what it is, in the plural behind all numbers above 1
    COUNTED = (
        "apples", "red marbles", "people", "children", "cups of tea", "pieces of candy", "points per game", "ways",
        "vertices", "classes", "square units", "sixth-grade students", "consecutive integers", "two-digit numbers",
        "buses", "fish", "mistakes", "digits", "squares", "cubes", "roots", "chocolate chip cookies",
        "possibilities", "ohms", "quarts", "miles per gallon", "dollars per hour", "dollars each", "apples in total",
        "days left", "years old", "feet tall", "left", "total",
    )  # fmt: skip

    @pytest.mark.parametrize("words", COUNTED)
    def test_same_answer(self, words):
        assert grade_box(rf"7\text{{ {words}}}", "7") == 1.0
        assert grade_box("7", rf"7\text{{ {words}}}") == 1.0
        assert grade_box("8", rf"7\text{{ {words}}}") == 0.0

    # One of them is in the singular; a million of them are as many; mixed measures are one amount
    @pytest.mark.parametrize(
        "solution, answer, reward",
        [
            ("1", r"1\text{ apple}", 1.0),
            (r"\frac12", r"\frac12\text{ pizza}", 1.0),
            ("7000000", "7 million dollars", 1.0),
            (r"\$7\text{ million}", "7000000", 1.0),
            (r"\$7", r"7\text{ million}", 0.0),
            (r"7\text{ dozen}", "84", 1.0),
            (r"7\text{ hours and }30\text{ minutes}", r"7\text{ h }30\text{ min}", 1.0),
            (r"7\text{ hours and }30\text{ minutes}", r"450\text{ minutes}", 1.0),
            (r"7\text{ hours }30\text{ minutes}", "7.5 hours", 1.0),
            (r"7\text{ hours and }30\text{ minutes}", "30", 0.0),
            (r"7\text{ hours and }30\text{ minutes}", r"30\text{ hours }7\text{ minutes}", 0.0),
            (r"\$2.50", r"2\text{ dollars and }50\text{ cents}", 1.0),
            ("7", r"7\text{ hours or }8\text{ minutes}", 0.0),
            ("7", r"7\text{ hours and }8\text{ minutes}", 0.0),
            (r"20^\circ\text{C}", r"20\text{ °C}", 1.0),
            (r"20^\circ\text{C}", r"20^\circ\text{F}", 0.0),
            (r"5\text{ m/s}", r"5\text{ m s}^{-1}", 1.0),
            (r"5\text{ m/s}", r"5\text{ m s}^{-2}", 0.0),
            (r"5\text{ m}^2", r"5 \text{ m²}", 1.0),
        ],
    )
    def test_amounts(self, solution, answer, reward):
        assert grade_box(answer, solution) == reward


class TestBeforeTheEqualsSign:
    # Words that deny, hedge, or are another number or a formula are no name of the answer
    @pytest.mark.parametrize(
        "label",
        [
            r"\text{certainly not }x", r"\text{wrong: }x", r"\text{false: }x", r"\text{it is never }",
            r"\text{not }", "not", "none", "never", "eight", r"\text{eight}", "two", r"\text{twice }x",
            r"\text{half of }x", r"\text{a third of }x", r"\text{minus }x", r"\text{x squared}",
            r"\text{square root of }x", r"\text{opposite of }x", r"\text{if }x", r"\text{Suppose }x",
            r"\text{extraneous: }x", r"\text{maybe }x", r"\text{x or y}", r"\text{at most }", r"\text{less than }",
            r"\text{doesn't }", r"\text{x where }x", r"\text{no solution}",
        ],
    )  # fmt: skip
    def test_no_label(self, label):
        assert grade_box(f"{label}=7", "7") == 0.0

    # A formula of the unknown is an equation left to solve
    @pytest.mark.parametrize(
        "left",
        [
            "2x", "8x", "1x", "x^2", "2x+1", "x-1", r"\frac{x}{2}", r"\frac{1}{x}", r"\sqrt{x}", r"\ln x", "2^x",
            "x!", "-x", "!x", "x+x", r"x\cdot1", "2(x)", "2a+b", "-x-y", "3ab", r"\lfloor x\rfloor", r"\pm x",
        ],
    )  # fmt: skip
    def test_not_solved(self, left):
        assert grade_box(f"{left}=7", "7") == 0.0

    # Names, what a question may have asked for, and words that say what the number is
    @pytest.mark.parametrize(
        "left",
        [
            "x", "x_1", r"\theta", "AB", "P(A)", "f(10)", "f(-1)", "f(2,3)", "a+b", "ab", "x^2+y^2", r"\frac{a}{b}",
            "AB+BC", r"\tan A", r"x_{\text{max}}", r"\angle ABC", r"m\angle B", "Area", r"\text{Answer: }x",
            r"\text{Area of }ABC", r"\text{The area of triangle }ABC ", r"\text{number of two-digit numbers}",
            r"\text{third term}", r"\text{Ana's age}", r"\text{Remainder}", r"\text{base}", r"\text{Maximum value}",
            r"\text{the only solution is }x", r"\text{Total cost}", r"\text{least common multiple}",
        ],
    )  # fmt: skip
    def test_label(self, left):
        assert grade_box(f"{left}=7", "7") == 1.0
        assert grade_box(f"{left}=8", "7") == 0.0

    # Only a set has members, and a number is none of itself; names that differ are different, also in their indices
    @pytest.mark.parametrize(
        "solution, answer, reward",
        [
            ("7", r"8\in 7", 0.0),
            ("7", r"x\in 7", 0.0),
            ("7", r"8\in\{7\}", 0.0),
            ("7", r"x\in\{7\}", 1.0),
            ("x_{10}=7", "x_{11}=7", 0.0),
            (r"\angle ABC=45^\circ", r"\angle ABD=45^\circ", 0.0),
            (r"\angle ABC=45^\circ", "45", 1.0),
        ],
    )
    def test_members_and_names(self, solution, answer, reward):
        assert grade_box(answer, solution) == reward

    # A label that nearly is one, long and repetitive, takes no time
    @pytest.mark.parametrize("label", ["aaaa " * 58 + "!", "a(x)" + "(x)" * 90 + "!", "a-" * 140, "a, " * 95 + ";"])
    def test_long_label(self, label):
        start = time.process_time()
        assert not vocabulary.labels(label)
        assert time.process_time() - start < 0.2


class TestOther:
    # A letter with its value is both; several letters have no order; a point in letters has one
    @pytest.mark.parametrize(
        "solution, answer, reward",
        [
            (r"\textbf{(B)}\ 12", r"\textbf{(B)}\ 12", 1.0),
            (r"\textbf{(B)}\ 12", "12", 1.0),
            (r"\textbf{(B)}\ 12", "B", 1.0),
            ("B", r"\textbf{(B)}\ 12", 1.0),
            (r"\textbf{(B)}\ 12", "C", 0.0),
            (r"\textbf{(B)}\ 12", r"\textbf{(C)}\ 12", 0.0),
            (r"\textbf{(B)}\ 12", r"\textbf{(B)}\ 13", 0.0),
            (r"\text{(A), (C)}", r"\text{C and A}", 1.0),
            (r"\text{(A), (C)}", r"\text{(A), (B)}", 0.0),
            (r"\text{(A), (C)}", "A", 0.0),
            ("(A, C)", "(C, A)", 0.0),
        ],
    )
    def test_choices(self, solution, answer, reward):
        assert grade_box(answer, solution) == reward

    # Nothing is below 1 and above 3; a comma may join the parts of a union
    @pytest.mark.parametrize(
        "answer, reward",
        [(r"x<1\text{ or }x>3", 1.0), ("x<1, x>3", 1.0), (r"x<1\text{ and }x>3", 0.0), ("x<1, and x>3", 0.0)],
    )
    def test_conditions(self, answer, reward):
        assert grade_box(answer, r"(-\infty,1)\cup(3,\infty)") == reward

    # 10:30 is a time; as a ratio it would be written 1:3. 0:30 is half past midnight
    @pytest.mark.parametrize(
        "solution, answer, reward",
        [
            (r"10:30\text{ a.m.}", "1:3", 0.0),
            ("10:30", "1:3", 0.0),
            ("1:3", "10:30", 1.0),
            ("2:15", "4:30", 0.0),
            (r"12:30\text{ p.m.}", "0:30", 0.0),
            (r"12:30\text{ a.m.}", "0:30", 1.0),
        ],
    )
    def test_times_and_ratios(self, solution, answer, reward):
        assert grade_box(answer, solution) == reward

    # Formulas that are x at whole multiples of some step: no step that fits into an answer meets all the points
    @pytest.mark.parametrize(
        "answer",
        [r"x+\sin(10^{9}\pi x)", r"x\cos(2\cdot10^{9}\pi x)", r"x(-1)^{2000000000x}", r"x+\lfloor 10^9x\rfloor-10^9x",
         "x+\\sin(" + "6" * 250 + "\\pi x)", r"x+\sin(10^{200}\pi x)", "x(-1)^{2x}"],
    )  # fmt: skip
    def test_points(self, answer):
        assert grade_box(answer, "x") == 0.0

    # Complex numbers have no order: no answer, no crash, and as a reference no grade
    @pytest.mark.parametrize("answer", ["x+y<i", "7<8i", "a<ib", "ix+y<1", r"x+y\le i^2z", "x<i", "i<x<2i", "|x|<i"])
    def test_complex_inequalities(self, answer):
        assert grade_box(answer, "x+y<1") == 0.0
        assert grade_box("x+y<1", answer) is None

    # A box that does not close is no bare answer; boxes joined by "/" or "or perhaps" are a hedge, bold or not
    @pytest.mark.parametrize(
        "completion", [r"\boxed{7\}", r"\boxed{7", r"**\boxed{8}** or **\boxed{7}**", r"\boxed{8} / \boxed{7}",
                       r"\boxed{8} or perhaps \boxed{7}"]
    )  # fmt: skip
    def test_boxes(self, completion):
        assert math_reward(prompts=["?"], completions=[completion], solution=["7"]) == [0.0]
