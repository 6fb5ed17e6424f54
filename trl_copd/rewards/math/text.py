r"""
From a completion to the text of its answer, and from LaTeX to one spelling of it.

The spelling has one character where LaTeX has a command (`≤` for `\leq`, `⦃` for `\{`, `«km»` for `\text{km}`), so
that what reads it can look for brackets and separators character by character. A command that is not known is refused:
what cannot be read is never guessed.
"""

import re
import unicodedata


MAX_CHARS = 300  # of an answer, before anything looks at it
MAX_DEPTH = 12  # of brackets
MAX_EXPONENT = 400  # of a number in scientific notation


class Unreadable(ValueError):
    """An answer or a reference that cannot be compared; the message says why."""


class NoGrammar(Unreadable):
    """Of these, what only lacks a rule here: math-verify may have one."""


# ---- finding the answer ----

# Two boxes joined by nothing but one of these are one answer of two parts: a hedge, or two solutions
_SPACE = r"(?:[\s$~*]|\\(?:quad|qquad|[,;: ()\[\]]))*"
_JOINT = re.compile(
    rf"{_SPACE}(?:,|;|/|,?{_SPACE}(?:\\(?:text|mbox|textrm)\s*\{{\s*)?(?:or|and)(?: (?:else|maybe|perhaps|possibly))?"
    rf"(?:\s*\}})?){_SPACE}",
    re.IGNORECASE,
)


