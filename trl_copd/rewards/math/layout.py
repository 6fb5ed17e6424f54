r"""
What LaTeX lays out, before its commands are read: colours and underlines are dropped, matrices become `⟦1¦2‖3¦4⟧`,
and lines of a derivation, a system or a function by pieces become `⟪x=1‖y=2⟫`.
"""

import re

from .bounds import MAX_CHARS
from .brackets import closing
from .symbols import scripts


_COLOR = re.compile(r"^\s*\\color\s*(?:\[\w*\])?\s*\{\s*#?\w*\s*\}")
_WRAPPER = re.compile(r"\s*\\(?:underline|textcolor\s*\{\s*\w+\s*\}|colorbox\s*\{\s*\w+\s*\})\s*(?=\{)")
_THEREFORE = re.compile(r"^\s*(?:\\(?:display|text)style(?![A-Za-z])|\\therefore(?![A-Za-z])|∴)")
_NO_BRACKET = re.compile(r"\\(?:left|right)\s*\.")
_GROUPED = r"((?:[^{}]|\{[^{}]*\})*)"
_OVER = re.compile(rf"\{{{_GROUPED}\\over(?![A-Za-z]){_GROUPED}\}}")
_CHOOSE = re.compile(rf"\{{{_GROUPED}\\choose(?![A-Za-z]){_GROUPED}\}}")
_SKIP = re.compile(r"\\[hv]space\*?\s*\{[^{}]*\}|\\phantom\s*(?:\{\s*-\s*\}|-)|\\label\s*\{[^{}]*\}")


def undecorated(text: str) -> str:
    """
    Without what only decorates the whole of it. Colours within an answer stay, and make it unreadable: white digits
    are not what a reader sees.
    """
    before = None
    while text != before:
        before = text
        text = _THEREFORE.sub("", re.sub(r"(?:\\\\\s*)+$", "", text), count=1).strip()
        text = _COLOR.sub("", text, count=1)
        wrapped = _WRAPPER.match(text)
        start = wrapped.end() if wrapped else 0 if text.startswith("{\\color") else -1
        if start >= 0 and closing(text, start) == len(text) - 1:
            text = text[start + 1 : -1]
    text = _NO_BRACKET.sub("", _SKIP.sub(" ", text))
    if "\\choose" in text:
        text = _CHOOSE.sub(r"\\binom{\1}{\2}", re.sub(r"^([^{}\\]+\\choose[^{}\\]+)$", r"{\1}", text))
    if "\\over" in text:
        text = re.sub(r"^([^{}\\]+)\\over(?![A-Za-z])([^{}\\]+)$", r"{\1\\over \2}", text)
        text = _OVER.sub(r"\\frac{\1}{\2}", text)
    return text


_OPERATOR = re.compile(r"\s*(?:\\displaystyle\s*)?\\(?:i*nt|oint|sum|prod|lim|sup|inf)(?![A-Za-z])")


_LIMIT_OF_NAME = re.compile(
    r"([,;]\s*(?:\\q?quad\s*)?)\\lim\s*_\s*\{[^{}]*\}\s*[A-Za-z]\s*(?:(?:\\left)?\([a-z](?:\\right)?\))?\s*="
)


def without_operator(text: str) -> str:
    r"""What `\int_0^1 x dx = …` is said to be: a sum, integral or limit before "=" names the value, as `x` would."""
    text = _LIMIT_OF_NAME.sub(r"\1", text)
    inner = text.strip()
    if inner[:1] == "$" and inner[-1:] == "$" and inner.count("$") == 2:
        inner = inner.strip("$")
    at = _equals(inner) if _OPERATOR.match(inner) else None
    return text if at is None else inner[at + 1 :]


def _equals(text: str) -> int | None:
    """Place of the first "=" outside of brackets that something follows, if no comma comes first."""
    depth = 0
    for index, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if char in ",;" and depth == 0 and text[index - 1 : index] != "\\":
            return None
        if char == "=" and depth == 0 and text[index + 1 :].strip():
            return index
    return None


