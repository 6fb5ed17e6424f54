"""
Conversations of several turns, sampled in waves: whoever needs tokens waits until all others do, then one `generate`
answers everybody.

Each conversation is TRL's own loop. It runs as a greenlet, which stops where the loop asks for tokens and goes on when
they are there: in this thread, so that nothing runs at the same time and an error is raised where it belongs.
"""

import contextvars
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from greenlet import getcurrent, greenlet

from ..engines.base import Completions


# prompts' token ids, and the adapter of each, to completions
Generate = Callable[[list[list[int]], list[str]], Completions]


class Asking(Protocol):
    """Rows of one adapter that need tokens, once or again and again."""

    adapter: str
    request: list[list[int]] | None  # token ids of the prompts at hand; `None`: no more

    def answer(self, ids: list[list[int]], logps: list[list[float | None]] | None) -> None:
        """Take a completion of each prompt, and go on to the next request."""

    def close(self) -> None:
        """Give up, wherever it is."""


class Prompted:
    """
    Rows that need one completion each.

    Args:
        adapter (`str`): That samples.
        prompt_ids (`list[list[int]]`): Token ids of the prompts.
    """

    def __init__(self, adapter: str, prompt_ids: list[list[int]]):
        self.adapter, self.request = adapter, prompt_ids or None
        self.completions: Completions = [], None

    def answer(self, ids: list[list[int]], logps: list[list[float | None]] | None) -> None:
        self.completions, self.request = (ids, logps), None

    def close(self) -> None:
        pass


class Conversing:
    """
    Rows with a conversation each, which asks for tokens by [`ask`].

    Args:
        adapter (`str`): That samples.
        converse (`Callable`): Has the conversations, and returns what came of them.
        active (`Callable`): A context to be in while it runs.
    """

    def __init__(
        self,
        adapter: str,
        converse: Callable[[], Any],
        active: Callable[[], AbstractContextManager] = nullcontext,
    ):
        self.adapter, self.active = adapter, active
        self.result: Any = None
        self.request: list[list[int]] | None = None
        self._conversation = greenlet(converse)
        self._conversation.gr_context = contextvars.copy_context()

    def begin(self) -> "Conversing":
        """Run to the first request."""
        self._go_on()
        return self

    def answer(self, ids: list[list[int]], logps: list[list[float | None]] | None) -> None:
        self._go_on((ids, logps))

    def _go_on(self, *answer: Any) -> None:
        self._conversation.parent = getcurrent()  # where it returns to, and where its errors are raised
        with self.active():
            given = self._conversation.switch(*answer)
        if self._conversation.dead:
            self.result, self.request = given, None
        else:
            self.request = given

    def close(self) -> None:
        if self._conversation and not self._conversation.dead:
            self._conversation.throw()


def ask(prompt_ids: list[list[int]]) -> Completions:
    """
    Inside of a conversation: wait for completions.

    Raises:
        RuntimeError: There is no conversation around.
    """
    outside = getcurrent().parent
    if outside is None:
        raise RuntimeError("Tokens can be sampled only while a round's rollouts are made.")
    return outside.switch(prompt_ids)


def converse(asking: Sequence[Asking], generate: Generate, accelerator: Accelerator, most: int) -> None:
    """
    Answer everybody, wave by wave, until nobody asks. Every process calls it, and takes part in every wave.

    Args:
        asking (`Sequence[Asking]`): In order of their adapters: an engine wants an adapter's rows to be consecutive.
        generate (`Callable`): Samples a completion per row.
        accelerator ([`~accelerate.Accelerator`]): The processes.
        most (`int`): Waves after which a conversation counts as one without an end.

    Raises:
        RuntimeError: Somebody asks for more than `most` waves.
    """
    try:
        for _ in range(most):
            waiting = [one for one in asking if one.request is not None]
            if not _anywhere(bool(waiting), accelerator):
                return
            prompts = [ids for one in waiting for ids in one.request or []]
            names = [one.adapter for one in waiting for _ in one.request or []]
            ids, logps = generate(prompts, names)
            start = 0
            for one in waiting:
                part = slice(start, start + len(one.request or []))
                one.answer(ids[part], logps and logps[part])
                start = part.stop
        waiting = [one for one in asking if one.request is not None]
        if _anywhere(bool(waiting), accelerator):
            names = sorted({one.adapter for one in waiting})
            raise RuntimeError(
                f"Conversations of {', '.join(names) or 'another process'} have asked for tokens {most} times and do "
                "not end. Bound them: `max_tool_calling_iterations` for tools, a loop's end in a `rollout_func`."
            )
    finally:
        for one in asking:
            one.close()


def _anywhere(here: bool, accelerator: Accelerator) -> bool:
    if accelerator.num_processes == 1:
        return here
    return bool(accelerator.reduce(torch.tensor(float(here), device=accelerator.device), reduction="sum") > 0)
