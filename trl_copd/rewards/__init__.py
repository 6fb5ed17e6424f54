"""Verifiable rewards. A verifier turns completion and reference into a verdict; `base.py` turns that into a reward."""

import importlib
import warnings
from typing import Any

from .base import AsyncReward, Verdict, VerifierReward
from .choice import ChoiceReward, choice_reward
from .code import CodeReward, CodeSandbox, SandboxFusion, code_reward
from .exact_match import ExactMatchReward, exact_match_reward
from .gym import GymReward, gym_rows
from .instructions import InstructionReward
from .json_schema import JSONReward, json_reward
from .math import MathReward, math_reward
from .proofs import CoqReward, LeanReward, coq_reward, lean_reward
from .sql import SQLReward, sql_reward
from .vision import (
    CountReward,
    IoUReward,
    NumberReward,
    OCRReward,
    count_reward,
    iou_reward,
    number_reward,
    ocr_reward,
)


__all__ = [
    "AsyncReward",
    "ChoiceReward",
    "CodeReward",
    "CodeSandbox",
    "CoqReward",
    "CountReward",
    "ExactMatchReward",
    "GymReward",
    "InstructionReward",
    "IoUReward",
    "JSONReward",
    "LeanReward",
    "MathReward",
    "NumberReward",
    "OCRReward",
    "SQLReward",
    "SandboxFusion",
    "Verdict",
    "VerifierReward",
    "choice_reward",
    "code_reward",
    "coq_reward",
    "count_reward",
    "exact_match_reward",
    "gym_rows",
    "instruction_reward",
    "iou_reward",
    "json_reward",
    "lean_reward",
    "math_reward",
    "number_reward",
    "ocr_reward",
    "sql_reward",
]


def __getattr__(name: str) -> Any:
    if name == "instruction_reward":  # made at its first use, since it needs the packages of an extra
        return importlib.import_module(".instructions", __name__).instruction_reward
    if name == "reasoning_gym_expert":  # until version 0.3: an expert is no reward
        warnings.warn(f"trl_copd.rewards.{name} has moved to trl_copd.gym.{name}.", FutureWarning, stacklevel=2)
        return importlib.import_module("trl_copd.gym").reasoning_gym_expert
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
