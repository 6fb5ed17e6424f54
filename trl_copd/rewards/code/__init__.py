"""Programs, graded by tests: in the sandbox beside this folder, or by a service (`remote.py`)."""

from .preambles import LEETCODE
from .remote import CodeSandbox, SandboxFusion
from .reward import CodeReward, code_reward


__all__ = ["LEETCODE", "CodeReward", "CodeSandbox", "SandboxFusion", "code_reward"]
