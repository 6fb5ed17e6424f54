"""Writes a recipe that fits a device: a given one, with the settings that the advice changes."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .inputs import GIB, Run


# field of a recipe <- attribute of a `Run`
FIELDS = {
    "per_device_train_batch_size": "rows",
    "gradient_accumulation_steps": "accumulation",
    "steps_per_generation": "steps_per_generation",
    "rollout_chunk_rows": "chunk_rows",
    "gradient_checkpointing": "checkpointing",
}
# what a recipe calls the types of weights <- options
TYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def given_fields(given: Mapping[str, Any], own: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    """
    What the command line says otherwise than the recipe, as YAML.

    Args:
        given, own (`Mapping`): Options of the command line, and those that the recipe stands for.
        names (`Mapping[str, str]`): Field of a recipe by option.

    Raises:
        ValueError: A recipe cannot say this.
    """
    said = {option: TYPES.get(str(value), str(value)) for option, value in own.items()}
    differs = {o: value for o, value in given.items() if TYPES.get(str(value), str(value)) != said.get(o)}
    if "experts" in differs:
        raise ValueError(
            f"--write copies the recipe, which has {own.get('experts', 0)} domains, not --experts {given['experts']}. "
            "Leave --experts out, or change the domains in the recipe."
        )
    fields = {
        names[option]: str(value).lower() if isinstance(value, bool) else TYPES.get(str(value), str(value))
        for option, value in differs.items()
        if option in names
    }
    if "precision" in differs:
        fields |= {"bf16": str(given["precision"] == "bf16").lower(), "fp16": "false"}
    if "quantize" in differs:
        fields |= {f"load_in_{bits}bit": str(given["quantize"] == f"{bits}bit").lower() for bits in (4, 8)}
    return fields


def changed_fields(before: Run, after: Run) -> dict[str, str]:
    """What of a recipe the advice changes, as YAML."""
    values = {field: (getattr(before, name), getattr(after, name)) for field, name in FIELDS.items()}
    fields = {field: str(new).lower() for field, (old, new) in values.items() if new != old}
    return fields | ({"load_in_4bit": "true"} if after.quantize != before.quantize else {})


def write_recipe(
    source: Path, target: Path, fields: dict[str, str], device: str, peak: float, prompts: int, argv: Sequence[str]
) -> None:
    """
    Write a copy of a recipe with other values of some of its fields; its comments stay.

    Args:
        source, target (`Path`): The recipe and its copy.
        fields (`dict[str, str]`): Values by field, as YAML. Fields that the recipe lacks are put at its end.
        device (`str`): For which they are, a key of `DEVICES`.
        peak (`float`): Bytes that the copy is expected to need.
        prompts (`int`): Tokens of a prompt that were counted with.
        argv (`Sequence[str]`): The command line, which the copy's first lines repeat.
    """
    text = source.read_text()
    if re.search("^generation_batch_size:", text, re.MULTILINE):  # it says the same
        fields = {field: value for field, value in fields.items() if field != "steps_per_generation"}
    for field, value in fields.items():
        line = f"{field}: {value}"
        text, found = re.subn(rf"^{field}:.*$", line, text, count=1, flags=re.MULTILINE)
        if not found:
            text = f"{text.rstrip()}\n{line}\n"
    words = [part for word in argv for part in (word.split("=", 1) if word.startswith("--w") else [word])]
    place = next(index for index, word in enumerate(words) if word.startswith("--w"))  # argparse takes --writ as well
    command, written = shlex.join(words[:place] + words[place + 2 :]), shlex.join(words[place : place + 2])
    target.write_text(
        f"# {source.name} for {device}: a peak of {peak / GIB:.0f} GiB by the plan, prompts of {prompts} tokens. "
        f"Written by\n# trl-copd plan {command} \\\n#     {written}\n#\n{text}"
    )
