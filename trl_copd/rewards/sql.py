"""SQL queries, run read-only in SQLite and compared with the reference query by what they return."""

import functools
import math
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .base import Verdict, VerifierReward, after_thinking, verdict_of
from .fences import last_block
from .pool import shared_pool
from .sql_database import QueryError, open_read_only


CPU_SECONDS = 4.0  # of one grade, a backstop: a single function over long texts is one step
MAX_STEPS = 10_000_000  # of SQLite's virtual machine for one query, about half a second
MAX_ROWS = 10_000  # of one result
MAX_BYTES = 10_000_000  # of all values of one result
RELATIVE_TOLERANCE = 1e-9  # between a floating-point number and another number
_STEPS_A_CALL = 1_000  # between two looks at the count

Row = tuple[Any, ...]


@dataclass(frozen=True)
class _Result:
    """Rows of a query, and whether their order counts."""

    rows: list[Row]
    ordered: bool


def verify_sql(completion: str, reference: Any, max_steps: int = MAX_STEPS) -> Verdict:
    """
    Run the query in a completion and compare its result with that of the reference query. Pure: reads nothing but the
    database, and writes nothing.

    Args:
        completion (`str`):
            Text to grade: the last block fenced by backticks, with `sql`, `sqlite` or nothing, after any `</think>`;
            without such a block, the whole text.
        reference (`dict`): `solution` and `database`, as in [`SQLReward`].
        max_steps (`int`): As in [`SQLReward`].

    Returns:
        [`Verdict`]: Unreadable where a database cannot be opened, the reference query fails, or its result is empty.
    """
    solution, databases = reference["solution"], reference["database"]
    databases = list(databases) if isinstance(databases, (list, tuple)) else [databases]
    if not isinstance(solution, str) or not databases or not all(isinstance(text, str) for text in databases):
        return Verdict(None, "`solution` must be a query, and `database` a path, a script, or a list of them")
    try:
        gold = [_gold(text, solution, max_steps) for text in databases]
    except QueryError as problem:
        return Verdict(None, f"the reference query has no result: {problem}")
    if not any(result.rows for result in gold):
        return Verdict(None, "the reference query returns no row, as any query can")
    text = after_thinking(completion)
    if text is None:
        return Verdict(False, "the reasoning was not closed")
    block = last_block(text, ("", "sql", "sqlite"))
    query = text if block is None else block
    for database, expected in zip(databases, gold, strict=True):
        try:
            rows = _run(database, query, max_steps)
        except QueryError as problem:
            return Verdict(False, str(problem))
        if not _same(expected, rows):
            return Verdict(False, f"{len(rows)} rows, not those of the reference's {len(expected.rows)}")
        if expected.ordered and not _orders(database, query, max_steps, solution, expected):
            return Verdict(False, "the rows are in the order in which they are stored, not in one that it asks for")
    return Verdict(True, "the same result")


def _orders(database: str, query: str, max_steps: int, solution: str, expected: _Result) -> bool:
    """Whether a query with the right rows still has them where SQLite reads its tables backwards."""
    try:
        rows = _run(database, query, max_steps, backwards=True)
    except QueryError:
        return False
    # where the reference leaves the order of equal rows open, it may be either way
    return _same(expected, rows) or _same(_gold(database, solution, max_steps, backwards=True), rows)


