"""IFBench's types that are one task each: lists of known things, tables, reversed sentences."""

import csv
import datetime
import io
import re
import unicodedata
from collections.abc import Callable
from typing import Any

from .arguments import Kind
from .text import Text, words_of


AFRICA = (
    "Algeria|Angola|Benin|Botswana|Burkina Faso|Burundi|Cabo Verde,Cape Verde|Cameroon|Central African Republic|Chad|"
    "Comoros|Congo,Republic of the Congo,Congo Brazzaville,Congo Republic of the|Democratic Republic of the Congo,"
    "Congo Democratic Republic of the,Congo Kinshasa,DR Congo|Cote d'Ivoire,Ivory Coast|Djibouti|Egypt|"
    "Equatorial Guinea|Eritrea|Eswatini,Swaziland|Ethiopia|Gabon|Gambia,The Gambia|Ghana|Guinea|Guinea Bissau|Kenya|"
    "Lesotho|Liberia|Libya|Madagascar|Malawi|Mali|Mauritania|Mauritius|Morocco|Mozambique|Namibia|Niger|Nigeria|Rwanda|"
    "Sao Tome and Principe|Senegal|Seychelles|Sierra Leone|Somalia|South Africa|South Sudan|Sudan|Tanzania|Togo|"
    "Tunisia|Uganda|Zambia|Zimbabwe"
)
CAPITALS = {  # north of 45 degrees, with their latitudes
    "Reykjavik": 64.15, "Helsinki": 60.17, "Oslo": 59.91, "Tallinn": 59.44, "Stockholm": 59.33, "Riga": 56.95,
    "Moscow": 55.76, "Copenhagen": 55.68, "Vilnius": 54.69, "Minsk": 53.90, "Dublin": 53.35, "Berlin": 52.52,
    "Amsterdam": 52.37, "Warsaw": 52.23, "London": 51.51, "Brussels": 50.85, "Kyiv": 50.45, "Prague": 50.08,
    "Luxembourg": 49.61, "Paris": 48.86, "Vienna": 48.21, "Bratislava": 48.15, "Budapest": 47.50, "Vaduz": 47.14,
    "Chisinau": 47.01, "Bern": 46.95, "Ljubljana": 46.06, "Zagreb": 45.81,
}  # fmt: skip
_OTHER_NAMES = {"kiev": "kyiv", "luxembourg city": "luxembourg", "berne": "bern"}
_CLOSE = 0.15  # degrees within which sources order two capitals either way
_BATTLES = (datetime.date(1793, 1, 1), datetime.date(1815, 12, 31))  # Toulon to Waterloo


def multiples(response: Text, given: dict[str, Any]) -> bool:
    return re.findall(r"\d+", response.text) == ["14", "21", "28", "35", "42", "49"]


def choice_questions(response: Text, given: dict[str, Any]) -> bool:
    """Four questions, each with five different options below it, each longer than the one before."""
    parts = re.split(r"^[ \t#*_]*Question\b", response.text, flags=re.MULTILINE)
    if len(parts) != 5 or words_of(parts[0]):
        return False
    lengths = []
    for part in parts[1:]:
        option = re.compile(r"[ \t]*(?:[-*][ \t]*)?[(\[]?([A-Ea-e1-5])[).\]:][ \t]*(\S.*)")
        lines = [line for line in part.split("\n") if line.strip()]
        first = next((i for i, line in enumerate(lines) if i and option.fullmatch(line)), len(lines))
        found = [match for match in map(option.fullmatch, lines[first:]) if match]
        if len(found) != 5 or len(lines) - first != 5 or len({tuple(words_of(match[2])) for match in found}) != 5:
            return False
        lengths.append(len(" ".join(lines[:first]).strip()))
    return all(a < b for a, b in zip(lengths, lengths[1:], strict=False))


def countries(response: Text, given: dict[str, Any]) -> bool:
    """All 54 countries of Africa, one a line, from Z to A."""
    known = {_plain(name): index for index, names in enumerate(AFRICA.split("|")) for name in names.split(",")}
    said = [_plain(re.sub(r"^[ \t]*(?:[-*•]|\d{1,2}[.)])[ \t]*", "", line)) for line in response.lines]
    found = [known.get(name) for name in said]
    return None not in found and len(set(found)) == len(found) == 54 and said == sorted(said, reverse=True)


