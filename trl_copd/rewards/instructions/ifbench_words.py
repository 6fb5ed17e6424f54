"""IFBench's types (Pyatkin et al. 2025) that count: words, kinds of words, sentences in their order."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from . import arguments as read
from .arguments import Kind
from .text import Text, ending, times, words_of


CONJUNCTIONS = frozenset("for and nor but or yet so".split())
PRONOUNS = frozenset(
    "i you he she it we they me him her us them my your his its our their mine yours hers ours theirs myself "
    "yourself himself herself itself ourselves yourselves themselves who whom whose which that this these "
    "those what anyone anybody anything everyone everybody everything someone somebody something nobody "
    "nothing none each either neither one another".split()
)
NAMES = (
    "Emma Liam Sophia Jackson Olivia Noah Ava Lucas Isabella Mason Mia Ethan Charlotte Alexander Amelia Benjamin "
    "Harper Leo Zoe Daniel Chloe Samuel Lily Matthew Grace Owen Abigail Gabriel Ella Jacob Scarlett Nathan Victoria "
    "Elijah Layla Nicholas Audrey David Hannah Christopher Penelope Thomas Nora Andrew Aria Joseph Claire Ryan Stella "
    "Jonathan"
).split()
STOP_WORDS = frozenset(
    "i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers "
    "herself it its itself they them their theirs themselves what which who whom this that these those am is "
    "are was were be been being have has had having do does did doing a an the and but if or because as until "
    "while of at by for with about against between into through during before after above below to from up "
    "down in out on off over under again further then once here there when where why how all any both each "
    "few more most other some such no nor not only own same so than too very s t can will just don should now "
    "d ll m o re ve y ain aren couldn didn doesn hadn hasn haven isn ma mightn mustn needn shan shouldn wasn "
    "weren won wouldn".split()
)
_CONSONANTS = re.compile("[bcdfghjklmnpqrstvwxyz]{2}")
_VERBS_OF_THE_SUBJECT = frozenset(
    "is are was were am be been has have had do does did will would can could may might must shall should of".split()
)
_NUMBER = re.compile(r"(?<![^\W_])(?<![.,])[+\-−]?(?:\d+(?:[.,]\d+)*|\.\d+)(?![^\W_])")
_INTERROBANGS = ("?!", "!?", "‽")


# ---- counts ----


def word_range(response: Text, given: dict[str, Any]) -> bool:
    return given["min_words"] <= len(response.words) <= given["max_words"]


def unique_words(response: Text, given: dict[str, Any]) -> bool:
    """Different words; a letter between two signs, or a number, is no word of its own."""
    return len({word for word in response.folded if word.isalpha() or not word.isdigit()}) >= given["N"]


def stop_words(response: Text, given: dict[str, Any]) -> bool:
    words = [part for word in response.folded for part in word.split("'")]
    return bool(words) and 100 * sum(word in STOP_WORDS for word in words) <= given["percentage"] * len(words)


def conjunctions(response: Text, given: dict[str, Any]) -> bool:
    return len(CONJUNCTIONS & set(response.folded)) >= given["small_n"]


def names(response: Text, given: dict[str, Any]) -> bool:
    said = {part.removesuffix("'s").removesuffix("’s") for word in response.words for part in (word, *word.split("-"))}
    return len(said & set(NAMES)) >= given["N"]


def numbers(response: Text, given: dict[str, Any]) -> bool:
    return len(_NUMBER.findall(response.text)) == given["N"]


def pronouns(response: Text, given: dict[str, Any]) -> bool:
    return sum(word.split("'")[0] in PRONOUNS for word in response.folded) >= given["N"]


def punctuation(response: Text, given: dict[str, Any]) -> bool:
    """Each mark, `?` and `!` outside of the interrobang too, in a text that has words."""
    rest = response.text
    for mark in _INTERROBANGS:
        rest = rest.replace(mark, " ")
    return rest != response.text and all(mark in rest for mark in ".,;:?!") and len(response.words) > 2


def japanese(response: Text, given: dict[str, Any]) -> bool:
    words, n = response.text.split(), given["N"]
    return len(words) >= n and all(
        re.search("[\u3040-\u30ff\u3400-\u9fff]", word) for word in words[n - 1 :: n] if _has_letters(word)
    )


def _has_letters(word: str) -> bool:
    return any(character.isalpha() for character in word) or not any(character.isdigit() for character in word)


def keywords_multiple(response: Text, given: dict[str, Any]) -> bool:
    wanted = {"keyword1": 1, "keyword2": 2, "keyword3": 3, "keyword4": 5, "keyword5": 7}
    return all(times(response.text, given[name]) == count for name, count in wanted.items())


# ---- ratios ----


def overlap(response: Text, given: dict[str, Any]) -> bool:
    """Of the response's different trigrams of characters, the share that the reference text has as well."""
    found, wanted = (
        {text[i : i + 3] for i in range(len(text) - 2)} for text in (response.text, given["reference_text"])
    )
    share = 100 * len(found & wanted) / len(found) if found else 0.0
    return abs(share - given["percentage"]) <= 2


