"""Documentation pages as data: code blocks with the rules above them, links, and commands within sentences."""

import re
import textwrap
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path


ROOT = Path(__file__).parent.parent
RUN = ("bash", "python")
DATA = ("yaml", "json", "text", "bibtex", "diff")  # shown, not run; YAML and JSON must parse
RULES = ("skip", "slow", "needs", "setup", "with", "file", "fails")

_FENCE = re.compile(r"^( *)(`{3,}|~{3,})\s*([^\s`]*)\s*$")
_RULE = re.compile(r"^ *<!-- *test: *(\w+) *(.*?) *-->\s*$")


@dataclass
class Block:
    """One fenced block of a page: its language, its text, its first line's number, and its rules."""

    page: "Page"
    line: int
    language: str
    text: str
    rules: dict[str, str]

    @property
    def where(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def runs(self) -> bool:
        return self.language in RUN and not {"skip", "file"} & self.rules.keys()

    @property
    def slow(self) -> bool:
        return "slow" in self.rules

    @property
    def commands(self) -> list[str]:
        """Lines of a bash block without comments, continued lines joined."""
        joined = re.sub(r"\\\n\s*", " ", self.text)
        lines = [re.sub(r"(^|\s)#.*$", "", line).rstrip() for line in joined.splitlines()]
        return [line for line in lines if line.strip()]


@dataclass
class Page:
    """A Markdown file."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT)) if self.path.is_relative_to(ROOT) else self.path.name

    @cached_property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()

    @cached_property
    def blocks(self) -> list[Block]:
        """Raises ValueError for what the rules do not allow, naming page and line."""
        blocks, rules, index = [], {}, 0
        while index < len(self.lines):
            line = self.lines[index]
            rule, fence = _RULE.match(line), _FENCE.match(line)
            if rule:
                self._check_rule(rule[1], rule[2], index + 1)
                rules[rule[1]] = rule[2]
            elif fence:
                end = self._end_of_fence(index, fence)
                text = textwrap.dedent("\n".join(self.lines[index + 1 : end]) + "\n")
                blocks.append(Block(self, index + 2, fence[3], text, rules))
                self._check_language(blocks[-1])
                rules, index = {}, end
            elif rules:
                raise ValueError(f"{self.name}:{index + 1}: a rule must stand directly above a block, found {line!r}.")
            elif re.match(r" *<!-- *tests?\b", line):
                raise ValueError(f"{self.name}:{index + 1}: no rule: {line!r}. Write `<!-- test: RULE ... -->`.")
            index += 1
        return blocks

    def _end_of_fence(self, start: int, fence: re.Match) -> int:
        for index in range(start + 1, len(self.lines)):
            if re.match(rf"^ *{fence[2]}\s*$", self.lines[index]):
                return index
        raise ValueError(f"{self.name}:{start + 1}: the block is never closed.")

    def _check_rule(self, rule: str, rest: str, line: int) -> None:
        if rule not in RULES:
            raise ValueError(f"{self.name}:{line}: unknown rule {rule!r}. Choose one of {', '.join(RULES)}.")
        if rule == "skip" and len(rest.split()) < 3:
            raise ValueError(f"{self.name}:{line}: a block that is not run needs a reason, got {rest!r}.")
        if rule not in ("skip", "slow") and not rest:
            raise ValueError(f"{self.name}:{line}: the rule {rule!r} says nothing.")

    def _check_language(self, block: Block) -> None:
        if block.language not in RUN + DATA:
            raise ValueError(
                f"{block.where}: a block in {block.language or 'no language'!r} is never run. Call a command 'bash', "
                f"code 'python', and what is only shown one of {', '.join(DATA)}."
            )

    @cached_property
    def prose(self) -> str:
        """The page without its blocks."""
        kept, inside = [], None
        for line in self.lines:
            fence = _FENCE.match(line)
            if inside is None and fence:
                inside = fence[2]
            elif inside is not None and line.strip() == inside:
                inside = None
            elif inside is None:
                kept.append(line)
        return "\n".join(kept)

    @property
    def links(self) -> list[str]:
        """Targets of its relative links and pictures."""
        text = re.sub(r"`[^`\n]*`", "", self.prose)
        return [t for t in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", t)]

    @property
    def inline(self) -> list[str]:
        """What stands in backquotes within its sentences."""
        return [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", self.prose)]

    @cached_property
    def anchors(self) -> set[str]:
        """The names that the headings have on GitHub."""
        headings = re.findall(r"^#+ (.*)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@lru_cache
def all_pages() -> tuple[Page, ...]:
    return tuple(Page(path) for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))])


@lru_cache
def make_targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@lru_cache
def ci_targets() -> frozenset[str]:
    """The targets that CI runs, so that no test has to."""
    return frozenset(re.findall(r"^make ([\w-]+)$", (ROOT / ".ci/run").read_text(), re.MULTILINE))
