"""
Value of a formula at a point: an exact fraction as far as it goes, then 60 digits and more.

Nothing is simplified or expanded, so that nothing can blow up: the cost is that of a calculator, and every size is
bounded before it is computed.
"""

import math
from fractions import Fraction
from typing import Any

import mpmath

from .bounds import NoGrammar, Unreadable
from .formula import Node, has, variables


MAX_BITS = 100_000  # of an exact number
MAX_MAGNITUDE = 4_000  # |log2| of any other: also what the precision must cover
MAX_TERMS = 6_000  # of all sums of a formula at one point
NEGLIGIBLE = 8  # terms in a row that end an infinite sum
MAX_INFINITE = 400  # of an infinite one, whose terms must have become too small to count by then
SMALL = 24  # parts of a formula whose cost allows more: of a number, and with variables, at all their points
SMALL_MAGNITUDE, SMALL_MAGNITUDE_AT_POINTS = 40_000, 10_000
DIGITS = 60  # beyond the magnitudes that occur

mp = mpmath.MPContext()
Point = dict[str, Fraction]


class NoValue(ValueError):
    """Undefined here: a division by zero, or a root or logarithm that is not real."""


class Evaluator:
    """
    Value of a tree at a point.

    Args:
        point (`dict[str, Fraction]`): Value of each variable.
        digits (`int`): Precision of what is not exact.
        real (`bool`): Whether what is not real is undefined.
        log_base (`int`): What a logarithm without a base means: 10, or 0 for the natural one.
    """

    def __init__(self, point: Point, digits: int, real: bool, log_base: int):
        self.point, self.digits, self.real, self.log_base = point, digits, real, log_base
        self.limit = MAX_MAGNITUDE
        self.terms = MAX_TERMS  # that sums still may have
        self.magnitude = 0  # the most bits of a value on the way, exact, or by its exponent

    def value(self, node: Node) -> Any:
        """`Fraction`, `mpf` or `mpc`. Raises `NoValue`, or `Unreadable` beyond the bounds."""
        small = SMALL_MAGNITUDE_AT_POINTS if self.point else SMALL_MAGNITUDE
        return self.bounded_value(node, small if _parts(node, SMALL) <= SMALL else MAX_MAGNITUDE)

    def bounded_value(self, node: Node, limit: int) -> Any:
        """As `value`, of magnitudes up to 2^`limit`."""
        mp.dps, self.limit = self.digits, limit
        try:
            return self._value(node)
        except (ZeroDivisionError, ValueError, OverflowError, TypeError, mpmath.libmp.NoConvergence) as error:
            if isinstance(error, (NoValue, Unreadable)):
                raise
            raise NoValue(f"{type(error).__name__}: {error}") from error

    def _value(self, node: Node) -> Any:
        kind = node[0]
        if kind == "n":
            return node[1]
        if kind == "v":
            value = self.point[node[1]]
            return value if value.denominator == 1 else as_float(value)
        if kind == "c":
            if self.real and node[1] == "i":
                raise NoValue("it is not real")
            return {"π": mp.pi, "e": mp.e, "i": mp.mpc(0, 1)}[node[1]] * 1
        if kind == "-":
            return -self._value(node[1])
        if kind == "f" and node[1] in "∑∏":
            return self._bounded(self._total(*node[1:]))
        if kind == "f":
            return self._bounded(self._function(node[1], [self._value(part) for part in node[2:]]))
        if kind == "^":
            return self._bounded(self._power(self._value(node[1]), self._value(node[2])))
        left, right = self._value(node[1]), self._value(node[2])
        if not (isinstance(left, Fraction) and isinstance(right, Fraction)):
            left, right = as_float(left), as_float(right)
        if kind == "/" and right == 0:
            raise NoValue("a division by zero")
        return self._bounded(left + right if kind == "+" else left * right if kind == "*" else left / right)

    def _bounded(self, value: Any) -> Any:
        """The value, if it is one and within the bounds; notes how many bits the precision must cover."""
        if isinstance(value, Fraction):
            bits = value.numerator.bit_length() + value.denominator.bit_length()
            limit = MAX_BITS
        elif not mp.isfinite(value) or self.real and isinstance(value, mp.mpc):
            raise NoValue("it is not finite, or not real")
        else:
            bits = abs(int(mp.mag(value))) if value != 0 else 0
            limit = self.limit
        if bits > limit:
            raise Unreadable("a number in it is too large or too small")
        self.magnitude = max(self.magnitude, bits)
        return value

    def _total(self, name: str, first: Node, last: Node, term: Node, letter: Node) -> Any:
        """A sum or product, term by term; an infinite one until its terms no longer count."""
        start, endless = self._value(first), last[0] == "c" and last[1] == "∞"
        end = start + MAX_INFINITE if endless else self._value(last)
        if any(not isinstance(bound, Fraction) or bound.denominator > 1 for bound in (start, end)):
            raise NoValue("a sum from or to what is not a whole number")
        if end - start > self.terms:
            raise NoGrammar("a sum of too many terms")
        point, total = self.point, Fraction(name == "∏")
        small, least = 0, mp.mpf(10) ** -(self.digits + 10)
        for at in range(int(start), int(end) + 1):
            self.terms -= 1
            self.point = {**point, letter[1]: Fraction(at)}
            value = self._value(term)
            if not (isinstance(total, Fraction) and isinstance(value, Fraction)):
                total, value = as_float(total), as_float(value)
            total = self._bounded(total + value if name == "∑" else total * value)
            if endless and self.terms >= 0:
                rest = as_float(value) if name == "∑" else as_float(value) - 1
                small = small + 1 if total and abs(rest) <= abs(as_float(total)) * least else 0
                if small == NEGLIGIBLE:
                    break
            elif self.terms < 0:
                raise NoGrammar("a sum of too many terms")
        else:
            if endless:
                raise NoGrammar("an infinite sum whose terms are too many")
        self.point = point
        return as_float(total) if endless else total

    def _power(self, base: Any, exponent: Any) -> Any:
        if base == 0:
            if _real_part(exponent) <= 0:
                raise NoValue("0 to a power that is not positive")
            return Fraction(0) if isinstance(base, Fraction) else base
        if isinstance(base, Fraction) and isinstance(exponent, Fraction):
            exact = _exact_power(base, exponent)
            if exact is not None:
                return exact
        size = (abs(mp.mag(base if not isinstance(base, Fraction) else as_float(base))) + 1) * abs(as_float(exponent))
        if size > self.limit and abs(mp.log(abs(as_float(base)), 2)) * abs(as_float(exponent)) > self.limit:
            raise Unreadable("a power in it is too large")
        if isinstance(exponent, Fraction) and exponent.denominator == 1:
            return as_float(base) ** int(exponent)
        if is_real(base) and base < 0:
            # the real root where there is one; (-8)^{1/3} is -2 on paper
            if isinstance(exponent, Fraction) and exponent.denominator % 2:
                root = as_float(-base) ** as_float(exponent)
                return -root if exponent.numerator % 2 else root
            if self.real:
                raise NoValue("a root of a negative number")
        return as_float(base) ** as_float(exponent)

    def _function(self, name: str, parts: list[Any]) -> Any:
        first = parts[0]
        if name == "root":
            if parts[1] == 0:
                raise NoValue("a root of order 0")
            return self._power(first, 1 / parts[1])
        if name == "abs":
            return abs(first)
        if name in ("floor", "ceil"):
            return Fraction((math.floor if name == "floor" else math.ceil)(_not_nearly_whole(first)))
        if name in ("!", "binom", "gcd", "lcm"):
            return _count(name, parts)
        if name in ("min", "max"):
            if not all(is_real(part) for part in parts):
                raise NoValue("the order of numbers that are not real")
            return (min if name == "min" else max)(parts, key=as_float)
        if name in ("log", "ln"):
            return self._logarithm(name, parts)
        argument = as_float(first)
        if name == "exp" and abs(argument) > self.limit or argument != 0 and mp.mag(argument) > 64:
            raise Unreadable(f"the argument of {name} is too large")
        if name in ("sinh", "cosh") and abs(argument) > self.limit:
            raise Unreadable(f"the argument of {name} is too large")
        return mp.expj(argument) if name == "cis" else getattr(mp, name.replace("arc", "a"))(argument)

    def _logarithm(self, name: str, parts: list[Any]) -> Any:
        argument = as_float(parts[0])
        base = parts[1] if len(parts) > 1 else Fraction(self.log_base if name == "log" else 0)
        if argument == 0 or base == 1 or self.real and (argument < 0 or base < 0):
            raise NoValue("a logarithm that is not real")
        if isinstance(parts[0], Fraction) and isinstance(base, Fraction) and base > 1 and parts[0] > 0:
            power = round(float(mp.log(argument, as_float(base))))
            if abs(power) < 1000 and base**power == parts[0]:
                return Fraction(power)
        return mp.log(argument) if base == 0 else mp.log(argument) / mp.log(as_float(base))


