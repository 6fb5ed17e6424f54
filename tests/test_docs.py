"""
Every ```bash and ```python block of README.md and docs/ is run, in order, in one directory and one namespace per page;
what a page links to and names exists. A block in any other language than those of `pages.py` fails.

A rule is a comment directly above the block, one a line; without one, the block is run as it stands:

    <!-- test: with --max_steps 2 -->    bash: added to each command; python (`max_steps=4`): forced on configurations
    <!-- test: setup words demo_base --> files that it needs, by their names in `stand_ins.SETUPS`
    <!-- test: file my.yaml -->          not run but saved, for the blocks after it (any language)
    <!-- test: fails no column -->       it must fail, and its output must hold this text
    <!-- test: needs coqc -->            skipped where there is no such program or module (`gpu`: no CUDA)
    <!-- test: slow -->                  more than some ten seconds: run by `make test-docs`, not by `make test`
    <!-- test: skip REASON -->           never run: say why in three words or more

`make TARGET` for a target that CI runs is not run again; the target must exist. Hub ids are replaced by tiny stand-ins
and python's configurations are shortened: `stand_ins.py` is the whole list. Bash blocks find the virtual environment's
programs first in PATH and a copy of the repository around them. `make test-docs ARGS="-k own_data"` runs one page.
"""

import contextlib
import doctest
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from pages import ROOT, Block, Page, all_pages, ci_targets, make_targets
from stand_ins import SETUPS, hub_home, stand_ins

from trl_copd.rewards.pool import shared_pool


SECONDS = {"quick": 240, "slow": 1800}  # a busy machine is several times slower than a quiet one


class PageRun:
    """A page's directory and namespace, and the blocks that have been run in them."""

    def __init__(self, folder: Path):
        self.folder, self.names, self.done = folder, {"__name__": "page"}, set()
        self.modules: dict = {}  # that the page has saved and imported
        ignored = shutil.ignore_patterns(".git", ".venv*", "runs", "build", "*.egg-info", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, folder, ignore=ignored, dirs_exist_ok=True)
        self._link_environment()

    def _link_environment(self) -> None:
        """Let `.venv` be this interpreter's environment, up to date in the eyes of make."""
        (self.folder / ".venv").mkdir()
        for entry in Path(sys.prefix).iterdir():
            if entry.name != ".installed":
                (self.folder / ".venv" / entry.name).symlink_to(entry)
        (self.folder / ".venv/.installed").touch()

    def up_to(self, block: Block) -> None:
        """Run the block after those before it on its page; a slow one is run for a slow one only."""
        for other in block.page.blocks:
            if other.line <= block.line and other.line not in self.done and (block.slow or not other.slow):
                self.done.add(other.line)
                if other is block or missing(other) is None:
                    self._run(other)

    def _run(self, block: Block) -> None:
        if "file" in block.rules:
            path = self.folder / block.rules["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
            return
        if not block.runs:
            return
        for name in block.rules.get("setup", "").split():
            SETUPS[name](self.folder)
        run = self._bash if block.language == "bash" else self._python
        wanted = block.rules.get("fails")
        try:
            run(block)
        except Exception as error:
            if wanted is None or wanted not in str(error):
                raise
        else:
            assert wanted is None, f"{block.where} should fail with {wanted!r}, but it ran"

    def _bash(self, block: Block) -> None:
        extra = block.rules.get("with", "")
        lines = [f"{command} {extra}" for command in block.commands] if extra else block.text.splitlines()
        script = "\n".join(re.sub(r"^ *make +([\w-]+).*$", unless_run_by_ci, line) for line in lines)
        environment = {
            **os.environ,
            "PATH": f"{self.folder / '.venv/bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder),
            "HF_HOME": str(hub_home()),
            "MPLBACKEND": "Agg",
        }
        seconds = SECONDS["slow" if block.slow else "quick"]
        process = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=self.folder, env=environment, timeout=seconds, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if process.returncode:
            raise AssertionError(f"{block.where} ended with {process.returncode}:\n{process.stdout[-3000:]}")

    def _python(self, block: Block) -> None:
        forced = eval(f"dict({block.rules.get('with', '')})")
        with stand_ins(**forced), contextlib.chdir(self.folder), self._imports():
            if block.text.startswith(">>>"):
                self._session(block)
            else:
                code = "\n" * (block.line - 1) + block.text  # so that a traceback shows the page's own lines
                exec(compile(code, str(block.page.path), "exec"), self.names)

    @contextlib.contextmanager
    def _imports(self):
        """Modules that the page saves can be imported, by workers too, and by no other page."""
        shared_pool().close()  # workers take their path when they start
        sys.modules.update(self.modules)
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(self.folder))
            yield
        for name, module in list(sys.modules.items()):
            if Path(getattr(module, "__file__", None) or "/").is_relative_to(self.folder):
                self.modules[name] = sys.modules.pop(name)

    def _session(self, block: Block) -> None:
        example = doctest.DocTestParser().get_doctest(block.text, self.names, block.where, None, block.line - 1)
        output = io.StringIO()
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        failed, tried = runner.run(example, out=output.write, clear_globs=False)
        self.names.update(example.globs)
        assert tried and not failed, f"{block.where}:\n{output.getvalue()}"


