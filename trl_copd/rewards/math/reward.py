r"""
Mathematical answers. Text → the last closed `\boxed{}` → plain numbers and words are compared exactly, here; formulas
go to the workers, which compare them by value (`math/grade.py`).
"""

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, Literal, get_args

from ..base import Verdict, VerifierReward, after_thinking, verdict_of
from ..pool import Outcome, shared_pool
from . import grade as math_grade
from .bounds import Unreadable
from .claims import answer_claim, unwrapped
from .extract import bare_answer, final_answer, last_boxed
from .layout import operator_name
from .plain import approximates, number, words
from .reference import Gold, counted_noun, plain_reference, read_reference, without_prefix
from .text import normalise


AnswerRule = Literal["boxed", "boxed_or_bare", "boxed_or_final"]

CPU_SECONDS = 2.0


class MathReward(VerifierReward):
    r"""
    Reward 1.0 for an answer equal to the column `solution`, else 0.0; see [`VerifierReward`] for `None`.

    The answer is the content of the last closed `\boxed{}` after any `</think>`; a completion that is only an answer
    needs no box. `solution` may be a number, bare LaTeX (`\frac{1}{2}`), LaTeX in dollars, a worked solution with a
    `\boxed{}`, or GSM8K's text, which ends in `#### 72`.

    Equality is by value: numbers exactly, formulas at fixed points to at least 50 digits, sets without order, tuples
    in order, intervals as inequalities. A cut decimal passes for a number with endless decimals from 10 digits on.
    Units must agree where both sides name one. The percent sign is dropped: 9% is 9, and never 0.09. A number in a
    base (`101_2`) must name the same base. An answer that is not understood is wrong. docs/rewards/math.md has the
    tables.

    Args:
        answer (`"boxed"`, `"boxed_or_bare"` or `"boxed_or_final"`, *optional*, defaults to `"boxed_or_bare"`):
            What counts without a closed box. `"boxed"`: nothing. `"boxed_or_bare"`: a completion that is only an
            answer, one line of at most 40 characters without prose. `"boxed_or_final"`: the rest of the line (to the
            end of the sentence) after the last "answer is", "answer:" or "####"; without one of these the bare answer,
            and else the last number of the last line, unless that line denies it. It is off by default because it
            rewards a model that states no answer but ends on a lucky number.
        name (`str`, *optional*, defaults to `"math_reward"`): Name in metrics.
        cpu_seconds (`float`, *optional*, defaults to 2.0): CPU time of one comparison of formulas, seconds, > 0.
        tolerance (`float`, *optional*, defaults to 0.0):
            Share of the reference's size by which a number may differ from it, alone or as a member of a list, set,
            tuple or matrix, in [0, 1): 0.01 passes 1.99 for 2. 0 is exact. Use it for rounded references, as in
            physics. Only 0 passes for 0; formulas with variables and ends of intervals stay exact.

    Raises:
        ValueError: `answer` is unknown, `cpu_seconds` is not above 0, or `tolerance` is not in [0, 1).

    Example:
    ```python
    >>> from trl_copd.rewards import math_reward

    >>> completions = [r"So it is \boxed{0.5}.", r"So it is \boxed{2}.", "So it is 1/2."]
    >>> math_reward(prompts=["1/4+1/4?"] * 3, completions=completions, solution=[r"\frac{1}{2}"] * 3)
    [1.0, 0.0, 0.0]
    ```
    """

    version = "5"
    contained = True

    def __init__(
        self,
        answer: AnswerRule = "boxed_or_bare",
        name: str = "math_reward",
        cpu_seconds: float = CPU_SECONDS,
        tolerance: float = 0.0,
    ):
        if answer not in get_args(AnswerRule):
            raise ValueError(f"`answer` must be one of {get_args(AnswerRule)}, got {answer!r}.")
        if not 0 <= tolerance < 1:
            raise ValueError(f"`tolerance` must be at least 0 and below 1, got {tolerance}.")
        verifier = functools.partial(verify_math, answer=answer, tolerance=tolerance)
        super().__init__(verifier, columns=("solution",), name=name, cpu_seconds=cpu_seconds)
        self.answer: AnswerRule = answer
        self.tolerance = tolerance

    def _references(self, columns: dict[str, Any], rows: int) -> list[Any]:
        """References that the base can hash and print: see `_Foreign`."""
        return [plain_reference(reference) for reference in super()._references(columns, rows)]

    def verdicts(self, texts: Sequence[str], references: Sequence[Any]) -> list[Verdict]:
        run = functools.partial(_in_pool, cpu_seconds=self.cpu_seconds or CPU_SECONDS)
        return grade(texts, references, self.answer, run, self.tolerance)


