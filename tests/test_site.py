"""The documentation site's sources: every public name has an entry, every command a section. `make docs` builds it."""

import importlib
import re
from pathlib import Path

import pytest

import trl_copd
import trl_copd.rewards
from trl_copd.cli import COMMANDS


DOCS = Path(__file__).parent.parent / "docs"
ENTRIES = {
    name: page.name
    for page in (DOCS / "api").glob("*.md")
    for name in re.findall(r"^::: (\S+)", page.read_text(), re.M)
}


@pytest.mark.parametrize("entry", sorted(ENTRIES))
def test_entries_exist(entry):
    module, _, name = entry.rpartition(".")
    assert getattr(importlib.import_module(module), name).__doc__


def test_every_public_name_has_an_entry():
    documented = {entry.rpartition(".")[2] for entry in ENTRIES}
    public = {*trl_copd.__all__, *(name for name in trl_copd.rewards.__all__ if not name.endswith("_reward"))}
    assert public <= documented, public - documented


def test_the_page_of_the_command_line_names_every_command():
    page = (DOCS / "cli.md").read_text()
    assert all(f"`trl-copd {name}`" in page for name in COMMANDS)
