r"""Eigenvectors with eigenvalues, and bases: any vectors that span the same spaces, orthonormal where asked."""

import pytest
from math_rows import cases, grade, grade_box

from trl_copd.rewards import math_reward


def column(*entries):
    rows = r" \\ ".join(map(str, entries))
    return rf"\left[\begin{{array}}{{r}}{rows}\end{{array}}\right]"


EIGEN = (
    "The eigenvectors and eigenvalues are:\n\n$$\n"
    rf"\left\{{{column(2, 0, 1)},{column(-2, 1, 0)}\right\}} \leftrightarrow 1,"
    rf"\left\{{{column(7, -2, 2)}\right\}} \leftrightarrow 3"
    "\n$$\n\nThe columns are these vectors."
)
IN_WORDS = EIGEN.replace(r"\leftrightarrow", r"\text{ for eigenvalue }")
ORTHONORMAL = (
    "eigenvectors:\n\n$$\n"
    rf"\left\{{\frac{{1}}{{\sqrt{{2}}}}{column(-1, 1, 0)}, \frac{{1}}{{\sqrt{{3}}}}{column(1, 1, 1)}\right\}}"
    rf" \leftrightarrow 3,\left\{{\frac{{1}}{{\sqrt{{6}}}}{column(-1, -1, 2)}\right\}} \leftrightarrow 9"
    "\n$$"
)
BASIS = (
    rf"Solution is: ${column('-s-t', 's', 's', 't')}, s, t \in \mathbb{{R}}$. A basis is"
    rf" $\left\{{{column(-1, 1, 1, 0)},{column(-1, 0, 0, 1)}\right\}}$"
)
LINE = f"Solution is: ${column('-4 T', '-2 T', 'T')}$. A basis is ${column(-4, -2, 1)}$".replace("T", r"\hat{t}")
P_AND_D = r"P=\begin{pmatrix}7&2&-2\\-2&0&1\\2&1&0\end{pmatrix}, D=\begin{pmatrix}%s\end{pmatrix}"  # columns of EIGEN


class TestEigen:
    @pytest.mark.parametrize(
        "solution, answer",
        cases(
            (EIGEN, r"\{(2,0,1),(-2,1,0)\}\leftrightarrow 1, \{(7,-2,2)\}\leftrightarrow 3"),
            (EIGEN, r"\lambda=3: (-7,2,-2); \lambda=1: (0,1,1), (4,0,2)"),  # multiples, and another basis
            (EIGEN, r"\lambda_1=1, v_1=(2,0,1), v_2=(-2,1,0), \lambda_2=3, v_3=(7,-2,2)"),
            (EIGEN, r"1: (2,0,1), (-2,1,0); 3: (7,-2,2)"), (IN_WORDS, IN_WORDS.replace("\n", " ")),
            (IN_WORDS, r"\lambda=1 \text{ with eigenvectors } (2,0,1), (-2,1,0); \lambda=3 \text{ with } (7,-2,2)"),
            (EIGEN, P_AND_D % r"3&0&0\\0&1&0\\0&0&1"), (EIGEN, EIGEN.replace("The columns are these vectors.", "")),
            (ORTHONORMAL, r"\lambda=9: \frac{1}{\sqrt6}(1,1,-2); \lambda=3: \frac1{\sqrt3}(1,1,1), "
             r"\frac1{\sqrt2}(1,-1,0)"),
            (r"eigenvectors: $\{(1,1)\}\leftrightarrow 2, \{(1,-1)\}\leftrightarrow -1$",
             r"\lambda_1=2,\ \lambda_2=-1,\ \mathbf{v}_1=\begin{bmatrix}1\\1\end{bmatrix},"
             r" \mathbf{v}_2=\begin{bmatrix}1\\-1\end{bmatrix}"),
            (r"eigenvectors: $\{(1,1)\}\leftrightarrow 2, \{(1,-1)\}\leftrightarrow -1$", "(2, (1,1)), (-1, (1,-1))"),
            (r"eigenvectors: $\{(1,i)\}\leftrightarrow i, \{(1,-i)\}\leftrightarrow -i$",
             r"\{(i,-1)\}\leftrightarrow i, \{(i,1)\}\leftrightarrow -i"),
        ),
    )  # fmt: skip
    def test_accepted(self, solution, answer):
        assert grade_box(answer, solution) == 1.0

    @pytest.mark.parametrize(
        "solution, answer",
        cases(
            (EIGEN, r"\lambda=1: (7,-2,2); \lambda=3: (2,0,1), (-2,1,0)"),  # the wrong way round
            (EIGEN, r"\lambda=1: (2,0,1), (-2,1,1); \lambda=3: (7,-2,2)"),
            (EIGEN, r"\lambda=1: (2,0,1); \lambda=3: (7,-2,2)"),  # a vector is missing
            (EIGEN, r"\lambda=1: (2,0,1), (4,0,2); \lambda=3: (7,-2,2)"),  # they depend on each other
            (EIGEN, r"\lambda=1: (2,0,1), (-2,1,0), (0,1,1); \lambda=3: (7,-2,2)"),
            (EIGEN, r"\lambda=1: (2,0,1), (-2,1,0); \lambda=2: (7,-2,2)"), (EIGEN, "1, 3"), (EIGEN, ""),
            (EIGEN, r"\lambda=1: (2,0,1), (-2,1,0); \lambda=3: (0,0,0)"),
            (EIGEN, P_AND_D % r"1&0&0\\0&3&0\\0&0&1"), (EIGEN, P_AND_D % r"3&1&0\\0&1&0\\0&0&1"),
            (EIGEN, r"\lambda \text{ is not } 1: (2,0,1), (-2,1,0); \lambda=3: (7,-2,2)"),
            (EIGEN, r"\lambda=1: (2,0,1), (-2,1,0); \lambda=3: (7,-2,9^{9^{9^9}})"), (EIGEN, r"1: " + "(" * 50),
            (ORTHONORMAL, r"\lambda=9: (1,1,-2); \lambda=3: (1,1,1), (1,-1,0)"),  # not normalised
            (ORTHONORMAL, r"\lambda=9: \frac{1}{\sqrt6}(1,1,-2); \lambda=3: \frac1{\sqrt3}(1,1,1), (0,0,1)"),
        ),
    )  # fmt: skip
    def test_refused(self, solution, answer):
        assert grade_box(answer, solution) == 0.0


