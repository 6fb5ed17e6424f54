"""`reasoning_gym_expert`: a task's own answer passes, and no wrong one does, whatever its own scorer pays for it."""

import itertools
import json
import random
from collections import deque

import pytest


reasoning_gym = pytest.importorskip("reasoning_gym")

from trl_copd.rewards.gym.graders import TASKS, is_right  # noqa: E402
from trl_copd.rewards.gym.reward import (  # noqa: E402
    REFUSED,
    _questions,
    _row,
    verify_gym,
)


# These take seconds a row to generate in some sizes
OPTIONS = {
    "futoshiki": {"min_board_size": 4, "max_board_size": 4},
    "rush_hour": {"max_moves": 6},
    "boxnet": {"min_row_num": 1, "max_row_num": 2, "min_column_num": 2, "max_column_num": 2},
}
_ROWS: dict = {}


def rows_of(task):
    """A few rows of a task, with the generator's item."""
    if task not in _ROWS:
        items = itertools.islice(_questions(task, OPTIONS.get(task, {}), 7, None), 60)
        rows = ((_row(task, question, item), item) for question, item in items)
        _ROWS[task] = [(row, item) for row, item in itertools.islice((r for r in rows if r[0]), 3)]
    return _ROWS[task]


def answer_of(task, row, item):
    if task == "boxnet":
        return solve_boxnet(item["metadata"]["initial_state"])
    return solve_rush_hour(item["metadata"]["board_config"]) if task == "rush_hour" else row["solution"]


def solve_boxnet(state):
    """Carry box after box to a target of its color, along the shortest way."""
    state, plan = {square: list(things) for square, things in state.items()}, []
    name = lambda square: "[{}, {}]".format(*square.split("_"))  # noqa: E731
    while boxes := [(square, thing) for square, things in state.items() for thing in things if thing[:4] == "box_"]:
        start, box = boxes[0]
        ways = deque([[start]])
        while f"target_{box[4:]}" not in state[ways[0][-1]]:
            way = ways.popleft()
            x, y = map(float, way[-1].split("_"))
            beside = [f"{x + dx}_{y + dy}" for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))]
            ways.extend([*way, square] for square in beside if square in state and square not in way)
        way = ways[0]
        plan += [{f"Agent{name(a)}": f"move({box}, square{name(b)})"} for a, b in itertools.pairwise(way)]
        plan.append({f"Agent{name(way[-1])}": f"move({box}, target_{box[4:]})"})
        state[start].remove(box)
        state[way[-1]].remove(f"target_{box[4:]}")
    return json.dumps(plan)


def solve_rush_hour(config):
    """Breadth first over single steps."""
    from reasoning_gym.games.rush_hour import Board

    def positions(moves):
        board = Board(config)
        for move in moves:
            before = [piece.position for piece in board._pieces]
            board.move(move[0], int(move[1:]))
            if before == [piece.position for piece in board._pieces]:
                return None, False
        return tuple(piece.position for piece in board._pieces), board.solved

    letters = [chr(65 + i) for i in range(len(Board(config)._pieces))]
    seen, waiting = set(), deque([[]])
    while True:
        moves = waiting.popleft()
        for move in (f"{letter}{step}" for letter in letters for step in ("+1", "-1")):
            place, solved = positions([*moves, move])
            if solved:
                return " ".join([*moves, move])
            if place is not None and place not in seen:
                seen.add(place)
                waiting.append([*moves, move])


