"""
A second look at fixpoints, for Coq 8.16 to Rocq 9.0.0: kernel and checker accept some that do not terminate
(rocq-prover/rocq, issues 20413, 20455, 20555). Terms, as `Set Printing All` shows them, are read, and recursion that
is not plainly structural is refused. It is a sieve for those bugs beside the kernel's own check, not a proof.
"""

import re
from dataclasses import dataclass, field
from typing import Literal


MAX_STEPS = 100_000  # nodes of a term that are looked at

_TOKEN = re.compile(r"\(|\)|\{|\}|\||=>|:=|:|,|[^\s(){}|:,=]+|=")


class Doubtful(Exception):
    """Recursion that is not plainly structural; the message names the function."""


@dataclass
class _Term:
    """A node: `kind` is var, app, bind, let, fix or match; what the others hold depends on it."""

    kind: str
    name: str = ""
    parts: list["_Term"] = field(default_factory=list)  # app: head and arguments; match: what is matched
    names: list[str] = field(default_factory=list)  # bind, fix: parameters
    body: "_Term | None" = None
    branches: list[tuple[list[str], "_Term"]] = field(default_factory=list)
    functions: list[tuple[str, list[str], int, "_Term"]] = field(default_factory=list)


class _Parser:
    def __init__(self, tokens: list[str]):
        self.tokens, self.at = tokens, 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str | None = None) -> str:
        token = self.peek()
        if not token or expected is not None and token != expected:
            raise Doubtful(f"a term that cannot be read at {token!r}")
        self.at += 1
        return token

    def term(self) -> _Term:
        token = self.peek()
        if token in ("fun", "forall"):
            self.take()
            names = self.binders("=>" if token == "fun" else ",")
            return _Term("bind", names=names, body=self.term())
        if token == "let":
            self.take()
            if self.peek() in ("fix", "cofix"):
                value = self.fix(self.peek())
                name = value.functions[0][0]
            else:
                name = self.take()
                if self.peek() == ":":
                    self.take()
                    self.term()
                self.take(":=")
                value = self.term()
            self.take("in")
            return _Term("let", name, [value], body=self.term())
        parts = [self.atom()]
        while self.peek() and self.peek() not in ") } | => := : , in with end as return for".split():
            parts.append(self.atom())
        return parts[0] if len(parts) == 1 else _Term("app", parts=parts)

    def atom(self) -> _Term:
        token = self.peek()
        if token == "(":
            self.take()
            inside = self.term()
            if self.peek() in (":", "<:", "<<:"):  # a cast
                self.take()
                self.term()
            self.take(")")
            return inside
        if token in ("fix", "cofix"):
            return self.fix(token)
        if token == "match":
            return self.match()
        if token in ("fun", "forall", "let"):
            return self.term()
        return _Term("var", self.take())

    def binders(self, end: str) -> list[str]:
        """Names up to `end`: `(a b : T) (c : T)`, or `a b : T`."""
        names: list[str] = []
        while self.peek() != end:
            if self.peek() == "(":
                self.take()
                names += self.binders(")")
                self.take(")")
            elif self.peek() == ":":
                self.take()
                self.term()
            elif self.peek() == ":=":
                raise Doubtful("a parameter with a value")
            else:
                names.append(self.take())
        self.take(end) if end != ")" else None
        return names

    def fix(self, kind: str) -> _Term:
        functions = []
        while self.peek() in ("fix", "cofix", "with"):
            self.take()
            name, names, struct = self.take(), list[str](), ""
            while self.peek() in ("(", "{"):
                if self.take() == "(":
                    names += self.binders(")")
                    self.take(")")
                else:
                    self.take("struct")
                    struct = self.take()
                    self.take("}")
            if self.peek() == ":":
                self.take()
                self.term()
            self.take(":=")
            index = names.index(struct) if struct in names else len(names) - 1
            functions.append((name, names, index if kind == "fix" else -1, self.term()))
        if self.peek() == "for":
            self.take()
            self.take()
        return _Term("fix", functions=functions)

    def match(self) -> _Term:
        self.take("match")
        matched = self.term()
        while self.peek() != "with":
            if self.take() == "return":
                self.term()
        self.take("with")
        branches = []
        while self.peek() == "|":
            self.take()
            pattern: list[str] = []
            while self.peek() != "=>":
                pattern.append(self.take())
            self.take("=>")
            branches.append((pattern[1:], self.term()))
        self.take("end")
        return _Term("match", parts=[matched], branches=branches)


@dataclass(frozen=True)
class _Function:
    """What a `let` names: a function, which is judged by what it is applied to."""

    term: _Term
    scope: "Scope"


