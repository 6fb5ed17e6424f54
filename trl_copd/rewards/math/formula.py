r"""
A grammar for the formulas that answers are made of: from normalised text to a tree of tuples, which nothing evaluates.

Nodes: `("n", Fraction)`, `("v", name)`, `("c", "π" | "e" | "i")`, `("+", a, b)`, `("*", a, b)`, `("/", a, b)`, `("^",
a, b)`, `("-", a)`, `("±", a)` and `("∓", a)`, `("f", name, *arguments)`. A sum or product is
`("f", "∑" | "∏", first, last, term, ("v", "∑1"))`; its letter has a name that no other has, and `("c", "∞")` may be
its last.
"""

import re
from fractions import Fraction

from .bounds import MAX_DEPTH, MAX_EXPONENT, NoGrammar, Unreadable
from .symbols import FUNCTIONS, GREEK, MARKS
from .units import split_unit


Node = tuple

MAX_NODES = 400
MAX_SUMS = 6

# A name: of a letter, or of several with a mark over them, with an index and primes
_WORD = r"\\[a-z]+ |«[A-Za-z ]{1,12}»|[⊙⊕⊥∥△∞*]"
_SUBSCRIPT = rf"(?:_ ?(?:[A-Za-z0-9]|{_WORD}|\{{(?:[A-Za-z0-9,+ ()/.-]|{_WORD}){{1,12}}\}}))?'*"
_LETTERS = rf"\\(?:{'|'.join(sorted(GREEK))})[{MARKS}]? ?|[A-Z]{{2,3}}[{MARKS}]|[A-Za-z][{MARKS}]?"
_TOKEN = re.compile(
    r"(?P<n>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{2,3}(?![0-9A-Za-z])|E[+-]?[0-9](?![0-9A-Za-z]))?)"
    rf"|(?P<v>(?:{_LETTERS}){_SUBSCRIPT})"
    r"|(?P<S>[∑∏](?: ?[_^] ?(?:\{[^{}]*\}|[A-Za-z0-9∞])){1,2})"
    r"|(?P<f>\\[a-z]+ ?)|(?P<s> +)|(?P<o>[-+*/^!%°()\[\]{}|⌊⌋⌈⌉±∓π_,…])|(?P<x>.)"
)
_BOUNDS = re.compile(
    r"[∑∏] ?(?:\^ ?(?P<last2>\{[^{}]*\}|[A-Za-z0-9∞]) ?)?"
    r"_ ?\{ ?(?P<k>[A-Za-z]) ?[=≥] ?(?P<first>[^{}=≤≥<>]+)\} ?(?:\^ ?(?P<last>\{[^{}]*\}|[A-Za-z0-9∞]))?"
)
_STARTS = frozenset("([{|⌊⌈π")
_PAIRS = {"(": ")", "[": "]", "{": "}", "⌊": "⌋", "⌈": "⌉", "|": "|"}


def parse(text: str) -> Node:
    """
    The tree of a formula.

    Raises:
        Unreadable: It is none, or has more than `MAX_NODES` nodes or `MAX_DEPTH` nested parts.
    """
    parser = _Parser(text)
    node = parser.sum()
    if parser.at < len(parser.tokens):
        raise Unreadable(f"{parser.tokens[parser.at][1]!r} is not understood where it stands")
    return node


_ROMAN = re.compile(r"«([A-Za-z]{2})»(?= ?(?:[}_)^]|$))")  # \mathrm{gb}, letters that are multiplied


def _as_product(match: re.Match) -> str:
    return match[0] if split_unit(f"5 {match[0]}")[1] else f" {match[1]}"


