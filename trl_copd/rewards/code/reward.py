"""Programs against tests: the submission runs in a sandbox, the tests outside of it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, get_args

from ..base import Verdict, VerifierReward
from ..pool import default_workers
from ..sandbox.command import announce, available_level, require_level
from ..sandbox.slots import CaseRun, Execution, JobRun, Slot, Slots, shared_slots
from .remote import CodeSandbox, remote_verdict
from .submission import Blocks, Unfenced, read_submission
from .text import CodeTests, read_tests, same_output


_NEAR = 0.7  # share of the CPU limit above which a grade is made again, alone
_WALL = "the machine was too busy to finish"
_REASONS = {
    "cpu": "it used more than {cpu_seconds:g} s of CPU time",
    "memory": "it used more than {memory_mib} MiB of memory",
    "disk": "its files took more than {disk_mib} MiB",
    "processes": "it had more than {processes} processes",
    "idle": "it waited more than {idle_seconds:g} s for nothing",
}


class CodeReward(VerifierReward):
    """
    Reward 1.0 for a program that passes all tests in the column `tests`, else 0.0; see [`VerifierReward`] for `None`.

    The submission is the last Python block of the completion (see [`read_submission`]). It runs in a sandbox; the test
    code runs outside, in a process that the submission cannot reach, and sees plain values and stand-ins for objects.

    Args:
        partial_credit (`bool`, *optional*, defaults to `False`):
            Whether the reward is the share of passed tests, easy ones included.
        cpu_seconds (`float`, *optional*, defaults to 4.0): CPU time of a case, seconds, > 0 (all test code: one).
        memory_mib (`int`, *optional*, defaults to 1024): Memory of a submission, MiB.
        tolerance (`float`, *optional*):
            Largest difference of numbers in the output, absolute or relative. By default the text must be the same.
        packages (`Sequence[str]`, *optional*, defaults to `("numpy",)`):
            Installed packages that submissions may import besides the standard library.
        level (`str`, *optional*): Level of confinement, see [`available_level`]; by default the best available.
        sandbox ([`CodeSandbox`], *optional*): A service that runs programs elsewhere, instead of this host.
        name (`str`, *optional*, defaults to `"code_reward"`): Name in metrics.
        blocks (`str`, *optional*, defaults to `"last"`):
            `"last"` grades the last Python block, `"all"` all blocks that compile, joined.
        unfenced (`str`, *optional*, defaults to `"nothing"`):
            What a text without a block submits: `"nothing"`, `"program"` (all of it), or `"continuation"` (the
            function that the row's `prefix` begins).
        preamble (`str`, *optional*): Code for all rows, before each row's own: see [`LEETCODE`].

    Raises:
        ValueError: A limit is not above 0, or `level`, `blocks` or `unfenced` is unknown.

    Example:
    ```python
    >>> from trl_copd.rewards import code_reward

    >>> tests = {"kind": "assert", "code": "assert add(2, 3) == 5"}
    >>> completion = "```python\\ndef add(a, b):\\n    return a + b\\n```"
    >>> code_reward(prompts=["Add."], completions=[completion], tests=[tests])
    [1.0]
    ```
    """

    contained = True

    def __init__(
        self,
        partial_credit: bool = False,
        cpu_seconds: float = 4.0,
        memory_mib: int = 1024,
        tolerance: float | None = None,
        packages: Sequence[str] = ("numpy",),
        level: str | None = None,
        sandbox: CodeSandbox | None = None,
        name: str = "code_reward",
        blocks: Blocks = "last",
        unfenced: Unfenced = "nothing",
        preamble: str = "",
    ):
        if memory_mib <= 0 or (tolerance is not None and tolerance < 0):
            raise ValueError(f"`memory_mib` must be above 0 and `tolerance` not below, got {memory_mib}, {tolerance}.")
        if level not in (None, "full", "landlock", "rlimit"):
            raise ValueError(f"`level` must be 'full', 'landlock' or 'rlimit', got {level!r}.")
        if blocks not in get_args(Blocks) or unfenced not in get_args(Unfenced):
            raise ValueError(
                f"`blocks` must be one of {get_args(Blocks)} and `unfenced` of {get_args(Unfenced)}, "
                f"got {blocks!r}, {unfenced!r}."
            )
        super().__init__(self.verify, columns=("tests",), name=name, cpu_seconds=cpu_seconds)
        self.partial_credit = partial_credit
        self.execution = Execution(cpu_seconds, memory_mib, idle_seconds=max(2.0, cpu_seconds))
        self.tolerance, self.packages, self.level, self.sandbox = tolerance, tuple(packages), level, sandbox
        self.blocks, self.unfenced, self.preamble = blocks, unfenced, preamble

    def check(self) -> None:
        """
        Raises:
            SandboxError: This host cannot confine programs, or the service does not answer.
        """
        if self.sandbox is not None:
            self.sandbox.check()
        else:
            announce(require_level(self.level))

    def metrics(self, verdicts: Sequence[Verdict]) -> dict[str, float]:
        """Adds the level of confinement: 2 `full`, 1 `landlock`, 0 `rlimit`, -1 elsewhere."""
        level = -1 if self.sandbox else ("rlimit", "landlock", "full").index(self.level or available_level())
        return {**super().metrics(verdicts), "sandbox_level": float(level)}

    def verdicts(self, texts: Sequence[str], references: Sequence[Any]) -> list[Verdict]:
        rows = list(zip(texts, references, strict=True))
        workers = self.sandbox.concurrency if self.sandbox else self._slots().count
        if len(rows) == 1 or workers == 1:
            first = [self._attempt(*row) for row in rows]
        else:
            with ThreadPoolExecutor(min(workers, len(rows))) as threads:
                first = list(threads.map(lambda row: self._attempt(*row), rows))
        # repeated when all others have their grades, so that none of them waits for a row that takes long by choice
        return [
            verdict if decided else self._attempt(*row, alone=True)[0]
            for row, (verdict, decided) in zip(rows, first, strict=True)
        ]

    def verify(self, completion: str, reference: Any) -> Verdict:
        """One completion against one row's tests."""
        return self.verdicts([completion], [reference])[0]

    def _attempt(self, completion: str, reference: Any, alone: bool = False) -> tuple[Verdict, bool]:
        """A verdict, and whether it stands or the grading must be repeated without company."""
        try:
            tests = read_tests(reference)
        except ValueError as error:
            return Verdict(None, str(error)), True
        if self.preamble:
            tests = replace(tests, preamble=f"{self.preamble}\n{tests.preamble}")
        submission = read_submission(completion, self.blocks, self.unfenced, tests.prefix)
        if submission is None:
            return Verdict(False, "there is no Python block", score=0.0), True
        verdict, decided = self._grade(submission.code, tests, alone)
        return replace(verdict, reason=f"{verdict.reason} (graded: {submission.what})"), decided

    def _grade(self, code: str, tests: CodeTests, alone: bool) -> tuple[Verdict, bool]:
        try:
            code.encode()
        except UnicodeEncodeError as error:  # Python reads no such source either
            return Verdict(False, f"the submission holds half a character: {error}", score=0.0), True
        if self.sandbox is not None:
            verdict = remote_verdict(self.sandbox, code, tests, self.execution, self.tolerance, self.partial_credit)
            return verdict, True
        slots = self._slots()
        sources = [*filter(None, [tests.preamble]), code]
        grade = self._grade_asserts if tests.kind == "assert" else self._grade_cases
        with slots.alone() if alone else slots.slot() as slot:
            verdict, decided = grade(slot, sources, tests)
        if alone and verdict.reason == _WALL:  # nothing else ran: it is the submission that takes so long
            verdict = Verdict(False, "it took too long, twice", score=0.0)
        return verdict, decided

    def _slots(self) -> Slots:
        return shared_slots(self.level, self.packages, default_workers())

    def _grade_asserts(self, slot: Slot, sources: list[str], tests: CodeTests) -> tuple[Verdict, bool]:
        """A verdict, and whether it stands or the grading must be repeated without company."""
        job = {
            "code": tests.code, "entry_point": tests.entry_point, "preamble": tests.preamble,
            "partial": self.partial_credit,
        }  # fmt: skip
        run = slot.run_tests(sources, job, self.execution)
        decided = self._is_decided(run)
        result = run.result or {}
        if "unreadable" in result:
            return Verdict(None, result["unreadable"]), True
        failed = self._failure(run)
        if failed is not None:
            return failed, decided
        passed, total = result["passed"], result["total"]
        return Verdict(passed == total > 0, result["reason"], score=passed / total if total else 0.0), decided

    def _grade_cases(self, slot: Slot, sources: list[str], tests: CodeTests) -> tuple[Verdict, bool]:
        passed, decided, reason, failed = 0, True, "all cases pass", None
        runs = slot.run_cases(sources, [data.encode() for data, _ in tests.cases], self.execution)
        number, enough, run = 0, None, next(runs)
        while isinstance(run, CaseRun):
            trouble = self._trouble(run, tests.cases[number][1])
            decided &= run.cpu <= _NEAR * self.execution.cpu_seconds
            number += 1
            passed += trouble is None
            if trouble is not None and passed == number - 1:
                reason = f"case {number}: {trouble}"
            enough = trouble is not None and not self.partial_credit
            run = runs.send(enough)
        failed = self._failure(run) if run.status in ("wall", "infrastructure") else None
        if failed is not None:
            return failed, False
        if number < len(tests.cases) and not enough:
            reason = reason if passed < number else f"case {number + 1}: it ended the sandbox"
        total = len(tests.cases)
        return Verdict(passed == total, reason, score=passed / total), decided

    def _trouble(self, run: CaseRun, expected: str) -> str | None:
        """Why a case fails; `None` if it passes."""
        if run.cpu > self.execution.cpu_seconds:
            return _REASONS["cpu"].format(**vars(self.execution))
        if run.code != 0:
            last = run.errors.decode(errors="replace").strip().splitlines()[-1:]
            return f"it ended with {run.code}{': ' + last[0] if last else ''}"
        output = run.output.decode(errors="replace")
        return None if same_output(output, expected, self.tolerance) else f"it printed {output[:200]!r}"

    def _is_decided(self, run: JobRun) -> bool:
        return run.status not in ("wall", "infrastructure", "cpu") and run.cpu <= _NEAR * self.execution.cpu_seconds

    def _failure(self, run: JobRun) -> Verdict | None:
        """The verdict on a submission that did not end by itself; `None` if it did."""
        if run.status in ("wall", "infrastructure"):
            reason = run.reason or _WALL
            return Verdict(None, reason, failure="infrastructure")
        if run.status == "ok":
            return None
        reason = run.reason or _REASONS[run.status].format(**vars(self.execution))
        return Verdict(False, reason, score=0.0)


code_reward = CodeReward()
