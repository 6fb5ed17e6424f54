r"""
Units behind a number: `5\text{ km}`, `5 km/h`, `$5`, `90^\circ`, `5 apples`. A unit is a product of dimensions and a
factor.

Where both sides name a unit, dimension and value must agree (5 km is 5000 m, and not 5 m); where one leaves it out,
the numbers decide, if the unit is one of the table or a noun (`vocabulary.py`). Percent is no unit but a sign that is
dropped: 9% is 9 and never 0.09.
"""

import functools
import re
from dataclasses import dataclass, field, replace
from fractions import Fraction

from .plain import number as plain_number
from .vocabulary import counted


@dataclass(frozen=True)
class Unit:
    """Dimensions as (name, power) in order of names, how many base units one is, and the million in "$5 million"."""

    dimensions: tuple[tuple[str, int], ...]
    factor: Fraction
    multiple: Fraction = field(default=Fraction(1), compare=False)


_TABLE: dict[str, tuple[str, Fraction]] = {}
for _dimension, _rows in {
    "length": "nm nanometer 1/1000000000; "
    "micrometer micron \\mum 1/1000000; mm millimeter millimetre "
    "1/1000; cm centimeter centimetre 1/100; "
    "dm decimeter 1/10; m meter metre 1; km kilometer kilometre 1000; in inch inche 254/10000; ft foot feet "
    "3048/10000; "
    "yd yard 9144/10000; mi mile 1609344/1000",
    "mass": "\\mug microgram 1/1000000; mg milligram 1/1000; g gram gm 1; kg kilogram 1000; t tonne 1000000; "
    "lb pound 45359237/100000; oz ounce "
    "45359237/1600000",
    "ton": "ton 1",
    "time": "ns nanosecond 1/1000000000; "
    "\\mus microsecond 1/1000000; ms millisecond 1/1000; s sec second 1; min minute 60; h hr hour 3600; "
    "day 86400; week 604800; "
    "fortnight 1209600",
    "year": "month 1/12; year yr 1; decade 10; century centurie 100",
    "volume": "ml mL milliliter millilitre 1/1000; cl 1/100; L l liter litre 1; gal gallon 3785411784/1000000000; "
    "qt quart 946352946/1000000000; pint 473176473/1000000000; cup 2365882365/10000000000",
    "dollar": "$ dollar usd USD buck 1; cent ¢ 1/100",
    "euro": "€ euro eur EUR 1",
    "sterling": "£ gbp GBP 1",
    "rupee": "₹ rupee Rs rs 1",
    "yen": "¥ yen 1",
    "angle": "° degree deg 1",
    "radian": "rad radian 1",
    "celsius": "°C 1",
    "fahrenheit": "°F 1",
    "newton": "N newton 1; kN kilonewton 1000; dyn dyne 1/100000",
    "joule": "J joule 1; kJ kilojoule 1000; mJ 1/1000; MJ 1000000; erg 1/10000000",
    "watt": "W watt 1; kW kilowatt 1000; mW 1/1000; MW megawatt 1000000",
    "volt": "V volt 1; mV millivolt 1/1000; kV kilovolt 1000",
    "ohm": "ohm \\Omega 1; kilohm k\\Omega 1000; M\\Omega 1000000",
    "coulomb": "C coulomb 1; \\muC 1/1000000",
    "farad": "F farad 1; \\muF 1/1000000",
    "tesla": "T tesla 1",
    "electronvolt": "eV 1; keV 1000; MeV 1000000; GeV 1000000000",
    "pascal": "Pa pascal 1; kPa kilopascal 1000; MPa 1000000; bar 100000; atm atmosphere 101325",
    "calorie": "cal calorie 1; kcal kilocalorie 1000",
    "energy": "kWh 1",
    "byte": "byte 1; kB KB kilobyte 1000; MB megabyte 1000000; GB gigabyte 1000000000",
    "bit": "bit 1",
    "decibel": "dB decibel 1",
    "rotation": "rpm 1",
    "ampere": "A amp ampere 1; mA milliampere 1/1000",
    "kelvin": "K kelvin 1",
    "mole": "mol mole 1",
    "hertz": "Hz hertz 1; kHz kilohertz 1000; MHz megahertz 1000000; GHz gigahertz 1000000000",
    "parsec": "pc parsec 1",
    "lightyear": "ly 1",
    "astronomical": "AU 1",
    "angstrom": "Å angstrom 1",
    "unit": "unit 1",
}.items():
    for _row in _rows.split("; "):
        *_spellings, _factor = _row.split()
        _TABLE.update({name: (_dimension, Fraction(_factor)) for name in _spellings})
_TABLE["°C"], _TABLE["°F"] = ("celsius", Fraction(1)), ("fahrenheit", Fraction(1))
_COMPOUND = {"mph": "mi/h", "kmh": "km/h", "kph": "km/h", "kmph": "km/h", "fps": "ft/s", "acre": "acre",
"hectare": "hectare",
             "cc": "cm^3"}  # fmt: skip
