r"""
The fallback of `math_reward`: math-verify, for formulas that `math/formula.py` has no grammar for. Their size is
bounded first, since math-verify does not survive a power tower; its own time-outs, which need the main thread, are
off, since the worker that runs this has a limit of its own.
"""

import logging
import math
import re
from typing import Any

import sympy
from math_verify import LatexExtractionConfig, parse, verify
from math_verify.errors import TimeoutException
from sympy.core.function import AppliedUndef
from sympy.core.random import seed
from sympy.functions.elementary.hyperbolic import HyperbolicFunction
from sympy.functions.elementary.trigonometric import InverseTrigonometricFunction, TrigonometricFunction
from sympy.logic.boolalg import Boolean

from .bounds import MAX_CHARS, MAX_DEPTH, Unreadable


MAX_BITS = 100_000  # of any number that evaluating an expression could produce
MAX_EXPONENT_BITS = 15
MAX_DEGREE = 100  # of a power with variables in it
MAX_TERMS = 200  # of an expression when multiplied out
RELATIVE_TOLERANCE = 1e-12

_EXTRACTION = [LatexExtractionConfig(boxed_match_priority=0, try_extract_without_anchor=False)]

for _name in ("math_verify.parser", "math_verify.grader"):  # which would warn that there is no time-out
    logging.getLogger(_name).setLevel(logging.ERROR)


def equal(gold: str, given: str) -> bool:
    """
    Whether math-verify takes two LaTeX texts for equal.

    Raises:
        Unreadable: One of them is no formula within the bounds.
    """
    seed(0)  # sympy tests for zero at random points
    reference, expression = parse_bounded(gold), parse_bounded(given)
    if _differ(reference, expression):
        return False
    try:
        return bool(verify(reference, expression, timeout_seconds=None, raise_on_error=True))
    except (Exception, TimeoutException) as error:  # sympy raises nearly anything on nearly nonsense
        raise Unreadable(f"{type(error).__name__} while comparing") from error


def _differ(gold: Any, given: Any) -> bool:
    """Whether both are numbers, and different ones: math-verify takes tiny numbers for equal."""
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


def parse_bounded(text: str) -> Any:
    """Expression of bounded size, or `Unreadable`. It is built by math-verify's grammar; nothing is `eval`ed."""
    if len(text) > MAX_CHARS:
        raise Unreadable(f"it has {len(text)} characters, more than {MAX_CHARS}")
    _check_text(text)
    try:
        parsed = parse(
            rf"$\boxed{{{text}}}$",
            extraction_config=_EXTRACTION,
            fallback_mode="no_fallback",
            extraction_mode="first_match",
            parsing_timeout=None,
            raise_on_error=True,
        )
    except (Exception, TimeoutException) as error:  # the grammar raises nearly anything on nearly nonsense
        raise Unreadable(f"{type(error).__name__} while parsing") from error
    if len(parsed) != 1:
        raise Unreadable(f"{text!r:.100} is not a formula")
    _check_size(parsed[0])
    return parsed[0]


# Commands that the parser builds unevaluated. Ends of intervals, unions, binomials, determinants it evaluates at once
_LAZY = frozenset(
    "frac sqrt pi cdot times div pm mp infty text mathrm le leq ge geq lt gt ne neq approx ln log exp sin cos tan cot "
    "sec csc arcsin arccos arctan lfloor rfloor lceil rceil alpha beta gamma delta theta lambda mu phi omega".split()
)
_SIMPLE_POWER = re.compile(
    r"\\(?:sum|prod|int) ?(?:_ ?(?:\{[^{}]*\}|[A-Za-z0-9]))? ?\^ ?(?:[A-Za-z0-9]|\{[A-Za-z0-9]{1,4}\}"
    r"|\{? ?\\infty ?\}?)|"
    r"[A-Za-z0-9]\^(?:[A-Za-z0-9]|\{[A-Za-z0-9+/-]{1,4}\})|(?<![0-9])[A-Za-z0-9]{1,3}!"
)
_SIMPLE_BINOMIAL = re.compile(r"\\binom\{[A-Za-z0-9]{1,3}\}\{[A-Za-z0-9]{1,3}\}")


def _check_text(text: str) -> None:
    """Refuse what the parser would choke on: deep brackets, and large powers where it evaluates as it goes."""
    depth = deepest = 0
    for bracket in re.findall(r"[(\[{}\])]", text):
        depth += 1 if bracket in "([{" else -1
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH or text.count("|") > 2 * MAX_DEPTH:
        raise Unreadable(f"its brackets are nested more than {MAX_DEPTH} deep")
    if re.search(r"\\text\s*\{[^{}]*[0-9]", text):
        raise Unreadable("it has numbers in \\text{}, which math-verify drops")
    if re.search(r"binom|choose", _SIMPLE_BINOMIAL.sub("", text)):
        raise Unreadable("it has a binomial that is not simple")
    lazy = "," not in text and _LAZY.issuperset(re.findall(r"\\([A-Za-z]+)", text))
    if not lazy and re.search(r"[\^!]", _SIMPLE_POWER.sub("", text)):
        raise Unreadable("it has powers or factorials that are not simple in a list, interval or function")


# What costs no more than its parts, and what the worker's limit on CPU time must bound
_PLAIN = (
    sympy.Sum, sympy.Product, sympy.Integral, sympy.Limit, sympy.Derivative,
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
        `Unreadable`: Beyond the bounds, or with nodes whose cost has none (sums, integrals, limits).
    """
    if isinstance(expression, sympy.Rational):
        return expression.p.bit_length() + expression.q.bit_length(), 1
    if not isinstance(expression, (sympy.Basic, sympy.MatrixBase)) or expression in (sympy.nan, sympy.zoo):
        raise Unreadable(f"{expression!s:.50} has no value")
    matrix = isinstance(expression, sympy.MatrixBase)
    sizes = [_check_size(part) for part in (expression.flat() if matrix else expression.args)]
    bits, terms = 1 + sum(size[0] for size in sizes), sum(size[1] for size in sizes) or 1
    if isinstance(expression, sympy.Mul):
        terms = math.prod(size[1] for size in sizes)
    elif isinstance(expression, _GROWING):
        bits, terms = _power_size(expression, sizes)
    elif sizes and not matrix and not isinstance(expression, _PLAIN):
        raise Unreadable(f"{type(expression).__name__} is not supported")
    if bits > MAX_BITS or terms > MAX_TERMS:
        raise Unreadable("its value or expansion is too large")
    return bits, terms


def _power_size(expression: Any, sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """The bounds of `_check_size` for a node that grows with the value of its parts, whose bounds are `sizes`."""
    is_power = isinstance(expression, sympy.Pow)
    exponent_bits = sizes[-1][0] if is_power else max(size[0] for size in sizes)
    if exponent_bits > MAX_EXPONENT_BITS:
        raise Unreadable("a power or factorial in it is too large")
    if not is_power:  # n! has at most n log2(n) bits, the others fewer
        return exponent_bits * 2**exponent_bits, 1
    exponent = expression.exp
    degree = math.ceil(abs(exponent)) if exponent.is_Rational else 2**exponent_bits
    (base_bits, base_terms) = sizes[0]
    if expression.base.free_symbols and exponent.is_Rational and degree > MAX_DEGREE:
        raise Unreadable(f"a power of a variable in it is above {MAX_DEGREE}")
    return base_bits * degree, math.comb(degree + base_terms - 1, base_terms - 1)
