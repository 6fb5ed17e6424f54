"""
Rows of reasoning-gym's procedural tasks, to train on and to evaluate on, and a reward that is 1.0 for a right answer
and 0.0 for any other. `trl_copd.gym` makes experts of them.

reasoning-gym is imported when rows are made, not with this module.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ..base import Verdict, VerifierReward, after_thinking, verdict_of
from ..pool import shared_pool
from .expressions import IntegrandError
from .graders import TASKS, is_right


logger = logging.getLogger(__name__)

INSTRUCTION = "Give your final answer, and nothing else, between <answer> and </answer>."
CPU_SECONDS = 2.0  # of one grade. Only integrals come near: SymPy differentiates what a model wrote

# A question belongs to one split for good, by a hash of its text: no seed, option or number of rows can carry it from
# one to the other. Ranges of 100 buckets.
EVAL_BUCKETS, TRAIN_BUCKETS = range(0, 20), range(20, 100)

REFUSED = {
    "composite": "it mixes other tasks. Build an expert for each of them, or mix their rows with "
    "`datasets.interleave_datasets`",
}

_CHUNK = 256  # questions drawn from a generator at a time
_MAX_STALE_CHUNKS = 20  # chunks without a new question after which a generator counts as exhausted


def verify_gym(completion: str, entry: Any) -> Verdict:
    """
    Grade the answer in a completion for an entry of a reasoning-gym task. Pure.

    Args:
        completion (`str`):
            Text to grade: the last closed `<answer>...</answer>` after any `</think>`; without any `<answer>` the
            whole text, which must then be the answer and nothing else.
        entry (`str`): JSON object as [`gym_rows`] makes it: `task`, `answer`, and the data for the task's grader.

    Returns:
        [`Verdict`]: Unreadable where the entry is.
    """
    try:
        fields = _read_entry(entry)
    except Exception as error:  # an entry that nests too deep, or of a type that is no text
        return Verdict(None, f"{type(error).__name__}: {error!s:.200}")
    answer = stated_answer(completion)
    if not answer:
        return Verdict(False, "no answer, or the reasoning or the <answer> was not closed")
    try:
        right = is_right(fields["task"], answer, fields)
    except IntegrandError as error:
        return Verdict(None, str(error))
    except Exception as error:  # the entry was checked, so that this is the answer's doing
        return Verdict(False, f"{answer!r:.100} cannot be graded: {type(error).__name__}")
    return Verdict(right, f"{answer!r:.100} is {'right' if right else 'wrong'}")


class GymReward(VerifierReward):
    """
    Reward 1.0 for a right answer to a row's reasoning-gym task, else 0.0. Reads the column `entry` of [`gym_rows`];
    see [`VerifierReward`] for `None`, and docs/rewards/gym.md for the right answers of each task.

    Answers are untrusted: nothing evaluates them, and grading runs in the shared pool of killable workers.

    Args:
        name (`str`, *optional*, defaults to `"gym_reward"`): Name in metrics.
        cpu_seconds (`float`, *optional*, defaults to 2.0): CPU time of one grade in seconds, > 0; more fails it.
    """

    contained = True

    def __init__(self, name: str = "gym_reward", cpu_seconds: float = CPU_SECONDS):
        super().__init__(verify_gym, columns=("entry",), name=name, cpu_seconds=cpu_seconds)

    def check(self) -> None:
        _reasoning_gym()

    def verdicts(self, texts: Sequence[str], references: Sequence[Any]) -> list[Verdict]:
        assert self.cpu_seconds is not None
        calls = list(zip(texts, references, strict=True))
        return [verdict_of(o) for o in shared_pool().map(verify_gym, calls, self.cpu_seconds, prepare=_prepare)]


def gym_rows(
    task: str,
    count: int,
    buckets: range,
    seed: int,
    options: Mapping[str, Any] | None = None,
    rewrite: Callable[[dict[str, Any]], str] | None = None,
    at_least: int | None = None,
) -> list[dict[str, str]]:
    """
    Distinct questions of a task whose hash falls into `buckets`.

    Args:
        task (`str`): Name of a reasoning-gym task.
        count (`int`): Rows wanted.
        buckets (`range`): Part of 0 to 99; rows of disjoint ranges are disjoint, whatever the seeds and options.
        seed (`int`): Seed of the generator.
        options (`Mapping`, *optional*): Options of the task's generator.
        rewrite (`Callable`, *optional*): Rewords the question of an item.
        at_least (`int`, *optional*): Rows to be content with where there are no more; defaults to `count`.

    Returns:
        `list[dict]`: `prompt`, the question; `solution`, the generator's stated answer, or an empty text; `entry`, the
        JSON that [`verify_gym`] needs. An item is left out if its grader refuses its own stated answer (unsolved
        integrals, contradictory premises).

    Raises:
        ImportError: reasoning-gym is not installed.
        ValueError: The task is unknown, or has too few such questions.
    """
    check_task(task)
    rows: dict[str, dict[str, str]] = {}
    refused = 0
    for question, item in _questions(task, dict(options or {}), seed, rewrite) if count else ():
        if stable_int(question) % 100 in buckets and question not in rows:
            row = _row(task, question, item)
            if row is None:
                refused += 1
            else:
                rows[question] = row
        if len(rows) == count:
            break
    if refused:
        logger.info("reasoning-gym task %s: left out %d items whose stated answer is none.", task, refused)
    if len(rows) < (count if at_least is None else at_least):
        raise ValueError(
            f"reasoning-gym task {task!r} with options {dict(options or {})} gave {len(rows)} distinct questions for "
            f"buckets {buckets.start} to {buckets.stop - 1} of 100, not {count}. Ask for fewer rows, or widen the "
            "task's options."
        )
    return list(rows.values())


def check_task(task: str) -> None:
    """Raise what is wrong with a task's name, as [`reasoning_gym_expert`] does."""
    known = _reasoning_gym().factory.DATASETS
    if task in REFUSED:
        raise ValueError(f"reasoning-gym task {task!r} has no strict reward: {REFUSED[task]}.")
    if task not in known:
        raise ValueError(f"reasoning-gym has no task {task!r}. It has: {', '.join(sorted(TASKS))}.")
    if task not in TASKS:
        raise ValueError(
            f"reasoning-gym task {task!r} is newer than this package, so nobody has checked its scorer, and some "
            "scorers pay for wrong answers. Build an `Expert` with your own reward."
        )


