r"""`math_reward`: answers that differ from the solution. The answer is what stands in the `\boxed{}`."""

import pytest
from math_rows import cases, grade_box


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
