"""vLLM in the training process (`vllm_mode="colocate"`): one engine per process, the base once, an adapter per row."""

import itertools
import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from peft import PeftModel
from trl.generation.vllm_generation import empty_cache, extract_logprobs
from trl.trainer.utils import ensure_master_addr_port
from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest
from vllm.sampling_params import StructuredOutputsParams

from ..config import CoPDConfig
from ..experts import Expert
from ..randomness import forked
from ..topology import Topology
from .multi_lora import HeldAdapter, MultiLoRAEngine
from .sampling import Sampling
from .vllm_options import lora_rank, merged_experts, sampling_options, slots


class VLLMEngine(MultiLoRAEngine):
    """
    Samples the rows of all adapters in one `LLM.generate`, each with its adapter's `LoRARequest`.

    The engine lives in the training process, as TRL's does, and draws from its random stream: a resumed run samples
    what the uninterrupted one would have.

    Args:
        model, branches, sampling: See [`MultiLoRAEngine`].
        accelerator ([`~accelerate.Accelerator`]): The processes; each has an engine.
        options (`dict`): Arguments of `vllm.LLM`, see `llm_options`.
    """

    _numbers = itertools.count(1)  # vLLM keeps adapters by number: of this process, one number is never used twice

    def __init__(
        self,
        model: PeftModel,
        branches: Sequence[str],
        sampling: Sampling,
        accelerator: Accelerator,
        options: dict[str, Any],
    ):
        self._folder = tempfile.TemporaryDirectory(prefix="rollout_adapters-")
        super().__init__(model, branches, sampling, Path(self._folder.name))
        self._requests: dict[str, LoRARequest] = {}
        self._sleeps = options["enable_sleep_mode"]
        self._sampling_params(sampling_options(sampling, greedy=False))  # unknown `generation_kwargs` fail here
        with _launched(accelerator), _random_state_kept():
            self.llm = LLM(**options)
        accelerator.wait_for_everyone()
        self.sync(self.branches)  # an adapter that vLLM cannot serve fails before training

    def _load(self, adapter: HeldAdapter) -> None:
        request = LoRARequest(adapter.name, next(self._numbers), str(adapter.folder))
        self.llm.llm_engine.add_lora(request)
        self._requests[adapter.name] = request

    def _unload(self, adapter: HeldAdapter) -> None:
        self.llm.llm_engine.remove_lora(self._requests.pop(adapter.name).lora_int_id)

    def sync(self, adapters):
        with self._awake():
            super().sync(adapters)

    def _sample(self, prompt_ids, adapters, greedy):
        params = self._sampling_params(sampling_options(self.sampling, greedy))
        requests = [self._requests[adapter.name] for adapter in adapters]
        prompts = [{"prompt_token_ids": list(ids)} for ids in prompt_ids]
        with self._awake():
            # a cold cache in every call, as it is after a resume: blocks of an earlier call would change last digits
            self.llm.reset_prefix_cache()
            outputs = self.llm.generate(prompts, params, lora_request=requests, use_tqdm=False)
        logprobs, _ = extract_logprobs(outputs)  # (N, T, 1)
        return [list(row.outputs[0].token_ids) for row in outputs], [[token[0] for token in row] for row in logprobs]

    @contextmanager
    def _awake(self) -> Iterator[None]:
        """Wake the engine, and let it sleep again whatever happens: training needs the memory."""
        if not self._sleeps:
            yield
            return
        if self.llm.llm_engine.is_sleeping():
            empty_cache()  # as TRL: vLLM needs the memory that the training has cached
            self.llm.wake_up()
        try:
            yield
        finally:
            self.llm.sleep(level=1)  # level 2 would drop the base, which nobody sends again

    def _sampling_params(self, options: dict[str, Any]) -> SamplingParams:
        structured = options.pop("structured_outputs", None)
        if isinstance(structured, dict):
            structured = StructuredOutputsParams(**structured)
        return SamplingParams(**options, structured_outputs=structured, detokenize=False)


def llm_options(
    args: CoPDConfig, peft_model: PeftModel, topology: Topology, experts: dict[str, Expert], accelerator: Accelerator
) -> dict[str, Any]:
    """Arguments of `vllm.LLM`: those that TRL gives it, and LoRA."""
    on_cpu = accelerator.device.type == "cpu"
    model = peft_model.get_base_model()
    merged = merged_experts(topology, args, experts)
    rows = args.per_device_train_batch_size * args.steps_per_generation * len(topology.branches)
    return {
        "model": model.name_or_path,
        "revision": (args.model_init_kwargs or {}).get("revision"),
        "dtype": rollout_dtype(args, model),
        "enable_lora": True,
        "max_loras": slots(topology),
        "max_lora_rank": lora_rank(peft_model.peft_config, merged),
        "gpu_memory_utilization": args.vllm_gpu_memory_utilization,
        "max_model_len": args.vllm_max_model_length,
        "max_num_seqs": min(rows, args.rollout_chunk_rows or rows),
        "enable_sleep_mode": args.vllm_enable_sleep_mode,
        "model_impl": args.vllm_model_impl,
        "distributed_executor_backend": "external_launcher",
        "seed": accelerator.process_index,
        "max_num_batched_tokens": 4096,  # as in TRL
        "logprobs_mode": "processed_logprobs",  # after temperature, as the trainer's own
        "quantization": "bitsandbytes" if getattr(model, "is_loaded_in_4bit", False) else None,
        "trust_remote_code": args.trust_remote_code,
        "enforce_eager": on_cpu,  # compiling for a CPU takes minutes
    }


def rollout_dtype(args, model) -> str:
    """What the training's forward computes in, so that both assign the same probabilities."""
    if args.bf16 or args.fp16:
        return "bfloat16" if args.bf16 else "float16"
    return str(model.dtype).removeprefix("torch.")


@contextmanager
def _launched(accelerator) -> Iterator[None]:
    """The environment that vLLM's "external_launcher" reads, for as long as it starts: trainers read it, too."""
    before = dict(os.environ)
    os.environ["RANK"] = str(accelerator.process_index)
    os.environ["LOCAL_RANK"] = str(accelerator.local_process_index)
    os.environ["WORLD_SIZE"] = str(accelerator.num_processes)
    ensure_master_addr_port()
    try:
        yield
    finally:
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
            os.environ.pop(name, None)
        os.environ.update(before)


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Undo that vLLM seeds every generator of the process with a seed of its own."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with forked():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
