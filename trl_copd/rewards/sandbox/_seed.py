"""What a program finds when it starts, that is not the same everywhere: numpy's generators, and room for recursion."""

import contextlib
import random
import resource
from collections.abc import Sequence


_STACK = 120 << 20  # bytes: what the kernel keeps free below the main thread's stack, which grows as it is used


def prepare(sources: Sequence[str]) -> None:
    """
    Before a submission is loaded: seed numpy's generators, those that have no seed of their own too, and let the stack
    grow to `_STACK`, so that `lru_cache` around a recursive function does not end the process at a few thousand calls.
    """
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_STACK)
        stack = _STACK if hard == resource.RLIM_INFINITY else min(_STACK, hard)
        resource.setrlimit(resource.RLIMIT_STACK, (stack, hard))
    if any("numpy" in source for source in sources):
        seed_numpy()


def seed_numpy() -> None:
    try:
        import numpy
        from numpy.random import bit_generator
    except Exception:  # not installed, or not shown to submissions
        return
    bit_generator.randbits = random.Random(0).getrandbits  # type: ignore[attr-defined]  # where `SeedSequence()` begins
    numpy.random.seed(0)
