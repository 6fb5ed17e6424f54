"""The parts of a run, built one after the other: each gets what it needs by name."""

from dataclasses import dataclass

from accelerate.logging import get_logger
from peft import PeftModel
from transformers import Trainer
from trl import GRPOTrainer
from trl.trainer.utils import disable_dropout_in_model

from .. import adapters
from ..allocation import Allocation
from ..divergence import Divergence
from ..engines import Engine, build_engine
from ..forwards import Forwards
from ..image_features import ImageFeatures
from ..measure.matrix import CapabilityMatrix
from ..measure.overlap import Overlap
from ..precision import Precision
from ..run.saver import Saver
from ..run.weights import Weights
from ..shared_prompts import SharedPrompts
from ..show.progress import PhaseProgress, choose_progress
from ..show.recorder import Recorder
from .actor import Actor, HeldOut, share_event_loop
from .branches import build_branches, domain_names, split_domains
from .checks import Plan
from .data_pass import DataPass, PromptCheck, prompt_limits, unknown_token
from .host import Host
from .learner import Learner
from .model_checks import check_auxiliary_loss, check_model, check_tokenizer
from .round import Round
from .teaching import Teaching


logger = get_logger(__name__)


@dataclass
class Parts:
    """See the classes."""

    recorder: Recorder
    forwards: Forwards
    engine: Engine
    weights: Weights
    teaching: Teaching
    branches: dict[str, Learner]
    overlap: Overlap
    round: Round
    evaluation: CapabilityMatrix
    conversations: HeldOut | None
    saver: Saver
    progress: PhaseProgress


def create_adapters(model: PeftModel, plan: Plan) -> None:
    """Give every branch an adapter, as a copy of the one that TRL has created or from `Expert(adapter=...)`."""
    trained = {name: str(expert.adapter) for name, expert in plan.experts.items() if expert.adapter is not None}
    for field, missed in adapters.fits_no_layer(model, plan.peft_config).items():
        logger.warning(f"`{field}` names {missed}, which fit no adapted layer of the base: PEFT passes over them.")
    adapters.create_branches(model, plan.topology.branches, trained, plan.args.student_init == "merge")
    adapters.check_layers(model)
    adapters.check_mergeable(model, plan.topology, plan.args.student_init, plan.args.merge_method)
    if plan.args.disable_dropout:  # TRL did it for the initial adapter
        disable_dropout_in_model(model)


def build_parts(run: GRPOTrainer, plan: Plan) -> Parts:
    """
    Build the parts of a run.

    Args:
        run ([`~trl.GRPOTrainer`]): As TRL has built it, with the branches' adapters in its model.
        plan ([`Plan`]): What is to be trained.
    """
    check_tokenizer(run.processing_class)
    args, accelerator, host = run.args, run.accelerator, Host(run)
    experts, topology, schedule = plan.experts, plan.topology, plan.schedule
    recorder = Recorder(run._metrics["train"], lambda logs: Trainer.log(run, logs), args)
    model = accelerator.unwrap_model(run.model)
    check_model(model.get_base_model(), plan.peft_config)
    check_auxiliary_loss(model.get_base_model(), run.aux_loss_enabled)
    precision, several = Precision(model, run.temperature, args.score_in_fp32), len(topology.branches) > 1
    images = None  # one branch alone is TRL's own, to the bit
    if adapters.is_multimodal(model.get_base_model().config) and (several or args.share_prompts is True):
        images = ImageFeatures(model, 4 * len(topology.branches) * args.prompts_per_generation)
    forwards = Forwards(model, precision, SharedPrompts(model) if args.shares_prompts(topology) else None, images)
    engine = build_engine(args, forwards, host.generate_rows, host.sampling(args), topology, experts, accelerator)
    weights = Weights(forwards, topology, args)
    divergence = None
    if args.opd_loss != "sampled":
        divergence = Divergence(args.opd_loss, model.get_base_model(), run.temperature, args.opd_top_k)
    teaching = Teaching(
        topology=topology,
        betas=plan.betas,
        forwards=forwards,
        logps=host.logps,
        rows=args.per_device_train_batch_size,
        clip=args.opd_clip,
        divergence=divergence,
        accelerator=accelerator,
        recorder=recorder,
    )
    domains, probes = split_domains(experts, args, topology, run.processing_class)
    share_event_loop(run, plan.worlds.values())
    limits = prompt_limits(model.get_base_model(), args)
    unknown = unknown_token(getattr(run.processing_class, "tokenizer", run.processing_class))
    acting = {name: PromptCheck(Actor(run, world).token_ids, limits, world.factories is not None, unknown)
              for name, world in plan.worlds.items()}  # fmt: skip
    check = PromptCheck(host.token_ids, limits, unknown=unknown)
    data_pass = DataPass(check, accelerator, ahead=args.check_data, progress=not args.disable_tqdm, acting=acting)
    data_pass.run(list(experts.values()))
    data_pass.check_probes(probes)
    allocation = None
    if args.allocation == "adaptive":
        allocation = Allocation(domain_names(experts, domains), args.allocation_floor)
    branches = build_branches(run, experts, topology, domains, teaching, allocation, data_pass, plan.worlds)
    conversations = HeldOut(run, plan.worlds, host.tokenize) if plan.worlds else None
    overlap = Overlap(
        edges=topology.edges,
        probes=probes,
        every=args.overlap_every,
        turns=args.overlap_edges == "turns" and args.schedule != "overlap",  # which decides on all of them
        top_k=args.overlap_top_k,
        temperature=run.temperature,
        seed=args.seed,
        forwards=forwards,
        engine=engine,
        tokenize=host.token_ids,
        pad_token_id=host.pad_token_id,
        eos_token_id=host.eos_token_id,
        accelerator=accelerator,
        recorder=recorder,
        thresholds=(args.overlap_low, args.overlap_high) if args.schedule == "overlap" else (),
        conversations=conversations,
    )
    round_ = Round(
        args=args,
        topology=topology,
        schedule=schedule,
        branches=branches,
        forwards=forwards,
        engine=engine,
        overlap=overlap,
        tokenize=host.tokenize,
        eos_token_id=host.eos_token_id,
        restart_student=lambda: weights.restart_student(run.optimizer),
        accelerator=accelerator,
        recorder=recorder,
        allocation=allocation,
    )
    evaluation = CapabilityMatrix(
        experts=experts,
        graders=branches,
        forwards=forwards,
        engine=engine,
        tokenize=host.token_ids,
        complete=host.completions,
        accelerator=accelerator,
        batch_size=args.per_device_eval_batch_size,
        temperature=run.temperature,
        merged=not topology.has_student_branch,
        samples=args.num_generations_eval or 1,
        conversations=conversations,
    )
    return Parts(
        recorder=recorder,
        forwards=forwards,
        engine=engine,
        weights=weights,
        teaching=teaching,
        branches=branches,
        overlap=overlap,
        round=round_,
        evaluation=evaluation,
        conversations=conversations,
        saver=Saver(args, accelerator),
        progress=choose_progress(topology, schedule, args.live_view),
    )
