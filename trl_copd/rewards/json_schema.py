"""JSON that must satisfy a JSON Schema. The schema is the reference; the `jsonschema` package decides."""

import functools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

from .base import Verdict, VerifierReward, after_thinking, verdict_of
from .fences import last_block
from .formats import format_checker
from .patterns import as_python
from .pool import shared_pool
from .strict_json import StrictJSONError, parse_json


CPU_SECONDS = 2.0  # of one grade: a `pattern` in a schema can backtrack without end

# Keywords of all drafts that hold schemas: for the same value, so that a circle through them never ends, for parts of
# it, and under names. Each may hold one schema or a list
_IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "extends", "type", "disallow")
_BELOW = (
    "items", "prefixItems", "additionalItems", "unevaluatedItems", "contains", "additionalProperties",
    "unevaluatedProperties", "propertyNames", "contentSchema",
)  # fmt: skip
_NAMED_IN_PLACE = ("dependentSchemas", "dependencies")
_NAMED = ("properties", "patternProperties", "$defs", "definitions")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
# Where a reference leads to data, or by a pattern
_NO_WAY = re.compile(r"(?<!/properties)/(?:patternProperties|const|enum)(?=/|$)")


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
        [`Verdict`]: Unreadable if the schema is invalid, accepts everything, or refers to something outside itself.
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
    except Exception as problem:  # the schema was checked: this is the value's doing, such as a number too large
        return Verdict(False, f"it cannot be held against the schema: {type(problem).__name__}")
    return Verdict(error is None, "valid" if error is None else f"at {error.json_path}: {error.message:.200}")


class JSONReward(VerifierReward):
    """
    Reward 1.0 for JSON that satisfies the schema in the column `schema`, else 0.0; see [`VerifierReward`] for `None`.

    The JSON is strict: no `NaN`, no repeated key, limited in size and depth. Formats are checked, not only noted. In
    a `datasets.Dataset` give schemas as JSON texts, because Arrow would give all rows the keys of all schemas.

    Args:
        cpu_seconds (`float`, *optional*, defaults to 2.0):
            CPU time of one grade in seconds, > 0; more fails it. Grading runs in the shared pool of killable workers.
        name (`str`, *optional*, defaults to `"json_reward"`): Name in metrics.

    Example:
    ```python
    >>> from trl_copd.rewards import json_reward

    >>> schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    >>> json_reward(prompts=["?"] * 3, completions=['{"age": 7}', '{"age": "7"}', "age: 7"], schema=[schema] * 3)
    [1.0, 0.0, 0.0]
    ```
    """

    contained = True

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
    except Exception as error:  # a type that is not JSON's, NaN, too deep, too many digits
        raise _Unreadable(f"the schema is not JSON: {type(error).__name__}: {error}") from error


@functools.lru_cache(maxsize=256)  # the generations of a group share their schema
def _validator(text: str) -> Any:
    """Validator for the schema in `text`, which is checked as far as grading must not depend on the completion."""
    try:
        return _checked_validator(text)
    except (_Unreadable, ImportError):
        raise
    except StrictJSONError as problem:
        raise _Unreadable(f"the schema cannot be read: {problem}") from problem
    except Exception as error:  # jsonschema raises what it likes for what the meta-schemas do not forbid
        raise _Unreadable(f"the schema cannot be used: {type(error).__name__}: {error!s:.200}") from error


def _checked_validator(text: str) -> Any:
    import jsonschema

    schema = parse_json(text)
    if not isinstance(schema, dict) or not schema:
        raise _Unreadable("the schema is not an object with keywords, so it decides nothing")
    draft = schema.get("$schema", jsonschema.Draft202012Validator.META_SCHEMA["$schema"])
    if not isinstance(draft, str):
        raise _Unreadable(f"`$schema` must be a text, got {draft!r:.100}")
    validator_class = jsonschema.validators.validator_for({"$schema": draft}, default=None)
    if validator_class is None:
        raise _Unreadable(f"the draft {draft!r:.100} is unknown")
    schema = {key: value for key, value in schema.items() if key != "$schema"}  # by it jsonschema would choose again
    if not set(schema) & set(validator_class.VALIDATORS):
        raise _Unreadable("the schema has no keyword of its draft, so it decides nothing")
    registry, lookup = _references(schema, validator_class)
    _translate_patterns(schema, _check_parts(schema, validator_class, lookup))
    return _exact(validator_class)(schema, format_checker=format_checker(validator_class), registry=registry)


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


