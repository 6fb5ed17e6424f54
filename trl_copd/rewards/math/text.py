r"""
From LaTeX to one spelling of it, in which `«km»` stands for `\text{km}` and `symbols.py` has the rest. A command that
is not known is refused: what cannot be read is never guessed.
"""

import re
import unicodedata

from .bounds import MAX_CHARS, NoGrammar, Unreadable
from .brackets import check_depth, closing
from .features import named_features
from .layout import environments, undecorated, without_operator
from .symbols import ACCENTS, CHARACTERS, CIRCLED, FUNCTIONS, GREEK, GREEK_LETTERS, MARKS, SPACES, SYMBOLS, scripts


_TEXT = re.compile(r"\\text\s*\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")
_AXIS = re.compile(r"(?<![A-Za-z\\])([A-Za-z]) ?\\text ?\{-(?=[a-z])")  # x\text{-axis}
_ANGLE = re.compile(r"^\s*m?\s*\\(?:measured)?angle\s*\{?\s*([A-Z]{1,3})\s*\}?\s*=")  # a name
_PLAIN_FUNCTION = re.compile(
    r"«[^»]*»|(?<![A-Za-z\\])(sqrt|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|asin|acos|atan|ln|log"
    r"|exp|binom|gcd|lcm|pi|infinity|inf|theta|alpha|beta|gamma|lambda)(?![A-Za-z])"
)
_ACCENTED = re.compile(rf"\\({'|'.join(ACCENTS)}) +(?:\{{ *([A-Z] ?[A-Z]{{1,2}}|[A-Za-z]|\\[a-z]+) *\}}|([A-Za-z]))")
_ACCENT = re.compile(rf"\\(?:{'|'.join(ACCENTS)}) ")
_REPEATING = re.compile(r"(?<=[.0-9])\\dot \{? ?([0-9]) ?\}?(?:([0-9]*)\\dot \{? ?([0-9]) ?\}?)?")  # 0.\dot{3}
# A letter in braces that is no argument: {a}_{n}, {r}(t)
_LETTER = re.compile(r"(\\[a-z]+ ?|[\^_}\]] ?)?\{ ?([A-Za-z]) ?\}(?= ?[_(^])")
_PRIMES = re.compile(r"\^ ?\{((?: ?')+) ?\}")
_SCRIPT = r"\{[^{}]*\}|[A-Za-z0-9]"
_RAISED_FIRST = re.compile(rf"(\\[A-Za-z]+ ?|[A-Za-z][{MARKS}]?) ?\^ ?({_SCRIPT}) ?_ ?({_SCRIPT})")
_COUNT = r"(?:\{ ?[0-9]{1,3} ?\}|[0-9])"
_SELECTION = re.compile(
    rf"(?:\{{ ?\}} ?)?[_^] ?(?P<n>{_COUNT}) ?(?P<kind>[CP]) ?_ ?(?P<k>{_COUNT})"
    rf"|(?P<kind2>[CAP]) ?_ ?(?P<n2>{_COUNT}) ?\^ ?(?P<k2>{_COUNT})"
)
_BLACKBOARD = re.compile(r"\\mathbb\s*(?:\{\s*([A-Z])\s*\}|([A-Z]))")
_OPERATOR_NAME = re.compile(r"\\operatorname\*?\s*\{\s*([a-z]+)\s*\}")
_CIRCLED = re.compile(r"\\textcircled\s*\{\s*(?:\\[a-z]+\s*)?\{?\s*(1?[1-9]|[12]0)\s*\}?\s*\}")
_BOLD_LETTER = re.compile(r"\\(?:mathbf|boldsymbol|bm) ?\{ ?([A-Za-z]) ?\}")
# Two equations with nothing but room between them
_APART = re.compile(
    r"(?<=[^\s,;.:={(&])\s*\\q?quad\s*(?=[A-Za-z](?:_\{?\w\}?)?(?:\([a-z]\))?\s*(?:=|\\equiv)(?![^$]*\\text))"
)
_NAMED = re.compile(r"\\(?:mathbb|operatorname|(?:measured)?angle)")
_LAYOUT = re.compile(
    r"\\(?:begin|(?:text)?color|colorbox|underline|therefore|over(?![a-z])|choose|[hv]space|phantom|label|displaystyle"
    r"|i*nt|oint|sum|prod|lim|sup|inf)(?![a-z])|\\(?:left|right)\s*\.|∴"
)
_OWN = frozenset("✦⟬⟭⟪⟫⟦⟧⦃⦄¦₥§«»")
_SETS = dict(zip("RZNQC", "ℝℤℕℚℂ", strict=True))


