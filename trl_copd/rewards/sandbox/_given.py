"""What a submission may do with the objects of the tests that it is given: read public attributes, set plain ones."""

import sys
import types
from typing import Any

from ._proxy import Proxy


TESTS = "__main__"  # module of the test code
_PRIVATE = ("_", "gi_", "cr_", "ag_", "f_", "tb_", "co_", "func_", "im_")  # attributes that lead to frames and globals
_NAMES = ("__name__", "__qualname__")  # which decorators print and keep; plain text that leads nowhere


def attribute(value: Any, name: Any) -> Any:
    """An attribute that the submission reads. Raises `AttributeError` where it may not."""
    if type(name) is str and name in _NAMES and isinstance(value, (types.FunctionType, types.MethodType, type)):
        text = getattr(value, name)
        if type(text) is str:
            return text
    if not is_public(value, name):
        raise AttributeError(name)
    return getattr(value, name)


def change(value: Any, name: Any, content: Any) -> None:
    """Set an attribute for the submission. Raises `AttributeError` where it may not: what the tests call is theirs."""
    if not is_public(value, name) or type(value).__module__ != TESTS:
        raise AttributeError(name)
    own = vars(value).get(name) if hasattr(value, "__dict__") else None
    if callable(getattr(type(value), name, None)) or (callable(own) and not isinstance(own, Proxy)):
        raise AttributeError(name)
    setattr(value, name, content)


def is_public(value: Any, name: Any) -> bool:
    """Whether the submission may read an attribute of an object of the tests."""
    return (
        type(name) is str  # itself: a stand-in could answer for it
        and not name.startswith(_PRIVATE)
        and not isinstance(value, types.FunctionType)
        and not (_is_mock(value) and (name in dir(type(value)) or name.startswith("assert")))
    )


def _is_mock(value: Any) -> bool:
    mock = sys.modules.get("unittest.mock")
    return mock is not None and isinstance(value, mock.NonCallableMock)
