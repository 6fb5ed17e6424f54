"""
Expressions that a model wrote, read without `eval`: Python's parser gives a tree, of which only arithmetic is taken.
"""

import ast
import functools
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any


MAX_CHARS = 500
MAX_DEPTH = 40  # of the tree, and of brackets before there is a tree
MAX_DIGITS = 30  # of one number
MAX_EXPONENT = 50  # of a power with a number as its exponent

# Where two functions are compared: on both sides of 0, close to it, and no place that a formula singles out
_POINTS = [
    sign * Fraction(value, 10**4)
    for value in (317, 731, 1373, 2917, 6133, 13711, 27143, 53681, 119417, 237089)
    for sign in (1, -1)
]
_DIGITS = 40  # decimal digits of the comparison
_FUNCTIONS = "sin cos tan cot sec csc exp log sqrt asin acos atan sinh cosh tanh asinh acosh atanh Abs".split()
_SYNONYMS = {"ln": "log", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "abs": "Abs"}


class IntegrandError(ValueError):
    """A reference by which no antiderivative can be graded."""


class ExpressionError(ValueError):
    """A text that is no expression of the kind wanted, or too large; the message says why."""


def arithmetic_value(text: str) -> tuple[Fraction, list[int]]:
    """
    Exact value of an expression of whole numbers, `+ - * /` and parentheses.

    Returns:
        The value, and the numbers in the order in which they stand.

    Raises:
        ExpressionError: Anything else in it, a division by zero, or too large.
    """
    used: list[int] = []

    def value(node: ast.AST) -> Fraction:
        match node:
            case ast.Constant(value=int() as number) if not isinstance(number, bool):
                used.append(number)
                return Fraction(number)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -value(operand)
            case ast.BinOp(left=left, op=op, right=right):
                a, b = value(left), value(right)
                if isinstance(op, ast.Div) and b == 0:
                    raise ExpressionError("it divides by zero")
                operation = {ast.Add: a.__add__, ast.Sub: a.__sub__, ast.Mult: a.__mul__, ast.Div: a.__truediv__}
                if type(op) in operation:
                    return operation[type(op)](b)
        raise ExpressionError("it has more than whole numbers, + - * / and parentheses")

    # only these characters: Python's grammar also knows 1_000, 0x1f and digits of other scripts
    if not re.fullmatch(r"[0-9+\-*/() ]*", text):
        raise ExpressionError("it has characters other than digits, + - * / and parentheses")
    return value(_tree(text)), used


def polynomial_terms(text: str) -> dict[tuple[tuple[str, int], ...], Fraction]:
    """
    Terms of a polynomial that is multiplied out: `3*x**2*y - x + 5`.

    Each term is at most one number and each variable at most once, and no two terms have the same powers: so a product
    that was only distributed, not computed, is refused.

    Returns:
        `dict`: Coefficient by powers, which are sorted pairs of variable and exponent. Zero has no terms.

    Raises:
        ExpressionError: Not such a polynomial.
    """
    if len(text) > 10 * MAX_CHARS:
        raise ExpressionError(f"it has more than {10 * MAX_CHARS} characters")
    compact = re.sub(r"\s+", "", text)
    factor = rf"(?:[0-9]{{1,{MAX_DIGITS}}}|[A-Za-z](?:\*\*[0-9]{{1,3}})?)"
    parts = re.findall(rf"([+-]?)({factor}(?:\*{factor})*+)", compact)
    if not parts or "".join(sign + body for sign, body in parts) != compact or any(not s for s, _ in parts[1:]):
        raise ExpressionError("it is not a sum of terms like 3*x**2*y")
    terms: dict[tuple[tuple[str, int], ...], Fraction] = {}
    for sign, body in parts:
        numbers = re.findall(r"(?<!\*\*)(?<![0-9])[0-9]+", body)
        powers = sorted((name, int(power or 1)) for name, power in re.findall(r"([A-Za-z])(?:\*\*([0-9]+))?", body))
        if len(numbers) > 1 or len(dict(powers)) < len(powers):
            raise ExpressionError(f"the term {body!r:.50} is not computed")
        if tuple(powers) in terms:
            raise ExpressionError(f"terms like {body!r:.50} are not collected")
        terms[tuple(powers)] = Fraction(numbers[0] if numbers else 1) * (-1 if sign == "-" else 1)
    return {powers: coefficient for powers, coefficient in terms.items() if coefficient}


def is_antiderivative(text: str, integrand: str, variable: str) -> bool:
    """
    Whether the derivative of `text` is `integrand`, compared in 40-digit arithmetic at 20 fixed places.

    `text` is a closed form of numbers, `variable`, the constants `C`, `E` and `pi`, `+ - * / **` and elementary
    functions. `Integral` is none of them: the derivative of an unsolved integral is the integrand.

    Raises:
        ExpressionError: `text` is no such form.
        IntegrandError: `integrand` is none, or has a real value at fewer than three of the places.
    """
    import sympy

    wanted = _real_values(integrand, variable)
    names = _names(variable)
    try:
        derivative = sympy.diff(_expression(text, names), names[variable])
        if derivative.has(names["C"]):
            return False  # C is a constant that is added, not a factor of what is differentiated
        return all(_is_close(_value(derivative, names[variable], point), value) for point, value in wanted)
    except (ArithmeticError, TypeError, RecursionError, NotImplementedError) as error:
        raise ExpressionError(f"it cannot be evaluated: {type(error).__name__}") from error


