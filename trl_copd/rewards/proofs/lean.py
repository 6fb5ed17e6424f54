"""
Proofs in Lean 4. The statement is compiled before the submission exists, and the submission is compiled alone. A third
process checks that the submission proves the statement, and on which axioms. Where the toolchain has `leanchecker`,
the kernel checks both again in a fourth. A Lean file can run its own code when it is compiled and when it is loaded; a
submission that could do so is refused first.
"""

import functools
import logging
import os
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import lean_text
from .provers import Lean, ProverError, find_lean
from .reward import ProverReward
from .session import Ran, Refused, Session, Unreadable, one_line


logger = logging.getLogger(__name__)

AXIOMS = frozenset({"propext", "Quot.sound", "Classical.choice"})
MAPPED_MIB = 32_768  # address space for compiled libraries, which Lean maps into memory: Mathlib has 6 GiB
MAX_CANDIDATES = 8  # theorems of a submission that are tried for a statement without a name

# In the names that the check gives: a submission that does not know them cannot give them another meaning
_SECRET = "TrlCopd" + secrets.token_hex(8)


@dataclass(frozen=True)
class _Compiled:
    """A reference: the statement as read, the preamble's parts, and compiled files."""

    statement: lean_text.Statement
    prelude: bool
    preamble: str
    body: str
    again: str
    preamble_files: Mapping[str, bytes]
    files: Mapping[str, bytes]


