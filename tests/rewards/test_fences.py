"""Which fenced block of a completion is the answer."""

import time

import pytest

from trl_copd.rewards.fences import last_block


# The last block in the language; the language is the first word, in any case
@pytest.mark.parametrize(
    "text, block",
    [
        ("```coq\nA\n```", "A"), ("So:\n```coq\nA\n\nB\n```\nDone.", "A\n\nB"),
        ("```coq\nA\n```\n```coq\nB\n```", "B"),
        ("```coq\nA\n```\n```python\nx\n```", "A"), ("  ``` Coq file=a.v\n  A\n  ```  ", "  A"), ("```coq\n```", ""),
        ("```coq\r\nA\r\n```\r\n", "A"),
        # a longer fence holds shorter ones, and a fence with a language closes nothing
        ("````coq\nA\n```\nB\n````", "A\n```\nB"), ("```coq\nA\n`````", "A"),
        ("```coq\nA\n```text\nB\n```", "A\n```text\nB"),
    ],
)  # fmt: skip
def test_found(text, block):
    assert last_block(text, {"coq"}) == block


# No block, another language, or cut off: what was stated before it does not count then
@pytest.mark.parametrize(
    "text",
    [
        "", "A", "`A`", "``coq\nA\n``", "```\nA\n```", "```coqtop\nA\n```", "```coq A```", "```coq\nA",
        "```coq\nA\n``",
        "````coq\nA\n```", "```coq\nA\n```\n```coq\nB", "```coq\nA\n```\n```coq", "text ```coq\nA\n```",
    ],
)  # fmt: skip
def test_none(text):
    assert last_block(text, {"coq"}) is None


# Blocks without a language, where they count. A fence too many at the end opens nothing
def test_without_language():
    assert last_block("```\nA\n```", {"", "json"}) == "A"
    assert last_block("```json\nA\n```\n```\n", {"", "json"}) == "A"
    assert last_block("```json\nA\n```\n```\nB", {"", "json"}) is None


@pytest.mark.parametrize(
    "text", ["```" + "a" * 200_000 + "`", "```coq\n" * 50_000, "`" * 200_000, " " * 200_000 + "```a`"]
)
def test_linear(text):
    start = time.process_time()
    assert last_block(text, {"coq"}) is None
    assert time.process_time() - start < 1.0
