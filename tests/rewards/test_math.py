r"""`math_reward` against hand-made rows. In the tables the answer is what stands in the `\boxed{}`."""

import random
import threading
import time

import pytest

from trl_copd.rewards import MathReward, math_reward


def grade(reward, completion, solution):
    """One row through the reward, as TRL would call it."""
    return reward(prompts=["?"], completions=[completion], solution=[solution], completion_ids=[[1]])[0]


def grade_box(answer, solution):
    return grade(math_reward, rf"So it is \boxed{{{answer}}}.", solution)


def cases(*rows):
    """Parameters with ids that show the row."""
    return [pytest.param(*row, id=" | ".join(str(value)[:40] for value in row)) for row in rows]


class TestEqual:
    # One number in many spellings: typography must not cost a reward
    NUMBERS = cases(
        ("72", "72.0"), ("72", " 72 "), ("72", "72."), ("72", "072"), ("72", "+72"), ("72", "(72)"),
        ("72", r"\text{72}"), ("72", r"\mathbf{72}"), ("72", r"$72$"), ("72", r"\(72\)"), ("72", r"{72}"),
        ("72", r"\boxed{72}"), ("1,000", "1000"), ("1000", "1,000"), ("1000", "1{,}000"), ("1000", r"1\,000"),
        ("10000", "10 000"), ("1234567", "1,234,567"), ("1234567.5", r"1,\!234,\!567.5"), ("-2", "−2"), ("-2", "–2"),
        ("-5", "- 5"), ("0", "-0"), ("5.", "5"), ("0.5", ".5"), ("0.5", "0.50"), ("12", "１２"), ("12", "١٢"),
        ("7", "seven"), ("3.14", "3{,}14"), (72, "72"), (0.1, r"\frac{1}{10}"), ("2^{10}", "1024"), ("10!", "3628800"),
        ("2^{2023}", r"4\cdot2^{2021}"), (r"\binom{10}{3}", "120"),
        ("120", r"\dbinom{10}{3}"), ("12", r"3\times4"), ("12", "3*4"), ("12", "3·4"),
        ("0.125", r"2^{-3}"), ("5", r"\lfloor 5.7 \rfloor"), ("6", r"\lceil 5.2 \rceil"), ("5", "|-5|"),
        ("5", r"\left|-5\right|"), ("4", r"\gcd(8, 12)"), ("3", r"\max(1, 3)"),
    )  # fmt: skip

    # Fractions: \dfrac, without braces, with a slash, mixed, repeating; 0.3333333333 has digits enough to mean 1/3
    FRACTIONS = cases(
        (r"\frac12", "0.5"), (r"\frac{1}{2}", r"\dfrac{1}{2}"), (r"\frac{1}{2}", r"\tfrac12"),
        (r"-\frac{1}{2}", "-1/2"), (r"\frac{-1}{2}", r"-\frac{1}{2}"), (r"\frac{1}{-2}", "-0.5"), ("1/2", "2/4"),
        ("1.5", r"1\frac{1}{2}"), ("3/2", "1 1/2"), (r"-1\frac12", "-1.5"), ("0.5", "½"), ("1.5", "1½"),
        (r"\frac13", r"0.\overline{3}"), ("0.1666666666667", r"\frac16"), ("1/3", "0.3333333333"),
        (r"\frac{22}{7}", "22/7"), (r"\frac{3}{4}", "3 / 4"), ("1", r"\frac{\sqrt2}{\sqrt2}"),
        (r"\frac{2}{3}", r"\frac{4}{6}"), (r"\frac{1}{3}", r"\frac{1/2}{3/2}"),
    )  # fmt: skip

    # Scientific notation, as people and programs write it
    SCIENTIFIC = cases(
        ("1500", r"1.5\times10^{3}"), ("1500", "1.5e3"), ("1500", "1.5 × 10^3"), ("0.001", "1E-3"), ("1000", "1e3"),
        (r"6.02\times 10^{23}", r"6.02\cdot10^{23}"), ("10^{-20}", r"1\times10^{-20}"),
        ("2.5e-10", r"2.5 \times 10^{-10}"), ("1e-10", "10^{-10}"),
    )  # fmt: skip

    # Surds, logarithms, trigonometry, complex numbers: by value
    CLOSED_FORMS = cases(
        (r"\sqrt{8}", r"2\sqrt{2}"), (r"\sqrt 2", r"\sqrt{2}"), (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"),
        (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}"), (r"\sqrt{2}+\sqrt{3}", r"\sqrt{5+2\sqrt{6}}"),
        ("2*sqrt(3)", r"2\sqrt{3}"), (r"\frac{1}{1+\sqrt2}", r"\sqrt{2}-1"), (r"\sqrt[3]{8}", "2"),
        (r"\sqrt[3]{-8}", "-2"), ("8^{1/3}", "2"), (r"\frac{3+\sqrt{5}}{2}", r"\left(\frac{1+\sqrt5}{2}\right)^2"),
        ("√2", r"\sqrt{2}"), (r"\pi", "π"), (r"2\pi", "2 pi"), (r"\frac{\pi}{4}", r"\arctan 1"), (r"\log_2 8", "3"),
        (r"\ln 4", r"2\ln 2"), (r"\log_{10} 1000", "3"), (r"\log 100", "2"), (r"\ln(e^3)", "3"), ("e^{2}", "e^2"),
        (r"\sin 30^\circ", r"\frac12"), (r"\cos\frac{\pi}{3}", "0.5"), (r"\tan^{-1}(1)", r"\frac{\pi}{4}"),
        (r"\sin^2 x+\cos^2 x", "1"), (r"\sin 2x", r"2\sin x\cos x"), ("3+4i", "4i+3"), (r"\sqrt{-4}", "2i"),
        ("(1+i)^2", "2i"), (r"\frac{1}{i}", "-i"), ("e^{i\\pi}", "-1"), (r"\sqrt{2}", "1.41421356237"),
        (r"4\pi", "12.5663706144"), (r"\infty", "∞"), (r"-\infty", r"-\infty"), ("+\\infty", r"\infty"),
        (r"100!/98!", "9900"),
    )  # fmt: skip

    # Polynomials and other formulas: the same function, whatever its form
    FORMULAS = cases(
        ("x^2+2x+1", "(x+1)^2"), ("(x-1)(x+1)", "x^2-1"), ("a+b", "b+a"), ("ab", "ba"), ("xy", "x*y"),
        ("x^{2}", "x^2"), ("x²", "x^2"), (r"\frac{x}{2}", "0.5x"), (r"\frac{1}{x}+\frac{1}{y}", r"\frac{x+y}{xy}"),
        ("2(a+b)", "2a+2b"), (r"\frac{n(n+1)}{2}", r"\frac{n^2+n}{2}"), ("n!", "n(n-1)!"), ("2^{n+1}", r"2\cdot2^n"),
        (r"\ln(ab)", r"\ln a+\ln b"), (r"\sqrt{x^2}", "|x|"), ("(-1)^n", r"\cos(n\pi)"), (r"x\sqrt{x}", "x^{3/2}"),
        ("e^{-x}", r"\frac{1}{e^x}"), (r"\frac{x^2-1}{x-1}", "x+1"), (r"\alpha+\beta", "β+α"),
        ("a_1+a_2", "a_2+a_{1}"), ("3x", "x*3"), (r"\binom{n}{2}", r"\frac{n(n-1)}{2}"),
        (r"\tan x", r"\frac{\sin x}{\cos x}"), ("-(x-1)", "1-x"),
    )  # fmt: skip

    # What is named is the same with and without its name; a line is its equation in any form
    EQUATIONS = cases(
        ("72", "x = 72"), ("x=5", "5"), ("x=5", "5=x"), ("5", "x=2+3=5"), ("5", "a+b=5"), ("72", r"\text{Area} = 72"),
        ("5", "2+3=5"), ("0.5", r"\frac12=0.5"), ("y=2x+1", "2x-y+1=0"), ("y=2x+1", "2x+1"), ("2x+1", "y=2x+1"),
        ("x^2-1", "f(x)=x^2-1"), ("f(x)=x+1", "x+1"), ("x^2+y^2=1", "y^2+x^2-1=0"), ("3x+2y=6", "y=3-1.5x"),
        (r"\sqrt2", r"\sqrt{2}\approx1.414"), ("y = -2x", "2x + y = 0"), ("x_1 = 5", "5"), ("P(A) = 0.5", "1/2"),
    )  # fmt: skip

    # Sets and several answers without order, tuples with; ± is two answers
    COLLECTIONS = cases(
        ("1,2", r"\{2,1\}"), (r"\{1,2,3\}", r"\{3,2,1\}"), ("{1,2,3}", "{3,2,1}"), ("1,2", "2, 1"),
        ("1, 2", r"1 \text{ and } 2"), ("1, 2", "2 or 1"), ("x=1, x=2", "1,2"), ("1,2", r"x=1 \text{ or } x=2"),
        ("x = 1, 2", "2, 1"), (r"\pm 3", "3, -3"), ("-3, 3", r"x=\pm3"), (r"1\pm\sqrt2", r"1+\sqrt2, 1-\sqrt2"),
        ("(1,2)", r"\left( 1, 2 \right)"), ("(1, 2)", "( 1,2 )"), ("(3,-2)", "x=3, y=-2"), ("(3,-2)", "y=-2, x=3"),
        ("(0.5, 2)", r"\left(\frac12,2\right)"), ("(1,2),(3,4)", "(3,4), (1,2)"),
        (r"\{(1,2),(3,4)\}", r"\{(3,4),(1,2)\}"), (r"\{1,1,2\}", r"\{1,2\}"), (r"\langle 1,2\rangle", "(1,2)"),
        (r"\{\pm1\}", r"\{1,-1\}"), ("100, 200", "200, 100"), (r"\emptyset", r"\{\}"), (r"\emptyset", r"\varnothing"),
        ("1;2", "2;1"), (r"\sqrt2, \sqrt3", r"\sqrt{3},\sqrt{2}"), (r"(\sqrt{2}, \pi)", r"(2^{1/2}, \pi)"),
    )  # fmt: skip

    # Intervals and inequalities are one thing, in both directions
    INTERVALS = cases(
        ("[0,1)", "[0, 1)"), ("[0,1)", r"0\le x<1"), (r"0\le x<1", "[0,1)"), ("x>5", "5<x"), ("x>5", r"(5,\infty)"),
        (r"(5,\infty)", "x > 5"), (r"(-\infty,3]", r"x\leq3"), ("1>x>0", "(0,1)"), ("0<x<1", "(0,1)"),
        ("x ≥ 2", r"[2, \infty)"), (r"(-\infty,1)\cup(5,\infty)", r"x<1 \text{ or } x>5"),
        (r"x<1 \text{ or } x>5", r"(-\infty,1)\cup(5,\infty)"),
        (r"(-\infty,1)\cup(5,\infty)", r"(5,\infty)\cup(-\infty,1)"), (r"x\in[0,1]", "[0,1]"),
        (r"\{x \mid x>5\}", "x>5"), (r"x\neq3", r"(-\infty,3)\cup(3,\infty)"), (r"\mathbb{R}\setminus\{3\}", r"x\ne3"),
        (r"\mathbb{R}", r"(-\infty,\infty)"), (r"[0,1]\cup[1,2]", "[0,2]"), ("x>1 and x<5", "1<x<5"),
        (r"[\sqrt2,2]", r"\sqrt{2}\le x\le 2"), ("[0,1)∪(1,2]", "[0,1) U (1,2]"),
        (r"\mathbb{R}", r"\text{all real numbers}"), ("-2 < x", r"x > -2"), ("x+y<5", "y<5-x"),
    )  # fmt: skip

    # Units: where both name one, they must agree in kind and amount; where one leaves it out, the number counts
    UNITS = cases(
        (r"5\text{ cm}", "5"), ("5", r"5\text{ cm}"), (r"5\text{ km}", r"5000\text{ m}"), ("5 km", "5 kilometers"),
        ("5 m", "5"), (r"5\,\mathrm{m/s}", "5 m/s"), (r"60 \text{ mph}", "60 miles per hour"),
        (r"12\text{ cm}^2", "12 square centimeters"), (r"12\text{ cm}^2", r"12\text{ cm}^{2}"),
        ("12 cm²", r"12\ \mathrm{cm}^2"), (r"90^\circ", "90"), ("90°", r"90^{\circ}"),
        (r"90^\circ", r"90\text{ degrees}"), (r"180^\circ", r"\pi\text{ radians}"), (r"\$18", "18"),
        ("$18", r"\$18.00"), ("18 dollars", "$18"), (r"\$0.50", "50 cents"), (r"50\%", "50"), ("50", r"50\%"),
        (r"50\%", r"50\text{ percent}"), ("5 apples", "5"), ("5 apples", r"5\text{ apples}"), ("1 hour", "60 minutes"),
        ("5000000", "5 million"), ("1 liter", "1000 cm^3"), ("€5", "5€"), (r"3\sqrt{2}\text{ cm}", r"3\sqrt2"),
        (r"36\pi \text{ cm}^3", r"36\pi"), ("120 students", r"120 \text{ students}"),
    )  # fmt: skip

    # Bases: the same digits in the same base
    BASES = cases(
        ("101_2", "101_{2}"), ("101_2", "(101)_2"), ("2A_{16}", r"2A_{16}"), ("101_{two}", "101_2"), ("5", "5_{10}")
    )

    # Matrices and vectors, entry by entry
    MATRICES = cases(
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix} 1 \\ 2 \end{bmatrix}"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix} 1 & 2 \\ 3 & \frac{8}{2} \\ \end{pmatrix}"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)"),
        (r"\begin{pmatrix} x & 0 \\ 0 & x^2 \end{pmatrix}", r"\begin{bmatrix}x&0\\0&x\cdot x\end{bmatrix}"),
    )

    # Words, choices, dates, times, ratios
    WORDS = cases(
        (r"\text{(B)}", "B"),
        ("B", r"\textbf{(B)}"), ("(B)", "B"), (r"\text{Friday}", "friday"), ("yes", "Yes"), ("Yes", r"\text{yes}."),
        ("the derivative", "derivative"), ("no solution", r"\text{no real solutions}"), (r"\text{even}", "even"),
        ("True", "true"), ("3:30", "3:30"), ("3:30 PM", r"3\!:\!30\text{ p.m.}"), ("15:30", "3:30 PM"),
        ("3:30 PM", "3:30"), ("March 5, 2024", "5 March 2024"), ("2024-03-05", "March 5, 2024"), ("3:4", "6:8"),
        ("3:4", r"\frac{3}{4}"), ("1:2:3", "2:4:6"), ("does not exist", r"\text{DNE}"),
    )  # fmt: skip

    # Answers as data sets and models write them, of all these kinds and mixed
    AS_FOUND = cases(
        (r"\frac{\pi}{6}+2k\pi", r"2\pi k+\frac{\pi}{6}"),
        (r"x=\frac{-b\pm\sqrt{b^2-4ac}}{2a}", r"\frac{-b\pm\sqrt{b^2-4ac}}{2a}"), ("5x+3", "3+5x"),
        ("x=1,y=2", "(1,2)"), ("(x,y)=(1,2)", "(1,2)"), ("(1,2)", "(x,y)=(1,2)"), ("(1,2)", "(x, y) = (1, 2)"),
        (r"x = 2 \text{ or } x = -2", r"\pm 2"), (r"10\%", "10 percent"), ("0.1", r"\frac{1}{10}"), ("12:30", "12:30"),
        ("12:30 PM", "12:30"), (r"\text{12:30 PM}", r"12:30\text{ PM}"), ("1,2,3", "1, 2, and 3"),
        ("1,2,3", r"1,2\text{ and }3"), (r"\{1,2\}", r"\left\{1,2\right\}"), ("(-2,1)", "-2<x<1"),
        ("-2<x<1", "(-2,1)"), ("[-2,1]", r"-2\leqslant x\leqslant 1"),
        (r"x\in(-\infty,-1)\cup(1,\infty)", "x<-1, x>1"), ("x < -1 or x > 1", r"(-\infty,-1)\cup(1,+\infty)"),
        ("|x|<3", "-3<x<3"), (r"\frac{3}{7}", "3/7"), (r"\frac37", r"\frac{3}{7}"), (r"3\sqrt{13}", r"\sqrt{117}"),
        ("p-q", "-q+p"), (r"\frac{14}{3}", r"4\frac{2}{3}"), (r"\frac{14}{3}", "4 2/3"), ("27", "27.0"),
        (r"-\frac{35}{9}", "-35/9"), (r"11,\! 111,\! 111,\! 100", "11111111100"), (r"\$32{,}348", "32348"),
        (r"\$36", "36.00"), (r"6 \text{ cents}", "6"), (r"5.4 \text{ cents}", "5.4"),
        (".0000672", r"6.72\times10^{-5}"), (r"\text{Evelyn}", "Evelyn"), (r"\text{(C)}", "C"), (r"\text{(C)}", "(C)"),
        (r"\text{C}", "C"), ("C", r"\mathrm{C}"), (r"y=\frac{1}{2}x+3", "x-2y+6=0"),
        (r"y = \frac12 x + 3", "y=0.5x+3"), ("x^2+4x+4", "(x+2)^2"), ("(x+2)(x-3)", "(x-3)(x+2)"),
        (r"2\sqrt{5}", r"\sqrt{20}"),
        (r"\begin{pmatrix} -7 \\ 16 \\ 5 \end{pmatrix}", r"\begin{pmatrix}-7\\16\\5\end{pmatrix}"),
        (r"\left(3,\frac{\pi}{2}\right)", r"(3, \pi/2)"), ("6-5i", "-5i+6"),
        (r"\cos\theta+i\sin\theta", r"e^{i\theta}"), (r"e^{i\pi/4}", r"\frac{\sqrt2}{2}+\frac{\sqrt2}{2}i"),
        ("2+2i", "2(1+i)"), ("|3+4i|", "5"), (r"\frac{1}{2}\ln 3", r"\ln\sqrt3"),
        (r"\log_2 3", r"\frac{\ln 3}{\ln 2}"), (r"\log_4 8", "1.5"), (r"\tan 45^\circ", "1"),
        (r"\sin\left(\frac{\pi}{6}\right)", "1/2"), (r"\cos(60°)", "0.5"), (r"\arcsin(1)", r"\frac{\pi}{2}"),
        (r"\sec x", r"\frac{1}{\cos x}"), (r"\cot x", r"1/\tan x"), (r"\sinh x", r"\frac{e^x-e^{-x}}{2}"),
        ("4:00 PM", "4 PM"), (r"4\text{ p.m.}", "4:00 PM"), ("9:05 a.m.", "9:05 AM"), ("January 3", "Jan 3"),
        ("3 January 2020", "January 3rd, 2020"), (r"40\text{ mph}", "40 miles/hour"), (r"3\text{ m}^2", "3 m^2"),
        ("9.8 m/s^2", r"9.8\ \text{m/s}^2"), (r"2.5\text{ hours}", "150 minutes"), ("1 km", "1000 m"),
        ("25 sq ft", r"25\text{ ft}^2"), (r"3 \text{ days}", "3 days"), (r"12 \text{ inches}", "1 foot"),
        ("100 cm", "1 m"), (r"1\text{ kg}", "1000 grams"), (r"5\text{ units}", "5"), (r"10\text{ square units}", "10"),
        (r"7\pi\text{ square units}", r"7\pi"), ("10 dollars", r"\$10"), (r"\$1.50", "150 cents"), ("x>=5", "x≥5"),
        ("x<=3", r"x \le 3"), (r"\{x: x>2\}", "x>2"), (r"\{x\in\mathbb{R}: x\ne 0\}", r"x\neq 0"),
        (r"(0,1)\cup(1,2)", "0<x<1 or 1<x<2"), (r"\mathbb{R}\setminus\{1,2\}", r"(-\infty,1)\cup(1,2)\cup(2,\infty)"),
        (r"\text{all real numbers}", r"\mathbb R"), (r"[0, \infty)", r"x\ge0"), ("{1, 2}", r"\{1,2\}"),
        (r"\{ (0,1) \}", r"\{(0,1)\}"), ("12_{10}", "12"), ("BAD_{16}", "BAD_{16}"), ("1101_2", "1101_{2}"),
        ("(1101)_2", "1101_2"), ("5000", "5{,}000"), ("5000", "5,000.00"), ("5 000 000", "5000000"), ("1.0", "1"),
        ("1e5", "100000"), ("1.0e5", "100,000"), (r"3.0 \times 10^8", "300000000"),
        (r"3\cdot10^8\text{ m/s}", r"3\times 10^{8} m/s"), ("two", "2"), (r"\text{two}", "2"),
        (r"\text{None}", "none"), ("infinity", r"\infty"), ("-1/2", "−½"), (r"\frac{1}{2}", r"\frac{1}{2}."),
        ("1/2", r"$\frac{1}{2}$"), (r"x=\frac12", r"\frac{1}{2}"), (r"\sqrt{\frac{1}{2}}", r"\frac{\sqrt{2}}{2}"),
        (r"\sqrt{2+\sqrt{3}}", r"\frac{\sqrt6+\sqrt2}{2}"), (r"\sqrt[3]{2+\sqrt5}", r"\frac{1+\sqrt5}{2}"),
        (r"\sqrt[4]{16}", "2"), ("16^{3/4}", "8"), ("2^{-1/2}", r"1/\sqrt2"),
        (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"), (r"\frac{2+\sqrt{2}}{\sqrt2}", r"1+\sqrt2"),
        (r"\dfrac{-3 + \sqrt{17}}{4}", r"(-3+\sqrt{17})/4"), ("a^2-b^2", "(a-b)(a+b)"),
        ("x^3-y^3", "(x-y)(x^2+xy+y^2)"), (r"\frac{x^2+3x+2}{x+1}", "x+2"),
        (r"\frac{a}{b}\div\frac{c}{d}", r"\frac{ad}{bc}"), ("3(x-1)^2", "3x^2-6x+3"), ("x(x-1)(x-2)", "x^3-3x^2+2x"),
        (r"\frac{1}{x-1}-\frac{1}{x+1}", r"\frac{2}{x^2-1}"), ("10", r"\binom52"), (r"\frac{5!}{3!}", "20"),
        ("5!", "120"), ("2^{100}", "1267650600228229401496703205376"), (r"\pi r^2", "πr²"),
        (r"\frac{4}{3}\pi r^3", r"\frac{4\pi r^3}{3}"), (r"0.\overline{12}", r"\frac{4}{33}"),
        (r"0.\overline{142857}", "1/7"), (r"2.1\overline{6}", "13/6"), ("S_n = n^2", "n^2"), ("a_n=2n-1", "2n-1"),
        (r"f^{-1}(x)=\frac{x-1}{2}", r"\frac{x-1}{2}"), ("f(x)=2x", "y=2x"),
        (r"\theta=\frac{\pi}{3}", r"\frac{\pi}{3}"), ("n=5", "n = 5"), ("AB = 5", "5"), ("5", "AB=5"),
        (r"x\approx 3.14", "3.14"), ("3.14", r"\approx 3.14"), ("3.5", r"x=\frac{7}{2}=3.5"),
        (r"\frac72", r"3.5 = \frac{7}{2}"), ("18", "9 + 9 = 18"), ("18", r"3\cdot 6 = 18"),
        ("5", r"\text{The answer is } 5"), ("5", "Answer: 5"), ("5", r"\text{Answer: }5"), ("(2, 3)", "(2; 3)"),
        ("2,3", "2;3"), ("(1,2) and (3,4)", "(1,2),(3,4)"), (r"(1,2)\text{ and }(3,4)", r"\{(1,2),(3,4)\}"),
        ("i, -i", r"\pm i"), (r"\pm\sqrt{3}", r"\sqrt3,-\sqrt3"), (r"x=\pm\sqrt3", r"-\sqrt3, \sqrt3"),
        (r"1\pm i", "1+i,1-i"), ("7", r"7\ "), ("7", r"\ 7"), ("7", "~7"), ("7", r"\,7\,"), ("7", r"\displaystyle 7"),
        ("7", r"\bf 7"), ("7", r"{\bf 7}"), ("7", r"\rm{7}"), ("7", r"\textrm{7}"), ("7", r"\fbox{7}"), ("7", "7"),
        ("7", r"7\%"), ("7", "**7**"), ("7", "`7`"), ("7", '"7"'), ("1:2", "1 : 2"), ("3:2:1", "6:4:2"),
        ("2 : 3", "2/3"), ("A", "A."), ("(A)", "A)"), (r"3\frac{1}{2}\text{ hours}", "3.5"),
        ("3.5 hours", r"3\frac12 \text{ hours}"), (r"45^{\circ}", "45°"), ("45°", "45 degrees"),
        (r"\frac{\pi}{4}", r"\pi/4 \text{ rad}"), (r"40^\circ 30'", r"40.5^\circ"), ("-40", r"-40^\circ"),
        (r"\begin{bmatrix}1&0\\0&1\end{bmatrix}", r"\begin{pmatrix}1 & 0 \\ 0 & 1\end{pmatrix}"),
        (r"\left[\begin{array}{cc}1&2\\3&4\end{array}\right]", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}"),
        (r"\langle 1, 2, 3\rangle", r"\begin{pmatrix}1\\2\\3\end{pmatrix}"),
        (r"\mathbf{i}+2\mathbf{j}", r"\mathbf{i} + 2\mathbf{j}"), ("2x^2 + C", "2x^2+C"), ("e^x + C", "C + e^x"),
        (r"\ln|x|+C", r"\ln |x| + C"), (r"\frac{x^3}{3}+C", r"\frac{1}{3}x^3 + C"),
        ("$f(2) < f(1) < f(4)$", "f(4)>f(1)>f(2)"), (r"\\frac{1}{5}", r"\frac15"), (r"28\%", "28 pct"),
        ("72", r"72}} \boxed{72"), (r"3 \times 4", "12"), ("12", "3 × 4"), ("2, 3, 5", "2,3,5"), ("1234", "1,234.0"),
        ("12,345,678", "12345678"), (r"\text{A}", "A"), (r"-\frac{3}{4}", r"\frac{-3}{4}"),
        (r"-\frac{3}{4}", r"\frac{3}{-4}"), (r"-\frac34", "-0.75"), ("x=-1", "-1"), (r"x \in \{1,2\}", r"\{1,2\}"),
        (r"x \in \{1,2\}", "1,2"), (r"\{x | 1<x<2\}", "(1,2)"), ("1 < x < 2", "(1, 2)"), ("(1,2)", "1 < x < 2"),
        ("t>0", "t > 0"), (r"t\ge 0", r"[0,\infty)"), (r"(-\infty, -2] \cup [2, \infty)", r"|x| \ge 2"),
        (r"(-\infty,-2)\cup(2,\infty)", "|x|>2"), ("(-2,2)", "|x|<2"), ("(1,3)", "|x-2|<1"), (r"\{2\}", "2"),
        ("2", r"\{2\}"), (r"\{2\}", "x=2"), (r"\emptyset", r"\text{no solution}"),
        (r"\text{no solutions}", r"\varnothing"), (r"\text{none}", r"\text{None}"), (r"\infty", r"\text{infinity}"),
        (r"\text{undefined}", "DNE"), (r"5\times 10^{-3}", "0.005"), (r"4.5 \times 10^6", "4{,}500{,}000"),
        ("4.5E6", "4500000"), ("10^6", "1000000"), ("10^6", "1e6"), ("1.5 million", "1500000"),
        (r"\$1.5 \text{ million}", r"\$1,500,000"), ("3 dozen", "36"), ("1/2", "0.5 = 1/2"),
        (r"7 \text{ cm}", r"7\text{cm}"), ("7cm", "7 cm"), ("7 cm", "0.07 m"), ("7 cm", "70 mm"),
        (r"100^\circ\text{C}", "100 °C"), (r"60^\circ", r"\frac{\pi}{3}\text{ rad}"), ("2:30 PM", "14:30"),
        ("2:30", "2:30 p.m."), ("12:00 AM", "0:00"), ("12:00 PM", "12:00"), ("2024-12-25", "December 25, 2024"),
        ("25 December 2024", "Dec. 25, 2024"), ("(40.7, -74)", "(40.7,-74.0)"), (r"40^\circ N", "40°N"),
        ("3+2i", "2i+3"), (r"\sqrt{-1}", "i"), ("i^2", "-1"), (r"\frac{1+i}{2}", r"\frac{1}{2}+\frac{1}{2}i"),
        (r"\frac{1+i}{2}", "0.5+0.5i"), (r"1+\sqrt{3}i", r"2e^{i\pi/3}"), (r"\log_{2}{8}", "3"), (r"\log 1000", "3"),
        (r"\ln e", "1"), (r"\log_3 9", "2"), (r"\lg 100", "2"), (r"\log_{10}2", r"\log 2"), (r"\ln 2", r"\log_e 2"),
        (r"\sin^{-1}(1)", r"\frac{\pi}{2}"), (r"\arcsin 1", r"\pi/2"), (r"\sin 90^\circ", "1"),
        (r"\cos^2\theta", r"1-\sin^2\theta"), (r"\frac{\sqrt{6}+\sqrt{2}}{4}", r"\cos 15^\circ"),
        (r"\sqrt{4+2\sqrt{3}}", r"\sqrt3+1"), (r"\frac{5}{\sqrt{5}}", r"\sqrt5"), (r"\sqrt{12}-\sqrt{3}", r"\sqrt{3}"),
        ("y=2x+1", "y - 2x - 1 = 0"), ("y=2x+1", "2y=4x+2"), ("2x-y+1=0", "y=2x+1"), ("2x-y+1=0", "-2x+y-1=0"),
        ("x^2+y^2=25", "x^2+y^2-25=0"), ("x=2", "2=x"), ("x^2-5x+6=0", "x^2-5x+6=0"), ("x^2-5x+6=0", "(x-2)(x-3)=0"),
        ("a=1,b=2", "b=2,a=1"), ("a=1,b=2", "(1,2)"), ("x=1,y=2", "1,2"), (r"p \land q", r"p \wedge q"),
        ("2^{3^2}", "512"), ("-2^2", "-4"), ("(-2)^2", "4"), ("1/2x", r"\frac{x}{2}"), (r"2/3\pi", r"\frac{2\pi}{3}"),
        (r"\frac{a}{b}", "a/b"), (r"\frac ab", "a/b"), ("ab/c", r"\frac{ab}{c}"), ("5", "5"),
    )  # fmt: skip

    @pytest.mark.parametrize(
        "solution, answer",
        NUMBERS + FRACTIONS + SCIENTIFIC + CLOSED_FORMS + FORMULAS + EQUATIONS + COLLECTIONS + INTERVALS + UNITS
        + BASES + MATRICES + WORDS + AS_FOUND,
    )  # fmt: skip
    def test_equal(self, solution, answer):
        assert grade_box(answer, solution) == 1.0


class TestDifferent:
    # Another number, however near: a decimal that is cut short is another number
    NUMBERS = cases(
        ("72", "73"), ("72", "-72"), ("12", "1 2"), ("12", "21"), ("1", "1.0000001"), ("2^{2023}", "2^{2022}"),
        ("2^{2023}", "2^{2023}+1"), (r"\sqrt{2}\cdot2^{2023}", r"\sqrt{2}\cdot(2^{2023}+1)"), (r"\infty", "1"),
        (r"\infty", r"-\infty"), (r"\frac13", "0.333333"), ("0.333333", r"\frac13"), (r"\pi", "3.14"),
        (r"\pi", "3.14159"), (r"\pi", r"\frac{22}{7}"), (r"\sqrt2", "1.414"), ("1/3", "0.3333333334"),
        ("2", "2.00000000001"), (r"\sqrt{2}", "1.41421356200"), ("1/2", "2/1"), ("0.5", "0.05"), ("1,000", "1.000"),
        (r"2\frac12", "1"), ("10!", "3628801"), ("e", "2.71828"), ("1e3", "1e4"),
    )  # fmt: skip

    # Tiny numbers that differ: math-verify rounds them all to 0
    TINY = cases(
        ("10^{-20}", "0"), ("10^{-20}", "10^{-21}"), (r"\sqrt{2}\cdot10^{-20}", r"\sqrt{3}\cdot10^{-20}"),
        (r"1.5\times10^{-9}", r"1.6\times10^{-9}"), ("1e-15", "2e-15"), ("10^{-100}", "0"), (r"e^{-100}", r"e^{-101}"),
        (r"e^{-100}", "0"), (r"1+e^{-1000}", "1"), (r"6.63\times10^{-34}", r"6.62\times10^{-34}"),
        ("0.00000001", "0.00000002"),
    )  # fmt: skip

    # Signs of percent are dropped, so 9% is 9, and therefore never 0.09
    PERCENT = cases((r"9\%", "0.09"), ("0.09", r"9\%"), (r"50\%", "0.5"), (r"9\%", r"0.09\%"))

    # Units that both name and that differ, in kind or amount; numbers in other bases
    UNITS = cases(
        (r"5\text{ km}", r"5\text{ m}"), ("5 km", "5 m"), ("5 m", "5 km"), ("5 meters", "5 feet"),
        (r"5\text{ kg}", r"5\text{ g}"), (r"5\text{ cm}", r"5\text{ cm}^2"), ("5 cm^2", "5 cm^3"), ("$5", "€5"),
        (r"\$5", "5 cents"), ("5 hours", "5 minutes"), ("5 apples", "5 oranges"), (r"5\text{ m/s}", r"5\text{ km/h}"),
        ("20 °C", "20 °F"), (r"90^\circ", r"90\text{ radians}"), ("5", "5 million"), (r"\frac{\pi}{2}", r"90"),
        ("5m", "5"), ("101_2", "101_3"), ("101_2", "5"), ("5", "101_2"), ("101_2", "11_4"), ("101_2", "101"),
        ("12_3", "21_3"),
    )  # fmt: skip

    # Near misses in formulas
    FORMULAS = cases(
        ("x^2+2x+1", "(x+2)^2"), ("x", "y"), ("3+4i", "3-4i"), ("x", "|x|"), ("x^2", "x^3"), (r"\sin x", r"\cos x"),
        ("a-b", "b-a"), (r"\frac{x}{y}", r"\frac{y}{x}"), ("2x", "x"), (r"\ln x", r"\log_2 x"), ("x+1", "x+2"),
        ("n!", "(n+1)!"), (r"\sqrt{x^2}", "x"), ("2^n", "n^2"), ("x_1", "x_2"), ("x^2+y^2", "(x+y)^2"),
        (r"\sqrt{x+y}", r"\sqrt{x}+\sqrt{y}"), ("x", "X"),
    )  # fmt: skip

    # Another variable, another line; an equation that is not solved is not its solution
    EQUATIONS = cases(
        ("x=5", "y=5"), ("x=5", "2x+3=13"), ("x=5", "x^2=25"), ("y=2x+1", "y=2x-1"), ("y=2x+1", "x=2y+1"),
        ("5", "x+3"), ("x=5", "x=-5"), ("x^2+y^2=1", "x^2+y^2=2"), ("f(x)=x+1", "x+2"),
    )  # fmt: skip

    # Order where it counts, members, ends of intervals
    COLLECTIONS = cases(
        ("(1,2)", "(2,1)"), ("(2,1)", "(5,3)"), ("1,2", "1,2,3"), ("1,2,3", "1,2"), (r"\{1,2\}", r"\{1,3\}"),
        ("(1,2)", "[1,2]"), ("(1,2)", r"\{1,2\}"), (r"\pm3", "3"), ("3", r"\pm 3"), ("[0,1)", "(0,1)"),
        ("[0,1)", "[0,1]"), ("[0,1)", r"0<x<1"), ("x>5", r"x\ge5"), ("x>5", "x<5"), ("x>5", r"[5,\infty)"),
        (r"(-\infty,1)\cup(5,\infty)", r"(-\infty,5)\cup(1,\infty)"), (r"x\ne3", "x=3"), (r"x\ne3", "x>3"),
        ("(1,2),(3,4)", "(1,2),(4,3)"), ("(1,2,3)", "(1,2)"), (r"\emptyset", "0"), (r"\emptyset", r"\{0\}"),
        ("x+y<5", "x+y>5"), (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&3\\2&4\end{pmatrix}"), ("1:2", "2:1"),
        ("x = 1, y = 2", "x = 2, y = 1"),
    )  # fmt: skip

    # Words by their letters: math-verify takes anagrams for equal
    WORDS = cases(
        ("Friday", "Firday"), (r"\text{even}", "odd"), ("yes", "no"), ("A", "B"), ("B", r"\text{(A)}"),
        ("true", "false"), ("3:30 PM", "3:30 AM"), ("3:30", "3:40"), ("March 5, 2024", "March 6, 2024"),
        ("east", "seat"), ("no solution", "0"),
    )  # fmt: skip

    # Wrong answers of all these kinds that resemble the right one, hedge it, contradict it, or merely look like it
    NEAR_MISSES = cases(
        ("72", r"\text{72 or 73}"), ("72", "72,72"), ("72", r"72\text{ but also }73"), ("72", r"72 \Rightarrow 73"),
        ("72", "72 = 73"), ("72", "=73"), ("72", "72="), ("72", "7 2"), ("72", "0072.1"), ("72", "72e"), ("72", "72i"),
        ("72", "72x"), ("72", "+-72"), ("72", "-+72"), ("72", "72!"), ("72", "72^2"), ("72", "72_2"), ("72", "72'"),
        ("72", r"\sqrt{72}"), ("72", "1/72"), ("72", "0.72"), ("72", "72000"), ("72", "72 thousand"),
        ("72", "72 dozen"), ("72", r"\{71,72\}"), ("72", r"[72,\infty)"), ("72", r"(-\infty,72]"), ("72", r"x\ge72"),
        ("72", r"71\le x\le 73"), ("72", "72 + C"), ("72", r"72\pmod{5}"), ("72", r"72 \bmod 73"),
        ("72", r"\lfloor 72.9 \rfloor + 1"), ("72", r"72 \text{ minus } 1"), ("72", r"72 \text{ or maybe } 71"),
        ("72", r"\text{either } 72 \text{ or } 71"), ("72", r"\text{72, 73, or 74}"),
        ("72", r"\text{between 71 and 73}"), ("72", "71 < x < 73"), ("72", r"72 \to 73"),
        ("72", r"72\%\text{ or }73\%"), ("72", r"\text{not }72"), ("72", r"72 \text{ is wrong}"),
        ("72", r"72 \text{ wrong}"), ("72", r"\lnot 72"), ("72", r"\text{seventy-two or seventy-three}"),
        ("72", r"72 \& 73"), ("72", "72/73"), ("72", "72:73"), ("72", "72 - 73"), ("72", r"72\cdot73"),
        ("72", r"7\cdot2"), ("72", "7*2"), ("72", r"\frac{7}{2}"), ("72", "7^2"), ("0", ""), ("0", r"\emptyset"),
        ("0", r"\{\}"), ("1", "x"), ("1", "x/x+1"), ("0", "x"), ("0", "x-x+1"), ("0", "0=1"), ("x", "x=x+1"),
        (r"\text{no}", r"\text{yes or no}"), ("yes", r"\text{yes and no}"), ("yes", "not yes"), ("yes", "no, yes"),
        ("A", "A or B"), ("A", r"\text{A, B, C, D}"), ("A", "ABCD"), ("B", "AB"),
        (r"\text{(B)}", r"\text{(A) or (B)}"), ("B", r"\text{not B}"), ("True", r"\text{True or False}"),
        (r"10\text{ km}", r"10\text{ miles}"), (r"1\text{ hour}", r"1\text{ minute}"), ("1 hour", "60"),
        ("60 minutes", "1"), ("5 km", "5000"), ("20 m^2", "20 m^3"), ("3 kg", "3 lb"), (r"30^\circ C", r"30^\circ F"),
        (r"10\text{ cm}", r"10\text{ mm}"), (r"\$10", "10 euros"), (r"10\text{ boys}", r"10\text{ girls}"),
        ("100 m/s", "100 km/h"), (r"8\text{ apples}", r"8\text{ oranges}"), (r"\frac{1}{3}", "0.33"),
        ("0.33", r"\frac13"), (r"\frac{2}{3}", "0.667"), (r"\sqrt{3}", "1.732"), ("3.14159", r"\pi"), ("2.718", "e"),
        ("1.0000000000001", "1"), ("10^{-12}", "10^{-13}"), (r"1.0\times10^{-12}", "0"),
        (r"\frac{1}{10^{30}}", r"\frac{1}{10^{31}}"), ("10^{30}", "10^{30}+1"), ("1000000000000", "1000000000001"),
        ("123456789012345678901234567890", "123456789012345678901234567891"), ("6.022e23", "6.023e23"),
        ("e^{-50}", "e^{-51}"), ("2^{-100}", "2^{-101}"), (r"\sqrt{10^{-40}}", "10^{-21}"), (r"\sin(10^{-20})", "0"),
        (r"1-\cos(10^{-20})", "0"), ("x^2-1", "(x-1)^2"), ("(a+b)^2", "a^2+b^2"), (r"\sqrt{a^2+b^2}", "a+b"),
        (r"\frac{a+b}{c}", r"\frac{a}{c}+b"), ("2^{x+y}", "2^x+2^y"), (r"\ln(a+b)", r"\ln a+\ln b"),
        (r"\sin(2x)", r"2\sin x"), ("e^{x}", "e^{-x}"), ("x^{1/2}", "x^{1/3}"), ("-x^2", "(-x)^2"), ("3x", "3y"),
        ("x_n", "x_{n+1}"), ("n(n+1)/2", "n(n-1)/2"), (r"\binom{n}{2}", r"\binom{n}{3}"),
        (r"\frac{x^2-1}{x-1}", "x-1"), (r"\pi r^2", r"2\pi r"), (r"2\pi", r"\pi"), (r"\theta", r"\phi"),
        ("y=2x+1", "y=2x"), ("y=x", "x=2y"), ("x=3", "x=-3"), ("x=3", "3x=9"), ("x^2=9", "x=3"), ("y=x^2", "y=-x^2"),
        ("x+y=1", "x-y=1"), ("2x+3y=6", "3x+2y=6"), ("(1,2)", "(1,2,3)"), ("(1,2)", "1+2"), ("(1,2)", "1"),
        ("(1,2)", "(1,3)"), ("(1,2)", "(1;3)"), (r"\{1,2,3\}", r"\{1,2\}"), (r"\{1,2\}", r"\{1,2,3\}"), ("1,2", "1"),
        ("1", "1,2"), ("1,2", "1,1"), ("1,1", "1,2"), ("2, 3", "2.3"), ("2,3", "23"), ("(2,3)", "[2,3)"),
        ("(2,3]", "[2,3)"), ("x>2", r"x\geq 2"), ("x>2", "x<2"), ("x>2", "y>2"), ("0<x<5", "0<x<6"),
        (r"(-\infty,2)", r"(2,\infty)"), (r"(0,1)\cup(2,3)", "(0,3)"), (r"(0,1)\cup(2,3)", r"(0,1)\cap(2,3)"),
        (r"\mathbb{R}", r"(0,\infty)"), (r"x\ne1", r"x\ne-1"), (r"\mathbb{R}\setminus\{1\}", r"\mathbb{R}"),
        ("101_2", "101_{10}"), ("101_2", "101_8"), ("12_5", "12"), ("12", "12_5"), ("7", "111_2"),
        ("A1_{16}", "A1_{12}"), ("0.5", r"50\%"), (r"5\%", "0.05"), (r"12.5\%", r"\frac18"), (r"50\%", r"500\%"),
        ("3:4", "4:3"), ("3:4", "3:5"), ("1:2:3", "1:2"), ("15:30", "3:30 AM"), ("9:00", "9:01"), ("May 1", "May 2"),
        ("May 1", "June 1"), ("2024-01-02", "2024-02-01"), ("Monday", "Tuesday"), ("3+4i", "3+4"), ("3+4i", "4+3i"),
        ("i", "-i"), ("i", "1"), ("2i", "-2i"), (r"e^{i\pi}", "1"), ("|3+4i|", "3+4i"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&5\end{pmatrix}"),
        (r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "(1,2,3,4)"), (r"\text{apple}", r"\text{apples and oranges}"),
        (r"\text{east}", r"\text{west}"), (r"\text{increasing}", r"\text{decreasing}"),
        (r"\text{parallel}", r"\text{not parallel}"), ("72", "７３"), ("72", "𝟽𝟹"), ("x", "х"), ("5", "Ƽ"),
        ("10", "1О"),
        ("72", "7\u200b2"), ("72", "72\u202e"), ("12", "1̸2"), ("3", "3̃"), ("72", "72﹒5"), ("72", "⁷²"), ("72", "7²"),
        ("7^2", "72"), ("x^2", "x2"), ("x2", "x^2"), ("f(2)<f(1)<f(4)", "f(1)<f(2)<f(4)"), ("72", r"73} 72 \boxed{73"),
        (r"\frac{1}{2}", r"\frac{1}{2"), ("(1,2)", "(1,2"), ("235", "2,3,5"), ("1,234", "1,2,3,4"),
        ("1,2345", "12345"), ("1<x<2", "1<y<2"), ("[2,2]", "2"), ("0", "none"), ("0", "no solution"),
        (r"\text{infinitely many}", r"\infty"), ("0.5", r"\frac{1}{2}\text{ or }50\%"), ("1/2", r"50\%"),
        ("100°C", "212°F"), (r"60^\circ", r"\frac{\pi}{3}"), ("noon", "12:00 PM"), ("12/25/2024", "December 25, 2024"),
        ("3+2i", "(3,2)"), (r"\sin(90)", "1"), ("2x-y+1=0", "2x-y-1=0"), ("x=2", "x-2=0"), ("x^2-5x+6=0", "x=2,3"),
        ("a=1, b=2", "a=2, b=1"), ("x=1,y=2", "2,1"), ("2^{3^2}", "64"), ("-2^2", "4"),
    )  # fmt: skip

    @pytest.mark.parametrize(
        "solution, answer", NUMBERS + TINY + PERCENT + UNITS + FORMULAS + EQUATIONS + COLLECTIONS + WORDS + NEAR_MISSES
    )
    def test_different(self, solution, answer):
        assert grade_box(answer, solution) == 0.0


class TestAttacks:
    # One answer must be chosen: several of them in a box, even if the right one is there, are wrong
    HEDGES = cases(
        ("72, 73",), (r"72 \text{ or } 73",), ("72 or 73",), (r"72 \text{ (or 73)}",), (r"\{72, 73\}",), ("72; 73",),
        (r"72\pm1",), (r"72 \pm 0",), (r"x \in \{72,73\}",), (r"72 \lor 73",), (r"72\\73",), (r"72 \quad 73",),
        (r"\begin{pmatrix}72\\73\end{pmatrix}",), (r"\$72\$ or \$73\$",), ("72/73",), ("72 73",), ("(72,73)",),
        ("[72,73]",), ("72-73",), ("72 to 73",), (r"72 \text{ and } 73",), (r"x=72 \text{ or } x=73",),
        (r"72\text{ maybe }73",), ("72?",), (r"72 \text{ if } x>0",), ("72 | 73",), (r"\{72\}\cup\{73\}",),
        (r"72}\boxed{73",), (r"71}, \boxed{72",), ("71} or \\boxed{72",), (r"72}$ or $\boxed{73",),
    )  # fmt: skip

    # Claims that contradict themselves or say what the answer is not
    CONTRADICTIONS = cases(
        ("72 = 73",), ("73 = 72",), ("x = 73 = 72",), ("x = 72 = 73",), (r"72 \neq 73",), (r"\neq 72",),
        (r"x \ne 72",), (r"\text{not } 72",), ("not 72",), (r"73 \approx 72",), (r"72 < 73",), ("x > 72",),
        (r"x \le 72",), (r"\text{anything but }72",),
    )  # fmt: skip

    # Nothing, or nothing that can be read, in the box; invisible and look-alike characters
    NOTHING = cases(
        ("",), (" ",), (r"\,",), ("{}",), (r"\text{}",), (r"\text{ }",), ("x",), ("?",), ("...",), (r"\ldots",),
        (r"\phantom{72}",), (r"\cancel{72}",), (r"\hphantom{7}72",), (r"72\color{white}3",), (r"\def\x{72}\x",),
        (r"\verb|72|",), (r"7\textcolor{red}{2}",), ("7２​",), ("7​2",), ("‮27",), ("７２º C x",), ("7\u0338 2",),
        ("l72",), ("7Z",), ("\\",), ("{",), (r"\{",), ("72\\",), (r"\boxed",), (r"\input{answer}",), ("%72",),
        ("#72",), (r"\text{answer}",), (r"\text{the correct answer}",), ("correct",), ("None",), ("True",), ("nan",),
        ("solution",), ("gold",), ("*",), ("\\d+",), (".*",), ("7[0-9]",), ("72)",), ("(72",), ("_",), ("\x00",),
        ("72\x00",),
    )  # fmt: skip

    @pytest.mark.parametrize("answer", HEDGES + CONTRADICTIONS + [c for c in NOTHING if c.values[0] not in ("7２​",)])
    def test_is_wrong(self, answer):
        assert grade_box(answer, "72") == 0.0

    # Each of these hangs or exhausts the memory of math-verify, or merely its time
    HOSTILE = cases(
        ("9^{9^{9^9}}",), ("((9^{999})^{999})^{999}",), ("9^{99999999}",), ("2^{-9^{9^9}}",), ("((9!)!)!",),
        ("9!!!!!!!!",), ("99999999!",), (r"\binom{999999999}{499999999}",),
        (r"\binom{\binom{99}{49}}{\binom{99}{48}}",), ("[0,9^{9^9}]",), ("(0,9^9^9^9)",), (r"\{1\}\cup\{9^{9^9}\}",),
        (r"\gcd(9^{9^9},3)",), (r"\sum_{i=1}^{100000000} i^i",), ("(a+b+c+d+e)^{60}",), (r"\sin(10^{10^{10}})",),
        (r"\cosh(10^9)",), (r"2^{\frac{10^{12}}{7}}",), ("(1+10^{-30})^{10^{12}}",),
        (r"\begin{pmatrix}9^{9^9}\end{pmatrix}",), ("(" * 140 + "1" + ")" * 140,), ("|" * 200,), ("7" * 100_000,),
        ("7" * 299,), ("{" * 50_000 + "}" * 50_000,), (r"\frac{" * 60 + "1",), (r"\sqrt{" * 12 + "x" + "}" * 12,),
        ("1e999999999",), (r"10^{10^{10}}",), ("-" * 250 + "1",), ("x^" * 100 + "x",), ("e^" * 20 + "e",),
        ("5000!^{5000!}",), (r"\exp(\exp(\exp(\exp(5))))",), ("0.1^{99999}",), ("1," * 140 + "1",),
        (r"\{" + "1," * 140 + r"1\}",), ("(x+1)" * 50,), ("x" * 4 + "+x" * 120,), (r"\lfloor 10^{300}\pi\rfloor",),
    )  # fmt: skip

    @pytest.mark.parametrize("answer", HOSTILE)
    @pytest.mark.parametrize("solution", ["x^2+1", "72", "(1,2)", r"[0,\infty)"])
    def test_hostile_answers_are_wrong_at_once(self, answer, solution):
        grade_box("x+1", "x+2")  # not the first call, which starts a worker
        start = time.perf_counter()
        assert grade_box(answer, solution) == 0.0
        assert time.perf_counter() - start < 3.0

    # The wall clock of the whole table is that of hostile rows only; a batch of them must not hold up the honest ones
    def test_hostile_rows_do_not_spoil_a_batch(self):
        hostile = [case.values[0] for case in self.HOSTILE]
        completions = [rf"\boxed{{{answer}}}" for answer in hostile for answer in (answer, r"\sqrt{5184}")]
        rewards = math_reward(
            prompts=[""] * len(completions), completions=completions, solution=["72"] * len(completions)
        )
        assert rewards == [0.0, 1.0] * len(hostile)

    # SIGALRM works in the main thread only, where math-verify would raise or hang
    @pytest.mark.parametrize(
        "answer, reward", cases(("72", 1.0), (r"36\cdot2", 1.0), (r"\sqrt{2}", 0.0), ("9^{9^{9^9}}", 0.0))
    )
    def test_off_the_main_thread(self, answer, reward):
        rewards = []
        thread = threading.Thread(target=lambda: rewards.append(grade_box(answer, "72")))
        thread.start()
        thread.join(timeout=10)
        assert rewards == [reward]

    # Answers are data: nothing of them runs
    def test_answers_are_not_evaluated(self, tmp_path):
        target = tmp_path / "touched"
        for code in (f'__import__("os").system("touch {target}")', rf"\operatorname{{open('{target}','w')}}(1)"):
            assert grade_box(code, "x+1") == 0.0
        assert not target.exists()

    # Whatever a model writes gets a grade: pieces of LaTeX in any order, cut anywhere. The seed is fixed, so a failure
    # can be repeated
    @pytest.mark.parametrize("seed", range(4))
    def test_nonsense_is_wrong_and_breaks_nothing(self, seed):
        draw = random.Random(seed)
        pieces = (
            r"\frac \sqrt \sqrt[ \boxed{ \text{ \left( \right) \{ \} { } ( ) [ ] | ^ _ ! % ° ' , ; : . = < > \le "
            r"\ge \ne \approx \pm \mp "
            r"\cup \cap \setminus \in \infty \pi e i x y n f(x) sin \sin \log _2 \ln 0 1 2 12 0.5 1e3 1,000 / * + - "
            r"or and km \text{m} $ \$ € "
            r"\begin{pmatrix} \end{pmatrix} & \\ \lfloor \rfloor \overline{3} \binom \gcd \mathbb{R} → « » ⟦ ⟧ ¦ ‖ "
            r"⦃ ∘ six PM 3:4"
        ).split(" ")
        answers = [
            "".join(draw.choice(pieces) + draw.choice(["", " "]) for _ in range(draw.randint(1, 9)))
            for _ in range(400)
        ]
        answers += [
            answer[: draw.randint(0, len(answer))]
            for answer in ["".join(draw.choices(pieces, k=12)) for _ in range(100)]
        ]
        for solution in (r"\sqrt{7919}", r"(\sqrt{7919}, 7)", r"[\sqrt{7919},\infty)"):
            rewards = math_reward(
                prompts=answers,
                completions=[rf"\boxed{{{answer}}}" for answer in answers],
                solution=[solution] * len(answers),
            )
            assert rewards == [0.0] * len(answers)
            # as references, they are read or not, whatever the completion is
            as_gold = [
                math_reward(prompts=answers, completions=[completion] * len(answers), solution=answers)
                for completion in ("", r"\boxed{72}", r"\boxed{9^{9^{9^9}}}")
            ]
            unreadable = [[reward is None for reward in rewards] for rewards in as_gold]
            assert unreadable[0] == unreadable[1] == unreadable[2]


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
