r"""
`coq_reward` against a real Coq. The table is in `cases/coq.txt`, with the reason above each group; all of it runs
through the reward as TRL calls it, sandbox included. Unless a case says otherwise the statement is
`forall n : nat, n + 0 = n`, with an empty preamble.
"""

import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest
from proof_cases import load

from trl_copd.rewards.proofs import coq_text
from trl_copd.rewards.proofs.coq import CoqReward, coq_reward
from trl_copd.rewards.proofs.coq_guard import doubtful_recursion
from trl_copd.rewards.proofs.coq_reports import assumptions, unsafe_parts
from trl_copd.rewards.proofs.provers import find_coq
from trl_copd.rewards.proofs.session import Broken, Stuck


needs_coq = pytest.mark.skipif(
    shutil.which("coqc") is None and shutil.which("rocq") is None,
    reason="Coq is not installed (Debian: apt-get install coq)",
)

PLUS = "forall n : nat, n + 0 = n"
PROOF = "Proof. induction n as [|n IH]; simpl; [reflexivity | rewrite IH; reflexivity]. Qed."
THEOREM = f"Theorem foo : {PLUS}.\n{PROOF}"


def grade(block, statement=PLUS, preamble="", reward=coq_reward):
    """One row through the reward; the block is wrapped unless it has a fence already."""
    completion = block if "```" in block else f"Here is the proof.\n```coq\n{block}\n```\nDone."
    return reward(prompts=["?"], completions=[completion], statement=[statement], preamble=[preamble])[0]


