"""
A branch as a [`~trl.GRPOTrainer`] that borrows: what is one policy's is its own, everything else is the run's.

TRL's methods then read and write the branch's rewards, metrics, rollouts and buffers, and the run's model, optimizer,
accelerator and arguments, without knowing of either.
"""

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Any

import torch
from trl import GRPOTrainer

from ..experts import Expert
from ..prompts import BranchPrompts
from ..topology import Edge
from .batches import concat_batches
from .faults import Faults, guarded
from .teaching import Teaching


CHECKPOINTED = ("_buffered_inputs", "entropy_coef", "_last_world_entropy", "_entropy_window_stats")
REWARDS = ("reward_funcs", "reward_func_names", "reward_weights", "reward_processing_classes")


@dataclass
class RoundRows:
    """Prompts of a branch for one generation on this process: rows of the dataset, each `num_generations` times."""

    native: list[dict[str, Any]]
    cross: list[dict[str, Any]]
    edges: list[Edge]  # the edge of each cross row; rows of one edge are consecutive


class Borrower(GRPOTrainer):
    """
    A GRPOTrainer that has a few attributes of its own and borrows all others from a run. It is not trained by itself.

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
            **own,
        )

    def _tokenize_prompts(self, prompts):
        return self.rollouts[0] if self.rollouts is not None else super()._tokenize_prompts(prompts)

    def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations, has_tool_images=False):
        return self.rollouts[1]


class Taught(Policy):
    """The cross rows of a branch: they are graded by nobody, and their advantages come from a teacher."""

    def __init__(self, run: GRPOTrainer):
        ungraded = {"reward_funcs": [None], "reward_func_names": [], "reward_processing_classes": []}
        super().__init__(run, **ungraded, reward_weights=torch.ones(1))

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        """One column without a grade: a reward never enters cross rows."""
        rows = len(prompts) * self.accelerator.num_processes
        return torch.full((rows, 1), torch.nan, device=self.accelerator.device)


class Learner(Policy):
    """
    One branch in training: native rows by TRL's own way, cross rows beside them.

    Args:
        run ([`~trl.GRPOTrainer`]): The run.
        name (`str`): Its adapter: an expert's name, or `"student"`.
        expert ([`Expert`], *optional*): Its domain; the student has none.
        prompts ([`BranchPrompts`]): Where its rows come from.
        parameters (`list[torch.nn.Parameter]`): Those of its adapter.
        teaching ([`Teaching`]): Scores cross rows.
        rewards (`slice`): Its part of the run's reward functions.
    """

    def __init__(
        self,
        run: GRPOTrainer,
        name: str,
        expert: Expert | None,
        prompts: BranchPrompts,
        parameters: list[torch.nn.Parameter],
        teaching: Teaching,
        rewards: slice,
    ):
        super().__init__(
            run,
            name=name,
            expert=expert,
            prompts=prompts,
            parameters=parameters,
            teaching=teaching,
            taught=Taught(run),
            faults=Faults(name),
            rows=None,
            cross_logs=None,  # completions of its last cross rows, for the table
            random_state=None,  # shuffling and dropout draw from a stream of its own
            teachers=None,  # inputs of the loss at hand, if they hold a teacher's hidden states
            **{attribute: getattr(run, attribute)[rewards] for attribute in REWARDS},
        )
        # TRL has loaded and checked them all for the run; an error in one of them names its expert
        self.reward_funcs = [
            guarded(func, f"Expert {name!r}: the reward {label!r}", self.faults.failures)
            for func, label in zip(self.reward_funcs, self.reward_func_names, strict=True)
        ]

    # ---- Rollouts and rewards ---------------------------------------------------------------------------------------

    def start(self, rows: RoundRows) -> None:
        """Take new rows, and forget the rollouts of the last generation."""
        self.rows, self._buffered_inputs = rows, None

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batches = []
        if self.rows.native:
            batches.append(super()._generate_and_score_completions(self.rows.native))
        if self.rows.cross:
            batches.append(self._be_taught())
        return concat_batches(batches, self._tokenizer.pad_token_id)

    def _be_taught(self) -> dict[str, Any]:
        """The batch of the cross rows, with what their teachers, as they are now, say about them."""
        taught, edges = self.taught, self.rows.edges
        taught._metrics, taught._logs = fresh_metrics(), fresh_logs(self.args.generation_batch_size)
        batch = taught._generate_and_score_completions(self.rows.cross)
        prefix = "cross/" if self.expert is not None else ""  # the student has no native rows to tell apart
        for key, values in taught._metrics["train"].items():
            if key.startswith("completions/"):
                self._metrics["train"][prefix + key] += values
        self.teaching.teach(self.name, self.faults, batch, edges)
        if self.log_completions:
            self.cross_logs = self.teaching.describe(taught._logs, batch, edges)
        return batch

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        """TRL's rewards; what is not finite counts as ungraded, and what one process could not grade ends all."""
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self.faults.raise_together(rewards)
        return self.faults.ungrade_non_finite(rewards, counted=self.model.training)

    def grade(self, rows: list[dict[str, Any]], completions: list[Any], ids: list[list[int]]) -> torch.Tensor:
        """Rewards of other completions on the branch's domain, `(rows, functions)`; nothing of it is logged."""
        rewards = self._calculate_rewards(rows, [row["prompt"] for row in rows], completions, ids)
        self._pending_metrics.clear()
        self._pending_extra_logs.clear()
        return rewards[self.accelerator.process_index * len(ids) :][: len(ids)]  # TRL has gathered all processes'

    # ---- The loss ---------------------------------------------------------------------------------------------------

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        self.teachers = inputs if "teacher_states" in inputs else None
        try:
            return super()._compute_loss(model, inputs)
        finally:
            self.teachers = None

    def _get_per_token_logps_and_entropies(self, model, *args, **kwargs):
        """TRL's; on cross rows of a full-vocabulary `opd_loss` with the gradient of minus the divergence."""
        if self.teachers is None:
            return super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        with self.teaching.steering(self.teachers) as steer:
            logps, entropies, aux_loss = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
            logps, divergence = steer(logps)
        if divergence is not None:
            self._metrics["train"]["opd/divergence"].append(divergence)
        return logps, entropies, aux_loss

    # ---- State ------------------------------------------------------------------------------------------------------

    def hand_over_metrics(self) -> dict[str, list[float]]:
        """The metrics since the last log; they are handed out once."""
        metrics, self._metrics = self._metrics["train"], fresh_metrics()
        return metrics

    def hand_over_logs(self) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Completions of the native and of the cross rows since the last log; they are handed out once."""
        logs, self._logs = (self._logs, self.cross_logs), fresh_logs(self.args.generation_batch_size)
        self.cross_logs = None
        return logs

    def state_dict(self, spent: bool = False) -> dict[str, Any]:
        """
        Everything of the branch that a resume needs besides weights and optimizer moments.

        Args:
            spent (`bool`): Whether the next step samples anew: the rollouts at hand are then left out.
        """
        kept = {name: getattr(self, name) for name in CHECKPOINTED}
        if spent:
            kept["_buffered_inputs"] = None
        return {
            **self.prompts.position(),
            **self.faults.state_dict(),
            "random_state": self.random_state,
            "metrics": {key: list(values) for key, values in self._metrics["train"].items()},
            **kept,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.prompts.move_to(state)
        self.faults.load_state_dict(state)
        self.random_state = state["random_state"] and [tensor.cpu() for tensor in state["random_state"]]
        for key, values in state["metrics"].items():
            self._metrics["train"][key].extend(values)
        vars(self).update({name: state[name] for name in CHECKPOINTED})


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
