"""The names that test code uses: which are the submission's, and which of those are classes that it tests."""

import ast
import builtins
import types
from collections.abc import Iterator
from typing import Any

from ._link import TESTS, Link
from ._proxy import CLEAN, MADE, ClassProxy, Proxy, trust


MODULES = ("solution", "submission")  # what tests may import the submission as
# what tests compare with: as with builtins, one that was not imported is not looked up in the submission
_HELPERS = {
    "isclose", "approx", "raises", "allclose", "array_equal", "assert_allclose", "assert_almost_equal",
    "assert_array_equal", "assert_array_almost_equal", "assert_equal", "deepcopy",
}  # fmt: skip
_CHECKS = {"isinstance", "issubclass", "assertIsInstance"}
_OF_VALUES = {name for kind in (str, int, float, bytes, tuple) for name in dir(kind)} | {"sort", "items", "keys"}


class Unreadable(Exception):
    """The tests themselves are at fault, whatever the submission."""


class Names(dict):
    """Global names of the test code; what it does not define and Python does not have is looked up in the
    submission."""

    def __init__(self, link: Link, tree: ast.Module):
        super().__init__(__name__=TESTS, __builtins__=builtins)
        self.link, self.tree = link, tree
        self.used = False
        self.classes: set[str] | None = None

    def __missing__(self, name: str) -> Any:
        if name in vars(builtins) or name.startswith("__"):
            raise KeyError(name)
        if name in _HELPERS and other_names(self.tree):
            self.link.unsupported = f"the tests use {name!r} and never import it"
            raise Unreadable(self.link.unsupported)
        value = self.find(name)
        if isinstance(value, (Proxy, type)):
            self[name] = value
        return value

    def find(self, name: str) -> Any:
        self.used = True
        value = self.link.request("name", name)
        if isinstance(value, ClassProxy) and name.lstrip("_")[:1].isupper():
            if self.classes is None:
                self.classes = tested_classes(self.tree)
            trust(value, MADE if name in self.classes else CLEAN)
        return value


class Submission(types.ModuleType):
    """The submission as a module, for tests that import it."""

    def __init__(self, name: str, names: Names):
        super().__init__(name)
        self.__dict__["__names"] = names

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":  # names are looked up when they are used, and `import *` must not replace builtins
            return []
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self.__dict__["__names"].find(name)
        except KeyError:
            raise AttributeError(f"the submission does not define {name!r}") from None


def other_names(tree: ast.Module) -> set[str]:
    """What the tests read, do not define, and is neither a builtin nor a helper."""
    read: set[str] = set()
    defined = {*vars(builtins), *_HELPERS}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else defined).add(node.id)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            read.update(alias.name for alias in node.names if alias.name != "*")
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
            (read if names & set(MODULES) else defined).update(names)
    return read - defined


def tested_classes(tree: ast.Module) -> set[str]:
    """
    CapWords names that can only be classes, by what the tests do with them: `isinstance(x, N)`, a base class, `type(x)
    is N`, an attribute of `N(...)` or of what it was assigned to, a comparison of one `N(...)` with another.
    """
    renamed: dict[str, str] = {}
    made: dict[str, str] = {}  # variable to the name that was called
    found: set[str] = set()
    nodes = list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            renamed.update({alias.asname: alias.name for alias in node.names if alias.asname})
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = list(zip(target.elts, node.value.elts, strict=False))
                made.update((_last(at), name) for at, value in pairs for name in _called(value))
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr not in _OF_VALUES:
            found.update(_called(node.value))
            if isinstance(node.value, ast.Name) and node.value.id in made:
                found.add(made[node.value.id])
        elif isinstance(node, ast.Call) and _last(node.func) in _CHECKS:
            found.update(_last(part) for arg in node.args[1:] for part in getattr(arg, "elts", [arg]))
        elif isinstance(node, ast.ClassDef):
            found.update(map(_last, node.bases))
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            found.update(side.id for side in sides if isinstance(side, ast.Name))
            for side in sides:
                others = {name for other in sides if other is not side for name in _calls(other, made)}
                found.update(others & {*_called(side), made.get(_last(side), "")})
    found |= {renamed.get(name, name) for name in found}
    return {name for name in found if name[:1].isupper() and "_" not in name and name not in made}


def _last(node: ast.AST) -> str:
    """`N` of `N` and of `module.N`."""
    return getattr(node, "id", "") or getattr(node, "attr", "")


def _called(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and _last(node.func):
        yield _last(node.func)


def _calls(node: ast.AST, made: dict[str, str]) -> Iterator[str]:
    """Names that are called in a part of the code, or were for a variable in it."""
    for part in ast.walk(node):
        yield from _called(part)
        if isinstance(part, ast.Name) and part.id in made:
            yield made[part.id]
