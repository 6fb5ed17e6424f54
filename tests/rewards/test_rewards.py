r"""Rewards against hand-made rows. In the tables of `math_reward` the answer is what stands in the `\boxed{}`."""

import pickle
import subprocess
import sys
import threading
import time

import pytest
from trl.trainer.utils import get_callable_name

from trl_copd.rewards import (
    ExactMatchReward,
    MathReward,
    Verdict,
    VerifierReward,
    exact_match_reward,
    math_reward,
)


def grade(reward, completion, solution):
    """One row through the reward, as TRL would call it."""
    return reward(prompts=["?"], completions=[completion], solution=[solution], completion_ids=[[1]])[0]


def grade_box(answer, solution):
    return grade(math_reward, rf"So it is \boxed{{{answer}}}.", solution)


def cases(*rows):
    """Parameters with ids that show the row."""
    return [pytest.param(*row, id=" | ".join(str(value)[:40] for value in row)) for row in rows]


class TestMathEquality:
    # Honest answers that only look different from the reference
    @pytest.mark.parametrize(
        "solution, answer",
        cases(
            ("72", "72.0"), ("1,000", "1000"), ("1000", "1{,}000"), ("1000", r"1\,000"), ("-2", "−2"), ("5.", "5"),
            (r"\frac12", "0.5"), (r"\frac{1}{2}", r"\dfrac{1}{2}"), (r"-\frac{1}{2}", "-1/2"),
            ("1.5", r"1\frac{1}{2}"),
            (r"\$18", "18"), (r"50\%", "50"), (r"90^\circ", "90"), (r"5\text{ cm}", "5"), ("72", "x = 72"),
            ("x^2+2x+1", "(x+1)^2"), ("a+b", "b+a"), (r"\sqrt{8}", r"2\sqrt{2}"), ("3+4i", "4i+3"), ("2^{10}", "1024"),
            ("2^{2023}", r"4\cdot2^{2021}"), ("10!", "3628800"), (r"\binom{10}{3}", "120"), ("1,2", r"\{2,1\}"),
            ("(1,2)", r"\left( 1, 2 \right)"), ("[0,1)", "[0, 1)"), ("x>5", "5<x"), ("101_2", "101_{2}"),
            (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix} 1 \\ 2 \end{bmatrix}"),
            (r"\text{(B)}", "B"), (r"\text{Friday}", "friday"), (r"1.5\times10^{3}", "1500"), ("5", r"\boxed{5}"),
            ("5", r"\textbf{5}"),
        ),
    )  # fmt: skip
    def test_equal(self, solution, answer):
        assert grade_box(answer, solution) == 1.0

    # Near misses, and what math-verify on its own takes for equal: tiny numbers, bases, anagrams, 9 % and 0.09
    @pytest.mark.parametrize(
        "solution, answer",
        cases(
            ("72", "73"), ("72", "-72"), ("12", "1 2"), ("1", "1.0000001"), ("2^{2023}", "2^{2022}"), (r"\infty", "1"),
            (r"\frac13", "0.333333"), ("0.333333", r"\frac13"), (r"\pi", "3.14"), ("10^{-20}", "0"),
            ("10^{-20}", "10^{-21}"), (r"\sqrt{2}\cdot10^{-20}", r"\sqrt{3}\cdot10^{-20}"), (r"9\%", "0.09"),
            ("101_2", "101_3"), ("Friday", "Firday"), (r"\text{even}", "odd"), ("(1,2)", "(2,1)"), ("(2,1)", "(5,3)"),
            ("[0,1)", "(0,1)"), ("x=5", "y=5"), ("3+4i", "3-4i"), ("x^2+2x+1", "(x+2)^2"),
        ),
    )  # fmt: skip
    def test_different(self, solution, answer):
        assert grade_box(answer, solution) == 0.0

    # One answer must be chosen: several of them in a box, even if the right one is there, are wrong
    @pytest.mark.parametrize(
        "answer",
        cases(
            ("72, 73",), (r"72 \text{ or } 73",), ("72 or 73",), (r"72 \text{ (or 73)}",), (r"\{72, 73\}",),
            ("72; 73",), (r"72\pm1",), (r"x \in \{72,73\}",), (r"72 \lor 73",), (r"72\\73",), ("",), ("x",),
            (r"72 \neq 73",), (r"72 \quad 73",), (r"\begin{pmatrix}72\\73\end{pmatrix}",), (r"\$72\$ or \$73\$",),
        ),
    )  # fmt: skip
    def test_hedges(self, answer):
        assert grade_box(answer, "72") == 0.0


