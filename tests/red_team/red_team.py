# ruff: noqa: E501  # frames and words, many to a line
"""
The red team: `python tests/red_team/red_team.py [--seconds 60] [--seed 0]`, or `make red-team`.

1. Runs the attacks of `tests/rewards/box_attacks.py` at every level that the host has, as this user and, as root, as
   an ordinary one, with parts of the kernel switched off, and prints a matrix: attack × configuration. Root runs none
   at level `rlimit`.
2. Grades honest rows with one attacker of each kind among them: their grades may not change, and it prints what an
   honest row takes beside what it takes without attackers.
3. Fuzzes the pipe between submission and oracle: frames that are cut, changed, repeated or made up, from a seed. None
   may give a grade, or none.
4. Fuzzes the parsers of completions with texts made of pieces that they look for. None may raise.
5. Grades many rows one after the other and looks at what this process and its children hold.

Exits with 1 if anything was accepted that should not be, or something stayed.
"""

import argparse
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median


ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "rewards")]

import box_attacks  # noqa: E402

from trl_copd.rewards import code_reward, json_reward, math_reward, sql_reward  # noqa: E402
from trl_copd.rewards.code import CodeReward  # noqa: E402
from trl_copd.rewards.sandbox import available_level  # noqa: E402


ABI, NO_NAMESPACES = "TRL_COPD_LANDLOCK_ABI", "TRL_COPD_NO_USER_NAMESPACES"
SEAMS = {"": {}, "Landlock 5": {ABI: "5"}, "no Landlock": {ABI: "0"}, "no user namespaces": {NO_NAMESPACES: "1"}}
TESTS = {"kind": "assert", "code": "assert f(2) == 4"}
SECRET = {"kind": "assert", "code": "assert f(2) == 20011"}  # a reply is a value: the right one would be right

# A frame as the runner sends it, in pieces: what a forger would begin with
FRAMES = """
import json, os, random, struct
draw = random.Random({seed})
PIECES = [b'{{"value":4}}', b'{{"value":{{"h":[0,0,["C",["__eq__"]],null]}}}}', b'{{"same":0}}', b'{{"missing":true}}', b'[]', b'null', b'{{}}',
          b'{{"error":[{{"g":["builtins","AssertionError",0,[]]}},[],"",0]}}', b'{{"ask":[0,"__call__",[],{{}}]}}', b'4', b'true',
          b'{{"value":{{"nan":"nan"}}}}', b'{{"value":{{"c":0}}}}', b'{{"changed":[[0,[4]]],"value":5}}', b'\\xff\\xfe', b'"4"']
for _ in range(draw.randrange(1, 9)):
    data = bytearray(draw.choice(PIECES))
    for _ in range(draw.randrange(4)):
        how, at = draw.randrange(4), draw.randrange(len(data) + 1)
        if how == 0: data[at:at] = draw.randbytes(draw.randrange(1, 5))
        elif how == 1: del data[at : at + draw.randrange(1, 5)]
        elif how == 2: data += draw.choice(PIECES)
        else: data = data * 2
    size = draw.choice([len(data), len(data), len(data), len(data) + 1, 0, 1 << 31, 0xffffffff])
    os.write(10, struct.pack('<I', size) + bytes(data))
{end}
"""
ENDS = ("def f(x): return 5", "os._exit(0)", "def f(x): os.close(10)", "import time\ntime.sleep(99)")
WORDS = (
    "```", "```python\n", "```sql\n", "```json\n", "</think>", "<think>", r"\boxed{", "}", "{", "\\", "$", "$$", "[", "]",
    r"\frac", "1", "0", "x", "^", "_", ",", '"', "'", ":", "null", "NaN", "1e999", "\n", "\r", "\x00", "\u2028", "\ud800",
    "SELECT ", "FROM t", ";", "--", "/*", "(", ")", "date('now')", "9" * 50, "é", "∞", "+", "-", "=", "%", "true",
)  # fmt: skip


