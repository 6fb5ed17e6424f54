"""What belongs to one branch of a run, and the batches it brings to a round."""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

import torch
from trl.trainer.utils import pad

from ..experts import Expert
from ..prompts import PromptStream, derived_seed
from ..schedule import BranchPlan, cross_prompts
from ..topology import Edge


# Attributes of GRPOTrainer that hold one policy's rewards, rollouts and logs. While a branch acts, the trainer wears
# the branch's own; everything else of the trainer is shared.
PER_BRANCH_ATTRIBUTES = (
    "reward_funcs",
    "reward_func_names",
    "reward_weights",
    "reward_processing_classes",
    "_metrics",
    "_logs",
    "_buffered_inputs",
    "_current_train_step_time",
    "entropy_coef",
    "_last_world_entropy",
    "_entropy_window_stats",
)
CHECKPOINTED_ATTRIBUTES = (
    "_buffered_inputs",
    "entropy_coef",
    "_last_world_entropy",
    "_entropy_window_stats",
)


@dataclass
class RoundRows:
    """Prompts of a branch for one generation on this process: rows of the dataset, each `num_generations` times."""

    native: list[dict[str, Any]]
    cross: list[dict[str, Any]]
    edges: list[Edge]  # the edge of each cross row; rows of one edge are consecutive


