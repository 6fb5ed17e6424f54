"""What vLLM cannot serve or do, refused before a model is loaded."""

from typing import Any

import torch
from peft import LoraConfig, PeftConfig
from transformers import PreTrainedModel
from trl.import_utils import is_vllm_available

from ..config import CoPDConfig
from ..experts import Expert
from ..topology import Topology
from .vllm_options import RANKS, config_rank, lora_rank, merged_experts, model_id, slots
from .vllm_server import VLLMServer


UNSERVED = {  # fields of LoraConfig that make more of an adapter than two factors per linear layer
    "use_dora": "DoRA",
    "use_qalora": "QALoRA",
    "alora_invocation_tokens": "activated LoRA",
    "lora_bias": "LoRA biases",
    "modules_to_save": "whole modules in `modules_to_save`",
    "trainable_token_indices": "trainable tokens",
    "target_parameters": "`target_parameters`",
    "layer_replication": "replicated layers",
}
SERVER_COMMAND = (
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve {model} --enable-lora --max-loras {slots} "
    "--max-lora-rank {rank} --logprobs-mode processed_logprobs"
)


def check_vllm(
    args: CoPDConfig,
    model: str | PreTrainedModel,
    peft_configs: dict[str, PeftConfig],
    topology: Topology,
    experts: dict[str, Expert],
    quantization_config: Any = None,
) -> None:
    """
    Refuse a run that vLLM cannot sample for.

    Args:
        args ([`CoPDConfig`]): With `use_vllm=True`.
        model (`str` or [`~transformers.PreTrainedModel`]): The base.
        peft_configs (`dict[str, PeftConfig]`): Configurations of adapters by the name to show in an error.
        topology ([`Topology`]), experts (`dict[str, Expert]`): Say whether a merge will be sampled from.
        quantization_config (*optional*): How the base is quantised while it is loaded.

    Raises:
        ImportError: vLLM is missing where it has to run in this process.
        ValueError: With what came, why it cannot work, and what to do.
    """
    if not isinstance(model, (str, PreTrainedModel)) or not model_id(model):
        raise ValueError(
            "use_vllm=True, but the model exists only in memory, and vLLM loads the base from its id or folder. Save "
            "it with `save_pretrained` and pass the folder."
        )
    seeing = [name for name, expert in experts.items() if expert.sees]
    if seeing:
        raise ValueError(
            f"use_vllm=True, but expert {seeing[0]!r} has images: vLLM gets prompts as token ids, without the "
            "processor's image inputs. Set use_vllm=False."
        )
    for name, config in peft_configs.items():
        _check_adapter(name, config)
    rank = lora_rank(peft_configs, merged_experts(topology, args, experts))
    kind = str(args.distributed_state.distributed_type) if args.distributed_state is not None else ""
    if args.deepspeed or args.fsdp or "DEEPSPEED" in kind or "FSDP" in kind:
        raise ValueError(
            "use_vllm=True with DeepSpeed or FSDP: each process holds only a part of an adapter there, but vLLM needs "
            "whole adapters. Launch with plain data parallelism (DDP), or set use_vllm=False."
        )
    if args.loss_type == "vespo" and args.vllm_importance_sampling_correction:
        if args.vllm_importance_sampling_mode not in ("token_truncate", "token_mask"):
            raise ValueError(
                f"loss_type='vespo' with vllm_importance_sampling_mode={args.vllm_importance_sampling_mode!r}: VESPO "
                "weighs tokens. Use 'token_truncate' or 'token_mask'."
            )
    if args.vllm_mode == "colocate":
        _check_colocated(args, quantization_config)
    elif args.vllm_mode == "server":
        command = SERVER_COMMAND.format(model=model_id(model), slots=slots(topology), rank=rank)
        VLLMServer.of(args).check(model_id(model), command, args.vllm_importance_sampling_correction)
    else:
        raise ValueError(f"vllm_mode={args.vllm_mode!r} is unknown. Choose 'colocate' or 'server'.")


def _check_adapter(name: str, config: PeftConfig) -> None:
    if not isinstance(config, LoraConfig):
        raise ValueError(f"{name} is {type(config).__name__}, but vLLM serves only LoRA. Use `LoraConfig`.")
    for field, what in UNSERVED.items():
        if getattr(config, field, None):
            raise ValueError(
                f"{name} has {field}={getattr(config, field)!r}, but vLLM does not serve {what}. Leave it out, or set "
                "use_vllm=False."
            )
    targets = config.target_modules
    embeddings = {"embed_tokens", "wte", "word_embeddings"} & set([] if isinstance(targets, str) else targets or [])
    if embeddings:
        raise ValueError(
            f"{name} targets the embedding {sorted(embeddings)[0]!r}. vLLM serves adapters on embeddings for some "
            "models only, and this is not tested. Leave it out of `target_modules`, or set use_vllm=False."
        )
    largest = config_rank(config)
    if largest > RANKS[-1]:
        raise ValueError(f"{name} has rank {largest}, but vLLM serves ranks up to {RANKS[-1]}. Lower r.")


def check_installed(args: CoPDConfig) -> None:
    """Refuse `use_vllm=True` where vLLM would have to run in this process and is missing."""
    if args.use_vllm and args.vllm_mode == "colocate" and not is_vllm_available():
        raise ImportError(
            "use_vllm=True with vllm_mode='colocate', but vLLM is not installed here. Install a version that TRL "
            "supports (docs/engines.md), start a server elsewhere and set vllm_mode='server', or set use_vllm=False."
        )


def _check_colocated(args: CoPDConfig, quantization_config: Any) -> None:
    check_installed(args)
    if quantization_config is not None and not getattr(quantization_config, "load_in_4bit", False):
        raise ValueError(
            f"use_vllm=True with {type(quantization_config).__name__}: vLLM can quantise a base while loading only "
            "with bitsandbytes in 4 bits, and would sample from another base. Pass a base that is saved quantised, "
            "load_in_4bit=True, or use_vllm=False."
        )
    if args.vllm_tensor_parallel_size > 1:
        raise ValueError(
            f"vllm_tensor_parallel_size={args.vllm_tensor_parallel_size} with vllm_mode='colocate' is not built: it "
            "would have to split rows of different branches over the processes of a group. Set it to 1, or use "
            "vllm_mode='server' and start the server with --tensor-parallel-size."
        )
    if args.vllm_enable_sleep_mode and (args.use_cpu or not torch.cuda.is_available()):
        raise ValueError(
            "vllm_enable_sleep_mode=True without a GPU: vLLM can put only GPU memory to sleep. Set it to False."
        )
