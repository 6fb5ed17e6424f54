"""What the parts of a run need of GRPOTrainer's own methods, as plain functions: the one place that calls them."""

import copy
from itertools import groupby
from typing import Any

import numpy as np
import torch
from trl import GRPOTrainer
from trl.data_utils import is_conversational

from .. import pixels
from ..config import CoPDConfig
from ..engines import Sampling
from ..pictures import pictures_of
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

    def tokenize(self, prompts: list) -> tuple[list[list[int]], list[list] | None, dict[str, Any]]:
        """Token ids and pictures of prompts, as TRL takes them; the third stands beside the ids, see `PromptIds`."""
        ids = self.token_ids(prompts)
        images = [pictures_of(prompt) for prompt in prompts]  # `[]` without one: processors take no `None` among lists
        return ids, images if any(images) else None, {}

    def token_ids(self, prompts: list) -> list[list[int]]:
        """Token ids of prompts; those of a multimodal model with its further inputs, see [`PromptIds`]."""
        distinct = {id(prompt): prompt for prompt in prompts}  # a prompt's rows share it: its pictures are made once
        texts = [prompt for prompt in distinct.values() if not pictures_of(prompt)]
        made = {id(prompt): self._processed([prompt])[0] for prompt in distinct.values() if pictures_of(prompt)}
        # TRL takes all prompts for texts or all for messages, by the first one
        for _, run in groupby(texts, key=lambda prompt: is_conversational({"prompt": prompt})):
            alike = list(run)
            made |= {id(prompt): ids for prompt, ids in zip(alike, self._processed(alike), strict=True)}
        return [made[id(prompt)] for prompt in prompts]

    def _processed(self, prompts: list) -> list[list[int]]:
        """What TRL and the processor make of one prompt with pictures, or of several without."""
        ids, _, fields = GRPOTrainer._tokenize_prompts(self.run, prompts)
        if not fields:
            return ids
        per_token = {key: value for key, value in fields.items() if key in pixels.PER_TOKEN}
        tensors = {key: torch.as_tensor(np.array(value)) for key, value in fields.items() if key not in per_token}
        return [
            pixels.PromptIds(row, {key: value[index] for key, value in per_token.items()} | tensors)
            for index, row in enumerate(ids)
        ]

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
        fields = pixels.multimodal_fields(prompt_ids)
        return GRPOTrainer._generate_single_turn(sampler, prompt_ids, None, fields, self.run.num_generations)[0]

    def _greedy(self) -> Borrower:
        """The run, but for sampling settings that take the most likely token."""
        neutral = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None, "min_p": None}
        config = copy.deepcopy(self.run.generation_config)
        config.update(**neutral)
        return Borrower(
            self.run, generation_config=config, generation_kwargs={**self.run.generation_kwargs, **neutral}
        )

    def logps(self, ids: torch.Tensor, mask: torch.Tensor, length: int, **fields: Any) -> torch.Tensor:
        """Log-probabilities of the last `length` tokens of every row, nats, `(B, T)`."""
        return GRPOTrainer._get_per_token_logps_and_entropies(self.run, self.run.model, ids, mask, length, **fields)[0]

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
