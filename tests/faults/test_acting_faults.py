"""What goes wrong with tools, environments and conversations, and what becomes of the run."""

import signal
import subprocess
import sys
import time

import psutil
import pytest
from tiny import distance, lora, settings, tiny_tokenizer, weights
from tiny import rows as texts
from tiny_acting import Counter, a, acting_model, acting_tokenizer, copd, replay_copd, rows, talk_reward

from trl_copd import CoPDConfig, EnvironmentFailure, Expert
from trl_copd.trainers.calls import ToolError, bounded, limited, observation
from trl_copd.trainers.checks import plan_run


ALONE = {"topology": "mutual", "opd_steps": 0, "max_steps": 2, "num_generations": 2, "per_device_train_batch_size": 4}


def train(folder, expert, turns=("a5.", "b1.", "12.", "fa9."), **overrides):
    """A run of an expert beside one that acts without trouble; what was said in its last round, and its log."""
    other = Expert("other", rows(3), talk_reward, tools=[a])
    trainer = copd(folder, [expert, other], **ALONE | overrides)
    replay_copd(trainer, list(turns))
    trainer.train()
    return trainer, trainer.branches["math"].talk, trainer.state.log_history[-2]


def heard(talk) -> list[str]:
    return [message["content"] for row in talk.completions for message in row if message["role"] == "tool"]


def tool(behave):
    def b(x: str) -> str:
        """
        Does it.

        Args:
            x: A text.
        """
        return behave(x)

    return b


def hang(x):
    while True:
        try:
            time.sleep(60)
        except Exception:  # no tool can swallow the alarm
            pass


class Textless:
    def __str__(self):
        raise RuntimeError("no text")


def unavailable(x):
    raise EnvironmentFailure("the index is down")


BEHAVIOUR = {
    "raises": (lambda x: 1 / 0, "{'error': 'division by zero'}"),
    "exits": (lambda x: sys.exit(3), "{'error': 'The tool ended by SystemExit.'}"),
    "hangs": (hang, "{'error': 'It did not return within 0.2 seconds and was ended.'}"),
    "None": (lambda x: None, "None"),
    "bytes": (lambda x: b"\xff", r"b'\xff'"),
    "a list": (lambda x: [1, "2"], "[1, '2']"),
    "no text": (lambda x: Textless(), "(Textless, whose text cannot be had: RuntimeError)"),
    "a lone surrogate": (lambda x: "\ud800!", "?!"),
    "parts": (lambda x: [{"type": "text", "text": "so"}], "so"),
    "a picture": (
        lambda x: [{"type": "image", "image": None}],
        "{'error': \"The tool returned a part of type 'image'; only texts can be read.\"}",
    ),
}


def test_a_tool_whatever_it_does_is_an_observation(tmp_path):
    """All of it in one turn, call by call."""
    behaviours = [behave for behave, _ in BEHAVIOUR.values()]
    expert = Expert("math", rows(), talk_reward, tools=[tool(lambda x: behaviours[int(x)](x))], tool_timeout=0.2)
    turn = "".join(f"b{i}." for i in range(len(behaviours)))
    _, talk, logs = train(
        tmp_path, expert, [turn], max_completion_length=450, max_steps=1, max_tool_calling_iterations=1,
        model=acting_model(max_position_embeddings=600),
    )  # fmt: skip
    assert heard(talk)[: len(BEHAVIOUR)] == [expected for _, expected in BEHAVIOUR.values()] and not talk.failures
    assert logs["math/tools/failure_frequency"] == pytest.approx(0.4)  # four of ten raise
    assert "math/ungraded_rows" not in logs and "math/failed_environments" not in logs


def test_ten_megabytes_end_the_conversation_as_in_trl(tmp_path):
    expert = Expert("math", rows(), talk_reward, tools=[tool(lambda x: "7" * 10_000_000)])
    _, talk, _ = train(tmp_path, expert, ["b1."], max_steps=1)
    assert not heard(talk) and all(len(row) == 1 for row in talk.completions) and talk.calls == 4
    assert all(len(ids) == 3 for ids in talk.ids)


