"""
Numbers of the submission in the arithmetic of the tests.

A NaN makes every comparison false, so that `assert not abs(f(2) - 4) > 1e-6` passes. It need not be in the answer:
infinity minus infinity gives one, and so does `float("nan")`. So what is huge stays marked, also through functions of
`math` and `statistics`, and decides against the submission where it becomes a NaN. Arrays: `_arrays`.
"""

import cmath
import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any


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


Huge.real = property(lambda self: self)  # type: ignore[assignment, method-assign]
Huge.conjugate = lambda self: self  # type: ignore[method-assign]


def read_float(text: str) -> float:
    value = float(text)
    return value if -HUGE < value < HUGE else Huge(value)


def checked_float(*args: Any) -> Any:
    """`float`, as tests call it: text may say NaN or infinity."""
    value = float(*args)
    if value != value and not Huge.allow_nan:
        raise Huge.fail("its answer is read as a NaN, of which the tests say nothing")
    return value if -HUGE < value < HUGE else Huge(value)


def checked_complex(*args: Any, **kwargs: Any) -> complex:
    """`complex`, as tests call it."""
    value = complex(*args, **kwargs)
    if not cmath.isfinite(value) and not Huge.allow_nan:
        raise Huge.fail("its answer is read as a complex number that is not finite")
    return value


def marked_inside(value: Any) -> Any:
    """What was read from a text, with huge floats marked."""
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(map(marked_inside, value))
    if type(value) is dict:
        return {marked_inside(key): marked_inside(item) for key, item in value.items()}
    return marked(value) if type(value) is float and not -HUGE < value < HUGE else value


def plain_type(value: Any) -> type:
    """`type`, as tests call it: marks do not show."""
    kind = type(value)
    return kind.__mro__[1] if kind is Huge or kind.__module__ == "numpy" and kind.__name__ == "array" else kind


LIBRARIES = {"math": "isnan isinf isfinite isclose", "statistics": "", "ast": ""}  # with what answers yes or no


def guard_library(module: Any, predicates: Sequence[str]) -> None:
    """Functions of a library keep the mark of a huge float, and may give no NaN."""
    for name, function in list(vars(module).items()):
        if name[0] == "_" or name in predicates or isinstance(function, type) or not callable(function):
            continue
        if module.__name__ != "ast" or name == "literal_eval":
            setattr(module, name, _marking(function))


def _marking(function: Callable) -> Callable:
    @functools.wraps(function)
    def marking(*args: Any, **kwargs: Any) -> Any:
        value = function(*args, **kwargs)
        return value if type(value) is int else marked_inside(value)

    return marking


def guard_json() -> None:
    """Floats in a text that the submission made."""
    from json import decoder

    constants = vars(decoder)["_CONSTANTS"]
    constants.pop("NaN", None)
    constants.update({name: Huge(value) for name, value in constants.items()})
    json = importlib.import_module("json")
    vars(json)["_default_decoder"] = json.JSONDecoder(parse_float=read_float)