_MULTIPLES = {"dozen": 12, "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}

_POWER_WORDS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}

# What may follow a unit, or stand alone, and leaves the number what it is: 7 years old, 7 apples in total, 7 left
_ASIDE = re.compile(r"each|distinct|(?:in )?total|altogether|overall|left|remaining", re.IGNORECASE)
_BEHIND = re.compile(rf" (?:{_ASIDE.pattern}|old|tall|long|wide|high|deep|thick|away|apart)$", re.IGNORECASE)
_START = re.compile(r"(?<![A-Za-z\\«])(?:«|[A-Za-z]|\\(?:mu|Omega)(?![A-Za-z]))")
# One bare letter is a unit only behind a space, and only these: 5 m, but 5m and 5 x are products
_LETTERS = frozenset("mgshlLNJWVKA")
# Two of them are a product of letters, 3 s t, unless they are one of these
_PAIRS = frozenset(("N m", "J s", "N s", "W h", "A h", "A s", "V s", "V m", "A m"))
# A decimal has its letter without a space: 0.64N; a whole number may be a factor, as in 5m
_DECIMAL = re.compile(r"([+-]?[0-9]*\.[0-9]+)([mgshlLNJWVKA])")
# A charge, a field or a capacity is a power of ten; behind other numbers C, T and F are names
_SCIENTIFIC = re.compile(r"(.*10 ?\^ ?\{?-?[0-9]+\}?) +([CTF])")
# N-m and lb-ft multiply: behind a number, a dash between units is no minus
_DASHED = re.compile(r"(?<=[0-9}) ])«? ?(N|kN|lb|kg|kW|kilowatt|foot|ft)»? ?- ?«?(m|ft|lb|pounds?|s|h|hours?)»?$")
_PRICE = re.compile(r"\$ ?([0-9][0-9.,]*) ?«?((?:per|each)(?: [a-z ]+)?)»?")  # $12 per hour
# Pairs that are counted, and are not two of a thing each
_TUPLE = r"(?:pair|triple|triplet|quadruple)s?"
_MEMBERS = r"(?:(?:positive|distinct|real|whole|natural) )*(?:integer|number|point|solution|value|digit|prime)s"
_TUPLES = re.compile(
    r"(?:(?:distinct |unique |different |possible |integer |such |(?:un)?ordered )+"
    rf"{_TUPLE}(?: of {_MEMBERS})?|{_TUPLE} of {_MEMBERS})",
    re.IGNORECASE,
)


_PARTS = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?«?([A-Za-z]+)»?(?: and)?»? ?")


def measures(text: str) -> tuple[Fraction, Unit] | None:
    """`2 hours 15 minutes`, `5 ft 3 in` as one amount of the first unit; `None` for other texts."""
    bare = text.replace(" and»", "» and").strip()
    parts = _PARTS.findall(bare)
    if len(parts) < 2 or _PARTS.sub("", bare) or bare.rstrip("» ").endswith(" and"):
        return None
    units = [_product([(name, 1)]) for _, name in parts]
    if any(unit is None or unit.dimensions != units[0].dimensions for unit in units):  # type: ignore[union-attr]
        return None
    factors = [unit.factor for unit in units if unit]
    amounts = [Fraction(amount) for amount, _ in parts]
    for at in range(1, len(factors)):  # each part is less than one of the unit before it
        if amounts[at] * factors[at] >= factors[at - 1] or amounts[at - 1].denominator > 1:
            return None
    total = sum((amount * factor for amount, factor in zip(amounts, factors, strict=True)), Fraction(0))
    return total / factors[0], Unit(units[0].dimensions, factors[0])  # type: ignore[union-attr]


def split_unit(text: str) -> tuple[str, Unit | None]:
    """
    A normalised text as value and unit; `None` if it names none, or nothing that can be one. A multiple ("5 million")
    is of a unit without dimension.
    """
    text = re.sub(r"(?<=[0-9})]) ?(?:%|«(?:percent(?:age)?|pct)»|percent(?:age)?|pct)$", "", text)
    text = _DASHED.sub(r"«\1*\2»", text) if text[-1:] in "»msh" else text
    text = re.sub(r"°? ?«?°? ?([CF])»?$", r"°\1", text) if "°" in text[-6:] else text
    if match := _PRICE.fullmatch(text):
        return split_unit(f"{match[1]} «dollars {match[2]}»")
    if match := re.fullmatch(r"(-?) ?([$€£₹¥])(.*)", text, re.DOTALL):
        rest, unit = split_unit(match[3].strip())
        money = _product([(match[2], 1)])
        if money and (unit is None or unit.dimensions in ((), money.dimensions)):
            return match[1] + rest, replace(money, multiple=unit.multiple if unit else Fraction(1))
        return text, None
    match = re.fullmatch(r"(.*[0-9}) ])(°[CF]?|¢|[€£₹¥]|\$)", text, re.DOTALL)
    if match and not re.search(r"\\(?:sin|cos|tan|cot|sec|csc|cis)", match[1]):  # where a degree is part of the angle
        return match[1].strip(), _product([(match[2], 1)])
    if match := _DECIMAL.fullmatch(text) or _SCIENTIFIC.fullmatch(text):
        return match[1], _product([(match[2], 1)])
    for match in list(_START.finditer(text))[-6:]:
        value, space = text[: match.start()].rstrip(), text[match.start() - 1 : match.start()] == " "
        if any(value.count(one) != value.count(other) for one, other in ("{}", "()", "[]")):
            continue  # within a formula a letter is no unit: \frac{63}{10 m}
        if value and (value[-1].isalnum() or value[-1] in ")}]π!"):
            amount = plain_number(value)
            letters = amount is None and re.search("[A-Za-z]", re.sub(r"\\[a-z]+", "", value))
            single = amount is not None and abs(amount) <= 1
            unit = _unit(text[match.start() :], space and not letters, bool(re.search("[0-9]", value)), single)
            if unit:
                return value, unit
    return text, None


