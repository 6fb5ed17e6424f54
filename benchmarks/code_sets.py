r"""
How `code_reward` grades the programs that data sets hold: `python benchmarks/code_sets.py FILE ...`.

A file is JSONL, or JSON that is one list. Its columns tell its form (`FORMS`): MBPP, HumanEval, LeetCodeDataset,
rLLM's LeetCode and code_contests, APPS and TACO. `--calls` reads LeetCodeDataset's examples as `fn_name` tests. Where
a set of inputs and outputs has no reference program, one that prints the stored output is taken. Per file:

- `unreadable`: rows without a grade.
- `refused`: reference programs that do not get 1.0; `ours` of these pass in plain Python, so the reward is to blame.
- `mutants`: programs with one change: `none` (the functions return `None`) and `changed` (another number, operator or
  comparison; a `return` that is dropped). `accepted` get 1.0; `false` of these fail in plain Python.

Plain Python is `python -I` with the program and its tests in one file, **unconfined**: run this on data that you
trust. It runs only what is in doubt. The last line is one JSON object.
"""

import argparse
import ast
import json
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from trl_copd.rewards import CodeReward
from trl_copd.rewards.code import LEETCODE


BATCH = 64


@dataclass(frozen=True)
class Task:
    """A row: the column `tests`, the reference program, and the end of a plain script that runs the tests on it."""

    name: str
    tests: dict
    program: str
    script: str


# ---- forms of data sets ----


def mbpp(row: dict) -> Task:
    """Its setup code uses what the submission defines, so it is part of the tests."""
    code = [row["test_setup_code"], *row["test_list"], *row["challenge_test_list"]]
    return Task(str(row["task_id"]), {"kind": "assert", "code": code}, row["code"], "\n".join(code))


def human_eval(row: dict) -> Task:
    code, name = row["test"], row["entry_point"]
    program = row["prompt"] + row["canonical_solution"]
    return Task(
        row["task_id"], {"kind": "assert", "code": code, "entry_point": name}, program, f"{code}\ncheck({name})"
    )


def leetcode(row: dict) -> Task:
    tests = {"kind": "assert", "code": row["test"], "entry_point": row["entry_point"], "preamble": row["prompt"]}
    script = f"{row['test']}\ncheck({row['entry_point']})"
    return Task(row["task_id"], tests, row["completion"], script)


def leetcode_calls(row: dict) -> Task | None:
    """Its examples as `fn_name` tests, where inputs and outputs are literals."""
    name = row["entry_point"].rpartition(".")[2]
    inputs, outputs = [], []
    try:
        for case in row["input_output"]:
            call = ast.parse(f"f({case['input']})", mode="eval").body
            inputs.append([ast.literal_eval(keyword.value) for keyword in call.keywords])  # type: ignore[attr-defined]
            outputs.append(ast.literal_eval(case["output"]))
    except (SyntaxError, ValueError):
        return None
    if "Node" in row["test"]:  # the literals stand for lists and trees there
        return None
    calls = "\n".join(
        f"assert plain(Solution().{name}(*{a!r})) == plain({b!r})" for a, b in zip(inputs, outputs, strict=True)
    )
    plain = "def plain(x): return [plain(y) for y in x] if isinstance(x, (list, tuple)) else x\n"
    tests = {"fn_name": name, "inputs": inputs, "outputs": outputs, "preamble": row["prompt"]}
    return Task(row["task_id"], tests, row["completion"], plain + calls)


def rllm(row: dict) -> Task:
    code = row["tests"]["functional"]
    return Task(row["problem"][:60], {"kind": "assert", "code": code, "preamble": LEETCODE}, row["solutions"], code)


def inputs_and_outputs(row: dict) -> Task:
    tests = row["tests"] if "tests" in row else row["input_output"]
    tests = json.loads(tests) if isinstance(tests, str) else tests
    programs = row.get("solutions") or []
    programs = json.loads(programs) if isinstance(programs, str) else programs
    cases = list(zip(tests["inputs"], tests["outputs"], strict=True))
    if not programs:
        programs = [f"import sys\nprint({dict(cases)!r}[sys.stdin.read()])"]
    script = "" if tests.get("fn_name") is None else None
    return Task(str(row.get("problem", row.get("question", "")))[:60], tests, programs[0], script or "")


FORMS: list[tuple[set[str], Callable[[dict], Task | None]]] = [
    ({"code", "test_list"}, mbpp),
    ({"canonical_solution", "test", "entry_point"}, human_eval),
    ({"completion", "test", "entry_point"}, leetcode),
    ({"solutions", "input_output"}, inputs_and_outputs),
    ({"tests", "solutions"}, rllm),
    ({"tests"}, inputs_and_outputs),
]


def read_tasks(path: Path, calls: bool) -> list[Task]:
    text = path.read_text(encoding="utf-8")
    rows = (
        json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.split("\n") if line.strip()]
    )
    found = (form for columns, form in FORMS if columns <= set(rows[0]))
    form = next(found, None)
    if form is None:
        raise SystemExit(f"{path}: no known form; its columns are {sorted(rows[0])}. Add one to `FORMS`.")
    tasks = map(leetcode_calls if calls and form is leetcode else form, rows)
    return [task for task in tasks if task is not None]


# ---- programs that are wrong ----


