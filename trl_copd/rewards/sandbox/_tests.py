"""
Runs test code against a submission behind a pipe, in a trusted process forked for this one job.

A *test* is a top-level statement that is no import, definition or assignment (an `assert`, a call such as `check(f)`),
a `test_*` function, or a method of a `unittest.TestCase` or `Test*` class.
"""

import ast
import contextlib
import inspect
import io
import itertools
import re
import socket
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from . import _arrays
from ._calls import Calls, functions
from ._given import TESTS
from ._link import Link, SubmissionFailed
from ._names import Names, Submission
from ._reading import MODULES, SETUP, Reading, Unreadable, is_test, leaves_check
from ._vacuous import Sites


_CAN_FAIL = ("assert", "raise", "except", "exit", "fail")  # test code without any of these words can only pass
_NAN = re.compile(r"(?i)(?<![a-z])(is|not|has|any|all)?_?nan(?![a-z])|\b(np|numpy)\.nan|assertisnan")
_FILE = "<tests>"


def run(connection: socket.socket, job: dict) -> dict[str, Any]:
    """
    Args:
        connection (`socket.socket`): To the submission, whose first message says whether it loaded.
        job (`dict`): `code`, and optionally `entry_point`, `preamble` and `partial` (go on after a failed test).

    Returns:
        `dict`: `passed` and `total` tests, `reason`, and `unreadable` where the tests are at fault.
    """
    try:
        grading = Grading(connection, job)
        return grading.run()
    except Unreadable as error:
        return {"unreadable": str(error)}


_BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError)


def _parse(code: str, what: str) -> ast.Module:
    try:
        return ast.parse(code)
    except _BROKEN as error:
        raise Unreadable(f"the {what} does not compile: {error}") from None


