"""What an expert acts in: tools, environments or a rollout function of its own, checked before a model loads."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from datasets import Dataset, IterableDataset
from transformers.utils import get_json_schema


NOT_TOOLS = ("reset", "get_reward")  # of an environment's public methods
PLACEHOLDER_ROWS = 1024  # of an expert whose environment gives all prompts
EMPTY_PROMPT = [{"role": "user", "content": ""}]  # to which TRL adds what `reset` returns


class EnvironmentFailure(RuntimeError):
    """
    Raise it in a tool or an environment if the infrastructure has failed and not the model. The row then gets no grade
    and no teaching, and is counted. Any other exception in a tool becomes an observation for the model.
    """


def check_acting(expert: Any) -> None:
    """
    Check what an expert brings to act with.

    Raises:
        TypeError, ValueError: With what came, why it cannot work, and what to do.
    """
    who = f"Expert {expert.name!r}"
    if expert.tools is not None and not isinstance(expert.tools, (list, tuple)):
        raise TypeError(f"{who}: `tools` must be a list of functions, got {type(expert.tools).__name__}.")
    expert.tools = list(expert.tools or [])
    check_tools(expert.tools, who)
    factory = expert.environment_factory
    for name, make in factory.items() if isinstance(factory, Mapping) else [(None, factory)]:
        if make is not None and not callable(make):
            raise TypeError(
                f"{who}: `environment_factory` must be callable (or a dictionary of callables), got "
                f"{type(make).__name__}{f' for {name!r}' if name else ''}. Pass the class itself, or a function."
            )
    if isinstance(factory, Mapping) and not factory:
        raise ValueError(f"{who}: `environment_factory` is an empty dictionary. Name at least one environment.")
    if expert.rollout_func is not None and not callable(expert.rollout_func):
        raise TypeError(f"{who}: `rollout_func` must be callable, got {type(expert.rollout_func).__name__}.")
    most = expert.max_tool_calling_iterations
    if most is not None and (isinstance(most, bool) or not isinstance(most, int)):
        raise TypeError(f"{who}: `max_tool_calling_iterations` must be an int, got {type(most).__name__}.")
    if most is not None and most < 0:
        raise ValueError(f"{who}: `max_tool_calling_iterations` must be >= 0, got {most}.")
    if most is not None and not expert.tools and factory is None:
        raise ValueError(
            f"{who} has `max_tool_calling_iterations`, but neither tools nor an environment. Give it some, or leave "
            "the bound out."
        )
    if expert.chat_template_kwargs is not None and not isinstance(expert.chat_template_kwargs, dict):
        raise TypeError(
            f"{who}: `chat_template_kwargs` must be a dict, got {type(expert.chat_template_kwargs).__name__}."
        )
    seconds = expert.tool_timeout
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{who}: `tool_timeout` must be a number of seconds, got {type(seconds).__name__}.")
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{who}: `tool_timeout` must be finite and > 0 seconds, got {seconds}.")


def check_tools(tools: list[Callable], who: str) -> None:
    """Refuse what a chat template could not describe to a model."""
    names: list[str] = []
    for tool in tools:
        if not callable(tool) or not hasattr(tool, "__name__"):
            raise TypeError(
                f"{who}: a tool must be a function or a method, got {tool!r:.80}. Wrap it in a function with type "
                "hints and a docstring."
            )
        try:
            get_json_schema(tool)
        except Exception as error:  # of several kinds: for the docstring, for the hints
            raise ValueError(
                f"{who}: the tool {tool.__name__!r} cannot be described to a model: {error} Give it type hints and a "
                "docstring with an `Args:` section that names every argument (Google style)."
            ) from error
        if tool.__name__ in names:
            raise ValueError(f"{who}: two tools are called {tool.__name__!r}; a call could not tell them apart.")
        names.append(tool.__name__)


def take_prompts_from_environment(expert: Any) -> None:
    """
    Give rows without a prompt an empty one, and an expert without rows some, where an environment has the prompts.

    Raises:
        TypeError, ValueError: There are no rows, and no single environment that could stand for them.
    """
    if expert.environment_factory is None:
        if expert.train_dataset is None:
            raise TypeError(
                f"Expert {expert.name!r} has no `train_dataset`. Give it one, or an `environment_factory` whose "
                "environments return the prompts from `reset`."
            )
        return
    if expert.train_dataset is None:
        if isinstance(expert.environment_factory, Mapping):
            raise ValueError(
                f"Expert {expert.name!r} has several environments, but no `train_dataset`, whose column 'environment' "
                "says which of them a row is for. Give it one."
            )
        expert.train_dataset = Dataset.from_dict({"prompt": [EMPTY_PROMPT] * PLACEHOLDER_ROWS})
        expert.without_rows = True
        return
    expert.train_dataset, expert.prompts_from_environment = _with_prompts(expert.train_dataset)
    if expert.eval_dataset is not None:
        prompted = {domain: _with_prompts(rows)[0] for domain, rows in expert.eval_datasets.items()}
        expert.eval_dataset = prompted if isinstance(expert.eval_dataset, dict) else prompted[expert.name]


def _with_prompts(dataset: Any) -> tuple[Any, bool]:
    """The dataset with an empty prompt in each row if it has no column for them, and whether it has none."""
    if not isinstance(dataset, (Dataset, IterableDataset)):
        return dataset, False
    found = dataset.column_names or list(next(iter(dataset.take(1)), {}))
    if "prompt" in found or not found:
        return dataset, False
    return dataset.map(lambda row: {"prompt": EMPTY_PROMPT}), True


def check_rows_to_act_on(expert: Any) -> None:
    """
    Tools are described by a chat template, so that prompts are messages; environments are named by rows.

    Raises:
        ValueError: With what came, why it cannot work, and what to do.
    """
    if not expert.tools and expert.environment_factory is None:
        return
    data = {"train_dataset": expert.train_dataset}
    data |= {f"eval_dataset[{domain!r}]": rows for domain, rows in expert.eval_datasets.items()}
    for argument, rows in data.items():
        first = next(iter(rows.take(1)))
        if isinstance(first["prompt"], str):
            raise ValueError(
                f"Expert {expert.name!r} has tools, but the prompts in `{argument}` are texts: it is the chat "
                "template that describes tools to a model. Use messages: [{'role': 'user', 'content': TEXT}]."
            )
        if isinstance(expert.environment_factory, Mapping):
            _check_environment_names(expert, argument, rows, first)


def _check_environment_names(expert: Any, argument: str, rows: Any, first: Mapping[str, Any]) -> None:
    if "environment" not in first:
        raise ValueError(
            f"Expert {expert.name!r} has several environments, but `{argument}` has no column 'environment' that says "
            "which of them a row is for. Add it."
        )
    named = set(rows["environment"]) if isinstance(rows, Dataset) else {first["environment"]}
    unknown = sorted(map(str, named - set(expert.environment_factory)))
    if unknown:
        raise ValueError(
            f"Expert {expert.name!r}: `{argument}` names an environment {unknown[0]!r}, which is none of "
            f"`environment_factory` ({', '.join(expert.environment_factory)})."
        )


class World:
    """
    An expert's tools and environments, one instance of each environment among them.

    Args:
        expert ([`Expert`]): Whose they are. Its factories are called once, to see which tools they bring.

    Raises:
        TypeError, ValueError: With what an environment lacks.
    """

    def __init__(self, expert: Any):
        self.expert, self.who = expert, f"Expert {expert.name!r}"
        self.standalone: list[Callable] = list(expert.tools or [])
        factory = expert.environment_factory
        self.several = isinstance(factory, Mapping)  # environments, of which a row names its own
        self.factories: dict[str | None, Callable] | None = None
        if factory is not None:
            self.factories = dict(factory) if isinstance(factory, Mapping) else {None: factory}
        self.spare: dict[str | None, list[Any]] = {}  # instances that no policy has taken yet
        self.tools_of: dict[str | None, list[Callable]] = {}
        self.tools = list(self.standalone)  # of all environments
        self.rewards: list[Callable] = []
        self._rewarding: list[type] = []  # the classes that `rewards` are of; two may share a name
        self.failures: list[str] = []  # of environments' own rewards, until the branch counts them
        for name, make in (self.factories or {}).items():
            self._look_at(name, make)

    def _look_at(self, name: str | None, make: Callable) -> None:
        which = f"{self.who}: the environment{f' {name!r}' if name else ''}"
        try:
            instance = make()
        except Exception as error:
            raise ValueError(f"{which} cannot be made: `environment_factory` raised {error!r}.") from error
        methods = public_methods(instance)
        if not callable(getattr(type(instance), "reset", None)):
            raise ValueError(
                f"{which} has no method `reset`, with which each conversation begins ({type(instance).__name__}). "
                "Define `reset(self, **row)`; it returns the first observation as a text, or None."
            )
        check_tools(self.standalone + methods, which)
        self.tools_of[name] = self.standalone + methods
        self.spare[name] = [instance]
        self.tools += [method for method in methods if method not in self.tools]
        kind = type(instance)
        if hasattr(kind, "get_reward") and kind not in self._rewarding:
            self._rewarding.append(kind)
            self.rewards.append(self._own_reward(kind))

    def _own_reward(self, kind: type) -> Callable:
        """An environment's `get_reward` as a reward function under its class's name; a row it fails on is ungraded."""

        def failed(error: Exception) -> None:
            self.failures.append(f"{kind.__name__}.get_reward raised {error!r:.300}")

        if inspect.iscoroutinefunction(kind.get_reward):  # type: ignore[attr-defined]

            async def get_reward_async(environments, **kwargs):
                grades = []
                for environment in environments:
                    try:
                        grades.append(await environment.get_reward() if type(environment) is kind else None)
                    except Exception as error:
                        failed(error)
                        grades.append(None)
                return grades

            get_reward_async.__name__ = kind.__name__
            return get_reward_async

        def get_reward(environments, **kwargs):
            grades = []
            for environment in environments:
                try:
                    grades.append(environment.get_reward() if type(environment) is kind else None)
                except Exception as error:
                    failed(error)
                    grades.append(None)
            return grades

        get_reward.__name__ = kind.__name__  # under which TRL logs it
        return get_reward


def public_methods(environment: Any) -> list[Callable]:
    """The methods of an environment that a model may call, as TRL chooses them."""
    members = inspect.getmembers(type(environment), predicate=inspect.isfunction)  # an instance's would run properties
    return [getattr(environment, name) for name, _ in members if name not in NOT_TOOLS and not name.startswith("_")]
