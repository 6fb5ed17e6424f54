"""Conversations in an expert's world, by TRL's own loop, up to where they are scored."""

import atexit
import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

from accelerate import Accelerator
from transformers import PreTrainedTokenizerBase, ProcessorMixin
from trl import GRPOTrainer
from trl.chat_template_utils import (
    add_response_schema,
    get_training_chat_template,
    is_chat_template_prefix_preserving,
    supports_tool_calling,
)
from trl.data_utils import prepare_multimodal_messages
from trl.trainer.utils import is_async_callable, shutdown_event_loop_in_daemon, start_event_loop_in_daemon

from .. import adapters, pixels
from ..engines import Completions, Engine
from ..worlds import World
from .calls import Broken, Guard, bounded
from .policy import Policy
from .talk import Sampled, Talk
from .waves import Conversing, ask, converse


REPLY = "The reply."  # stands for what was sampled where the chat template is asked what comes after it


class _Had(BaseException):
    """The conversations are over: leaves TRL's method before it scores them."""

    def __init__(self, talk: Talk):
        self.talk = talk


class Actor(Policy):
    """
    Has the conversations of an expert's rows, in instances of its environments that are its own.

    TRL's `_generate_and_score_completions` draws environments, resets them, calls tools and asks for tokens. It is
    left when `_generate` is through: scoring and rewards are up to whoever wanted the conversations.

    Args:
        run ([`~trl.GRPOTrainer`]): The run.
        world ([`World`]): The expert's.
    """

    def __init__(self, run: GRPOTrainer, world: World):
        expert = world.expert
        guard = Guard(world.who, expert.tool_timeout)
        factories = world.factories and {
            name: guard.factory(make, world.spare[name]) for name, make in world.factories.items()
        }
        most = expert.max_tool_calling_iterations
        template = expert.chat_template_kwargs
        super().__init__(
            run,
            world=world,
            guard=guard,
            accelerator=_Alone(run.accelerator),
            state=None,
            rows=[],  # whose conversations are had
            unavailable={},  # why, by the row: its tools or its rollout have said that the infrastructure failed
            counts=(0, 0),  # calls of tools, and how many failed
            longest=0,
            vllm_generation=_VLLM(run),
            _last_loaded_step=-1,
            tools=world.tools,
            _standalone_tools=world.standalone,
            _multi_environment=world.several,
            environment_factories=factories,
            _env_tools=world.tools_of,
            _environment_pool={name: [] for name in world.factories or ()},
            environments=None,
            rollout_func=expert.rollout_func and self._roll_out,
            max_tool_calling_iterations=run.max_tool_calling_iterations if most is None else most,
            chat_template_kwargs=run.chat_template_kwargs if template is None else template,
            **template_for(world, run.processing_class),
        )
        self.longest = longest_text(self._tokenizer, self.max_completion_length)

    # ---- From outside -----------------------------------------------------------------------------------------------

    def conversing(self, adapter: str, rows: Sequence[dict[str, Any]]) -> Conversing:
        """
        The conversations of some rows, run to where they need the first tokens; `result` is a [`Talk`] at last.

        Args:
            adapter (`str`): Whose tokens they are.
            rows (`Sequence[dict]`): Of the expert's dataset, at least one.
        """
        active: Any = nullcontext
        if self.world.expert.rollout_func is not None:
            active = partial(self._active, adapter)
        return Conversing(adapter, partial(self._converse, list(rows)), active).begin()

    def failed_rewards(self) -> list[str]:
        """Why environments' own rewards have failed since the last call."""
        failures, self.world.failures[:] = list(self.world.failures), []
        return failures

    def token_ids(self, prompts: list) -> list[list[int]]:
        """Token ids of prompts as the first turn begins, without what an environment adds."""
        if self.environment_factories is not None:
            name = next(iter(self.environment_factories))
            self._batch_environments = [name] * len(prompts)
        return self._tokenize_prompts(prompts)[0]

    # ---- For rollout functions --------------------------------------------------------------------------------------

    def sample(self, prompt_ids: list[list[int]]) -> tuple[list[list[int]], list[list[float | None]] | None]:
        """
        One completion per prompt, sampled together with whatever else needs tokens now.

        Args:
            prompt_ids (`list[list[int]]`): Token ids, at least one row.

        Returns:
            Token ids, and the log-probabilities of the sampled tokens in nats, or `None` if the engine has none.
        """
        return ask([list(ids) for ids in prompt_ids])

    @property
    def most_tokens(self) -> int:
        """Most tokens that a prompt and its completion may have together."""
        return self.vllm_generation.llm.llm_engine.model_config.max_model_len

    def turn_ids(self, said: list[int], messages: list[dict[str, Any]]) -> list[int]:
        """
        What stands between a reply and the next one.

        Args:
            said (`list[int]`): Token ids that end with the reply.
            messages (`list[dict]`): What the other side says then, as messages with `role` and `content`.

        Returns:
            `list[int]`: Token ids of the reply's end, where the reply lacks it, of `messages`, and of what the chat
            template puts before a reply.
        """
        around = [{"role": "user", "content": "?"}, {"role": "assistant", "content": REPLY}, *messages]
        text = self.processing_class.apply_chat_template(
            prepare_multimodal_messages(around) if self._is_vlm else around,
            add_generation_prompt=True,
            tokenize=False,
            chat_template=self.chat_template,
            **self.chat_template_kwargs,
        )
        ids = self._tokenizer(text.rpartition(REPLY)[2], add_special_tokens=False)["input_ids"]
        return ids[1:] if ids[:1] == said[-1:] and ids[0] in self._tokenizer.all_special_ids else ids

    def _roll_out(self, prompts: list, trainer: Any) -> dict[str, Any]:
        output = self.world.expert.rollout_func(prompts, trainer)
        if not isinstance(output, dict):
            raise TypeError(
                f"{self.world.who}: `rollout_func` must return a dictionary with 'prompt_ids', 'completion_ids' and "
                f"'logprobs', got {type(output).__name__}."
            )
        for key in ("prompt_ids", "completion_ids", "logprobs", "env_mask"):
            if output.get(key) is not None and len(output[key]) != len(prompts):
                raise ValueError(
                    f"{self.world.who}: `rollout_func` returned {len(output[key])} {key} for {len(prompts)} prompts. "
                    "Return one per prompt; each comes as often as it is to be sampled."
                )
        self.unavailable.update(output.pop("failures", {}))
        return output

    def _active(self, adapter: str) -> AbstractContextManager:
        return adapters.only(self.run.peft_model, adapter)

    # ---- TRL's ------------------------------------------------------------------------------------------------------

    def _converse(self, rows: list[dict[str, Any]]) -> Talk:
        self.state = copy.copy(self.run.state)  # TRL counts tokens there; they are counted where they are learnt from
        self.rows, self.counts, self.unavailable = rows, (0, 0), {}
        self.guard.failures.clear()
        if self.world.expert.prompts_from_environment:
            rows = [{key: value for key, value in row.items() if key != "prompt"} for row in rows]
        try:
            super()._generate_and_score_completions(rows)
        except _Had as had:
            return had.talk
        finally:
            for pool in self._environment_pool.values():
                pool[:] = [environment for environment in pool if not isinstance(environment, Broken)]
        raise AssertionError("`_generate` was not called")

    def _generate(self, prompts):
        prompt_ids, ids, mask, completions, logps, extra, *_ = super()._generate(prompts)
        failures = dict(self.unavailable)
        for row, environment in enumerate(self.environments or []):
            if id(environment) in self.guard.failures:
                failures[row] = self.guard.failures[id(environment)]
        extras: list[dict[str, Any]] = [{} for _ in prompts]
        for key, values in extra.items():  # TRL's rule
            for row, own in enumerate(extras):
                if not isinstance(values, list):
                    own[key] = values
                elif row < len(values):
                    own[key] = values[row]
        raise _Had(
            Talk(
                prompts=prompts,
                prompt_ids=[list(row) for row in prompt_ids],
                ids=[list(row) for row in ids],
                mask=[list(row) for row in mask] if mask is not None else [[1] * len(row) for row in ids],
                completions=completions,
                logps=logps,
                calls=self.counts[0],
                failed_calls=self.counts[1],
                extra=extras,
                environments=self.environments,
                failures=failures,
                uses_tools=bool(self.tools),
            )
        )

    def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations, has_tool_images=False):
        if multimodal_fields:  # of a base that sees, about texts
            prompt_ids = [
                pixels.PromptIds(ids, {name: values[row] for name, values in multimodal_fields.items()})
                for row, ids in enumerate(prompt_ids)
            ]
        return ask(prompt_ids)

    def _tool_call_loop(self, *conversations):
        for kinds in (self._sync_tool_dicts, self._async_tool_dicts):
            for row, tools in enumerate(kinds):
                kinds[row] = {
                    name: bounded(tool, self.guard.seconds, self.longest, partial(self._fail, row))
                    for name, tool in tools.items()
                }
        result = super(Policy, self)._tool_call_loop(*conversations)
        self.counts = result[4:6]
        return result

    def _fail(self, row: int, error: Exception) -> None:
        self.unavailable[row] = "a tool raised EnvironmentFailure"

    def _get_tool_suffix_ids(self, tool_messages):
        # the name is the model's: its JSON may spell characters that no tokenizer takes
        clean = [{**message, "name": _encodable(message["name"])} for message in tool_messages]
        return super()._get_tool_suffix_ids(clean)


