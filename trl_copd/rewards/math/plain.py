"""Answers that need no formula: numbers, words, numbers in a base. Exact, and a matter of microseconds."""

import math
import re
from fractions import Fraction

from .bounds import MAX_CHARS, MAX_EXPONENT, Unreadable
from .brackets import closing
from .symbols import CIRCLED


_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,3}(?: [0-9]{3})+|[0-9]+)"
_PLAIN = re.compile(
    rf"(?P<sign>[+-]?) ?(?P<digits>{_DIGITS}(?:\.[0-9]*)?|\.[0-9]+)"
    rf"(?:/ ?(?P<over>-?{_DIGITS})|(?P<e>[eE])(?P<power>[+-]?[0-9]{{1,4}})"
    rf"| ?\* ?10\^ ?\{{?(?P<ten>[+-]?[0-9]{{1,4}})\}}?)?"
)
_FRACTION = re.compile(
    rf"([+-]?) ?({_DIGITS})? ?\\frac ?(?:\{{ ?(-?{_DIGITS}) ?\}} ?\{{ ?(-?{_DIGITS}) ?\}}|([0-9]) ?([0-9]))"
)
_MIXED = re.compile(r"([+-]?) ?([0-9]+) (?:and )?([0-9]+)/([0-9]+)")
_REPEATING = re.compile(r"([+-]?)([0-9]*)\.([0-9]*)\\overline ?\{([0-9]+)\}")


def number(text: str) -> Fraction | None:
    r"""Value of a normalised whole, decimal, `a/b`, `\frac{a}{b}`, mixed, repeating or scientific number, or "
    r"`None`."""
    if len(text) > MAX_CHARS or not text or not (text[-1].isdigit() or text[-1] in ".})"):
        return None
    while text[0] == "(" and text[-1] == ")" and closing(text, 0) == len(text) - 1 and "," not in text:
        text = text[1:-1].strip()
        if not text:
            return None
    if match := _PLAIN.fullmatch(text):
        return _plain_number(match)
    if match := _FRACTION.fullmatch(text):
        whole, top, bottom = match[2], _integer(match[3] or match[5]), _integer(match[4] or match[6])
        if bottom == 0 or whole and (top < 0 or bottom < 0):
            return None
        value = Fraction(top, bottom) + (_integer(whole) if whole else 0)
    elif match := _MIXED.fullmatch(text):
        if int(match[4]) == 0:
            return None
        value = int(match[2]) + Fraction(int(match[3]), int(match[4]))
    elif match := _REPEATING.fullmatch(text):
        digits, repeated = match[3], match[4]
        tail = Fraction(int(repeated), 10 ** len(repeated) - 1)
        value = int(match[2] or 0) + (int(digits or 0) + tail) / 10 ** len(digits)
    else:
        return None
    return -value if match[1] == "-" else value


def _plain_number(match: re.Match) -> Fraction | None:
    power = match["power"] or match["ten"]
    # 2e-1 in LaTeX is 2·e − 1; 1e3, 1E-3, 1.5e-3 and 1e-10 are what programs print
    if match["e"] == "e" and power[0] == "-" and "." not in match["digits"] and len(power) < 3:
        return None
    if power and abs(int(power)) > MAX_EXPONENT:
        return None
    over = _integer(match["over"]) if match["over"] else 1
    if over == 0:
        return None
    value = Fraction("0" + match["digits"].replace(",", "").replace(" ", "").rstrip(".")) / over
    value *= Fraction(10) ** int(power or 0)
    return -value if match["sign"] == "-" else value


def _integer(text: str) -> int:
    return int(text.replace(",", "").replace(" ", ""))


def significant_digits(text: str) -> int:
    """Of a decimal with a point, from the first that is not 0; 0 for other texts."""
    if not re.fullmatch(r"[+-]?[0-9]*\.[0-9]+", text):
        return 0
    return len(text.lstrip("+-").replace(".", "").lstrip("0"))


MIN_DIGITS = 10


def approximates(text: str, value: Fraction, exact: Fraction) -> bool:
    """
    Whether the decimal `text`, of the given value, is what `exact` is when cut or rounded: only from `MIN_DIGITS`
    digits on, and only where `exact` has no end as a decimal. 0.3333333333 passes for 1/3, 0.333333 does not.
    """
    if significant_digits(text) < MIN_DIGITS or _ends(exact):
        return False
    step = Fraction(1, 10 ** len(text.rpartition(".")[2]))
    return 0 <= abs(exact) - abs(value) < step and exact * value > 0 or abs(exact - value) <= step / 2


def _ends(value: Fraction) -> bool:
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


_SHORT_WORDS = frozenset("yes no odd one two six ten all any none true red mon tue wed thu fri sat sun".split())
_NUMBER_WORDS = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split()
    )
}
_TENS = {
    word: 10 * value for value, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)
}
_SPOKEN = re.compile(rf"({'|'.join(_TENS)})(?:[ -](one|two|three|four|five|six|seven|eight|nine))?")
_SYNONYMS = {
    **dict.fromkeys(("no solutions", "no real solution", "no real solutions", "empty set", "∅", "⦃⦄"), "no solution"),
    **dict.fromkeys(("there is no solution", "there are no solutions", "there is no real solution"), "no solution"),
    "there are no real solutions": "no solution",
    **dict.fromkeys(("all reals", "all real number", "real numbers", "all real numbers"), "ℝ"),
}

