"""One pass over the data before training: what a round would stumble over, with the expert and the row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator
from accelerate.logging import get_logger
from accelerate.utils import gather_object
from datasets import Dataset, IterableDataset
from torch import nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..config import CoPDConfig
from ..experts import Expert
from ..pictures import COLUMNS, may_hold_pictures, narrowed, prepared


logger = get_logger(__name__)
ROWS_AT_ONCE = 256  # rendered and tokenized by one call
ROWS_SHOWN = 5  # numbers of further bad rows in an error
EMPTY = "it is empty: no message has a content"
TABLES = ("wpe", "embed_positions", "position_embedding", "pos_encoding")  # of positions that are learnt


@dataclass(frozen=True)
class Limits:
    """
    What a prompt must keep to.

    Args:
        vocabulary (`int`): Rows of the embedding.
        longest (`int`, *optional*): Most tokens of a prompt.
        reason (`str`): Where that comes from, for the error.
    """

    vocabulary: int
    longest: int | None
    reason: str


class PromptCheck:
    """
    Renders and tokenizes prompts as a round does, and says what is wrong with them.

    Args:
        tokenize (`Callable`): Token ids of prompts of one kind.
        limits ([`Limits`]): What they must keep to.
        completed (`bool`): Whether an environment completes them, so that they may be empty.
        unknown (`int`, *optional*): The token that stands for text outside the vocabulary.
    """

    def __init__(
        self,
        tokenize: Callable[[list], list[list[int]]],
        limits: Limits,
        completed: bool = False,
        unknown: int | None = None,
    ):
        self.tokenize, self.limits, self.completed, self.unknown = tokenize, limits, completed, unknown
        self.with_unknown = 0  # prompts that were found to hold it

    def fault(self, prompt: Any, messages: bool) -> str | None:
        """What is wrong with a prompt; `messages` is what the domain's first one is."""
        fault = self.shape_fault(prompt, messages)
        if fault is not None:
            return fault
        try:
            ids = self.tokenize([prompt])[0]
        except Exception as error:  # whatever a template or a tokenizer raises
            return f"it cannot be rendered and tokenized: {error!r:.300}"
        return self._token_fault(ids)

    def faults(self, prompts: Sequence[Any], messages: bool) -> dict[int, str]:
        """What is wrong with which of the prompts; all at once, and one by one where that finds anything."""
        if all(self.shape_fault(prompt, messages) is None for prompt in prompts):
            try:
                found = [self._token_fault(ids) for ids in self.tokenize(list(prompts))]
                return {index: fault for index, fault in enumerate(found) if fault is not None}
            except Exception:  # below it is said whose it is
                pass
        found = [self.fault(prompt, messages) for prompt in prompts]
        return {index: fault for index, fault in enumerate(found) if fault is not None}

    def shape_fault(self, prompt: Any, messages: bool) -> str | None:
        """What is wrong with a prompt before it is rendered."""
        fault = shape_fault(prompt, messages)
        return None if fault == EMPTY and self.completed else fault

    def _token_fault(self, ids: list[int]) -> str | None:
        limits = self.limits
        if len(ids) == 0:
            return "it has no token"
        if limits.longest is not None and len(ids) > limits.longest:
            return f"it has {len(ids)} tokens, but at most {limits.longest} are possible: {limits.reason}"
        if max(ids) >= limits.vocabulary or min(ids) < 0:
            wrong = next(token for token in ids if not 0 <= token < limits.vocabulary)
            return (
                f"its token {wrong} is not in the model's embedding, which has {limits.vocabulary} rows. Resize it "
                "(`model.resize_token_embeddings`), or use the model's own tokenizer"
            )
        self.with_unknown += self.unknown is not None and self.unknown in ids
        return None


