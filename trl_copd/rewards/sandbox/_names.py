"""The names that test code uses: which are the submission's, and which of those are classes that it tests."""

import ast
import builtins
import types
from collections.abc import Iterator
from typing import Any

from . import _library
from ._given import TESTS
from ._link import Link
from ._proxy import CLEAN, MADE, ClassProxy, Proxy, trust
from ._reading import MODULES, Reading  # noqa: F401  # `_warm` asks here for the modules' names


_CHECKS = {"isinstance", "issubclass", "assertIsInstance"}
_OF_VALUES = {name for kind in (str, int, float, bytes, tuple) for name in dir(kind)} | {"sort", "items", "keys"}


class Names(dict):
    """Global names of the test code: its own, the preamble's, those of libraries, and those of the submission."""

    def __init__(self, link: Link, reading: Reading):
        super().__init__(__name__=TESTS, __builtins__=builtins)
        self.link, self.reading = link, reading
        self.classes: set[str] | None = None

    def __missing__(self, name: str) -> Any:
        if name in self.reading.library:
            self[name] = _library.load(self.reading.library[name])
            return self[name]
        if name.startswith("__") or (name in vars(builtins) and name not in self.reading.submission):
            raise KeyError(name)
        value = self.find(name)
        if isinstance(value, (Proxy, type)):
            self[name] = value
        return value

    def find(self, name: str) -> Any:
        """
        What the submission defines.

        Raises:
            NameError: Nothing of this name; not a `KeyError`, for which Python would take its own.
        """
        try:
            value = self.link.request("name", name)
        except KeyError:
            raise NameError(f"the submission does not define {name!r}") from None
        if isinstance(value, ClassProxy) and name.lstrip("_")[:1].isupper():
            if self.classes is None:
                self.classes = tested_classes(self.reading.tree)
            trust(value, MADE if name in self.classes else CLEAN)
        return value

    def give_back(self) -> None:
        """Forget what a preamble or a library has defined under names of the submission."""
        for name in self.reading.submission & self.keys():
            del self[name]

    def own_class(self, name: str) -> type | None:
        """The class of this name that the tests or the preamble define."""
        value = self.get(name)
        return value if isinstance(value, type) and value.__module__ == TESTS else None


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
        except NameError:
            raise AttributeError(f"the submission does not define {name!r}") from None


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
