"""What makes two runs the same run, so that one can go on from the other's checkpoint."""

import hashlib
import json
from typing import Any

from datasets import Dataset
from peft import PeftConfig, PeftModel
from trl.trainer.utils import get_callable_name

from .. import adapters
from ..experts import Expert
from .copd_config import CoPDConfig


SETTINGS = (
    "rlvr_steps opd_steps topology hub opd_beta opd_fraction opd_loss opd_clip opd_top_k student_init schedule seed "
    "shuffle_dataset num_generations generation_batch_size steps_per_generation num_iterations "
    "gradient_accumulation_steps"
).split()
MEASURING = "overlap_low overlap_high overlap_every overlap_top_k probe_prompts".split()  # decides the phases
BASE_KEY = "base model"  # known once the model is loaded
SAMPLES = 64  # numbers of each tensor of the base that are compared
# What the same base may say differently: where it lies, how it was loaded, what training and generation set
VOLATILE = (
    "_name_or_path architectures transformers_version dtype torch_dtype use_cache output_attentions "
    "output_hidden_states return_dict pad_token_id bos_token_id eos_token_id quantization_config"
).split()


def run_fingerprint(args: CoPDConfig, peft_config: PeftConfig, experts: dict[str, Expert]) -> dict[str, Any]:
    """What is known before the base is loaded; `output_dir`, logging and `max_steps` may differ."""
    print_ = {name: getattr(args, name) for name in SETTINGS}
    if args.schedule == "overlap":
        print_ |= {name: getattr(args, name) for name in MEASURING}
    print_["processes"] = args.world_size
    print_["adapter"] = adapters.config_fingerprint(peft_config)
    if args.final_opd_steps:
        print_["final_opd_steps"] = args.final_opd_steps
    if args.topology == "mopd" or args.final_opd_steps:
        print_["length"] = [args.max_steps, args.num_train_epochs]  # says when the experts are frozen
    for name, expert in experts.items():
        print_[f"expert {name}"] = {
            "rewards": [f if isinstance(f, str) else get_callable_name(f) for f in expert.reward_funcs],
            "reward_weights": expert.reward_weights or args.reward_weights,
            "learning_rate": expert.learning_rate,
            "adapter": str(expert.adapter),
            # without held-out rows, those that overlap is measured on are set aside from the training rows
            "set_aside": args.probe_prompts if not expert.eval_datasets and args.overlap_every else 0,
            "data": data_fingerprint(expert.train_dataset),
        }
    print_["experts"] = list(experts)
    return json.loads(json.dumps(print_))


def data_fingerprint(dataset: Any, rows: int = 64) -> str:
    """Hash of a dataset's columns, length and `rows` evenly spaced rows (the first ones of a stream)."""
    if isinstance(dataset, Dataset):
        step = max(1, len(dataset) // rows)
        content: Any = [len(dataset), dataset.column_names, [dataset[i] for i in range(0, len(dataset), step)]]
    else:
        content = list(dataset.take(8))
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


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
    """What differs between two fingerprints, for people to read; the base counts where both know it."""
    found: list[str] = []
    for key in {**saved, **own}:
        if key == BASE_KEY and not (key in saved and key in own):
            continue
        there, here = saved.get(key), own.get(key)
        if isinstance(there, dict) and isinstance(here, dict):
            found += [f"{key}: {part}" for part in differences(there, here, shown)]
        elif there != here:
            found.append(f"{key}: there {there!r}, here {here!r}")
    return found[:shown]
