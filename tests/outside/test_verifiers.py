"""Environments of Prime Intellect's `verifiers` as experts: the package's own TextArena environment, and refusals."""

import asyncio
import math
import random
import re
import sys
import time
from pathlib import Path

import pytest
from byte_model import byte_model, byte_tokenizer
from tiny import distance, lora, settings, weights
from tiny_acting import copd, replay_copd
from tiny_acting import rows as plain_rows


vf = pytest.importorskip("verifiers.v1")
ta = pytest.importorskip("textarena")
sys.path.insert(0, str(Path(__file__).parent / "plugins"))  # `verifiers` imports tasksets by their names

from trl_copd import CoPDConfig, CoPDTrainer, Expert  # noqa: E402
from trl_copd.from_verifiers import verifiers_expert  # noqa: E402


def load(taskset, **more):
    return vf.load_environment(vf.resolve_env_config({"taskset": {"id": taskset}, **more}))


def build(folder, experts, **overrides):
    options = {"max_completion_length": 400, "max_steps": 1, "opd_fraction": 0.5, "overlap_every": 0}
    return CoPDTrainer(
        byte_model(), experts, CoPDConfig(**settings(folder, **options | overrides)),
        processing_class=byte_tokenizer(), peft_config=lora(),
    )  # fmt: skip


def says(text: str) -> str:
    """The next guess: it halves the range that is left."""
    low, high = 1, 20
    guesses = [int(guess) for guess in re.findall(r"<bos>assistant\n\[(\d+)\]<eos>", text)]
    for guess, hint in zip(guesses, re.findall(r"target number is (\w+)", text), strict=True):
        low, high = (low, guess - 1) if hint == "lower" else (guess + 1, high)
    return f"[{(low + high) // 2}]"


def scripted(trainer, reply) -> list[list[str]]:
    """Let `reply(conversation)` say everything; the adapters of each wave."""
    tokenizer, waves = trainer.processing_class, []

    def generate(prompt_ids, names, greedy=False):
        waves.append(list(dict.fromkeys(names)))
        return [tokenizer(reply(tokenizer.decode(ids)) + "<eos>")["input_ids"] for ids in prompt_ids], None

    trainer.engine.generate = generate
    return waves


def played(seed: int) -> tuple[float, list[str]]:
    """The same game by TextArena alone: its reward, and what it says."""
    random.seed(seed)
    game = ta.make(env_id="GuessTheNumber-v0")
    game.reset(num_players=1)
    text, feedback = "", []
    while True:
        guess = says(text)
        game.step(guess)
        if game.state.done:
            return float(game.state.rewards[0]), feedback
        feedback.append(str(game.get_observation()[1]).split("[GAME]")[-1].strip())
        text += f"<bos>assistant\n{guess}<eos>\n<bos>user\n{feedback[-1]}<eos>\n"


@pytest.fixture(scope="module")
def guessing():
    return load("guess_number")


def plain():
    return Expert("plain", plain_rows(), lambda completions, **_: [0.5] * len(completions))


def test_the_game_is_played_as_textarena_plays_it(guessing, tmp_path):
    """What the game says and what it gives, turn by turn; its turns join those of the other branch."""
    trainer = build(tmp_path, [verifiers_expert("game", guessing, 4), plain()], topology="mutual", opd_steps=0)
    waves = scripted(trainer, says)
    trainer.train()
    branch, decode = trainer.branches["game"], trainer.processing_class.decode
    talk, longest = branch.talk, 0
    for place, row in enumerate(branch.rows.native):
        reward, feedback = played(int(re.search(r'"seed":(\d+)', row["task"])[1]))
        longest = max(longest, len(feedback))
        asked = decode(talk.prompt_ids[place])
        assert asked.startswith("<bos>system\n") and asked.endswith("Enter your guess.<eos>\n<bos>assistant\n")
        heard = [token for token, own in zip(talk.ids[place], talk.mask[place], strict=True) if not own]
        assert decode(heard) == "".join(f"\n<bos>user\n{text}<eos>\n<bos>assistant\n" for text in feedback)
        assert talk.extra[place]["rewards_of_episodes"] == reward == 1.0
        assert len(re.findall(r"\[\d+\]<eos>", decode(talk.ids[place]))) == len(feedback) + 1
    assert place == 7 and longest > 1 and waves == [["game", "plain"]] + [["game"]] * longest


def test_a_learner_plays_in_the_teacher_s_world_and_resumes_to_the_bit(guessing, tmp_path):
    """Sampled by a random model: most guesses are none, which the game forgives once."""
    options = {"topology": "student", "rlvr_steps": 1, "opd_steps": 1, "max_steps": 2, "max_completion_length": 60,
               "save_strategy": "steps", "save_steps": 1}  # fmt: skip
    experts = [verifiers_expert("game", guessing, 4, 2), plain()]
    whole = build(tmp_path / "whole", experts, **options)
    whole.train()
    talk = whole.branches["student"].taught.talk
    assert [row for row in talk.extra if row.get("rewards_of_episodes") is not None]
    cut = build(tmp_path / "cut", experts, **options | {"max_steps": 1})
    cut.train()
    resumed = build(tmp_path / "cut", experts, **options)
    resumed.train(resume_from_checkpoint=True)
    for name in whole.branches:
        assert distance(weights(whole, name), weights(resumed, name)) == 0.0
    assert 0.0 <= whole.capability_matrix()["game"]["game"] <= 1.0


