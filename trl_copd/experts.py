"""An expert: a domain (dataset and reward functions) and the adapter that learns it, checked before a model loads."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, TypeAlias

from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict
from torch import nn

from . import rewards
from .pictures import check_pictures, transformed
from .reward_calls import TAKEN_COLUMNS, check_parameters, columns_read
from .rewards.base import AsyncReward, VerifierReward
from .spelling import suggesting
from .worlds import check_acting, check_rows_to_act_on, take_prompts_from_environment


MEAN = "accuracy"  # what an adapter's mean over all domains is logged as, beside the domains
RESERVED_NAMES = ("default", "ref", "base", "student", "keys", MEAN)
EvalDatasets: TypeAlias = Dataset | IterableDataset | dict[str, Dataset | IterableDataset]


@suggesting
@dataclass
class Expert:
    """
    A domain and the LoRA adapter that is trained on it with verifiable rewards.

    Args:
        name (`str`):
            Name of the adapter: letters, digits, `_` and `-`; none of `default`, `ref`, `base`, `student`, `keys`,
            `accuracy`.
        train_dataset ([`~datasets.Dataset`] or [`~datasets.IterableDataset`]):
            Rows with a `prompt` (text or messages) and the columns that the rewards read. Images are in a column
            `image` or `images`, or in the messages: PIL images, paths or files' bytes. If an environment gives the
            prompts, rows need none; without rows `max_steps` sets the length of the run.
        reward_funcs (`Callable` or `list`):
            As TRL's `reward_funcs`. The first one is also the domain's accuracy in the capability matrix. May be left
            out if an environment has a `get_reward`.
        eval_dataset (`Dataset`, `dict[str, Dataset]` or [`~datasets.DatasetDict`], *optional*):
            Held-out rows, never trained on; they may be streamed. A dictionary evaluates an expert on pooled data
            domain by domain.
        reward_weights (`list[float]`, *optional*):
            One weight per reward function; defaults to `args.reward_weights`, or to 1.0 each.
        adapter (`str` or `Path`, *optional*):
            Trained adapter (folder or Hub id) to start from, instead of a fresh one.
        learning_rate (`float`, *optional*):
            Peak learning rate of this expert, > 0; defaults to `args.learning_rate`.
        reward_processing_classes (*optional*):
            For reward models: a tokenizer, or a list with one (or `None`) per reward function. By default each model's
            own tokenizer is loaded.
        domain_column (`str`, *optional*):
            Column with each row's domain, for an expert on the pooled data of several domains.
            `allocation="adaptive"` divides its prompts among them.
        frozen (`bool`, *optional*, defaults to `False`):
            Whether the expert only teaches. Needs `adapter`.
        tools (`list[Callable]`, *optional*):
            As in [`~trl.GRPOTrainer`]: functions that the model may call, with type hints and Google-style docstrings.
        environment_factory (`Callable` or `dict[str, Callable]`, *optional*):
            As in [`~trl.GRPOTrainer`]: makes an environment, whose public methods are tools. A dictionary holds
            several by name; the column `environment` of a row names its own.
        rollout_func (`Callable`, *optional*):
            As in [`~trl.GRPOTrainer`]: turns `(prompts, trainer)` into completions. While it runs, the branch's
            adapter is active, `trainer.rows` has the rows, and `trainer.sample(prompt_ids)` samples together with all
            other branches. A key `failures` (`dict[int, str]`) names rows that nobody grades or teaches, and why.
        max_tool_calling_iterations (`int`, *optional*, defaults to `args.max_tool_calling_iterations`):
            Largest number of turns after the first, >= 0.
        chat_template_kwargs (`dict`, *optional*, defaults to `args.chat_template_kwargs`):
            Additional arguments of the chat template for this expert's prompts.
        tool_timeout (`float`, *optional*, defaults to `60.0`):
            Time limit of one call of a tool or an environment, in seconds, > 0. The model is told about a time-out.
    """

    name: str
    train_dataset: Dataset | IterableDataset = None  # type: ignore[assignment]  # an environment may give all
    reward_funcs: Callable | str | list[Callable | str] | None = None
    eval_dataset: EvalDatasets | None = None
    reward_weights: list[float] | None = None
    adapter: str | Path | None = None
    learning_rate: float | None = None
    reward_processing_classes: Any = field(default=None, repr=False)
    domain_column: str | None = None
    frozen: bool = False
    tools: list[Callable] | None = None
    environment_factory: Callable | dict[str, Callable] | None = None
    rollout_func: Callable | None = None
    max_tool_calling_iterations: int | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    tool_timeout: float = 60.0
    without_rows: bool = field(default=False, init=False, repr=False)  # an environment gives all prompts
    prompts_from_environment: bool = field(default=False, init=False, repr=False)  # rows have columns, but no prompt

    def __post_init__(self):
        self._check_name()
        check_acting(self)
        self._check_rewards()
        self._check_adapter_and_rate()
        take_prompts_from_environment(self)
        self.sees = _check_dataset(self.train_dataset, self.name, "train_dataset", self.required_columns)
        column = self.domain_column
        if column is not None and column not in (self.train_dataset.column_names or [column]):
            raise ValueError(
                f"Expert {self.name!r} has no column {column!r} in `train_dataset` (found: "
                f"{', '.join(self.train_dataset.column_names)}), which `domain_column` names. Add it, or leave "
                "`domain_column` out."
            )
        if isinstance(self.eval_dataset, (DatasetDict, IterableDatasetDict)) and "train" in self.eval_dataset:
            raise TypeError(
                f"Expert {self.name!r}: `eval_dataset` holds several splits ({', '.join(self.eval_dataset)}), the "
                "training rows among them. Pass one of them, or a dictionary of those that are held out."
            )
        for domain, dataset in self.eval_datasets.items():
            if not isinstance(domain, str) or not domain:
                raise TypeError(
                    f"Expert {self.name!r}: a key of `eval_dataset` names a domain in tables and files. Use a "
                    f"non-empty str, not {domain!r}."
                )
            if domain == MEAN:
                raise ValueError(
                    f"Expert {self.name!r}: a key of `eval_dataset` is {MEAN!r}, under which the mean over all "
                    "domains is logged. Choose another name."
                )
            self.sees |= _check_dataset(dataset, self.name, f"eval_dataset[{domain!r}]", self.required_columns)
        check_rows_to_act_on(self)

    @property
    def acts(self) -> bool:
        """Whether its conversations are its own: by tools, an environment, a rollout function, or the template."""
        own = (self.environment_factory, self.rollout_func, self.chat_template_kwargs)
        return bool(self.tools) or any(value is not None for value in own)

    @property
    def eval_datasets(self) -> dict[str, Dataset | IterableDataset]:
        """Held-out data by domain; a single dataset is a domain with the expert's name."""
        if self.eval_dataset is None:
            return {}
        return self.eval_dataset if isinstance(self.eval_dataset, dict) else {self.name: self.eval_dataset}

    @property
    def required_columns(self) -> dict[str, set[str]]:
        """For each reward function by name, the dataset columns that it needs."""
        if self.rollout_func is not None:  # it gives rewards further values, and only when it runs
            return {}
        funcs: Any = self.reward_funcs  # a list, once checked
        return columns_read(funcs)

    def _check_name(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"Expert name must be a str, got {type(self.name).__name__}: {self.name!r}.")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.name):
            raise ValueError(
                f"Expert name {self.name!r} cannot name an adapter and a folder. Use letters, digits, '_' and '-'."
            )
        if self.name in RESERVED_NAMES or hasattr(nn.ModuleDict(), self.name):
            raise ValueError(
                f"Expert name {self.name!r} is reserved: TRL, PEFT or the capability matrix use "
                f"{', '.join(RESERVED_NAMES)} and the attributes of torch's ModuleDict. Choose another name."
            )

        if self.name.startswith(("eval_", "test_")):
            raise ValueError(
                f"Expert name {self.name!r} begins like an evaluation metric, so trackers would put its curves into "
                "that group. Choose another name."
            )

    def _check_rewards(self) -> None:
        if self.reward_funcs is None:
            if self.environment_factory is None:
                raise TypeError(
                    f"Expert {self.name!r} has no `reward_funcs`. Pass at least one, or an `environment_factory` "
                    "whose environments have a `get_reward`."
                )
            self.reward_funcs = []
        funcs = self.reward_funcs if isinstance(self.reward_funcs, (list, tuple)) else [self.reward_funcs]
        if not funcs and self.environment_factory is None:
            raise ValueError(f"Expert {self.name!r} has no reward function. Pass at least one in `reward_funcs`.")
        for func in funcs:
            if not (callable(func) or isinstance(func, str)):
                raise TypeError(
                    f"Expert {self.name!r}: a reward function must be callable or a model id, got "
                    f"{type(func).__name__}: {func!r}."
                )
            if isinstance(func, type):
                raise TypeError(
                    f"Expert {self.name!r}: the reward {func.__name__} is a class. Pass an instance of it: "
                    f"`{func.__name__}()`."
                )
            if isinstance(func, str) and func in rewards.__all__:
                raise ValueError(
                    f"Expert {self.name!r}: a reward given as a str must be a model id. Pass the function itself: "
                    f"`from trl_copd.rewards import {func}`."
                )
        self._check_processing_classes(funcs)
        self.reward_funcs = list(funcs)
        for func in funcs:
            check_parameters(func, self.name)
            if isinstance(func, (VerifierReward, AsyncReward)):
                func.check()  # a prover or sandbox that is missing: now, not after the model is loaded
        if self.reward_weights is not None:
            weights = self.reward_weights
            if not isinstance(weights, (list, tuple)) or not all(isinstance(w, Real) for w in weights):
                raise TypeError(f"Expert {self.name!r}: `reward_weights` must be a list of numbers, got {weights!r}.")
            if not all(math.isfinite(weight) for weight in weights):
                raise ValueError(f"Expert {self.name!r}: `reward_weights` must be finite, got {weights}.")
            self.reward_weights = [float(weight) for weight in weights]
            if len(self.reward_weights) != len(funcs):
                raise ValueError(
                    f"Expert {self.name!r} has {len(self.reward_weights)} reward weights for {len(funcs)} reward "
                    "functions. Give one weight per function."
                )

    def _check_processing_classes(self, funcs: list | tuple) -> None:
        classes, models = self.reward_processing_classes, [f for f in funcs if isinstance(f, (str, nn.Module))]
        if isinstance(classes, (list, tuple)):
            if len(classes) != len(funcs):
                raise ValueError(
                    f"Expert {self.name!r} has {len(classes)} `reward_processing_classes` for {len(funcs)} reward "
                    "functions. Give one per function, None for a function that is not a model."
                )
            self.reward_processing_classes = list(classes)
        elif classes is not None and len(models) > 1:
            raise ValueError(
                f"Expert {self.name!r} has one `reward_processing_classes` for {len(models)} reward models, whose "
                "tokens may differ. Pass a list with one per reward function, None for a function that is not a model."
            )

    def _check_adapter_and_rate(self) -> None:
        if self.adapter is not None and not isinstance(self.adapter, (str, Path)):
            raise TypeError(
                f"Expert {self.name!r}: `adapter` must be a path or a Hub id, got {type(self.adapter).__name__}."
            )
        if self.adapter is not None:
            folder, local = Path(self.adapter), str(self.adapter).startswith((".", "/")) or Path(self.adapter).is_dir()
            if local and not (folder / "adapter_config.json").is_file():
                raise ValueError(
                    f"Expert {self.name!r}: adapter={str(self.adapter)!r} holds no adapter (no adapter_config.json). "
                    "Pass a saved adapter's folder, such as `OUTPUT_DIR/experts/NAME`, or a Hub id."
                )
        if self.frozen and self.adapter is None:
            raise ValueError(
                f"Expert {self.name!r} is frozen, but has no adapter, so it could only teach what the base knows. "
                "Give it `adapter=PATH`, or let it train."
            )
        rate = self.learning_rate
        if rate is not None:
            if isinstance(rate, bool) or not isinstance(rate, Real):
                raise TypeError(f"Expert {self.name!r}: `learning_rate` must be a float, got {type(rate).__name__}.")
            if not (rate > 0 and math.isfinite(rate)):
                raise ValueError(f"Expert {self.name!r}: `learning_rate` must be finite and > 0, got {rate}.")
            self.learning_rate = float(rate)