def normalise(text: str) -> str:
    """
    One spelling for what is only typography.

    Raises:
        Unreadable: `text` is too long, empty, nested too deep, or has characters or commands that are not known.
    """
    if len(text) > MAX_CHARS:
        raise Unreadable(f"it has {len(text)} characters, more than {MAX_CHARS}")
    text = re.sub(r"(?<!\\)\\\s+$", "", text).strip(" \t\r\n\ufeff\u200b").strip("*`")
    if text[:1] == text[-1:] == '"':
        text = text.strip('"')
    if not text.isascii():
        text = _ascii(text)
    if "\n" in text:  # formulas on lines of their own are answers of their own
        text = re.sub(r"(?<!\$)\$[.,;]?\s*\n\s*\$(?!\$)", "$, $", text)
    if "\\" in text:
        text = _commands(text)
    elif "{,}" in text:
        text = _decimal_comma(text)
    text = _dollars(text).replace("\ue000", "$").replace("~", " ").replace("**", "^")
    if "∘" in text:
        text = re.sub(r"\^?\s*(?:\{\s*∘\s*\}|∘)", "°", text)
    text = _PLAIN_FUNCTION.sub(_plain_function, text) if re.search("[a-z]{2}", text) else text
    if re.search("[<>!=]=|=>", text):
        text = text.replace("<=", "≤").replace(">=", "≥").replace("!=", "≠").replace("=>", "⇒")
    if re.search("max|min|concave|saddle|inflection|creasing", text):
        text = named_features(text)
    if "mod" in text:
        text = re.sub(r"«mod»|(?<![A-Za-z«])mod(?![A-Za-z»])", "₥", text)
    if "^" in text:
        text = _RAISED_FIRST.sub(_lowered_first, _PRIMES.sub(lambda match: match[1].replace(" ", ""), text))
    if re.search("[CAP]", text):
        text = _selections(text)
    if "⦃" in text:
        text = re.sub(r"(\\(?:max|min|gcd|lcm|exp|ln|log)) *⦃([^⦃⦄]*)⦄", r"\1 (\2)", text)
    if "{" in text:
        text = _LETTER.sub(lambda match: match[0] if match[1] else match[2], text)
    text = re.sub(r"\s+", " ", text).strip().rstrip(".").strip()
    text = re.sub(r"^([A-Ea-e])\)$", r"\1", text)
    while text.startswith("{") and text.endswith("}") and closing(text, 0) == len(text) - 1:
        builder = re.match(r"\{ ?[A-Za-z] ?[|:]", text)  # {x | x > 1}
        text = f"⦃{text[1:-1]}⦄" if builder else text[1:-1].strip()
    if "≡" in text and "₥" not in text:  # an identity of functions, y ≡ 0
        text = text.replace("≡", "=")
    if "∪" in text:
        text = re.sub("∪ ?, ?", "∪ ", text)
    text = _parts(text) if ")" in text else text
    if not text or text == "«»":
        raise Unreadable("it is empty")
    check_depth(text)
    return text