class _Parser:
    def __init__(self, text: str):
        text = _ROMAN.sub(_as_product, text) if "«" in text else text
        self.tokens = [(match.lastgroup or "x", match[0].strip()) for match in _TOKEN.finditer(text)]
        runs = re.findall(r"(?<![A-Za-z\\])[A-Za-z]{5,}", re.sub(r"\\[A-Za-z]+|_ ?\{[^{}]*\}|_ ?«[^»]*»", "", text))
        if runs or any(kind == "x" for kind, _ in self.tokens):
            raise Unreadable(f"{text!r:.60} is not a formula")
        self._join_numbers()
        self.at = self.nodes = self.depth = self.bars = self.sums = 0

    def _join_numbers(self) -> None:
        """Drop spaces, but not between numbers: "1 2" is not 12."""
        kinds = [kind for kind, _ in self.tokens]
        for index, kind in enumerate(kinds[1:-1], 1):
            beside = kinds[index - 1] == kinds[index + 1] == "n"
            if kind == "s" and beside and (index < 2 or self.tokens[index - 2][1] not in "_^"):
                raise Unreadable("two numbers stand side by side")
        self.tokens = [token for token in self.tokens if token[0] != "s"]

    def peek(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead][1] if self.at + ahead < len(self.tokens) else ""

    def kind(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.peek()
        if not token or expected and token != expected:
            raise Unreadable(f"{expected or 'more'!r} is missing")
        self.at += 1
        return token

    def node(self, *parts: object) -> Node:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise Unreadable(f"it has more than {MAX_NODES} parts")
        return parts

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > 4 * MAX_DEPTH:
            raise Unreadable("it is nested too deeply")
        left = self.product()
        while self.peek() in ("+", "-", "±", "∓"):
            sign = self.take()
            right = self.dots(left) if sign == "+" and self.peek() == "…" else self.product()
            left = self.node("+", left, right if sign == "+" else self.node(sign, right))
        self.depth -= 1
        return left

    def dots(self, left: Node) -> Node:
        """
        What a series leaves out, as an unknown: `1 + x + …`. The terms that are written decide, so they must have
        variables: of 1 + 2 + … + 9 only the sum would.
        """
        if not variables(left) - {"…"}:
            raise Unreadable("the omitted terms of a sum of numbers are unknown")
        self.take()
        return ("v", "…")

    def product(self) -> Node:
        left = self.signed()
        while True:
            token = self.peek()
            if token in ("*", "/"):
                self.take()
                left = self.node(token, left, self.signed())
            elif self.starts():
                if self.kind() == "n" and left[0] == "n":
                    raise Unreadable("two numbers stand side by side")
                left = self.node("*", left, self.power())
            else:
                return left

    def starts(self) -> bool:
        """Whether the next token starts a factor that is multiplied without a sign."""
        token = self.peek()
        return self.kind() in ("n", "v", "f", "S") or token in _STARTS and not (token == "|" and self.bars)

    def signed(self) -> Node:
        signs: list[str] = []
        while self.peek() in ("+", "-", "±", "∓"):
            signs.append(self.take())
            if len(signs) > 3:
                raise Unreadable("signs stand side by side")
        node = self.power()
        for sign in reversed(signs):
            node = node if sign == "+" else self.node(sign, node)
        return node

    def power(self) -> Node:
        node = self.postfix(self.atom())
        if self.peek() == "^":
            self.take()
            if self.peek() in ("+", "-"):
                exponent = self.signed()
            else:
                # towers group to the right
                exponent = self.power()
            node = self.postfix(self.node("^", node, exponent))
        return node

    def postfix(self, node: Node) -> Node:
        while self.peek() in ("!", "%", "°"):
            sign = self.take()
            if sign == "!":
                if self.peek() == "!":
                    raise Unreadable("a double factorial is not supported")
                node = self.node("f", "!", node)
            elif sign == "°":
                node = self.node("*", node, ("/", ("c", "π"), ("n", Fraction(180))))
        return node

    def atom(self) -> Node:
        kind, token = self.kind(), self.take()
        if kind == "n":
            return self.number(token)
        if kind == "v":
            name = re.sub(r"[{} «»]", "", token)
            return self.node("c", name) if name in ("e", "i") else self.node("v", name)
        if kind == "f":
            return self.function(token[1:])
        if kind == "S":
            return self.total(token)
        if token == "π":
            return self.node("c", "π")
        if token in _PAIRS:
            return self.group(token)
        raise Unreadable(f"{token!r} is not understood where it stands")

    def total(self, token: str) -> Node:
        r"""`\sum_{n=0}^{\infty} x^n` of the factors behind it; `\prod` of those up to the last with its letter."""
        match = _BOUNDS.fullmatch(token)
        if not match or self.sums >= MAX_SUMS or not ("≥" in token or match["last"] or match["last2"]):
            raise Unreadable(f"{token!r:.40} is not understood")
        letter, first = match["k"], parse(match["first"])
        high = (match["last"] or match["last2"] or "∞").strip("{} +")
        last: Node = ("c", "∞") if high == "∞" else parse(high)
        self.sums += 1
        name = f"∑{self.sums}"
        term = self.factors(letter) if token[0] == "∏" else self.product()
        if any(re.search(rf"_.*{letter}", other) for other in variables(term)):
            raise NoGrammar("the terms of a sum have an index")
        own: Node = ("v", name)
        return self.node("f", token[0], first, last, _replaced(term, letter, own), own)

    def factors(self, letter: str) -> Node:
        """The factors up to the last that has the letter."""
        node = kept = self.power()
        end = self.at
        while self.peek() == "*" or self.starts():
            if self.peek() == "*":
                self.take()
            factor = self.power()
            node = self.node("*", node, factor)
            if has_name(factor, letter):
                kept, end = node, self.at
        self.at = end
        return kept

    def group(self, opening: str) -> Node:
        bars, self.bars = self.bars, opening == "|"
        inner = self.sum()
        self.take(_PAIRS[opening])
        self.bars = bars
        name = {"|": "abs", "⌊": "floor", "⌈": "ceil"}.get(opening)
        return self.node("f", name, inner) if name else inner

    def number(self, token: str) -> Node:
        mantissa, _, exponent = token.lower().partition("e")
        if exponent and abs(int(exponent)) > MAX_EXPONENT:
            raise Unreadable("an exponent is too large")
        value = self.node("n", Fraction("0" + mantissa.rstrip(".")) * Fraction(10) ** int(exponent or 0))
        if self.peek() == "\\frac" and token.isdigit():
            # 3\frac{1}{2} is a mixed number where all parts are whole, as it is on paper
            start = self.at
            self.take()
            parts = [self.argument(), self.argument()]
            if all(part[0] == "n" and part[1].denominator == 1 for part in parts):
                return self.node("+", value, self.node("/", *parts))
            self.at = start
        return value

    def argument(self) -> Node:
        """A group in braces, or one digit, letter or command, as TeX takes them."""
        kind, token = self.kind(), self.peek()
        if kind == "n" and len(token) > 1 and token.isdigit():
            self.tokens[self.at : self.at + 1] = [("n", token[0]), ("n", token[1:])]
        if token in ("-", "+"):
            return self.signed()
        return self.atom()

    def function(self, name: str) -> Node:
        if name not in FUNCTIONS:
            raise Unreadable(f"\\{name} is not understood where it stands")
        if name in ("frac", "binom"):
            if self.peek() == "(" and name == "binom":
                return self.node("f", name, *self.arguments())
            top, bottom = self.argument(), self.argument()
            return self.node("/", top, bottom) if name == "frac" else self.node("f", name, top, bottom)
        if name == "sqrt":
            index: Node = ("n", Fraction(2))
            if self.peek() == "[":
                self.take()
                index = self.sum()
                self.take("]")
            return self.node("f", "root", self.atom(), index)
        if name in ("gcd", "lcm", "min", "max"):
            return self.node("f", name, *self.arguments())
        return self.applied(name)

    def applied(self, name: str) -> Node:
        r"""`\sin^2 x`, `\sin^{-1} x`, `\log_2 8`, of a group, or of the factors up to a sign or a function."""
        base = exponent = None
        for _ in range(2):
            if self.peek() == "_" and name == "log":
                self.take()
                base = self.argument()
            elif self.peek() == "^":
                self.take()
                exponent = self.argument()
        if self.peek() in ("(", "[", "{", "|"):
            argument = self.atom()
        else:
            argument = self.signed()
            while self.starts() and self.kind() != "f" and self.peek() not in ("(", "["):
                argument = self.node("*", argument, self.power())
        if exponent == ("-", ("n", Fraction(1))) and name in ("sin", "cos", "tan"):
            return self.node("f", f"arc{name}", argument)
        node = self.node("f", name, argument, base) if base else self.node("f", name, argument)
        return self.node("^", node, exponent) if exponent else node

    def arguments(self) -> list[Node]:
        opening = self.take()
        if opening not in ("(", "{", "["):
            raise Unreadable("'(' is missing")
        found = [self.sum()]
        while self.peek() == ",":
            self.take()
            found.append(self.sum())
        self.take(_PAIRS[opening])
        return found


def variables(node: Node) -> set[str]:
    """Names of the variables in a tree."""
    if node[0] == "v":
        return {node[1]} if node[1][0] != "∑" else set()
    return set().union(*(variables(part) for part in node[1:] if isinstance(part, tuple)), set())


def has_name(node: Node, letter: str) -> bool:
    return node[:2] in (("v", letter), ("c", letter)) or any(
        has_name(part, letter) for part in node[1:] if isinstance(part, tuple)
    )


def _replaced(node: Node, letter: str, by: Node) -> Node:
    if node[:2] in (("v", letter), ("c", letter)):
        return by
    return tuple(_replaced(part, letter, by) if isinstance(part, tuple) else part for part in node)


def has(node: Node, *kinds: object) -> bool:
    """Whether the tree has a node that starts with one of `kinds`, or a constant or function of that name."""
    if node[0] in kinds or node[0] in ("c", "f") and node[1] in kinds:
        return True
    return any(has(part, *kinds) for part in node[1:] if isinstance(part, tuple))
