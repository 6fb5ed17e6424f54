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
from collections.abc import Callable, Iterator, Sequence
from types import MethodType
from typing import Any

from . import _kinds
from ._runner import OPERATORS, REFLECTED


NONE, TAINTED, CLEAN, MADE = range(4)


def _link(proxy: Any) -> Any:  # a `Link`, which stands above
    return object.__getattribute__(proxy, "__proxy_link__")


def proxy_number(proxy: Any) -> int:
    return object.__getattribute__(proxy, "__proxy_number__")


def _shadow(proxy: Any) -> list | None:
    return object.__getattribute__(proxy, "__proxy_shadow__")


def _plain(proxy: Any) -> Any:
    """
    The value of a builtin type inside an object, on which index, iteration, length and comparison of what a function
    returned agree: as it was when it came, unless the tests have since worked with the object itself.
    """
    if object.__getattribute__(proxy, "__proxy_live__"):
        now = _link(proxy).request("plain", proxy)
        if type(now) is not type(_shadow(proxy)[0]):  # type: ignore[index]
            raise _link(proxy).fail("an object changed its type")
        return now
    return _shadow(proxy)[0]  # type: ignore[index]


def _seen(proxy: Any, key: Any, value: Any) -> Any:
    """
    The value, which the tests see as the item `key` of an object, or as its length (`None`). An object that a function
    returned shows the same again, unless the tests have worked with it or called anything meanwhile.
    """
    seen = object.__getattribute__(proxy, "__proxy_seen__")
    if seen.get("calls") != _link(proxy).calls:
        seen.clear()
        seen["calls"] = _link(proxy).calls
    if _trust(proxy) != MADE and not object.__getattribute__(proxy, "__proxy_live__"):
        try:
            same = key not in seen or seen[key] is value or bool(type(seen[key]) is type(value) and seen[key] == value)
        except Exception:
            same = False
        length = seen.get(None)
        if not same or (key is not None and type(length) is int and key >= length):
            raise _link(proxy).fail("an object shows two contents")
        seen[key] = value
    return value


def _iterate(proxy: Any) -> Iterator[Any]:
    """An iterator over an object of the submission; what it yields is what the object shows."""
    iterator = _link(proxy).request("__iter__", proxy)
    if "__next__" in type(proxy).__proxy_methods__:  # an iterator itself: it shows each item once
        return iterator
    if not isinstance(iterator, Proxy):  # one of the tests
        return _items(proxy, iterator)
    object.__getattribute__(iterator, "__proxy_shows__")[proxy_number(proxy)] = [proxy, 0]
    return iterator  # type: ignore[return-value]


def _items(proxy: Any, iterator: Iterator[Any]) -> Iterator[Any]:
    number = -1
    for number, item in enumerate(iterator):
        yield _seen(proxy, number, item)
    _seen(proxy, None, number + 1)


def _next(iterator: Any) -> Any:
    shows = object.__getattribute__(iterator, "__proxy_shows__").values()
    try:
        item = _link(iterator).request("__next__", iterator)
    except StopIteration:
        for proxy, number in shows:
            _seen(proxy, None, number)
        raise
    for place in shows:
        _seen(place[0], place[1], item)
        place[1] += 1
    return item


def lives_on(operation: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """Objects that the tests work with may change from here on."""
    if operation in _kinds.CHANGES:
        for value in (*args, *kwargs.values()):
            if isinstance(value, Proxy):
                object.__setattr__(value, "__proxy_live__", True)


def may_return(proxy: Any) -> bool:
    """
    Whether an object that comes back may be the stand-in that there is. Not one that decides about plain values: a
    function could return it in place of an answer.
    """
    return _trust(proxy) == NONE or not _has_powers(proxy)


def _has_powers(proxy: Any) -> bool:
    return bool(_shadow(proxy)) or not _kinds.POWERS.isdisjoint(type(proxy).__proxy_methods__)


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
        "__proxy_link__", "__proxy_number__", "__proxy_shadow__", "__proxy_kind__", "__proxy_trust__",
        "__proxy_live__", "__proxy_seen__", "__proxy_shows__", "__weakref__",
    )  # fmt: skip
    __proxy_methods__: tuple[str, ...] = ()

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # so that `isinstance(x, dict)` says of a subclass of dict what it is
        shadow = _shadow(self)
        if shadow:
            return type(shadow[0])
        return _link(self).own(type(self).__name__) or type(
            self
        )  # the tests' own class of this name, if they have one

    def __getattr__(self, name: str) -> Any:
        if name.startswith(_kinds.MEMORY):
            raise AttributeError(name)
        if _shadow(self) and _trust(self) == NONE and name in _kinds.READS.get(type(_shadow(self)[0]), ()):  # type: ignore[index]
            return getattr(_plain(self), name)
        value = _link(self).request("getattr", self, name)
        if isinstance(value, Proxy):  # a method, by which the object can be changed
            object.__setattr__(self, "__proxy_live__", True)
        return value

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
        if _shadow(self):
            return hash(_plain(self))
        if "__eq__" not in type(self).__proxy_methods__ and "__hash__" not in type(self).__proxy_methods__:
            return hash((Proxy, proxy_number(self)))
        return _link(self).request("__hash__", self)

    def __copy__(self) -> Any:
        return _copied(self, "copy")

    def __deepcopy__(self, memo: Any) -> Any:
        return _copied(self, "deepcopy")

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):
            _link(self).forget(proxy_number(self))


class ClassProxy(Proxy):
    """A class of the submission, other than an exception."""

    __slots__ = ()

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return trust(_apart(_link(self).request("__call__", self, *args, **kwargs)), _trust(self))

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self

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