class TestMathExtraction:
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
            (r"\boxed{71 \boxed{72}}", 0.0),
            (r"\} } \boxed {72} }", 1.0),
            (r"<think>\boxed{71}</think> \boxed{72}", 1.0),
            (r"\boxed{72}</think> So be it.", 0.0),
            (r"<think>It is \boxed{72}, I gu", 0.0),
            ("72", 0.0),
            ("The answer is 72.", 0.0),
            ("#### 72", 0.0),
            ("", 0.0),
        ),
    )
    def test_boxed(self, completion, reward):
        assert grade(math_reward, completion, "72") == reward

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
            ("I do not know.", 0.0),
        ),
    )
    def test_boxed_or_final(self, completion, reward):
        assert grade(MathReward(answer="boxed_or_final"), completion, "72") == reward

    def test_rule_must_exist(self):
        with pytest.raises(ValueError, match="boxed_or_final"):
            MathReward(answer="last")


class TestMathSolutions:
    # The forms in which datasets hold their answers
    @pytest.mark.parametrize(
        "solution, answer",
        cases(
            (r"\frac{3}{4}", "0.75"), (r"$\frac{3}{4}$", "0.75"), (r"\[\frac{3}{4}\]", "0.75"),
            (r"\boxed{\frac{3}{4}}", "0.75"), (r"We get $x=2$, hence \boxed{\frac{3}{4}}.", "0.75"),
            ("She sold 48/2 = <<48/2=24>>24 clips.\n#### 1,072", "1072"), (72, "72"), (0.1, r"\frac{1}{10}"),
        ),
    )  # fmt: skip
    def test_read(self, solution, answer):
        assert grade_box(answer, solution) == 1.0
        assert grade_box("5", solution) == 0.0

    # None of these tells what the answer is. The completion has no say in it: right, wrong or empty
    @pytest.mark.parametrize(
        "solution",
        cases(
            ("",), ("$ $",), ("The answer is 72",), ("It is the number of ways",), (r"\frac{1}{0}",), ("9^{9^{9^9}}",),
            (r"\frac{1}{",), (r"\int_0^1 x dx",), ("1+" * 200 + "1",), (float("nan"),), (True,), (["72"],),
        ),
    )  # fmt: skip
    def test_unreadable(self, solution):
        for completion in (rf"\boxed{{{solution}}}", r"\boxed{72}", ""):
            assert grade(math_reward, completion, solution) is None


class TestMathBounds:
    # Each of these hangs or exhausts the memory of math-verify, or merely its time
    HOSTILE = cases(
        ("9^{9^{9^9}}",), ("((9^{999})^{999})^{999}",), ("9^{99999999}",), ("2^{-9^{9^9}}",), ("((9!)!)!",),
        ("99999999!",), (r"\binom{999999999}{499999999}",), (r"\binom{\binom{99}{49}}{\binom{99}{48}}",),
        ("[0,9^{9^9}]",), ("(0,9^9^9^9)",), (r"\{1\}\cup\{9^{9^9}\}",), (r"\gcd(9^{9^9},3)",),
        (r"\sum_{i=1}^{100000000} i^i",), ("(a+b+c+d+e)^{60}",), (r"\sin(10^{10^{10}})",), (r"\cosh(10^9)",),
        (r"2^{\frac{10^{12}}{7}}",), ("(1+10^{-30})^{10^{12}}",), (r"\begin{pmatrix}9^{9^9}\end{pmatrix}",),
        ("(" * 140 + "1" + ")" * 140,), ("|" * 200,), ("7" * 100_000,), ("{" * 50_000 + "}" * 50_000,),
    )  # fmt: skip

    @pytest.mark.parametrize("answer", HOSTILE)
    def test_hostile_answers_are_wrong_at_once(self, answer):
        grade_box("x+1", "x+1")  # not the first call, which builds the grammar
        start = time.process_time()
        assert grade_box(answer, "x^2+1") == 0.0
        assert time.process_time() - start < 1.0

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


