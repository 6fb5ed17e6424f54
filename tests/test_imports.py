"""The direction of imports: downwards, in no circle; rewards and planning know neither TRL nor torch."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "trl_copd"

# Rooms from the ground up: a module imports from its own room and from those below, types included.
ROOMS = [
    {"rewards", ""},  # `trl_copd/__init__.py` imports nothing until it is asked
    {
        "topology",
        "schedule",
        "allocation",
        "history",
        "redaction",
        "randomness",
        "run.folder",
        "pictures",
        "reward_calls",
        "worlds",
        "environments",
        "experts",
        "prompts",
        "config",
        "config_checks",
        "config_together",
        "methods",
        "spelling",
        "style",
    },
    {"distillation", "divergence", "pixels"},
    {"sharding", "adapters"},
    {"shared_images"},
    {"shared_prompts", "image_features", "precision", "forwards"},
    {"engines"},
    {"plots", "side_by_side", "report", "show"},
    {"measure"},
    {"run"},
    {"trainers"},
    {"gym", "from_verifiers", "from_openenv", "recipes"},
    {"export", "plan", "train", "verify"},
    {"compare"},
    {"cli", "__main__"},
]


def imported(path: Path) -> set[str]:
    """Names that a file imports, those for types and those inside of functions included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
    return names


def modules() -> dict[str, Path]:
    """Every module of the package by its name below `trl_copd`."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def own_imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The package's modules that a module imports."""
    package = name.split(".") if path.name == "__init__.py" and name else name.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            start = package[: len(package) - node.level + 1]
        elif (node.module or "").split(".")[0] == "trl_copd":
            start = []
        else:
            continue
        module = ".".join([*start, *(node.module or "").removeprefix("trl_copd").strip(".").split(".")]).strip(".")
        for alias in node.names:
            inner = f"{module}.{alias.name}".strip(".")
            found.add(inner if inner in known else module)
    return found - {name}


def room(name: str) -> int:
    """The most special entry of `ROOMS` that a module is part of."""
    matches = [
        (len(entry), level)
        for level, entries in enumerate(ROOMS)
        for entry in entries
        if name == entry or name.startswith(f"{entry}.")
    ]
    assert matches, f"{name} is in no room: put it into one"
    return max(matches)[1]


@pytest.mark.parametrize(
    "module",
    [
        "trl_copd.rewards",
        "trl_copd.topology",
        "trl_copd.schedule",
        "trl_copd.report",
        "trl_copd.plan",
        "trl_copd.recipes",
    ],
)
def test_pure_modules_load_neither_torch_nor_trl(module):
    script = f"import sys, {module}; print([m for m in ('torch', 'trl', 'peft', 'transformers') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout.strip() == "[]", run.stdout + run.stderr


def test_distillation_imports_torch_alone():
    assert {name.split(".")[0] for name in imported(PACKAGE / "distillation.py")} == {"torch"}


def test_one_package_touches_peft_internals():
    users = {p.parent for p in PACKAGE.rglob("*.py") if any(n.startswith("peft.") for n in imported(p))}
    assert users == {PACKAGE / "adapters"}


def test_modules_import_downwards_and_rewards_nothing_of_the_rest():
    known = modules()
    for name, path in known.items():
        for other in own_imports(name, path, known):
            assert room(other) <= room(name), f"{name} imports {other}, which stands above it"


def test_no_module_imports_in_a_circle():
    """Types count: who needs a type of what stands above needs too much."""
    known = modules()
    graph = {name: own_imports(name, path, known) for name, path in known.items()}
    list(TopologicalSorter(graph).static_order())  # CycleError names the circle


def test_nothing_imports_recipes():
    for path in PACKAGE.rglob("*.py"):
        assert not any(name.startswith("recipes") for name in imported(path)), path
