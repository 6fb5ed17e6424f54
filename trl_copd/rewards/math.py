r"""
Mathematical answers. Text → the last closed `\boxed{}` → plain numbers and words are compared exactly; only the rest
goes to math-verify, and only after its size is bounded, since math-verify can neither be timed out off the main thread
nor survive a power tower.
"""

import functools
import logging
import math
import re
import threading
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, get_args

import sympy
from math_verify import LatexExtractionConfig, parse, verify
from math_verify.errors import TimeoutException
from sympy.core.function import AppliedUndef
from sympy.functions.elementary.hyperbolic import HyperbolicFunction
from sympy.functions.elementary.trigonometric import InverseTrigonometricFunction, TrigonometricFunction
from sympy.logic.boolalg import Boolean

from .base import Verdict, VerifierReward, after_thinking


AnswerRule = Literal["boxed", "boxed_or_final"]

MAX_CHARS = 300  # of an answer, before anything looks at it
MAX_BITS = 100_000  # of any number that evaluating an expression could produce
MAX_EXPONENT_BITS = 15
MAX_DEGREE = 100  # of a power with variables in it
MAX_TERMS = 200  # of an expression when multiplied out
MAX_DEPTH = 12  # of brackets: each level costs the parser 50 ms or more
TIMEOUT_S = 5  # wall clock, a backstop in the main thread only: math-verify uses SIGALRM
RELATIVE_TOLERANCE = 1e-6  # numbers further apart are different; math-verify decides on the closer ones

_EXTRACTION = [LatexExtractionConfig(boxed_match_priority=0, try_extract_without_anchor=False)]


class _Unreadable(ValueError):
    """An answer or a reference that cannot be compared; the message says why."""


def verify_math(completion: str, solution: Any, answer: AnswerRule = "boxed") -> Verdict:
    """
    Grade the final answer of a completion. Pure, and safe in any thread.

    Args:
        completion (`str`): Text to grade.
        solution (`str`, `int`, `float`): Reference, in any form that [`MathReward`] reads.
        answer (`"boxed"` or `"boxed_or_final"`): As in [`MathReward`].

    Returns:
        [`Verdict`]: Unreadable where the solution is, whatever the completion says.
    """
    try:
        gold = _read_gold(solution if isinstance(solution, str) else _gold_text(solution))
    except _Unreadable as problem:
        return Verdict(None, str(problem))
    text = after_thinking(completion)
    if text is None:
        return Verdict(False, "the reasoning was not closed")
    given = last_boxed(text)
    if given is None and answer == "boxed_or_final":
        given = _final_answer(text)
    if given is None:
        return Verdict(False, "no closed \\boxed{}" if answer == "boxed" else "no final answer")
    try:
        same = _same(gold, _normalise(given))
    except _Unreadable as problem:
        return Verdict(False, f"the answer cannot be compared: {problem}")
    return Verdict(same, f"{given!r:.100} {'equals' if same else 'is not'} {gold.text!r:.100}")