class TestExactMatch:
    # To the letter, except for what an option forgives
    @pytest.mark.parametrize(
        "options, completion, solution, reward",
        cases(
            ({}, "Paris", "Paris", 1.0),
            ({}, " Paris\n", "Paris", 1.0),
            ({}, "<think>Rome?</think>Paris", "Paris", 1.0),
            ({}, "<think>Paris", "Paris", 0.0),
            ({}, "<think>\nParis", "Paris", 0.0),
            ({}, "Paris.", "Paris", 0.0),
            ({}, "Paris or Rome", "Paris", 0.0),
            ({}, "paris", "Paris", 0.0),
            ({}, "", "Paris", 0.0),
            ({}, "7", 7, 1.0),
            ({}, "7.0", 7, 0.0),
            ({"strip": False}, "Paris ", "Paris", 0.0),
            ({"strip": False}, "Paris ", "Paris ", 1.0),
            ({"ignore_case": True}, "PARIS", "Paris", 1.0),
            ({"answer_pattern": r"Answer: ([A-D])\b"}, "Answer: A. No: Answer: B", "B", 1.0),
            ({"answer_pattern": r"Answer: ([A-D])\b"}, "Answer: A. No: Answer: B", "A", 0.0),
            ({"answer_pattern": r"Answer: ([A-D])\b"}, "Answer: ABCD", "A", 0.0),
            ({"answer_pattern": r"Answer: ([A-D])\b"}, "B", "B", 0.0),
            ({"answer_pattern": r"[A-D]$"}, "It is B", "B", 1.0),
        ),
    )
    def test_rewards(self, options, completion, solution, reward):
        assert grade(ExactMatchReward(**options), completion, solution) == reward

    # An empty reference would reward silence
    @pytest.mark.parametrize("solution", cases(("",), ("  ",), (True,), (0.5,), (["Paris"],)))
    def test_unreadable(self, solution):
        assert grade(exact_match_reward, "", solution) is None

    @pytest.mark.parametrize("pattern, message", cases(("(", "no regular expression"), ("(a)(b)", "2 groups")))
    def test_bad_pattern(self, pattern, message):
        with pytest.raises(ValueError, match=message):
            ExactMatchReward(answer_pattern=pattern)


def long_and_known(completion, reference):
    """A verifier of two columns."""
    return Verdict(len(completion) >= reference["length"] and completion in reference["known"], "")


