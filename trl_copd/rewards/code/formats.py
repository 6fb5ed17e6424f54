"""Other forms of tests, as test code: a function's name with lists of arguments and results (APPS, TACO)."""

from typing import Any


# Asked for as the submission's: `sum` may be a method here, and is never Python's own
_CALLS = """
import solution as _submission
def _plain(value):
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {{str(key): _plain(item) for key, item in value.items()}}
    return value
def _same(value, expected):
    value = _plain(value)
    return value == _plain(expected[0]) or {wrapped} and value == _plain(expected)
def _function():
    owner = getattr(_submission, "Solution", None)
    if owner is not None and getattr(owner, "{name}", None) is not None:
        return owner().{name}
    return getattr(_submission, "{name}")
"""


def from_calls(reference: dict[str, Any]) -> str:
    """
    Test code of `{"fn_name", "inputs", "outputs"}`: each input is a list of arguments, each output the result. Tuples
    are lists, as JSON has none. Where every output is a list of one, it may be the result or hold it, as in APPS.

    Raises:
        ValueError: Not of this form.
    """
    name, inputs, outputs = (reference.get(key) for key in ("fn_name", "inputs", "outputs"))
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError("`fn_name` must be the name of a function")
    if not isinstance(inputs, (list, tuple)) or not isinstance(outputs, (list, tuple)) or len(inputs) != len(outputs):
        raise ValueError("`inputs` and `outputs` must be lists of the same length")
    if not inputs or not all(isinstance(arguments, (list, tuple)) for arguments in inputs):
        raise ValueError("`inputs` must hold a list of arguments for each call")
    wrapped = all(isinstance(output, (list, tuple)) and len(output) == 1 for output in outputs)
    lines = [_CALLS.format(name=name, wrapped=wrapped)]
    for arguments, output in zip(inputs, outputs, strict=True):
        expected = list(output) if wrapped else [output]
        try:
            lines.append(f"assert _same(_function()(*{list(arguments)!r}), {expected!r})")
        except RecursionError:
            raise ValueError("an argument or a result is nested too deeply") from None
    return "\n".join(lines)


def from_texts(reference: dict[str, Any]) -> list[dict[str, Any]]:
    """Cases of `{"inputs", "outputs"}` without a function's name: what a program reads and prints, text or lines."""
    inputs, outputs = reference.get("inputs"), reference.get("outputs")
    if not isinstance(inputs, (list, tuple)) or not isinstance(outputs, (list, tuple)) or len(inputs) != len(outputs):
        raise ValueError("`inputs` and `outputs` must be lists of the same length")
    return [{"input": _lines(data), "output": _lines(output)} for data, output in zip(inputs, outputs, strict=True)]


def _lines(value: Any) -> Any:
    if isinstance(value, (list, tuple)) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return value