def _ascii(text: str) -> str:
    """Digits of any script, signs and fractions as ASCII or the one character that stands for them here."""
    out = []
    for char in scripts(text):
        if char in CHARACTERS:
            out.append(CHARACTERS[char])
        elif unicodedata.category(char) == "Nd":
            out.append(str(unicodedata.decimal(char)))
        elif char in _OWN or unicodedata.category(char) in ("Cf", "Cc", "Co", "Cs", "Cn", "Mn") and char not in "\n\t":
            # direction marks, joiners and accents make text look like what it is not, as would the signs used here
            raise Unreadable(f"it has the character U+{ord(char):04X}")
        elif char in CIRCLED:
            out.append(char)  # the number of a statement, which is not the number itself
        else:
            folded = unicodedata.normalize("NFKC", char)
            # what only looks like a Latin letter, such as a Cyrillic one, stays what it is
            out.append(folded if folded.isascii() else GREEK_LETTERS.get(folded, char))
    return "".join(out)


def _commands(text: str) -> str:
    if "\\!" in text:
        text = re.sub(r"(?<=[0-9]),\\!\s*(?=[0-9]{3}(?![0-9]))", "", text)
        text = re.sub(r"\\!\s*", "", text)
    if "\\\\" in text or _LAYOUT.search(text):
        text = environments(without_operator(undecorated(text)))
        text = re.sub(r"\\\\(?=[A-Za-z])", r"\\", text)  # escaped once more than it should be, as some datasets are
    if "\\math" in text or "\\bold" in text:
        text = _BOLD_LETTER.sub(r" \1", text)
    if "quad" in text and "⟪" not in text:
        text = _APART.sub(", ", text)
    text = _decimal_comma(text) if "{,}" in text else text
    if "\\textcircled" in text:
        text = _CIRCLED.sub(lambda match: CIRCLED[int(match[1]) - 1], text)
    if _NAMED.search(text):
        text = _BLACKBOARD.sub(lambda match: _SETS.get(match[1] or match[2], match[1] or match[2]), text)
        text = _OPERATOR_NAME.sub(_operator_name, _ANGLE.sub(r"angle_{\1}=", text))
    text = re.sub(r"\\overline ?([0-9])", r"\\overline{\1}", text)
    text = re.sub(r"\\([A-Za-z]+|.)", _command, text, flags=re.DOTALL)
    # a comma or thin space within a number, and what is left of thin spaces
    text = re.sub(r"(?<=[0-9])\u2009(?=[0-9]{3}(?![0-9]))", "", text)
    text = re.sub(r"(?<=[0-9])(?:,?\u2009|\u2009?,\s?\u2009)(?=[0-9]{3}(?![0-9]))", ",", text).replace("\u2009", " ")
    text = _TEXT.sub(_text, _AXIS.sub(r"\\text{\1-", text))
    if _ACCENT.search(text):
        text = re.sub(r"(?<=\{) ?\{ ?([A-Za-z]) ?\} ?(?=\})", r"\1", text)
        text = _ACCENTED.sub(_accented, _REPEATING.sub(r"\\overline {\1\2\3}", text))
    return text


def _decimal_comma(text: str) -> str:
    """`1{,}000` is 1000 and `3{,}14` is 3.14."""
    text = re.sub(r"(?<![0-9.}])[1-9][0-9]{0,2}(?:\{,\}[0-9]{3})+(?![0-9])", lambda m: m[0].replace("{,}", ""), text)
    return re.sub(r"(?<=[0-9])\{,\}(?=[0-9])", ".", text)


def _operator_name(match: re.Match) -> str:
    return rf"\{match[1]} " if match[1] in FUNCTIONS else match[0]


def _command(match: re.Match) -> str:
    name = match[1]
    if name in SYMBOLS:
        return SYMBOLS[name]
    if name in SPACES:
        return SPACES[name]
    if name in FUNCTIONS or name in GREEK or name in ACCENTS:
        return f"\\{name} "
    # an angle or a segment would be a product of letters to math-verify, in any order
    kind = NoGrammar if name in ("int", "lim") else Unreadable
    raise kind(f"the command \\{name} is not known")


