"""The reference of `math_reward`, in the forms in which data sets hold it."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ..base import Verdict
from .bounds import MAX_CHARS, NoGrammar, Unreadable
from .extract import last_boxed
from .plain import number, of_float, words
from .text import normalise
from .units import split_unit


@dataclass(frozen=True)
class Gold:
    """
    A reference: its text as found and normalised, its value if it is a plain number, its words if it is words, the
    sentence around it, and what it counts, in `9 (apples)`.
    """

    raw: str
    text: str
    number: Fraction | None = None
    words: str | None = None
    symbolic: bool = False  # for math-verify: it has a command that this package has no rule for
    sentence: str | None = None
    noun: str = ""

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


_COUNTED = re.compile(r"(\S[^()]*?) ?«?\( ?«?([A-Za-z0-9][^()=^\\»]*|\$|%)»? ?\)»?")
# "Solution is: x = 2", and a sentence that ends in the one formula that it gives: "The mode is $1/3$."
_SOLUTION = re.compile(r"\s*(?:the )?(?:general |unique |only )?solutions? ?(?:set )?(?:is|are) ?:", re.IGNORECASE)
_SENTENCE = re.compile(
    r"(?:The|Its)(?: (?:[A-Za-z'-]+|\$[^$=]*\$|\\\([^=]*?\\\)))+? (?:is|are|equals|has (?:length|area|volume|radius))"
    r" (?P<claim>\$[^$]+\$(?: [a-z]+){0,2}|\\\((?:(?!\\\)).)+\\\)(?: [a-z]+){0,2})\.?"
)
# A worked reference that closes with a sentence that says the value: "… The area is $8\sqrt3$.", "So $x=3$ and $y=2$."
_FORMULAS = r"(?:\$[^$]+\$(?:,? and \$[^$]+\$|, \$[^$]+\$)*|\$\$[^$]+\$\$|-?[0-9][0-9.,/]*)(?: [a-z]+){0,2}"
_THEN = r"(?:So|Thus|Therefore|Hence|And so|and therefore|and so|which gives|It follows that)"
_QUANTITY = (
    r"(?:area|volume|probability|determinant|length|distance|angle|speed|velocity|rank|dimension|slope|height|radius|sum"
    r"|value|current|matrix|solution|average|mean|median|variance|force|work|time|cost|number|projection|approximation)"
)
_CONCLUSION = re.compile(
    rf"(?s:.*)(?:(?<=[.$\n] )|(?<=\n)|^){_THEN}?,? ?(?:the|The|its|Its) (?:[a-z]+ ){{0,3}}?{_QUANTITY}"
    rf"(?: (?:of|to|in|from) [a-z -]+?)? (?:is|are|equals)(?: given by| about)?\s+(?P<claim>{_FORMULAS})\s*\.?"
    r"(?: It means [^$]*)?"
)
_RESULT = re.compile(rf"(?s:.*)(?:(?<=[.$\n] )|(?<=\n)|(?<=, )|^){_THEN},? (?P<claim>{_FORMULAS})\s*\.?")
_PLANE = re.compile(r"It is (?:the|a) (?:hyper)?(?:plane|line) (?:given by the equation )?(?P<claim>\$[^$]+\$)\.?")
_YES = re.compile(r"(?P<claim>Yes|No)(?:\. (?!of\b)(?=[A-Z$])|,? (?=since\b|because\b)|, (?=this is\b)).+", re.DOTALL)
_YES_WITH_FORMULA = re.compile(r"Yes[.,;:] (?P<claim>\$[A-Za-z]\w? ?\([^$=()]+\) ?=[^$]+\$) ?\.?")
_LAST_WORDS = (_YES_WITH_FORMULA, _YES, _PLANE, _CONCLUSION, _RESULT)
_MAX_SOLUTION = 4000  # characters in which they are searched: the time grows with the square
_NONE = re.compile(
    r"(?:There (?:is|are) )?[Nn]o (?:real )?solutions?(?: ?[:,] ?\$\\(?:oslash|emptyset|varnothing)\$)?\.?"
)
_SPLIT_FORMULA = re.compile(r"(?<=[=+,-])\s*\$\s+\$")  # "$y=$ $1$"
_NEGATES = re.compile(r"\b(?:not|no|never|neither|cannot|if|when|or)\b", re.IGNORECASE)


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


def _claim(solution: str) -> str:
    """What a sentence says, where its words cannot change that."""
    if match := _SOLUTION.match(solution):
        return solution[match.end() :]
    solution = _SPLIT_FORMULA.sub(" ", solution)
    bare = solution.strip()
    if _NONE.fullmatch(bare):
        return "no solution"
    match = _SENTENCE.fullmatch(bare)
    if match:
        return match["claim"] if not _NEGATES.search(bare[: match.start("claim")]) else solution
    for pattern in _LAST_WORDS if len(bare) <= _MAX_SOLUTION else ():
        if match := pattern.fullmatch(bare):
            return match["claim"]
    return solution


def _closed(solution: str) -> str:
    """With the braces that are missing at its end, as where a pattern took too little of a `\\boxed{}`."""
    depth = 0
    for brace in re.findall(r"\\.|[{}]", solution):
        depth += {"{": 1, "}": -1}.get(brace, 0)
        if depth < 0:
            return solution
    return solution + "}" * depth if depth <= 2 else solution


def read_reference(solution: Any) -> "Gold | Verdict":
    sentence = None
    try:
        if isinstance(solution, str):
            marked = _MARKED.findall(solution)
            boxed = last_boxed(solution)
            raw = marked[-1] if marked else boxed if boxed is not None else _claim(_closed(solution))
            sentence = None if marked or boxed is not None else solution
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
        bare = said or re.sub(r"\\[A-Za-z]+|«[A-Za-z ]{0,40}»|is an[y]? integer", "", text)
        if _PROSE.search(bare) or len(re.findall("[A-Za-z]{2,}", bare)) > 5:
            return Verdict(None, "it is prose; put the answer in \\boxed{} or after ####")
    except NoGrammar:
        return Gold(raw.strip(" $\n"), " ".join(raw.split()), symbolic=True, sentence=sentence)
    except Unreadable as problem:
        return Verdict(None, str(problem))
    known = said if said is None or not said.isdecimal() else None
    return Gold(raw.strip(" $\n"), text, value, known, sentence=sentence, noun=noun)
