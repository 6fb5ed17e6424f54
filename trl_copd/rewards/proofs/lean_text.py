"""
Lean as text: comments, statements, names, and the words by which a file could run code of its own while it is
compiled or loaded. The latter must miss nothing, so what could be read in two ways is refused.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass


class Ambiguous(ValueError):
    """A text that this lexer and Lean's could read differently; the message says where."""


# Words that run code at compile or load time. Refused outside comments, also as parts of names and in strings
_RUNS_CODE = frozenset(
    "elab elab_rules macro macro_rules syntax declare_syntax_cat binder_predicate initialize builtin_initialize "
    "run_cmd run_elab run_meta run_tac by_elab simproc simproc_decl dsimproc dsimproc_decl builtin_simproc "
    "builtin_dsimproc unsafe implemented_by extern test_extern skipKernelTC verso builtin_init command_elab term_elab "
    "command_parser term_parser tactic_parser delab app_delab app_unexpander unexpander env_linter dbg_trace dbgTrace "
    "evalExpr unsafeCast unsafeIO unsafeBaseIO unsafeEIO Lean IO BaseIO EIO register_option register_simp_attr "
    "register_builtin_option register_label_attr declare_simp_like_tactic declare_config_elab".split()
)
# The same where the preamble opens Lean's own namespace; elsewhere anyone may call something a syntax
_LEAN_NAMES = frozenset(
    "Elab Meta MetaM CoreM TacticM TermElabM CommandElabM MacroM Syntax TSyntax Environment Qq addDecl".split()
)
# Attributes that run what they are put on; as words they are too common to refuse elsewhere
_ATTRIBUTES = frozenset("init tactic term command parser norm_num positivity export linter widget_module".split())
_COMMANDS = re.compile(r"#(?:eval|html|widget)|\bset_option\s+debug\b")
_WORD = re.compile(r"[^\W\d][\w'!?]*")
_NAME = r"(?:[^\W\d][\w'!?]*|«[^»]*»)(?:\.(?:[^\W\d][\w'!?]*|«[^»]*»))*"
_MODIFIERS = r"(?:(?:@\[[^\]]*\]|private|protected|public|noncomputable|nonrec|local|scoped)\s+)*"
_HEADER = re.compile(
    rf"{_MODIFIERS}(?:(theorem|lemma|def|abbrev|instance)\s+({_NAME}(?:\.\{{[^}}]*\}})?)|(example)\b)"
)
_DECLARATION = re.compile(
    rf"^[ \t]*{_MODIFIERS}(theorem|lemma|def|abbrev|instance|example|structure|inductive|class|axiom|opaque)\b"
    rf"[ \t]*(\n?[ \t]*{_NAME})?", re.MULTILINE
)  # fmt: skip
_SCOPE = re.compile(
    rf"^[ \t]*(?:(namespace|(?:(?:noncomputable|public|meta)[ \t]+)*section|end)\b)[ \t]*({_NAME})?", re.MULTILINE
)
_IMPORT = re.compile(r"(?:public\s+|meta\s+|private\s+)*import\s+(?:all\s+)?([\w.«»']+)[ \t]*\n?|prelude\b[ \t]*\n?")
# Local to its file in Lean: said again where the preamble is imported
_REPLAYED = re.compile(
    r"(?:open|universe|universes|variable|variables|set_option|namespace|section|noncomputable\s+section|end|include|omit"
    r"|attribute\s*\[\s*local|local)\b"
)
_UNPROVED = re.compile(r":=\s*(?:by\s*)?(?:sorry\s*)?$")


@dataclass(frozen=True)
class Statement:
    """
    What is to be proved.

    Args:
        name (`str` or `None`): Name of the theorem, perhaps with universes; `None` if any will do.
        signature (`str`): Binders, a colon and the type.
    """

    name: str | None
    signature: str


def without_comments(text: str, strict: bool = False) -> str:
    """
    `text` at the same length with comments blank. Strings stay.

    Raises:
        `Ambiguous`: If `strict`: there is something that could hide code from this function.
    """
    out: list[str] = []
    i = 0
    while i < len(text):
        end = _comment_end(text, i) or i
        if end > i:
            out.append(re.sub(r"[^\n]", " ", text[i:end]))
        elif text[i] == '"' or re.match(r'r#*"', text[i:]):
            end = _string_end(text, i)
            inside = text[i:end]
            if strict and re.search(r"\{|--|/-|-/", inside):
                raise Ambiguous(f"the string {inside!r:.60} may hold code or a comment sign")
            out.append(inside)
        elif text[i] == "«":
            end = text.find("»", i) + 1 or len(text)
            out.append(text[i:end])
        elif match := re.compile(r"[^\W\d][\w'!?]*").match(text, i):
            end = match.end()
            out.append(match[0])
        else:
            end = i + 1
            if strict and re.match(r"'\\?[\"«]", text[i:]):
                raise Ambiguous("there is a quoted quotation mark")
            out.append(text[i])
        i = end
    return "".join(out)


def _comment_end(text: str, start: int) -> int | None:
    if text.startswith("--", start):
        end = text.find("\n", start)
        return len(text) if end < 0 else end
    if not text.startswith("/-", start):
        return None
    depth, i = 1, start + 2
    while i < len(text) and depth:
        pair = text[i : i + 2]
        depth += (pair == "/-") - (pair == "-/")
        i += 2 if pair in ("/-", "-/") else 1
    return i


