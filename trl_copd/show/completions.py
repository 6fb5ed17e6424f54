"""The table of completions: printed, written as Parquet and sent to trackers, branch by branch."""

import importlib
import json
from collections.abc import Mapping
from typing import Any, Protocol

import pandas as pd
from transformers import TrainerState
from transformers.utils import is_rich_available
from trl import GRPOConfig
from trl.trainer.utils import print_prompt_completions_sample, strip_images_from_messages

from ..run import folder
from .progress import PhaseProgress


class Logged(Protocol):
    """A branch, as far as its completions are logged."""

    reward_func_names: list[str]

    def hand_over_logs(self) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Completions of its native and of its cross rows since the last log."""


def log_completions(
    branches: Mapping[str, Logged], state: TrainerState, args: GRPOConfig, progress: PhaseProgress
) -> None:
    """
    Print, write and track the completions of each branch that has sampled since the last log.

    Args:
        branches: The branches by name.
        state ([`~transformers.TrainerState`]): The round, and whether this is the process that writes.
        args ([`~trl.GRPOConfig`]): Where to, and how many are printed.
        progress ([`PhaseProgress`]): Makes room on the terminal.
    """
    step = state.global_step
    tables = {name: completions_table(name, branch, step) for name, branch in branches.items()}
    tables = {name: _of_one_kind(table) for name, table in tables.items() if len(table)}
    if not tables or not state.is_world_process_zero:
        return
    if is_rich_available():
        with progress.paused():
            for name, table in tables.items():
                _print(name, table, branches[name].reward_func_names, step, args.num_completions_to_print)
    path = folder.completions_file(args.output_dir, step)
    path.parent.mkdir(parents=True, exist_ok=True)
    _of_one_kind(pd.concat(tables.values())).to_parquet(path, index=False)
    trackers = [importlib.import_module(name) for name in ("wandb", "trackio") if name in args.report_to]
    trackers = [tracker for tracker in trackers if tracker.__name__ != "wandb" or tracker.run is not None]
    if args.log_unique_prompts:
        tables = {name: table[~table["prompt"].astype(str).duplicated()] for name, table in tables.items()}
    for tracker in trackers:
        tracker.log(
            {
                f"completions/{name}": tracker.Table(dataframe=table.drop(columns="branch"))
                for name, table in tables.items()
            }
        )


def completions_table(name: str, branch: Logged, step: int) -> pd.DataFrame:
    """A branch's rows since the last log, native ones first; they are handed out once."""
    native, cross = branch.hand_over_logs()
    parts = []
    for logs, edges in ((native, ""), (cross, cross and cross["edges"])):
        if logs is not None and logs["prompt"]:
            columns = {
                "step": step,
                "branch": name,
                "edge": edges,
                "prompt": [strip_images_from_messages(prompt) for prompt in logs["prompt"]],
                "completion": list(logs["completion"]),
                **{reward: list(values) for reward, values in logs["rewards"].items()},
                **{column: list(values) for column, values in logs["extra"].items()},
                "advantage": list(logs["advantages"]),
            }
            parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _of_one_kind(table: pd.DataFrame) -> pd.DataFrame:
    """
    Write messages as JSON where a column holds texts as well, or calls of tools, whose arguments are of any type: a
    column of Parquet or of a tracker has one type.
    """
    table = _with_like_prompts(table)
    for column in ("prompt", "completion"):
        if len({isinstance(value, str) for value in table[column]}) > 1 or any(map(_acts, table[column])):
            table[column] = [value if isinstance(value, str) else json.dumps(value) for value in table[column]]
    return table


def _acts(messages: Any) -> bool:
    """Whether there is a call of a tool among messages, or what one has said."""
    return isinstance(messages, list) and any("tool_calls" in m or m.get("role") == "tool" for m in messages)


def _with_like_prompts(table: pd.DataFrame) -> pd.DataFrame:
    """Write every content of messages in parts, as soon as one is: a column of Parquet has one type."""
    prompts = [prompt for prompt in table["prompt"] if isinstance(prompt, list)]
    if not any(isinstance(message.get("content"), list) for prompt in prompts for message in prompt):
        return table.copy()
    return table.assign(prompt=[_in_parts(prompt) for prompt in table["prompt"]])


def _in_parts(prompt: Any) -> Any:
    if not isinstance(prompt, list):
        return prompt
    return [
        {**message, "content": [{"type": "text", "text": message["content"]}]}
        if isinstance(message.get("content"), str)
        else message
        for message in prompt
    ]


def _print(name: str, table: pd.DataFrame, rewards: list[str], step: int, samples: int | None) -> None:
    shown = {column: table[column].tolist() for column in table.columns}
    known = ("step", "branch", "prompt", "completion", "advantage", *rewards)
    extra = {column: values for column, values in shown.items() if column not in known}
    if not any(extra["edge"]):
        del extra["edge"]
    print_prompt_completions_sample(
        shown["prompt"],
        shown["completion"],
        {reward: shown[reward] for reward in rewards if reward in shown},
        shown["advantage"],
        f"{step}: {name}",  # the table's title
        samples,
        extra,
    )
