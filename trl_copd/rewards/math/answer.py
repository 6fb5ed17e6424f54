r"""
From normalised text to what the answer is: a number, a set, an interval, an equation …

Only what has the shape of an answer is read: text that hedges becomes a list of two, and a chain like "3 = 7" is
refused.
"""

import functools
import re
from dataclasses import replace

from .bounds import Unreadable
from .brackets import closing, replace_outside, split
from .equations import equation, final_claim, is_label, ungrouped
from .formula import Node, has, parse, variables
from .kinds import Reading, unlabelled
from .lines import read_features, read_lines
from .matrices import matrix_formula
from .phrases import as_binomials, read_phrase
from .plain import number, significant_digits, words
from .region import REALS, as_region, combine, combine_sets, complement, inequality, region_of
from .same import same
from .spaces import read_basis, read_eigen
from .special import special
from .symbols import FUNCTIONS
from .units import split_unit
from .vocabulary import labels


_OR = re.compile(r"(?:[,;]\s*)?(?<![A-Za-z«])(?:or|and)(?![A-Za-z»])|[;,]", re.IGNORECASE)
_UNION = re.compile(r"∪|(?<![A-Za-z«])U(?![A-Za-z»_])")
_RELATION = re.compile(r"[=<>≤≥≠≈∈∉]|:=")
_THOUSANDS = re.compile(r"(?<![0-9.,])([0-9]{1,3}(?:,[0-9]{3})+)(?![0-9]|,[0-9])")
_GLUED = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?)([mgshlLNJWVKA])")  # 5m, 0.64N
_CHOSEN = re.compile(r"«\(?([A-F])\)?[.:]?» ?(.+)")  # \textbf{(B)}\ 12
_SAID = re.compile(r"([A-Z] ?:(?= ?[0-9.]+ ?«)|«[^«»]+:»|(?:«[^«»]+»|[A-Za-z][a-z -]{2,30}) ?:) ?(.+)")


@functools.lru_cache(maxsize=4096)
def readings(text: str, answer: bool = False) -> tuple[Reading, ...]:
    """
    The ways to read a normalised text: two if its commas may separate thousands or members, and two for an *answer*
    like "5m", which may be a product or metres.

    A comma within brackets groups digits only if there is no other reading, so that (1,234) stays a pair.

    Raises:
        Unreadable: There is none.
    """
    found: list[Reading] = []
    problem: Unreadable | None = None
    versions = dict.fromkeys((replace_outside(text, _THOUSANDS, _joined), text))
    if answer and (match := _GLUED.fullmatch(text)):
        versions[f"{match[1]} {match[2]}"] = None
    for version in versions:
        try:
            found.append(read(version))
            if not answer and version == text and _THOUSANDS.fullmatch(text) and found[-1].kind == "list":
                found[-1] = replace(found[-1], kind="set")  # 1,234 may be two numbers, but never the point (1,234)
        except Unreadable as error:
            problem = problem or error
    if not answer and found and (rounded := _rounded_reference(text, found[0])):
        found.append(rounded)
    if not found and (last := _THOUSANDS.sub(_joined, text)) not in versions:
        found.append(read(last))
    if not found:
        raise problem or Unreadable("it is empty")
    return tuple(found)


_DECIMAL = re.compile(r"(?P<exact>.+)(?:=|≈)(?P<decimal> ?-?[0-9]*\.[0-9]+(?: ?(?:°|«[^«»]*»).*)?)")


def _rounded_reference(text: str, reading: Reading) -> Reading | None:
    """Of `20 cos 20° = 18.79`, which says both, the decimal."""
    match = (
        _DECIMAL.fullmatch(text.rstrip(" .")) if reading.kind == "scalar" and not variables(reading.value) else None
    )
    decimal = match and read_or_none(match["decimal"])
    if not decimal or decimal.kind != "scalar" or significant_digits(decimal.text) < 3:
        return None
    return replace(decimal, label=reading.label)


