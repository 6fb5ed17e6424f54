"""Answers of several lines: the steps of a derivation, a system of equations, a function by pieces."""

import re
from collections.abc import Callable
from dataclasses import replace

from .bounds import Unreadable
from .brackets import split
from .equations import final_claim
from .kinds import Reading
from .region import combine_sets, complement, region_of


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
    if len(row) > 2:  # the value, "if" and the condition in cells of their own
        row = [row[0], " ".join(row[1:])]
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


_FEATURE = re.compile(r"[,;]? ?(?:and )?«✦([a-z ]+)»: ?")
_INTEGER = re.compile(r"[,;]? ?\(?«?for (?:any |all |every |each )?integers?»? (?P<k>[a-z])\)?$")
_OF_REGIONS = frozenset(("concave up", "concave down", "increasing", "decreasing"))


def read_features(text: str, read: Callable[[str], Reading]) -> Reading | None:
    """What each name of `features.py` names, one or a list; `None` for other texts."""
    found = list(_FEATURE.finditer(text))
    if not found or found[0].start():
        return None
    integer = _INTEGER.search(text)
    text = text[: integer.start()] if integer else text
    ends = [*(match.start() for match in found[1:]), len(text)]
    items = []
    for match, end in zip(found, ends, strict=True):
        item = read(text[match.end() : end] + (f", for integer {integer['k']}" if integer else ""))
        if match[1] in _OF_REGIONS and item.kind == "list":  # on (0, 1) and (2, 3)
            item = combine_sets([region_of(part) for part in item.items], "∪")
        items.append(replace(item, label=f"✦{match[1]}"))
    if len({item.label for item in items}) < len(items):
        raise Unreadable("one feature is named twice")
    return items[0] if len(items) == 1 else Reading("list", items=tuple(items))
