"""
What test code says before it runs: which of its names are the submission's, how many tests it holds, and where values
of the submission go. It depends on the reference alone, and so does whether the reference can be read.
"""

import ast
import builtins
import functools
import symtable
from collections.abc import Iterable, Iterator

from . import _library
from ._flow import CANDIDATE, FUNCTIONS, Flow, names_in
from ._scopes import EarlyReads, named_in_texts


MODULES = ("solution", "submission")  # what tests may import the submission as
SETUP = (
    ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign,
    ast.AugAssign, ast.Pass,
)  # fmt: skip
_SCOPES = {*FUNCTIONS, ast.ClassDef, ast.Lambda, ast.comprehension}
_COMPARING_BUILTINS = {
    "abs", "all", "any", "bool", "bytes", "callable", "dict", "enumerate", "float", "frozenset", "getattr", "hasattr",
    "id", "int", "isinstance", "issubclass", "iter", "list", "next", "print", "range", "repr", "round", "set", "str",
    "super", "tuple", "type", "vars", "zip", "len", "sorted", "staticmethod", "classmethod", "property",
}  # fmt: skip


class Unreadable(Exception):
    """The tests themselves are at fault, whatever the submission."""


class Reading:
    """
    Args:
        tree (`ast.Module`): The test code.
        code (`str`): The same as text.
        entry_point (`str`, *optional*): Name, or expression such as `Solution().f`, of what is tested.
        preamble (`ast.Module`, *optional*): Code that both sides have.

    Attributes:
        submission (`set[str]`): Names that are looked up in the submission, builtin ones among them.
        in_classes (`set[str]`): Global names that bodies of classes read.
        library (`dict[str, str]`): Names that tests never import, and where they come from.
        preamble (`set[str]`): Names that the preamble gives to the tests.
        total (`int`): Tests, as far as they can be counted without running anything.

    Raises:
        Unreadable: Nothing of the submission is tested, or it cannot be told what is.
    """

    def __init__(
        self, tree: ast.Module, code: str, entry_point: str | None = None, preamble: ast.Module | None = None
    ):
        self.tree = tree
        self.entry = names_in(ast.parse(entry_point, mode="eval")) if entry_point else set()
        self.nodes = nodes = _nodes(tree)
        self.imported, star = _imported(nodes)
        self.uses = uses = _uses(nodes)
        self.defined = _defined(nodes)
        scopes = any(type(node) in _SCOPES for node in nodes)
        unbound, self.in_classes = _unbound(code) if scopes else (uses.keys() - self.defined, set())
        early = EarlyReads(tree, nodes, self.defined & uses.keys())
        self.in_classes |= early.in_classes
        unbound = unbound | (early.names & self.defined)
        free = {name for name in unbound & uses.keys() if name not in vars(builtins) and name[:2] != "__"}
        if not (free or self.imported or self.entry):
            free = early.with_substitute & uses.keys()
        by_text = named_in_texts(nodes, uses) - self.defined - vars(builtins).keys() if not free else set()
        self.in_classes |= by_text
        sure = self.imported | self.entry | by_text
        self.preamble = {name for name in _given(preamble) & free if name not in sure} if preamble else set()
        starred = _starred(nodes)
        origins = {
            name: starred.get(name) or _library.origin_of(name, uses[name]) for name in free - sure - self.preamble
        }
        self.library = {name: origin for name, origin in origins.items() if origin is not None}
        others = free - sure - self.preamble - set(self.library)
        self._free = free | sure
        tested = sure | others | ({CANDIDATE} if leaves_check(tree) else set())
        self.submission = sure | others | self._tested_too(tested, uses)
        self.library = {name: origin for name, origin in self.library.items() if name not in self.submission}
        self.preamble -= self.submission
        if "isclose" in self.library and "isclose" not in starred:
            raise Unreadable("the tests use 'isclose' and never import it: that of `math` and that of numpy differ")
        for name, origin in self.library.items():
            try:
                _library.load(origin)
            except Exception as error:
                raise Unreadable(f"the tests use {name!r}, which cannot be loaded: {error}") from None
        for name in sorted(others):
            if (self.imported and not star and not self.entry) or (
                name.startswith("assert") and self.submission > {name}
            ):
                raise Unreadable(f"the tests use {name!r}, which they neither define nor import")
        used = others | by_text | (self.submission & set(uses)) | self.imported
        if not used and not leaves_check(tree):
            raise Unreadable("the tests never use the submission (name its function, or give an `entry_point`)")
        derived = sorted(_bases(nodes) & (others | self.imported))
        if derived:
            raise Unreadable(f"the tests derive a class from {derived[0]!r}, which lives in the sandbox")
        self.total = count(tree)

    @functools.cached_property
    def flow(self) -> Flow:
        """Where values go. Few tests need it."""
        return Flow(self.tree, self._free)

    def _tested_too(self, tested: set[str], uses: dict[str, list[ast.AST]]) -> set[str]:
        """Names of a library, of the preamble or of Python that the tests mean as the submission's."""
        if tested:
            names = {name for name in self.library if not self._compares(name)}
            return _subjects(self.flow, names, tested | {CANDIDATE}) if names else set()
        called = {name for name in vars(builtins) if name in uses and not name[:1].isupper() and name[0] != "_"}
        bare = {name for name, origin in self.library.items() if ":" in origin}
        groups = (
            {name for name in bare if not self._compares(name)} | self.preamble,
            bare,
            called - _COMPARING_BUILTINS,
            called,
        )
        for group in groups:
            alone = _alone(self.flow, group) if len(group) > 1 else group
            if alone:
                return alone | (_subjects(self.flow, group - alone, alone) if group > alone else set())
            if group:
                raise Unreadable(f"it is unclear which of {', '.join(sorted(group))} is tested: give an `entry_point`")
        return set()

    def _compares(self, name: str) -> bool:
        return _library.only_compares(name, self.library[name])


