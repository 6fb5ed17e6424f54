"""
Proofs in Coq (Rocq). The statement is compiled before the submission exists, and the submission is compiled alone. A
third process only loads both results and checks that the submission proves the statement, and on which axioms. In a
fourth process the kernel checks both again.
"""

import functools
import logging
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import coq_text
from .coq_guard import doubtful_recursion
from .coq_reports import LIBRARY, assumptions, unsafe_parts
from .provers import Coq, ProverError, find_coq
from .reward import ProverReward
from .session import Ran, Refused, Session, Unreadable, one_line


logger = logging.getLogger(__name__)

SOUND_SINCE = (9, 0, 1)
MODULES_SOUND_SINCE = (9, 2, 0)  # rocq-prover/rocq, issues 21051 and 21685
MAX_CANDIDATES = 16  # theorems of a submission that are tried for a statement without a name

# What the real numbers of the standard library rest on: no statement about them can be proved without
REAL_AXIOMS = frozenset(
    {
        "ClassicalDedekindReals.sig_forall_dec",
        "ClassicalDedekindReals.sig_not_dec",
        "FunctionalExtensionality.functional_extensionality_dep",
        "Classical_Prop.classic",
    }
)


@dataclass(frozen=True)
class _Compiled:
    """A reference: the statement as read, what a submission starts with, compiled files, and axioms allowed."""

    statement: coq_text.Statement
    preamble: str
    opening: str
    files: Mapping[str, bytes]
    axioms: frozenset[str]


