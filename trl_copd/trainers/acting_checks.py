"""What a run with experts that act is refused for, before its model is loaded."""

from typing import Any

from transformers import AutoProcessor, PreTrainedModel
from trl.trainer.utils import get_config_model_id

from ..config import CoPDConfig
from ..experts import Expert
from ..worlds import World
from .actor import template_for


def check_worlds(experts: dict[str, Expert], args: CoPDConfig, model: Any, processing_class: Any) -> dict[str, World]:
    """
    Make what experts act in, and check that the tokenizer can show it.

    Returns:
        `dict[str, World]`: Of the experts that act.

    Raises:
        TypeError, ValueError: With what came, why it cannot work, and what to do.
    """
    acting = [expert for expert in experts.values() if expert.acts]
    if not acting:
        return {}
    seeing = [expert.name for expert in experts.values() if expert.sees]
    if seeing:
        raise ValueError(
            f"Expert {seeing[0]!r} has pictures, and expert {acting[0].name!r} acts: it has tools, an environment, a "
            "rollout function or arguments of the template. Conversations of several turns carry texts only, and "
            "each expert learns on the other's rows. Train them in two runs."
        )
    for expert in acting:
        if expert.without_rows and args.max_steps <= 0:
            raise ValueError(
                f"Expert {expert.name!r} has no rows, since its environment gives the prompts, so that the length of "
                "the run is unknown. Set `max_steps` > 0."
            )
    worlds = {expert.name: World(expert) for expert in acting}
    for world in worlds.values():
        if not world.expert.reward_funcs and not world.rewards:
            raise ValueError(
                f"{world.who} has no reward: neither `reward_funcs` nor an environment with a `get_reward`. Give it "
                "one of them."
            )
    if processing_class is None:
        processing_class = _load_processor(model, args)
    if processing_class is not None:
        for world in worlds.values():
            template_for(world, processing_class)
    return worlds


def _load_processor(model: Any, args: CoPDConfig) -> Any:
    """The tokenizer or processor that TRL will load; `None` where it cannot be, which TRL will say."""
    name = get_config_model_id(model.config) if isinstance(model, PreTrainedModel) else str(model)
    revision = (args.model_init_kwargs or {}).get("revision")
    try:
        return AutoProcessor.from_pretrained(name, revision=revision, trust_remote_code=args.trust_remote_code)
    except Exception:  # of many kinds, for a repository that does not exist, is private or out of reach
        return None
