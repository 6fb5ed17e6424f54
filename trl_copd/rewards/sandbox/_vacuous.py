"""
Assertions that never ran, because the answer has no elements: `for k, v in f(2).items(): assert v == k * k` and
`assert all(x > 0 for x in f(2))` pass with `{}` and `[]`.

A *site* is a loop or an `if` with an assertion in it, an `all`, `any` or `sum`, or a filter, over what the submission
gave. A row fails where a site was reached and never had an element, if the tests say nothing else about the answers of
that function: no site over them ever had an element, no call returned more than an empty value, and no assertion asks
for more.
It does not fail where emptiness is asked for: `assert f(2) == []` beside the loop over `f(2)`, a loop over `f([])`, or
a loop whose body can only fail.
"""

import ast
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ._asserted import (
    AROUND,
    EMPTY,
    LOOPS,
    QUANTIFIERS,
    asks_to_be_empty,
    asserts,
    base_of,
    called,
    can_only_fail,
    compares_with_more,
    goes_over,
    guards,
    is_weak,
    is_written,
)
from ._flow import FUNCTIONS, Flow, position
from ._link import Link
from ._proxy import ClassProxy, Proxy, proxy_number
from ._reading import Reading


# what an empty answer, or one of the right type, satisfies as well
_WEAK_CALLS = set(
    "isinstance issubclass hasattr callable all any issubset isdisjoint type startswith endswith".split()
)
_WEAK_ASSERTIONS = ("assertnot", "assertfalse", "assertless", "assertisinstance", "assertisnone", "assertcountless")
_STRONG = (ast.Eq, ast.Is, ast.In, ast.Gt, ast.GtE)


