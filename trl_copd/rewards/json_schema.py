"""JSON that must satisfy a JSON Schema. The schema is the reference; the `jsonschema` package decides."""

import functools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

from .base import Verdict, VerifierReward, after_thinking, verdict_of
from .fences import last_block
from .pool import shared_pool
from .strict_json import StrictJSONError, parse_json


CPU_SECONDS = 2.0  # of one grade: a `pattern` in a schema can backtrack without end

# Keywords whose schemas apply to the same value, so that a circle through them never ends
_IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas")
_DATA = ("const", "enum", "default", "examples")  # keywords that hold values, not schemas
_EMAIL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@([A-Za-z0-9.-]+)")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"


class _Unreadable(ValueError):
    """A schema that nothing can be graded by; the message says why."""


def verify_json(completion: str, schema: Any) -> Verdict:
    """
    Validate the JSON in a completion. Pure; reads nothing over the network.

    Args:
        completion (`str`):
            Text to grade: the last block fenced by backticks, with or without `json`, after any `</think>`; without
            such a block, the whole text.
        schema (`dict` or `str`): JSON Schema, as an object or as its JSON text.

    Returns:
        [`Verdict`]: Unreadable where the schema is none, accepts everything, or refers to what it does not hold.
    """
    try:
        validator = _validator(schema if isinstance(schema, str) else _schema_text(schema))
    except _Unreadable as problem:
        return Verdict(None, str(problem))
    text = after_thinking(completion)
    if text is None:
        return Verdict(False, "the reasoning was not closed")
    block = last_block(text, ("", "json"))
    try:
        value = parse_json(text.strip() if block is None else block)
    except StrictJSONError as problem:
        return Verdict(False, str(problem))
    try:
        error = next(validator.iter_errors(value), None)
    except RecursionError:
        return Verdict(False, "it is nested too deep for this schema")
    except OverflowError:
        return Verdict(False, "it has a number that is too large for this schema")
    return Verdict(error is None, "valid" if error is None else f"at {error.json_path}: {error.message:.200}")


class JSONReward(VerifierReward):
    """
    Reward 1.0 for JSON that satisfies the schema in the column `schema`, else 0.0; see [`VerifierReward`] for `None`.

    The JSON is strict: no `NaN`, no repeated key, bounded in size and depth. Formats are checked, not only noted. In
    a `datasets.Dataset` give schemas as JSON texts: Arrow would give all rows the keys of all schemas.

    Args:
        cpu_seconds (`float`, *optional*, defaults to 2.0):
            CPU time that one grade may take; more fails it. Grading runs in the shared pool of killable workers.
        name (`str`, *optional*, defaults to `"json_reward"`): Name in metrics.

    Example:
    ```python
    >>> from trl_copd.rewards import json_reward

    >>> schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    >>> json_reward(prompts=["?"] * 3, completions=['{"age": 7}', '{"age": "7"}', "age: 7"], schema=[schema] * 3)
    [1.0, 0.0, 0.0]
    ```
    """

    def __init__(self, cpu_seconds: float = CPU_SECONDS, name: str = "json_reward"):
        super().__init__(verify_json, columns=("schema",), name=name, cpu_seconds=cpu_seconds)

    def check(self) -> None:
        _prepare()

    def verdicts(self, texts: Sequence[str], references: Sequence[Any]) -> list[Verdict]:
        assert self.cpu_seconds is not None
        calls = list(zip(texts, references, strict=True))
        return [verdict_of(o) for o in shared_pool().map(verify_json, calls, self.cpu_seconds, prepare=_prepare)]


json_reward = JSONReward()


