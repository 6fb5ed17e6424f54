"""Programs run by a service elsewhere: the protocol, a client for SandboxFusion, and what can be graded that way."""

import ast
import hashlib
import json
import time
import urllib.request
from dataclasses import dataclass
from typing import Any, Protocol

from ..base import Verdict
from ..sandbox import SandboxError
from ..sandbox.slots import Execution
from .text import CodeTests, same_output


@dataclass(frozen=True)
class ProgramRun:
    """
    One run of a program by a service.

    Args:
        output (`str`): Standard output.
        code (`int`): Exit code; not 0 where the program failed or was ended for its CPU time or memory.
    """

    output: str
    code: int


class CodeSandbox(Protocol):
    """
    A service that runs Python programs. It must confine them, and is trusted to report their output.

    Attributes:
        concurrency (`int`): Number of programs that it runs at a time.
    """

    concurrency: int

    def check(self) -> None:
        """Raise [`SandboxError`] if the service cannot be reached. It runs when a trainer is built."""

    def run(self, code: str, stdin: str, execution: Execution) -> ProgramRun:
        """Run one program once. Raise [`SandboxError`] if this failed without the program's fault. Thread-safe."""


class SandboxFusion:
    """
    Client of SandboxFusion (`docker run -p 8080:8080 volcengine/sandbox-fusion`), endpoint `/run_code`.

    The service ends programs by wall time. The program limits its own CPU time first, so that CPU time decides. The
    service gets ten times the limit as `run_timeout`; a program that it ends is an infrastructure failure.

    Args:
        url (`str`): Base address, e.g. `"http://localhost:8080"`.
        concurrency (`int`, *optional*, defaults to 16): Requests at a time, >= 1.
        attempts (`int`, *optional*, defaults to 2): How often a request is tried, >= 1.
    """

    def __init__(self, url: str, concurrency: int = 16, attempts: int = 2):
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"`url` must start with http:// or https://, got {url!r}.")
        if concurrency < 1 or attempts < 1:
            raise ValueError(f"`concurrency` and `attempts` must be at least 1, got {concurrency}, {attempts}.")
        self.url, self.concurrency, self.attempts = url.rstrip("/"), concurrency, attempts

    def check(self) -> None:
        run = self.run("print(6 * 7)", "", Execution())
        if run.output.strip() != "42":
            raise SandboxError(f"{self.url} does not run Python: print(6 * 7) gave {run.output[:100]!r}.")

    def run(self, code: str, stdin: str, execution: Execution) -> ProgramRun:
        seconds = 10 * execution.cpu_seconds
        request = {
            "language": "python",
            "code": _limited(code, execution),
            "stdin": stdin,
            "run_timeout": seconds,
            "memory_limit_MB": execution.memory_mib,
        }
        reason = ""
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(0.5)
            try:
                answer = self._post(request, seconds + 30)
            except (OSError, ValueError) as error:
                reason = f"{type(error).__name__}: {error}"
                continue
            result = answer.get("run_result") or {}
            finished = result.get("status") == "Finished" and answer.get("status") in ("Success", "Failed")
            if finished and isinstance(result.get("return_code"), int) and isinstance(result.get("stdout"), str):
                return ProgramRun(result["stdout"], result["return_code"])
            reason = str(answer.get("message") or result.get("status") or answer)[:300]
        raise SandboxError(f"{self.url} did not run the program: {reason}")

    def _post(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        call = urllib.request.Request(
            f"{self.url}/run_code", json.dumps(request).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(call, timeout=timeout) as response:
            answer = json.loads(response.read(64 << 20))
        if not isinstance(answer, dict):
            raise ValueError("the answer is not a JSON object")
        return answer


def _limited(code: str, execution: Execution) -> str:
    """The program behind a hard limit of CPU time, which it cannot raise again, in a namespace of its own."""
    seconds = int(execution.cpu_seconds) + 1
    return (
        f"import resource\nresource.setrlimit(resource.RLIMIT_CPU, ({seconds}, {seconds}))\ndel resource\n"
        f"exec(compile({code!r}, 'solution.py', 'exec'))\n"
    )


def remote_verdict(
    sandbox: CodeSandbox, code: str, tests: CodeTests, execution: Execution, tolerance: float | None, partial: bool
) -> Verdict:
    """
    A submission graded by way of a service. The oracle stays here, and the service sees no expected value: outputs are
    compared here, and of assert tests only those can be graded that are calls with literal arguments, `assert f(1) ==
    2`.
    """
    source = f"{tests.preamble}\n{code}" if tests.preamble else code
    try:
        if tests.kind == "stdio":
            return _remote_cases(sandbox, source, tests, execution, tolerance, partial)
        calls = literal_calls(tests.code)
        if calls is None:
            return Verdict(
                None, "a remote sandbox grades only tests of the form `assert f(1) == 2`; use the local one for these"
            )
        return _remote_calls(sandbox, source, calls, execution)
    except SandboxError as error:
        return Verdict(None, str(error), failure="infrastructure")


def _remote_cases(
    sandbox: CodeSandbox, code: str, tests: CodeTests, execution: Execution, tolerance: float | None, partial: bool
) -> Verdict:
    passed, reason = 0, "all cases pass"
    for number, (data, expected) in enumerate(tests.cases, 1):
        run = sandbox.run(code, data, execution)
        if run.code == 0 and same_output(run.output, expected, tolerance):
            passed += 1
            continue
        if passed == number - 1:
            reason = f"case {number}: it ended with {run.code} and printed {run.output[:200]!r}"
        if not partial:
            break
    return Verdict(passed == len(tests.cases), reason, score=passed / len(tests.cases))


def literal_calls(code: str) -> list[tuple[str, Any]] | None:
    """Test code as calls and expected values, where it is nothing else; `None` where it is."""
    try:
        statements = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    calls = []
    for statement in statements:
        match statement:
            case ast.Assert(test=ast.Compare(left=ast.Call() as call, ops=[ast.Eq()], comparators=[right])):
                try:
                    for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
                        ast.literal_eval(argument)
                    calls.append((ast.unparse(call), ast.literal_eval(right)))
                except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                    return None
            case _:
                return None
    return calls or None


def _remote_calls(sandbox: CodeSandbox, code: str, calls: list[tuple[str, Any]], execution: Execution) -> Verdict:
    """All calls in one run, each answered by a marked line with the `repr` of the result, read as a literal."""
    mark = hashlib.blake2b(code.encode(), digest_size=12).hexdigest()
    lines = [f"print({mark!r} + repr({call}).replace({mark!r}, ''))" for call, _ in calls]
    run = sandbox.run("\n".join([code, *lines]), "", execution)
    if run.code != 0:
        return Verdict(False, f"it ended with {run.code}", score=0.0)
    answers = [line.partition(mark)[2] for line in run.output.split("\n") if mark in line]
    passed = 0
    for answer, (_, expected) in zip(answers, calls, strict=False):
        try:
            passed += len(answer) < 1_000_000 and bool(ast.literal_eval(answer.strip()) == expected)
        except (ValueError, SyntaxError, TypeError, ArithmeticError, MemoryError, RecursionError):
            pass
    return Verdict(passed == len(calls), f"{passed} of {len(calls)} calls", score=passed / len(calls))
