"""
Calls in test code that an answer could mislead, made through functions of ours.

`float`, `complex` and numpy's floats may read a NaN from text. `zip` and `map` stop at the shorter side, so that an
empty answer agrees with every expected value: `all(a == b for a, b in zip(f(3), [0, 1, 4]))`.
"""

import ast
import itertools
from collections.abc import Callable
from typing import Any

from . import _arrays, _numeric
from ._flow import CANDIDATE, position
from ._link import Link
from ._proxy import Proxy
from ._reading import Reading


_ONE = {"float": "__checked_float__", "complex": "__checked_complex__", "type": "__plain_type__"}
_SIDES = {"zip": "__checked_zip__", "map": "__checked_map__"}
_NEEDED = {*_ONE, *_SIDES}
_MADE = "__checked_result__"
_NUMPY_FLOATS = {"float64", "float32", "float16", "double", "single", "longdouble", "complex128", "complex64"}
_END = object()


class Calls(ast.NodeTransformer):
    """
    Replaces the functions in such calls.

    Args:
        reading ([`Reading`]): Of the test code; names that it defines are left alone.
    """

    def __init__(self, reading: Reading):
        self.reading = reading
        self.own = reading.defined | reading.submission
        self.needed = not _NEEDED.isdisjoint(reading.uses) or any(
            node.attr in _NUMPY_FLOATS for node in reading.nodes if type(node) is ast.Attribute
        )

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = getattr(node.func, "id", "")
        if name in self.own:
            name = ""
        sides = self._sides(node) if name in _SIDES else []
        self.generic_visit(node)
        if name in _ONE and (name != "type" or len(node.args) == 1):
            node.func = _name(_ONE[name], node.func)
        elif name == "map" and node.args and getattr(node.args[0], "id", "") in {"float", "complex"} - self.own:
            node.args[0] = _name(_ONE[node.args[0].id], node.args[0])  # type: ignore[attr-defined]
        elif getattr(node.func, "attr", "") in _NUMPY_FLOATS:
            node.func = ast.copy_location(ast.Call(_name(_MADE, node.func), [node.func], []), node.func)
        if len(sides) > 1:
            node.func = _name(_SIDES[name], node.func)
            node.args.insert(0, ast.Tuple([ast.Constant(side) for side in sides], ast.Load()))
            ast.fix_missing_locations(node)
        return node

    def _sides(self, node: ast.Call) -> list[bool]:
        """For each thing that is paired, whether it comes from the submission; nothing where they cannot be told."""
        if any(isinstance(arg, ast.Starred) for arg in node.args):
            return []
        tested = self.reading.submission | {CANDIDATE}
        parts = self.reading.flow.parts.get(position(node), [])
        return [bool(sources & tested) for sources in parts[getattr(node.func, "id", "") == "map" :]]


def _name(name: str, at: ast.expr) -> ast.expr:
    return ast.copy_location(ast.Name(name, ast.Load()), at)


def functions(link: Link) -> dict[str, Callable]:
    """What [`Calls`] has the tests call, by name."""

    def checked_zip(theirs: tuple[bool, ...], *sides: Any, strict: bool = False) -> Any:
        return zip(*_checked(link, theirs, sides), strict=strict)

    def checked_map(theirs: tuple[bool, ...], function: Callable, *sides: Any) -> Any:
        return map(function, *_checked(link, theirs, sides))

    return {
        "__checked_float__": _numeric.checked_float, "__checked_complex__": _numeric.checked_complex,
        "__plain_type__": _numeric.plain_type, "__checked_zip__": checked_zip, "__checked_map__": checked_map,
        "__checked_result__": _arrays.guarded_result,
    }  # fmt: skip


def _checked(link: Link, theirs: tuple[bool, ...], sides: tuple[Any, ...]) -> list[Any]:
    """The sides; fails where an empty one is the submission's and another, of the tests, is not empty."""
    kept = list(sides)
    for index, side in enumerate(kept):
        if isinstance(side, Proxy) and not hasattr(type(side), "__len__"):
            items = iter(side)  # type: ignore[call-overload]
            first = next(items, _END)
            kept[index] = link.emptied([]) if first is _END else itertools.chain([first], items)
    sizes = [len(side) if hasattr(type(side), "__len__") else -1 for side in kept]
    filled = [size > 0 and not isinstance(side, range) for size, side in zip(sizes, kept, strict=True)]
    for index, size in enumerate(sizes):
        if size == 0 and any(filled):
            alone = theirs[index] and not any(itertools.compress(theirs, filled))
            if alone or link.is_emptied(kept[index]) or _arrays.is_answer(kept[index]):
                raise link.fail("an empty answer is paired with what is not empty")
    return kept
