"""README.md is short, and its script learns. Blocks and links are tested in test_docs.py, as those of all pages."""

import contextlib
import re

import pytest
from pages import ROOT


README = (ROOT / "README.md").read_text()


def test_it_is_read_in_five_minutes():
    assert len(README.split()) <= 900


@pytest.mark.slow
def test_the_first_script_learns(tmp_path, capsys):
    """As it stands, with nothing shortened: the student gains on the base, and each expert on its own task."""
    (script,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in script.splitlines() if line.strip() and "import" not in line]) <= 12
    names: dict = {}
    with contextlib.chdir(tmp_path):
        exec(compile(script, "README.md", "exec"), names)
    trainer, matrix = names["trainer"], names["trainer"].last_matrix
    means = {name: sum(row.values()) / len(row) for name, row in matrix.items()}
    assert means["student"] > means["base"] + 0.1, means  # 200 rows a task: a standard error is 0.025
    for name in names["domains"]:
        assert matrix[name][name] > matrix["base"][name] + 0.1, matrix
        rewards = [log[f"{name}/reward"] for log in trainer.state.log_history if f"{name}/reward" in log]
        assert rewards[-1] > rewards[0]
        assert (tmp_path / "first/experts" / name / "adapter_model.safetensors").is_file()
    assert "| student |" in capsys.readouterr().out
