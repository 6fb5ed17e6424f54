"""
Coq as text: sentences, statements, names. Nothing here decides whether a proof holds, so a mistake can cost a proof
but never admit one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass


_IDENT = r"[^\W\d][\w']*"
_DECLARES = (
    "Theorem|Lemma|Fact|Remark|Corollary|Proposition|Property|Example|Definition|Fixpoint|CoFixpoint|Instance|Function"
)
# What may stand before the word that says what a sentence is
_PREFIX = re.compile(
    r"(?:\s|[-+*{}]|(?:\d+|all|par|!)\s*:(?!=)|#\[[^\]]*\]|(?:Time|Instructions|Fail|Succeed|Local|Global|Polymorphic"
    r"|Monomorphic|Cumulative|NonCumulative|Private|Program|Timeout\s+\d+)(?=\s))*"
)
_LOCAL = re.compile(r"(?:#\[[^\]]*\blocal\b[^\]]*\]\s*|Local\s+)")
_DECLARATION = re.compile(rf"(?:{_DECLARES})\s+({_IDENT})")
_HEADER = re.compile(rf"(?:{_DECLARES})\s+({_IDENT}(?:@\{{[^}}]*\}})?)|(Goal)\b")
_ENDS_PROOF = re.compile(r"(?:Qed|Defined|Admitted|Abort|Save)\b|Proof\s+(?!using\b|with\b|\.)\S")
_ENVIRONMENT = re.compile(r"(?:Require|From|Import|Export|Open|Close|Set|Unset|Delimit|Bind)\b")
_IMPORT = re.compile(r"(?:From\s+[\w.']+\s+)?Require\s+(?:Import|Export)\b|Import\b|Export\b")
# Local to its file in Coq: said again where the preamble is imported
_REPLAYED = re.compile(
    r"(?:Set|Unset|Open\s+Scope|Close\s+Scope|Implicit\s+Types?|Generalizable|Obligation\s+Tactic)\b"
)
_OPENS = re.compile(rf"(Module\s+Type|Module|Section)\s+(?:Import\s+|Export\s+)?({_IDENT})")
# Reaches outside the proof (the sandbox stops it in any case), or switches off what makes it one (the checks find it,
# but for bugs of some versions). No proof needs any of it
_FORBIDDEN = re.compile(
    r"""(?:Redirect|Load|Cd|Drop|Quit|Primitive)\b|(?:Separate|Recursive)?\s*Extraction\s+(?:"|Library|TestCompile)
    |Separate\s+Extraction\b|Declare\s+ML\s+Module\b|(?:Add|Remove)\s+(?:Rec\s+)?(?:LoadPath|ML\s+Path)\b
    |Set\s+Extraction\s+Output|Unset\s+(?:Guard|Positivity|Universe)\s+Checking\b|Set\s+Definitional\s+UIP\b""",
    re.VERBOSE,
)
_BYPASS = re.compile(r"#\[[^\]]*\bbypass_check\b")


@dataclass(frozen=True)
class Sentence:
    """
    One sentence of Coq.

    Args:
        text (`str`): As written, with its comments and its full stop.
        bare (`str`): Without comments, in single spaces.
    """

    text: str
    bare: str

    @property
    def head(self) -> str:
        """`bare` from the word that says what it is."""
        match = _PREFIX.match(self.bare)
        return self.bare[match.end() :] if match else self.bare


@dataclass(frozen=True)
class Statement:
    """
    What is to be proved.

    Args:
        name (`str` or `None`): Name of the theorem; `None` if any will do.
        binders (`str`): What stands between name and colon.
        type (`str`): What stands after it.
    """

    name: str | None
    binders: str
    type: str

    @property
    def closed(self) -> str:
        """The type with its binders."""
        return f"forall {self.binders}, {self.type}" if self.binders else self.type


def masked(text: str) -> str:
    """`text` at the same length with comments blank and the insides of strings as underscores."""
    out: list[str] = []
    depth, quoted, i = 0, False, 0
    while i < len(text):
        pair = text[i : i + 2]
        if quoted:
            quoted = text[i] != '"'
            out.append(('"' if not quoted else "_") if depth == 0 else " ")
        elif pair == "(*":
            depth += 1
            out.append("  ")
            i += 1
        elif pair == "*)" and depth:
            depth -= 1
            out.append("  ")
            i += 1
        else:
            quoted = text[i] == '"'
            out.append(text[i] if depth == 0 or text[i] == "\n" else " ")
        i += 1
    return "".join(out)


_STOP = re.compile(r"(?<!\.)(?:\.|\.\.\.)(?=\s|$)")


def sentences(text: str) -> list[Sentence]:
    """The sentences of a file, in order; what follows the last full stop is one too, unless it is blank."""
    mask, found, start = masked(text), list[Sentence](), 0
    ends = [match.end() for match in _STOP.finditer(mask)] + [len(text)]
    for end in ends:
        code = mask[start:end]
        if code.strip():
            kept = "".join(t if m == "_" else m for t, m in zip(text[start:end], code, strict=True))
            found.append(Sentence(text[start:end].strip(), " ".join(kept.split())))
        start = end
    return found


def parse_statement(statement: str) -> Statement:
    """
    Read a statement: a type, with or without a full stop, or the header of a theorem.

    Raises:
        ValueError: It is neither; the message says why.
    """
    parts = [sentence.bare for sentence in sentences(statement)]
    if parts and re.fullmatch(r"(?:Proof|Admitted|Abort)\.", parts[-1]):
        parts.pop()
    if len(parts) != 1:
        raise ValueError(f"the statement has {len(parts)} sentences, not one")
    text = re.sub(r"(?<!\.)\.$", "", Sentence(parts[0], parts[0]).head).strip()
    header = _HEADER.match(text)
    if header is None:
        if not text:
            raise ValueError("the statement is empty")
        return Statement(None, "", text)
    rest = text[header.end() :]
    if header[2]:
        return Statement(None, "", rest.strip())
    colon = _top_level_colon(masked(rest))
    if colon is None:
        raise ValueError("the header of the statement has no type")
    return Statement(header[1], rest[:colon].strip(), rest[colon + 1 :].strip())


def _top_level_colon(text: str) -> int | None:
    depth = 0
    for i, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if char == ":" and depth == 0:
            return None if text[i : i + 2] == ":=" else i
    return None


def _nested(parts: list[Sentence]) -> Iterator[tuple[Sentence, list[tuple[str, str]]]]:
    """Each sentence with the modules and sections it stands in, as pairs of kind and name."""
    inside: list[tuple[str, str]] = []
    for part in parts:
        if re.match(rf"End\s+{_IDENT}\s*\.", part.head) and inside:
            inside.pop()
        yield part, list(inside)
        opened = _OPENS.match(part.head)
        if opened and ":=" not in part.head:
            functor = opened[1] == "Module" and re.match(r"\s*\(", part.head[opened.end() :])
            inside.append(("Functor" if functor else " ".join(opened[1].split()), opened[2]))


def split_preamble(preamble: str) -> tuple[str, str]:
    """
    Make of a preamble a module that gives all of itself to who imports it, and what must be said again there.

    Returns:
        `tuple[str, str]`: The module, and what Coq keeps to its file: options, scopes, local notations.
    """
    module, again = list[str](), list[str]()
    for part, inside in _nested(sentences(preamble)):
        text = part.text
        if not inside:
            local = _LOCAL.match(part.bare) is not None
            if _IMPORT.match(part.head):
                text = re.sub(r"\bImport\b", "Export", part.bare, count=1)
            elif _REPLAYED.match(part.head) or (local and not _DECLARATION.match(part.head)):
                again.append(part.text)
            elif local:
                text = _LOCAL.sub("", part.bare, count=1)
            elif re.match(r"Variables?\b|Hypothes[ie]s\b", part.head):  # which the importer could name in full only
                text = re.sub(r"^(?:Variables?|Hypothes[ie]s)\b", "Axioms", part.head)
            elif re.match(r"Let\b", part.head):
                text = "Definition" + part.head[3:]
        module.append(text)
    return "\n".join(module), "\n".join(again)


def without_preamble(block: str, preamble: str) -> str:
    """The block without the preamble at its start, if it repeats it; imports may be in between."""
    ours = sentences(preamble)
    theirs = sentences(block)
    needed = [part.bare for part in ours if not _ENVIRONMENT.match(part.head)]
    optional = {part.bare for part in ours if _ENVIRONMENT.match(part.head)}
    kept = list[str]()
    for i, part in enumerate(theirs):
        if not needed:
            rest = theirs[i:]
            while rest and rest[0].bare in optional:
                rest = rest[1:]
            return "\n".join([*kept, *(part.text for part in rest)])
        if part.bare == needed[0]:
            needed.pop(0)
        elif not _ENVIRONMENT.match(part.head):
            return block
        elif part.bare not in optional:
            kept.append(part.text)
    return block


def with_header(block: str, header: str) -> str:
    """
    The block, with `header` before its proof if it is a proof only, and `Qed` behind tactics without. What it imports
    stays in front.
    """
    parts = sentences(block)
    if any(_DECLARATION.match(part.head) or re.match(r"Goal\b|Derive\b|Equations\b", part.head) for part in parts):
        return block
    imports = 0
    while imports < len(parts) and _ENVIRONMENT.match(parts[imports].head):
        imports += 1
    texts = [part.text for part in parts]
    ended = any(_ENDS_PROOF.match(part.head) for part in parts)
    return "\n".join([*texts[:imports], header, *texts[imports:], *([] if ended else ["Qed."])])


def declared_names(block: str) -> list[str]:
    """Names, with their modules, of what a file declares and others can see, last first."""
    names, unnamed = list[str](), 0
    for part, inside in _nested(sentences(block)):
        if any(kind in ("Functor", "Module Type") for kind, _ in inside):
            continue
        path = [name for kind, name in inside if kind == "Module"]
        if match := _DECLARATION.match(part.head):
            names += [".".join([*path, name]) for name in (match[1], *re.findall(rf"\bwith\s+({_IDENT})", part.head))]
        elif re.match(r"Goal\b", part.head):
            names.append(".".join([*path, f"Unnamed_thm{unnamed - 1 if unnamed else ''}"]))
            unnamed += 1
    return list(dict.fromkeys(reversed(names)))


def forbidden(block: str) -> str | None:
    """A command that no proof needs, or `None`."""
    for part in sentences(block):
        if match := _FORBIDDEN.match(part.head) or _BYPASS.match(part.bare):
            return match[0]
    return None


def has_nested_functor(block: str) -> bool:
    """Whether a module or module type holds one with parameters."""
    functor = re.compile(rf"(?:Declare\s+)?Module\s+(?:Type\s+|Import\s+|Export\s+)?{_IDENT}\s*\(")
    return any(
        functor.match(part.head) is not None and any(kind != "Section" for kind, _ in inside)
        for part, inside in _nested(sentences(block))
    )