class Grading:
    """
    One submission against the tests of one row. What makes the row unreadable is found before the submission is asked
    for anything, but for an argument that cannot be passed on.

    Args:
        connection, job: As for [`run`].
    """

    def __init__(self, connection: socket.socket, job: dict):
        code = job["code"]
        self.tree = _parse(code, "test code")
        preamble = job.get("preamble") or ""
        self.entry_point, self.to_the_end = job.get("entry_point"), job.get("partial", False)
        if not any(word in code for word in _CAN_FAIL):
            raise Unreadable("nothing in the tests could fail")
        try:
            given = _parse(preamble, "preamble") if preamble else None
            self.reading = Reading(self.tree, code, self.entry_point, given)
            self.sites = Sites(self.reading)
            self.statements = _compile(self.reading, self.sites)
        except _BROKEN as error:
            raise Unreadable(f"`entry_point` or the tests do not compile: {error}") from None
        except Exception as error:  # of ours, which must not look like a submission that failed
            raise (
                error if isinstance(error, Unreadable) else Unreadable(f"reading them failed: {_show(error)}")
            ) from None
        if not self.reading.total and not any(isinstance(node, ast.ClassDef) for node in self.tree.body):
            raise Unreadable("the tests contain no test")
        allow_nan = _NAN.search(code) is not None
        self.link = Link(connection, allow_nan, "StopIteration" in code, self._own_class, self._given_by_tests)
        self.names = Names(self.link, self.reading)
        self.source, self.preamble = code, preamble
        bare = any(origin.startswith("numpy") for origin in self.reading.library.values())
        _arrays.guard(code, allow_nan, self.link.fail, numpy=bare)
        self.names.update(functions(self.link) | self.sites.functions())

    def _own_class(self, name: str) -> type | None:
        return self.names.own_class(name)

    def _given_by_tests(self) -> bool:
        """Whether the call of the test code that runs now has nothing of the submission in its arguments."""
        frame: Any = sys._getframe()
        while frame is not None and frame.f_code.co_filename != _FILE:
            frame = frame.f_back
        if frame is None:
            return False
        where = list(frame.f_code.co_positions())[frame.f_lasti // 2]
        return not self.reading.flow.arguments.get(where, {"?"})  # type: ignore[arg-type]

    def run(self) -> dict[str, Any]:
        try:
            loaded = self.link.receive()
            if "error" in loaded:
                return self._failed(f"the submission does not load: {_show(self.link.error(*loaded['error']))}")
            if self.entry_point is None and leaves_check(self.tree):
                self.entry_point = _only_function(self.link)
                if self.entry_point is None:
                    return self._failed("the tests call one function, and the submission does not define just one")
            self._prepare()
            return self._run()
        except SubmissionFailed as error:
            return self._failed(str(error))
        except (TypeError, LookupError) as error:
            return self._failed(f"malformed message: {error}")

    def _failed(self, reason: str) -> dict[str, Any]:
        return {"passed": 0, "total": max(1, self.reading.total), "reason": reason}

    def _prepare(self) -> None:
        """The modules that the tests find, and the names that the preamble gives them."""
        sys.modules[TESTS] = module = types.ModuleType(TESTS)
        sys.stdout = io.StringIO()
        for name in MODULES:
            sys.modules[name] = Submission(name, self.names)
        if self.reading.preamble:
            try:
                exec(compile(self.preamble, "<preamble>", "exec", dont_inherit=True), self.names)
            except SubmissionFailed:
                raise
            except BaseException as error:
                raise Unreadable(f"the preamble does not run: {_show(error)}") from None
            self.names.give_back()
        module.__dict__.update(self.names)

    def _run(self) -> dict[str, Any]:
        link, passed, done, reason = self.link, 0, 0, "all tests pass"
        try:
            for label, test in self._tests():
                done += 1
                trouble = _attempt(test, link)
                if link.unsupported:
                    raise Unreadable(link.unsupported)
                if trouble is None:
                    passed += 1
                    continue
                if passed == done - 1:
                    reason = f"{label}: {trouble}"
                if not self.to_the_end or link.failed:
                    break
        except _SetupFailed as error:
            done, reason = done + 1, str(error) if passed == done else reason
        if not done:
            raise Unreadable("the tests contain no test")
        if link.failed and self.to_the_end and self.collected is None:
            self._count_the_rest()
        if link.failed:
            passed, reason = passed if self.to_the_end else 0, link.failed if passed == done - 1 else reason
        vacuous = None
        if passed:
            with contextlib.suppress(RecursionError):  # tests that are too deep to tell
                vacuous = self.sites.trouble(self.names, self.link)
        if vacuous:
            passed, reason = 0, vacuous
        total = max(done, self.reading.total if self.collected is None else self.collected)
        return {"passed": passed, "total": total, "reason": reason}

    collected: int | None = None  # tests, once the functions among them are known
    reached = -1  # statement

    def _tests(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Runs what is no test, and yields what is one, in the order of the source."""
        names = self.names
        for name in self.reading.in_classes:  # there Python asks the dictionary itself and not `__missing__`
            with contextlib.suppress(LookupError, NameError):
                names[name]
        with _quiet_main("unittest" in self.source):
            for number, (node, code) in enumerate(self.statements):
                self.reached = number
                if is_test(node):
                    yield f"line {node.lineno} of the tests", partial(exec, code, names)
                    continue
                try:
                    exec(code, names)
                    if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                        names.give_back()
                except Unreadable:
                    raise
                except BaseException as error:
                    raise _SetupFailed(f"line {node.lineno} of the tests: {_show(error)}") from None
        yield from self._collect()

    def _collect(self) -> list[tuple[str, Callable[[], Any]]]:
        collected = list(self._functions())
        self.collected = sum(map(is_test, self.tree.body)) + len(collected)
        return collected

    def _count_the_rest(self) -> None:
        """Collect the functions although the submission is gone: leaving before they are counted pays no more."""
        for _, code in self.statements[self.reached + 1 :]:
            with contextlib.suppress(BaseException):  # what asks for the submission raises
                exec(code, self.names)
        with contextlib.suppress(Exception):
            self._collect()

    def _functions(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        if self.entry_point and leaves_check(self.tree):
            yield "check", lambda: self.names["check"](self._entry())
        own = {node.name for node in self.tree.body if isinstance(node, SETUP) and hasattr(node, "name")}
        for name, value in list(self.names.items()):
            if isinstance(value, types.FunctionType) and name.startswith("test") and value.__globals__ is self.names:
                if name in own:
                    for args in _parameters(value):
                        yield name, partial(_call, value, **args)
            elif isinstance(value, type) and value.__module__ == TESTS:
                yield from _methods(name, value)

    def _entry(self) -> Any:
        """What the row says that is tested: of the submission, whatever the tests call by the same name."""
        assert self.entry_point is not None
        if self.entry_point.isidentifier():
            return self.names.find(self.entry_point)
        found = {name: self.names.find(name) for name in self.reading.entry}
        return eval(compile(self.entry_point, "<entry point>", "eval", dont_inherit=True), found)


def _compile(reading: Reading, sites: Sites) -> list[tuple[ast.stmt, types.CodeType]]:
    calls = Calls(reading)
    body = sites.mark(reading.tree.body) if sites.needed else reading.tree.body
    body = [calls.visit(node) for node in body] if calls.needed else body
    flags = _future_flags(body)
    return [(node, compile(ast.Module([node], []), _FILE, "exec", flags, dont_inherit=True)) for node in body]


def _future_flags(body: list[ast.stmt]) -> int:
    """What `from __future__ import ...` asks for: each statement is compiled by itself."""
    names = [
        alias.name
        for node in body
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
        for alias in node.names
    ]
    if not names:
        return 0
    import __future__

    return sum({getattr(__future__, name).compiler_flag for name in names if name in __future__.all_feature_names})


def _only_function(link: Link) -> str | None:
    """The function that the submission defines, if it is one alone."""
    functions = link.request("functions")
    return functions[0] if type(functions) is list and len(functions) == 1 and type(functions[0]) is str else None


class _SetupFailed(Exception):
    """A statement that is no test raised: nothing after it can be trusted to mean what it says."""


def _attempt(test: Callable[[], Any], link: Link) -> str | None:
    """Why the test fails; `None` if it passes."""
    try:
        test()
    except Unreadable:
        raise
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: the submission may have raised them
        return _show(error)
    return link.failed


def _methods(name: str, cls: type) -> Iterator[tuple[str, Callable[[], Any]]]:
    unittest = sys.modules.get("unittest")
    if unittest and issubclass(cls, unittest.TestCase):
        for method in unittest.TestLoader().getTestCaseNames(cls):
            yield f"{name}.{method}", partial(_run_case, cls(method))
    elif name.startswith("Test"):
        members = {name: value for base in reversed(cls.__mro__) for name, value in vars(base).items()}
        for method in [name for name in members if name.startswith("test")]:
            for args in _parameters(members[method], skip=1):

                def test(method: str = method, args: dict = args) -> None:
                    instance = cls()
                    getattr(instance, "setup_method", lambda: None)()
                    _call(getattr(instance, method), **args)

                yield f"{name}.{method}", test


def _run_case(case: Any) -> None:
    result = case.defaultTestResult()
    sys.modules["unittest"].TestSuite([case]).run(result)  # with what the class sets up
    for trouble in (*result.errors, *result.failures):
        raise AssertionError(trouble[1].strip().splitlines()[-1])
    if result.unexpectedSuccesses:
        raise AssertionError("unexpected success")


def _call(function: Callable, /, **args: Any) -> None:
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