def shape_fault(prompt: Any, messages: bool) -> str | None:
    """What is wrong with a prompt before it is rendered."""
    if prompt is None:
        return "it has no prompt (None)"
    if isinstance(prompt, str):
        if messages:
            return (
                "it is a text, but the first row's is a list of messages; all prompts of a domain must be of one kind"
            )
        return None if prompt else "it is empty"
    if not isinstance(prompt, list):
        return f"a prompt must be a text or a list of messages, not {type(prompt).__name__}"
    if not messages:
        return "it is a list, but the first row's is a text; all prompts of a domain must be of one kind"
    if not prompt:
        return "it is an empty list of messages"
    for number, message in enumerate(prompt):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str) or "content" not in message:
            return f"message {number} lacks 'role' or 'content': {message!r:.80}"
        if message["content"] is None and not message.get("tool_calls"):
            return f"message {number} (role {message['role']!r}) has no content (None)"
    if not any(message["content"] or message.get("tool_calls") for message in prompt):
        return EMPTY
    return None


class DataPass:
    """
    Checks the prompts of all experts: map-style data at once, streamed data row by row as it comes.

    Args:
        check ([`PromptCheck`]): Checks prompts.
        accelerator ([`~accelerate.Accelerator`]): Shares the rows out among the processes.
        ahead (`bool`): Whether map-style data is passed over before training.
        progress (`bool`): Whether that shows a progress bar.
        acting (`dict[str, PromptCheck]`, *optional*): Of experts that show prompts in a way of their own.
    """

    def __init__(
        self,
        check: PromptCheck,
        accelerator: Accelerator,
        ahead: bool,
        progress: bool,
        acting: dict[str, PromptCheck] | None = None,
    ):
        self.check, self.accelerator, self.ahead, self.progress = check, accelerator, ahead, progress
        self.acting = acting or {}
        self.unknown = 0  # prompts with unknown tokens in the data that was checked last

    def _check_of(self, expert: str) -> PromptCheck:
        return self.acting.get(expert, self.check)

    def run(self, experts: Sequence[Expert]) -> None:
        """
        Pass over the map-style training and held-out data of all experts.

        Raises:
            ValueError: With expert, row and fault of the first bad row, and how many there are in its data.
        """
        if not self.ahead:
            return
        data = [(expert.name, "train_dataset", expert.train_dataset) for expert in experts]
        for expert in experts:
            several = isinstance(expert.eval_dataset, dict)
            data += [
                (expert.name, f"eval_dataset[{domain!r}]" if several else "eval_dataset", rows)
                for domain, rows in expert.eval_datasets.items()
            ]
        data = [(name, argument, rows) for name, argument, rows in data if isinstance(rows, Dataset)]
        shown = self.progress and self.accelerator.is_local_main_process
        with tqdm(total=sum(len(rows) for _, _, rows in data), desc="Checking prompts", unit=" rows",
                  disable=not shown, leave=False) as bar:  # fmt: skip
            for name, argument, rows in data:
                faults = self._faults(rows, bar, self._check_of(name))
                if faults:
                    raise _error(name, argument, faults, rows)
                if self.unknown:
                    logger.warning(
                        f"{argument} of expert {name!r}: {self.unknown} of {len(rows)} prompts hold text that is not "
                        "in the tokenizer's vocabulary (its `unk_token`). The model cannot read it."
                    )

    def check_probes(self, probes: dict[str, list[dict[str, Any]]]) -> None:
        """Check the rows on which overlap is measured, by expert."""
        for name, rows in probes.items():
            kinds = isinstance(rows[0]["prompt"], list) if rows else False
            faults = self._check_of(name).faults([row.get("prompt") for row in rows], kinds)
            if faults:
                raise _error(name, "the rows for measuring overlap", faults, rows)

    def _faults(self, rows: Dataset, bar: tqdm, check: PromptCheck) -> dict[int, str]:
        """The faults of a dataset by row, of all processes."""
        columns = ("prompt", *COLUMNS) if may_hold_pictures(rows) else ("prompt",)
        prompts = narrowed(rows, columns)
        messages, found = isinstance(prompts[0]["prompt"], list), {}
        before = check.with_unknown
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        for start in range(rank * ROWS_AT_ONCE, len(rows), processes * ROWS_AT_ONCE):
            if len(columns) > 1:  # `Expert` has opened every picture: none is bad
                stop = min(start + ROWS_AT_ONCE, len(rows))
                chunk = [prepared(prompts[index])["prompt"] for index in range(start, stop)]
            else:
                chunk = prompts[start : start + ROWS_AT_ONCE]["prompt"]
            found |= {start + index: fault for index, fault in check.faults(chunk, messages).items()}
            bar.update(len(chunk) * processes)
        self.unknown = sum(gather_object([check.with_unknown - before]))
        return dict(sorted(gather_object(list(found.items()))))

    def on_draw(self, expert: str, rows: Dataset | IterableDataset) -> Callable[[int, dict[str, Any]], None] | None:
        """What checks a row of an expert's training data when it is drawn; `None` where the pass has seen it."""
        if isinstance(rows, Dataset) and self.ahead:
            return None
        first = next(iter(rows.take(1)))
        messages, columns = isinstance(first["prompt"], list), set(first)
        prompts = self._check_of(expert)

        def check(number: int, row: dict[str, Any]) -> None:
            fault = prompts.shape_fault(row.get("prompt"), messages)
            try:
                fault = fault or prompts.fault(prepared(row)["prompt"], messages)
            except Exception as error:  # of many kinds, for a picture that cannot be opened or has no place
                fault = str(error)
            missing = sorted(columns - set(row))
            if fault is None and missing:
                fault = f"it has no column {missing[0]!r}, which the first row has"
            if fault is not None:
                raise _error(expert, "train_dataset", {number: fault}, {number: row})

        return check


