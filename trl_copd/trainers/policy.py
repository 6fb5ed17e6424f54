"""
One policy as a [`~trl.GRPOTrainer`] that borrows: what is the policy's is its own, everything else is the run's.

TRL's methods then read and write the policy's metrics, rollouts and buffers, and the run's model, optimizer,
accelerator and arguments, without knowing of either.
"""

import copy
from collections import defaultdict, deque
from typing import Any

import torch
from trl import GRPOTrainer
from trl.data_utils import is_conversational

from .. import pixels
from .talk import Talk, shortened


class Borrower(GRPOTrainer):
    """
    A GRPOTrainer that has a few attributes of its own and borrows all others from a run. Do not call `train` on it.

    Args:
        run ([`~trl.GRPOTrainer`]): Whose attributes are read where there is none of its own. None of them is assigned.
        own: Its own attributes by name.
    """

    def __init__(self, run: GRPOTrainer, **own: Any):
        vars(self).update(own, run=run)

    def __getattr__(self, name: str) -> Any:
        if name == "run" or name.startswith("__"):  # not built yet: copies and pickles ask for them
            raise AttributeError(name)
        return getattr(self.run, name)

    def train(self, *args, **kwargs):
        raise TypeError("A branch is trained by its run: call `CoPDTrainer.train`.")


class Policy(Borrower):
    """
    What GRPOTrainer keeps for one policy: metrics, logs, rollouts, the buffer of a generation, the entropy's control.

    Args:
        run ([`~trl.GRPOTrainer`]): The run.
        own: Further attributes: rewards, and what a subclass adds.
    """

    def __init__(self, run: GRPOTrainer, **own: Any):
        super().__init__(
            run,
            _metrics=fresh_metrics(),
            _logs=fresh_logs(run.args.generation_batch_size),
            _pending_metrics=defaultdict(list),
            _pending_extra_logs=defaultdict(list),
            _buffered_inputs=None,
            _step=0,
            _current_train_step_time=0.0,
            entropy_coef=run.entropy_coef,
            _last_world_entropy=run._last_world_entropy,
            _entropy_window_stats=run._entropy_window_stats,
            # what was sampled for it: TRL's prompts, and completions with their log-probabilities
            rollouts=None,
            talk=None,  # and what was said there, if it was more than a prompt and a completion
            **own,
        )

    def take(self, rollouts: tuple, talk: Talk | None = None) -> None:
        """Have TRL's methods find what was sampled: prompts and completions, and conversations if there were any."""
        self.rollouts, self.talk = rollouts, talk

    def _tokenize_prompts(self, prompts):
        return self.rollouts[0] if self.rollouts is not None else super()._tokenize_prompts(prompts)

    def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations, has_tool_images=False):
        return self.rollouts[1]

    def _generate(self, prompts):
        """TRL's; conversations have been had, and are put where its loop over tools would have had them."""
        if self.talk is None:
            return super()._generate(prompts)
        self.tools = [conversed]  # what asks for that loop
        try:
            return super()._generate(prompts)
        finally:
            del self.tools
            if not self.talk.uses_tools:
                for metrics in self._metrics.values():
                    metrics.pop("tools/call_frequency", None)
                    metrics.pop("tools/failure_frequency", None)

    def _tool_call_loop(self, prompts, prompt_ids, completion_ids, completions, logprobs, images, multimodal_fields):
        talk = self.talk
        said = [own if own is not None else made for own, made in zip(talk.completions, completions, strict=True)]
        no_images = [[] for _ in completion_ids]
        return talk.mask, said, completion_ids, logprobs, talk.calls, talk.failed_calls, no_images

    def _get_per_token_logps_and_entropies(self, model, ids, mask, length, batch_size=None, **kwargs):
        """
        TRL's; rows of one prompt share it, if the run's `share_prompts` says so. A forward over rows without a
        picture, among others with some, gets no pixels.
        """
        pictures = kwargs.get("num_images")
        if pictures is None or all(pictures):
            with self.forwards.sharing():
                return super()._get_per_token_logps_and_entropies(model, ids, mask, length, batch_size, **kwargs)
        fields = {name: kwargs.pop(name) for name in pixels.FIELDS if name in kwargs}
        size, parts = batch_size or len(ids), []
        for start in range(0, len(ids), size):
            rows = slice(start, start + size)
            own = pixels.of_rows(fields, rows)
            score = super()._get_per_token_logps_and_entropies
            parts.append(score(model, ids[rows], mask[rows], length, **own, **kwargs))
        logps, entropies, losses = zip(*parts, strict=True)
        return (
            torch.cat(logps),
            torch.cat(entropies) if entropies[0] is not None else None,
            torch.stack(losses).mean() if losses[0] is not None else None,
        )


class Taught(Policy):
    """
    The cross rows of a branch: no reward enters them, and their advantages come from a teacher. They are cut to
    `opd_max_completion_length`; verifiers are shown the whole, where a final answer may stand.
    """

    def __init__(self, run: GRPOTrainer):
        ungraded = {"reward_funcs": [None], "reward_func_names": [], "reward_processing_classes": []}
        # a completion that we have cut is none that ran on, which `mask_truncated_completions` takes out of the loss
        masks = run.mask_truncated_completions and run.args.opd_max_completion_length is None
        super().__init__(run, **ungraded, reward_weights=torch.ones(1), mask_truncated_completions=masks)
        self.sampled: list[tuple[Any, list[int]]] = []  # completions and their ids, as sampled
        self.uncut: tuple[tuple, Talk | None] | None = None  # what was taken, if it was cut

    def take(self, rollouts: tuple, talk: Talk | None = None) -> None:
        length, (prompts, completions) = self.args.opd_max_completion_length, rollouts
        self.uncut = None if length is None else (rollouts, talk)
        super().take((prompts, shortened(*completions, length)), talk and talk.shortened(length))

    def _generate(self, prompts):
        """TRL's, which makes texts of all completions or messages of all, by the first prompt: here rows differ."""
        prompt_ids, completion_ids, mask, completions, *rest = super()._generate(prompts)
        messages = [is_conversational({"prompt": prompt}) for prompt in prompts]
        if any(kind != messages[0] for kind in messages):
            texts = self.processing_class.batch_decode(completion_ids, skip_special_tokens=True)
            completions = [
                completion if kind == messages[0] else [{"role": "assistant", "content": text}] if kind else text
                for completion, text, kind in zip(completions, texts, messages, strict=True)
            ]
            if self.talk is not None:
                had = self.talk.completions
                completions = [own if own is not None else c for own, c in zip(had, completions, strict=True)]
        return prompt_ids, completion_ids, mask, completions, *rest

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        """One column without a grade: a reward never enters cross rows."""
        if self.uncut is not None:
            whole = Taught(self.run)
            whole.state = copy.copy(self.state)  # TRL counts tokens there; they have been counted
            whole.rollouts, whole.talk = self.uncut
            _, completion_ids_list, _, completions, *_ = whole._generate(prompts)
        self.sampled = list(zip(completions, completion_ids_list, strict=True))
        rows = len(prompts) * self.accelerator.num_processes
        return torch.full((rows, 1), torch.nan, device=self.accelerator.device)


def conversed() -> None:
    """Stands for the tools of conversations that are over."""


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
