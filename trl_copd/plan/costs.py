"""
The cost model: memory, seconds and bytes of a round as formulas. Pure numbers, no torch.

Letters: B rows, P and T tokens of a prompt and of a completion, K live branches, N processes, V vocabulary, H hidden
size, I width of the MLP. Memory is of one process, in bytes; `docs/scaling.md` has the formulas and their error.
"""

import math
from dataclasses import dataclass, replace

from ..schedule import Schedule, cross_prompts
from ..topology import Edge, Topology, build_topology


GIB = 2**30
HEAD_TILE = (4096, 32768)  # tokens and vocabulary entries that TRL's LM head projects at once
LOGITS_BUDGET = 2**26  # numbers in one tensor of logits while overlap is measured, see `evaluation`
BLOCK_4BIT = 64  # bitsandbytes: one float32 scale for so many 4-bit weights
# Tiles that are alive at once in the backward of TRL's LM head: its PyTorch version holds the logits, three forms of
# their gradient and the intermediate results; its Triton version works in place.
HEAD_TILES = {"torch": 8.25, "triton": 1.0}
VOCABULARY_PASSES = 30  # reads and writes of the logits by top-k, both softmaxes and the divergence


@dataclass(frozen=True)
class ModelSize:
    """
    What the costs need to know of a model, see [`count_model`].

    Args:
        parameters (`int`): All of the base, tied weights once.
        linear (`int`): Those that a 4-bit or 8-bit base quantises: linear layers without the LM head.
        active (`int`): Those that a token is multiplied with, without embeddings and LM head (in a mixture of
            experts, the experts that are chosen).
        adapter (`int`): Of one LoRA adapter.
        hidden, mlp, layers, heads, kv_heads, head_dim, vocabulary (`int`): As in the model's configuration; `mlp` is
            the width that a token passes through.
    """

    name: str
    parameters: int
    linear: int
    active: int
    adapter: int
    hidden: int
    mlp: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int


@dataclass(frozen=True)
class Device:
    """
    What a round's time is computed with.

    Args:
        memory (`float`): Bytes of memory; 0 if unknown.
        bandwidth (`float`): Bytes per second from memory, as reached.
        flops (`float`): Operations per second of large products (prefill, scoring, update), as reached.
        thin_flops (`float`): The same while one token per row is decoded.
        layer_seconds (`float`): Time to launch one layer's kernels, per forward; 0 where it hides in `bandwidth`.
        process (`float`): Bytes that a process holds before any model: libraries, the CUDA context.
        head (`str`): How TRL's LM head runs: `"triton"` or `"torch"`.
    """

    name: str
    memory: float
    bandwidth: float
    flops: float
    thin_flops: float
    layer_seconds: float = 0.0
    process: float = 0.6 * GIB
    head: str = "torch"


def _gpu(name: str, gigabytes: float, terabytes_per_second: float, teraflops: float) -> Device:
    # data sheet values (dense bf16) times the shares that are assumed to be reached; none is measured here
    rate = 0.4e12 * teraflops
    return Device(name, gigabytes * 1e9, 0.6e12 * terabytes_per_second, rate, rate, 1e-3, 1.0 * GIB, "triton")


DEVICES = {
    "h200": _gpu("h200", 141, 4.8, 989),
    "h100": _gpu("h100", 80, 3.35, 989),
    "a100": _gpu("a100", 80, 2.0, 312),
    "l40s": _gpu("l40s", 48, 0.864, 362),
    "rtx4090": _gpu("rtx4090", 24, 1.008, 165),
    # one core, as `benchmarks/scaling.py` calibrated it with one expert; float32
    "cpu": Device("cpu", 0, 7e9, 60e9, 40e9),
}