def last_boxed(text: str) -> str | None:
    r"""
    Content of the last `\boxed{}` or `\fbox{}` of `text` whose braces close, or `None`.

    A box within a box is part of the outer one. Boxes before it that are joined to it by "," "or" "and" alone come
    first, with commas. One pass over the braces, so linear in the length of `text`.
    """
    boxes: list[tuple[int, int, int]] = []  # start of the command, start and end of the content; outermost only
    starts: list[tuple[int, int, int]] = []  # of the open ones: depth, start of the command, start of the content
    depth = 0
    for token in re.finditer(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", text, re.DOTALL):
        if token[0] == "}":
            if starts and starts[-1][0] == depth:
                _, command, start = starts.pop()
                while boxes and boxes[-1][0] > command:  # the outer box closes last, and takes in what it contains
                    boxes.pop()
                boxes.append((command, start, token.start()))
            depth = max(depth - 1, 0)
        elif token[0].endswith("{") and token[0] != "\\{":
            depth += 1
            if len(token[0]) > 1:
                starts.append((depth, token.start(), token.end()))
    if not boxes:
        return None
    parts = [text[boxes[-1][1] : boxes[-1][2]]]
    for before, after in zip(boxes[-2::-1], boxes[:0:-1], strict=True):
        between = text[before[2] + 1 : after[0]]
        if len(parts) > 9 or len(between) > 60 or not _JOINT.fullmatch(between):
            break
        parts.insert(0, text[before[1] : before[2]])
    return ", ".join(dict.fromkeys(part.strip() for part in parts)) if len(parts) > 1 else parts[0]


_NUMBER = r"-?\$?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)(?:/[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_NEGATED = re.compile(r"\b(?:not|isn't|cannot|can't|could|might|maybe|either|possibl[ey]|neither)\b", re.IGNORECASE)


_UNCLOSED = re.compile(r"(?<!\\)\\(?:boxed|fbox)\s*\{")  # a box that closes was taken before
_MARK = re.compile(r"answer(?: is|:)|####|<answer>", re.IGNORECASE)


def bare_answer(text: str) -> str | None:
    """A completion that is nothing but an answer: one line of at most 40 characters, no sentence, no mark."""
    text = text.strip().strip("*").strip()
    sentence = re.compile(r"[A-Za-z]{2,}\s+[A-Za-z]{2,}|[0-9].*\b[A-Za-z]{4,}\b.*[0-9]")
    if len(text) > 40 or "\n" in text or _MARK.search(text) or _UNCLOSED.search(text):
        return None
    return None if sentence.search(re.sub(r"\\[A-Za-z]+|sqrt", "", text)) else text.rstrip(".") or None


def final_answer(text: str) -> str | None:
    """The lenient rule: what follows the last mark, the whole text if it is short, or the one last number."""
    marks = list(_MARK.finditer(text))
    if marks:
        line = text[marks[-1].end() :].lstrip(" :*\n").split("\n", 1)[0]
        return re.split(r"[.!?](?:\s|$)|</answer>", line, maxsplit=1)[0].strip(" *:") or None
    bare = bare_answer(text)
    if bare is not None:
        return bare
    if _NEGATED.search(text):
        return None  # a number that is named as not, or perhaps, the answer
    lines = [line for line in text.splitlines() if line.strip()]
    numbers = re.findall(rf"(?<![\w.]){_NUMBER}", lines[-1]) if lines else []
    return numbers[-1].rstrip(",") if numbers else None


# ---- one spelling ----

_CHARACTERS = {
    **dict.fromkeys("−–—‐‑﹣", "-"), **dict.fromkeys("×·⋅∙∗✕", "*"), "÷": "/", "⁄": "/", "∕": "/", "√": r"\sqrt ",
    "π": "π", "𝜋": "π", "∣": "|", "⟨": "⟨", "〈": "⟨", "〉": "⟩", "′": "'", "″": "''", "’": "'", "∙": "*", "≦": "≤",
    "≧": "≥", "⩽": "≤", "⩾": "≥", "≃": "≈", "∨": " or ", "∧": " and ", "∖": "∖", "º": "°", "˚": "°", "∘": "∘",
    "∅": "∅",
    "⌀": "∅", "ℝ": "ℝ", "¼": r"\frac{1}{4}", "½": r"\frac{1}{2}", "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}",
    "⅔": r"\frac{2}{3}", "⅛": r"\frac{1}{8}", "⅕": r"\frac{1}{5}", "⅙": r"\frac{1}{6}", "∛": r"\sqrt[3]", "：": ":",
    "²": "^{2}", "³": "^{3}", "¹": "^{1}", "⁰": "^{0}", "⁴": "^{4}", "⁵": "^{5}", "⁶": "^{6}", "⁷": "^{7}",
    "⁸": "^{8}",
    "⁹": "^{9}", "⁻": "^{-}", "ⁿ": "^{n}", "℃": r"°C", "℉": "°F", "％": "%", "﹪": "%",
}  # fmt: skip
_GREEK_LETTERS = {
    "α": r"\alpha ",
    "β": r"\beta ",
    "γ": r"\gamma ",
    "δ": r"\delta ",
    "θ": r"\theta ",
    "λ": r"\lambda ",
    "μ": r"\mu ",
    "ρ": r"\rho ",
    "σ": r"\sigma ",
    "φ": r"\phi ",
    "ϕ": r"\phi ",
    "ω": r"\omega ",
    "ε": r"\epsilon ",
    "τ": r"\tau ",
    "Δ": r"\Delta ",
    "Ω": r"\Omega ",
    "Σ": r"\Sigma ",
    "ψ": r"\psi ",
    "η": r"\eta ",
    "ℓ": r"\ell ",
}
_SUPERSCRIPTS = re.compile(r"\}\^\{")

_SPACES = {",": "\u2009", ";": " ", ":": " ", " ": " ", "!": "", "quad": " ", "qquad": " ", "/": "", "-": "",
"nobreakspace": " ",
           "thinspace": " ", "hspace": " "}  # fmt: skip
_SYMBOLS = {
    **dict.fromkeys("left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr displaystyle textstyle".split(), ""),
    **dict.fromkeys("boxed fbox mathbf boldsymbol mathit bm mathcal mathsf ensuremath rm bf".split(), ""),
    **dict.fromkeys("dfrac tfrac cfrac frac".split(), r"\frac "),
    **dict.fromkeys("dbinom tbinom binom".split(), r"\binom "),
    **dict.fromkeys("cdot times ast".split(), "*"), "div": "/", **dict.fromkeys("le leq leqslant".split(), "≤"),
    **dict.fromkeys("ge geq geqslant".split(), "≥"), "lt": "<", "gt": ">", **dict.fromkeys("ne neq".split(), "≠"),
    **dict.fromkeys("approx simeq".split(), "≈"), "pm": "±", "mp": "∓", "cup": "∪", "cap": "∩", "in": "∈",
    **dict.fromkeys("setminus backslash smallsetminus".split(), "∖"), "infty": "∞", "pi": "π", "{": "⦃", "}": "⦄",
    "lbrace": "⦃", "rbrace": "⦄", "lbrack": "[", "rbrack": "]", **dict.fromkeys("lvert rvert vert mid".split(), "|"),
    "langle": "⟨", "rangle": "⟩", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "degree": "°",
    "circ": "∘", "%": "%", "$": "\ue000", "lor": " or ", "vee": " or ", "land": " and ", "wedge": " and ", "(": "",
    ")": "",
    "[": "", "]": "", "emptyset": "∅", "varnothing": "∅", "prime": "'", "colon": ":", "R": "ℝ", "Reals": "ℝ", "i": "i",
    "varphi": r"\phi ", "varepsilon": r"\epsilon ", "lg": r"\log ", "text": r"\text", "to": "→", "rightarrow": "→",
    **dict.fromkeys("textbf textit textrm textsf texttt textnormal mathrm mbox operatorname emph".split(), r"\text"),
}  # fmt: skip
FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp gcd lcm min max sqrt frac binom".split()
)
GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell".split()
)
_MATRIX = re.compile(r"\\begin\s*\{([pbB]?matrix|array)\}(?:\s*\{[clr| ]*\})?(.*?)\\end\s*\{\1\}", re.DOTALL)
_TEXT = re.compile(r"\\text\s*\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")
_ANGLE = re.compile(r"^\s*m?\s*\\(?:measured)?angle\s*\{?\s*([A-Z]{1,3})\s*\}?\s*=")  # a name
_PLAIN_FUNCTION = re.compile(
    r"(?<![A-Za-z\\«])(sqrt|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|asin|acos|atan|ln|log|exp"
    r"|binom|gcd|lcm|pi|infinity|inf|theta|alpha|beta|gamma|lambda)(?![A-Za-z])"
)
_OPEN, _CLOSE = "([{⦃⟨⟦⌊⌈", ")]}⦄⟩⟧⌋⌉"
_CLOSED_BY = {"(": ")]", "[": ")]"}