def sentence_type(response: Text, given: dict[str, Any]) -> bool:
    marks = Counter(ending(sentence) for sentence in response.sentences)
    return marks["."] == 2 * marks["?"] > 0


def sentence_balance(response: Text, given: dict[str, Any]) -> bool:
    marks = Counter(ending(sentence) for sentence in response.sentences)
    return marks["."] == marks["?"] == marks["!"] > 0 and not marks[""]


def sentence_words(response: Text, given: dict[str, Any]) -> bool:
    found = response.sentences
    words = [set(words_of(sentence)) for sentence in found]
    return len(found) == 3 and len({len(s) for s in found}) == 1 and len(set.union(*words)) == sum(map(len, words))


# ---- words ----


def alphabet(response: Text, given: dict[str, Any]) -> bool:
    initials = [word[0] for word in response.folded]
    return len(initials) > 2 and all(
        a.isascii() and b.isascii() and a.isalpha() and (ord(b) - ord(a)) % 26 == 1 and b.isalpha()
        for a, b in zip(initials, initials[1:], strict=False)
    )


def vowels(response: Text, given: dict[str, Any]) -> bool:
    """At most three of the five vowels in the whole text, which is one paragraph of several words."""
    used = set("aeiou") & set(response.text.casefold())
    return 1 <= len(used) <= 3 and len(response.paragraphs) == 1 and len(response.words) > 2


def consonants(response: Text, given: dict[str, Any]) -> bool:
    return all(_CONSONANTS.search(word) for word in response.folded) and bool(response.words)


def palindromes(response: Text, given: dict[str, Any]) -> bool:
    """Different words that read the same backwards; a letter repeated is none."""
    found = {word for word in response.folded if len(word) >= 5 and word.isalpha() and word == word[::-1]}
    return sum(len(set(word)) > 1 for word in found) >= 10


def prime_lengths(response: Text, given: dict[str, Any]) -> bool:
    lengths = [len(re.sub(r"\W", "", word)) for word in response.words]
    return bool(lengths) and all(n > 1 and all(n % d for d in range(2, int(n**0.5) + 1)) for n in lengths)


def start_verb(response: Text, given: dict[str, Any]) -> bool:
    """The first word has a form of a verb, and where it may be a noun as well, no verb or `of` follows it."""
    import lemminflect

    first, second = (*response.folded[:2], "", "")[:2]
    readings = lemminflect.getAllLemmas(first.split("'")[0])
    if first in _VERBS_OF_THE_SUBJECT - {"of"}:
        return True
    return "VERB" in readings and not ("NOUN" in readings and second in _VERBS_OF_THE_SUBJECT)


def repeats(response: Text, given: dict[str, Any]) -> bool:
    return max(Counter(response.folded).values(), default=0) <= given["small_n"]


def syllables(response: Text, given: dict[str, Any]) -> bool:
    import syllapy

    words = [word for word in response.folded if word[0].isalpha()]
    if any(len(word) > 100 for word in words):
        return False  # no word; syllapy calls itself for every hyphen
    parities = [syllapy.count(word) % 2 for word in words]
    return len(parities) > 2 and all(a != b for a, b in zip(parities, parities[1:], strict=False))


def no_consecutive(response: Text, given: dict[str, Any]) -> bool:
    initials = [word[0] for word in response.folded]
    return len(initials) > 1 and all(a != b for a, b in zip(initials, initials[1:], strict=False))