def _joined(match: re.Match) -> str:
    return match[0].replace(",", "")


def read(text: str) -> Reading:
    """One reading. Raises `Unreadable`."""
    text = text.strip().rstrip(".,;").strip()
    if not text:
        raise Unreadable("a part of it is empty")
    if text[0] == "⟬":
        answers = [part.split("⟭", 1) for part in text[1:].split("⟬")]
        return Reading("list", items=tuple(replace(read(part), label=f"⟬{name}⟭") for name, part in answers))
    if "⇒" in text:
        claims, arrows = split(text, re.compile("⇒"))
        if arrows:
            return final_claim([read_or_none(claim) for claim in claims if claim] if claims[-1] else [])
    if text[0] == "«" and (found := _space(text) or read_features(text, read)):
        return found
    if "↔" in text:
        return read_eigen(text, read)
    if found := read_phrase(text, read):
        return found
    if ":" in text and (found := _twice(text)):
        return found
    if found := special(text):
        return found
    if (match := _CHOSEN.fullmatch(text)) and (chosen := read(match[2])).kind == "scalar":
        if not chosen.unit and re.search("[0-9]", match[2]):
            return Reading("choice", match[1].casefold(), (chosen,))
    if "∈" in text or "constant" in text or "real" in text:
        text = _without_constant(text)
    text = _ALL.sub("", text)
    if ("∈" in text or "integer" in text or text[0] == "∪") and (found := _family(text)):
        return found
    if "₥" in text:
        return _congruence(text)
    parts, joints = split(text, _OR)
    if len(parts) > 1:
        return _list([read(part) for part in parts], joints)
    return _item(text)


_SPACE = re.compile(r"«(?:(?P<eigen>eigen)|(?:an? |the |orthonormal )*basis(?: is)?:?)» ?:? ?(?P<of>.+)")


def _space(text: str) -> Reading | None:
    match = _SPACE.fullmatch(text)
    return (read_eigen if match["eigen"] else read_basis)(match["of"], read) if match else None


def readings_for(references: tuple[Reading, ...], text: str) -> tuple[Reading, ...]:
    """As `readings` of an answer; where the reference is a space, its vectors may stand as they like."""
    how = {"eigen": read_eigen, "basis": read_basis}.get(references[0].kind)
    if how is not None:
        try:
            return (how(text, read),)
        except Unreadable:
            pass
    return readings(text, answer=True)


def read_or_none(text: str) -> Reading | None:
    try:
        return read(text)
    except Unreadable:
        return None


_WHOLE = r"(?:∈ ?\{? ?(?P<set>[ℤℕZN])[^ ,;()⦄}\]]*|(?:is )?any? (?:arbitrary )?integer|integer)"
_ANY = "(?:all |any |some |every |each |an )?"
_FAMILY = (
    re.compile(
        rf"(.*?)[,;]? ?\(? ?(?:where |with |for (?:all |any |some |every |each )?)?(?P<k>[a-z]) ?{_WHOLE} ?\)?"
    ),
    re.compile(
        r"(.*?)[,;]? ?\(? ?(?:where |with |for )?(?:all |any |some |every |an )?integers? (?P<k>[a-z])(?P<set>)? ?\)?"
    ),
)


