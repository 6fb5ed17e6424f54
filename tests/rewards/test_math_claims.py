"""What a sentence of a reference claims, what an answer in a sentence does, and answers in fixed phrases."""

import pytest
from math_rows import cases, grade, grade_box

from trl_copd.rewards import math_reward


AREA = (
    r"Let $P=(1,0)$. We have $\overrightarrow{P Q} \times \overrightarrow{P R}=(5,8,2)$. The area of the triangle is"
)
PIECES = r"$f_{Y}(y)=2y$ for $0<y<1$ and 0 otherwise"
SINGULAR = (
    r"$\operatorname{det}(A)=\left|\begin{array}{cc}t^2 & 1\\2 & t\end{array}\right|=t^3-2$, and so $A$ has no inverse"
)


class TestClaims:
    @pytest.mark.parametrize(
        "solution, answer, reward",
        cases(
            (rf"{AREA} $\frac12\|\overrightarrow{{P Q}} \times \overrightarrow{{P R}}\|=\frac12\sqrt{{93}}$.",
             r"\frac{\sqrt{93}}{2}", 1.0),
            (rf"{AREA} $\frac12\|\overrightarrow{{P Q}} \times \overrightarrow{{P R}}\|=\frac12\sqrt{{93}}$.",
             r"\sqrt{93}", 0.0),
            (rf"{SINGULAR} when $t=\sqrt[3]{{2}}$.", r"2^{1/3}", 1.0),
            (rf"{SINGULAR} when $t=\sqrt[3]{{2}}$.", "2", 0.0),
            (r"$3(2^5)-3=93$ (we subtract 3 because each is counted twice).", "93", 1.0),
            (r"$3(2^5)-3=93$ (we subtract 3 because each is counted twice).", "3", 0.0),
            ("The largest rectangle has area 12.25 square inches.", "12.25", 1.0),
            ("The largest rectangle has area 12.25 square inches.", "12.25 cm", 0.0),
            (r"We get $x+y$, which implies the expression equals 0.", "0", 1.0),
            (r"We get $x+y$, which implies the expression equals 0.", "x+y", 0.0),
            (r"The solution of the first system is $(x,y)=(1,0)$, and the solution of the second system is"
             r" $(x,y)=(1,2)$.", "(1,0), (1,2)", 1.0),
            (r"The solution of the first system is $(x,y)=(1,0)$, and the solution of the second system is"
             r" $(x,y)=(1,2)$.", "(1,2), (1,0)", 0.0),
            (r"$s(t)=\cos t$, maximum speed is 1", r"s(t)=\cos t, \text{maximum speed}=1", 1.0),
            (r"$s(t)=\cos t$, maximum speed is 1", r"s(t)=\cos t, \text{maximum speed}=2", 0.0),
            (r"P-value $=0.592$ and 0.95 -confidence interval is $(4.442,5.318)$.", "p=0.592, (4.442,5.318)", 1.0),
            (r"P-value $=0.592$ and 0.95 -confidence interval is $(4.442,5.318)$.", "0.592, (4.4,5.3)", 0.0),
            ("$C$ is not invertible", "not invertible", 1.0),
            ("$C$ is not invertible", r"\text{The matrix is singular}", 1.0),
            ("$C$ is not invertible", r"\text{no inverse}", 1.0),
            ("$C$ is not invertible", r"\text{invertible}", 0.0),
            ("$C$ is not invertible", r"\text{not symmetric}", 0.0),
            ("This is not a subspace.", "No", 1.0), ("This is not a subspace.", "Yes", 0.0),
            ("A solution exists and is unique.", r"\text{exactly one solution}", 1.0),
            ("A solution exists and is unique.", r"\text{infinitely many solutions}", 0.0),
        ),
    )  # fmt: skip
    def test_reference(self, solution, answer, reward):
        assert grade_box(answer, solution) == reward

    # Where a sentence says the reference, one may say the answer; not if it takes it back or says both
    @pytest.mark.parametrize(
        "solution, answer, reward",
        cases(
            ("The mode is $1/3$.", "The mode is $1/3$", 1.0),
            ("The mode is $1/3$.", "The mode is $2/3$", 0.0),
            ("The mode is $1/3$.", "The mode is not $1/3$", 0.0),
            ("The mode is $1/3$.", "It is false. The mode is $1/3$", 0.0),
            ("The mode is $1/3$.", "The mode is $1/3$ or $2/3$", 0.0),
            ("Solution is: $[x=1, y=5]$", r"\text{The answer is } Solution is: $[x=1, y=5]$", 1.0),
            ("Solution is: $[x=1, y=5]$", r"{\Large Solution is: $[x=5, y=1]$}", 0.0),
            ("Yes. It has a unique solution.", "Yes, because its determinant is 3.", 1.0),
            ("Yes. It has a unique solution.", "No. It has a unique solution.", 0.0),
            ("Yes. It has a unique solution.", "Yes. No. It has one.", 0.0),
            ("1/3", "The mode is $1/3$", 0.0),  # a plain reference asks for a plain answer
        ),
    )
    def test_answer(self, solution, answer, reward):
        assert grade_box(answer, solution) == reward

    # No claim that a program could grade
    @pytest.mark.parametrize(
        "solution",
        ["They are the same.", "A likelihood function cannot take negative values.", "$A$ is symmetric, $B$ is both.",
         "There might be a solution. If so, there are infinitely many.", "Only $w$ is a unit vector.",
         r"$T_{2}=\sqrt{2} T_{1}$, where $T_{1}$ is the period of the smaller object."],
    )  # fmt: skip
    def test_prose_has_no_grade(self, solution):
        assert grade(math_reward, r"\boxed{5}", solution) is None


