"""What a run logs: every branch's metrics under its name, every edge's under its label."""

from .branch import fresh_logs, fresh_metrics


class LogsMixin:
    """The part of [`CoPDTrainer`] that logs. Overrides `log`."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log every branch's metrics under its name, and the edges' under theirs."""
        if not self.model.training:
            super().log(logs, start_time)
            return
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
        if self.log_completions:
            self._collect_completions()
        super().log(logs, start_time)

    def _collect_completions(self) -> None:
        """Put the branches' completions into TRL's one table, with the branch as a column."""
        self._logs = fresh_logs(self.args.generation_batch_size * len(self.branches))
        everyone = [branch.attributes for branch in self.branches.values()]
        rewards = dict.fromkeys(name for attributes in everyone for name in attributes["reward_func_names"])
        extras = dict.fromkeys(name for attributes in everyone for name in attributes["_logs"]["extra"])
        for name, branch in self.branches.items():
            logs = branch.attributes["_logs"]
            rows = len(logs["prompt"])
            for key in ("prompt", "completion", "advantages"):
                self._logs[key].extend(logs[key])
            for reward in rewards:
                self._logs["rewards"][reward].extend(logs["rewards"].get(reward) or [float("nan")] * rows)
            for column in extras:
                self._logs["extra"][column].extend(logs["extra"].get(column) or [None] * rows)
            self._logs["extra"]["branch"].extend([name] * rows)
