"""
English around a number: which words may stand behind it as what is counted, and before "=" as what it is the value of.

A word that could change the number ("7 googol", "7 hundredths") or take it back ("not x = 7") is neither. No list of
such words is complete, so a noun must also look like one: it is in the plural, as it is behind every number but one.
Adverbs, adjectives and nearly all number words are not.
"""

import re


_CARDINALS = (
    "zero nought nil one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand lakh crore "
    "myriad googol googolplex dozen score gross grand pair couple half quarter third fifth eighth ninth twelfth"
).split()
_NUMBER = re.compile(
    rf"(?:{'|'.join(sorted(_CARDINALS, key=len, reverse=True))})(?:e?s|ths?|fold)?|halves"
    r"|(?:twent|thirt|fort|fift|sixt|sevent|eight|ninet)ie(?:s|ths?)"
    r"|\w*illion(?:s|ths?)?|(?:doubl|tripl|trebl|quadrupl|quintupl)(?:e|es|ed)|twice|thrice|multiplied"
)
_TAKES_BACK = frozenset(
    "not no nor non never neither none cannot cant wont isnt arent wasnt doesnt dont isn't aren't wasn't doesn't "
    "don't can't won't couldn't shouldn't wouldn't except excluding excluded exclude excludes barring lacks hardly "
    "scarcely barely wrong false incorrect untrue invalid impossible erroneous mistaken mistake error fake bogus "
    "unlikely unsure uncertain doubtful doubt doubts dubious undefined refuted reject rejected discard discarded "
    "disproved extraneous suppose supposing assume assuming nope nah no-one fails "
    "failed fail denied contradiction contradicts contrary anything but however although though unless "
    "or either else otherwise alternatively alternative instead rather maybe perhaps possibly probable probably "
    "likely might may could would should guess guessing about approximately approx roughly nearly almost circa "
    "presumably supposedly apparently sometimes if when where whereas whether while versus vs than "
    "minus plus divided squared cubed factorial factorials mod modulo reciprocal reciprocals inverse inverses "
    "negative negatives negated".split()
)
# Behind a number these say how it compares, or how often it counts; before "=" they are harmless
_COMPARES = frozenset(
    "and is are be by less more most least few fewer fewest greater greatest larger smaller above below beyond over "
    "under between within without short off shy up down other others another extra additional to with for all any "
    "times true correct base remainder remainders choose power exponent "
    "unknown around approximate estimated opposite opposites always besides thereabouts yes this its as has "
    "does was afterwards cent".split()
)
# Words before "=" that say which of several values is meant, by what they mean
_QUANTITIES = (
    "mean average expectation", "median", "mode", "range", "variance", "deviation", "area", "perimeter circumference",
    "volume", "radius radii", "diameter", "length", "width breadth", "height altitude", "speed velocity", "distance",
    "time", "probability chance", "sum total", "product", "difference", "quotient", "remainder",
    "maximum largest greatest biggest highest max", "minimum smallest least lowest min", "domain", "slope gradient",
    "intercept", "vertex", "focus", "directrix", "numerator", "denominator", "determinant", "trace", "rank", "mass",
    "weight", "force", "energy", "power", "acceleration", "cost price", "profit", "loss", "interest", "first",
    "second", "last",
)  # fmt: skip
QUANTITIES = {word: meaning for meaning, words in enumerate(_QUANTITIES) for word in words.split()}
# Adjectives that may stand before a noun, and never for one
_ADJECTIVES = frozenset("right possible distinct real".split())
# Things that are also amounts: coins, or 0.25 each. An answer may name them only where the reference does
AMOUNTS = frozenset("pair couple quarter".split())
# Plurals without an s
_PLURALS = frozenset(
    "people children grandchildren men women feet teeth geese mice dice oxen fish sheep deer aircraft vertices "
    "indices data radii foci bacteria yuan won baht rand ringgit pence ways".split()
)
_NO_PLURAL = re.compile(r"\w*(?:ss|us|is|wards|ways)|\w{1,2}")
_NO_NOUN = re.compile(
    r"(?!(?:table|vegetable|cable)$)\w+(?:ly|ous|ful|less|[ai]ble|wards?|ed)|fold|old|m(?:ax|in)imum"
)
_ADVERB = re.compile(r"(?!(?:only|jelly|belly|family|daily|weekly|monthly|hourly|early|friendly)$)\w+ly")
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")


