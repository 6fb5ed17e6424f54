"""Run an external program in the sandbox, and find out what sandbox this host allows."""

import functools
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ._confine import Limits
from ._linux import SEAMS, SandboxError, landlock_abi


logger = logging.getLogger(__name__)

LEVELS = ("full", "landlock", "rlimit")
ALLOW_RLIMIT = "TRL_COPD_ALLOW_RLIMIT"
_HERE = os.path.dirname(os.path.abspath(__file__))
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


@dataclass(frozen=True)
class CommandResult:
    """
    What became of a program.

    Args:
        status (`str`):
            `"ok"`: it ended by itself, whatever its exit code. `"cpu"`, `"memory"`, `"disk"`, `"output"`,
            `"processes"`, `"idle"`: it went over that limit. `"wall"`: the backstop ended it on a starved machine.
            `"infrastructure"`: it never ran; `stderr` says why.
        returncode (`int`): Exit code, or minus the signal that ended it.
        stdout, stderr (`bytes`): What it wrote, cut at the limit.
        cpu_seconds (`float`): CPU time of it and what it waited for, seconds.
        files (`dict[str, bytes]`): The named outputs that it left as regular files.
    """

    status: str
    returncode: int = 0
    stdout: bytes = b""
    stderr: bytes = b""
    cpu_seconds: float = 0.0
    files: dict[str, bytes] = field(default_factory=dict)


def run_command(
    argv: Sequence[str],
    *,
    files: Mapping[str, str | bytes] | None = None,
    stdin: bytes = b"",
    cpu_seconds: float,
    memory_mib: int = 1024,
    readable: Sequence[str] = (),
    outputs: Sequence[str] = (),
    level: str | None = None,
    max_output: int = 1 << 20,
    disk_mib: int = 64,
    processes: int = 64,
    environment: Mapping[str, str] | None = None,
    idle_seconds: float | None = None,
) -> CommandResult:
    """
    Run an external program, confined: in a fresh directory on a tmpfs, without network, with nothing to write to
    outside, and with an almost empty environment. When it ends, so does all that it started.

    Args:
        argv (`Sequence[str]`): Program (absolute, or looked up in /usr/local/bin, /usr/bin, /bin) and arguments.
        files (`Mapping[str, str | bytes]`, *optional*): Files of the working directory by relative name.
        stdin (`bytes`, *optional*): Standard input.
        cpu_seconds (`float`): CPU time of the program and all below it; decides, unlike wall time.
        memory_mib (`int`, *optional*, defaults to 1024): Address space of each process, resident memory of all, MiB.
        readable (`Sequence[str]`, *optional*): Absolute paths to show, read-only, beside /usr, /lib and the like.
        outputs (`Sequence[str]`, *optional*): Names of files in the working directory to bring back.
        level (`str`, *optional*): `"full"`, `"landlock"` or `"rlimit"`; the best available by default.
        max_output (`int`, *optional*, defaults to 1 MiB): Bytes of stdout and stderr together.
        disk_mib (`int`, *optional*, defaults to 64): Size of all its files, and of each one, MiB.
        processes (`int`, *optional*, defaults to 64): Processes and threads at a time.
        environment (`Mapping[str, str]`, *optional*): Additions to PATH, LANG, LC_ALL, TZ, HOME and TMPDIR.
        idle_seconds (`float`, *optional*): How long it may wait for nothing; `cpu_seconds`, at least 5, by default.

    Returns:
        [`CommandResult`]

    Raises:
        FileNotFoundError: There is no such program, or a `readable` path does not exist.
        SandboxError: Only `rlimit` is possible and was not allowed, or `level` is more than the host allows.
    """
    for path in readable:
        if not os.path.isabs(path) or not os.path.exists(path):
            raise FileNotFoundError(f"`readable` names {path!r}, which is not an absolute path that exists.")
    for name in (*(files or {}), *outputs):
        if os.path.isabs(name) or ".." in name.split("/"):
            raise ValueError(f"{name!r} leaves the working directory. Use a relative name without '..'.")
    limits = Limits(
        cpu_seconds=cpu_seconds, memory_mib=memory_mib, disk_mib=disk_mib, processes=processes,
        idle_seconds=max(5.0, cpu_seconds) if idle_seconds is None else idle_seconds,
        wall_seconds=10 * max(1.0, cpu_seconds),
    )  # fmt: skip
    job = {
        "argv": list(argv),
        "files": {name: data.encode() if isinstance(data, str) else data for name, data in (files or {}).items()},
        "stdin": stdin,
        "limits": limits,
        "readable": list(readable),
        "outputs": list(outputs),
        "level": require_level(level),
        "max_output": max_output,
        "environment": {**_ENVIRONMENT, **(environment or {})},
    }
    outcome = _launch(job)
    if outcome.pop("missing", False):
        raise FileNotFoundError(
            f"{argv[0]!r} cannot be run in the sandbox ({outcome['stderr'].decode()}). Is it installed, and does "
            "`readable` name the directory that holds it?"
        )
    return CommandResult(**outcome)


