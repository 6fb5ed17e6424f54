"""Building the branches of a run: their data, their rewards, their part of the model."""

from collections.abc import Callable, Collection
from typing import Any

import torch
from accelerate.logging import get_logger
from transformers import PreTrainedTokenizerBase, ProcessorMixin
from trl import GRPOTrainer

from .. import adapters
from ..allocation import Allocation
from ..config import CoPDConfig
from ..experts import Expert
from ..pictures import prepared
from ..prompts import (
    BranchPrompts,
    Mixture,
    PromptStream,
    RowCheck,
    check_chat_template,
    cross_stream,
    hold_out_probe,
    split_by_column,
)
from ..topology import Topology
from ..worlds import World
from .actor import Actor
from .data_pass import DataPass
from .learner import Learner
from .teaching import Teaching
from .vision_checks import check_processor


logger = get_logger(__name__)


def flatten_rewards(
    experts: dict[str, Expert], default: list[float] | None, worlds: dict[str, World] | None = None
) -> tuple[list[Callable | str], list[float], list[Any]]:
    """
    Rewards of all experts as one list, as TRL takes, loads and checks them; `Learner` takes its part back.

    Args:
        experts (`dict[str, Expert]`): The experts.
        default (`list[float]`, *optional*): Weights for an expert that has none of its own.
        worlds (`dict[str, World]`, *optional*): Of experts that act: environments may have rewards, of weight 1.

    Returns:
        Reward functions, their weights and their processing classes.
    """
    funcs: list[Callable | str] = []
    weights: list[float] = []
    processing: list[Any] = []
    for name, expert in experts.items():
        funcs += expert.reward_funcs
        weights += expert.reward_weights or default or [1.0] * len(expert.reward_funcs)
        classes = expert.reward_processing_classes
        processing += classes if isinstance(classes, list) else [classes] * len(expert.reward_funcs)
        own = (worlds or {})[name].rewards if name in (worlds or {}) else []
        funcs += own
        weights += [1.0] * len(own)
        processing += [None] * len(own)
    return funcs, weights, processing


def split_domains(
    experts: dict[str, Expert],
    args: CoPDConfig,
    topology: Topology,
    processing_class: PreTrainedTokenizerBase | ProcessorMixin,
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """
    Training data and probe rows of every domain.

    Args:
        experts (`dict[str, Expert]`), args ([`CoPDConfig`]), topology ([`Topology`]): The run.
        processing_class: The tokenizer, whose chat template is checked.

    Returns:
        Data to train on by domain, and rows to measure overlap on by domain, as far as some can be spared.
    """
    domains, probes = {}, {}
    for name, expert in experts.items():
        rows = expert.train_dataset
        check_chat_template(name, rows, processing_class)
        check_processor(expert, processing_class)
        probed = args.overlap_every > 0 and any(edge.domain == name for edge in topology.edges)
        if probed and args.distils:
            held_out = next(iter(expert.eval_datasets.values()), None)
            rows, probes[name] = hold_out_probe(rows, held_out, args.probe_prompts, args.prompts_per_generation)
            probes[name] = [prepared(row) for row in probes[name]]
            if not probes[name]:
                logger.warning(f"Expert {name!r} has no spare rows to measure overlap on. Give it an eval_dataset.")
        domains[name] = rows
    return domains, probes


def build_branches(
    run: GRPOTrainer,
    experts: dict[str, Expert],
    topology: Topology,
    domains: dict[str, Any],
    teaching: Teaching,
    allocation: Allocation | None,
    data_pass: DataPass,
    worlds: dict[str, World],
) -> dict[str, Learner]:
    """
    One [`Learner`] per branch.

    Args:
        run ([`~trl.GRPOTrainer`]): Whose attributes they borrow; its rewards are those of `flatten_rewards`.
        experts (`dict[str, Expert]`), topology ([`Topology`]): The run.
        domains (`dict`): Data to train on by domain.
        teaching ([`Teaching`]): Scores cross rows.
        allocation ([`Allocation`], *optional*): Shares out the prompts of an expert on several domains.
        data_pass ([`DataPass`]): Checks rows that are drawn without having been checked before.
        worlds (`dict[str, World]`): Of experts that act.
    """
    branches, seed, stop = {}, run.args.seed, 0
    checks = {name: data_pass.on_draw(name, rows) for name, rows in domains.items()}
    for name in topology.branches:
        expert, native = experts.get(name), None
        start, stop = stop, stop + (len(expert.reward_funcs) if expert is not None else 0)
        stop += len(worlds[name].rewards) if name in worlds else 0
        if expert is not None:
            native = _native(expert, domains[name], run, allocation, checks[name])
        edges = topology.edges_into(name)
        cross = {
            domain: cross_stream(domains[domain], seed, name, domain, checks[domain])
            for domain in (edge.domain for edge in edges)
        }
        branches[name] = Learner(
            run,
            name,
            expert,
            BranchPrompts(native, cross),
            adapters.branch_parameters(teaching.forwards.model, name),
            teaching,
            rewards=slice(start, stop),
            actors={domain: Actor(run, worlds[domain]) for domain in (name, *cross) if domain in worlds},
        )
    return branches


def _native(
    expert: Expert, rows: Any, run: GRPOTrainer, allocation: Allocation | None, check: RowCheck | None
) -> PromptStream | Mixture:
    """An expert's own prompts; those of several domains are shared out if the allocation is adaptive."""
    size, shuffle, seed = run.args.prompts_per_generation, run.shuffle_dataset, run.args.seed
    if allocation is None or expert.domain_column is None:
        return PromptStream(rows, size, shuffle, seed, check)
    streams = {
        domain: PromptStream(part, 1, shuffle, seed, check)
        for domain, part in split_by_column(rows, expert.domain_column).items()
    }
    return Mixture(streams, lambda: allocation.share(streams))


def domain_names(experts: dict[str, Expert], domains: dict[str, Any]) -> list[str]:
    """The domains whose rewards are told apart: every expert's, or those that its `domain_column` names."""
    names = []
    for name, expert in experts.items():
        names += [name] if expert.domain_column is None else split_by_column(domains[name], expert.domain_column)
    return names


def give_rates(optimizer: torch.optim.Optimizer, branches: Collection[Learner]) -> None:
    """Split the optimizer's groups so that every expert with a learning rate of its own has it."""
    rates = {b.name: b.expert.learning_rate for b in branches if b.expert and b.expert.learning_rate is not None}
    if not rates:
        return
    owner = {id(p): branch.name for branch in branches if branch.name in rates for p in branch.parameters}
    groups = []
    for group in optimizer.param_groups:
        for name in (None, *rates):
            parameters = [p for p in group["params"] if owner.get(id(p)) == name]
            if parameters:
                rate = group["lr"] if name is None else rates[name]
                groups.append({**group, "params": parameters, "lr": rate})
    optimizer.param_groups[:] = groups
