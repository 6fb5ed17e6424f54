"""Verifiers in a conversation."""

import copy
import inspect
import re
import sys
from types import ModuleType, SimpleNamespace

import pytest
from datasets import Dataset
from tiny import lora, settings
from tiny_acting import RESPONSE, Counter, acting_model, acting_tokenizer, rows
from tiny_vision import seen_rows
from trl.trainer.utils import get_callable_name

from trl_copd import CoPDConfig, CoPDTrainer, EnvironmentFailure, Expert
from trl_copd.environments import answer_feedback, code_feedback
from trl_copd.from_openenv import described, openenv_environment
from trl_copd.from_verifiers import verifiers_expert
from trl_copd.gym import reasoning_gym_expert
from trl_copd.rewards import CodeReward, GymReward, MathReward, exact_match_reward
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


def game(reward: float) -> type:
    class Game:
        def reset(self, **row) -> str:
            return "Move."

        def get_reward(self) -> float:
            return reward

    return Game


def test_environments_of_one_name_grade_their_own_rows():
    """As two classes of `openenv_environment` do; a class under two names grades once."""
    hard = game(2.0)
    rows = [{"prompt": [{"role": "user", "content": "Play."}], "environment": "easy"}] * 4
    factories = {"easy": game(1.0), "hard": hard, "again": hard}
    world = World(Expert("games", Dataset.from_list(rows), environment_factory=factories))
    instances = [world.spare[name][0] for name in factories]
    assert [reward(environments=instances) for reward in world.rewards] == [[1.0, None, None], [None, 2.0, 2.0]]


def test_refused():
    with pytest.raises(ValueError, match="whole number >= 1"):
        code_feedback(tries=0)
    with pytest.raises(TypeError, match="must be a verifier"):
        answer_feedback(len)


def test_a_task_of_reasoning_gym_in_several_turns(tmp_path):
    """Trained on: wrong at first, then right for even sums only; the last graded try is the reward."""
    pytest.importorskip("reasoning_gym")
    options = {"min_digits": 1, "max_digits": 1, "min_terms": 2, "max_terms": 2}
    expert = reasoning_gym_expert(
        "chain_sum", 4, 0, options=options, instruction=None, environment_factory=answer_feedback(GymReward())
    )
    tokenizer = acting_tokenizer()
    tokenizer.response_template = response = copy.deepcopy(RESPONSE)
    calls = response["fields"]["tool_calls"]
    calls["open_pattern"] = "c"
    calls["transform"]["function"] = {"name": "check", "arguments": {"answer": "{content}"}}
    args = CoPDConfig(**settings(tmp_path, max_completion_length=100, topology="mutual", opd_steps=0, max_steps=2,
                                 per_device_train_batch_size=16))  # fmt: skip
    trainer = CoPDTrainer(
        acting_model(max_position_embeddings=512), [expert], args, processing_class=tokenizer, peft_config=lora()
    )
    calls_made, expected = iter(range(6)), {"Right.": 1.0, "Wrong.": 0.0}

    def generate(prompt_ids, names, greedy=False):
        turn, said = next(calls_made) % 3, []
        for ids in prompt_ids:
            right = eval(re.search(r"\d [+-] \d", tokenizer.decode(ids))[0])
            said.append(["c99.", f"c{right}." if right % 2 == 0 else "c98.", "e."][turn])
        return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in said], None

    trainer.engine.generate = generate
    trainer.train()
    branch, last = trainer.branches["chain_sum"], set()
    for environment, talk in zip(branch.talk.environments, branch.talk.completions, strict=True):
        first, second = (message["content"] for message in talk if message["role"] == "tool")
        assert first == "Wrong. Try again." and environment.get_reward() == expected[second]
        last.add(second)
    assert last == set(expected)
    assert trainer.state.log_history[0]["chain_sum/rewards/AnswerFeedback/mean"] > 0.0


def test_pictures_beside_an_expert_that_acts_are_refused_before_the_model_is_loaded(tmp_path):
    experts = [
        Expert("eye", seen_rows(), exact_match_reward),
        Expert("game", rows(), exact_match_reward, environment_factory=Counter),
    ]
    with pytest.raises(ValueError, match="Expert 'eye' has pictures, and expert 'game' acts.*Train them in two runs"):
        CoPDTrainer("there/is-none", experts, CoPDConfig(**settings(tmp_path)), peft_config=lora())


def test_packages_that_are_missing_are_named(monkeypatch):
    for package in ("verifiers", "openenv"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"pip install 'verifiers>=0.4,<0.5'"):
        verifiers_expert("game", object())
    with pytest.raises(ImportError, match=r"pip install 'openenv>=0.10'"):
        openenv_environment("http://127.0.0.1:1")


def test_types_that_a_schema_lists():
    fields = {"a": {"type": ["null", "integer"]}, "b": {"type": ["string", "null"]}, "c": {"type": ["null"]},
              "d": {"anyOf": [{"type": "null"}, {"type": ["number", "null"]}]}}  # fmt: skip
    call = described(lambda self, **arguments: "", "f", None, {"properties": fields, "required": list(fields)})
    found = {name: one.annotation for name, one in inspect.signature(call).parameters.items() if name != "self"}
    assert found == {"a": int, "b": str, "c": str, "d": float}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["look", "reset"], "'reset', a name that the session itself"),
        (["get_reward"], "'get_reward'"),
        (["_step"], "'_step'"),
        (["a.b", "a_b"], "'a_b', a name of another tool"),
    ],
)
def test_tools_of_a_server_whose_names_are_taken(monkeypatch, names, said):
    class Client:
        def __init__(self, **options):
            self.sync = lambda: self

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def step(self, action):
            return SimpleNamespace(observation={"tools": [{"name": name, "input_schema": {}} for name in names]})

    module = ModuleType("openenv.core")
    module.GenericEnvClient = Client
    monkeypatch.setitem(sys.modules, "openenv", ModuleType("openenv"))
    monkeypatch.setitem(sys.modules, "openenv.core", module)
    schema = SimpleNamespace(raise_for_status=lambda: None, json=lambda: {"action": {"title": "CallToolAction"}})
    monkeypatch.setattr("requests.get", lambda *_, **options: schema)
    with pytest.raises(ValueError, match=f"has a tool {said}"):
        openenv_environment("http://127.0.0.1:1")
