"""From the command line and a recipe to what is counted; says what of a recipe is not counted."""

import argparse
import dataclasses
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..methods import METHODS, settings
from ..recipes import find_recipe
from ..recipes.reading import is_true, load_yaml
from ..schedule import cross_prompts
from ..spelling import Parser
from ..topology import TOPOLOGIES
from .inputs import DEVICES, GIB, Device, Run
from .prompts import count_prompt_tokens
from .writing import given_fields


# field of a recipe -> option of this program
RECIPE_FIELDS = {
    "model_name_or_path": "model",
    "topology": "topology",
    "per_device_train_batch_size": "rows",
    "gradient_accumulation_steps": "accumulation",
    "steps_per_generation": "steps_per_generation",
    "generation_batch_size": "generation_batch_size",
    "num_iterations": "num_iterations",
    "num_generations": "generations",
    "max_completion_length": "completion_length",
    "gradient_checkpointing": "gradient_checkpointing",
    "rollout_chunk_rows": "rollout_chunk_rows",
    "per_device_eval_batch_size": "eval_rows",
    "lora_r": "rank",
    "dtype": "dtype",
    "rlvr_steps": "rlvr_steps",
    "opd_steps": "opd_steps",
    "opd_fraction": "opd_fraction",
    "student_init": "student_init",
    "overlap_every": "overlap_every",
    "probe_prompts": "probe_prompts",
}
# TRL's and `CoPDConfig`'s own defaults, where they have one
DEFAULTS = {
    "experts": 3, "gpus": 1, "device": "h100", "topology": "student", "rows": 32, "accumulation": 1, "generations": 8,
    "steps_per_generation": None, "generation_batch_size": None, "num_iterations": 1, "prompt_length": 256,
    "completion_length": 256, "gradient_checkpointing": True, "rollout_chunk_rows": None, "rank": 16,
    "target_modules": "all-linear", "dtype": "bf16", "precision": None, "quantize": None, "memory": None,
    "rlvr_steps": 10, "opd_steps": 20, "opd_fraction": 0.25, "student_init": "fresh", "overlap_every": 5,
    "probe_prompts": 4, "eval_rows": None, "not_counted": [],
}  # fmt: skip
LEAST = {
    "experts": 1, "gpus": 1, "rows": 1, "accumulation": 1, "generations": 2, "steps_per_generation": 1,
    "generation_batch_size": 1, "num_iterations": 1, "prompt_length": 1, "completion_length": 1,
    "rollout_chunk_rows": 1, "rank": 1, "rlvr_steps": 0, "opd_steps": 0, "overlap_every": 0, "probe_prompts": 1,
    "eval_rows": 1,
}  # fmt: skip
VALUE_BYTES = {"bf16": 2, "bfloat16": 2, "fp16": 2, "float16": 2, "fp32": 4, "float32": 4, "auto": 2}
MAKES = {"demo": "demo", "smollm2": "smollm2", "vision": "demo-vision", "agent": "demo-agent"}  # make's targets
ADAMW = ("adamw_torch", "adamw_torch_fused")
# field of a recipe -> (values that change nothing, what is missing otherwise)
NOT_COUNTED: dict[str, tuple[tuple, str]] = {
    "use_vllm": (
        (False,),
        "vLLM's own memory (vllm_gpu_memory_utilization) and speed; rollouts are transformers' own",
    ),
    "opd_loss": (("sampled",), "the teacher's states of all cross rows, and the divergence over the vocabulary"),
    "use_dora": ((False,), "its magnitudes and norms; its adapters cannot share a forward"),
    "optim": (ADAMW, "counted as AdamW, with two moments a weight"),
    "schedule": (("fixed",), "phases end when the overlap says so; their longest lengths are counted"),
    "final_opd_steps": ((0,), "its rounds, in which the student alone is sampled and taught"),
    "beta": ((0, 0.0), "the reference's log-probabilities, one more forward"),
    "lora_modules_to_save": ((), "these modules are trained as a whole"),
    "lora_target_parameters": ((), "adapters on parameters outside of linear layers"),
    "model_init_kwargs": ((), "what it changes in the model"),
    "use_liger_kernel": ((False,), "other kernels"),
    "use_transformers_continuous_batching": ((False,), "its paged cache"),
    "deepspeed": ((), "what it shards or offloads"),
}