def check_experts(experts: Any) -> dict[str, Expert]:
    """
    Check the list of experts as a whole.

    Returns:
        `dict[str, Expert]`: The experts by name, in the given order.

    Raises:
        TypeError: Not a list of [`Expert`].
        ValueError: No experts, or two of the same name.
    """
    if isinstance(experts, Expert):
        raise TypeError("`experts` must be a list of `Expert`, got one. Wrap it in a list: `experts=[Expert(...)]`.")
    if not isinstance(experts, (list, tuple)) or not all(isinstance(expert, Expert) for expert in experts):
        raise TypeError(f"`experts` must be a list of `Expert`, got {type(experts).__name__}: {experts!r:.200}.")
    if not experts:
        raise ValueError("`experts` is empty: there is nothing to train. Pass at least one `Expert`.")
    names = [expert.name for expert in experts]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise ValueError(f"Two experts have the name {duplicates[0]!r}. Names are adapters: give each its own.")
    # `a.b` and `a` could collide in folders on case-insensitive file systems
    if len({name.lower() for name in names}) < len(names):
        raise ValueError(f"Expert names differ only in case ({names}): their folders would collide. Rename one.")
    domains = [domain for expert in experts for domain in expert.eval_datasets]
    repeated = sorted({domain for domain in domains if domains.count(domain) > 1})
    if repeated:
        raise ValueError(
            f"Two experts evaluate on a domain named {repeated[0]!r}. Give the eval datasets other names."
        )
    return {expert.name: expert for expert in experts}


