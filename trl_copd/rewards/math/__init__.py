"""Mathematical answers: `reward.py` is where a completion comes in; docs/rewards/math.md has the tables."""

from .reward import MathReward, math_reward, verify_math


__all__ = ["MathReward", "math_reward", "verify_math"]