def parse(argv: list[str] | None, description: str | None = None) -> dict[str, Any]:
    """Options of the command line over those of the recipe over the defaults."""
    parser = Parser(prog="trl-copd plan", description=description)
    parser.add_argument("--model", help="Hub id, folder, or config.json")
    parser.add_argument("--config", help="a recipe, or the name of a built-in one; options override it")
    parser.add_argument("--write", metavar="PATH", help="write a copy of the recipe with settings that fit")
    parser.add_argument("--experts", type=int, help="number of experts (default: 3)")
    parser.add_argument("--gpus", type=int, help="number of processes, one per GPU (default: 1)")
    parser.add_argument(
        "--fsdp", action="store_true", default=None, help="shard the weights over the processes with FSDP2"
    )
    parser.add_argument("--device", choices=sorted(DEVICES), help="default: h100")
    parser.add_argument("--memory", type=float, help="GiB of one device, instead of its data sheet's")
    parser.add_argument("--topology", choices=TOPOLOGIES, help="default: student")
    parser.add_argument("--rows", type=int, help="per_device_train_batch_size (default: 32)")
    parser.add_argument("--accumulation", type=int, help="gradient_accumulation_steps (default: 1)")
    parser.add_argument("--generations", type=int, help="num_generations (default: 8)")
    parser.add_argument("--prompt-length", type=int, help="tokens of a prompt (default: the recipe's longest, or 256)")
    parser.add_argument("--completion-length", type=int, help="max_completion_length (default: 256)")
    parser.add_argument("--rank", type=int, help="lora_r of the adapters (default: 16)")
    parser.add_argument("--dtype", choices=sorted(VALUE_BYTES), help="type of the base's weights (default: bf16)")
    parser.add_argument(
        "--precision", choices=("bf16", "fp32"), help="precision of the computation (default: as --dtype)"
    )
    parser.add_argument("--quantize", choices=("4bit", "8bit"), help="a quantised base")
    parser.add_argument("--gradient-checkpointing", action=argparse.BooleanOptionalAction, help="default: on")
    parser.add_argument("--rollout-chunk-rows", type=int, help="rows in one call of generate (default: all)")
    given = {name: value for name, value in vars(parser.parse_args(argv)).items() if value is not None}
    path = given.pop("config", None)
    if "write" in given and path is None:
        raise ValueError("--write copies a recipe with settings that fit. Name the recipe with --config.")
    recipe = _load(path) if path is not None else {}
    own = _from_recipe(recipe) if path is not None else {}
    options = {**DEFAULTS, **own, **given}
    if "write" in given:
        names = {option: field for field, option in RECIPE_FIELDS.items()}
        # a base that the recipe builds is no field of it: --model stands for it until it is built
        ours = {name: value for name, value in given.items() if name != "model" or "builtin_base" not in recipe}
        options["own_fields"] = given_fields(ours, own, names)
    if "builtin_base" in recipe and "model" not in given:
        options["model"] = _builtin_base(recipe, path)
    options["config"] = path
    options["prompts"] = "given" if "prompt_length" in given else "assumed"
    if path is not None and "prompt_length" not in given and recipe.get("domains") and options.get("model"):
        length, options["prompts"] = count_prompt_tokens(recipe, options["model"])
        options["prompt_length"] = length or options["prompt_length"]
        if length is None:
            missing = f"{options['prompts']}: {options['prompt_length']} tokens are assumed, --prompt-length says it"
            options["not_counted"], options["prompts"] = [*options["not_counted"], missing], "assumed"
    return options


# ---- A recipe ---------------------------------------------------------------------------------------------------


