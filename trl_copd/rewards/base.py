"""The one adapter from a verifier to a TRL reward function."""

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any

from .cache import VerdictCache, row_key
from .completion import after_thinking, completion_text
from .pool import pack, shared_pool
from .verdict import Verdict, is_of_the_data, shown, verdict_of


__all__ = ["AsyncReward", "Verdict", "VerifierReward", "after_thinking", "completion_text", "verdict_of"]

logger = logging.getLogger(__name__)


class VerifierReward:
    """
    A TRL reward function made from a verifier. It returns 1.0 where the completion passes, 0.0 where it does not, and
    `None` where the row belongs to another verifier (a column is `None`), its reference is unreadable, or the
    infrastructure failed. The last two are counted; the first of each gives a warning.

    Subclasses override [`~VerifierReward.verdicts`] to grade a batch in their own way, [`~VerifierReward.check`] to
    report something missing, and [`~VerifierReward.metrics`] to log more.

    Args:
        verifier (`Callable[[str, Any], Verdict]`):
            Pure function of the completion's text and the reference: the row's value of the column, or, with several
            columns, a dictionary of them by name. To pickle the reward, the verifier must be picklable (module-level,
            or a partial of such a function). Its exceptions are not caught, unless `contained`: a broken verifier must
            stop the run, not score 0.
        columns (`Sequence[str]`, *optional*, defaults to `("solution",)`):
            Columns of the dataset that the verifier needs, at least one. `CoPDTrainer` checks them before it loads
            the model.
        name (`str`, *optional*): Name in metrics; defaults to the verifier's `__name__`.
        cpu_seconds (`float`, *optional*):
            CPU time of one grade in seconds, above 0. The verifier then runs in the shared pool of worker processes
            (see [`~rewards.pool.WorkerPool`]), and a completion that needs more time or memory fails. `None`, the
            default, grades inline; use it for verifiers that cannot hang.

    Attributes:
        version (`str`): Part of the cache's key. Change it when something besides the arguments changes the grades.
        partial_credit (`bool`): Whether the reward is `Verdict.score`, where there is one, rather than 0 or 1.
        cache_size (`int`): Number of cached verdicts; the least recently used is dropped first. 0 caches none.
        contained (`bool`):
            Whether a row that makes the verifier raise still gets a verdict: no grade if the reference alone makes it
            raise, else 0.0. This package's rewards are contained; rewards made from a function are not. Errors of the
            machine, such as a full disk, are always raised.

    Raises:
        TypeError: `verifier` is not callable, `columns` is a single string, or no name can be found.
        ValueError: `columns` is empty, or `cpu_seconds` is not above 0.

    Example:
    ```python
    >>> from trl_copd.rewards import Verdict, VerifierReward

    >>> def is_short(completion, limit):
    ...     return Verdict(len(completion) <= limit, f"{len(completion)} characters, limit {limit}")
    >>> short_reward = VerifierReward(is_short, columns=("limit",))
    >>> short_reward(prompts=["Hi", "Hi", "Hi"], completions=["Hi.", "Good morning.", "Hi."], limit=[5, 5, None])
    [1.0, 0.0, None]
    ```
    """

    version: str = "1"
    partial_credit: bool = False
    cache_size: int = 10_000
    contained: bool = False

    def __init__(
        self,
        verifier: Callable[[str, Any], Verdict],
        columns: Sequence[str] = ("solution",),
        name: str | None = None,
        cpu_seconds: float | None = None,
    ):
        if not callable(verifier):
            raise TypeError(f"`verifier` must be a function (completion, reference) -> Verdict, got {verifier!r}.")
        if isinstance(columns, str):
            raise TypeError(f"`columns` must be a sequence of names, got the string {columns!r}. Use ({columns!r},).")
        if not columns:
            raise ValueError("`columns` is empty, so there is no reference to verify against. Name at least one.")
        if cpu_seconds is not None and not cpu_seconds > 0:
            raise ValueError(f"`cpu_seconds` must be above 0, or None to grade inline, got {cpu_seconds}.")
        name = name or getattr(verifier, "__name__", None)
        if not isinstance(name, str):
            raise TypeError(f"`verifier` {verifier!r} has no `__name__` to name the reward by. Pass `name`.")
        self.verifier = verifier
        self.columns: tuple[str, ...] = tuple(columns)
        self.cpu_seconds = cpu_seconds
        self.__name__ = name  # what TRL's get_callable_name reads
        self.__signature__ = _signature(self.columns)  # what tools that call rewards read: which columns it takes
        self._checked = False
        self._warned: set[str] = set()
        self._cache = VerdictCache()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.__name__!r}, columns={self.columns!r})"

    def __getstate__(self) -> dict[str, Any]:
        # the copy may be for another machine, where other things are missing
        return {**self.__dict__, "_checked": False}

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """
        Grade a batch, as TRL calls it. Thread-safe.

        Args:
            prompts (`Sequence`): Unused; TRL passes them.
            completions (`Sequence[str]` or `Sequence[list[dict]]`):
                Texts, or conversations, of which the last assistant message is graded.
            log_metric (`Callable[[str, float], None]`, *optional*):
                TRL's logger of scalars. Receives what [`~VerifierReward.metrics`] counts, on every call so that TRL's
                mean over calls is true.
            **columns:
                The dataset's columns, one value per completion, and whatever else TRL passes (ignored).

        Returns:
            `list[float | None]`: One of 1.0, 0.0, `None` per completion; the score with `partial_credit`.

        Raises:
            ValueError: A needed column is missing, or has not one value per completion.
            TypeError: A completion is neither text nor a list of messages.
        """
        verdicts = self.explain(prompts, completions, **columns)
        rewards = [None if verdict is None else self._reward(verdict) for verdict in verdicts]
        if log_metric is not None:
            for metric, value in self.metrics([verdict for verdict in verdicts if verdict is not None]).items():
                log_metric(f"{self.__name__}/{metric}", value)
        return rewards

    def explain(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[Verdict | None]:
        """
        Grade a batch and give the reasons: the verdicts behind the rewards. Arguments and errors are those of a call.

        Returns:
            `list[Verdict | None]`: One per completion; `None` where the row belongs to another verifier.

        Example:
        ```python
        >>> from trl_copd.rewards import math_reward

        >>> [verdict] = math_reward.explain(["1 + 1?"], ["\\boxed{3}"], solution=["2"])
        >>> verdict.passed, verdict.reason
        (False, "'3' is not '2'")
        ```
        """
        references = self._references(columns, len(completions))
        if not self._checked:
            self.check()
            self._checked = True
        mine = [index for index, reference in enumerate(references) if reference is not None]
        found = self._cached_verdicts(
            [completion_text(completions[index]) for index in mine], [references[index] for index in mine]
        )
        verdicts: list[Verdict | None] = [None] * len(references)
        for index, verdict in zip(mine, found, strict=True):
            verdicts[index] = verdict
            if verdict.failure is not None:
                self._warn_once(verdict, references[index])
        return verdicts

    def check(self) -> None:
        """
        Raise a clear error if grading cannot work here: a prover, sandbox level or package is missing. It runs when an
        `Expert` is built, and before the first grading. The base class checks that workers can import the verifier.
        """
        if self.cpu_seconds is not None:
            pack(self.verifier)

    def verdicts(self, texts: Sequence[str], references: Sequence[Any]) -> list[Verdict]:
        """
        Grade texts against references, one verdict each, in order; neither is `None`. An override must be thread-safe,
        must not raise for anything in `texts`, and must always give the same text and reference the same verdict.
        """
        if self.cpu_seconds is None:
            return [self.verifier(text, reference) for text, reference in zip(texts, references, strict=True)]
        calls = list(zip(texts, references, strict=True))
        return [verdict_of(outcome) for outcome in shared_pool().map(self.verifier, calls, self.cpu_seconds)]

    def metrics(self, verdicts: Sequence[Verdict]) -> dict[str, float]:
        """What to log for a batch, without the reward's name: the number of rows without a grade, by cause."""
        failures = [verdict.failure for verdict in verdicts]
        return {
            "unreadable": float(failures.count("reference")),
            "infrastructure_failures": float(failures.count("infrastructure")),
        }

    def asynchronous(self) -> "AsyncReward":
        """The same reward as a coroutine function, which TRL runs at the same time as the other asynchronous ones."""
        return AsyncReward(self)

    def _reward(self, verdict: Verdict) -> float | None:
        if verdict.passed is None:
            return None
        return float(verdict.score if self.partial_credit and verdict.score is not None else verdict.passed)

    def _cached_verdicts(self, texts: list[str], references: list[Any]) -> list[Verdict]:
        """As `verdicts`, which is asked only for what is new, and once for rows that are the same."""
        keys = [self._key(text, reference) for text, reference in zip(texts, references, strict=True)]
        known: dict[Any, Verdict] = {key: key for key in keys if isinstance(key, Verdict)}
        hashed = [key for key in keys if isinstance(key, bytes)]
        known.update(self._cache.get(hashed))
        new = {key: index for index, key in enumerate(keys) if key not in known}
        if new:
            found = self._found([texts[i] for i in new.values()], [references[i] for i in new.values()])
            known.update(zip(new, found, strict=True))
        self._cache.keep({key: known[key] for key in hashed}, self.cache_size)
        return [known[key] for key in keys]

    def _key(self, text: str, reference: Any) -> bytes | Verdict:
        """What the row is kept under; the verdict on a reference that has no `repr`."""
        try:
            return row_key(self.version, text, reference)
        except Exception as error:
            return Verdict(None, f"it cannot be told from other references: {type(error).__name__}")

    def _found(self, texts: list[str], references: list[Any]) -> list[Verdict]:
        """As `verdicts`; where `contained`, a row that makes it raise harms no other row."""
        try:
            return self.verdicts(texts, references)
        except Exception as error:
            if not (self.contained and is_of_the_data(error)):
                raise
            if len(texts) == 1:
                return [self._blamed(references[0], error)]
        rows = zip(texts, references, strict=True)
        return [self._found([text], [reference])[0] for text, reference in rows]

    def _blamed(self, reference: Any, error: Exception) -> Verdict:
        """The verdict on a row that makes `verdicts` raise: is it the reference, whatever the completion says?"""
        try:
            self.verdicts([""], [reference])
        except Exception as again:
            if not is_of_the_data(again):
                raise
            return Verdict(None, f"grading by it raises {type(again).__name__}: {again!s:.500}")
        if "completion" not in self._warned:
            self._warned.add("completion")
            logger.warning("%s: a completion made the verifier raise, and gets 0.0. Please report it.", self.__name__,
                           exc_info=error)  # fmt: skip
        return Verdict(False, f"grading it raises {type(error).__name__}", score=0.0)

    def _references(self, columns: dict[str, Any], rows: int) -> list[Any]:
        """One reference per row; `None` where any of the row's columns is."""
        for name in self.columns:
            if name not in columns:
                found = ", ".join(sorted(columns)) or "none"
                raise ValueError(
                    f"{self.__name__} was called without the column {name!r} (found: {found}), which holds the "
                    "reference. Add or rename it in the dataset, or use another reward."
                )
            if len(columns[name]) != rows:
                raise ValueError(
                    f"{self.__name__} was given {len(columns[name])} values of the column {name!r} for {rows} "
                    "completions. Pass one per completion."
                )
        if len(self.columns) == 1:
            return list(columns[self.columns[0]])
        rows_of_values = zip(*(columns[name] for name in self.columns), strict=True)
        return [
            None if any(value is None for value in row) else dict(zip(self.columns, row, strict=True))
            for row in rows_of_values
        ]

    def _warn_once(self, verdict: Verdict, reference: Any) -> None:
        failure = verdict.failure or ""
        if failure in self._warned:
            return
        self._warned.add(failure)
        what, metric = {
            "reference": ("unreadable reference", "unreadable"),
            "infrastructure": ("the infrastructure failed on the row with the reference", "infrastructure_failures"),
        }[failure]
        logger.warning(
            "%s: %s %s (%s). Such rows get no reward (None); further ones are not shown, only counted as %s/%s.",
            self.__name__, what, shown(reference), verdict.reason, self.__name__, metric,
        )  # fmt: skip


def _signature(columns: Sequence[str]) -> inspect.Signature:
    named = ["prompts", "completions", *(name for name in columns if name.isidentifier()), "log_metric"]
    parameters = [
        inspect.Parameter(
            name, inspect.Parameter.POSITIONAL_OR_KEYWORD if index < 2 else inspect.Parameter.KEYWORD_ONLY
        )
        for index, name in enumerate(dict.fromkeys(named))
    ]
    parameters[-1] = parameters[-1].replace(default=None)
    return inspect.Signature([*parameters, inspect.Parameter("columns", inspect.Parameter.VAR_KEYWORD)])


class AsyncReward:
    """
    A [`VerifierReward`] to await. It grades in a thread, so other coroutines and the event loop continue.

    Args:
        reward ([`VerifierReward`]): The reward that grades; this one has its name and columns.
    """

    def __init__(self, reward: VerifierReward):
        self.reward = reward
        self.columns = reward.columns
        self.__name__ = reward.__name__

    def __repr__(self) -> str:
        return f"{self.reward!r}.asynchronous()"

    def check(self) -> None:
        self.reward.check()

    async def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        return await asyncio.to_thread(self.reward, prompts, completions, **columns)
