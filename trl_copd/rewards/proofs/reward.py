"""
What proof assistants share. A completion becomes a block of code, the block becomes a compiled file in one process,
and that file is checked in others, which state the theorem themselves. All of them run in the sandbox, on one budget
of CPU time.
"""

import hashlib
import os
import threading
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ..base import Verdict, VerifierReward, after_thinking
from ..fences import last_block
from ..pool import NEAR_LIMIT, shared_pool
from .session import Broken, Refused, Session, Stuck, Unreadable, is_text


MAX_CHARS = 200_000  # of a block; a proof that a model wrote is far shorter
REFERENCE_CPU_FACTOR = 4  # a preamble may take this many times the limit of a proof: it is compiled once
KEPT_REFERENCES = 512  # compiled statements in memory, a few kB each


class ProverReward(VerifierReward):
    """
    Base of [`CoqReward`] and [`LeanReward`]. A subclass says how a reference is compiled and how a block is proved.

    Args:
        name (`str`): Name in metrics.
        cpu_seconds (`float`): CPU seconds for one completion, all processes together.
        memory_mib (`int`): Memory of each process, MiB.
        level (`str`, *optional*): Sandbox level; by default the best that the host allows.

    Raises:
        ValueError: A limit is not above 0.
    """

    tags: frozenset[str] = frozenset()  # of the fenced blocks that count
    contained = True

    def __init__(self, name: str, cpu_seconds: float, memory_mib: int, level: str | None):
        super().__init__(self.grade, columns=("statement", "preamble"), name=name, cpu_seconds=cpu_seconds)
        if memory_mib < 1:
            raise ValueError(f"`memory_mib` must be at least 1, got {memory_mib}.")
        self.memory_mib = memory_mib
        self.level = level

    @abstractmethod
    def compile_reference(self, statement: str, preamble: str, session: Session) -> Any:
        """What [`prove`] needs of a reference; raises `Unreadable`. Called once per reference."""

    @abstractmethod
    def prove(self, block: str, compiled: Any, session: Session) -> str:
        """Check a block; returns why it passes, or raises `Refused`."""

    @abstractmethod
    def identity(self) -> tuple[Any, ...]:
        """What compiled references depend on beside the reference: prover, version, options. Hashable."""

    @abstractmethod
    def readable(self) -> Sequence[str]:
        """Directories of the prover and its libraries."""

    def verdicts(self, texts: Sequence[str], references: Sequence[Any]) -> list[Verdict]:
        """See [`VerifierReward.verdicts`]. As many proofs run at once as the pool has workers."""
        workers = min(shared_pool().workers, len(texts))
        if workers <= 1:
            return [self.grade(text, reference) for text, reference in zip(texts, references, strict=True)]
        with ThreadPoolExecutor(workers, thread_name_prefix="trl-copd-proofs") as threads:
            return list(threads.map(self.grade, texts, references))

    def grade(self, text: str, reference: Any) -> Verdict:
        """
        Grade one completion. Thread-safe.

        Args:
            text (`str`): The completion.
            reference (`dict`): `statement` (`str`) and `preamble` (`str`, may be empty).

        Returns:
            [`Verdict`]: Unreadable where statement or preamble do not compile.
        """
        try:
            compiled = self._compiled(reference)
        except Unreadable as problem:
            return Verdict(None, str(problem))
        except Broken as problem:
            return Verdict(None, str(problem), failure="infrastructure")
        try:
            block = self._block(text)
            verdict = self._attempt(block, compiled, last=False)
            if verdict is None:
                with shared_pool().alone():
                    verdict = self._attempt(block, compiled, last=True)
            assert verdict is not None  # the last attempt always gives one
            return verdict
        except Refused as reason:
            return Verdict(False, str(reason))

    def _attempt(self, block: str, compiled: Any, last: bool) -> Verdict | None:
        """The verdict, or `None` if it is to be repeated alone: it came near its limit, or the machine failed."""
        session = self._session(1)
        verdict: Verdict
        try:
            if last:  # the caller is alone already
                verdict = Verdict(True, self.prove(block, compiled, session))
            else:
                with shared_pool().beside():
                    verdict = Verdict(True, self.prove(block, compiled, session))
        except Refused as reason:
            verdict = Verdict(False, str(reason))
        except Broken as problem:
            if not last:
                return None
            if isinstance(problem, Stuck):  # also alone: the submission is to blame
                return Verdict(False, str(problem))
            return Verdict(None, str(problem), failure="infrastructure")
        return verdict if last or session.used <= NEAR_LIMIT * session.cpu_seconds else None

    def _session(self, factor: float) -> Session:
        assert self.cpu_seconds is not None
        return Session(self.cpu_seconds * factor, self.memory_mib, self.level, self.readable())

    def _block(self, text: str) -> str:
        answer = after_thinking(text)
        if answer is None:
            raise Refused("the reasoning was not closed")
        block = last_block(answer, self.tags)
        if block is None:
            raise Refused(f"there is no closed block marked {' or '.join(sorted(self.tags))}")
        if len(block) > MAX_CHARS:
            raise Refused(f"the block has {len(block)} characters, more than {MAX_CHARS}")
        if not is_text(block):
            raise Refused("the block has characters that a file cannot hold")
        return block

    def _compiled(self, reference: Any) -> Any:
        """The compiled reference, from memory if it was seen before."""
        if not isinstance(reference, dict):
            raise Unreadable(f"a reference must be a dict of statement and preamble, got {type(reference).__name__}")
        statement, preamble = reference.get("statement"), reference.get("preamble")
        if not isinstance(statement, str) or not isinstance(preamble, str):
            raise Unreadable("statement and preamble must be text")
        if not is_text(statement + preamble):
            raise Unreadable("statement or preamble has characters that a file cannot hold")
        key = _digest(repr((self.identity(), statement, preamble)))
        compiled = _references.get(key, lambda: self._new_reference(statement, preamble))
        if isinstance(compiled, Unreadable):
            raise Unreadable(str(compiled))
        return compiled

    def _new_reference(self, statement: str, preamble: str) -> Any:
        """The compiled reference, or the `Unreadable` that says why there is none: it is remembered like the other."""
        pool = shared_pool()
        try:
            try:
                with pool.beside():
                    return self.compile_reference(statement, preamble, self._session(REFERENCE_CPU_FACTOR))
            except (Refused, Broken):
                with pool.alone():
                    return self.compile_reference(statement, preamble, self._session(REFERENCE_CPU_FACTOR))
        except Unreadable as problem:
            return problem
        except Refused as reason:
            return Unreadable(f"the reference cannot be compiled: {reason}")


class _References:
    """Compiled references of this process. Each is compiled by one thread, and the others wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Future[Any]] = OrderedDict()

    def get(self, key: str, compile_: Callable[[], Any]) -> Any:
        with self._lock:
            future = self._known.get(key)
            mine = future is None
            if future is None:
                future = self._known[key] = Future()
                while len(self._known) > KEPT_REFERENCES:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
        if mine:
            try:
                future.set_result(compile_())
            except BaseException as error:  # not of the reference's making, so that the next time may go well
                with self._lock:
                    self._known.pop(key, None)
                future.set_exception(error)
        return future.result()


_references = _References()


def _forget() -> None:
    # No lock or unfinished work of the parent is of use in a fork
    global _references
    _references = _References()


os.register_at_fork(after_in_child=_forget)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=24).hexdigest()
