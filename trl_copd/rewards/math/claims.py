"""What a worked reference claims: the formula that a sentence gives, where its words cannot change that."""

import re

from .bounds import MAX_CHARS
from .brackets import closing
from .layout import undecorated


# "Solution is: x = 2", and a sentence that ends in the one formula that it gives: "The mode is $1/3$."
_SOLUTION = re.compile(r"\s*(?:the )?(?:general |unique |only )?solutions? ?(?:set )?(?:is|are) ?:", re.IGNORECASE)
_SENTENCE = re.compile(
    r"(?:The|Its)(?: (?:[A-Za-z'-]+|\$[^$=]*\$|\\\([^=]*?\\\)))+? (?:is|are|equals|has (?:length|area|volume|radius))"
    r" (?P<claim>-?[0-9](?:[0-9.,]*[0-9])?(?: [a-z]+){1,2}|\$[^$]+\$(?: [a-z]+){0,2}"
    r"|\\\((?:(?!\\\)).)+\\\)(?: [a-z]+){0,2})\.?"
)
# A worked reference that closes with a sentence that says the value: "… The area is $8\sqrt3$.", "So $x=3$ and $y=2$."
_FORMULAS = r"(?:\$[^$]+\$(?:,? and \$[^$]+\$|, \$[^$]+\$)*|\$\$[^$]+\$\$|-?[0-9][0-9.,/]*)(?: [a-z]+){0,2}"
_THEN = r"(?:So|Thus|Therefore|Hence|And so|and therefore|and so|and hence|so|hence|which gives|It follows that)"
_QUANTITY = (
    r"(?:area|volume|probability|determinant|length|distance|angle|speed|velocity|rank|dimension|slope|height|radius|sum"
    r"|value|current|matrix|coordinate|solution|average|mean|median|variance|force|work|time|cost|number|projection|approximation)"
)
_CONCLUSION = re.compile(
    rf"(?s:.*)(?:(?<=[.$\n] )|(?<=\n)|^){_THEN}?,? ?(?:the|The|its|Its) (?:[a-z]+ ){{0,3}}?{_QUANTITY}"
    rf"(?: is)?(?: (?:of|to|in|from|that|at) [A-Za-z0-9 -]+?| desired| required| needed)?"
    rf" (?:is|are|equals)(?: given by| about)?\s+(?P<claim>{_FORMULAS})\s*\.?"
    r"(?: It means [^$]*)?"
)
_RESULT = re.compile(
    rf"(?s:.*)(?:(?<=[.$\n] )|(?<=\n)|(?<=, )|^){_THEN},?\s+(?:it takes |we get |we obtain |we have )?"
    rf"(?P<claim>{_FORMULAS})\s*\.?"
)
_WE_HAVE = re.compile(r"(?:[A-Z][A-Za-z' ]+, we|We) have:?\s+(?P<claim>\$\$[^$]+\$\$)\.?")
_IF_IS = re.compile(rf"If \$[A-Z]\$ (?:is|denotes) (?:the|a) [a-z ]+, then (?P<claim>{_FORMULAS})\.?")
_FIRST_AND_SECOND = re.compile(
    r"(?:[A-Z][^$]*\. )?The [a-z ]+ is (?P<first>\$[^$]+\$),? and the [a-z ]+ is (?P<second>\$[^$]+\$)\.?"
)
# States that a question asks for, in one wording each
_STATES = (
    (r"(?:is|are) (?:not invertible|non-?invertible|singular)|(?:has|have) no inverse|not invertible|non-?invertible"
     r"|singular|does not have an inverse|inverse does not exist|no inverse(?: exists)?", "not invertible"),
    (r"(?:is|are) (?:invertible|non-?singular)", "invertible"),
    (r"(?:is|are) (?:not a|no) (?:linear )?subspace|not a subspace", "No"),
    (r"(?:is|are) (?:linearly independent|not linearly dependent)", "linearly independent"),
    (r"(?:is|are) (?:linearly dependent|not linearly independent)", "linearly dependent"),
    (r"solution exists and (?:it )?is unique|(?:has |there is )?(?:exactly one|(?:a |one )?unique) solution"
     r"|solution is unique", "unique solution"),
    (r"solution exists but (?:it )?is not unique|(?:has |have |there are )?infinitely many solutions"
     r"|solution is not unique", "infinitely many solutions"),
)  # fmt: skip
_NO_SUBSPACE = re.compile(r"(?:This|It) is not a subspace\. (?=[A-Z$])")
_SUBJECT = (
    r"(?:Therefore, |Hence,? |So,? )?(?:the |this |these |a |it )?(?:(?:set|matrix|system|vectors?|columns?) )?"
    r"(?:\$?[A-Z](?:\^\{-1\})?\$? )?"
)
_STATE = tuple(
    (re.compile(rf"{_SUBJECT}(?:{pattern})(?: of (?:\$[^$]+\$|[A-Z]))?\.?", re.IGNORECASE), meaning)
    for pattern, meaning in _STATES
)
_PLANE = re.compile(r"It is (?:the|a) (?:hyper)?(?:plane|line) (?:given by the equation )?(?P<claim>\$[^$]+\$)\.?")
_YES = re.compile(r"(?P<claim>Yes|No)(?:\. (?!of\b)(?=[A-Z$])|,? (?=since\b|because\b)|, (?=this is\b)).+", re.DOTALL)
_YES_IT_IS = re.compile(r"(?P<claim>Yes|No),? \$[^$]+\$\. [A-Z][a-z]+ \$.+", re.DOTALL)
_ABOUT = re.compile(r"(?:About|Approximately) (?P<claim>-?[0-9][^$]*)")
_THAT_IS = re.compile(r"(?P<claim>\$[^$]+\$), i\.e\.,? .{1,40}", re.DOTALL)
_COIN = {"n": "nickels", "d": "dimes", "q": "quarters", "p": "pennies"}
_YES_WITH_FORMULA = re.compile(r"Yes[.,;:] (?P<claim>\$[A-Za-z]\w? ?\([^$=()]+\) ?=[^$]+\$) ?\.?")
_MAX_STATE = 120
_MAX_SOLUTION = 4000  # characters in which they are searched: the time grows with the square
_NONE = re.compile(
    r"(?:There (?:is|are) )?[Nn]o (?:real )?solutions?(?: ?[:,] ?\$\\(?:oslash|emptyset|varnothing)\$)?\.?"
)
_SPLIT_FORMULA = re.compile(r"(?<=[=+,-])\s*\$\s+\$")  # "$y=$ $1$"
_NEGATES = re.compile(r"\b(?:not|no|never|neither|cannot|if|when|or)\b", re.IGNORECASE)
_NO_INVERSE = re.compile(
    r"(?s:.*)\b(?:has no inverse|is not invertible|is noninvertible|is singular) (?:exactly |only |precisely )?"
    r"(?:when|if|for) (?P<claim>\$[^$]+\$)\.?"
)
_REDUCES = re.compile(
    rf"(?s:.*)(?:{_THEN}|which implies|implying|so),? (?:that )?(?:the|this) expression"
    rf" (?:equals|is|reduces to|is equal to) (?P<claim>{_FORMULAS})\s*\.?(?: [A-Z][^$]*)?"
)
# "$3(2^5)-3=93$ (we subtract 3 because …)", "$\hat\mu^3=32.8$ is the MLE"
_REMARK = re.compile(
    r"(?P<claim>\$[^$]+\$)\s+(?:\((?:we|since|because|as|note|that is)\b[^()]*\)|is the MLE|You can [^$]*)\.?"
)
_LAST_WORDS = (
    _YES_WITH_FORMULA,
    _YES,
    _YES_IT_IS,
    _ABOUT,
    _THAT_IS,
    _PLANE,
    _CONCLUSION,
    _RESULT,
    _NO_INVERSE,
    _REDUCES,
    _REMARK,
    _WE_HAVE,
    _IF_IS,
)
# "maximum speed is 1" in a list, "P-value $=0.6$ and 0.95-confidence interval is $(4,5)$"
_NAMED_IS = re.compile(r"(?<=[,;] )((?:maximum|minimum|average|total) [a-z]+) is (?=[$0-9\\])")
_TEST = re.compile(
    r"(?:\$\\mathrm\{P\}\$|\$P\$|[Pp]) ?-value (?:\$?=|is \$?)(?P<p>[^$=]+)\$ and (?:an? |the )?[0-9.%\\]* ?-?"
    r"confidence interval is (?P<interval>\$[^$]+\$)\.?"
)
# Vectors that stand for what they span, for `spaces.py`
_EIGEN = re.compile(
    r"(?s:.*?)\b[Ee]igenvectors\b[^$:]*:?\s*(?P<claim>\$\$.*?\$\$|\$[^$]*\$)(?s:.*)", re.DOTALL
)  # fmt: skip
_EIGEN_LISTS = re.compile(
    r"[Ee]igenvalues:? (?P<values>[^.]+)\. (?:[A-Za-z]+ )?[Ee]igenvectors:? (?P<vectors>\$[^$]+\$)\.?(?s:.*)"
)
_AND_MORE = re.compile(
    r"(\\leftrightarrow\s*-?\w+)\s*\\\\\s*\{?\\left\[.*", re.DOTALL
)  # a check of them, in lines below
_OF_EIGEN = re.compile(r"\\leftrightarrow|eigenvalue")
_BASIS = re.compile(
    r"(?s:.*)\b(?:A|a|An|an|The|the)(?: orthonormal)? basis(?: for (?:the|its) [a-z ]+?)? is(?: given by)?:?\s*"
    r"(?P<claim>\$\$[^$]+\$\$|\$[^$]+\$)\.?"
)


