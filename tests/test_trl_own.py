"""What runs TRL's own tests (`make test-trl`), without TRL's tests."""

import sys
from pathlib import Path

import pytest


sys.path[:0] = [str(Path(__file__).parent / "trl_own"), str(Path(__file__).parent / "families")]

from compare import explained, failing_alone, read  # noqa: E402
from made import PLAIN, SMALL, with_small_ids  # noqa: E402


RESULT = """<testsuites><testsuite>
<testcase name="test_a"/><testcase name="test_b"><failure message="no network"/></testcase>
<testcase name="test_c"><skipped message="no GPU"/></testcase>
<testcase name="test_d"><error message="broken"/></testcase>
</testsuite></testsuites>"""


def test_what_fails_with_experts_alone(tmp_path):
    plain, experts = tmp_path / "0.xml", tmp_path / "1.xml"
    plain.write_text(RESULT)
    experts.write_text(RESULT.replace('"test_a"/>', '"test_a"><failure message="ours"/></testcase>'))
    outcomes = read(plain)
    assert [outcome for outcome, _ in outcomes.values()] == ["passed", "failed", "skipped", "failed"]
    assert failing_alone(outcomes, read(experts)) == {"test_a": "ours"}


@pytest.mark.parametrize(
    ("test", "said", "known"),
    [
        ("test_evaluate_with_eval_dataset[dataset]", "ValueError: `evaluate` takes no dataset: held-out rows", True),
        ("test_evaluate_with_eval_dataset[dataset]", "KeyError: 'eval_loss'", False),  # listed, for another reason
        ("test_train_beta_non_zero", "ValueError: `evaluate` takes no dataset", False),
        ("test_train_beta_non_zero", "", False),
    ],
)
def test_a_test_may_fail_only_as_it_is_known_to(test, said, known):
    assert explained(test, said) is known


def test_token_ids_are_those_of_the_model_of_each_test():
    lists = "        ids = [\n            [9, 151645, 151643],  # ends\n        ]\n"
    calling = "    def test_a(self):\n        model = 'tiny-Qwen3ForCausalLM'\n"
    source = f"class A:\n{calling}{lists}\n    def test_b(self):\n{lists}"
    first, second = with_small_ids(source).split("def test_b")
    assert f"[9, {SMALL[151645]}, {SMALL[151643]}],  # ends" in first
    assert f"[9, {PLAIN[151645]}, {PLAIN[151643]}],  # ends" in second
