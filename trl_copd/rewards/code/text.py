"""What a row tests a submission with, and when two outputs are the same. Pure text, nothing runs."""

import ast
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .formats import from_calls, from_texts
from .submission import find_submission


__all__ = ["CodeTests", "find_submission", "read_tests", "same_output"]


@dataclass(frozen=True)
class CodeTests:
    """
    What a row tests a submission with.

    Args:
        kind (`str`): `"assert"` or `"stdio"`.
        code (`str`): Test code, for `"assert"`.
        entry_point (`str`, *optional*): Name of the function that `check(candidate)` in the test code is called with.
        preamble (`str`): Code that is loaded before the submission, and that the test code sees as well: imports or
            classes that the prompt promised.
        prefix (`str`): What a completion without a block continues, e.g. the signature of a function.
        cases (`tuple[tuple[str, str], ...]`): Input and expected output, for `"stdio"`.
    """

    kind: str
    code: str = ""
    entry_point: str | None = None
    preamble: str = ""
    prefix: str = ""
    cases: tuple[tuple[str, str], ...] = ()


def read_tests(reference: Any) -> CodeTests:
    """
    The tests of a row: a dictionary, or the same as JSON, which is how data sets keep what differs from row to row.

    Raises:
        ValueError: They are not readable; says why.
    """
    if isinstance(reference, (str, bytes)):
        try:
            reference = json.loads(reference)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"tests are not JSON: {error}") from None
    if not isinstance(reference, dict):
        raise ValueError(f"tests must be a dict or its JSON, got {type(reference).__name__}")
    kind = reference.get("kind")
    entry_point, preamble, prefix = (_text(reference, name) for name in ("entry_point", "preamble", "prefix"))
    _check_encodable(entry_point, preamble, prefix)
    if kind is None and "inputs" in reference:
        kind = "calls" if reference.get("fn_name") else "stdio"
        reference = {**reference, "cases": from_texts(reference)} if kind == "stdio" else reference
    if kind == "stdio":
        cases = reference.get("cases")
        if not isinstance(cases, (list, tuple)) or not cases:
            raise ValueError("tests of kind 'stdio' need `cases`, a list of {'input', 'output'}")
        read = tuple(map(_case, cases))
        if not any(_lines(output) for _, output in read):
            raise ValueError("no case expects any output, so a program that does nothing would pass")
        _check_encodable(*(text for case in read for text in case))
        return CodeTests("stdio", preamble=preamble, prefix=prefix, cases=read)
    if kind == "assert":
        code = reference.get("code")
        if isinstance(code, (list, tuple)) and all(isinstance(line, str) for line in code):
            code = "\n".join(code)
        if not isinstance(code, str) or not code.strip():
            raise ValueError("tests of kind 'assert' need `code`, a str")
    elif kind == "calls":
        code = from_calls(reference)
    else:
        shown = repr(kind) if isinstance(kind, str) else type(kind).__name__
        raise ValueError(f"`kind` must be 'assert', 'stdio' or 'calls', got {shown}")
    _check_encodable(code)
    if entry_point:
        _check_expression(entry_point)
    return CodeTests("assert", code="".join(code), entry_point=entry_point or None, preamble=preamble, prefix=prefix)


def _check_encodable(*texts: str) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"the tests hold half of a surrogate pair: {error}") from None


def _check_expression(entry_point: str) -> None:
    try:
        ast.parse(entry_point, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"`entry_point` must be a name or an expression such as `Solution().f`: {error}") from None


def _text(reference: dict, name: str) -> str:
    value = reference.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"`{name}` must be a str, got {type(value).__name__}")
    return "".join(value or "")  # a str itself: what is derived from it may not be written to the sandbox


def _case(case: Any) -> tuple[str, str]:
    if not isinstance(case, dict) or not isinstance(case.get("output"), str):
        raise ValueError("a case must be {'input': str, 'output': str}")
    data = case.get("input")
    if data is not None and not isinstance(data, str):
        raise ValueError(f"`input` must be a str, got {type(data).__name__}")
    return "".join(data or ""), "".join(case["output"])


def same_output(output: str, expected: str, tolerance: float | None = None) -> bool:
    """
    Whether a program printed what was expected: line by line, all lines, white space at the ends of lines and empty
    lines at the end of the text apart.

    Args:
        output, expected (`str`): Texts.
        tolerance (`float`, *optional*): Numbers may differ by this much, absolute or relative to the expected one.
    """
    left, right = _lines(output), _lines(expected)
    if tolerance is None or left == right:
        return left == right
    return len(left) == len(right) and all(
        _near(one.split(), other.split(), tolerance) for one, other in zip(left, right, strict=True)
    )


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _near(words: Sequence[str], expected: Sequence[str], tolerance: float) -> bool:
    return len(words) == len(expected) and all(
        one == other or _close(one, other, tolerance) for one, other in zip(words, expected, strict=True)
    )


def _close(word: str, expected: str, tolerance: float) -> bool:
    try:
        value, target = float(word), float(expected)
    except ValueError:
        return False
    # an infinite target, also a number too large for a float, would be near everything
    return math.isfinite(value) and math.isfinite(target) and abs(value - target) <= tolerance * max(1.0, abs(target))