@pytest.fixture
def folder():
    """A directory that the sandbox can show: it has a /tmp of its own, and does not enter private directories."""
    path = Path(tempfile.mkdtemp(dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@needs_coq
class TestProofs:
    @pytest.mark.parametrize("case", load("coq.txt"))
    def test_grade(self, case):
        reward = CoqReward(**case.options) if case.options else coq_reward
        statement = PLUS if case.statement is None else case.statement
        blocks = [PROOF, "Proof. Admitted.", "nothing"] if case.expected is None else [case.block]
        assert [grade(block, statement, case.preamble, reward) for block in blocks] == [case.expected] * len(blocks)

    def test_windows_line_ends(self):
        assert grade(THEOREM.replace("\n", "\r\n")) == 1.0

    def test_characters_that_no_file_has(self):
        assert grade("(* \0 *)\n" + THEOREM) == 0.0
        assert grade("(* \ud800 *)\n" + THEOREM) == 0.0
        assert grade(PROOF, PLUS + "(* \ud800 *)") is None

    def test_rows_without_reference_are_not_graded(self):
        assert grade(PROOF, None) is None
        assert grade(PROOF, 3) is None

    # A statement that is one only by the submission's coercion: what the row is worth is not the submission's to say
    def test_a_coercion_makes_no_statement(self):
        theorem = "Theorem t : forall b : bool, b.\nProof. intros; exact I. Qed."
        for block in (f"Coercion always (b : bool) : Prop := True.\n{theorem}", PROOF, "nothing"):
            assert grade(block, "Theorem t : forall b : bool, b.") is None

    # Commands that reach for files, plugins, or the check itself, by whatever name
    @pytest.mark.parametrize(
        "command",
        [
            'Redirect "{outside}" Print nat.', 'Time #[local] Fail Redirect "{outside}" Print nat.',
            'Lemma a : True.\nProof.\n- Redirect "{outside}" Print nat.\nexact I. Qed.',
            'Require Extraction.\nExtraction "{outside}" plus.', "Require Extraction.\nSeparate Extraction plus.",
            'Load "/etc/passwd".', 'Cd "/tmp".', 'Add LoadPath "/tmp" as T.', "Drop.", "Require TrlCopd.Check.",
            'Declare ML Module "coq-core.plugins.extraction".', "From TrlCopd Require Statement.",
        ],
    )  # fmt: skip
    def test_reaching_out_is_refused(self, command, folder):
        assert grade(command.replace("{outside}", str(folder / "written")) + "\n" + THEOREM) == 0.0
        assert list(folder.iterdir()) == []

    # What is refused by its words is refused, or harmless, without that: words can be hidden
    @pytest.mark.parametrize(
        "block",
        [
            "Unset Guard Checking.\nFixpoint bad (n : nat) : False := bad n.\nLemma a : False.\nexact (bad 0). Qed.",
            "#[bypass_check(positivity)] Inductive B := b (f : B -> False).\n"
            "Definition nb (x : B) : False := match x with b f => f x end.\nLemma a : False.\nexact (nb (b nb)). Qed.",
            "Module Type T.\nParameter Inline (1) bad : nat -> False.\nEnd T.\nModule F (X : T).\n"
            "Definition g := X.bad 0.\nEnd F.\nModule M.\n"
            "#[bypass_check(guard)] Fixpoint bad (n : nat) : False := bad n.\nEnd M.\nModule N := F M.\n"
            "Lemma a : False.\nexact N.g. Qed.",
        ],
    )
    def test_the_checks_find_it_alone(self, block, monkeypatch):
        monkeypatch.setattr(coq_text, "forbidden", lambda block: None)
        assert grade(block, "False", reward=CoqReward()) == 0.0

    @pytest.mark.parametrize(
        "command", ['Redirect "{outside}" Print nat.', 'Require Extraction.\nExtraction "{outside}" plus.']
    )
    def test_the_sandbox_stops_it_alone(self, command, folder, monkeypatch):
        monkeypatch.setattr(coq_text, "forbidden", lambda block: None)
        grade(command.replace("{outside}", str(folder / "written")) + "\n" + THEOREM, reward=CoqReward())
        assert list(folder.iterdir()) == []


@needs_coq
class TestExecution:
    def test_check_passes(self):
        CoqReward().check()

    def test_same_grades_in_a_batch_and_in_threads(self):
        blocks = [PROOF, "Proof. reflexivity. Qed.", THEOREM, "Proof. Admitted."] * 2
        batch = {
            "prompts": ["?"] * len(blocks),
            "completions": [f"```coq\n{block}\n```" for block in blocks],
            "statement": [PLUS] * len(blocks),
            "preamble": [""] * len(blocks),
        }
        results = []
        threads = [threading.Thread(target=lambda: results.append(CoqReward()(**batch))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [[1.0, 0.0, 1.0, 0.0] * 2] * 2

    def test_libraries(self, folder):
        (folder / "Mine.v").write_text("Definition seven := 7.")
        subprocess.run(["coqc", "-q", "-Q", ".", "Lib", "Mine.v"], cwd=folder, check=True)
        reward = CoqReward(libraries={"Lib": str(folder)})
        assert grade("Proof. reflexivity. Qed.", "seven = 7", "From Lib Require Import Mine.", reward) == 1.0

    def test_new_executable_names(self, folder):
        """Rocq 9 has one program with subcommands; a script with its command line stands in for it here."""
        script = folder / "rocq"
        script.write_text(
            '#!/bin/sh\ncase "$1" in --version) echo "The Rocq Prover, version 9.1.0";; c) shift; exec coqc "$@";; '
            'check) shift; exec coqchk "$@";; *) exit 2;; esac\n'
        )
        script.chmod(0o755)
        reward = CoqReward(prover=str(folder))
        assert reward.coq.version == (9, 1, 0)
        assert grade(PROOF, reward=reward) == 1.0
        assert grade("Proof. Admitted.", reward=reward) == 0.0


class TestWithoutCoq:
    def test_missing_prover_is_an_error_not_a_zero(self, tmp_path):
        reward = CoqReward(prover=str(tmp_path))
        with pytest.raises(FileNotFoundError, match="apt-get install coq"):
            reward.check()
        with pytest.raises(FileNotFoundError, match="apt-get install coq"):
            grade(PROOF, reward=reward)

    def test_broken_prover_is_an_error(self, tmp_path):
        for name in ("coqc", "coqchk"):
            Path(tmp_path, name).write_text("#!/bin/sh\nexit 1\n")
            Path(tmp_path, name).chmod(0o755)
        with pytest.raises(RuntimeError, match="does not run"):
            find_coq(str(tmp_path), "")

    @pytest.mark.parametrize("options", [{"cpu_seconds": 0}, {"memory_mib": 0}])
    def test_limits_must_be_positive(self, options):
        with pytest.raises(ValueError):
            CoqReward(**options)

    # Reports of Print Assumptions; what is not understood is not allowed
    @pytest.mark.parametrize(
        "report, names",
        [
            ("Closed under the global context\n", set()),
            ("Axioms:\na : nat\nB.c\n  : forall x,\n    x = x\n", {"a", "B.c"}),
        ],
    )
    def test_assumptions(self, report, names):
        assert assumptions(report) == names

    @pytest.mark.parametrize(
        "report",
        [
            "",
            "Closed under the global context\nClosed under the global context",
            "Axioms:\nf is assumed to be guarded.",
            "Section Variables:\nx : nat",
            "x\nClosed under the global context",
        ],
    )
    def test_reports_that_are_refused(self, report):
        with pytest.raises(Exception, match="more than axioms"):
            assumptions(report)

    def test_checker_reports(self):
        clean = "CONTEXT SUMMARY\n* Axioms: <none>\n* Constants/Inductives relying on type-in-type: <none>\n"
        assert unsafe_parts(clean) is None
        assert unsafe_parts("") is not None
        assert "type-in-type" in unsafe_parts(clean.replace("<none>\n", "\n    TrlCopd.Submission.foo\n"))

    # Recursion on what a match on the argument gives is plain; on what was computed, or by handing itself on, not
    @pytest.mark.parametrize(
        "term, plain",
        [
            ("fix f (n : N) : N := match n with | O => O | S k => f k end", True),
            ("fix f (n m : N) {struct n} : N := match n with | O => m | S k => f k m end", True),
            ("fix f (t : T) : N := match t with | T.node l => sum (map f l) end", True),
            ("fix f (n : N) : N := match n with | O => O | S k => let g := fun m : N => f m in g k end", True),
            ("fix f (n : N) : N := match n with | O => O | S k => let g := fun m : N => f m in g n end", False),
            ("fix f (n : N) : N := let m : N := match n with | O => n | S k => k end in f m", False),
            ("fix f (n : N) : N := match pick n with | O => O | S k => f k end", False),
            ("fix f (n m : N) {struct n} : N := match n with | O => m | S k => f k (g f) end", False),
            ("fix f (n : N) : N := match n with | O => f | S k => O end O", False),
            ("fix f (n : N : N := n", False),
        ],
    )
    def test_recursion(self, term, plain):
        assert (doubtful_recursion(f"X.f = {term}\n     : N") is None) == plain

    # Sentences end at a full stop that white space follows, outside comments and strings
    @pytest.mark.parametrize(
        "text, bare",
        [
            ("A. B.c d.\nE.", ["A.", "B.c d.", "E."]), ("a (* x. (* y. *) z *) b. c.", ["a b.", "c."]),
            ('a "x. y" b. c', ['a "x. y" b.', "c"]), ('(* "*)" a. *) b.', ["b."]),
            ("auto... [x; .. ; y] z.", ["auto...", "[x; .. ; y] z."]), ("", []), ("(* only *)", []),
        ],
    )  # fmt: skip
    def test_sentences(self, text, bare):
        assert [sentence.bare for sentence in coq_text.sentences(text)] == bare

    @pytest.mark.parametrize(
        "text, statement",
        [
            ("forall n, n = n.", (None, "", "forall n, n = n")), ("True", (None, "", "True")),
            ("Lemma a (n : nat) : n = n.", ("a", "(n : nat)", "n = n")), ("Goal True.", (None, "", "True")),
            ("#[global] Theorem b' {A : Type} (x := 1) : A = A. Proof.", ("b'", "{A : Type} (x := 1)", "A = A")),
        ],
    )  # fmt: skip
    def test_statements(self, text, statement):
        assert coq_text.parse_statement(text) == coq_text.Statement(*statement)


# What reaches the wall clock is run again, alone; the second time it is the submission's fault
@pytest.mark.parametrize("error, passed", [(Stuck, False), (Broken, None)])
def test_a_proof_that_does_not_finish(error, passed, monkeypatch):
    def prove(self, block, compiled, session):
        raise error("did not finish")

    monkeypatch.setattr(CoqReward, "prove", prove)
    reward = CoqReward()
    assert reward._attempt("", None, last=False) is None
    assert reward._attempt("", None, last=True).passed is passed
