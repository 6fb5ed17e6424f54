"""
Formats of JSON Schema, by the grammars that it names. jsonschema's own checks let some through that are none: a line
break at the end, hyphens anywhere in a uuid, `P1D2T3H`.
"""

import calendar
import functools
import re
import unicodedata
from collections.abc import Callable
from typing import Any


Check = Callable[[str], bool]

_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_TIME = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))")
# RFC 3339, appendix A: no unit is left out between two
_CLOCK = r"T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S)"
_DAYS = r"(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)"
_DURATION = re.compile(rf"P(?:{_DAYS}(?:{_CLOCK})?|{_CLOCK}|[0-9]+W)")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_POINTER = r"(?:/(?:[^~/]|~[01])*)*"


def is_date(text: str) -> bool:
    match = _DATE.fullmatch(text)
    if not match:
        return False
    year, month, day = map(int, match.groups())
    return 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year or 4, month)[1]  # year 0 is a leap year as 4 is


def is_time(text: str) -> bool:
    match = _TIME.fullmatch(text)
    if not match:
        return False
    hour, minute, second = (int(match[group]) for group in (1, 2, 3))
    sign, hours, minutes = match[4] or "+", int(match[5] or 0), int(match[6] or 0)
    if hour > 23 or minute > 59 or second > 60 or hours > 23 or minutes > 59:
        return False
    # a leap second is the last one of a day in universal time
    offset = (60 * hours + minutes) * (1 if sign == "+" else -1)
    return second < 60 or (60 * hour + minute - offset) % 1440 == 1439


def is_date_time(text: str) -> bool:
    return text[10:11] in ("T", "t") and is_date(text[:10]) and is_time(text[11:])


def is_hostname(text: str) -> bool:
    """RFC 1123; internationalised labels must be what they say they are."""
    labels = text.split(".")
    return len(text) <= 253 and all(_LABEL.fullmatch(label) and _is_punycode(label) for label in labels)


def _is_punycode(label: str) -> bool:
    if label[2:4] != "--":
        return True
    import idna

    return label[:2].lower() == "xn" and bool(idna.decode(label))


def is_email(text: str) -> bool:
    local, _, domain = text.rpartition("@")
    return len(local) <= 64 and bool(_LOCAL.fullmatch(local)) and "." in domain and is_hostname(domain)


def is_idn_email(text: str) -> bool:
    import idna

    local, _, domain = text.rpartition("@")
    readable = bool(local) and not re.search(r"[\s\x00-\x20\"(),:;<>@\[\\\]]|\A\.|\.\.|\.\Z", local)
    return readable and len(local.encode()) <= 64 and "." in domain and bool(idna.encode(domain, uts46=True))


STRICT: dict[str, Check] = {
    "date": is_date,
    "date-time": is_date_time,
    "duration": lambda text: bool(_DURATION.fullmatch(text)),
    "email": is_email,
    "host-name": is_hostname,
    "hostname": is_hostname,
    "idn-email": is_idn_email,
    "json-pointer": lambda text: bool(re.fullmatch(_POINTER, text)),
    "relative-json-pointer": lambda text: bool(re.fullmatch(rf"(?:0|[1-9][0-9]*)(?:#|{_POINTER})", text)),
    "time": is_time,
    "uuid": lambda text: bool(_UUID.fullmatch(text)),
}
_ANY_CHARACTER = ("json-pointer", "relative-json-pointer", "regex")


@functools.lru_cache(maxsize=16)
def format_checker(validator_class: Any) -> Any:
    """jsonschema's checker for a draft: the draft's formats, by our own checks where there are any."""
    import jsonschema

    own = dict(validator_class.FORMAT_CHECKER.checkers)
    old_time = validator_class is jsonschema.Draft3Validator  # in which a `time` has no offset
    checker = jsonschema.FormatChecker(formats=())
    checker.checkers = {
        name: (_guarded(name, function if name not in STRICT or (old_time and name == "time") else STRICT[name]), ())
        for name, (function, _) in own.items()
    }
    return checker


def _guarded(name: str, check: Callable[[Any], Any]) -> Callable[[object], bool]:
    """The check of one format. What it raises for a text says that the text is none."""

    def holds(value: object) -> bool:
        if not isinstance(value, str):
            return True  # a format says nothing about other types
        if name not in _ANY_CHARACTER and any(unicodedata.category(character) == "Cc" for character in value):
            return False
        try:
            return bool(check(value))
        except Exception:
            return False

    return holds
