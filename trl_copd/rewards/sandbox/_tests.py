"""
Runs test code against a submission behind a pipe, in a trusted process forked for this one job.

A *test* is a top-level statement that is no import, definition or assignment (an `assert`, a call such as `check(f)`),
a `test_*` function, or a method of a `unittest.TestCase` or `Test*` class.
"""

import ast
import builtins
import contextlib
import inspect
import io
import itertools
import socket
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ._link import TESTS, Link, SubmissionFailed
from ._names import MODULES, Names, Submission, Unreadable


_SETUP = (
    ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign,
    ast.AugAssign, ast.Pass,
)  # fmt: skip
_CAN_FAIL = ("assert", "raise", "except", "exit", "fail")  # test code without any of these words can only pass


def run(connection: socket.socket, job: dict) -> dict[str, Any]:
    """
    Args:
        connection (`socket.socket`): To the submission, whose first message says whether it loaded.
        job (`dict`): `code`, and optionally `entry_point` and `partial` (go on after a failed test).

    Returns:
        `dict`: `passed` and `total` tests, `reason`, and `unreadable` where the tests are at fault.
    """
    code, entry_point, to_the_end = job["code"], job.get("entry_point"), job.get("partial", False)
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return {"unreadable": f"the tests do not compile: {error}"}
    if not any(word in code for word in _CAN_FAIL):
        return {"unreadable": "there is nothing in the tests that could fail"}
    link = Link(connection, allow_nan="nan" in code.lower(), allow_stop="StopIteration" in code)
    try:
        loaded = link.receive()
        if "error" in loaded:
            trouble = _show(link.error(*loaded["error"]))
            return {"passed": 0, "total": 0, "reason": f"the submission does not load: {trouble}"}
    except SubmissionFailed as error:
        return {"passed": 0, "total": 0, "reason": str(error)}
    if not entry_point and _defines_check_only(tree):
        try:
            entry_point = _only_function(link)
        except BaseException as error:
            return {"passed": 0, "total": 1, "reason": _show(error)}
        if entry_point is None:
            return {"unreadable": "the tests define `check` and never call it: give an `entry_point`"}
    bound: list[str] = [entry_point] if entry_point and hasattr(builtins, entry_point) else []
    result = _run(code, tree, link, entry_point, to_the_end, bound)
    if result.pop("used") or "unreadable" in result:
        return result
    # nothing but builtins was named: then those that the submission defines are what is tested
    bound = sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and hasattr(builtins, node.id)})
    if not bound:
        return {"unreadable": "the tests never use the submission (name its function, or give an `entry_point`)"}
    result = _run(code, tree, link, entry_point, to_the_end, bound)
    if result.pop("used"):
        return result
    return {"passed": 0, "total": 1, "reason": f"the submission defines none of {', '.join(bound)}"}


def _defines_check_only(tree: ast.Module) -> bool:
    defined = any(isinstance(node, ast.FunctionDef) and node.name == "check" for node in tree.body)
    others = [node for node in tree.body if not isinstance(node, ast.FunctionDef)]
    return defined and not any(
        isinstance(part, ast.Name) and part.id == "check" for node in others for part in ast.walk(node)
    )


def _only_function(link: Link) -> str | None:
    """The function that the submission defines, if it is one alone."""
    functions = link.request("functions")
    return functions[0] if type(functions) is list and len(functions) == 1 and type(functions[0]) is str else None


def _run(
    source: str, tree: ast.Module, link: Link, entry_point: str | None, to_the_end: bool, bound: list[str]
) -> dict[str, Any]:
    names = Names(link, tree)
    passed, total, reason = 0, 0, "all tests pass"
    sys.modules[TESTS] = module = types.ModuleType(TESTS)
    module.__dict__.update(names)
    for name in MODULES:
        sys.modules[name] = Submission(name, names)
    sys.stdout = io.StringIO()
    try:
        found = []
        for name in bound:
            with contextlib.suppress(KeyError):
                names[name] = names.find(name)
                found.append(name)
        names.used = bool(found or (bound and entry_point))
        for label, test in _tests(source, tree, names, entry_point):
            total += 1
            trouble = _attempt(test, link)
            if link.unsupported:
                raise Unreadable(link.unsupported)
            if trouble is None:
                passed += 1
                continue
            if passed == total - 1:
                reason = f"{label}: {trouble}"
            if not to_the_end or link.failed:
                break
        if link.failed:
            passed = passed if to_the_end else 0
            total = max(total, _count(tree), passed + 1)
            reason = link.failed if total == passed + 1 else reason
    except Unreadable as error:
        return {"unreadable": str(error), "used": names.used}
    except SubmissionFailed as error:
        return {"passed": passed, "total": passed + 1, "reason": str(error), "used": True}
    except _SetupFailed as error:
        return {"passed": passed, "total": max(total + 1, _count(tree)), "reason": str(error), "used": names.used}
    if not total:
        return {"unreadable": "there is no test in the tests", "used": names.used}
    if not to_the_end and passed < total:
        total = max(total, _count(tree))
    return {"passed": passed, "total": total, "reason": reason, "used": names.used}


