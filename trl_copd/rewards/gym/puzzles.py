"""Graders of the reasoning-gym tasks that have many right answers: each checks an answer against its puzzle."""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..strict_json import parse_json
from . import answers as read
from .expressions import arithmetic_value, is_antiderivative


MAX_MOVES = 2_000  # of a plan: the longest stated plans have about 200

Grader = Callable[[str, Mapping[str, Any]], bool]


# ---- many right answers, checked here ----


def uses_numbers(answer: str, entry: Mapping[str, Any]) -> bool:
    """An expression of `+ - * /` that uses each of the given numbers once and has the target's value."""
    value, used = arithmetic_value(answer)
    return value == entry.get("target", 24) and sorted(used) == sorted(entry["numbers"])


def antiderivative(answer: str, entry: Mapping[str, Any]) -> bool:
    """A closed form whose derivative is the integrand."""
    return is_antiderivative(answer, entry["integrand"], entry["variable"])


def coloring(answer: str, entry: Mapping[str, Any]) -> bool:
    """A JSON object with one allowed color for each vertex, and no edge between two of one color."""
    colors, puzzle = parse_json(answer), entry["puzzle"]
    return (
        isinstance(colors, dict)
        and set(colors) == {str(vertex) for vertex in puzzle["vertices"]}
        and all(type(color) is int and color in puzzle["color_options"] for color in colors.values())
        and all(colors[str(a)] != colors[str(b)] for a, b in puzzle["edges"])
    )


def palindrome(answer: str, entry: Mapping[str, Any]) -> bool:
    """A palindrome of exactly the given letters."""
    text = answer.lower()
    return text == text[::-1] and sorted(text) == sorted(entry["letters"])


def queens(answer: str, entry: Mapping[str, Any]) -> bool:
    return read.lines(answer) in [read.lines(board) for board in entry["valid_answers"]]


def survo(answer: str, entry: Mapping[str, Any]) -> bool:
    """The puzzle's grid with the given numbers in its holes, so that rows and columns have the sums beside them."""
    puzzle, lines = entry["puzzle"], [line.split() for line in read.lines(answer)]
    size = len(puzzle)
    if [len(line) for line in lines] != [size] * size or not all(
        re.fullmatch("[0-9]{1,9}", c) for c in sum(lines, [])
    ):
        return False
    grid = [[int(cell) for cell in line] for line in lines]
    cells = [(i, j) for i in range(size) for j in range(size)]
    filled = sorted(grid[i][j] for i, j in cells if puzzle[i][j] == 0)
    return (
        all(puzzle[i][j] in (0, grid[i][j]) for i, j in cells)
        and filled == sorted(entry["candidate_numbers"])
        and all(sum(row[:-1]) == row[-1] for row in [*grid, *map(list, zip(*grid, strict=True))])
    )


def boxnet(answer: str, entry: Mapping[str, Any]) -> bool:
    """
    A plan, a JSON list of steps that map `Agent[x, y]` to an action, after which every box is on a target of its
    color. Every action must be possible when it is taken: the task's scorer skips the others, so that one blind sweep
    over the field would solve any puzzle; and it lets targets be moved to the boxes.
    """
    state = {square: list(things) for square, things in entry["initial_state"].items()}
    steps = parse_json(answer)
    if not isinstance(steps, list) or len(steps) > MAX_MOVES:
        return False
    for step in steps:
        if not isinstance(step, dict) or not all(_boxnet_move(state, agent, action) for agent, action in step.items()):
            return False
    return not any(thing.startswith("box_") for things in state.values() for thing in things)


_SQUARE = r"\[(\d+\.5), (\d+\.5)\]"