class CoqReward(ProverReward):
    """
    Reward 1.0 for a Coq proof of the column `statement` in the context of the column `preamble`, else 0.0; see
    [`VerifierReward`] for `None`. The last block marked `coq` or `rocq` after any `</think>` counts. It is a file that
    proves the theorem, or only the proof (`Proof. ... Qed.`).

    A statement is a type (`forall n : nat, n + 0 = n`), which a theorem of any name may prove, or a header
    (`Theorem plus_n_O (n : nat) : n + 0 = n.`), which fixes the name. The preamble is the Coq code before it, and may
    be empty. The proof may rest on no axiom, except those on which the statement itself rests, and the foundations of
    the standard library's real numbers if the statement is about them.

    Args:
        allowed_axioms (`Sequence[str]`, *optional*, defaults to `()`):
            Axioms that every proof may use, as `Print Assumptions` names them where nothing is imported:
            `"Classical_Prop.classic"`, `"FunctionalExtensionality.functional_extensionality_dep"`.
        preamble_axioms (`bool`, *optional*, defaults to `False`): Whether proofs may use axioms of their preamble.
        libraries (`Mapping[str, str]`, *optional*):
            Directories of compiled libraries besides the installed ones, by logical name, as for `coqc -Q`.
        prover (`str`, *optional*): Directory of `rocq`, or of `coqc` and `coqchk`; by default `PATH` is searched.
        cpu_seconds (`float`, *optional*, defaults to 15.0): CPU seconds for one completion, all processes together.
        memory_mib (`int`, *optional*, defaults to 2048): Memory of each process, MiB.
        level (`str`, *optional*): Sandbox level; by default the best that the host allows.
        name (`str`, *optional*, defaults to `"coq_reward"`): Name in metrics.

    Raises:
        ValueError: A limit is not above 0.
        FileNotFoundError: From `check` and the first grading: Coq is not installed.

    Example:
    ```python
    >>> from trl_copd.rewards import coq_reward

    >>> proof = "```coq\\nProof. induction n; simpl; congruence. Qed.\\n```"
    >>> coq_reward(prompts=["?"], completions=[proof], statement=["forall n : nat, n + 0 = n"], preamble=[""])
    [1.0]
    ```
    """

    tags = frozenset({"coq", "rocq"})

    def __init__(
        self,
        allowed_axioms: Sequence[str] = (),
        preamble_axioms: bool = False,
        libraries: Mapping[str, str] | None = None,
        prover: str | None = None,
        cpu_seconds: float = 15.0,
        memory_mib: int = 2048,
        level: str | None = None,
        name: str = "coq_reward",
    ):
        super().__init__(name, cpu_seconds, memory_mib, level)
        if isinstance(allowed_axioms, str):
            raise TypeError(f"`allowed_axioms` must be a sequence of names, got the string {allowed_axioms!r}.")
        self.allowed_axioms = frozenset(allowed_axioms)
        self.preamble_axioms = preamble_axioms
        self.libraries = {name: os.path.realpath(path) for name, path in (libraries or {}).items()}
        self.prover = prover

    @property
    def coq(self) -> Coq:
        """The installation in use; raises if there is none."""
        return find_coq(self.prover, os.environ.get("PATH", os.defpath))

    def check(self) -> None:
        """
        Find Coq, and prove one trivial theorem with it in the sandbox. Warns below Rocq 9.0.1.

        Raises:
            FileNotFoundError: Coq is not installed.
            ProverError: It does not run, or not in the sandbox.
        """
        _warn_if_unsound(self.coq.version)
        verdict = self.grade("```coq\nProof. exact I. Qed.\n```", {"statement": "True", "preamble": ""})
        if not verdict.passed:
            raise ProverError(
                f"Coq ({' '.join(self.coq.compiler)}) is installed but cannot prove `True` in the sandbox: "
                f"{verdict.reason}. Repair it, or raise `memory_mib` ({self.memory_mib})."
            )

    def identity(self) -> tuple[Any, ...]:
        return ("coq", self.coq, self.allowed_axioms, self.preamble_axioms, tuple(self.libraries.items()), self.level,
                self.cpu_seconds, self.memory_mib)  # fmt: skip

    def readable(self) -> Sequence[str]:
        return [*self.coq.roots, *self.libraries.values()]

    def compile_reference(self, statement: str, preamble: str, session: Session) -> _Compiled:
        """Compile preamble and statement, and list the axioms that a proof may use."""
        try:
            stated = coq_text.parse_statement(statement)
        except ValueError as problem:
            raise Unreadable(str(problem)) from problem
        opening, texts = "", {}
        if coq_text.sentences(preamble):
            texts["Preamble"], again = coq_text.split_preamble(preamble)
            opening = f"From {LIBRARY} Require Import Preamble.\n{again}\n"
        texts["Statement"] = f"{opening}Definition goal : Type :=\n{stated.closed}\n.\nPrint Assumptions goal."
        files, report = self._compile_texts(texts, {}, session)
        try:
            axioms = assumptions(report)
            if axioms:  # by the names that the check will see, which imports nothing
                look = f"Require {LIBRARY}.Statement.\nPrint Assumptions {LIBRARY}.Statement.goal."
                axioms = assumptions(self._compile_texts({"Look": look}, files, session)[1])
        except Refused as problem:
            raise Unreadable(f"the statement rests on {problem}") from problem
        if any(name.startswith("ClassicalDedekindReals.") for name in axioms):
            axioms |= REAL_AXIOMS
        return _Compiled(stated, preamble, opening, files, axioms | self.allowed_axioms)

    def _compile_texts(
        self, texts: Mapping[str, str], files: Mapping[str, bytes], session: Session
    ) -> tuple[dict[str, bytes], str]:
        """Compiled files, and what the last one printed. None of the text is the model's, so one sandbox will do."""
        script = " && ".join(f"{shlex.join(self._coqc_command(name))} >out && echo > {name}.done" for name in texts)
        outputs = ["out", *(f"{name}{end}" for name in texts for end in (".vo", ".done"))]
        given: dict[str, str | bytes] = {**files, **{f"{name}.v": text for name, text in texts.items()}}
        ran = session.run(["/bin/sh", "-c", script], given, outputs)
        for name in texts:
            if f"{name}.done" not in ran.files:
                raise Unreadable(f"the {name.lower()} does not compile: {ran.complaint}")
        compiled = {name: data for name, data in ran.files.items() if name.endswith(".vo")}
        return compiled, ran.files["out"].decode(errors="replace")

    def prove(self, block: str, compiled: _Compiled, session: Session) -> str:
        """Compile the block, check it against the statement, and have the kernel check it again."""
        if command := coq_text.forbidden(block):
            raise Refused(f"no proof needs the command {command}")
        if self.coq.version < MODULES_SOUND_SINCE and coq_text.has_nested_functor(block):
            raise Refused("this version of Coq cannot be trusted with functors inside modules")
        stated = compiled.statement
        name = stated.name or "trl_copd_theorem"
        block = coq_text.without_preamble(block, compiled.preamble)
        block = coq_text.with_header(block, f"Theorem {name} {stated.binders} : {stated.type}.")
        context = {name: data for name, data in compiled.files.items() if name != "Statement.vo"}
        given: dict[str, str | bytes] = {**context, "Submission.v": f"{compiled.opening}{block}\n"}
        ran = session.run(self._coqc_command("Submission"), given, ["Submission.vo"])
        if ran.returncode != 0 or "Submission.vo" not in ran.files:
            raise Refused(f"Coq does not accept it: {ran.complaint}")
        files = {**compiled.files, "Submission.vo": ran.files["Submission.vo"]}
        self._check(coq_text.declared_names(block), compiled, files, session)
        if self.coq.version < SOUND_SINCE and re.search(r"[Ff]ix|Function", coq_text.masked(block)):
            self._look_at_recursion(files, session)
        return "proved"

    def _check(self, names: list[str], compiled: _Compiled, files: Mapping[str, bytes], session: Session) -> None:
        """
        Check that a theorem of the submission has the stated type, with allowed axioms only.

        The goal is fixed before the submission is loaded, which is never imported: it has no say in what words mean.
        """
        wanted = compiled.statement.name
        if wanted is not None:
            names = [name for name in names if name.rpartition(".")[2] == wanted.partition("@")[0]]
        reason = f"it declares no {wanted or 'theorem'}"
        for name in names[:MAX_CANDIDATES]:
            text = (
                f"Require {LIBRARY}.Statement.\nDefinition goal := {LIBRARY}.Statement.goal.\n"
                f"Require {LIBRARY}.Submission.\nDefinition proof : goal := @{LIBRARY}.Submission.{name}.\n"
                "Print Assumptions proof."
            )
            problem = self._problem(name, self._two_checks(text, files, session), compiled)
            if problem is None:
                return
            reason = f"{name} {problem}"
        raise Refused(reason)

    def _two_checks(self, text: str, files: Mapping[str, bytes], session: Session) -> Ran:
        """Compile the check, and have the checker look at it and the submission, in one sandbox: both are trusted."""
        modules = [argument for name in ("Submission", "Check") for argument in ("-norec", f"{LIBRARY}.{name}")]
        check = shlex.join(self._coqc_command("Check"))
        recheck = shlex.join([*self.coq.checker, "-silent", "-o", *self._paths(), *modules])
        script = f"{check} >check.out 2>check.err && echo yes >compiled && exec {recheck}"
        outputs = ["check.out", "check.err", "compiled"]
        return session.run(["/bin/sh", "-c", script], {**files, "Check.v": text}, outputs)

    def _problem(self, name: str, ran: Ran, compiled: _Compiled) -> str | None:
        """Why both checks together do not pass, or `None`."""
        if "compiled" not in ran.files:
            return f"does not prove the statement: {one_line(ran.files.get('check.err', b''))}"
        used = assumptions(ran.files.get("check.out", b"").decode(errors="replace")) - compiled.axioms
        if self.preamble_axioms:
            used = frozenset(axiom for axiom in used if not axiom.startswith("Preamble."))
        if used:
            return f"rests on {', '.join(sorted(used))}"
        if ran.returncode != 0:
            return f"is not accepted by the checker: {ran.complaint}"
        if trust := unsafe_parts(ran.stdout + ran.stderr):  # which of the two depends on the version
            return f"is not checked: {trust}"
        return None

    def _look_at_recursion(self, files: Mapping[str, bytes], session: Session) -> None:
        """Refuse recursion that is not plainly structural, for versions whose kernel checks it wrongly."""
        listing = (
            f'Require {LIBRARY}.Submission.\nRemove Search Blacklist "_subproof" "_subterm" "Private_".\n'
            f"Search _ inside {LIBRARY}.Submission."
        )
        names = re.findall(r"^([^\s:]+):", self._compile_texts({"Look": listing}, files, session)[1], re.MULTILINE)
        options = "Set Printing All.\nSet Printing Depth 1000000.\nSet Printing Width 200.\n"
        prints = "".join(f"Print {name}.\n" for name in names)
        report = self._compile_texts({"Look": f"Require {LIBRARY}.Submission.\n{options}{prints}"}, files, session)[1]
        if problem := doubtful_recursion(report):
            raise Refused(f"this version of Coq cannot be trusted with its recursion: {problem}")

    def _coqc_command(self, module: str) -> list[str]:
        # Check and Look name everything in full, so they do without the prelude, which takes time
        bare = ["-noinit"] if module in ("Check", "Look") else []
        options = ["-q", "-w", "none", "-noglob", "-native-compiler", "no", *bare]
        return [*self.coq.compiler, *options, *self._paths(), f"{module}.v"]

    def _paths(self) -> list[str]:
        paths = {LIBRARY: "."} | self.libraries
        return [argument for name, path in paths.items() for argument in ("-Q", path, name)]


@functools.cache  # once a version
def _warn_if_unsound(version: tuple[int, ...]) -> None:
    if version < SOUND_SINCE:
        logger.warning(
            "Coq %s has soundness bugs that Rocq %s fixes: a policy that finds one can prove anything. Check proofs "
            "that "
            "look too short, or install a newer version.",
            ".".join(map(str, version)), ".".join(map(str, SOUND_SINCE)),
        )  # fmt: skip


coq_reward = CoqReward()
