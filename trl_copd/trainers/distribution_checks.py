"""How the processes of a run may be launched, and its base sharded."""

import os

from accelerate import FullyShardedDataParallelPlugin
from accelerate.logging import get_logger
from accelerate.utils import DistributedType
from torch.distributed.fsdp import CPUOffloadPolicy
from trl import GRPOConfig


logger = get_logger(__name__)

WITHOUT_FSDP = (DistributedType.NO, DistributedType.MULTI_CPU)  # where accelerate ignores that FSDP was asked for


def check_distribution(args: GRPOConfig) -> None:
    """
    Refuse DeepSpeed and what FSDP2 is not, however they were asked for: by `args`, or by the launcher and its
    configuration file, in the environment.

    Raises:
        ValueError: With what was asked for, why it cannot work, and what to do.
    """
    if args.deepspeed or args.deepspeed_plugin or _is_set("ACCELERATE_USE_DEEPSPEED"):
        raise ValueError(
            "DeepSpeed is not supported. It steps after each backward, but each branch has its own; it clips all "
            "branches by one norm; and ZeRO sets the gradients of idle branches to zero, so Adam moves them. Use "
            "FSDP2, which also shards the base: accelerate launch --config_file recipes/accelerate/fsdp2.yaml."
        )
    if args.fsdp or _is_set("ACCELERATE_USE_FSDP"):
        _check_fsdp(args)
    elif args.world_size == 1 and _launched_for_several():
        logger.warning(
            "The launcher should start several processes, but one runs: on a CPU `accelerate launch` starts only one. "
            "Use ACCELERATE_USE_CPU=true torchrun --nproc_per_node N instead."
        )


def _check_fsdp(args: GRPOConfig) -> None:
    asked = args.fsdp_plugin_args or {}
    version = int(asked.get("fsdp_version") or os.environ.get("FSDP_VERSION", 1))  # accelerate's default is 1
    if version != 2:
        raise ValueError(
            f"FSDP version {version} flattens a block's parameters over all branches into one, so idle branches "
            "cannot be told apart. Set fsdp_version: 2, as in recipes/accelerate/fsdp2.yaml."
        )
    if args.distributed_state is None or args.distributed_state.distributed_type in WITHOUT_FSDP:
        raise ValueError(
            "FSDP needs several GPUs: accelerate ignores it elsewhere, and every process would train alone "
            f"({args.world_size} process(es), device {args.device}). Leave FSDP out, or start it on GPUs."
        )
    plugin = FullyShardedDataParallelPlugin(**asked)  # as the Trainer will make it
    if plugin.activation_checkpointing:
        raise ValueError(
            "fsdp_activation_checkpointing=True renames modules, but saving finds adapters by their names. Set it to "
            "False, and gradient_checkpointing=True in CoPDConfig."
        )
    if isinstance(plugin.cpu_offload, CPUOffloadPolicy):
        raise ValueError(
            "fsdp_offload_params=True keeps shards on the CPU, but saving and merging gather adapters on the GPU. Set "
            "it to False."
        )


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("true", "1")


def _launched_for_several() -> bool:
    # for a single process accelerate's launcher sets no address; one that starts several sets their number as well
    return int(os.environ.get("WORLD_SIZE", 1)) > 1 or (
        "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_PORT" in os.environ and "WORLD_SIZE" not in os.environ
    )
