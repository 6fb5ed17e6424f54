r"""
Vectors that stand for the space they span: a basis, and eigenvectors with their eigenvalues. Another basis of the
same space is the same answer; where the reference's vectors are orthonormal, and show it, the answer's must be, too.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from .bounds import Unreadable
from .brackets import split
from .formula import Node, has, variables
from .kinds import Reading
from .value import DIGITS, NoValue, as_float, mp, values


Vector = list[Any]
Reader = Callable[[str], Reading]

MAX_SIZE = 12  # of a vector, and of vectors
_BETWEEN = re.compile(r"[,;:=↔→]|«[^«»]*»|(?<![A-Za-z])(?:and|or)(?![A-Za-z])")
_NAME = re.compile(r"\\?[A-Za-z]+ ?[\u0300-\u20ff]?(?: ?_ ?(?:\w|\{[^{}]*\}))?'*")
_WORDS = frozenset(
    "the is are a an and for to of with where has have eigen eigenvalue eigenvalues eigenvector eigenvectors values"
    " corresponding associated respectively normalized unit orthonormal basis eigenspace span".split()
)
_TRANSPOSED = re.compile(r" ?\^ ?(?:\{ ?T ?\}|T|⊤)$")
_MULTIPLE = re.compile(r"(?P<factor>[^()⟨]*[^()⟨ ]) ?(?P<vector>[(⟨].*,.*[)⟩])")
_SPAN = re.compile(r"^«? ?(?:span|Span)»? ?(?=[(⦃])")
_ZERO: Node = ("n", Fraction(0))


def read_basis(text: str, read: Reader) -> Reading:
    """A basis as it is written: vectors in braces, in a list, or one."""
    parts, _ = split(text.strip(), re.compile(r"[,;]|(?<![A-Za-z])and(?![A-Za-z])"))
    vectors = [vector for part in parts if part for vector in _vectors(part, read)]
    return _basis(vectors)


def _basis(vectors: Sequence[Reading]) -> Reading:
    if not 0 < len(vectors) <= MAX_SIZE or len({len(vector.items) for vector in vectors}) > 1:
        raise Unreadable("no basis")
    numbers = [_numbers(vector) for vector in vectors]
    if _rank(numbers) < len(numbers):
        raise Unreadable("vectors that depend on each other")
    return Reading("basis", items=tuple(vectors))


def read_eigen(text: str, read: Reader) -> Reading:
    r"""
    `\{v, w\} \leftrightarrow 3`, `\lambda=3: v, w`, `\lambda_1=3, v_1=…`: numbers and vectors in turn, either first,
    or first all numbers and then as many vectors.
    """
    words = " ".join(re.findall("«([^«»]*)»", text)).lower()
    if set(re.findall("[a-z]+", words)) - _WORDS:
        raise Unreadable("words beside the eigenvectors")
    parts, _ = split(text, _BETWEEN)
    found: list[Reading | list[Reading]] = []
    for part in parts:
        part = part.strip(" .")
        if not part or _NAME.fullmatch(part) and part not in ("i", "e"):
            continue
        found.append(_vectors_or_none(part, read) or read(part))
    numbers = [item for item in found if isinstance(item, Reading)]
    groups = [item for item in found if not isinstance(item, Reading)]
    if not numbers or not groups or len(found) > 4 * MAX_SIZE:
        raise Unreadable("no eigenvalues with eigenvectors")
    if found == [*numbers, *groups] and len(numbers) == len(groups):
        return _pairs(list(zip(numbers, groups, strict=True)))
    pairs: list[tuple[Reading, list[Reading]]] = []
    if isinstance(found[0], Reading):
        for item in found:
            if isinstance(item, Reading):
                pairs.append((item, []))
            else:
                pairs[-1][1].extend(item)
    else:
        waiting: list[Reading] = []
        for item in found:
            if isinstance(item, Reading):
                pairs.append((item, waiting))
                waiting = []
            else:
                waiting.extend(item)
        if waiting:
            raise Unreadable("eigenvectors without an eigenvalue")
    return _pairs(pairs)


def _pairs(pairs: list[tuple[Reading, list[Reading]]]) -> Reading:
    """One space for each eigenvalue."""
    spaces: list[tuple[Reading, list[Reading]]] = []
    for eigenvalue, vectors in pairs:
        if eigenvalue.kind != "scalar" or variables(eigenvalue.value) or not vectors:
            raise Unreadable("an eigenvalue without a value or vectors")
        value = _number(eigenvalue.value)
        space = next((space for other, space in spaces if _close(_number(other.value), value)), None)
        if space is None:
            spaces.append((eigenvalue, list(vectors)))
        else:
            space.extend(vectors)
    return Reading("eigen", items=tuple(Reading("tuple", "eigen", (one, _basis(space))) for one, space in spaces))


def _vectors(text: str, read: Reader) -> list[Reading]:
    """Columns that a part of a text stands for."""
    text = _SPAN.sub("", _TRANSPOSED.sub("", text.strip(" .")))
    match = _MULTIPLE.fullmatch(text) if "⟦" not in text else None
    if match:
        factor, vector = read(match["factor"]), read(match["vector"])
        if factor.kind == "scalar" and vector.kind == "tuple":
            items = tuple(Reading("scalar", ("*", factor.value, item.value)) for item in vector.items)
            return [_column(Reading("tuple", "()", items))]
    if text[:1] == "⦃" and text[-1:] == "⦄":
        parts, _ = split(text[1:-1], re.compile("[,;]"))
        return [vector for part in parts for vector in _vectors(part, read)]
    return [_column(read(text))]


def _vectors_or_none(text: str, read: Reader) -> list[Reading] | None:
    try:
        return _vectors(text, read)
    except Unreadable:
        return None


def _column(reading: Reading) -> Reading:
    plain = all(item.kind == "scalar" and item.value[0] != "∞" for item in reading.items)
    if not plain or not 1 < len(reading.items) <= MAX_SIZE:
        raise Unreadable("no vector")
    if reading.kind == "tuple" or reading.kind == "matrix" and 1 in reading.value:
        return Reading("matrix", (len(reading.items), 1), reading.items)
    raise Unreadable("no vector")


# ---- comparing ----


def same_basis(gold: Reading, given: Reading) -> bool:
    """Whether two bases span one space; an orthonormal one only equals another."""
    ours, theirs = ([_numbers(vector) for vector in side.items] for side in (gold, given))
    if len(ours) != len(theirs) or len(ours[0]) != len(theirs[0]) or _rank(ours + theirs) != len(ours):
        return False
    return not _orthonormal(ours) or all(map(_is_whole, sum(ours, []))) or _orthonormal(theirs)


def same_eigen(gold: Reading, given: Reading) -> bool:
    """The same eigenvalues with the same spaces."""
    if len(gold.items) != len(given.items):
        return False
    ours = [vector for pair in gold.items for vector in pair.items[1].items]
    normal = any(not _is_whole(number) for vector in ours for number in _numbers(vector))
    normal = normal and all(_orthonormal([_numbers(vector)]) for vector in ours)
    for pair in gold.items:
        value = _number(pair.items[0].value)
        other = [item for item in given.items if _close(_number(item.items[0].value), value)]
        if len(other) != 1 or not same_basis(pair.items[1], other[0].items[1]):
            return False
        if normal and not _orthonormal([_numbers(vector) for vector in other[0].items[1].items]):
            return False
    return True


def as_basis(given: Reading) -> Reading:
    """A list, set, vector, or the general solution that it spans, as a basis. Raises `Unreadable` for others."""
    if given.kind == "basis":
        return given
    if given.kind in ("list", "set") and all(item.kind in ("matrix", "tuple") for item in given.items):
        return _basis([_column(item) for item in given.items])
    column = _column(given)
    names = sorted(set().union(*(variables(item.value) for item in column.items)))
    return _basis([column]) if not names else _basis(_coefficients(column, names))


def _coefficients(column: Reading, names: list[str]) -> list[Reading]:
    """The vectors of `s v + t w`. Raises `Unreadable` where it is not linear."""

    def at(point: dict[str, int]) -> Vector:
        return [_number(_filled(item.value, point)) for item in column.items]

    units = [{name: int(name == other) for name in names} for other in names]
    parts = [at(unit) for unit in units]
    for weights in ([2 + 3 * index for index in range(len(names))], [0] * len(names)):
        whole = at(dict(zip(names, weights, strict=True)))
        for index, entry in enumerate(whole):
            expected = sum(weight * part[index] for weight, part in zip(weights, parts, strict=True))
            if not _close(entry, expected):
                raise Unreadable("no space through 0")
    return [
        Reading("matrix", column.value, tuple(Reading("scalar", _filled(item.value, unit)) for item in column.items))
        for unit in units
    ]


def _filled(node: Node, point: dict[str, int]) -> Node:
    if node[0] == "v":
        return ("n", Fraction(point[node[1]]))
    return tuple(_filled(part, point) if isinstance(part, tuple) else part for part in node)


def as_eigen(given: Reading) -> Reading:
    """`P=…, D=…`, of which one is diagonal, as eigenvectors and eigenvalues. Raises `Unreadable` for others."""
    if given.kind == "eigen":
        return given
    items = given.items if given.kind in ("list", "set") else ()
    if items and all(item.kind == "tuple" and len(item.items) == 2 for item in items):
        return _pairs([(item.items[0], [_column(item.items[1])]) for item in items])  # (3, v), (9, w)
    if len(items) != 2 or any(item.kind != "matrix" or item.value[0] != item.value[1] for item in items):
        raise Unreadable("no eigenvectors with eigenvalues")
    if items[0].value != items[1].value or items[0].value[0] > MAX_SIZE:
        raise Unreadable("matrices of different sizes")
    diagonal = [item for item in items if _diagonal(item) is not None]
    if len(diagonal) == 2:
        diagonal = [item for item in items if item.label in ("D", "\\Lambda")]
    if len(diagonal) != 1:
        raise Unreadable("no diagonal matrix")
    other = items[1] if diagonal[0] is items[0] else items[0]
    size = other.value[0]
    columns = [Reading("matrix", (size, 1), other.items[at::size]) for at in range(size)]
    return _pairs([(value, [column]) for value, column in zip(_diagonal(diagonal[0]) or [], columns, strict=True)])


def _diagonal(matrix: Reading) -> list[Reading] | None:
    size = matrix.value[0]
    if not all(item.kind == "scalar" and item.value[0] != "∞" for item in matrix.items):
        raise Unreadable("a matrix of what has no value")
    for at, item in enumerate(matrix.items):
        if at // size != at % size and (variables(item.value) or not _close(_number(item.value), 0)):
            return None
    return [matrix.items[at * size + at] for at in range(size)]


# ---- numbers ----


def _number(node: Node) -> Any:
    if variables(node) or has(node, "±", "∓"):
        raise Unreadable("an entry that is no number")
    try:
        return values(node, {}, False, 10)[1]
    except NoValue as problem:
        raise Unreadable(str(problem)) from problem


def _numbers(vector: Reading) -> Vector:
    return [_number(item.value) for item in vector.items]


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, (Fraction, int)) and isinstance(other, (Fraction, int)):
        return one == other
    mp.dps = DIGITS
    one, other = (as_float(Fraction(value) if isinstance(value, int) else value) for value in (one, other))
    return bool(abs(one - other) <= (1 + max(abs(one), abs(other))) * mp.mpf(10) ** -40)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Fraction) and value.denominator == 1


def _rank(vectors: Sequence[Vector]) -> int:
    """By elimination with the largest pivots, exactly where all entries are fractions."""
    rows = [list(vector) for vector in vectors]
    if not all(isinstance(entry, Fraction) for row in rows for entry in row):
        mp.dps = DIGITS
        rows = [[as_float(entry) for entry in row] for row in rows]
        largest = [max((abs(entry) for entry in row), default=0) or 1 for row in rows]
        rows = [[entry / size for entry in row] for row, size in zip(rows, largest, strict=True)]
    rank = 0
    for column in range(len(rows[0])):
        pivot = max(range(rank, len(rows)), key=lambda row: abs(rows[row][column]), default=None)
        if pivot is None or _close(rows[pivot][column], 0):
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for row in range(rank + 1, len(rows)):
            factor = rows[row][column] / rows[rank][column]
            rows[row] = [entry - factor * above for entry, above in zip(rows[row], rows[rank], strict=True)]
        rank += 1
        if rank == len(rows):
            break
    return rank


def _orthonormal(vectors: Sequence[Vector]) -> bool:
    mp.dps = DIGITS
    rows = [[as_float(entry) for entry in vector] for vector in vectors]
    for at, one in enumerate(rows):
        for index, other in enumerate(rows[: at + 1]):
            product = sum((a * mp.conj(b) for a, b in zip(one, other, strict=True)), mp.mpf(0))
            if not _close(product, 1 if index == at else 0):
                return False
    return True