# What a name stands for: a variable (`"root"`: what recursion is on; `"small"`: a part of it), a recursive function
# (the index of the argument that must get smaller; -1 if it only produces) or a local function
Scope = dict[str, Literal["other", "root", "small"] | int | _Function]
Status = Literal["other", "root", "small"]


def _status(term: _Term, scope: Scope) -> Status:
    head = term.parts[0] if term.kind == "app" else term
    if head.kind != "var":
        return "other"
    if head.name.endswith("Acc_inv"):
        return "small"
    status = scope.get(head.name, "other")
    if status == "root" and term.kind == "var":
        return "root"
    return "small" if status == "small" else "other"


class _Checker:
    def __init__(self) -> None:
        self.steps = 0

    def check(self, term: _Term, scope: Scope, given: list[Status], inside: bool) -> None:
        """
        Raise `Doubtful` for recursion in `term` that is not plainly structural.

        Args:
            scope: What names stand for.
            given: Status of the arguments that the term is applied to.
            inside: Whether this is an argument of a recursive call.
        """
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise Doubtful("its term is too large to be read")
        if term.kind == "var":
            self.variable(term.name, scope, given, inside)
        elif term.kind == "app":
            self.application(term.parts[0], term.parts[1:], scope, given, inside)
        elif term.kind == "bind" and term.body is not None:
            missing: list[Status] = ["other"] * (len(term.names) - len(given))
            statuses = [*given[: len(term.names)], *missing]
            inner: Scope = {**scope, **dict(zip(term.names, statuses, strict=True))}
            self.check(term.body, inner, given[len(term.names) :], inside)
        elif term.kind == "let" and term.body is not None:
            value = term.parts[0]
            if value.kind == "bind":
                self.check(term.body, {**scope, term.name: _Function(value, scope)}, given, inside)
            else:
                self.check(value, scope, [], inside)
                self.check(term.body, {**scope, term.name: _status(value, scope)}, given, inside)
        elif term.kind == "match":
            self.check(term.parts[0], scope, [], inside)
            small: Status = "other" if _status(term.parts[0], scope) == "other" else "small"
            for names, body in term.branches:
                self.check(body, {**scope, **dict.fromkeys(names, small)}, given, inside)
        elif term.kind == "fix":
            functions: Scope = {name: index for name, _, index, _ in term.functions}
            for _, names, index, body in term.functions:
                parameters: Scope = dict.fromkeys(names, "other")
                if index >= 0:
                    parameters[names[index]] = "root"
                self.check(body, {**scope, **functions, **parameters}, [], inside)

    def variable(self, name: str, scope: Scope, given: list[Status], inside: bool) -> None:
        meaning = scope.get(name)
        if isinstance(meaning, int):
            raise Doubtful(f"{name} is used without arguments")
        if isinstance(meaning, _Function):
            self.check(meaning.term, meaning.scope, given, inside)

    def application(
        self, head: _Term, arguments: list[_Term], scope: Scope, given: list[Status], inside: bool
    ) -> None:
        index = scope.get(head.name) if head.kind == "var" else None
        recursive = isinstance(index, int)
        if isinstance(index, int):
            if len(arguments) <= index or (index >= 0 and _status(arguments[index], scope) != "small"):
                raise Doubtful(f"{head.name} is called on what is not plainly smaller")
        else:
            self.check(head, scope, [*(_status(argument, scope) for argument in arguments), *given], inside)
        for argument in arguments:
            # `map f l` hands on the function: the kernel looks into map. What went wrong are calls within calls
            handed_on = argument.kind == "var" and isinstance(scope.get(argument.name), int)
            if not handed_on or inside or recursive:
                self.check(argument, scope, [], inside or recursive)


def doubtful_recursion(printed: str) -> str | None:
    """
    What is not plainly structural in the output of `Print` with `Set Printing All`, or `None`.

    Args:
        printed (`str`): Definitions `name = term` and their types; other output is passed over.
    """
    for block in re.split(r"^(?=\S+ =\s)", printed, flags=re.MULTILINE)[1:]:
        name, _, rest = block.partition(" =")
        tokens = _TOKEN.findall(rest)
        if "fix" not in tokens:  # the flaws are in the check of fixpoints
            continue
        try:
            parser = _Parser(tokens)
            found = parser.term()
            parser.take(":")  # and the type
            _Checker().check(found, {}, [], False)
        except Doubtful as problem:
            return f"{name}: {problem}"
        except RecursionError:
            return f"{name}: its term is too deep to be read"
    return None
