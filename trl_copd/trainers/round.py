"""A round: who takes part in it, what is sampled for them, the random streams they draw from, their update."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from transformers import TrainerState

from .. import adapters, sharding
from ..allocation import Allocation
from ..config import CoPDConfig
from ..engines import Completions, Engine, EngineUnavailable
from ..forwards import Forwards
from ..measure.overlap import Overlap
from ..pictures import prepared
from ..randomness import random_state, set_random_state
from ..schedule import BranchPlan, Schedule
from ..show.recorder import Recorder
from ..topology import Edge, Topology
from .calls import still_running
from .faults import mean_of_finite
from .learner import Learner, RoundRows
from .talk import Sampled
from .waves import converse


logger = get_logger(__name__)


class Round:
    """
    Carries out rounds, one after the other.

    Args:
        args ([`CoPDConfig`]): Sizes.
        topology ([`Topology`]), schedule ([`Schedule`]): What each branch does when.
        branches (`dict[str, Learner]`): All branches.
        forwards ([`Forwards`]): Holds the model.
        engine ([`Engine`]): Samples the rows of all branches.
        overlap ([`Overlap`]): Measures the edges at the start of a round.
        tokenize (`Callable`): TRL's `_tokenize_prompts`.
        eos_token_id (`int`): What an empty completion stands for.
        restart_student (`Callable`): Sets the student to the mean of the experts.
        accelerator ([`~accelerate.Accelerator`]): The processes.
        recorder ([`Recorder`]): Logs the run's own numbers.
        allocation ([`Allocation`], *optional*): Lets branches rest whose domain is learnt.
    """

    def __init__(
        self,
        args: CoPDConfig,
        topology: Topology,
        schedule: Schedule,
        branches: dict[str, Learner],
        forwards: Forwards,
        engine: Engine,
        overlap: Overlap,
        tokenize: Callable[[list], tuple],
        eos_token_id: int,
        restart_student: Callable[[], None],
        accelerator: Accelerator,
        recorder: Recorder,
        allocation: Allocation | None = None,
    ):
        self.args, self.topology, self.schedule, self.branches = args, topology, schedule, branches
        self.forwards, self.engine, self.overlap = forwards, engine, overlap
        self.tokenize, self.eos_token_id, self.restart_student = tokenize, eos_token_id, restart_student
        self.accelerator, self.recorder, self.allocation = accelerator, recorder, allocation
        self.rollouts = 0  # sampled so far, over all branches and processes
        self.live: list[Learner] = []  # the branches that take part in the generation at hand
        self.measured = -1  # the last round at whose start the edges were measured
        self._told_of_processes = False
        self.planned: tuple[int, dict[str, BranchPlan]] | None = None  # the round that was planned last
        self._start = self._position()

    @property
    def micro_steps(self) -> int:
        """Micro-steps that one generation serves."""
        return self.args.steps_per_generation * self.args.num_iterations

    @property
    def micro_steps_per_epoch(self) -> int:
        """As many as TRL takes for the longest dataset; shorter ones recycle."""
        sizes = [b.prompts.native.size for b in self.branches.values() if b.prompts.native is not None]
        if None in sizes:  # a stream: `max_steps` rules
            return self.args.max_steps * self.args.gradient_accumulation_steps
        return max(size // self.args.prompts_per_generation * self.micro_steps for size in sizes)

    def micro_step(self, rounds: int) -> int:
        """Micro-steps in so many rounds. The last round of an epoch has fewer where they do not divide evenly."""
        epoch, accumulation = self.micro_steps_per_epoch, self.args.gradient_accumulation_steps
        epochs, rest = divmod(rounds, max(1, -(-epoch // accumulation)))
        return epochs * epoch + rest * accumulation

    def is_last(self, rounds: int) -> bool:
        """Whether the budget of rollouts, if there is one, is spent and learnt from after so many rounds."""
        most = self.args.max_rollouts
        return most is not None and self.rollouts >= most and self.micro_step(rounds) % self.micro_steps == 0

    def learnt_from(self, step: int) -> Fraction:
        """Rollouts learnt from in the first `step` micro-steps; of the generation at hand, its part so far."""
        generation = len(self.live) * self.args.generation_batch_size
        return self.rollouts - Fraction(generation * (-step % self.micro_steps), self.micro_steps)

    # ---- Rollouts ---------------------------------------------------------------------------------------------------

    def begin(self, state: TrainerState, step: int) -> None:
        """
        Measure and sample, if it is time to, before micro-step `step`.

        Raises:
            EngineUnavailable: Prompts, phases and random numbers are as if the round had not begun. A student that was
                set to the experts' mean keeps it; the resumed round sets it again.
        """
        with self._all_or_nothing(state):
            if self.measured != state.global_step:
                overlaps = self.overlap.measure(state.global_step)
                self.schedule.advance(state.global_step, overlaps, self.rollouts)
                self.measured = state.global_step
            if step % self.micro_steps == 0 or not self.live:
                self._generate(state.global_step, state.max_steps)

    @contextmanager
    def _all_or_nothing(self, state: TrainerState) -> Iterator[None]:
        """Put prompts and random numbers back if the engine fails, so that a resumed run draws them again."""
        numbers, live, logged = random_state(), self.live, len(state.log_history)
        measured, position = self.measured, self._position()
        try:
            yield
        except EngineUnavailable:
            set_random_state(numbers)
            self._move_to(position)
            self.live, self.measured = live, measured
            del state.log_history[logged:]  # the resumed run measures again
            raise

    def _generate(self, index: int, total: int) -> None:
        """Decide what each branch does, draw the rows and sample them all."""
        self.forwards.model.train()
        start = time.perf_counter()
        if self.args.student_init == "merge" and self.schedule.opd_begins(index, total):
            self.restart_student()
        plans = self._plans(index, total)
        self.live = [branch for branch in self.branches.values() if not plans[branch.name].idle]
        for branch in self.live:
            branch.start(self._rows(branch, plans[branch.name]))
        self._sample()
        self.rollouts += len(self.live) * self.args.generation_batch_size
        metrics = self.recorder.metrics
        metrics["rollout_time"].append(time.perf_counter() - start)  # not in the branches' step_time
        metrics["phase"] = [float(self.schedule.phase(index, total) == "opd")]
        metrics["cycle"] = [float(self.schedule.cycle(index, total))]
        metrics["rollouts"] = [float(self.rollouts)]
        if self.allocation:
            for domain, weight in self.allocation.given.items():
                metrics[f"{domain}/allocation"].append(weight)
            for name in self.topology.experts:
                metrics[f"{name}/rests"].append(float(name in self.allocation.resting))

    def _plans(self, index: int, total: int) -> dict[str, BranchPlan]:
        """What each branch does in a round, decided once a round: gradients of all its generations are added up."""
        if self.planned is None or self.planned[0] != index:
            plans = self.schedule.plan(self.topology, index, total)
            self.planned = index, self.allocation.rest(plans) if self.allocation else plans
        return self.planned[1]

    def _rows(self, branch: Learner, plan: BranchPlan) -> RoundRows:
        """This process's share of the branch's rows, an equal number of native and of cross rows on each."""
        size, times = self.args.prompts_per_generation, self.args.num_generations
        native, cross = branch.prompts.draw(plan, size, self.args.opd_fraction, self._edge_weights(branch, plan))
        native, cross = [prepared(row) for row in native], [(edge, prepared(row)) for edge, row in cross]
        column = branch.expert and branch.expert.domain_column
        domains = [str(row[column]) if column else branch.name for row in native]
        crossing = [pair for pair in cross for _ in range(times)]
        if any(edge.domain in branch.actors for edge, _ in crossing):  # graded where their environments are
            crossing = dealt(crossing, self.accelerator.num_processes)
        mine = self._share(crossing)
        native = self._share([row for row in native for _ in range(times)])
        return RoundRows(native, [row for _, row in mine], [edge for edge, _ in mine], domains, crossing)

    def _edge_weights(self, branch: Learner, plan: BranchPlan) -> dict[str, float] | None:
        """How the cross prompts of a branch without a domain are shared out: by the gap to each teacher."""
        if self.allocation is None or branch.expert is not None:
            return None
        gaps = {edge.label: self.allocation.gap(edge.domain, branch.cross_accuracy) for edge in plan.edges}
        highest = max(gaps.values(), default=0.0)
        if highest <= 0.0:
            return dict.fromkeys(gaps, 1.0)
        return {label: max(self.allocation.floor, gap / highest) for label, gap in gaps.items()}

    def _share(self, rows: list) -> list:
        size = len(rows) // self.accelerator.num_processes
        return rows[self.accelerator.process_index * size :][:size]

    def _sample(self) -> None:
        """Sample native and cross rows of all live branches: in one `generate`, and one for each further turn."""
        names = [branch.name for branch in self.live for _ in branch.rows.native + branch.rows.cross]
        parts = [
            (policy, Sampled(branch.name, rows, actors, self.tokenize, acting))
            for branch in self.live
            for policy, rows, actors, acting in branch.to_sample()
        ]
        self.engine.sync(names)
        asking = [one for _, sampled in parts for one in sampled.asking]
        converse(asking, self._turn, self.accelerator, most=self.args.max_completion_length + 1)
        left = still_running()
        if left:
            if not self._told_of_processes:
                logger.warning(f"Tools have started {left} processes that are still running. They end with the run.")
            self._told_of_processes = True
            self.recorder.metrics["left_processes"] = [float(left)]
        for policy, sampled in parts:
            policy.take(*sampled.result())

    def _turn(self, prompt_ids: list[list[int]], names: list[str]) -> Completions:
        completions, logps = self.engine.generate(prompt_ids, names)
        # for an empty completion's token that was put there
        return self._without_empty(completions, names), logps and [row or [0.0] for row in logps]

    def _without_empty(self, completions: list[list[int]], names: list[str]) -> list[list[int]]:
        """Give completions of no token the end-of-sequence token that was meant; count those that are nothing else."""
        end = self.eos_token_id
        completions = [ids or [end] for ids in completions]
        empty = [sum(ids == [end] for ids, n in zip(completions, names, strict=True) if n == b) for b in self.branches]
        totals = self.accelerator.reduce(torch.tensor(empty, device=self.accelerator.device), reduction="sum")
        for branch, count in zip(self.branches.values(), totals.tolist(), strict=True):
            branch.faults.count(
                "empty_completions", count,
                f"Branch {branch.name!r} sampled an empty completion (only an end-of-sequence token).",
            )  # fmt: skip
        return completions

    # ---- The update -------------------------------------------------------------------------------------------------

    def learn(self, model: torch.nn.Module, inputs: Any, items: torch.Tensor | None, step: int) -> torch.Tensor:
        """One micro-step of every live branch: forward and backward by TRL. Returns the mean of their losses."""
        losses = []
        for branch in self.live:
            adapters.activate(self.forwards.model, branch.name)
            branch._step = step
            with self._random_stream(branch, step) if len(self.branches) > 1 else nullcontext():
                losses.append(branch.training_step(model, inputs, items))
        if self.allocation and step % self.micro_steps == 0:
            for branch in self.live:
                for domain, shown in branch.shown.items() if branch.rows.native else ():
                    self.allocation.observe(domain, *shown, groups=branch.rows.domains.count(domain))
        sharded = bool(sharding.sharded_modules(self.forwards.model))
        if self.accelerator.sync_gradients and self.accelerator.num_processes > 1 and not sharded:
            self._average_gradients()  # FSDP2 has averaged in the backwards, over the shards of the live branch
        return mean_of_finite(losses) if len(losses) > 1 else losses[0]

    @contextmanager
    def _random_stream(self, branch: Learner, step: int) -> Iterator[None]:
        """
        Shuffle rows and draw dropout from the branch's own stream, as its own GRPOTrainer would; sampling draws from
        the run's. A branch's stream starts from the run's state when it first learns.
        """
        shared = random_state()
        if branch.random_state is not None:
            set_random_state(branch.random_state)
            if step % self.micro_steps_per_epoch == 0:
                torch.empty((), dtype=torch.int64).random_()  # what a DataLoader draws when an epoch begins
        try:
            yield
            branch.random_state = random_state()
        finally:
            set_random_state(shared)

    def _average_gradients(self) -> None:
        """
        Average the live branches' gradients over the processes, one reduction per branch.

        A gradient that only some processes have counts as zero on the others: adapters on a vision tower have none
        where no row has an image. One that no process has stays `None`, so that the optimizer skips it.
        """
        parameters = [parameter for branch in self.live for parameter in branch.parameters]
        present = torch.tensor([int(p.grad is not None) for p in parameters], device=self.accelerator.device)
        present = self.accelerator.reduce(present, reduction="sum")
        for parameter, processes in zip(parameters, present.tolist(), strict=True):
            if processes and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for branch in self.live:
            gradients = [parameter.grad for parameter in branch.parameters if parameter.grad is not None]
            if not gradients:
                continue
            flat = self.accelerator.reduce(torch.cat([g.flatten() for g in gradients]), reduction="mean")
            for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(mean.view_as(gradient))

    def clip(self, limit: float) -> torch.Tensor:
        """Clip each live branch by its own norm; returns the norm of all gradients that are applied."""
        norms = []
        for branch in self.live:
            norm = sharding.full(torch.nn.utils.clip_grad_norm_(branch.parameters, limit))
            if branch.faults.check_gradient(norm.item(), branch.parameters, self.accelerator.scaler):
                branch._metrics["train"]["grad_norm"].append(norm.item())
                norms.append(norm)
        if not norms:
            return torch.zeros((), device=self.accelerator.device)
        return torch.stack(norms).norm() if len(norms) > 1 else norms[0]

    # ---- State ------------------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """
        Go back to the first round: `train` may be called again, and TRL then draws the same prompts once more. What
        was sampled for a round that was not completed is forgotten.
        """
        self._move_to(self._start)
        self.live = []
        for branch in self.branches.values():
            branch._buffered_inputs = None

    def _position(self) -> dict[str, Any]:
        """Where the run stands: prompts, phases, rollouts."""
        return {
            "prompts": {name: branch.prompts.position() for name, branch in self.branches.items()},
            "schedule": self.schedule.state_dict(),
            "allocation": self.allocation and self.allocation.state_dict(),
            "rollouts": self.rollouts,
        }

    def _move_to(self, position: dict[str, Any]) -> None:
        for name, place in position["prompts"].items():
            self.branches[name].prompts.move_to(place)
        self.schedule.load_state_dict(position["schedule"])
        if self.allocation:
            self.allocation.load_state_dict(position["allocation"])
        self.rollouts, self.measured, self.planned = position["rollouts"], -1, None

    def state_dict(self, step: int) -> dict[str, Any]:
        """What a resume after micro-step `step` needs of schedule and branches besides weights and moments."""
        spent = step % self.micro_steps == 0
        return {
            "live": [branch.name for branch in self.live],
            "schedule": self.schedule.state_dict(),
            "rollouts": self.rollouts,
            "allocation": self.allocation and self.allocation.state_dict(),
            "branches": {name: branch.state_dict(spent) for name, branch in self.branches.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, branch in self.branches.items():
            branch.load_state_dict(state["branches"][name])
        self.live = [self.branches[name] for name in state["live"]]
        self.schedule.load_state_dict(state["schedule"])
        self.rollouts = state["rollouts"]
        if self.allocation:
            self.allocation.load_state_dict(state["allocation"])
        self.measured, self.planned = -1, None  # the round to come is measured and planned anew


def dealt(rows: list[tuple[Edge, Any]], processes: int) -> list[tuple[Edge, Any]]:
    """
    Cross rows in an order in which every process has as many of each edge, if they divide evenly; processes take equal
    parts of the list, one after the other.
    """
    edges = {edge: [row for row in rows if row[0] == edge] for edge, _ in rows}
    if any(len(own) % processes for own in edges.values()):
        return rows
    return [
        row
        for process in range(processes)
        for own in edges.values()
        for row in own[process * len(own) // processes : (process + 1) * len(own) // processes]
    ]


@contextmanager
def without_ddp(accelerator: Accelerator) -> Iterator[None]:
    """
    For the length of the context, models are prepared without DDP. It would hold buckets for the gradients of all
    branches at once, reduce in each backward, and trip over branches that take no part.
    """
    accelerator.prepare_model = partial(accelerator.prepare_model, evaluation_mode=True)
    try:
        yield
    finally:
        del accelerator.prepare_model  # the instance attribute: the class's own is back
