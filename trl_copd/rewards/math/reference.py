"""The reference of `math_reward`, in the forms in which data sets hold it."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ..base import Verdict
from .bounds import MAX_CHARS, NoGrammar, Unreadable
from .claims import claim
from .extract import last_boxed
from .plain import number, of_float, words
from .text import normalise
from .units import split_unit


@dataclass(frozen=True)
class Gold:
    """
    A reference: its text as found and normalised, its value if it is a plain number, its words if it is words, the
    sentence around it, what it counts, in `9 (apples)`, and whether a sentence claimed it.
    """

    raw: str
    text: str
    number: Fraction | None = None
    words: str | None = None
    symbolic: bool = False  # for math-verify: it has a command that this package has no rule for
    sentence: str | None = None
    noun: str = ""
    claimed: bool = False  # a sentence said it, so that an answer may say it in one, too

    @property
    def key(self) -> str:
        """What the workers are given."""
        return self.raw if self.symbolic else self.text

    @property
    def plain(self) -> bool:
        return self.number is not None or self.words is not None


@dataclass(frozen=True)
class _Foreign:
    """Stands for a reference that is no text and no number: one may be deep, contain itself, or raise when printed."""

    problem: str


def plain_reference(reference: Any) -> Any:
    if reference is None or type(reference) in (str, bool):
        return reference
    if isinstance(reference, str):
        return str.__str__(reference)
    if isinstance(reference, float):
        return float(reference)
    if isinstance(reference, int):
        bits = int.bit_length(reference)
        return int(reference) if bits <= 4 * MAX_CHARS else _Foreign(f"a number of {bits} bits")
    return reference if type(reference) is _Foreign else _Foreign(f"{type(reference).__name__}")


_MARKED = re.compile(r"####([^\n]*)")
_PROSE = re.compile(r"\b(?:the|is|are|so|answer|therefore|we|it)\b", re.IGNORECASE)


_NAMED_COUNT = re.compile(r"([A-Za-z](?:\([^()]*\))? ?= ?)([^=,;()]+\([A-Za-z ]+\))")
_COUNTED = re.compile(r"(\S[^()]*?) ?«?\( ?«?([A-Za-z0-9][^()=^\\»]*|\$|%)»? ?\)»?")

# "Answer: 5" in the box
_PREFIX = re.compile(
    r"^«? ?(?:the )?(?:final |correct )?answer(?:s? (?:is|are)| ?[:=])+ ?:? ?(?:» ?)?(?=.)", re.IGNORECASE
)


_AGREES = re.compile(r"^«?Yes»? ?[,.:;] ?(?=[^ ].*=)")  # "Yes, F(x) = …"


def without_prefix(text: str) -> str:
    return _AGREES.sub("", _PREFIX.sub("", text))


def counted_noun(text: str, odd: str = "", reference: bool = False) -> str:
    """
    ASDiv's `9 (apples)` as `9 «apples»`. In a reference, words in parentheses that no vocabulary has are dropped: what
    they are does not matter to the number. In an answer, those of its reference are, `odd`.
    """
    if "; " in text:
        return "; ".join(counted_noun(part.strip(), odd, reference) for part in text.split(";"))
    named = _NAMED_COUNT.fullmatch(text) if ")" in text[-2:] else None
    if named:  # Q(50) = 47.5 (pounds)
        return f"{named[1]}{counted_noun(named[2], odd, reference)}"
    match = _COUNTED.fullmatch(text)
    if not match or number(match[1]) is None or not re.search(r"[A-Za-z]{2}|[mgslhLN]$|[$%]", match[2]):
        return text
    glued = text[match.end(1)] != " "
    if glued and len(match[2]) == 1 and match[2].casefold() != odd:
        return text  # 5(m) is a product
    noun = f"{match[1]} «{match[2]}»"
    value, unit = split_unit(noun)
    if value == match[1] and unit and unit.dimensions and unit.multiple == 1:
        return noun
    if reference or odd and _noun(text) == odd:
        return match[1]
    return text if glued else noun


def _noun(text: str) -> str:
    """The words in parentheses behind a number."""
    match = _COUNTED.fullmatch(text)
    return " ".join(match[2].casefold().split()) if match else ""


def _closed(solution: str) -> str:
    """With the braces that are missing at its end, as where a pattern took too little of a `\\boxed{}`."""
    depth = 0
    for brace in re.findall(r"\\.|[{}]", solution):
        depth += {"{": 1, "}": -1}.get(brace, 0)
        if depth < 0:
            return solution
    return solution + "}" * depth if depth <= 2 else solution


def read_reference(solution: Any) -> "Gold | Verdict":
    sentence, claimed = None, False
    try:
        if isinstance(solution, str):
            marked = _MARKED.findall(solution)
            boxed = last_boxed(solution)
            raw = marked[-1] if marked else boxed if boxed is not None else claim(_closed(solution))
            sentence = None if marked or boxed is not None else solution
            claimed = sentence is not None and raw.strip("$. ") != sentence.strip("$. ")
        elif isinstance(solution, int) and not isinstance(solution, bool):
            raw = str(solution)
        elif isinstance(solution, float):
            raw = of_float(solution)
        else:
            found = solution.problem if isinstance(solution, _Foreign) else type(solution).__name__
            return Verdict(None, f"a solution must be a str, an int or a float, got {found}")
        text = normalise(raw)
        if text[0] == "«":  # in \text{}; "The answer is 72" is prose
            text = without_prefix(text)
        noun = _noun(text)
        text = counted_noun(text, reference=True)
        value = number(text)
        said = words(text) if value is None else None
        # Prose would be words or a product of letters that no answer equals: a silent 0 for every completion
        bare = said or re.sub(r"\\[A-Za-z]+|«✦?[A-Za-z ]{0,40}»|is an[y]? integer", "", text)
        if _PROSE.search(bare) or len(re.findall("[A-Za-z]{2,}", bare)) > 5:
            return Verdict(None, "it is prose; put the answer in \\boxed{} or after ####")
    except NoGrammar:
        return Gold(raw.strip(" $\n"), " ".join(raw.split()), symbolic=True, sentence=sentence, claimed=claimed)
    except Unreadable as problem:
        return Verdict(None, str(problem))
    known = said if said is None or not said.isdecimal() else None
    return Gold(raw.strip(" $\n"), text, value, known, sentence=sentence, noun=noun, claimed=claimed)
