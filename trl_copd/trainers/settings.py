"""Settings of TRL's and transformers' that a run of several branches cannot honour; `docs/settings.md` lists all."""

from ..config import CoPDConfig


# field -> why it cannot be honoured, and what to do
REFUSED = {
    "sync_ref_model": "The reference is the frozen base, which all branches share and which never moves. Set it to "
    "False.",
    "log_completions_hub_repo": "The tables hold the completions of several branches and are written to "
    "`output_dir/completions`. Leave it out, and upload that folder.",
    "parallelism_config": "Tensor, context and sequence parallelism cut layers or rows that adapters of several "
    "branches share. Leave it out; FSDP2 shards the base (docs/many_gpus.md).",
    "optim_target_modules": "Optimizers that project gradients want whole matrices; the factors of LoRA are small "
    "already. Leave it out, and choose another `optim`.",
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
                f"accelerator_config with {name}=True would share out micro-steps, not rows, among processes. Leave "
                "it out: every process draws its own part of the rows."
            )
