"""Confinement for programs that a model wrote. `run_command` runs one external program; `slots.py` runs Python."""

from ._linux import SandboxError
from .command import CommandResult, available_level, require_level, run_command


__all__ = ["CommandResult", "SandboxError", "available_level", "require_level", "run_command"]