_EVERY = re.compile(r"∪ ?_ ?\{? ?(?P<k>[a-z]) ?(?:= ?-∞ ?\}? ?\^ ?\{? ?\+? ?∞|∈ ?ℤ) ?\}? ?(?P<region>.+)")
_BUILDER = re.compile(
    rf"(?!\\(?:{'|'.join(FUNCTIONS)})\b)(?:\\?[a-zA-Z]+|\( ?[a-zA-Z](?: ?, ?[a-zA-Z])+ ?\))"
    rf" ?(?:∈ ?ℝ(?: ?\^ ?\{{?.\}}?)? ?)?[|:](.*)"
)
_ALL = re.compile(r"^«?(?:for )?(?:all|any|every)»? ?(?=[A-Za-z] ?[<>≤≥≠])")  # all n ≥ 3
_FOR = r"[,;]? ?\(? ?(?:where |with |for )?(?:(?:all|any|every|some|an arbitrary|a|arbitrary) )?"
_NAMES = r"(?<=[ ,;(])(?P<k>[A-Za-z](?: ?, ?[A-Za-z])*)"
_CONSTANT = (
    re.compile(
        rf"(.*?){_FOR}{_NAMES} ?(?:∈ ?[ℝℂRC]|(?:is|are) (?:an? |any )?(?:arbitrary )?(?:real )?constants?) ?\)?"
    ),
    re.compile(rf"(.*?){_FOR}(?:real )?constants? {_NAMES} ?\)?"),
    re.compile(rf"(.*?){_FOR}real (?:numbers? )?{_NAMES} ?\)?"),
)


def _without_constant(text: str) -> str:
    r"""`f(x)=cx, c\in\mathbb{R}`: that a constant is free goes without saying."""
    bare = re.sub(r" +", " ", re.sub("[«»]", " ", text)).strip()
    for pattern in _CONSTANT:
        match = pattern.fullmatch(bare)
        names = re.split(" ?, ?", match["k"]) if match else []
        if match and all(re.search(rf"(?:=|^[(⟦]).*(?<![A-Za-z\\]){name}", match[1]) for name in names):
            return match[1].strip()
    return text


def _family(text: str) -> Reading | None:
    r"""`k\pi, k\in\mathbb{Z}` or `\bigcup_{k\in\mathbb{Z}}(k,k+1)`: one answer for every whole number."""
    if match := _EVERY.fullmatch(text):
        region = match["region"]
        if region[0] in "⦃{" and closing(region, 0) == len(region) - 1:
            region = region[1:-1].strip()
        parts = split(region, _UNION)[0]
        inner = read(parts[0]) if len(parts) == 1 else Reading("list", items=tuple(read(part) for part in parts))
        return Reading("family", (match["k"], "ℤ"), (inner,))
    bare = re.sub(r" +", " ", re.sub("[«»]", " ", text)).strip()
    for pattern in _FAMILY:
        if (match := pattern.fullmatch(bare)) and match[1].strip() and match[1].strip() != match["k"]:
            if not re.search(rf"(?<![A-Za-z\\]){match['k']}", match[1]):
                raise Unreadable("its whole number does not occur in the formula")
            inner = read(match[1])
            return Reading("family", (match["k"], "ℕ" if match["set"] in ("ℕ", "N") else "ℤ"), (inner,), inner.label)
    return None


_CONGRUENCE = re.compile(r"(?:(?P<name>[^≡₥]+?) ?≡ ?)?(?P<residues>[^≡₥]+?) ?,? ?\(? ?₥ ?(?P<modulus>[^()≡₥,]+?) ?\)?")


def _congruence(text: str) -> Reading:
    match = _CONGRUENCE.fullmatch(text)
    modulus = match and number(match["modulus"].strip("{} "))
    if not match or not modulus or modulus.denominator > 1:
        raise Unreadable("a congruence of this form is not supported")
    residues = read(match["residues"])
    items = residues.items if residues.kind == "list" else (residues,)
    return Reading("congruence", abs(modulus), tuple(unlabelled(item) for item in items), match["name"])


def _list(items: list[Reading], joints: list[str]) -> Reading:
    """Several answers; conditions on one variable are one region: "x < 1 or x > 5"."""
    if all(item.kind == "region" for item in items) and len({item.label for item in items}) == 1:
        either = combine(items, any)
        both = combine(items, all)
        conjunction = all(re.search("and|,", joint, re.IGNORECASE) for joint in joints)
        if not both.value and any(re.search("and", joint, re.IGNORECASE) for joint in joints):
            raise Unreadable("no number meets all its conditions")
        chosen = both if conjunction and both.value else either
        return Reading("region", chosen.value, label=items[0].label)
    if (joined := _points_and_region(items, joints)) is not None:
        return joined
    flat: list[Reading] = []
    for item in items:  # "±1, 2" has three members
        flat.extend(item.items if item.kind == "list" else [item])
    if len({item.label for item in flat}) == 1 or all(item.label in (flat[0].label, None) for item in flat):
        label = flat[0].label  # "x = 1 or x = 2", "x = 1, 2"
        return Reading("list", items=tuple(unlabelled(item) for item in flat), label=label)
    return Reading("list", items=tuple(flat))


