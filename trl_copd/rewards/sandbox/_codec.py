"""
Values on the pipe between the oracle and a submission: JSON, in which everything but None, bool, int, float, str and
lists of these is an object with one key, its tag.

Only exact types pass as values; what `other` makes of the rest (a handle) is the caller's affair. Nothing that arrives
can run code: a decoded value is made of the types named here, out of parts of these types. Shared by both ends, so it
must not assume that what arrives is well formed: [`Malformed`] is all that a bad message can cause.
"""

import cmath
import collections
import contextlib
import datetime
import decimal
import fractions
import json
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any


class Malformed(Exception):
    """A message that no honest end would send."""


_ATOMS = {type(None), bool, int, float, str}
_SEQUENCES: dict[type, str] = {tuple: "t", set: "s", frozenset: "f"}
_MAPPINGS: dict[type, str] = {
    dict: "d", collections.Counter: "C", collections.OrderedDict: "O", collections.defaultdict: "E",
}  # fmt: skip
_VIEWS: dict[type, str] = {type(getattr({}, name)()): name for name in ("keys", "values", "items")}
_CLOCKS: dict[type, str] = {datetime.datetime: "datetime", datetime.date: "date", datetime.time: "time"}
_UNUSUAL = re.compile(r"NaN|Infinity|[eE]\+?\d\d|\d{30}")
_DIGITS = 100_000  # of an int, read in time that grows with their square


def encode(value: Any, other: Callable[[Any], Any]) -> Any:
    """
    What [`dumps`] takes.

    Args:
        value (`Any`): Anything.
        other (`Callable`): Called with what is not a plain value; returns a tagged object.
    """
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is list:
        if set(map(type, value)) <= _ATOMS:
            return value
        return [encode(item, other) for item in value]
    if kind in _SEQUENCES:
        return {_SEQUENCES[kind]: [encode(item, other) for item in value]}
    if kind in _MAPPINGS:
        pairs = [[encode(key, other), encode(item, other)] for key, item in value.items()]
        return {_MAPPINGS[kind]: pairs}
    if kind is bytes or kind is bytearray:
        return {"b" if kind is bytes else "B": value.decode("latin-1")}
    if kind is complex:
        return {"j": [value.real, value.imag]}
    if kind is range:
        return {"r": [value.start, value.stop, value.step]}
    if kind is collections.deque:
        return {"q": [[encode(item, other) for item in value], value.maxlen]}
    if kind is fractions.Fraction:
        return {"F": [hex(value.numerator), hex(value.denominator)]}
    if kind is decimal.Decimal:
        return {"D": str(value)}
    if kind is datetime.timedelta:
        return {"T": ["timedelta", [value.days, value.seconds, value.microseconds]]}
    if kind in _CLOCKS and getattr(value, "tzinfo", None) in (None, datetime.UTC):
        return {"T": [_CLOCKS[kind], value.isoformat()]}
    if kind is slice:
        return {"S": [encode(part, other) for part in (value.start, value.stop, value.step)]}
    if kind in _VIEWS:
        return {"v": [_VIEWS[kind], encode(dict(value.mapping), other)]}
    return other(value)


def dumps(message: Any) -> bytes:
    with _long_integers():
        return json.dumps(message).encode()


def loads(data: bytes, read_float: Callable[[str], float] = float) -> tuple[Any, bool]:
    """
    The message, still encoded, and whether it holds a NaN. `read_float` is called for infinities, and for all floats
    where some have a positive exponent.
    """
    found: list[str] = []

    def constant(name: str) -> float:
        found.append(name)
        return float(name) if name == "NaN" else read_float(name)

    try:
        text = data.decode("ascii")  # of bytes, `json` would take UTF-16 too, in which a NaN looks different
        with _long_integers():
            if not _UNUSUAL.search(text):  # nearly always; a hook takes a decoder of its own
                return json.loads(text), False
            return json.loads(text, parse_constant=constant, parse_float=read_float), "NaN" in found
    except (ValueError, RecursionError) as error:
        raise Malformed(f"unreadable message: {type(error).__name__}") from None


@contextlib.contextmanager
def _long_integers() -> Iterator[None]:
    usual = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(_DIGITS)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(usual)


