"""JSON as RFC 8259 has it, with bounds: what a reward may read from a model without surprises."""

import json
import re
from collections import Counter
from typing import Any


MAX_CHARS = 100_000
MAX_DEPTH = 64  # of arrays and objects within each other: Python's own limit depends on the stack
MAX_DIGITS = 1_000  # of one number: longer ones are slow to read, and floats of them are infinite


class StrictJSONError(ValueError):
    """A text that is not strict JSON within the bounds; the message says why."""


def parse_json(text: str) -> Any:
    """
    Value of a JSON text.

    Args:
        text (`str`): JSON. Refused, though Python's `json` takes them: `NaN` and `Infinity`, objects with a repeated
            key (which of the values would count?), lone surrogates, numbers that overflow; and what is beyond the
            bounds of this module.

    Returns:
        `Any`: `dict`, `list`, `str`, `int`, `float`, `bool` or `None`.

    Raises:
        StrictJSONError: Not JSON, or refused.
    """
    if len(text) > MAX_CHARS:
        raise StrictJSONError(f"it has {len(text)} characters, more than {MAX_CHARS}")
    if _depth(text) > MAX_DEPTH:
        raise StrictJSONError(f"it is nested more than {MAX_DEPTH} deep")
    try:
        value = json.loads(
            text, object_pairs_hook=_no_repeats, parse_constant=_refuse, parse_int=_integer, parse_float=_float
        )
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise StrictJSONError(f"it is not JSON: {error}") from error
    except UnicodeEncodeError as error:
        raise StrictJSONError("it has half of a surrogate pair") from error
    return value


def _depth(text: str) -> int:
    """Deepest nesting of brackets outside of strings; for text that is not JSON, any number."""
    depth = deepest = 0
    # a string without an end matches up to the end of the text: to try again from each quote would be quadratic
    for token in re.finditer(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', text, re.DOTALL):
        if token[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in "]}":
            depth -= 1
    return deepest


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        repeated, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise StrictJSONError(f"an object has the key {repeated!r:.100} twice")
    return value


def _refuse(constant: str) -> Any:
    raise StrictJSONError(f"{constant} is not JSON")


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise StrictJSONError(f"a number has {len(text)} digits, more than {MAX_DIGITS}")
    return int(text)


def _float(text: str) -> float:
    number = float(text) if len(text) <= MAX_DIGITS else float("inf")
    if number in (float("inf"), float("-inf")):
        raise StrictJSONError(f"the number {text:.50} is too large")
    return number
