"""Tools of `verifiers`' tasks as an expert's environment: called in this process instead of by a server."""

import asyncio
import json
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ..from_openenv import described
from .parts import toolsets


_state: ContextVar[Any] = ContextVar("state of the conversation whose tool is called")


def tools_environment(env: Any) -> type:
    """
    A class for `Expert(environment_factory=...)`: the tools of an environment's tasks, and the state of one rollout.

    Args:
        env (`verifiers.v1.Env`): With one agent, whose tasks or taskset bring toolsets.
    """
    from mcp.server.mcpserver import MCPServer

    methods: dict[str, Callable] = {}
    for toolset in toolsets(env):
        server = MCPServer(toolset.server_name)
        toolset._pull_state = _current  # what a server would fetch from the run before each call
        toolset.register(server)
        asyncio.run(toolset.setup())
        for tool in asyncio.run(server.list_tools()):
            name = f"{toolset.server_name}_{tool.name}".strip("_")
            methods[name] = _method(server, name, tool)
    settings = {"_kind": type(env.taskset).task_type(), "_config": env.config.taskset.task}
    return type("Tools", (_Rollout,), methods | settings)


def tools_reward(completions: list, prompts: list, environments: list, **columns: Any) -> list[float | None]:
    """The sum of the weighted rewards of each task; `None` where the task graded nothing or failed."""
    return [
        environment._grade(prompt, completion)
        for prompt, completion, environment in zip(prompts, completions, environments, strict=True)
    ]


class _Rollout:
    """One conversation of a task."""

    _kind: Any
    _config: Any

    def reset(self, task: str, **row: Any) -> None:
        """Take the task of the row."""
        from verifiers.v1.state import state_cls

        self._task = self._kind(self._kind.data_type().model_validate_json(task), self._config)
        self._state = state_cls(self._kind)()

    def _grade(self, prompt: list[dict[str, Any]], completion: list[dict[str, Any]]) -> float | None:
        from verifiers.v1.configs.agent import AgentConfig
        from verifiers.v1.dialects import parse_message
        from verifiers.v1.graph import MessageNode
        from verifiers.v1.trace import AgentInfo, Trace, TraceTask

        data, calls = self._task.data, iter(range(10**6))
        trace = Trace(
            task=TraceTask(type=type(self._task).__name__, data=data, key=self._task.key, hash=self._task.hash),
            state=self._state, agent=AgentInfo(config=AgentConfig()), ok=True,
        )  # fmt: skip
        asked: list[str] = []  # ids of calls whose results are still to come
        for message in prompt + completion:
            typed = {"role": message["role"], "content": message.get("content") or ""}
            if message["role"] == "assistant":
                made = [call["function"] for call in message.get("tool_calls") or []]
                asked = [f"call_{next(calls)}" for _ in made]
                typed["tool_calls"] = [
                    {"id": one, "type": "function",
                     "function": {"name": call["name"], "arguments": json.dumps(call.get("arguments") or {})}}
                    for one, call in zip(asked, made, strict=True)
                ] or None  # fmt: skip
            if message["role"] == "tool":
                typed |= {"name": message.get("name"), "tool_call_id": asked.pop(0) if asked else ""}
            parent = len(trace.nodes) - 1 if trace.nodes else None
            sampled = message["role"] == "assistant"
            trace.nodes.append(MessageNode(parent=parent, message=parse_message(typed), sampled=sampled))
        trace.stop("agent_completed")
        try:
            asyncio.run(self._task.score(trace))
        except Exception:
            return None
        graded = [reward.value for reward in trace.rewards.values() if reward is not None]
        return sum(graded) if graded else None


async def _current() -> Any:
    return _state.get()


def _method(server: Any, name: str, tool: Any) -> Callable:
    def call(self: _Rollout, **arguments: Any) -> str:
        token = _state.set(self._state)
        try:
            result = asyncio.run(server.call_tool(tool.name, arguments))
        finally:
            _state.reset(token)
        parts = getattr(result, "content", result)
        text = "\n".join(part.text for part in parts if getattr(part, "type", None) == "text")
        if getattr(result, "is_error", False):
            raise ValueError(text)
        return text

    return described(call, name, tool.description, tool.input_schema)
