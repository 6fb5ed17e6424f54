"""
One strict grader for each of reasoning-gym's tasks: whether an answer is right, never how nearly.

The tasks' own scorers pay up to full marks for some wrong answers, and some `eval` or `parse_expr` the answer (see
docs/rewards/gym.md). So most graders here are our own, and compare with the stated answer or check the answer against
the puzzle. A task's own scorer is asked only where it simulates a puzzle and was found sound; the answer must then
match a pattern first, and only full marks count.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ..strict_json import StrictJSONError, parse_json
from . import answers as read
from .expressions import ExpressionError, polynomial_terms
from .puzzles import (
    MAX_MOVES,
    STRINGS,
    Grader,
    antiderivative,
    boxnet,
    coloring,
    conclusion,
    letter_digits,
    palindrome,
    queens,
    rush_hour,
    scored,
    survo,
    uses_numbers,
)


MAX_CHARS = 20_000  # of an answer: the longest stated answers have about 5,000


# An entry holds `answer`, and of reasoning-gym's metadata what the task's grader needs
@dataclass(frozen=True)
class Task:
    """
    How one task of reasoning-gym is graded.

    Args:
        grade (`Callable[[str, Mapping], bool]`): Whether a stripped answer is right for an entry.
        needs (`tuple[str, ...]`): Keys of the generator's metadata that `grade` reads.
        stated (`str`, *optional*): Key of the metadata that holds an answer where the generator's `answer` is `None`.
    """

    grade: Grader
    needs: tuple[str, ...] = ()
    stated: str | None = None


# ---- one right answer ----


def same_text(answer: str, entry: Mapping[str, Any]) -> bool:
    """Equal but for white space: runs of it count as one, blank lines not at all."""
    return read.lines(answer) == read.lines(entry["answer"])


def same_word(answer: str, entry: Mapping[str, Any]) -> bool:
    """Equal but for white space and case."""
    return read.lines(answer.casefold()) == read.lines(entry["answer"].casefold())


def same_number(answer: str, entry: Mapping[str, Any]) -> bool:
    """Equal as decimal numbers, exactly: `1,000.0` is `1000`."""
    number = read.decimal(answer)
    return number is not None and number == read.decimal(entry["answer"])


def same_number_or_word(answer: str, entry: Mapping[str, Any]) -> bool:
    return same_number(answer, entry) or same_word(answer, entry)


def same_integer(answer: str, entry: Mapping[str, Any]) -> bool:
    """Equal integers, written in hexadecimal (`-0x1f`) or decimal."""
    match = re.fullmatch(r"(-?)(?:0x([0-9a-f]{1,1000})|([0-9]{1,1000}))", answer.lower())
    if not match:
        return False
    value = int(match[2], 16) if match[2] else int(match[3])
    return (-value if match[1] else value) == int(entry["answer"], 0)


def same_fraction(answer: str, entry: Mapping[str, Any]) -> bool:
    """The same numerator and denominator: an unreduced fraction is another answer. `3/4`, `\\frac{3}{4}`."""
    fraction = read.fraction(answer)
    return fraction is not None and fraction == read.fraction(entry["answer"])


def same_numbers(answer: str, entry: Mapping[str, Any]) -> bool:
    """The same numbers in the same order, as `[1, 2]` or `['1', '2']`."""
    numbers = read.number_list(answer)
    return numbers is not None and numbers == read.number_list(entry["answer"])


def same_words_in_list(answer: str, entry: Mapping[str, Any]) -> bool:
    return read.items(answer) == read.items(entry["answer"])


def same_json(answer: str, entry: Mapping[str, Any]) -> bool:
    """The same JSON value: `true` is not 1, and an object with a repeated key is no answer."""
    return read.typed(parse_json(answer)) == read.typed(json.loads(entry["answer"]))


def same_groups(answer: str, entry: Mapping[str, Any]) -> bool:
    """The same groups of words, in any order, and in any order within."""
    return read.nested(answer, sort=True) == read.nested(entry["answer"], sort=True)


def same_partitions(answer: str, entry: Mapping[str, Any]) -> bool:
    """The same lists of words, in any order; the order within one counts."""
    return read.nested(answer, sort=False) == read.nested(entry["answer"], sort=False)


def same_factors(answer: str, entry: Mapping[str, Any]) -> bool:
    """The same prime factors, in any order."""
    factors = [part.strip() for part in re.split("[×*x]", answer)]
    stated = [int(part) for part in entry["answer"].split("×")]
    return all(re.fullmatch("[0-9]{1,30}", part) for part in factors) and sorted(map(int, factors)) == sorted(stated)


def same_roles(answer: str, entry: Mapping[str, Any]) -> bool:
    """The same role for every name, in any order; each name is given once."""
    roles = read.roles(answer)
    return roles is not None and roles == read.roles(entry["answer"])


def same_complex(answer: str, entry: Mapping[str, Any]) -> bool:
    value = read.complex_parts(answer)
    return value is not None and value == read.complex_parts(entry["answer"])


def same_duration(answer: str, entry: Mapping[str, Any]) -> bool:
    """The same days, hours, minutes, seconds, in the task's form `3 days, 04:05:06.789` or parts of it."""
    duration = read.milliseconds(answer)
    return duration is not None and duration == read.milliseconds(entry["answer"])