def _error(expert: str, argument: str, faults: dict[int, str], rows: Any) -> ValueError:
    """The error for the first of some bad rows."""
    first, *others = faults
    more = ""
    if others:
        shown = ", ".join(map(str, others[:ROWS_SHOWN])) + (", ..." if len(others) > ROWS_SHOWN else "")
        more = f" {len(others)} more rows of it cannot be used either: {shown}."
    return ValueError(
        f"{argument} of expert {expert!r}, row {first}: {faults[first]}. The prompt: "
        f"{rows[first].get('prompt')!r:.120}. Fix the row, or leave it out.{more}"
    )


def prompt_limits(model: PreTrainedModel, args: CoPDConfig) -> Limits:
    """What the model, and the engine that samples, take."""
    vocabulary = model.get_input_embeddings().weight.size(0)
    config = model.config.get_text_config()
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "max_seq_len", None)
    limits = []
    if isinstance(positions, int) and positions > 0:
        if _has_position_table(model, positions):  # a completion must find a place in it as well
            longest = positions - args.max_completion_length
            reason = f"the model has {positions} positions, and a completion may take {args.max_completion_length}"
        else:
            longest, reason = positions - 1, f"the model is made for {positions} positions, with the completion's"
        limits.append((longest, reason))
    if args.use_vllm and args.vllm_max_model_length is not None:
        engine = args.vllm_max_model_length
        limits.append((engine - 1, f"vllm_max_model_length={engine}, with the completion's"))
    longest, reason = min(limits, default=(None, ""))
    return Limits(vocabulary, longest, reason)


def unknown_token(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token for text outside the vocabulary, unless it has another role, in which a template may write it."""
    token = getattr(tokenizer, "unk_token_id", None)
    others = {getattr(tokenizer, f"{role}_token_id", None) for role in ("bos", "eos", "pad")}
    return None if token in others else token


def _has_position_table(model: nn.Module, positions: int) -> bool:
    """Whether positions are looked up, so that there is none beyond the last (some models have a few for padding)."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return any(
        tensor.dim() == 2 and positions <= tensor.size(0) <= positions + 8
        for name, tensor in named
        if any(table in name for table in TABLES)
    )