def matrix() -> int:
    """Print who refuses what; returns how many outcomes are wrong."""
    users = [None] if os.geteuid() else [None, box_attacks.ORDINARY]
    columns, rows, wrong = [], {}, 0
    for user in users:
        root = user is None and not os.geteuid()
        levels = box_attacks.CONFINED if root else box_attacks.ALL  # `rlimit` confines nothing that root may do
        for seam, environment in SEAMS.items():
            found = box_attacks.attack(levels, user=user, seams=environment)
            for level in box_attacks.ALL:
                if level in found and (not seam or level != "rlimit"):
                    columns.append(f"{level}, uid {found['uid']}{', ' + seam if seam else ''}")
                    for attack in box_attacks.ATTACKS:
                        name = f"{attack.kind}: {attack.name}"
                        outcome = found[level].get(name, ["not promised"])[0]
                        good = outcome in (attack.expected, "not promised") or attack.expected == box_attacks.EITHER
                        wrong += not good
                        rows.setdefault(name, []).append(outcome if good else outcome.upper() + " (!)")
                    for name, wanted in (("planted: a module", box_attacks.REFUSED), ("honest", box_attacks.HARMLESS)):
                        outcome = found[level].get(name, [wanted])[0]
                        wrong += outcome != wanted
                        rows.setdefault(name, []).append(outcome if outcome == wanted else outcome.upper() + " (!)")
            left = {key: found[key] for key in ("changed", "signals", "stderr") if found[key]}
            if left:
                wrong += 1
                print(f"LEFT BEHIND by uid {found['uid']} {seam}: {left}")
    for number, column in enumerate(columns):
        print(f"{chr(65 + number)}: {column}")
    print("| attack | " + " | ".join(chr(65 + number) for number in range(len(columns))) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, outcomes in rows.items():
        print(f"| {name} | " + " | ".join(outcomes) + " |")
    return wrong


def beside() -> int:
    """Honest rows among attackers; returns how many grades are wrong."""
    wrong = 0
    for level in box_attacks.CONFINED:
        if available_level() not in ("full", level):
            continue
        kinds = {attack.kind: attack for attack in box_attacks.ATTACKS if level in attack.levels}
        attackers = [box_attacks.submission(attack.code, os.getpid()) for attack in kinds.values()]
        honest = [f"def f(x):\n    # {level} {n}\n    return sum(x for _ in range(2))" for n in range(20)]
        among = honest[:10] + attackers + honest[10:]
        medians = {}
        for name, codes in (("a start", honest), ("alone", honest), ("among attackers", among)):
            reward = CodeReward(level=level, cpu_seconds=0.5)
            grades, seconds = timed(reward, codes)
            wrong += sum(grade != 1.0 for grade, code in zip(grades, codes, strict=True) if code in honest)
            medians[name] = median(seconds[code] for code in honest)
        alone, there = medians["alone"], medians["among attackers"]
        print(
            f"{level}: {len(attackers)} attackers, an honest row takes {there:.3f} s, alone {alone:.3f} s ({there / alone:.2f})"
        )
    return wrong


def timed(reward: CodeReward, codes: list[str]) -> tuple[list, dict[str, float]]:
    """The grades of a batch, and how long each row was at work, wherever it stood in the batch."""
    seconds: dict[str, float] = {}
    attempt = reward._attempt

    def watched(completion: str, reference: object, alone: bool = False) -> tuple:
        start = time.monotonic()
        try:
            return attempt(completion, reference, alone)
        finally:
            code = completion.removeprefix("```python\n").removesuffix("\n```")
            seconds[code] = seconds.get(code, 0.0) + time.monotonic() - start

    reward._attempt = watched  # type: ignore[method-assign]
    texts = [f"```python\n{code}\n```" for code in codes]
    return reward(prompts=[""] * len(codes), completions=texts, tests=[TESTS] * len(codes)), seconds


def fuzz_pipe(seconds: float, seed: int) -> int:
    """Forged frames for a while; returns how many got a grade above 0, or none."""
    reward = CodeReward(cpu_seconds=0.5, memory_mib=512)
    wrong, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        seed += 1
        code = FRAMES.format(seed=seed, end=random.Random(seed).choice(ENDS))
        grade = reward(prompts=["?"], completions=[f"```python\n{code}\n```"], tests=[SECRET])[0]
        if grade != 0.0:
            wrong += 1
            print(f"frames of seed {seed}: {grade}")
    print(f"pipe: seeds up to {seed}, {wrong} accepted or without a grade")
    return wrong


def fuzz_parsers(seconds: float, seed: int) -> int:
    """Texts made of what the parsers look for; returns how many raised or had no grade."""
    script = "CREATE TABLE t(a); INSERT INTO t VALUES (1), (2);"
    graders: dict[str, Callable[[list[str]], list]] = {
        "math": lambda texts: math_reward(prompts=texts, completions=texts, solution=["12"] * len(texts)),
        "json": lambda texts: json_reward(
            prompts=texts, completions=texts, schema=[{"type": "object", "required": ["a"]}] * len(texts)
        ),
        "sql": lambda texts: sql_reward(
            prompts=texts, completions=texts, solution=["SELECT a FROM t"] * len(texts), database=[script] * len(texts)
        ),
        "code": lambda texts: code_reward(prompts=texts, completions=texts, tests=[TESTS] * len(texts)),
    }
    wrong, draw = 0, random.Random(seed)
    for name, grade in graders.items():
        count, end = 0, time.monotonic() + seconds / len(graders)
        while time.monotonic() < end:
            texts = ["".join(draw.choices(WORDS, k=draw.randrange(1, 40))) for _ in range(50)]
            try:
                bad = [text for text, found in zip(texts, grade(texts), strict=True) if found is None]
            except Exception as error:
                bad = [f"{type(error).__name__}: {error}"]
            wrong += len(bad)
            count += len(texts)
            for text in bad[:3]:
                print(f"{name}: {text[:200]!r}")
        print(f"{name}: {count} texts, {wrong} wrong so far")
    return wrong


def holdings() -> dict[str, float]:
    """What this process and those below it hold."""
    from trl_copd.rewards.sandbox._watch import Watch, descendants

    watch = Watch(os.getpid())
    watch.look()
    family = descendants(os.getpid())
    descriptors = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in family if os.path.exists(f"/proc/{pid}/fd"))
    files = len(list(Path("/tmp").glob(f"sandbox-{os.getpid()}-*")))
    return {"MiB": watch.resident >> 20, "descriptors": descriptors, "processes": len(family), "files": files}


