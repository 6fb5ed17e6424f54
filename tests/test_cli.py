"""The command line: every subcommand says what it does, answers a wrong word with the nearest right one, and exits
with a code that scripts can use; `verify` grades files of every kind and says why."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

import trl_copd
from trl_copd.cli import COMMANDS, main
from trl_copd.recipes.rewards import find_reward
from trl_copd.rewards import CodeReward
from trl_copd.rewards.proofs import ProverError
from trl_copd.rewards.sandbox import SandboxError


ROOT = Path(__file__).parent.parent
ROWS = [
    {"completion": r"\boxed{2}", "solution": "2", "label": 1},
    {"completion": r"\boxed{3}", "solution": "2", "label": 1},
    {"completion": r"\boxed{3}", "solution": r"\frac{", "label": None},
    {"completion": r"\boxed{3}", "solution": None, "label": None},
]


def written(path: Path, rows: list[dict]) -> str:
    if path.suffix == ".jsonl":
        path.write_text("\n\n".join(json.dumps(row) for row in rows) + "\n")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return str(path)


def verify(*argv: str) -> int:
    return main(["verify", *argv])


# ---- The commands -------------------------------------------------------------------------------------------------


def test_help_names_every_command(capsys):
    assert main([]) == main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in COMMANDS)


def test_as_a_module_without_torch():
    script = (
        "import sys; from trl_copd.cli import main; main(['verify', '--reward', 'math_reward', '--data', 'x.csv'])"
    )
    script += "; print([m for m in ('torch', 'trl') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout == "[]\n" and "no file 'x.csv'" in run.stderr
    command = [sys.executable, "-m", "trl_copd", "--version"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout == f"trl-copd {trl_copd.__version__}\n"


@pytest.mark.parametrize(
    "argv, message",
    [
        (["trian"], "Did you mean 'train'"),
        (["train", "--max_stepz", "3"], "Did you mean 'max_steps'"),
        (["train", "--config", "dmeo"], "Did you mean 'demo'"),
        (["train", "--max_steps", "many"], "max_steps.*invalid int value: 'many'"),
        (["train", "--method", "codp"], "method='codp' is unknown"),
        (["verify", "--reward", "math_rewards", "--data", "rows.jsonl"], "Did you mean 'math_reward'"),
    ],
)
def test_a_wrong_word(argv, message, capsys):
    assert main(argv) == 2
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) < 6 and "Traceback" not in shown
    assert re.search(message, shown)


@pytest.mark.parametrize(
    "argv, message",
    [
        (["plan", "--expets", "3"], "unknown option '--expets'. Did you mean '--experts'"),
        (["export", "x", "--output", "y", "--exprt=z"], "Did you mean '--expert'"),
        (["report", "x", "--quite"], "unknown option '--quite'"),
        (["verify", "--reward", "a", "--data", "b", "--limt", "3"], "Did you mean '--limit'"),
    ],
)
def test_an_unknown_option(argv, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(argv)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("compare", "train")])
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert f"usage: trl-copd {name}" in capsys.readouterr().out


def test_help_of_train_names_recipes_and_every_option_it_shows_exists(capsys):
    assert main(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "usage: trl-copd train" in shown and "\n  demo " in shown
    assert main(["train", "--help-all"]) == 0
    everything = capsys.readouterr().out
    for option in {*re.findall(r"--[a-z_]+", shown)} - {"--config", "--help", "--traceback"}:
        assert option in everything, option


def test_a_traceback_on_request():
    with pytest.raises(ValueError, match="no recipe"):
        main(["train", "--config", "nowhere.yaml", "--traceback"])


def test_a_name_of_a_module_is_no_reward():
    for name in ("math", "base", "VerifierReward", "accuracy_rewards"):
        with pytest.raises(ValueError, match="No reward is named"):
            find_reward(name)
    assert find_reward("accuracy_reward").__module__.startswith("trl.")


# ---- verify -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet"])
def test_files_of_every_kind(ending, tmp_path, capsys):
    data = written(tmp_path / f"rows.{ending}", ROWS)
    assert verify("--reward", "math_reward", "--data", data) == 1  # a reference that cannot be read
    one, two, three, four, last = capsys.readouterr().out.splitlines()
    assert one.split()[:2] == ["1", "1"] and two == "     2  0     '3' is not '2'"
    assert "-     the reference is unreadable" in three and "not this reward's row" in four
    assert last.startswith("4 rows: 1 passed, 1 did not, 2 without a grade (1 of them unreadable or failed); mean")


def test_expected_grades(tmp_path, capsys):
    data = written(tmp_path / "rows.csv", [ROWS[0], ROWS[1], ROWS[3]])
    assert verify("--reward", "math_reward", "--data", data) == 0  # all could be graded
    capsys.readouterr()
    assert verify("--reward", "math_reward", "--data", data, "--expect", "label", "--show", "wrong") == 1
    line, last = capsys.readouterr().out.splitlines()
    assert line == "     2  0     '3' is not '2'  [expected 1]" and "1 not as expected" in last
    agreeing = written(tmp_path / "good.jsonl", [{**ROWS[1], "label": False}, ROWS[0], ROWS[3]])
    assert verify("--reward", "math_reward", "--data", agreeing, "--expect", "label") == 0
    wrong = written(tmp_path / "bad.jsonl", [{**ROWS[0], "label": "yes"}])
    assert verify("--reward", "math_reward", "--data", wrong, "--expect", "label") == 2
    assert "Row 1: 'label' must be 1, 0, true, false or empty, got 'yes'" in capsys.readouterr().err


def test_columns_under_other_names_limit_and_output(tmp_path, capsys):
    rows = [{"answer": [{"role": "assistant", "content": "It is 4"}], "gold": 4, "prompt": "2+2"}] * 3
    data, output = written(tmp_path / "rows.jsonl", rows), tmp_path / "graded.jsonl"
    options = ["--completion", "answer", "--column", "solution=gold", "--limit", "2", "--output", str(output)]
    assert verify("--reward", "{name: MathReward, answer: boxed_or_final}", "--data", data, *options) == 0
    assert "2 rows: 2 passed" in capsys.readouterr().out
    graded = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["reward"] for row in graded] == [1.0, 1.0] and graded[0]["gold"] == 4 and graded[0]["reason"]


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_reward_of_ones_own(kind, tmp_path, monkeypatch, capsys):
    name = f"own_{kind[0]}"
    (tmp_path / f"{name}.py").write_text(
        f"{kind} long(prompts, completions, limit, **columns):\n"
        "    return [None if n is None else min(1, len(c) / n) for c, n in zip(completions, limit)]\n"
    )
    monkeypatch.chdir(tmp_path)
    rows = [{"completion": "abc", "limit": 4}, {"completion": "abcd", "limit": 4}, {"completion": "", "limit": None}]
    assert verify("--reward", f"{name}.long", "--data", written(tmp_path / "rows.jsonl", rows)) == 0
    assert "1 passed, 1 did not, 1 without a grade; mean reward 0.875" in capsys.readouterr().out


# A function that knows one of TRL's forms of a completion, and gets the other
@pytest.mark.parametrize(
    "reward, completion, message",
    [
        ("think_format_reward", "<think>a</think>b", "think_format_reward raised TypeError.*write each as \\[{"),
        (
            "own_text.has_a",
            [{"role": "assistant", "content": "a"}],
            "has_a raised AttributeError.*write each as its text",
        ),
        ("own_text.has_key", "a", "has_key raised KeyError: 'k'"),
    ],
)
def test_the_other_form_of_a_completion(reward, completion, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("own_text.py").write_text(
        "def has_a(completions, **columns): return [float(c.lower() == 'a') for c in completions]\n"
        "def has_key(completions, **columns): return [{}['k'] for c in completions]\n"
    )
    assert verify("--reward", reward, "--data", written(tmp_path / "rows.jsonl", [{"completion": completion}])) == 2
    assert re.search(message, capsys.readouterr().err, re.S)


# A host without confinement, or with a broken prover: a message and exit code 2, as for other things that are missing
@pytest.mark.parametrize("error", [SandboxError, ProverError])
def test_a_host_that_lacks_something(error, tmp_path, monkeypatch, capsys):
    def missing(*args):
        raise error("this host lacks it")

    monkeypatch.setattr(CodeReward, "check", missing)
    data = written(tmp_path / "rows.jsonl", [{"completion": "1", "tests": {"kind": "assert", "code": "assert f()"}}])
    assert verify("--reward", "{name: CodeReward}", "--data", data) == 2
    assert capsys.readouterr().err == "trl-copd verify: this host lacks it\n"
    monkeypatch.setattr("trl_copd.train.prepare", missing)
    assert main(["train", "--config", "demo"]) == 2
    assert "trl-copd train: this host lacks it" in capsys.readouterr().err
    with pytest.raises(error):
        main(["train", "--config", "demo", "--traceback"])


def test_a_row_without_a_completion(tmp_path, capsys):
    data = written(tmp_path / "rows.jsonl", [{**ROWS[0], "completion": None}, ROWS[0]])
    assert verify("--reward", "math_reward", "--data", data) == 1
    assert "1  -     no completion" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name, text, options, message",
    [
        ("rows.jsonl", '{"completion": "1"}\n{"completion"', [], "line 2: this is not JSON"),
        ("rows.jsonl", '["completion"]', [], "line 1: a row must be an object"),
        ("rows.json", "{}", [], "holds a dict; a .json file must hold a list"),
        ("rows.csv", "completion,solution\na,b,c\n", [], "line 2: the header names 2 columns"),
        ("rows.jsonl", "", [], "holds no rows"),
        ("rows.parquet", "PAR0", [], "is not a Parquet file"),
        ("rows.txt", "", [], "must end in one of .jsonl"),
        ("rows.jsonl", '{"completions": "1", "solution": 1}', [], "no column 'completion'.*mean 'completions'"),
        ("rows.jsonl", '{"completion": "1", "answer": 1}', [], "without the column 'solution'.*answer"),
        ("rows.jsonl", '{"completion": "1", "answer": 1}', ["--column", "solution"], "NAME=COLUMN"),
        ("rows.jsonl", '{"completion": "1", "answer": 1}', ["--column", "solution=answr"], "mean 'answer'"),
        ("rows.jsonl", '{"completion": "1", "solution": 1}', ["--limit", "0"], "at least 1"),
        ("rows.jsonl", '{"completion": "1", "solution": 1}', ["--output", "rows.jsonl"], "is also the input file"),
    ],
)
def test_what_cannot_be_graded(name, text, options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(text)
    assert verify("--reward", "math_reward", "--data", name, *options) == 2
    assert re.search(message, capsys.readouterr().err, re.S)
    assert Path(name).read_text() == text


def test_a_file_that_is_missing(capsys):
    assert verify("--reward", "math_reward", "--data", "nowhere.csv") == 2
    assert "There is no file 'nowhere.csv'" in capsys.readouterr().err