class TestEveryTask:
    def test_all_are_known(self):
        from reasoning_gym.factory import DATASETS

        assert set(TASKS) | set(REFUSED) == set(DATASETS) and len(TASKS) == 105

    # The generator's own answer, with and without tags; then what no task may accept
    @pytest.mark.parametrize("task", sorted(TASKS))
    def test_own_answer_and_wrong_ones(self, task, tmp_path):
        rows = rows_of(task)
        assert rows
        sentinel = tmp_path / "executed"
        answers = [answer_of(task, row, item) for row, item in rows]
        for index, (row, _) in enumerate(rows):
            right, other = answers[index], answers[index - 1]
            assert verify_gym(f"<think>Hm.</think>So: <answer>{right}</answer>", row["entry"]).passed is True
            assert verify_gym(right, row["entry"]).passed is True
            wrong = [
                "", " ", "I do not know.", "((((", "[[[[", "{}", "[]", "[[]]", "nan", "inf", "None", "\0", "🙂", "-",
                f"The answer is {right}.", f"{right} or {other}", f"{right}\n\n{other}, maybe", f"{right} because so",
                f"{right} {right} {right} x", f"not {right}", f"{right}?", "9" * 5_000, "(" * 5_000, "[" * 5_000,
                f"__import__('pathlib').Path({str(sentinel)!r}).touch()", f"open({str(sentinel)!r}, 'w')",
                "[open('x', 'w')]", "exit()", "().__class__", "9**9**9**9", "lambda: 1", "x" * 30_000,
            ]  # fmt: skip
            assert [
                text[:60] for text in wrong if text != right and verify_gym(text, row["entry"]).passed is not False
            ] == []
            assert not sentinel.exists()

    # A verifier that raises would stop the run; one that says None would let a completion choose to have no grade
    @pytest.mark.parametrize("task", sorted(TASKS))
    def test_no_answer_is_too_strange(self, task):
        draw = random.Random(task)
        pieces = [
            *"0123456789+-*/()[]{},.:;'\"\\ \n\tABCxyz→×∨∧¬↔=<>^_°ij\0é🙂²١",
            "9" * 40,
            "((",
            "or ",
            "**",
            "1e999",
            "08",
            "--",
        ]
        for row, _ in rows_of(task):
            for _ in range(40):
                text = list(row["solution"] or "[]")
                for _ in range(draw.randint(1, 4)):
                    place = draw.randrange(len(text) + 1)
                    text[place : place + draw.randint(0, 2)] = draw.choice(pieces)
                assert verify_gym("".join(text), row["entry"]).passed in (True, False)

    # Each reference is what one row needs, and readable without the generator
    @pytest.mark.parametrize(
        "entry", ["", "{", "[]", "{}", '{"task": "nope", "answer": "1"}', '{"task": "gcd"}', 3, []]
    )
    @pytest.mark.parametrize("completion", ["", "1"])
    def test_unreadable(self, entry, completion):
        assert verify_gym(completion, entry).passed is None


def right(task, text, **entry):
    return is_right(task, text, {"answer": None, **entry})


