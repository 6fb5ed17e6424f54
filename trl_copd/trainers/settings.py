"""Settings of TRL's and transformers' that a run of several branches cannot honour; `docs/settings.md` lists all."""

from accelerate.logging import get_logger

from ..config import CoPDConfig
from ..schedule import cross_prompts
from ..topology import STUDENT, Topology


logger = get_logger(__name__)


# field -> why it cannot be honoured, and what to do
REFUSED = {
    "sync_ref_model": "The reference is the frozen base, which all branches share and which never moves. Set it to "
    "False.",
    "log_completions_hub_repo": "The tables hold the completions of several branches and are written to "
    "`output_dir/completions`. Leave it out, and upload that folder.",
    "parallelism_config": "Tensor, context and sequence parallelism split layers or rows that adapters of several "
    "branches share. Leave it out; FSDP2 shards the base (docs/many_gpus.md).",
    "optim_target_modules": "Optimizers that project gradients need whole matrices; LoRA factors are small already. "
    "Leave it out, and choose another `optim`.",
}


def check_settings(args: CoPDConfig) -> None:
    """
    Refuse what would be ignored, or would do something else than it says.

    Raises:
        ValueError: With the value, why it cannot be honoured, and what to do.
    """
    for name, why in REFUSED.items():
        if getattr(args, name):
            raise ValueError(f"{name}={getattr(args, name)!r} is not supported. {why}")
    for name, processes in {"split_batches": 2, "dispatch_batches": 1}.items():
        if getattr(args.accelerator_config, name, None) and args.world_size >= processes:
            raise ValueError(
                f"accelerator_config with {name}=True would split micro-steps, not rows, over the processes. Leave it "
                "out: every process draws its own part of the rows."
            )


def check_crossing(args: CoPDConfig, topology: Topology) -> None:
    """How many of an expert's prompts cross over in an OPD round; of the student's, and in a final phase, all do."""
    taught = sorted({edge.learner for edge in topology.edges if edge.learner != STUDENT})
    if args.opd_steps == 0 or topology.name == "mopd" or not taught:
        return
    prompts = args.prompts_per_generation
    crossing = cross_prompts(prompts, args.opd_fraction)
    if crossing == 0:
        what = (
            f"a generation batch of {args.generation_batch_size} rows with num_generations={args.num_generations} "
            "holds one prompt of a branch"
        )
        more = "Raise per_device_train_batch_size (or gradient_accumulation_steps) to two prompts or more"
        if not topology.has_student_branch:
            raise ValueError(
                f"topology={topology.name!r}: {what}, which remains native because RLVR continues in OPD rounds, so "
                f"OPD rounds would teach nobody. {more}, lower num_generations, or set opd_steps=0."
            )
        logger.warning(
            f"Only the student is taught: {what}, which remains native for an expert because RLVR continues in OPD "
            f"rounds. {more} to let experts learn from the student."
        )
    rows = crossing * args.num_generations
    if rows % args.world_size:
        raise ValueError(
            f"{rows} cross rows (opd_fraction={args.opd_fraction} of {prompts} prompts, "
            f"{args.num_generations} generations each) do not split evenly over {args.world_size} processes. "
            "Change num_generations, the batch size or opd_fraction."
        )