def is_number_word(word: str) -> bool:
    """Cardinals, ordinals, fractions and multiples of any size: `eight`, `twenty-first`, `hundredths`, `doubled`."""
    parts = word.split("-")
    return bool(_NUMBER.fullmatch(parts[0])) and all(
        _NUMBER.fullmatch(part) or re.fullmatch("(?:first|second)s?", part) for part in parts[1:]
    )


def counted(phrase: str, single: bool) -> str | None:
    """
    The noun of a phrase behind a number, in lower case: `students`, `red marbles`, `cups of tea`, `points per game`.
    `None` if it may change the number, or take it back.

    Args:
        phrase (`str`): Words.
        single (`bool`): Whether the number is at most 1, so that the noun need not be in the plural.
    """
    words = phrase.lower().split()
    if not words or not all(_WORD.fullmatch(word) and len(word) > 1 for word in words):
        return None
    if any(word in _TAKES_BACK or word in _COMPARES or _ADVERB.fullmatch(word) for word in words):
        return None
    cut = next((index for index, word in enumerate(words) if word in ("of", "per")), len(words))
    before, after = words[:cut], words[cut + 1 :]
    if not 1 <= len(before) <= 3 or len(after) > 2 or cut < len(words) and not after:
        return None
    noun = before[-1]
    amounts = [*before[:-1], *after]
    if noun.removesuffix("s") not in AMOUNTS:
        amounts.append(noun.partition("-")[0])  # half-miles
    if noun in _ADJECTIVES or any(is_number_word(word) for word in amounts):
        return None
    plural = noun in _PLURALS or noun.endswith("s") and not _NO_PLURAL.fullmatch(noun)
    if plural or single and len(words) == 1 and len(noun) > 2 and not _NO_NOUN.fullmatch(noun):
        return noun
    return None


# Area of ABC, P(A), distance (A, B), Answer:
_SAYING = re.compile(rf"{_WORD.pattern}(?:[ ,:]+{_WORD.pattern}| ?\({_WORD.pattern}(?: ?, ?{_WORD.pattern})*\))*:?")
# x-y and ab-c are formulas; x-axis is a word
_DIFFERENCE = re.compile(r"(?<![A-Za-z-])[A-Za-z]{1,2}(?:-[A-Za-z]{1,2})+(?![A-Za-z-])")
# Formulas in words, of what may be the unknown
_FORMULA = re.compile(r"\bat (?:most|least)\b|\b(?:opposite|logarithm) of\b|\b(?:square|cube) (?:of|root)\b")


def labels(text: str) -> bool:
    """Whether words before "=" only say what the number is: `Area of ABC`, and not `wrong:`, `eight`, `half of x`."""
    bare = re.sub(r"_ ?(?:\w|\{[^{}]*\})", "", text)
    bare = re.sub(r"\s+", " ", re.sub(r"[«»{}]", " ", bare)).strip()
    if not _SAYING.fullmatch(bare) or _DIFFERENCE.search(bare):
        return False
    found = [match[0].lower() for match in _WORD.finditer(bare)]
    if any(word in _TAKES_BACK or _ADVERB.fullmatch(word) for word in found):
        return False
    if _FORMULA.search(bare.lower()):
        return False
    # "two-digit numbers" and "third term" name what has a value; "two" and "a third of x" are amounts
    return not any(
        is_number_word(word) and not (re.fullmatch(r"\w+(?:th|rd)|score", word) and following != "of")
        for word, following in zip(found, [*found[1:], "of"], strict=True)
    )