def normalise(text: str) -> str:
    """
    One spelling for what is only typography.

    Raises:
        Unreadable: `text` is too long, empty, nested too deep, or has characters or commands that are not known.
    """
    if len(text) > MAX_CHARS:
        raise Unreadable(f"it has {len(text)} characters, more than {MAX_CHARS}")
    text = re.sub(r"\\\s+$", "", text).strip(" \t\r\n\ufeff\u200b").strip("*`")
    if text[:1] == text[-1:] == '"':
        text = text.strip('"')
    if not text.isascii():
        text = _ascii(text)
    if "\\" in text:
        text = _commands(text)
    elif "{,}" in text:
        text = _decimal_comma(text)
    text = _dollars(text).replace("\ue000", "$").replace("~", " ").replace("**", "^")
    if "∘" in text:
        text = re.sub(r"\^?\s*(?:\{\s*∘\s*\}|∘)", "°", text)
    text = _PLAIN_FUNCTION.sub(_plain_function, text) if re.search("[a-z]{2}", text) else text
    if re.search("[<>!]=", text):
        text = text.replace("<=", "≤").replace(">=", "≥").replace("!=", "≠")
    text = re.sub(r"\s+", " ", text).strip().rstrip(".").strip()
    text = re.sub(r"^([A-Ea-e])\)$", r"\1", text)
    while text.startswith("{") and text.endswith("}") and closing(text, 0) == len(text) - 1:
        text = text[1:-1].strip()
    if not text or text == "«»":
        raise Unreadable("it is empty")
    check_depth(text)
    return text


def _ascii(text: str) -> str:
    """Digits of any script, signs and fractions as ASCII or the one character that stands for them here."""
    out = []
    for char in text:
        if char in _CHARACTERS:
            out.append(_CHARACTERS[char])
        elif unicodedata.category(char) == "Nd":
            out.append(str(unicodedata.decimal(char)))
        elif unicodedata.category(char) in ("Cf", "Cc", "Co", "Cs", "Cn", "Mn") and char not in "\n\t":
            # direction marks, joiners and accents make text look like what it is not
            raise Unreadable(f"it has the character U+{ord(char):04X}")
        else:
            folded = unicodedata.normalize("NFKC", char)
            # what only looks like a Latin letter, such as a Cyrillic one, stays what it is
            out.append(folded if folded.isascii() else _GREEK_LETTERS.get(char, char))
    return _SUPERSCRIPTS.sub("", "".join(out))


