"""Blocks fenced by backticks, as models put data and proofs into."""

import re
from collections.abc import Collection


# Possessive: a line of many letters and then a backtick is no fence, which must not take quadratic time to see
_FENCE = re.compile(r"[ \t]*+(`{3,}+)[ \t]*+([^`\s]*+)[^`]*+")


def last_block(text: str, languages: Collection[str]) -> str | None:
    """
    The last fenced block in one of `languages`.

    A fence is a line of three backticks or more, and the opening one may name a language after them. What closes it
    has at least as many and no language.

    Args:
        text (`str`): Markdown.
        languages (`Collection[str]`): First words after the opening fence that count, lower case; `""` for none.

    Returns:
        `str` or `None`: The inside of the block; `None` if there is no such block, or the last one was never closed:
        an answer that was cut off is not an answer.
    """
    found: str | None = None
    fence, language, inside = "", "", list[str]()
    for line in text.replace("\r\n", "\n").split("\n"):
        match = _FENCE.fullmatch(line)
        if not fence and match:
            fence, language, inside = match[1], match[2].lower(), []
        elif fence and match and match[1].startswith(fence) and not match[2]:
            found = "\n".join(inside) if language in languages else found
            fence = ""
        elif fence:
            inside.append(line)
    # a fence without a language that nothing follows closes once more what was closed, and opens nothing
    cut_off = fence and language in languages and (language or "".join(inside).strip())
    return None if cut_off else found