@dataclass(frozen=True)
class Run:
    """
    What is going to be trained.

    Args:
        experts (`int`): K.
        topology (`str`): As in [`CoPDConfig`].
        processes (`int`): N.
        rows (`int`): `per_device_train_batch_size`: rows per branch, process and micro-batch.
        accumulation (`int`): Micro-batches of a round, `gradient_accumulation_steps`.
        generations (`int`): `num_generations`.
        prompt_length, completion_length (`int`): Tokens, as padded.
        value_bytes (`int`): Bytes of a weight and of an activation: 4 or 2.
        quantize (`int`, *optional*): Bits of a quantised base, 4 or 8.
        checkpointing (`bool`): `gradient_checkpointing`.
        chunk_rows (`int`, *optional*): `rollout_chunk_rows`.
        rlvr_steps, opd_steps, opd_fraction, overlap_every, probe_prompts: As in [`CoPDConfig`].
    """

    experts: int
    topology: str = "student"
    processes: int = 1
    rows: int = 8
    accumulation: int = 1
    generations: int = 8
    prompt_length: int = 256
    completion_length: int = 256
    value_bytes: int = 2
    quantize: int | None = None
    checkpointing: bool = True
    chunk_rows: int | None = None
    rlvr_steps: int = 15
    opd_steps: int = 10
    opd_fraction: float = 0.5
    overlap_every: int = 5
    probe_prompts: int = 4

    @property
    def graph(self) -> Topology:
        names = tuple(f"e{i}" for i in range(self.experts))
        return build_topology(self.topology, names, names[0] if self.topology == "hub" else None)

    @property
    def edges(self) -> tuple[Edge, ...]:
        return self.graph.edges if self.opd_steps else ()

    @property
    def branches(self) -> int:
        return len(self.graph.branches)

    @property
    def tokens(self) -> int:
        return self.prompt_length + self.completion_length

    @property
    def adapter_bytes_each(self) -> int:
        # PEFT keeps adapters in float32; TRL casts those of a quantised base to bfloat16
        return 2 if self.quantize else 4

    def live(self, phase: str) -> list[tuple[bool, bool]]:
        """The branches that take part in a round of the phase: whether each has native and cross rows."""
        rounds = max(1, self.rlvr_steps), self.opd_steps
        schedule = Schedule(*rounds, static=self.topology == "mopd")
        index = 0 if phase == "rlvr" else rounds[0]
        plans = schedule.plan(self.graph, index, sum(rounds)).values()
        return [(plan.native, bool(plan.edges)) for plan in plans if not plan.idle]

    def cross_rows(self) -> int:
        """Rows that are taught in an OPD round, of all branches, on one process."""
        prompts = self.rows * self.accumulation * self.processes // self.generations
        total = 0
        for native, cross in self.live("opd"):
            taken = cross_prompts(prompts, self.opd_fraction) if native else prompts
            total += taken * self.generations if cross else 0
        return total // self.processes

    def phases(self) -> list[str]:
        return ["rlvr"] * bool(self.rlvr_steps) + ["opd"] * bool(self.opd_steps)

    def most_live(self) -> int:
        return max(len(self.live(phase)) for phase in self.phases())

    def rollout_rows(self) -> int:
        """Most rows of one `generate` of a round."""
        rows = self.most_live() * self.rows * self.accumulation
        return min(rows, self.chunk_rows or rows)

    def probe_rows(self) -> int:
        pairs = {(edge.learner, edge.domain) for edge in self.edges}
        return math.ceil(len(pairs) * self.probe_prompts / self.processes) if self.overlap_every else 0


# ---- Memory -----------------------------------------------------------------------------------------------------


def base_bytes(size: ModelSize, run: Run) -> float:
    if run.quantize is None:
        return size.parameters * run.value_bytes
    each = 0.5 + 4 / BLOCK_4BIT if run.quantize == 4 else 1.0
    return size.linear * each + (size.parameters - size.linear) * run.value_bytes


def adapter_bytes(size: ModelSize, run: Run) -> int:
    return size.adapter * run.adapter_bytes_each


