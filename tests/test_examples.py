"""The scripts and the notebook in examples/ run; slow tests run them as they stand and look at what was learnt."""

import contextlib
import functools
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from trl_copd.recipes.demo_base import build_base


EXAMPLES = Path(__file__).parent.parent / "examples"
SHORT = ["--max_steps", "1"]


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name: str, folder: Path, monkeypatch, *options: str, quick: bool = True):
    module = load(name)
    if quick:
        monkeypatch.setattr(module, "build_base", functools.partial(build_base, steps=2))
    monkeypatch.setattr(sys, "argv", [name, "--output_dir", str(folder), *options])
    return module.main()


def mean(row: dict[str, float]) -> float:
    return sum(row.values()) / len(row)


def test_own_domain(tmp_path, monkeypatch):
    matrix = run("own_domain", tmp_path, monkeypatch, *SHORT)
    assert set(matrix) == {"base", "sort", "anagrams", "student"} and set(matrix["student"]) == {"sort", "anagrams"}
    assert (tmp_path / "adapter_model.safetensors").is_file()
    graded = load("own_domain").anagram_reward(
        prompts=["?"] * 4, completions=["bca", "abc", "abb", "bca "], word=["abc", "abc", "abc", None]
    )
    assert graded == [1.0, 0.0, 0.0, None]


def test_rewards_in_trl(tmp_path, monkeypatch):
    log = run("rewards_in_trl", tmp_path, monkeypatch, "--max_steps", "5")
    assert {"rewards/exact_match_reward/mean", "rewards/math_reward/mean"} <= log[0].keys()


@pytest.mark.slow
def test_finished_experts(tmp_path, monkeypatch):
    matrix = run("finished_experts", tmp_path / "run", monkeypatch, *SHORT, "--student_steps", "1")
    assert set(matrix) == {"base", "sort", "rev", "student"}
    apart = tmp_path / "run/apart/experts"
    options = [f"--expert={name}={apart / name}" for name in ("sort", "rev")]
    options += ["--base", str(tmp_path / "run/base"), "--student_steps", "1"]
    again = run("finished_experts", tmp_path / "again", monkeypatch, *options)
    assert again["sort"] == matrix["sort"] and not (tmp_path / "again/apart").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["own_domain", "finished_experts"])
def test_the_student_gains(name, tmp_path, monkeypatch):
    matrix = run(name, tmp_path, monkeypatch, quick=False)
    assert mean(matrix["student"]) > mean(matrix["base"]) + 0.05, matrix


@pytest.mark.slow
def test_the_rewards_rise(tmp_path, monkeypatch):
    log = run("rewards_in_trl", tmp_path, monkeypatch, quick=False)
    rewards = [entry["reward"] for entry in log if "reward" in entry]
    assert rewards[-1] > rewards[0] + 0.1, rewards


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    """Its cells, in order and in one namespace, as Jupyter runs them."""
    notebook = json.loads((EXAMPLES / "first_run.ipynb").read_text())
    names: dict = {}
    with contextlib.chdir(tmp_path):
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), "first_run.ipynb", "exec"), names)
    matrix = names["trainer"].last_matrix
    assert mean(matrix["student"]) > mean(matrix["base"]) + 0.1, matrix


def test_the_notebook_is_clean_and_its_code_parses():
    notebook = json.loads((EXAMPLES / "first_run.ipynb").read_text())
    assert notebook["nbformat"] == 4
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            compile("".join(cell["source"]), "first_run.ipynb", "exec")
            assert cell["outputs"] == [] and cell["execution_count"] is None
