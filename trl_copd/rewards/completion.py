"""The text of a completion, and the part of it that is an answer."""

from typing import Any


def completion_text(completion: Any) -> str:
    """
    Text of a completion as TRL passes it.

    Args:
        completion (`str` or `list[dict]`):
            Text, or messages, of which the last one of the assistant counts (a message without a role is taken as
            the assistant's). Content may be text, or a list of parts of which the text ones are joined; what is of
            another type says nothing.

    Returns:
        `str`: The text; empty where the assistant said nothing.

    Raises:
        TypeError: Neither text nor a list of messages.
    """
    if isinstance(completion, str):
        return str(completion)
    if not isinstance(completion, list) or not all(isinstance(message, dict) for message in completion):
        raise TypeError(f"A completion must be a str or a list of message dicts, got a {type(completion).__name__}.")
    said = [message for message in completion if message.get("role", "assistant") == "assistant"]
    content = said[-1].get("content") if said else None
    if isinstance(content, list):
        return "".join(_part(part) for part in content)
    return content if isinstance(content, str) else ""


def _part(part: Any) -> str:
    if isinstance(part, dict):
        part = part.get("text") if part.get("type", "text") == "text" else None
    return part if isinstance(part, str) else ""


def after_thinking(text: str) -> str | None:
    """
    The part of a completion that is meant for the reader.

    Args:
        text (`str`): Completion, with or without reasoning that ends in `</think>`.

    Returns:
        `str` or `None`: What follows the last `</think>`, or `None` where a `<think>` after it was never closed: a
        candidate answer in reasoning that was cut off is not an answer.
    """
    tail = text.rpartition("</think>")[2]
    return None if "<think>" in tail else tail
