"""One branch in training: its rows, their rewards, what teachers say of them, the loss, its part of a checkpoint."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import gather_object
from trl import GRPOTrainer

from ..experts import Expert
from ..pictures import without_columns
from ..prompts import BranchPrompts
from ..topology import Edge
from .batches import concat_batches, keep_prompts_together
from .faults import Faults, guarded
from .policy import Policy, Taught, fresh_logs, fresh_metrics
from .talk import Converses
from .teaching import Teaching


CHECKPOINTED = ("_buffered_inputs", "entropy_coef", "_last_world_entropy", "_entropy_window_stats")
REWARDS = ("reward_funcs", "reward_func_names", "reward_weights", "reward_processing_classes")


@dataclass
class RoundRows:
    """Prompts of a branch for one generation on this process: rows of the dataset, each `num_generations` times."""

    native: list[dict[str, Any]]
    cross: list[dict[str, Any]]
    edges: list[Edge]  # the edge of each cross row; rows of one edge are consecutive
    domains: list[str]  # the domain of each native prompt of all processes
    crossing: list[tuple[Edge, dict[str, Any]]]  # the cross rows of all processes


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
        actors (`dict[str, Converses]`): By domain, what has the conversations of rows of experts that act: its own,
            and those that it is taught on.
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
        actors: dict[str, Converses] | None = None,
    ):
        super().__init__(
            run,
            name=name,
            expert=expert,
            prompts=prompts,
            parameters=parameters,
            teaching=teaching,
            taught=Taught(run),
            actors=actors or {},
            environments=None,  # while rewards are called
            faults=Faults(name),
            rows=None,
            shown={},  # what the latest generation has shown of each domain: share of groups that differ, accuracy
            cross_accuracy={},  # mean reward of its latest cross rows by domain
            cross_logs=None,  # completions of its last cross rows, for the table
            random_state=None,  # shuffling and dropout draw from a stream of its own
            taught_inputs=None,  # inputs of the loss at hand, if they hold a teacher's hidden states
            **{attribute: getattr(run, attribute)[rewards] for attribute in REWARDS},
        )
        self.reward_func_names = distinct(self.reward_func_names)
        # TRL has loaded and checked them all for the run; an error in one of them names its expert
        self.reward_funcs = [
            guarded(func, f"Expert {name!r}: the reward {label!r}", self.faults.failures)
            for func, label in zip(self.reward_funcs, self.reward_func_names, strict=True)
        ]

    # ---- Rollouts and rewards ---------------------------------------------------------------------------------------

    def start(self, rows: RoundRows) -> None:
        """Take new rows, and forget the rollouts of the last generation."""
        self.rows, self._buffered_inputs = rows, None

    def to_sample(self) -> list[tuple[Policy, list[dict[str, Any]], list[Converses | None], bool]]:
        """
        Native and cross rows of this process, with the policy that learns from them, what has the conversation of each
        row, and whether there is one in any process.
        """
        crossing = {edge.domain for edge, _ in self.rows.crossing}
        own, taught = self.actors.get(self.name), [self.actors.get(edge.domain) for edge in self.rows.edges]
        parts: list[tuple[Policy, list[dict[str, Any]], list[Converses | None], bool]] = [
            (self, self.rows.native, [own] * len(self.rows.native), own is not None),
            (self.taught, self.rows.cross, taught, not crossing.isdisjoint(self.actors)),
        ]
        return [part for part in parts if part[1]]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batches = []
        if self.rows.native:
            rows = self.rows.native if self.talk is None else self.talk.observed(self.rows.native)
            batches.append(super()._generate_and_score_completions([without_columns(row) for row in rows]))
        if self.rows.cross:
            batches.append(self._be_taught())
        return concat_batches(batches, self._tokenizer.pad_token_id)

    def _prepare_inputs(self, generation_batch):
        """TRL's; of rows that are shuffled over micro-batches, those of one prompt share it if they stay together."""
        buffered = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if self._buffered_inputs is buffered or "num_images" in inputs or not self._may_deal_rows_out():
            return inputs
        self._buffered_inputs = keep_prompts_together(self._buffered_inputs)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _may_deal_rows_out(self) -> bool:
        """Whether prompts are shared, and the update is the same whichever micro-batch a row stands in."""
        shared, args = self.forwards.shared_prompts, self.args
        whole = args.gradient_accumulation_steps % args.steps_per_generation == 0  # all of them before the next step
        by_batch = self.loss_type == "bnpo" or self.top_entropy_quantile < 1.0 or self._entropy_bonus_enabled
        if shared is None or args.steps_per_generation == 1 or not whole or by_batch:
            return False
        return shared.obstacle({}) is None and "pixel_values" not in self._buffered_inputs[0]

    def _be_taught(self) -> dict[str, Any]:
        """The batch of the cross rows, with what their teachers, as they are now, say about them."""
        taught, edges = self.taught, self.rows.edges
        taught._metrics, taught._logs = fresh_metrics(), fresh_logs(self.args.generation_batch_size)
        rows = self.rows.cross if taught.talk is None else taught.talk.observed(self.rows.cross)
        batch = taught._generate_and_score_completions([without_columns(row) for row in rows])
        if taught.talk is not None:
            batch["tool_mask"][list(taught.talk.failures)] = 0  # nothing is taught where the environment has failed
            self._count_failures(taught.talk.failures.values())
        prefix = "cross/" if self.expert is not None else ""  # the student has no native rows to tell apart
        for key, values in taught._metrics["train"].items():
            if key.startswith("completions/"):
                self._metrics["train"][prefix + key] += values
            elif key == "num_tokens":  # of the run; in a round of the student's alone nobody else says it
                self._metrics["train"][key] = values
        self._grade_cross_rows()
        self.teaching.teach(self.name, self.faults, batch, edges)
        if self.log_completions:
            self.cross_logs = self.teaching.describe(taught._logs, batch, edges)
        return batch

    def _grade_cross_rows(self) -> None:
        """Log what each domain's own verifiers say of the cross rows; their rewards enter no advantage."""
        sampled, rows = gather_object(self.taught.sampled), self.rows.crossing
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        for domain in sorted({edge.domain for edge, _ in rows}):
            if domain in self.actors:
                first = self._grade_conversations(domain)
            else:
                own = [i for i, (edge, _) in enumerate(rows) if edge.domain == domain]
                padded = own + own[-1:] * (-len(own) % processes)  # every process grades as many
                mine = padded[rank::processes]
                completions, ids = zip(*(sampled[i] for i in mine), strict=True)
                rewards = self.run.branches[domain].grade([rows[i][1] for i in mine], list(completions), list(ids))
                order = [place for start in range(processes) for place in range(start, len(padded), processes)]
                first = rewards[[i for i, place in enumerate(order) if place < len(own)], 0]
            if len(first):
                self._metrics["train"][f"{domain}/reward"].append(first.nanmean().item())
                self.cross_accuracy[domain] = first.nanmean().item()

    def _grade_conversations(self, domain: str) -> torch.Tensor:
        """
        What the verifiers say of the cross rows of a domain that acts. Rows are graded where their environments are,
        as many in every process; nothing is if one has none.
        """
        edges = [edge.domain for edge, _ in self.rows.crossing]
        size = len(self.rows.cross)
        counts = [edges[start : start + size].count(domain) for start in range(0, len(edges), size)]
        if min(counts) == 0:
            return torch.zeros(0)
        own = [i for i, edge in enumerate(self.rows.edges) if edge.domain == domain]
        own += own[-1:] * (max(counts) - len(own))
        talk, sampled = self.taught.talk, self.taught.sampled
        rows = talk.observed(self.rows.cross)
        rewards = self.run.branches[domain].grade(
            [rows[i] for i in own],
            [sampled[i][0] for i in own],
            [sampled[i][1] for i in own],
            talk.environments and [talk.environments[i] for i in own],
            [place for place, i in enumerate(own) if i in talk.failures],
        )
        blocks = rewards[:, 0].split(max(counts))
        return torch.cat([block[:count] for block, count in zip(blocks, counts, strict=True)])

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        """TRL's rewards, of all processes; what is not finite is ungraded, what one could not grade ends all."""
        # the rows as drawn: TRL has them without their columns of pictures, which a reward may read
        rows, talk = self.rows.native, self.talk
        if talk is None:
            rewards = super()._calculate_rewards(rows, prompts, completions, completion_ids_list)
        else:
            rows = talk.observed(rows)
            rewards = self._reward(rows, prompts, completions, completion_ids_list, talk.environments, talk.failures)
            self._count_failures([*talk.failures.values(), *self.actors[self.name].failed_rewards()])
        self.faults.raise_together(rewards)
        rewards = self.faults.ungrade_non_finite(rewards, counted=True)
        self.shown = signals(rewards, self.reward_weights, self.rows.domains, self.num_generations)
        return rewards

    def _reward(
        self,
        rows: list[dict[str, Any]],
        prompts: list[Any],
        completions: list[Any],
        ids: list[list[int]],
        environments: list[Any] | None,
        failures: Collection[int],
    ) -> torch.Tensor:
        """TRL's rewards of conversations; rows whose environment has failed are NaN, and no function sees them."""
        whole = [row for row in range(len(rows)) if row not in failures]
        shown = [row if row not in failures or not whole else whole[0] for row in range(len(rows))]
        self.environments = environments and [environments[row] for row in shown]
        try:
            given = ([values[row] for row in shown] for values in (rows, prompts, completions, ids))
            rewards = super()._calculate_rewards(*given)
        finally:
            self.environments = None
        failed = torch.zeros(len(rows), device=rewards.device)
        failed[list(failures)] = 1
        rewards = rewards.masked_fill(self.accelerator.gather(failed).bool().unsqueeze(1), torch.nan)
        if not rewards.isneginf().any():
            self.faults.failures.clear()  # of functions that were shown failed rows alone
        return rewards

    def _count_failures(self, reasons: Collection[str]) -> None:
        """Count rows that environments have failed on, in any process."""
        total = torch.tensor(len(reasons), device=self.accelerator.device)
        self.faults.count(
            "failed_environments", int(self.accelerator.reduce(total, reduction="sum")),
            f"Branch {self.name!r}: {next(iter(reasons), 'in another process')}. Such rows are neither graded nor "
            "taught.",
        )  # fmt: skip

    def grade(
        self,
        rows: list[dict[str, Any]],
        completions: list[Any],
        ids: list[list[int]],
        environments: list[Any] | None = None,
        failures: Collection[int] = (),
    ) -> torch.Tensor:
        """
        Rewards of other completions on the branch's domain, `(rows, functions)`, those of all processes one after the
        other. Every process brings as many rows; no metric of it is kept and no fault counted. Rows that acted bring
        their environments; those at the places `failures` are ungraded.
        """
        prompts = [row["prompt"] for row in rows]
        if self.actors.get(self.name) is None:
            rewards = super()._calculate_rewards(rows, prompts, completions, ids)
        else:
            rewards = self._reward(rows, prompts, completions, ids, environments, failures)
            self.actors[self.name].failed_rewards()
        self._pending_metrics.clear()
        self._pending_extra_logs.clear()
        self.faults.raise_together(rewards)
        return self.faults.ungrade_non_finite(rewards, counted=False)

    # ---- The loss ---------------------------------------------------------------------------------------------------

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        self.taught_inputs = inputs if "teacher_states" in inputs else None
        try:
            return super()._compute_loss(model, inputs)
        finally:
            self.taught_inputs = None

    def _get_per_token_logps_and_entropies(self, model, *args, **kwargs):
        """TRL's; on cross rows of a full-vocabulary `opd_loss` with the gradient of minus the divergence."""
        if self.taught_inputs is None:
            return super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        with self.teaching.steering(self.taught_inputs) as steer:
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

    def state_dict(self, spent: bool) -> dict[str, Any]:
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
            "cross_accuracy": dict(self.cross_accuracy),
            "metrics": {key: list(values) for key, values in self._metrics["train"].items()},
            **kept,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.prompts.move_to(state)
        self.faults.load_state_dict(state)
        self.random_state = state["random_state"] and [tensor.cpu() for tensor in state["random_state"]]
        self.cross_accuracy = dict(state["cross_accuracy"])
        self._metrics = fresh_metrics()
        self._metrics["train"].update({key: list(values) for key, values in state["metrics"].items()})
        vars(self).update({name: state[name] for name in CHECKPOINTED})


