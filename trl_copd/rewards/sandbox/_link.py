"""The oracle's end of the pipe: asks the submission for one thing at a time and makes a value of what comes back."""

import collections
import datetime
import decimal
import fractions
import socket
import struct
import sys
import threading
import types
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from . import _arrays, _codec, _numeric
from ._given import TESTS, attribute, change, is_public
from ._proxy import NONE, ClassProxy, Proxy, is_filled, lives_on, may_return, proxy_class, proxy_number
from ._runner import LONGEST, OPERATORS


_STDLIB = sys.stdlib_module_names - {"unittest", "__main__"}
# Classes that a reply may name as themselves, beside exceptions: plain values, whose constructors run nothing.
# Whatever else can be called stays in the sandbox, and is called there: `eval` above all.
_VALUES = (
    bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, object,
    collections.Counter, collections.OrderedDict, collections.defaultdict, collections.deque, fractions.Fraction,
    decimal.Decimal, datetime.date, datetime.datetime, datetime.time, datetime.timedelta,
)  # fmt: skip
_NAMED: dict[tuple, type] = {(kind.__module__, kind.__name__): kind for kind in _VALUES}
_KEPT = 100_000  # empty containers of an answer that are remembered


class SubmissionFailed(BaseException):
    """The submission is gone or broke a rule. Not an Exception: no `except Exception` of a test shall hide it."""


