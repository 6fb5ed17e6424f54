# ruff: noqa: E501  # tables
"""What a completion submits, what a row tests it with, and when two outputs are the same."""

import json

import pytest

from trl_copd.rewards.code.text import CodeTests, find_submission, read_tests, same_output


class TestFindSubmission:
    # The last Python block counts, after the reasoning; other languages and untagged drafts do not
    @pytest.mark.parametrize(
        "text, code",
        [
            ("```python\na\n```", "a\n"),
            ("```py\na\n```", "a\n"),
            ("```python3\na\n```", "a\n"),
            ("```Python\na\n```", "a\n"),
            ("``` python\na\n```", "a\n"),
            ("```python title=x.py\na\n```", "a\n"),
            ("~~~python\na\n~~~", "a\n"),
            ("````python\na\n```\nb\n````", "a\n```\nb\n"),
            ("```python\na\n```\nbetter:\n```python\nb\n```\nDone.", "b\n"),
            ("```python\na\n```\nrun it:\n```bash\npython a.py\n```", "a\n"),
            ("```python\na\n```\nprints\n```\n42\n```", "a\n"),
            ("```\na\n```", "a\n"),
            ("```\na\n```\n```\nb\n```", "b\n"),
            ("<think>```python\nx\n```</think>```python\na\n```", "a\n"),
            ("1. First\n   ```python\n   def f():\n       return 1\n   ```", "def f():\n    return 1\n"),
            ("```python\nprint('```')\n```", "print('```')\n"),
            ("```python\r\na\r\n```\r\n", "a\n"),
            # cut off before the fence closed: taken as it is, it will fail by itself
            ("```python\na\n```\n```python\nb\nc", "b\nc\n"),
        ],
    )
    def test_found(self, text, code):
        assert find_submission(text) == code

    # Nothing was submitted
    @pytest.mark.parametrize(
        "text",
        [
            "", "def f(): return 1", "`python`", "```python\n", "```java\nx\n```", "```javascript\nx\n```",
            "<think>\n```python\na\n```", "```python\na\n```\n<think>", "<think>```python\nx\n```</think> none",
            "```pythonic\nx\n```", "```python `x`\n",
        ],
    )  # fmt: skip
    def test_none(self, text):
        assert find_submission(text) is None

    def test_many_fences_take_linear_time(self):
        assert find_submission("```python\n" * 200_000) is not None


class TestReadTests:
    @pytest.mark.parametrize("wrap", [dict, json.dumps, lambda value: json.dumps(value).encode()])
    def test_as_dict_and_as_json(self, wrap):
        assert read_tests(wrap({"kind": "assert", "code": "assert f()"})) == CodeTests("assert", code="assert f()")
        stdio = {"kind": "stdio", "cases": [{"input": "1", "output": "2"}, {"output": "3", "input": None}]}
        assert read_tests(wrap(stdio)) == CodeTests("stdio", cases=(("1", "2"), ("", "3")))

    # One case with an output is enough
    def test_some_outputs_may_be_empty(self):
        cases = [{"input": "1", "output": ""}, {"input": "2", "output": "x"}]
        assert read_tests({"kind": "stdio", "cases": cases}).cases == (("1", ""), ("2", "x"))

    @pytest.mark.parametrize(
        "tests, message",
        [
            ("", "JSON"), ("[", "JSON"), ("[]", "dict"), (3, "dict"), ({}, "kind"), ({"kind": "unit"}, "unit"),
            ({"kind": "assert"}, "code"), ({"kind": "assert", "code": " "}, "code"), ({"kind": "assert", "code": [1]}, "code"),
            ({"kind": "assert", "code": "x", "entry_point": 3}, "entry_point"), ({"kind": "stdio"}, "cases"),
            ({"kind": "stdio", "cases": {}}, "cases"), ({"kind": "stdio", "cases": ["1"]}, "case"),
            ({"kind": "stdio", "cases": [{"input": "1"}]}, "output"), ({"kind": "stdio", "cases": [{"output": 1}]}, "output"),
            ({"kind": "stdio", "cases": [{"input": 1, "output": "1"}]}, "input"),
            # an empty program prints all of this
            ({"kind": "stdio", "cases": [{"input": "1", "output": ""}]}, "no case expects"),
            ({"kind": "stdio", "cases": [{"input": "1", "output": ""}, {"input": "2", "output": " \r\n\n"}]}, "no case expects"),
            ({"inputs": ["1", "2"], "outputs": ["", "\n"]}, "no case expects"),
        ],
    )  # fmt: skip
    def test_unreadable(self, tests, message):
        with pytest.raises(ValueError, match=message):
            read_tests(tests)


class TestSameOutput:
    # White space at line ends and empty lines at the end do not count, nor does Windows' line end
    @pytest.mark.parametrize(
        "output, expected",
        [("1", "1\n"), ("1 \n2\t\n\n", "1\n2"), ("1\r\n2\r\n", "1\n2"), ("", "\n"), ("a\n\nb", "a\n\nb\n\n")],
    )
    def test_same(self, output, expected):
        assert same_output(output, expected)

    # Everything else does: `zip` over lines would pass the first three
    @pytest.mark.parametrize(
        "output, expected",
        [("1", "1\n2"), ("1\n2", "1"), ("", "1"), ("1 2", "1  2"), (" 1", "1"), ("a\nb", "a\n\nb"), ("\n1", "1"), ("1.0", "1"), ("A", "a")],
    )  # fmt: skip
    def test_different(self, output, expected):
        assert not same_output(output, expected)

    # Numbers within the tolerance, absolute below 1 and relative above; words and their number to the letter
    @pytest.mark.parametrize(
        "output, expected, same",
        [
            ("0.3333", "0.33333333", True), ("1000001", "1000000", True), ("x 1.0", "x 1", True), ("0.34", "0.3333", False),
            ("y 1.0", "x 1", False), ("1 2", "1", False), ("1\n2", "1", False), ("nan", "1", False), ("inf", "1", False), ("nan", "nan", True),
            ("1_0", "10", True), ("", "1", False),
            # every number is near an infinite one, and near one that overflows a float
            ("5", "inf", False), ("-7 YES", "-Infinity YES", False), ("5", str(2**2000), False), ("5", "1e999", False), ("inf", "-inf", False),
            ("5", "nan", False), (str(2**2000 + 1), str(2**2000), False),
            ("inf", "inf", True), (str(2**2000), str(2**2000), True), ("a 1.0", "a 1", True),
        ],
    )  # fmt: skip
    def test_tolerance(self, output, expected, same):
        assert same_output(output, expected, tolerance=1e-3) is same
