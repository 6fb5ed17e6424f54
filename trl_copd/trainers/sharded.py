"""What changes for [`CoPDTrainer`] when FSDP2 shards the parameters."""

import os

import torch
from torch.utils.data import DataLoader
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

from .. import adapters, sharding


class ShardedMixin:
    """
    The part of [`CoPDTrainer`] that knows sharded parameters. Overrides `_prepare_for_training`, `save_model`,
    `_save_optimizer_and_scheduler`, `_load_optimizer_and_scheduler`.
    """

    def _prepare_for_training(
        self, max_steps: int, train_dataloader: DataLoader, resume_from_checkpoint: str | None
    ) -> tuple[torch.nn.Module, DataLoader]:
        prepared = super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        for name, branch in self.branches.items():  # FSDP2 put shards in their place
            branch.parameters = adapters.branch_parameters(self.peft_model, name)
        return prepared

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if not self.is_fsdp_enabled:
            super().save_model(output_dir, _internal_call)
            return
        # transformers would gather the frozen base for it, or write nothing for sharded state dicts
        self._save(output_dir)
        if self.args.push_to_hub and not _internal_call:
            self.push_to_hub(commit_message="Model save", revision=self.args.hub_revision)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_fsdp_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        # the functions of torch behind accelerate's pair restore the moments of what requires grad at that time, which
        # is one branch of them all
        state = sharding.full_optimizer_state(self.optimizer)
        if self.args.should_save:
            torch.save(state, os.path.join(output_dir, OPTIMIZER_NAME))
            torch.save(self.lr_scheduler.state_dict(), os.path.join(output_dir, SCHEDULER_NAME))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not self.is_fsdp_enabled:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        state = torch.load(os.path.join(checkpoint, OPTIMIZER_NAME), map_location="cpu", weights_only=True)
        sharding.load_optimizer_state(self.optimizer, state)
        self.lr_scheduler.load_state_dict(
            torch.load(os.path.join(checkpoint, SCHEDULER_NAME), map_location="cpu", weights_only=True)
        )