class Link:
    """
    Args:
        connection (`socket.socket`): To the submission.
        allow_nan (`bool`): Whether NaN is a value like others. A NaN makes every comparison false, so that
            `assert not abs(f(x) - y) > 1e-6` passes; unless the tests speak of NaN, an answer that holds one is wrong.
        allow_stop (`bool`): Whether a call may raise `StopIteration`. One would end `all(map(f, xs))` with true.
        own (`Callable`): From a name to the class of that name that the tests have of their own, or `None`.
        given_by_tests (`Callable`): Whether the arguments of the call that runs now hold nothing of the submission.
    """

    def __init__(
        self,
        connection: socket.socket,
        allow_nan: bool,
        allow_stop: bool,
        own: Callable[[str], Any] = lambda name: None,
        given_by_tests: Callable[[], bool] = lambda: True,
    ):
        self.connection = connection
        self.allow_nan, self.allow_stop = allow_nan, allow_stop
        self.own, self.given_by_tests = own, given_by_tests
        self.raised: dict[int, BaseException] = {}  # exceptions of the submission, by id
        self.named: dict[type, tuple[str, str]] = {}  # exceptions of the standard library that it named
        self.failed: str | None = None
        self.unsupported: str | None = None
        self.lock = threading.RLock()
        self.kinds: dict[int, type] = {}  # stand-ins' classes, by the class of what they stand in for
        self.classes: dict[int, type] = {}  # what stands in for a class itself
        self.counts: dict[int, int] = {}
        self.living: weakref.WeakValueDictionary[int, Proxy] = weakref.WeakValueDictionary()
        self.dropped: list[int] = []
        self.calls = 0
        self.given: dict[int, tuple[Any, tuple[str, ...]]] = {}
        self.numbers: dict[int, int] = {}
        self.awaited: set[int] = set()  # numbers of what was called and returned a coroutine
        self.filled: set[int] = set()  # numbers of what was called and returned more than an empty value
        self.hollow: set[int] = set()  # the same of what returned an empty container or text
        self.empty: dict[int, Any] = {}  # containers without elements that the submission sent, by id

    def fail(self, reason: str) -> SubmissionFailed:
        self.failed = self.failed or reason
        return SubmissionFailed(reason)

    def emptied(self, container: Any) -> Any:
        """The container, which the submission left without elements; kept, so that no other has its id."""
        if len(self.empty) < _KEPT:
            self.empty[id(container)] = container
        return container

    def is_emptied(self, container: Any) -> bool:
        return self.empty.get(id(container)) is container

    # -- the wire

    def send(self, message: Any) -> None:
        data = _codec.dumps(message)
        try:
            self.connection.sendall(struct.pack("<I", len(data)) + data)
        except OSError:
            raise self.fail("the submission ended early") from None

    def receive(self) -> dict:
        try:
            (size,) = struct.unpack("<I", self._read(4))
            if size > LONGEST:
                raise self.fail("a result is too large")
            message, has_nan = _codec.loads(self._read(size), _numeric.read_float)
        except _codec.Malformed as error:
            raise self.fail(str(error)) from None
        if type(message) is not dict:
            raise self.fail("malformed message")
        if has_nan and not self.allow_nan:
            raise self.fail("the answer holds a NaN, of which the tests say nothing")
        return message

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                chunk = self.connection.recv(min(size - len(data), 1 << 20))
            except OSError:
                chunk = b""
            if not chunk:
                raise self.fail("the submission ended early")
            data += chunk
        return bytes(data)

    def request(self, operation: str, /, *args: Any, **kwargs: Any) -> Any:
        """Have the submission do something, and return or raise what came of it."""
        if self.failed:
            raise SubmissionFailed(self.failed)
        lives_on(operation, args, kwargs)
        self.calls += operation == "__call__"
        with self.lock:
            dropped, self.dropped = [number for number in self.dropped if not self.counts[number]], []
            named = {name: self.encode(value) for name, value in kwargs.items()}
            self.send([operation, [self.encode(arg) for arg in args], named, dropped])
            reply = self.receive()
            while "ask" in reply:
                self.take_back(reply)
                self.send(self.answer(reply["ask"]))
                reply = self.receive()
            self.take_back(reply)
        if type(reply.get("printed")) is str:
            sys.stdout.write(reply["printed"])
        try:
            if "error" in reply:
                error = self.error(*reply["error"])
                if isinstance(error, StopIteration) and operation != "__next__" and not self.allow_stop:
                    raise self.fail("it raised StopIteration, of which the tests say nothing")
                raise error
            given = [*args, *kwargs.values()]
            for position, now in reply.get("changed", ()):
                _codec.update(given[position], self.decode(now))
                if not given[position]:
                    self.emptied(given[position])
            if "missing" in reply and reply["missing"] is True:
                raise KeyError(args[0])
            if type(reply.get("same")) is int and operation == "__call__":
                same = given[reply["same"]]
                if type(same) not in (list, dict, set, bytearray):  # never an object: it would come back with trust
                    raise _codec.Malformed("not an argument that can be handed back")
                return self.noted(operation, args, same)
            value = self.noted(operation, args, self.decode(reply["value"]))
            if type(value) is str and value.strip().lower().lstrip("+-") == "nan" and not self.allow_nan:
                raise self.fail("the answer is the text of a NaN, of which the tests say nothing")
            return value
        except (_codec.Malformed, TypeError, LookupError, ValueError) as error:
            if isinstance(error, _codec.Malformed) or not isinstance(error, KeyError) and "error" not in reply:
                raise self.fail(f"malformed message: {error}") from None
            raise

    def noted(self, operation: str, args: Sequence[Any], value: Any) -> Any:
        if operation == "__call__":
            if getattr(value, "cr_code", None) is Link.drive.__code__:
                self.awaited.add(proxy_number(args[0]))
            elif is_filled(value):
                self.filled.add(proxy_number(args[0]))
            elif isinstance(value, (str, bytes, list, tuple, dict, set, frozenset)):
                self.hollow.add(proxy_number(args[0]))
        return value

    def take_back(self, reply: dict) -> None:
        """Containers in attributes of the tests' objects, as the submission has changed them."""
        try:
            for number, name, now in reply.get("lent", ()):
                value = self.given[number][0]
                if type(value).__module__ == TESTS and is_public(value, name):
                    _codec.update(vars(value).get(name), self.decode(now))
        except (_codec.Malformed, TypeError, LookupError, ValueError) as error:
            raise self.fail(f"malformed message: {error}") from None

    # -- values to the submission

    def encode(self, value: Any) -> Any:
        return _codec.encode(value, self.other)

    def other(self, value: Any) -> dict:
        if isinstance(value, Proxy):
            return {"H": proxy_number(value)}
        if isinstance(value, _numeric.Huge):
            return float(value)  # type: ignore[return-value]
        if isinstance(value, type) and "__submission__" in vars(value):
            return {"H": vars(value)["__submission__"]}
        kind = type(value)
        if kind.__module__ == "numpy" and hasattr(value, "tolist"):
            return {"N": ["ndarray" in {base.__name__ for base in kind.__mro__}, self.encode(value.tolist())]}
        if isinstance(value, type) and value in self.named:
            return {"G": list(self.named[value])}
        module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
        if isinstance(value, (type, types.BuiltinFunctionType, types.FunctionType)) and isinstance(module, str):
            if module.partition(".")[0] in _STDLIB and getattr(sys.modules.get(module), str(name), None) is value:
                return {"G": [module, name]}
        methods = self.methods(value)
        if methods is None and (getattr(value, "cr_code", None) is Link.drive.__code__ or id(value) in self.raised):
            raise self.fail(f"an object of type {kind.__name__} that the submission made cannot be passed back to it")
        if methods is None:
            trouble = f"an argument of type {kind.__module__}.{kind.__qualname__} cannot be passed on"
            if not self.given_by_tests():
                raise self.fail(trouble)
            self.unsupported = trouble
            raise TypeError(trouble)
        number = self.numbers.setdefault(id(value), len(self.numbers))
        self.given[number] = (value, methods)
        return {"c": [number, kind.__name__, list(methods)]}

    def methods(self, value: Any) -> tuple[str, ...] | None:
        """Special methods of an object of the test that the submission may use; `None` if it may not have it."""
        kind = type(value)
        if isinstance(value, type) or not hasattr(kind, "__dict__"):
            return ("__call__",) if getattr(value, "__module__", None) == TESTS else None
        if kind.__module__ == TESTS:
            return tuple(name for name in OPERATORS if any(name in vars(base) for base in kind.__mro__[:-1]))
        if callable(value):
            return ("__call__",)
        if hasattr(kind, "__next__"):
            return ("__iter__", "__next__")
        if kind.__module__ in ("_io", "io"):
            return ("__iter__", "__next__")
        return None

    def answer(self, ask: Any) -> dict:
        """What the submission wants of an object that the test handed over."""
        unsupported = self.unsupported
        try:
            number, operation, args, kwargs = ask
            value, methods = self.given[number]
            args = [self.decode(arg) for arg in args]
            kwargs = {name: self.decode(arg) for name, arg in kwargs.items()}
            result: Any
            if operation == "getattr":
                result = attribute(value, *args)
            elif operation == "setattr":
                result = change(value, *args)  # type: ignore[func-returns-value]
            elif operation == "vars" and type(value).__module__ == TESTS:
                result = {name: item for name, item in vars(value).items() if is_public(value, name)}
            elif operation in methods:
                result = OPERATORS[operation](value, *args, **kwargs)
            else:
                raise AttributeError(operation)
            return {"value": self.encode(result)}
        except Exception as error:
            self.unsupported = unsupported  # asking for what cannot be had must not spoil the row
            name = next(base.__name__ for base in type(error).__mro__ if base.__module__ == "builtins")
            values = [arg for arg in error.args if type(arg) in (str, int, float, bool, type(None))]
            return {"error": [name, values]}

    # -- values from the submission

    def decode(self, value: Any) -> Any:
        return _codec.decode(value, self.special)

    def special(self, tag: str, content: Any) -> Any:
        if tag == "h":
            number, kind, description, shadow = content
            if description is not None and kind not in self.kinds:
                name, methods = description
                self.kinds[kind] = proxy_class(str(name), tuple(methods))
            if shadow is not None:
                shadow = [self.decode(shadow[0]), *shadow[1:]]
            known = self.living.get(int(number))
            if known is not None and may_return(known):
                return known
            return self.proxy(self.kinds[kind], int(number), shadow, int(kind))
        if tag == "k":
            name, number, bases, methods = content
            return self.foreign_class(str(name), int(number), bases, methods)
        if tag == "g":
            module, name, number, bases = content
            if (module, name) in _NAMED:
                return _NAMED[module, name]
            if bases is not None and module.partition(".")[0] in _STDLIB and module in sys.modules:
                found = vars(sys.modules[module]).get(name)
                if isinstance(found, type) and issubclass(found, BaseException):
                    self.named[found] = (module, name)
                    return found
            return self.foreign_class(str(name), int(number), bases)
        if tag == "c":
            return self.given[content][0]
        if tag == "nan" and isinstance(content, (decimal.Decimal, complex)):
            if not self.allow_nan:
                raise self.fail("the answer holds a NaN, or a complex infinity, of which the tests say nothing")
            return content
        if tag == "empty" and type(content) in (list, dict, set) and not content:
            return self.emptied(content)
        if tag == "a":
            return self.drive(int(content))
        if tag == "N":
            is_array, items = content
            items = self.decode(items)
            if is_array:
                _arrays.guard_numpy()
            return _arrays.answer_array(items) if is_array else items
        raise _codec.Malformed(f"unknown tag {tag!r}")

    def proxy(self, cls: type, number: int, shadow: list | None = None, kind: int = 0) -> Any:
        proxy: Any = object.__new__(cls)
        state = {"link": self, "number": number, "shadow": shadow, "kind": kind, "trust": NONE, "live": False}
        for name, value in (*state.items(), ("seen", {}), ("shows", {})):
            object.__setattr__(proxy, f"__proxy_{name}__", value)
        self.living[number] = proxy
        self.counts[number] = self.counts.get(number, 0) + 1
        return proxy

    def forget(self, number: int) -> None:
        self.counts[number] -= 1
        if not self.counts[number]:
            self.dropped.append(number)

    async def drive(self, number: int) -> Any:
        value = self.request("await", self.proxy(Proxy, number))
        self.filled |= self.awaited if is_filled(value) else set()
        return value

    def foreign_class(self, name: str, number: int, bases: list | None, methods: Any = ()) -> Any:
        """A class of the submission. An exception gets one of this process: `except` takes nothing else."""
        if number in self.classes:
            return self.classes[number] if bases is not None else self.proxy(self.classes[number], number)
        if bases is None:
            self.classes[number] = proxy_class(name, tuple(methods), ClassProxy)
            return self.proxy(self.classes[number], number)
        parents = [base for base in map(self.decode, bases) if isinstance(base, type)]
        parent = next((base for base in parents if issubclass(base, BaseException)), Exception)
        members = {
            "__submission__": number,
            "__module__": "solution",
            "__getattr__": _exception_attribute,
            "__str__": _exception_text,
        }
        try:
            self.classes[number] = type(name, (parent,), members)
        except TypeError:
            self.classes[number] = type(name, (Exception,), members)
        return self.classes[number]

    def error(self, kind: Any, args: Any, text: Any, number: Any) -> BaseException:
        """The exception that the submission raised, as one of this process."""
        cls = self.decode(kind)
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            return self.fail("malformed message: an error that is none")
        values = [self.decode(arg) for arg in args]
        try:
            error = cls(*values)
        except Exception:
            error = Exception.__new__(cls) if issubclass(cls, Exception) else Exception(text)
        if "__submission__" in vars(cls):
            error.__dict__["__proxy_error__"] = (self.proxy(Proxy, int(number)), str(text))
        self.raised[id(error)] = error
        return error


def _exception_attribute(self: BaseException, name: str) -> Any:
    if name.startswith("__") or "__proxy_error__" not in self.__dict__:
        raise AttributeError(name)
    return getattr(self.__dict__["__proxy_error__"][0], name)


def _exception_text(self: BaseException) -> str:
    return self.__dict__["__proxy_error__"][1] if "__proxy_error__" in self.__dict__ else Exception.__str__(self)
