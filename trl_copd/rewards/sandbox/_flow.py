"""Where values of free names go in test code: through variables, calls, loops and functions."""

import ast
from collections.abc import Iterable


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
CANDIDATE = "<candidate>"  # what the parameter of `check` holds
Position = tuple[int, int, int, int]


def position(node: ast.expr) -> Position:
    return node.lineno, node.end_lineno or 0, node.col_offset, node.end_col_offset or 0


def names_in(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


class Flow:
    """
    Which free names the values of expressions come from: through variables, calls that may change what they are given,
    loops, `with` blocks and functions of the tests. It takes too many rather than too few.

    Args:
        tree (`ast.Module`): The test code.
        free (`set[str]`): Names that it does not define.

    Attributes:
        units (`list[set[str]]`): For each comparison, the free names in what it compares.
        arguments (`dict[Position, set[str]]`): For each call, the free names in its arguments.
        parts (`dict[Position, list[set[str]]]`): The same for each positional argument.
        iterated (`dict[Position, set[str]]`): For what each loop goes over, or asks before each round, the free names.
        asserted (`list`): What is asserted outside of loops over values of free names, with each side and its names.
    """

    def __init__(self, tree: ast.Module, free: set[str]):
        self.free = free
        self.units: list[set[str]] = []
        self.arguments: dict[Position, set[str]] = {}
        self.parts: dict[Position, list[set[str]]] = {}
        self.parameters: dict[str, set[str]] = {}  # of the tests' functions: what they are called with
        self.places: dict[tuple[str, int | str], set[str]] = {}  # the same for each parameter, by place and by name
        self.iterated: dict[Position, set[str]] = {}
        self.asserted: list[tuple[ast.expr, list[tuple[ast.expr, set[str]]]]] = []
        self.within = 0  # loops over values of free names
        self.owner = ""  # class whose methods are read
        for _ in range(3):  # again with what the functions of the tests were seen to be called with
            self.units.clear()
            self.asserted.clear()
            self._block(tree.body, {})

    def sources(self, node: ast.AST | None, scope: dict[str, set[str]]) -> set[str]:
        found: set[str] = set()
        for part in ast.walk(node) if node is not None else ():
            if isinstance(part, ast.Name):
                found |= scope.get(part.id, {part.id} & self.free)
        return found

    def _block(self, body: Iterable[ast.stmt], scope: dict[str, set[str]]) -> set[str]:
        return set().union(*(self._statement(statement, scope) for statement in body))

    def _statement(self, node: ast.stmt, scope: dict[str, set[str]]) -> set[str]:
        """The sources of all in the statement; `scope` and the attributes are brought up to date."""
        headers = [part for part in ast.iter_child_nodes(node) if isinstance(part, (ast.expr, ast.withitem))]
        found: set[str] = set().union(*(self.sources(part, scope) for part in headers))
        for part in headers:
            self._calls(part, scope)
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            found = found | self._definition(node, scope)
            scope[node.name] = found
            return found
        if isinstance(node, (ast.With, ast.AsyncWith)):
            found = found | self._block(node.body, scope)
            self._spread(node.items, found, scope)
            return found
        self._spread(headers, found, scope, changes=not isinstance(node, (ast.Assert, ast.If, ast.While)))
        self._compared(node, scope)
        theirs = self._iterates(node, scope)
        for handler in getattr(node, "handlers", ()):
            tried = self._block(node.body, scope)  # type: ignore[attr-defined]
            scope.update({handler.name: tried} if handler.name else {})
            found = found | tried | self._block(handler.body, scope)
        for case in getattr(node, "cases", ()):
            found = found | self._block(case.body, scope)
        inner = [*getattr(node, "body", ()), *getattr(node, "orelse", ()), *getattr(node, "finalbody", ())]
        self.within += theirs
        found = found | self._block(inner, scope)
        self.within -= theirs
        return found

    def _definition(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, scope: dict[str, set[str]]
    ) -> set[str]:
        inner = dict(scope)
        if isinstance(node, ast.ClassDef):
            outer, self.owner = self.owner, node.name
            found = self._block(node.body, inner)
            self.owner = outer
            return found
        names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        for place, name in enumerate(names):
            inner[name] = set().union(*(self.places.get((node.name, key), ()) for key in (place, name, "*")))
        owner, self.owner = self.owner, ""
        if names and owner:  # what one method keeps in `self`, another finds there
            inner[names[0]] = self.parameters.setdefault(f"{owner}.self", set())
        if names and node.name == "check":
            inner[names[0]] = inner[names[0]] | {CANDIDATE}
        found = self._block(node.body, inner)
        self.owner = owner
        if names and owner:
            self.parameters[f"{owner}.self"] = inner[names[0]]
        for part in ast.walk(node):
            for name in part.names if isinstance(part, (ast.Global, ast.Nonlocal)) else ():
                scope[name] = scope.get(name, set()) | inner.get(name, set())
        return found

    def _iterates(self, node: ast.stmt, scope: dict[str, set[str]]) -> bool:
        """Whether a loop goes over values of free names, or a `while` or an `if` without `else` depends on them."""
        asks = isinstance(node, ast.While) or (isinstance(node, ast.If) and not node.orelse)
        head = getattr(node, "iter", None) or (node.test if asks else None)  # type: ignore[attr-defined]
        if head is None:
            return False
        sources = self.sources(head, scope)
        self.iterated[position(head)] = self.iterated.get(position(head), set()) | sources
        return bool(sources)

    def _compared(self, node: ast.stmt, scope: dict[str, set[str]]) -> None:
        """What an `assert`, a call such as `self.assertEqual(...)`, or `if ...: raise` is about."""
        parts: list[ast.expr] = []
        if isinstance(node, ast.Assert):
            parts = node.test.values if isinstance(node.test, ast.BoolOp) else [node.test]
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            called = node.value.func
            name = getattr(called, "attr", "") or getattr(called, "id", "")
            parts = [node.value] if name.lower().startswith("assert") else []
        elif isinstance(node, ast.If) and any(isinstance(part, ast.Raise) for part in node.body):
            parts = [node.test]
        self.units.extend(self.sources(part, scope) for part in parts)
        for part in parts if not self.within else ():
            self.asserted.append((part, [(side, self.sources(side, scope)) for side in _sides(part)]))

    def _spread(
        self, parts: Iterable[ast.AST], found: set[str], scope: dict[str, set[str]], changes: bool = True
    ) -> None:
        """What is assigned to, and what a call may have changed, holds something of all of it from here on."""
        for part in parts:
            for node in ast.walk(part):
                if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
                    scope[node.id] = scope.get(node.id, set()) | found
                elif isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
                    self._touch(node.value, found, scope)
                elif isinstance(node, ast.Call) and changes:
                    for inner in (node.func, *node.args, *(keyword.value for keyword in node.keywords)):
                        self._touch(inner, self.sources(node, scope), scope)
                elif isinstance(node, ast.withitem):
                    self._touch(node, found, scope)

    def _touch(self, node: ast.AST, found: set[str], scope: dict[str, set[str]]) -> None:
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and part.id in scope and part.id not in self.parameters:
                scope[part.id] = scope[part.id] | found

    def _calls(self, node: ast.AST, scope: dict[str, set[str]]) -> None:
        for call in ast.walk(node):
            if isinstance(call, ast.comprehension):
                head = position(call.iter)
                self.iterated[head] = self.iterated.get(head, set()) | self.sources(call.iter, scope)
            elif isinstance(call, ast.Call):
                parts = [*call.args, *(keyword.value for keyword in call.keywords)]
                each = [self.sources(part, scope) for part in parts]
                given: set[str] = set().union(*each)
                before = self.parts.get(position(call), [set()] * len(call.args))
                self.parts[position(call)] = [old | new for old, new in zip(before, each, strict=False)]
                self.arguments[position(call)] = self.arguments.get(position(call), set()) | given
                if isinstance(call.func, ast.Name) and given:
                    self.parameters[call.func.id] = self.parameters.get(call.func.id, set()) | given
                    self._place(call, each)  # type: ignore[arg-type]

    def _place(self, call: ast.Call, each: list[set[str]]) -> None:
        """What a function of the tests is called with, for each of its parameters; `"*"` is all of them."""
        name = call.func.id  # type: ignore[attr-defined]
        keys: list[int | str] = [*range(len(call.args)), *(keyword.arg or "*" for keyword in call.keywords)]
        if any(isinstance(arg, ast.Starred) for arg in call.args):
            keys = ["*"] * len(keys)
        for key, sources in zip(keys, each, strict=True):
            self.places[name, key] = self.places.get((name, key), set()) | sources


def _sides(part: ast.expr) -> list[ast.expr]:
    """What an assertion compares, or is about."""
    if isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.Not):
        part = part.operand
    if isinstance(part, ast.Compare):
        return [part.left, *part.comparators]
    if isinstance(part, ast.Call) and part.args:
        name = getattr(part.func, "attr", "") or getattr(part.func, "id", "")
        return part.args if name.lower().startswith("assert") else [part]
    return [part]