class TestAdapter:
    # The last assistant message counts: not the tool's, nor the user's
    @pytest.mark.parametrize(
        "completion, reward",
        cases(
            ([{"role": "assistant", "content": r"\boxed{72}"}], 1.0),
            ([{"content": r"\boxed{72}"}], 1.0),
            ([{"role": "assistant", "content": [{"type": "text", "text": r"\boxed{72}"}]}], 1.0),
            ([{"role": "assistant", "content": r"\boxed{72}"}, {"role": "tool", "content": "71"}], 1.0),
            ([{"role": "tool", "content": r"\boxed{72}"}], 0.0),
            ([{"role": "assistant", "content": r"\boxed{72}"}, {"role": "assistant", "content": "Hm."}], 0.0),
            ([{"role": "assistant", "content": None, "tool_calls": []}], 0.0),
            ([], 0.0),
        ),
    )
    def test_conversational(self, completion, reward):
        assert grade(math_reward, completion, "72") == reward

    def test_completion_of_another_type(self):
        with pytest.raises(TypeError, match="list of message dicts"):
            grade(math_reward, 72, "72")

    # None is not 0.0: the row is another verifier's, and is neither graded nor counted
    def test_rows_of_others_and_extra_arguments(self):
        metrics = []
        rewards = math_reward(
            prompts=["a", "b", "c"],
            completions=[r"\boxed{72}", r"\boxed{72}", r"\boxed{5}"],
            completion_ids=[[1], [2], [3]],
            solution=["72", None, "72"],
            level=[1, 2, 3],
            trainer_state=object(),
            log_extra=lambda column, values: None,
            log_metric=lambda name, value: metrics.append((name, value)),
            environments=None,
        )
        assert rewards == [1.0, None, 0.0]
        assert metrics == [("math_reward/unreadable", 0.0)]

    def test_unreadable_is_counted_and_warned_of_once(self, caplog):
        metrics = []
        reward = MathReward()
        for _ in range(2):
            rewards = reward(
                prompts=["a"] * 3,
                completions=[r"\boxed{1}"] * 3,
                solution=["", "1", r"\frac{1}{0}"],
                log_metric=lambda name, value: metrics.append((name, value)),
            )
            assert rewards == [None, 1.0, None]
        assert metrics == [("math_reward/unreadable", 2.0)] * 2
        assert [record.getMessage().count("it is empty") for record in caplog.records] == [1]

    def test_missing_column(self):
        with pytest.raises(ValueError, match=r"math_reward .* 'solution' \(found: answer\).* Add or rename"):
            math_reward(prompts=["a"], completions=["b"], answer=["72"])

    def test_column_of_another_length(self):
        with pytest.raises(ValueError, match="2 values of the column 'solution' for 1 completions"):
            math_reward(prompts=["a"], completions=["b"], solution=["72", "72"])

    def test_several_columns(self):
        reward = VerifierReward(long_and_known, columns=("length", "known"))
        columns = {"length": [3, 3, None], "known": ["abc d", "d", "abc"]}
        assert reward(prompts=[""] * 3, completions=["abc"] * 3, **columns) == [1.0, 0.0, None]
        assert get_callable_name(reward) == "long_and_known"

    # A verifier that breaks must stop the run: 0.0 would teach the model that it was wrong
    def test_errors_of_a_verifier_surface(self):
        with pytest.raises(KeyError):
            VerifierReward(long_and_known, columns=("solution", "known"))([""], [""], solution=[1], known=[""])

    @pytest.mark.parametrize("columns, error", cases(("solution", TypeError), ((), ValueError)))
    def test_bad_columns(self, columns, error):
        with pytest.raises(error, match="columns"):
            VerifierReward(long_and_known, columns=columns)

    # TRL's asynchronous workers receive their rewards pickled
    @pytest.mark.parametrize(
        "reward",
        [math_reward, exact_match_reward, MathReward(answer="boxed_or_final"), ExactMatchReward(ignore_case=True)],
    )
    def test_pickle(self, reward):
        copy = pickle.loads(pickle.dumps(reward))
        completions = [r"\boxed{72}", "72", "71"]
        arguments = {"prompts": [""] * 3, "completions": completions, "solution": ["72"] * 3}
        assert copy(**arguments) == reward(**arguments)
        assert copy.columns == reward.columns == ("solution",)

    def test_names(self):
        assert [get_callable_name(r) for r in (math_reward, exact_match_reward)] == [
            "math_reward",
            "exact_match_reward",
        ]

    # Verifiers run in workers that should start fast. The package itself is stubbed: it imports the trainer
    def test_imports_neither_torch_nor_trl(self):
        import trl_copd.rewards as rewards

        code = (
            "import sys, types; package = types.ModuleType('trl_copd'); "
            f"package.__path__ = [{rewards.__path__[0].rpartition('rewards')[0]!r}]; "
            "sys.modules['trl_copd'] = package; import trl_copd.rewards; "
            "print(sorted({'torch', 'trl', 'transformers'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"
