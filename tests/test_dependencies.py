"""What the package imports is what it asks pip for: an environment with nothing else must be able to train."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement


ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def installed_with(requirements: list[str]) -> set[str]:
    """Distributions that pip installs for these requirements, by their normalised names."""
    found: set[str] = set()
    queue = [(Requirement(line), "") for line in requirements]
    while queue:
        requirement, extra = queue.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        if not wanted or (name in found and not requirement.extras):
            continue
        found.add(name)
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform
        for own in requirement.extras or {""}:
            queue += [(Requirement(line), own) for line in lines]
    return found


def imported_always(path: Path) -> set[str]:
    """Top-level packages that a module imports when it is imported: not inside of functions, not for types alone."""
    names, nodes = set(), list(ast.parse(path.read_text()).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            nodes += node.orelse
        elif isinstance(node, ast.If | ast.With | ast.ClassDef):
            nodes += [*node.body, *getattr(node, "orelse", [])]
    return names - {"trl_copd"} - set(sys.stdlib_module_names)


def test_every_import_is_a_dependency():
    ours = installed_with(PROJECT["dependencies"])
    optional = {"rich", "vllm", "PIL"}  # of modules that are loaded only where they are needed
    providers = importlib.metadata.packages_distributions()
    for path in sorted((ROOT / "trl_copd").rglob("*.py")):
        for name in imported_always(path) - optional:
            offered = {re.sub(r"[-_.]+", "-", found).lower() for found in providers.get(name, [])}
            assert offered & ours, f"{path.relative_to(ROOT)} imports {name}, which pyproject.toml does not ask for"


def test_citation_and_changelog_have_the_version():
    from trl_copd import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys() and citation["version"] == __version__
    release = re.match(r"\d+\.\d+\.\d+", __version__)[0]
    assert f"\n## {release}" in (ROOT / "CHANGELOG.md").read_text()


def test_extras_that_messages_name_exist():
    for path in (ROOT / "trl_copd").rglob("*.py"):
        for named in re.findall(r"trl-copd\[([\w,-]+)\]", path.read_text()):
            assert set(named.split(",")) <= PROJECT["optional-dependencies"].keys(), f"{path.name} names {named}"
