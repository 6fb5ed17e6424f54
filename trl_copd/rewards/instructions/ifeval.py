"""The 25 types of IFEval (Zhou et al. 2023), each as its instruction says it."""

import re
from typing import Any

from ..fences import last_block
from ..strict_json import StrictJSONError, parse_json
from . import arguments as read
from .arguments import Kind, holds
from .language import is_in, language
from .text import Text, phrase, times, unmasked, words_of


# ---- keywords, letters, case ----


def keywords(response: Text, given: dict[str, Any]) -> bool:
    return all(times(response.text, keyword) for keyword in given["keywords"])


def frequency(response: Text, given: dict[str, Any]) -> bool:
    every, apart = (times(response.text, given["keyword"], apart) for apart in (False, True))
    return holds(given["relation"], given["frequency"], every, apart)


def forbidden(response: Text, given: dict[str, Any]) -> bool:
    return not any(times(response.text, word) for word in given["forbidden_words"])


def letters(response: Text, given: dict[str, Any]) -> bool:
    letter, text = given["letter"].casefold(), unmasked(response.text).casefold()
    short = re.sub(r"(.)\1{2,}", r"\1\1", text)  # no word has a letter three times in a row
    return holds(given["let_relation"], given["let_frequency"], text.count(letter), short.count(letter))


def capitals(response: Text, given: dict[str, Any]) -> bool:
    found = [word for word in response.words if word.isupper()]
    pairs = zip(response.words, ["", *response.words], strict=False)
    apart = [word for word, before in pairs if word.isupper() and word != before]
    return holds(given["capital_relation"], given["capital_frequency"], len(found), len(apart))


def all_upper(response: Text, given: dict[str, Any]) -> bool:
    return response.text.isupper() and is_in(response.text, "en")


def all_lower(response: Text, given: dict[str, Any]) -> bool:
    return response.text.islower() and is_in(response.text, "en")


# ---- lengths ----


def sentences(response: Text, given: dict[str, Any]) -> bool:
    distinct = len({tuple(words_of(text)) for text in response.sentences if re.search(r"[^\W\d_]", text)})
    return holds(given["relation"], given["num_sentences"], len(response.sentences), distinct)


def words(response: Text, given: dict[str, Any]) -> bool:
    """Numbers and single letters are words too, but make up at most half of those that are to be reached."""
    plain = sum(sum(map(str.isalpha, word)) > 1 or not word.isascii() for word in response.words)
    sure = min(len(response.words), 2 * plain)
    return holds(given["relation"], given["num_words"], len(response.words), sure)


def starred_paragraphs(response: Text, given: dict[str, Any]) -> bool:
    """Paragraphs apart by `***`, each with words, no two the same."""
    parts = [words_of(part) for part in re.split(r"(?<!\*)\*\*\*(?!\*)", response.text)]
    parts = parts[1 if not parts[0] else 0 : len(parts) - 1 if not parts[-1] else None]
    return len(parts) == given["num_paragraphs"] == len({tuple(part) for part in parts}) and all(parts)


def nth_first_word(response: Text, given: dict[str, Any]) -> bool:
    paragraphs, nth = response.paragraphs, given["nth_paragraph"]
    if len(paragraphs) != given["num_paragraphs"] or not 1 <= nth <= len(paragraphs):
        return False
    first, wanted = words_of(paragraphs[nth - 1])[:1], words_of(given["first_word"])
    return len({tuple(words_of(part)) for part in paragraphs}) == len(paragraphs) and first == wanted[:1]


# ---- content and format ----


def placeholders(response: Text, given: dict[str, Any]) -> bool:
    """Different names in brackets that are no links, footnotes or check boxes."""
    found = re.findall(r"\[([^\[\]\n]{2,100})\](?!\()", response.text)
    return len({name.strip().casefold() for name in found if re.search(r"[^\W\d]", name)}) >= given["num_placeholders"]


def postscript(response: Text, given: dict[str, Any]) -> bool:
    """A line with the marker and words after it, below the response."""
    marker = r"\s?".join(re.escape(character) for character in given["postscript_marker"].strip())
    match = re.search(rf"^[ \t*_#>]*{marker}(?![^\W_])(.*)\Z", response.text, re.IGNORECASE | re.MULTILINE | re.DOTALL)
    return bool(match and words_of(match[1]) and words_of(response.text[: match.start()]))


def bullets(response: Text, given: dict[str, Any]) -> bool:
    found = [words_of(item) for item in re.findall(r"^[ \t]*[*+-][ \t]+(\S.*)$", response.text, re.MULTILINE)]
    return len(found) == given["num_bullets"] == len({tuple(item) for item in found if item})


ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def constrained(response: Text, given: dict[str, Any]) -> bool:
    """One of the three answers as a sentence of its own, and no other of them."""
    said = {answer for answer in ANSWERS if phrase(answer.rstrip(".")).search(response.text)}
    alone = {sentence.strip(' *_"`') for line in response.lines for sentence in [line, *Text(line).sentences]}
    return len(said) == 1 and said <= {sentence if sentence.endswith(".") else "" for sentence in alone}


def highlights(response: Text, given: dict[str, Any]) -> bool:
    lines = "\n".join(re.sub(r"^[ \t]*[*+-][ \t]+", "", line) for line in response.lines)
    found = re.findall(r"(\*{1,3})(?=[^\s*])([^*\n]+)(?<=[^\s*])\1", lines)
    return len({tuple(words_of(text)) for _, text in found if words_of(text)}) >= given["num_highlights"]