def _string_end(text: str, start: int) -> int:
    if text[start] == "r":
        hashes = text[start + 1 : text.index('"', start)]
        end = text.find('"' + hashes, start + 2 + len(hashes))
        return len(text) if end < 0 else end + 1 + len(hashes)
    match = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL).match(text, start)
    assert match is not None  # it starts with a quotation mark
    return match.end()


def forbidden(block: str, preamble: str = "") -> str | None:
    """What lets a block run code of its own, or `None`. The preamble may have opened names that do."""
    try:
        code = without_comments(block, strict=True)
    except Ambiguous as problem:
        return str(problem)
    words = _RUNS_CODE | (_LEAN_NAMES if re.search(r"\b(?:Lean|Qq)\b", preamble) else frozenset())
    for word in _WORD.findall(code.replace("«", " ").replace("»", " ")):
        if word.rstrip("!?'") in words:
            return word
    if command := _COMMANDS.search(code):
        return command[0]
    for attributes in re.findall(r"(?:@\[|attribute\s*\[)([^\]]*)", code):
        for word in _WORD.findall(attributes):
            if word in _ATTRIBUTES:
                return f"the attribute {word}"
    return None


def parse_statement(statement: str) -> Statement:
    """
    Read a statement: a type, or the header of a theorem, with or without `:=`, `by` and `sorry` at its end.

    Raises:
        ValueError: It is neither; the message says why.
    """
    text = without_comments(statement).strip()
    text = _UNPROVED.sub("", text).strip()
    if not text:
        raise ValueError("the statement is empty")
    header = _HEADER.match(text)
    if header is None:
        return Statement(None, f": {text}")
    signature = text[header.end() :].strip()
    colon = _top_level_colon(signature)
    if colon is None:
        raise ValueError("the header of the statement has no type")
    return Statement(header[2], signature)


def _top_level_colon(text: str) -> int | None:
    depth = 0
    for i, char in enumerate(text):
        depth += (char in "([{⦃⟨") - (char in ")]}⦄⟩")
        if char == ":" and depth == 0:
            return None if text[i : i + 2] == ":=" else i
    return None


def split_imports(text: str) -> tuple[bool, list[str], str]:
    """Whether a file starts with `prelude`, the lines of its imports, and the rest."""
    code = without_comments(text)
    prelude, imports, i = False, list[str](), 0
    while match := _IMPORT.match(code, i + len(code[i:]) - len(code[i:].lstrip())):
        prelude |= match[1] is None
        if match[1] is not None:
            imports.append(match[0].strip())
        i = match.end()
    return prelude, imports, text[i:]


def replayed(body: str) -> str:
    """The commands of a preamble, after its imports, that Lean keeps to their file: scopes, options, variables."""
    code = without_comments(body)
    starts = [match.start() for match in re.finditer(r"^[^\W\d@#]|^@|^#", code, re.MULTILINE)]
    kept = []
    for start, end in itertools.pairwise([*starts, len(code)]):
        command = code[start:end].rstrip()
        if _REPLAYED.match(command) and not re.search(r"\bin$", command):
            kept.append(command)
    return "\n".join(kept)


def without_preamble(body: str, preamble: str) -> str:
    """The body without the preamble's at its start, if it repeats it word by word."""
    ours = without_comments(preamble).split()
    theirs = list(re.finditer(r"\S+", without_comments(body)))
    if ours and [match[0] for match in theirs[: len(ours)]] == ours:
        return body[theirs[len(ours) - 1].end() :]
    return body


def is_proof_only(body: str) -> bool:
    """Whether a body declares nothing."""
    return _DECLARATION.search(without_comments(body)) is None


def name_examples(body: str) -> str:
    """The body with names for its `example`s, which have none."""
    code, out, last = without_comments(body), list[str](), 0
    for number, match in enumerate(m for m in _DECLARATION.finditer(code) if m[1] == "example"):
        out += [body[last : match.start(1)], f"theorem trl_copd_example_{number}"]
        last = match.end(1)
    return "".join([*out, body[last:]])


def declared_names(body: str) -> list[str]:
    """Full names of what a body declares, last first."""
    code, names = without_comments(body), list[str]()
    for match, inside in _nested(code):
        name = (match[2] or "").strip()
        if name.startswith("_root_."):
            names.append(name.removeprefix("_root_."))
        elif name:
            names.append(".".join([*inside, name]))
    return list(dict.fromkeys(name for name in reversed(names) if name.isprintable()))


def _nested(code: str) -> Iterator[tuple[re.Match[str], list[str]]]:
    """Each declaration with the namespaces it stands in."""
    found = [(match.start(), 1, match) for match in _DECLARATION.finditer(code)]
    found += [(match.start(), 0, match) for match in _SCOPE.finditer(code)]
    inside: list[str] = []
    for _, declares, match in sorted(found, key=lambda item: item[:2]):
        if declares:
            yield match, [part for part in inside if part]
        elif match[1] == "end":
            del inside[len(inside) - max(1, (match[2] or "").count(".") + 1) :]
        elif match[1] == "namespace":
            inside += (match[2] or "").split(".")
        else:
            inside.append("")