def test_a_conversation_without_an_end_ends_with_its_tokens(tmp_path):
    trainer, talk, logs = train(tmp_path, Expert("math", rows(), talk_reward, tools=[a]), ["a5."], max_steps=1)
    assert all(40 < len(ids) <= 60 for ids in talk.ids) and logs["math/tools/call_frequency"] > 5
    bounded_ = Expert("math", rows(), talk_reward, tools=[a], max_tool_calling_iterations=2)
    _, talk, logs = train(tmp_path, bounded_, ["a5."], max_steps=1)
    assert logs["math/tools/call_frequency"] == 2


def test_a_rollout_function_without_an_end(tmp_path):
    def forever(prompts, trainer):
        while True:
            trainer.sample([[5]] * len(prompts))

    with pytest.raises(RuntimeError, match="Conversations of math have asked for tokens 61 times"):
        train(tmp_path, Expert("math", rows(), talk_reward, rollout_func=forever))


def test_infrastructure_that_fails_leaves_rows_ungraded(tmp_path):
    calls = []

    def sometimes(x):
        calls.append(x)
        if len(calls) % 3 == 1:
            raise EnvironmentFailure("the index is down")
        return "ok"

    expert = Expert("math", rows(), talk_reward, tools=[tool(sometimes)])
    trainer, talk, logs = train(tmp_path, expert, ["b1.", "12."])
    count = logs["math/failed_environments"]
    assert count >= 2 and logs["math/ungraded_rows"] == count
    assert logs.get("other/failed_environments", 0) == 0


class Flaky(Counter):
    """Its n-th `reset` fails, or hangs, by `fails`."""

    made, resets, fails = 0, 0, {}

    def __init__(self):
        super().__init__()
        type(self).made += 1
        if type(self).made == type(self).fails.get("made"):
            raise OSError("no port is free")

    def reset(self, **row):
        type(self).resets += 1
        how = type(self).fails.get(type(self).resets)
        if how == "hangs":
            time.sleep(60)
        if how == "raises":
            raise OSError("the container is gone")
        return super().reset(**row)


@pytest.mark.parametrize("fails", [{2: "raises"}, {2: "hangs", 3: "raises"}, {"made": 3}], ids=str)
def test_an_environment_that_fails_in_reset(tmp_path, fails):
    kind = type("Flaky", (Flaky,), {"made": 0, "resets": 0, "fails": fails})

    def reward(completions, environments, **kwargs):
        assert all(environment.row is not None for environment in environments), "a failed row was shown"
        return [environment.total / 4 for environment in environments]

    expert = Expert("math", rows(), reward, environment_factory=kind, tool_timeout=0.3)
    trainer, talk, logs = train(tmp_path, expert)
    assert logs["math/failed_environments"] == logs["math/ungraded_rows"] == len(fails)
    assert not talk.failures  # of the second round: the environment is there again


def test_an_environment_that_always_fails_stops_the_run(tmp_path):
    kind = type("Flaky", (Flaky,), {"fails": dict.fromkeys(range(99), "raises")})

    def reward(completions, environments, **kwargs):
        return [environment.row["solution"] for environment in environments]

    with pytest.raises(RuntimeError, match="no row of a batch was graded .* 10 times in a row"):
        train(tmp_path, Expert("math", rows(), reward, environment_factory=kind), max_steps=12)


def test_an_environment_whose_reset_returns_something_else(tmp_path):
    kind = type("Gym", (Counter,), {"reset": lambda self, **row: ("observation", {})})
    with pytest.raises(
        TypeError, match="`reset` of Gym returned tuple. It must return the first observation as a text"
    ):
        train(tmp_path, Expert("math", rows(), talk_reward, environment_factory=kind))


def test_an_environment_whose_own_reward_fails(tmp_path):
    class Judge(Counter):
        def get_reward(self):
            if self.row["solution"] in "eg":
                raise OSError("the judge is out")
            return 0.5

    _, _, logs = train(tmp_path, Expert("math", rows(), environment_factory=Judge))
    assert 0 < logs["math/failed_environments"] == logs["math/ungraded_rows"]


