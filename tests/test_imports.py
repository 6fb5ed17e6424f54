"""The direction of imports: rewards and planning know neither TRL nor torch; recipes use public names only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
    return names


@pytest.mark.parametrize(
    "module", ["trl_copd.rewards", "trl_copd.topology", "trl_copd.schedule", "trl_copd.report", "trl_copd.plan"]
)
def test_pure_modules_load_neither_torch_nor_trl(module):
    script = f"import sys, {module}; print([m for m in ('torch', 'trl', 'peft', 'transformers') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout.strip() == "[]", run.stdout + run.stderr


def test_distillation_imports_torch_alone():
    assert {name.split(".")[0] for name in imported(ROOT / "trl_copd/distillation.py")} == {"torch"}


def test_one_package_touches_peft_internals():
    users = {p.parent for p in ROOT.glob("trl_copd/**/*.py") if any(n.startswith("peft.") for n in imported(p))}
    assert users == {ROOT / "trl_copd" / "adapters"}


def test_nothing_imports_recipes_and_rewards_import_no_trainer():
    for path in ROOT.glob("trl_copd/**/*.py"):
        names = imported(path)
        assert not any(name.startswith("recipes") for name in names), path
        if "rewards" in path.parts:
            assert not any("trainers" in name for name in names), path
