"""Verifiers in a conversation."""

import pytest
from datasets import Dataset
from trl.trainer.utils import get_callable_name

from trl_copd import EnvironmentFailure, Expert
from trl_copd.environments import answer_feedback, code_feedback
from trl_copd.rewards import CodeReward, MathReward, exact_match_reward
from trl_copd.worlds import World


TESTS = {"kind": "assert", "code": "assert double(2) == 4\nassert double('a') == 'aa'"}
PUBLIC = {"kind": "assert", "code": "assert double(2) == 4"}
WRONG, HALF, RIGHT = (f"def double(x):\n    return {body}" for body in ("x", "x + 2", "x * 2"))


def test_a_second_try_after_what_failed():
    environment = code_feedback()()
    environment.reset(tests=TESTS, prompt="Double it.")
    said = environment.run_tests(WRONG)
    assert said.startswith("A test fails: ") and "double(2)" in said and environment.get_reward() == 0.0
    assert environment.run_tests(f"Better:\n```python\n{RIGHT}\n```") == "All tests pass."
    assert environment.get_reward() == 1.0
    assert environment.run_tests(WRONG) == "No try is left." and environment.get_reward() == 1.0
    environment.reset(tests=TESTS)
    assert environment.get_reward() == 0.0 and environment.run_tests(RIGHT) == "All tests pass."


def test_tests_that_are_not_shown_decide():
    environment = code_feedback()()
    environment.reset(tests=TESTS, public_tests=PUBLIC)
    assert environment.run_tests(HALF) == "All tests pass." and environment.get_reward() == 0.0


def test_the_program_runs_in_the_sandbox():
    environment = code_feedback(reward=CodeReward(cpu_seconds=0.5))()
    environment.reset(tests=TESTS)
    said = environment.run_tests("import os\nos.system('touch /tmp/acting-was-here')\nwhile True: pass")
    assert "CPU time" in said


def test_what_cannot_be_graded_is_no_observation():
    environment = code_feedback()()
    environment.reset(tests={"kind": "?"})
    with pytest.raises(EnvironmentFailure, match="code_reward cannot grade the row"):
        environment.run_tests(RIGHT)
    environment = answer_feedback(exact_match_reward)()
    environment.reset()
    with pytest.raises(EnvironmentFailure, match="has no reference"):
        environment.check("7")


def test_an_answer_is_not_given_away():
    environment = answer_feedback(MathReward("boxed_or_final"), tries=3)()
    environment.reset(solution="12")
    assert environment.check("13") == "Wrong. Try again." and environment.check("1/2") == "Wrong. Try again."
    assert environment.check("24/2") == "Right." and environment.get_reward() == 1.0


def test_as_an_expert():
    rows = [{"prompt": [{"role": "user", "content": "Double it."}], "tests": TESTS}] * 4
    world = World(Expert("code", Dataset.from_list(rows), environment_factory=code_feedback()))
    assert [tool.__name__ for tool in world.tools] == ["run_tests"]
    assert get_callable_name(world.rewards[0]) == "CodeFeedback"


def test_refused():
    with pytest.raises(ValueError, match="whole number >= 1"):
        code_feedback(tries=0)
    with pytest.raises(TypeError, match="must be a verifier"):
        answer_feedback(len)