def _check_parts(schema: dict[str, Any], validator_class: Any, lookup: Callable[[str], Any]) -> list[dict[str, Any]]:
    """
    Every schema that grading can reach is valid, every reference leads to a schema, and none leads back to itself
    without going down into the value. Returns these schemas.
    """
    identifier = "$id" if "$id" in validator_class.META_SCHEMA else "id"
    waiting, checked = [schema], dict[int, dict[str, Any]]()
    _check_schema(schema, validator_class)
    while waiting:
        part = waiting.pop()
        if id(part) in checked:
            continue
        checked[id(part)] = part
        if part is not schema and isinstance(part.get(identifier), str):
            raise _Unreadable("the schema has an `$id` inside, which changes what references mean. Remove it")
        _check_patterns(part)
        _check_types(part, validator_class)
        for target in _targets(part, lookup):
            # a reference may lead into a place that the meta-schema takes for data
            _check_schema(target, validator_class)
            waiting += [target] if isinstance(target, dict) else []
        waiting += _inner(part, _IN_PLACE + _BELOW, _NAMED_IN_PLACE + _NAMED)
        _check_circle(part, lookup)
    return list(checked.values())


def _check_schema(schema: Any, validator_class: Any) -> None:
    import jsonschema

    if not isinstance(schema, (dict, bool)):
        raise _Unreadable(f"the schema refers to {schema!r:.100}, which is not a schema")
    try:
        validator_class.check_schema(schema, format_checker=format_checker(validator_class))
    except jsonschema.SchemaError as error:
        raise _Unreadable(f"the schema is invalid at {error.json_path}: {error.message:.200}") from error


def _check_patterns(part: dict[str, Any]) -> None:
    """Regular expressions compile; not all drafts' meta-schemas ask for it."""
    named = part.get("patternProperties")
    for pattern in [part.get("pattern", ""), *(named if isinstance(named, dict) else ())]:
        try:
            as_python(pattern)
        except Exception as error:
            raise _Unreadable(f"{pattern!r:.100} is not a regular expression: {error}") from error


def _translate_patterns(schema: dict[str, Any], parts: Sequence[dict[str, Any]]) -> None:
    """Have the schema's patterns mean what JSON Schema says, where Python, which searches with them, differs."""
    own, changed = set[int](), False
    waiting: list[Any] = [schema]
    while waiting:  # what a reference finds in the official schemas stays as it is
        value = waiting.pop()
        own.add(id(value))
        inner = value.values() if isinstance(value, dict) else value
        waiting += [item for item in inner if isinstance(item, (dict, list)) and id(item) not in own]
    for part in parts:
        if id(part) not in own:
            continue
        pattern, named = part.get("pattern", ""), part.get("patternProperties", {})
        translated: dict[str, Any] = {}
        for key, value in named.items():
            new = as_python(key)
            while new in translated:
                new += "(?:)"
            translated[new] = value
        changed |= as_python(pattern) != pattern or list(translated) != list(named)
        if pattern:
            part["pattern"] = as_python(pattern)
        if named:
            named.clear()
            named.update(translated)
    references = [part[key] for part in parts for key in _REFERENCES if key in part]
    if changed and any(_NO_WAY.search(reference) for reference in references):
        raise _Unreadable(
            "the schema has patterns and refers into `patternProperties`, `const` or `enum`. Move that to `$defs`"
        )


def _check_types(part: dict[str, Any], validator_class: Any) -> None:
    """Names of types are known: draft 3 allows any, and jsonschema raises at the first value."""
    for key in ("type", "disallow"):
        names = part.get(key, [])
        for name in names if isinstance(names, list) else [names]:
            known = isinstance(name, str) and (name == "any" or name in validator_class.TYPE_CHECKER._type_checkers)
            if not known and not isinstance(name, dict):
                raise _Unreadable(f"the type {name!r:.100} is unknown")


def _check_circle(part: dict[str, Any], lookup: Callable[[str], Any]) -> None:
    waiting, seen = list(_same_value(part, lookup)), set[int]()
    while waiting:
        reached = waiting.pop()
        if reached is part:
            raise _Unreadable("the schema refers to itself for the same value, without end")
        if id(reached) not in seen:
            seen.add(id(reached))
            waiting += _same_value(reached, lookup)


def _targets(part: dict[str, Any], lookup: Callable[[str], Any]) -> list[Any]:
    """What a schema refers to."""
    found = [part[key] for key in _REFERENCES if key in part]
    for reference in found:
        if not isinstance(reference, str):
            raise _Unreadable(f"a reference must be a text, got {reference!r:.100}")
    return [lookup(reference) for reference in found]


def _same_value(part: dict[str, Any], lookup: Callable[[str], Any]) -> Iterator[dict[str, Any]]:
    """Schemas that apply to the value that `part` applies to."""
    yield from (target for target in _targets(part, lookup) if isinstance(target, dict))
    yield from _inner(part, _IN_PLACE, _NAMED_IN_PLACE)


def _inner(part: dict[str, Any], plain: Sequence[str], named: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Schemas that `part` holds under these keywords."""
    for key in plain:
        value = part.get(key)
        yield from (item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict))
    for key in named:
        value = part.get(key)
        if isinstance(value, dict):
            yield from (item for item in value.values() if isinstance(item, dict))


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
