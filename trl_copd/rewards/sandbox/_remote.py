"""Stand-ins, in the sandbox, for objects of the test. What is asked of one, the runner asks the oracle."""

from typing import Any


class Remote:
    """
    Stands in for an object of the test: a callback, an iterator, an instance of a class that the test defines. There
    is one for each object, so that identity, hash and equality are those of the object.
    """

    __slots__ = ("_runner", "_number", "__weakref__")

    def __init__(self, runner: Any, number: int):
        object.__setattr__(self, "_runner", runner)
        object.__setattr__(self, "_number", number)

    @property
    def __dict__(self) -> Any:  # type: ignore[override]  # for `vars`
        return _ask(self, "vars")

    def __getattr__(self, name: str) -> Any:
        return _ask(self, "getattr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        _ask(self, "setattr", name, value)


def _ask(remote: Remote, operation: str, /, *args: Any, **kwargs: Any) -> Any:
    runner = object.__getattribute__(remote, "_runner")
    return runner.call_back(object.__getattribute__(remote, "_number"), operation, args, kwargs)


_stand_ins: dict[tuple, type] = {}


def stand_in(name: str, methods: tuple, namespace: dict[str, Any]) -> type:
    """
    A class with just the special methods that the object has, so that `callable` and `iter` tell the truth. To
    `isinstance` its instances are of the submission's own class of that name, if there is one.
    """
    if (name, methods) not in _stand_ins:

        def method(operation: str) -> Any:
            return lambda self, /, *args, **kwargs: _ask(self, operation, *args, **kwargs)

        members = {operation: method(operation) for operation in methods}
        if "__eq__" in members:
            members.setdefault("__hash__", lambda self: id(self))

        def own_class(self: Remote) -> type:
            own = namespace.get(name)
            return own if isinstance(own, type) else type(self)

        _stand_ins[name, methods] = type(
            name, (Remote,), {**members, "__slots__": (), "__class__": property(own_class)}
        )
    return _stand_ins[name, methods]
