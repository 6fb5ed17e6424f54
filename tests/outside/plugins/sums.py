"""A taskset as `verifiers`' documentation has it: one reply, a reward of 2 by two hooks, and one that may fail."""

import verifiers.v1 as vf


__all__ = ["SumTaskset"]


class SumData(vf.TaskData):
    answer: int


class SumTask(vf.Task[SumData]):
    @vf.reward
    async def exact(self, trace: vf.Trace) -> float:
        if self.data.answer == 4:
            raise RuntimeError("the judge is away")
        return float(trace.last_reply == str(self.data.answer))

    @vf.reward(weight=0.5)
    async def short(self, trace: vf.Trace) -> float:
        return float(len(trace.last_reply) < 3)


class SumTaskset(vf.Taskset[SumTask, vf.TasksetConfig]):
    def load(self):
        return [SumTask(SumData(prompt=f"{i}+{i}?", answer=2 * i), self.config.task) for i in range(6)]