def sections(response: Text, given: dict[str, Any]) -> bool:
    """Headings with the splitter and the numbers from 1 on, each with text below or beside it."""
    heading = rf"^[ \t#*_]*{re.escape(given['section_spliter'].strip())}[ \t]*(\d{{1,3}})(?![^\W_])"
    parts = re.split(heading, response.text, flags=re.MULTILINE)[1:]
    numbers, contents = [int(number) for number in parts[::2]], [tuple(words_of(part)) for part in parts[1::2]]
    return (
        len(numbers) >= given["num_sections"]
        and numbers == list(range(1, len(numbers) + 1))
        and len({content for content in contents if content}) == len(contents)
    )


def json_format(response: Text, given: dict[str, Any]) -> bool:
    """An object or a list with something in it and nothing around it, but for a fence."""
    block = last_block(response.text, ("", "json")) if response.text.startswith("```") else None
    if block is not None and not response.text.endswith("```"):
        return False
    try:
        return bool(isinstance(value := parse_json(response.text if block is None else block), (dict, list)) and value)
    except StrictJSONError:
        return False


def title(response: Text, given: dict[str, Any]) -> bool:
    return any(words_of(found) for found in re.findall(r"<<([^\n<>]+)>>", response.text))


def two_responses(response: Text, given: dict[str, Any]) -> bool:
    parts = [words_of(part) for part in re.split(r"(?<!\*)\*{6}(?!\*)", response.text)]
    return len(parts) == 2 and all(parts) and parts[0] != parts[1]


def repeat_prompt(response: Text, given: dict[str, Any]) -> bool:
    """The request word for word, and then an answer."""
    request, text = (" ".join(text.split()).casefold() for text in (given["prompt_to_repeat"], response.text))
    rest = text[len(request) :]
    return text.startswith(request) and bool(words_of(rest)) and rest.strip() not in request


def end_phrase(response: Text, given: dict[str, Any]) -> bool:
    phrase, text = (" ".join(t.split()).casefold() for t in (given["end_phrase"].strip(), response.text))
    text = text.rstrip('"*_ ')
    return text.endswith(phrase.rstrip('"*_ ')) and len(words_of(text)) > len(words_of(phrase))


def quotation(response: Text, given: dict[str, Any]) -> bool:
    """The marks around the response belong together: `"A" and "B"` are two quotations."""
    text = response.text
    if len(text) < 3 or text[0] not in '"“' or text[-1] not in '"”' or not words_of(text):
        return False
    depth = 1
    for before, mark in zip(text, text[1:-1], strict=False):
        if mark in '"“”':
            opens = mark == "“" or mark == '"' and (before.isspace() or before in "([{-–—*_")
            depth += 1 if opens else -1
        if depth == 0:
            return False
    return True


KINDS: dict[str, Kind] = {
    "keywords:existence": Kind(keywords, {"keywords": read.texts}),
    "keywords:frequency": Kind(
        frequency, {"keyword": read.text, "frequency": read.number, "relation": read.relation}
    ),
    "keywords:forbidden_words": Kind(forbidden, {"forbidden_words": read.texts}),
    "keywords:letter_frequency": Kind(
        letters, {"letter": read.character, "let_frequency": read.number, "let_relation": read.relation}
    ),
    "language:response_language": Kind(lambda response, given: is_in(response.text, given["language"]),
                                       {"language": language}),
    "length_constraints:number_sentences": Kind(
        sentences, {"num_sentences": read.number, "relation": read.relation}
    ),
    "length_constraints:number_paragraphs": Kind(starred_paragraphs, {"num_paragraphs": read.positive}),
    "length_constraints:number_words": Kind(words, {"num_words": read.number, "relation": read.relation}),
    "length_constraints:nth_paragraph_first_word": Kind(
        nth_first_word, {"num_paragraphs": read.positive, "nth_paragraph": read.positive, "first_word": read.text}
    ),
    "detectable_content:number_placeholders": Kind(placeholders, {"num_placeholders": read.positive}),
    "detectable_content:postscript": Kind(postscript, {"postscript_marker": read.text}),
    "detectable_format:number_bullet_lists": Kind(bullets, {"num_bullets": read.positive}),
    "detectable_format:constrained_response": Kind(constrained, copies=True),
    "detectable_format:number_highlighted_sections": Kind(highlights, {"num_highlights": read.positive}),
    "detectable_format:multiple_sections": Kind(
        sections, {"section_spliter": read.text, "num_sections": read.positive}
    ),
    "detectable_format:json_format": Kind(json_format),
    "detectable_format:title": Kind(title),
    "combination:two_responses": Kind(two_responses),
    "combination:repeat_prompt": Kind(repeat_prompt, {"prompt_to_repeat": read.text}),
    "startend:end_checker": Kind(end_phrase, {"end_phrase": read.text}),
    "startend:quotation": Kind(quotation),
    "change_case:capital_word_frequency": Kind(
        capitals, {"capital_frequency": read.number, "capital_relation": read.relation}
    ),
    "change_case:english_capital": Kind(all_upper),
    "change_case:english_lowercase": Kind(all_lower),
    "punctuation:no_comma": Kind(lambda response, given: not re.search("[,，،﹐、﹑︐٬]", response.text)),
}  # fmt: skip
