r"""`\sum` and `\prod`: power series by their coefficients, others term by term, finite sums by value."""

import time

import pytest
from math_rows import cases, grade, grade_box

from trl_copd.rewards import MathReward, math_reward


GEOMETRIC = r"\sum_{n=0}^{\infty}(-1)^{n} \frac{(x-5)^{n}}{5^{n+1}}"
EXPONENTIAL = r"\sum_{n=0}^{\infty} \frac{(-1)^n x^{2n}}{n!}"
ODE = (
    r"$y=a_{0} \sum_{m=0}^{\infty}(-1)^{m}\left[\prod_{j=0}^{m-1} \frac{4 j+1}{2 j+1}\right] x^{2 m}"
    r"+a_{1} \sum_{m=0}^{\infty}(-1)^{m}\left[\prod_{j=0}^{m-1}(4 j+3)\right] \frac{x^{2 m+1}}{2^{m} m !}$"
)
SQUARE_WAVE = r"\frac{4}{\pi}\sum_{k=0}^{\infty} \frac{\sin((2k+1)x)}{2k+1}"


class TestInfinite:
    # Another letter, a shift, terms outside of the sum, factors drawn in: the coefficients decide
    @pytest.mark.parametrize(
        "solution, answer",
        cases(
            (EXPONENTIAL, r"\sum_{k=1}^{\infty} \frac{(-1)^{k-1} x^{2k-2}}{(k-1)!}"),
            (EXPONENTIAL, r"1+\sum_{n=1}^\infty \frac{(-x^2)^n}{n!}"),
            (EXPONENTIAL, r"f(x)=\sum_{n\ge0} \frac{(-1)^n}{n!}x^{2n}"),
            (EXPONENTIAL, r"e^{-x^2}=\sum\limits_{n=0}^{\infty} \dfrac{(-1)^n x^{2n}}{n!}"),
            (EXPONENTIAL, r"\sum^{\infty}_{n=0} (-1)^n x^{2n}/n!"),
            (GEOMETRIC, r"\frac15\sum_{n=0}^\infty \left(\frac{5-x}{5}\right)^n"),
            (f"{GEOMETRIC}, R=5", f"R=5, {GEOMETRIC}"),
            (r"C+\sum_{n=0}^{\infty} \frac{-1}{(n+1)(n+2)} x^{n+2}", r"C-\sum_{n=2}^{\infty} \frac{x^{n}}{n(n-1)}"),
            (r"\sum_{n=0}^\infty n! x^n", r"\sum_{n=1}^\infty (n-1)! x^{n-1}"),  # it converges nowhere
            (r"\sum_{n=0}^\infty \frac{(\ln 2)^n}{n!}x^n", r"\sum_{n=0}^\infty \frac{(x\ln 2)^n}{n!}"),
            (r"x^{1/2}\left(1+\sum_{n=1}^\infty \frac{x^n}{n^2}\right)",
             r"\sqrt{x}+\sum_{n=1}^\infty \frac{x^{n+1/2}}{n^2}"),
            (ODE, ODE.strip("$").replace("j=0", "j=1").replace("m-1}", "m}").replace("4 j+1", "4 j-3")
             .replace("2 j+1", "2 j-1").replace("4 j+3", "4 j-1")),
            (SQUARE_WAVE, r"\sum_{n=1}^{\infty} \frac{2(1-(-1)^n)}{n\pi}\sin nx"),
            (r"\sum_{n=0}^{\infty} \frac{1}{n!}", "e"), (r"\sum_{n=1}^{\infty} \frac{1}{2^n}", "1"),
            (r"\sum_{n=1}^{\infty} \frac{1}{n^2}", r"\frac{\pi^2}{6}"),
        ),
    )  # fmt: skip
    def test_accepted(self, solution, answer):
        assert grade_box(answer, solution) == 1.0

    # A wrong sign, start, exponent, factor or radius; the function itself, plain or beside a sum that adds nothing
    @pytest.mark.parametrize(
        "solution, answer",
        cases(
            (EXPONENTIAL, r"\sum_{n=0}^{\infty} \frac{x^{2n}}{n!}"),
            (EXPONENTIAL, r"\sum_{n=1}^{\infty} \frac{(-1)^n x^{2n}}{n!}"),
            (EXPONENTIAL, r"\sum_{n=0}^{\infty} \frac{(-1)^n x^{2n}}{(n+1)!}"),
            (EXPONENTIAL, r"\sum_{n=0}^{20} \frac{(-1)^n x^{2n}}{n!}"),
            (EXPONENTIAL, r"\sum_{n=0}^{\infty} \frac{(-1)^n t^{2n}}{n!}"),
            (EXPONENTIAL, "e^{-x^2}"), (EXPONENTIAL, "1"), (EXPONENTIAL, ""),
            (EXPONENTIAL, r"e^{-x^2}+\sum_{n=0}^\infty x^{n+60}"),
            (EXPONENTIAL, r"\sum_{n=0}^\infty e^{-x^2}(1-10^{-9})10^{-9n}"),
            (EXPONENTIAL, r"e^{x^2}=\sum_{n=0}^{\infty} \frac{(-1)^n x^{2n}}{n!}"),
            (f"{GEOMETRIC}, R=5", f"{GEOMETRIC}, R=4"), (f"{GEOMETRIC}, R=5", GEOMETRIC),
            (GEOMETRIC, r"\frac15\sum_{n=0}^\infty \left(\frac{x-5}{5}\right)^n"),
            (GEOMETRIC, r"\sum_{n=0}^{\infty}(-1)^{n} \frac{x^{n}}{5^{n+1}}"), (GEOMETRIC, r"\frac1x"),
            (ODE, ODE.strip("$").replace("4 j+3", "4 j+1")),
            (SQUARE_WAVE, r"\frac{4}{\pi}\sum_{k=0}^{\infty} \frac{\sin((2k+1)x)}{2k-1}"),
            (r"\sum_{n=0}^{\infty} \frac{1}{n!}", "2.718"),
            ("e", r"\sum_{n=0}^{\infty} \frac{1}{n!}"),  # left to compute
        ),
    )  # fmt: skip
    def test_refused(self, solution, answer):
        assert grade_box(answer, solution) == 0.0


