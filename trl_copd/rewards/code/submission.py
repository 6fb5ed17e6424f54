"""Which program a completion submits. Pure text, nothing runs."""

import ast
import re
from dataclasses import dataclass
from typing import Literal

from ..base import after_thinking


PYTHON_TAGS = ("python", "py", "python3", "py3")
Blocks = Literal["last", "all"]
Unfenced = Literal["nothing", "program", "continuation"]
# possessive: with backtracking a long line that is no fence takes time that grows with its square
_FENCE = re.compile(r"^([ \t]*+)(`{3,}+|~{3,}+)[ \t]*+([^\s`{]*+)[^`\n]*+$")
# what ends a line for Python and Markdown: `splitlines` also breaks at characters that may stand in a literal
_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True)
class Submission:
    """
    What is graded.

    Args:
        code (`str`): The program.
        what (`str`): Which part of the completion it is, for the reason of a verdict.
    """

    code: str
    what: str


def read_submission(
    completion: str, blocks: Blocks = "last", unfenced: Unfenced = "nothing", prefix: str = ""
) -> Submission | None:
    """
    The program that a completion submits: Python blocks after any `</think>`.

    Tags count without case (`python`, `py`, `python3`, `py3`). Where no block has such a tag, blocks without a tag are
    taken. A last block that is not closed goes to the end of the text: if it was cut off it will fail by itself.

    Args:
        completion (`str`): The whole completion.
        blocks (`str`, *optional*, defaults to `"last"`):
            `"last"`: the last block alone. `"all"`: all of them, one after the other, without those that do not
            compile by themselves (a shell command, a printed session).
        unfenced (`str`, *optional*, defaults to `"nothing"`):
            What a completion without any block submits. `"program"`: its whole text. `"continuation"`: `prefix` and
            the text up to the first line that is not indented, as base models complete a function.
        prefix (`str`, *optional*): What a continuation continues.

    Returns:
        [`Submission`] or `None`: `None` where nothing is submitted.
    """
    text = after_thinking(completion)
    if text is None:
        return None
    found = fenced_blocks(text)
    for tags in (PYTHON_TAGS, ("",)):
        codes = [code for tag, code in found if tag in tags]
        if codes:
            return _join(codes) if blocks == "all" else Submission(codes[-1], _count("the last of {} blocks", codes))
    if found or unfenced == "nothing" or not text.strip():
        return None
    if unfenced == "program":
        return Submission(text, "the text, without a block")
    return Submission(prefix + _body(text), "the text, as a continuation")


def find_submission(completion: str) -> str | None:
    """The program of [`read_submission`] with its defaults."""
    submission = read_submission(completion)
    return None if submission is None else submission.code


def _count(text: str, codes: list[str]) -> str:
    return "the only block" if len(codes) == 1 else text.format(len(codes))


def _join(codes: list[str]) -> Submission:
    kept = [code for code in codes if _compiles(code)] or codes[-1:]
    return Submission("\n".join(kept), _count(f"{len(kept)} of {{}} blocks, joined", codes))


def _compiles(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _body(text: str) -> str:
    """The lines that belong to a function that was begun before."""
    lines = []
    for number, line in enumerate(_LINE_END.split(text)):
        if number and line.strip() and line[0] not in " \t)]}":
            break
        lines.append(line)
    return "\n".join(lines) + "\n"


def fenced_blocks(text: str) -> list[tuple[str, str]]:
    """
    Fenced code blocks as (tag in lower case, code). A fence closes with a line of at least as many of the same
    characters; the indentation of the opening one is taken off the lines inside, as blocks stand in lists.
    """
    blocks: list[tuple[str, str]] = []
    lines: list[str] | None = None
    indent = fence = tag = ""
    every = _LINE_END.split(text)
    for line in every if every[-1] else every[:-1]:
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
