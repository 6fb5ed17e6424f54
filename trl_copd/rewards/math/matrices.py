"""Formulas with matrices in them, such as `c_1 v e^t + c_2 (w + t v) e^{-t}`: computed entry by entry."""

import re
from collections.abc import Callable

from .bounds import Unreadable
from .brackets import closing
from .formula import MAX_NODES, Node, parse
from .kinds import Reading


Entries = list[list[Node]]
_NAME = "M_{{⊙{}}}"  # of a matrix in the formula around it


def matrix_formula(text: str, read: Callable[[str], Reading]) -> Reading:
    """
    The value of a formula with matrices `⟦…⟧`: sums, multiples and products.

    Raises:
        Unreadable: Sizes do not fit, or a matrix stands where a number must.
    """
    if "⊙" in text:
        raise Unreadable("a matrix beside a name that stands for one here")
    matrices: list[Entries] = []
    while (start := text.find("⟦")) >= 0:
        end = closing(text, start)
        reading = read(text[start : end + 1])
        if not all(item.kind == "scalar" and item.value[0] != "∞" for item in reading.items):
            raise Unreadable("a matrix of what has no value")
        rows, columns = reading.value
        cells = [item.value for item in reading.items]
        text = f"{text[:start]} {_NAME.format(len(matrices))} {text[end + 1 :]}"
        matrices.append([cells[row * columns : (row + 1) * columns] for row in range(rows)])
    found = _value(parse(re.sub(r"\s+", " ", text)), matrices)
    if not isinstance(found, list):
        raise Unreadable("a formula with a matrix")
    items = [Reading("scalar", cell) for row in found for cell in row]
    return items[0] if len(items) == 1 else Reading("matrix", (len(found), len(found[0])), tuple(items))


def _value(node: Node, matrices: list[Entries]) -> Node | Entries:
    """A matrix as its rows; a tree without matrices as it is."""
    kind = node[0]
    if kind == "v" and node[1].startswith("M_⊙"):
        return matrices[int(node[1][3:])]
    if kind in "ncv":
        return node
    parts = [_value(part, matrices) if isinstance(part, tuple) else part for part in node[1:]]
    if not any(isinstance(part, list) for part in parts):
        return node
    left, right = (*parts, None)[:2] if kind in "-+*/" else (None, None)
    if kind == "-" and isinstance(left, list):
        return _each(left, lambda cell: ("-", cell))
    if kind == "+" and isinstance(left, list) and isinstance(right, list):
        if (len(left), len(left[0])) != (len(right), len(right[0])):
            raise Unreadable("a sum of matrices of different sizes")
        rows = zip(left, right, strict=True)
        return [[("+", one, other) for one, other in zip(*pair, strict=True)] for pair in rows]
    if kind == "*" and isinstance(left, list) and isinstance(right, list):
        return _product(left, right)
    if kind in "*/" and isinstance(left, list) and right is not None:
        return _each(left, lambda cell: (kind, cell, right)) if not isinstance(right, list) else _no_number()
    if kind == "*" and isinstance(right, list):
        return _each(right, lambda cell: ("*", left, cell))
    return _no_number()


def _no_number() -> Entries:
    raise Unreadable("a formula with a matrix where a number must be")


def _each(rows: Entries, how: Callable[[Node], Node]) -> Entries:
    return [[how(cell) for cell in row] for row in rows]


def _product(left: Entries, right: Entries) -> Entries:
    if len(left[0]) != len(right) or len(left) * len(right) * len(right[0]) > MAX_NODES:
        raise Unreadable("a product of matrices whose sizes do not fit")
    rows: Entries = []
    for row in left:
        rows.append([])
        for column in zip(*right, strict=True):
            total: Node = ("*", row[0], column[0])
            for one, other in zip(row[1:], column[1:], strict=True):
                total = ("+", total, ("*", one, other))
            rows[-1].append(total)
    if sum(_size(cell) for row in rows for cell in row) > 10 * MAX_NODES:
        raise Unreadable("it has too many parts when it is multiplied out")
    return rows


def _size(node: Node) -> int:
    return 1 + sum(_size(part) for part in node if isinstance(part, tuple))
