"""
Print what a run will need before it is started; exit with 1 and advice if it does not fit.

    python -m trl_copd.plan --model Qwen/Qwen3-0.6B --experts 4 --gpus 8 --rows 64 --completion-length 1024
    python -m trl_copd.plan --config recipes/qwen3_0.6b_gpu.yaml --device a100
"""

import argparse
import dataclasses
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..topology import TOPOLOGIES
from .durations import seconds
from .inputs import DEVICES, GIB, Device, ModelSize, Run
from .sizes import count_model
from .space import checkpoint_bytes, fits, memory, peak, traffic


# field of a recipe -> option of this program
RECIPE_FIELDS = {
    "model_name_or_path": "model",
    "topology": "topology",
    "per_device_train_batch_size": "rows",
    "gradient_accumulation_steps": "accumulation",
    "num_generations": "generations",
    "max_completion_length": "completion_length",
    "gradient_checkpointing": "gradient_checkpointing",
    "rollout_chunk_rows": "rollout_chunk_rows",
    "lora_r": "rank",
    "lora_target_modules": "target_modules",
    "dtype": "dtype",
    "rlvr_steps": "rlvr_steps",
    "opd_steps": "opd_steps",
    "opd_fraction": "opd_fraction",
    "overlap_every": "overlap_every",
    "probe_prompts": "probe_prompts",
}
# TRL's and `CoPDConfig`'s own defaults, where they have one
DEFAULTS = {
    "experts": 3, "gpus": 1, "device": "h100", "topology": "student", "rows": 8, "accumulation": 1, "generations": 8,
    "prompt_length": 256, "completion_length": 256, "gradient_checkpointing": True, "rollout_chunk_rows": None,
    "rank": 16, "target_modules": "all-linear", "dtype": "bf16", "precision": None, "quantize": None, "memory": None,
    "rlvr_steps": 15, "opd_steps": 10, "opd_fraction": 0.5, "overlap_every": 5, "probe_prompts": 4,
}  # fmt: skip
VALUE_BYTES = {"bf16": 2, "bfloat16": 2, "fp16": 2, "float16": 2, "fp32": 4, "float32": 4, "auto": 2}


def parse(argv: list[str] | None) -> dict[str, Any]:
    """Options of the command line over those of the recipe over the defaults."""
    parser = argparse.ArgumentParser(
        prog="python -m trl_copd.plan", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="Hub id, folder, or config.json")
    parser.add_argument("--config", help="a recipe; the command line wins")
    parser.add_argument("--experts", type=int, help="K (default: 3)")
    parser.add_argument("--gpus", type=int, help="processes N, one a GPU (default: 1)")
    parser.add_argument("--fsdp", action="store_true", default=None, help="FSDP2 shards weights over the processes")
    parser.add_argument("--device", choices=sorted(DEVICES), help="default: h100")
    parser.add_argument("--memory", type=float, help="GiB of one device, instead of its data sheet's")
    parser.add_argument("--topology", choices=TOPOLOGIES, help="default: student")
    parser.add_argument("--rows", type=int, help="per_device_train_batch_size (default: 8)")
    parser.add_argument("--accumulation", type=int, help="gradient_accumulation_steps (default: 1)")
    parser.add_argument("--generations", type=int, help="num_generations (default: 8)")
    parser.add_argument("--prompt-length", type=int, help="tokens (default: 256)")
    parser.add_argument("--completion-length", type=int, help="tokens (default: 256)")
    parser.add_argument("--rank", type=int, help="of the LoRA adapters (default: 16)")
    parser.add_argument("--dtype", choices=sorted(VALUE_BYTES), help="of the base's weights (default: bf16)")
    parser.add_argument("--precision", choices=("bf16", "fp32"), help="of the computation (default: as --dtype)")
    parser.add_argument("--quantize", choices=("4bit", "8bit"), help="a quantised base")
    parser.add_argument("--gradient-checkpointing", action=argparse.BooleanOptionalAction, help="default: on")
    parser.add_argument("--rollout-chunk-rows", type=int, help="default: no bound")
    given = {name: value for name, value in vars(parser.parse_args(argv)).items() if value is not None}
    return {**DEFAULTS, **_recipe(given.pop("config", None)), **given}


