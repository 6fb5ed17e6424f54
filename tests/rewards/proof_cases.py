"""
Reads the tables of proofs in `cases/`. A group starts with `######## expected: name` and the reason for it; a case
with `==== label`, then `---- statement`, `---- preamble`, `---- options` (JSON) and `---- block`, all of which can be
left out: what stands without a heading is the block.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


EXPECTED = {"accepted": 1.0, "refused": 0.0, "no grade": None}


@dataclass(frozen=True)
class Case:
    """One row: what stands in the columns, the block of the completion, options of the reward, and the grade."""

    expected: float | None
    statement: str | None = None
    preamble: str = ""
    block: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def fenced(self) -> bool:
        return "```" in self.block


def load(name: str) -> list[Any]:
    """The cases of a file as parameters; those whose label ends in (slow) are marked."""
    params = []
    text = (Path(__file__).parent / "cases" / name).read_text(encoding="utf-8")
    for group in re.split(r"^######## ", text, flags=re.MULTILINE)[1:]:
        title, _, body = group.partition("\n")
        expected, _, group_name = title.partition(": ")
        for case in re.split(r"^==== ", body, flags=re.MULTILINE)[1:]:
            label, _, rest = case.partition("\n")
            marks = [pytest.mark.slow] if label.endswith("(slow)") else []
            params.append(pytest.param(_case(EXPECTED[expected], rest), id=f"{group_name}-{label}", marks=marks))
    return params


def _case(expected: float | None, text: str) -> Case:
    parts = re.split(r"^---- (\w+)\n", text, flags=re.MULTILINE)
    found = dict(zip(parts[1::2], (part.strip("\n") for part in parts[2::2]), strict=True))
    return Case(
        expected,
        found.get("statement"),
        found.get("preamble", ""),
        found.get("block", parts[0].strip("\n")),
        json.loads(found.get("options", "{}")),
    )
