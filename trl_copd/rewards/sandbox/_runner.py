"""
The submission's end of the pipe: runs inside the sandbox, in the same interpreter as the submission, and so is trusted
with nothing. It loads the submission and then does what the oracle asks, one request at a time: look a name up, call,
read an attribute, apply an operator. Values go back as in `_codec`, everything else as a handle that stays here.
"""

import builtins
import copy
import importlib
import io
import operator
import socket
import struct
import sys
import threading
import types
import typing
from collections.abc import Callable
from typing import Any

from . import _codec, _seed
from ._remote import Remote, stand_in


NAME = "solution"  # what the submission's module is called
# what LeetCode's editor has imported already, and submissions in its style take for granted
_TYPING = {
    name: getattr(typing, name)
    for name in (
        "Any", "Callable", "DefaultDict", "Deque", "Dict", "Generator", "Iterable", "Iterator", "List", "Optional",
        "Sequence", "Set", "Tuple", "Type", "TypeVar", "Union",
    )
}  # fmt: skip
LONGEST = 16 << 20  # bytes of a message
_PRINTED = 1 << 20  # characters of printed text that are passed on
# operators by the method that an object must have for the oracle's proxy to have them too
OPERATORS: dict[str, Callable[..., Any]] = {
    "__call__": lambda x, /, *args, **kwargs: x(*args, **kwargs), "__len__": len, "__iter__": iter, "__next__": next,
    "__getitem__": operator.getitem, "__setitem__": operator.setitem, "__delitem__": operator.delitem,
    "__contains__": operator.contains, "__bool__": bool, "__reversed__": reversed,
    "__enter__": lambda x: type(x).__enter__(x), "__exit__": lambda x, *args: type(x).__exit__(x, *args),
    "__eq__": operator.eq, "__ne__": operator.ne, "__lt__": operator.lt, "__le__": operator.le,
    "__gt__": operator.gt, "__ge__": operator.ge, "__hash__": hash, "__str__": str, "__repr__": repr,
    "__format__": format, "__int__": int, "__float__": float, "__complex__": complex, "__index__": operator.index,
    "__round__": round, "__abs__": abs, "__neg__": operator.neg, "__pos__": operator.pos,
    "__invert__": operator.invert, "__bytes__": bytes, "__add__": operator.add, "__sub__": operator.sub,
    "__mul__": operator.mul, "__matmul__": operator.matmul, "__truediv__": operator.truediv,
    "__floordiv__": operator.floordiv, "__mod__": operator.mod, "__divmod__": divmod, "__pow__": pow,
    "__lshift__": operator.lshift, "__rshift__": operator.rshift, "__and__": operator.and_,
    "__or__": operator.or_, "__xor__": operator.xor, "__iadd__": operator.iadd, "__isub__": operator.isub,
    "__imul__": operator.imul, "__iand__": operator.iand, "__ior__": operator.ior, "__ixor__": operator.ixor,
    "__itruediv__": operator.itruediv, "__trunc__": lambda x: type(x).__trunc__(x),
    "__floor__": lambda x: type(x).__floor__(x), "__ceil__": lambda x: type(x).__ceil__(x),
}  # fmt: skip
_BINARY = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and", "or", "xor")
REFLECTED = {f"__r{name}__": f"__{name}__" for name in (*_BINARY, "divmod")}
_REQUESTS: dict[str, Callable[..., Any]] = {
    **OPERATORS,
    "getattr": getattr, "setattr": setattr, "delattr": delattr, "dir": dir, "isinstance": isinstance,
    "issubclass": issubclass, "copy": copy.copy, "deepcopy": copy.deepcopy, "plain": lambda x: _plain(_base(x), x),
}  # fmt: skip
_BUILTIN = (int, float, str, bytes, list, tuple, dict, set, frozenset, complex)


def _methods(kind: type) -> list[str]:
    members = {name for base in kind.__mro__[:-1] for name, member in vars(base).items() if member is not None}
    return [name for name in (*OPERATORS, *REFLECTED) if name in members]


_FUNCTION = _methods(types.FunctionType)  # what nearly every submission has


class _Printed(io.StringIO):
    """Standard output: kept until the next reply, up to a limit."""

    def take(self) -> str:
        text = self.getvalue()[:_PRINTED]
        self.seek(0)
        self.truncate()
        return text


