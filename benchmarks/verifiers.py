r"""
What grading costs: `python benchmarks/verifiers.py [--quick]`; the last line is one JSON object.

Rows per second and core, all in one run, medians of repeats on rows that are new each time and with caches off. For
them the process, its workers and sandboxes share one core; TRL's `accuracy_reward`, the peer, has the same core, and
a reference in dollars, which it needs.

- `math_fast`: whole numbers, decimals, fractions; half of the answers are wrong.
- `math_numeric`: surds and π, which are equal or not by their value.
- `math_mixed`, `accuracy_reward_mixed`: numbers, closed forms, polynomials, sets, intervals, equations, half of them
  right.
- `code_submissions`: programs with five assertions each. `code_cases`: assertions, of programs with 200 each.
  `subprocess_cases`: such assertions, each with its program in a `python -I` of its own and unconfined.
- `coq_trivial`: proofs by `reflexivity` and one rewriting step, checked in full.
- `seconds_2048_mixed`: 2,048 rollouts, 1,536 of `math_mixed` and 512 programs, graded by two workers on two cores.

A verifier that cannot run here (no Coq, no sandbox) has `null`.
"""

import argparse
import contextlib
import json
import logging
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median


sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]

from trl_copd.rewards import MathReward, VerifierReward  # noqa: E402
from trl_copd.rewards import pool as pool_module  # noqa: E402


Row = tuple[str, str]  # reference, completion
THOUGHT = "First we simplify both sides, then we collect terms and compare. " * 15


def rows_of(pairs: Sequence[Row]) -> list[Row]:
    return [(gold, rf"{THOUGHT} So the answer is \boxed{{{answer}}}.") for gold, answer in pairs]


# ---- rows ----


def fast_row(draw: random.Random) -> Row:
    top, bottom, wrong = draw.randint(10, 10**6), draw.choice([2, 4, 5, 8, 10]), draw.randint(0, 1)
    kind = draw.randrange(3)
    if kind == 0:
        return str(top), f"{top + wrong:,}"
    if kind == 1:
        return rf"\frac{{{top}}}{{{bottom}}}", str((top + wrong) / bottom)
    return f"{top}/{bottom}", rf"\dfrac{{{2 * (top + wrong)}}}{{{2 * bottom}}}"


def numeric_row(draw: random.Random) -> Row:
    a, b, c = draw.randint(2, 99), draw.randint(2, 99), draw.randint(2, 9)
    wrong = draw.randint(0, 1)
    return draw.choice(
        [
            (rf"{a}\sqrt{{{b}}}", rf"\sqrt{{{a * a * b + wrong}}}"),
            (rf"\frac{{{a}+\sqrt{{{b}}}}}{{{c}}}", rf"\frac{{\sqrt{{{b}}}}}{{{c}}}+\frac{{{a + wrong}}}{{{c}}}"),
            (rf"\frac{{{a}\pi}}{{{c}}}+{b}", rf"{b}+\frac{{{2 * a}\pi}}{{{2 * c + wrong}}}"),
            (rf"\frac{{1}}{{{a}+\sqrt{{{b}}}}}", rf"\frac{{{a}-\sqrt{{{b}}}}}{{{a * a - b + wrong * 7}}}"),
            (rf"\ln {a**2}+{b}", rf"2\ln {a}+{b + wrong}"),
        ]
    )


def mixed_row(draw: random.Random) -> Row:
    kind, wrong = draw.randrange(8), draw.randint(0, 1)
    a, b, c = draw.randint(2, 99), draw.randint(2, 99), draw.randint(100, 999)
    if kind < 2:
        return fast_row(draw)
    if kind < 4:
        return numeric_row(draw)
    return (
        (rf"x^2+{a + b}x+{a * b}", rf"(x+{a})(x+{b + wrong})"),
        (rf"\{{{a},{c},{b}\}}", rf"\{{{c + wrong},{b},{a}\}}"),
        (rf"[{a},{a + b})", rf"\left[{a}, {a + b + wrong}\right)"),
        (rf"x={a}\sqrt{{{b}}}", rf"{a + wrong}\sqrt{{{b}}}"),
    )[kind - 4]