def stated_answer(completion: str) -> str | None:
    """The answer in a completion, by the rule of [`verify_gym`], or `None`."""
    text = after_thinking(completion)
    if text is None or "<answer>" not in text:
        return text
    before, closed, _ = text.rpartition("</answer>")
    _, opened, answer = before.rpartition("<answer>")
    return answer.strip() if closed and opened else None


def stable_int(text: str) -> int:
    """A hash that is the same in every process, unlike `hash`."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _row(task: str, question: str, item: dict[str, Any]) -> dict[str, str] | None:
    """The row of an item; `None` where its stated answer does not pass."""
    spec, metadata = TASKS[task], item["metadata"]
    stated = metadata[spec.stated] if spec.stated else item["answer"]
    stated = stated if isinstance(stated, str) or stated is None else json.dumps(stated)
    fields = {"task": task, "answer": stated} | {key: metadata.get(key) for key in spec.needs}
    entry = json.dumps(fields, ensure_ascii=False, default=_plain)
    if stated is not None and verify_gym(stated, entry).passed is not True:
        return None
    return {"prompt": question, "solution": stated or "", "entry": entry}


def _questions(
    task: str, options: dict[str, Any], seed: int, rewrite: Callable[[dict[str, Any]], str] | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Questions and items until the generator runs dry; a question may come again."""
    seen: set[str] = set()
    stale = 0
    while stale < _MAX_STALE_CHUNKS:
        known = len(seen)
        # a generator seeds item i with `seed + i`, so chunks one size apart do not overlap
        for item in _reasoning_gym().create_dataset(task, size=_CHUNK, seed=seed, **options):
            question = rewrite(item) if rewrite else item["question"].strip()
            seen.add(question)
            yield question, item
        stale = stale + 1 if len(seen) == known else 0
        seed += _CHUNK


def messages(question: str, instruction: str | None, system_prompt: str | None) -> list[dict[str, str]]:
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []
    return [*system, {"role": "user", "content": f"{question}\n\n{instruction}" if instruction else question}]


@lru_cache(maxsize=1024)  # the generations of a group share their entry
def _read_entry(entry: str) -> dict[str, Any]:
    fields = json.loads(entry)
    if not isinstance(fields, dict) or fields.get("task") not in TASKS:
        raise ValueError("an entry must be a JSON object with its `task`")
    missing = {"answer", *TASKS[fields["task"]].needs} - set(fields)
    if missing:
        raise ValueError(f"the entry has no {sorted(missing)[0]!r}")
    answer = fields["answer"]
    if not isinstance(answer, (str, type(None))):
        raise ValueError(f"the `answer` of an entry must be a text or null, got {answer!r:.100}")
    # fields of another type or size than the task's are found by grading what the entry itself says is right
    if answer and not is_right(fields["task"], answer, fields):
        raise ValueError(f"the entry's own answer {answer!r:.100} is wrong")
    return fields


def _plain(value: Any) -> Any:
    """JSON for what generators put into metadata besides it: NumPy's numbers and arrays, sets, SymPy's numbers."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)


def _reasoning_gym() -> Any:
    try:
        import reasoning_gym
    except ImportError as error:
        raise ImportError("This needs reasoning-gym: `pip install 'trl-copd[gym]'`.") from error
    return reasoning_gym


def _prepare() -> None:
    """In a worker, before its first grade: what takes seconds to import is not on a grade's clock."""
    import sympy

    _reasoning_gym()
    sympy.sin(sympy.Symbol("x")).diff().evalf(subs={"x": 1})