@dataclass
class Branch:
    """
    One adapter in training.

    Args:
        name (`str`): Its adapter: an expert's name, or `"student"`.
        expert ([`Expert`], *optional*): Its domain; the student has none.
        attributes (`dict`): The trainer attributes of the branch, see `PER_BRANCH_ATTRIBUTES`.
        native (`PromptStream`, *optional*): Prompts of its own domain.
        cross (`dict[str, PromptStream]`): Prompts of other branches' domains, streams of their own.
        turn (`int`): Cross prompts drawn so far: whose turn it is among the edges.
        faults (`Counter`): What went wrong and was survived, so far in the run, by kind.
        in_a_row (`Counter`): Of these, how many times without a success in between.
    """

    name: str
    expert: Expert | None
    attributes: dict[str, Any]
    native: PromptStream | None = None
    cross: dict[str, PromptStream] = field(default_factory=dict)
    turn: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    in_a_row: Counter[str] = field(default_factory=Counter)
    rows: RoundRows | None = None
    cross_logs: dict[str, Any] | None = None  # completions of its last cross rows, for the table
    random_state: list[torch.Tensor] | None = None
    parameters: list[torch.nn.Parameter] = field(default_factory=list, repr=False)

    def draw(self, plan: BranchPlan, prompts: int, fraction: float) -> tuple[list[dict], list[tuple[Edge, dict]]]:
        """
        Draw the branch's share of the global generation batch.

        Args:
            plan ([`BranchPlan`]): Whether it learns natively and which edges are live.
            prompts (`int`): P, prompts of a full generation batch.
            fraction (`float`): Share of them that is cross-branch while edges are live.

        Returns:
            Native rows, and cross rows with their edges, ordered by edge.
        """
        if not plan.edges:
            crossing = 0
        elif not plan.native:
            crossing = prompts
        else:
            crossing = cross_prompts(prompts, fraction)
        native = self.native.take(prompts - crossing) if self.native is not None and plan.native else []
        turns = [plan.edges[(self.turn + i) % len(plan.edges)] for i in range(crossing)]
        self.turn += crossing
        # rows of one edge are consecutive, so that one forward scores each teacher's rows as a group
        cross = [(edge, self.cross[edge.domain].take(1)[0]) for edge in sorted(turns)]
        return native, cross

    def position(self) -> dict[str, Any]:
        """How many prompts the branch has drawn from each of its streams."""
        return {
            "turn": self.turn,
            "native": self.native.consumed if self.native is not None else None,
            "cross": {domain: stream.consumed for domain, stream in self.cross.items()},
        }

    def move_to(self, position: dict[str, Any]) -> None:
        self.turn = position["turn"]
        if self.native is not None:
            self.native.skip_to(position["native"])
        for domain, consumed in position["cross"].items():
            self.cross[domain].skip_to(consumed)

    def state_dict(self, spent: bool = False) -> dict[str, Any]:
        """
        Everything of the branch that a resume needs besides weights and optimizer moments.

        Args:
            spent (`bool`): Whether the next step samples anew: the rollouts at hand are then left out.
        """
        kept = {name: self.attributes[name] for name in CHECKPOINTED_ATTRIBUTES}
        if spent:
            kept["_buffered_inputs"] = None
        return {
            **self.position(),
            "faults": dict(self.faults),
            "in_a_row": dict(self.in_a_row),
            "random_state": self.random_state,
            "metrics": {key: list(values) for key, values in self.attributes["_metrics"]["train"].items()},
            **kept,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.move_to(state)
        self.faults, self.in_a_row = Counter(state["faults"]), Counter(state["in_a_row"])
        self.random_state = state["random_state"] and [tensor.cpu() for tensor in state["random_state"]]
        for key, values in state["metrics"].items():
            self.attributes["_metrics"]["train"][key].extend(values)
        for name in CHECKPOINTED_ATTRIBUTES:
            self.attributes[name] = state[name]


def random_state() -> list[torch.Tensor]:
    """The state of torch's random generators: the CPU's, and the current CUDA device's if there is one."""
    cuda = [torch.cuda.get_rng_state()] if torch.cuda.is_available() else []
    return [torch.random.get_rng_state(), *cuda]


def set_random_state(state: list[torch.Tensor]) -> None:
    torch.random.set_rng_state(state[0])
    if len(state) > 1:
        torch.cuda.set_rng_state(state[1])


def fresh_metrics() -> dict[str, defaultdict]:
    return {"train": defaultdict(list), "eval": defaultdict(list)}


def fresh_logs(size: int) -> dict[str, Any]:
    """The completions table that TRL keeps, for the last `size` rows."""
    return {
        "images": deque(maxlen=size),
        "prompt": deque(maxlen=size),
        "completion": deque(maxlen=size),
        "rewards": defaultdict(lambda: deque(maxlen=size)),
        "advantages": deque(maxlen=size),
        "extra": defaultdict(lambda: deque(maxlen=size)),
    }


def cross_stream(dataset: Any, seed: int, learner: str, domain: str) -> PromptStream:
    """Prompts of `domain` for `learner` to be taught on; drawing them never advances a native order."""
    return PromptStream(dataset, batch_size=1, shuffle=True, seed=derived_seed(seed, "cross", learner, domain))


def concat_batches(batches: list[dict[str, torch.Tensor]], pad_token_id: int) -> dict[str, torch.Tensor]:
    """
    Put TRL's batches of native and of cross rows into one.

    Args:
        batches (`list[dict]`): Outputs of `_generate_and_score_completions`: prompts `(B, P)` padded on the left,
            completions `(B, T)` on the right, advantages `(B,)` or `(B, T)`.
        pad_token_id (`int`): Padding of token ids.

    Returns:
        `dict`: The rows of all batches in order, advantages of shape `(B, T)`; token counts are added up.
    """
    if len(batches) == 1:
        return batches[0]
    merged = {}
    for key in batches[-1]:
        if key == "num_items_in_batch":
            merged[key] = sum(batch[key] for batch in batches)
            continue
        tensors = [batch[key] if key in batch else _untaught(batch, batches[-1][key]) for batch in batches]
        if key == "advantages":  # a sequence's advantage holds for each of its tokens
            tensors = [
                tensor.unsqueeze(1) * batch["completion_mask"] if tensor.dim() == 1 else tensor
                for tensor, batch in zip(tensors, batches, strict=True)
            ]
        value = pad_token_id if key in ("prompt_ids", "completion_ids") else 0
        side = "left" if key.startswith("prompt") else "right"
        merged[key] = pad([row for tensor in tensors for row in tensor], padding_value=value, padding_side=side)
    return merged


def _untaught(batch: dict[str, torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    """What native rows have in place of a teacher's tensor `(B, T, ...)`: zeros, as long as their completions."""
    return like.new_zeros(*batch["completion_ids"].shape, *like.shape[2:])