class LeanReward(ProverReward):
    """
    Reward 1.0 for a Lean 4 proof of the column `statement` in the context of the column `preamble`, else 0.0; see
    [`VerifierReward`] for `None`. The last block marked `lean` or `lean4` after any `</think>` counts. It is a file
    that proves the theorem, or only the proof (`by ...`, `:= by ...` or a term).

    A statement is a type (`∀ n : Nat, n + 0 = n`), which a theorem of any name may prove, or a header
    (`theorem add_zero' (n : Nat) : n + 0 = n`, perhaps with `:= by sorry`), which fixes the name. The preamble is the
    Lean code before it, and may be empty: imports, `open`, options, definitions.

    Args:
        project (`str`, *optional*): Directory of a built Lake project whose libraries are used, such as one that
            requires Mathlib. By default `lean` on `PATH` with its own library.
        allowed_axioms (`Sequence[str]`, *optional*): Axioms that proofs may use; by default `propext`, `Quot.sound`
            and `Classical.choice`.
        replay (`bool`, *optional*): Whether the kernel checks again with `leanchecker`. By default it does if there is
            one, with a warning if not; `True` makes a missing one an error.
        cpu_seconds (`float`, *optional*, defaults to 15.0):
            CPU seconds for one completion, all processes together. Each process loads the preamble's imports, so set
            60 or more with Mathlib.
        memory_mib (`int`, *optional*, defaults to 4096): Memory of each process, MiB, without compiled libraries.
        level (`str`, *optional*): Sandbox level; by default the best that the host allows.
        name (`str`, *optional*, defaults to `"lean_reward"`): Name in metrics.

    Raises:
        ValueError: A limit is not above 0.
        FileNotFoundError: From `check` and the first grading: Lean is not installed.
    """

    tags = frozenset({"lean", "lean4"})

    def __init__(
        self,
        project: str | None = None,
        allowed_axioms: Sequence[str] = tuple(sorted(AXIOMS)),
        replay: bool | None = None,
        cpu_seconds: float = 15.0,
        memory_mib: int = 4096,
        level: str | None = None,
        name: str = "lean_reward",
    ):
        super().__init__(name, cpu_seconds, memory_mib, level)
        if isinstance(allowed_axioms, str):
            raise TypeError(f"`allowed_axioms` must be a sequence of names, got the string {allowed_axioms!r}.")
        self.project = os.path.realpath(project) if project is not None else None
        self.allowed_axioms = frozenset(allowed_axioms)
        self.replay = replay

    @property
    def lean(self) -> Lean:
        """The installation in use; raises if there is none."""
        return find_lean(self.project, os.environ.get("PATH", os.defpath))

    def check(self) -> None:
        """
        Find Lean, and have it compile a file in the sandbox.

        Raises:
            FileNotFoundError: Lean is not installed; or `leanchecker` is not, and `replay` asks for it.
            ProverError: Lean does not run, or not in the sandbox.
        """
        if self.lean.checker is None and self.replay:
            raise FileNotFoundError(
                f"Lean {self.lean.version} has no `leanchecker` and the project no built `lean4checker`. Use a newer "
                "toolchain, require lean4checker in the project and build it, or pass replay=None."
            )
        if self.lean.checker is None and self.replay is None:
            _warn_without_checker(self.lean.version)
        ran = self._lean("TrlCopdTrial", "prelude\n", {}, self._session(1))
        if "TrlCopdTrial.olean" not in ran.files:
            raise ProverError(
                f"Lean ({self.lean.program}) is installed but does not compile an empty file in the sandbox: "
                f"{ran.complaint}. Repair it, or raise `memory_mib` ({self.memory_mib})."
            )

    def identity(self) -> tuple[Any, ...]:
        return ("lean", self.lean, self.level, self.cpu_seconds, self.memory_mib)

    def readable(self) -> Sequence[str]:
        return self.lean.roots

    def compile_reference(self, statement: str, preamble: str, session: Session) -> _Compiled:
        """Compile preamble and statement. The statement is an axiom, of which only the type is used."""
        try:
            stated = lean_text.parse_statement(statement)
        except ValueError as problem:
            raise Unreadable(str(problem)) from problem
        prelude, imports, body = lean_text.split_imports(preamble)
        again = lean_text.replayed(body)
        files: Mapping[str, bytes] = {}
        if lean_text.without_comments(preamble).split():
            ran = self._lean("TrlCopdPreamble", _file(prelude, imports, body), {}, session)
            if not ran.files:
                raise Unreadable(f"the preamble does not compile: {ran.complaint}")
            files = ran.files
        universes = re.search(r"\.\{[^}]*\}$", stated.name or "")
        axiom = f"axiom _root_.{_SECRET}.stated{universes[0] if universes else ''} {stated.signature}\n"
        opening = _file(prelude, ["import TrlCopdPreamble"] if files else [], again)
        ran = self._state(opening + axiom, "", files, session)
        levels = re.search(rf"axiom {_SECRET}\.stated(\.\{{[^}}]*\}})", ran.stdout)
        if not ran.files and levels:  # a definition names its universes, an axiom need not
            fresh = ", ".join(f"trlCopd{number}" for number, _ in enumerate(levels[1].split(",")))
            ran = self._state(opening + axiom, f".{{{fresh}}}", files, session)
        if not ran.files:
            raise Unreadable(f"the statement does not compile: {ran.complaint}")
        return _Compiled(stated, prelude, preamble, body, again, files, {**files, **ran.files})

    def _state(self, axiom: str, levels: str, files: Mapping[str, bytes], session: Session) -> Ran:
        goal = f"def _root_.{_SECRET}.goal{levels} := type_of% @{_SECRET}.stated{levels}\n"
        return self._lean("TrlCopdStatement", f"{axiom}#print {_SECRET}.stated\n{goal}", files, session)

    def prove(self, block: str, compiled: _Compiled, session: Session) -> str:
        """Compile the block, check it against the statement, and have the kernel check both again."""
        stated = compiled.statement
        _, imports, body = lean_text.split_imports(block)
        if compiled.preamble_files:
            imports = ["import TrlCopdPreamble", *imports]
        body = lean_text.without_preamble(body, compiled.body)
        if problem := lean_text.forbidden(body, compiled.preamble):
            raise Refused(f"it could run its own code: {problem}")
        if lean_text.is_proof_only(body):
            proof = body.strip().removeprefix(":=")
            body = f"theorem {stated.name or 'trl_copd_theorem'} {stated.signature} :=\n{proof}\n"
        body = lean_text.name_examples(body)
        text = _file(compiled.prelude, imports, f"{compiled.again}\n{body}")
        ran = self._lean("TrlCopdSubmission", text, compiled.preamble_files, session)
        if not ran.files:
            raise Refused(f"Lean does not accept it: {ran.complaint}")
        names = lean_text.declared_names(f"{compiled.again}\n{body}")
        self._check(names, compiled, {**compiled.files, **ran.files}, session)
        return "proved"

    def _check(self, names: list[str], compiled: _Compiled, files: Mapping[str, bytes], session: Session) -> None:
        """Check that a theorem of the submission has the stated type, with allowed axioms only."""
        wanted = (compiled.statement.name or "").partition(".{")[0].removeprefix("_root_.")
        if wanted:
            names = [name for name in names if f".{name}".endswith(f".{wanted}")]
        reason = f"it declares no {wanted or 'theorem'}"
        for name in names[:MAX_CANDIDATES]:
            text = _file(
                compiled.prelude,
                ["import TrlCopdStatement", "import TrlCopdSubmission"],
                f"theorem {_SECRET}.proof : {_SECRET}.goal := @_root_.{name}\n#print axioms {_SECRET}.proof\n",
            )
            problem = self._problem(self._two_checks(text, files, session))
            if problem is None:
                return
            reason = f"{name} {problem}"
        raise Refused(reason)

    def _two_checks(self, text: str, files: Mapping[str, bytes], session: Session) -> Ran:
        check = shlex.join(self._command("TrlCopdCheck"))
        script = f"{check} >check.out 2>&1 && echo yes >compiled"
        if self.lean.checker is not None and self.replay is not False:
            script += f" && exec {shlex.join([self.lean.checker, 'TrlCopdSubmission', 'TrlCopdCheck'])}"
        outputs = ["check.out", "compiled"]
        given: dict[str, str | bytes] = {**files, "TrlCopdCheck.lean": text}
        return session.run(["/bin/sh", "-c", script], given, outputs, self._environment())

    def _problem(self, ran: Ran) -> str | None:
        """Why the checks do not pass, or `None`."""
        report = ran.files.get("check.out", b"").decode(errors="replace")
        if "compiled" not in ran.files:
            return f"does not prove the statement: {one_line(report)}"
        if unwanted := axioms(report, f"{_SECRET}.proof") - self.allowed_axioms:
            return f"rests on {', '.join(sorted(unwanted))}"
        if ran.returncode != 0:
            return f"is not accepted by the kernel: {ran.complaint}"
        return None

    def _lean(self, module: str, text: str, files: Mapping[str, bytes], session: Session) -> Ran:
        given: dict[str, str | bytes] = {**files, f"{module}.lean": text}
        ran = session.run(self._command(module), given, [f"{module}.olean"], self._environment())
        if ran.returncode != 0:
            ran.files.clear()
        return ran

    def _command(self, module: str) -> list[str]:
        limits = ["-j", "1", "-M", str(self.memory_mib)]
        return [self.lean.program, *limits, "-o", f"{module}.olean", f"{module}.lean"]

    def _environment(self) -> dict[str, str]:
        return {"LEAN_PATH": ":".join([".", *self.lean.path])}

    def _session(self, factor: float) -> Session:
        session = super()._session(factor)
        session.memory_mib += MAPPED_MIB
        return session


def _file(prelude: bool, imports: Sequence[str], body: str) -> str:
    return "\n".join([*(["prelude"] if prelude else []), *imports, body, ""])


def axioms(report: str, name: str) -> frozenset[str]:
    """
    The axioms in a report of `#print axioms`.

    Raises:
        `Refused`: The report is of another form.
    """
    text = " ".join(report.split())
    if text == f"'{name}' does not depend on any axioms":
        return frozenset()
    match = re.fullmatch(rf"'{re.escape(name)}' depends on axioms: \[([^\[\]]+)\]", text)
    if match is None:
        raise Refused(f"the report on axioms is not understood: {one_line(report)}")
    return frozenset(part.strip() for part in match[1].split(","))


@functools.cache  # once a version
def _warn_without_checker(version: str) -> None:
    logger.warning(
        "Lean %s has no leanchecker, so no fresh kernel checks proofs again. Newer toolchains include it, and a "
        "project can require lean4checker.", version,
    )  # fmt: skip


lean_reward = LeanReward()