def three_figures(answer: str, entry: Mapping[str, Any]) -> bool:
    """The stated number, or the exact power rounded to three or more significant figures."""
    return same_number(answer, entry) or read.rounds_to(
        answer, Fraction(str(entry["base"])) ** entry["exponent"], figures=3
    )


def probability(answer: str, entry: Mapping[str, Any]) -> bool:
    """The exact probability, as a decimal or a fraction, or its rounding to three or more significant figures."""
    exact = Fraction(entry["rational"]["numerator"], entry["rational"]["denominator"])
    fraction = read.fraction(answer)
    if fraction is not None:
        return fraction[1] != 0 and Fraction(*fraction) == exact
    return same_number(answer, entry) or read.rounds_to(answer, exact, figures=3)


def geometry(answer: str, entry: Mapping[str, Any]) -> bool:
    """The stated angle, radius or point, or the exact one rounded to the two or three decimals asked, or more."""
    kind = entry["task_type"]
    if kind == "orthocenter":
        exact, places = entry["orthocenter_approx"], 3
        match = re.fullmatch(r"\(\s*([^,()]+?)\s*,\s*([^,()]+?)\s*\)", answer)
        given = list(match.groups()) if match else []
    elif kind == "angle_measure":
        exact, places, given = [entry["angle_ABC_degrees"]], 2, [answer.removesuffix("°").strip()]
    else:
        exact, places, given = [entry["incircle_radius_approx"]], 3, [answer]
    stated = [part.strip() for part in entry["answer"].strip("()").replace("°", "").split(",")]
    return len(given) == len(stated) == len(exact) and all(
        same_number(g, {"answer": s}) or read.rounds_to(g, Fraction(e), places=places)
        for g, s, e in zip(given, stated, exact, strict=True)
    )


def pooled_matrix(answer: str, entry: Mapping[str, Any]) -> bool:
    """Each element correct to two decimals."""
    given = [[read.decimal(cell) for cell in line.split()] for line in read.lines(answer)]
    exact = entry["solution"]
    return [len(row) for row in given] == [len(row) for row in exact] and all(
        cell is not None and abs(Fraction(cell) - Fraction(value)) <= Fraction(5001, 10**6)
        for row, values in zip(given, exact, strict=True)
        for cell, value in zip(row, values, strict=True)
    )


def roots(answer: str, entry: Mapping[str, Any]) -> bool:
    """The stated real roots in any order, rounded to four decimals or, as the task's text asks, rounded down."""
    given = [read.decimal(part.strip()) for part in answer.split(",")]
    stated = sorted(Fraction(str(root)) for root in entry["real_solutions"])
    if None in given or len(given) != len(stated):
        return False
    terms = {degree: coefficient for ((_, degree),), coefficient in read.univariate(entry["polynomial_expr"])}
    return all(
        number == root or number in read.cut_down(read.refine(terms, root))
        for number, root in zip(
            sorted(Fraction(number) for number in given if number is not None), stated, strict=True
        )
    )


def expanded(answer: str, entry: Mapping[str, Any]) -> bool:
    """The stated polynomial, multiplied out and collected, with its terms and factors in any order."""
    return polynomial_terms(answer) == polynomial_terms(entry["answer"])


def _tasks(names: str, grade: Grader) -> dict[str, Task]:
    return {name: Task(grade) for name in names.split()}


