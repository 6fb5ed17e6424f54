r"""Normalising touches only what it normalises: every rule beside every other, and beside what no rule concerns."""

import itertools

import pytest

from trl_copd.rewards.math.bounds import Unreadable
from trl_copd.rewards.math.text import normalise


# What stands in a text, and its one spelling
RULES = {
    r"x^{2}": "x^{2}",
    r"\frac{1}{2}^{2}": r"\frac {1}{2}^{2}",
    r"\text{ cm}^{2}": "«cm» ^{2}",
    "25π": "25π",
    "x²": "x^{2}",
    "x¹²": "x^{12}",
    "x⁻¹": "x^{-1}",
    "x₁": "x_{1}",
    "x₁²": "x_{1}^{2}",
    "½": r"\frac {1}{2}",
    "−3": "-3",
    "3×4": "3*4",
    "√2": r"\sqrt 2",
    "θ": r"\theta",
    "١٢": "12",
    r"\dfrac{a}{b}": r"\frac {a}{b}",
    r"\left(a\right)": "(a)",
    r"2\cdot3": "2*3",
    r"a\le b": "a≤ b",
    r"\sqrt{2}": r"\sqrt {2}",
    r"1{,}234": "1234",
    r"3{,}14": "3.14",
    r"1\,234": "1234",
    r"12,\!345": "12345",
    r"90^\circ": "90°",
    r"90^{\circ}": "90°",
    r"\pi": "π",
    "sqrt(2)": r"\sqrt (2)",
    "a**b": "a^b",
    "a<=b": "a≤b",
    r"v^2_0": "v_0^2",
    r"\omega^{2}_{0}": r"\omega_{0}^{2}",
    r"\dot{x}": "x\u0307",
    r"\overrightarrow{AB}": "AB\u20d7",
    r"\mathbb{Z}": "ℤ",
    r"{a}_{n}": "a_{n}",
    r"f^{\prime}": "f'",
    r"{1\over2}": r"\frac {1}{2}",
    r"\begin{pmatrix}1&2\\3&4\end{pmatrix}": "⟦1¦2‖3¦4⟧",
    r"\text{log books}": "«log books»",
    r"\text{A1}": "A1",
}


@pytest.mark.parametrize("text", RULES)
def test_alone(text):
    assert normalise(text) == RULES[text]


@pytest.mark.parametrize("one", RULES)
def test_beside_every_other(one):
    for other in RULES:
        assert normalise(f"{one} ; {other}") == f"{RULES[one]} ; {RULES[other]}"


# Three rules, of which the one in the middle is the most fragile: exponents and groups
def test_between_two_others():
    for one, other in itertools.product(list(RULES)[::3], list(RULES)[1::3]):
        assert normalise(rf"{one} ; \frac{{1}}{{2}}^{{2}} ; {other}") == (
            rf"{RULES[one]} ; \frac {{1}}{{2}}^{{2}} ; {RULES[other]}"
        )


# The signs that stand for layout here are no part of an answer
@pytest.mark.parametrize("sign", "⟬⟭⟪⟫⟦⟧⦃⦄¦₥§«»")
def test_own_signs(sign):
    with pytest.raises(Unreadable):
        normalise(f"5{sign}")
