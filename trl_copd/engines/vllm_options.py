"""What a run asks of vLLM, in either mode: ranks, adapters at once, sampling parameters."""

from typing import Any

from peft import LoraConfig, PeftConfig
from transformers import PreTrainedModel

from ..config import CoPDConfig
from ..experts import Expert
from ..topology import STUDENT, Topology
from .sampling import Sampling


RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # vLLM's values of max_lora_rank


def model_id(model: str | PreTrainedModel) -> str:
    return model if isinstance(model, str) else model.name_or_path


def config_rank(config: LoraConfig) -> int:
    """The largest rank that any module of the adapter has."""
    return max(config.r, *(config.rank_pattern or {"": config.r}).values())


def merged_experts(topology: Topology, args: CoPDConfig, experts: dict[str, Expert]) -> int:
    """How many adapters go into the exact merge that an evaluation samples from; 1 without such a merge."""
    merges = not topology.has_student_branch and args.merge_method == "average"
    return len(experts) if merges and any(expert.eval_datasets for expert in experts.values()) else 1


def lora_rank(peft_configs: dict[str, PeftConfig], merged: int) -> int:
    """
    vLLM's `max_lora_rank` for a run: the first of its values that holds the largest rank to be sampled from.

    Args:
        peft_configs (`dict[str, PeftConfig]`): Every adapter's configuration.
        merged (`int`): See `merged_experts`; the exact merge has the rank of all of them together.

    Raises:
        ValueError: The merge has a rank that vLLM does not serve.
    """
    largest = merged * max(config_rank(config) for config in peft_configs.values())
    if largest > RANKS[-1]:
        raise ValueError(
            f"The evaluation samples from the exact merge of {merged} experts, which has rank {largest}, but vLLM "
            f"serves ranks up to {RANKS[-1]}. Lower r, set merge_method='linear' (rank r), use topology='student', or "
            "set use_vllm=False."
        )
    return next(rank for rank in RANKS if rank >= largest)


def slots(topology: Topology) -> int:
    """vLLM's `max_loras`: the branches and, in an evaluation, the base and a merged student."""
    return len(topology.branches) + 1 + (STUDENT not in topology.branches)


def sampling_options(sampling: Sampling, greedy: bool) -> dict[str, Any]:
    """
    vLLM's sampling parameters for one completion, with the run's own ends of sequence instead of those that vLLM reads
    from the base.
    """
    options: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "max_tokens": sampling.max_tokens,
        "logprobs": 0,  # the sampled token's
        "stop_token_ids": list(sampling.stop_token_ids),
        "ignore_eos": True,
    } | sampling.extra
    if sampling.regex is not None:
        options["structured_outputs"] = {"regex": sampling.regex}
    if greedy:
        options |= {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0}
    return options
