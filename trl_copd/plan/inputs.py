"""What the costs are computed from: a model's size, a device's rates, a run's settings. Pure numbers, no torch."""

import math
from dataclasses import dataclass

from ..schedule import Schedule, cross_prompts
from ..topology import Edge, Topology, build_topology


GIB = 2**30


@dataclass(frozen=True)
class ModelSize:
    """
    What the costs need to know of a model, see [`count_model`].

    Args:
        parameters (`int`): All of the base, tied weights once.
        linear (`int`): Those that a 4-bit or 8-bit base quantises: linear layers without the LM head.
        active (`int`): Those that a token is multiplied with, without embeddings and LM head (in a mixture of
            experts, the experts that are chosen; in a vision-language model, those of the language model).
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
    "cpu": Device("cpu", 0, 8e9, 78e9, 70e9),
}


@dataclass(frozen=True)
class Run:
    """
    What is going to be trained.

    Args:
        experts (`int`): K.
        topology (`str`): As in [`CoPDConfig`].
        processes (`int`): N.
        sharded (`bool`): Whether FSDP2 shards base, adapters, gradients and moments over them.
        rows (`int`): `per_device_train_batch_size`: rows per branch, process and micro-batch.
        accumulation (`int`): Micro-batches of a round, `gradient_accumulation_steps`.
        steps_per_generation (`int`, *optional*): Micro-batches that are sampled at once; those of a round by default.
        num_iterations (`int`): Times that a generation is used.
        generations (`int`): `num_generations`.
        prompt_length, completion_length (`int`): Tokens, as padded.
        weight_bytes (`int`): Bytes of a weight of the base: 4 or 2 (`dtype`; TRL's default is float32).
        value_bytes (`int`): Bytes of an activation: 4, or 2 with `bf16=True`, TRL's default.
        quantize (`int`, *optional*): Bits of a quantised base, 4 or 8.
        checkpointing (`bool`): `gradient_checkpointing`.
        chunk_rows (`int`, *optional*): `rollout_chunk_rows`.
        merging (`bool`): `student_init="merge"`: the student's adapter has the rank of all experts together.
        rlvr_steps, opd_steps, opd_fraction, overlap_every, probe_prompts: As in [`CoPDConfig`].
    """

    experts: int
    topology: str = "student"
    processes: int = 1
    sharded: bool = False
    rows: int = 32
    accumulation: int = 1
    steps_per_generation: int | None = None
    num_iterations: int = 1
    generations: int = 8
    prompt_length: int = 256
    completion_length: int = 256
    weight_bytes: int = 4
    value_bytes: int = 2
    quantize: int | None = None
    checkpointing: bool = True
    chunk_rows: int | None = None
    merging: bool = False
    rlvr_steps: int = 10
    opd_steps: int = 20
    opd_fraction: float = 0.25
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
    def generation_rows(self) -> int:
        """Rows of a branch that one process samples at once."""
        return self.rows * (self.steps_per_generation or self.accumulation)

    @property
    def generations_per_round(self) -> float:
        """Below 1 where a generation serves several rounds."""
        return self.rows * self.accumulation / (self.generation_rows * self.num_iterations)

    @property
    def scores_again(self) -> bool:
        """TRL scores rollouts once more if a later round uses them, for the importance weights."""
        return self.accumulation % (self.generation_rows // self.rows * self.num_iterations) != 0

    @property
    def student_rank(self) -> int:
        """Rank of the student's adapter, in ranks of an expert's."""
        return self.experts if self.merging and self.graph.has_student_branch else 1

    @property
    def adapters(self) -> int:
        """All branches' adapters, in adapters of an expert."""
        return self.branches + self.student_rank - 1

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
        """Rows of one generation that are taught in OPD, of all branches, on one process."""
        prompts = self.generation_rows * self.processes // self.generations
        total = 0
        for native, cross in self.live("opd"):
            taken = cross_prompts(prompts, self.opd_fraction) if native else prompts
            total += taken * self.generations if cross else 0
        return total // self.processes

    def phases(self) -> list[str]:
        return ["rlvr"] * bool(self.rlvr_steps) + ["opd"] * bool(self.opd_steps)

    def most_live(self) -> int:
        return max(len(self.live(phase)) for phase in self.phases())

    def live_adapters(self) -> int:
        """Those of the branches that take part in a round, at most, in adapters of an expert."""
        return max(sum(1 if native else self.student_rank for native, _ in self.live(p)) for p in self.phases())

    def rollout_rows(self) -> int:
        """Most rows of one `generate`: chunks are even, see `engines/grouped.py`."""
        rows = self.most_live() * self.generation_rows
        return math.ceil(rows / math.ceil(rows / (self.chunk_rows or rows)))

    def probe_rows(self) -> int:
        pairs = {(edge.learner, edge.domain) for edge in self.edges}
        return math.ceil(len(pairs) * self.probe_prompts / self.processes) if self.overlap_every else 0
