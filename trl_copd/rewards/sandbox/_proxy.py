"""
Stand-ins, in the oracle, for what lives in the sandbox.

A test calls, reads, compares and iterates over stand-ins as over the objects themselves. Two rules keep the decision
here:

- Plain values arrive as plain values (`_codec`), so `f(2) == 3` compares two ints of this process.
- An object of the submission may decide about a plain value of the test (`==`, `<`, `-`, `in` …) only where the test
  itself asked for an object, by calling a class by its CapWords name: `Vector(1, 2) * 3`. What a function returned may
  not, or an object with an `__eq__` that always says yes would pass for any answer. What derives from a builtin type
  is compared by the plain value inside it.
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
_ALWAYS = ("__bool__", "__str__", "__repr__", "__hash__", "__format__")


def _link(proxy: Any) -> "Link":
    return object.__getattribute__(proxy, "__proxy_link__")


def proxy_number(proxy: Any) -> int:
    return object.__getattribute__(proxy, "__proxy_number__")


def _shadow(proxy: Any) -> list | None:
    return object.__getattribute__(proxy, "__proxy_shadow__")


def _trusted(proxy: Any) -> bool:
    return object.__getattribute__(proxy, "__proxy_trusted__")


def trust(value: Any) -> Any:
    if isinstance(value, Proxy):
        object.__setattr__(value, "__proxy_trusted__", True)
    return value


class Proxy:
    """An object of the submission. Which special methods it has depends on the object: see `proxy_class`."""

    __slots__ = ("__proxy_link__", "__proxy_number__", "__proxy_shadow__", "__proxy_trusted__", "__weakref__")

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # so that `isinstance(x, dict)` says of a subclass of dict what it is
        shadow = _shadow(self)
        return type(shadow[0]) if shadow else type(self)

    def __getattr__(self, name: str) -> Any:
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
        made = _link(self).request("__call__", self, *args, **kwargs)
        return trust(made) if _trusted(self) else made

    def __getattr__(self, name: str) -> Any:
        value: Any = super().__getattr__(name)
        if _trusted(self) and isinstance(value, Proxy) and "__call__" in vars(type(value)):
            method: Any = value
            return lambda *args, **kwargs: self._made(method(*args, **kwargs))
        return value

    def _made(self, value: Any) -> Any:
        """Result of a class method: an object that the test asked for, if it is one of this class."""
        is_one = isinstance(value, Proxy) and _link(self).request("isinstance", value, self) is True
        return trust(value) if is_one else value

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, Proxy) and _link(self).request("isinstance", instance, self) is True

    def __subclasscheck__(self, subclass: Any) -> bool:
        return isinstance(subclass, Proxy) and _link(self).request("issubclass", subclass, self) is True

    def __repr__(self) -> str:
        return _link(self).request("__repr__", self)


def _decide(name: str, left: Any, right: Any, reflected: bool = False) -> Any:
    """An operator between an object of the submission and something else; see the rule at the top."""
    proxy, other = (right, left) if reflected else (left, right)
    if isinstance(other, Proxy) or _trusted(proxy):
        result = _link(proxy).request(name, left, right)
        return trust(result) if _trusted(proxy) else result
    shadow = _shadow(proxy)
    if shadow:
        return OPERATORS[name](left, shadow[0]) if reflected else OPERATORS[name](shadow[0], right)
    if name in ("__eq__", "__ne__"):
        return name == "__ne__"
    if name == "__contains__" and hasattr(type(proxy), "__iter__"):
        return any(item is other or item == other for item in proxy)
    raise TypeError(
        f"{type(proxy).__name__!r}, an object that the submission returned, may not decide {name} about a plain value"
    )


def _method(name: str) -> Callable:
    if name in _DECIDED:
        return lambda self, other: _decide(name, self, other)
    if name in REFLECTED:
        return lambda self, other: _decide(REFLECTED[name], other, self, reflected=True)
    if name in _INPLACE:
        plain = name.replace("__i", "__", 1)
        return lambda self, other: (
            trust(_link(self).request(name, self, other)) if _trusted(self) else _decide(plain, self, other)
        )
    if name == "__enter__":

        def enter(self: Any) -> Any:
            entered = _link(self).request(name, self)
            return self if isinstance(entered, Proxy) and proxy_number(entered) == proxy_number(self) else entered

        return enter
    if name == "__exit__":
        return lambda self, kind, error, trace: _link(self).request(name, self, kind, _handed(error), None)
    if name in ("__len__", "__index__", "__int__", "__float__", "__bool__", "__str__", "__repr__"):
        # of a builtin's subclass as well, the submission's own method: it learns nothing from being asked
        return lambda self: _link(self).request(name, self)
    return lambda self, *args, **kwargs: _link(self).request(name, self, *args, **kwargs)


def _handed(error: BaseException | None) -> Any:
    """An exception on its way out of a `with` block, as far as it can be handed over."""
    if error is None:
        return None
    return error.__dict__["__proxy_error__"][0] if "__proxy_error__" in error.__dict__ else str(error)


_DECIDED = {f"__{name}__" for name in (*_BINARY, *_ORDER, "contains", "divmod")}
_INPLACE = {f"__i{name}__" for name in ("add", "sub", "mul", "and", "or", "xor", "truediv")}


@functools.lru_cache(1000)
def proxy_class(name: str, methods: tuple[str, ...], base: type = Proxy) -> type:
    """A class of stand-ins with those of `methods` that are known: building one takes longer than a call."""
    known = [method for method in methods if method in OPERATORS or method in REFLECTED]
    members: dict[str, Any] = {
        method: _method(method) for method in {*known, *_ALWAYS} - {"__eq__", "__ne__", "__hash__"}
    }
    return type(name, (base,), {**members, "__slots__": ()})
