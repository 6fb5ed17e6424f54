"""Finds installed proof assistants, and says clearly what is missing. Nothing here runs what a model wrote."""

import functools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass


_FINDLIB = ("/etc/ocamlfind.conf", "/etc/ocamlfind.conf.d")  # by which Coq finds its own plugins
_CHECKER_PLACES = (".lake/build/bin", ".lake/packages/lean4checker/.lake/build/bin")


class ProverError(RuntimeError):
    """A prover is installed and does not work."""


@dataclass(frozen=True)
class Coq:
    """
    An installed Coq.

    Args:
        compiler (`tuple[str, ...]`): Command that compiles.
        checker (`tuple[str, ...]`): Command that checks compiled files.
        version (`tuple[int, ...]`): Version numbers.
        roots (`tuple[str, ...]`): Directories that hold the program and its library.
    """

    compiler: tuple[str, ...]
    checker: tuple[str, ...]
    version: tuple[int, ...]
    roots: tuple[str, ...]


@functools.cache  # which does not remember what raised: an installation can be completed
def find_coq(directory: str | None, path: str) -> Coq:
    """
    Find `rocq`, or `coqc` and `coqchk`.

    Args:
        directory (`str`, *optional*): Where they are; by default on `path`.
        path (`str`): The value of `PATH`.

    Raises:
        FileNotFoundError: They are not there.
        ProverError: They do not run.
    """
    where = directory or path
    compiler: tuple[str, ...]
    checker: tuple[str, ...]
    rocq, coqc, coqchk = (shutil.which(name, path=where) for name in ("rocq", "coqc", "coqchk"))
    if rocq is not None:
        compiler, checker, asked = (rocq, "c"), (rocq, "check"), [rocq, "--version"]
    elif coqc is not None and coqchk is not None:
        compiler, checker, asked = (coqc,), (coqchk,), [coqc, "--version"]
    else:
        raise FileNotFoundError(
            f"Coq was not found {f'in {directory}' if directory else 'on PATH'}: neither `rocq`, nor `coqc` with "
            "`coqchk`, so no proof can be checked. Install it (Debian: apt-get install coq; opam: opam install "
            "rocq-prover), or pass CoqReward(prover=DIRECTORY)."
        )
    version = re.search(r"version (\d+)\.(\d+)(?:\.(\d+))?", _ask(asked))
    if version is None:
        raise ProverError(f"{asked[0]} does not say its version: {_ask(asked)!r:.200}.")
    roots = [*_installation(compiler[0]), os.path.realpath(_ask([*compiler, "-where"]).strip()), *_FINDLIB]
    roots = [root for root in roots if os.path.exists(root) and not f"{root}/".startswith("/usr/")]
    return Coq(compiler, checker, tuple(int(part or 0) for part in version.groups()), tuple(roots))


@dataclass(frozen=True)
class Lean:
    """
    An installed Lean.

    Args:
        program (`str`): The compiler.
        checker (`str` or `None`): `leanchecker` or `lean4checker`, which replays a module in the kernel.
        version (`str`): Version numbers.
        path (`tuple[str, ...]`): Directories of compiled libraries beside Lean's own.
        roots (`tuple[str, ...]`): Directories that the programs need.
    """

    program: str
    checker: str | None
    version: str
    path: tuple[str, ...]
    roots: tuple[str, ...]


@functools.cache  # which does not remember what raised: an installation can be completed
def find_lean(project: str | None, path: str) -> Lean:
    """
    Find `lean` on `path`, or that of a Lake project with the libraries of the project.

    Args:
        project (`str`, *optional*): Directory of a built Lake project.
        path (`str`): The value of `PATH`.

    Raises:
        FileNotFoundError: There is no `lean`, or with a project no `lake`, or no such project.
        ProverError: They do not run, or are not Lean 4.
    """
    lean, lake = shutil.which("lean", path=path), shutil.which("lake", path=path)
    if lean is None or (project is not None and lake is None):
        raise FileNotFoundError(
            f"Lean was not found on PATH: there is no `{'lean' if lean is None else 'lake'}`, so no proof can be "
            "checked. Install it with elan (https://lean-lang.org/install)."
        )
    libraries: list[str] = []
    if project is not None:
        if not os.path.isdir(project):
            raise FileNotFoundError(f"There is no Lean project {project!r}. Pass the directory of a lakefile.")
        found = _ask([str(lake), "env", "printenv", "LEAN_PATH"], project).strip()
        libraries = [os.path.realpath(part) for part in found.split(":") if os.path.isdir(part)]
    version = re.search(r"version (4\.[\w.-]+)", _ask([lean, "--version"], project))
    if version is None:
        raise ProverError(f"{lean} is not Lean 4: {_ask([lean, '--version'], project)!r:.200}.")
    prefix = _ask([lean, "--print-prefix"], project).strip()  # elan's `lean` chooses a toolchain by directory
    program = os.path.join(prefix, "bin", "lean")
    program = program if os.path.exists(program) else lean
    places = [os.path.dirname(program), *(os.path.join(project, part) for part in _CHECKER_PLACES if project)]
    names = (os.path.join(place, name) for place in places for name in ("leanchecker", "lean4checker"))
    checker = next((name for name in names if os.access(name, os.X_OK)), None)
    roots = [*_installation(program), prefix, *libraries, *(_installation(checker) if checker else ())]
    roots = [root for root in roots if not f"{root}/".startswith("/usr/")]
    return Lean(program, checker, version[1], tuple(libraries), tuple(dict.fromkeys(roots)))


def _ask(argv: list[str], directory: str | None = None) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=300, check=True, cwd=directory).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ProverError(f"{' '.join(argv)} does not run: {error}. Repair the installation.") from error


def _installation(program: str) -> list[str]:
    """Directories that a program, which may be a link, needs: those that hold its `bin`, or itself."""
    folders = {os.path.dirname(os.path.abspath(program)), os.path.dirname(os.path.realpath(program))}
    return sorted(os.path.dirname(folder) if os.path.basename(folder) == "bin" else folder for folder in folders)
