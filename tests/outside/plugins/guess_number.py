"""`verifiers`' own TextArena environment with another of TextArena's games pinned: one that needs no list of words."""

from typing import Literal

import verifiers.v1 as vf
from verifiers.v1.tasksets.textarena import TextArenaConfig, TextArenaEnv, TextArenaTask, TextArenaTaskset


__all__ = ["GuessTaskset", "TextArenaEnv"]


class GuessConfig(TextArenaConfig):
    game: Literal["GuessTheNumber-v0"] = "GuessTheNumber-v0"


class GuessTaskset(TextArenaTaskset, vf.Taskset[TextArenaTask, GuessConfig]):
    pass
