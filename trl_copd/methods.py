"""
Methods by name: which settings make a method what it is, and with which it did best. Pure data, no torch.

A recipe names one in `method`, the command line in `--method`, Python in [`CoPDConfig.preset`].
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .spelling import did_you_mean


# no distillation: experts that know nothing of each other
_APART = {
    "topology": "mutual",
    "hub": None,
    "student_init": "fresh",
    "schedule": "fixed",
    "opd_steps": 0,
    "opd_beta": 1.0,
    "final_opd_steps": 0,
}
_MERGED = {"hub": None, "student_init": "fresh", "final_opd_steps": 0}
BATCH = 32  # `per_device_train_batch_size` of CoPDConfig
FINAL_ROUNDS = 1 / 2  # share of the rounds that `copd` keeps for its last phase
FINAL_ROLLOUTS = 180 / 640  # or of the rollouts, where they are what the run is measured in


@dataclass(frozen=True)
class Method:
    """
    Args:
        about (`str`): Description in one line.
        fields (`dict`): Settings that define the method.
        defaults (`dict`): Settings that did best in `docs/experiments.md`; the caller may override them.
        pooled (`bool`): Whether one policy trains on the data of all domains.
    """

    about: str
    fields: Mapping[str, Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    pooled: bool = False


METHODS: dict[str, Method] = {
    "copd": Method(
        "experts and a student that teach each other while they learn; at the end only the student is taught",
        {"topology": "student", "hub": None},
        {
            "student_init": "merge",
            "opd_loss": "forward_kl",
            "opd_fraction": 1 / 16,
            "rlvr_steps": 30,
            "opd_steps": 10,
        },
    ),
    "copd-mutual": Method(
        "experts that teach each other; the student is their mean (the paper's Algorithm 1)",
        {"topology": "mutual", **_MERGED},
        {"opd_loss": "forward_kl", "opd_fraction": 0.25, "rlvr_steps": 13, "opd_steps": 27},
    ),
    "copd-hub": Method(
        "a hub and spokes that teach each other; the student is the mean of all",
        {"topology": "hub", "student_init": "fresh", "final_opd_steps": 0},
        {"opd_loss": "forward_kl", "opd_fraction": 0.5, "rlvr_steps": 30, "opd_steps": 10},
    ),
    "mopd": Method(
        "separate experts, then a student that starts from their mean and learns from them",
        {"topology": "mopd", "hub": None, "schedule": "fixed", "final_opd_steps": 0},
        {"student_init": "merge", "opd_loss": "forward_kl", "rlvr_steps": 3, "opd_steps": 4},
    ),
    "experts": Method("separate experts, each evaluated on its own domain", _APART),
    "average": Method("separate experts, evaluated by the mean of their weights", _APART),
    "mixed": Method("one policy on the data of all domains", _APART, pooled=True),
}


def settings(method: str, given: Mapping[str, Any], strict: bool = False) -> dict[str, Any]:
    """
    The settings of a run by this method.

    Args:
        method (`str`): One of `METHODS`.
        given (`Mapping[str, Any]`): Settings of the recipe or caller; they replace the method's defaults.
        strict (`bool`): Whether a given setting of another method is an error. If not, it is replaced.

    Returns:
        `dict`: `given` and what the method adds.

    Raises:
        ValueError: There is no such method, or `strict` and a setting that is another method's.
    """
    if method not in METHODS:
        near = did_you_mean(str(method), METHODS)
        raise ValueError(f"method={method!r} is unknown.{near} Choose one of {', '.join(METHODS)}.")
    chosen = METHODS[method]
    if strict:
        for name, value in chosen.fields.items():
            if name in given and given[name] != value:
                raise ValueError(
                    f"method={method!r} means {name}={value!r}, but {name}={given[name]!r} is given. Leave one out."
                )
    found = {**chosen.defaults, **given, **chosen.fields}
    if found.get("opd_steps") == 0 and not found.get("rlvr_steps", 1):
        found["rlvr_steps"] = 1  # of a recipe whose experts come finished
    if method == "copd" and "final_opd_steps" not in given:
        found["final_opd_steps"] = _last_phase(found)
    return found


def _last_phase(found: Mapping[str, Any]) -> int:
    """Rounds of the last phase of `copd`; 0 where the length of the run is not known beforehand."""
    if found.get("max_rollouts"):
        batch = found.get("per_device_train_batch_size", BATCH) * int(os.environ.get("WORLD_SIZE", 1))
        accumulation = found.get("gradient_accumulation_steps", 1)
        rows = found.get("generation_batch_size") or batch * (found.get("steps_per_generation") or accumulation)
        micro_steps = max(1, rows // batch) * found.get("num_iterations", 1)  # that a generation serves
        last = min(round(FINAL_ROLLOUTS * found["max_rollouts"] / rows), found["max_rollouts"] // rows - 1)
        return max(0, last // max(1, accumulation // micro_steps) * max(1, micro_steps // accumulation))
    return int(FINAL_ROUNDS * max(0, found.get("max_steps", 0)))