def _text(match: re.Match) -> str:
    words = match[1].strip()
    if words[:1] in (",", ";") and len(words) > 1:
        return f"{words[0]} {_text_of(words[1:])}"
    return _text_of(match[1])


def _text_of(text: str) -> str:
    words = text.strip(" \t\n~")
    if words.strip(" ,;").lower() in ("or", "and"):
        return f" {words.lower()} "
    if re.fullmatch(r"[^\W\d_]{3,}(?:, [^\W\d_]{3,})+", words):
        return ", ".join(f" «{word}»" for word in words.split(", "))
    if re.search(r"[0-9]", words) or not re.search(r"[^\W\d_]", words):
        return f" {words} "  # numbers and signs mean what they mean
    if len(words) == 1:
        return f" {words}"  # a variable, a choice, or a unit
    return f" «{words}» " if text else ""


def _accented(match: re.Match) -> str:
    r"""`\vec{AB}` is one name, of which a mark is the last character."""
    name = re.sub("(?<=[A-Z]) (?=[A-Z])", "", (match[2] or match[3]).strip())
    if match[1] == "hat" and name in ("i", "j", "k"):
        return f" {name}"  # a unit vector, as in bold
    return match[0] if name.startswith("\\") and name[1:] not in GREEK else f"{name}{ACCENTS[match[1]]}"


def _lowered_first(match: re.Match) -> str:
    """`v^2_0` as `v_0^2`."""
    if match[1].startswith("\\") and match[1].strip()[1:] not in GREEK:
        return match[0]
    return f"{match[1].strip()}_{match[3]}^{match[2]}"


def _selections(text: str) -> str:
    """`C_6^2` and `{}_6C_2` as a binomial, `A_6^2` as its variations, if no letter says that they are names."""
    counted = _SELECTION.sub(_selection, text)
    return text if counted == text or re.search("[A-Za-z]", re.sub(r"\\[a-z]+", "", counted)) else counted


def _selection(match: re.Match) -> str:
    total, part = (int((match[name] or match[f"{name}2"]).strip("{ }")) for name in ("n", "k"))
    if not 1 < total or not part <= total:
        return match[0]
    if (match["kind"] or match["kind2"]) == "C":
        return rf"\binom {{{total}}}{{{part}}}"
    return rf"(\frac {{{total}!}}{{{total - part}!}})"


def _dollars(text: str) -> str:
    """Dollars in pairs delimit formulas; one alone is money."""
    if text.count("$") % 2 == 0 and "$" in text:
        return text.replace("$", "")
    return text.replace("$$", "") if text.count("$") > 2 else text


def _plain_function(match: re.Match) -> str:
    if match[1] is None:
        return match[0]
    name = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}.get(match[1], match[1])
    return {"pi": "π", "infinity": "∞", "inf": "∞"}.get(name, f"\\{name} ")


_MARKER = re.compile(r"(?:^|(?<=[ ;,.»]))«?\(?([a-h]|i{1,3}|iv|v|[1-9])\)»?[:.]? ?(?![ ;,+*/^=]|$)")
_COUNTS = ("abcdefgh", ("i", "ii", "iii", "iv", "v"), "123456789")


def _parts(text: str) -> str:
    """Answers in parts, `(a) 5 (b) 6`, as `⟬1⟭5⟬2⟭6`, in any order."""
    markers = list(_MARKER.finditer(text))
    names = [match[1] for match in markers]
    count = next((count for count in _COUNTS if set(names) == set(count[: len(names)])), None)
    if len(names) < 2 or markers[0].start() > 0 or count is None:
        return text
    ends = [*(match.start() for match in markers[1:]), len(text)]
    parts = [text[match.end() : end].strip(" ;,.") for match, end in zip(markers, ends, strict=True)]
    labelled = zip(names, parts, strict=True)
    return "".join(f"⟬{count.index(name) + 1}⟭{part}" for name, part in labelled) if all(parts) else text
