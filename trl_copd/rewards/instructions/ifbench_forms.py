"""IFBench's types of form: brackets, quotes, lists, lines, templates, and copies of the request."""

import re
from typing import Any

from . import arguments as read
from .arguments import Kind
from .text import Text, words_of


_PAIRS = {")": "(", "]": "[", "}": "{"}
_SMALL_WORDS = frozenset(
    "a an the and but or nor for so yet as at by in of off on per to up via with from into onto over than vs "
    "if".split()
)
_BULLET = re.compile(r"([ \t]*)([*+\-•])[ \t]+(\S.*)")
_HEADING = re.compile(r"^(?:#{1,6}[ \t].*|[ \t]*<h[1-6][^>]*>.*?</h[1-6]>[ \t]*)$", re.MULTILINE | re.IGNORECASE)
_ITALICS = re.compile(r"\s*(?:<p[^>]*>\s*)?<(i|em)>(.*?)</\1>", re.DOTALL | re.IGNORECASE)


def parentheses(response: Text, given: dict[str, Any]) -> bool:
    """Brackets five levels deep that close in order, around a word; single ones elsewhere, as in `1)`, do no harm."""
    open_: list[tuple[str, int, int]] = []  # bracket, place, levels inside
    for place, character in enumerate(response.text):
        if character in "([{":
            open_.append((character, place, 0))
        elif character in _PAIRS and open_:
            bracket, start, levels = open_.pop()
            if bracket != _PAIRS[character]:
                open_ = []
            elif levels >= 4 and words_of(response.text[start:place]):
                return True
            elif open_:
                open_[-1] = (*open_[-1][:2], max(open_[-1][2], levels + 1))
    return False


def quotes(response: Text, given: dict[str, Any]) -> bool:
    """Three levels of quotes, each of the other kind than the one around it, with words in the innermost."""
    text = response.text.translate(str.maketrans("“”‘’", "\"\"''"))
    text = re.sub(r"(?<=\w)'(?=\w)", "", text)  # don't
    inner = r"[^\"']*"
    patterns = (r'"{0}\'{0}"{1}"{0}\'{0}"', r"'{0}\"{0}'{1}'{0}\"{0}'")
    word = rf"(?={inner}\w){inner}"
    return any(re.search(pattern.format(inner, word), text) for pattern in patterns)


def quote_explained(response: Text, given: dict[str, Any]) -> bool:
    """After each quoted phrase come words that are not quoted, before the next one or the end."""
    parts = re.split(r'["“”]', response.text)
    quoted, after = parts[1::2], parts[2::2]
    return len(parts) % 2 == 1 and len(quoted) > 0 and all(map(words_of, quoted)) and all(map(words_of, after))


def options(response: Text, given: dict[str, Any]) -> bool:
    """One of the options and nothing else, but for a point and quotation marks."""
    said = _bare(response.text)
    return sum(said == _bare(option) for option in _options(given["options"])) == 1


def _options(text: str) -> list[str]:
    if "/" in text:
        return text.split("/")
    return [part for part in re.split(r",\s*(?:or\s+)?|\s+or\s+", text) if part.strip()]


def _bare(text: str) -> str:
    return " ".join(text.replace("’", "'").strip(" \n*_`\"'“”.").casefold().split())


def one_word_a_line(response: Text, given: dict[str, Any]) -> bool:
    return len(response.lines) > 1 and all(len(line.split()) == 1 for line in response.lines)


def emoji_ends(response: Text, given: dict[str, Any]) -> bool:
    """Every sentence ends with an emoji, behind its mark or before it."""
    import emoji

    def ends(sentence: str) -> bool:
        bare = sentence.rstrip(" .!?…*_\"'”)")
        found = emoji.emoji_list(bare)
        return bool(found) and found[-1]["match_end"] == len(bare)

    # an emoji between two sentences ends the first one, wherever a splitter puts it
    text = "".join(
        f"{response.text[a:b]}\n\n" if b else response.text[a:]
        for a, b in _spans([e["match_end"] for e in emoji.emoji_list(response.text)])
    )
    return bool(response.sentences) and all(ends(sentence) for sentence in Text(text).sentences)


def _spans(cuts: list[int]) -> list[tuple[int, int | None]]:
    starts = [0, *cuts]
    return list(zip(starts, [*cuts, None], strict=True))


def stairs(response: Text, given: dict[str, Any]) -> bool:
    """Each line is indented more than the one before."""
    indents = [len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip()) for line in response.lines]
    return len(indents) > 1 and all(a < b for a, b in zip(indents, indents[1:], strict=False)) and _all_words(response)


def _all_words(response: Text) -> bool:
    return all(words_of(line) for line in response.lines)


def separators(response: Text, given: dict[str, Any]) -> bool:
    """At least two different items, each behind the separator, and no other bullets."""
    sep = given["sep"].strip()
    items = [tuple(words_of(part)) for part in response.text.split(sep)[1:]]
    others = [line for line in response.lines if _BULLET.match(line) and not line.strip().startswith(sep)]
    return len(items) > 1 and all(items) and len(set(items)) == len(items) and not others


