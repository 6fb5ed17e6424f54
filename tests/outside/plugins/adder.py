"""A taskset with a tool and a state, as `verifiers`' documentation has it."""

import verifiers.v1 as vf


__all__ = ["AdderTaskset"]


class Memory(vf.State):
    total: int = 0


class Adder(vf.Toolset[vf.ToolsetConfig, Memory]):
    TOOL_PREFIX = None

    @vf.tool
    async def a(self, x: str) -> str:
        """Adds a length."""
        self.state.total += len(x)
        return str(self.state.total)


class AdderConfig(vf.TaskConfig):
    tools: vf.ToolsetConfig = vf.ToolsetConfig()


class AdderTask(vf.Task[vf.TaskData, Memory, AdderConfig]):
    @classmethod
    def toolsets(cls, config: AdderConfig) -> list[vf.Toolset]:
        return [Adder(config.tools)]

    @vf.reward(weight=0.5)
    async def added(self, trace: vf.Trace) -> float:
        if trace.last_reply.startswith("h"):
            raise RuntimeError("the judge is away")
        return trace.state.total

    @vf.reward
    async def turns(self, trace: vf.Trace) -> float:
        return 10.0 * trace.num_turns + 100.0 * len(trace.tool_messages)


class AdderTasksetConfig(vf.TasksetConfig):
    task: AdderConfig = AdderConfig()


class AdderTaskset(vf.Taskset[AdderTask, AdderTasksetConfig]):
    def load(self):
        return [AdderTask(vf.TaskData(prompt=f"{i}+{i}"), self.config.task) for i in range(8)]
