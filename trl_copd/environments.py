"""
Environments that bring a verifier into the conversation: the model tries, is told what came of it, and tries again.

Grading happens where the rewards' grading does: in their workers and sandbox, outside of the training process.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from .rewards.base import VerifierReward
from .rewards.code import CodeReward
from .rewards.code.text import read_tests
from .rewards.verdict import Verdict
from .worlds import EnvironmentFailure


class Feedback:
    """
    Grades what the model submits, and keeps the last verdict as its reward.

    Args:
        reward ([`VerifierReward`]): Grades; a row brings its columns.
        tries (`int`, *optional*, defaults to `2`): Submissions that are graded, >= 1; later ones are told so.

    Raises:
        TypeError, ValueError: `reward` is no verifier, or `tries` not a whole number >= 1.
    """

    def __init__(self, reward: VerifierReward, tries: int = 2):
        if not isinstance(reward, VerifierReward):
            raise TypeError(f"`reward` must be a verifier such as `math_reward`, got {type(reward).__name__}.")
        if isinstance(tries, bool) or not isinstance(tries, int) or tries < 1:
            raise ValueError(f"`tries` must be a whole number >= 1, got {tries!r}.")
        self._reward, self._tries = reward, tries
        self._row: dict[str, Any] = {}
        self._left, self._last = tries, 0.0

    def reset(self, **row: Any) -> None:
        """Take the row whose columns hold the reference."""
        self._row, self._left, self._last = row, self._tries, 0.0

    def get_reward(self) -> float:
        """1.0 if the last graded submission passed, else 0.0; 0.0 without one."""
        return self._last

    def _graded(self, submission: str, **others: Any) -> Verdict | None:
        """The verdict on a submission; `None` if no try is left."""
        if self._left == 0:
            return None
        self._left -= 1
        verdict = self._verdict(submission, self._row | others)
        self._last = float(verdict.passed or 0.0)
        return verdict

    def _verdict(self, submission: str, row: dict[str, Any]) -> Verdict:
        columns = {name: [row.get(name)] for name in self._reward.columns}
        [verdict] = self._reward.explain([row.get("prompt")], [submission], **columns)
        if verdict is None or verdict.passed is None:
            why = "the row has no reference" if verdict is None else verdict.reason
            raise EnvironmentFailure(f"{self._reward.__name__} cannot grade the row: {why}")
        return verdict


class AnswerFeedback(Feedback):
    """Says whether an answer is right, and nothing else: a verifier's reason could give the answer away."""

    def check(self, answer: str) -> str:
        """
        Checks an answer. It may be called again with another one if the answer was wrong.

        Args:
            answer: The answer.

        Returns:
            Whether it is right.
        """
        verdict = self._graded(answer)
        if verdict is None:
            return "No try is left."
        return "Right." if verdict.passed else "Wrong." + (" Try again." if self._left else "")


class CodeFeedback(Feedback):
    """
    Runs a program against tests in the sandbox and says what failed.

    A row brings `tests`, as for [`CodeReward`]. What fails is shown, so that a program could be written for the tests
    alone: with a column `public_tests` those are run for the model, and `tests`, which it never sees, for the reward.
    """

    def __init__(self, reward: CodeReward, tries: int = 2):
        super().__init__(reward, tries)

    def run_tests(self, code: str) -> str:
        """
        Runs a Python program against the tests. Call it again with a better program if a test fails.

        Args:
            code: The whole program.

        Returns:
            Whether all tests pass, else what failed first.
        """
        program = code if "```" in code else f"```python\n{code}\n```"
        public = self._row.get("public_tests")
        verdict = self._graded(program)
        if verdict is None:
            return "No try is left."
        if public is not None:
            verdict = self._verdict(program, self._row | {"tests": public})
        if verdict.passed:
            return "All tests pass."
        return (
            f"A test fails: {verdict.reason}{_line(verdict.reason, self._row['tests'] if public is None else public)}"
        )


def _line(reason: str, tests: Any) -> str:
    """The line of the tests that a reason names by its number: the model does not see them otherwise."""
    named = re.match(r"line (\d+) of the tests", reason)
    lines = read_tests(tests).code.splitlines() if named else []
    number = int(named[1]) if named else 0
    return f"\n{lines[number - 1].strip()}" if 0 < number <= len(lines) else ""


def answer_feedback(reward: VerifierReward, tries: int = 2) -> Callable[[], AnswerFeedback]:
    """
    A factory for `Expert(environment_factory=...)`, see [`AnswerFeedback`].

    Example:
    ```python
    >>> from trl_copd.environments import answer_feedback
    >>> from trl_copd.rewards import exact_match_reward

    >>> environment = answer_feedback(exact_match_reward)()
    >>> environment.reset(solution="7")
    >>> environment.check("6"), environment.check("7"), environment.check("8"), environment.get_reward()
    ('Wrong. Try again.', 'Right.', 'No try is left.', 1.0)
    ```
    """
    AnswerFeedback(reward, tries)  # what is wrong with them is said here
    reward.check()
    return partial(AnswerFeedback, reward, tries)


def code_feedback(tries: int = 2, reward: CodeReward | None = None) -> Callable[[], CodeFeedback]:
    """A factory for `Expert(environment_factory=...)`, see [`CodeFeedback`]; `reward` sets limits and sandbox."""
    reward = reward or CodeReward()
    CodeFeedback(reward, tries)
    reward.check()
    return partial(CodeFeedback, reward, tries)
