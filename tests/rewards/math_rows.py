"""One row through `math_reward`, and tables of rows."""

from pathlib import Path

import pytest

from trl_copd.rewards import math_reward


def grade(reward, completion, solution):
    """One row through the reward, as TRL would call it."""
    return reward(prompts=["?"], completions=[completion], solution=[solution], completion_ids=[[1]])[0]


def grade_box(answer, solution):
    return grade(math_reward, rf"So it is \boxed{{{answer}}}.", solution)


def cases(*rows):
    """Parameters with ids that show the row."""
    return [pytest.param(*row, id=" | ".join(str(value)[:40] for value in row)) for row in rows]


def table(name):
    """The rows of `cases/<name>`: reward, solution and answer, with ids that show them."""
    rows = []
    for line in (Path(__file__).parent / "cases" / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            item, kind = line[3:].partition(":")[0].split()
        elif line and not line.startswith("#"):
            solution, answer = line.split(" ~~ ")
            reward = {"accepted": 1.0, "refused": 0.0}[kind]
            rows.append(pytest.param(solution, answer, reward, id=f"{item} {kind} {solution[:40]} | {answer[:40]}"))
    return rows