class _Changed(ast.NodeTransformer):
    """Change the node with the number `at` of those that can be changed."""

    SWAPS: dict[type, type] = {
        ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
        ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
        ast.And: ast.Or, ast.Or: ast.And, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    }  # fmt: skip

    def __init__(self, at: int):
        self.at, self.count = at, 0

    def generic_visit(self, node: ast.AST) -> ast.AST:
        changed = self._other(node)
        if changed is not None:
            self.count += 1
            if self.count - 1 == self.at:
                return changed
        return super().generic_visit(node)

    def _other(self, node: ast.AST) -> ast.AST | None:
        if type(node) in self.SWAPS:
            return self.SWAPS[type(node)]()
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return ast.Constant(node.value + 1)
        if isinstance(node, ast.Return) and node.value is not None:
            return ast.Return(ast.Constant(None))
        return None


def changed(program: str, draw: random.Random) -> str | None:
    try:
        count = _Changed(-1)
        count.visit(ast.parse(program))
        if not count.count:
            return None
        return ast.unparse(ast.fix_missing_locations(_Changed(draw.randrange(count.count)).visit(ast.parse(program))))
    except (SyntaxError, RecursionError):
        return None


def emptied(program: str, draw: random.Random) -> str | None:
    """Every function but `__init__` returns `None`; a program without functions prints nothing."""
    try:
        tree = ast.parse(program)
    except SyntaxError:
        return None
    functions = [
        node for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name != "__init__"
    ]  # fmt: skip
    for node in functions:
        node.body = [ast.Return(ast.Constant(None))]
    return ast.unparse(ast.fix_missing_locations(tree)) if functions else "pass"


MUTANTS = {"none": emptied, "changed": changed}


# ---- grading ----


def grade(reward: CodeReward, programs: Sequence[tuple[Task, str]]) -> Iterator[tuple[float | None, str]]:
    """Reward and reason of each program."""
    for start in range(0, len(programs), BATCH):
        some = programs[start : start + BATCH]
        texts = [f"```python\n{program}\n```" for _, program in some]
        for verdict in reward.verdicts(texts, [task.tests for task, _ in some]):
            yield None if verdict.passed is None else float(verdict.passed), verdict.reason


def passes(task: Task, program: str, seconds: int) -> bool:
    """Whether plain Python gets through the program and its tests."""
    if not task.script:
        cases = list(zip(task.tests["inputs"], task.tests["outputs"], strict=True))
        return all(_printed(program, data, seconds) == output.split() for data, output in cases)
    source = "\n".join(["class Solution: pass", task.tests.get("preamble", ""), program, task.script])
    return _printed(source, "", seconds) is not None


def _printed(source: str, data: str, seconds: int) -> list[str] | None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "program.py"
        file.write_text(source, encoding="utf-8")
        try:
            done = subprocess.run(
                [sys.executable, "-I", str(file)], input=data, text=True, capture_output=True, cwd=folder,
                preexec_fn=limit, timeout=20 * seconds,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return None
    return done.stdout.split() if done.returncode == 0 else None


def measure(tasks: Sequence[Task], reward: CodeReward, seconds: int, show: bool) -> dict[str, int]:
    result = {"rows": len(tasks), "unreadable": 0, "refused": 0, "refused_ours": 0}
    accepted = []
    rows = [(task, task.program) for task in tasks]
    for (task, program), (value, reason) in zip(rows, grade(reward, rows), strict=True):
        if value == 1.0:
            accepted.append(task)
            continue
        result["unreadable" if value is None else "refused"] += 1
        ours = passes(task, program, seconds)
        result["refused_ours"] += ours and value == 0.0
        if show:
            print(f"    {'unreadable' if value is None else 'refused'}, plain Python {ours}: {task.name}: {reason}")
    for name, mutate in MUTANTS.items():
        draw = random.Random(0)
        mutants = [(task, mutant) for task in accepted if (mutant := mutate(task.program, draw)) is not None]
        result |= {f"{name}_mutants": len(mutants), f"{name}_accepted": 0, f"{name}_false": 0}
        for (task, program), (value, reason) in zip(mutants, grade(reward, mutants), strict=True):
            if value is None:
                print(f"    {name}, no grade by its completion: {task.name}: {reason}")
            if value == 1.0:
                result[f"{name}_accepted"] += 1
                wrong = not passes(task, program, seconds)
                result[f"{name}_false"] += wrong
                if wrong and show:
                    print(f"    {name}, false accept: {task.name}:\n{program}")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--rows", type=int, help="rows per file, drawn with a fixed seed; all by default")
    parser.add_argument("--calls", action="store_true", help="LeetCodeDataset's examples as `fn_name` tests")
    parser.add_argument(
        "--packages", nargs="*", default=["numpy", "sortedcontainers"], help="that programs may import"
    )
    parser.add_argument("--cpu-seconds", type=int, default=4, help="CPU time of a row, seconds")
    parser.add_argument("--show", action="store_true", help="print what was not graded as it should be")
    options = parser.parse_args()
    reward = CodeReward(cpu_seconds=options.cpu_seconds, packages=options.packages)
    reward.check()
    result = {}
    for path in options.files:
        tasks = read_tasks(path, options.calls)
        if options.rows is not None:
            tasks = random.Random(0).sample(tasks, min(options.rows, len(tasks)))
        found = measure(tasks, reward, 2 * options.cpu_seconds, options.show)
        name = path.stem + (" as calls" if options.calls else "")
        result[name] = found
        print(f"{name}: {', '.join(f'{key} {value}' for key, value in found.items())}", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