def many(row: Callable[[random.Random], Row], count: int, seed: int) -> list[Row]:
    draw = random.Random(seed)
    return rows_of([row(draw) for _ in range(count)])


def program(seed: int) -> tuple[dict, str]:
    body = f"    total = 0\n    for power in range(4):\n        total += {seed % 97} * x ** power\n    return total"
    code = f"def poly_{seed}(x):\n{body}"
    value = [sum(seed % 97 * x**power for power in range(4)) for x in range(5)]
    asserts = "\n".join(f"assert poly_{seed}({x}) == {value[x] + (seed % 2) * (x == 4)}" for x in range(5))
    return {"kind": "assert", "code": asserts}, f"{THOUGHT}\n```python\n{code}\n```"


ADDER = "def add(a, b):\n    return a + b\n"


def adder(seed: int, cases: int) -> tuple[dict, str]:
    asserts = "\n".join(f"assert add({seed}, {i}) == {seed + i}" for i in range(cases))
    return {"kind": "assert", "code": asserts}, f"{THOUGHT}\n```python\n# {seed}\n{ADDER}```"


def theorem(seed: int) -> tuple[str, str]:
    statement = f"forall n : nat, n + {seed % 50} + 0 = n + {seed % 50}"
    proof = f"Theorem t : {statement}.\nProof. intro n. rewrite <- plus_n_O. reflexivity. Qed."
    return statement, f"{THOUGHT}\n```coq\n{proof}\n```"


# ---- measuring ----


def rate(grade: Callable[[int], int], repeats: int) -> float:
    """Rows per second: the median of repeats, after one call that starts what must be started."""
    grade(10**6)
    rates = []
    for repeat in range(repeats):
        start = time.perf_counter()
        rows = grade(repeat)
        rates.append(rows / (time.perf_counter() - start))
    return round(median(rates), 1)


@contextlib.contextmanager
def cores(chosen: Sequence[int], workers: int) -> Iterator[None]:
    """Run on these cores alone, as do the processes that are started meanwhile, with so many workers."""
    os.environ["TRL_COPD_WORKERS"] = str(workers)
    if pool_module._shared is not None:
        pool_module._shared.close()
        pool_module._shared = None
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, chosen)
    yield
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, CORES)


def grade_math(reward: VerifierReward, rows: Sequence[Row]) -> int:
    golds, completions = zip(*rows, strict=True)
    reward(prompts=golds, completions=list(completions), solution=list(golds))
    return len(rows)


def grade_code(reward: VerifierReward, rows: Sequence[tuple[dict, str]], expected: Sequence[float]) -> None:
    tests, completions = zip(*rows, strict=True)
    found = reward(prompts=[""] * len(rows), completions=list(completions), tests=list(tests))
    assert found == list(expected), f"grades are wrong: {found[:5]} for {expected[:5]}"


def accuracy_reward_rate(rows: int, repeats: int) -> float:
    from trl.rewards import accuracy_reward

    logging.disable(logging.WARNING)

    def grade(repeat: int) -> int:
        pairs = many(mixed_row, rows, repeat)
        completions = [[{"role": "assistant", "content": text}] for _, text in pairs]
        accuracy_reward(completions, [f"${gold}$" for gold, _ in pairs])
        return len(pairs)

    return rate(grade, repeats)


def subprocess_rate(cases: int, repeats: int) -> float:
    def grade(repeat: int) -> int:
        for index in range(cases):
            code = f"{ADDER}\nassert add({repeat}, {index}) == {repeat + index}"
            subprocess.run([sys.executable, "-I", "-c", code], check=True)
        return cases

    return rate(grade, repeats)