def test_one_reply_is_graded_by_the_task_and_a_failure_stays_in_its_row(tmp_path):
    trainer = build(
        tmp_path, [verifiers_expert("sums", load("sums"), 6)], topology="mutual", opd_steps=0,
        per_device_train_batch_size=12, num_generations=2,
    )  # fmt: skip
    scripted(trainer, lambda text: str(2 * int(re.search(r"(\d)\+", text)[1])) if "5+5" not in text else "11")
    trainer.train()
    branch, found = trainer.branches["sums"], {}
    for place, row in enumerate(branch.rows.native):
        found[row["prompt"][0]["content"]] = branch.talk.extra[place]["rewards_of_episodes"]
        failed = "the judge is away" in branch.talk.failures.get(place, "")
        assert failed == (row["prompt"][0]["content"] == "2+2?")
    assert found == {"0+0?": 1.5, "1+1?": 1.5, "2+2?": None, "3+3?": 1.5, "4+4?": 1.5, "5+5?": 0.5}


def test_an_environment_that_hangs_is_ended(tmp_path, monkeypatch):
    """In Python code as well as where it awaits; the other episodes of the wave are graded."""
    env = load("sums")

    @vf.reward
    async def slow(self, trace: vf.Trace) -> float:
        if self.data.answer == 2:
            time.sleep(30)
        if self.data.answer == 6:
            await asyncio.sleep(30)
        return 1.0

    monkeypatch.setattr(type(env.taskset).task_type(), "exact", slow)
    trainer = build(
        tmp_path, [verifiers_expert("sums", env, 4, tool_timeout=0.5)], topology="mutual", opd_steps=0,
        num_generations=2,
    )  # fmt: skip
    scripted(trainer, lambda text: "7")
    began = time.monotonic()
    trainer.train()
    talk = trainer.branches["sums"].talk
    late = {
        place
        for place, row in enumerate(trainer.branches["sums"].rows.native)
        if row["prompt"][0]["content"][0] in "13"
    }
    assert time.monotonic() - began < 20 and set(talk.failures) == late and len(late) == 4
    assert all("within 0.5 seconds" in why for why in talk.failures.values())
    grades = [row["rewards_of_episodes"] for row in talk.extra]
    assert grades == [None if place in late else 1.5 for place in range(8)]


def test_tools_of_tasks_keep_a_state_for_each_conversation(tmp_path):
    trainer = copd(
        tmp_path, [verifiers_expert("adder", load("adder"), 4), plain()], topology="student", rlvr_steps=1,
        opd_steps=1, max_steps=2, opd_fraction=0.5, overlap_every=0, per_device_train_batch_size=16,
    )  # fmt: skip
    replay_copd(trainer, ["a5.", "a777.", "12.", "h0", "a1.a22."])
    trainer.train()
    branch, seen = trainer.branches["adder"], set()
    rows = branch.talk.observed(branch.rows.native)
    grades = branch.grade(rows, branch.talk.completions, branch.talk.ids, branch.talk.environments, [])[:, 0].tolist()
    for talk, grade in zip(branch.talk.completions, grades, strict=True):
        made = [call for message in talk for call in message.get("tool_calls") or []]
        heard = [message["content"] for message in talk if message["role"] == "tool"]
        lengths = [len(call["function"]["arguments"]["x"]) for call in made][: len(heard)]
        assert heard == [str(sum(lengths[: i + 1])) for i in range(len(lengths))]
        turns = sum(message["role"] == "assistant" for message in talk)
        failed = (talk[-1].get("content") or "").startswith("h")
        assert math.isnan(grade) if failed else grade == sum(lengths) / 2 + 10 * turns + 100 * len(heard)
        seen.add((len(heard), failed))
    assert len(seen) > 3 and {failed for _, failed in seen} == {True, False}


class Prepared(vf.Toolset[vf.ToolsetConfig]):
    async def setup_task(self, task):
        pass


def prepared(cls, config):
    return [Prepared(vf.ToolsetConfig())]


async def prepare(self, trace, runtime):
    pass


async def reads_runtime(self, runtime):
    return 1.0


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("toolsets", classmethod(prepared), "has tools that prepare each task"),
        ("NEEDS_CONTAINER", True, "needs a container"),
        ("setup", prepare, "prepares a runtime"),
        ("exact", vf.reward(reads_runtime), "a reward that reads the runtime"),
    ],
)
def test_what_needs_the_harness_is_refused(monkeypatch, attribute, value, message):
    env = load("sums")
    monkeypatch.setattr(type(env.taskset).task_type(), attribute, value)
    with pytest.raises(ValueError, match=f"environment 'sums' .*{message}.*environment_factory"):
        verifiers_expert("sums", env, 2)


def test_other_refusals(guessing, monkeypatch):
    with pytest.raises(ValueError, match=r"has 2 agents \(assistant, user\), and an expert is one"):
        verifiers_expert("sums", load("sums", id="user_sim"), 2)
    with pytest.raises(ValueError, match="6 tasks to train on and 2 to evaluate on.*has 6"):
        verifiers_expert("sums", load("sums"), 6, 2)
    with pytest.raises(TypeError, match="must be an environment of `verifiers.v1`, got GuessTaskset"):
        verifiers_expert("game", guessing.taskset, 2)
    monkeypatch.setattr(type(guessing.taskset).task_type(), "toolsets", classmethod(prepared))
    with pytest.raises(ValueError, match="has tools beside turns of its own"):
        verifiers_expert("game", guessing, 2)
