"""What a completion submits, what a row tests it with, and when two outputs are the same. Pure text, nothing runs."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..base import after_thinking


PYTHON_TAGS = ("python", "py", "python3", "py3")
# possessive: with backtracking a long line that is no fence takes time that grows with its square
_FENCE = re.compile(r"^([ \t]*+)(`{3,}+|~{3,}+)[ \t]*+([^\s`{]*+)[^`\n]*+$")


def find_submission(completion: str) -> str | None:
    """
    The program that a completion submits: the last fenced block tagged as Python, after any `</think>`.

    Tags count without case (`python`, `py`, `python3`, `py3`). Where no block has such a tag, the last block without a
    tag is taken. A last block that is not closed goes to the end of the text: if it was cut off it will fail by
    itself. Text without a block submits nothing.

    Args:
        completion (`str`): The whole completion.

    Returns:
        `str` or `None`: Source code.
    """
    text = after_thinking(completion)
    if text is None:
        return None
    blocks = fenced_blocks(text)
    for tags in (PYTHON_TAGS, ("",)):
        found = [code for tag, code in blocks if tag in tags]
        if found:
            return found[-1]
    return None


def fenced_blocks(text: str) -> list[tuple[str, str]]:
    """
    Fenced code blocks as (tag in lower case, code). A fence closes with a line of at least as many of the same
    characters; the indentation of the opening one is taken off the lines inside, as blocks stand in lists.
    """
    blocks: list[tuple[str, str]] = []
    lines: list[str] | None = None
    indent = fence = tag = ""
    for line in text.splitlines():
        if lines is None:
            opening = _FENCE.match(line)
            if opening:
                indent, fence, tag, lines = opening[1], opening[2], opening[3].lower(), []
            continue
        bare = line.strip()
        if len(bare) >= len(fence) and not bare.strip(fence[0]):
            blocks.append((tag, "\n".join(lines) + "\n"))
            lines = None
        else:
            lines.append(line.removeprefix(indent))
    if lines:
        blocks.append((tag, "\n".join(lines) + "\n"))
    return blocks


@dataclass(frozen=True)
class CodeTests:
    """
    What a row tests a submission with.

    Args:
        kind (`str`): `"assert"` or `"stdio"`.
        code (`str`): Test code, for `"assert"`.
        entry_point (`str`, *optional*): Name of the function that `check(candidate)` in the test code is called with.
        preamble (`str`): Code that is loaded before the submission: imports or classes that the prompt promised.
        cases (`tuple[tuple[str, str], ...]`): Input and expected output, for `"stdio"`.
    """

    kind: str
    code: str = ""
    entry_point: str | None = None
    preamble: str = ""
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
        except ValueError as error:
            raise ValueError(f"tests are not JSON: {error}") from None
    if not isinstance(reference, dict):
        raise ValueError(f"tests must be a dict or its JSON, got {type(reference).__name__}")
    kind = reference.get("kind")
    optional = {name: _text(reference, name) for name in ("entry_point", "preamble")}
    preamble = optional["preamble"] or ""
    if kind == "assert":
        code = reference.get("code")
        if isinstance(code, (list, tuple)) and all(isinstance(line, str) for line in code):
            code = "\n".join(code)
        if not isinstance(code, str) or not code.strip():
            raise ValueError("tests of kind 'assert' need `code`, a str")
        _check_encodable(code, preamble)
        return CodeTests("assert", code=code, entry_point=optional["entry_point"] or None, preamble=preamble)
    if kind == "stdio":
        cases = reference.get("cases")
        if not isinstance(cases, (list, tuple)) or not cases:
            raise ValueError("tests of kind 'stdio' need `cases`, a list of {'input', 'output'}")
        read = tuple(map(_case, cases))
        _check_encodable(preamble, *(text for case in read for text in case))
        return CodeTests("stdio", preamble=preamble, cases=read)
    raise ValueError(f"`kind` must be 'assert' or 'stdio', got {kind!r}")


def _check_encodable(*texts: str) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"the tests hold half a character: {error}") from None


def _text(reference: dict, name: str) -> str | None:
    value = reference.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"`{name}` must be a str, got {type(value).__name__}")
    return value


def _case(case: Any) -> tuple[str, str]:
    if not isinstance(case, dict) or not isinstance(case.get("output"), str):
        raise ValueError("a case must be {'input': str, 'output': str}")
    data = case.get("input")
    if data is not None and not isinstance(data, str):
        raise ValueError(f"`input` must be a str, got {type(data).__name__}")
    return data or "", case["output"]


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
    return math.isfinite(value) and abs(value - target) <= tolerance * max(1.0, abs(target))
