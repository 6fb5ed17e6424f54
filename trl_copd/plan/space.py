"""
Bytes: what a process holds in memory, what it sends in a round, what a checkpoint takes. Pure numbers, no torch.

Letters: B rows, P and T tokens of a prompt and of a completion, K live branches, N processes, V vocabulary, H hidden
size, I width of the MLP. `docs/scaling.md` has the formulas and their error.
"""

import math

from .inputs import Device, ModelSize, Run


HEAD_TILE = (4096, 32768)  # tokens and vocabulary entries that TRL's LM head projects at once
LOGITS_BUDGET = 2**24  # numbers in one tensor of logits while overlap is measured, see `measure/overlap.py`
TOKENS_BUDGET = 2**14  # positions of learner and teacher in one forward then
BLOCK_4BIT = 64  # bitsandbytes: one float32 scale for so many 4-bit weights
# Tiles that are alive at once in the backward of TRL's LM head: its PyTorch version holds the logits, three forms of
# their gradient and the intermediate results; its Triton version works in place.
HEAD_TILES = {"torch": 8.25, "triton": 1.0}


def base_bytes(size: ModelSize, run: Run) -> float:
    if run.quantize is None:
        return size.parameters * run.weight_bytes
    each = 0.5 + 4 / BLOCK_4BIT if run.quantize == 4 else 1.0
    return size.linear * each + (size.parameters - size.linear) * run.weight_bytes


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
    share = 1 / run.processes if run.sharded else 1.0
    whole = (1 - share) * (base_bytes(size, run) + run.adapters * adapter)  # what a gather adds
    width = run.value_bytes * (4 * size.hidden + 3 * size.mlp)  # a layer's intermediate results of one token
    rows, unique = run.rollout_rows(), run.rollout_rows()
    if several:  # rows of one prompt share its prefill
        unique = math.ceil(rows / run.generations)
    widest = adapter * run.student_rank  # stacked adapters are padded to the largest rank
    stacked = widest * min(live, rows) if several else 0  # a chunk has rows of every live branch
    parts = {
        "resident": {
            "libraries and device context": device.process,
            "base": share * base_bytes(size, run),
            "adapters": share * run.adapters * adapter,
            "optimizer moments": share * 2 * run.adapters * adapter,
        },
        "rollouts": {
            "KV cache": rows * kv_bytes(size, run, run.tokens) * (1 + 1 / size.layers),
            "stacked adapters": stacked,
            "prefill": unique * run.prompt_length * width,
            "scores of the next token": 3 * 4 * rows * size.vocabulary,
            "gathered weights": whole,
        },
        "update": {
            "gradients": share * (run.live_adapters() - 1) * adapter,  # of the branches before the last one
            "activations of one branch": activation_bytes(size, run),
            "LM head": head_bytes(size, run, device, run.rows),
            "gathered layers": 2 / size.layers * whole,
        },
    }
    if run.opd_steps and run.edges:
        teaching_rows = min(run.rows, run.cross_rows())
        parts["teaching"] = {
            "stacked adapters": widest * min(run.branches, teaching_rows),
            "scoring": teaching_rows * run.tokens * 4 * width / run.value_bytes,  # its sums are in float32
            "LM head": head_bytes(size, run, device, teaching_rows) / 2,
            "gathered weights": whole,
        }
        if run.overlap_every:
            parts["measuring"] = {**_measuring(size, run, widest), "gathered weights": whole}
    if run.processes > 1 and not run.sharded:
        parts["reduction"] = {
            "gradients": run.live_adapters() * adapter,
            "their copy and mean": 2 * run.live_adapters() * adapter,
        }
    return parts


def _measuring(size: ModelSize, run: Run, adapter: int) -> dict[str, float]:
    rows = min(run.probe_rows(), run.chunk_rows or run.probe_rows())
    logits = min(LOGITS_BUDGET, run.probe_prompts * run.completion_length * size.vocabulary)
    generating = rows * (kv_bytes(size, run, run.tokens) + 3 * 4 * size.vocabulary) + run.branches * adapter
    # both logits, their log-probabilities and probabilities, a difference; before that the forward to hidden states
    tokens = max(2 * run.tokens, min(TOKENS_BUDGET, 2 * run.probe_prompts * run.tokens))
    forward = tokens * 4 * (4 * size.hidden + 3 * size.mlp)  # its sums are in float32
    comparing = max(7 * 4 * logits, forward) + 2 * tokens * size.hidden * 4 + 2 * adapter
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
    return (3 * run.adapters + merged) * adapter_bytes(size, run)


def traffic(size: ModelSize, run: Run) -> dict[str, float]:
    """
    Bytes that one process sends in a round: `"gradients"` of its live adapters, reduced once in a ring; or with FSDP2
    `"shards"`: base and adapters are gathered for each `generate`, scoring, forward and backward, and gradients
    scattered.
    """
    share = (run.processes - 1) / run.processes
    live = run.most_live()
    sampling = 1 + (2 * live if run.opd_steps and run.edges else 0)
    gathers = run.generations_per_round * sampling + 2 * live * run.accumulation
    weights = base_bytes(size, run) + run.adapters * adapter_bytes(size, run)
    gradients = run.live_adapters() * adapter_bytes(size, run)
    return {"gradients": 2 * share * gradients, "shards": share * (gathers * weights + run.accumulation * gradients)}