# Verdicts, each in one wording, whichever of these things is said to have it: "The series is divergent."
_OF_WHAT = (
    r"(?:(?:the|this|an?|its) )?(?:(?:given|improper|infinite|geometric|alternating|harmonic|power|double) )*"
    r"(?:(?:series|integral|sequence|limit|sum|product|derivative|inverse|slope|expression|it) )?"
)
_VERDICTS = tuple(
    (re.compile(f"{_OF_WHAT}(?:{pattern})"), meaning)
    for pattern, meaning in (
        (r"converges?|(?:is )?convergent", "converges"),
        (r"diverges?|(?:is )?(?:divergent|not convergent)|(?:does not|doesn't) converge", "diverges"),
        (r"(?:is )?absolutely convergent|converges? absolutely", "converges absolutely"),
        (r"(?:is )?conditionally convergent|converges? conditionally", "converges conditionally"),
        (r"(?:does not|doesn't) exist|dne|(?:is )?(?:undefined|not defined)", "does not exist"),
    )
)

_CHOICES = re.compile(r"(?:[A-F]|\([A-F]\))(?:(?:, ?| and |, and )(?:[A-F]|\([A-F]\)))+")
_STATEMENTS = re.compile(rf"[{CIRCLED}](?:(?:,|、| |and)*[{CIRCLED}])*")
_LETTERS = re.compile(_CHOICES.pattern.replace("A-F", "A-Z"))


def words(text: str, loose: bool = False) -> str | None:
    r"""
    Words without case, article, parentheses and `\text{}`; `None` for a formula. Bare letters are words from four on
    (`xy` is a product), or at once if `loose`: beside a reference that is words. Numbers in words are digits.
    """
    bare = re.sub(r"[«»]", "", text)
    loose = loose or bare != text
    if (_LETTERS if loose else _CHOICES).fullmatch(bare.strip()):  # choices, in any order
        return " and ".join(sorted(re.findall("[A-Z]", bare)))
    if re.fullmatch("(?=[A-F]{2})A?B?C?D?E?F?", bare.strip()) and (loose or len(bare.strip()) > 3):
        return " and ".join(bare.strip())
    if _STATEMENTS.fullmatch(bare.strip()):
        return " and ".join(sorted(re.findall(f"[{CIRCLED}]", bare)))
    bare = re.sub(r"\s+", " ", bare.strip(" ().,!\"'")).casefold()
    bare = _SYNONYMS.get(bare, bare)
    for pattern, meaning in _VERDICTS:
        if pattern.fullmatch(bare):
            return meaning
    if bare in ("no solution", "ℝ"):
        return bare
    if not re.fullmatch(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*", bare) or re.search("[π∞]", bare):
        return None
    if bare in _NUMBER_WORDS:
        return str(_NUMBER_WORDS[bare])
    if match := _SPOKEN.fullmatch(bare):
        return str(_TENS[match[1]] + _NUMBER_WORDS.get(match[2], 0))
    if not (loose or bare in _SHORT_WORDS or re.search(r"[^\W\d_]{4}", bare)):
        return None
    return re.sub(r"^(?:the|an?) (?=\w{2}|\w-)", "", bare)


_BASES = {**_NUMBER_WORDS, "sixteen": 16}
_BASED = re.compile(
    r"\(?(-?[0-9]+[0-9A-Fa-f]*|[A-F][0-9A-F]*)(?:\.([0-9A-Fa-f]+))?\)?"
    r"_ ?(?:\{ ?)?(?:«)?(-?[0-9]{1,2}|[a-z]+)(?:»)?(?: ?\})?"
)


def based(text: str) -> tuple[Fraction, int] | None:
    """Value and base of a number like `101_2`, `0.11_2`, `(2A)_{16}` or `12_{-4}`; `None` for other texts."""
    match = _BASED.fullmatch(re.sub("[«»]", "", text).replace(" _", "_").replace("_ {", "_{"))
    if not match:
        return None
    whole, after, name = match[1], match[2] or "", match[3]
    base = int(name) if name.lstrip("-").isdigit() else _BASES.get(name, 0)
    if not 2 <= abs(base) <= 36:
        return None
    try:
        digits = [int(digit, abs(base)) for digit in whole.lstrip("-") + after]
    except ValueError:
        if whole[0].isalpha():
            return None  # C_3 is a name
        raise Unreadable(f"{match[1]} has digits that base {base} has not") from None
    value = Fraction(0)
    for digit in digits:
        value = value * base + digit
    return (-value if whole[0] == "-" else value) / Fraction(base) ** len(after), base


def of_float(value: float) -> str:
    """A float of a dataset as the decimal it was written as. Raises `Unreadable` for nan and infinity."""
    if not math.isfinite(value):
        raise Unreadable(f"the solution is {value}")
    return f"{Fraction(repr(value))}"
