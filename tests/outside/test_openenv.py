"""OpenEnv clients as environments: against the environment that the package's `openenv init` writes, and ours."""

import copy
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from tiny import lora, settings
from tiny_acting import RESPONSE, acting_model, acting_tokenizer, replay_copd, rows


openenv = pytest.importorskip("openenv.core")

from trl_copd import CoPDConfig, CoPDTrainer, EnvironmentFailure, Expert  # noqa: E402
from trl_copd.from_openenv import openenv_environment  # noqa: E402
from trl_copd.worlds import World  # noqa: E402


HERE = Path(__file__).parent


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answers(url):
    try:
        return requests.get(f"{url}/health", timeout=1).ok
    except requests.RequestException:
        return False


@contextmanager
def serving(*command, port, folder=HERE):
    """A server as a process of its own; its address."""
    server = subprocess.Popen([sys.executable, *command, str(port)], cwd=folder)
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 300  # of a machine with much else to do
        while not answers(url):
            assert server.poll() is None, "the server has ended"
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    """The environment that `openenv init` writes; one line says how many sessions it takes."""
    folder = tmp_path_factory.mktemp("echo")
    program = [sys.executable, "-m", "openenv.cli", "init", "tiny_echo"]
    subprocess.run(program, cwd=folder, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    app = folder / "tiny_echo" / "server" / "app.py"
    app.write_text(app.read_text().replace("max_concurrent_envs=1,", "max_concurrent_envs=32,"))
    with serving("-m", "tiny_echo.server.app", "--port", port=free_port(), folder=folder) as url:
        yield url


@pytest.fixture(scope="module")
def counter():
    with serving("servers.py", "counter", port=free_port()) as url:
        yield url


def test_a_run_on_the_environment_that_the_package_writes(echo, tmp_path):
    """Its rewards and observations, call by call, beside an expert that answers at once."""
    Echo = openenv_environment(echo, tool="a", observe=lambda observation: observation["echoed_message"].lower())
    tokenizer = acting_tokenizer()
    tokenizer.response_template = response = copy.deepcopy(RESPONSE)
    response["fields"]["tool_calls"]["transform"]["function"]["arguments"] = {"message": "{content}"}
    experts = [
        Expert("echo", rows(), environment_factory=Echo),
        Expert("plain", rows(3), lambda completions, **_: [0.5] * len(completions)),
    ]
    args = CoPDConfig(**settings(tmp_path, max_completion_length=60, topology="student", rlvr_steps=1, opd_steps=1,
                                 max_steps=2, opd_fraction=0.5, overlap_every=0))  # fmt: skip
    trainer = CoPDTrainer(acting_model(), experts, args, processing_class=tokenizer, peft_config=lora())
    replay_copd(trainer, ["a5.", "a777.", "12.", "a1.a22."])
    seen = 0
    trainer.train()
    for name, policy in (("echo", trainer.branches["echo"]), ("student", trainer.branches["student"].taught)):
        for place, environment in enumerate(policy.talk.environments):
            if environment is None:
                continue
            talk, sent = policy.talk.completions[place], []
            for message in talk:
                sent += [call["function"]["arguments"]["message"] for call in message.get("tool_calls") or []]
            heard = [message["content"] for message in talk if message["role"] == "tool"]
            assert heard == sent[: len(heard)] and "ready" in policy.talk.prompts[place][-1]["content"]
            assert environment.get_reward() == pytest.approx(sum(min(len(text) / 10, 1.0) for text in sent))
            seen += len(sent)
        assert policy.talk.failures == {}, name
    assert seen > 4


def test_fields_become_arguments_and_an_episode_ends(counter):
    make = openenv_environment(counter, reset_columns=["seed"])
    one, two = make(), make()
    described = World(Expert("counter", rows(), environment_factory=make)).tools[0]
    assert described.__name__ == "counter"
    from transformers.utils import get_json_schema

    assert get_json_schema(described)["function"]["parameters"] == {
        "type": "object", "required": ["by"],
        "properties": {
            "by": {"type": "integer", "description": "How much"},
            "way": {"type": "string", "enum": ["up", "down"], "description": "way"},
        },
    }  # fmt: skip
    assert one.reset(seed=3, prompt="?") == '{"total": 3}' and two.reset(seed=5) == '{"total": 5}'
    assert one.counter(by=2) == '{"total": 5}' and two.counter(by=1, way="down") == '{"total": 4}'
    with pytest.raises(ValueError, match="VALIDATION_ERROR"):
        one.counter(by="much")
    assert one.counter(by=3) == '{"total": 8}' and one.get_reward() == 5 / 8 + 8 / 8
    with pytest.raises(ValueError, match="The episode is over"):
        one.counter(by=3)
    assert two.get_reward() == 4 / 8 and one.reset(seed=0) == '{"total": 0}' and one.get_reward() == 0.0


def test_tools_of_a_server():
    with serving("servers.py", "tools", port=free_port()) as url:
        make = openenv_environment(url, observe=lambda observation: str(observation.get("result")))
        one = make()
        assert {tool.__name__ for tool in World(Expert("tools", rows(), environment_factory=make)).tools} == {
            "add", "look_up",
        }  # fmt: skip
        one.reset()
        assert "5" in one.add(a=2, b=3) and "3" in one.add(a=2) and "'k'" in one.look_up(key="k")


def test_a_server_that_is_gone_is_no_observation_and_comes_back():
    port = free_port()
    with serving("servers.py", "counter", port=port) as url:
        make = openenv_environment(url)
        one = make()
        one.reset()
    with pytest.raises(EnvironmentFailure, match="the OpenEnv server failed"):
        one.counter(by=1)
    with pytest.raises(EnvironmentFailure):
        one.reset()
    with pytest.raises(ConnectionError, match=f"{url} does not say which actions it takes.*Start it"):
        openenv_environment(url)
    with serving("servers.py", "counter", port=port):
        assert one.reset() == '{"total": 0}'