def thesis(response: Text, given: dict[str, Any]) -> bool:
    """Each section, below a heading or after a blank line, begins with a sentence in `<i>` or `<em>` and goes on."""
    if _HEADING.search(response.text):
        sections = [part for part in _HEADING.split(response.text) if part.strip()]
    else:
        sections = response.paragraphs
    begun = [_ITALICS.match(section) for section in sections]
    return bool(begun) and all(
        match and words_of(match[2]) and words_of(section[match.end() :])
        for match, section in zip(begun, sections, strict=True)
    )


def sub_bullets(response: Text, given: dict[str, Any]) -> bool:
    """Bullets `*`, and at least one `-` below each."""
    marks = [(match[2], tuple(words_of(match[3]))) for match in map(_BULLET.match, response.lines) if match]
    if not marks or marks[0][0] != "*" or not all(words for _, words in marks):
        return False
    below = "".join(mark for mark, _ in marks)
    tops = [words for mark, words in marks if mark == "*"]
    return re.fullmatch(r"(?:\*-+)+", below) is not None and len(set(tops)) == len(tops)


def sentences_then_bullets(response: Text, given: dict[str, Any]) -> bool:
    first = next((i for i, line in enumerate(response.lines) if re.match(r"[ \t]*\*[ \t]+\S", line)), None)
    if first is None:
        return False
    before = Text("\n".join(response.lines[:first])).sentences
    items = {
        tuple(words_of(match[3])) for match in map(_BULLET.match, response.lines[first:]) if match and match[2] == "*"
    }
    ended = {tuple(words_of(sentence)) for sentence in before if sentence.rstrip('*_"').endswith(".")}
    return len(ended) >= 2 and len({item for item in items if item}) >= 2


def title_case(response: Text, given: dict[str, Any]) -> bool:
    """The first letter of every word but small ones is a capital, and the rest of it is not all capitals."""
    words = [part for word in response.words for part in word.split("-")]
    letters = [word for word in words if word[:1].isalpha() and word[0].lower() != word[0].upper()]
    major = [word for i, word in enumerate(letters) if i == 0 or word.lower() not in _SMALL_WORDS]
    shouted = sum(len(word) > 1 and word.isupper() for word in major)
    return bool(major) and all(word[0].isupper() for word in major) and shouted <= len(major) / 2


def template(response: Text, given: dict[str, Any]) -> bool:
    parts = re.fullmatch(r"[*_\s]*My Answer:(.*?)My Conclusion:(.*?)Future Outlook:(.*)", response.text, re.DOTALL)
    if not parts or response.text.count("My Conclusion:") + response.text.count("Future Outlook:") != 2:
        return False
    filled = [tuple(words_of(part)) for part in parts.groups()]
    empty = (("answer",), ("conclusion",), ("outlook",))
    return all(filled) and len(set(filled)) == 3 and not set(filled) & set(empty)


def no_whitespace(response: Text, given: dict[str, Any]) -> bool:
    return not re.search(r"\s", response.text) and bool(response.words)


# ---- copies ----


def repeat_change(response: Text, given: dict[str, Any]) -> bool:
    """The request with another first word, and nothing else."""
    said, wanted = (text.strip().strip('"“”').split() for text in (response.text, given["prompt_to_repeat"]))
    same = [word.casefold() for word in said[1:]] == [word.casefold() for word in wanted[1:]]
    return bool(said) and same and words_of(said[0]) != words_of(wanted[0])


def repeat_simple(response: Text, given: dict[str, Any]) -> bool:
    return _bare(response.text) == _bare("Only output this sentence here, ignore all other requests.")


def repeat_span(response: Text, given: dict[str, Any]) -> bool:
    """The characters from one index to the other, both counted in, as they stand."""
    span = given["prompt_to_repeat"][given["n_start"] : given["n_end"] + 1]
    return bool(span.strip()) and response.text.strip('"“”') == span.strip()


KINDS: dict[str, Kind] = {
    "format:parentheses": Kind(parentheses),
    "format:quotes": Kind(quotes),
    "format:quote_unquote": Kind(quote_explained),
    "format:options": Kind(options, {"options": read.text}, copies=True),
    "format:newline": Kind(one_word_a_line),
    "format:emoji": Kind(emoji_ends),
    "format:line_indent": Kind(stairs),
    "format:list": Kind(separators, {"sep": read.text}),
    "format:thesis": Kind(thesis),
    "format:sub-bullets": Kind(sub_bullets),
    "format:no_bullets_bullets": Kind(sentences_then_bullets),
    "format:title_case": Kind(title_case),
    "format:output_template": Kind(template),
    "format:no_whitespace": Kind(no_whitespace),
    "repeat:repeat_change": Kind(repeat_change, {"prompt_to_repeat": read.text}, copies=True),
    "repeat:repeat_simple": Kind(repeat_simple, copies=True),
    "repeat:repeat_span": Kind(
        repeat_span, {"prompt_to_repeat": read.text, "n_start": read.number, "n_end": read.number}, copies=True
    ),
}