class MathReward(VerifierReward):
    r"""
    Reward 1.0 for an answer equal to the column `solution`, else 0.0; see [`VerifierReward`] for `None`.

    The answer is the content of the last closed `\boxed{}` after any `</think>`. `solution` may be a number, bare
    LaTeX (`\frac{1}{2}`), LaTeX in dollars, a worked solution with a `\boxed{}`, or GSM8K's, which ends in `#### 72`.

    Equality: integers, decimals and fractions exactly (0.333333 is not 1/3), words by letters without case, the rest
    by math-verify within bounds on size; an answer beyond them is wrong. Thousands separators are dropped, and so are
    the signs of percent, dollar and degree, as in the MATH dataset's own grader: 9% is 9, and never 0.09. A number in
    a base (`101_2`) must name the same base. Other units are ignored, as in math-verify.

    Args:
        answer (`"boxed"` or `"boxed_or_final"`, *optional*, defaults to `"boxed"`):
            `"boxed_or_final"` also takes, from a completion without a closed box, the rest of the line (to the end of
            the sentence) after the last "answer is", "answer:" or "####", and without one of these the last number.
            It is off by default since it rewards a model that states no answer but ends on a lucky number.
        name (`str`, *optional*, defaults to `"math_reward"`): Name in metrics.

    Raises:
        ValueError: `answer` is none of the two.

    Example:
    ```python
    >>> from trl_copd.rewards import math_reward

    >>> completions = [r"So it is \boxed{0.5}.", r"So it is \boxed{2}.", "So it is 1/2."]
    >>> math_reward(prompts=["1/4+1/4?"] * 3, completions=completions, solution=[r"\frac{1}{2}"] * 3)
    [1.0, 0.0, 0.0]
    ```
    """

    def __init__(self, answer: AnswerRule = "boxed", name: str = "math_reward"):
        if answer not in get_args(AnswerRule):
            raise ValueError(f"`answer` must be one of {get_args(AnswerRule)}, got {answer!r}.")
        super().__init__(functools.partial(verify_math, answer=answer), columns=("solution",), name=name)


math_reward = MathReward()


# ---- finding the answer ----


