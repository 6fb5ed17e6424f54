"""What a run is refused for, before its model is loaded."""

import copy
import inspect
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.logging import get_logger
from datasets import Dataset, IterableDataset
from peft import PeftConfig
from transformers import PreTrainedModel
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import get_config_model_id

from .. import adapters
from ..config import CoPDConfig
from ..engines import check_engine
from ..experts import Expert, check_experts
from ..redaction import redact, secrets_of
from ..run.fingerprint import run_fingerprint
from ..run.hub import check_hub
from ..run.resuming import checkpoint_to_resume
from ..schedule import Schedule
from ..spelling import did_you_mean
from ..topology import STUDENT, Topology, build_topology
from ..worlds import World
from .acting_checks import check_worlds
from .branches import flatten_rewards
from .distribution_checks import check_distribution
from .model_checks import check_model, check_model_path, check_tokenizer
from .precision_checks import check_precision
from .settings import check_crossing, check_settings
from .vision_checks import check_vision


logger = get_logger(__name__)

UNSUPPORTED = {
    "train_dataset": "Data belongs to a domain: pass it to `Expert(train_dataset=...)`.",
    "eval_dataset": "Data belongs to a domain: pass it to `Expert(eval_dataset=...)`.",
    "reward_funcs": "Rewards belong to a domain: pass them to `Expert(reward_funcs=...)`.",
    "reward_processing_classes": "Pass them to `Expert(reward_processing_classes=...)`.",
    "tools": "Tools belong to an expert: pass them to `Expert(tools=...)`.",
    "rollout_func": "It belongs to an expert: pass it to `Expert(rollout_func=...)`.",
    "environment_factory": "Environments belong to an expert: pass it to `Expert(environment_factory=...)`.",
}

PORTED = """ Data and rewards belong to an `Expert`; a script of GRPOTrainer becomes:

    from trl_copd import CoPDConfig, CoPDTrainer, Expert
    expert = Expert("math", train_dataset=train_dataset, reward_funcs=reward_funcs, eval_dataset=eval_dataset)
    args = CoPDConfig(output_dir="copd", topology="mutual", opd_steps=0)  # of one expert; leave out with more
    CoPDTrainer(model, experts=[expert], args=args, peft_config=LoraConfig(target_modules="all-linear")).train()
"""


@dataclass(frozen=True)
class Plan:
    """
    What is to be trained, checked.

    Args:
        experts (`dict[str, Expert]`): By name, in the user's order.
        topology ([`Topology`]), schedule ([`Schedule`]): Who teaches whom, and when.
        betas (`dict[str, float]`): beta of each learner.
        fingerprint (`dict`): What makes another run the same run.
        args ([`CoPDConfig`]): A copy for TRL, which is to start no engine of its own.
        engine_args (`dict`): What was taken out of them for that.
        peft_config ([`~peft.PeftConfig`]): Of every adapter.
        worlds (`dict[str, World]`): What experts act in, of those that do.
    """

    experts: dict[str, Expert]
    topology: Topology
    schedule: Schedule
    betas: dict[str, float]
    fingerprint: dict[str, Any]
    args: CoPDConfig
    engine_args: dict[str, Any]
    peft_config: PeftConfig
    worlds: dict[str, World]

    def trl_arguments(self) -> dict[str, Any]:
        """Arguments of [`~trl.GRPOTrainer`]: the rewards of all experts at once, for TRL to load and check."""
        first = next(iter(self.experts.values()))
        funcs, weights, classes = flatten_rewards(self.experts, self.args.reward_weights, self.worlds)
        self.args.reward_weights = weights
        held_out = {d: rows for expert in self.experts.values() for d, rows in expert.eval_datasets.items()}
        return {
            "reward_funcs": funcs,
            "reward_processing_classes": classes,
            "args": self.args,
            "train_dataset": first.train_dataset,
            "eval_dataset": held_out or None,
            "peft_config": self.peft_config,
        }


