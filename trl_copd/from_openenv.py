"""Environments of OpenEnv as an expert's: a session of a running server for each conversation."""

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

import requests

from .worlds import EnvironmentFailure


TYPES = {"string": str, "integer": int, "number": float, "boolean": bool, "array": list, "object": dict}
OF_THE_MODEL = ("VALIDATION_ERROR", "EXECUTION_ERROR")  # codes of a server: the action was wrong, not the server
MCP = ("Action", "CallToolAction", "ListToolsAction")  # titles of action schemas that only say that there are tools
SECONDS = 30.0  # for a server to say which actions it takes


def openenv_environment(
    base_url: str,
    tool: str | None = None,
    reset_columns: Sequence[str] = (),
    observe: Callable[[dict[str, Any]], str] | None = None,
) -> type:
    """
    A class for `Expert(environment_factory=...)`: each instance is a session of a running OpenEnv server.

    The server's actions become tools: each tool of a server with MCP tools, or one tool whose arguments are the
    fields of the server's action. The sum of the rewards of all steps is the reward, 0.0 without a step.

    Args:
        base_url (`str`):
            Of the server, e.g. `"http://localhost:8000"`. It must allow a session for every row of a round
            (`max_concurrent_envs`), and further ones for measurements.
        tool (`str`, *optional*):
            Name of the one tool; by default that of the action without `Action`: `guess` for `GuessAction`.
        reset_columns (`Sequence[str]`, *optional*):
            Columns of a row that the server's `reset` is given, such as `seed`.
        observe (`Callable`, *optional*):
            Makes the text that the model reads of an observation, a dictionary; by default its JSON.

    Returns:
        `type`: With `reset`, `get_reward` and the tools.

    Raises:
        ImportError: `openenv` is not installed.
        ConnectionError: The server does not answer.
        ValueError: An action cannot be described to a model, or a tool has a name that is taken, such as `reset`.

    Example:
    ```python
    >>> from trl_copd.from_openenv import openenv_environment

    >>> Wordle = openenv_environment("http://localhost:8000", tool="guess")  # doctest: +SKIP
    >>> expert = Expert("wordle", questions, environment_factory=Wordle)  # doctest: +SKIP
    ```
    """
    try:
        from openenv.core import GenericEnvClient
    except ImportError as error:
        raise ImportError(
            "This needs `openenv`, which is not installed. Install it: `pip install 'openenv>=0.10'`."
        ) from error

    def connect() -> Any:
        return GenericEnvClient(base_url=base_url).sync()

    try:
        answer = requests.get(f"{base_url.rstrip('/')}/schema", timeout=SECONDS)
        answer.raise_for_status()
        action = answer.json()["action"]
        many = action.get("title") in MCP
        with connect() as client:
            tools = client.step({"type": "list_tools"}).observation["tools"] if many else []
    except Exception as error:
        raise ConnectionError(
            f"The OpenEnv server at {base_url} does not say which actions it takes: {error} Start it, and check the "
            "address."
        ) from error
    if not many:
        title = re.sub(r"(?<=.)(?=[A-Z])", "_", action.get("title", "Action").removesuffix("Action")).lower()
        tools = [{"name": tool or title or "act", "description": action.get("description"), "input_schema": action}]
    methods = {}
    for one in tools:
        name = re.sub(r"\W", "_", one["name"])
        if name.startswith("_") or hasattr(_Session, name) or name in methods:
            taken = "of another tool" if name in methods else "that the session itself has or hides"
            raise ValueError(
                f"The OpenEnv server at {base_url} has a tool {one['name']!r}, a name {taken}. Rename it on the server"
                f"{'' if many else ', or pass another name in `tool`'}."
            )
        methods[name] = _method(name, one, many)
    settings = {
        "connect": staticmethod(connect),
        "columns": tuple(reset_columns),
        "observe": staticmethod(observe or _json),
    }
    return type("OpenEnv", (_Session,), methods | {f"_{name}": value for name, value in settings.items()})


