"""The nearest known name for one that is unknown, in settings and on command lines."""

import argparse
import difflib
import functools
import inspect
from collections.abc import Iterable, Sequence
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


class Parser(argparse.ArgumentParser):
    """A command line that answers an unknown option with the nearest one. Descriptions keep their line breaks."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **{"formatter_class": argparse.RawDescriptionHelpFormatter, **options})

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            name = next((arg for arg in unknown if arg.startswith("-")), unknown[0]).split("=")[0]
            self.error(f"unknown option {name!r}.{did_you_mean(name, self._option_string_actions)}")
        return found