def _points_and_region(items: list[Reading], joints: list[str]) -> Reading | None:
    """`x = 0 or x ≥ 1` as one region."""
    names = {item.label for item in items}
    if {item.kind for item in items} != {"scalar", "region"} or len(names) != 1 or None in names:
        return None
    if not all(re.search("or", joint, re.IGNORECASE) for joint in joints):
        return None
    return replace(combine([as_region(item) for item in items], any), label=names.pop())


def _item(text: str) -> Reading:
    either, unions = split(text, _UNION)
    if unions and all(len(split(part, re.compile("[<>≤≥]"))[0]) > 1 for part in either):
        return _list([read(part) for part in either], ["or"] * len(unions))
    if "⟦" in text and "=" in text and (binomials := as_binomials(text)):
        text = binomials
    parts, relations = split(text, _RELATION)
    if not relations:
        # "vertex: (1, 2)" says what it is, as an equals sign would
        if (match := _SAID.fullmatch(text)) and (len(match[1].strip(" :")) == 1 or labels(match[1])):
            return replace(read(match[2]), label=match[1].strip("« »:").casefold())
        return _value(text)
    parts = [ungrouped(part) for part in parts]
    if not parts[0] and relations[0] in "=≈" and len(parts) == 2:  # "= 5" goes on from the text before the box
        return read(parts[1])
    if any(not part for part in parts):
        raise Unreadable("a side of a relation is empty")
    if relations == ["∈"]:
        if not is_label(parts[0]) or _value(parts[1]).kind not in ("set", "tuple", "region", "words"):
            raise Unreadable("nothing that is a member of a set")
        return Reading(**{**_value(parts[1]).__dict__, "label": parts[0]})
    if relations == ["∉"] and is_label(parts[0]):
        return replace(complement([_value(parts[1])]), label=parts[0])
    kinds = set(relations)
    if kinds <= {"<", "≤"} or kinds <= {">", "≥"} or relations == ["≠"]:
        return inequality(parts, relations)
    if kinds <= {"=", ":=", "≈"}:
        return equation(parts, relations, read)
    raise Unreadable("relations of different kinds stand in one chain")


_RELATED = re.compile("[<>≤≥≠]")


def _twice(text: str) -> Reading | None:
    """`x > 1: (1, ∞)`, a condition and the region that it means."""
    parts, _ = split(text, re.compile(r" ?: ?(?=[(\[⦃ℝ])"))
    first = parts[0].strip("⦃⦄ .")
    if len(parts) != 2 or not parts[1] or words(first) != "ℝ" and not _RELATED.search(first):
        return None
    condition, region = read(first), read(parts[1])
    if condition.kind != "region" or not same(condition, region):
        raise Unreadable("it contradicts itself")
    return condition


def _value(text: str) -> Reading:
    """What has no relation and no separator outside brackets."""
    for operator in ("∪", "∖", "∩"):
        parts, found = split(text, _UNION if operator == "∪" else re.compile(operator))
        if found and all(parts):
            return combine_sets([region_of(read(part)) for part in parts], operator)
    if text in ("ℝ", "∅", "⦃ ⦄", "⦃⦄"):
        return REALS if text == "ℝ" else Reading("words", "no solution")
    if "⟦" in text and (text[0] not in "([⦃⟨⟦⟪" or closing(text, 0) != len(text) - 1):
        return matrix_formula(text, read)
    if text[0] in "([⦃⟨⟦⟪|" or text[0] == "{":
        if text[0] != "|" and closing(text, 0) == len(text) - 1:
            bracketed = _bracketed(text)
            if bracketed:
                return bracketed
    return _scalar(text)