def kv_bytes(size: ModelSize, run: Run, length: float) -> float:
    """Keys and values of one row."""
    return 2 * size.layers * size.kv_heads * size.head_dim * length * run.value_bytes


def layer_bytes(size: ModelSize, run: Run) -> float:
    """
    What one layer keeps of one token for the backward, with adapters on all linear layers.

    In float32: 2 inputs and 2 outputs of norms, queries, keys, values and the attention's output (keys and values
    repeated for all heads), and gate, its activation, up, and their product. In 16 bits the norms' inputs stay in
    float32, and each adapter casts its input anew.
    """
    attention = size.heads * size.head_dim
    if run.value_bytes == 4:
        return 4 * (4 * size.hidden + 4 * attention + 4 * size.mlp)
    return 8 * size.hidden + 2 * (5 * size.hidden + 5 * attention + 4 * size.mlp)


def activation_bytes(size: ModelSize, run: Run) -> float:
    tokens = run.rows * run.tokens
    if run.checkpointing:  # the inputs of all layers, and one layer that is computed again
        return tokens * (size.layers * size.hidden * run.value_bytes + layer_bytes(size, run))
    return tokens * size.layers * layer_bytes(size, run)


def head_bytes(size: ModelSize, run: Run, device: Device, rows: int) -> float:
    """TRL's LM head, which projects tiles instead of all logits; without Triton it scores the prompt as well."""
    tokens = rows * (run.completion_length if device.head == "triton" else run.tokens)
    tile = min(tokens, HEAD_TILE[0]) * min(size.vocabulary, HEAD_TILE[1])
    return tile * 4 * HEAD_TILES[device.head]


def memory(size: ModelSize, run: Run, device: Device) -> dict[str, dict[str, float]]:
    """
    Bytes of one process: what it holds throughout (`"resident"`), and what each part of a round adds to it.

    Returns:
        `dict[str, dict[str, float]]`: `{part: {what: bytes}}`; the peak is `resident` and the largest other part.
    """
    adapter, live, several = adapter_bytes(size, run), run.most_live(), run.branches > 1
    width = run.value_bytes * (4 * size.hidden + 3 * size.mlp)  # a layer's intermediate results of one token
    rows, unique = run.rollout_rows(), run.rollout_rows()
    if several:  # rows of one prompt share its prefill
        unique = math.ceil(rows / run.generations)
    stacked = adapter * min(live, math.ceil(rows / (run.rows * run.accumulation))) if several else 0
    parts = {
        "resident": {
            "libraries and device context": device.process,
            "base": base_bytes(size, run),
            "adapters": run.branches * adapter,
            "optimizer moments": 2 * run.branches * adapter,
        },
        "rollouts": {
            "KV cache": rows * kv_bytes(size, run, run.tokens) * (1 + 1 / size.layers),
            "stacked adapters": stacked,
            "prefill": unique * run.prompt_length * width,
            "scores of the next token": 3 * 4 * rows * size.vocabulary,
        },
        "update": {
            "gradients": (live - 1) * adapter,  # of the branches before the last one
            "activations of one branch": activation_bytes(size, run),
            "LM head": head_bytes(size, run, device, run.rows),
        },
    }
    if run.opd_steps and run.edges:
        teaching_rows = min(run.rows, run.cross_rows())
        parts["teaching"] = {
            "stacked adapters": adapter * min(run.branches, teaching_rows),
            "scoring": teaching_rows * run.tokens * width,
            "LM head": head_bytes(size, run, device, teaching_rows) / 2,
        }
        if run.overlap_every:
            parts["measuring"] = _measuring(size, run, adapter)
    if run.processes > 1:
        parts["reduction"] = {"gradients": live * adapter, "their copy and mean": 2 * live * adapter}
    return parts


