r"""`math_reward`: answers that mean the same as the solution. The answer is what stands in the `\boxed{}`."""

import pytest
from math_rows import cases, grade_box


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