def trusted_python(module: str) -> list[str]:
    """Command line of a Python that runs `main` of a module of this folder, without the package around it."""
    code = (
        "import sys, types; package = types.ModuleType('sandbox'); package.__path__ = [sys.argv[1]]; "
        f"sys.modules['sandbox'] = package; from sandbox import {module}; {module}.main()"
    )
    return [sys.executable, "-P", "-s", "-S", "-B", "-c", code, _HERE]


_SEAMS = {name: os.environ[name] for name in SEAMS if name in os.environ}
TRUSTED_ENVIRONMENT = {**_ENVIRONMENT, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1", **_SEAMS}


def _launch(job: dict) -> dict:
    # what is pickled here is named trl_copd.…; the launcher knows the same class as sandbox.…
    payload = {**job, "limits": vars(job["limits"])}
    process = subprocess.run(
        trusted_python("_launch"), input=pickle.dumps(payload), capture_output=True, env=TRUSTED_ENVIRONMENT,
        cwd="/", check=False,
    )  # fmt: skip
    if process.returncode != 0:
        return {"status": "infrastructure", "stderr": process.stderr[-2000:]}
    return pickle.loads(process.stdout)


# What a program that attacks may still do, by level
_NOT_STOPPED = {
    "full": "holes of the kernel itself, and what the processor leaks",
    "landlock": (
        "holes of the kernel itself; names and CPU time of the user's other processes can be seen; and, on a kernel "
        "before 6.12 (Landlock below version 6), signals are kept out by seccomp alone"
    ),
    "rlimit": (
        "a program that attacks: it reads and writes what this user may, opens connections, signals processes, and "
        "can hold memory and files that nobody counts"
    ),
}


@functools.cache
def announce(level: str) -> None:
    """Say, once per process and level, how programs are confined here and what that does not stop."""
    version = landlock_abi() if sys.platform == "linux" and level != "rlimit" else 0
    missing = " without Landlock" if level == "full" and not version else ""
    logger.log(
        logging.INFO if level == "full" and version else logging.WARNING,
        "Programs run at sandbox level %s%s%s. It does not stop %s. See SECURITY.md.",
        level, missing, f" (Landlock {version})" if version else "", _NOT_STOPPED[level],
    )  # fmt: skip


@functools.cache
def available_level() -> str:
    """
    The strongest confinement that this host allows, tried out once per process.

    Returns:
        `str`:
            - `"full"`: user, PID, network, mount and IPC namespaces, seccomp, and Landlock where the kernel has it.
            - `"landlock"`: Landlock and seccomp, where namespaces are forbidden (many containers).
            - `"rlimit"`: limits alone (macOS, old kernels): enough against mistakes, not against attacks.
    """
    reasons: list[str] = []
    for level in LEVELS[:-1] if sys.platform == "linux" else ():
        limits = Limits(cpu_seconds=5)
        job = {
            "argv": ["true"], "files": {}, "stdin": b"", "limits": limits, "readable": [], "outputs": [],
            "level": level, "max_output": 1024, "environment": _ENVIRONMENT,
        }  # fmt: skip
        outcome = _launch(job)
        if outcome["status"] == "ok" and outcome["returncode"] == 0:
            logger.info("Sandbox level %s%s.", level, f" ({'; '.join(reasons)})" if reasons else "")
            return level
        reasons.append(f"no {level}: {outcome.get('stderr', b'').decode(errors='replace').strip()[-200:]}")
    logger.warning(
        "Sandbox level rlimit: programs are limited, not confined (%s).", "; ".join(reasons) or sys.platform
    )
    return "rlimit"


def require_level(level: str | None = None) -> str:
    """
    The level to use.

    Args:
        level (`str`, *optional*): What the user asked for; the best available by default.

    Raises:
        ValueError: There is no such level.
        SandboxError: The host does not allow it, or allows `rlimit` alone and nobody said that this is enough.
    """
    if level is not None and level not in LEVELS:
        raise ValueError(f"`level` must be one of {', '.join(LEVELS)}, got {level!r}.")
    available = available_level()
    if level is None:
        if available == "rlimit" and os.environ.get(ALLOW_RLIMIT) != "1":
            raise SandboxError(
                "This host allows neither namespaces nor Landlock, so a model's programs would run with your rights. "
                "Use a Linux host or container that allows one of them. If the machine holds nothing of value, set "
                f"{ALLOW_RLIMIT}=1 or level='rlimit'."
            )
        return available
    if LEVELS.index(level) < LEVELS.index(available):
        raise SandboxError(f"This host allows sandbox level {available!r} at most, but level {level!r} was requested.")
    return level
