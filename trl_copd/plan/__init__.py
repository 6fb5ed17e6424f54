"""
What a run will need before it is started: `python -m trl_copd.plan --model ... --experts 4 --gpus 8`.

`sizes` counts a model's parameters, `costs` holds the formulas (docs/scaling.md writes them out and compares them with
measurements), `__main__` prints the table.
"""

from .costs import DEVICES, Device, ModelSize, Run, calibrated, fits, memory, peak, seconds, traffic
from .sizes import count_model


__all__ = [
    "DEVICES", "Device", "ModelSize", "Run", "calibrated", "count_model", "fits", "memory", "peak", "seconds", "traffic"
]  # fmt: skip
