"""What the parts of a run need of GRPOTrainer's own methods, as plain functions: the one place that calls them."""

import copy
from itertools import groupby
from typing import Any

import torch
from trl import GRPOTrainer
from trl.data_utils import is_conversational

from ..config import CoPDConfig
from ..engines import Sampling
from .policy import Borrower, Policy


class Host:
    """
    TRL's tokenizing, sampling and scoring, for whichever adapter is active.

    Args:
        run ([`~trl.GRPOTrainer`]): Whose methods they are.
    """

    def __init__(self, run: GRPOTrainer):
        self.run = run

    @property
    def eos_token_id(self) -> int:
        return self.run._tokenizer.eos_token_id

    @property
    def pad_token_id(self) -> int:
        return self.run._tokenizer.pad_token_id

    def tokenize(self, prompts: list) -> tuple[list[list[int]], Any, dict[str, Any]]:
        """Token ids of prompts, images and further model inputs; texts and messages may be mixed."""
        # TRL takes all prompts for texts or all for messages, by the first one
        runs = [list(run) for _, run in groupby(prompts, key=lambda prompt: is_conversational({"prompt": prompt}))]
        if len(runs) <= 1:
            return GRPOTrainer._tokenize_prompts(self.run, prompts)
        ids = [row for run in runs for row in GRPOTrainer._tokenize_prompts(self.run, run)[0]]
        return ids, None, {}  # text only: see `Expert`

    def token_ids(self, prompts: list) -> list[list[int]]:
        """Token ids of prompts."""
        return self.tokenize(prompts)[0]

    def completions(self, prompts: list, prompt_ids: list[list[int]], ids: list[list[int]]) -> list[Any]:
        """
        What rewards are given for sampled tokens, as in training: TRL makes them, texts or messages, the latter by the
        tokenizer's response template if it has one. Every process calls it, with as many rows.

        Args:
            prompts (`list`): Texts or messages.
            prompt_ids (`list[list[int]]`): Their token ids.
            ids (`list[list[int]]`): Token ids of a completion for each.
        """
        policy = Policy(self.run)  # what TRL logs of them goes with it
        policy.rollouts = (prompt_ids, None, {}), ([row or [self.eos_token_id] for row in ids], None)
        return policy._generate(prompts)[3]

    def generate_rows(self, prompt_ids: list[list[int]], greedy: bool = False) -> list[list[int]]:
        """One completion per prompt, by transformers' `generate`."""
        sampler = self._greedy() if greedy else self.run
        return GRPOTrainer._generate_single_turn(sampler, prompt_ids, None, {}, self.run.num_generations)[0]

    def _greedy(self) -> Borrower:
        """The run, but for sampling settings that take the most likely token."""
        neutral = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None, "min_p": None}
        config = copy.deepcopy(self.run.generation_config)
        config.update(**neutral)
        return Borrower(
            self.run, generation_config=config, generation_kwargs={**self.run.generation_kwargs, **neutral}
        )

    def logps(self, ids: torch.Tensor, mask: torch.Tensor, length: int) -> torch.Tensor:
        """Log-probabilities of the last `length` tokens of every row, nats, `(B, T)`."""
        return GRPOTrainer._get_per_token_logps_and_entropies(self.run, self.run.model, ids, mask, length)[0]

    def sampling(self, args: CoPDConfig) -> Sampling:
        """How completions are sampled."""
        run = self.run
        return Sampling(
            temperature=run.temperature,
            top_p=run.top_p,
            top_k=run.top_k,
            min_p=run.min_p or 0.0,
            repetition_penalty=run.repetition_penalty,
            max_tokens=run.max_completion_length,
            stop_token_ids=tuple(run.eos_token_ids),
            chunk_rows=args.rollout_chunk_rows,
            regex=args.vllm_structured_outputs_regex,
            extra=dict(args.generation_kwargs or {}),
        )
