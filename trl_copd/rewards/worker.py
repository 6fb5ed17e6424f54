"""
The other end of `worker_process.py`: a script that answers calls over a socket until the socket or its parent is gone.

Run by path, with nothing but the standard library, so that a worker starts in milliseconds; what it is to call arrives
pickled by reference, and importing that is not on the call's clock.
"""

import os
import pickle
import random
import resource
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any


PARENT_CHECK_SECONDS = 0.5
MAX_ERROR_CHARS = 4000


def watch_parent(parent: int) -> None:
    """
    Die, with all children, when the parent is gone. The end of the socket does not tell: a fork of the parent may hold
    it. Nor does PR_SET_PDEATHSIG, which fires when the *thread* that started this process ends.
    """
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os.killpg(0, signal.SIGKILL)


def limit_memory(mib: int | None) -> None:
    """Let the address space grow by `mib` from where it is, or without limit. Only Linux says where it is."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[1]
    if mib is not None and os.path.exists("/proc/self/statm"):
        with open("/proc/self/statm", encoding="ascii") as file:
            limit = int(file.read().split()[0]) * resource.getpagesize() + (mib << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def answer(function: Any, arguments: tuple[Any, ...], cpu_seconds: float, memory_mib: int | None) -> tuple:
    """
    One call within its limits.

    Returns:
        `tuple[str, Any, float]`: Status, value or error text, CPU seconds used. A call over its CPU time does not
        return: the kernel ends this process with SIGPROF, which no `except` in the called code can swallow.
    """
    random.seed(0)  # a grade must not depend on what was graded before
    limit_memory(memory_mib)
    start = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        status, value = "ok", function(*arguments)
    except MemoryError:
        status, value = "memory", f"more than {memory_mib} MiB"
    except Exception:
        status, value = "raised", traceback.format_exc()[-MAX_ERROR_CHARS:]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        limit_memory(None)
    return status, value, time.process_time() - start


def main(descriptor: int, parent: int) -> None:
    """Serve: ("load", function and preparation, pickled) and ("call", arguments and limits)."""
    threading.Thread(target=watch_parent, args=(parent,), daemon=True).start()
    connection = Connection(descriptor)
    sys.path[:] = pickle.loads(connection.recv_bytes())
    functions: dict[bytes, Any] = {}
    while True:
        try:
            kind, *message = pickle.loads(connection.recv_bytes())
        except (EOFError, OSError):
            os.killpg(0, signal.SIGKILL)
        try:
            if kind == "load":
                functions[message[0]], prepare = pickle.loads(message[0])
                if prepare is not None:
                    prepare()
                reply = pickle.dumps(("ok", None, 0.0))
            else:
                key, arguments, cpu_seconds, memory_mib = message
                reply = pickle.dumps(answer(functions[key], arguments, cpu_seconds, memory_mib))
        except Exception:  # a function that cannot be imported, a value that cannot be pickled
            reply = pickle.dumps(("raised", traceback.format_exc()[-MAX_ERROR_CHARS:], 0.0))
        connection.send_bytes(reply)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
