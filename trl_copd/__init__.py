"""Co-evolving policy distillation (CoPD) on TRL: experts that teach each other while they train."""

import importlib
import logging
import warnings


__version__ = "0.2.0"
__all__ = ["CoPDConfig", "CoPDTrainer", "EnvironmentFailure", "Expert", "last_checkpoint"]
_HOMES = {
    "CoPDConfig": ".config",
    "CoPDTrainer": ".trainers",
    "EnvironmentFailure": ".worlds",
    "Expert": ".experts",
    "last_checkpoint": ".run.checkpoints",
}


# Said in every command, and nothing that its user can change: TRL calls transformers' methods by their old names;
# bitsandbytes, which PEFT imports, finds no kernel for 4-bit bases on CPUs
warnings.filterwarnings("ignore", "`(is_)?gradient_checkpointing", FutureWarning)
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def __getattr__(name: str):
    # lazily, so that `trl_copd.rewards` and `trl_copd.report` load without torch
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