def soak(share: float) -> int:
    """Many rows of each verifier; returns how many kinds of holdings have grown by more than a tenth."""
    rows = {
        "math": int(100_000 * share),
        "code": int(3_000 * share),
        "sql": int(300 * share),
        "json": int(300 * share),
    }
    for reward in (math_reward, code_reward, sql_reward, json_reward):
        reward.cache_size = 0
    script = "CREATE TABLE t(a); INSERT INTO t VALUES (1), (2);"

    def grade(part: int) -> None:
        n = [max(1, count // 10) for count in rows.values()]
        math_reward(
            prompts=[""] * n[0], completions=[rf"\boxed{{{part + i}}}" for i in range(n[0])], solution=["7"] * n[0]
        )
        codes = [f"```python\ndef f(x): return {part} * 0 + {i} * 0 + 4\n```" for i in range(n[1])]
        assert set(code_reward(prompts=[""] * n[1], completions=codes, tests=[TESTS] * n[1])) == {1.0}
        queries = [f"SELECT a FROM t WHERE a < {part + i + 3}" for i in range(n[2])]
        sql_reward(
            prompts=[""] * n[2], completions=queries, solution=["SELECT a FROM t"] * n[2], database=[script] * n[2]
        )
        texts = [f'{{"a": {i}}}' for i in range(n[3])]
        json_reward(prompts=[""] * n[3], completions=texts, schema=[{"type": "object"}] * n[3])

    for part in range(2):  # caches of libraries fill up
        grade(part)
    before = holdings()
    for part in range(2, 12):
        grade(part)
    after = holdings()
    grown = [name for name, value in after.items() if value > before[name] * 1.1 + 1]
    print(f"soak of {rows}: before {before}, after {after}, grown: {grown or 'nothing'}")
    return len(grown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each of the two fuzzers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--soak", type=float, default=1.0, help="share of 100,000 math, 3,000 code, 300 SQL, JSON rows"
    )
    options = parser.parse_args()
    wrong = matrix()
    wrong += beside()
    wrong += fuzz_pipe(options.seconds, options.seed)
    wrong += fuzz_parsers(options.seconds, options.seed)
    wrong += soak(options.soak) if options.soak else 0
    print("nothing accepted, nothing left" if not wrong else f"{wrong} WRONG")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
