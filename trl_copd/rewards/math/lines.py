"""Answers of several lines: the steps of a derivation, a system of equations, a function by pieces."""

import re
from collections.abc import Callable

from .bounds import Unreadable
from .brackets import split
from .equations import final_claim
from .kinds import Reading
from .region import complement


_STEP = re.compile(r"[=<>≤≥≈⇒]")
_ELSE = re.compile(r"(?:«?(?:if |when |for )?(?:otherwise|else|elsewhere)»?)", re.IGNORECASE)
_IF = re.compile(r"(?:«(?:if|when|for|where|and|as)»|if |when |for )+", re.IGNORECASE)


def read_lines(inner: str, read: Callable[[str], Reading]) -> Reading:
    """
    What stands in `⟪⟫`, of which `§` marks a brace before it: a system's lines hold together, or are the pieces of a
    function; of a derivation the last line counts.
    """
    system, inner = inner.startswith("§"), inner.removeprefix("§")
    rows = [split(row, re.compile("¦"))[0] for row in split(inner, re.compile("‖"))[0]]
    rows = [row for row in rows if any(row)]
    if not rows:
        raise Unreadable("it has no lines")
    if system and (pieces := [_piece(row) for row in rows]) and all(pieces) and len(pieces) > 1:
        return _function([piece for piece in pieces if piece], read)
    lines: list[str] = []
    for row in rows:
        line = " ".join(row).strip().rstrip(",;.").strip()
        if lines and line and _STEP.match(line) and not system:
            lines[-1] += f" {line}"  # "= 5" goes on from the line before
        elif line:
            lines.append(line)
    if system:
        return read(" and ".join(lines)) if len(lines) > 1 else read(lines[0])
    claims: list[Reading | None] = []
    for line in lines:
        try:
            claims.append(read(line.removeprefix("⇒")))
        except Unreadable:
            claims.append(None)
    named = [claim for claim in claims if claim and claim.label]
    if len(named) == len(claims) == len({claim.label for claim in named}) > 1:
        return Reading("list", items=tuple(named))
    return final_claim(claims)


def _piece(row: list[str]) -> tuple[str, str] | None:
    """The value and the condition of a row."""
    if len(row) == 1:
        parts, _ = split(row[0], re.compile(r"[,;](?! ?$)|(?=«(?:if|when|for|otherwise)»)"))
        row = [part for part in parts if part]
    if len(row) != 2:
        return None
    value, condition = row[0].rstrip(",; "), row[1].strip(" ,;.")
    if not value or re.search(r"[=<>≤≥≠∈]", re.sub(r"^[^=]*=(?=.)", "", value)):
        return None
    if _ELSE.fullmatch(condition):
        return value, ""
    condition = _IF.sub("", condition).strip()
    return (value, condition) if re.search(r"[<>≤≥≠=∈]", condition) and not re.match(r"[=<>≤≥≈]", condition) else None


def _function(pieces: list[tuple[str, str]], read: Callable[[str], Reading]) -> Reading:
    """Pairs of a value and where it is the value, in no order."""
    items, elsewhere = [], None
    for value, condition in pieces:
        if condition:
            items.append((read(value), read(condition)))
        else:
            elsewhere = read(value)
    if elsewhere is not None:
        items.append((elsewhere, complement([where for _, where in items])))
    return Reading("pieces", items=tuple(Reading("tuple", "()", pair) for pair in items))