def decode(value: Any, special: Callable[[str, Any], Any], depth: int = 1000) -> Any:
    """
    The value of an encoded one.

    Args:
        value (`Any`): From [`loads`].
        special (`Callable`): Called with tag and content where the tag is none of the codec's; may raise
            [`Malformed`]. Also called with `"nan"` for a `Decimal` that is no number and a complex number that is not
            finite.
        depth (`int`): Levels of nesting that are taken.

    Raises:
        Malformed: Bad content, or too deep.
    """
    kind = type(value)
    if kind is list:
        if depth <= 0:
            raise Malformed("nested too deeply")
        if set(map(type, value)) <= _ATOMS:
            return value.copy()  # the submission may change it, and the encoded one shows how it was
        return [decode(item, special, depth - 1) for item in value]
    if kind is not dict:
        return value
    if len(value) != 1 or depth <= 0:
        raise Malformed("nested too deeply" if depth <= 0 else "a tag is missing")
    ((tag, content),) = value.items()
    maker = _MAKERS.get(tag)
    if maker is None:
        return special(tag, content)
    try:
        made = maker(content, lambda item: decode(item, special, depth - 1))
        if (tag == "D" and made.is_nan()) or (tag == "j" and not cmath.isfinite(made)):
            return special("nan", made)
        return made
    except Malformed:
        raise
    except (TypeError, ValueError, ArithmeticError, AttributeError, LookupError) as error:
        raise Malformed(f"bad content of {tag!r}: {error}") from None


def _pairs(content: Any, inner: Callable) -> list:
    return [(inner(key), inner(item)) for key, item in content]


def _clock(content: Any) -> Any:
    kind, data = content
    if kind == "timedelta":
        days, seconds, microseconds = data
        return datetime.timedelta(days, seconds, microseconds)
    kinds: dict[str, Any] = {"datetime": datetime.datetime, "date": datetime.date, "time": datetime.time}
    made = kinds[kind].fromisoformat(data)
    if getattr(made, "tzinfo", None) not in (None, datetime.UTC):
        raise Malformed("a time zone that no honest end sends")  # it could not be sent back
    return made


def _view(name: str, content: Any, inner: Callable) -> Any:
    mapping = inner(content)
    if name not in _VIEWS.values() or type(mapping) is not dict:
        raise Malformed("a view of no dictionary")
    return getattr(mapping, name)()


def _counter(pairs: list) -> collections.Counter:
    counter: collections.Counter = collections.Counter()
    dict.update(counter, pairs)
    return counter


_MAKERS: dict[str, Callable[[Any, Callable], Any]] = {
    "t": lambda content, inner: tuple(map(inner, content)),
    "s": lambda content, inner: set(map(inner, content)),
    "f": lambda content, inner: frozenset(map(inner, content)),
    "d": lambda content, inner: dict(_pairs(content, inner)),
    "C": lambda content, inner: _counter(_pairs(content, inner)),
    "O": lambda content, inner: collections.OrderedDict(_pairs(content, inner)),
    "E": lambda content, inner: collections.defaultdict(None, _pairs(content, inner)),
    "b": lambda content, inner: content.encode("latin-1"),
    "B": lambda content, inner: bytearray(content.encode("latin-1")),
    "j": lambda content, inner: complex(*(part + 0.0 for part in content)),  # a text could hide a NaN
    "r": lambda content, inner: range(*map(int, content)),
    "q": lambda content, inner: collections.deque(map(inner, content[0]), content[1]),
    "F": lambda content, inner: fractions.Fraction(int(content[0], 16), int(content[1], 16)),
    "D": lambda content, inner: decimal.Decimal(content),
    "T": lambda content, inner: _clock(content),
    "S": lambda content, inner: slice(*map(inner, content)),
    "v": lambda content, inner: _view(content[0], content[1], inner),
}


def update(old: Any, new: Any) -> None:
    """Make a container hold what its counterpart in the sandbox holds now; inner ones stay the same objects."""
    if type(old) is not type(new):
        return
    if type(old) is list:
        kept = [_merged(left, right) for left, right in zip(old, new, strict=False)]
        old[:] = kept + new[len(kept) :]
    elif type(old) is dict:
        merged = {key: _merged(old[key], value) if key in old else value for key, value in new.items()}
        old.clear()
        old.update(merged)
    elif type(old) is set:
        old.clear()
        old.update(new)
    elif type(old) is bytearray:
        old[:] = new
    elif type(old) is tuple:
        for left, right in zip(old, new, strict=False):
            update(left, right)


def _merged(old: Any, new: Any) -> Any:
    if type(old) is type(new) and type(old) in (list, dict, set, bytearray, tuple):
        update(old, new)
        return old if type(old) is not tuple or old == new else new
    return new
