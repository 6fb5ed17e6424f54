"""
The seam to the engine that samples: rows with an adapter each go in, completions come out.

An engine takes the model, the names of its adapters and a [`Sampling`], never a trainer. Another engine is one more
file here: a class with what [`Engine`] names, and a line in `build_engine`. One that loads adapters beside its base,
such as SGLang, is a [`MultiLoRAEngine`] with `_load`, `_unload` and `_sample`.
"""

from typing import Any

from accelerate import Accelerator
from peft import PeftConfig
from transformers import PreTrainedModel

from ..adapters import check_exportable, widened
from ..config import CoPDConfig
from ..experts import Expert
from ..forwards import Forwards
from ..topology import Topology
from .base import Completions, Engine, EngineUnavailable
from .grouped import GenerateRows, TransformersEngine
from .multi_lora import MultiLoRAEngine, StaleAdapterError
from .sampling import Sampling


__all__ = [
    "Completions",
    "Engine",
    "EngineUnavailable",
    "MultiLoRAEngine",
    "Sampling",
    "StaleAdapterError",
    "TransformersEngine",
    "build_engine",
    "check_engine",
]


def check_engine(
    args: CoPDConfig,
    model: str | PreTrainedModel,
    peft_config: PeftConfig,
    topology: Topology,
    experts: dict[str, Expert],
    quantization_config: Any = None,
) -> None:
    """Refuse what the engine that `args` name cannot serve, before the model is loaded. See `check_vllm`."""
    if not args.use_vllm:
        return
    from .vllm_checks import check_vllm

    configs = {"`peft_config`": peft_config}
    for name, expert in experts.items():
        if expert.adapter is not None:
            configs[f"The adapter of expert {name!r}"] = PeftConfig.from_pretrained(str(expert.adapter))
    if args.student_init == "merge":
        configs["The student that starts from the experts' mean"] = widened(peft_config, len(experts))
    quantization_config = quantization_config or (args.model_init_kwargs or {}).get("quantization_config")
    check_vllm(args, model, configs, topology, experts, quantization_config)


def build_engine(
    args: CoPDConfig,
    forwards: Forwards,
    generate_rows: GenerateRows,
    sampling: Sampling,
    topology: Topology,
    experts: dict[str, Expert],
    accelerator: Accelerator,
) -> Engine:
    """
    The engine that `args.use_vllm` and `args.vllm_mode` name.

    Args:
        args ([`CoPDConfig`]): Names the engine, and where it is.
        forwards ([`Forwards`]): Holds the model.
        generate_rows (`Callable`): TRL's `generate` for the active adapter.
        sampling ([`Sampling`]): How completions are sampled.
        topology ([`Topology`]), experts (`dict[str, Expert]`): Which adapters there are.
        accelerator ([`~accelerate.Accelerator`]): The processes.
    """
    if not args.use_vllm:
        packed = args.use_transformers_continuous_batching
        # one branch alone is TRL's own `generate`, to the bit, unless it is told to share
        share = len(topology.branches) > 1 or args.share_prompts is True
        return TransformersEngine(forwards, generate_rows, sampling.chunk_rows, stacks=not packed, share_prefill=share)
    for branch in topology.branches:  # PEFT may have resolved "all-linear" to more than linear layers
        check_exportable(forwards.model, branch)
    if args.vllm_mode == "server":
        from .vllm_server import VLLMServer, VLLMServerEngine

        server = VLLMServer.of(args)
        return VLLMServerEngine(forwards.model, topology.branches, sampling, accelerator, server, args.output_dir)
    from .vllm import VLLMEngine, llm_options  # vLLM takes seconds to import, and is there only where it is used

    options = llm_options(args, forwards.model, topology, experts, accelerator)
    return VLLMEngine(forwards.model, topology.branches, sampling, accelerator, options)