_DETERMINANT = re.compile(r"\s*\\(?:det|operatorname\s*\{\s*(?:det|tr|rank|rk)\s*\})(?![A-Za-z])")
_OF_VECTORS = re.compile(r"\\(?:vec|overrightarrow|mathbf|boldsymbol)\b.*\\(?:times|cdot|bullet)\b")
_PLAIN = {ord("∞"): r"\infty ", ord("π"): r"\pi ", ord("−"): "-"}
_UNSEEN = frozenset(
    r"\, \; \: \! \left \right \displaystyle \limits \nolimits \mathrm \text \operatorname \mathbf \boldsymbol \vec"
    r" \quad \qquad { } $ \( \[".split()
)
_DUMMY = (r"\\i*nt .*d ([a-zθφ])$", r"\\(?:sum|prod) _ ([a-z]) =", r"\\lim _ ([a-z]) \\to")


def operator_name(text: str) -> str | None:
    r"""
    The sum, integral, limit, determinant or product of vectors before "=", in one spelling: without spaces and braces,
    and with the same letter for what runs. `None` for other texts.
    """
    if "=" not in text or "\\" not in text or len(text) > MAX_CHARS:
        return None
    text = scripts(text.strip("$ ")).translate(_PLAIN)
    at = _equals(text)
    name = text[:at] if at is not None else ""
    if not (_OPERATOR.match(name) or _DETERMINANT.match(name) or _OF_VECTORS.search(name)):
        return None
    name = re.sub(r"\\(?:long)?rightarrow(?![A-Za-z])|→", r"\\to", re.sub(r"\\[dt]frac", r"\\frac", name))
    name = re.sub(r"\+\s*(?=\\infty)", "", name)
    tokens = [token for token in re.findall(r"\\[A-Za-z]+|\\.|\S", name) if token not in _UNSEEN]
    name = " ".join(tokens)
    for pattern in _DUMMY:
        if match := re.search(pattern, name):
            name = " ".join("#" if token == match[1] else token for token in name.split(" "))
    return re.sub(r"\( ([A-Za-z]) \)", r"\1", name)


_MATRIX = re.compile(
    r"\\begin\s*\{([pbBvV]?matrix|smallmatrix|array)\}(?:\s*\{[clr|@ ]*\})?((?:(?!\\begin).)*?)\\end\s*\{\1\}",
    re.DOTALL,
)
_LINES = re.compile(
    r"(?:\\left\s*)?(?:\\\{\s*)?\\begin\s*\{(aligned|align\*?|cases|dcases|rcases|gathered|gather\*?|split|array|eqnarray\*?)\}"
    r"(?:\s*\{[clr|@ ]*\})?((?:(?!\\begin).)*?)\\end\s*\{\1\}", re.DOTALL,
)  # fmt: skip
_FENCED = re.compile(r"(?:\\left\s*)?[\[(]\s*(⟦[^⟦⟧]*⟧)\s*(?:\\right\s*)?[\])]")
_ROW = re.compile(r"\\\\(?:\s*\[[0-9.]+ *[a-z]{2}\])?|\\cr(?![A-Za-z])|\\newline(?![A-Za-z])")


def environments(text: str) -> str:
    """Matrices in `⟦⟧`, lines in `⟪⟫`, rows apart by `‖` and cells by `¦`."""

    def lines(match: re.Match) -> str:
        whole = match[0].lstrip()
        if match[1] == "array" and not re.match(r"(?:\\left\s*)?\\\{", whole):
            return match[0]
        system = "cases" in match[1] or re.match(r"(?:\\left\s*)?\\\{", whole)
        return f" {'⟪§' if system else '⟪'}{_rows(match[2])}⟫ "

    for _ in range(3):  # one within another
        before = text
        text = _LINES.sub(lines, text)
        text = _FENCED.sub(r" \1 ", _MATRIX.sub(_matrix, text))
        if text == before:
            break
    return text


def _matrix(match: re.Match) -> str:
    if match[1] in ("vmatrix", "Vmatrix"):  # a determinant, which is not computed
        return match[0]
    return f" ⟦{_rows(match[2])}⟧ "


def _rows(inner: str) -> str:
    rows = _ROW.split(inner.strip())
    while len(rows) > 1 and not rows[-1].strip():
        rows.pop()
    return "‖".join("¦".join(row.split("&")) for row in rows)