@functools.lru_cache(maxsize=4096)
def _unit(text: str, space: bool, number: bool, single: bool = False) -> Unit | None:
    bare = "«" not in text
    text = re.sub(r"[«»{}]", "", text).replace("^ ", "^").replace(" ^", "^").strip().rstrip(".")
    if text.startswith("\\mu ") and bare and text[4:].strip() == "g":
        return None  # friction: \mu g
    text = re.sub(r"\\mu +", r"\\mu", re.sub(r"(?<=[kM]) ?\\Omega", r"\\Omega", text)).replace("\\Omega ", "\\Omega")
    if bare and re.fullmatch("[A-Za-z](?: [A-Za-z])+", text) and text not in _PAIRS:
        return None
    if bare and len(re.sub(r"[^A-Za-z]", "", text)) == 1 and not (space and number and text[0] in _LETTERS):
        return None
    plain = re.sub(r"\s+", " ", text).replace("sq. ", "sq ")
    first, _, rest = plain.partition(" ")
    if first.lower() in _MULTIPLES:
        multiple = Fraction(_MULTIPLES[first.lower()])
        if not rest:
            return Unit((), Fraction(1), multiple)
        inner = _unit(f"«{rest}»", space, number)
        return inner and replace(inner, multiple=multiple * inner.multiple)
    if _ASIDE.fullmatch(plain):
        return Unit((), Fraction(1))
    plain = _BEHIND.sub("", plain)
    if number and _TUPLES.fullmatch(plain):
        return Unit((("#tuple", 1),), Fraction(1))
    found = _product(_factors(plain))
    if found:
        return found
    if bare and len(plain) < 4 or not number:
        return None
    noun = counted(plain.replace("/", " per ") if not bare or len(plain) > 4 else plain, single)
    return Unit(((f"#{singular(noun)}", 1),), Fraction(1)) if noun else None


def _factors(text: str) -> list[tuple[str, int]]:
    """`km per hour`, `m/s^2`, `square feet` as names with powers."""
    factors, sign = [], 1
    pieces = text.replace("/", " ").split(" ")
    if len(pieces) > 1 and all(piece.partition("^")[0] in _TABLE for piece in pieces):  # m s^-1
        text = text.replace(" ", "*")
    for part in re.split(r"( ?/ ?| per | ?\* ?)", _COMPOUND.get(text.lower(), text)):
        if part.strip() in ("/", "per"):
            sign = -1
        elif part.strip() and part.strip() != "*":
            name, _, power = part.strip().partition("^")
            first, _, rest = name.partition(" ")
            if first.lower() in _POWER_WORDS and rest:
                name, power = rest, str(_POWER_WORDS[first.lower()])
            if not re.fullmatch("(?:-?[1-9])?", power.strip()):
                return []
            factors.append((_COMPOUND.get(name, name), sign * int(power or 1)))
    return factors


def _product(factors: list[tuple[str, int]]) -> Unit | None:
    dimensions: dict[str, int] = {}
    total = Fraction(1)
    for name, power in factors:
        known = _TABLE.get(name) or _TABLE.get(name.lower()) or _TABLE.get(singular(name.lower()))
        if known is None:
            if name in ("acre", "acres", "hectare", "hectares"):
                known = (singular(name), Fraction(1))
            else:
                return None
        dimension, factor = known
        if dimension == "volume":  # a litre is 1000 cm³
            dimension, factor, power = "length", factor / 1000, 3 * power
            total *= factor if power > 0 else 1 / factor
        else:
            total *= factor**power
        dimensions[dimension] = dimensions.get(dimension, 0) + power
    dimensions.pop("unit", None)
    return (
        Unit(tuple(sorted((name, power) for name, power in dimensions.items() if power)), total) if factors else None
    )


def singular(word: str) -> str:
    for end, keep in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("sses", "ss"), ("s", "")):
        if word.endswith(end) and len(word) > len(end) + 1 and not word.endswith("ss" if end == "s" else "\0"):
            return word[: -len(end)] + keep
    return {"people": "person", "children": "child", "men": "man", "women": "woman", "feet": "foot"}.get(word, word)
