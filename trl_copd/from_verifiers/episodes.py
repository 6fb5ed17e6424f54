"""Episodes of `verifiers`' environments, played at once; what their agent says is sampled by the run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from ..rewards.completion import after_thinking
from ..trainers.calls import limited, readable
from ..worlds import EMPTY_PROMPT
from .parts import opening, plain, seat_of, typed


def episode_reward(completions: list, rewards_of_episodes: list[float | None], **columns: Any) -> list[float | None]:
    """The sum of the weighted rewards of each episode; `None` where the environment graded nothing."""
    return rewards_of_episodes


class Episodes:
    """
    A rollout function: an episode for each row, all at once, whose turns join those of other branches.

    Args:
        env (`verifiers.v1.Env`): With one agent.
    """

    def __init__(self, env: Any):
        self.env, self.__name__ = env, f"verifiers {env.config.env_id}"

    def __call__(self, prompts: list, trainer: Any) -> dict[str, Any]:
        """What `Expert(rollout_func=...)` returns; `trainer.rows` has the tasks."""
        loop = asyncio.new_event_loop()
        episodes = [_Episode(self.env, row["task"], trainer) for row in trainer.rows]
        played = [loop.create_task(episode.play()) for episode in episodes]
        try:
            while waiting := self._until_all_wait(loop, episodes, played, trainer):
                ids, logps = trainer.sample([episode.request for episode in waiting])
                for place, episode in enumerate(waiting):
                    episode.answer(ids[place], logps and logps[place])
        finally:
            _end(loop, played)
        failures = {}
        for place, (episode, task) in enumerate(zip(episodes, played, strict=True)):
            error = None if task.cancelled() else task.exception()
            if task.cancelled() or not isinstance(error, Exception | None):
                error = TimeoutError(f"it did not go on within {trainer.guard.seconds:g} seconds")
            if error is None and not episode.ids:
                error = ValueError("the agent said nothing: it was not asked, or the prompt is too long")
            if error is not None:
                failures[place] = f"the episode raised {type(error).__name__}: {readable(error, 300)}"
                episode.stand_in()
        logps = [episode.logps for episode in episodes]
        return {
            "prompt_ids": [episode.prompt_ids for episode in episodes],
            "completion_ids": [episode.ids for episode in episodes],
            "env_mask": [episode.mask for episode in episodes],
            "logprobs": None if any(None in row for row in logps) else logps,
            "rewards_of_episodes": [
                None if place in failures else episode.reward for place, episode in enumerate(episodes)
            ],
            "failures": failures,
        }

    def _until_all_wait(self, loop: Any, episodes: list, played: list, trainer: Any) -> list["_Episode"]:
        """Let the episodes go on until each waits for the agent or is over; those that wait."""

        async def settled() -> None:
            await asyncio.gather(*(episode.idle.wait() for episode in episodes))

        try:
            limited(lambda: loop.run_until_complete(settled()), trainer.guard.seconds)
        except TimeoutError:
            _cancel(loop, [task for task, episode in zip(played, episodes, strict=True) if not episode.idle.is_set()])
        return [episode for episode, task in zip(episodes, played, strict=True) if not task.done()]


class _Episode:
    """
    One episode, and the agent in it: `verifiers` calls `run`, `interaction` and `turn`, and finds a `Trace`.

    Tokens of the agent have mask 1, those of the other side 0. `request` is what the agent is to go on from.
    """

    def __init__(self, env: Any, task: str, trainer: Any):
        self.env, self.trainer, self.trainable = env, trainer, True
        self.tokenizer = getattr(trainer.processing_class, "tokenizer", trainer.processing_class)
        self.seat, self.config = seat_of(env)
        kind = type(env.taskset).task_type()
        self.task = kind(kind.data_type().model_validate_json(task), env.config.taskset.task)
        self.prompt_ids: list[int] = []
        self.ids: list[int] = []
        self.mask: list[int] = []
        self.logps: list[float | None] = []
        self.trace: Any = None
        self.reward: float | None = None
        self.idle = asyncio.Event()  # it waits for the agent, or is over
        self._answer: Any = None

    async def play(self) -> None:
        """Set `reward` to what the environment gives, `None` for nothing."""
        try:
            await self._play()
        finally:
            self.idle.set()

    async def _play(self) -> None:
        from verifiers.v1.episode import EnvInfo, Episode

        agents = SimpleNamespace(**{self.seat: self})
        await self.env.setup(agents)
        await self.env.run(self.task, agents)
        if self.trace is None:
            return
        task = self.trace.task.model_copy(update={"data": self.task.data})
        episode = Episode(env=EnvInfo(id=self.env.config.env_id), task=task, traces=[self.trace])
        await self.env.finalize(self.task, episode)
        graded = [reward.value for reward in self.trace.rewards.values() if reward is not None]
        self.reward = sum(graded) if graded else None

    @property
    def request(self) -> list[int]:
        return self.prompt_ids + self.ids

    def answer(self, ids: list[int], logps: list[float | None] | None) -> None:
        """Take what the agent has said."""
        room = self._room()
        new = ids[:room]
        self.ids += new
        self.mask += [1] * len(new)
        self.logps += [None] * len(new) if logps is None else logps[:room]
        self.idle.clear()
        self._answer.set_result(new)

    def stand_in(self) -> None:
        """Tokens for a row that nobody learns from."""
        if not self.prompt_ids:
            self.prompt_ids = self.trainer.token_ids([opening(self.task.data) or EMPTY_PROMPT])[0]
        if not self.ids:
            self.ids, self.mask, self.logps = [self.tokenizer.eos_token_id], [1], [0.0]

    # ---- What an environment's `run` finds as its agent -------------------------------------------------------------

    async def run(self, task: Any, **_: Any) -> Any:
        async with self.interaction(task) as interaction:
            await interaction.turn()
            self.trace.stop("agent_completed")
        return self.trace

    @asynccontextmanager
    async def interaction(self, task: Any, **_: Any) -> AsyncIterator["_Episode"]:
        from verifiers.v1.state import state_cls
        from verifiers.v1.trace import AgentInfo, Trace, TraceTask

        if self.trace is not None:
            raise ValueError("an episode has one conversation here, and the environment began a second one")
        about = TraceTask(type=type(task).__name__, data=task.data, key=task.key, hash=task.hash)
        self.playing = task
        self.trace = Trace(
            task=about, state=state_cls(type(task))(), agent=AgentInfo(config=self.config, name=self.seat)
        )
        yield self
        self.trace.stop("user_closed")
        self.trace.ok = True
        await task.score(self.trace)

    async def turn(self, message: Any = None) -> Any:
        """Say something to the agent, nothing if the task's prompt opens the conversation, and hear its reply."""
        from verifiers.v1.agent import Segment

        said = typed(message)
        if not self.trace.nodes:
            said = typed(opening(self.playing.data)) + said
            self.prompt_ids = self.trainer.token_ids([plain(said)])[0]
            between: list[int] = []
        else:
            between = self.trainer.turn_ids(self.ids, plain(said))
        if await self._stopped(len(between)):
            return Segment(messages=[], terminated=True)
        self.ids += between
        self.mask += [0] * len(between)
        self.logps += [0.0] * len(between)
        for one in said:
            self._note(one)
        self._answer = asyncio.get_running_loop().create_future()
        self.idle.set()
        reply = self._note_reply(await self._answer)
        return Segment(messages=[reply], root_reply=reply.content)

    def _note(self, message: Any, sampled: bool = False) -> None:
        from verifiers.v1.graph import MessageNode

        nodes = self.trace.nodes
        nodes.append(MessageNode(parent=len(nodes) - 1 if nodes else None, message=message, sampled=sampled))

    def _note_reply(self, ids: list[int]) -> Any:
        from verifiers.v1.trace import ModelCall
        from verifiers.v1.types import AssistantMessage, Usage

        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        reply = AssistantMessage(content=after_thinking(text) or "")
        self._note(reply, sampled=True)
        usage = Usage(prompt_tokens=len(self.request) - len(ids), completion_tokens=len(ids))
        reason = "stop" if self._room() > 0 else "length"
        self.trace.calls.append(ModelCall(node=len(self.trace.nodes) - 1, finish_reason=reason, usage=usage))
        return reply

    def _room(self) -> int:
        """Tokens that the completion may still get."""
        longest = min(self.trainer.max_completion_length, self.trainer.most_tokens - len(self.prompt_ids))
        return longest - len(self.ids)

    async def _stopped(self, more: int) -> bool:
        """Whether the agent has no further turn: by a limit of the environment, the completion's length, or a stop."""
        from verifiers.v1.session import call_hook
        from verifiers.v1.trace import Trace

        if self.config.max_turns is not None and self.trace.num_turns >= self.config.max_turns:
            self.trace.stop("max_turns")
        if more >= self._room():
            self.trace.stop("max_output_tokens")
        for stop in self.playing.hooks("stop"):
            if self.trace.stop_condition is None and await call_hook(stop, {Trace: self.trace}):
                self.trace.stop(stop.__name__)
        return self.trace.stop_condition is not None


def _end(loop: asyncio.AbstractEventLoop, played: list[asyncio.Task]) -> None:
    _cancel(loop, [task for task in played if not task.done()])
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _cancel(loop: asyncio.AbstractEventLoop, tasks: list[asyncio.Task]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks))
