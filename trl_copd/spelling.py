"""The nearest known name for one that is unknown."""

import difflib
import functools
import inspect
from collections.abc import Iterable
from typing import Any


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`" Did you mean 'max_steps'?"` for `max_step`; empty where nothing is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f" Did you mean {near[0]!r}?" if near else ""


def suggesting(cls: Any) -> Any:
    """Let a dataclass answer an unknown argument with the nearest field instead of Python's bare TypeError."""
    init = cls.__init__
    known = list(inspect.signature(init).parameters)[1:]

    @functools.wraps(init)
    def checked(self, *args, **kwargs):
        for name in kwargs:
            if name not in known:
                raise TypeError(f"{cls.__name__} has no argument {name!r}.{did_you_mean(name, known)}")
        init(self, *args, **kwargs)

    cls.__init__ = checked
    return cls
