"""Co-evolving policy distillation (CoPD) on TRL: experts that teach each other while they learn from verifiable rewards."""

from .experts import Expert
from .trainers import CoPDConfig, CoPDTrainer


__version__ = "0.1.0"
__all__ = ["CoPDConfig", "CoPDTrainer", "Expert"]