def test_a_tool_that_leaves_processes(tmp_path):
    started = []

    def leave(x):
        started.append(subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"]))
        return "ok"

    trainer, _, _ = train(tmp_path, Expert("math", rows(), talk_reward, tools=[tool(leave)]), max_steps=1)
    left = [log["left_processes"] for log in trainer.state.log_history if "left_processes" in log]
    assert left == [len(started)] and started
    for process in started:
        process.wait(timeout=60)  # they would sleep for ten minutes
    assert not {child.pid for child in psutil.Process().children()} & {process.pid for process in started}


def test_other_branches_are_unmoved(tmp_path):
    """Whatever a tool does, the other expert's weights are those of a run without it, on the same rollouts."""
    ends = []
    for behave in (lambda x: "ok", unavailable):
        expert = Expert("math", rows(), talk_reward, tools=[tool(behave)])
        trainer, _, _ = train(tmp_path, expert)
        ends.append(weights(trainer, "other"))
    assert distance(*ends) == 0.0


# ---- Without a run --------------------------------------------------------------------------------------------------


def test_an_alarm_of_somebody_else_goes_on():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(time.monotonic()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(TimeoutError, match="0.1 seconds"):
            limited(lambda: hang(""), 0.1)
        time.sleep(0.5)
        assert len(rung) == 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_bounded_keeps_what_describes_a_tool():
    wrapped = bounded(a, 1.0, 100, print)
    assert wrapped.__name__ == "a" and wrapped.__doc__ == a.__doc__ and wrapped("123") == "3"
    with pytest.raises(ToolError, match="unexpected keyword argument 'y'"):
        wrapped(y=1)
    assert observation("x" * 500, 100) == "x" * 100


# ---- Refused before a model is loaded -------------------------------------------------------------------------------


def without_hints(x):
    """Does it."""


REFUSED = {
    "no template": ({"tools": [a]}, tiny_tokenizer, ValueError, "chat template cannot show a conversation with tool"),
    "no parser": ({"tools": [a]}, "unknown", ValueError, "does not know how calls are read"),
    "not described": ({"tools": [without_hints]}, acting_tokenizer, ValueError, "cannot be described to a model"),
    "twice": ({"tools": [a, a]}, acting_tokenizer, ValueError, "two tools are called 'a'"),
    "clash": ({"tools": [a], "environment_factory": Counter}, acting_tokenizer, ValueError, "two tools are called"),
    "no reset": ({"environment_factory": dict}, acting_tokenizer, ValueError, "has no method `reset`"),
    "an instance": ({"environment_factory": Counter()}, acting_tokenizer, TypeError, "Pass the class itself"),
    "no making": ({"environment_factory": lambda: 1 / 0}, acting_tokenizer, ValueError, "raised ZeroDivisionError"),
    "no column": ({"environment_factory": {"one": Counter}}, acting_tokenizer, ValueError, "no column 'environment'"),
    "texts": ({"tools": [a], "train_dataset": texts()}, acting_tokenizer, ValueError, "are texts"),
    "a bound alone": ({"max_tool_calling_iterations": 3}, acting_tokenizer, ValueError, "neither tools nor"),
    "a time": ({"tools": [a], "tool_timeout": 0}, acting_tokenizer, ValueError, "finite and > 0"),
    "no reward": (
        {"environment_factory": Counter, "reward_funcs": None}, acting_tokenizer, ValueError, "has no reward"),
    "no rows": ({"train_dataset": None, "tools": [a]}, acting_tokenizer, TypeError, "has no `train_dataset`"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_the_model_is_loaded(tmp_path, case):
    given, make, error, message = REFUSED[case]
    tokenizer = acting_tokenizer() if make == "unknown" else make()
    if make == "unknown":
        tokenizer.response_template = None
    with pytest.raises(error, match=message):
        expert = Expert(**{"name": "math", "train_dataset": rows(), "reward_funcs": talk_reward} | given)
        args = CoPDConfig(**settings(tmp_path, topology="mutual", opd_steps=0))
        plan_run("no/model", [expert], args, lora(), None, (None, None), {}, tokenizer)
