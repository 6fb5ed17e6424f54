"""
The package as people install it: a wheel made from the sdist, an empty environment, every command, no checkout near.

`make test-wheel` (minutes, most of them pip's). What a wheel holds is tested in `test_built_in_recipes.py`, always.
"""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Folder of an environment's programs, in which the wheel, its dependencies and matplotlib are installed."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True)
    (sdist,) = folder.glob("*.tar.gz")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(sdist)], check=True
    )
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    pip = [str(folder / "venv/bin/pip"), "install", "-q", "-c", str(ROOT / "constraints.txt"), f"{wheel}[plots]"]
    subprocess.run(pip, check=True)
    return folder / "venv/bin"


@pytest.fixture(scope="module")
def run(programs, tmp_path_factory):
    """Run a program of that environment in an empty folder; returns what it printed, its errors if it should fail."""
    folder = tmp_path_factory.mktemp("elsewhere")
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def program(*command: str, code: int = 0) -> str:
        process = subprocess.run(
            [str(programs / command[0]), *command[1:]], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert process.returncode == code, process.stdout[-2000:] + process.stderr[-3000:]
        return process.stderr if code else process.stdout

    program.folder = folder
    return program


def test_the_sdist_holds_what_the_tests_need(programs):
    (sdist,) = programs.parent.parent.glob("*.tar.gz")
    names = {name.partition("/")[2] for name in tarfile.open(sdist).getnames()}
    assert {"README.md", "LICENSE", "constraints.txt", "Makefile", "recipes/demo.yaml", "tests/conftest.py"} <= names


def test_it_is_the_installed_package(run):
    where = run("python", "-c", "import trl_copd; print(trl_copd.__file__)")
    assert "site-packages" in where
    assert run("trl-copd", "--version") == run("python", "-m", "trl_copd", "--version")


def test_rewards(run):
    script = r"from trl_copd.rewards import math_reward; print(math_reward(['?'], [r'\boxed{2}'], solution=['2']))"
    assert run("python", "-c", script) == "[1.0]\n"
    (run.folder / "rows.jsonl").write_text(json.dumps({"completion": r"\boxed{\frac12}", "solution": "0.5"}))
    assert "1 row: 1 passed" in run("trl-copd", "verify", "--reward", "math_reward", "--data", "rows.jsonl")


def test_train_plan_report_and_export(run):
    short = ["--max-steps", "4", "--rlvr_steps", "2", "--opd_steps", "2", "--per_device_train_batch_size", "32"]
    shown = run("trl-copd", "train", "--config", "demo", *short)
    assert json.loads(shown.splitlines()[-1])["output_dir"] == "runs/demo" and "| student |" in shown
    assert "It fits" in run("trl-copd", "plan", "--config", "demo")
    assert "summary.png" in run("trl-copd", "report", "runs/demo")
    run("trl-copd", "export", "runs/demo", "--output", "merged")
    assert (run.folder / "merged/model.safetensors").is_file()
    assert (run.folder / "runs/demo/experts/up/adapter_model.safetensors").is_file()


def test_through_accelerate_and_a_recipe_of_ones_own(run):
    from trl_copd.recipes import find_recipe

    text = find_recipe("demo").read_text().replace("output_dir: runs/demo", "output_dir: runs/mine")
    assert "max_rollouts: 81920" in text  # else the whole demonstration would run
    (run.folder / "mine.yaml").write_text(text.replace("max_rollouts: 81920", "max_rollouts: 640"))
    launch = ["accelerate", "launch", "--num_processes", "1", "--cpu", "-m", "trl_copd.train", "--config", "mine.yaml"]
    run(*launch, "--per_device_train_batch_size", "32", "--final_opd_steps", "2")
    assert (run.folder / "runs/mine/capability_matrix.json").is_file()


def test_what_is_missing_is_named(run):
    """Extras are not installed here."""
    (run.folder / "rows.jsonl").write_text(json.dumps({"completion": "a", "instructions": "[]"}))
    command = ["trl-copd", "verify", "--reward", "instruction_reward", "--data", "rows.jsonl"]
    assert "pip install 'trl-copd[instructions]'" in run(*command, code=2)