def _commands(text: str) -> str:
    matrices = []

    def matrix(match: re.Match) -> str:
        rows = re.split(r"\\\\|\\cr(?![A-Za-z])", match[2].strip().removesuffix("\\\\"))
        matrices.append("⟦" + "‖".join("¦".join(row.split("&")) for row in rows) + "⟧")
        return f" {matrices[-1]} "

    text = _decimal_comma(_MATRIX.sub(matrix, re.sub(r"\\!\s*", "", text)))
    text = re.sub(r"\\\\(?=[A-Za-z])", r"\\", text)  # escaped once more than it should be, as some datasets are
    text = re.sub(r"\\mathbb\s*\{?R\}?", "ℝ", text)
    text = _ANGLE.sub(r"angle_{\1}=", text)
    text = re.sub(r"\\([A-Za-z]+|.)", _command, text, flags=re.DOTALL)
    # a comma or thin space within a number, and what is left of thin spaces
    text = re.sub(r"(?<=[0-9])(?:,?\u2009|\u2009?,\s?\u2009)(?=[0-9]{3}(?![0-9]))", ",", text).replace("\u2009", " ")
    return _TEXT.sub(_text, text)


def _decimal_comma(text: str) -> str:
    """`1{,}000` is 1,000 and `3{,}14` is 3.14."""
    text = re.sub(r"(?<=[0-9])\{,\}(?=[0-9]{3}(?![0-9]))", ",", text)
    return re.sub(r"(?<=[0-9])\{,\}(?=[0-9])", ".", text)


def _command(match: re.Match) -> str:
    name = match[1]
    if name in _SYMBOLS:
        return _SYMBOLS[name]
    if name in _SPACES:
        return _SPACES[name]
    if name in FUNCTIONS or name in GREEK or name in ("overline", "vec"):
        return f"\\{name} "
    # an angle or a segment would be a product of letters to math-verify, in any order
    kind = NoGrammar if name in ("sum", "prod", "int", "lim") else Unreadable
    raise kind(f"the command \\{name} is not known")


def _text(match: re.Match) -> str:
    words = match[1].strip()
    if words.lower() in ("or", "and"):
        return f" {words.lower()} "
    if re.search(r"[0-9]", words) or not re.search(r"[^\W\d_]", words):
        return f" {words} "  # numbers and signs mean what they mean
    if len(words) == 1:
        return f" {words}"  # a variable, a choice, or a unit
    return f" «{words}» " if match[1] else ""


def _dollars(text: str) -> str:
    """Dollars in pairs delimit formulas; one alone is money."""
    if text.count("$") % 2 == 0 and "$" in text:
        return text.replace("$", "")
    return text.replace("$$", "") if text.count("$") > 2 else text


def _plain_function(match: re.Match) -> str:
    name = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}.get(match[1], match[1])
    return {"pi": "π", "infinity": "∞", "inf": "∞"}.get(name, f"\\{name} ")


# ---- brackets ----


def closing(text: str, start: int) -> int:
    """Index of the bracket that closes the one at `start`, of any kind; -1 if none does."""
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] in _OPEN) - (text[index] in _CLOSE)
        if depth == 0:
            return index
    return -1


def check_depth(text: str) -> None:
    """
    Raises:
        Unreadable: Brackets do not match, or are nested more than `MAX_DEPTH` deep.
    """
    opened: list[str] = []
    for char in text:
        if char in _OPEN:
            opened.append(char)
        elif char in _CLOSE:
            # an interval may close as it likes; nothing else may
            if not opened or char not in _CLOSED_BY.get(opened[-1], _CLOSE[_OPEN.index(opened[-1])]):
                raise Unreadable("a bracket closes nothing")
            opened.pop()
        if len(opened) > MAX_DEPTH:
            raise Unreadable(f"brackets are nested more than {MAX_DEPTH} deep")
    if opened or text.count("|") > 2 * MAX_DEPTH:
        raise Unreadable("a bracket is not closed")


def split(text: str, separators: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """Parts of `text` between matches of `separators` outside all brackets, and the matches."""
    depths, depth = [], 0
    for char in text:
        depth -= char in _CLOSE or char == "»"
        depths.append(depth)
        depth += char in _OPEN or char == "«"
    parts, found, start = [], [], 0
    for match in separators.finditer(text):
        if depths[match.start()] == 0:
            parts.append(text[start : match.start()].strip())
            found.append(match[0].strip())
            start = match.end()
    return [*parts, text[start:].strip()], found