TASKS: dict[str, Task] = {
    **_tasks(
        "ab acre arc_1d arc_agi base_conversion bf binary_matrix caesar_cipher emoji_mystery futoshiki letter_jumble "
        "manipulate_matrix mini_sudoku modulo_grid path_star rearc rotate_matrix sentence_reordering spell_backward "
        "spiral_matrix string_insertion string_manipulation string_splitting string_synthesis sudoku",
        same_text,
    ),
    **_tasks(
        "color_cube_rotation course_schedule family_relationships figlet_font game_of_life_halting isomorphic_strings "
        "mahjong_puzzle needle_haystack ransom_note syllogism tsumego zebra_puzzles",
        same_word,
    ),
    **_tasks(
        "aiw basic_arithmetic binary_alternation chain_sum circuit_logic count_bits count_primes decimal_arithmetic "
        "decimal_chain_sum gcd gsm_symbolic largest_island lcm leg_counting letter_counting maze number_format "
        "number_sequence products rectangle_count rotten_oranges self_reference simple_equations simple_geometry",
        same_number,
    ),
    **_tasks("dice fraction_simplification", same_fraction),
    **_tasks("list_functions number_filtering number_sorting", same_numbers),
    **_tasks("word_sequence_reversal word_sorting", same_words_in_list),
    **_tasks("codeio game_of_life", same_json),
    "advanced_geometry": Task(
        geometry, ("task_type", "orthocenter_approx", "angle_ABC_degrees", "incircle_radius_approx")
    ),
    "bitwise_arithmetic": Task(same_integer),
    "boxnet": Task(boxnet, ("initial_state",)),
    "calendar_arithmetic": Task(same_number_or_word),
    "coin_flip": Task(probability, ("rational",)),
    "complex_arithmetic": Task(same_complex),
    "countdown": Task(uses_numbers, ("numbers", "target")),
    "cryptarithm": Task(letter_digits, ("words_letters", "result_letters", "allow_leading_zero")),
    "graph_color": Task(coloring, ("puzzle",), stated="possible_answer"),
    "group_anagrams": Task(same_groups),
    "intermediate_integration": Task(antiderivative, ("integrand", "variable")),
    "jugs": Task(
        scored("jugs", STRINGS.format(r"(?:fill|empty) [A-Z]|pour [A-Z]->[A-Z]"), moves=3 * MAX_MOVES), ("puzzle",)
    ),
    "kakurasu": Task(
        scored("kakurasu", r"[01](?: *[01])*(?:\s*\n\s*[01](?: *[01])*)*"),
        ("row_sums", "col_sums", "n_rows", "n_cols"),
    ),
    "knight_swap": Task(
        scored("knight_swap", STRINGS.format(r"[wB],[A-Z]\d{1,2},[A-Z]\d{1,2}") + "|[Nn]o"),
        ("is_possible", "board", "pieces", "start_turn", "solution"),
    ),
    "knights_knaves": Task(same_roles),
    "n_queens": Task(queens, ("valid_answers",)),
    "palindrome_generation": Task(palindrome, ("letters",)),
    "palindrome_partitioning": Task(same_partitions),
    "polynomial_equations": Task(roots, ("real_solutions", "polynomial_expr")),
    "polynomial_multiplication": Task(expanded),
    "pool_matrix": Task(pooled_matrix, ("solution",)),
    "power_function": Task(three_figures, ("base", "exponent")),
    "prime_factorization": Task(same_factors),
    "propositional_logic": Task(conclusion, ("premises", "variables"), stated="example_answer"),
    "puzzle24": Task(uses_numbers, ("numbers",)),
    "quantum_lock": Task(
        scored("quantum_lock", r"[A-C](?:(?:\s*(?:→|->|,)\s*|\s+)[A-C])*"),
        ("initial_value", "initial_state", "buttons", "target_value"),
    ),
    "rubiks_cube": Task(
        scored("rubiks_cube", r"[UDLRFB]'?2?(?:\s+[UDLRFB]'?2?)*"),
        ("cube_size", "scramble_moves"),
        stated="example_correct_answer",
    ),
    "rush_hour": Task(rush_hour, ("board_config",)),
    "shortest_path": Task(
        scored("shortest_path", r"infeasible|(?:up|down|left|right)(?:\s+(?:up|down|left|right))*"), ("matrix",)
    ),
    "simple_integration": Task(antiderivative, ("integrand", "variable")),
    "sokoban": Task(scored("sokoban", rf"[LDUR]{{1,{MAX_MOVES}}}"), ("gamestr",)),
    "survo": Task(survo, ("puzzle", "candidate_numbers")),
    "time_intervals": Task(same_duration),
    "tower_of_hanoi": Task(
        scored(
            "tower_of_hanoi",
            r"Move disk \d+ from Peg \d+ to Peg \d+(?:\s*\n\s*Move disk \d+ from Peg \d+ to Peg \d+)*",
            moves=9 * MAX_MOVES,
        ),
        ("num_disks", "num_pegs", "start_peg", "target_peg", "solution_length"),
    ),
    "word_ladder": Task(
        scored("word_ladder", r"[A-Za-z]+(?:\s*,\s*[A-Za-z]+)+"), ("start_word", "end_word", "word_length")
    ),
}


def is_right(task: str, answer: str, entry: Mapping[str, Any]) -> bool:
    """
    Whether `answer` is right; empty, oversized and unparsable ones are not.

    Args:
        task (`str`): Name of the task, a key of `TASKS`.
        answer (`str`): What the model gave as its answer.
        entry (`Mapping`): The stated `answer`, and the metadata that the task's grader needs.
    """
    answer = answer.strip()
    if not answer or len(answer) > MAX_CHARS:
        return False
    try:
        return bool(TASKS[task].grade(answer, entry))
    except (StrictJSONError, ExpressionError):  # what our own parsers raise for an answer that they cannot read
        return False
