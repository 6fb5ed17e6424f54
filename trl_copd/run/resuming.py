"""What a run says of itself, and from which checkpoint it may go on."""

import json
from pathlib import Path
from typing import Any

import torch

from ..config import CoPDConfig
from ..schedule import Schedule
from ..topology import Topology
from . import checkpoints
from .fingerprint import differences
from .folder import RUN_FILE, state_file


SPLITTING = ("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation")


def describe_run(
    args: CoPDConfig,
    topology: Topology,
    schedule: Schedule,
    rounds: int,
    fingerprint: dict[str, Any],
    spent: bool,
    held_out: dict[str, int],
) -> dict[str, Any]:
    """
    What `copd.json` holds: the plan for figures, the fingerprint for resuming.

    Args:
        args ([`CoPDConfig`]), topology ([`Topology`]), schedule ([`Schedule`]): The run.
        rounds (`int`): Its length.
        fingerprint (`dict`): What must be alike in a run that goes on from it.
        spent (`bool`): Whether the next round samples anew.
        held_out (`dict[str, int]`): Completions per domain that the capability matrix grades.
    """
    return {
        "experts": list(topology.experts),
        "branches": list(topology.branches),
        "topology": topology.name,
        "edges": [
            {"teacher": e.teacher, "learner": e.learner, "domain": e.domain, "label": e.label}
            for e in (topology.edges if args.distils else ())
        ],
        "rlvr_steps": args.rlvr_steps,
        "opd_steps": args.opd_steps,
        "final_opd_steps": args.final_opd_steps,
        "held_out": held_out,
        "phases": [{"phase": p, "start": s, "end": e} for p, s, e in schedule.phases(rounds)],
        "splitting": _splitting(args),
        "generation_spent": spent,
        "fingerprint": fingerprint,
    }


def checkpoint_to_resume(asked: str | bool | None, args: CoPDConfig, fingerprint: dict[str, Any]) -> str | None:
    """
    The checkpoint that a run goes on from.

    Args:
        asked (`str` or `bool`, *optional*): A folder, or `True` for the newest that is complete.
        args ([`CoPDConfig`]): Of the run that is to go on.
        fingerprint (`dict`): Its fingerprint.

    Raises:
        ValueError: There is none, it is torn, or it is another run's; the message names what is wrong or differs.
    """
    if not asked:
        return None
    folder = Path(_last_complete_checkpoint(args.output_dir) if asked is True else asked)
    if not (folder / RUN_FILE).is_file():
        raise ValueError(
            f"{str(folder)!r} is not a checkpoint of a CoPD run: it has no {RUN_FILE}. Pass a `checkpoint-N` folder "
            "of CoPDTrainer."
        )
    reason = checkpoints.defect(folder)
    if reason is not None and checkpoints.list_checkpoints(folder):
        reason = "it is the folder of a run, not one of its checkpoints"
    if reason is not None:
        raise ValueError(
            f"{str(folder)!r} cannot be resumed: {reason}. Pass a `checkpoint-N` folder, or True for the newest "
            "complete one."
        )
    _check_same_run(folder, args, fingerprint)
    return str(folder)


def load_state(checkpoint: str, rank: int, device: torch.device) -> dict[str, Any]:
    """What a process wrote into a checkpoint, besides weights and transformers' own files."""
    # several processes on a CPU are on "cpu:0", which torch cannot load to
    place = "cpu" if device.type == "cpu" else device
    return torch.load(state_file(checkpoint, rank), weights_only=True, map_location=place)


def _check_same_run(folder: Path, args: CoPDConfig, fingerprint: dict[str, Any]) -> None:
    saved = json.loads((folder / RUN_FILE).read_text())
    differing = differences(saved["fingerprint"], fingerprint)
    if differing:
        raise ValueError(
            f"{str(folder)!r} is a checkpoint of another run ({'; '.join(differing)}). Resume it with its own "
            "settings, or start afresh in another output_dir."
        )
    if not saved["generation_spent"] and saved["splitting"] != _splitting(args):
        there = ", ".join(f"{name}={value}" for name, value in saved["splitting"].items())
        raise ValueError(
            f"{str(folder)!r} was saved inside a generation, whose rows were already split with {there}. Resume it "
            "with these values, or resume a checkpoint after which new rollouts are sampled."
        )


def _splitting(args: CoPDConfig) -> dict[str, int]:
    """How a branch's rows are split into micro-batches; it may change where a generation is spent."""
    return {name: getattr(args, name) for name in SPLITTING}


def _last_complete_checkpoint(output_dir: str | None) -> str:
    folder = checkpoints.last_checkpoint(output_dir or "")
    if folder is None:
        torn = [path.name for path in checkpoints.list_checkpoints(output_dir or "")]
        found = f"; {', '.join(torn)} cannot be resumed from, and the log says why" if torn else ""
        raise ValueError(
            f"No checkpoint found in {output_dir!r}{found}. Train without `resume_from_checkpoint` first."
        )
    return folder
