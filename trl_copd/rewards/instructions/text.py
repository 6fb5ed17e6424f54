"""A response as a reader sees it: words, sentences, paragraphs; and what a reader does not see."""

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import cached_property


_HIDDEN = r"<(\w+)[^<>]*(?:display\s*:\s*none|\bhidden\b)[^<>]*>.*?(?:</\1\s*>|\Z)"
_COMMENT = re.compile(rf"<!--.*?(?:-->|\Z)|{_HIDDEN}", re.DOTALL)
_JOINERS = "\u200c\u200d"  # which belong to emojis and to Persian and Indic words
_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_NO_SPACES = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")  # each such character is a word
_BLOCK = re.compile(r"[ \t]*(?:[*+\-•>]|\d{1,3}[.)]|#{1,6})[ \t]+")  # what begins a line of its own in Markdown
_PIECE = 4000  # characters
_END = re.compile(r"[.!?…。！？]")
# Letters of other scripts that look like Latin ones, within a word that has Latin letters
_LOOKALIKES = str.maketrans(
    "аеорсухіјѕԁһкмтвнАЕОРСУХІЈЅКМТВНοαινρτυκΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "aeopcyxijsdhkmtbhAEOPCYXIJSKMTBHoaivptukABEZHIKMNOPTYX"
)


class Text:
    """
    A response, with its parts read once.

    Args:
        text (`str`): The response, or what is visible of it.
    """

    def __init__(self, text: str):
        self._raw = text.replace("\r\n", "\n")
        self.text = self._raw.strip()

    @cached_property
    def words(self) -> list[str]:
        """Words, without Markdown and punctuation; `don't` and `well-known` are one word each."""
        spaced = _NO_SPACES.sub(r" \1 ", self.text)
        return [_unmasked(word) for word in _WORD.findall(spaced)]

    @cached_property
    def folded(self) -> list[str]:
        return [word.casefold().replace("’", "'") for word in self.words]

    @cached_property
    def sentences(self) -> list[str]:
        """Sentences. A line of a list or a heading, and the end of a paragraph, end one as well."""
        import sentencex

        found: list[str] = []
        for block in self._blocks:
            for sentence in (part for piece in _pieces(block) for part in sentencex.segment("en", piece)):
                # a closing emoji or quotation mark belongs to the sentence before it
                if found and not _WORD.search(sentence):
                    found[-1] += sentence
                elif sentence.strip():
                    found += re.split(r"(?<=[。！？])(?=\S)", sentence.strip())
        return [sentence.strip() for sentence in found if _WORD.search(sentence)]

    @cached_property
    def _blocks(self) -> list[str]:
        blocks: list[str] = []
        new = True
        for line in self.text.split("\n"):
            marker = _BLOCK.match(line)
            if not line.strip():
                new = True
            elif new or marker:
                blocks.append(line[marker.end() :] if marker else line)
                new = bool(marker and "#" in marker[0])
            else:
                blocks[-1] += " " + line.strip()
        return blocks

    @cached_property
    def lines(self) -> list[str]:
        """Lines that are not blank, with their indents."""
        return [line for line in self._raw.split("\n") if line.strip()]

    @cached_property
    def paragraphs(self) -> list[str]:
        """Parts between blank lines."""
        return [part.strip() for part in re.split(r"\n[ \t]*\n", self.text) if part.strip()]

    @cached_property
    def padded(self) -> bool:
        """Whether it is filled up: one word, sentence or line again and again, or hardly any different words."""
        lines = Counter(line.strip().casefold() for line in self.lines if len(line.split()) > 1)
        sentences = Counter(sentence.casefold() for sentence in self.sentences if len(sentence.split()) > 2)
        for parts in (lines, sentences):
            if parts and max(parts.values()) > 3 and max(parts.values()) > parts.total() / 3:
                return True
        words = self.folded
        longest = run = 1
        for before, word in zip(words, words[1:], strict=False):
            run = run + 1 if word == before else 1
            longest = max(longest, run)
        few = len(words) >= 40 and len(set(words)) < max(8, min(len(words), 400) / 10)
        return longest > 5 or few


def _pieces(block: str) -> Iterator[str]:
    """A block in parts of bounded length, from one sentence's end to another: the splitter's time is quadratic."""
    start = 0
    while len(block) - start > _PIECE:
        ends = [block.rfind(mark, start, start + _PIECE) + 1 for mark in (". ", "! ", "? ")]
        end = max(ends) if max(ends) > start else start + _PIECE
        yield block[start:end]
        start = end
    yield block[start:]


def words_of(text: str) -> list[str]:
    """The folded words of a part of a response."""
    return Text(text).folded


def ending(sentence: str) -> str:
    """The mark that a sentence ends with: one of `.`, `!`, `?`, or an empty text."""
    marks = [mark for mark in sentence[-12:] if _END.match(mark)]
    tail = re.search(r"[.!?…。！？][^\w]*\Z", sentence)
    return {"。": ".", "！": "!", "？": "?", "…": "."}.get(marks[-1], marks[-1]) if marks and tail else ""


def visible(text: str) -> str:
    """`text` without what no reader sees, such as comments and characters without width; `&#44;` is a comma."""
    text = unicodedata.normalize("NFC", html.unescape(_COMMENT.sub("", text)))
    text = text.replace("\u00a0", " ").replace("\u202f", " ")
    kept = []
    for index, character in enumerate(text):
        category = unicodedata.category(character)
        if category in ("Cf", "Cs", "Co", "Cn") or character in "\u115f\u1160\u3164\u2800":
            # a joiner between two letters of one word, or within an emoji, is seen by its effect
            around = text[index - 1 : index] + text[index + 1 : index + 2]
            if character not in _JOINERS or len(around) < 2 or around.isascii():
                continue
        kept.append(character)
    return "".join(kept)


def _unmasked(word: str) -> str:
    """A word with letters of other scripts in it, by the Latin letters that they look like."""
    if word.isascii() or not re.search("[A-Za-z]", word):
        return word
    return word.translate(_LOOKALIKES)


def unmasked(text: str) -> str:
    return _WORD.sub(lambda match: _unmasked(match[0]), text)


def phrase(keyword: str) -> re.Pattern[str]:
    """
    Finds a keyword as a word or words of its own, in any case; scripts without spaces have no words. Underscores are
    Markdown, as for `_WORD`.
    """
    parts = [re.escape(part) for part in unmasked(keyword).split()]
    bound = r"[^\W_\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff]"
    return re.compile(
        rf"(?<!{bound})" + r"[*_~`]*\s+[*_~`]*".join(parts).replace("'", "['’]") + rf"(?!{bound})", re.IGNORECASE
    )


def times(text: str, keyword: str, apart: bool = False) -> int:
    """How often a keyword occurs; with `apart`, occurrences with nothing between them count as one."""
    count, last = 0, None
    plain = unmasked(text)
    for match in phrase(keyword).finditer(plain):
        beside = last is not None and not _WORD.search(plain[last : match.start()])
        count += not (apart and beside)
        last = match.end()
    return count
