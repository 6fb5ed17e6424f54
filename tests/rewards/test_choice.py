r"""`choice_reward` against hand-made rows. Where nothing else is said, the solution is "B"."""

import time

import pytest

from trl_copd.rewards.choice import ChoiceReward, choice_reward


def grade(completion, solution="B", reward=choice_reward):
    return reward(prompts=["?"], completions=[completion], solution=[solution], completion_ids=[[1]])[0]


class TestStated:
    # The ways in which models state a letter, each in its own line of the documented table
    @pytest.mark.parametrize(
        "completion",
        [
            "B", "b", "B.", "(B)", "[B]", "**B**", "`B`", "**(B)**", "Option B", "（Ｂ）",
            r"\boxed{B}", r"$\boxed{B}$", r"\boxed{(B)}", r"\boxed{\text{B}}", r"\boxed{\textbf{(B)}}", r"\boxed{b}",
            r"\fbox{B}", r"\boxed{B) Paris}", "<answer>B</answer>", "<answer>\n(B)\n</answer>", "#### B",
            "Answer: B", "answer: b", "Answer:B", "Answer = B", "**Answer:** B", "**Answer: B**", "Answer:\n\n**B**",
            "The answer is B.", "The answer is (B).", "The answer is **B**", 'The answer is "B".', "My answer is `B`.",
            "The answer is option B.", "The correct answer is: B", "The correct option is B", "Final answer: **B**",
            "The answer is **(B) Paris**.", "Answer: B) Paris", "Answer: B. Paris", "Answer: (B) Paris", "B) Paris",
            "(B) Paris", "B. Paris", "Answer: B - Paris", "The answer is B because it is a capital.",
            "The answer is B, since it is a capital.", "Answer: B because A, C, D are wrong", "My choice: B",
            r"\boxed{\textbf{(B)}\ 12}", r"$\boxed{\textbf{(B) }\frac{1}{2}}$", r"\boxed{\textbf{(B)}~12}",
        ],
    )  # fmt: skip
    def test_accepted(self, completion):
        assert grade(completion) == 1.0
        assert grade(completion, "C") == 0.0

    # Options that are numbers, of one digit too, and formulas; math delimiters; "is correct" behind the letter
    @pytest.mark.parametrize(
        "completion",
        [
            "Answer: B) 5", "**B) 5**", r"\boxed{B) 5}", r"\boxed{B) 3.5}", "Answer: B. 7", "Answer: (B) 0",
            "Answer: B: -1",
            "Answer: B - 5", "The answer is B) 5.", "B) 5", "(B) $5$", r"\boxed{(B)\ 5}", r"B) \(5\)", "Answer: B (5)",
            r"\(B\)", r"\[B\]", r"The answer is \(B\).", r"\(\boxed{B}\)", r"**\(B\)**", r"Answer: \( \text{B} \)",
            "Option B is correct.", "Option (B) is correct", "**Option B** is correct.", "B is correct.",
            "(B) is right!",
            "So option B is the correct answer.", "Option A is wrong. Option B is correct.",
            "B is the correct choice.",
            "Option A fails, so option B is the right one.", "Therefore, B is correct.",
            "Answer: option B is correct.", "Hence, option (B) is correct.", "Answer: (B)5", "Ans: B",
            "Answer choice B is correct.", "B) 1,000", "Answer: B) 5 cm", r"\boxed{B) \frac{1}{2}}", "B) x = 5",
            r"The final answer is: $\boxed{\text{(B) } 5}$", "Answer: B) 2 or 3", "Answer: B) 5 and 6", "B) -5",
            "I checked all of them.\nOption B is correct because 2 + 3 = 5.",
            "Option B is correct.\n\nI hope this helps!",
            "B is the answer.", "Thus, (B) is the answer.", "Answer: b) 5", "answer:b) Paris", "Answer: B) P is true",
        ],
    )  # fmt: skip
    def test_numbers_and_is_correct(self, completion):
        assert grade(completion) == 1.0
        assert grade(completion, "C") == 0.0

    # Beside them: letters as options, several that are correct, denied or asked, letters of prose
    @pytest.mark.parametrize(
        "completion",
        [
            "Answer: A) B", "Answer: B) A", r"\boxed{B) C}", "Answer: B (A)", "Answer: B (or C)", "Answer: B5",
            "Answer: B 5",
            "Answer: 5) B", "Answer: B) 5 or C) 6", r"\(A\), \(B\)", r"\(A\) or \(B\)", r"\(AB\)",
            r"\boxed{B) 5, C) 6}",
            "Option B is correct. Option C is correct.", "Option B or option C is correct.", "Option B is correct?",
            "Neither option A nor option B is correct.", "I don't think option B is correct.",
            "Option B is incorrect.",
            "Option B is not correct.", "If option B is correct", "If B is true, option B is correct",
            "A, B is correct.",
            "Both A and B is correct.", "Vitamin B is correct.", "Option B is correct. Or C.", "Is option B correct?",
            "Option B is correct. No wait, C.", "Option B is correct only for x > 0",
            "It is false that option B is correct.",
            "It's not the case that\nB is correct.", "Answer: not B", "Answer: B? or C?",
            "Either option B is correct or not.",
            "Option B is correct.\nNo, wait: C.", "I doubt option B is correct.", "Answer: 5", "Answer: Bob",
            "option b is correct for most", "Option B is correct, but so is C", "A or B is correct.",
            "Answer: B) 5 (but C is also possible)", "Answer: B (C would also be accepted)", "Answer: B) 5, C too",
            "Neither A nor B is the answer.", "B is not the answer.", "Answer: b. 5", "Vitamin B is the answer.",
        ],
    )  # fmt: skip
    def test_numbers_and_is_correct_refused(self, completion):
        assert grade(completion) == 0.0

    # Where the solution gives the number, another number is another answer
    def test_numbers_of_the_solution(self):
        assert [grade(f"Answer: {text}", "B) 5") for text in ("B) 5", "B. 5", "(B) $5$", "B")] == [1.0] * 4
        assert [grade(f"Answer: {text}", "B) 5") for text in ("B) 3.5", "B) 6", "C) 5", "5")] == [0.0] * 4

    # The last answer counts, wherever the letters occur before it
    @pytest.mark.parametrize(
        "completion, reward",
        [
            ("<think>A? C? \\boxed{A}</think> \\boxed{B}", 1.0),
            ("A dog, I see. C is out.\n\nB", 1.0),
            ("Answer: A\nNo, wait.\nAnswer: B", 1.0),
            ("Answer: B\nNo, wait.\nAnswer: A", 0.0),
            (r"\boxed{A}, no, \boxed{B}", 1.0),
            (r"\boxed{B}, no, \boxed{A}", 0.0),
            (r"\boxed{B} and then \boxed{", 1.0),  # cut off: what was stated before it counts
            (r"\boxed{B} and then \boxed{A", 1.0),
            (r"\boxed{A}. Answer: B", 1.0),
            ("Answer: A\n\nB", 1.0),
            ("The options:\nA) London\nB) Paris\n\nAnswer: B", 1.0),
            ("Answer: B\n\nThanks", 1.0),
            ("Answer: B\n\nI hope this helps!", 1.0),
            ("Answer: B\n\nNo other option fits: A and C are too large.", 1.0),
            ("Answer: B\n\nOr in words: a dog. Perhaps I should add a reason.", 1.0),  # a and I as words
            ("Answer: B\nThat is, maybe not the best, but B.", 1.0),
            ("It is not A, so the answer is B", 1.0),
            ("I don't think the answer is A.\n\nB", 1.0),
            ("If the answer is A, x = 1, which is wrong.\nThe answer is B.", 1.0),
            (r"<think>\boxed{B}", 0.0),
            (r"\boxed{B}</think>", 0.0),
        ],
    )
    def test_last(self, completion, reward):
        assert grade(completion) == reward


