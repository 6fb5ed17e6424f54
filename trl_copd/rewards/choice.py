"""Multiple choice: the letter that a completion states as its answer, never one that merely occurs in it."""

import re
import unicodedata
from functools import partial
from typing import Any

from .base import Verdict, VerifierReward, after_thinking
from .verdict import shown


MAX_CHARS = 400  # of what follows a mark and is read as the answer
MAX_MARKS = 20  # from the end; those before them do not count

# What announces an answer. The last one counts, or the last line if it is an answer and nothing else.
_MARK = re.compile(
    r"\\boxed\s*\{|\\fbox\s*\{|<answer>|####"
    r"|\b(?:ans(?:wer)?|correct\s+(?:option|choice|letter)|(?:option|choice)\s+chosen|my\s+(?:final\s+)?(?:choice|pick))\b"
    r"[\s*_`]*(?:is\b|:|=)[\s:*_`]*"
    # several, where letters follow: "the other answers are wrong" and "the wrong answers are A, C" state nothing
    r"|(?<!wrong )(?<!other )(?<!false )(?<!incorrect )(?<!possible )(?<!remaining )(?<!none of the )"
    r"\b(?:answers|correct\s+(?:options|choices|letters)|(?:options|choices)\s+chosen|my\s+(?:final\s+)?(?:choices|picks))\b"
    r"[\s*_`]*(?:are\b|:|=)[\s:*_`]*(?=(?:(?:options|choices)\s+)?[^\w\n]{0,9}(?:(?-i:[A-Z]+)(?![\w'’])|[a-z][)\]]?\s*(?:[,;&+]|and\b)))",
    re.IGNORECASE,
)
_WRAPPERS = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathsf|boldsymbol)\s*\{([^{}]*)\}")
# Lines that are an answer and nothing else
_BARE = re.compile(r"(?:option |choice )?[(\[]?[A-Z][)\]]?[.)]?", re.IGNORECASE)
_BARE_SEVERAL = re.compile(r"[(\[]?[A-Z][)\]]?(?:\W+(?:and\W+)?[(\[]?[A-Z][)\]]?)*\.?|(?-i:[A-Z]+)", re.IGNORECASE)
_WITH_OPTION = re.compile(r"\(?[A-Z]\)\s.*|[A-Z][.:]\s.*", re.IGNORECASE)
_ONE = re.compile(
    r"(?:(?:option|choice)\s+)?(?:\(([a-z])\)|\[([a-z])\]|([a-z])(?![a-z0-9]))(.*)", re.IGNORECASE | re.DOTALL
)
# After a bare letter: the option's text behind a sign, or the reason. "A dog" is neither, and so no answer A
_TEXT_AFTER = re.compile(r"\s*[).:]\s*(.*)|\s+[-–—]\s+(.*)|\s+\(([^()]+)\)\.?|,?\s+(?:because|since)\b.*", re.DOTALL)
_OTHER = re.compile(
    r"(?:\b(?i:or|and|nor|maybe|perhaps)\b|[,;/&|+])\s*(?:(?i:option|choice|maybe|perhaps|possibly)\s+)*[(\[]?[A-Z][)\]]?(?![A-Za-z'’])"
    r"|[(\[][A-Z][)\]]|(?<![A-Za-z])[A-Z]\)|\b[A-HJ-Z]\s{1,9}(?:\w{1,9}\s{1,9}){0,2}(?:also|too|possible)\b"
)
_RIGHT = re.compile(r"\s+is\s+(?:(?:the\s+)?(?:correct|right)(?:\s+(?:answer|option|choice|one))?|the\s+answer)[.!]?")
_REASON = re.compile(r",?\s+(?:because|since)\b")  # may name the options that it excludes
# What comes before a mark in words that states nothing: "I don't think the", "if the"
_DENIED = re.compile(
    r"(?:(?:n['’]t|\bnot|\bnever|\bcannot)\s+(?:really\s+)?(?:think|believe|say|claim|mean|agree|see|know|sure|certain|true)"
    r"|\b(?:doubt|unlikely|unsure|wonder|if|whether|unless|suppose|supposing|assume|assuming))"
    r"(?:\s+(?:that|if|whether|why))*\s+(?:(?:the|my)\s+)?(?:(?:final|correct|right|best)\s+)?\Z",
    re.IGNORECASE,
)
# What joins an answer to the one before it on the same line: ", " " or the "; "no, the" takes that one back
_JOINED = re.compile(
    r"[(\[]?([A-Z])[)\]}]*(?:</answer>)?\s*(?:(?:[,;/&|+]|\.?\s*\b(?:or|and|maybe|perhaps)\b)\s*"
    r"(?:(?:or|and|maybe|perhaps|also|the|my|final|correct)\b\s*)*|(?<=[}>])\s*)",
    re.IGNORECASE,
)
# Words behind which another letter is a second thought, with the text up to the end of the sentence
_SECOND_THOUGHT = re.compile(
    r"(?:\b(?:(?P<bare>or)|maybe|perhaps|possibly|alternatively|could\s+also\s+be)\b"
    r"|(?:^|[\n.!?,;(])\s*(?:no(?!\s+(?:other|one|option|choice|doubt))|nope|wait|hmm+|actually|correction|sorry)\b)"
    r"(?=(?P<rest>[^.\n]{0,40}(?![A-Za-z])))",
    re.IGNORECASE,
)
# A bare "or" is none in a later sentence that names other letters only and proposes none: "The others (A or C) fail"
_SENTENCE = re.compile(r"(?<![^A-Za-z][A-Za-z])[.!?](?=\s)|\n")
_PROPOSES = re.compile(
    r"\b(?:might|may|could|can|would|should|possibl[ey]|also|too(?!\s+\w)|likely|plausible|either|instead|rather|think|believe"
    r"|guess|sure|certain|answers?|correct|right|choose|pick|go(?:ing)?|it(?:['’]s|\s+is|\s+was))\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"\b(?!(?:options?|choices?|and|or|nor)\b)[A-Za-z]{2,}", re.IGNORECASE)
_NAMED = re.compile(
    r"[(\[][A-Z][)\]]|(?<![A-Za-z])[B-HJ-Z](?![A-Za-z'’])|(?<![A-Za-z])[AI](?=\)|\s*(?:,|\b(?:or|nor|and)\b))"
)
# "Option C is correct." A letter without "option" before it must begin the sentence: "vitamin C is correct" is prose
_IS_CORRECT = re.compile(
    r"(?:\b(?i:option|choice|answer)\s{1,9}(?:[(\[]([A-Za-z])[)\]]|([A-Z]))"
    r"|(?:^|(?<=[.!?:\n]))[ \t]{0,20}(?:(?i:so|thus|hence|therefore),?[ \t]{1,9})?(?:[(\[]([A-Z])[)\]]|([A-Z])))[)\]]?"
    r"\s{1,9}is\s{1,9}(?:(?:the|indeed|therefore)\s{1,9})?"
    r"(?:(?:correct|right)(?:\s{1,9}(?:answer|option|choice|one))?|(?<=the )answer)"
    r"(?=[ \t]{0,9}(?:[.!]|$)|,?\s{1,9}(?:because|since)\b)",
    re.MULTILINE,
)
_IN_DOUBT = re.compile(
    r"(?:n['’]t|\b(?:not|never|cannot|neither|nor|either|or|and|no|none|doubt|if|whether|unless|suppose|supposing|assume"
    r"|assuming|unlikely|wonder|false|wrong)\b|[&/|])[^.!?\n,;:]*\Z|\b(?:if|unless|suppose|supposing|assume|assuming)\b[^.!?\n]*\Z"
    r"|\b(?:that|if|whether)\s*\n\s*\Z|\b[A-Z][)\]]?\s*[,;]\s*\Z",
    re.IGNORECASE,
)
# A and I are words too, so they count where nothing follows that they could belong to
_LETTER = re.compile(r"[(\[]([A-Z])[)\]]|\b([B-HJ-Z])\b(?!['’])|\b([AI])(?=\s*(?:[,;:!?]|$))")


def verify_choice(completion: str, solution: Any, multiple: bool = False) -> Verdict:
    """
    Compare the letter, or the set of letters, that a completion states with the solution. Pure.

    Args:
        completion (`str`): Text to grade.
        solution (`str`, or `list[str]` with `multiple`): As in [`ChoiceReward`].
        multiple (`bool`): As in [`ChoiceReward`].

    Returns:
        [`Verdict`]: Unreadable where the solution names no letter.
    """
    gold = _gold(solution, multiple)
    if gold is None:
        hint = "" if multiple else "; ChoiceReward(multiple=True) takes several letters, exact_match_reward texts"
        return Verdict(None, f"a solution must be a letter, got {shown(solution, 100)}{hint}")
    letters, option = gold
    text = after_thinking(completion)
    if text is None:
        return Verdict(False, "the reasoning was not closed")
    stated = _statement(unicodedata.normalize("NFKC", text), multiple)
    if stated is None:
        return Verdict(False, "no answer is stated")
    statement, beside = stated
    given = _several(statement) if multiple else _one(statement, option)
    if given is None:
        return Verdict(False, f"{statement!r:.100} is not one choice")
    if beside if multiple else beside - given:
        return Verdict(False, f"{statement!r:.100} is not the only choice: {', '.join(sorted(beside))}")
    return Verdict(given == letters, f"{', '.join(sorted(given))} against {', '.join(sorted(letters))}")


class ChoiceReward(VerifierReward):
    r"""
    Reward 1.0 for the letter in the column `solution`, else 0.0; see [`VerifierReward`] for `None`.

    `solution` is a letter from A to Z, in either case: `"B"`, `"(B)"`, `"B."`, `"Option B"`, `"\boxed{B}"`, or a
    worked solution that states one as an answer does; or a letter with its option, such as `"B) Paris"`. In the second
    form, an answer that also gives a text must give this one. Numbers and texts without a letter are unreadable: use
    [`ExactMatchReward`] for those.

    The answer is what follows the last of `\boxed{`, `<answer>`, `####`, "answer:", "answer is", "correct option is",
    "my choice:" after any `</think>`; or the last line, if it is only an answer. It must be one letter; two, joined by
    anything, are wrong. docs/rewards/choice.md has a table.

    Args:
        multiple (`bool`, *optional*, defaults to `False`):
            Whether several letters may be right. `solution` is then a list, or a text such as `"A, C"` or `"AC"`, and
            the answer must name exactly these letters, in any order.
        name (`str`, *optional*, defaults to `"choice_reward"`): Name in metrics.

    Example:
    ```python
    >>> from trl_copd.rewards import choice_reward

    >>> completions = [r"So \boxed{B}.", "**Answer:** (B) Paris", "B", "A or B", "A dog runs to B"]
    >>> choice_reward(prompts=["?"] * 5, completions=completions, solution=["B"] * 5)
    [1.0, 1.0, 1.0, 0.0, 0.0]
    ```
    """

    contained = True

    def __init__(self, multiple: bool = False, name: str = "choice_reward"):
        super().__init__(partial(verify_choice, multiple=multiple), columns=("solution",), name=name)


choice_reward = ChoiceReward()


def _gold(solution: Any, multiple: bool) -> tuple[frozenset[str], str | None] | None:
    """Letters of the reference, and the text of its option if it has one."""
    if multiple and isinstance(solution, (list, tuple)) and all(isinstance(letter, str) for letter in solution):
        solution = ",".join(solution)
    if not isinstance(solution, str):
        return None
    text = _clean(unicodedata.normalize("NFKC", solution))
    if multiple:
        letters = _several(text)
        if letters is None:
            stated = _statement(unicodedata.normalize("NFKC", solution), True)
            letters = _several(stated[0]) if stated and not stated[1] else None
        return None if letters is None else (letters, None)
    direct = _letter_with_option(text)
    if direct is None:  # a worked solution, `\boxed{B}`, "The answer is B."
        stated = _statement(unicodedata.normalize("NFKC", solution), False)
        direct = _letter_with_option(stated[0]) if stated and not stated[1] else None
    return direct


_GOLD = re.compile(
    r"(?:option |choice )?[(\[]?([a-z])[)\]]?(?:[).:]*|[).:]\s+(\S.*)|\)\s*(\S.*)|(?<=[)\]]) (\S.*)| [-–—] (\S.*))",
    re.IGNORECASE | re.DOTALL,
)


def _letter_with_option(text: str) -> tuple[frozenset[str], str | None] | None:
    match = _GOLD.fullmatch(text)
    option = next((group for group in match.groups()[1:] if group), None) if match else None
    if not match or option and re.search(r"\b(?:or|and) \(?[A-Z]\)", option):
        return None
    return frozenset(match[1].upper()), option


def _statement(text: str, multiple: bool) -> tuple[str, frozenset[str]] | None:
    """What the text gives as its answer, without decoration, and letters that it gives beside it; or `None`."""
    marks = list(_MARK.finditer(text))
    last = _last_line(text, marks[-1].end() if marks else 0, multiple)
    if last is not None:
        return last, frozenset()
    said = None if multiple else _said_correct(text[marks[-1].end() if marks else 0 :])
    if said is not None:
        return said
    for index in range(len(marks) - 1, max(-1, len(marks) - 1 - MAX_MARKS), -1):
        mark = marks[index]
        rest = text[mark.end() :]
        if mark[0].endswith("{"):
            answer, closed, after = _to_brace(rest)
            if not closed:
                continue  # cut off within the box: what was stated before it counts
        elif mark[0].lower() == "<answer>":
            answer, closed, after = rest.partition("</answer>")
            if not closed:
                continue
        else:
            answer, line_end, after = rest.lstrip().partition("\n")
            after = line_end + after
            sentence = re.split(r"[.!?\n]", text[: mark.start()][-100:])[-1]
            if mark[0][0].isalpha() and _DENIED.search(sentence):
                return None
        if len(answer) > MAX_CHARS:
            return None
        joined = _joined(text[marks[index - 1].end() : mark.start()]) if index else frozenset()
        answer = _clean(answer)
        return answer, joined | _second_thoughts(after, frozenset(re.findall(r"(?<![A-Za-z])[A-Z]", answer.upper())))
    return None


def _said_correct(text: str) -> tuple[str, frozenset[str]] | None:
    """The letter of which the text says that it is correct, if there are such sentences, and they agree."""
    plain = re.sub(r"[*_`$]|\\[()\[\]]", "", text)
    found = list(_IS_CORRECT.finditer(plain))[-MAX_MARKS:]
    if not found:
        return None
    letters = sorted({next(group for group in match.groups() if group).upper() for match in found})
    if any(_IN_DOUBT.search(plain[max(0, match.start() - 100) : match.start()]) for match in found):
        return "in doubt", frozenset()
    return ", ".join(letters), _second_thoughts(plain[found[-1].end() :], frozenset(letters))


def _joined(between: str) -> frozenset[str]:
    """The letter of the mark before, if what is `between` joins it to the answer."""
    match = _JOINED.fullmatch(_clean(between)) if len(between) <= 100 and "\n" not in between else None
    return frozenset(match[1].upper() if match else "")


def _second_thoughts(after: str, given: frozenset[str]) -> frozenset[str]:
    """Letters that the text after an answer, which gave these letters, offers instead."""
    lines = [line.strip() for line in after.splitlines()]
    nearby = "\n".join(lines[:1] + [line for line in lines[1:] if line])[:MAX_CHARS]
    thoughts = [match for match in _SECOND_THOUGHT.finditer(nearby) if not _of_others(nearby, match, given)]
    letters = (letter for match in thoughts for letter in _LETTER.finditer(match["rest"]))
    return frozenset(letter[letter.lastindex or 0] for letter in letters)


def _of_others(text: str, match: re.Match[str], given: frozenset[str]) -> bool:
    """Whether a bare "or" joins letters in a sentence, after that of the answer, which leaves the answer out."""
    ends = [end.end() for end in _SENTENCE.finditer(text, 0, match.start())]
    if not match["bare"] or not ends:
        return False
    start = max(text.rfind(mark, 0, match.start()) for mark in ".!?\n") + 1
    letter = _NAMED.search(text, start)
    if not letter or letter.start() > match.start() or not _WORD.search(text, start, match.start()):
        return False  # the line or sentence begins with it, or with letters alone
    end = _SENTENCE.search(text, match.end())
    sentence = text[ends[-1] : end.start() if end else len(text)]
    named = re.findall(r"(?<![A-Za-z])(?:[A-Z]|[b-hj-z])(?![A-Za-z'’])", sentence)
    return given.isdisjoint(letter.upper() for letter in named) and not _PROPOSES.search(sentence)


def _last_line(text: str, start: int, multiple: bool) -> str | None:
    """
    The last line, if it follows `start` and is nothing but letters, and the line before is not (that would be a list
    of the options); or the only line, which may also be a letter with its option.
    """
    *before, line = [_clean(line) for line in text.splitlines() if line.strip()][-2:] or [""]
    if start and not text[start:].strip().count("\n"):
        return None  # it is what follows the mark
    bare = _BARE_SEVERAL if multiple else _BARE
    if bare.fullmatch(line) and not (before and bare.fullmatch(before[0])):
        return line
    return line if not before and not start and _WITH_OPTION.fullmatch(line) else None


def _to_brace(text: str) -> tuple[str, str, str]:
    """Text up to the brace that closes it, that brace (empty where none does), and what follows."""
    depth = 1
    for index, character in enumerate(text[: 2 * MAX_CHARS]):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return text[:index], "}", text[index + 1 :]
    return text, "", ""


def _clean(text: str) -> str:
    """Without LaTeX fonts, Markdown, dollars and quotation marks; white space is one blank."""
    for _ in range(3):
        text = _WRAPPERS.sub(r"\1", text)
    text = re.sub(r"\\(?:[,;: ]|q?quad\b)|(?<=\))~", " ", text)
    text = re.sub(r"\\(?:left|right|[!()\[\]])|[*_`$\"“”]", "", text)
    return " ".join(text.split())


def _one(statement: str, option: str | None) -> frozenset[str] | None:
    """The letter that a statement consists of, or begins with if the option's text or a reason follows."""
    match = _ONE.fullmatch(statement)
    if not match:
        return None
    enclosed, bare, rest = match[1] or match[2], match[3], match[4]
    letter = (enclosed or bare).upper()
    if rest.strip(" .,;:!)") == "":
        return frozenset(letter) if rest.strip() in ("", ".", ")", ").", ":", "!") else None
    after = re.fullmatch(r"\s*[.:,-]?\s*(.*)", rest, re.DOTALL) if enclosed else _TEXT_AFTER.fullmatch(rest)
    if _RIGHT.fullmatch(rest):
        return frozenset(letter)
    if not after or (bare and bare.islower() and not rest.startswith(")")):  # "a) dog", but not "a. dog"
        return None
    given = next((group for group in after.groups() if group), "").rstrip(".")
    if option is not None and given:
        return frozenset(letter) if given.casefold() == " ".join(option.split()).rstrip(".").casefold() else None
    beside = _second_thoughts(rest, frozenset(letter)) - {letter} or (not _REASON.match(rest) and _OTHER.search(rest))
    return None if beside or re.fullmatch(r"\W*[A-Za-z]\W*", given) else frozenset(letter)  # "C) 5", but not "A) B"


def _several(statement: str) -> frozenset[str] | None:
    """The letters that a statement consists of."""
    bare = re.sub(r"\b(?:options?|choices?)\b", "", statement, flags=re.IGNORECASE).strip(" .:")
    one = r"[(\[]?[A-Za-z][)\]]?"
    if not re.fullmatch(rf"{one}(?:\s*(?:,\s*and\b|[,;&+]|\band\b)\s*{one}|\s+{one})*|[A-Z]+", bare):
        return None
    letters = re.findall(r"[A-Za-z]", re.sub(r"\band\b", " ", bare))
    return frozenset(letter.upper() for letter in letters) if len(set(letters)) == len(letters) else None