def _boxnet_move(state: dict[str, list[str]], agent: str, action: Any) -> bool:
    place = re.fullmatch(rf"Agent{_SQUARE}", agent)
    move = re.fullmatch(
        rf"move\(box_(\w+), (?:square{_SQUARE}|target_(\w+))\)", action if isinstance(action, str) else ""
    )
    if not place or not move:
        return False
    here, box = f"{place[1]}_{place[2]}", f"box_{move[1]}"
    if box not in state.get(here, ()):
        return False
    if move[4]:
        if move[4] != move[1] or f"target_{move[4]}" not in state[here]:
            return False
        state[here].remove(f"target_{move[4]}")
    else:
        there = f"{move[2]}_{move[3]}"
        if there not in state or abs(float(place[1]) - float(move[2])) + abs(float(place[2]) - float(move[3])) != 1:
            return False
        state[there].append(box)
    state[here].remove(box)
    return True


def conclusion(answer: str, entry: Mapping[str, Any]) -> bool:
    """
    A formula that follows from the premises together, but from no single one of them (copying is not concluding), is
    not always true, and has no more connectives than the stated example (the premises joined by AND would follow too).
    Where premises contradict each other all would follow, and nothing passes.
    """
    from reasoning_gym.logic.propositional_logic import Expression

    if not re.fullmatch(r"[A-Z()∨∧→↔¬ ]{1,200}", answer) or set(re.findall("[A-Z]", answer)) - set(entry["variables"]):
        return False
    if _connectives(answer) > _connectives(entry["answer"]) or re.search(r"[A-Z)]\s*[A-Z(¬]", answer):
        return False
    scorer = _scorer("propositional_logic")
    try:
        given = Expression.from_string(answer)
    except ValueError:  # an operand is missing
        return False
    premises = [Expression.from_string(premise) for premise in entry["premises"]]
    alone: list[list[Any]] = [[], *([premise] for premise in premises)]
    never = Expression.from_string("({0} ∧ ¬{0})".format(entry["variables"][0]))
    return (
        scorer._is_valid_conclusion(premises, given)
        and not scorer._is_valid_conclusion(premises, never)
        and not any(scorer._is_valid_conclusion(premise, given) for premise in alone)
    )


def _connectives(formula: str) -> int:
    return len(re.findall("[∨∧→↔¬]", formula))


def rush_hour(answer: str, entry: Mapping[str, Any]) -> bool:
    """Moves `F+1 K-2 ...`, each possible in full, that bring the red car out. (The scorer stops at obstacles.)"""
    from reasoning_gym.games.rush_hour import Board

    if not re.fullmatch(r"[A-Z][+-][1-5](?:\s+[A-Z][+-][1-5])*", answer) or len(answer.split()) > MAX_MOVES:
        return False
    board = Board(entry["board_config"])
    for move in answer.split():
        index, steps = ord(move[0]) - ord("A"), int(move[1:])
        if index >= len(board._pieces):
            return False
        before = board._pieces[index].position
        board.move(move[0], steps)
        if board._pieces[index].position - before != steps * board._pieces[index].stride:
            return False
    return board.solved


# ---- many right answers, simulated by the task's own scorer ----


def scored(task: str, pattern: str, moves: int = MAX_MOVES) -> Grader:
    """Grader that gives the task's own scorer what matches `pattern`, and counts full marks only."""
    shape = re.compile(pattern)

    def grade(answer: str, entry: Mapping[str, Any]) -> bool:
        if not shape.fullmatch(answer) or len(answer.split()) > moves:
            return False
        metadata = {key: value for key, value in entry.items() if key != "answer"}
        return _scorer(task).score_answer(answer, {"answer": entry["answer"], "metadata": metadata}) == 1.0

    return grade


@functools.lru_cache(maxsize=16)
def _scorer(task: str) -> Any:
    from reasoning_gym.factory import DATASETS

    dataset_class, config_class = DATASETS[task]
    return dataset_class(config_class())


def letter_digits(answer: str, entry: Mapping[str, Any]) -> bool:
    """`A=1,B=2`, each letter once: the scorer takes the last value of a letter given twice."""
    letters = re.findall("[A-Z]", answer)
    return len(set(letters)) == len(letters) and _cryptarithm(answer, entry)


_cryptarithm = scored("cryptarithm", r"[A-Z]\s*=\s*[0-9](?:\s*,\s*[A-Z]\s*=\s*[0-9])*")
STRINGS = r'\[\s*"(?:{0})"(?:\s*,\s*"(?:{0})")*\s*\]'