class TestFinite:
    @pytest.mark.parametrize(
        "solution, answer, reward",
        cases(
            (r"\sum_{k=3}^{20}(-1)^{k} \ln (k)", r"\sum_{k=0}^{17}(-1)^{k+1}\ln(k+3)", 1.0),
            (r"\sum_{k=1}^{4}(-1)^{k-1} \frac{x^{2 k-1}}{2 k-1}", r"x-\frac{x^3}{3}+\frac{x^5}{5}-\frac{x^7}{7}", 1.0),
            (r"\sum_{k=1}^n k^3", r"\left(\frac{n(n+1)}{2}\right)^2", 1.0),
            (r"\prod_{k=1}^n \frac{k+1}{k}", "n+1", 1.0), (r"\sum_{i=1}^{n} i", r"\sum_{j=0}^{n-1}(j+1)", 1.0),
            (r"\sum_{k=3}^{20}(-1)^{k} \ln (k)", r"\sum_{k=3}^{21}(-1)^{k}\ln k", 0.0),
            (r"\sum_{k=1}^{4}(-1)^{k-1} \frac{x^{2 k-1}}{2 k-1}", r"x-\frac{x^3}{3}+\frac{x^5}{5}", 0.0),
            (r"\sum_{k=1}^n k^3", r"\frac{n(n+1)}{2}", 0.0), (r"\prod_{k=1}^n \frac{k+1}{k}", "n", 0.0),
            ("55", r"\sum_{k=1}^{10} k", 0.0), (r"\sum_{k=1}^{10} k", r"\sum_{k=1}^{11} k", 0.0),
        ),
    )  # fmt: skip
    def test_reward(self, solution, answer, reward):
        assert grade_box(answer, solution) == reward


class TestHostile:
    # Within the time of one comparison each, and never right
    @pytest.mark.parametrize(
        "answer",
        [r"\sum_{n=0}^{\infty}", r"\sum", r"\sum_{n=0}^{\infty} x^{9^{9^9}}", r"\sum_{n=0}^{9^{9^9}} x^n",
         r"\sum_{n=0}^{10^9} x^n", r"\sum_{n=0}^{\infty} \sum_{m=0}^{\infty}\sum_{k=0}^{\infty} x^{n+m+k}",
         r"\sum_{n=0}^{\infty}" * 12 + "x^n", r"\prod_{n=0}^{\infty} (1+n!^{n!})^x", r"\sum_{n=0}^{\infty} 0x^n",
         r"\sum_{n=0}^{\infty} \frac{x^n}{0}", r"\sum_{n=0}^{\infty} x_n", r"\sum_{n=x}^{\infty} x^n",
         r"\sum_{k=0}^{300}\sum_{m=0}^{300}\sum_{n=0}^{300} x^{k+m+n}", r"\sum_{n=\infty}^{0} x^n",
         r"\sum_{n=0}^{\infty} x^n y^{n!}"],
    )  # fmt: skip
    def test_is_quick_and_wrong(self, answer):
        reward = MathReward(cpu_seconds=2.0)
        grade(reward, r"\boxed{1}", EXPONENTIAL)
        start = time.monotonic()
        assert grade(reward, rf"\boxed{{{answer}}}", EXPONENTIAL) == 0.0
        assert time.monotonic() - start < 30

    # A sum with an index, of too many terms, without an end that is a number
    @pytest.mark.parametrize(
        "solution", [r"\sum_{i=1}^{100000000} i^i", r"\sum_{n=0}^{\infty}", r"\sum_{n=0}^{\infty} \frac{x^n}{0}"]
    )
    def test_reference_without_a_grade(self, solution):
        assert grade(math_reward, r"\boxed{5}", solution) is None