class TestHoles:
    # Wrong answers that the tasks' own scorers give full marks (or more); the list in the documentation
    @pytest.mark.parametrize(
        "task, wrong",
        [
            ("advanced_geometry", lambda a: f"{a}, (1, 2)" if a[0] == "(" else None),  # the rest is cut off
            ("coin_flip", lambda a: a[0]),  # a prefix is enough: 0 for 0.2344
            ("game_of_life_halting", lambda a: "False" if a == "True" else "True"),  # any text is true
            ("gsm_symbolic", lambda a: f"{a} or 1"),  # the first number counts
            ("gsm_symbolic", lambda a: f"-{a}"),
            ("kakurasu", lambda a: f"Perhaps {a}x"),  # what is no 0 or 1 is dropped
            ("knights_knaves", lambda a: f"{a} {a}"),
            ("number_format", lambda a: a[:-1] + str((int(a[-1]) + 1) % 10)),  # within 0.01
            ("number_sorting", lambda a: json.dumps([str(float(n) + 0.5) for n in json.loads(a.replace("'", '"'))])),
            ("power_function", lambda a: f"{float(a) * 1.00001:.7e}" if abs(float(a)) > 1 else None),
            ("quantum_lock", lambda a: f"{a}, I think"),  # letters are picked out of prose
            ("sokoban", lambda a: f"I go {a}x"),
            ("decimal_arithmetic", lambda a: a[:-1] + str((int(a[-1]) + 1) % 10) if "." in a else None),
        ],
    )  # fmt: skip
    def test_paid_by_the_scorer_not_by_us(self, task, wrong):
        from reasoning_gym.factory import get_score_answer_fn

        score, paid = get_score_answer_fn(task), []
        for row, item in rows_of(task):
            answer = wrong(row["solution"])
            if answer is not None:
                paid.append(score(answer, item))
                assert verify_gym(answer, row["entry"]).passed is False
        assert not paid or max(paid) >= 1.0, "the task's scorer has been repaired: update the documentation"

    # 24 out of other numbers, parts of a number, a fraction cut to 24; numbers missing, used twice, or hidden
    @pytest.mark.parametrize(
        "answer",
        ["24", "6*4", "12 + 12", "4*6*1*1", "24.9", "5*5 - 1 - 0", "8*(5*1 - 2) + 0", "8*(51 - 2)", "8*(5*1 - 2) = 24",
         "8*(5*1 - 2) or 24", "8*(5*1 - 3)", "8**1 + 5 + 2", "int('8')*3", "8*(5*1 - 2", "8//1 + 5*2", "8(5*1-2)",
         "x", "8*(5/1 - 2)/0", "8*(5*1 - 2)\n8*3", "8*(5.0*1 - 2)", "8*(0x5*1 - 2)", "８*(5*1 - 2)"],
    )  # fmt: skip
    def test_twenty_four(self, answer):
        assert not right("puzzle24", answer, numbers=[5, 1, 2, 8])
        assert not right("countdown", answer, numbers=[5, 1, 2, 8], target=24)

    # The integral itself, constants, another function, code; all differentiate, or would be evaluated
    @pytest.mark.parametrize(
        "answer",
        ["Integral(2*x*cos(x), x)", "2*x*cos(x)", "2*x*sin(x)", "2*x*sin(x) + 2*cos(x) + x", "2*y*sin(y) + 2*cos(y)",
         "2*x*sin(x) - 2*cos(x) + C", "C*(2*x*sin(x) + 2*cos(x))", "2xsin(x) + 2cos(x)", "2*x*sin(x) + 2*cos(x) or 0",
         "exec('x')", "x.diff()", "(lambda: x)()", "x if x else x", "[x]", "x[0]", "f(x)", "sin(x, x)", "9**9**9**9",
         "x**x**x**x**x", "(" * 100 + "x" + ")" * 100, "-" * 400 + "x", "x+" * 240 + "x", "1/0", "log(0)", "zoo",
         "2*x*sin(x) + 2*cos(x) + 1e-9*x", "factorial(99999999)*x", "10**(10**10)", "exp(exp(exp(exp(9))))*x"],
    )  # fmt: skip
    def test_integrals(self, answer):
        entry = {"integrand": "2*x*cos(x)", "variable": "x"}
        assert not right("simple_integration", answer, **entry)

    # A product that is copied, distributed or half computed is not multiplied out
    @pytest.mark.parametrize(
        "answer",
        ["(x + 1)*(x + 2)", "x*x + 2*x + x + 2", "x**2 + 2*x + x + 2", "x**2 + 3*x + 1*2", "x*(x + 3) + 2",
         "x**2 + 3*x", "x**2 + 3x + 2", "x^2 + 3*x + 2", "x**2 + 3*x + 2 + 0*y + y", "x**2 + 3*x + 2.0", "",
         "x**2 + 3*x + 2, x", "expand((x+1)*(x+2))", "x**2 ++ 3*x + 2", "x**2 + 3*x + 2 +"],
    )  # fmt: skip
    def test_products(self, answer):
        assert not is_right("polynomial_multiplication", answer, {"answer": "x**2 + 3*x + 2"})

    # A sweep that solves every field blindly (impossible moves are skipped), or moves the targets to the boxes
    def test_boxnet_moves_must_be_possible(self):
        state = {"0.5_0.5": ["box_red"], "0.5_1.5": ["target_red"]}
        there = {"Agent[0.5, 0.5]": "move(box_red, square[0.5, 1.5])"}
        home = {"Agent[0.5, 1.5]": "move(box_red, target_red)"}
        target = {"Agent[0.5, 1.5]": "move(target_red, square[0.5, 0.5])"}
        elsewhere = {"Agent[0.5, 1.5]": "move(box_blue, target_blue)"}
        here = {"Agent[0.5, 0.5]": "move(box_red, target_red)"}
        assert right("boxnet", json.dumps([there, home]), initial_state=state)
        for plan in ([], [there], [home], [elsewhere, there, home], [there, home, elsewhere], [target, here], there):
            assert not right("boxnet", json.dumps(plan), initial_state=state)

    # Copying a premise, joining all, weakening one, and what is always true; nothing follows from a contradiction
    def test_propositional_logic(self):
        entry = {"premises": ["(P → Q)", "P"], "variables": ["P", "Q", "R"], "answer": "(Q ∧ Q)"}
        assert is_right("propositional_logic", "Q", entry)
        for answer in (
            "P",
            "(P → Q)",
            "((P → Q) ∧ P)",
            "(P ∨ R)",
            "(R ∨ ¬R)",
            "R",
            "¬Q",
            "Q Q",
            "(Q",
            "S",
            "Q ∨ ",
            "QQ",
        ):
            assert not is_right("propositional_logic", answer, entry), answer
        assert not is_right("propositional_logic", "Q", entry | {"premises": ["P", "¬P"]})


