"""Tasks of reasoning-gym, graded 0 or 1."""

from .reward import GymReward, gym_rows, stable_int


__all__ = ["GymReward", "gym_rows", "stable_int"]