def _schema_text(schema: Any) -> str:
    if not isinstance(schema, dict):
        raise _Unreadable(f"a schema must be an object or its JSON text, got {type(schema).__name__}")
    try:
        return json.dumps(schema, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise _Unreadable(f"the schema is not JSON: {error}") from error


@functools.lru_cache(maxsize=256)  # the generations of a group share their schema
def _validator(text: str) -> Any:
    """Validator for the schema in `text`, which is checked as far as grading must not depend on the completion."""
    import jsonschema

    try:
        schema = parse_json(text)
    except StrictJSONError as problem:
        raise _Unreadable(f"the schema cannot be read: {problem}") from problem
    if not isinstance(schema, dict) or not schema:
        raise _Unreadable("the schema is no object with keywords, so it decides nothing")
    validator_class = jsonschema.validators.validator_for(schema, default=None)
    if validator_class is None:
        if "$schema" in schema:
            raise _Unreadable(f"the draft {schema['$schema']!r:.100} is unknown")
        validator_class = jsonschema.Draft202012Validator
    try:
        validator_class.check_schema(schema, format_checker=_formats(validator_class))
    except jsonschema.SchemaError as error:
        raise _Unreadable(f"the schema is invalid at {error.json_path}: {error.message:.200}") from error
    schema = {key: value for key, value in schema.items() if key != "$schema"}  # by it jsonschema would choose again
    registry, lookup = _references(schema, validator_class)
    _check_references(schema, lookup)
    return _exact(validator_class)(schema, format_checker=_formats(validator_class), registry=registry)


def _references(schema: dict[str, Any], validator_class: Any) -> tuple[Any, Callable[[str], Any]]:
    """A registry of the schema, the official meta-schemas and nothing else, and how references look in it."""
    import referencing.exceptions
    import referencing.jsonschema
    from jsonschema_specifications import REGISTRY

    draft = validator_class.META_SCHEMA.get("$schema", "")
    resource = referencing.jsonschema.specification_with(draft).create_resource(schema)
    base = resource.id() or ""
    registry = REGISTRY.with_resource(base, resource).crawl()  # no `retrieve`: what is not in it cannot be fetched
    resolver = registry.resolver(base)

    def lookup(reference: str) -> Any:
        try:
            return resolver.lookup(reference).contents
        except (referencing.exceptions.Unresolvable, ValueError) as error:
            raise _Unreadable(
                f"the schema refers to {reference!r:.100}, which it does not hold; nothing is fetched"
            ) from error

    return registry, lookup


def _check_references(schema: dict[str, Any], lookup: Callable[[str], Any]) -> None:
    """Every reference leads somewhere, and none leads back to itself without going down into the value."""
    for part in _parts(schema):
        if "$id" in part and part is not schema:
            raise _Unreadable("the schema has an `$id` inside, which changes what references mean. Remove it")
        waiting = list(_same_value(part, lookup))
        seen: set[int] = set()
        while waiting:
            reached = waiting.pop()
            if reached is part:
                raise _Unreadable("the schema refers to itself for the same value, without end")
            if id(reached) not in seen:
                seen.add(id(reached))
                waiting += _same_value(reached, lookup)


def _same_value(part: dict[str, Any], lookup: Callable[[str], Any]) -> Iterator[dict[str, Any]]:
    """Schemas that apply to the value that `part` applies to."""
    found = [lookup(part[key]) for key in ("$ref", "$dynamicRef", "$recursiveRef") if isinstance(part.get(key), str)]
    for key in _IN_PLACE:
        value = part.get(key)
        if isinstance(value, list):
            found += value
        elif isinstance(value, dict):
            found += value.values() if key == "dependentSchemas" else [value]
    return (schema for schema in found if isinstance(schema, dict))


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in a schema but those that are plain values."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting += [inner for key, inner in part.items() if key not in _DATA]
        elif isinstance(part, list):
            waiting += part


@functools.lru_cache(maxsize=16)
def _exact(validator_class: Any) -> Any:
    """The draft with exact multiples: jsonschema divides floats, for which 0.3 is no multiple of 0.1."""
    import jsonschema

    keyword = "multipleOf" if "multipleOf" in validator_class.VALIDATORS else "divisibleBy"
    return jsonschema.validators.extend(validator_class, {keyword: _multiple})


def _multiple(validator: Any, divisor: Any, value: Any, schema: Any) -> Iterator[Any]:
    import jsonschema

    if validator.is_type(value, "number") and Fraction(str(value)) % Fraction(str(divisor)) != 0:
        yield jsonschema.ValidationError(f"{value!r:.100} is not a multiple of {divisor!r}")


@functools.lru_cache(maxsize=16)
def _formats(validator_class: Any) -> Any:
    """The draft's format checks. jsonschema takes any text with an `@` for an email address; ours does not."""
    import jsonschema

    formats = jsonschema.FormatChecker(formats=())
    formats.checkers = dict(validator_class.FORMAT_CHECKER.checkers)
    formats.checks("email")(_is_email)
    return formats


def _is_email(value: object) -> bool:
    if not isinstance(value, str):
        return True  # a format says nothing about other types
    match = _EMAIL.fullmatch(value)
    return match is not None and re.fullmatch(rf"{_LABEL}(?:\.{_LABEL})+", match[1]) is not None


def _prepare() -> None:
    """Import what grading needs; in a worker this is not on a grade's clock."""
    try:
        import jsonschema
    except ImportError as error:
        raise ImportError("json_reward needs jsonschema: `pip install 'jsonschema[format-nongpl]'`.") from error
    missing = {"date-time", "uri", "hostname", "duration"} - set(
        jsonschema.Draft202012Validator.FORMAT_CHECKER.checkers
    )
    if missing:
        raise ImportError(
            f"jsonschema cannot check the format {sorted(missing)[0]!r} here, and would let anything pass: "
            "`pip install 'jsonschema[format-nongpl]'`."
        )
