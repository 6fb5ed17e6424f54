"""What an adapter's configuration must be, and where it is read."""

import copy
import json
import re
from pathlib import Path
from typing import Any

from huggingface_hub import file_exists, try_to_load_from_cache
from peft import LoraConfig, PeftConfig, PeftModel, PeftType
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import SAFETENSORS_WEIGHTS_NAME, WEIGHTS_NAME
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from ..topology import Topology
from .parts import BASE


# Initialisations that leave the base weights as they are; the others (PiSSA, OLoRA, CorDA, LoftQ, ...) rewrite them
BASE_PRESERVING_INITS = (True, False, "gaussian", "orthogonal", "eva")
# Fields of LoraConfig with which an adapter is a pair of factors on each of its layers, and can be merged exactly
PLAIN = frozenset(
    "r lora_alpha use_rslora rank_pattern alpha_pattern lora_dropout fan_in_fan_out init_lora_weights eva_config "
    "target_modules exclude_modules layers_to_transform layers_pattern target_parameters "
    # they say where an adapter comes from and how it is loaded
    "task_type peft_type auto_mapping peft_version base_model_name_or_path revision inference_mode runtime_config "
    # they say how a kind of `init_lora_weights` or of layer works that is not used
    "loftq_config qalora_group_size megatron_core".split()
)
# Kinds of adapters that cannot stand beside others of their kind
ALONE = {
    PeftType.ADALORA: "allows one trainable adapter",
    PeftType.XLORA: "mixes finished adapters",
    PeftType.POLY: "needs the task of every row",
}
MORE_THAN_PAIRS = {
    "use_dora": "trains DoRA's magnitudes, which cannot be averaged exactly",
    "modules_to_save": "holds whole modules",
    "trainable_token_indices": "trains rows of the embedding themselves",
    "lora_bias": "has a bias beside the factors",
}


def check_peft_config(
    peft_config: PeftConfig | None, model: str | PreTrainedModel, topology: Topology, student_init: str = "fresh"
) -> None:
    """
    Refuse what several branches on one frozen base cannot work with, before any model is loaded.

    Raises:
        TypeError: `model` or `peft_config` is of the wrong type.
        ValueError: No configuration, a model that has adapters already, an adapter on the LM head, a configuration
            that changes the base, or one that cannot be merged where the topology merges.
    """
    if isinstance(model, PeftModel):
        raise ValueError(
            "`model` is already a PeftModel. Pass the base model with `peft_config`. To start an expert from a "
            "trained adapter, use `Expert(adapter=PATH)`."
        )
    if not isinstance(model, (str, Path, PreTrainedModel)):
        raise TypeError(f"`model` must be a model id, a path or a PreTrainedModel, got {type(model).__name__}.")
    if isinstance(model, PreTrainedModel) and any(isinstance(part, BaseTunerLayer) for part in model.modules()):
        raise ValueError(
            "`model` has adapters in its layers, from another trainer or from `add_adapter`. Every branch is an "
            "adapter on the plain base: load the base anew, or pass what `trainer.model.unload()` returns."
        )
    if peft_config is None:
        raise ValueError(
            "`peft_config` is None, but every branch is an adapter on one shared base. Pass for example "
            "`LoraConfig(r=16, target_modules='all-linear')`."
        )
    if not isinstance(peft_config, PeftConfig):
        raise TypeError(f"`peft_config` must be a `peft.PeftConfig`, got {type(peft_config).__name__}.")
    if peft_config.is_prompt_learning:
        raise ValueError(
            f"{type(peft_config).__name__} learns prompts, but branches share a batch and their prompts would mix. "
            "Use `LoraConfig`."
        )
    if peft_config.peft_type in ALONE:
        raise ValueError(
            f"{type(peft_config).__name__} {ALONE[peft_config.peft_type]}, but every branch trains an adapter of its "
            "own on one base. Use `LoraConfig`."
        )
    targets = getattr(peft_config, "target_modules", None)
    on_head = re.fullmatch(targets, "lm_head") if isinstance(targets, str) else "lm_head" in (targets or ())
    if on_head:
        raise ValueError(
            "`peft_config` puts an adapter on `lm_head`, but all branches share it and TRL never trains it. Remove "
            "'lm_head' from `target_modules`."
        )
    if "lm_head" in (getattr(peft_config, "modules_to_save", None) or ()):
        raise ValueError(
            "modules_to_save=['lm_head'] trains a head of its own for each branch, but the log-probabilities and "
            "exact divergences of all branches use one head. Remove 'lm_head' from `modules_to_save`."
        )
    if getattr(peft_config, "bias", "none") != "none":
        raise ValueError(f"bias={peft_config.bias!r} trains biases of the shared base. Set bias='none'.")
    if getattr(peft_config, "layer_replication", None):
        raise ValueError(
            f"layer_replication={peft_config.layer_replication} replicates layers of the shared base for every "
            "adapter. Save a base with the replicated layers, and leave it out."
        )
    if isinstance(peft_config, LoraConfig) and peft_config.init_lora_weights not in BASE_PRESERVING_INITS:
        raise ValueError(
            f"init_lora_weights={peft_config.init_lora_weights!r} rewrites the base weights, which all branches "
            "share. Use True or 'gaussian'."
        )
    if isinstance(peft_config, LoraConfig) and (peft_config.r < 1 or peft_config.lora_alpha == 0):
        raise ValueError(
            f"r={peft_config.r} and lora_alpha={peft_config.lora_alpha} train nothing: r is the rank, at least 1, and "
            "every adapter is multiplied by lora_alpha / r. Set for example r=16, lora_alpha=32."
        )
    if not topology.has_student_branch:
        _check_mergeable(peft_config, f"topology={topology.name!r}", "topology='student'")
    elif student_init == "merge":
        _check_mergeable(peft_config, "student_init='merge'", "student_init='fresh'")