def _load(path: str) -> dict[str, Any]:
    import yaml

    try:
        recipe = load_yaml(find_recipe(path).read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path!r} is not a YAML file: {error}") from error
    if not isinstance(recipe, dict):
        raise ValueError(f"{path!r} holds {type(recipe).__name__}, not the fields of a recipe.")
    return recipe


def _from_recipe(recipe: dict[str, Any]) -> dict[str, Any]:
    method = "experts" if is_true(recipe.get("no_opd")) else recipe.get("method")
    if method is not None:
        recipe = settings(method, recipe)
    options = {option: recipe[name] for name, option in RECIPE_FIELDS.items() if recipe.get(name) is not None}
    domains = recipe.get("domains") or []
    if not isinstance(domains, list):
        raise ValueError(f"`domains` must be a list, got {domains!r}.")
    if domains:
        options["experts"] = len(domains)
    for bits in (4, 8):
        if is_true(recipe.get(f"load_in_{bits}bit")):
            options["quantize"] = f"{bits}bit"
    options.setdefault("dtype", "fp32")  # TRL's defaults: float32 weights, bf16 computation
    options["precision"] = "bf16" if is_true(recipe.get("bf16", True)) or is_true(recipe.get("fp16")) else "fp32"
    targets = recipe.get("lora_target_modules")  # none: PEFT's own for the model
    options["target_modules"] = targets[0] if isinstance(targets, list) and len(targets) == 1 else targets
    if is_true(recipe.get("use_cpu")):
        options["device"] = "cpu"
    if recipe.get("fsdp"):
        options["fsdp"] = True
    options["not_counted"] = [
        f"{name}={recipe[name]!r}: {missing}"
        for name, (harmless, missing) in NOT_COUNTED.items()
        if recipe.get(name) not in (None, *harmless)
    ]
    if method is not None and not recipe["opd_steps"]:
        options["rlvr_steps"] = 1  # every round is the same
    if method is not None and METHODS[method].pooled:
        options["experts"] = 1
    return options


def _builtin_base(recipe: dict[str, Any], path: str | None) -> str:
    """A base that a run has built; those of one name differ in seed and skills, not in size."""
    name, folder = recipe["builtin_base"], Path(recipe.get("base_dir", "runs/bases"))
    built = sorted(folder.glob(f"{name}-*seed*/config.json"))
    if not built:
        made = f", or `make {MAKES[name]}` in a checkout" if name in MAKES else ""
        raise ValueError(
            f"builtin_base={name!r} is built by the first run, and {str(folder)!r} has none yet. Start the recipe "
            f"once (`trl-copd train --config {path}`{made}), or pass --model."
        )
    return str(built[0].parent)


# ---- What is counted ----------------------------------------------------------------------------------------------


