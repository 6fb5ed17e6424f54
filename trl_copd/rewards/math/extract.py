"""Finding the answer in a completion: the last box that closes, a bare answer, or what follows a mark."""

import re


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
