"""
FSDP2 over gloo: accelerate's own code for FSDP2, and torch's, on CPU processes.

Accelerate turns FSDP on for accelerators only, in one branch of `AcceleratorState`; all that comes after it runs on a
CPU as well. Here that one decision is made for it, and CoPDTrainer's check that it was made is off. Everything else is
what a run on GPUs executes: the environment that `accelerate launch` makes of `recipes/accelerate/fsdp2.yaml`, the
plugin, `_prepare_fsdp2`, `fully_shard`, the Trainer.
"""

import os
from pathlib import Path

from accelerate import Accelerator
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_multi_gpu_env

from trl_copd.trainers import distribution_checks


RECIPES = Path(__file__).parent.parent.parent / "recipes" / "accelerate"


def environment(recipe: str, *arguments: str) -> dict[str, str]:
    """What `accelerate launch --config_file recipe` adds to the environment of the processes that it starts."""
    command = ["--config_file", str(RECIPES / recipe), *arguments, "script.py"]
    parsed, _, _ = _validate_launch_command(launch_command_parser().parse_args(command))
    before = dict(os.environ)
    return {key: value for key, value in prepare_multi_gpu_env(parsed).items() if before.get(key) != value}


def enable() -> None:
    """Let this process run FSDP2 on its CPU, in float32."""
    wanted = ("FSDP_", "ACCELERATE_USE_FSDP")
    os.environ.update({key: value for key, value in environment("fsdp2.yaml").items() if key.startswith(wanted)})
    original = AcceleratorState.__init__

    def init(self, *args, fsdp_plugin=None, **kwargs):
        original(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            self.fsdp_plugin = fsdp_plugin

    AcceleratorState.__init__ = init
    distribution_checks.WITHOUT_FSDP = ()
    assert Accelerator(cpu=True).is_fsdp2
