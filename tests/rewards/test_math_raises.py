"""No reference and no completion makes `math_reward` raise: a batch is graded whatever one row holds."""

import random

import pytest
from math_rows import grade

from trl_copd.rewards import math_reward
from trl_copd.rewards.math import verify_math


def deep():
    nested: list = []
    for _ in range(5000):
        nested = [nested]
    return nested


def cyclic():
    within: dict = {}
    within["again"] = within
    return within


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no text of it")


# Texts that are long, deep, broken or no Unicode, and values that are no text and no number
REFERENCES = [
    "[" * 200_000, "{" * 200_000, "(" * 100_000, "\\boxed{" * 50_000, "\ud800", "\\boxed{\ud800}", "1" * 100_000,
    10**5000, -(10**5000), 1e400, float("nan"), deep(), cyclic(), Unprintable(), b"72", {"a": 1}, ["72"], ("72",),
    object(), True, 3 + 4j, set(), "\\frac" * 5000, "\\begin{cases}" * 500, "&" * 999, "\\\\" * 400, "^" * 999,
    "_" * 999, "a=" * 300 + "=", "#### " + "[" * 9999, "\x00", "²" * 999, "\\text{" * 150, "\u2028", "«" * 9,
]  # fmt: skip
COMPLETIONS = [
    "", "\\boxed{\ud800}", "\ud800", "[" * 200_000, "\\boxed{" * 100_000, "\\boxed{" + "[" * 200_000 + "}", [],
    [{"role": "user", "content": "72"}], [{"role": "assistant", "content": None}],
]  # fmt: skip


@pytest.mark.parametrize("index", range(len(REFERENCES)))
def test_reference(index):
    reference = REFERENCES[index]
    completions = [*COMPLETIONS, "\\boxed{72}"]
    rewards = math_reward(
        prompts=[""] * len(completions), completions=completions, solution=[reference] * len(completions)
    )
    assert rewards == [None] * len(completions)
    assert verify_math("\\boxed{72}", reference).passed is None


@pytest.mark.parametrize("solution", ["72", "x+1", r"\int_0^1 x dx", r"k\pi, k\in\mathbb{Z}"])
def test_completion(solution):
    rewards = math_reward(
        prompts=[""] * len(COMPLETIONS), completions=COMPLETIONS, solution=[solution] * len(COMPLETIONS)
    )
    assert rewards == [0.0] * len(COMPLETIONS)


# A number of NumPy or a subclass of text is what it looks like
def test_subclasses():
    class Text(str):
        def __repr__(self):
            return "<odd>"

    class Real(float):
        def __repr__(self):
            return "Real(0.5)"

    assert grade(math_reward, r"\boxed{1/2}", Text("0.5")) == 1.0
    assert grade(math_reward, r"\boxed{1/2}", Real(0.5)) == 1.0


PIECES = (
    r"\frac \sqrt \boxed{ \text{ \left( \right) \{ \} { } ( ) [ ] | ^ _ ! % ° ' , ; : . = < > \le \ne \approx \pm "
    r"\cup \in \infty \pi e i x y k f(x) sin \log _2 0 1 2 12 0.5 1e3 1,000 / * + - or and km \text{m} $ & \\ "
    r"\begin{pmatrix} \end{pmatrix} \begin{cases} \end{cases} \begin{aligned} \end{aligned} \overline{3} \binom "
    r"\mathbb{Z} \Rightarrow \equiv \pmod 5 \pmod \dot \vec \hat{x} \overrightarrow{AB} \over \color{red} "
    r"\underline{ \therefore (a) (b) (i) (ii) integer for k\in\mathbb{Z} (apples) \mu \Omega mod \det \int \lim "
    r"\text{if} \text{otherwise} 5m x^2_0 ² ₁ ½ \hbar of 110\% \triangle |AB| \left\{ \right. \max « ⟦ ⟬ ⟪ ‖ ₥ \ud800"
).replace("\\ud800", "\ud800").split(" ")  # fmt: skip


# Pieces of LaTeX in any order. The seed is fixed, so that a failure can be repeated
@pytest.mark.parametrize("seed", range(3))
def test_nonsense(seed):
    draw = random.Random(seed)
    for _ in range(500):
        text = "".join(draw.choice(PIECES) + draw.choice(["", " "]) for _ in range(draw.randint(1, 10)))
        assert verify_math(rf"\boxed{{{text}}}", r"(\sqrt{7919}, 7)").passed is False
        of_right, of_wrong = (verify_math(answer, text).passed for answer in (rf"\boxed{{{text}}}", r"\boxed{7919}"))
        assert (of_right is None) == (of_wrong is None)
        assert not of_wrong