class TestBasis:
    @pytest.mark.parametrize(
        "solution, answer, reward",
        cases(
            (BASIS, r"\{(1,-1,-1,0),(-1,0,0,1)\}", 1.0), (BASIS, r"\{(-2,1,1,1),(0,1,1,-1)\}", 1.0),
            (BASIS, column("-a-b", "a", "a", "b").replace(r"\left", "").replace(r"\right", ""), 1.0),
            (BASIS, rf"s{column(-1, 1, 1, 0)}+t{column(-1, 0, 0, 1)}", 1.0),
            (LINE, rf"{column(4, 2, -1)}", 1.0), (LINE, rf"t{column(4, 2, -1)}", 1.0), (LINE, "(-8,-4,2)", 1.0),
            (BASIS, r"\{(1,-1,-1,0)\}", 0.0), (BASIS, r"\{(1,-1,-1,0),(-1,0,0,2)\}", 0.0),
            (BASIS, r"\{(1,-1,-1,0),(2,-2,-2,0)\}", 0.0), (BASIS, r"\{(1,-1,-1),(-1,0,0)\}", 0.0),
            (BASIS, rf"s{column(-1, 1, 1, 0)}+t{column(-1, 0, 0, 1)}+{column(1, 0, 0, 0)}", 0.0),
            (BASIS, column("-s^2-t", "s", "s", "t"), 0.0), (LINE, rf"{column(4, 2, 1)}", 0.0),
            (LINE, "(0,0,0)", 0.0), (LINE, "t", 0.0), (LINE, r"\{\}", 0.0), (LINE, "", 0.0),
        ),
    )  # fmt: skip
    def test_reward(self, solution, answer, reward):
        assert grade_box(answer, solution) == reward

    # A basis that is none
    @pytest.mark.parametrize("vectors", [r"\{(1,2),(2,4)\}", r"\{(1,2),(1,2,3)\}", r"\{(0,0)\}"])
    def test_reference_without_a_grade(self, vectors):
        assert grade(math_reward, r"\boxed{(1,2)}", rf"A basis is ${vectors}$.") is None
