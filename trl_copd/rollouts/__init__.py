"""
The seam to the engine that samples: rows with an adapter each go in, completions come out.

Another engine is one more file here: a class with what [`Engine`] names, and a line in `build_engine`. One that loads
adapters beside its base, such as SGLang, is a [`MultiLoRAEngine`] with `_load`, `_unload` and `_sample`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from peft import PeftConfig
from transformers import PreTrainedModel

from ..adapters import widened
from ..experts import Expert
from ..topology import Topology
from .multi_lora import EngineUnavailable, MultiLoRAEngine, StaleAdapterError
from .transformers import TransformersEngine, run_lengths


if TYPE_CHECKING:
    from ..trainers import CoPDConfig, CoPDTrainer

__all__ = [
    "Engine",
    "EngineUnavailable",
    "MultiLoRAEngine",
    "StaleAdapterError",
    "TransformersEngine",
    "build_engine",
    "check_engine",
    "run_lengths",
]

Completions = tuple[list[list[int]], list[list[float | None]] | None]


class Engine(Protocol):
    """What the trainer asks of an engine."""

    mixes_ranks: bool  # whether adapters of different rank can share a batch

    def sync(self, adapters: Sequence[str]) -> None:
        """
        Make the engine sample from the adapters' weights as they are now. Every process calls it, with the same list.

        Args:
            adapters (`Sequence[str]`): Names of adapters, `"base"` among them if it will be sampled.
        """

    def generate(self, prompt_ids: list[list[int]], adapters: Sequence[str], greedy: bool = False) -> Completions:
        """
        Sample one completion per row. Every process calls it, with rows of its own or none.

        Args:
            prompt_ids (`list[list[int]]`): Token ids of N prompts.
            adapters (`Sequence[str]`): Adapter of each row, or `"base"`; rows of one adapter are consecutive.
            greedy (`bool`): Take the most likely token instead of sampling.

        Returns:
            Token ids of N completions, up to and with the first end-of-sequence token, and the log-probabilities that
            the sampled tokens had, in nats, or `None` if the engine computes what the trainer does: the two that TRL
            expects from `_generate_single_turn`.
        """


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


def build_engine(trainer: CoPDTrainer) -> Engine:
    """The engine that `args.use_vllm` and `args.vllm_mode` name."""
    args = trainer.args
    if not args.use_vllm:
        return TransformersEngine(trainer, args.rollout_chunk_rows)
    if args.vllm_mode == "server":
        from .vllm_server import VLLMServerEngine

        return VLLMServerEngine(trainer)
    from .vllm import VLLMEngine  # vLLM takes seconds to import, and is there only where it is used

    return VLLMEngine(trainer)