def _parts(node: Node, enough: int) -> int:
    """How many parts a tree has, counted to a little over `enough`."""
    count = 1
    for part in node[1:]:
        if isinstance(part, tuple) and count <= enough:
            count += _parts(part, enough - count)
    return count


def as_float(value: Any) -> Any:
    return mp.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value


def is_real(value: Any) -> bool:
    return not isinstance(value, mp.mpc)


def _real_part(value: Any) -> Any:
    return value if is_real(value) else value.real


def _exact_power(base: Fraction, exponent: Fraction) -> Fraction | None:
    """The power if it is a fraction: of whole exponents, and of roots that come out even. `None` otherwise."""
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(base) == 1 and exponent.denominator == 1:
        return base ** int(exponent % 2)
    if abs(exponent) * bits > MAX_BITS:
        raise Unreadable("a power in it is too large")
    if exponent.denominator == 1:
        return base ** int(exponent)
    index = exponent.denominator
    if base < 0 and index % 2 == 0 or index > 100 or bits > 4000:
        return None
    top, bottom = _whole_root(abs(base.numerator), index), _whole_root(base.denominator, index)
    if top is None or bottom is None:
        return None
    return Fraction(-top if base < 0 else top, bottom) ** int(exponent.numerator)


def _whole_root(value: int, index: int) -> int | None:
    if index == 2:
        root = math.isqrt(value)
    else:
        mp.dps = max(mp.dps, value.bit_length() // 3 + 10)
        root = int(mp.nint(mp.root(value, index)))
    return root if root**index == value else None


def _not_nearly_whole(value: Any) -> Any:
    if isinstance(value, Fraction):
        return value
    if not is_real(value):
        raise NoValue("the floor of a number that is not real")
    if abs(value - mp.nint(value)) < mp.mpf(10) ** -20:
        raise NoValue("a floor so close to a whole number that rounding would decide")
    return value


def _count(name: str, parts: list[Any]) -> Any:
    """Functions of whole numbers; factorial and binomial of others by the gamma function, as identities in n need."""
    if all(isinstance(part, Fraction) and part.denominator == 1 for part in parts):
        numbers = [int(part) for part in parts]
        if name in ("gcd", "lcm"):
            return Fraction((math.gcd if name == "gcd" else math.lcm)(*numbers))
        if not all(0 <= number <= 5000 for number in numbers):
            if numbers[0] < 0:
                raise NoValue("a factorial of a negative number")
            raise Unreadable("a factorial or binomial in it is too large")
        return Fraction(math.factorial(numbers[0]) if name == "!" else math.comb(*numbers))
    if name in ("gcd", "lcm") or any(abs(part) > 60 for part in parts):
        raise NoValue(f"{name} of what is not a whole number")
    return mp.factorial(as_float(parts[0])) if name == "!" else mp.binomial(*map(as_float, parts))


def values(node: Node, point: Point, real: bool, log_base: int) -> tuple[Any, Any, int]:
    """At a precision that covers the magnitudes on the way, and at half as many digits more; and that precision."""
    first = Evaluator(point, 30, real, log_base)
    value = first.value(node)
    if isinstance(value, Fraction):
        return value, value, 0
    digits = DIGITS + int(first.magnitude * 0.302)
    return (
        Evaluator(point, digits, real, log_base).value(node),
        Evaluator(point, digits * 3 // 2, real, log_base).value(node),
        digits,
    )


def constant(node: Node) -> Any:
    """
    Value of a tree without variables as a real number that can be ordered.

    Raises:
        Unreadable: It has variables, no value, or a value that is not real.
    """
    if variables(node) or has(node, "±", "∓"):
        raise Unreadable("it is not a single number")
    try:
        value = values(node, {}, True, 10)[1]
    except NoValue as problem:
        raise Unreadable(str(problem)) from problem
    return value


def order(node: Node) -> Any:
    """As `constant`, in a form that compares with others of its kind, to 50 digits."""
    mp.dps = DIGITS - 10
    return +as_float(constant(node))