def unless_run_by_ci(command: re.Match) -> str:
    return f"make -n {command[1]} >/dev/null" if command[1] in ci_targets() else command[0]


def missing(block: Block) -> str | None:
    """What the block needs and this machine has not."""
    for name in block.rules.get("needs", "").split():
        there = torch.cuda.is_available() if name == "gpu" else shutil.which(name) or importlib.util.find_spec(name)
        if not there:
            return name
    return None


def blocks() -> list:
    """One case for each block to run; a page that cannot be read is a case that fails."""
    cases = []
    for page in all_pages():
        try:
            cases += [block for block in page.blocks if block.language in ("bash", "python")]
        except ValueError:
            pass  # test_rules says it
    return [
        pytest.param(block, id=block.where, marks=pytest.mark.slow if block.slow else ())
        for block in cases
        if "file" not in block.rules
    ]


@pytest.fixture(scope="module")
def page_runs(tmp_path_factory):
    runs: dict[Path, PageRun] = {}

    def run_of(page: Page) -> PageRun:
        if page.path not in runs:
            runs[page.path] = PageRun(tmp_path_factory.mktemp(page.path.stem))
        return runs[page.path]

    return run_of


@pytest.mark.parametrize("block", blocks())
def test_block(block, page_runs):
    if "skip" in block.rules:
        check_unrun(block)
        pytest.skip(block.rules["skip"])
    if missing(block):
        pytest.skip(f"needs {missing(block)}")
    page_runs(block.page).up_to(block)


def check_unrun(block: Block) -> None:
    """What is not run must at least parse, and name make targets, scripts and tests that exist."""
    check_command(block.rules.get("skip", ""), block.where)
    if block.language == "python":
        compile(block.text, str(block.page.path), "exec")
        return
    subprocess.run(["bash", "-n", "-c", block.text], check=True)
    for command in block.commands:
        check_command(command, block.where)


def named_files(text: str) -> list[str]:
    return re.findall(r"(?<![\w/.])(?:recipes|benchmarks|tests)/[a-z0-9_./-]+\.(?:py|yaml|json)\b", text)


def test_recipes_name_files_that_exist():
    named = {(path.name, file) for path in (ROOT / "recipes").glob("*.yaml") for file in named_files(path.read_text())}
    assert ("compare_unequal.yaml", "benchmarks/compare_unequal.py") in named
    assert [pair for pair in named if not (ROOT / pair[1]).exists()] == []


def check_command(command: str, where: str) -> None:
    for target in re.findall(r"\bmake +([a-z][\w-]*)", command):
        assert target in make_targets(), f"{where}: no target {target!r} in the Makefile"
    for path in named_files(command):
        assert (ROOT / path).exists(), f"{where}: there is no {path}"
    for module in re.findall(r"python3? -m (trl_copd[\w.]*)", command):
        assert importlib.util.find_spec(module), f"{where}: there is no module {module}"


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: page.name)
class TestPage:
    def test_rules(self, page):
        for block in page.blocks:
            for name in block.rules.get("setup", "").split():
                assert name in SETUPS, f"{block.where}: no setup {name!r} in stand_ins.py"
            if block.language in ("yaml", "json"):
                yaml.safe_load(block.text)

    def test_links(self, page):
        for link in page.links:
            path, _, anchor = link.partition("#")
            target = (page.path.parent / path).resolve() if path else page.path
            assert target.exists(), f"{page.name} links to {link}, which does not exist"
            if anchor and target.suffix == ".md":
                assert anchor in Page(target).anchors, f"{page.name} links to {link}: no such heading"

    def test_commands_in_sentences(self, page):
        for code in page.inline:
            check_command(code, page.name)


