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


NEAR = NumberReward(tolerance=0.5)
SHARE = NumberReward(relative=0.05)
NUMBERS = [
    # the answer alone, in tags, behind a mark; a repeated number is one number
    (number_reward, "42", 42, 1.0),
    (number_reward, "I see 3 rows. <answer>42</answer>", "42", 1.0),
    (number_reward, "3 times 14, so the answer is 42.", 42, 1.0),
    (number_reward, "<think>maybe 7</think>42", 42, 1.0),
    (number_reward, "It is 42, yes, 42.", 42, 1.0),
    (number_reward, "1,250", 1250, 1.0),
    (number_reward, "−4.5", -4.5, 1.0),
    (number_reward, "Answer: **1e3**", 1000, 1.0),
    (number_reward, ".5", 0.5, 1.0),
    # bounds are inclusive, and the sign counts
    (NEAR, "41.5", 42, 1.0),
    (NEAR, "41.49", 42, 0.0),
    (SHARE, "105", 100, 1.0),
    (SHARE, "-100", 100, 0.0),
    (SHARE, "0", 0, 1.0),
    (number_reward, "-42", 42, 0.0),
    # several candidates, none, reasoning that was cut off, parts of words and of longer numbers
    (number_reward, "41 or 42", 42, 0.0),
    (NumberReward(tolerance=100.0), "1 2 3 4 5 6 7", 4, 0.0),
    (number_reward, "many", 42, 0.0),
    (number_reward, "", 42, 0.0),
    (number_reward, "<think>42", 42, 0.0),
    (number_reward, "x42", 42, 0.0),
    (number_reward, "1.2.42", 42, 0.0),
    (number_reward, "1e999", 42, 0.0),
    (number_reward, "nan", 42, 0.0),
    (NumberReward(tolerance=1e9), "inf", 42, 0.0),
    (number_reward, "4 2", 42, 0.0),
    (number_reward, "1.2.42", 1.2, 0.0),
    (number_reward, "42 <answer>41</answer>", 42, 0.0),
    (number_reward, "<answer>42</answer> or <answer>41</answer>", 42, 0.0),
    (number_reward, "<answer>" * 20_000, 42, 0.0),
    (number_reward, "9" * 5000, 42, 0.0),
    # references that cannot be read
    (number_reward, "42", "forty-two", None),
    (number_reward, "nan", float("nan"), None),
    (number_reward, "1", True, None),
    (number_reward, "1", 10**400, None),
    (number_reward, "1", [1], None),
    (number_reward, "1", "", None),
    (number_reward, "1", None, None),
]
COUNTS = [
    (count_reward, "three", 3, 1.0),
    (count_reward, "There are 3 circles: three.", 3, 1.0),
    (count_reward, "None of them.", 0, 1.0),
    (count_reward, "Twelve", "12", 1.0),
    (count_reward, "3.0", 3, 1.0),
    # guesses in a row, a count beside its neighbour, a word within a word
    (count_reward, "1, 2, 3, 4", 3, 0.0),
    (count_reward, "two or three", 3, 0.0),
    (count_reward, "someone", 1, 0.0),
    (count_reward, "3.5", 3, 0.0),
    (count_reward, "-3", 3, 0.0),
    # no count
    (count_reward, "3", 3.5, None),
    (count_reward, "3", -3, None),
    (count_reward, "3", "many", None),
]
BOXES = [
    (iou_reward, "[0, 0, 10, 10]", [0, 0, 10, 10], 1.0),
    (iou_reward, "<answer>(0,0,10,10)</answer>", "[0, 0, 10, 10]", 1.0),
    (iou_reward, "[0, 0, 10, 5]", [0, 0, 10, 10], 1.0),  # exactly a half
    (iou_reward, "[0, 0, 10, 4.9]", [0, 0, 10, 10], 0.0),
    (IoUReward(partial_credit=True), "[0, 0, 10, 4]", [0, 0, 10, 10], 0.4),
    (IoUReward(partial_credit=True), "[5, 5, 15, 15]", [0, 0, 10, 10], 25 / 175),
    (IoUReward(threshold=1.0), "[0, 0, 10, 10.1]", [0, 0, 10, 10], 0.0),
    # a box around everything, boxes in a row, apart, inside out, without an area, with too few or many numbers
    (iou_reward, "[0, 0, 1000, 1000]", [0, 0, 10, 10], 0.0),
    (iou_reward, "[0, 0, 1e300, 1e300]", [0, 0, 10, 10], 0.0),
    (iou_reward, "[0,0,10,10] [0,0,10,9]", [0, 0, 10, 10], 0.0),
    (iou_reward, "[20, 20, 30, 30]", [0, 0, 10, 10], 0.0),
    (iou_reward, "[10, 10, 0, 0]", [0, 0, 10, 10], 0.0),
    (iou_reward, "[0, 0, 0, 0]", [0, 0, 10, 10], 0.0),
    (iou_reward, "[0, 0, 10]", [0, 0, 10, 10], 0.0),
    (iou_reward, "[0, 0, 10, 10, 10]", [0, 0, 10, 10], 0.0),
    (iou_reward, "[nan, 0, 10, 10]", [0, 0, 10, 10], 0.0),
    (iou_reward, "[" + "9" * 400 + ", 0, 10, 10]", [0, 0, 10, 10], 0.0),
    (iou_reward, "<think>[0, 0, 10, 10]", [0, 0, 10, 10], 0.0),
    # references without an area, of another length or type
    (iou_reward, "[0, 0, 0, 0]", [0, 0, 0, 0], None),
    (iou_reward, "[0, 0, 1, 1]", [0, 0, 1], None),
    (iou_reward, "[0, 0, 1, 1]", ["0", "0", "1", "1"], None),
    (iou_reward, "[0, 0, 1, 1]", [0, 0, float("inf"), 1], None),
    (iou_reward, "[0, 0, 1, 1]", "box", None),
]
LOOSE = OCRReward(max_error=0.2)
TEXTS = [
    (ocr_reward, "EXIT 12", "EXIT 12", 1.0),
    (ocr_reward, "<answer>EXIT\n 12</answer>", "EXIT 12", 1.0),
    (ocr_reward, "ＥＸＩＴ 12", "EXIT 12", 1.0),  # wide letters
    (OCRReward(ignore_case=True), "exit 12", "EXIT 12", 1.0),
    (ocr_reward, "exit 12", "EXIT 12", 0.0),
    # bounds are inclusive: one of five, two of five; insertions count as well
    (LOOSE, "hallo", "hello", 1.0),
    (LOOSE, "hello!", "hello", 1.0),
    (LOOSE, "hallu", "hello", 0.0),
    (OCRReward(partial_credit=True), "hallu", "hello", 0.6),
    # the text among others, nothing, far too much
    (ocr_reward, "EXIT 12 EXIT 13 EXIT 14", "EXIT 12", 0.0),
    (LOOSE, "", "hello", 0.0),
    (OCRReward(max_error=0.99), "hello" * 400, "hello", 0.0),
    (ocr_reward, "<think>EXIT 12", "EXIT 12", 0.0),
    # references that say nothing
    (ocr_reward, "", "", None),
    (ocr_reward, "", " \n", None),
    (ocr_reward, "12", 12, None),
    (ocr_reward, "a", "a" * 2000, None),
]


@pytest.mark.parametrize("reward, completion, solution, expected", NUMBERS + COUNTS + BOXES + TEXTS)
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