class TestRefused:
    # Letters in prose are no answers, and neither is a letter that something unclear follows
    @pytest.mark.parametrize(
        "completion",
        [
            "", "A dog. B", "B dog", "B is what I like", "I would say B", "Be careful", "The answer is Bob", "Bob",
            "Answer: B-52", "Answer: B2", "B+", "Answer: B dogs", "The answer is not B", "¬B", "not B", "~B",
            "Answer: none", "Answer: Both", "Answer: see above", r"\boxed{}", r"\boxed{B", "<answer>B", "Option",
            "Answer: A dog sits on B", "Answer: I think B or so", "В", "Answer: neither A nor B",
        ],
    )  # fmt: skip
    def test_prose(self, completion):
        assert grade(completion) == 0.0

    def test_a_dog_is_no_answer_a(self):
        for text in ("A dog", "The answer is A dog", "Answer: A dog", "A", "The answer is A."):
            assert grade(text, "A") == float(text in ("A", "The answer is A."))
        assert grade("I am sure", "I") == 0.0
        assert grade("The answer is a bit unclear", "A") == 0.0

    # More than one choice is none, however it is joined, also where the right one is the last or the first
    @pytest.mark.parametrize(
        "completion",
        [
            "A or B", "B or A", "A, B", "A/B", "A and B", "A & B", "A|B", "AB", "A B", "B B", "BB", "ABCD", "(A)(B)",
            "(A) (B)", "A. B", "A\nB", "A\nB\nC\nD", "A) London\nB) Paris", "All of A, B, C",
            r"\boxed{A, B}", r"\boxed{AB}", r"\boxed{A \text{ or } B}", r"\boxed{B} or C", r"\boxed{B}, or maybe (C)",
            "The answer is A or B.", "Answer: B or C", "Answer: B, C", "Answer: B/C", "Answer: (B) or (C)",
            "Answer: B) or C)", "Answer: B (or C)", "Answer: B. Or maybe C.", "Answer: B\nor C", "B?? or A??",
            "Is it B? No, C.", "Answer: B\nAnswer: C", "<answer>A</answer><answer>B, C</answer>",
        ],
    )  # fmt: skip
    def test_hedges(self, completion):
        assert grade(completion) == 0.0

    # Another letter on the next line, or an answer that is taken back
    @pytest.mark.parametrize(
        "after",
        ["\nOr A.", "\nOr C.", "\nMaybe (A)?", "\nOr I", "\nNo wait, it is C.", "\n\nActually, C", ". No, it is C.",
         " Actually C", "\n" * 1_000 + "Or A."],
    )  # fmt: skip
    def test_second_thoughts(self, after):
        assert grade(f"Answer: B{after}") == 0.0
        assert grade(f"Answer: B{after}", "C") == 0.0

    # An explanation may join other letters by "or"
    @pytest.mark.parametrize(
        "after",
        [
            "The other options (A, C or D) are wrong.", "Reason: vitamin A or C deficiency causes something else.",
            "Mitochondria make ATP. Neither the nucleus (A) nor the ribosome (C) or Golgi (D) does.",
            "Others, like A or C, are too large.", "London (A), Rome (C), or Oslo (D) is no capital of France.",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("answer", ["Answer: B", r"\boxed{B}", "<answer>B</answer>", "Answer: B) Paris"])
    def test_explanations(self, answer, after):
        assert grade(f"{answer}\n\n{after}") == 1.0
        assert grade(f"{answer}\n\n{after}", "C") == 0.0

    # What proposes them, or begins with them, is none
    @pytest.mark.parametrize(
        "after",
        [
            "It is B or C.", "It is B, Paris, or C.", "It is b, D or C", "It is B (3.5), D or C", "D or C", "D. Or C.",
            "It is D or C.", "It's D or C.", "The answer might be A or C.", "Either A or C.", "(or C)",
            "It is Paris or C.", "I think or C", "I see A or C too.", "A or C also fit.",
            "It could be D.\nOr C.", "The others, A or C, are possible.",
        ],
    )  # fmt: skip
    def test_explanations_that_hedge(self, after):
        assert grade(f"Answer: B\n\n{after}") == 0.0
        assert grade(rf"\boxed{{B}}. {after}") == 0.0

    # Answers joined on one line are several, of which the last one must not count
    @pytest.mark.parametrize(
        "completion",
        [
            r"\boxed{B} \text{ or } \boxed{D}", r"$\boxed{C}$ or $\boxed{D}$",
            r"\boxed{A}, \boxed{B}, \boxed{C}, \boxed{D}", r"\boxed{B}\boxed{D}", r"$\boxed{A}$ $\boxed{D}$",
            "<answer>A</answer> <answer>D</answer>",
            "The answer is A, the answer is B, the answer is C, the answer is D", "The answer is A or the answer is D",
            "<answer>A</answer>, <answer>D</answer>", r"The answer is B. Or \boxed{D}",
        ],
    )  # fmt: skip
    def test_joined(self, completion):
        assert grade(completion, "D") == 0.0
        assert grade(completion.replace("D", "B"), "D") == 0.0

    # A sentence that denies or supposes an answer states none
    @pytest.mark.parametrize(
        "before",
        [
            "I don't think",
            "I do not believe that",
            "I'm not sure",
            "I doubt that",
            "If",
            "I wonder whether",
            "Suppose",
        ],
    )
    def test_denied(self, before):
        assert grade(f"{before} the answer is B") == 0.0
        assert grade(f"{before} the correct answer is B.") == 0.0

    # Listing the options is not choosing the last of them
    def test_list_of_options(self):
        assert grade("A) London\nB) Paris\nC) Rome\nD) Oslo", "D") == 0.0
        assert grade("A\nB\nC\nD", "D") == 0.0


class TestSolution:
    @pytest.mark.parametrize(
        "solution", ["B", "b", "(B)", "B.", "B)", "**B**", r"\text{B}", " B ", "Option B", "choice (b)", r"\boxed{B}",
                     r"$\boxed{\text{(B)}}$", "The answer is (B).", "#### B", "<answer>B</answer>",
                     "2 + 2 = 4.\nAnswer: B", "Option B is correct."],
    )  # fmt: skip
    def test_letter(self, solution):
        assert grade("Answer: B", solution) == 1.0
        assert grade("Answer: C", solution) == 0.0

    # Where the solution gives the option's text, an answer that gives one too must give the same
    @pytest.mark.parametrize(
        "solution", ["B) Paris", "(B) Paris", "B. Paris", "B: Paris", "B - Paris", r"\boxed{B) Paris}"]
    )
    def test_letter_with_option(self, solution):
        assert [grade(f"Answer: {text}", solution) for text in ("B", "B) Paris", "(B) paris.")] == [1.0] * 3
        assert [grade(f"Answer: {text}", solution) for text in ("C", "B) London", "C) Paris")] == [0.0] * 3

    # No letter can be read from these. The completion has no say in it
    @pytest.mark.parametrize(
        "solution",
        [
            "Paris",
            "",
            "AB",
            "A, B",
            "A dog",
            "7",
            "?",
            1,
            True,
            ["B"],
            "A or B",
            "A) 5 or B) 6",
            r"\boxed{A} or \boxed{B}",
            "The answer is not B",
            "Option 2",
        ],
    )
    @pytest.mark.parametrize("completion", ["B", "", "Paris"])
    def test_unreadable(self, solution, completion):
        assert grade(completion, solution) is None

    def test_row_of_another_domain(self):
        assert grade("B", None) is None


class TestMultiple:
    reward = ChoiceReward(multiple=True)

    @pytest.mark.parametrize("solution", [["A", "C"], ["C", "A"], "A, C", "AC", r"\boxed{A, C}"])
    @pytest.mark.parametrize("answer", ["A, C", "C, A", "AC", "A and C", "(A), (C)", "A C", "A; C", "A & C"])
    def test_exactly_the_set(self, solution, answer):
        assert grade(rf"\boxed{{{answer}}}", solution, self.reward) == 1.0
        assert grade(f"Answer: {answer}", solution, self.reward) == 1.0

    # Too few, too many, alternatives, repetitions, prose
    @pytest.mark.parametrize("answer", ["A", "C", "A, B, C", "ABCD", "A or C", "A, C, A", "A dog and C", "AD", ""])
    def test_other_sets(self, answer):
        assert grade(f"Answer: {answer}", "AC", self.reward) == 0.0

    # The marks in the plural, which words without letters are not
    @pytest.mark.parametrize("letters", ["A and C", "A, C", "(A) and (C)", "**A**, **C**", "AC", "$A$ and $C$"])
    @pytest.mark.parametrize(
        "mark", ["The correct answers are", "Answers:", "**Answers:**", "The correct options are", "Correct choices:",
                 "My choices:", "Answer: B, D\nNo, the answers are"],
    )  # fmt: skip
    def test_plural(self, mark, letters):
        assert grade(f"{mark} {letters}.", "AC", self.reward) == 1.0
        assert grade(f"{mark} {letters}.\nThe other answers are wrong.", "AC", self.reward) == 1.0
        assert grade(f"{mark} {letters}.", "AB", self.reward) == 0.0
        assert grade(f"{mark} {letters}.", "A") == 0.0  # one letter is asked for

    @pytest.mark.parametrize(
        "answer", ["The answers are not A and C.", "I don't think the answers are A and C",
                   "The wrong answers are A and C.", "If the answers are A and C", "Answers: A or C",
                   "Answers: A, C or D", "None of the answers are A, C",
                   "The answers are A and C.\nOr only A.",
                   "The incorrect options are A and C."],
    )  # fmt: skip
    def test_plural_refused(self, answer):
        assert grade(answer, "AC", self.reward) == 0.0

    # Several letters are one answer: boxes beside each other, or a second thought, leave open which
    @pytest.mark.parametrize(
        "answer", [r"\boxed{A}, \boxed{C}", r"\boxed{C} or \boxed{A, C}", "Answer: A, C\nOr only A."]
    )
    def test_second_thoughts(self, answer):
        assert grade(answer, "AC", self.reward) == 0.0

    def test_one_letter(self):
        assert grade("Answer: A", ["A"], self.reward) == 1.0
        assert grade("Answer: A, B", ["A"], self.reward) == 0.0

    @pytest.mark.parametrize("solution", [[], [1], "", "A or B", "Paris and Rome"])
    def test_unreadable(self, solution):
        assert grade("Answer: A", solution, self.reward) is None


# Long and repetitive texts take no time to speak of
@pytest.mark.parametrize(
    "text", ["answer: " * 20_000, "\\boxed{" * 20_000, "<answer>" * 20_000, "(B" * 50_000, "B, " * 50_000,
             "answer is " + "B or " * 30_000, "\\text{" * 30_000, "or " * 50_000 + "(B)", "\n" * 100_000,
             "B" * 100_000, "answer" + " " * 100_000, "answer" + "*" * 100_000,
             "Answer: B, " + " " * 100_000 + "or C", "Answer: B\nor C " + "or " * 50_000,
             "if the " * 20_000 + "answer is B"],
)  # fmt: skip
def test_linear(text):
    start = time.process_time()
    assert grade(text) == 0.0
    assert time.process_time() - start < 1.0
