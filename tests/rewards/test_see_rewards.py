"""Rewards for questions about pictures: what is an answer, what is near enough, what is neither."""

import pickle

import pytest

from trl_copd.rewards import (
    CountReward,
    IoUReward,
    NumberReward,
    OCRReward,
    count_reward,
    iou_reward,
    number_reward,
    ocr_reward,
)


def grade(reward, completion, solution):
    return reward(prompts=[""], completions=[completion], solution=[solution])[0]


NEAR, SHARE, LOOSE = NumberReward(tolerance=0.5), NumberReward(relative=0.05), OCRReward(max_error=0.2)
PARTIAL_BOX, PARTIAL_TEXT = IoUReward(partial_credit=True), OCRReward(partial_credit=True)
INF, NAN = float("inf"), float("nan")
BOX, TEXT = [0, 0, 10, 10], "EXIT 12"

# reward, solution, completions that pass
RIGHT = [
    # the answer alone, in tags, behind a mark; a repeated number is one number
    (number_reward, 42, "42", "3 times 14, so the answer is 42.", "<think>maybe 7</think>42", "It is 42, yes, 42."),
    (number_reward, "42", "I see 3 rows. <answer>42</answer>"),
    (number_reward, 1250, "1,250"),
    (number_reward, -4.5, "−4.5"),
    (number_reward, 1000, "Answer: **1e3**"),
    (number_reward, 0.5, ".5"),
    # bounds are inclusive
    (NEAR, 42, "41.5"),
    (SHARE, 100, "105"),
    (SHARE, 0, "0"),
    (count_reward, 3, "three", "There are 3 circles: three.", "3.0"),
    (count_reward, 0, "None of them."),
    (count_reward, "12", "Twelve"),
    # numbers in words, and in digits with a word, are read as a whole
    (count_reward, 31, "thirty-one", "Thirty one.", "31, that is thirty-one"),
    (count_reward, 100, "one hundred", "a hundred", "Hundred"),
    (count_reward, 103, "a hundred and three", "one hundred three"),
    (count_reward, 24, "two dozen", "2 dozen", "twenty-four"),
    (count_reward, 12, "a dozen eggs"),
    (count_reward, 3000, "3 thousand", "three thousand"),
    (count_reward, 215_117, "two hundred and fifteen thousand one hundred seventeen"),
    (
        count_reward,
        3,
        "3 half-circles",
        "The third row has three.",
        "Half of the picture shows 3 dogs.",
        "three, three",
    ),
    (count_reward, 4, "four quarters", "4 quarters"),
    (number_reward, 5_000_000, "5 million", "5 million, that is 5,000,000"),
    (number_reward, 1.5e9, "1.5 billion", "1.5 bn"),
    (number_reward, -5, "minus 5", "negative 5", "minus 5, that is -5"),
    (number_reward, 42, "Of the three bars, the tallest is 42.", "In one half of the hundreds of rows it is 42"),
    (iou_reward, BOX, "[0, 0, 10, 10]", "[0, 0, 10, 5]"),  # the latter exactly a half
    (iou_reward, "[0, 0, 10, 10]", "<answer>(0,0,10,10)</answer>"),
    (ocr_reward, TEXT, TEXT, "<answer>EXIT\n 12</answer>", "ＥＸＩＴ 12"),  # wide letters
    (OCRReward(ignore_case=True), TEXT, "exit 12"),
    # one of five is wrong, or one too many
    (LOOSE, "hello", "hallo", "hello!"),
]
# reward, solution, completions that fail
WRONG = [
    # several candidates, none, reasoning that was cut off, parts of words and of longer numbers
    (number_reward, 42, "41 or 42", "many", "", "<think>42", "x42", "1.2.42", "1e999", "nan", "4 2", "-42"),
    (number_reward, 42, "42 <answer>41</answer>", "<answer>42</answer> or <answer>41</answer>"),
    (number_reward, 42, "<answer>" * 20_000, "9" * 5000),
    (number_reward, 1.2, "1.2.42"),
    (NumberReward(tolerance=100.0), 4, "1 2 3 4 5 6 7"),
    (NumberReward(tolerance=1e9), 42, "inf"),
    (NEAR, 42, "41.49"),
    (SHARE, 100, "-100"),
    # guesses in a row, a count beside its neighbour
    (count_reward, 3, "1, 2, 3, 4", "two or three", "3.5", "-3"),
    (count_reward, 1, "someone"),
    # a part of a number in words is none
    (count_reward, 1, "thirty-one", "one hundred", "one hundredth", "one half", "one third", "one point one"),
    (count_reward, 1, "one-half", "thirty and one", "twenty-first", "one and a half", "one million", "hundred one"),
    (count_reward, 3, "a hundred and three", "3 thousand", "three-quarters", "3 and a half", "three point three"),
    (count_reward, 3, "3 ½", "3 × 10⁶", "three tenths", "thirty three", "minus three", "3 hundreds", "three dozens"),
    (count_reward, 5, "forty five", "forty-five", "five tens", "5 mn", "fifty five", "5 minus 5"),
    (count_reward, 2, "two dozen", "two thirds", "two hundred"),
    (count_reward, 20, "twenty-five", "twenty fifth", "twenty-odd", "twenty-something", "twenty hundred"),
    (count_reward, 100, "a hundred and one", "a hundred and first", "hundreds", "half a hundred", "hundred hundred"),
    (count_reward, 6, "half a dozen"),  # not read
    (
        number_reward,
        5,
        "5 million",
        "minus 5",
        "5 hundred",
        "5 and a half",
        "thirty 5",
        "5-thousand",
        "5 ½",
        "5 dozen",
    ),
    (number_reward, 5, "negative 5", "5 × 10⁶", "a hundred and 5", "5 minus 5", "5 thousands", "5 crore", "5 dozen"),
    # too small, a box around everything, boxes in a row, apart, inside out, without an area
    (iou_reward, BOX, "[0, 0, 10, 4.9]", "[0, 0, 1000, 1000]", "[0, 0, 1e300, 1e300]", "[0,0,10,10] [0,0,10,9]"),
    (iou_reward, BOX, "[20, 20, 30, 30]", "[10, 10, 0, 0]", "[0, 0, 0, 0]"),
    # too few or many numbers, or such as are none
    (iou_reward, BOX, "[0, 0, 10]", "[0, 0, 10, 10, 10]", "[nan, 0, 10, 10]", "[" + "9" * 400 + ", 0, 10, 10]"),
    (iou_reward, BOX, "<think>[0, 0, 10, 10]"),
    (IoUReward(threshold=1.0), BOX, "[0, 0, 10, 10.1]"),
    (ocr_reward, TEXT, "exit 12", "EXIT 12 EXIT 13 EXIT 14", "<think>EXIT 12"),
    (LOOSE, "hello", "hallu", ""),
    (OCRReward(max_error=0.99), "hello", "hello" * 400),
]
# reward, completion, solutions that cannot be read
UNREADABLE = [
    (number_reward, "42", "forty-two", NAN, True, 10**400, [1], "", None),
    (count_reward, "3", 3.5, -3, "many"),
    (iou_reward, "[0, 0, 1, 1]", [0, 0, 0, 0], [0, 0, 1], ["0", "0", "1", "1"], [0, 0, INF, 1], "box"),
    (ocr_reward, "12", "", " \n", 12, "a" * 2000),
]
PARTLY = [
    (PARTIAL_BOX, "[0, 0, 10, 4]", BOX, 0.4),
    (PARTIAL_BOX, "[5, 5, 15, 15]", BOX, 25 / 175),
    (PARTIAL_TEXT, "hallu", "hello", 0.6),
]
CASES = [(reward, completion, solution, 1.0) for reward, solution, *completions in RIGHT for completion in completions]
CASES += [
    (reward, completion, solution, 0.0) for reward, solution, *completions in WRONG for completion in completions
]
CASES += [
    (reward, completion, solution, None) for reward, completion, *solutions in UNREADABLE for solution in solutions
]


@pytest.mark.parametrize("reward, completion, solution, expected", CASES + PARTLY)
def test_grades(reward, completion, solution, expected):
    found = grade(reward, completion, solution)
    assert found == (None if expected is None else pytest.approx(expected))
    assert found is None or isinstance(found, float)


def test_settings_under_which_everything_would_pass_are_refused():
    for make in (
        lambda: NumberReward(tolerance=-1),
        lambda: NumberReward(tolerance=float("inf")),
        lambda: NumberReward(relative=1.0),
        lambda: NumberReward(tolerance=float("nan")),
        lambda: IoUReward(threshold=0.0),
        lambda: IoUReward(threshold=1.1),
        lambda: OCRReward(max_error=1.0),
    ):
        with pytest.raises(ValueError, match="must be"):
            make()


def test_they_travel_to_other_processes():
    for reward, completion, solution in (
        (SHARE, "104", 100), (CountReward(), "two", 2), (IoUReward(0.9), "[0,0,1,1]", [0, 0, 1, 1]), (LOOSE, "a", "a"),
    ):  # fmt: skip
        assert grade(pickle.loads(pickle.dumps(reward)), completion, solution) == 1.0
