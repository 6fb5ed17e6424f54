"""
Numbers of the submission in the arithmetic of the tests.

A NaN makes every comparison false, so that `assert not abs(f(2) - 4) > 1e-6` passes, and an array without elements
agrees with everything under `all`. A NaN need not be in the answer: infinity minus infinity gives one, and so does
`float("nan")`. So what is huge or empty stays marked, and decides against the submission where it meets what is not.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

from . import _seed


HUGE = 1e30  # from here on a float is watched: a product of a few is infinite
_ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow")
_ALONE = ("neg", "pos", "abs")
Fail = Callable[[str], BaseException]


class Huge(float):
    """A float of at least `HUGE`, or what was made of one. Where it becomes a NaN, the submission has failed."""

    fail: Fail
    allow_nan = False


def _arithmetic(name: str) -> Callable:
    operate = getattr(float, name)

    @functools.wraps(operate)
    def method(self: Huge, *others: Any) -> Any:
        return marked(operate(self, *others))

    return method


for _name in [*_ALONE, *_ARITHMETIC, *(f"r{_name}" for _name in _ARITHMETIC)]:
    setattr(Huge, f"__{_name}__", _arithmetic(f"__{_name}__"))


def marked(value: Any) -> Any:
    """What came of arithmetic with a huge float."""
    if isinstance(value, tuple):
        return tuple(map(marked, value))
    if not isinstance(value, float):
        return value
    if value != value and not Huge.allow_nan:
        raise Huge.fail("the tests' arithmetic on its answer gives a NaN, of which the tests say nothing")
    return Huge(value)


def read_float(text: str) -> float:
    value = float(text)
    return value if -HUGE < value < HUGE else Huge(value)


def checked_float(*args: Any) -> Any:
    """`float`, as tests call it: text may say NaN or infinity."""
    value = float(*args)
    if value != value and not Huge.allow_nan:
        raise Huge.fail("its answer is read as a NaN, of which the tests say nothing")
    return value if -HUGE < value < HUGE else Huge(value)


def plain_type(value: Any) -> type:
    """`type`, as tests call it: marks do not show."""
    kind = type(value)
    return kind.__mro__[1] if kind is Huge or kind.__module__ == "numpy" and kind.__name__ == "array" else kind


# -- numpy and pytest


@functools.cache
def answer_class() -> Any:
    """A class of arrays, for those that the submission returns."""
    import numpy as np

    compares = {np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal}

    def bare(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(bare, value))
        return value.view(np.ndarray) if isinstance(value, Answer) else value

    class Answer(np.ndarray):
        """An array of the submission, or one without elements."""

        def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
            if method == "__call__" and len(inputs) > 1:
                marks = [isinstance(value, Answer) for value in inputs]
                compare(inputs[0], inputs[1], exact=ufunc in compares and marks[0] != marks[1])
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


def _guarded_maker(function: Callable) -> Callable:
    """`numpy.array` and `asarray`: of a list without elements, which may be an answer, as well."""

    @functools.wraps(function)
    def make(*args: Any, **kwargs: Any) -> Any:
        made = function(*args, **kwargs)
        return made.view(answer_class()) if made.size == 0 else made

    return make


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
        import json

        vars(json.decoder)["_CONSTANTS"].pop("NaN", None)  # in a text that the submission made
    if numpy or "numpy" in source or "np." in source:
        guard_numpy()
    if "pytest" in source or "approx" in source:
        _guard_pytest()


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
    np.array, np.asarray = _guarded_maker(np.array), _guarded_maker(np.asarray)


def _guard_pytest() -> None:
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