def test_support_table():
    """Each row has one of three states; what is run names a file that runs it, and versions are those of CI."""
    text = (ROOT / "docs/support.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    rows = [row for row in rows if row[1] not in ("Status", "---")]
    assert len(rows) > 30
    for feature, status, where in rows:
        assert status in ("run", "expected", "refused") and where, feature
        if status == "run":
            assert re.search(r"\bCI\b|every test|`(tests|recipes|benchmarks)/|`make ", where), (
                f"where is it run: {feature}"
            )
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    for name, version in re.findall(r"\b(torch|transformers|trl|peft|accelerate|datasets) (\d+\.\d+\.\d+)", text):
        assert pinned[name] == version, f"{name} {version}: constraints.txt has {pinned[name]}"


# ---- The harness itself: what it must not let pass ------------------------------------------------------------------


def run_page(folder: Path, text: str) -> None:
    (folder / "page.md").write_text(text)
    blocks = Page(folder / "page.md").blocks
    run = PageRun(folder / "clone")
    for block in blocks:
        run.up_to(block)


BAD = {
    "a command that fails": ("```bash\ntrue\nls /nowhere\ntrue\n```", AssertionError, "/nowhere"),
    "a target that does not exist": ("```bash\nmake tset\n```", AssertionError, "tset"),
    "a script that does not exist": ("```bash\npython recipes/cpod.py\n```", AssertionError, "cpod.py"),
    "an argument of the rule": ("<!-- test: with --no-such -->\n```bash\nls\n```", AssertionError, "no-such"),
    "code that raises": ("```python\n1 / 0\n```", ZeroDivisionError, "division"),
    "a wrong result": ("```python\n>>> 1 + 1\n3\n```", AssertionError, "Expected"),
    "no error where one is promised": ("<!-- test: fails boom -->\n```python\n1\n```", AssertionError, "should fail"),
    "another error than promised": ("<!-- test: fails boom -->\n```python\n1 / 0\n```", ZeroDivisionError, "division"),
    "no language": ("```\nrm x\n```", ValueError, "never run"),
    "sh instead of bash": ("```sh\nls\n```", ValueError, "Call a command 'bash'"),
    "a misspelt rule": ("<!-- test: skipp it is slow -->\n```bash\nls\n```", ValueError, "unknown rule"),
    "a skip without a reason": ("<!-- test: skip -->\n```bash\nls\n```", ValueError, "needs a reason"),
    "a rule with a line below it": ("<!-- test: slow -->\n\n```bash\nls\n```", ValueError, "directly above"),
    "no rule at all": ("<!-- tests slow -->\n```bash\nls\n```", ValueError, "no rule"),
    "a block without an end": ("```bash\nls", ValueError, "never closed"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_page_fails(tmp_path, case):
    text, error, message = BAD[case]
    with pytest.raises(error, match=message):
        run_page(tmp_path, text + "\n")


def test_a_good_page_passes(tmp_path):
    run_page(
        tmp_path,
        "<!-- test: file words.txt -->\n```text\none two\n```\n"
        "<!-- test: with -w -->\n```bash\nwc \\\n  words.txt | grep 2  # words\n```\n"
        "```bash\nmake test  # runs this very test\n```\n"
        "```python\nlength = len(open('words.txt').read().split())\n```\n```python\n>>> length\n2\n```\n"
        "<!-- test: fails by zero -->\n```python\n1 / 0\n```\n",
    )


def test_what_is_slow_or_missing_is_left_out(tmp_path):
    (tmp_path / "page.md").write_text(
        "<!-- test: slow -->\n```python\nslow = 1\n```\n"
        "<!-- test: needs no_such_program -->\n```python\nneedy = 1\n```\n"
        "```python\nquick = 1\n```\n<!-- test: slow -->\n```python\nlast = slow\n```\n"
    )
    run, (*_, quick, last) = PageRun(tmp_path / "clone"), Page(tmp_path / "page.md").blocks
    run.up_to(quick)
    assert "quick" in run.names and not {"slow", "needy"} & run.names.keys()
    run.up_to(last)
    assert "last" in run.names and "needy" not in run.names


def test_stand_ins_are_loaded_and_runs_are_short(page_runs, tmp_path):
    text = (
        "```python\nfrom datasets import load_dataset\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "from trl_copd import CoPDConfig\n"
        "model = AutoModelForCausalLM.from_pretrained('Qwen/Qwen3-0.6B')\n"
        "tokenizer = AutoTokenizer.from_pretrained('Qwen/Qwen3-0.6B')\n"
        "rows = load_dataset('openai/gsm8k', 'main', split='test')\n"
        "streamed = next(iter(load_dataset('openai/gsm8k', 'main', split='train', streaming=True)))\n"
        "args = CoPDConfig('out', max_steps=500)\n```\n"
    )
    (tmp_path / "page.md").write_text(text)
    run = PageRun(tmp_path / "clone")
    run.up_to(Page(tmp_path / "page.md").blocks[0])
    assert run.names["model"].config.num_hidden_layers == 2 and run.names["tokenizer"].vocab_size == 30
    assert run.names["rows"].column_names == ["question", "answer"] and "question" in run.names["streamed"]
    assert run.names["args"].max_steps == 2


def test_links_and_anchors_are_found(tmp_path):
    (tmp_path / "page.md").write_text(
        "# A *good* name, here\n[a](x.md#b) `[c](d)` [e](https://f)\n```text\n[g](h)\n```\n"
    )
    page = Page(tmp_path / "page.md")
    assert page.links == ["x.md#b"] and page.anchors == {"a-good-name-here"}
