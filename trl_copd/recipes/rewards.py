"""Reward functions and environments by name, as recipes and `trl-copd verify` give them."""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

from .. import rewards
from ..environments import code_feedback
from ..spelling import did_you_mean


BASES = ("AsyncReward", "VerifierReward")  # made from another reward, or from a function


def find_reward(spec: str | dict[str, Any]) -> Callable:
    """
    A reward function by its name.

    Args:
        spec (`str` or `dict`): Name in `trl_copd.rewards` or `trl.rewards`, or a dotted path; a mapping builds an
            instance, `{name: ExactMatchReward, ignore_case: true}`.

    Raises:
        ValueError: There is no such reward, or it does not take the options.
        ImportError: The reward needs a package that is not installed; the message names the extra.
    """
    options = dict(spec) if isinstance(spec, dict) else {"name": spec}
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise ValueError(f"A reward is a name, or a mapping with a `name` and options, got {spec!r}.")
    if "." in name:
        found = import_path(name, "reward")
    else:
        known = [known for known in rewards.__all__ if known.lower().endswith("reward") and known not in BASES]
        found = getattr(rewards if name in known else importlib.import_module("trl.rewards"), name, None)
        if not callable(found):
            near = did_you_mean(name, known)
            raise ValueError(f"No reward is named {name!r}.{near} Use one of {', '.join(known)}, or a dotted path.")
    if options and not isinstance(found, type):
        raise ValueError(
            f"The reward {name!r} is a ready instance and takes no options, got {options}. Name its class: "
            "`{name: ExactMatchReward, ignore_case: true}`."
        )
    try:
        return found(**options) if isinstance(found, type) else found
    except TypeError as error:
        raise ValueError(f"The reward {name!r} cannot be built with {options}: {error}.") from error


def find_environment(spec: str | dict[str, Any]) -> Callable:
    """
    A factory of environments by its name.

    Args:
        spec (`str` or `dict`): `"code_feedback"`, or the dotted path of a class or function that makes one; a mapping
            gives options, `{name: code_feedback, tries: 3}`.

    Raises:
        ValueError: There is no such environment, or it does not take the options.
    """
    options = dict(spec) if isinstance(spec, dict) else {"name": spec}
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise ValueError(f"An environment is a name, or a mapping with a `name` and options, got {spec!r}.")
    if name == "code_feedback":
        try:
            return code_feedback(**options)
        except TypeError as error:
            raise ValueError(f"The environment {name!r} cannot be built with {options}: {error}.") from error
    if "." not in name:
        raise ValueError(f"No environment is named {name!r}. Use 'code_feedback', or a dotted path.")
    return partial(import_path(name, "environment"), **options) if options else import_path(name, "environment")


def import_path(path: str, what: str) -> Any:
    """
    What a dotted path leads to.

    Raises:
        ValueError: It leads nowhere; `what` names in the message what was sought.
    """
    module, _, attribute = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"The {what} {path!r} cannot be imported: {error}. Put your own module into the current folder."
        ) from error