class TestManyRightAnswers:
    # Other answers than the stated one that are just as right
    @pytest.mark.parametrize(
        "task, answers, entry",
        [
            ("puzzle24", ["8*(5*1 - 2)", "(5 - 2)*8/1", "8*(5-2)*1", "-8*(2-5)*1"], {"numbers": [5, 1, 2, 8]}),
            ("countdown", ["(2+1)*7", "7*(1 + 2)"], {"numbers": [7, 1, 2], "target": 21}),
            ("simple_integration", ["2*x*sin(x) + 2*cos(x) + C", "2*(cos(x) + x*sin(x))", "2*cos(x)+2*x*sin(x)-5",
                                    "C + 2*x*sin(x) + 2*sin(x + pi/2)"], {"integrand": "2*x*cos(x)", "variable": "x"}),
            ("intermediate_integration", ["log(x)", "ln(x) + C", "log(3*x)", "log(Abs(x)) + C", "ln(abs(x))"],
             {"integrand": "1/x", "variable": "x"}),
            ("intermediate_integration", ["2*(2 - 8*x)**(3/2)/3 + C", "(2/3)*(2-8*x)*sqrt(2-8*x)"],
             {"integrand": "-8*sqrt(2 - 8*x)", "variable": "x"}),
            ("polynomial_multiplication", ["x**2 + 3*x + 2", "2 + 3*x + x**2", "x**2+x*3+2"],
             {"answer": "x**2 + 3*x + 2"}),
            ("polynomial_equations", ["-0.7757, 0, 1.9717", "1.9717,0.0,-0.7757"],
             {"real_solutions": [-0.7757, 0.0, 1.9717], "polynomial_expr": "51*h**3 - 61*h**2 - 78*h"}),
            ("polynomial_equations", ["0.6667", "0.6666"], {"real_solutions": [0.6667], "polynomial_expr": "3*x - 2"}),
            ("power_function", ["8.97e+11", "8.973e11", "897303639322.6414"],
             {"answer": "897303639322.6414", "base": 245.8034, "exponent": 5}),
            ("coin_flip", ["15/64", "0.234375", "0.2344", "0.234"],
             {"answer": "0.234375", "rational": {"numerator": 15, "denominator": 64}}),
            ("advanced_geometry", ["16.91°", "16.909°", "16.91"],
             {"answer": "16.91°", "task_type": "angle_measure", "angle_ABC_degrees": 16.909271810540783}),
            ("fraction_simplification", [r"$\frac{3}{4}$", "3/4", r"\dfrac{3}{4}"], {"answer": "$3/4$"}),
            ("prime_factorization", ["2 × 3 × 3", "3 × 2 × 3", "2*3*3"], {"answer": "2 × 3 × 3"}),
            ("chain_sum", ["1000", "1,000", "1000.0", "+1000"], {"answer": "1000"}),
            ("complex_arithmetic", ["-5.0 + 20.0i", "-5+20i", "(-5 + 20i)"], {"answer": "-5.0 + 20.0i"}),
            ("time_intervals", ["34 days", "34"], {"answer": "34 days"}),
            ("cryptarithm", ["A=2,B=4", "B=8, A=4"],
             {"words_letters": ["A", "A"], "result_letters": "B", "allow_leading_zero": False}),
            ("knights_knaves", ["Zoey is a knave and Max is a knight.", "Max is a knight, and Zoey is a knave"],
             {"answer": "Max is a knight, and Zoey is a knave."}),
            ("list_functions", ["[1, 2]", "[1,2]"], {"answer": "[1, 2]"}),
            ("group_anagrams", ['[["b"], ["ca", "ac"]]'], {"answer": '[["ac", "ca"], ["b"]]'}),
            ("graph_color", ['{"0": 1, "1": 2}', '{"1": 1, "0": 2}'],
             {"puzzle": {"vertices": [0, 1], "edges": [[0, 1]], "color_options": [1, 2]}}),
            ("palindrome_generation", ["abba", "baab"], {"letters": ["a", "b", "b", "a"]}),
            ("survo", ["1 2 3\n3 1 4\n4 3 7"],
             {"puzzle": [[1, 0, 3], [0, 1, 4], [4, 3, 7]], "candidate_numbers": [2, 3]}),
        ],
    )  # fmt: skip
    def test_accepted(self, task, answers, entry):
        assert [answer for answer in answers if not right(task, answer, **entry)] == []

    # Near misses of the same
    @pytest.mark.parametrize(
        "task, answers, entry",
        [
            ("polynomial_equations", ["-0.7757, 1.9717", "-0.7757, 0, 1.9717, 0", "-0.7757, 0, 1.9718",
                                      "0.7757, 0, 1.9717"],
             {"real_solutions": [-0.7757, 0.0, 1.9717], "polynomial_expr": "51*h**3 - 61*h**2 - 78*h"}),
            ("power_function", ["8.98e+11", "8.9e+11", "9e11", "8.971e11", "-8.97e+11", "8.97e+12"],
             {"answer": "897303639322.6414", "base": 245.8034, "exponent": 5}),
            ("coin_flip", ["0", "0.2", "0.23", "0.235", "1", "15/65", "0/0", "0.234 or 0.5"],
             {"answer": "0.234375", "rational": {"numerator": 15, "denominator": 64}}),
            ("advanced_geometry", ["16.9°", "16.908°", "17", "16.91, 3", "16.911"],
             {"answer": "16.91°", "task_type": "angle_measure", "angle_ABC_degrees": 16.909271810540783}),
            ("fraction_simplification", ["6/8", "0.75", "4/3", "3/4/1", "3"], {"answer": "$3/4$"}),
            ("prime_factorization", ["2 × 9", "18", "2 × 3", "2 × 3 × 3 × 1", "2 × 3 × x"], {"answer": "2 × 3 × 3"}),
            ("chain_sum", ["1000 or 7", "10,00", "1000.01", "1e3x", "1000 1000", "100"], {"answer": "1000"}),
            ("complex_arithmetic", ["-5.0 - 20.0i", "5 + 20i", "-5", "20i", "-5.0 + 20.1i"],
             {"answer": "-5.0 + 20.0i"}),
            ("time_intervals", ["35 days", "34 or 35", "34 days, 01:00", "34.0"], {"answer": "34 days"}),
            ("time_intervals", ["01:45:29.841", "01:45:30", "1:45:29.84", "25 days"], {"answer": "01:45:29.840"}),
            ("knights_knaves", ["Max is a knight", "Max is a knave, and Zoey is a knave",
                                "Max is a knight, and Zoey is a knave, and Zoey is a knight",
                                "Max is a knight and Max is a knave and Zoey is a knave"],
             {"answer": "Max is a knight, and Zoey is a knave."}),
            ("list_functions", ["[2, 1]", "[1]", "[1, 2, 3]", "[1, 2] or [2]", "1, 2"], {"answer": "[1, 2]"}),
            ("game_of_life", ["[[true, 0]]", "[[1, 0], [1]]", "[[1, 0, 0]]", "[[1.5, 0]]"], {"answer": "[[1,0]]"}),
            ("codeio", ['{"a": 1, "a": 2}', '{"a": true}', 'x {"a": 1}', '{"a": 1, "b": 1}'], {"answer": '{"a": 1}'}),
            ("graph_color", ['{"0": 1, "1": 1}', '{"0": 1}', '{"0": 1, "1": 3}', '{"0": true, "1": 2}',
                             '{"0": 2, "0": 1, "1": 2}', '{"0": 1, "1": 2, "2": 1}', "[1, 2]"],
             {"puzzle": {"vertices": [0, 1], "edges": [[0, 1]], "color_options": [1, 2]}}),
            ("cryptarithm", ["A=0,B=0", "A=1,B=2,B=4", "A=2,B=3", "A=2", "A=2,B=4 or A=1,B=2", "A=2,B=4,C=1",
                             "A=12,B=24"],
             {"words_letters": ["A", "A"], "result_letters": "B", "allow_leading_zero": False}),
            ("palindrome_generation", ["abab", "aba", "abba abba", "ab ba"], {"letters": list("abba")}),
            ("survo", ["1 3 3\n2 1 4\n4 3 7", "1 2 3\n3 1 4", "1 2 3\n3 1 4\n4 3 8"],
             {"puzzle": [[1, 0, 3], [0, 1, 4], [4, 3, 7]], "candidate_numbers": [2, 3]}),
            ("tower_of_hanoi", ["Move disk 1 from Peg 1 to Peg 2",
                                "Move disk 1 from Peg 1 to Peg 3\nMove disk 2 from Peg 1 to Peg 3"],
             {"num_disks": 2, "num_pegs": 3, "start_peg": 1, "target_peg": 3, "solution_length": 3}),
        ],
    )  # fmt: skip
    def test_refused(self, task, answers, entry):
        assert [answer for answer in answers if right(task, answer, **entry)] == []


