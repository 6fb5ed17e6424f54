"""Which environments of `verifiers` can be trained on in this process."""

import inspect
from typing import Any

from .parts import opening, toolsets


def check_environment(env: Any) -> None:
    """
    Raises:
        ImportError: `verifiers` is not installed.
        TypeError: It is no environment of `verifiers.v1`.
    """
    try:
        import verifiers.v1 as vf
    except ImportError as error:
        raise ImportError(
            "This needs `verifiers` 0.4 of Prime Intellect, which is not installed. Install it: "
            "`pip install 'verifiers>=0.4,<0.5'`."
        ) from error
    if not isinstance(env, vf.Env):
        raise TypeError(
            f"`env` must be an environment of `verifiers.v1`, got {type(env).__name__}. Make one with "
            "`vf.load_environment(vf.resolve_env_config({'taskset': {'id': ...}}))`."
        )


def check_tasks(env: Any, tasks: list[Any]) -> None:
    """
    Raises:
        ValueError: The environment needs more than this process, and one conversation for each episode.
    """
    import verifiers.v1 as vf
    from verifiers.v1.configs.agent import agent_config_fields
    from verifiers.v1.envs.single_agent import SingleAgentEnv
    from verifiers.v1.mcp.server import ServerBase
    from verifiers.v1.session import hook_boundary
    from verifiers.v1.utils.decorators import discover_decorated

    roles, first = list(agent_config_fields(env.config)), tasks[0]
    kind = type(first)
    rewards = [inspect.signature(reward).parameters.get("runtime") for reward in first.hooks("reward")]
    reasons = {
        f"has {len(roles)} agents ({', '.join(roles)}), and an expert is one": len(roles) != 1,
        "has tools beside turns of its own": bool(toolsets(env)) and type(env) is not SingleAgentEnv,
        "has tools that prepare each task (`setup_task`), or run elsewhere (`url`)": any(
            type(one).setup_task is not ServerBase.setup_task or one.config.url for one in toolsets(env)
        ),
        "starts resources of its own (`start`)": type(env).start is not vf.Env.start,
        "needs a container": kind.NEEDS_CONTAINER or any(task.data.image is not None for task in tasks),
        "prepares a runtime (`setup` or `finalize` of its tasks)": (kind.setup, kind.finalize)
        != (vf.Task.setup, vf.Task.finalize),
        "has a reward that reads the runtime": any(one is not None and one.default is one.empty for one in rewards),
        "watches single requests or responses (`@intercept`, `@stop`)": bool(discover_decorated(first, "intercept"))
        or any(hook_boundary(stop, allow_trace=True) is not vf.Trace for stop in first.hooks("stop")),
    }
    for reason, holds in reasons.items():
        if holds:
            raise ValueError(
                f"The environment {env.config.env_id!r} {reason}. Only the harness of `verifiers` offers that, and it "
                "does not run inside of a trainer. Write such an environment for `Expert(environment_factory=...)`."
            )
    for task in tasks:
        try:
            opening(task.data)
        except ValueError as error:
            raise ValueError(f"Task {task.data.idx} of {env.config.env_id!r} cannot be used: {error}.") from error
