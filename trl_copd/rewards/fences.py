"""Blocks fenced by backticks, as models put code and data into."""

from collections.abc import Collection


def last_block(text: str, languages: Collection[str]) -> str | None:
    """
    Content of the last closed fenced block in one of `languages`, or `None`.

    A fence is a line of three backticks, and the opening one may name a language after them; compared without case,
    `""` for none. Read line by line: a regular expression over the whole takes quadratic time on fences that no one
    closes.
    """
    found: str | None = None
    language: str | None = None
    body: list[str] = []
    for line in text.splitlines(keepends=True):
        mark = line.strip()
        if language is None:
            if mark.startswith("```") and "`" not in mark[3:]:
                language, body = mark[3:].strip().casefold(), []
        elif mark == "```":
            found = "".join(body) if language in languages else found
            language = None
        else:
            body.append(line)
    return found