def claim(solution: str) -> str:
    """What a sentence says, where its words cannot change that."""
    if found := _space(solution):
        return found
    if match := _SOLUTION.match(solution):
        return solution[match.end() :]
    solution = _SPLIT_FORMULA.sub(" ", solution)
    bare = solution.strip()
    if _NONE.fullmatch(bare):
        return "no solution"
    bare = re.sub(r"^\$?\s*\\bullet(?![A-Za-z])\s*", "$" if bare[:1] == "$" else "", bare)
    if "\\mathrm" in bare:
        bare = _coins(bare, r"\\mathrm\{~?[ndqp]\}")
    solution = bare if bare != solution.strip() else solution
    if _NO_SUBSPACE.match(bare):
        return "No"
    for pattern, meaning in _STATE if len(bare) < _MAX_STATE else ():
        if pattern.fullmatch(bare):
            return meaning
    if match := _FIRST_AND_SECOND.fullmatch(bare):
        return _in_order(match["first"].strip("$"), match["second"].strip("$"))
    if match := _TEST.fullmatch(bare):
        return f"${match['p']}$, {match['interval']}"
    solution = _NAMED_IS.sub(r"\1 = ", solution)
    match = _SENTENCE.fullmatch(bare)
    if match:
        return match["claim"] if not _NEGATES.search(bare[: match.start("claim")]) else solution
    for pattern in _LAST_WORDS if len(bare) <= _MAX_SOLUTION else ():
        if match := pattern.fullmatch(bare):
            return match["claim"]
    return solution


