"""Which language a response is in."""

import functools
import re
import unicodedata

from .arguments import Unreadable


# Told apart by the classifier; others would only be mistaken for these
LANGUAGES = (
    "ar bg bn cs da de el en es et fa fi fr gu he hi hr hu id it ja kn ko lt lv mk ml mr ms ne nl no pa pl pt ro ru "
    "sk sl sq sv sw ta te th tl tr uk ur vi zh"
).split()
_SCRIPTS = {
    "ar": "ARABIC", "bg": "CYRILLIC", "bn": "BENGALI", "el": "GREEK", "fa": "ARABIC", "gu": "GUJARATI", "he": "HEBREW",
    "hi": "DEVANAGARI", "kn": "KANNADA", "ko": "HANGUL", "mk": "CYRILLIC", "ml": "MALAYALAM", "mr": "DEVANAGARI",
    "ne": "DEVANAGARI", "pa": "GURMUKHI", "ru": "CYRILLIC", "ta": "TAMIL", "te": "TELUGU", "th": "THAI",
    "uk": "CYRILLIC", "ur": "ARABIC", "zh": "CJK",
}  # fmt: skip
_ALONE = (
    "bn",
    "el",
    "gu",
    "he",
    "kn",
    "ko",
    "ml",
    "pa",
    "ta",
    "te",
    "th",
)  # the only one of `LANGUAGES` in its script
_SHORT = 20  # letters below which the classifier only has to hold the language possible
_FOREIGN = 0.25  # share of letters in sentences of another language that a response may have: names, quotations


def language(value: object) -> str:
    """A language's code: `de`, or `zh-cn`, of which the first part counts."""
    code = value.split("-")[0].lower() if isinstance(value, str) else ""
    if code not in LANGUAGES:
        raise Unreadable(f"is not one of the languages {', '.join(LANGUAGES)}")
    return code


def is_in(text: str, code: str) -> bool:
    """Whether a text is in a language, as a whole and in most of its sentences."""
    prose = re.sub(r"```.*?```|https?://\S+|<[^<>]*>", " ", text, flags=re.DOTALL)
    letters = _letters(prose)
    if not letters or not _in_script(letters, code):
        return False
    if not _is(prose, code):
        return False
    chunks = [chunk for chunk in re.split(r"(?<=[.!?。！？।؟])\s+|\n+", prose) if len(_letters(chunk)) > _SHORT]
    foreign = sum(len(_letters(chunk)) for chunk in chunks if not _is(chunk, code))
    return foreign <= _FOREIGN * len(letters)


def _letters(text: str) -> str:
    return "".join(character for character in text if character.isalpha())


def _in_script(letters: str, code: str) -> bool:
    names = [unicodedata.name(letter, "").split()[0] for letter in letters[:4000]]
    if code == "ja":
        kana = sum(name in ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA") for name in names)
        return kana >= len(names) / 20 and kana + names.count("CJK") >= 0.6 * len(names)
    return names.count(_SCRIPTS.get(code, "LATIN")) >= 0.6 * len(names)


def _is(text: str, code: str) -> bool:
    if code in _ALONE:
        return _in_script(_letters(text), code)
    ranked = _ranked(" ".join(text.lower().split())[:20_000])
    if len(_letters(text)) > _SHORT or ranked[0] == "en" and len(text.split()) > 3:
        return code == ranked[0]
    return code in ranked[:8]


@functools.lru_cache(maxsize=4096)
def _ranked(text: str) -> list[str]:
    import py3langid

    _set_languages()
    return [code for code, _ in py3langid.rank(text)]


@functools.lru_cache(maxsize=1)
def _set_languages() -> None:
    import py3langid

    py3langid.set_languages(LANGUAGES)
