"""Names of the standard library and of numpy that test code uses without importing them."""

import ast
import contextlib
import importlib
import sys
from typing import Any


# modules by the names under which tests know them, beside those of the standard library
_ALIASES = {
    "np": "numpy", "numpy": "numpy", "pd": "pandas", "pandas": "pandas", "scipy": "scipy", "sympy": "sympy",
    "torch": "torch", "nx": "networkx", "networkx": "networkx", "plt": "matplotlib.pyplot", "pytest": "pytest",
    "mock": "unittest.mock", "dt": "datetime",
}  # fmt: skip
_NOT_LOADED = {
    "antigravity",
    "this",
    "idlelib",
    "turtledemo",
    "test",
    "__main__",
    "__future__",
}  # they act when loaded
# modules all of whose public names tests use bare
_WHOLE = (
    "math", "itertools", "functools", "collections", "heapq", "bisect", "statistics", "fractions", "decimal", "random",
    "string", "copy", "dataclasses", "enum", "contextlib", "typing", "datetime", "numpy.testing",
)  # fmt: skip
_SOME = {
    "operator": "itemgetter attrgetter methodcaller mul xor or_ and_",
    "io": "StringIO BytesIO", "json": "loads dumps", "re": "fullmatch findall finditer IGNORECASE",
    "time": "sleep perf_counter monotonic process_time", "types": "SimpleNamespace GeneratorType FunctionType",
    "inspect": "signature isgenerator isgeneratorfunction iscoroutinefunction isclass isfunction iscoroutine",
    "pathlib": "Path", "threading": "Thread Lock", "queue": "Queue PriorityQueue LifoQueue", "uuid": "UUID uuid4",
    "ast": "literal_eval", "textwrap": "dedent", "pprint": "pprint", "abc": "ABC abstractmethod",
    "numbers": "Number Integral Real", "unittest": "TestCase", "unittest.mock": "Mock MagicMock patch ANY AsyncMock",
    "pytest": "approx raises",
    "numpy": "array asarray ndarray allclose array_equal isclose zeros ones arange linspace isnan isinf isfinite",
}  # fmt: skip
# what tests compare with: beside another name it is never what they test
COMPARES = {
    "isclose", "approx", "raises", "allclose", "array_equal", "array_equiv", "deepcopy", "isnan", "isinf", "isfinite",
    "fabs", "fsum", "TestCase", "patch", "ANY", "Mock", "MagicMock", "AsyncMock", "StringIO", "BytesIO", "array",
    "asarray", "ndarray", "literal_eval", "redirect_stdout", "suppress", "SimpleNamespace", "reduce", "namedtuple",
}  # fmt: skip


def module_of(name: str) -> str | None:
    """The module that a bare name means; `None` if it means none."""
    if name in _ALIASES:
        return _ALIASES[name]
    return name if name in sys.stdlib_module_names and name not in _NOT_LOADED and name[0] != "_" else None


def load(origin: str) -> Any:
    """The object of `"module"` or `"module:name"`."""
    module, _, name = origin.partition(":")
    loaded = importlib.import_module(module)
    return getattr(loaded, name) if name else loaded


def origin_of(name: str, uses: list[ast.AST]) -> str | None:
    """
    Where a name comes from that tests use and do not define.

    Args:
        name (`str`): The name.
        uses (`list[ast.AST]`): For each place where it is read, the expression around it.

    Returns:
        `str` or `None`: `"module"`, `"module:name"`, or `None` where no library has what the tests do with it.
    """
    module = module_of(name)
    if module is not None:
        attributes = [use.attr for use in uses if isinstance(use, ast.Attribute)]
        called = any(isinstance(use, ast.Call) and getattr(use.func, "id", "") == name for use in uses)
        try:
            has = vars(importlib.import_module(module))
        except Exception:  # not installed here, or it does not load
            return module if attributes and not called else None
        if attributes and not called and all(_has(has, attribute) for attribute in attributes):
            return module
        same = has.get(name)
        if callable(same) and all(hasattr(same, attribute) for attribute in attributes) and (called or attributes):
            return f"{module}:{name}"  # `datetime(2024, 1, 1)`, `copy(x)`
    return _bare().get(name)


def _has(namespace: dict[str, Any], attribute: str) -> bool:
    return attribute in namespace or "__getattr__" in namespace or "__path__" in namespace


_found: dict[str, str] = {}


def _bare() -> dict[str, str]:
    """Bare names and where they come from; the module named first has a name that several have."""
    if not _found:
        for module, names in _SOME.items():
            for name in names.split():
                _found.setdefault(name, f"{module}:{name}")
        for module in _WHOLE:
            if module == "numpy.testing":  # slow to load, and these are all that anybody uses
                for kind in ("allclose", "equal", "almost_equal", "array_equal", "array_almost_equal", "array_less"):
                    _found.setdefault(f"assert_{kind}", f"{module}:assert_{kind}")
                _found.setdefault("assert_approx_equal", f"{module}:assert_approx_equal")
                continue
            loaded = importlib.import_module(module)
            for name in getattr(loaded, "__all__", None) or vars(loaded):
                value = getattr(loaded, name, None)
                exception = isinstance(value, type) and issubclass(value, BaseException)
                if not name.startswith("_") and module_of(name) != name and not exception:
                    _found.setdefault(name, f"{module}:{name}")
    return _found


def only_compares(name: str, origin: str) -> bool:
    """Whether a name of the library is never what tests test: it compares, is a constant, or belongs to `typing`."""
    if name in COMPARES or name.startswith("assert") or origin.startswith("typing:"):
        return True
    with contextlib.suppress(Exception):
        return ":" not in origin or not callable(load(origin))
    return True