_WRAPPED = re.compile(r"\\(?:boxed|fbox|text|mbox)\s*(?=\{)|(?=\{)")
_SIZE = re.compile(r"\\(?:Large|large|LARGE|Huge|huge|small|displaystyle|textstyle)(?![A-Za-z])\s*")
_ANSWER_IS = re.compile(r"\\text\s*\{ ?(?:The|the) (?:final |correct )?answer is:? ?\}\s*")
_DENIES = re.compile(r"\b(?:not|false|wrong|untrue|incorrect|doubt|maybe|perhaps|impossible)\b|n't\b", re.IGNORECASE)
_CONTRADICTS = re.compile(r"\b(?:yes|no|maybe|perhaps|or|either)\b", re.IGNORECASE)


def _in_order(first: str, second: str) -> str:
    """Two values, of which it matters which is which, also where both have one name."""
    names = [text.partition("=")[0] for text in (first, second)]
    if names[0] != names[1]:
        return f"${first}$, ${second}$"
    first, second = (text.partition("=")[2] or text for text in (first, second))
    return rf"\text{{first: }} ${first}$; \text{{second: }} ${second}$"


def unwrapped(text: str) -> str:
    """An answer without boxes, sizes and colours around all of it."""
    before = None
    while text != before and len(text) <= MAX_CHARS:
        before = text
        text = _ANSWER_IS.sub("", _SIZE.sub("", undecorated(text).strip(), count=1), count=1).strip()
        start = match.end() if (match := _WRAPPED.match(text)) else -1
        if start >= 0 and closing(text, start) == len(text) - 1:
            text = text[start + 1 : -1]
        if "$" not in text and text.startswith("\\(") and text.endswith("\\)"):
            text = text[2:-2]
    return text


def answer_claim(answer: str) -> str:
    """What an answer claims, if it is a sentence as references are; not where the sentence takes it back."""
    if len(answer) > MAX_CHARS:
        return answer
    sentence = re.sub(r" {2,}", " ", re.sub(r"\s+(?=[,.](?:\s|$))", "", answer.replace("−", "-")))
    sentence = re.sub(r"\\(?:left|right)(?=[()])", "", re.sub(r"\.+$", ".", sentence.strip()))
    found = claim(sentence)
    if not found.strip():
        return answer
    before, _, rest = sentence.partition(found) if found in sentence else ("", "", "")
    return answer if _CONTRADICTS.search(rest) or _DENIES.search(before) else _coins(found, "[ndqp]")


def _coins(text: str, letter: str) -> str:
    """`13 \\mathrm{n}, 5 \\mathrm{d}` as nickels and dimes; the letters are different ones."""
    pattern = rf"[0-9]+ ?(?:{letter}|\\mathrm\{{~?[ndqp]\}})"
    if not re.fullmatch(rf"\$?{pattern}(?:(?:, ?| and ){pattern})+\$?", text):
        return text
    coins = re.findall(r"([0-9]+) ?(?:\\mathrm\{~?)?([ndqp])", text)
    if len({name for _, name in coins}) < len(coins):
        return text
    return ", ".join(rf"{number}\text{{ {_COIN[name]}}}" for number, name in coins)


def _space(solution: str) -> str | None:
    """Eigenvectors with eigenvalues, or a basis, marked as such."""
    if len(solution) > _MAX_SOLUTION:
        return None
    if "igenvectors" in solution:
        match = _EIGEN.fullmatch(solution)
        if match and _OF_EIGEN.search(match["claim"]):
            return r"\text{eigen} " + _AND_MORE.sub(r"\1$$", match["claim"])
        if match := _EIGEN_LISTS.fullmatch(solution.strip()):
            return rf"\text{{eigen}} {match['values']}, {match['vectors']}"
    if " basis" in solution and (match := _BASIS.fullmatch(solution.strip())):
        return rf"\text{{basis}} {match['claim']}"
    return None
