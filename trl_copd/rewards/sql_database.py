"""SQLite databases of a dataset, opened so that a query can read their tables and nothing else."""

import functools
import re
import sqlite3
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 1_000_000,  # of one text or blob: zeroblob(1e9), printf('%.999999999c')
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 20_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 200,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
}
# Functions whose value depends on their arguments alone. Not among them: random, randomblob, load_extension,
# last_insert_rowid, changes, current_timestamp, and whatever a later SQLite adds
_FUNCTIONS = frozenset(
    "abs avg ceil ceiling char coalesce concat concat_ws count cume_dist degrees dense_rank exp first_value floor "
    "format glob group_concat hex ifnull iif instr json json_array json_array_length json_each json_extract "
    "json_group_array json_group_object json_object json_quote json_tree json_type json_valid lag last_value lead "
    "length like ln log log10 log2 lower ltrim max median min mod nth_value ntile nullif octet_length "
    "percent_rank pi pow power printf quote radians rank replace round row_number rtrim sign sin cos tan asin "
    "acos atan atan2 sinh cosh tanh sqrt string_agg substr substring sum total trim trunc typeof unicode unhex "
    "upper zeroblob -> ->>".split()
)
_PRESENT = re.compile("now|subsec|localtime|utc", re.IGNORECASE)  # in no text of another meaning to these functions
_DATES = ("date", "time", "datetime", "julianday", "unixepoch", "strftime", "timediff")
_CATALOGUE = frozenset(("sqlite_master", "sqlite_schema", "json_each", "json_tree"))
_READS = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE)


class QueryError(ValueError):
    """A query without a result: not allowed, wrong, or too much; the message says which."""


@functools.lru_cache(maxsize=64)
def _built(script: str) -> bytes:
    """Image of the database that a script of the dataset builds."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.executescript(script)
        return connection.serialize()
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        raise QueryError(f"the script of the database fails: {error}") from error
    finally:
        connection.close()


def open_read_only(database: str, backwards: bool = False) -> sqlite3.Connection:
    """
    The database, and nothing else that SQLite could reach, read-only.

    Args:
        database (`str`): A path, or a script.
        backwards (`bool`): Whether rows come in the opposite order where a query asks for none.
    """
    if ";" in database:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.deserialize(_built(database))
    else:
        path = Path(database)
        if not path.is_file():
            raise QueryError(f"there is no file {database!r:.200}, and it is not a script: a script has a `;`")
        uri = f"file:{urllib.parse.quote(str(path.resolve()))}?mode=ro&immutable=1"  # immutable: no lock, no journal
        connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        connection.execute("PRAGMA temp_store=MEMORY")  # sorting must not write files
        connection.execute("PRAGMA query_only=ON")
        connection.execute(f"PRAGMA reverse_unordered_selects={'ON' if backwards else 'OFF'}")
        names = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
        modules = connection.execute("PRAGMA module_list").fetchall()
        # SQLite sets these up at their first use, which the authorizer would take for a CREATE
        connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')")
    except sqlite3.Error as error:
        connection.close()
        raise QueryError(f"the database cannot be read: {error}") from error
    for name in _DATES:
        connection.create_function(name, -1, functools.partial(_date, name), deterministic=True)
    for name in ("printf", "format"):
        connection.create_function(name, -1, _printf, deterministic=True)
    for limit, value in _LIMITS.items():
        connection.setlimit(limit, value)
    tables, virtual = (frozenset(name.lower() for (name,) in found) for found in (names, modules))
    connection.set_authorizer(_authorizer(tables | _CATALOGUE, virtual - _CATALOGUE))
    return connection


def _authorizer(tables: frozenset[str], virtual: frozenset[str]) -> Callable[..., int]:
    """Allows reading `tables` and calling known functions: no write, ATTACH, PRAGMA, transaction, `virtual` table."""

    def decide(action: int, first: str | None, second: str | None, database: str | None, *_: str | None) -> int:
        if action in _READS:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ:
            name = (first or "").lower()
            # count(*) reads no column. Without a database it is of a WITH, or of a virtual table that is built in
            of_query = not second and database is None and name not in virtual and not name.startswith("pragma_")
            return sqlite3.SQLITE_OK if not name or name in tables or of_query else sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in (*_FUNCTIONS, *_DATES):
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    return decide


def _date(name: str, *arguments: Any) -> Any:
    """SQLite's own function, but not for the present time or place, which a grade must not depend on."""
    values = [_as_read(value) for value in arguments]
    times = values[1:] if name == "strftime" else values
    if not times or any(isinstance(time, str) and _PRESENT.search(time) for time in times):
        raise ValueError("the current time and place are not allowed")
    return _compute(name, values)


def _printf(*arguments: Any) -> Any:
    """SQLite's own function, but for widths that take seconds before its limit on lengths is seen."""
    values = [*map(_as_read, arguments[:1]), *arguments[1:]]
    if values and re.search(r"%[^A-Za-z%]*(?:\*|[0-9]{5})", str(values[0])):
        raise ValueError("a width must be written out, with at most four digits")
    return _compute("printf", values)


def _as_read(value: Any) -> Any:
    """A text as SQLite's functions in C read it, up to the first zero; a blob is text to them."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return text.partition("\0")[0] if isinstance(text, str) else text


def _compute(function: str, arguments: Sequence[Any]) -> Any:
    marks = ",".join("?" * len(arguments))
    return _calculator().execute(f"SELECT {function}({marks})", arguments).fetchone()[0]


@functools.lru_cache(maxsize=1)
def _calculator() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", check_same_thread=False)