def _recipe(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    import yaml

    if not Path(path).is_file():
        raise ValueError(f"There is no recipe at {path!r}. Pass the path of a YAML file, as to recipes/copd.py.")
    recipe = yaml.safe_load(Path(path).read_text())
    if not isinstance(recipe, dict):
        raise ValueError(f"{path!r} holds {type(recipe).__name__}, not the fields of a recipe.")
    options = {option: recipe[name] for name, option in RECIPE_FIELDS.items() if recipe.get(name) is not None}
    if recipe.get("domains"):
        options["experts"] = len(recipe["domains"])
    for bits in (4, 8):
        if recipe.get(f"load_in_{bits}bit"):
            options["quantize"] = f"{bits}bit"
    options.setdefault("dtype", "fp32")  # TRL's defaults: float32 weights, bf16 computation
    options["precision"] = "bf16" if recipe.get("bf16", True) or recipe.get("fp16") else "fp32"
    if recipe.get("use_cpu"):
        options["device"] = "cpu"
    if "builtin_base" in recipe:
        name = f"{recipe['builtin_base']}-seed{recipe.get('seed', 0)}"
        options["model"] = str(Path(recipe.get("base_dir", "runs/bases")) / name)
    return options


def check(options: dict[str, Any]) -> None:
    if not options.get("model"):
        raise ValueError("No model is named. Pass --model with a Hub id, a folder or a config.json.")
    if options["dtype"] not in VALUE_BYTES:
        raise ValueError(f"dtype={options['dtype']!r} is unknown. Choose one of {', '.join(sorted(VALUE_BYTES))}.")
    names = "experts gpus rows accumulation generations prompt_length completion_length rank"
    for name in names.split():
        if options[name] < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be >= 1, got {options[name]}.")
    rows = options["rows"] * options["accumulation"] * options["gpus"]
    if rows % options["generations"]:
        raise ValueError(
            f"{rows} rows a branch (rows * accumulation * gpus) are no multiple of {options['generations']} "
            "generations, which TRL refuses. Change --rows or --generations."
        )


def build_run(options: dict[str, Any]) -> Run:
    same = {field.name for field in dataclasses.fields(Run)} & set(options)
    alone = options["topology"] in ("mutual", "hub") and options["experts"] == 1
    return Run(
        **{
            **{name: options[name] for name in same},
            "processes": options["gpus"],
            "sharded": bool(options.get("fsdp")),
            "weight_bytes": VALUE_BYTES[options["dtype"]],
            "value_bytes": VALUE_BYTES[options["precision"] or options["dtype"]],
            "quantize": {"4bit": 4, "8bit": 8}.get(options["quantize"]),
            "checkpointing": options["gradient_checkpointing"],
            "chunk_rows": options["rollout_chunk_rows"],
            **({"opd_steps": 0} if alone else {}),  # one expert has nobody to learn from
        }
    )


def build_device(options: dict[str, Any]) -> Device:
    device = DEVICES[options["device"]]
    if options["memory"] is not None:
        return replace(device, memory=options["memory"] * GIB)
    if not device.memory:
        return replace(device, memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return device


# ---- Advice -----------------------------------------------------------------------------------------------------


def chunk_advice(size: ModelSize, run: Run, device: Device) -> int | None:
    """Rows to sample at once so that rollouts do not set the peak, or `None` if they do not anyway."""
    chunked = run
    while peak(memory(size, chunked, device))[1] == "rollouts" and chunked.rollout_rows() > run.generations:
        chunked = _fewer_rows(chunked)
    return chunked.chunk_rows if chunked != run else None


def _fewer_rows(run: Run) -> Run:
    prompts = run.rollout_rows() // run.generations
    return replace(run, chunk_rows=max(1, min(prompts - 1, prompts * 9 // 10)) * run.generations)


def remedy(size: ModelSize, run: Run, device: Device) -> Run | None:
    """The run with what lowers its peak at the least cost, or `None` if nothing is left."""
    top = peak(memory(size, run, device))[1]
    if top == "rollouts" and run.rollout_rows() > run.generations:
        return _fewer_rows(run)
    if top == "update" and not run.checkpointing:
        return replace(run, checkpointing=True)
    if top in ("update", "teaching") and run.rows % 2 == 0:
        return replace(run, rows=run.rows // 2, accumulation=run.accumulation * 2)
    return replace(run, quantize=4) if run.quantize is None else None


def advice(size: ModelSize, run: Run, device: Device) -> tuple[str, Run | None]:
    """What to change so that the run fits, in words, and the changed run; `None` if nothing helps."""
    changed: Run | None = run
    while changed is not None and not fits(size, changed, device):
        changed = remedy(size, changed, device)
    if changed is None:
        return "No setting makes it fit: take a smaller model, or a device with more memory.", None
    changes = []
    if changed.chunk_rows != run.chunk_rows:
        changes.append(f"rollout_chunk_rows={changed.chunk_rows}")
    if changed.checkpointing != run.checkpointing:
        changes.append("gradient_checkpointing=True")
    if changed.rows != run.rows:
        changes.append(
            f"per_device_train_batch_size={changed.rows} and gradient_accumulation_steps={changed.accumulation}"
        )
    if changed.quantize != run.quantize:
        changes.append("a base in 4 bit (quantization_config)")
    return f"It fits with {', '.join(changes)}.", changed


# ---- The table --------------------------------------------------------------------------------------------------


def line(label: str, value: float, unit: str = "GiB", note: str = "") -> str:
    digits = 2 if value < 100 else 0
    return f"  {label:<42}{value:>10.{digits}f} {unit}" + (f"   {note}" if note else "")


def memory_table(size: ModelSize, run: Run, device: Device) -> list[str]:
    parts = memory(size, run, device)
    highest, top = peak(parts)
    lines = ["memory of one process"]
    lines += [line(name, value / GIB) for name, value in parts["resident"].items()]
    for name, part in parts.items():
        if name != "resident":
            largest = max(part, key=lambda what: part[what])
            note = f"{largest}: {part[largest] / GIB:.2f}"
            lines.append(
                line(f"+ {name}", sum(part.values()) / GIB, note=note + (", the peak" if name == top else ""))
            )
    lines.append(line("peak", highest / GIB, note=f"of {device.memory / GIB:.0f} GiB on {device.name}"))
    lines.append(line("a checkpoint on disk", checkpoint_bytes(size, run) / GIB))
    rows = chunk_advice(size, run, device)
    lines.append(
        f"  rollouts of {run.rollout_rows()} rows at once"
        + (f"; with rollout_chunk_rows={rows} they would not set the peak" if rows else "")
    )
    return lines


def time_table(size: ModelSize, run: Run, device: Device) -> list[str]:
    parts = seconds(size, run, device)
    lines = ["seconds, rewards not included"]
    lines += [
        line("rollouts, all branches", parts["rollouts"], "s"),
        line("update, all branches", parts["update"], "s"),
    ]
    if parts["teaching"]:
        lines.append(line("teaching, in an OPD round", parts["teaching"], "s"))
    if parts["measuring"]:
        lines.append(line(f"measuring {len(run.edges)} edges", parts["measuring"], "s",
                          f"every {run.overlap_every} rounds"))  # fmt: skip
    lines.append(line("a round, mean of a cycle", parts["round"], "s"))
    if device.name == "cpu":
        return [*lines, "  with the rates of one core that docs/scaling.md was measured on, in float32"]
    return [
        *lines,
        "  not measured: 60 % of the data sheet's bandwidth, 40 % of its dense bf16 rate, and 1 ms to launch a layer,",
        "  are assumed; expect a factor of two either way",
    ]


def traffic_table(size: ModelSize, run: Run) -> list[str]:
    sent = traffic(size, run)
    return [
        "sent by each process in a round",
        line("gradients, reduced once", sent["gradients"] / GIB),
        line("with FSDP2, weights and gradients", sent["shards"] / GIB),
    ]


def report(size: ModelSize, run: Run, device: Device, rank: int) -> str:
    base = f"{run.quantize} bit" if run.quantize else f"{8 * run.weight_bytes} bit"
    lines = [
        f"{run.experts} expert(s), {run.branches} branches (topology {run.topology}), {len(run.edges)} edges, on "
        f"{size.name}: {size.parameters / 1e6:.0f}M parameters in {base}, "
        f"computation in {8 * run.value_bytes} bit",
        f"adapters of rank {rank}: {size.adapter / 1e6:.1f}M parameters each; {run.processes} process(es)"
        + (", sharded (FSDP2)" if run.sharded else ""),
        f"{run.rows} rows a branch and process, {run.accumulation} micro-batch(es), prompts of {run.prompt_length} "
        f"and completions of {run.completion_length} tokens, gradient checkpointing "
        f"{'on' if run.checkpointing else 'off'}",
        "",
        *memory_table(size, run, device),
        "",
        *time_table(size, run, device),
    ]
    if run.processes > 1:
        lines += ["", *traffic_table(size, run)]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    try:
        options = parse(argv)
        check(options)
        size = count_model(options["model"], options["rank"], options["target_modules"])
        run, device = build_run(options), build_device(options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(report(size, run, device, options["rank"]))
    if fits(size, run, device):
        print("\nIt fits.")
        return 0
    print(
        f"\nIt does not fit: an allocator needs about a tenth of the memory to spare. {advice(size, run, device)[0]}"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