def _plain(name: str) -> str:
    """A name in small letters, without accents and signs."""
    letters = unicodedata.normalize("NFKD", name.casefold().replace("’", "'"))
    return " ".join(re.sub(r"[^a-z' ]", " ", re.sub(r"[\u0300-\u036f]", "", letters)).split())


def reversed_words(response: Text, given: dict[str, Any]) -> bool:
    """A sentence about the bald eagle that reads in order from its last word to its first."""
    backwards = " ".join(reversed(response.folded))
    return _names_the_eagle(backwards) and not re.search(r"\bbald eagle\b", " ".join(response.folded))


def reversed_letters(response: Text, given: dict[str, Any]) -> bool:
    backwards = Text(response.text[::-1])
    return _names_the_eagle(" ".join(backwards.folded))


def _names_the_eagle(sentence: str) -> bool:
    begins = re.match(r"(?:the|it|a|bald|america)", sentence)
    return bool(begins) and len(sentence.split()) > 2 and bool(re.search(r"\bbald eagle\b", sentence))


def alphabet_story(response: Text, given: dict[str, Any]) -> bool:
    initials = "".join(words_of(sentence)[0][0] for sentence in response.sentences)
    return initials == "abcdefghijklmnopqrstuvwxyz" and len(response.words) > 52


def capitals(response: Text, given: dict[str, Any]) -> bool:
    """All of them, separated by commas, from north to south."""
    latitudes = {_plain(name): latitude for name, latitude in CAPITALS.items()}
    said = [_plain(part) for part in response.text.rstrip(".").split(",")]
    said = [_OTHER_NAMES.get(name, name) for name in said]
    if len(said) != len(set(said)) or set(said) != set(latitudes):
        return False
    found = [latitudes[name] for name in said]
    return all(b <= a + _CLOSE for a, b in zip(found, found[1:], strict=False))


def _table(columns: str, rows: int, delimiter: str, cells: Callable[[list[list[str]]], bool]) -> Any:
    """A check of CSV: the header, so many different rows, no empty cell, and what `cells` asks of the raw cells."""
    names = columns.split()

    def check(response: Text, given: dict[str, Any]) -> bool:
        text = re.sub(r"\A```\w*\n(.*?)\n?```\Z", r"\1", response.text, flags=re.DOTALL)
        try:
            table = list(csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True))
        except csv.Error:
            return False
        raw = [re.findall(rf'"(?:[^"]|"")*"|[^{delimiter}]+', line.strip(" ")) for line in text.split("\n")]
        return (
            len(table) == rows + 1
            and [cell.strip() for cell in table[0]] == names
            and all(len(row) == len(names) and all(cell.strip() for cell in row) for row in table)
            and len({tuple(row) for row in table}) == len(table)
            and cells(raw)
        )

    return check


def _special_in_quotes(rows: list[list[str]]) -> bool:
    return any(re.fullmatch(r'"[^"]*[^\w\s"][^"]*"', cell.strip()) for row in rows[1:] for cell in row)


def _all_in_quotes(rows: list[list[str]]) -> bool:
    return all(cell.strip().startswith('"') and cell.strip().endswith('"') for row in rows for cell in row)


def dates(response: Text, given: dict[str, Any]) -> bool:
    """Different days of Napoleon's wars, separated by commas, and nothing else."""
    parts = [part.strip() for part in response.text.rstrip(".").split(",")]
    try:
        days = [datetime.date.fromisoformat(part) for part in parts if re.fullmatch(r"\d{4}-\d\d-\d\d", part)]
    except ValueError:
        return False
    in_time = all(_BATTLES[0] <= day <= _BATTLES[1] for day in days)
    return len(days) == len(parts) == len(set(days)) and len(days) >= 10 and in_time


KINDS: dict[str, Kind] = {
    "custom:multiples": Kind(multiples),
    "custom:mcq_count_length": Kind(choice_questions),
    "custom:reverse_newline": Kind(countries),
    "custom:word_reverse": Kind(reversed_words),
    "custom:character_reverse": Kind(reversed_letters),
    "custom:sentence_alphabet": Kind(alphabet_story),
    "custom:european_capitals_sort": Kind(capitals),
    "custom:csv_city": Kind(_table("ID Country City Year Count", 7, ",", lambda rows: True)),
    "custom:csv_special_character": Kind(_table("ProductID Category Brand Price Stock", 14, ",", _special_in_quotes)),
    "custom:csv_quotes": Kind(_table("StudentID Subject Grade Semester Score", 3, "\t", _all_in_quotes)),
    "custom:date_format_list": Kind(dates),
}
