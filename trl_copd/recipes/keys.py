"""Which keys a domain of a recipe may have, by where its rows come from; a key without an effect is refused."""

from typing import Any

from ..spelling import did_you_mean
from .rows import source_kind


EVERY = {"name", "n_train", "n_eval", "adapter", "frozen", "learning_rate"}
ACTING = {"tools", "environment", "max_tool_calling_iterations", "tool_timeout"}
EXPERT = EVERY | ACTING | {"rewards", "reward_weights"}
# source of the rows: keys that have an effect; those of `builtin` are its families
KEYS = {
    "dataset": EXPERT
    | {"dataset", "subset", "split", "eval_dataset", "eval_split", "prompt", "system", "chat", "solution"},
    "demo": EXPERT | {"builtin", "base_accuracy"},
    "scene": EXPERT | {"builtin", "base_accuracy"},
    "small": EXPERT | {"builtin"},
    "gym": EXPERT | {"builtin", "options"},
    "agent": EVERY | {"builtin"},  # brings its rewards, tools and environment
}
DOMAIN_KEYS = set().union(*KEYS.values())
KINDS = {
    str: ("name builtin dataset subset split eval_dataset eval_split prompt system solution adapter", "a text"),
    bool: ("chat frozen", "true or false"),
    dict: ("options", "a mapping"),
    list: ("tools", "a list"),
}


def check_domain(domain: Any) -> dict[str, Any]:
    """
    A domain without the keys that are null.

    Raises:
        ValueError: No mapping with a name, a key that is unknown or has no effect here, or a value of another kind.
    """
    if not isinstance(domain, dict) or "name" not in domain:
        raise ValueError(f"`domains` must list mappings with a `name`, got {domain!r}.")
    who = f"Domain {domain['name']!r}"
    unknown = sorted(map(str, set(domain) - DOMAIN_KEYS))
    if unknown:
        near, known = did_you_mean(unknown[0], DOMAIN_KEYS), sorted(DOMAIN_KEYS)
        raise ValueError(f"{who}: unknown key {unknown[0]!r}.{near} Known: {known}.")
    domain = {key: value for key, value in domain.items() if value is not None or key in ("name", "rewards")}
    for kind, (keys, called) in KINDS.items():
        for key in keys.split():
            if key in domain and not isinstance(domain[key], kind):
                value = domain[key]
                hint = " Quote it." if kind is str and isinstance(value, int | float) else ""
                raise ValueError(f"{who}: {key} must be {called}, got {type(value).__name__}: {value!r}.{hint}")
    for key in ("n_train", "n_eval"):
        count = domain.get(key, 1)
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"{who}: {key} must be a whole number >= 1, got {count!r}.")
    if ("builtin" in domain) == ("dataset" in domain):
        raise ValueError(f"{who} needs either `builtin` or `dataset`, and not both.")
    accuracy = domain.get("base_accuracy", 1)
    if isinstance(accuracy, bool) or not isinstance(accuracy, int | float) or not 0 < accuracy <= 1:
        raise ValueError(f"{who}: base_accuracy must be a number > 0 and <= 1, got {accuracy!r}.")
    _check_effects(domain, who)
    return domain


def family_and_task(domain: dict[str, Any]) -> tuple[str, str]:
    """`("gym", "chain_sum")` for a domain whose `builtin` is `gym/chain_sum`."""
    family, _, task = domain["builtin"].partition("/")
    if family not in KEYS or family == "dataset" or not task:
        raise ValueError(
            f"Domain {domain['name']!r}: builtin={domain['builtin']!r} is unknown. Use demo/<skill>, gym/<task>, "
            "scene/<task>, small/<task> or agent/<task>."
        )
    return family, task


def _check_effects(domain: dict[str, Any], who: str) -> None:
    source = "dataset" if "dataset" in domain else family_and_task(domain)[0]
    rows = f"{source}: {domain[source]}" if source == "dataset" else f"builtin: {domain['builtin']}"
    unused = [key for key in domain if key not in KEYS[source]]
    if unused:
        owners = [name for name, keys in KEYS.items() if unused[0] in keys]
        others = [f"`{name}`" if name == "dataset" else f"{name}/..." for name in owners]
        raise ValueError(
            f"{who}: {', '.join(f'`{key}`' for key in unused)} would have no effect beside {rows}. Remove "
            f"{'it' if len(unused) == 1 else 'them'}; `{unused[0]}` belongs to {', '.join(others)}."
        )
    sources = [domain[key] for key in ("dataset", "eval_dataset") if key in domain]
    if "subset" in domain and all(source_kind(source) != "other" for source in sources):
        raise ValueError(f"{who}: `subset` would have no effect beside {rows}, which has none. Remove it.")
    if "tool_timeout" in domain and not {"tools", "environment"} & set(domain):
        raise ValueError(f"{who}: `tool_timeout` would have no effect without `tools` or an `environment`. Remove it.")
