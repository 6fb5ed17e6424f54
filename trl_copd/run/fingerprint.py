"""What makes two runs the same run, so that one can go on from the other's checkpoint."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from typing import Any

from datasets import Dataset
from peft import PeftConfig, PeftModel
from trl.trainer.utils import get_callable_name

from .. import adapters
from ..config import CoPDConfig
from ..experts import Expert
from ..pictures import is_picture


FORMAT = 2  # of what is recorded; checkpoints of another format are refused
BASE_KEY = "base model"  # known once the model is loaded
SAMPLES = 64  # numbers of each tensor of the base that are compared

# Fields of CoPDConfig that a resumed run may set anew, see docs/resume.md; all others are compared
MAY_CHANGE = frozenset(
    # where the run writes, what it shows, saves and pushes
    "output_dir run_name project logging_strategy logging_first_step logging_steps logging_nan_inf_filter "
    "log_level log_level_replica log_on_each_node disable_tqdm report_to trackio_space_id trackio_bucket_id "
    "trackio_static_space_id include_num_input_tokens_seen log_completions log_multimodal num_completions_to_print "
    "log_unique_prompts log_completions_hub_repo live_view save_strategy save_steps save_total_limit save_only_model "
    "save_on_each_node enable_jit_checkpoint push_to_hub hub_model_id hub_strategy hub_token hub_private_repo "
    "hub_always_push hub_revision resume_from_checkpoint restore_callback_states_from_checkpoint "
    # what is measured beside the training
    "do_train do_eval do_predict eval_strategy eval_steps eval_delay eval_on_start eval_accumulation_steps "
    "eval_do_concat_batches eval_use_gather_object batch_eval_metrics per_device_eval_batch_size prediction_loss_only "
    "num_generations_eval matrix_at_end bf16_full_eval fp16_full_eval load_best_model_at_end metric_for_best_model "
    "check_data greater_is_better merge_method merge_density overlap_every overlap_edges overlap_top_k probe_prompts "
    "overlap_low overlap_high "
    # the length of the run
    "max_steps num_train_epochs max_rollouts "
    # how a round is split and carried out; the global batch and the reuse of rollouts are compared below
    "per_device_train_batch_size gradient_accumulation_steps steps_per_generation generation_batch_size "
    "auto_find_batch_size rollout_chunk_rows share_prompts gradient_checkpointing gradient_checkpointing_kwargs "
    "activation_checkpointing activation_checkpointing_kwargs dataloader_in_order dataloader_multiprocessing_context "
    "torch_empty_cache_steps dataloader_num_workers dataloader_pin_memory dataloader_prefetch_factor "
    "dataloader_persistent_workers skip_memory_metrics pad_to_multiple_of ddp_timeout ddp_backend ddp_bucket_cap_mb "
    "ddp_broadcast_buffers ddp_find_unused_parameters ddp_static_graph local_rank accelerator_config fsdp fsdp_config "
    "parallelism_config full_determinism use_cpu debug "
    # where the rollout engine is, and how it is laid out
    "vllm_server_base_url vllm_server_host vllm_server_port vllm_server_timeout vllm_group_port "
    "vllm_gpu_memory_utilization vllm_max_model_length vllm_tensor_parallel_size vllm_enable_sleep_mode "
    "ds3_gather_for_generation "
    # how the base is loaded: what it is, is compared by itself
    "model_init_kwargs trust_remote_code".split()
)
# What the same base may say differently: where it lies, how it was loaded, what training and generation set
VOLATILE = (
    "_name_or_path architectures transformers_version dtype torch_dtype use_cache output_attentions "
    "output_hidden_states return_dict pad_token_id bos_token_id eos_token_id quantization_config"
).split()


def run_fingerprint(args: CoPDConfig, peft_config: PeftConfig, experts: dict[str, Expert]) -> dict[str, Any]:
    """What is known of a run before the base is loaded, as plain data."""
    settings = {
        field.name: getattr(args, field.name)
        for field in dataclasses.fields(args)
        if field.init and field.name not in MAY_CHANGE
    }
    rows = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    settings |= {
        "rows of a branch and round": rows,
        "rows of a branch and generation": args.generation_batch_size,
        "rounds that use one generation": args.rounds_per_generation,
        "processes": args.world_size,
    }
    if args.schedule == "overlap":  # what is measured decides the phases
        measuring = ("overlap_low", "overlap_high", "overlap_every", "overlap_top_k", "probe_prompts")
        settings |= {name: getattr(args, name) for name in measuring}
    if args.topology == "mopd" or args.final_opd_steps:  # the length says when the experts are frozen
        settings |= {name: getattr(args, name) for name in ("max_steps", "num_train_epochs", "max_rollouts")}
    print_ = {"format": FORMAT, "settings": settings, "adapter": adapters.config_settings(peft_config)}
    for name, expert in experts.items():
        print_[f"expert {name}"] = {
            "rewards": [f if isinstance(f, str) else get_callable_name(f) for f in expert.reward_funcs],
            "reward_weights": expert.reward_weights or args.reward_weights,
            "learning_rate": expert.learning_rate,
            "adapter": str(expert.adapter),
            "frozen": expert.frozen,
            "domain_column": expert.domain_column,
            # without held-out rows, those that overlap is measured on are set aside from the training rows
            "set_aside": args.probe_prompts if not expert.eval_datasets and args.overlap_every else 0,
            "data": data_fingerprint(expert.train_dataset),
        }
        if expert.acts:
            print_[f"expert {name}"] |= _acting(expert)
    print_["experts"] = list(experts)
    return json.loads(json.dumps(print_, default=str))


def _acting(expert: Expert) -> dict[str, Any]:
    """What an expert acts with, by names: functions are not compared."""
    factory = expert.environment_factory
    environments = [*factory.values()] if isinstance(factory, dict) else [factory] if factory is not None else []
    return {
        "tools": [tool.__name__ for tool in expert.tools or []],
        "environments": [get_callable_name(make) for make in environments],
        "rollout_func": expert.rollout_func and get_callable_name(expert.rollout_func),
        "max_tool_calling_iterations": expert.max_tool_calling_iterations,
        "chat_template_kwargs": expert.chat_template_kwargs,
    }


def data_fingerprint(dataset: Any, rows: int = 64) -> str:
    """Hash of a dataset's columns, length and `rows` evenly spaced rows (the first ones of a stream)."""
    if isinstance(dataset, Dataset):
        step = max(1, len(dataset) // rows)
        content: Any = [len(dataset), dataset.column_names, [dataset[i] for i in range(0, len(dataset), step)]]
    else:
        content = list(dataset.take(8))
    return hashlib.sha256(repr(_printable(content)).encode()).hexdigest()[:16]


def _printable(value: Any) -> Any:
    """The value with a hash in place of every picture, whose own print is where it lies in memory."""
    if isinstance(value, dict):
        return {key: _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if is_picture(value):
        return f"{value.mode} {value.size} {hashlib.sha256(value.tobytes()).hexdigest()}"
    return value


def base_fingerprint(model: PeftModel) -> dict[str, Any]:
    """The base's configuration, and a hash over names, shapes, types and evenly spaced numbers of its weights."""
    config = model.get_base_model().config.to_dict()
    config = {key: value for key, value in config.items() if key not in VOLATILE and not key.startswith("_")}
    digest, numbers, types = hashlib.sha256(), 0, set()
    for name, weight in adapters.base_weights(model):
        flat = weight.detach().reshape(-1)
        sample = flat[:: max(1, flat.numel() // SAMPLES)].cpu()
        sample = sample.float() if sample.is_floating_point() else sample
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode() + sample.numpy().tobytes())
        numbers += weight.numel()
        types.add(str(weight.dtype).removeprefix("torch."))
    weights = f"{numbers} parameters in {' and '.join(sorted(types))}, sampled hash {digest.hexdigest()[:16]}"
    return json.loads(json.dumps({"config": config, "weights": weights}, default=str))


def differences(saved: dict[str, Any], own: dict[str, Any], shown: int = 3) -> list[str]:
    """
    What differs between two fingerprints, for people to read: `adapter: r: 8 in the checkpoint, 4 here`.

    The base counts where both know it.
    """
    if saved.get("format") != own.get("format"):
        return ["written by a version of trl_copd that recorded other settings: resume it with that version"]
    found = [": ".join(path) + f": {_short(there)} in the checkpoint, {_short(here)} here"
             for path, there, here in _differing(saved, own, ())]  # fmt: skip
    rest = len(found) - shown
    return found[:shown] + ([f"and {rest} more"] if rest > 0 else [])


def _differing(saved: dict, own: dict, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    for key in {**saved, **own}:
        if key == BASE_KEY and not (key in saved and key in own):
            continue
        there, here = saved.get(key), own.get(key)
        # `settings` is ours, not a word of the user's
        place = path if key == "settings" else (*path, key)
        if isinstance(there, dict) and isinstance(here, dict):
            yield from _differing(there, here, place)
        elif there != here:
            yield place, there, here


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
