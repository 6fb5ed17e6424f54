"""Calls of tools and environments: bounded in time and length, and what they leave behind is ended with the run."""

import functools
import inspect
import signal
import threading
import time
from asyncio import wait_for
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from accelerate.logging import get_logger
from greenlet import GreenletExit

from ..worlds import EnvironmentFailure


logger = get_logger(__name__)

AGAIN = 1.0  # seconds after which a call that has swallowed the alarm is interrupted again
WAIT = 3.0  # seconds in which processes that are left may end by themselves
left: dict[int, psutil.Process] = {}  # processes that calls have started, and that outlived them


class ToolError(RuntimeError):
    """What a tool has raised, as a text that a model can read."""


class _Elapsed(BaseException):
    """The alarm rang inside of a call. No `except Exception` of a tool's stops it."""


def limited(call: Callable[[], Any], seconds: float) -> Any:
    """
    What a call returns.

    In the main thread, an alarm interrupts it, in Python code and in most system calls; elsewhere there are no alarms.

    Raises:
        TimeoutError: It has not returned after so many seconds.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    armed = True

    def ring(*_):
        if armed:
            raise _Elapsed

    handler = signal.signal(signal.SIGALRM, ring)
    began = time.monotonic()
    rest, interval = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        try:
            return call()
        finally:
            armed = False
    except _Elapsed:
        raise TimeoutError(f"It did not return within {seconds:g} seconds and was ended.") from None
    finally:
        armed = False
        rest = max(rest - (time.monotonic() - began), 1e-3) if rest else 0.0  # an alarm of somebody else goes on
        signal.setitimer(signal.ITIMER_REAL, rest, interval)
        signal.signal(signal.SIGALRM, handler)


def bounded(tool: Callable, seconds: float, longest: int, failed: Callable[[Exception], None]) -> Callable:
    """
    A tool whose every outcome is a text that can be put before a model.

    Args:
        tool (`Callable`): A function or method, or a coroutine function.
        seconds (`float`): Most time that a call may take.
        longest (`int`): Characters of which more cannot fit into a completion; what is beyond is cut.
        failed (`Callable`): Is told of an [`EnvironmentFailure`].

    Returns:
        `Callable`: It returns a `str`, or raises [`ToolError`] with a text.
    """

    def explained(error: BaseException) -> Exception:
        if isinstance(error, EnvironmentFailure):
            failed(error)
        if isinstance(error, Exception):
            return ToolError(readable(error, longest))
        return ToolError(f"The tool ended by {type(error).__name__}.")  # SystemExit, CancelledError

    if inspect.iscoroutinefunction(tool):

        @functools.wraps(tool)
        async def call_async(*args, **kwargs):
            try:
                return observation(await wait_for(tool(*args, **kwargs), seconds), longest)
            except TimeoutError as error:
                late = f"It did not return within {seconds:g} seconds and was ended."
                raise ToolError(readable(error, longest) or late) from error
            except (KeyboardInterrupt, GreenletExit):
                raise
            except BaseException as error:
                raise explained(error) from error

        return call_async

    @functools.wraps(tool)
    def call(*args, **kwargs):
        before = children()
        try:
            return observation(limited(lambda: tool(*args, **kwargs), seconds), longest)
        except (KeyboardInterrupt, GreenletExit):
            raise
        except BaseException as error:
            raise explained(error) from error
        finally:
            remember(children() - before)

    return call


def observation(result: Any, longest: int) -> str:
    """What a tool has returned, as a text."""
    if isinstance(result, list) and result and all(isinstance(part, dict) and "type" in part for part in result):
        if any(part["type"] != "text" for part in result):
            kinds = sorted({str(part["type"]) for part in result} - {"text"})
            raise ToolError(f"The tool returned a part of type {kinds[0]!r}; only texts can be read.")
        result = "".join(str(part.get("text", "")) for part in result)
    return readable(result, longest)


def readable(value: Any, longest: int) -> str:
    """`str(value)`, cut to `longest` characters, without those that no tokenizer takes."""
    try:
        text = str(value)
    except Exception as error:
        text = f"({type(value).__name__}, whose text cannot be had: {type(error).__name__})"
    return text[:longest].encode("utf-8", "replace").decode("utf-8")


# ---- Environments ---------------------------------------------------------------------------------------------------


class Broken:
    """Stands for an environment that could not be made."""

    def reset(self, **row: Any) -> None:
        return None


class Guard:
    """
    Keeps the failures of environments in their rows.

    Args:
        who (`str`): Names the expert in messages.
        seconds (`float`): Most time that `reset`, or the making of an environment, may take.
    """

    def __init__(self, who: str, seconds: float):
        self.who, self.seconds = who, seconds
        self.failures: dict[int, str] = {}  # why, by the environment's id, since the conversations began

    def factory(self, make: Callable[[], Any], spare: list[Any]) -> Callable[[], Any]:
        """A factory that hands out what is spare first, and [`Broken`] where it fails."""

        def made() -> Any:
            try:
                environment = spare.pop() if spare else limited(make, self.seconds)
            except Exception as error:
                environment = Broken()
                self.failures[id(environment)] = f"it could not be made: {readable(error, 300)}"
                return environment
            return self.watch(environment)

        return made

    def watch(self, environment: Any) -> Any:
        """Let the environment's `reset` fail for its row alone."""
        reset = environment.reset

        @functools.wraps(reset)
        def guarded(*args, **row):
            before = children()
            try:
                first = limited(lambda: reset(*args, **row), self.seconds)
            except (KeyboardInterrupt, GreenletExit):
                raise
            except BaseException as error:
                self.failures[id(environment)] = f"`reset` raised {type(error).__name__}: {readable(error, 300)}"
                return None
            finally:
                remember(children() - before)
            if not (first is None or isinstance(first, str | list)):
                raise TypeError(
                    f"{self.who}: `reset` of {type(environment).__name__} returned {type(first).__name__}. It must "
                    "return the first observation as a text, or None."
                )
            return readable(first, len(first)) if isinstance(first, str) else first

        try:
            environment.reset = guarded
        except AttributeError:  # it has slots: what `reset` raises then ends the run, as in TRL
            logger.warning(f"{self.who}: {type(environment).__name__} has no __dict__, so that a failing `reset` "
                           "cannot be kept in its row.")  # fmt: skip
        return environment


# ---- Processes ------------------------------------------------------------------------------------------------------


def children() -> set[int]:
    """Ids of the child processes of this one."""
    found: set[int] = set()
    try:
        for path in Path("/proc/self/task").glob("*/children"):
            found.update(map(int, path.read_text().split()))
    except OSError:  # a thread that has ended, or no such file here
        found.update(child.pid for child in psutil.Process().children())
    return found


def remember(pids: set[int]) -> None:
    """Keep processes in mind, to end them with the run if they are left."""
    for pid in pids:
        try:
            left[pid] = psutil.Process(pid)
        except psutil.NoSuchProcess:
            pass


def still_running() -> int:
    """How many processes that calls have started are running now."""
    for pid, process in list(left.items()):
        if not _runs(process):
            del left[pid]
    return len(left)


def end_left_processes() -> None:
    """End what tools and environments have started and left."""
    running = [process for process in left.values() if _runs(process)]
    left.clear()
    for process in running:
        process.terminate()
    _, stubborn = psutil.wait_procs(running, timeout=WAIT)
    for process in stubborn:
        process.kill()


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
