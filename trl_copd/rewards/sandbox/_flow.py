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
    """

    def __init__(self, tree: ast.Module, free: set[str]):
        self.free = free
        self.units: list[set[str]] = []
        self.arguments: dict[Position, set[str]] = {}
        self.parameters: dict[str, set[str]] = {}
        for _ in range(2):  # the second time with what the functions of the tests are called with
            self.units.clear()
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
        headers = [part for part in ast.iter_child_nodes(node) if isinstance(part, (ast.expr, ast.withitem))]
        found: set[str] = set().union(*(self.sources(part, scope) for part in headers))
        for part in headers:
            self._calls(part, scope)
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            inner = dict(scope)
            if isinstance(node, FUNCTIONS):
                names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                inner.update({name: set(self.parameters.get(node.name, ())) for name in names})
                if node.name == "check" and names:
                    inner[names[0]] = inner[names[0]] | {CANDIDATE}
            scope[node.name] = set(scope.get(node.name, ())) | found
            found = found | self._block(node.body, inner)
            scope[node.name] = found
            return found
        if isinstance(node, (ast.With, ast.AsyncWith)):
            self._spread(node.items, found | self._block(node.body, scope), scope)
        elif isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.For, ast.AsyncFor, ast.Expr)):
            self._spread(headers, found, scope, only_calls=isinstance(node, (ast.For, ast.AsyncFor)))
        if isinstance(node, ast.Assert):
            for part in node.test.values if isinstance(node.test, ast.BoolOp) else [node.test]:
                self.units.append(self.sources(part, scope))
        elif isinstance(node, (ast.Expr, ast.If, ast.While)):
            self.units.append(self.sources(getattr(node, "test", None) or getattr(node, "value", None), scope))
        if isinstance(node, (ast.Try, ast.TryStar)):
            tried = self._block(node.body, scope)
            for handler in node.handlers:
                scope.update({handler.name: tried} if handler.name else {})
                self._block(handler.body, scope)
            return found | tried | self._block([*node.orelse, *node.finalbody], scope)
        if isinstance(node, ast.Match):
            for case in node.cases:
                found = found | self._block(case.body, scope)
        inside = [*getattr(node, "body", ()), *getattr(node, "orelse", ())]
        return found if isinstance(node, (ast.With, ast.AsyncWith)) else found | self._block(inside, scope)

    def _spread(
        self, parts: Iterable[ast.AST], found: set[str], scope: dict[str, set[str]], only_calls: bool = False
    ) -> None:
        """What is assigned to, and what a call may have changed, holds something of all of it from here on."""
        for part in parts:
            for node in ast.walk(part):
                if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
                    scope[node.id] = scope.get(node.id, set()) | found
                elif isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
                    self._touch(node.value, found, scope)
                elif isinstance(node, ast.Call):
                    for inner in (node.func, *node.args, *(keyword.value for keyword in node.keywords)):
                        self._touch(inner, self.sources(node, scope), scope)
                elif isinstance(node, ast.withitem) and not only_calls:
                    self._touch(node, found, scope)

    def _touch(self, node: ast.AST, found: set[str], scope: dict[str, set[str]]) -> None:
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and part.id in scope and part.id not in self.parameters:
                scope[part.id] = scope[part.id] | found

    def _calls(self, node: ast.AST, scope: dict[str, set[str]]) -> None:
        for call in ast.walk(node):
            if isinstance(call, ast.Call):
                parts = [*call.args, *(keyword.value for keyword in call.keywords)]
                given: set[str] = set().union(*(self.sources(part, scope) for part in parts))
                self.arguments[position(call)] = self.arguments.get(position(call), set()) | given
                if isinstance(call.func, ast.Name) and given:
                    self.parameters[call.func.id] = self.parameters.get(call.func.id, set()) | given
