"""Verdicts that are kept: equal rows are graded once."""

import hashlib
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from .verdict import Verdict


_caches: "weakref.WeakSet[VerdictCache]" = weakref.WeakSet()


def _renew_locks() -> None:
    for cache in list(_caches):
        cache._lock = threading.Lock()  # a thread that held it does not exist in the fork


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_renew_locks)


class VerdictCache:
    """The verdicts used last, by row. Thread-safe; a copy made by pickle is empty."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, Verdict] = OrderedDict()
        self._lock = threading.Lock()
        _caches.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return VerdictCache, ()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Verdict]:
        """What is known of `keys`."""
        with self._lock:
            return {key: self._kept[key] for key in keys if key in self._kept}

    def keep(self, verdicts: Mapping[bytes, Verdict], size: int) -> None:
        """Keep the verdicts that hold for good, and of all that are kept the `size` last used."""
        with self._lock:
            for key, verdict in verdicts.items():
                if verdict.failure != "infrastructure":
                    self._kept[key] = verdict
                    self._kept.move_to_end(key)
            while len(self._kept) > size:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()


def row_key(version: str, text: str, reference: Any) -> bytes:
    """
    What a row is kept under.

    Raises:
        Exception: `reference` has no `repr`: it is nested too deep, or has an integer of too many digits.
    """
    # repr tells 1 from "1" and from True; the lengths keep the parts apart
    parts = (version, repr(reference), text)
    data = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.blake2b(data.encode("utf-8", "surrogatepass"), digest_size=24).digest()