def _check_mergeable(peft_config: PeftConfig, setting: str, instead: str) -> None:
    """What the configuration shows; `pairs.check_mergeable` looks at the adapters on the loaded model."""
    reason = None
    if not isinstance(peft_config, LoraConfig):
        reason = f"{type(peft_config).__name__} is not LoRA"
    else:
        plain = LoraConfig()
        for name, value in vars(peft_config).items():
            if name not in PLAIN and (value or None) != (getattr(plain, name, None) or None):
                reason = (
                    f"{name}={value!r} {MORE_THAN_PAIRS.get(name, 'is not known to leave plain pairs of factors')}"
                )
                break
    if reason is not None:
        raise ValueError(
            f"{setting} merges LoRA adapters into the student, but {reason}. Use a plain `LoraConfig`, or {instead}."
        )


def read_adapter_config(adapter: str, topology: Topology, student_init: str = "fresh") -> PeftConfig:
    """
    The configuration of a trained adapter, from a folder, the Hub, or the Hub's cache when there is no network.

    Raises:
        ValueError: It cannot be read, its weights are missing or torn, or the run cannot use its kind.
    """
    try:
        config = PeftConfig.from_pretrained(adapter)
    except Exception as error:  # of many kinds, for a repository that does not exist, is private or out of reach
        raise ValueError(
            f"it is neither a readable folder nor an adapter on the Hub ({error}). Pass a folder with "
            "adapter_config.json, as `save_model` writes it, or the id of a repository on the Hub."
        )
    names = (SAFETENSORS_WEIGHTS_NAME, WEIGHTS_NAME)
    if Path(adapter).is_dir():
        found = any((Path(adapter) / name).is_file() for name in names)
        if (Path(adapter) / SAFETENSORS_WEIGHTS_NAME).is_file():
            try:
                with safe_open(Path(adapter) / SAFETENSORS_WEIGHTS_NAME, "pt"):
                    pass
            except SafetensorError as error:
                raise ValueError(f"its {SAFETENSORS_WEIGHTS_NAME} cannot be read ({error}). Save it again.")
    else:
        found = any(_on_hub(adapter, name) for name in names)
    if not found:
        raise ValueError(f"it has a configuration but no weights ({' or '.join(names)}).")
    check_peft_config(config, BASE, topology, student_init)
    return config


def merging_settings(config: PeftConfig) -> dict[str, Any]:
    """What adapters must share for `set_to_average` to give their exact mean."""
    names = ("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "target_modules")
    return {name: getattr(config, name, None) for name in names}


def _on_hub(repository: str, name: str) -> bool:
    if isinstance(try_to_load_from_cache(repository, name), str):
        return True
    try:
        return file_exists(repository, name)
    except Exception:  # offline, and not in the cache
        return False


def widened(config: LoraConfig, times: int) -> LoraConfig:
    """The configuration with so many times the rank and the same scaling."""
    config, factor = copy.deepcopy(config), times**0.5 if config.use_rslora else times
    config.r, config.lora_alpha = config.r * times, config.lora_alpha * factor
    config.rank_pattern = {name: rank * times for name, rank in config.rank_pattern.items()}
    config.alpha_pattern = {name: alpha * factor for name, alpha in config.alpha_pattern.items()}
    return config


def config_settings(peft_config: PeftConfig) -> dict[str, Any]:
    """The settings of an adapter configuration that decide what is trained, as plain data."""
    settings = peft_config.to_dict()
    ignored = ("base_model_name_or_path", "inference_mode", "revision", "auto_mapping", "peft_version")
    return json.loads(json.dumps({k: v for k, v in settings.items() if k not in ignored}, default=_jsonable))


def _jsonable(value: object) -> object:
    return sorted(value) if isinstance(value, set) else str(value)