class HeldOut:
    """
    Has conversations that nobody learns from, see [`Conversations`]. Each adapter has environments of its own in each
    domain, so that measuring leaves those of the rounds alone.

    Args:
        run ([`~trl.GRPOTrainer`]): The run.
        worlds (`dict[str, World]`): Of the experts that act.
        tokenize (`Callable`): TRL's `_tokenize_prompts`.
    """

    def __init__(self, run: GRPOTrainer, worlds: dict[str, World], tokenize: Callable[[list], tuple]):
        self.run, self.worlds, self.tokenize = run, worlds, tokenize
        self._actors: dict[tuple[str, str], Actor] = {}

    def acts(self, domain: str) -> bool:
        return domain in self.worlds

    def have(
        self, engine: Engine, requests: Sequence[tuple[str, str, list[dict[str, Any]]]], greedy: bool = False
    ) -> list[Talk]:
        sampled = []
        for adapter, domain, rows in requests:
            actors = [self._actor(adapter, domain)] * len(rows)
            sampled.append(Sampled(adapter, rows, actors, self.tokenize, acting=True))

        def turn(prompt_ids: list[list[int]], names: list[str]) -> Completions:
            ids, logps = engine.generate(prompt_ids, names, greedy=greedy)
            return [row or [self.run._tokenizer.eos_token_id] for row in ids], logps and [
                row or [0.0] for row in logps
            ]

        asking = [one for rows in sampled for one in rows.asking]
        converse(asking, turn, self.run.accelerator, most=self.run.max_completion_length + 1)
        return [rows.result()[1] for rows in sampled]

    def _actor(self, adapter: str, domain: str) -> Actor | None:
        if domain not in self.worlds:
            return None
        key = adapter, domain
        if key not in self._actors:
            self._actors[key] = Actor(self.run, self.worlds[domain])
        return self._actors[key]


