"""What tests call in workers: importable there without pytest and TRL, and named for what goes wrong."""

import os
import random
import signal
import subprocess
import time

from trl_copd.rewards import Verdict


prepared = []


def prepare():
    prepared.append(os.getpid())


def how_often_prepared():
    return len(prepared)


def environment():
    return os.getpid(), hash("a"), random.random(), time.tzname[0], os.environ["LC_ALL"]


def spin(cpu_seconds):
    start = time.process_time()
    while time.process_time() - start < cpu_seconds:
        pass
    return "done"


def spin_deaf(cpu_seconds):
    """As `spin`, by code that catches everything."""
    while True:
        try:
            return spin(cpu_seconds)
        except BaseException:
            pass


def allocate(mib):
    return len(bytearray(mib << 20))


def fail(message):
    raise KeyError(message)


def crash_once(path):
    """Crash on the first call, not on the second."""
    if not os.path.exists(path):
        open(path, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def crash():
    os._exit(3)


def leave_child(path):
    """A child that outlives the call, and the worker if nobody kills it."""
    with open(path, "w") as file:
        file.write(str(subprocess.Popen(["sleep", "60"]).pid))
    time.sleep(60)


def moody(completion, solution):
    """A verifier with every kind of verdict."""
    return {
        "right": Verdict(True, "it is"),
        "wrong": Verdict(False, "it is not"),
        "reference": Verdict(None, "unreadable"),
        "infrastructure": Verdict(None, "the sandbox is gone", failure="infrastructure"),
    }[completion]