class TestPhrases:
    @pytest.mark.parametrize(
        "solution, answer, reward",
        cases(
            (PIECES, r"f_Y(y)=\begin{cases}2y & 0<y<1\\0&\text{otherwise}\end{cases}", 1.0),
            (PIECES, r"\begin{cases}2y & 0<y<1\\1&\text{otherwise}\end{cases}", 0.0),
            (PIECES, r"\begin{cases}2y & 0<y<2\\0&\text{otherwise}\end{cases}", 0.0), (PIECES, "2y", 0.0),
            (r"$P(X=1)=0.45, P(X=3)=0.55$, and $P(X=x)=0$ otherwise", "P(X=3)=0.55, P(X=1)=0.45", 1.0),
            (r"$P(X=1)=0.45, P(X=3)=0.55$, and $P(X=x)=0$ otherwise", "P(X=3)=0.45, P(X=1)=0.55", 0.0),
            (r"$p_{Z}(1)=p_{Z}(5)=1 / 4, p_{Z}(0)=1 / 2$, and $p_{Z}(z)=0$ otherwise",
             r"p_Z(0)=\frac12, p_Z(1)=\frac14, p_Z(5)=\frac14", 1.0),
            (r"$p_{Z}(1)=p_{Z}(5)=1 / 4, p_{Z}(0)=1 / 2$, and $p_{Z}(z)=0$ otherwise",
             r"p_Z(0)=\frac14, p_Z(1)=\frac14, p_Z(5)=\frac12", 0.0),
            (r"$4 \mathrm{ft} \times 12 \mathrm{ft}$", r"12 ft by 4 ft", 1.0),
            (r"$4 \mathrm{ft} \times 12 \mathrm{ft}$", r"12 \text{ m} \times 4 \text{ m}", 0.0),
            (r"$4 \mathrm{ft} \times 12 \mathrm{ft}$", "48", 0.0),
            (r"$\$ 1600 @ 4 \%$; $\$ 2400$ @ 8\%", r"\$2400 @ 8\%, \$1600 @ 4\%", 1.0),
            (r"$\$ 1600 @ 4 \%$; $\$ 2400$ @ 8\%", r"\$2400 @ 4\%, \$1600 @ 8\%", 0.0),
            ("236 adult, 342 child", "342 children, 236 adults", 1.0),
            ("236 adult, 342 child", "236 children, 342 adults", 0.0),
            (r"$13 \mathrm{n}, 5 \mathrm{~d}$", r"5 \text{ dimes}, 13 \text{ nickels}", 1.0),
            (r"$13 \mathrm{n}, 5 \mathrm{~d}$", r"13 \text{ dimes}, 5 \text{ nickels}", 0.0),
            (r"$v=ab+c$, where $a=\sqrt{m}$ and $b=2$", r"v=2\sqrt m+c", 1.0),
            (r"$v=ab+c$, where $a=\sqrt{m}$ and $b=2$", r"v=2m+c", 0.0),
            (r"$\left(\begin{array}{l}9 \\ 7\end{array}\right)=36$", r"\binom{9}{2}", 1.0),
            (r"$\left(\begin{array}{l}9 \\ 7\end{array}\right)=36$", r"\begin{pmatrix}9\\7\end{pmatrix}", 0.0),
            (r"$20 \cos \left(\frac{\pi}{6}\right) 200=3464.1$", "3464.1", 1.0),
            (r"$20 \cos \left(\frac{\pi}{6}\right) 200=3464.1$", r"2000\sqrt3", 1.0),
            (r"$20 \cos \left(\frac{\pi}{6}\right) 200=3464.1$", "3464", 0.0), (r"2000\sqrt3", "3464.1", 0.0),
            (r"$y=\frac{c}{x-c} \quad y \equiv-1$", r"y=-1, y=\frac{c}{x-c}", 1.0),
            (r"$y=\frac{c}{x-c} \quad y \equiv-1$", r"y=\frac{c}{x-c}", 0.0),
            (r"$\{(x, y): x^{2}+y^{2} \geq 4\}$", r"x^2+y^2\ge4", 1.0),
            (r"$\{(x, y): x^{2}+y^{2} \geq 4\}$", r"x^2+y^2>4", 0.0),
            (r"domain: $\{(x, y): x^{2}+y^{2} \geq 4\}$, range: $[0, \infty)$",
             r"\text{range: }[0,\infty), \text{domain: }\{(x,y)\mid x^2+y^2\ge 4\}", 1.0),
            (r"domain: $\{(x, y): x^{2}+y^{2} \geq 4\}$, range: $[0, \infty)$",
             r"\text{domain: }\{(x,y)\mid x^2+y^2\ge 4\}, \text{range: }(0,\infty)", 0.0),
            (r"$\bigcup_{k=-\infty}^{\infty}\left\{\left[k\pi, \frac{(4 k+1) \pi}{4}\right) \cup"
             r"\left(\frac{(4k+1) \pi}{4}, \frac{(2 k+1) \pi}{2}\right]\right\}$",
             r"\bigcup_{n\in\mathbb{Z}}\left(\frac{(4n+1)\pi}{4}, n\pi+\frac\pi2\right]\cup\left[n\pi,"
             r" \frac{(4 n+1) \pi}{4}\right)", 1.0),
            (r"$\bigcup_{k=-\infty}^{\infty}\left\{\left[k\pi, \frac{(4 k+1) \pi}{4}\right) \cup"
             r"\left(\frac{(4k+1) \pi}{4}, \frac{(2 k+1) \pi}{2}\right]\right\}$",
             r"\bigcup_{k\in\mathbb{Z}}\left[k\pi, \frac{(2 k+1) \pi}{2}\right]", 0.0),
            (r"|\vec{a}|=5", r"|\vec{b}|=5", 0.0), (r"|\vec{a}+\vec{b}|=5", r"|\vec{a}-\vec{b}|=5", 0.0),
            (r"|\vec{a}\times\vec{b}|=5", "5", 1.0), (r"|\vec{a}\times\vec{b}|=5", r"|\vec{a}\times\vec{c}|=5", 0.0),
            (r"$[\mathbf{x}]_{B}=\left[\begin{array}{r}2 \\ 1\end{array}\right]$", "(2,1)", 1.0),
            (r"$[\mathbf{x}]_{B}=\left[\begin{array}{r}2 \\ 1\end{array}\right]$", "(1,2)", 0.0),
            (r"$\mathbf{v}=\frac{1}{4} \mathbf{u}_{1}-\frac{4}{5} \mathbf{u}_{3}$", r"0.25u_1-0.8u_3", 1.0),
            (r"$\mathbf{v}=\frac{1}{4} \mathbf{u}_{1}-\frac{4}{5} \mathbf{u}_{3}$", r"0.25u_1-0.8u_2", 0.0),
        ),
    )  # fmt: skip
    def test_reward(self, solution, answer, reward):
        assert grade_box(answer, solution) == reward

    @pytest.mark.parametrize(
        "answer",
        ["", "@", "4 ft ×", "where", "x where x=x", "0 otherwise", "= @ %", r"\bigcup_{k\in\mathbb{Z}}", "a" * 2000],
    )
    def test_hostile(self, answer):
        for solution in (PIECES, r"$\$ 1600 @ 4 \%$; $\$ 2400$ @ 8\%", r"$v=ab+c$, where $a=\sqrt{m}$ and $b=2$"):
            assert grade_box(answer, solution) == 0.0


