"""
Names that test code reads before it binds them itself: `f = lru_cache(f)`, `class A: f = staticmethod(f)`, `for f in
(f,)`. Such a read means what is there already, the submission's, though the tests have a name of their own like it.
"""

import ast
import functools
from collections.abc import Iterable

from ._flow import FUNCTIONS


_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class EarlyReads:
    """
    Args:
        tree (`ast.Module`): The test code.
        nodes (`list[ast.AST]`): All of it.
        names (`set[str]`): Names that it binds anywhere and reads anywhere; without any there is nothing to do.

    Attributes:
        names (`set[str]`): Global names that statements of the module read before any statement can have bound them.
        in_classes (`set[str]`): Names that bodies of classes read from outside and bind as well.
        with_substitute (`set[str]`): Names with a substitute of the tests: `try: f` and `except NameError: f = g`.
    """

    def __init__(self, tree: ast.Module, nodes: list[ast.AST], names: set[str]):
        self.names: set[str] = set()
        self.in_classes: set[str] = set()
        self.with_substitute: set[str] = set()
        self.tree = tree
        self.classes = any(type(node) is ast.ClassDef for node in nodes)
        anywhere = self.classes or any(type(node) is ast.NamedExpr for node in nodes)
        if names & (names if anywhere else _bound_by(tree.body)):
            bound = {name for node in nodes if isinstance(node, (ast.Global, ast.Nonlocal)) for name in node.names}
            self._block(tree.body, bound, None)

    @functools.cached_property
    def everywhere(self) -> set[str]:
        return _bound_outside_classes(self.tree)

    def _block(self, body: Iterable[ast.AST], bound: set[str], local: set[str] | None) -> None:
        """`bound` holds the global names bound so far, `local` those of the class whose body this is."""
        for node in body:
            self._statement(node, bound, local)

    def _statement(self, node: ast.AST, bound: set[str], local: set[str] | None) -> None:
        own = bound if local is None else local
        if isinstance(node, FUNCTIONS):
            self._read([*node.decorator_list, *node.args.defaults, *node.args.kw_defaults], bound, local)
            own.add(node.name)
            for part in ast.walk(node) if self.classes else ():
                if isinstance(part, ast.ClassDef):
                    self._block(part.body, self.everywhere | _bound_outside_classes(node), set())
        elif isinstance(node, ast.ClassDef):
            self._read([*node.decorator_list, *node.bases, *(word.value for word in node.keywords)], bound, local)
            self._block(node.body, bound, set())
            own.add(node.name)
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.While)):
            self._read([node.test if isinstance(node, ast.While) else node.iter], bound, local)
            own |= bound_in(node)  # what a round reads, the one before may have bound
            self._block([*node.body, *node.orelse], bound, local)
        elif isinstance(node, (ast.Try, ast.TryStar)):
            instead = set().union(*map(bound_in, node.handlers))
            for part in node.body:
                self.with_substitute |= (instead & _first_reads(part)) - own - bound
            self._block(node.body, bound | instead, local)
            own |= bound_in(node)
            for handler in node.handlers:
                self._block(handler.body, bound, local)
            self._block([*node.orelse, *node.finalbody], bound, local)
        elif isinstance(node, (ast.If, ast.With, ast.AsyncWith, ast.Match)):
            heads = getattr(node, "items", [getattr(node, "test", None) or getattr(node, "subject", None)])
            for head in heads:
                self._read([head], bound, local)
                own |= bound_in(head)
            for case in getattr(node, "cases", ()):
                own |= bound_in(case.pattern)
                self._read([case.guard], bound, local)
                self._block(case.body, bound, local)
            self._block([*getattr(node, "body", ()), *getattr(node, "orelse", ())], bound, local)
        else:
            self._read([node], bound, local)
            own |= bound_in(node)

    def _read(self, parts: Iterable[ast.AST | None], bound: set[str], local: set[str] | None) -> None:
        for part in parts:
            for name in _first_reads(part) if part is not None else ():
                if name not in bound and (local is None or name not in local):
                    self.names.add(name)
                    if local is not None:
                        self.in_classes.add(name)


def _bound_by(body: list[ast.stmt]) -> set[str]:
    """Names that statements of a module bind, not counting what functions bind for themselves."""
    named = {node.name for node in body if isinstance(node, (*FUNCTIONS, ast.ClassDef))}
    others = (node for node in body if not isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Assert, ast.Import)))
    return named.union(*map(bound_in, others))


def _bound_outside_classes(node: ast.AST) -> set[str]:
    """Names that code binds, with arguments, without what bodies of classes bind for themselves."""
    found, nodes = set(), [node]
    for part in nodes:
        found |= bound_in(part) if isinstance(part, (ast.Name, ast.alias)) else set()
        if isinstance(part, (*FUNCTIONS, ast.ClassDef)):
            found.add(part.name)
        elif isinstance(part, ast.arg):
            found.add(part.arg)
        nodes += [child for child in ast.iter_child_nodes(part) if not isinstance(part, ast.ClassDef)]
    return found


def bound_in(node: ast.AST) -> set[str]:
    """Names that a part of the code binds, in whatever scope."""
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load):
            found.add(part.id)
        elif isinstance(part, (*FUNCTIONS, ast.ClassDef, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and part.name:
            found.add(part.name)
        elif isinstance(part, ast.MatchMapping) and part.rest:
            found.add(part.rest)
        elif isinstance(part, ast.alias):
            found.add((part.asname or part.name).partition(".")[0])
    return found


def _first_reads(node: ast.AST) -> set[str]:
    """Names that a part of the code reads; of those that it assigns by `:=` as well, what the new value is made of."""
    assigned = [part for part in ast.walk(node) if isinstance(part, ast.NamedExpr)]
    before = {part.target.id for part in assigned if part.target.id in _reads(part.value)}
    return (_reads(node) - {part.target.id for part in assigned}) | before


def _reads(node: ast.AST) -> set[str]:
    """Names that are read where the code stands: not in the body of a `lambda`, nor what a comprehension binds."""
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Load) else set()
    if isinstance(node, ast.Lambda):
        return set().union(*map(_reads, filter(None, [*node.args.defaults, *node.args.kw_defaults])))
    if isinstance(node, ast.AnnAssign):
        return _reads(node.value) if node.value is not None else set()
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        return _reads(node.value) | {node.target.id}
    found = set().union(*map(_reads, ast.iter_child_nodes(node)))
    if isinstance(node, _COMPREHENSIONS):
        first = node.generators[0]
        found -= set().union(*(bound_in(generator.target) for generator in node.generators))
        return found | _reads(first.iter)
    return found


def named_in_texts(nodes: Iterable[ast.AST], uses: Iterable[str]) -> set[str]:
    """What tests call by text: `eval("f(2)")`, `globals()["f"]`."""
    found: set[str] = set()
    reads_globals, evaluates = "globals" in uses, not {"eval", "exec"}.isdisjoint(uses)
    for node in nodes if reads_globals or evaluates else ():
        text = node.value if isinstance(node, ast.Constant) else None
        if not isinstance(text, str) or len(text) > 1000:
            continue
        if reads_globals and text.isidentifier():
            found.add(text)
        if evaluates:
            try:
                parts = list(ast.walk(ast.parse(text.strip())))
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
            found |= {part.func.id for part in parts if isinstance(part, ast.Call) and isinstance(part.func, ast.Name)}
    return found
