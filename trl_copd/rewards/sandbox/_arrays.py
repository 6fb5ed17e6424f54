"""
Arrays of the submission in the tests, and what compares numbers: numpy and pytest.

An array without elements agrees with everything under `all`, and numpy spreads a smaller one over the expected array.
So arrays that arrive, and arrays without elements, are of a class of ours.
"""

import functools
import importlib
import sys
from collections.abc import Callable
from typing import Any

from . import _numeric, _seed
from ._numeric import Fail, Huge


@functools.cache
def answer_class() -> Any:
    """A class of arrays, for those that the submission returns."""
    import numpy as np

    compares = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}

    def bare(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(bare, value))
        return value.view(np.ndarray) if isinstance(value, Answer) else value

    class Answer(np.ndarray):
        """An array of the submission, or one without elements."""

        def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
            if method == "__call__" and len(inputs) > 1:
                marks = [isinstance(value, Answer) for value in inputs]
                compare(inputs[0], inputs[1], exact=ufunc.__name__ in compares and marks[0] != marks[1])
            plain = [bare(value) for value in inputs]
            result = getattr(ufunc, method)(*plain, **{name: bare(value) for name, value in kwargs.items()})
            return result.view(Answer) if type(result) is np.ndarray else result

    Answer.__name__, Answer.__module__ = "array", "numpy"  # as `repr` shows an array
    return Answer


def answer_array(items: Any) -> Any:
    import numpy as np

    return np.array(items).view(answer_class())


def compare(left: Any, right: Any, exact: bool) -> None:
    """Fail where one side has no elements and the other has, or where `exact` shapes differ and none is a number."""
    import numpy as np

    try:
        shapes = np.shape(left), np.shape(right)
    except Exception:  # nothing that numpy could make an array of
        return
    sizes = [0 in shape for shape in shapes]
    if sizes[0] != sizes[1]:
        raise Huge.fail("one of the answer and what it is compared with is empty")
    if exact and all(shapes) and shapes[0] != shapes[1]:
        raise Huge.fail(f"shapes {shapes[0]} and {shapes[1]} are compared")


_FUNCTIONS = {
    "numpy": "allclose isclose array_equal array_equiv",
    "numpy.testing": (
        "assert_allclose assert_array_equal assert_array_almost_equal assert_almost_equal assert_equal "
        "assert_approx_equal assert_array_less assert_array_almost_equal_nulp assert_array_max_ulp"
    ),
}


def _guarded(function: Callable) -> Callable:
    """A function of numpy that compares its first two arguments, an answer and a reference, which may be a number."""

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        import numpy as np

        if len(args) > 1:
            left, right = args[:2]
        else:
            sides = [
                *args,
                *(kwargs[name] for name in ("actual", "x", "a", "a1", "desired", "y", "b", "a2") if name in kwargs),
            ]
            left, right = (sides * 2)[:2]
        if function.__name__ != "array_equal":  # which compares shapes by itself
            compare(left, right, exact=True)
            if _is_number(left) and np.size(right) != 1 and function.__name__ != "assert_array_less":
                raise Huge.fail("a number is compared with an array")
        return function(*args, **kwargs)

    return checked


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float, complex))


def guarded_result(function: Any) -> Any:
    """Numpy's floats, as tests call them: of a list without elements, or of a text, as well."""
    return _guarded_result(function) if getattr(function, "__module__", "") == "numpy" else function


def _guarded_result(function: Callable) -> Callable:
    """A function of numpy, of which `_checked` looks at the result."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        return _checked(function(*args, **kwargs))

    return guarded


class _Ufunc:
    """Such as `numpy.subtract`, which tests may call with plain lists: `np.subtract([], 4)` has no elements."""

    def __init__(self, ufunc: Any):
        self._ufunc = ufunc

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ufunc, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._ufunc.nin > 1 and len(args) > 1:
            compare(args[0], args[1], exact=False)
        return _checked(self._ufunc(*args, **kwargs))


def _checked(made: Any) -> Any:
    """An array without elements is marked, and one that holds a NaN, as a number or as text, fails."""
    import numpy as np

    if not isinstance(made, (np.ndarray, np.inexact)):
        return made
    if made.size == 0:
        return made.view(answer_class()) if type(made) is np.ndarray else made
    if not Huge.allow_nan:
        texts = made.dtype.kind in "US"
        if texts and any(str(item).strip().lower().lstrip("+-") == "nan" for item in made.flat):
            raise Huge.fail("the answer holds the text of a NaN, of which the tests say nothing")
        if made.dtype.kind in "fc" and np.isnan(made).any():
            raise Huge.fail("a NaN comes of its answer, of which the tests say nothing")
    return made


def is_answer(value: Any) -> bool:
    """Whether a value is an array of the submission, or one without elements."""
    return "numpy" in sys.modules and isinstance(value, answer_class())


def guard(source: str, allow_nan: bool, fail: Fail, numpy: bool = False) -> None:
    """
    Prepare this process, which runs the tests of one row.

    Args:
        source (`str`): The test code; libraries that it does not name are not loaded.
        allow_nan (`bool`): Whether the tests speak of NaN.
        fail (`Callable`): Makes the exception of a submission that has failed.
        numpy (`bool`): Whether they use it without naming it.
    """
    Huge.fail, Huge.allow_nan = staticmethod(fail), allow_nan  # type: ignore[method-assign, assignment]
    if not allow_nan and "json" in source:
        _numeric.guard_json()
    if not allow_nan:
        for module, predicates in _numeric.LIBRARIES.items():
            if module in source:
                _numeric.guard_library(importlib.import_module(module), predicates.split())
    if numpy or "numpy" in source or "np." in source:
        guard_numpy()
    if "pytest" in source or "approx" in source:
        guard_pytest()


@functools.cache
def guard_numpy() -> None:
    """For a process that has numpy loaded, or is about to."""
    try:
        import numpy as np
        import numpy.testing
    except ImportError:
        return
    _seed.seed_numpy()
    if not Huge.allow_nan:
        np.seterr(invalid="raise")
    for module, names in _FUNCTIONS.items():
        for name in names.split():
            setattr(sys.modules[module], name, _guarded(getattr(sys.modules[module], name)))
    for namespace in (np, np.linalg):
        for name, function in list(vars(namespace).items()):
            if name[0] != "_" and callable(function) and not isinstance(function, type):
                guarded = _Ufunc if isinstance(function, np.ufunc) else _guarded_result
                setattr(namespace, name, guarded(function))


def guard_pytest() -> None:
    try:
        import pytest
    except ImportError:
        return
    of_number: Any = type(pytest.approx(1.0))
    usual = of_number.__eq__

    def equals(self: Any, actual: Any) -> bool:
        if "numpy" in sys.modules and isinstance(actual, sys.modules["numpy"].ndarray) and actual.size == 0:
            raise Huge.fail("the answer is empty, and what it is compared with is not")
        return usual(self, actual)

    of_number.__eq__ = equals
    if "numpy" not in sys.modules:
        return
    of_array: Any = type(pytest.approx(sys.modules["numpy"].zeros(1)))
    usual_array = of_array.__eq__

    def equals_array(self: Any, actual: Any) -> bool:
        return not _is_number(actual) and usual_array(self, actual)

    of_array.__eq__ = equals_array
