"""
Runs both ends of the pipe against each other before a server forks.

The interpreter rewrites a function's code in place when it has run a few times, and the first use of a class builds its
tables. Done after the fork, that copies some hundred pages per submission; done here, once.
"""

import socket
import sys
import threading

from . import _runner, _tests


_SUBMISSION = """
def f(x, g=None):
    return g(x) if g else [x, (x, 1.5), {"a": x}]
class C:
    def __init__(self, x):
        self.x = x
    def m(self):
        return self.x
    def __eq__(self, other):
        return self.x == other.x
def e():
    raise ValueError("x")
"""
_TESTS = """
assert f(2) == [2, (2, 1.5), {"a": 2}]
assert f(3, lambda x: x + 1) == 4
c = C(4)
assert c.m() == 4 and c == C(4)
a = [1]
f(a)
try:
    e()
except ValueError:
    pass
"""


def warm_up(rounds: int = 12) -> None:
    """Leaves no trace but a faster interpreter."""
    streams, modules = (sys.stdout, sys.__stdout__), dict(sys.modules)
    for _ in range(rounds):
        ours, theirs = socket.socketpair()
        submission = threading.Thread(target=_serve, args=(theirs,))
        submission.start()
        try:
            result = _tests.run(ours, {"code": _TESTS})
        finally:
            ours.close()
            submission.join()
            theirs.close()
        assert result["passed"] == result["total"] > 0, result
    sys.stdout, sys.__stdout__ = streams  # type: ignore
    for name in set(sys.modules) - set(modules):
        if name in (_runner.NAME, *_tests.MODULES):
            del sys.modules[name]
    sys.modules["__main__"] = modules["__main__"]


def _serve(connection: socket.socket) -> None:
    try:
        _runner.run(connection, [_SUBMISSION])
    except SystemExit:
        pass
