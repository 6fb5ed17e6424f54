"""Instructions that a program can check: length, format, keywords, language. The types of IFEval and IFBench."""

import functools
import importlib.util
import json
from collections.abc import Sequence
from typing import Any

from ..base import Verdict, VerifierReward, after_thinking, completion_text, verdict_of
from ..pool import shared_pool
from ..verdict import shown
from . import ifbench_forms, ifbench_tasks, ifbench_words, ifeval
from .arguments import Kind, Unreadable
from .text import Text, visible, words_of


CPU_SECONDS = 4.0
MAX_CHARS = 100_000  # of a response
PACKAGES = ("emoji", "lemminflect", "py3langid", "sentencex", "syllapy")
OWN_COLUMNS = ("instruction_id_list", "kwargs")  # of IFEval, IFBench and the sets made after them

KINDS: dict[str, Kind] = {**ifeval.KINDS, **ifbench_words.KINDS, **ifbench_forms.KINDS, **ifbench_tasks.KINDS}

_ECHO_WORDS = 6  # from which on a response that the prompt holds word for word is a copy of it


def verify_instructions(completion: str, reference: Any, loose: bool = False) -> Verdict:
    """
    Check the instructions of a row, one by one. Pure.

    Args:
        completion (`str`): Text to grade, after any `</think>`.
        reference (`list`, `str` or `dict`):
            The column `instructions`; or a dictionary of it, or of `instruction_id_list` and `kwargs`, and of the
            `prompt` as text, if a response that only copies the prompt is to be refused.
        loose (`bool`): As in [`InstructionReward`].

    Returns:
        [`Verdict`]: `score` is the share of the instructions that are followed. Unreadable if there are none, a type
        is unknown, or an argument is missing or of the wrong type.
    """
    try:
        wanted, prompt = _read(reference)
    except Unreadable as problem:
        return Verdict(None, str(problem))
    text = after_thinking(completion)
    if text is None:
        return Verdict(False, "the reasoning was not closed", score=0.0)
    if len(text) > MAX_CHARS:
        return Verdict(False, f"it has {len(text)} characters, more than {MAX_CHARS}", score=0.0)
    versions = [_forms(version) for version in (_loose(text) if loose else [text])]
    copied = prompt is not None and not any(kind.copies for _, kind, _ in wanted) and _echoes(text, prompt)
    failed = [] if not copied else [name for name, _, _ in wanted]
    failed = failed or [n for n, kind, given in wanted if not any(_follows(forms, kind, given) for forms in versions)]
    reason = "it copies the prompt" if copied else f"not followed: {', '.join(failed)}" if failed else "all followed"
    return Verdict(not failed, reason, score=1 - len(failed) / len(wanted))


class InstructionReward(VerifierReward):
    """
    Reward 1.0 for a response that follows all instructions in the column `instructions`, else 0.0; see
    [`VerifierReward`] for `None`.

    An instruction is `{"id": "length_constraints:number_words", "arguments": {"num_words": 50, "relation": "at
    least"}}`; the 25 types of IFEval and 58 of IFBench are known, see docs/rewards/instructions.md. A row may give the
    list as JSON text, which a `datasets.Dataset` needs where rows differ. Where there is no column `instructions`, the
    data sets' own `instruction_id_list` and `kwargs` are read.

    A response is checked both as written and as a reader sees it, without comments and zero-width characters; both
    must follow. A response that is filled up by repetition, or that only copies the prompt, follows nothing.

    Args:
        loose (`bool`, *optional*, defaults to `False`):
            Whether IFEval's loose versions count as well: the text without the first line, the last line or both, each
            also without asterisks.
        share (`bool`, *optional*, defaults to `False`): Whether the reward is the share of instructions followed.
        columns (`Sequence[str]`, *optional*, defaults to `("instructions",)`):
            Columns that the dataset must have: `("instruction_id_list", "kwargs")` for an `Expert` on such a data set.
        name (`str`, *optional*, defaults to `"instruction_reward"`): Name in metrics.
        cpu_seconds (`float`, *optional*, defaults to 4.0): CPU time of one grade in seconds, > 0; more fails it.

    Raises:
        ImportError: A package of the extra `instructions` is missing.
        ValueError: `columns` is neither of these two.

    Example:
    ```python
    >>> from trl_copd.rewards import InstructionReward

    >>> reward = InstructionReward()
    >>> rows = [[{"id": "keywords:existence", "arguments": {"keywords": ["sun"]}}, {"id": "punctuation:no_comma"}]] * 3
    >>> reward(prompts=["?"] * 3, completions=["The sun rose.", "Sun, moon.", "Sunday."], instructions=rows)
    [1.0, 0.0, 0.0]
    ```
    """

    contained = True

    def __init__(
        self,
        loose: bool = False,
        share: bool = False,
        columns: Sequence[str] = ("instructions",),
        name: str = "instruction_reward",
        cpu_seconds: float = CPU_SECONDS,
    ):
        if tuple(columns) not in (("instructions",), OWN_COLUMNS):
            raise ValueError(f"`columns` must be ('instructions',) or {OWN_COLUMNS}, got {columns!r}.")
        verifier = functools.partial(verify_instructions, loose=loose)
        super().__init__(verifier, columns=columns, name=name, cpu_seconds=cpu_seconds)
        self.loose, self.partial_credit = loose, share
        _require_packages()

    def explain(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[Verdict | None]:
        """As [`VerifierReward.explain`]; a response is compared with its prompt as well."""
        columns["prompt"] = [_prompt_text(prompt) for prompt in prompts]
        return super().explain(prompts, completions, **columns)

    def check(self) -> None:
        _require_packages()

    def verdicts(self, texts: Sequence[str], references: Sequence[Any]) -> list[Verdict]:
        assert self.cpu_seconds is not None
        calls = list(zip(texts, references, strict=True))
        return [verdict_of(o) for o in shared_pool().map(self.verifier, calls, self.cpu_seconds, prepare=_prepare)]

    def _references(self, columns: dict[str, Any], rows: int) -> list[Any]:
        own = "instructions" not in columns and all(name in columns for name in OWN_COLUMNS)
        names = OWN_COLUMNS if own else self.columns
        found = super()._references(columns, rows) if not own else list(zip(*(columns[n] for n in names), strict=True))
        return [_with_prompt(names, value, prompt) for value, prompt in zip(found, columns["prompt"], strict=True)]


def _with_prompt(names: Sequence[str], value: Any, prompt: str) -> dict[str, Any] | None:
    """The reference of a row; `None` where one of its columns is."""
    if value is None or (isinstance(value, tuple) and None in value):
        return None
    if len(names) == 1:
        return {names[0]: value, "prompt": prompt}
    return {**(value if isinstance(value, dict) else dict(zip(names, value, strict=True))), "prompt": prompt}


# ---- the reference ----

Wanted = list[tuple[str, Kind, dict[str, Any]]]


def _read(reference: Any) -> tuple[Wanted, str | None]:
    """The instructions of a row, with their arguments read, and the prompt if it is there."""
    fields = reference if isinstance(reference, dict) and "id" not in reference else {"instructions": reference}
    prompt = fields.get("prompt")
    if "instructions" in fields:
        rows = _decoded(fields["instructions"])
    else:
        names, given = (_decoded(fields.get(name)) for name in OWN_COLUMNS)
        if not isinstance(names, list) or not isinstance(given, list) or len(names) != len(given):
            raise Unreadable("`instruction_id_list` and `kwargs` must be lists of the same length")
        rows = [{"id": name, "arguments": arguments} for name, arguments in zip(names, given, strict=True)]
    if not isinstance(rows, list) or not rows:
        raise Unreadable(f"instructions must be a list of at least one, got {shown(rows, 100)}")
    return [_instruction(row) for row in rows], prompt if isinstance(prompt, str) else None


def _decoded(value: Any) -> Any:
    """The value of a JSON text; anything else as it is."""
    if not isinstance(value, str):
        return list(value) if isinstance(value, tuple) else value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"instructions must be a list or its JSON text: {type(error).__name__}") from error