class Runner:
    """
    Args:
        connection (`socket.socket`): To the oracle.
    """

    def __init__(self, connection: socket.socket):
        self.connection = connection
        self.objects: dict[int, Any] = {}
        self.numbers: dict[int, int] = {}  # id of an object to its handle
        self.types: set[int] = set()  # handles of types the oracle has been told of
        self.remotes: dict[int, Remote] = {}  # one stand-in for each object of the test
        self.lent: dict[tuple[int, str], tuple[Any, Any]] = {}  # containers in their attributes, and what they held
        self.last = 0
        self.module = types.ModuleType(NAME)
        vars(self.module).update(_TYPING)
        self.printed = _Printed()
        self.lock = threading.RLock()

    # -- the wire

    def send(self, message: dict) -> None:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(max(limit, 8000))  # a deep result must not fail for the few frames that encoding takes
        try:
            data = _codec.dumps(message)
        except (ValueError, RecursionError, MemoryError):  # cycles, integers of more digits than anybody reads
            data = b""
        finally:
            sys.setrecursionlimit(limit)
        if not 0 < len(data) <= LONGEST:
            data = _codec.dumps({"error": [self.encode(OverflowError), ["the result is too large"], "", 0]})
        self.connection.sendall(struct.pack("<I", len(data)) + data)

    def receive(self) -> Any:
        (size,) = struct.unpack("<I", self.read(4))
        return _codec.loads(self.read(size))[0]

    def read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            chunk = self.connection.recv(size - len(data))
            if not chunk:
                raise SystemExit  # the oracle has what it wants
            data += chunk
        return bytes(data)

    # -- values

    def handle(self, value: Any) -> int:
        number = self.numbers.get(id(value))
        if number is None:
            self.last = number = self.last + 1
            self.objects[number] = value
            self.numbers[id(value)] = number
        return number

    def other(self, value: Any) -> dict:
        """What is not a plain value: a handle, with what the oracle needs to know to stand in for it."""
        if isinstance(value, Remote):
            return {"c": object.__getattribute__(value, "_number")}
        kind: Any = type(value)
        if kind.__module__ == "numpy":  # values, not objects: by their contents
            if hasattr(value, "tolist"):
                return {"N": [kind.__name__ == "ndarray", self.encode(value.tolist())]}
        if isinstance(value, types.CoroutineType):
            return {"a": self.handle(value)}
        if isinstance(value, type):
            bases = [self.encode(base) for base in value.__mro__[1:-1]] if issubclass(value, BaseException) else None
            known: Any = getattr(sys.modules.get(value.__module__), value.__name__, None)
            if value.__module__ != NAME and value is known:
                return {"g": [value.__module__, value.__name__, self.handle(value), bases]}
            own = [base for base in kind.__mro__ if base not in (type, object)]  # of a metaclass, as enumerations have
            methods = [name for name in OPERATORS if any(name in vars(base) for base in own) and name != "__call__"]
            return {"k": [value.__name__, self.handle(value), bases, methods]}
        number, description = self.handle(kind), None
        if number not in self.types:
            self.types.add(number)
            description = [kind.__name__, _FUNCTION if kind is types.FunctionType else _methods(kind)]
        shadow: list | None = None
        base = _base(value)
        if base is not None:  # a subclass: the oracle compares what a plain value of it would hold
            shadow = [self.encode(_plain(base, value))]
        fields = getattr(kind, "_fields", None) if shadow and issubclass(kind, tuple) else None
        if shadow and fields and getattr(kind, "_make", None):
            shadow.append(list(fields))
        return {"h": [self.handle(value), number, description, shadow]}

    def encode(self, value: Any) -> Any:
        return _codec.encode(value, self.other)

    def decode(self, value: Any) -> Any:
        return _codec.decode(value, self.special)

    def special(self, tag: str, content: Any) -> Any:
        if tag == "H":
            return self.objects[content]
        if tag == "G":
            module, name = content
            return getattr(sys.modules[module], name)
        if tag == "c":
            number, name, methods = content
            if number not in self.remotes:
                self.remotes[number] = stand_in(name, tuple(methods), vars(self.module))(self, number)
            return self.remotes[number]
        if tag in ("nan", "empty"):
            return content
        if tag == "N":
            is_array, items = content[0], self.decode(content[1])
            return importlib.import_module("numpy").array(items) if is_array else items
        raise _codec.Malformed(f"unknown tag {tag!r}")

    # -- requests

    def load(self, code: Any) -> None:
        """Run the submission, as a module of its own name, so that `if __name__ == "__main__"` is left alone."""
        sys.modules[NAME] = self.module
        exec(code, vars(self.module))

    def serve(self) -> None:
        """Answer until the oracle closes the pipe."""
        while True:
            with self.lock:  # a thread of the submission that calls back waits until the oracle listens
                request = self.receive()
            self.answer(request)

    def answer(self, request: Any) -> None:
        operation, args, kwargs, dropped = request
        for number in dropped:
            if number in self.objects:
                del self.numbers[id(self.objects.pop(number))]
        message: dict = {}
        value: Any
        try:
            if operation == "functions":
                value = [
                    name for name, item in vars(self.module).items()
                    if type(item) is types.FunctionType and item.__module__ == NAME
                ]  # fmt: skip
            elif operation == "name":
                namespace = vars(self.module)
                message["missing"] = args[0] not in namespace
                value = namespace.get(args[0])
            else:
                decoded = [self.decode(arg) for arg in args]
                named = {name: self.decode(arg) for name, arg in kwargs.items()}
                value = self.apply(operation, decoded, named)
                given = [*decoded, *named.values()]
                for position, arg in enumerate(given):
                    if value is arg and type(arg) in (list, dict, set, bytearray):
                        message["same"] = position
                changed = self.changes(given, [*args, *kwargs.values()])
                if changed:
                    message["changed"] = changed
            message["value"] = self.encode(value)
        except BaseException as error:  # all of them belong to the submission, and the oracle raises them on its side
            message = {"error": self.describe(error)}
        printed = self.printed.take()
        if printed:
            message["printed"] = printed
        self.send({**message, **self.returned()})

    def apply(self, operation: str, args: list, kwargs: dict) -> Any:
        if operation == "await":
            import asyncio  # costs more than all else here, and few submissions need it

            return asyncio.run(_wait(*args))
        return _REQUESTS[operation](*args, **kwargs)

    def changes(self, values: list, before: list) -> list:
        """Arguments that were changed in place, by position, with what they hold now."""
        found = []
        for position, (value, encoded) in enumerate(zip(values, before, strict=True)):
            if type(value) in (list, dict, set, bytearray) or (type(value) is tuple and value):
                now = self.encode(value)
                if now != encoded:
                    found.append([position, now])
        return found

    def describe(self, error: BaseException) -> list:
        try:
            text = str(error)[:10000]
        except Exception:
            text = ""
        args = []
        for arg in error.args[:10] if type(error.args) is tuple else ():
            args.append(self.encode(arg))
        return [self.encode(type(error)), args, text, self.handle(error)]

    def call_back(self, number: int, operation: str, args: tuple, kwargs: dict) -> Any:
        """Ask the oracle for something of an object that the test handed over; it may ask back meanwhile."""
        with self.lock:
            named = {name: self.encode(arg) for name, arg in kwargs.items()}
            ask = [number, operation, [self.encode(arg) for arg in args], named]
            self.send({"ask": ask, **self.returned()})
            while True:
                reply = self.receive()
                if type(reply) is dict:
                    break
                self.answer(reply)
        if "error" in reply:
            name, values = reply["error"]
            raise getattr(builtins, name)(*[self.decode(value) for value in values])
        value = self.decode(reply["value"])
        return self.lend(number, args[0], value, reply["value"]) if operation == "getattr" else value

    def lend(self, number: int, name: str, value: Any, encoded: Any) -> Any:
        """A container in an attribute of an object of the test: the same one each time, so that it can be changed."""
        if type(value) not in (list, dict, set, bytearray):
            return value
        held = self.lent.get((number, name))
        if held is not None and type(held[0]) is type(value):
            _codec.update(held[0], value)
            value = held[0]
        self.lent[number, name] = value, encoded
        return value

    def returned(self) -> dict[str, list]:
        """Which of the lent containers were changed."""
        found = []
        for (number, name), (container, before) in self.lent.items():
            now = self.encode(container)
            if now != before:
                found.append([number, name, now])
                self.lent[number, name] = container, now
        return {"lent": found} if found else {}


