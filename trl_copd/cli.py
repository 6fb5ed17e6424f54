"""The command `trl-copd`, also `python -m trl_copd`. Each subcommand is a function of another module."""

import importlib
import sys

from . import __version__
from .spelling import did_you_mean


# name: module, function, what it does. A module is imported when its command is called.
COMMANDS = {
    "train": ("train", "cli", "train a recipe: experts, and the student that they teach"),
    "compare": (
        "compare.__main__",
        "main",
        "train several methods with the same number of rollouts, and print a table",
    ),
    "plan": ("plan.__main__", "main", "predict the memory and time of a run"),
    "verify": ("verify.__main__", "main", "grade a file of completions, with a reason for each row"),
    "report": ("report", "main", "draw the figures of a run"),
    "export": ("export", "main", "merge the student, or an expert, into a plain checkpoint"),
}
HELP = f"""\
usage: trl-copd COMMAND [OPTIONS]

Train several LoRA experts on one frozen base with TRL, let them teach one another, and distil them into one student.

commands:
{chr(10).join(f"  {name:<9}{about}" for name, (_, _, about) in COMMANDS.items())}

first steps:
  trl-copd train --config demo --output_dir runs/demo
  trl-copd verify --reward math_reward --data rows.jsonl
  trl-copd plan --model Qwen/Qwen3-0.6B --experts 3 --device h100

`trl-copd COMMAND --help` lists a command's options; `trl-copd --version` prints the version.
On several GPUs start training with `accelerate launch -m trl_copd.train`.
"""


def main(argv: list[str] | None = None) -> int:
    """
    Run a subcommand.

    Args:
        argv (`list[str]`, *optional*): Command line without the program's name; by default that of the process.

    Returns:
        `int`: Exit code: 0 on success, 1 if a run or a check failed, 2 for wrong arguments, recipes, folders or
            data files.
    """
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if name == "--version":
        print(f"trl-copd {__version__}")
        return 0
    if name not in COMMANDS:
        print(
            f"trl-copd: there is no command {name!r}.{did_you_mean(name, COMMANDS)} Commands: {', '.join(COMMANDS)}.",
            file=sys.stderr,
        )
        return 2
    module, function, _ = COMMANDS[name]
    return getattr(importlib.import_module(f".{module}", __package__), function)(rest) or 0