def _measuring(size: ModelSize, run: Run, adapter: int) -> dict[str, float]:
    rows = min(run.probe_rows(), run.chunk_rows or run.probe_rows())
    logits = min(LOGITS_BUDGET, 2 * run.probe_prompts * run.completion_length * size.vocabulary)
    generating = rows * (kv_bytes(size, run, run.tokens) + 3 * 4 * size.vocabulary) + run.branches * adapter
    comparing = logits * (2 * run.value_bytes + 12) + 2 * adapter
    return {"probe rollouts or logits": max(generating, comparing)}


def peak(parts: dict[str, dict[str, float]]) -> tuple[float, str]:
    """Bytes at the highest point of a round, and the part that reaches it."""
    added = {name: sum(part.values()) for name, part in parts.items() if name != "resident"}
    top = max(added, key=lambda name: added[name])
    return sum(parts["resident"].values()) + added[top], top


def fits(size: ModelSize, run: Run, device: Device, margin: float = 0.1) -> bool:
    """Whether the peak leaves `margin` of the device's memory, for what an allocator loses; unknown memory fits."""
    return device.memory == 0 or peak(memory(size, run, device))[0] <= (1 - margin) * device.memory


def checkpoint_bytes(size: ModelSize, run: Run) -> float:
    """Adapters and their moments, and the merge of the experts where the student is no branch."""
    merged = 0 if run.graph.has_student_branch else run.experts
    return (3 * run.branches + merged) * adapter_bytes(size, run)


# ---- Time -------------------------------------------------------------------------------------------------------


def read_bytes(size: ModelSize, run: Run) -> float:
    """What one forward reads of the base; a quantised layer is read, written out in 16 bits and read again."""
    unpacked = 2 * 2 * size.linear if run.quantize else 0
    return base_bytes(size, run) + unpacked


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
    step = decode_seconds(size, run, device, math.ceil(rows / chunks), math.ceil(adapters / chunks))
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
    `measuring` (each time), and the mean over a cycle, `round`. Rewards are not included.
    """
    parts: dict[str, float] = {"rollouts": 0.0, "update": 0.0, "teaching": 0.0, "measuring": 0.0}
    mean = 0.0
    for phase in run.phases():
        live = len(run.live(phase))
        rows = live * run.rows * run.accumulation
        unique = rows / run.generations if run.branches > 1 else rows
        rollouts = rollout_seconds(size, run, device, rows, live, unique)
        update = live * update_seconds(size, run, device)
        teaching = 0.0
        if phase == "opd" and run.edges:
            tokens = run.cross_rows() * run.tokens
            scored = run.cross_rows() * run.completion_length if device.head == "triton" else tokens
            teaching = 2 * forward_seconds(size, run, device, tokens, scored)
            parts["teaching"] = teaching
        parts["rollouts"], parts["update"] = max(parts["rollouts"], rollouts), max(parts["update"], update)
        share = run.rlvr_steps if phase == "rlvr" else run.opd_steps
        mean += share / (run.rlvr_steps + run.opd_steps) * (rollouts + update + teaching)
    if run.edges and run.overlap_every:
        parts["measuring"] = _measuring_seconds(size, run, device)
        mean += parts["measuring"] / run.overlap_every
    return {**parts, "round": mean}


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


# ---- Between processes ------------------------------------------------------------------------------------------


def traffic(size: ModelSize, run: Run) -> dict[str, float]:
    """
    Bytes that one process sends in a round: the gradients of its live adapters, reduced once in a ring; and what a
    sharded base (FSDP2, ZeRO-3) would add, which every forward and backward gathers anew.
    """
    share = 2 * (run.processes - 1) / run.processes
    live = run.most_live()
    chunks = math.ceil(live * run.rows * run.accumulation / run.rollout_rows())
    passes = chunks * (1 + run.completion_length) + live * run.accumulation * (3 if run.checkpointing else 2)
    if run.opd_steps and run.edges:
        passes += 2 * math.ceil(run.cross_rows() / run.rows)
    return {
        "gradients": share * live * adapter_bytes(size, run),
        "sharded base": share / 2 * passes * base_bytes(size, run),
    }