def _instruction(row: Any) -> tuple[str, Kind, dict[str, Any]]:
    name = row.get("id") if isinstance(row, dict) else None
    if not isinstance(name, str) or name not in KINDS:
        raise Unreadable(f"the type of instruction {shown(name, 100)} is unknown")
    given = _decoded(row.get("arguments")) or {}
    if not isinstance(given, dict):
        raise Unreadable(f"the arguments of {name} must be a dictionary")
    read = {}
    for argument, reader in KINDS[name].arguments.items():
        value = given.get(argument)
        if value is None:
            raise Unreadable(f"{name} has no argument {argument!r}")
        try:
            read[argument] = reader(value)
        except (Unreadable, OverflowError) as problem:
            raise Unreadable(f"{argument!r} of {name} {problem}") from problem
    return name, KINDS[name], read


# ---- the response ----


def _forms(text: str) -> list[Text]:
    """A response as it stands and, if that is something else, as a reader sees it; both must follow."""
    seen = visible(text)
    return [Text(seen)] if seen == text else [Text(text), Text(seen)]


def _follows(forms: Sequence[Text], kind: Kind, given: dict[str, Any]) -> bool:
    filled = not kind.copies and any(form.padded for form in forms)
    return not filled and all(bool(form.words) and kind.check(form, given) for form in forms)


def _loose(text: str) -> list[str]:
    """IFEval's eight versions of a response, in which a polite first or last line, or bold type, does no harm."""
    lines = text.strip().split("\n")
    parts = [text, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return list(dict.fromkeys([*parts, *(part.replace("*", "") for part in parts)]))


def _echoes(text: str, prompt: str) -> bool:
    """Whether a response says nothing but what the prompt says, word for word."""
    said, asked = (f" {' '.join(words_of(visible(part)))} " for part in (text, prompt))
    if len(said.split()) < _ECHO_WORDS:
        return False
    rest = said.replace(asked, " ") if len(asked.split()) >= _ECHO_WORDS else said
    sentences = [f" {' '.join(words_of(sentence))} " for sentence in Text(visible(text)).sentences]
    return len(rest.split()) < 3 or said in asked or all(sentence in asked for sentence in sentences)


def _prompt_text(prompt: Any) -> str:
    """What the user asked last."""
    if isinstance(prompt, list):
        said = [m for m in prompt if isinstance(m, dict) and m.get("role", "user") in ("user", "system")]
        return "\n".join(completion_text([{**message, "role": "assistant"}]) for message in said)
    return prompt if isinstance(prompt, str) else ""


def _require_packages() -> None:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"instruction_reward needs {', '.join(missing)}: `pip install 'trl-copd[instructions]'`.")


def _prepare() -> None:
    """In a worker, before its first grade: models and word lists are not loaded on a grade's clock."""
    import emoji
    import lemminflect
    import sentencex
    import syllapy

    from .language import is_in

    is_in("This is a sentence that is long enough to be classified.", "en")
    lemminflect.getAllLemmas("go")
    syllapy.count("banana")
    emoji.emoji_list("a")
    list(sentencex.segment("en", "One. Two."))
