"""What test code asks for by its form: which loops assert something, which assertions an empty answer satisfies."""

import ast
from typing import Any


LOOPS = (ast.For, ast.AsyncFor, ast.While)
QUANTIFIERS = {"all", "any", "sum"}
AROUND = {"enumerate", "sorted", "list", "reversed", "iter", "set", "tuple", "zip", "range", "len", "map", "filter"}
EMPTY = {"[]", "{}", "()", "set()", "''", "0", "None", "frozenset()", "list()", "dict()", "tuple()", "0.0", "b''"}
Sides = list[tuple[ast.expr, set[str]]]  # what an assertion compares, and where it comes from
_VIEWS = {"items", "keys", "values", "copy"}
_ABOUT_ELEMENTS = set("issubset isdisjoint startswith endswith assertnotin assertlessequal".split())


def goes_over(function: ast.AST) -> bool:
    kinds = (*LOOPS, ast.comprehension)
    return any(isinstance(node, kinds) or called(node) in QUANTIFIERS for node in ast.walk(function))


def asserts(node: ast.AST, checking: set[str]) -> bool:
    if isinstance(node, ast.If):  # what it finds is noted, and asserted later
        return any(map(_notes, node.body))
    if isinstance(node, ast.Call):
        return called(node) in checking or called(node).lower().startswith(("assert", "fail"))
    if isinstance(node, ast.Return):
        return isinstance(node.value, ast.Constant) and node.value.value is False
    return isinstance(node, (ast.Assert, ast.Raise))


def guards(node: ast.If) -> bool:
    """`if r: assert r[0] == 1`, and not `if r != 1: fail()`, which passes by not being entered."""
    if node.orelse or can_only_fail(node):
        return False
    calls = (part.value for part in node.body if isinstance(part, ast.Expr))
    return any(isinstance(part, ast.Assert) for part in node.body) or any(
        called(call).startswith("assert") for call in calls
    )


def _notes(node: ast.stmt) -> bool:
    """`ok = False`, `bad += 1`, `bad.append(x)`."""
    if isinstance(node, ast.Assign):
        return isinstance(node.value, ast.Constant) and node.value.value is False
    return isinstance(node, ast.AugAssign) or called(getattr(node, "value", None)) in ("append", "add")


def can_only_fail(loop: Any) -> bool:
    """Whether each round fails: the loop demands that there is nothing."""
    for node in loop.body:
        value: Any = node.value if isinstance(node, (ast.Expr, ast.Return)) else getattr(node, "test", None)
        if isinstance(node, ast.Raise) or called(value) == "fail":
            return True
        if isinstance(node, (ast.Assert, ast.Return)) and isinstance(value, ast.Constant) and not value.value:
            return True
    return False


def called(node: ast.AST | None) -> str:
    function = getattr(node, "func", None)
    return getattr(function, "attr", "") or getattr(function, "id", "")


def is_written(node: ast.expr) -> bool:
    return not any(isinstance(part, (ast.Name, ast.Call)) for part in ast.walk(node))


def compares_with_more(sides: Sides) -> bool:
    """Whether one side is the tests' own, and neither empty nor a type."""
    types = ("type", "__plain_type__")  # `_calls` renames it
    if any(called(side) in types or getattr(side, "attr", "") == "__class__" for side, _ in sides):
        return False
    own = [side for side, sources in sides if not sources]
    return len(own) < len(sides) and any(ast.unparse(side) not in EMPTY for side in own)


def base_of(node: ast.expr) -> ast.expr:
    """`f(2)` of `sorted(f(2).items())`."""
    while isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in _VIEWS and not node.args:
            node = node.func.value
        elif getattr(node.func, "id", "") in AROUND and node.args:
            node = node.args[-1] if getattr(node.func, "id", "") in ("map", "filter") else node.args[0]
        else:
            break
    return node


def is_weak(part: ast.expr) -> bool:
    """Whether it is about elements: `r == sorted(r)`, `set(r) <= {1, 2}`, and not about a type."""
    if isinstance(part, ast.UnaryOp):
        return isinstance(part.operand, ast.BinOp)
    if isinstance(part, ast.Compare):
        return not any(isinstance(operator, (ast.NotEq, ast.Is, ast.IsNot)) for operator in part.ops)
    return called(part).lower() in _ABOUT_ELEMENTS


def asks_to_be_empty(part: ast.expr, sides: Sides) -> bool:
    """`f(2) == []`, `not f(2)`, `assertEqual(len(f(2)), 0)`."""
    if isinstance(part, ast.Compare) and not all(isinstance(operator, (ast.Eq, ast.Is)) for operator in part.ops):
        return False
    if called(part).startswith("assertNot"):
        return False
    return any(ast.unparse(side) in EMPTY for side, _ in sides) or _denies(part)


def _denies(part: ast.expr) -> bool:
    """`not f(2)`, `assertFalse(f(2))`."""
    denied = isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.Not) and not isinstance(part.operand, ast.BinOp)
    return denied or called(part) == "assertFalse"