VERDICTS = {
    "converges": ["convergent", "The series converges.", "it is convergent", "the improper integral converges"],
    "diverges": ["divergent", "The series is divergent", "does not converge", "not convergent", "diverge"],
    "converges absolutely": ["absolutely convergent", "The series is absolutely convergent"],
    "converges conditionally": ["conditionally convergent"],
    "does not exist": [
        "DNE",
        "The limit does not exist.",
        "the derivative doesn't exist",
        "undefined",
        "is not defined",
    ],
}


class TestVerdicts:
    """That a series diverges can be said in many ways; each is right for itself and wrong for the others."""

    @pytest.mark.parametrize("verdict", VERDICTS)
    def test_right(self, verdict):
        forms = [verdict, *VERDICTS[verdict]]
        pairs = [(gold, answer) for gold in forms for answer in forms]
        found = math_reward(
            prompts=[""] * len(pairs),
            completions=[rf"\boxed{{\text{{{answer}}}}}" for _, answer in pairs],
            solution=[gold for gold, _ in pairs],
        )
        assert [pair for pair, grade in zip(pairs, found, strict=True) if grade != 1.0] == []

    @pytest.mark.parametrize("verdict", VERDICTS)
    def test_wrong(self, verdict):
        others = [form for other, forms in VERDICTS.items() if other != verdict for form in (other, *forms)]
        others += ["does not diverge", "it converges or diverges", "not divergent", r"\infty", "0", "the verdict", ""]
        others += ["it is not true that it converges", "the limit does exist", "converges, no, diverges"]
        found = math_reward(
            prompts=[""] * len(others),
            completions=[rf"\boxed{{\text{{{answer}}}}}" for answer in others],
            solution=[VERDICTS[verdict][0]] * len(others),
        )
        assert [answer for answer, grade in zip(others, found, strict=True) if grade != 0.0] == []
