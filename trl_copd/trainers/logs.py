"""What a run logs: every branch's metrics under its name, every edge's under its label, and completions per branch."""

import importlib
import os
from contextlib import contextmanager
from typing import Any

import pandas as pd
import torch
from accelerate.utils import gather_object
from transformers import Trainer
from transformers.utils import is_rich_available
from trl.trainer.utils import print_prompt_completions_sample

from ..topology import Edge
from .branch import Branch, fresh_logs, fresh_metrics


class LogsMixin:
    """The part of [`CoPDTrainer`] that logs. Overrides `log`, and `train` to give the terminal back at its end."""

    def train(self, *args, **kwargs):
        try:
            return super().train(*args, **kwargs)
        finally:
            self.progress.close()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log every branch's metrics under its name, and the edges' under theirs."""
        if self.model.training:
            self._collect_metrics()
        tables, self.log_completions = self.log_completions, False  # TRL's table is one policy's; ours are per branch
        try:
            super().log(logs, start_time)
        finally:
            self.log_completions = tables
        if tables and self.model.training:
            self._log_completions()

    def _log_alone(self, logs: dict[str, float]) -> None:
        """Log these numbers now: what the branches have gathered waits for its own log."""
        Trainer.log(self, logs)

    @contextmanager
    def _untracked(self):
        """
        Keep TRL's timings of what is not part of a round out of the trackers: trackio refuses them before the run has
        begun and after it has ended.
        """
        report_to, self.args.report_to = self.args.report_to, []
        try:
            yield
        finally:
            self.args.report_to = report_to

    def _collect_metrics(self) -> None:
        metrics = self._metrics["train"]
        for name, branch in self.branches.items():
            for key, values in branch.attributes["_metrics"]["train"].items():
                if key == "num_tokens":
                    metrics[key] = [self.state.num_input_tokens_seen]
                    continue
                metrics[f"{name}/{key}"] = values
                if key == "reward":
                    metrics[key] += values  # the mean over branches, for tools that look for TRL's name
            branch.attributes["_metrics"] = fresh_metrics()
        metrics.update(self._edge_metrics)
        self._edge_metrics.clear()

    # ---- Completions ------------------------------------------------------------------------------------------------

    def _keep_cross_rows(self, logs: dict[str, Any], batch: dict[str, torch.Tensor], edges: list[Edge]) -> None:
        """Keep the acting branch's cross rows for its table: who taught them, and their mean token advantage."""
        mask = batch["completion_mask"]
        means = (batch["advantages"] * mask).sum(1) / mask.sum(1).clamp(min=1)  # (B,)
        logs["advantages"] = self.accelerator.gather(means).tolist()
        logs["edges"] = gather_object([edge.label for edge in edges])
        self._acting.cross_logs = logs

    def _log_completions(self) -> None:
        """Print, write and track the completions of each branch that has sampled since the last log."""
        tables = {name: self._completions(branch) for name, branch in self.branches.items()}
        tables = {name: table for name, table in tables.items() if len(table)}
        if not tables or not self.accelerator.is_main_process:
            return
        if is_rich_available():
            with self.progress.paused():
                for name, table in tables.items():
                    self._print_completions(name, table)
        folder = os.path.join(self.args.output_dir, "completions")
        os.makedirs(folder, exist_ok=True)
        pd.concat(tables.values()).to_parquet(
            os.path.join(folder, f"completions_{self.state.global_step:05d}.parquet"), index=False
        )
        trackers = [importlib.import_module(name) for name in ("wandb", "trackio") if name in self.args.report_to]
        trackers = [tracker for tracker in trackers if tracker.__name__ != "wandb" or tracker.run is not None]
        if self.log_unique_prompts:
            tables = {name: table[~table["prompt"].astype(str).duplicated()] for name, table in tables.items()}
        for tracker in trackers:
            tracker.log({f"completions/{name}": tracker.Table(dataframe=table.drop(columns="branch"))
                         for name, table in tables.items()})  # fmt: skip

    def _completions(self, branch: Branch) -> pd.DataFrame:
        """The branch's rows since the last log, native ones first; they are handed out once."""
        native, cross = branch.attributes["_logs"], branch.cross_logs
        branch.attributes["_logs"], branch.cross_logs = fresh_logs(self.args.generation_batch_size), None
        parts = []
        for logs, edges in ((native, ""), (cross, cross and cross["edges"])):
            if logs is not None and logs["prompt"]:
                columns = {
                    "step": self.state.global_step,
                    "branch": branch.name,
                    "edge": edges,
                    "prompt": list(logs["prompt"]),
                    "completion": list(logs["completion"]),
                    **{name: list(values) for name, values in logs["rewards"].items()},
                    **{name: list(values) for name, values in logs["extra"].items()},
                    "advantage": list(logs["advantages"]),
                }
                parts.append(pd.DataFrame(columns))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def _print_completions(self, name: str, table: pd.DataFrame) -> None:
        rewards = self.branches[name].attributes["reward_func_names"]
        shown = {column: table[column].tolist() for column in table.columns}
        extra = {
            k: v
            for k, v in shown.items()
            if k not in ("step", "branch", "prompt", "completion", "advantage", *rewards)
        }
        if not any(extra["edge"]):
            del extra["edge"]
        print_prompt_completions_sample(
            shown["prompt"],
            shown["completion"],
            {reward: shown[reward] for reward in rewards if reward in shown},
            shown["advantage"],
            f"{self.state.global_step}: {name}",  # the table's title
            self.num_completions_to_print,
            extra,
        )