def check(options: dict[str, Any]) -> None:
    """Refuse what cannot be counted, and turn text that TRL would read as a number into one."""
    if not options.get("model"):
        raise ValueError("There is no model. Pass --model with a Hub id, a folder or a config.json.")
    for name, choices in {"dtype": VALUE_BYTES, "topology": TOPOLOGIES, "student_init": ("fresh", "merge")}.items():
        if options[name] not in choices:
            raise ValueError(f"{name}={options[name]!r} is unknown. Choose one of {', '.join(sorted(choices))}.")
    for name, least in LEAST.items():
        if options[name] is not None:
            options[name] = _whole(_label(name), options[name], least)
    if not isinstance(options["gradient_checkpointing"], bool):
        raise ValueError(f"gradient_checkpointing must be true or false, got {options['gradient_checkpointing']!r}.")
    options["opd_fraction"] = float(options["opd_fraction"])
    if not 0 < options["opd_fraction"] < 1:
        raise ValueError(f"opd_fraction must lie strictly between 0 and 1, got {options['opd_fraction']}.")
    if options["memory"] is not None and not 0 < options["memory"] < float("inf"):
        raise ValueError(f"--memory must be > 0 GiB, got {options['memory']}.")
    if options["rlvr_steps"] + options["opd_steps"] == 0:
        raise ValueError("rlvr_steps=0 and opd_steps=0 leave no round to train in. Set one of them > 0.")
    if options["student_init"] == "merge" and options["topology"] not in ("student", "mopd"):
        raise ValueError(
            f"student_init='merge' with topology={options['topology']!r}, whose student is not a branch. Set "
            "student_init='fresh', or topology='student'."
        )
    rows = options["rows"] * options["gpus"] * (_steps_per_generation(options) or options["accumulation"])
    if rows % options["generations"]:
        raise ValueError(
            f"{rows} rows of a branch are sampled at once (rows * gpus * steps_per_generation). TRL refuses this, "
            f"because it is not a multiple of {options['generations']} generations. Change --rows or --generations."
        )
    teaches = options["topology"] in ("mutual", "hub") and options["experts"] > 1 and options["opd_steps"] > 0
    if teaches and cross_prompts(rows // options["generations"], options["opd_fraction"]) == 0:
        raise ValueError(
            f"{rows} rows with {options['generations']} generations are one prompt of a branch, which remains native, "
            f"so topology={options['topology']!r} would teach nobody. Raise --rows, or lower --generations."
        )


def _label(name: str) -> str:
    """The recipe's name of an option, which `--help` gives as well, or that of the command line alone."""
    fields = [field for field, option in RECIPE_FIELDS.items() if option == name]
    return fields[0] if fields else f"--{name.replace('_', '-')}"


def _whole(label: str, value: Any, least: int) -> int:
    try:
        number = int(value) if isinstance(value, str) else value
    except ValueError:
        number = None
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise ValueError(f"{label} must be >= {least} and a whole number, got {value!r}.")
    return number


def _steps_per_generation(options: dict[str, Any]) -> int | None:
    """TRL's rule: micro-batches that are sampled at once; `None`, those of one round, unless the recipe says so."""
    steps, batch = options["steps_per_generation"], options["generation_batch_size"]
    if batch is None:
        return steps
    if steps is not None:
        raise ValueError("generation_batch_size and steps_per_generation set the same thing. Set one of them.")
    rows = options["rows"] * options["gpus"]
    if batch % rows:
        raise ValueError(f"generation_batch_size={batch} must be a multiple of rows * gpus = {rows}, as TRL demands.")
    return batch // rows


def build_run(options: dict[str, Any]) -> Run:
    same = {field.name for field in dataclasses.fields(Run)} & set(options)
    alone = options["topology"] in ("mutual", "hub") and options["experts"] == 1
    return Run(
        **{
            **{name: options[name] for name in same},
            "processes": options["gpus"],
            "sharded": bool(options.get("fsdp")),
            "steps_per_generation": _steps_per_generation(options),
            "weight_bytes": VALUE_BYTES[options["dtype"]],
            "value_bytes": VALUE_BYTES[options["precision"] or options["dtype"]],
            "quantize": {"4bit": 4, "8bit": 8}.get(options["quantize"]),
            "checkpointing": options["gradient_checkpointing"],
            "chunk_rows": options["rollout_chunk_rows"],
            "merging": options["student_init"] == "merge",
            **({"opd_steps": 0} if alone else {}),  # one expert has nobody to learn from
        }
    )


def not_counted(options: dict[str, Any], run: Run) -> list[str]:
    """What of the recipe changes the answer and is not in it."""
    rows = (options["eval_rows"] or 0) * (run.experts + 2)  # base, experts and student
    rows = min(rows, run.chunk_rows or rows)
    if rows <= run.rollout_rows():
        return options["not_counted"]
    sampled = f"per_device_eval_batch_size={options['eval_rows']}: an evaluation samples {rows} rows at once"
    return [*options["not_counted"], sampled]


def build_device(options: dict[str, Any]) -> Device:
    device = DEVICES[options["device"]]
    if options["memory"] is not None:
        return replace(device, memory=options["memory"] * GIB)
    if not device.memory:
        return replace(device, memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return device
