"""Writes a recipe that fits a device: a given one, with the settings that the advice changes."""

import re
from pathlib import Path

from .inputs import GIB, Run


# field of a recipe <- attribute of a `Run`
FIELDS = {
    "per_device_train_batch_size": "rows",
    "gradient_accumulation_steps": "accumulation",
    "steps_per_generation": "steps_per_generation",
    "rollout_chunk_rows": "chunk_rows",
    "gradient_checkpointing": "checkpointing",
}


def changed_fields(before: Run, after: Run) -> dict[str, str]:
    """What of a recipe differs between two runs, as YAML."""
    values = {field: (getattr(before, name), getattr(after, name)) for field, name in FIELDS.items()}
    fields = {field: str(new).lower() for field, (old, new) in values.items() if new != old}
    return fields | ({"load_in_4bit": "true"} if after.quantize != before.quantize else {})


def write_recipe(source: Path, target: Path, fields: dict[str, str], device: str, peak: float, prompts: int) -> None:
    """
    Write a copy of a recipe with other values of some of its fields; its comments stay.

    Args:
        source, target (`Path`): The recipe and its copy.
        fields (`dict[str, str]`): Values by field, as YAML. Fields that the recipe lacks are put at its end.
        device (`str`): For which they are, a key of `DEVICES`.
        peak (`float`): Bytes that the copy is expected to need.
        prompts (`int`): Tokens of a prompt that were counted with.
    """
    text = source.read_text()
    if re.search("^generation_batch_size:", text, re.MULTILINE):  # it says the same
        fields = {field: value for field, value in fields.items() if field != "steps_per_generation"}
    for field, value in fields.items():
        line = f"{field}: {value}"
        text, found = re.subn(rf"^{field}:.*$", line, text, count=1, flags=re.MULTILINE)
        if not found:
            text = f"{text.rstrip()}\n{line}\n"
    target.write_text(
        f"# {source.name} for one {device}: a peak of {peak / GIB:.0f} GiB by the plan, prompts of {prompts} tokens. "
        f"Written by\n# trl-copd plan --config recipes/{source.name} --device {device} "
        f"--prompt-length {prompts} \\\n#     --write recipes/{target.name}\n#\n{text}"
    )