def solutions(grid, box, order):
    """How many grids with each number once in every row, column and box fill this one, counted up to 2."""
    size = len(grid)
    lines = [[(r, c) for c in range(size)] for r in range(size)] + [[(r, c) for r in range(size)] for c in range(size)]
    if box:
        lines += [[(r + i, c + j) for i in range(box) for j in range(box)]
                  for r in range(0, size, box) for c in range(0, size, box)]  # fmt: skip
    seen = {
        (r, c): {cell for line in lines if (r, c) in line for cell in line} for r in range(size) for c in range(size)
    }
    value = {(r, c): grid[r][c] for r, c in seen}

    def options(cell):
        taken = {value[other] for other in seen[cell]}
        bounds = [(value[b], 1) for a, b in order if a == cell] + [(value[a], -1) for a, b in order if b == cell]
        return [n for n in range(1, size + 1) if n not in taken and all(not v or (v - n) * d > 0 for v, d in bounds)]

    def count():
        empty = [(options(cell), cell) for cell in value if not value[cell]]
        if not empty:
            return 1
        numbers, cell = min(empty, key=lambda choice: len(choice[0]))
        found = 0
        for number in numbers:
            value[cell] = number
            found += count() if found < 2 else 0
            value[cell] = 0
        return found

    return count()


# Only the stated grid passes, so there must be no other
@pytest.mark.parametrize(
    "task, items, options, box",
    [("mini_sudoku", 40, {}, 2), ("mini_sudoku", 20, {"min_empty": 12, "max_empty": 12}, 2), ("sudoku", 8, {}, 3),
     ("futoshiki", 12, {"min_board_size": 4, "max_board_size": 6}, 0)],
)  # fmt: skip
def test_grids_have_one_solution(task, items, options, box):
    for item in reasoning_gym.create_dataset(task, size=items, seed=3, **options):
        known = item["metadata"].get("constraints", ())
        order = [((a, b), (c, d)) if sign == "<" else ((c, d), (a, b)) for a, b, c, d, sign in known]
        assert solutions(item["metadata"]["puzzle"], box, order) == 1
    assert solutions([[0] * 4] * 4, 2, []) == 2


def test_unreadable_integrand():
    for integrand in ("sqrt(-1 - x**2)", "Integral(x, x)", "2x"):
        entry = json.dumps({"task": "simple_integration", "answer": "x", "integrand": integrand, "variable": "x"})
        assert [verify_gym(text, entry).passed for text in ("x**2", "7*x", "none")] == [None] * 3