class _Session:
    """A conversation with a server. An interrupted one is dropped: its answer may still be on the way."""

    _connect: Callable[[], Any]
    _columns: Sequence[str]
    _observe: Callable[[dict[str, Any]], str]

    def __init__(self) -> None:
        self._client: Any = None
        self._done, self._reward = True, 0.0

    def reset(self, **row: Any) -> str:
        """Begin an episode; its first observation."""
        self._done, self._reward = True, 0.0
        given = {name: row[name] for name in self._columns}
        return self._take(self._asked(lambda client: client.reset(**given)), first=True)

    def get_reward(self) -> float:
        """The sum of the rewards since `reset`."""
        return self._reward

    def _step(self, action: dict[str, Any]) -> str:
        if self._done:
            raise ValueError("The episode is over.")
        return self._take(self._asked(lambda client: client.step(action)))

    def _take(self, result: Any, first: bool = False) -> str:
        self._done = bool(result.done)
        if not first:
            self._reward += float(result.reward or 0.0)
        return type(self)._observe(result.observation)

    def _asked(self, call: Callable[[Any], Any]) -> Any:
        if self._client is None:
            self._client = type(self)._connect()
        try:
            return call(self._client)
        except BaseException as error:
            if isinstance(error, RuntimeError) and any(f"(code: {code})" in str(error) for code in OF_THE_MODEL):
                raise ValueError(str(error)) from error
            client, self._client = self._client, None
            with suppress(Exception):
                client.close()
            if isinstance(error, Exception):
                raise EnvironmentFailure(f"the OpenEnv server failed: {error!r:.300}") from error
            raise


def _json(observation: dict[str, Any]) -> str:
    shown = {name: value for name, value in observation.items() if value not in (None, {}) and name != "metadata"}
    return json.dumps(shown, ensure_ascii=False)


def _method(name: str, tool: Mapping[str, Any], many: bool) -> Callable:
    schema = tool["input_schema"]
    if not many:
        schema = schema | {"properties": {k: v for k, v in schema.get("properties", {}).items() if k != "metadata"}}

    def call(self: _Session, **arguments: Any) -> str:
        action = {"type": "call_tool", "tool_name": tool["name"], "arguments": arguments}
        return self._step(action if many else arguments)

    return described(call, name, tool.get("description"), schema)


def described(call: Callable, name: str, description: str | None, schema: Mapping[str, Any]) -> Callable:
    """
    Give a method the signature and the docstring that describe a tool to a chat template.

    Args:
        call (`Callable`): Takes `self`, and the arguments by their names.
        name (`str`): The tool's.
        description (`str`, *optional*): The tool's.
        schema (`Mapping`): JSON schema of the arguments.

    Raises:
        ValueError: An argument has a name that Python does not allow.
    """
    fields, required = schema.get("properties", {}), schema.get("required", [])
    hints = {field: _hint(about) for field, about in fields.items()}
    ordered = sorted(fields, key=lambda field: field not in required)
    kind, empty = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    parameters = [inspect.Parameter("self", kind)]
    for field in ordered:
        default = empty if field in required else fields[field].get("default")
        try:
            parameters.append(inspect.Parameter(field, kind, annotation=hints[field], default=default))
        except ValueError as error:
            raise ValueError(f"The tool {name!r} cannot be described to a model: {error}") from error
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__, call.__name__, call.__qualname__ = hints, name, name
    lines = [_line(description) or f"Calls {name}."]
    if ordered:
        lines += ["", "Args:"]
        lines += [f"    {field}: {_line(fields[field].get('description')) or field}" for field in ordered]
    call.__doc__ = "\n".join(lines)
    return call


def _hint(schema: Mapping[str, Any]) -> Any:
    """The Python type of a field's JSON schema; of several, the first that is not null; `str` where none is said."""
    if "enum" in schema:
        return Literal[tuple(schema["enum"])]
    choices = [one for one in schema.get("anyOf", []) if one.get("type") != "null"]
    if choices:
        return _hint(choices[0])
    kind = schema.get("type", "string")
    kinds = [one for one in kind if one != "null"] if isinstance(kind, list) else [kind]
    return TYPES.get(kinds[0], str) if kinds else str


def _line(text: str | None) -> str:
    """The first paragraph in one line: what follows would be read as sections of a docstring."""
    return " ".join((text or "").strip().split("\n\n")[0].split())
