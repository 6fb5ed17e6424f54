"""
Predict the memory and time of a run. If it does not fit, exit with 1 and print advice.

    trl-copd plan --model Qwen/Qwen3-0.6B --experts 4 --gpus 8 --rows 64 --completion-length 1024
    trl-copd plan --config recipes/qwen3_0.6b_gpu.yaml --device a100
    trl-copd plan --config recipes/qwen3_4b_gpu.yaml --device rtx4090 --write recipes/qwen3_4b_24gb.yaml
"""

import math
import sys
from dataclasses import replace
from pathlib import Path

from ..recipes import find_recipe
from .durations import seconds
from .inputs import GIB, Device, ModelSize, Run
from .options import build_device, build_run, check, not_counted, parse
from .sizes import count_model
from .space import checkpoint_bytes, fits, memory, peak, traffic
from .writing import changed_fields, write_recipe


# ---- Advice -----------------------------------------------------------------------------------------------------


def chunk_advice(size: ModelSize, run: Run, device: Device) -> int | None:
    """Rows to sample at once so that rollouts do not set the peak, or `None` if they do not anyway."""
    chunked = run
    while peak(memory(size, chunked, device))[1] == "rollouts" and chunked.rollout_rows() > run.generations:
        chunked = _fewer_rows(chunked)
    return chunked.chunk_rows if chunked != run else None


def _fewer_rows(run: Run) -> Run:
    prompts = math.ceil(run.rollout_rows() / run.generations)  # chunks are even, and may split the rows of a prompt
    return replace(run, chunk_rows=max(1, min(prompts - 1, prompts * 9 // 10)) * run.generations)


def remedy(size: ModelSize, run: Run, device: Device) -> Run | None:
    """The run with what lowers its peak at the least cost, or `None` if nothing is left."""
    top = peak(memory(size, run, device))[1]
    if top in ("rollouts", "measuring") and run.rollout_rows() > run.generations:
        fewer = _fewer_rows(run)
        if sum(memory(size, fewer, device)[top].values()) < sum(memory(size, run, device)[top].values()):
            return fewer
    if top == "update" and not run.checkpointing:
        return replace(run, checkpointing=True)
    if top in ("update", "teaching") and run.rows % 2 == 0:
        steps = run.steps_per_generation and 2 * run.steps_per_generation  # the same rows are sampled at once
        return replace(run, rows=run.rows // 2, accumulation=run.accumulation * 2, steps_per_generation=steps)
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
        if changed.steps_per_generation:
            changes.append(f"steps_per_generation={changed.steps_per_generation} (the same generation_batch_size)")
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


def report(size: ModelSize, run: Run, device: Device, rank: int, prompts: str) -> str:
    base = f"{run.quantize} bit" if run.quantize else f"{8 * run.weight_bytes} bit"
    lines = [
        f"{run.experts} expert(s), {run.branches} branches (topology {run.topology}), {len(run.edges)} edges, on "
        f"{size.name}: {size.parameters / 1e6:.0f}M parameters in {base}, "
        f"computation in {8 * run.value_bytes} bit",
        f"adapters of rank {rank}: {size.adapter / 1e6:.1f}M parameters each"
        + (f", the student's of rank {run.student_rank * rank}" if run.student_rank > 1 else "")
        + f"; {run.processes} process(es)"
        + (", sharded (FSDP2)" if run.sharded else ""),
        f"{run.rows} rows a branch and process, {run.accumulation} micro-batch(es), prompts of {run.prompt_length} "
        f"tokens ({prompts}) and completions of {run.completion_length} tokens, gradient checkpointing "
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
        options = parse(argv, __doc__)
        check(options)
        size = count_model(options["model"], options["rank"], options["target_modules"])
        run, device = build_run(options), build_device(options)
        table, enough = report(size, run, device, options["rank"], options["prompts"]), fits(size, run, device)
        missing = not_counted(options, run)
        advised, changed = ("", run) if enough else advice(size, run, device)
        if options.get("write") and changed is not None:
            needed = peak(memory(size, changed, device))[0]
            source, target = find_recipe(options["config"]), Path(options["write"])
            fields = options["own_fields"] | changed_fields(run, changed)
            devices = f"one {device.name}" if run.processes == 1 else f"{run.processes} {device.name}"
            words = sys.argv[1:] if argv is None else argv
            write_recipe(source, target, fields, devices, needed, run.prompt_length, words)
    except (ValueError, TypeError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(table, end="\n\n")
    for field in missing:
        print(f"not counted: {field}")
    if enough:
        print("It fits, without what is not counted." if missing else "It fits.")
        return 0
    print(f"It does not fit: the allocator needs about a tenth of the memory free. {advised}")
    if options.get("write") and changed is not None:
        print(f"{options['write']} fits.")
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
