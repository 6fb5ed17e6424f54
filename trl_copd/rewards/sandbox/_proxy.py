"""
Stand-ins, in the oracle, for what lives in the sandbox.

A test calls, reads, compares and iterates over stand-ins as over the objects themselves. Two rules keep the decision
here:

- Plain values arrive as plain values (`_codec`), so `f(2) == 3` compares two ints of this process.
- An object of the submission decides about a plain value of the test (`==`, `<`, `-`, `in` …) only where the test
  made it, by calling a CapWords name that its code can only mean as a class (`_names.tested_classes`). What a
  function, a method or an operator returned never does, or an object with an `__eq__` that always says yes would pass
  for any answer. What derives from a builtin type is compared by the plain value inside it.

How far an object is trusted, by where it came from:

| | decides about plain values | reckons with them |
|---|---|---|
| `MADE`: by calling such a class | yes | yes |
| `CLEAN`: by another class, or an operator between objects | no | if that gives an object, which is `TAINTED` |
| `TAINTED`: it knows a plain value | no | as above; `abs`, `float`, `bool` … give no plain value either |
| `NONE`: by anything else | no | no |

Two objects of the submission are compared by the submission, unless one is `NONE` and of another class.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._runner import OPERATORS, REFLECTED


if TYPE_CHECKING:
    from ._link import Link


_BINARY = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and", "or", "xor")
_ORDER = ("lt", "le", "gt", "ge")
NONE, TAINTED, CLEAN, MADE = range(4)
_MEMORY = ("__array", "__cuda", "__dlpack", "_as_parameter_")  # numpy would read the address that it is told
_ALWAYS = ("__bool__", "__str__", "__repr__", "__hash__", "__format__")


def _link(proxy: Any) -> "Link":
    return object.__getattribute__(proxy, "__proxy_link__")


def proxy_number(proxy: Any) -> int:
    return object.__getattribute__(proxy, "__proxy_number__")


def _shadow(proxy: Any) -> list | None:
    return object.__getattribute__(proxy, "__proxy_shadow__")


def _kind(proxy: Any) -> int:
    return object.__getattribute__(proxy, "__proxy_kind__")


def _trust(proxy: Any) -> int:
    return object.__getattribute__(proxy, "__proxy_trust__")


def trust(value: Any, level: int) -> Any:
    """The value; an object of the submission is trusted as far as that from here on."""
    if isinstance(value, Proxy):
        object.__setattr__(value, "__proxy_trust__", level)
    return value


class Proxy:
    """An object of the submission. Which special methods it has depends on the object: see `proxy_class`."""

    __slots__ = (
        "__proxy_link__", "__proxy_number__", "__proxy_shadow__", "__proxy_kind__", "__proxy_trust__", "__weakref__",
    )  # fmt: skip

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # so that `isinstance(x, dict)` says of a subclass of dict what it is
        shadow = _shadow(self)
        return type(shadow[0]) if shadow else type(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith(_MEMORY):
            raise AttributeError(name)
        return _link(self).request("getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _link(self).request("setattr", self, name, value)

    def __delattr__(self, name: str) -> None:
        _link(self).request("delattr", self, name)

    def __dir__(self) -> Any:
        return _link(self).request("dir", self)

    def __eq__(self, other: object) -> Any:
        return _decide("__eq__", self, other)

    def __ne__(self, other: object) -> Any:
        return _decide("__ne__", self, other)

    def __hash__(self) -> int:
        shadow = _shadow(self)
        return hash(shadow[0]) if shadow else _link(self).request("__hash__", self)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):
            _link(self).forget(proxy_number(self))


class ClassProxy(Proxy):
    """A class of the submission, other than an exception."""

    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return trust(_link(self).request("__call__", self, *args, **kwargs), _trust(self))

    def __getattr__(self, name: str) -> Any:
        value: Any = super().__getattr__(name)
        if not _trust(self) or not isinstance(value, Proxy):
            return value
        method: Any = value
        if "__call__" in vars(type(value)):
            return lambda *args, **kwargs: trust(method(*args, **kwargs), CLEAN)
        return trust(value, CLEAN)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, Proxy) and _link(self).request("isinstance", instance, self) is True

    def __subclasscheck__(self, subclass: Any) -> bool:
        return isinstance(subclass, Proxy) and _link(self).request("issubclass", subclass, self) is True

    def __eq__(self, other: object) -> Any:
        if isinstance(other, type):  # of a stand-in, as in `type(x) == Point`
            return _link(self).kinds.get(proxy_number(self)) is other
        return super().__eq__(other)

    def __ne__(self, other: object) -> Any:
        return not self == other if isinstance(other, type) else super().__ne__(other)

    __hash__ = Proxy.__hash__

    def __repr__(self) -> str:
        return _link(self).request("__repr__", self)


def _decide(name: str, left: Any, right: Any, reflected: bool = False) -> Any:
    """An operator between an object of the submission and something else; see the rule at the top."""
    proxy, other = (right, left) if reflected else (left, right)
    level = _trust(proxy)
    compares = name in _COMPARISONS
    if isinstance(other, Proxy):
        theirs = _trust(other)
        if not (compares and _kind(proxy) != _kind(other) and (level == NONE) != (theirs == NONE)):
            return trust(_link(proxy).request(name, left, right), min(level, theirs, CLEAN))
    elif level == MADE:
        return trust(_link(proxy).request(name, left, right), CLEAN)
    else:
        shadow = _shadow(proxy)
        if shadow:
            return OPERATORS[name](left, shadow[0]) if reflected else OPERATORS[name](shadow[0], right)
        if level and not compares:
            result = _link(proxy).request(name, left, right)
            if isinstance(result, Proxy) and not _shadow(result):
                return trust(result, TAINTED)
    if name in ("__eq__", "__ne__"):
        return name == "__ne__"
    if name == "__contains__" and hasattr(type(proxy), "__iter__"):
        return any(item is other or item == other for item in proxy)
    raise TypeError(f"{type(proxy).__name__!r}, an object of the submission, may not decide {name} about this value")


def _method(name: str) -> Callable:
    if name in _DECIDED:
        return lambda self, other: _decide(name, self, other)
    if name in REFLECTED:
        return lambda self, other: _decide(REFLECTED[name], other, self, reflected=True)
    if name in _INPLACE:

        def change(self: Any, other: Any) -> Any:
            changed = _decide(name if _trust(self) else name.replace("__i", "__", 1), self, other)
            return self if isinstance(changed, Proxy) and proxy_number(changed) == proxy_number(self) else changed

        return change
    if name == "__enter__":

        def enter(self: Any) -> Any:
            entered = _link(self).request(name, self)
            return self if isinstance(entered, Proxy) and proxy_number(entered) == proxy_number(self) else entered

        return enter
    if name == "__exit__":
        return lambda self, kind, error, trace: _link(self).request(name, self, kind, _handed(error), None)
    if name in _NUMBERS:

        def number(self: Any, *args: Any) -> Any:
            result = _link(self).request(name, self, *args)
            if _trust(self) == TAINTED and (not isinstance(result, Proxy) or _shadow(result)):
                raise TypeError(f"{type(self).__name__!r}, an object of the submission, knows a plain value")
            return trust(result, min(_trust(self), CLEAN))

        return number
    if name in ("__len__", "__str__", "__repr__"):
        # of a builtin's subclass as well, the submission's own method: it learns nothing from being asked
        return lambda self: _link(self).request(name, self)
    return lambda self, *args, **kwargs: _link(self).request(name, self, *args, **kwargs)


def _handed(error: BaseException | None) -> Any:
    """An exception on its way out of a `with` block, as far as it can be handed over."""
    if error is None:
        return None
    return error.__dict__["__proxy_error__"][0] if "__proxy_error__" in error.__dict__ else str(error)


_DECIDED = {f"__{name}__" for name in (*_BINARY, *_ORDER, "contains", "divmod")}
_COMPARISONS = {f"__{name}__" for name in ("eq", "ne", *_ORDER, "contains")}
_NUMBERS = {
    f"__{name}__" for name in (
        "abs", "round", "float", "int", "index", "complex", "trunc", "floor", "ceil", "bool", "neg", "pos", "invert",
    )
}  # fmt: skip
_INPLACE = {f"__i{name}__" for name in ("add", "sub", "mul", "and", "or", "xor", "truediv")}


@functools.lru_cache(1000)
def proxy_class(name: str, methods: tuple[str, ...], base: type = Proxy) -> type:
    """A class of stand-ins with those of `methods` that are known: building one takes longer than a call."""
    known = [method for method in methods if method in OPERATORS or method in REFLECTED]
    members: dict[str, Any] = {
        method: _method(method) for method in {*known, *_ALWAYS} - {"__eq__", "__ne__", "__hash__"}
    }
    members["__doc__"] = property(lambda self: _link(self).request("getattr", self, "__doc__"))
    return type(name, (base,), {**members, "__slots__": ()})
