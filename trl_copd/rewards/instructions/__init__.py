"""Instructions that a program can check: the types of IFEval and IFBench."""

from typing import Any

from .reward import InstructionReward, verify_instructions


__all__ = ["InstructionReward", "instruction_reward", "verify_instructions"]


def __getattr__(name: str) -> Any:
    # made at its first use, since it needs the packages of an extra
    if name == "instruction_reward":
        globals()[name] = InstructionReward()
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
