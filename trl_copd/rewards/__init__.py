"""Verifiable rewards. A verifier turns completion and reference into a verdict; `base.py` turns that into a reward."""

from .base import Verdict, VerifierReward
from .exact_match import ExactMatchReward, exact_match_reward
from .math import MathReward, math_reward


__all__ = ["ExactMatchReward", "MathReward", "Verdict", "VerifierReward", "exact_match_reward", "math_reward"]