def share_event_loop(run: GRPOTrainer, worlds: Iterable[World]) -> None:
    """Start the loop in which TRL awaits coroutines, if there are tools of that kind and it is not there yet."""
    if run._has_async_funcs or not any(is_async_callable(tool) for world in worlds for tool in world.tools):
        return
    run._has_async_funcs = True
    run.async_loop_thread, run.async_loop, run.async_loop_ready_event = start_event_loop_in_daemon("CoPD-tools")
    run.async_loop_ready_event.wait()
    atexit.register(shutdown_event_loop_in_daemon, run.async_loop_thread, run.async_loop)


class _Alone:
    """An accelerator whose process has its conversations by itself: how many turns they take differs."""

    def __init__(self, accelerator: Accelerator):
        self._accelerator = accelerator

    def gather(self, tensor: Any) -> Any:
        return tensor

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._accelerator, name)


class _VLLM:
    """What TRL asks of its own vLLM engine, where ours samples: the longest sequence, and nothing to send."""

    def __init__(self, run: GRPOTrainer):
        longest = run.args.vllm_max_model_length or run.model.config.get_text_config().max_position_embeddings
        config = SimpleNamespace(max_model_len=longest)
        self.llm = SimpleNamespace(llm_engine=SimpleNamespace(model_config=config))

    def sync_weights(self) -> None:
        """`Round` has done it."""


def template_for(world: World, processing_class: PreTrainedTokenizerBase | ProcessorMixin) -> dict[str, Any]:
    """
    The tokenizer and the chat template with which a world's tools are shown and its calls are read; the run's own
    tokenizer stays as it is, so that other experts' completions are not read for calls.

    Raises:
        ValueError: The template cannot show tools, or nothing tells how to read calls.
    """
    if not world.tools:
        return {}
    if not supports_tool_calling(processing_class):
        raise ValueError(
            f"{world.who} has tools, but the chat template cannot show a conversation with tool calls and their "
            "results. Use a model that was made for tools, or set `processing_class.chat_template` to a template that "
            "renders `tool_calls` and messages of role 'tool' (TRL's are in `trl/chat_templates`)."
        )
    own = copy.copy(processing_class)
    if isinstance(own, ProcessorMixin):
        own.tokenizer = copy.copy(own.tokenizer)
    tokenizer = getattr(own, "tokenizer", own)
    if all(getattr(tokenizer, name, None) is None for name in ("response_template", "response_schema")):
        try:
            add_response_schema(own)
        except ValueError as error:
            raise ValueError(
                f"{world.who} has tools, but TRL does not know how calls are read from this chat template. Set "
                "`tokenizer.response_template`, which says where a call begins and ends "
                "(transformers' documentation, *response parsing*)."
            ) from error
    template = None
    if not is_chat_template_prefix_preserving(own):
        template = get_training_chat_template(own)
    return {"processing_class": own, "_tokenizer": tokenizer, "chat_template": template}


def longest_text(tokenizer: PreTrainedTokenizerBase, tokens: int) -> int:
    """Characters of which any text more has more than so many tokens."""
    return tokens * max((len(token) for token in tokenizer.get_vocab()), default=1) + 1


def _encodable(text: Any) -> str:
    return str(text).encode("utf-8", "replace").decode("utf-8")
