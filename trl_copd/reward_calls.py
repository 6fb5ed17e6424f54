"""How TRL calls a reward function: what it passes, and which columns of the dataset the function reads."""

import inspect
from collections.abc import Callable, Collection

from torch import nn
from trl.trainer.utils import get_callable_name


# What TRL passes to every reward function besides the columns of the dataset; `environments` only if there are some
ALWAYS_PASSED = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric")
PASSED = {*ALWAYS_PASSED, "environments"}
# Of these, the ones that a column of the same name would clash with; TRL leaves out columns named as the others
TAKEN_COLUMNS = {"prompts", "completions", "trainer_state", "log_extra", "log_metric"}
# Columns that TRL keeps from rewards, and what it passes instead
NEVER_PASSED = {"prompt": "prompts", "completion": "completions"}
BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def columns_read(funcs: Collection[Callable | str]) -> dict[str, set[str]]:
    """For each reward function by name, the dataset columns that it needs."""
    needed: dict[str, set[str]] = {}
    for func in funcs:
        if callable(func):  # two functions may have one name, as lambdas and partials do
            needed.setdefault(get_callable_name(func), set()).update(_columns(func))
    return needed


def _columns(func: Callable) -> set[str]:
    """Columns a reward reads: its `columns` attribute, else its parameters that have no default."""
    if hasattr(func, "columns"):
        return set(func.columns)
    return {p.name for p in _parameters(func) if p.default is p.empty and p.kind in BY_NAME} - PASSED


def check_parameters(func: Callable | str, expert: str) -> None:
    """
    Refuse a reward function that TRL cannot call: it passes lists, by name, and more of them than most functions read.

    Raises:
        TypeError: With what the function lacks and what to do.
    """
    if isinstance(func, (str, nn.Module)):  # TRL runs models itself
        return
    who = f"Expert {expert!r}: the reward {get_callable_name(func)!r}"
    for parameter in _parameters(func):
        name, needed = parameter.name, parameter.default is parameter.empty
        if needed and parameter.kind is parameter.POSITIONAL_ONLY:
            raise TypeError(f"{who} takes {name!r} by position only, but TRL passes everything by name. Drop the '/'.")
        if needed and parameter.kind in BY_NAME and name in NEVER_PASSED and not hasattr(func, "columns"):
            raise TypeError(
                f"{who} reads {name!r}, but TRL calls it once for all rows, with the list {NEVER_PASSED[name]!r}. It "
                "must take that, and return a list with one reward for each completion."
            )
    taken = _parameters(func, follow_wrapped=False)
    lacking = [name for name in ALWAYS_PASSED if name not in {p.name for p in taken}]
    if taken and lacking and not any(p.kind is p.VAR_KEYWORD for p in taken):
        raise TypeError(
            f"{who} takes no {lacking[0]!r}, but TRL passes that to every reward, and all columns of the dataset as "
            "well. Add `**kwargs` to its parameters."
        )


def _parameters(func: Callable, follow_wrapped: bool = True) -> list[inspect.Parameter]:
    try:
        return [*inspect.signature(func, follow_wrapped=follow_wrapped).parameters.values()]
    except (TypeError, ValueError):  # builtins and some compiled callables have no signature
        return []
