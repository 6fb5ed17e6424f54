"""
Grade a file of completions, with a reason for each row: the quickest way to try a verifier on your own data.

  trl-copd verify --reward math_reward --data rows.jsonl
  trl-copd verify --reward my_rewards.length_reward --data answers.csv --completion answer --expect label
  trl-copd verify --reward '{name: MathReward, answer: boxed_or_final}' --data rows.parquet --column solution=gold

A row holds a completion (text, or a list of messages) and the columns that the reward reads, such as `solution`.

Exit code: 0 if every row has a grade (and the grade of --expect), 1 if a reference is unreadable, grading failed, or
a grade differs from --expect, 2 for wrong arguments or a host that lacks what the reward needs.
"""

import itertools
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..recipes.rewards import find_reward
from ..rewards.proofs import ProverError
from ..rewards.sandbox import SandboxError
from ..spelling import Parser, did_you_mean
from .grading import Tally, grade_rows
from .rows import BATCH, ENDINGS, read_rows


def parse(argv: list[str] | None) -> Any:
    parser = Parser(prog="trl-copd verify", description=__doc__)
    parser.add_argument(
        "--reward", required=True, metavar="NAME",
        help="a reward of trl_copd.rewards or trl.rewards, a dotted path, or a mapping with a name and options",
    )  # fmt: skip
    parser.add_argument("--data", required=True, metavar="FILE", type=Path, help=f"rows: {', '.join(ENDINGS)}")
    parser.add_argument(
        "--completion", default="completion", metavar="COLUMN", help="column of the completions (%(default)s)"
    )
    parser.add_argument(
        "--column", action="append", default=[], metavar="NAME=COLUMN",
        help="pass the file's COLUMN to the reward as NAME; may be repeated",
    )  # fmt: skip
    parser.add_argument("--expect", metavar="COLUMN", help="column of expected grades: 1, 0, or empty")
    parser.add_argument("--limit", type=int, metavar="N", help="grade only the first N rows")
    parser.add_argument(
        "--show", choices=("all", "wrong", "none"), default="all",
        help="rows to print; wrong: those that fail, have no grade or differ from --expect (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--output", metavar="FILE", type=Path, help="write rows, grades and reasons as JSON Lines")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = parse(argv)
    sys.path.append(os.getcwd())  # rewards of one's own
    logger = logging.getLogger("trl_copd.rewards")
    level = logger.level
    logger.setLevel(logging.ERROR)  # the rows say what it would warn of
    try:
        return run(options)
    except (ValueError, TypeError, ImportError, OSError, SandboxError, ProverError) as error:
        print(f"trl-copd verify: {error}", file=sys.stderr)
        return 2
    finally:
        logger.setLevel(level)


def run(options: Any) -> int:
    renamed = _renamed(options.column)
    reward = find_reward(_spec(options.reward))
    rows, total = read_rows(options.data)
    if options.limit is not None:
        if options.limit < 1:
            raise ValueError(f"--limit must be at least 1, got {options.limit}.")
        rows, total = itertools.islice(rows, options.limit), min(options.limit, total or options.limit)
    if options.output is not None and options.output.exists() and options.output.samefile(options.data):
        raise ValueError(f"--output {str(options.output)!r} is also the input file. Name another one.")
    columns: dict[str, None] = {}  # all that were seen, in order
    tally = Tally(options.expect)
    start = time.perf_counter()
    with (
        tqdm(total=total, unit=" rows", disable=not sys.stderr.isatty(), leave=False) as bar,
        open(options.output or os.devnull, "w", encoding="utf-8") as output,
    ):
        while batch := list(itertools.islice(rows, BATCH)):
            columns.update(dict.fromkeys(name for row in batch for name in row))
            _check_columns(options, renamed, list(columns))
            batch = [{**row, **{name: row.get(source) for name, source in renamed.items()}} for row in batch]
            for row, grade in zip(
                batch, grade_rows(reward, batch, [*columns, *renamed], options.completion), strict=True
            ):
                line, right = tally.add(row, grade)
                if options.show == "all" or (options.show == "wrong" and not right):
                    bar.write(line)
                if options.output:
                    graded = {**row, "reward": grade.reward, "reason": grade.reason}
                    output.write(json.dumps(graded, default=str) + "\n")
            bar.update(len(batch))
    if not tally.rows:
        raise ValueError(f"{str(options.data)!r} holds no rows.")
    print(tally.summary(time.perf_counter() - start))
    return 1 if tally.failed or tally.unexpected else 0


def _spec(text: str) -> str | dict[str, Any]:
    if not text.lstrip().startswith("{"):
        return text
    import yaml

    from ..recipes.reading import load_yaml

    try:
        return load_yaml(text)
    except yaml.YAMLError as error:
        raise ValueError(f"--reward {text!r} is not a mapping: {error}") from error


def _renamed(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if not all(pair.partition("=")):
            raise ValueError(f"--column takes NAME=COLUMN, such as solution=answer, got {pair!r}.")
    return {name: column for name, _, column in (pair.partition("=") for pair in pairs)}


def _check_columns(options: Any, renamed: dict[str, str], columns: list[str]) -> None:
    for option, column in [
        ("--completion", options.completion),
        ("--expect", options.expect),
        *(("--column", source) for source in renamed.values()),
    ]:
        if column is not None and column not in columns:
            raise ValueError(
                f"{option}: {str(options.data)!r} has no column {column!r} (found: {', '.join(columns)})."
                f"{did_you_mean(column, columns)}"
            )


if __name__ == "__main__":
    sys.exit(main())