def verify_math(
    completion: str, solution: Any, answer: AnswerRule = "boxed_or_bare", tolerance: float = 0.0
) -> Verdict:
    """
    Grade the final answer of a completion in this process, without a limit on time but with those on size.

    Args:
        completion (`str`): Text to grade.
        solution (`str`, `int`, `float`): Reference, in any form that [`MathReward`] reads.
        answer (`str`): As in [`MathReward`].
        tolerance (`float`): As in [`MathReward`].

    Returns:
        [`Verdict`]: Unreadable where the solution is, whatever the completion says.
    """
    return grade([completion], [solution], answer, _inline, tolerance)[0]


# ---- a batch ----

Runner = Callable[[Callable[..., Any], Sequence[tuple], Callable[[], None]], list[Outcome]]

# By whether math-verify is needed: what checks a reference, what compares an answer with it, what both need imported
_STEPS: dict[bool, tuple[Callable, Callable, Callable]] = {
    False: (math_grade.check_reference, math_grade.compare, math_grade.prepare),
    True: (math_grade.check_reference_symbolically, math_grade.compare_symbolically, math_grade.prepare_symbolic),
}


def _in_pool(function: Callable, calls: Sequence[tuple], prepare: Callable, cpu_seconds: float) -> list[Outcome]:
    return shared_pool().map(function, calls, cpu_seconds, prepare=prepare) if calls else []


def _inline(function: Callable, calls: Sequence[tuple], prepare: Callable) -> list[Outcome]:
    return [Outcome("ok", function(*arguments)) for arguments in calls]


def grade(
    texts: Sequence[str], references: Sequence[Any], answer: AnswerRule, run: Runner, tolerance: float = 0.0
) -> list[Verdict]:
    """Verdicts of a batch: what is plain at once, the rest by `run`, in two calls of it: references, then answers."""
    references = [plain_reference(reference) for reference in references]
    golds = _read_references(references, run)
    verdicts: list[Verdict | None] = []
    open_rows: list[tuple[int, Gold, str]] = []
    for text, reference in zip(texts, references, strict=True):
        gold = golds[_reference_key(reference)]
        verdict = gold if isinstance(gold, Verdict) else _grade_plainly(gold, text, answer, tolerance)
        if isinstance(gold, Gold) and isinstance(verdict, str):
            open_rows.append((len(verdicts), gold, verdict))
        verdicts.append(verdict if isinstance(verdict, Verdict) else None)
    for symbolic, (_, function, prepare) in _STEPS.items():
        rows = [row for row in open_rows if row[1].symbolic == symbolic]
        outcomes = run(function, [(gold.key, given, tolerance) for _, gold, given in rows], prepare)
        for (index, gold, given), outcome in zip(rows, outcomes, strict=True):
            verdicts[index] = _verdict(outcome, gold, given)
    return [verdict for verdict in verdicts if verdict is not None]


def _verdict(outcome: Outcome, gold: "Gold", given: str) -> Verdict:
    if outcome.status != "ok":
        return verdict_of(outcome)
    passed, reason = outcome.value
    return Verdict(passed, f"{given!r:.100} for {gold.text!r:.100}: {reason}")