def last_boxed(text: str) -> str | None:
    r"""
    Content of the last `\boxed{}` or `\fbox{}` of `text` whose braces close, or `None`.

    A box within a box is part of the outer one. One pass over the braces, so linear in the length of `text`.
    """
    found, depth = None, 0
    starts: list[tuple[int, int]] = []  # depth and start of the open boxes
    for token in re.finditer(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", text, re.DOTALL):
        if token[0] == "}":
            if starts and starts[-1][0] == depth:
                start = starts.pop()[1]
                # The outer box closes last, and so replaces what it contains
                found = text[start : token.start()]
            depth = max(depth - 1, 0)
        elif token[0].endswith("{") and token[0] != "\\{":
            depth += 1
            if len(token[0]) > 1:
                starts.append((depth, token.end()))
    return found


def _final_answer(text: str) -> str | None:
    """The lenient rule of `MathReward(answer="boxed_or_final")`."""
    marks = list(re.finditer(r"answer(?: is|:)|####", text, re.IGNORECASE))
    if marks:
        line = text[marks[-1].end() :].lstrip(" :*").split("\n", 1)[0]
        return re.split(r"\.(?:\s|$)", line, maxsplit=1)[0].strip(" *") or None
    numbers = re.findall(r"(?<![\w.])-?[0-9][0-9,]*(?:\.[0-9]+)?(?:/[0-9]+)?", text)
    return numbers[-1].rstrip(",") if numbers else None


# ---- the reference ----


@dataclass(frozen=True)
class _Gold:
    """A reference, read as far as comparing needs it: a number, words, or an expression."""

    text: str
    number: Fraction | None = None
    words: str | None = None
    expression: Any = None


def _gold_text(solution: Any) -> str:
    if isinstance(solution, bool) or not isinstance(solution, (int, float)):
        raise _Unreadable(f"a solution must be a str, an int or a float, got {type(solution).__name__}")
    if not math.isfinite(solution):
        raise _Unreadable(f"the solution is {solution}")
    return f"{Fraction(repr(solution))}" if isinstance(solution, float) else str(solution)


@functools.lru_cache(maxsize=1024)  # the generations of a group share their reference
def _read_gold(solution: str) -> _Gold:
    marked = solution.rpartition("####")
    boxed = last_boxed(solution)
    text = _normalise(marked[2] if marked[1] else boxed if boxed is not None else solution)
    number = _number(text)
    if number is not None:
        return _Gold(text, number=number)
    # Prose would be words or a product of letters that no answer equals: a silent 0 for every completion
    bare = re.sub(r"\\[A-Za-z]+\s*(?:\{[A-Za-z ]*\})?", "", text)
    if re.search(r"\b(?:the|is|are|so|answer)\b", bare, re.IGNORECASE) or len(re.findall("[A-Za-z]{2,}", bare)) > 4:
        raise _Unreadable("it is prose; put the answer in \\boxed{} or after ####")
    words = _words(text)
    if words is not None or _base(text):
        return _Gold(text, words=words)
    return _Gold(text, expression=_parse(text))


# ---- comparing ----


def _same(gold: _Gold, text: str) -> bool:
    """Whether the normalised answer `text` equals the reference. Raises `_Unreadable` for one beyond the bounds."""
    number = _number(text)
    if gold.number is not None and number is not None:
        return gold.number == number
    if gold.text == text:
        return True
    if gold.words is not None:
        return gold.words == _words(text, loose=True)
    if _base(gold.text) or _base(text):
        return _base(gold.text) == _base(text)
    reference = gold.expression if gold.number is None else sympy.Rational(*gold.number.as_integer_ratio())
    expression = _parse(text) if number is None else sympy.Rational(*number.as_integer_ratio())
    if _differ(reference, expression):
        return False
    try:
        return bool(verify(reference, expression, timeout_seconds=_timeout(), raise_on_error=True))
    except (Exception, TimeoutException) as error:  # sympy raises nearly anything on nearly nonsense
        raise _Unreadable(f"{type(error).__name__} while comparing") from error


def _differ(gold: Any, given: Any) -> bool:
    """
    Whether both are numbers, and clearly different ones. Spares wrong answers the slow search for a symbolic identity,
    and tells tiny numbers apart, which math-verify takes for equal.
    """
    if not all(isinstance(x, sympy.Expr) and x.is_number for x in (gold, given)):
        return False
    try:
        exact = gold.doit(), given.doit()
        if all(x.is_Rational for x in exact):
            return bool(exact[0] != exact[1])
        values = [complex(x.evalf(15, maxn=200)) for x in exact]
    except (ArithmeticError, TypeError, ValueError):  # no value that fits a float: left to math-verify
        return False
    return abs(values[0] - values[1]) > RELATIVE_TOLERANCE * max(map(abs, values))


def _normalise(text: str) -> str:
    """One spelling for what is only typography: white space, delimiters, % and $. Raises if `text` is too long."""
    if len(text) > MAX_CHARS:
        raise _Unreadable(f"it has {len(text)} characters, more than {MAX_CHARS}")
    text = text.replace("−", "-").replace("{,}", ",")
    # Rows of a matrix (\\) are matched first, so that their second backslash starts nothing
    text = re.sub(r"\\\\|\\[,!]|\\[()\[\]]", lambda m: m[0] if m[0] == "\\\\" else "", text)
    text = re.sub(r"\\\\|\\[;: ]|\\q?quad(?![a-zA-Z])|~", lambda m: m[0] if m[0] == "\\\\" else " ", text)
    text = re.sub(r"\\(?:left|right|displaystyle)(?![a-zA-Z])|\\?[$%]|\^\s*(?:\\circ|\{\s*\\circ\s*\})|°", "", text)
    text = re.sub(r"\\[dt](frac|binom)(?![a-zA-Z])", r"\\\1", text)
    text = re.sub(r"\\(?:boxed|fbox)\s*(?=\{)", "", text)
    text = re.sub(r"^\s*\\(?:text|textbf|mathbf|mathrm)\s*\{([0-9.,/ -]+)\}\s*$", r"\1", text)
    # A space counts only between two letters or digits: "1 2" is not 12
    text = re.sub(r"(?<![A-Za-z0-9])\s+|\s+(?![A-Za-z0-9])", "", text.strip()).rstrip(".")
    while text.startswith("{") and last_boxed("\\boxed" + text) == text[1:-1]:
        text = text[1:-1]
    if not text:
        raise _Unreadable("it is empty")
    return text


_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
_DECIMAL = re.compile(rf"([+-]?)({_DIGITS}(?:\.[0-9]*)?|\.[0-9]+)(?:/({_DIGITS}))?")
_FRACTION = re.compile(rf"([+-]?)({_DIGITS}?)\\frac(?:\{{({_DIGITS})\}}\{{({_DIGITS})\}}|([0-9])([0-9]))")


def _number(text: str) -> Fraction | None:
    r"""Value of an integer, decimal, `a/b`, `\frac{a}{b}` or mixed number; `None` for anything else."""
    text = text.replace(",", "") if _DECIMAL.fullmatch(text) or _FRACTION.fullmatch(text) else ""
    if match := _DECIMAL.fullmatch(text):
        sign, value, denominator = match[1], Fraction("0" + match[2].rstrip(".")), int(match[3] or 1)
    elif match := _FRACTION.fullmatch(text):
        sign, numerator, denominator = match[1], int(match[3] or match[5]), int(match[4] or match[6])
        value = Fraction(int(match[2] or 0) * denominator + numerator)
    else:
        return None
    if denominator == 0:
        return None
    return (-1 if sign == "-" else 1) * value / denominator


def _words(text: str, loose: bool = False) -> str | None:
    r"""
    Words without case, parentheses and `\text{}`; `None` for a formula. Bare letters are words from four on (`xy` is a
    product), or at once if `loose`: beside a reference that is words. math-verify takes anagrams for equal.
    """
    bare = re.sub(r"\\(?:text|textbf|textit|mathrm|mathbf)\s*\{([^{}\\]*)\}", r"\1", text)
    loose = loose or bare != text
    bare = re.sub(r"\s+", " ", bare.strip(" ().")).casefold()
    if not re.fullmatch(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*", bare):
        return None
    return bare if loose or re.search(r"[^\W\d_]{4}", bare) else None


def _base(text: str) -> str | None:
    """Spelling without braces of a number in a base, `101_2` or `101_{2}`, else `None`: math-verify drops the base."""
    return re.sub(r"[{}()]", "", text) if re.search(r"[0-9)]_", text) else None


def _timeout() -> int | None:
    """SIGALRM works in the main thread only. Elsewhere the bounds on size must do."""
    if threading.current_thread() is threading.main_thread():
        return TIMEOUT_S
    for name in ("math_verify.parser", "math_verify.grader"):  # which would warn that there is no time-out
        logging.getLogger(name).setLevel(logging.ERROR)
    return None


# ---- from text to a bounded expression ----


def _parse(text: str) -> Any:
    """Expression of bounded size, or `_Unreadable`. It is built by math-verify's grammar; nothing is `eval`ed."""
    _check_text(text)
    try:
        parsed = parse(
            rf"$\boxed{{{text}}}$",
            extraction_config=_EXTRACTION,
            fallback_mode="no_fallback",
            extraction_mode="first_match",
            parsing_timeout=_timeout(),
            raise_on_error=True,
        )
    except (Exception, TimeoutException) as error:  # the grammar raises nearly anything on nearly nonsense
        raise _Unreadable(f"{type(error).__name__} while parsing") from error
    if len(parsed) != 1:
        raise _Unreadable(f"{text!r:.100} is no formula")
    _check_size(parsed[0])
    return parsed[0]


# Commands that the parser builds unevaluated. Ends of intervals, unions, binomials, determinants it evaluates at once
_LAZY = frozenset(
    "frac sqrt pi cdot times div pm mp infty text mathrm le leq ge geq lt gt ne neq approx ln log exp sin cos tan cot "
    "sec csc arcsin arccos arctan lfloor rfloor lceil rceil alpha beta gamma delta theta lambda mu phi omega".split()
)
_SIMPLE_POWER = re.compile(r"[A-Za-z0-9]\^(?:[A-Za-z0-9]|\{[A-Za-z0-9+/-]{1,4}\})|(?<![0-9])[A-Za-z0-9]{1,3}!")
_SIMPLE_BINOMIAL = re.compile(r"\\binom\{[A-Za-z0-9]{1,3}\}\{[A-Za-z0-9]{1,3}\}")


def _check_text(text: str) -> None:
    """Refuse what the parser would choke on: deep brackets, and large powers where it evaluates as it goes."""
    depth = deepest = 0
    for bracket in re.findall(r"[(\[{}\])]", text):
        depth += 1 if bracket in "([{" else -1
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH or text.count("|") > 2 * MAX_DEPTH:
        raise _Unreadable(f"its brackets are nested more than {MAX_DEPTH} deep")
    if re.search(r"\\text\s*\{[^{}]*[0-9]", text):
        raise _Unreadable("it has numbers in \\text{}, which math-verify drops")
    if re.search(r"binom|choose", _SIMPLE_BINOMIAL.sub("", text)):
        raise _Unreadable("it has a binomial that is not simple")
    lazy = "," not in text and _LAZY.issuperset(re.findall(r"\\([A-Za-z]+)", text))
    if not lazy and re.search(r"[\^!]", _SIMPLE_POWER.sub("", text)):
        raise _Unreadable("it has powers or factorials that are not simple in a list, interval or function")


# What costs no more than its parts
_PLAIN = (
    sympy.Add, sympy.log, sympy.Abs, sympy.floor, sympy.ceiling, sympy.UnevaluatedExpr, sympy.Tuple, sympy.Set,
    Boolean, TrigonometricFunction, InverseTrigonometricFunction, AppliedUndef,
)  # fmt: skip
# What can be exponentially longer than its parts
_GROWING = (sympy.Pow, sympy.exp, HyperbolicFunction, sympy.factorial, sympy.binomial)


def _check_size(expression: Any) -> tuple[int, int]:
    """
    Bound what evaluating or expanding `expression` could cost, by its unevaluated tree.

    Returns:
        `tuple[int, int]`: Bounds on the bits of its value and on its terms when multiplied out.

    Raises:
        `_Unreadable`: Beyond the bounds, or with nodes whose cost has none (sums, integrals, limits).
    """
    if isinstance(expression, sympy.Rational):
        return expression.p.bit_length() + expression.q.bit_length(), 1
    if not isinstance(expression, (sympy.Basic, sympy.MatrixBase)) or expression in (sympy.nan, sympy.zoo):
        raise _Unreadable(f"{expression!s:.50} has no value")
    matrix = isinstance(expression, sympy.MatrixBase)
    sizes = [_check_size(part) for part in (expression.flat() if matrix else expression.args)]
    bits, terms = 1 + sum(size[0] for size in sizes), sum(size[1] for size in sizes) or 1
    if isinstance(expression, sympy.Mul):
        terms = math.prod(size[1] for size in sizes)
    elif isinstance(expression, _GROWING):
        bits, terms = _power_size(expression, sizes)
    elif sizes and not matrix and not isinstance(expression, _PLAIN):
        raise _Unreadable(f"{type(expression).__name__} is not supported")
    if bits > MAX_BITS or terms > MAX_TERMS:
        raise _Unreadable("its value or expansion is too large")
    return bits, terms


def _power_size(expression: Any, sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """The bounds of `_check_size` for a node that grows with the value of its parts, whose bounds are `sizes`."""
    is_power = isinstance(expression, sympy.Pow)
    exponent_bits = sizes[-1][0] if is_power else max(size[0] for size in sizes)
    if exponent_bits > MAX_EXPONENT_BITS:
        raise _Unreadable("a power or factorial in it is too large")
    if not is_power:  # n! has at most n log2(n) bits, the others fewer
        return exponent_bits * 2**exponent_bits, 1
    exponent = expression.exp
    degree = math.ceil(abs(exponent)) if exponent.is_Rational else 2**exponent_bits
    (base_bits, base_terms) = sizes[0]
    if expression.base.free_symbols and exponent.is_Rational and degree > MAX_DEGREE:
        raise _Unreadable(f"a power of a variable in it is above {MAX_DEGREE}")
    return base_bits * degree, math.comb(degree + base_terms - 1, base_terms - 1)