def _bracketed(text: str) -> Reading | None:
    inner = text[1:-1].strip()
    if text[0] == "⟪":
        return read_lines(inner, read)
    if text[0] == "⟦":
        rows = [row.split("¦") for row in inner.split("‖")]
        if len({len(row) for row in rows}) != 1:
            raise Unreadable("the rows of a matrix differ in length")
        return Reading("matrix", (len(rows), len(rows[0])), tuple(read(cell) for row in rows for cell in row))
    if text[0] == "⦃" and (builder := _BUILDER.match(inner)):
        return read(builder[1])
    if not inner:
        raise Unreadable("brackets hold nothing")
    parts, joints = split(inner, re.compile(r"[,;]"))
    if not joints and text[0] != "⦃":
        if text[-1] != {"(": ")", "[": "]", "⟨": "⟩", "{": "}"}[text[0]]:
            raise Unreadable("brackets that do not match hold one member")
        if (
            inner[0] == "⟦"
            or re.search(r"[=<>≤≥≠]", inner)
            or re.search(r"(?<![A-Za-z])(?:or|and)(?![A-Za-z])", inner)
        ):
            return read(inner)
        return None  # a group within a formula
    signs = re.findall("[±∓]", inner) if text[0] != "⦃" else []
    if len(signs) == 1 or len(set(signs)) == 2:  # (±1, ∓2) is two points, and what (±1, ±2) is nobody knows
        points = [read(text.translate(str.maketrans("±∓", both))) for both in ("+-", "-+")]
        return Reading("list", items=tuple(points))
    items = tuple(read(part) for part in parts)
    if all(item.label and item.kind in ("scalar", "matrix") for item in items) and text[0] in "[⦃":
        if len({item.label for item in items}) > 1:  # [x = 1, y = 2]
            return Reading("list", items=items)
    if text[0] == "⦃":
        members = [member for item in items for member in (item.items if item.kind == "list" else (item,))]
        return Reading("set", items=tuple(unlabelled(member) for member in members))
    return Reading("tuple", text[0] + text[-1], items)


def _scalar(text: str) -> Reading:
    if ":" in text and len(terms := split(text, re.compile(":"))[0]) in (2, 3):
        return Reading("proportion", items=tuple(Reading("scalar", _one_value(term)) for term in terms))
    if text in ("∞", "+∞", "+ ∞", "-∞", "- ∞"):
        return Reading("scalar", ("∞", -1 if text[0] == "-" else 1))
    core, unit = split_unit(text)
    exact = number(core)
    tree: Node = ("n", exact) if exact is not None else parse(core)
    if unit is not None and unit.multiple != 1:  # 5 million
        tree, core = ("*", tree, ("n", unit.multiple)), ""
    if unit is not None and not unit.dimensions:  # 5 units, 5 cm/m
        tree, unit = tree if unit.factor == 1 else ("*", tree, ("n", unit.factor)), None
    if has(tree, "±", "∓"):
        both = [_signed(tree, sign) for sign in (1, -1)]
        return Reading("list", items=tuple(Reading("scalar", part, unit=unit) for part in both))
    return Reading("scalar", tree, unit=unit, text=core)


def _one_value(text: str) -> Node:
    tree = parse(text)
    if has(tree, "±", "∓"):
        raise Unreadable("± where one value is needed")
    return tree


def _signed(node: Node, sign: int) -> Node:
    """The tree with ± as + or −."""
    if node[0] in ("±", "∓"):
        inner = _signed(node[1], sign)
        return inner if (sign > 0) == (node[0] == "±") else ("-", inner)
    return tuple(_signed(part, sign) if isinstance(part, tuple) else part for part in node)
