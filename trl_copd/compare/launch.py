"""One run in a process of its own, and what it leaves."""

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..recipes.reading import dump_yaml
from ..run.folder import MATRIX_FILE


STATE_FILE = "trainer_state.json"  # transformers'


class RunFailed(RuntimeError):
    """A run ended with an error; the message has the end of its log."""


def execute(
    command: Sequence[str], settings: Mapping[str, Any], folder: Path, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """
    Carry out a run and read what it left.

    Args:
        command (`Sequence[str]`): What trains a recipe, as `training_command` has it; `--config` follows.
        settings (`Mapping`): The recipe, with its `output_dir` and `seed`.
        folder (`Path`): Where recipe and log are kept: `recipe.yaml`, `log.txt`.
        environment (`Mapping[str, str]`, *optional*): Variables beside those of this process.

    Returns:
        `dict`: `matrix`, `history` (the log), `rollouts`, `tokens`, `rounds`, `seconds` (training alone, by the
        clock), `wall_seconds` (start and evaluation too) and `cpu_seconds` (training alone, of all threads, where the
        system counts them).

    Raises:
        RunFailed: The process ended with an error.
    """
    folder.mkdir(parents=True, exist_ok=True)
    end_orphan(folder)
    (folder / "recipe.yaml").write_text(dump_yaml(dict(settings)), encoding="utf-8")
    start = time.perf_counter()
    with (folder / "log.txt").open("w", encoding="utf-8") as log:
        seen = {**os.environ, "TOKENIZERS_PARALLELISM": "false", **(environment or {})}
        arguments = [*command, "--config", str(folder / "recipe.yaml")]
        process = subprocess.Popen(arguments, stdout=log, stderr=subprocess.STDOUT, env=seen)
        (folder / "pid").write_text(str(process.pid))
        cpu = _wait(process)
    (folder / "pid").unlink(missing_ok=True)
    wall = time.perf_counter() - start
    if process.returncode:
        end = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")[-3000:]
        raise RunFailed(
            f"{' '.join(arguments)} failed with exit status {process.returncode}. The end of its log:\n{end}"
        )
    output = Path(settings["output_dir"])
    state, matrix = (json.loads((output / name).read_text(encoding="utf-8")) for name in (STATE_FILE, MATRIX_FILE))
    history = state["log_history"]
    training = next((entry["train_runtime"] for entry in reversed(history) if "train_runtime" in entry), wall)
    return {
        "matrix": matrix,
        "history": history,
        "rollouts": spent(history),
        "tokens": round(state["num_input_tokens_seen"]),
        "rounds": state["global_step"],
        "seconds": round(training, 1),
        "wall_seconds": round(wall, 1),
        # what share of the clock was training is taken for the share of the processor's time
        "cpu_seconds": None if cpu is None else round(cpu * min(1.0, training / wall), 1),
    }


def end_orphan(folder: Path) -> None:
    """End a run of this folder that goes on although what started it was killed: two would write into one place."""
    noted = folder / "pid"
    if not noted.exists():
        return
    pid, ours = int(noted.read_text()), str(folder / "recipe.yaml").encode()

    def goes_on() -> bool:  # another process may have got the number since
        command = Path(f"/proc/{pid}/cmdline")
        try:
            return ours in command.read_bytes().split(b"\0")
        except OSError:
            return False

    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 30
        if goes_on():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        while goes_on() and time.monotonic() < deadline:
            time.sleep(0.1)
    noted.unlink(missing_ok=True)


def _wait(process: subprocess.Popen) -> float | None:
    """Wait for the process; seconds of processor time that it took. It is ended if this process is interrupted."""
    try:
        if not hasattr(os, "wait4"):
            process.wait()
            return None
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_utime + usage.ru_stime
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        raise


def spent(history: Sequence[Mapping[str, Any]]) -> int | None:
    """Rollouts of the whole run, as it has logged them; `None` for a log that does not count them."""
    logged = [entry["rollouts"] for entry in history if "rollouts" in entry]
    return round(logged[-1]) if logged else None


def training_command(processes: int = 1) -> tuple[str, ...]:
    """The command that trains a recipe, on so many processes."""
    several = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes))
    return (sys.executable, *(several if processes > 1 else ()), "-m", "trl_copd.train")


def commit(root: Path, *folders: str) -> str:
    """The commit at hand, and whether the folders differ from it; `"unknown"` outside of a checkout."""

    def git(*arguments: str) -> str:
        try:
            done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
        except OSError:
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    short = git("rev-parse", "--short", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", *folders) if short else ""
    return (short or "unknown") + ("+changes" if changed else "")


def machine() -> str:
    """The processor and its number of cores."""
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"
