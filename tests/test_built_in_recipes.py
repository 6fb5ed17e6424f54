"""Built-in recipes: found by name from a checkout and from a wheel, which holds every one of them."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from trl_copd.recipes import find_recipe, recipe_names
from trl_copd.train import with_recipe


ROOT = Path(__file__).parent.parent
FILES = {path.relative_to(ROOT / "recipes").as_posix() for path in (ROOT / "recipes").rglob("*.yaml")}


def test_names_are_found_and_files_win(tmp_path, monkeypatch):
    assert {f"{name}.yaml" for name in recipe_names()} == {path for path in FILES if "/" not in path}
    assert find_recipe("demo").read_text() == (ROOT / "recipes/demo.yaml").read_text()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").write_text("seed: 3")
    assert find_recipe("demo") == Path("demo") and find_recipe(str(ROOT / "recipes/demo.yaml")).is_file()


@pytest.mark.parametrize(
    "name, near", [("dmeo", "Did you mean 'demo'"), ("recipes/demos.yaml", "'demo'"), ("", "demo")]
)
def test_what_is_no_recipe(name, near):
    with pytest.raises(ValueError, match=f"no recipe at.*{near}"):
        find_recipe(name)


def test_config_in_every_spelling():
    demo = str(find_recipe("demo"))
    assert with_recipe([]) == with_recipe(["--config", "demo"]) == with_recipe(["--config=demo"]) == ["--config", demo]
    assert with_recipe(["--seed", "1", "--config", "demo", "--bf16"]) == ["--seed", "1", "--config", demo, "--bf16"]
    with pytest.raises(ValueError, match="--config needs"):
        with_recipe(["--config"])


def test_old_imports_are_the_same_modules():
    script = "import recipes.build, trl_copd.recipes.build as new; from recipes import copd; import trl_copd.train\n"
    script += "print(recipes.build is new, copd is trl_copd.train)"
    run = subprocess.run([sys.executable, "-W", "always", "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout.strip() == "True True", run.stderr
    assert "Import from `trl_copd.recipes`" in run.stderr


def test_a_wheel_holds_the_package_and_every_recipe(tmp_path):
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(ROOT))
    (wheel,) = builder.build(directory=str(tmp_path))
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "trl_copd").rglob("*.py")}
    assert modules | {f"trl_copd/recipes/{path}" for path in FILES} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"trl_copd"}  # and the wheel's own metadata