def _base(value: Any) -> type | None:
    """The builtin type that an object's class derives from."""
    return next((base for base in _BUILTIN if issubclass(type(value), base)), None)


def _plain(base: Any, value: Any) -> Any:
    """The plain value inside an instance of a subclass, without asking the subclass."""
    if base is int:
        return int.__add__(value, 0)
    if base is float:
        return float.__add__(value, 0.0)
    if base is str:
        return str.__str__(value) if type(value) is str else "".join(str.__iter__(value))
    if base is bytes:
        return bytes.__getitem__(value, slice(None))
    if base is complex:
        return complex.__add__(value, 0)
    if base is dict:
        return dict(dict.items(value))
    return base(base.__iter__(value))


async def _wait(awaitable: Any) -> Any:
    return await awaitable


def run(connection: socket.socket, sources: list[str]) -> None:
    """Load the submission, say how that went, and serve."""
    _seed.prepare(sources)
    runner = Runner(connection)
    sys.stdout = sys.__stdout__ = runner.printed  # type: ignore
    message: dict = {"value": None}
    try:
        for source in sources:
            runner.load(compile(source, "solution.py", "exec", dont_inherit=True))
    except BaseException as error:
        message = {"error": runner.describe(error)}
    runner.printed.take()
    runner.send(message)
    runner.serve()
