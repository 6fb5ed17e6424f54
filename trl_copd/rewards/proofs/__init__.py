"""Proofs, graded by a proof assistant: what the backends share is in `reward.py` and `session.py`."""

from .coq import CoqReward, coq_reward
from .lean import LeanReward, lean_reward
from .provers import ProverError


__all__ = ["CoqReward", "LeanReward", "ProverError", "coq_reward", "lean_reward"]
