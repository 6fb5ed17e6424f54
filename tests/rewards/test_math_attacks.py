r"""`math_reward` under attack: hedges, contradictions, hostile and meaningless answers."""

import random
import threading
import time

import pytest
from math_rows import cases, grade_box

from trl_copd.rewards import math_reward


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


# Multiplied out, each entry would have 2^20 parts; a solar mass is no matrix
@pytest.mark.parametrize(
    "answer, reason",
    [
        (r"\begin{pmatrix}1&1\\1&1\end{pmatrix}" * 20, "too many parts"),
        (r"M_{\odot}\begin{pmatrix}1\\1\end{pmatrix}", "a matrix beside a name"),
    ],
)
def test_matrices_are_bounded(answer, reason):
    verdict = math_reward.verdicts([rf"\boxed{{{answer}}}"], [r"\begin{pmatrix}1&1\\1&1\end{pmatrix}"])[0]
    assert verdict.passed is False and reason in verdict.reason
