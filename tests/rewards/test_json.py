"""`json_reward` and the strict JSON reader under it, against hand-made rows."""

import json
import socket
import time

import pytest

from trl_copd.rewards.json_schema import json_reward, verify_json
from trl_copd.rewards.strict_json import MAX_DEPTH, StrictJSONError, parse_json


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "age": {"type": "integer", "minimum": 0},
        "mail": {"type": "string", "format": "email"},
        "born": {"type": "string", "format": "date"},
        "seen": {"type": "string", "format": "date-time"},
        "page": {"type": "string", "format": "uri"},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
REX = '{"name": "Rex", "age": 3}'


def rex(**more):
    return json.dumps({"name": "Rex", "age": 3, **more})


class TestCompletions:
    # The JSON may be the whole text or a block, and reasoning and talk around a block do no harm
    @pytest.mark.parametrize(
        "completion",
        [
            REX, f"\n  {REX}\n", f"```json\n{REX}\n```", f"```JSON\n{REX}\n```", f"```\n{REX}\n```",
            f"Here it is:\n```json\n{REX}\n```\nDone.", f"<think>{{}}</think>{REX}",
            f"```json\n{{}}\n```\nNo:\n```json\n{REX}\n```", f"```json\n{REX}\n```\n```python\nx = 1\n```",
            '{"age": 3, "name": "Rex"}', '{"name": "R\\u00e9x", "age": 3}', '{"name": "Rex", "age": 3.0}',
            rex(mail="rex@example.com"), rex(born="2020-02-29"), rex(seen="2024-01-01T00:00:00Z"),
            rex(page="https://example.com/a?b=c"),
        ],
    )  # fmt: skip
    def test_valid(self, completion):
        assert verify_json(completion, PERSON).passed is True

    # What the schema forbids; formats too, also those that jsonschema alone is lax about
    @pytest.mark.parametrize(
        "completion",
        [
            "{}", "[]", "null", '"Rex"', '{"name": "Rex"}', '{"name": "", "age": 3}', '{"name": "Rex", "age": -1}',
            '{"name": "Rex", "age": "3"}', '{"name": "Rex", "age": true}', '{"name": "Rex", "age": 3.5}', rex(x=1),
            rex(mail="@"), rex(mail="rex@"), rex(mail="rex@example"), rex(mail="a b@example.com"), rex(mail=3),
            rex(born="2021-02-29"), rex(born="20200101"), rex(born="yesterday"), rex(seen="2024-01-01"),
            rex(page="example"), rex(page="http://a b"),
        ],
    )  # fmt: skip
    def test_invalid(self, completion):
        assert verify_json(completion, PERSON).passed is False

    # No JSON, or one that two readers could read in two ways
    @pytest.mark.parametrize(
        "completion",
        [
            "", " ", "name: Rex", f"Sure: {REX}", f"{REX} trailing", REX + REX, f"{REX}\n{REX}", REX[:-1], f"[{REX}",
            "{'name': 'Rex', 'age': 3}", '{"name": "Rex", "age": 3,}', f"// note\n{REX}", '{name: "Rex", "age": 3}',
            '{"name": "Rex", "age": 03}', '{"name": "Rex", "age": +3}', '{"name": "Rex", "age": NaN}',
            '{"name": "Rex", "age": Infinity}', '{"name": "Rex", "age": 1e999}', '{"name": "Rex", "age": 3, "age": 4}',
            '{"name": "Bad", "age": 3, "name": "Rex"}', '{"name": "\\ud800", "age": 3}', "\ufeff" + REX,
            f"```json\n{REX}", f"```json\n{REX}\n```\n```json\n{{}}\n```", f"<think>{REX}", f"{REX}</think>",
            f'"{REX}"', f"```json\n{REX}\n```\n```json\n{REX[:-1]}",
        ],
    )  # fmt: skip
    def test_no_json(self, completion):
        assert verify_json(completion, PERSON).passed is False

    # Texts made to exhaust the reader: they are wrong, at once
    @pytest.mark.parametrize(
        "completion",
        ["[" * 99_000, '{"a":' * 19_000, "[" * 60 + "]" * 60, '"' + '\\"' * 49_000, '"' * 99_000, "\\" * 99_000,
         '{"name": "Rex", "age": ' + "9" * 90_000 + "}", "{" + ",".join(f'"{i}":1' for i in range(9_000)) + ',"8":1}',
         " " * 3_000_000, "```json\n" * 10_000, "```" + "j" * 90_000 + "`", "1" * 200_000, "0." + "1" * 90_000],
    )  # fmt: skip
    def test_bombs(self, completion):
        start = time.process_time()
        assert verify_json(completion, PERSON).passed is False
        assert time.process_time() - start < 1.0