def code_rates(quick: bool, repeats: int) -> tuple[float, float] | None:
    """Submissions and cases per second, or `None` where nothing confines programs."""
    from trl_copd.rewards.code import CodeReward
    from trl_copd.rewards.sandbox.command import available_level

    level = available_level()
    print(f"sandbox level: {level}", flush=True)
    reward = CodeReward(level=level)
    reward.cache_size = 0
    try:
        reward.check()
    except Exception as error:
        print(f"no programs: {error}", flush=True)
        return None
    count, programs, cases = (50, 2, 200) if quick else (300, 10, 200)

    def submissions(repeat: int) -> int:
        seeds = range(repeat * count, (repeat + 1) * count)
        grade_code(reward, [program(seed) for seed in seeds], [float(seed % 2 == 0) for seed in seeds])
        return count

    def many_cases(repeat: int) -> int:
        grade_code(reward, [adder(repeat * 1000 + index, cases) for index in range(programs)], [1.0] * programs)
        return programs * cases

    return rate(submissions, repeats), rate(many_cases, repeats)


def coq_rate(quick: bool, repeats: int) -> float | None:
    from trl_copd.rewards.proofs.coq import CoqReward

    reward = CoqReward()
    reward.cache_size = 0
    try:
        reward.check()
    except Exception as error:
        print(f"no Coq: {error}", flush=True)
        return None
    count = 4 if quick else 16

    def grade(repeat: int) -> int:
        # a statement per four proofs, as the generations of a prompt share theirs
        rows = [theorem(repeat * count + index // 4) for index in range(count)]
        found = reward(
            prompts=[""] * count,
            completions=[f"{index}: {text}" for index, (_, text) in enumerate(rows)],
            statement=[statement for statement, _ in rows],
            preamble=[""] * count,
        )
        assert found == [1.0] * count, f"grades are wrong: {found}"
        return count

    return rate(grade, repeats)


def seconds_mixed(rows: int, code: bool, repeats: int) -> float:
    """Wall clock of a batch, math and programs at the same time, as TRL runs asynchronous rewards."""
    import asyncio

    math = MathReward()
    math.cache_size = 0
    rewards: list[VerifierReward] = [math]
    if code:
        from trl_copd.rewards.code import CodeReward

        rewards.append(CodeReward())
        rewards[-1].cache_size = 0
    programs = rows // 4 if code else 0

    async def grade(repeat: int) -> None:
        pairs = many(mixed_row, rows - programs, 500 + repeat)
        golds, completions = zip(*pairs, strict=True)
        batch = [math.asynchronous()([""] * len(pairs), list(completions), solution=list(golds))]
        if code:
            tests, texts = zip(*(program(repeat * rows + index) for index in range(programs)), strict=True)
            batch.append(rewards[-1].asynchronous()([""] * programs, list(texts), tests=list(tests)))
        await asyncio.gather(*batch)

    asyncio.run(grade(10**6))
    times = []
    for repeat in range(repeats):
        start = time.perf_counter()
        asyncio.run(grade(repeat))
        times.append(time.perf_counter() - start)
    return round(median(times), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    parser.add_argument("--quick", action="store_true", help="few rows and one repeat, to see that it runs")
    quick = parser.parse_args().quick
    repeats, scale = (1, 10) if quick else (5, 1)
    math = MathReward()
    math.cache_size = 0
    result: dict[str, float | None] = {}

    def note(**values: float | None) -> None:
        result.update(values)
        print(*(f"{name}: {value}" for name, value in values.items()), flush=True)

    print(
        f"{platform.machine()}, {len(CORES)} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )
    with cores(CORES[:1], workers=1):
        note(math_fast=rate(lambda repeat: grade_math(math, many(fast_row, 4000 // scale, repeat)), repeats))
        note(math_numeric=rate(lambda repeat: grade_math(math, many(numeric_row, 1000 // scale, repeat)), repeats))
        note(math_mixed=rate(lambda repeat: grade_math(math, many(mixed_row, 1000 // scale, repeat)), repeats))
        note(accuracy_reward_mixed=accuracy_reward_rate(100 // scale, repeats))
        code = code_rates(quick, repeats) or (None, None)
        note(code_submissions=code[0], code_cases=code[1], subprocess_cases=subprocess_rate(40 // scale, repeats))
        note(coq_trivial=coq_rate(quick, repeats))
    with cores(CORES[:2], workers=2):
        rows = 2048 // scale
        seconds = seconds_mixed(rows, code[0] is not None, repeats)
        note(seconds_2048_mixed=round(seconds * 2048 / rows, 2))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
