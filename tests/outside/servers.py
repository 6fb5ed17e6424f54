"""
OpenEnv servers of the test's own, of the package's base classes: `counter` has one action with fields of several types
and ends after two steps, `tools` has MCP tools. Run as `python servers.py counter PORT`.
"""

import sys
from typing import Literal

import uvicorn
from fastmcp import FastMCP
from openenv.core.env_server import create_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.mcp_environment import MCPEnvironment
from openenv.core.env_server.mcp_types import CallToolAction, CallToolObservation
from openenv.core.env_server.types import Action, Observation, State
from pydantic import Field


class CounterAction(Action):
    """Counts."""

    by: int = Field(..., description="How much\n\nby default: nothing")
    way: Literal["up", "down"] = "up"


class CounterObservation(Observation):
    total: int = 0


class Counter(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self, seed=None, episode_id=None, **kwargs):
        self.total, self.steps = seed or 0, 0
        return CounterObservation(total=self.total, reward=100.0)

    def step(self, action, timeout_s=None, **kwargs):
        self.total += action.by if action.way == "up" else -action.by
        self.steps += 1
        return CounterObservation(total=self.total, reward=self.total / 8, done=self.steps == 2)

    @property
    def state(self):
        return State()


class Tools(MCPEnvironment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self):
        mcp = FastMCP("tools")

        @mcp.tool
        def add(a: int, b: int = 1) -> int:
            """Add two numbers."""
            return a + b

        @mcp.tool(name="look-up")
        def look_up(key: str) -> dict:
            """Look up a key."""
            return {"key": key}

        super().__init__(mcp)

    def reset(self, seed=None, episode_id=None, **kwargs):
        return Observation(metadata={"status": "ready"})

    def _step_impl(self, action, timeout_s=None, **kwargs):
        return Observation(metadata={"error": "only tools"})

    @property
    def state(self):
        return State()


SERVED = {
    "counter": (Counter, CounterAction, CounterObservation),
    "tools": (Tools, CallToolAction, CallToolObservation),
}

if __name__ == "__main__":
    app = create_app(*SERVED[sys.argv[1]], env_name=sys.argv[1], max_concurrent_envs=32)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
