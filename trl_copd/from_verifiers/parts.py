"""What the environments of `verifiers` consist of: messages, toolsets, the agent's seat."""

from typing import Any


def typed(messages: Any) -> list[Any]:
    from verifiers.v1.dialects import parse_message
    from verifiers.v1.types import UserMessage

    if isinstance(messages, str):
        return [UserMessage(content=messages)]
    return [parse_message(one) if isinstance(one, dict) else one for one in messages or []]


def plain(messages: list[Any]) -> list[dict[str, str]]:
    """
    Messages for a chat template.

    Raises:
        ValueError: They hold more than texts of system, user and assistant.
    """
    if any(one.role == "tool" or not isinstance(one.content, str) for one in messages):
        raise ValueError("a message holds pictures or calls of tools, and only texts can be trained on")
    return [{"role": one.role, "content": one.content} for one in messages]


def opening(data: Any) -> list[dict[str, str]]:
    """The messages that a task begins with, none if the other side begins."""
    system = [{"role": "system", "content": data.system_prompt}] if data.system_prompt else []
    return system + plain(typed(data.prompt))


def toolsets(env: Any) -> list[Any]:
    kind, config = type(env.taskset).task_type(), env.config.taskset
    return [*kind.toolsets(config.task), *env.taskset.toolsets(config)]


def seat_of(env: Any) -> tuple[str, Any]:
    from verifiers.v1.configs.agent import agent_config_fields

    [seat] = agent_config_fields(env.config).items()
    return seat
