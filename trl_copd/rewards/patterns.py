"""Patterns as JSON Schema means them, by ECMA-262, in the syntax of Python's `re`."""

import re
import sys


_SETS = {
    "d": "0-9",
    "w": "A-Za-z0-9_",
    "s": r"\t-\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff",
}
_TOKEN = re.compile(r"\\.|.", re.DOTALL)
_FLAGS = re.compile(r"\(\?[a-zA-Z]+\)")  # Python's own, at the start


def as_python(pattern: str) -> str:
    r"""
    A pattern for `re.search` that finds what ECMA-262 finds where Python differs: `$` is the end of the text, also
    before a line end; `\d`, `\w` and `\b` know ASCII only; `\s` and `.` have their own sets.

    Raises:
        ValueError: It is none of Python's, or `[]` or `[^]`, which Python reads otherwise.
    """
    try:
        re.compile(pattern)
        flags = _FLAGS.match(pattern)
        found = flags[0] if flags else ""
        translated = found + _translated(pattern[len(found) :], found)
        re.compile(translated)
    except (re.error, OverflowError, RecursionError, TypeError) as error:
        raise ValueError(str(error)) from error
    return translated


def _translated(pattern: str, flags: str) -> str:
    parts: list[str] = []
    in_set = False
    opened = -1  # where the first character of a set is
    for match in _TOKEN.finditer(pattern):
        token = match[0]
        if not in_set and token == "[":
            in_set, opened = True, match.end() + pattern.startswith("^", match.end())
            if pattern.startswith("]", opened):
                raise ValueError("an empty set, [] or [^]")
        elif in_set and token == "]":
            in_set = False
        elif len(token) == 2 and token[1].lower() in _SETS:
            inside = _SETS[token[1].lower()]
            if in_set:
                token = inside if token[1].islower() else _complement(inside)
            else:
                token = f"[{'' if token[1].islower() else '^'}{inside}]"
        elif not in_set and token in (r"\b", r"\B"):
            token = f"(?a:{token})"
        elif not in_set and token == "$" and "m" not in flags:
            token = r"\Z"
        elif not in_set and token == "." and "s" not in flags:
            token = r"[^\n\r\u2028\u2029]"
        parts.append(token)
    return "".join(parts)


def _complement(inside: str) -> str:
    """The ranges of a set's other characters."""
    finds = re.compile(f"[{inside}]")
    marks = [
        0,
        *(code for code in range(1, 0x10000) if bool(finds.match(chr(code))) != bool(finds.match(chr(code - 1)))),
    ]
    marks = marks[1:] if finds.match("\0") else marks
    ends = [*(mark - 1 for mark in marks[1:]), sys.maxunicode]
    return "".join(rf"\U{first:08x}-\U{last:08x}" for first, last in list(zip(marks, ends, strict=True))[::2])