def plan_run(
    model: Any,
    experts: Any,
    args: Any,
    peft_config: PeftConfig | None,
    quantization_config: Any,
    optimizers: tuple[Any, Any],
    unsupported: dict[str, Any],
    processing_class: Any = None,
) -> Plan:
    """
    Check the arguments of [`CoPDTrainer`] against each other, before the model is loaded.

    Raises:
        TypeError, ValueError: With what came, why it cannot work, and what to do.
    """
    refuse_unsupported(unsupported, experts)
    if optimizers[0] is not None:
        raise ValueError(
            "`optimizers` holds an optimizer, but the adapters that it would update do not exist yet. Choose one with "
            "`args.optim`."
        )
    if optimizers[1] is not None:
        raise ValueError(
            "`optimizers` holds a scheduler, but a scheduler moves the rate of its own optimizer, and the run makes "
            "another one. Choose it with `args.lr_scheduler_type` and `args.lr_scheduler_kwargs`."
        )
    checked = check_experts(experts)
    if args is None:
        name = get_config_model_id(model.config) if isinstance(model, PreTrainedModel) else str(model)
        args = CoPDConfig(f"{name.split('/')[-1]}-CoPD")
    if not isinstance(args, CoPDConfig):
        hint = ""
        if isinstance(args, GRPOConfig):
            hint = " It has all fields of GRPOConfig: write `CoPDConfig(**...)` with the arguments of yours."
        raise TypeError(f"`args` must be a CoPDConfig, got {type(args).__name__}.{hint}")
    frozen = tuple(name for name, expert in checked.items() if expert.frozen)
    topology = build_topology(args.topology, tuple(checked), args.hub, frozen)
    adapters.check_peft_config(peft_config, model, topology, args.student_init)
    if getattr(peft_config, "init_lora_weights", None) == "eva":  # of a trained adapter it says how it began
        raise ValueError(
            "init_lora_weights='eva' computes factors from data with PEFT's `initialize_lora_eva_weights`, which is "
            "not called here: plain LoRA would be trained. Use True, or initialise and save an adapter, and start "
            "each expert from it with `Expert(adapter=PATH)`."
        )
    peft_config = check_vision(checked, args, model, peft_config)
    check_run(checked, args, topology, peft_config)
    betas = args.learner_betas(topology)
    check_precision(model, args)
    check_engine(args, model, peft_config, topology, checked, quantization_config)
    check_hub(args)
    if processing_class is not None:
        check_tokenizer(processing_class)
    if isinstance(model, PreTrainedModel):
        check_model(model, peft_config)
    worlds = check_worlds(checked, args, model, processing_class)
    fingerprint = redact(run_fingerprint(args, peft_config, checked), secrets_of(args))
    checkpoint_to_resume(args.resume_from_checkpoint, args, fingerprint)
    if not isinstance(model, PreTrainedModel):
        check_model_path(str(model))
    schedule = args.build_schedule(len(checked) - len(frozen))
    args, peft_config = copy.copy(args), copy.deepcopy(peft_config)
    args.enable_jit_checkpoint = False  # `Interruption` does it, in a way that can be resumed from
    args.ignore_data_skip = False  # no rows are skipped on resume, but micro-steps, which say when an epoch ends
    # whoever loads an adapter finds the base's revision in it
    peft_config.revision = peft_config.revision or (args.model_init_kwargs or {}).get("revision")
    engine_args = {name: getattr(args, name) for name in ("use_vllm", "generation_kwargs")}
    if args.use_vllm:  # TRL would start an engine for one policy, and read `generation_kwargs` as transformers'
        args.use_vllm, args.generation_kwargs = False, None
    return Plan(checked, topology, schedule, betas, fingerprint, args, engine_args, peft_config, worlds)


def refuse_unsupported(arguments: dict[str, Any], experts: Any) -> None:
    """Turn arguments that CoPDTrainer has no place for into an error that says where to go."""
    given = [name for name, value in arguments.items() if value is not None]
    if experts is None:
        ported = {"reward_funcs", "train_dataset"} & set(given)
        raise TypeError("CoPDTrainer needs `experts`." + (PORTED if ported else " Pass a list of `Expert`."))
    for name in arguments:
        if name not in UNSUPPORTED:
            known = [*list(inspect.signature(GRPOTrainer.__init__).parameters)[1:], "experts"]
            raise TypeError(f"CoPDTrainer got an unexpected argument {name!r}.{did_you_mean(name, known)}")
        if name in given:
            raise ValueError(f"CoPDTrainer does not take `{name}`. {UNSUPPORTED[name]}")


