"""
What a run will need before it is started: `trl-copd plan --model ... --experts 4 --gpus 8`.

`inputs` says what is trained on what, `sizes` counts a model's parameters, `space` and `durations` hold the formulas
(docs/scaling.md writes them out and compares them with measurements), `__main__` prints the table.
"""

from .durations import calibrated, seconds
from .inputs import DEVICES, Device, ModelSize, Run
from .sizes import count_model
from .space import fits, memory, peak, traffic


__all__ = [
    "DEVICES",
    "Device",
    "ModelSize",
    "Run",
    "calibrated",
    "count_model",
    "fits",
    "memory",
    "peak",
    "seconds",
    "traffic",
]