def distinct(names: list[str]) -> list[str]:
    """The names with a number where one comes again, as of lambdas and partials: metrics and tables go by names."""
    before = [names[:place].count(name) for place, name in enumerate(names)]
    return [name if times == 0 else f"{name}_{times + 1}" for name, times in zip(names, before, strict=True)]


def signals(
    rewards: torch.Tensor, weights: torch.Tensor, domains: list[str], generations: int
) -> dict[str, tuple[float, float]]:
    """
    What a generation shows of each domain.

    Args:
        rewards (`torch.Tensor`): Of all processes, `(rows, functions)`, NaN where ungraded; groups are consecutive.
        weights (`torch.Tensor`): Of the functions, `(functions,)`.
        domains (`list[str]`): The domain of each group.
        generations (`int`): Rows of a group.

    Returns:
        `dict[str, tuple[float, float]]`: Share of groups whose rewards differ, in [0, 1], and mean of the first
        function; NaN where nothing was graded.
    """
    total = (rewards * weights.to(rewards.device)).nansum(1).view(-1, generations)  # (groups, G)
    graded = ~rewards.isnan().all(1).view(-1, generations).all(1)  # (groups,)
    differ = ((total - total[:, :1]).abs() > 1e-8).any(1).float().masked_fill(~graded, torch.nan)  # (groups,)
    first = rewards[:, 0].view(-1, generations)
    shown = {}
    for domain in dict.fromkeys(domains):
        own = torch.tensor([name == domain for name in domains], device=rewards.device)
        shown[domain] = differ[own].nanmean().item(), first[own].nanmean().item()
    return shown