def check_run(experts: dict[str, Expert], args: CoPDConfig, topology: Topology, peft_config: PeftConfig) -> None:
    """
    Check experts, configuration, topology and adapters against each other.

    Raises:
        ValueError: With what came, why it cannot work, and what to do.
    """
    if len(topology.frozen) == len(experts):
        if not topology.has_student_branch:
            raise ValueError(
                f"topology={topology.name!r} with frozen experts only: nobody would learn. Use topology='student' or "
                "'mopd', where a student learns."
            )
        if args.rlvr_steps > 0:
            raise ValueError(
                f"rlvr_steps={args.rlvr_steps} with frozen experts only: nobody would learn in RLVR rounds. Set "
                "rlvr_steps=0."
            )
    if args.distils and not topology.edges:
        raise ValueError(
            f"topology={topology.name!r} with {len(experts)} expert(s) has no edge, so OPD rounds would teach nobody. "
            "Set opd_steps=0, add an expert, or use topology='student'."
        )
    if topology.name == "mopd" and args.rlvr_steps == 0:
        fresh = [name for name, expert in experts.items() if expert.adapter is None]
        if fresh:
            raise ValueError(
                f"topology='mopd' with rlvr_steps=0: the experts {fresh} would teach before they have learnt "
                "anything. Give them `Expert(adapter=PATH)`, or set rlvr_steps > 0."
            )
    if topology.has_student_branch and args.max_steps > 0 and args.schedule == "fixed":
        if all(phase == "rlvr" for phase, _, _ in args.build_schedule().phases(args.max_steps)):
            logger.warning(
                f"max_steps={args.max_steps} includes no OPD round (rlvr_steps={args.rlvr_steps}), so the student "
                "will not learn. Raise max_steps, or lower rlvr_steps."
            )
    if args.opd_loss != "sampled" and args.beta != 0.0:
        raise ValueError(
            f"opd_loss={args.opd_loss!r} with beta={args.beta}: TRL's KL to the reference needs the "
            "log-probabilities, but the divergence replaces them. Set beta=0.0, or opd_loss='sampled'."
        )
    check_settings(args)
    check_distribution(args)
    _check_output_dir(args.output_dir)
    _check_data(experts, args)
    _check_domains(experts, args)
    check_crossing(args, topology)
    _check_metric(experts, args)
    _check_rewards(experts, args)
    if any(expert.adapter is not None for expert in experts.values()) and args.beta != 0.0:
        raise ValueError(
            f"beta={args.beta} with Expert(adapter=...): TRL's reference would be the trained adapter, but here it is "
            "the base. Set beta=0.0, or start from fresh adapters."
        )
    _check_adapters(experts, args, topology, peft_config)


def _check_output_dir(output_dir: str) -> None:
    if os.path.expandvars(output_dir) != output_dir:
        raise ValueError(
            f"output_dir={output_dir!r}: variables of the environment are not replaced. Write their value."
        )
    there = Path(output_dir).absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK):
        what = "is not a folder" if not there.is_dir() else "cannot be written to"
        raise ValueError(f"output_dir={output_dir!r}: {str(there)!r} {what}. Name another output_dir.")


def _check_data(experts: dict[str, Expert], args: CoPDConfig) -> None:
    prompts = args.generation_batch_size // args.num_generations
    for name, expert in experts.items():
        dataset = expert.train_dataset
        if isinstance(dataset, IterableDataset) and args.max_steps <= 0:
            raise ValueError(
                f"Expert {name!r} streams its data, so the number of rounds is unknown. Set `max_steps` > 0."
            )
        count = len(dataset) if isinstance(dataset, Dataset) else sum(1 for _ in dataset.take(prompts))
        if count < prompts:
            raise ValueError(
                f"Expert {name!r} has {count} training rows, but a generation batch takes {prompts} different "
                "prompts (generation batch size / num_generations). Add rows, or lower the batch size."
            )
    if args.eval_strategy != "no" and not any(expert.eval_datasets for expert in experts.values()):
        raise ValueError(
            f"eval_strategy={args.eval_strategy.value!r}, but no expert has an eval_dataset. Give one to an `Expert`, "
            "or set eval_strategy='no'."
        )