def _check_dataset(dataset: Any, expert: str, argument: str, columns_by_reward: Mapping[str, set[str]]) -> bool:
    """Refuse what cannot be trained on, naming what is there and what is missing; whether it holds pictures."""
    if isinstance(dataset, (DatasetDict, IterableDatasetDict)):
        raise TypeError(
            f"Expert {expert!r}: `{argument}` holds several splits ({', '.join(map(str, dataset))}). Pass one of "
            "them, such as `dataset['train']`."
        )
    if not isinstance(dataset, (Dataset, IterableDataset)):
        raise TypeError(
            f"Expert {expert!r}: `{argument}` must be a `datasets.Dataset` or `IterableDataset`, got "
            f"{type(dataset).__name__}. `datasets.Dataset.from_list(rows)` makes one."
        )
    if isinstance(dataset, Dataset) and len(dataset) == 0:
        raise ValueError(f"Expert {expert!r}: `{argument}` is empty. Give it at least one row.")
    first = next(iter(dataset.take(1)), None)
    if first is None:
        raise ValueError(f"Expert {expert!r}: `{argument}` yields no row. Give it at least one.")
    if not isinstance(first, Mapping):
        raise TypeError(
            f"Expert {expert!r}: a row of `{argument}` is a {type(first).__module__.split('.')[0]} "
            f"{type(first).__name__}, not a dictionary. Pass the dataset with `.with_format(None)`."
        )
    found = list(first)  # a format or a transform of the dataset decides, not the columns of its table
    shown = ", ".join(found)
    hidden = {*(dataset.column_names or found)} - {*found}
    if hidden:
        shown += f"; its format hides {', '.join(sorted(hidden))}"
    if "prompt" not in found:
        raise ValueError(
            f"Expert {expert!r} has no column 'prompt' in `{argument}` (found: {shown}). Rename the column that holds "
            "the text or the messages to 'prompt'."
        )
    for reward, columns in columns_by_reward.items():
        missing = sorted(columns - set(found))
        if missing:
            raise ValueError(
                f"Expert {expert!r} has no column {missing[0]!r} in `{argument}` (found: {shown}), which the reward "
                f"{reward!r} reads. Add it, or use another reward."
            )
    taken = sorted(TAKEN_COLUMNS & set(found)) if columns_by_reward else []  # rewards that are models get no columns
    if taken:
        raise ValueError(
            f"Expert {expert!r}: `{argument}` has a column {taken[0]!r} (found: {shown}), but TRL passes something "
            "else to every reward function under this name. Rename the column."
        )
    _check_prompts(dataset, first["prompt"], expert, argument)
    return check_pictures(dataset, expert, argument)


def _check_prompts(dataset: Dataset | IterableDataset, prompt: Any, expert: str, argument: str) -> None:
    """The first prompt is a text or messages, and none is missing (as far as that can be seen without a pass)."""
    messages = isinstance(prompt, list) and all(isinstance(m, dict) and {"role", "content"} <= set(m) for m in prompt)
    if not (isinstance(prompt, str) or (messages and prompt)):
        raise TypeError(
            f"Expert {expert!r}: a prompt must be a text or a list of messages with 'role' and 'content'; the first "
            f"one in `{argument}` is {prompt!r:.80}."
        )
    if isinstance(dataset, Dataset) and not transformed(dataset):
        empty = dataset.select_columns("prompt").with_format("arrow")[:]["prompt"].null_count
        if empty:
            raise ValueError(f"Expert {expert!r}: {empty} rows of `{argument}` have no prompt (None). Leave them out.")