class _SetupFailed(Exception):
    """A statement that is no test raised: nothing after it can be trusted to mean what it says."""


def _count(tree: ast.Module) -> int:
    return sum(not isinstance(node, _SETUP) for node in tree.body)


def _attempt(test: Callable[[], Any], link: Link) -> str | None:
    """Why the test fails; `None` if it passes."""
    try:
        test()
    except Unreadable:
        raise
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: the submission may have raised them
        return _show(error)
    return link.failed


def _tests(
    source: str, tree: ast.Module, names: Names, entry_point: str | None
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Runs what is no test, and yields what is one, in the order of the source."""
    calls_check = False
    with _quiet_main("unittest" in source):
        for node in tree.body:
            code = compile(ast.Module([node], []), "<tests>", "exec", dont_inherit=True)
            is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if isinstance(node, _SETUP) or is_text:
                try:
                    exec(code, names)
                except Unreadable:
                    raise
                except BaseException as error:
                    raise _SetupFailed(f"line {node.lineno} of the tests: {_show(error)}") from None
            else:
                calls_check |= any(isinstance(part, ast.Name) and part.id == "check" for part in ast.walk(node))
                yield f"line {node.lineno} of the tests", partial(exec, code, names)
    check = names.get("check")
    if entry_point and isinstance(check, types.FunctionType) and not calls_check:
        yield "check", lambda: check(names[entry_point])
    for name, value in list(names.items()):
        if isinstance(value, types.FunctionType) and name.startswith("test") and value.__globals__ is names:
            for args in _parameters(value):
                yield name, partial(_call, value, **args)
        elif isinstance(value, type) and value.__module__ == TESTS:
            yield from _methods(name, value)


def _methods(name: str, cls: type) -> Iterator[tuple[str, Callable[[], Any]]]:
    unittest = sys.modules.get("unittest")
    if unittest and issubclass(cls, unittest.TestCase):
        for method in unittest.TestLoader().getTestCaseNames(cls):
            yield f"{name}.{method}", partial(_run_case, cls(method))
    elif name.startswith("Test"):
        for method in [attribute for attribute in vars(cls) if attribute.startswith("test")]:
            for args in _parameters(vars(cls)[method], skip=1):

                def test(method: str = method, args: dict = args) -> None:
                    instance = cls()
                    getattr(instance, "setup_method", lambda: None)()
                    _call(getattr(instance, method), **args)

                yield f"{name}.{method}", test


def _run_case(case: Any) -> None:
    result = case.defaultTestResult()
    case.run(result)
    for trouble in (*result.errors, *result.failures):
        raise AssertionError(trouble[1].strip().splitlines()[-1])
    if result.unexpectedSuccesses:
        raise AssertionError("unexpected success")


def _call(function: Callable, **args: Any) -> None:
    result = function(**args)
    if inspect.iscoroutine(result):
        import asyncio  # large, and rarely needed

        asyncio.run(result)


def _parameters(function: Any, skip: int = 0) -> list[dict[str, Any]]:
    """Arguments of each run of a test function: one without any, or those of its `pytest.mark.parametrize`."""
    runs: list[dict[str, Any]] = [{}]
    for mark in getattr(function, "pytestmark", ()):
        if mark.name != "parametrize":
            continue
        names, rows = mark.args[:2]
        names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
        values = [getattr(row, "values", row) if len(names) > 1 or hasattr(row, "values") else (row,) for row in rows]
        runs = [
            {**run, **dict(zip(names, row, strict=True))} for row, run in itertools.product(values, runs)
        ]  # fmt: skip
    needed = list(inspect.signature(function).parameters.values())[skip:]
    missing = [parameter.name for parameter in needed if parameter.default is parameter.empty]
    if runs and set(missing) - set(runs[0]):
        raise Unreadable(f"{function.__name__} needs pytest fixtures ({', '.join(missing)}), which are not supported")
    return runs


@contextlib.contextmanager
def _quiet_main(needed: bool) -> Iterator[None]:
    """`unittest.main()` in test code must not run and exit here: the cases are collected and run one by one."""
    if not needed:
        yield
        return
    import unittest

    usual = unittest.main
    unittest.main = lambda *args, **kwargs: None  # type: ignore
    try:
        yield
    finally:
        unittest.main = usual  # type: ignore


def _show(error: BaseException) -> str:
    try:
        text = str(error)
    except BaseException:
        text = ""
    return f"{type(error).__name__}: {text}"[:500].rstrip(": ")