def _names(variable: str) -> dict[str, Any]:
    import sympy

    constants = {"C": sympy.Symbol("C", real=True), "E": sympy.E, "e": sympy.E, "pi": sympy.pi}
    return constants | {variable: sympy.Symbol(variable, real=True)}


@functools.lru_cache(maxsize=256)  # the generations of a group share their integrand
def _real_values(integrand: str, variable: str) -> list[tuple[Fraction, Any]]:
    """The places at which an integrand is real, with its values there."""
    names = _names(variable)
    try:
        wanted = _expression(integrand, names)
    except ExpressionError as error:
        raise IntegrandError(f"the integrand {integrand!r:.100} is not readable: {error}") from error
    values = [(point, _value(wanted, names[variable], point)) for point in _POINTS]
    real = [(point, value) for point, value in values if value is not None]
    if len(real) < 3:
        raise IntegrandError(f"the integrand {integrand!r:.100} has no real value at most places")
    return real


def _is_close(given: Any, expected: Any) -> bool:
    return given is not None and abs(given - expected) <= 10**-20 * max(1, abs(expected))


def _value(expression: Any, x: Any, point: Fraction) -> Any:
    """Real value at a point, as an mpmath number, or `None` where there is none."""
    import sympy

    value = expression.subs(x, sympy.Rational(point.numerator, point.denominator)).evalf(_DIGITS, maxn=200)
    if not value.is_number or not value.is_finite:
        return None
    real, imaginary = value.as_real_imag()
    return real if abs(imaginary) < 10**-25 * max(1, abs(real)) else None


def _expression(text: str, names: Mapping[str, Any]) -> Any:
    """SymPy expression of a closed form. Built node by node; `sympify` and `parse_expr` would `eval` the text."""
    import sympy

    def build(node: ast.AST) -> Any:
        match node:
            case ast.Constant(value=int() as number) if not isinstance(number, bool):
                return sympy.Integer(number)
            case ast.Constant(value=float() as number):
                return sympy.Rational(repr(number))
            case ast.Name(id=name) if name in names:
                return names[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -build(operand)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return build(operand)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return _power(build(left), build(right))
            case ast.BinOp(left=left, op=op, right=right):
                a, b = build(left), build(right)
                if isinstance(op, ast.Add):
                    return a + b
                if isinstance(op, ast.Sub):
                    return a - b
                if isinstance(op, ast.Mult):
                    return a * b
                if isinstance(op, ast.Div):
                    return a / b
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]):
                name = _SYNONYMS.get(name, name)
                if name in _FUNCTIONS:
                    return getattr(sympy, name)(build(argument))
        raise ExpressionError("it has more than numbers, the variable and elementary functions")

    if not text.isascii():
        raise ExpressionError("it has characters that are not ASCII")
    expression = build(_tree(text))
    if expression.has(sympy.nan, sympy.zoo, sympy.oo):
        raise ExpressionError("it has no value")
    return expression


def _power(base: Any, exponent: Any) -> Any:
    """A power of bounded size: SymPy computes those of numbers at once."""
    if exponent.is_number and not (exponent.is_Rational and abs(exponent) <= MAX_EXPONENT and exponent.q < 1000):
        raise ExpressionError(f"an exponent in it is not a fraction of at most {MAX_EXPONENT}")
    if base.is_number and base.is_Rational and base.p.bit_length() + base.q.bit_length() > 1000:
        raise ExpressionError("a power in it is too large")
    return base**exponent


def _tree(text: str) -> ast.expr:
    if len(text) > MAX_CHARS:
        raise ExpressionError(f"it has {len(text)} characters, more than {MAX_CHARS}")
    if re.search(rf"[0-9]{{{MAX_DIGITS + 1}}}", text):
        raise ExpressionError(f"a number in it has more than {MAX_DIGITS} digits")
    if re.search(r"(?<![A-Za-z_0-9])[0-9.]+[A-Za-z_]", text):
        raise ExpressionError("a letter follows a number without an operator")  # 2x; and 0x1f, 1e9, 1j
    depth = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if depth > MAX_DEPTH:
            raise ExpressionError(f"its brackets are nested more than {MAX_DEPTH} deep")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise ExpressionError("it is not an expression") from error
    if _tree_depth(tree) > 4 * MAX_DEPTH:
        raise ExpressionError("it is nested too deeply")
    return tree


def _tree_depth(tree: ast.AST) -> int:
    deepest, waiting = 0, [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        deepest = max(deepest, depth)
        waiting += [(child, depth + 1) for child in ast.iter_child_nodes(node)]
    return deepest
