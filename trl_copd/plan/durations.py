"""Seconds of a round, and the rates they are computed with, calibrated from one expert. Pure numbers, no torch."""

import math
from dataclasses import replace

from .inputs import Device, ModelSize, Run
from .space import adapter_bytes, base_bytes, kv_bytes


VOCABULARY_PASSES = 30  # reads and writes of the logits by top-k, both softmaxes and the divergence


def read_bytes(size: ModelSize, run: Run) -> float:
    """What one forward reads of the base; what is stored otherwise than it is used is written out and read again."""
    converted = bool(run.quantize) or run.weight_bytes != run.value_bytes
    return base_bytes(size, run) + converted * 2 * run.value_bytes * size.linear


def forward_seconds(size: ModelSize, run: Run, device: Device, tokens: float, scored: float) -> float:
    """One forward over many tokens, `scored` of which pass the LM head."""
    attention = 4 * size.layers * size.heads * size.head_dim * run.tokens / 2
    products = tokens * (2 * (size.active + size.adapter) + attention) + 2 * scored * size.hidden * size.vocabulary
    return products / device.flops + size.layers * device.layer_seconds


def decode_seconds(size: ModelSize, run: Run, device: Device, rows: int, adapters: int) -> float:
    """One token for each of the rows: base, adapters and cache are read once, the cache also copied."""
    cache = 3 * rows * kv_bytes(size, run, run.prompt_length + run.completion_length / 2)
    read = read_bytes(size, run) + adapters * adapter_bytes(size, run) + cache
    products = 2 * rows * (size.active + size.adapter + size.hidden * size.vocabulary)
    return read / device.bandwidth + products / device.thin_flops + size.layers * device.layer_seconds


def rollout_seconds(size: ModelSize, run: Run, device: Device, rows: int, adapters: int, unique: float) -> float:
    """Sampling `rows` rows of `adapters` adapters; `unique` of their prompts are prefilled."""
    chunks = math.ceil(rows / run.chunk_rows) if run.chunk_rows else 1
    prefill = forward_seconds(size, run, device, unique * run.prompt_length / chunks, unique / chunks)
    step = decode_seconds(size, run, device, math.ceil(rows / chunks), adapters)
    return chunks * (prefill + run.completion_length * step)


def update_seconds(size: ModelSize, run: Run, device: Device) -> float:
    """Forward and backward of one branch's rows and its optimizer step: the base needs no gradient of its weights."""
    tokens = run.rows * run.accumulation * run.tokens
    scored = run.rows * run.accumulation * run.completion_length if device.head == "triton" else tokens
    attention = 4 * size.layers * size.heads * size.head_dim * run.tokens / 2
    passes = 3 if run.checkpointing else 2  # each costs what a forward costs; adapters get a gradient of their own
    products = tokens * (passes * (2 * size.active + 2 * size.adapter + attention) + 2 * size.adapter)
    products += 3 * 2 * scored * size.hidden * size.vocabulary
    launches = (passes + 1) * run.accumulation * size.layers * device.layer_seconds
    return products / device.flops + 7 * adapter_bytes(size, run) / device.bandwidth + launches


def seconds(size: ModelSize, run: Run, device: Device) -> dict[str, float]:
    """
    Seconds of a round, of each part: `rollouts`, `update` (the more expensive phase's), `teaching` (of an OPD round),
    `measuring` (each time), and the mean over a cycle, `round`. Rewards are not included. Where a generation serves
    several rounds, each bears its share.
    """
    parts: dict[str, float] = {"rollouts": 0.0, "update": 0.0, "teaching": 0.0, "measuring": 0.0}
    mean = 0.0
    for phase in run.phases():
        live = len(run.live(phase))
        rows = live * run.generation_rows
        unique = rows / run.generations if run.branches > 1 else rows
        rollouts = rollout_seconds(size, run, device, rows, live, unique)
        if run.scores_again:
            rollouts += _score_seconds(size, run, device, rows)
        rollouts *= run.generations_per_round
        update = live * update_seconds(size, run, device)
        teaching = 0.0
        if phase == "opd" and run.edges:
            teaching = 2 * _score_seconds(size, run, device, run.cross_rows()) * run.generations_per_round
            parts["teaching"] = teaching
        parts["rollouts"], parts["update"] = max(parts["rollouts"], rollouts), max(parts["update"], update)
        share = run.rlvr_steps if phase == "rlvr" else run.opd_steps
        mean += share / (run.rlvr_steps + run.opd_steps) * (rollouts + update + teaching)
    if run.edges and run.overlap_every:
        parts["measuring"] = _measuring_seconds(size, run, device)
        mean += parts["measuring"] / run.overlap_every
    return {**parts, "round": mean}


def _score_seconds(size: ModelSize, run: Run, device: Device, rows: int) -> float:
    tokens = rows * run.tokens
    return forward_seconds(
        size, run, device, tokens, rows * run.completion_length if device.head == "triton" else tokens
    )


def _measuring_seconds(size: ModelSize, run: Run, device: Device) -> float:
    rows = run.probe_rows()
    probes = rollout_seconds(size, run, device, rows, run.branches, rows)
    compared = 2 * math.ceil(run.probe_prompts / run.processes)
    forward = forward_seconds(size, run, device, compared * run.tokens, compared * run.completion_length)
    vocabulary = compared * run.completion_length * size.vocabulary * 4 * VOCABULARY_PASSES / device.bandwidth
    return probes + len(run.edges) * (forward + vocabulary)


def calibrated(
    size: ModelSize, run: Run, device: Device, update: float, rollouts: dict[int, float], process: float
) -> Device:
    """
    The device's rates from a run of **one** expert.

    Args:
        run ([`Run`]): That run, of one expert.
        update (`float`): Seconds of its update.
        rollouts (`dict[int, float]`): Seconds of its rollouts with two different numbers of rows.
        process (`float`): Bytes that the process held besides base, adapter and moments.
    """
    # all of the update's work goes into one rate; the optimizer's reads are negligible beside it
    flops = update_seconds(size, run, replace(device, flops=1.0, bandwidth=math.inf, layer_seconds=0.0)) / update
    device = replace(device, flops=flops, layer_seconds=0.0, process=process)
    steps = {
        rows: (total - forward_seconds(size, run, device, rows * run.prompt_length, rows)) / run.completion_length
        for rows, total in rollouts.items()
    }
    (few, short), (many, long) = sorted(steps.items())
    per_row = (long - short) / (many - few)
    bandwidth = (read_bytes(size, run) + adapter_bytes(size, run)) / max(short - few * per_row, 0.1 * short)
    cache = 3 * kv_bytes(size, run, run.prompt_length + run.completion_length / 2) / bandwidth
    products = 2 * (size.active + size.adapter + size.hidden * size.vocabulary)
    return replace(device, bandwidth=bandwidth, thin_flops=products / max(per_row - cache, 0.1 * per_row))