def _alone(flow: Flow, names: set[str]) -> set[str]:
    """Those that are what a comparison is about."""
    return {next(iter(unit & names)) for unit in flow.units if len(unit & names) == 1}


def _subjects(flow: Flow, names: set[str], tested: set[str]) -> set[str]:
    """Those of `names` that are compared by themselves. Beside what is tested they serve to compare with."""
    found = set()
    for name in names:
        units = [unit for unit in flow.units if name in unit]
        beside = [unit for unit in units if unit & tested]
        if units and not beside:
            found.add(name)
        elif len(beside) < len(units):
            raise Unreadable(
                f"the tests use {name!r} and never import it: it may be the library's or the submission's"
            )
    return found


# -- names


def _nodes(tree: ast.AST) -> list[ast.AST]:
    """As `ast.walk` gives them, without what says whether a name is read or bound. It runs for each row."""
    found = [tree]
    for node in found:
        for field in node._fields:
            value = getattr(node, field, None)
            if type(value) is list:
                found += [part for part in value if isinstance(part, ast.AST)]
            elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
                found.append(value)
    return found


def _uses(nodes: list[ast.AST]) -> dict[str, list[ast.AST]]:
    """Names that are read, with the expression around each place."""
    found: dict[str, list[ast.AST]] = {}
    for node in nodes:
        for field in node._fields:
            value = getattr(node, field, None)
            for part in value if type(value) is list else (value,):
                if type(part) is ast.Name and type(part.ctx) is ast.Load:
                    found.setdefault(part.id, []).append(node)
    return found


def _defined(nodes: Iterable[ast.AST]) -> set[str]:
    """What test code defines anywhere, imports included."""
    found: set[str] = set()
    for node in nodes:
        if type(node) is ast.Name:
            if type(node.ctx) is not ast.Load:
                found.add(node.id)
        elif type(node) in (ast.Constant, ast.Call, ast.Compare):  # nearly all there is
            continue
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            found.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            found.add(node.rest)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return found


def _unbound(code: str) -> tuple[set[str], set[str]]:
    """Global names that are read and bound in no global scope, and those of them that bodies of classes read."""
    module = symtable.symtable(code, "<tests>", "exec")
    tables = [module]
    for table in tables:
        tables += table.get_children()
    bound, found, in_classes = set(), set(), set()
    for table in tables:
        for symbol in table.get_symbols():
            if table is module or symbol.is_global():
                if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace():
                    bound.add(symbol.get_name())
                if symbol.is_referenced():
                    found.add(symbol.get_name())
                    if table.get_type() == "class":
                        in_classes.add(symbol.get_name())
    return found - bound, in_classes - bound