class SQLReward(VerifierReward):
    """
    Reward 1.0 for a query that returns the same as the query in the column `solution`, else 0.0; see
    [`VerifierReward`] for `None`.

    The column `database` holds the database for both: the path of a SQLite file, or a script (anything with a `;`)
    that builds one. With a list, the result must be the same on each. On one database `SELECT 42` may be right by
    knowing the data, so give two or more with different rows. The SQL of both columns is the dataset's, and trusted.

    Results are compared as multisets of rows, or in order if the reference has an `ORDER BY` outside parentheses. The
    query must then ask for its order: it runs again with rows in the opposite order where it asks for none. The number
    and order of columns count, their names do not. Integers equal floating-point numbers of the same value, within one
    part in 10^9; texts, blobs and NULL equal only themselves.

    Args:
        max_steps (`int`, *optional*, defaults to 10,000,000):
            Steps of SQLite's virtual machine for one query, > 0. Steps are not time, so the limit is the same on any
            machine.
        cpu_seconds (`float`, *optional*, defaults to 4.0):
            CPU time of one grade in seconds, > 0, as a backstop. Grading runs in the shared pool of killable workers.
        name (`str`, *optional*, defaults to `"sql_reward"`): Name in metrics.

    Raises:
        ValueError: `max_steps` is not above 0.

    Example:
    ```python
    >>> from trl_copd.rewards import sql_reward

    >>> script = "CREATE TABLE pet(name, age); INSERT INTO pet VALUES ('Rex', 3), ('Tom', 5);"
    >>> completions = ["SELECT max(age) FROM pet", "```sql\\nSELECT age FROM pet\\n```", "DROP TABLE pet"]
    >>> gold = "SELECT age FROM pet ORDER BY age DESC LIMIT 1"
    >>> sql_reward(prompts=["?"] * 3, completions=completions, solution=[gold] * 3, database=[script] * 3)
    [1.0, 0.0, 0.0]
    ```
    """

    contained = True

    def __init__(self, max_steps: int = MAX_STEPS, cpu_seconds: float = CPU_SECONDS, name: str = "sql_reward"):
        if not max_steps > 0:
            raise ValueError(f"`max_steps` must be above 0, got {max_steps}.")
        verifier = functools.partial(verify_sql, max_steps=max_steps)
        super().__init__(verifier, columns=("solution", "database"), name=name, cpu_seconds=cpu_seconds)

    def verdicts(self, texts: Sequence[str], references: Sequence[Any]) -> list[Verdict]:
        assert self.cpu_seconds is not None
        calls = list(zip(texts, references, strict=True))
        return [verdict_of(outcome) for outcome in shared_pool().map(self.verifier, calls, self.cpu_seconds)]


sql_reward = SQLReward()


# ---- queries ----


@functools.lru_cache(maxsize=256)  # the generations of a group share their reference
def _gold(database: str, query: str, max_steps: int, backwards: bool = False) -> _Result:
    return _Result(_run(database, query, max_steps, backwards), _is_ordered(query))


def _run(database: str, query: str, max_steps: int, backwards: bool = False) -> list[Row]:
    """Rows of a single query, within the limits; `backwards`: those without an order in the opposite one."""
    connection = open_read_only(database, backwards)
    calls = 0

    def count() -> bool:  # true interrupts the query
        nonlocal calls
        calls += 1
        return calls * _STEPS_A_CALL > max_steps

    connection.set_progress_handler(count, _STEPS_A_CALL)
    connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    try:
        cursor = connection.execute(query)
        if cursor.description is None:
            raise QueryError("it is not a query")
        rows, size = [], 0
        for row in cursor:
            rows.append(row)
            size += sum(len(value) if isinstance(value, (str, bytes)) else 8 for value in row)
            if len(rows) > MAX_ROWS or size > MAX_BYTES:
                raise QueryError(f"it returns more than {MAX_ROWS} rows or {MAX_BYTES} bytes")
        return rows
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
        if calls * _STEPS_A_CALL > max_steps:
            raise QueryError(f"it takes more than {max_steps} steps") from error
        raise QueryError(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()


def _is_ordered(query: str) -> bool:
    """Whether a query has an ORDER BY outside of parentheses, texts and comments."""
    tokens = re.findall(
        r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/|[()]|\border\s+by\b",
        query,
        re.IGNORECASE | re.DOTALL,
    )
    depth = 0
    for token in tokens:
        depth += (token == "(") - (token == ")")
        if depth == 0 and token[0] in "oO":
            return True
    return False


# ---- results ----


def _same(gold: _Result, rows: list[Row]) -> bool:
    if len(rows) != len(gold.rows):
        return False
    expected = gold.rows
    if not gold.ordered:
        expected, rows = sorted(expected, key=_sort_key), sorted(rows, key=_sort_key)
    return all(
        len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
        for a, b in zip(expected, rows, strict=True)
    )


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        exact = isinstance(a, int) and isinstance(b, int)
        return a == b if exact else math.isclose(a, b, rel_tol=RELATIVE_TOLERANCE)
    return type(a) is type(b) and a == b


def _sort_key(row: Row) -> list[tuple[int, Any]]:
    """An order in which rows that are equal within the tolerance come together."""
    return [
        (0, 0) if value is None
        else (1, float(f"{value:.8g}")) if isinstance(value, (int, float))
        else (2, value) if isinstance(value, str)
        else (3, value)
        for value in row
    ]  # fmt: skip