def _apart(value: Any) -> Any:
    """The value, by another stand-in where it has powers: a function may have returned this object before."""
    if not isinstance(value, Proxy) or not _has_powers(value):
        return value
    return _link(value).proxy(type(value), proxy_number(value), _shadow(value), _kind(value))


def _copied(proxy: Any, how: str) -> Any:
    """A copy, made by the submission: an object of the same class, which decides about no plain value."""
    made = _link(proxy).request(how, proxy)
    if not isinstance(made, Proxy) or _kind(made) != _kind(proxy):
        raise _link(proxy).fail("a copy of an object is of another class")
    if proxy_number(made) == proxy_number(proxy):
        return proxy
    return trust(_apart(made), min(_trust(proxy), CLEAN))


def _decide(name: str, left: Any, right: Any, reflected: bool = False) -> Any:
    """An operator between an object of the submission and something else; see the rule at the top."""
    proxy, other = (right, left) if reflected else (left, right)
    level = _trust(proxy)
    compares = name in _kinds.COMPARISONS
    if isinstance(other, Proxy):
        if name in ("__eq__", "__ne__") and not _has_equality(proxy) and not _has_equality(other):
            return (proxy_number(proxy) == proxy_number(other)) == (name == "__eq__")
        theirs = _trust(other)
        if not (compares and _kind(proxy) != _kind(other) and (level == NONE) != (theirs == NONE)):
            return trust(_link(proxy).request(name, left, right), min(level, theirs, CLEAN))
    elif level == MADE:
        return trust(_link(proxy).request(name, left, right), CLEAN)
    else:
        shadow = _shadow(proxy)
        if shadow:
            plain = _plain(proxy)
            return OPERATORS[name](left, plain) if reflected else OPERATORS[name](plain, right)
        if level and not compares:
            result = _link(proxy).request(name, left, right)
            if isinstance(result, Proxy) and not _shadow(result):
                return trust(result, TAINTED)
    if name in ("__eq__", "__ne__"):
        return (
            NotImplemented if type(other).__module__ == "__main__" else name == "__ne__"
        )  # the tests' own class decides
    if name == "__contains__" and hasattr(type(proxy), "__iter__"):
        return any(item is other or item == other for item in proxy)
    raise TypeError(f"{type(proxy).__name__!r}, an object of the submission, may not decide {name} about this value")


def _has_equality(proxy: Any) -> bool:
    return "__eq__" in type(proxy).__proxy_methods__ or bool(_shadow(proxy)) or isinstance(proxy, ClassProxy)


def _method(name: str) -> Callable:
    asked = _asking_method(name)
    if name not in _kinds.OF_PLAIN:
        return asked

    def method(self: Any, /, *args: Any) -> Any:
        """Of what a function returned, by the plain value inside, if there is one."""
        if _shadow(self) and _trust(self) == NONE:
            return OPERATORS[name](_plain(self), *args)
        return asked(self, *args)

    return method


def _asking_method(name: str) -> Callable:
    if name in _kinds.DECIDED:
        return lambda self, other: _decide(name, self, other)
    if name in REFLECTED:
        return lambda self, other: _decide(REFLECTED[name], other, self, reflected=True)
    if name in _kinds.INPLACE:

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
    if name in _kinds.NUMBERS:

        def number(self: Any, *args: Any) -> Any:
            result = _link(self).request(name, self, *args)
            if _trust(self) == TAINTED and (not isinstance(result, Proxy) or _shadow(result)):
                raise TypeError(f"{type(self).__name__!r}, an object of the submission, knows a plain value")
            return trust(result, min(_trust(self), CLEAN))

        return number
    if name == "__len__":
        return lambda self: _seen(self, None, _link(self).request(name, self))
    if name == "__getitem__":

        def item(self: Any, key: Any) -> Any:
            value = _link(self).request(name, self, key)
            return _seen(self, key, value) if type(key) is int and key >= 0 else value

        return item
    if name == "__iter__":
        return _iterate
    if name == "__next__":
        return _next
    return lambda self, /, *args, **kwargs: _link(self).request(name, self, *args, **kwargs)


def _handed(error: BaseException | None) -> Any:
    """An exception on its way out of a `with` block, as far as it can be handed over."""
    if error is None:
        return None
    return error.__dict__["__proxy_error__"][0] if "__proxy_error__" in error.__dict__ else str(error)


@functools.lru_cache(1000)
def proxy_class(name: str, methods: tuple[str, ...], base: type = Proxy) -> type:
    """A class of stand-ins with those of `methods` that are known: building one takes longer than a call."""
    known = [method for method in methods if method in OPERATORS or method in REFLECTED]
    members: dict[str, Any] = {
        method: _method(method) for method in {*known, *_kinds.ALWAYS} - {"__eq__", "__ne__", "__hash__"}
    }
    if name == "function" and base is Proxy:  # in a class of the tests it is a method, as a function is
        members["__get__"] = lambda self, instance, owner=None: (
            self if instance is None else MethodType(self, instance)
        )
    members["__doc__"] = property(lambda self: _link(self).request("getattr", self, "__doc__"))
    return type(name, (base,), {**members, "__slots__": (), "__proxy_methods__": tuple(known)})


def is_filled(value: Any) -> bool:
    """Whether a value is neither empty nor made of empty ones."""
    if isinstance(value, (list, tuple, dict, set, frozenset)):
        return any(not isinstance(item, (list, tuple, dict, set, frozenset)) or is_filled(item) for item in value)
    return value is not None and not (isinstance(value, Proxy) or (isinstance(value, (str, bytes)) and not value))