def _imported(nodes: list[ast.AST]) -> tuple[set[str], bool]:
    """Names that the tests import from the submission, as they call them, and whether they import all."""
    names: set[str] = set()
    star = False
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            star |= any(alias.name == "*" for alias in node.names)
            names |= {alias.asname or alias.name for alias in node.names if alias.name != "*"}
        elif isinstance(node, ast.Import):
            names |= {alias.asname or alias.name for alias in node.names if alias.name in MODULES}
    return names, star


def _starred(nodes: list[ast.AST]) -> dict[str, str]:
    """Names that the tests import from libraries by `*`, and where they come from."""
    modules = [
        node.module
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module not in MODULES and node.names[0].name == "*"
    ]
    return {name: f"{module}:{name}" for module in modules if module for name in _public(module)}


def _bases(nodes: list[ast.AST]) -> set[str]:
    """Names of classes that the tests derive from, other than exceptions, which have a class on this side."""
    bases = [base for node in nodes if isinstance(node, ast.ClassDef) for base in node.bases]
    names = {base.id for base in bases if isinstance(base, ast.Name)}
    return {name for name in names if not name.endswith(("Error", "Exception", "Warning", "Exit", "Interrupt"))}


def _given(preamble: ast.Module) -> set[str]:
    """What a preamble defines, without functions that are left for the submission to write."""
    found: set[str] = set()
    for node in preamble.body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            found |= {node.name} if isinstance(node, ast.ClassDef) or not is_stub(node) else set()
        elif isinstance(node, ast.ImportFrom) and node.module and node.names[0].name == "*":
            found |= _public(node.module)
        else:
            found |= _defined(ast.walk(node))
    return found


def _public(module: str) -> set[str]:
    try:
        loaded = _library.load(module)
    except Exception:
        return set()
    return set(getattr(loaded, "__all__", None) or [name for name in vars(loaded) if name[0] != "_"])


def is_stub(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether the body is empty but for a text, `pass`, `...` or `raise NotImplementedError`."""
    return all(
        isinstance(part, ast.Pass)
        or (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
        or (isinstance(part, ast.Raise) and part.exc is not None and "NotImplementedError" in names_in(part.exc))
        for part in node.body
    )


# -- tests


def leaves_check(tree: ast.Module) -> bool:
    """Whether the tests define `check`, and neither a statement nor a test function calls it."""
    functions = {node.name: node for node in tree.body if isinstance(node, FUNCTIONS)}
    runs = [node for node in tree.body if not isinstance(node, FUNCTIONS) or node.name.startswith("test")]
    return "check" in functions and not any("check" in names_in(node) for node in runs)


def is_test(node: ast.stmt) -> bool:
    """Whether a statement at the top level is a test by itself."""
    if isinstance(node, SETUP) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        return False
    runs = node.body if isinstance(node, ast.If) else [node]  # `if __name__ == "__main__": unittest.main()`
    return not all(isinstance(part, ast.Expr) and _runs_all(part.value) for part in runs)


def _runs_all(node: ast.expr) -> bool:
    called = node.func if isinstance(node, ast.Call) else node
    return ast.unparse(called) in ("unittest.main", "pytest.main", "sys.exit") and "check" not in names_in(node)


def count(tree: ast.Module) -> int:
    """Tests: statements at the top level, functions and methods, before any of them runs."""
    assigned = {
        target.id: node.value
        for node in tree.body if isinstance(node, ast.Assign)
        for target in node.targets if isinstance(target, ast.Name)
    }  # fmt: skip
    total = sum(map(is_test, tree.body)) + leaves_check(tree)
    for node in tree.body:
        if isinstance(node, FUNCTIONS) and node.name.startswith("test"):
            total += _runs(node, assigned)
        elif isinstance(node, ast.ClassDef) and (node.bases or node.name.startswith("Test")):
            total += sum(_runs(method, assigned) for method in _test_methods(node))
    return total


def _test_methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for method in node.body:
        if isinstance(method, FUNCTIONS) and method.name.startswith("test"):
            yield method


def _runs(node: ast.FunctionDef | ast.AsyncFunctionDef, assigned: dict[str, ast.expr]) -> int:
    """How often a test function runs: once for each row of its `parametrize`."""
    times = 1
    for mark in node.decorator_list:
        if isinstance(mark, ast.Call) and getattr(mark.func, "attr", "") == "parametrize" and len(mark.args) > 1:
            rows = mark.args[1]
            rows = assigned.get(rows.id, rows) if isinstance(rows, ast.Name) else rows
            if isinstance(rows, (ast.List, ast.Tuple)):
                times *= len(rows.elts)
    return times
