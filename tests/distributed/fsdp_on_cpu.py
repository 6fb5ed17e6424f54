"""
FSDP2 over gloo: accelerate's own code for FSDP2, and torch's, on CPU processes.

Accelerate turns FSDP on for accelerators only, in one branch of `AcceleratorState`; all that comes after it runs on a
CPU as well. Here that one decision is made for it. Everything else is what a run on GPUs executes: the plugin from the
environment that `accelerate launch` sets, `_prepare_fsdp2`, `fully_shard`, the Trainer's FSDP branches.
"""

import os

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType


ENVIRONMENT = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
}


def enable() -> None:
    """Let this process run FSDP2 on its CPU."""
    os.environ.update(ENVIRONMENT)
    original = AcceleratorState.__init__

    def init(self, *args, fsdp_plugin=None, **kwargs):
        original(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            self.fsdp_plugin = fsdp_plugin

    AcceleratorState.__init__ = init
    from accelerate import Accelerator

    assert Accelerator(cpu=True).is_fsdp2