def _grade_plainly(gold: "Gold", text: str, answer: AnswerRule, tolerance: float) -> Verdict | str:
    """The verdict where no formula must be read, else the answer to compare."""
    shown = after_thinking(text)
    if shown is None:
        return Verdict(False, "the reasoning was not closed")
    raw = last_boxed(shown)
    if raw is None and answer != "boxed":
        raw = bare_answer(shown) if answer == "boxed_or_bare" else final_answer(shown)
    if raw is None:
        return Verdict(False, "no final answer" if answer == "boxed_or_final" else "no closed \\boxed{}")
    if _bare(raw) in (_bare(gold.raw), _bare(gold.sentence or gold.raw)):
        return Verdict(True, "the text of the reference")
    names: tuple[str | None, str | None] = operator_name(gold.raw), None
    if gold.claimed or names[0]:
        raw = unwrapped(raw)
        raw = answer_claim(raw) if gold.claimed else raw
        names = names[0], operator_name(raw)
    if all(names) and names[0] != names[1]:
        return Verdict(False, f"{names[1]!r:.100} is not {names[0]!r:.100}, whatever its value")
    if gold.symbolic:
        return Verdict(True, "the text of the reference") if "".join(raw.split()) == "".join(gold.raw.split()) else raw
    try:
        given = counted_noun(without_prefix(normalise(raw)), gold.noun)
        value = number(given)
    except Unreadable as problem:
        return Verdict(False, f"the answer cannot be compared: {problem}")
    if gold.number is not None and value is not None:
        same = gold.number == value or approximates(given, value, gold.number)
        same = same or approximates(gold.text, gold.number, value)
        same = same or tolerance > 0 and abs(value - gold.number) <= abs(gold.number) * Fraction(repr(tolerance))
    elif _spaceless(gold.text) == _spaceless(given):
        same = True
    elif re.fullmatch(r"\(?[A-E]\)?", gold.text) and re.fullmatch(r"\(?[A-Ea-e]\)?", given):  # a choice
        same = gold.text.strip("()") == given.strip("()").upper()
    elif gold.words is not None and (said := words(given, loose=True)) is not None:
        same = said == gold.words
    else:
        return given
    return Verdict(same, f"{raw!r:.100} {'equals' if same else 'is not'} {gold.text!r:.100}")


def _bare(text: str) -> str:
    return " ".join(text.split()).strip("$.")


def _spaceless(text: str) -> str:
    """Without spaces, but for those between digits or words."""
    return re.sub(r"(?<![0-9A-Za-z]) | (?![0-9A-Za-z])|(?<=[0-9]) (?=[A-Za-z])", "", text)


# ---- the reference ----


# ---- the references of a batch ----


def _reference_key(reference: Any) -> str:
    return f"{type(reference).__name__}:{reference!r}"


def _read_references(references: Iterable[Any], run: Runner) -> dict[str, "Gold | Verdict"]:
    """Each reference once. What it says alone decides whether it can be read, never a completion."""
    golds: dict[str, Gold | Verdict] = {}
    for reference in references:
        key = _reference_key(reference)
        if key not in golds:
            golds[key] = _checked.get(key) or read_reference(reference)
    doubtful = {
        key: gold for key, gold in golds.items() if isinstance(gold, Gold) and not gold.plain and key not in _checked
    }
    for symbolic, (function, _, prepare) in _STEPS.items():
        some = {key: gold for key, gold in doubtful.items() if gold.symbolic == symbolic}
        outcomes = run(function, [(gold.key,) for gold in some.values()], prepare)
        for key, outcome in zip(some, outcomes, strict=True):
            if not symbolic and outcome.status == "ok" and outcome.value == math_grade.SYMBOLIC:
                golds[key] = doubtful[key] = replace(some[key], symbolic=True)
                continue
            golds[key] = _check_verdict(outcome) or golds[key]
    for key in doubtful:
        found = golds[key]
        if not (isinstance(found, Verdict) and found.failure == "infrastructure"):
            if len(_checked) > 10_000:
                _checked.clear()
            _checked[key] = found
    return golds


_checked: dict[str, Gold | Verdict] = {}  # what needed a worker; the generations of a group share their reference


def _check_verdict(outcome: Outcome) -> Verdict | None:
    """`None` for a reference that can be compared with."""
    if outcome.status == "ok":
        return None if outcome.value is None else Verdict(None, outcome.value)
    if outcome.status in ("cpu", "memory"):
        return Verdict(None, f"reading it needs too much: {outcome.error}")
    return verdict_of(outcome)


math_reward = MathReward()