def position_in_sentence(response: Text, given: dict[str, Any]) -> bool:
    return _word(response, given["n"], given["m"]) == _only(given["keyword"])


def second_words(response: Text, given: dict[str, Any]) -> bool:
    words = response.folded
    return len(words) > 3 and words[1] == words[-2] == _only(given["keyword"])


def _only(keyword: str) -> str:
    return " ".join(words_of(keyword))


def _word(response: Text, sentence: int, word: int) -> str | None:
    words = words_of(response.sentences[sentence - 1]) if 1 <= sentence <= len(response.sentences) else []
    return words[word - 1] if 1 <= word <= len(words) else None


# ---- sentences ----


def _sentence_words(response: Text) -> list[list[str]]:
    return [words_of(sentence) for sentence in response.sentences]


def keyword_in_sentence(response: Text, given: dict[str, Any]) -> bool:
    n = given["N"]
    return n <= len(response.sentences) and times(response.sentences[n - 1], given["word"]) > 0


def increment(response: Text, given: dict[str, Any]) -> bool:
    lengths = [len(words) for words in _sentence_words(response)]
    return _steps(lengths, lambda a, b: b - a == given["small_n"])


def alliteration(response: Text, given: dict[str, Any]) -> bool:
    runs = []
    for words in _sentence_words(response):
        best = run = 1
        for before, word in zip(words, words[1:], strict=False):
            run = run + 1 if before[0] == word[0] and before != word else 1
            best = max(best, run)
        runs.append(best)
    return _steps(runs, lambda a, b: b > a)


def last_first(response: Text, given: dict[str, Any]) -> bool:
    words = _sentence_words(response)
    return _steps(words, lambda a, b: a[-1] == b[0]) and len({tuple(sentence) for sentence in words}) == len(words)


def paragraph_last_first(response: Text, given: dict[str, Any]) -> bool:
    paragraphs = [words_of(line) for line in response.lines]
    return all(len(words) > 2 and words[0] == words[-1] for words in paragraphs) and bool(paragraphs)


def _steps(values: Sequence[Any], step: Any) -> bool:
    return len(values) > 1 and all(step(a, b) for a, b in zip(values, values[1:], strict=False))


KINDS: dict[str, Kind] = {
    "count:word_count_range": Kind(word_range, {"min_words": read.number, "max_words": read.number}),
    "count:unique_word_count": Kind(unique_words, {"N": read.positive}),
    "count:conjunctions": Kind(conjunctions, {"small_n": read.positive}),
    "count:person_names": Kind(names, {"N": read.positive}),
    "count:numbers": Kind(numbers, {"N": read.number}),
    "count:pronouns": Kind(pronouns, {"N": read.positive}),
    "count:punctuation": Kind(punctuation),
    "count:words_japanese": Kind(japanese, {"N": read.positive}),
    "count:keywords_multiple": Kind(keywords_multiple, {f"keyword{i}": read.text for i in range(1, 6)}),
    "ratio:stop_words": Kind(stop_words, {"percentage": read.percentage}),
    "ratio:overlap": Kind(overlap, {"percentage": read.percentage, "reference_text": read.text}, copies=True),
    "ratio:sentence_type": Kind(sentence_type),
    "ratio:sentence_balance": Kind(sentence_balance),
    "ratio:sentence_words": Kind(sentence_words),
    "words:alphabet": Kind(alphabet),
    "words:vowel": Kind(vowels),
    "words:consonants": Kind(consonants),
    "words:palindrome": Kind(palindromes),
    "words:prime_lengths": Kind(prime_lengths),
    "words:start_verb": Kind(start_verb),
    "words:repeats": Kind(repeats, {"small_n": read.positive}),
    "words:odd_even_syllables": Kind(syllables),
    "words:no_consecutive": Kind(no_consecutive),
    "words:last_first": Kind(last_first),
    "words:paragraph_last_first": Kind(paragraph_last_first),
    "words:keywords_specific_position": Kind(
        position_in_sentence, {"keyword": read.text, "n": read.positive, "m": read.positive}
    ),
    "words:words_position": Kind(second_words, {"keyword": read.text}),
    "sentence:keyword": Kind(keyword_in_sentence, {"word": read.text, "N": read.positive}),
    "sentence:increment": Kind(increment, {"small_n": read.positive}),
    "sentence:alliteration_increment": Kind(alliteration),
}