def _check_domains(experts: dict[str, Expert], args: CoPDConfig) -> None:
    """The domains that an adaptive allocation tells apart have names of their own."""
    if args.allocation != "adaptive":
        return
    names: list[str] = []
    for name, expert in experts.items():
        if expert.domain_column is None:
            names.append(name)
            continue
        if isinstance(expert.train_dataset, IterableDataset):
            raise ValueError(
                f"Expert {name!r} streams its data, so `domain_column` cannot split its rows. Load it as a `Dataset`, "
                "or set allocation='uniform'."
            )
        names += {str(domain) for domain in expert.train_dataset[expert.domain_column]}
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"allocation='adaptive' needs distinct domain names, but two are called {twice[0]!r}: they come from "
            "experts and from texts in a `domain_column`. Rename one."
        )


def _check_metric(experts: dict[str, Expert], args: CoPDConfig) -> None:
    """What every evaluation looks up, to choose a model or a learning rate by it, is measured."""
    domains = [domain for expert in experts.values() for domain in expert.eval_datasets]
    if args.selects_best_model and (args.eval_strategy == "no" or not domains):
        asked = "load_best_model_at_end=True" if args.load_best_model_at_end else "save_strategy='best'"
        missing = "no expert has an eval_dataset" if not domains else "eval_strategy='no' measures nothing on the way"
        raise ValueError(
            f"{asked}, but {missing}, so no checkpoint can be the best. Give an `Expert` an eval_dataset and set "
            "eval_strategy and eval_steps, or do not select a best model."
        )
    if args.eval_strategy == "no" or args.metric_for_best_model is None:
        return
    metrics = [f"{name}/{key}" for name in (STUDENT, *experts, adapters.BASE) for key in ("accuracy", *domains)]
    if str(args.metric_for_best_model).removeprefix("eval_") not in metrics:
        raise ValueError(
            f"metric_for_best_model={args.metric_for_best_model!r} is not measured by this run, so its first "
            "evaluation would fail. Leave it out for the student's mean accuracy, or choose one of: "
            f"{', '.join(metrics)}."
        )


def _check_rewards(experts: dict[str, Expert], args: CoPDConfig) -> None:
    if args.reward_weights is None:
        return
    for name, expert in experts.items():
        if expert.reward_weights is None and len(args.reward_weights) != len(expert.reward_funcs):
            raise ValueError(
                f"`args.reward_weights` has {len(args.reward_weights)} weights, but expert {name!r} has "
                f"{len(expert.reward_funcs)} reward functions. Give it `Expert(reward_weights=...)`."
            )


def _check_adapters(experts: dict[str, Expert], args: CoPDConfig, topology: Topology, own: PeftConfig) -> None:
    """Read what there is to know about `Expert(adapter=...)` before the base is loaded for them."""
    configs = dict.fromkeys(experts, own)
    for name, expert in experts.items():
        if expert.adapter is not None:
            try:
                configs[name] = adapters.read_adapter_config(str(expert.adapter), topology, args.student_init)
            except ValueError as error:
                raise ValueError(f"Expert {name!r}, adapter={str(expert.adapter)!r}: {error}") from error
            there, here = adapters.merging_settings(configs[name]), adapters.merging_settings(own)
            if here["target_modules"] == "all-linear":  # which layers that is, the loaded base tells
                del here["target_modules"]
            if getattr(
                configs[name], "target_parameters", None
            ):  # so may fused experts, of which PEFT makes patterns while it loads
                del here["rank_pattern"], here["alpha_pattern"]
            differing = [key for key in here if there[key] != here[key]]
            if args.student_init == "merge" and differing:
                raise ValueError(
                    f"Expert {name!r}, adapter={str(expert.adapter)!r}: student_init='merge' needs adapters like "
                    f"`peft_config`, but {differing[0]} is {there[differing[0]]!r} there and {here[differing[0]]!r} "
                    "here. Change `peft_config`, or set student_init='fresh'."
                )
    ranks = {name: getattr(config, "r", None) for name, config in configs.items()}
    patterns = [getattr(config, "rank_pattern", None) or {} for config in configs.values()]
    if any(getattr(config, "target_parameters", None) for config in configs.values()):
        patterns = []  # PEFT makes some for fused experts while it loads: `adapters.check_mergeable` compares ranks
    same = len(set(ranks.values())) == 1 and all(pattern == patterns[0] for pattern in patterns)
    if args.merge_method == "linear" and not topology.has_student_branch and not same:
        raise ValueError(
            f"merge_method='linear' averages factors of equal rank, but these adapters differ (r: {ranks}). Set "
            "merge_method='average', which takes any ranks, or train adapters of one rank."
        )