class TestSchemas:
    # None of these decides anything, and the completion has no say in it
    @pytest.mark.parametrize(
        "schema",
        [
            1, True, [], "", "{", "true", "[]", {}, "{}",  # no schema, or one that accepts everything
            {"type": "nope"}, {"minimum": "3"}, {"pattern": "("}, {"type": float("nan")},
            '{"type": "object", "type": "string"}', {"$schema": "http://example.com/draft"},
            {"$ref": "http://example.com/x.json"}, {"$ref": "file:///etc/passwd"}, {"$ref": "#/nope"},
            {"properties": {"a": {"$ref": "other.json"}}},
            {"$ref": "#"}, {"allOf": [{"$ref": "#"}]}, {"properties": {"a": {"$ref": "#/properties/a"}}},
            {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"},
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("completion", ['{"a": 1}', "nonsense"])
    def test_unreadable(self, schema, completion):
        assert verify_json(completion, schema).passed is None

    # Schemas that made jsonschema raise, in whichever draft, some only at a value that reaches the broken part: the
    # reward has no grade for any completion
    @pytest.mark.parametrize(
        "schema",
        [
            {"$schema": 5}, {"$schema": []}, {"$schema": {}}, {"$schema": None}, {"$schema": "draft-9"},
            {"$schema": ""},
            {"$ref": 5}, {"$ref": []}, {"properties": {"a": {"$ref": 5}}}, {"$ref": "#/title", "title": "no schema"},
            {"properties": {"a": {"$ref": "#/x"}}, "x": 5}, {"properties": {"a": {"$ref": "#/x"}}, "x": {"type": 5}},
            {"properties": {"a": {"$ref": "#/x/y"}}, "x": {"y": {"$ref": "#/nope"}}}, {"$ref": "http://[a"},
            {"patternProperties": {"(": {}}}, {"properties": {"a": {"pattern": "(?<n"}}},
            {"properties": {"enum": {"$ref": "#/nope"}}}, {"properties": {"const": {"patternProperties": {"*": {}}}}},
            {"$schema": "http://json-schema.org/draft-04/schema#", "patternProperties": {"(": {}}},
            {"$schema": "http://json-schema.org/draft-03/schema#", "$ref": 5},
            {"$schema": "http://json-schema.org/draft-03/schema#", "type": "nope"},
            {"$schema": "http://json-schema.org/draft-03/schema#", "properties": {"a": {"type": ["nope"]}}},
            {"$schema": "http://json-schema.org/draft-03/schema#", "extends": {"$ref": "#"}},
            {"$schema": "http://json-schema.org/draft-03/schema#", "disallow": [{"$ref": "#"}]},
            {"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": {"$ref": "#"}}},
            {1: object()}, {"a": {1, 2}}, {"const": 10**5000}, {"const": float("inf")}, {"$dynamicRef": 5},
        ],
    )  # fmt: skip
    def test_broken(self, schema):
        for completion in ('{"a": {"b": 1}}', "5", "nonsense"):
            assert verify_json(completion, schema).passed is None

    # Beside them, what looks broken and is not: names of properties, data, keywords that nobody defines
    @pytest.mark.parametrize(
        "schema, right, wrong",
        [
            ({"properties": {"$schema": {"type": "integer"}}}, '{"$schema": 5}', '{"$schema": "x"}'),
            ({"properties": {"type": {"enum": ["nope"]}}}, '{"type": "nope"}', '{"type": "x"}'),
            ({"properties": {"$id": {"type": "string"}}}, '{"$id": "a"}', '{"$id": 1}'),
            ({"enum": [{"pattern": "("}]}, '{"pattern": "("}', "1"),
            ({"type": "integer", "x-note": {"$ref": 5}}, "1", '"1"'),
            ({"$ref": "#/x", "x": {"type": "integer"}}, "1", '"1"'),
            ({"$ref": "#/x/0", "x": [False, 1]}, None, "1"),
            ({"$schema": "http://json-schema.org/draft-03/schema#", "type": ["string", {"minimum": 3}]}, '"a"', "1"),
            ({"$schema": "http://json-schema.org/draft-03/schema#", "type": "any", "disallow": "string"}, "1", '"a"'),
            ({"$schema": "http://json-schema.org/draft-04/schema#", "patternProperties": {"^a": {"type": "null"}}},
             '{"ab": null, "b": 1}', '{"ab": 1}'),
        ],
    )  # fmt: skip
    def test_not_broken(self, schema, right, wrong):
        assert right is None or verify_json(right, schema).passed is True
        assert verify_json(wrong, schema).passed is False

    def test_nothing_is_fetched(self, monkeypatch):
        def connect(*args, **kwargs):
            raise AssertionError("a connection was opened")

        monkeypatch.setattr(socket, "getaddrinfo", connect)
        monkeypatch.setattr(socket.socket, "connect", connect)
        assert verify_json("{}", {"$ref": "http://127.0.0.1:9/schema.json"}).passed is None

    # References within the schema, circles that go down into the value, drafts
    @pytest.mark.parametrize(
        "schema, right, wrong",
        [
            (json.dumps(PERSON), REX, "{}"),
            ({"$defs": {"n": {"type": "integer"}}, "items": {"$ref": "#/$defs/n"}}, "[1, 2]", '[1, "2"]'),
            ({"type": "array", "items": {"$ref": "#"}}, "[[], [[]]]", "[1]"),
            ({"properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["v"]},
             '{"v": 1, "next": {"v": 2, "next": null}}', '{"v": 1, "next": {}}'),
            ({"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"n": {"type": "integer"}},
              "items": [{"$ref": "#/definitions/n"}]}, "[1]", '["1"]'),
            ({"const": {"$ref": "no reference"}}, '{"$ref": "no reference"}', "{}"),
            ({"properties": {"$ref": {"type": "integer"}}}, '{"$ref": 1}', '{"$ref": "x"}'),
            ({"enum": [1]}, "1", "true"),
            # exact multiples, also of numbers that no float holds, in every draft
            ({"multipleOf": 0.1}, "0.3", "0.35"), ({"multipleOf": 0.01}, "19.99", "19.999"),
            ({"multipleOf": 0.5}, "1" + "0" * 400, "1" * 400 + ".25"), ({"multipleOf": 3}, "9" * 400, "1" + "0" * 400),
            ({"$schema": "http://json-schema.org/draft-07/schema#", "items": {"multipleOf": 0.1}}, "[0.3]", "[0.35]"),
            ({"$schema": "http://json-schema.org/draft-03/schema#", "divisibleBy": 0.1}, "0.3", "0.35"),
        ],
    )  # fmt: skip
    def test_readable(self, schema, right, wrong):
        assert (verify_json(right, schema).passed, verify_json(wrong, schema).passed) == (True, False)

    def test_depth_up_to_the_bound(self):
        schema = {"type": "array", "items": {"anyOf": [{"allOf": [{"$ref": "#"}]}, {"type": "null"}]}}
        assert verify_json("[" * MAX_DEPTH + "]" * MAX_DEPTH, schema).passed is True
        assert verify_json("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), schema).passed is False


# Patterns are ECMA's: `$` is the end, `\d`, `\w` and `\b` know ASCII, `\s` and `.` their own sets, also within `[]`
@pytest.mark.parametrize(
    "pattern, right, wrong",
    [
        ("^[a-z]+$", ["abc"], ["abc\n", ""]),
        (r"^\d{3}$", ["123"], ["١٢٣", "123\n"]),
        (r"^[\d.]+$", ["1.2"], ["١"]),
        (r"^\w+$", ["ab_1"], ["é", "a\n"]),
        (r"^\S+$", ["é", "\x85"], ["\ufeff", "a b"]),
        (r"^\s$", ["\xa0", "\ufeff"], ["\x85"]),
        ("^.$", ["a"], ["\r", "\u2028"]),
        (r"^[^\W]$", ["a"], ["é"]),
        (r"^[\D]$", ["a", "١"], ["1"]),
        (r"^[\W]$", ["é"], ["a"]),
        (r"\bfoo\b", ["a foo", "éfoo"], ["afoo"]),
        (r"^\$[.$]$", ["$.", "$$"], ["$a"]),
        (r"^a\\$", ["a\\"], ["a\\\n"]),
        ("(?i)^abc$", ["ABC"], ["abc\n"]),
        ("^(a|b$)", ["a\n", "b"], ["b\n"]),
        (r"^(?=.*\d)[a-z\d]{2}$", ["a1"], ["ab", "a1\n"]),
    ],
)
def test_patterns(pattern, right, wrong):
    nested = {"properties": {"a": {"anyOf": [{"$ref": "#/$defs/x"}]}}, "$defs": {"x": {"pattern": pattern}}}
    named = {"patternProperties": {pattern: {"type": "integer"}}, "additionalProperties": False}
    for texts, grade in ((right, True), (wrong, False)):
        assert [verify_json(json.dumps(text), {"pattern": pattern}).passed for text in texts] == [grade] * len(texts)
        assert [verify_json(json.dumps({"a": text}), nested).passed for text in texts] == [grade] * len(texts)
        assert [verify_json(json.dumps({text: 1}), named).passed for text in texts] == [grade] * len(texts)


# Patterns that become equal both count; data are no patterns; what cannot be told apart has no grade
def test_patterns_and_data():
    both = {"patternProperties": {r"^\d$": {"type": "integer"}, "^[0-9]$": {"minimum": 3}}}
    assert [verify_json(text, both).passed for text in ('{"1": 4}', '{"1": 1}', '{"1": 4.5}')] == [True, False, False]
    data = {"properties": {"a": {"const": {"pattern": "^a$"}}}}
    assert verify_json('{"a": {"pattern": "^a$"}}', data).passed is True
    for schema in (
        {"$ref": "#/x/const", "x": {"const": {"pattern": "^a$"}}},
        {"pattern": "[]"},
        {"pattern": "a[^]b]"},
    ):
        assert verify_json("1", schema).passed is None
    official = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$ref": "http://json-schema.org/draft-07/schema#",
    }
    assert verify_json('{"type": "null", "pattern": "^a$"}', official).passed is not False


def test_reward_ends_patterns_that_backtrack():
    schema = {"type": "string", "pattern": "^(a+)+$"}
    reward = type(json_reward)(cpu_seconds=0.3)
    completions = ['"' + "a" * 40 + '!"', '"aaa"', "3", '"aaa"']
    assert reward(prompts=["?"] * 4, completions=completions, schema=[schema, schema, schema, None]) == [
        0.0, 1.0, 0.0, None,
    ]  # fmt: skip


def test_reader_keeps_types():
    assert parse_json('[1, 1.0, true, null, "a", {"b": []}]') == [1, 1.0, True, None, "a", {"b": []}]
    with pytest.raises(StrictJSONError, match="'a' twice"):
        parse_json('{"b": 1, "a": 1, "a": 1}')