class Sites(ast.NodeTransformer):
    """
    Marks the sites of a row's tests, and says at the end whether they ran.

    Args:
        reading ([`Reading`]): Of the test code.
    """

    def __init__(self, reading: Reading):
        self.reading = reading
        kinds = set(map(type, reading.nodes))
        may_be = not kinds.isdisjoint((*LOOPS, ast.If, ast.comprehension)) or not QUANTIFIERS.isdisjoint(reading.uses)
        self.needed = may_be and any(map(self._may_be_site, reading.nodes))
        self.asked_to_be_empty: set[str] = set()
        self.demanded: set[str] = set()
        self.looked = False
        self.outer: int | None = None  # site of the `all` or `any` around
        self.inner = False  # one inside of it was found
        self.loops: list[ast.stmt] = []
        self.sources: list[set[str]] = []
        self.reached: set[int] = set()
        self.ran: set[int] = set()

    @functools.cached_property
    def own(self) -> dict[str, ast.AST]:
        """Functions of the tests."""
        return {node.name: node for node in self.reading.nodes if isinstance(node, FUNCTIONS)}

    @property
    def flow(self) -> Flow:
        return self.reading.flow

    def mark(self, body: list[ast.stmt]) -> list[ast.stmt]:
        self._look()
        return [self.visit(node) for node in body]

    def _look(self) -> None:
        self.asked_to_be_empty, self.demanded = self._asked_to_be_empty(), self._demanded()
        self.looked = True

    def functions(self) -> dict[str, Callable]:
        """What marked test code calls, by name."""

        def reached(number: int, value: Any) -> Any:
            self.reached.add(number)
            return value

        def counted(number: int, items: Iterable[Any]) -> Iterator[Any]:
            for item in items:
                self.ran.add(number)
                yield item

        return {"__reached__": reached, "__ran__": self.ran.add, "__counted__": counted}

    def trouble(self, names: Mapping[str, Any], link: Link) -> str | None:
        """Why the row fails; `None` if something was asserted."""
        silent = [self.sources[number] for number in self.reached - self.ran]
        if link.hollow - link.filled:
            if not self.looked:
                self._look()
            silent += self._weak()
        alive: set[str] = set().union(*(self.sources[number] for number in self.ran), self.demanded)
        for sources in silent:
            numbers = {proxy_number(names[name]) for name in sources if _is_function(names.get(name))}
            if alive.isdisjoint(sources) and (numbers or link.filled).isdisjoint(link.filled):
                return "the answer is empty, and nothing was asserted about it"
        return None

    def _weak(self) -> list[set[str]]:
        """The functions of each comparison that any empty answer satisfies, where none is asked for."""
        return [
            sources
            for part, sides in self.flow.asserted
            if is_weak(part) and not self._demands(part, dict(sides)) and not asks_to_be_empty(part, sides)
            for side, sources in sides
            if sources and not self._may_be_empty(base_of(side))
        ]

    # -- marks

    def visit_For(self, node: ast.For) -> ast.AST:
        return self._loop(node, "iter")

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:
        return self._loop(node, "iter")

    def visit_While(self, node: ast.While) -> ast.AST:
        return self._loop(node, "test")

    def visit_If(self, node: ast.If) -> ast.AST:
        return self._loop(node, "test") if guards(node) else self._inner(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        outer, self.loops = self.loops, []
        self.generic_visit(node)
        self.loops = outer
        return node

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]

    def _loop(self, node: Any, field: str) -> ast.AST:
        head = getattr(node, field)
        node_sources = self.flow.iterated.get(position(head), set())
        node.__dict__["theirs"] = (node_sources, head, field)
        self.loops.append(node)
        chain = [loop for loop in self.loops if loop.__dict__["theirs"][0]]
        site = None
        if chain and self._asserts(node) and not can_only_fail(node):
            site = self._site(loop.__dict__["theirs"] for loop in chain)
        self.generic_visit(node)
        self.loops.pop()
        if site is not None:
            node.body.insert(0, ast.copy_location(ast.Expr(_call("__ran__", site, None, head)), node.body[0]))
            first, around = chain[0], chain[0].__dict__["theirs"][2]
            setattr(first, around, _call("__reached__", site, getattr(first, around), head))
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if getattr(node.func, "id", "") not in QUANTIFIERS - self.reading.defined or len(node.args) != 1:
            self.generic_visit(node)
            return node
        node.args = [self._counted(node.args[0], self.flow.arguments.get(position(node), set()))]
        return node

    def visit_ListComp(self, node: Any) -> ast.AST:
        return self._counted(node, set()) if any(generator.ifs for generator in node.generators) else self._inner(node)

    visit_SetComp = visit_GeneratorExp = visit_DictComp = visit_ListComp

    def _inner(self, node: Any) -> Any:
        self.generic_visit(node)
        return node

    def _counted(self, node: Any, theirs: set[str]) -> Any:
        """What a quantifier or a filter goes over. Of one inside of another the inner one counts, for the outer."""
        generators = getattr(node, "generators", [])
        if generators:
            theirs = set().union(*(self.flow.iterated.get(position(part.iter), set()) for part in generators))
        head = generators[0].iter if generators else node
        before, site = self.outer, self.outer
        if site is None and theirs:
            site = self._site([(theirs, head, "")])
        self.outer, counted = site, self.inner
        self.inner = False
        self.generic_visit(node)
        if site is not None and not self.inner:
            if generators:
                generators[-1].iter = _call("__counted__", site, generators[-1].iter, generators[-1].iter)
            else:
                node = _call("__counted__", site, node, node)
        self.outer, self.inner = before, counted or site is not None
        if site is None or before is not None:
            return node
        if generators:
            generators[0].iter = _call("__reached__", site, generators[0].iter, generators[0].iter)
            return node
        return _call("__reached__", site, node, node)

    def _site(self, loops: Iterable[tuple[set[str], ast.expr, str]]) -> int | None:
        """The number of a new site; `None` where the tests ask for an empty answer."""
        every: set[str] = set()
        for sources, head, _ in loops:
            every |= sources
            base = base_of(head)
            if self._may_be_empty(base):
                return None
        self.sources.append(every)
        return len(self.sources) - 1

    def _may_be_empty(self, base: ast.expr) -> bool:
        return ast.unparse(base) in self.asked_to_be_empty or any(map(self._of_nothing, self._values(base)))

    def _values(self, base: ast.expr) -> list[ast.expr]:
        """The expression, and what is assigned to it if it is a variable."""
        if not isinstance(base, ast.Name):
            return [base]
        assigned = [node for node in self.reading.nodes if isinstance(node, ast.Assign)]
        return [
            base_of(node.value) for node in assigned for to in node.targets if getattr(to, "id", "") == base.id
        ]  # fmt: skip

    def _demanded(self) -> set[str]:
        """Free names about which something is asserted that an empty answer does not satisfy."""
        found: set[str] = set()
        for part, sides in self.flow.asserted:
            if self._demands(part, dict(sides)):
                found |= set().union(*(sources for _, sources in sides))
        return found

    def _demands(self, part: ast.expr, sides: dict[ast.expr, set[str]]) -> bool:
        name = called(part).lower()
        if isinstance(part, ast.Call) and name.startswith("assert"):
            if name.startswith(_WEAK_ASSERTIONS):
                return False
            if name in ("asserttrue", "assertis_true") or len(sides) == 1:
                return all(self._demands(side, {side: sources}) for side, sources in sides.items())
            return compares_with_more(list(sides.items()))
        if isinstance(part, ast.Compare):
            if [getattr(other, "value", None) for other in part.comparators] == [True]:
                return self._demands(part.left, {part.left: set().union(*sides.values())})
            strong = all(isinstance(operator, _STRONG) for operator in part.ops)
            if isinstance(part.ops[-1], ast.In) and isinstance(getattr(part.comparators[-1], "value", None), str):
                return False  # every text holds the empty one
            return strong and (not sides.keys() >= {part.left} or compares_with_more(list(sides.items())))
        if isinstance(part, ast.Call):
            if called(part) in self.own and goes_over(self.own[called(part)]):  # `same(f(2), [])` says what it wants
                return any(ast.unparse(arg) in EMPTY for arg in part.args)
            return name not in _WEAK_CALLS
        if isinstance(part, ast.Name):
            values = self._values(part)
            return not values or all(self._demands(value, {value: {"?"}}) for value in values)
        return not isinstance(part, (ast.UnaryOp, ast.BoolOp, ast.Constant, ast.ListComp, ast.SetComp, ast.DictComp))

    def _may_be_site(self, node: ast.AST) -> bool:
        """A first look, which takes too many rather than too few: knowing where values go takes time."""
        if isinstance(node, ast.comprehension):
            return bool(node.ifs) and not self._is_own(node.iter)
        if isinstance(node, ast.Call):
            generators = getattr(node.args[0], "generators", []) if len(node.args) == 1 else []
            heads = [generator.iter for generator in generators] or node.args
            return getattr(node.func, "id", "") in QUANTIFIERS and not all(map(self._is_own, heads))
        if isinstance(node, ast.While) or (isinstance(node, ast.For) and not self._is_own(node.iter)):
            return self._asserts(node)
        if isinstance(node, ast.If):
            return guards(node)
        return isinstance(node, ast.AsyncFor)

    def _is_own(self, head: ast.expr) -> bool:
        """Whether a loop goes over what is written in the tests, and nothing else is done with it."""
        for node in ast.walk(base_of(head)):
            if isinstance(node, ast.Call) and called(node) not in AROUND:
                return False
            if isinstance(node, ast.Name) and node.id not in AROUND:
                values = self._values(node)
                if not values or not all(map(is_written, values)):
                    return False
                if not all(isinstance(use, (*LOOPS, ast.comprehension)) for use in self.reading.uses[node.id]):
                    return False
        return True

    def _of_nothing(self, node: ast.expr) -> bool:
        """A call whose arguments are empty: `f([])`."""
        if not isinstance(node, ast.Call) or not node.args:
            return False
        values = [self._values(arg) or [arg] for arg in node.args]
        return all(ast.unparse(value) in EMPTY for each in values for value in each)

    def _asked_to_be_empty(self) -> set[str]:
        return {
            ast.unparse(base_of(side))
            for part, sides in self.flow.asserted
            if asks_to_be_empty(part, sides)
            for side, sources in sides
            if sources
        }

    @functools.cached_property
    def checking(self) -> set[str]:
        """Functions of the tests in which something is asserted."""
        found: set[str] = set()
        for _ in range(2):
            found |= {name for name, node in self.own.items() if any(asserts(part, found) for part in ast.walk(node))}
        return found

    def _asserts(self, loop: Any) -> bool:
        """Whether a loop asserts something, or has a function of the tests say no, itself and not in a loop inside."""
        nodes: list[ast.AST] = [*loop.body]
        for node in nodes:
            if asserts(node, self.checking):
                return True
            if not isinstance(node, (*LOOPS, *FUNCTIONS, ast.ClassDef, ast.Lambda)):
                nodes += ast.iter_child_nodes(node)
        return False


def _is_function(value: Any) -> bool:
    return isinstance(value, Proxy) and not isinstance(value, ClassProxy)


def _call(name: str, site: int, value: ast.expr | None, at: ast.AST) -> ast.Call:
    arguments: list[ast.expr] = [ast.Constant(site), *([value] if value is not None else [])]
    call = ast.Call(ast.Name(name, ast.Load()), arguments, [])
    for part in itertools.chain([call, call.func], arguments[:1]):
        ast.copy_location(part, at)
    return call
