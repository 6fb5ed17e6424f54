from ..config import CoPDConfig
from .copd_trainer import CoPDTrainer


__all__ = ["CoPDConfig", "CoPDTrainer"]
