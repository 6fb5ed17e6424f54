"""Top-k overlap and symmetric KL between the learner and the teacher of every edge."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from trl.trainer.utils import pad

from .. import pixels, sharding
from ..distillation import symmetric_kl, topk_overlap
from ..divergence import last_hidden_states
from ..engines.base import Engine
from ..forwards import Forwards
from ..precision import float32, in_16_bits, logits
from ..prompts import derived_seed
from ..randomness import forked
from ..show.recorder import Recorder
from ..topology import Edge
from .conversations import Conversations


logger = get_logger(__name__)

LOGITS_BUDGET = 2**24  # numbers in one tensor of logits: 64 MiB in float32
TOKENS_BUDGET = 2**14  # positions of learner and teacher in one forward
Rollouts = list[tuple[list[int], list[int]]]  # prompt ids and completion ids of each row


class Conversation(list):
    """
    Token ids of a completion, some of which were not sampled.

    Args:
        ids (`list[int]`): The token ids.
        mask (`list[int]`): 1 for those that were sampled, 0 for what tools have said.
    """

    def __init__(self, ids: list[int], mask: list[int]):
        super().__init__(ids)
        self.mask = mask


class Overlap:
    """
    Compares learner and teacher of every edge on the learner's own rollouts for a few fixed prompts of its domain.

    Args:
        edges (`Sequence[Edge]`): The edges of the run.
        probes (`dict[str, list[dict]]`): Probe rows by domain, never trained on.
        every (`int`): Rounds between two measurements; `0` measures never.
        turns (`bool`): Whether a measurement takes one edge of every learner, in turn, instead of all edges.
        top_k (`int`): k of the overlap.
        temperature (`float`): Logits are divided by it, as in training.
        seed (`int`): Of the probes' rollouts.
        forwards ([`Forwards`]): Runs the model over rows of two adapters.
        engine ([`Engine`]): Samples.
        tokenize (`Callable`): TRL's: prompts to token ids.
        pad_token_id, eos_token_id (`int`): Of the tokenizer.
        accelerator ([`~accelerate.Accelerator`]): Shares the rows out among the processes.
        recorder ([`Recorder`]): Logs what is measured.
        thresholds (`Sequence[float]`): Overlaps that decide something; a warning says which lie in the noise.
        conversations ([`Conversations`], *optional*): Has those of domains whose expert acts.
    """

    def __init__(
        self,
        edges: Sequence[Edge],
        probes: dict[str, list[dict[str, Any]]],
        every: int,
        turns: bool,
        top_k: int,
        temperature: float,
        seed: int,
        forwards: Forwards,
        engine: Engine,
        tokenize: Callable[[list], list[list[int]]],
        pad_token_id: int,
        eos_token_id: int,
        accelerator: Accelerator,
        recorder: Recorder,
        thresholds: Sequence[float] = (),
        conversations: Conversations | None = None,
    ):
        self.conversations = conversations
        self.edges = [edge for edge in edges if probes.get(edge.domain)]
        self.probes, self.every, self.turns, self.top_k = probes, every, turns, top_k
        self.temperature, self.seed = temperature, seed
        self.pad_token_id, self.eos_token_id = pad_token_id, eos_token_id
        self.forwards, self.engine, self.tokenize = forwards, engine, tokenize
        self.accelerator, self.recorder, self.thresholds = accelerator, recorder, thresholds
        self._noisy = in_16_bits(forwards.model, accelerator.mixed_precision) and not forwards.scores_in_float32

    @torch.no_grad()
    def measure(self, round_index: int) -> list[float]:
        """
        Measure at the start of a round, if it is one's turn; the random stream and the weights stay as they are.

        Returns:
            `list[float]`: Overlap of every edge measured, the same on every process; empty if nothing was measured.
        """
        if not self.edges or self.every == 0 or round_index % self.every:
            return []
        edges = self._due(round_index)
        totals = torch.zeros(len(edges), 3, device=self.accelerator.device)
        # without dropout, however training or an evaluation has left the model: a resumed run measures the same.
        # Gathered, because a process may have fewer probe prompts than another, or none
        with self.forwards.without_dropout(), sharding.gathered(self.forwards.model):
            with forked(), self.recorder.untracked():
                torch.manual_seed(derived_seed(self.seed, "probe", str(round_index)))
                rollouts = self._sample(edges)
            for index, edge in enumerate(edges):
                totals[index] = self.compare(edge, rollouts[edge.learner, edge.domain])
            if self._noisy:
                self._measure_floor(rollouts[edges[0].learner, edges[0].domain])
                self._noisy = False  # once
        totals = self.accelerator.reduce(totals, reduction="sum")
        metrics = {}
        for edge, (overlap, divergence, tokens) in zip(edges, totals.tolist(), strict=True):
            metrics[f"{edge.label}/opd/overlap"] = overlap / tokens
            metrics[f"{edge.label}/opd/symmetric_kl"] = divergence / tokens
        # now: the round's log would put them at its end, and average over `logging_steps`
        self.recorder.log_alone(metrics)
        return [overlap / tokens for overlap, _, tokens in totals.tolist()]

    def _due(self, round_index: int) -> list[Edge]:
        """The edges that are measured at the start of the round; their turn follows from its index."""
        if not self.turns:
            return self.edges
        by_learner: dict[str, list[Edge]] = {}
        for edge in self.edges:
            by_learner.setdefault(edge.learner, []).append(edge)
        turn = round_index // self.every
        return [edges[turn % len(edges)] for edges in by_learner.values()]

    def _sample(self, edges: Sequence[Edge]) -> dict[tuple[str, str], Rollouts]:
        """The learners' rollouts on the probe prompts of this process."""
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        if self.conversations is not None and any(self.conversations.acts(edge.domain) for edge in edges):
            return self._converse(edges)
        keys, prompt_ids, names = [], [], []
        for learner, domain in sorted({(edge.learner, edge.domain) for edge in edges}):
            for row in self.probes[domain][rank::processes]:
                keys.append((learner, domain))
                names.append(learner)
                prompt_ids.append(self.tokenize([row["prompt"]])[0])
        self.engine.sync(sorted({edge.learner for edge in edges}))  # also where no row falls to this process
        completions, _ = self.engine.generate(prompt_ids, names)
        rollouts: dict[tuple[str, str], Rollouts] = {(edge.learner, edge.domain): [] for edge in edges}
        for key, prompt, completion in zip(keys, prompt_ids, completions, strict=True):
            rollouts[key].append((prompt, completion or [self.eos_token_id]))  # which an empty one stands for
        return rollouts

    def _converse(self, edges: Sequence[Edge]) -> dict[tuple[str, str], Rollouts]:
        """As `_sample`, where rows of some domains take several turns."""
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        pairs = sorted({(edge.learner, edge.domain) for edge in edges})
        self.engine.sync(sorted({edge.learner for edge in edges}))
        requests = [(learner, domain, self.probes[domain][rank::processes]) for learner, domain in pairs]
        talks = self.conversations.have(self.engine, requests)
        rollouts: dict[tuple[str, str], Rollouts] = {}
        for pair, talk in zip(pairs, talks, strict=True):
            rows = zip(talk.prompt_ids, talk.ids, talk.mask, strict=True)
            rollouts[pair] = [(prompt, Conversation(ids, mask)) for prompt, ids, mask in rows]
        return rollouts

    def compare(self, edge: Edge, rollouts: Rollouts) -> torch.Tensor:
        """Sums over tokens of top-k overlap and symmetric KL, and the number of tokens, shape `(3,)`."""
        totals = torch.zeros(3, device=self.accelerator.device)
        longest = max((len(prompt) + len(completion) for prompt, completion in rollouts), default=1)
        size = max(1, TOKENS_BUDGET // (2 * longest))
        for start in range(0, len(rollouts), size):
            totals += self._compare_rows([edge.learner, edge.teacher], rollouts[start : start + size])
        return totals

    def _measure_floor(self, rollouts: Rollouts) -> None:
        """
        Log what 16 bits alone make of a policy that is compared with itself, as it is in float32: a symmetric KL below
        and an overlap above say nothing.
        """
        policy, totals = self.edges[0].learner, torch.zeros(3, device=self.accelerator.device)
        for row in rollouts:
            rounded = self._states([policy, policy], [row])[0]
            with float32(self.forwards.model.get_base_model()):
                exact = self._states([policy, policy], [row])[0]
            totals += self._compare_states(rounded, exact)
        overlap, divergence, tokens = self.accelerator.reduce(totals, reduction="sum").tolist()
        overlap, divergence = overlap / tokens, divergence / tokens
        self.recorder.log_alone({"opd/floor/overlap": overlap, "opd/floor/symmetric_kl": divergence})
        for threshold in self.thresholds:
            if threshold >= overlap:
                logger.warning(
                    f"An overlap of {threshold} decides about phases, but in 16 bits a policy has an overlap of "
                    f"{overlap:.3f} with itself (and a symmetric KL of {divergence:.1e}), so it would not be reached. "
                    "Lower it, or set score_in_fp32=True."
                )

    def _compare_rows(self, policies: Sequence[str], rollouts: Rollouts) -> torch.Tensor:
        """As `compare`, for two policies on rows of one forward."""
        return self._compare_states(*self._states(policies, rollouts))

    def _compare_states(self, learner: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """As `compare`, from hidden states `(N, H)` each; logits are made for a few positions at a time."""
        causal_lm = self.forwards.model.get_base_model()
        totals = torch.zeros(3, device=self.accelerator.device)
        size = max(1, LOGITS_BUDGET // causal_lm.config.get_text_config().vocab_size)
        for states in zip(learner.split(size), teacher.split(size), strict=True):
            both = [logits(causal_lm, part).div_(self.temperature) for part in states]  # (n, V) each
            visited = both[0].new_ones(both[0].size(0))
            overlap, divergence = topk_overlap(*both, visited, self.top_k), symmetric_kl(*both, visited)
            totals += torch.stack([overlap.sum(), divergence.sum(), visited.sum()])
        return totals

    def _states(self, policies: Sequence[str], rollouts: Rollouts) -> tuple[torch.Tensor, torch.Tensor]:
        """Last hidden states before each completion token under two policies, `(N, H)` each."""
        device = self.accelerator.device
        prompts = [torch.tensor(prompt) for prompt, _ in rollouts]
        completions = [torch.tensor(completion) for _, completion in rollouts]
        ids, mask = [], []
        for tensors, side in ((prompts, "left"), (completions, "right")):
            ids.append(pad(tensors, padding_value=self.pad_token_id, padding_side=side).to(device))
            mask.append(pad([torch.ones_like(t) for t in tensors], padding_value=0, padding_side=side).to(device))
        length, rows = ids[1].size(1), len(rollouts)
        input_ids, attention_mask = torch.cat(ids, dim=1).repeat(2, 1), torch.cat(mask, dim=1).repeat(2, 1)
        names = [policies[0]] * rows + [policies[1]] * rows
        like = ["first"] * rows + ["second"] * rows  # a policy beside itself goes the way of two
        model = self.forwards.model
        with self.forwards.comparing(names, like) as groups, self.accelerator.autocast():
            with last_hidden_states(model.get_base_model()) as states:
                for part in groups:
                    inputs = pixels.model_inputs(([prompt for prompt, _ in rollouts] * 2)[part], length, device)
                    inputs |= {"input_ids": input_ids[part], "attention_mask": attention_mask[part]}
                    model(**inputs, logits_to_keep=1)
        sampled = [torch.tensor(getattr(completion, "mask", [1] * len(completion))) for _, completion in rollouts]
        visited = mask[1].bool() & pad(sampled, padding_value=0, padding_side="right").to(device).bool()
        both = torch.cat([state[:, -length - 1 : -1] for state in states])  # (2 B, T, H)
        return both[:rows][visited], both[rows:][visited]
