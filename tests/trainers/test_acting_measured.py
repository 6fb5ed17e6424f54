"""Conversations that nobody learns from: matrix and overlap; and resuming a run of experts that act."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import trl
from byte_model import byte_tokenizer
from tiny import distance, history, lora, settings, weights
from tiny import rows as plain_rows
from tiny_acting import (
    Counter,
    a,
    acting_model,
    acting_tokenizer,
    b,
    copd,
    replay_copd,
    rows,
    state_reward,
    talk_reward,
)
from transformers import TrainerCallback

from trl_copd import CoPDConfig, CoPDTrainer, Expert
from trl_copd.trainers.actor import Actor


class Slow(Counter):
    """Says how many instances there are."""

    made = 0

    def __init__(self):
        super().__init__()
        type(self).made += 1


def experts(environment=Counter, **held_out):
    return [
        Expert("tools", rows(0), talk_reward, tools=[a, b], **held_out),
        Expert("game", rows(3), state_reward, environment_factory=environment, **held_out),
        Expert("plain", plain_rows(), talk_free),
    ]


def talk_free(completions, **kwargs):
    return [len(text) % 5 / 5 for text in completions]


def test_the_matrix_has_whole_conversations_and_grades_what_environments_have_become(tmp_path):
    seen = []

    def reward(completions, environments, solution, **kwargs):
        for talk, environment, letter in zip(completions, environments, solution, strict=True):
            assert environment.row["solution"] == letter
            calls = [m for m in talk if m["role"] == "tool" and m["name"] == "a"]
            assert environment.total == (int(calls[-1]["content"]) if calls else 0)
            seen.append(environment.total)
        return [float(environment.total > 3) for environment in environments]

    held_out = rows(20, 6)
    game = Expert("game", rows(3), reward, environment_factory=Slow, eval_dataset=held_out)
    trainer = copd(
        tmp_path, [game, Expert("plain", plain_rows(), talk_free)], topology="mutual", opd_steps=0, max_steps=1,
        per_device_eval_batch_size=4,
    )  # fmt: skip
    waves = replay_copd(trainer, ["a5.", "a77.", "12.", "e."])
    matrix = trainer.capability_matrix()
    names = ["base", "game", "plain", "student"]
    assert list(matrix) == names and len(seen) == 4 * 6 and len(set(seen)) > 2
    rows_of = [seen[start : start + 4] for start in range(0, 16, 4)], [seen[s : s + 2] for s in range(16, 24, 2)]
    for i, name in enumerate(names):
        expected = [float(total > 3) for total in rows_of[0][i] + rows_of[1][i]]
        assert matrix[name]["game"] == pytest.approx(sum(expected) / 6)
    assert waves[0] == names[:3] and max(map(len, waves)) == 3  # the merged student has another rank
    made = Slow.made
    trainer.capability_matrix()
    assert Slow.made == made  # made once, reset often
    assert made == 4 * 4 + 1 - 1  # the one that was looked at is the first


def test_overlap_is_taken_over_what_the_learner_said(tmp_path):
    trainer = copd(tmp_path, experts(), topology="student", rlvr_steps=1, opd_steps=1, max_steps=1, probe_prompts=2)
    replay_copd(trainer, ["a5.", "ga7."])
    overlap, compared = trainer.overlap, []
    states = overlap._compare_states
    overlap._compare_states = lambda learner, teacher: compared.append(len(learner)) or states(learner, teacher)
    rollouts = overlap._sample(overlap.edges)
    edge = next(edge for edge in overlap.edges if edge.domain == "tools" and edge.learner == "student")
    talks = rollouts["student", "tools"]
    said = sum(sum(completion.mask) for _, completion in talks)
    heard = sum(len(completion) for _, completion in talks) - said
    with torch.no_grad():
        totals = overlap.compare(edge, talks)
    assert heard > 0 and compared == [said] and totals[2] == said


class Stop(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = control.should_training_stop or state.global_step == self.step


def test_resumed_to_the_bit_with_environments_that_are_made_anew(tmp_path):
    """Inside a generation that is reused, and into an OPD round; sampled, with overlap measured."""
    settings = {
        "topology": "student", "rlvr_steps": 2, "opd_steps": 2, "max_steps": 4, "overlap_every": 2,
        "num_iterations": 2,
        "save_strategy": "steps", "save_steps": 1, "opd_fraction": 0.5, "probe_prompts": 1,
        "max_completion_length": 40,
    }  # fmt: skip
    whole = copd(tmp_path / "whole", experts(), **settings)
    whole.train()
    for step in (1, 2):
        cut = copd(tmp_path / f"cut{step}", experts(), **settings)
        cut.add_callback(Stop(step))
        cut.train()
        resumed = copd(tmp_path / f"cut{step}", experts(), **settings)
        resumed.train(resume_from_checkpoint=True)
        for name in whole.branches:
            assert distance(weights(whole, name), weights(resumed, name)) == 0.0
        assert history(resumed) == history(whole)
    other = [Expert("tools", rows(0), talk_reward, tools=[a]), *experts()[1:]]
    with pytest.raises(ValueError, match="expert tools: tools: .*'b'.* in the checkpoint"):
        copd(tmp_path / "cut1", other, **settings).train(resume_from_checkpoint=True)


def test_an_environment_that_gives_the_prompts(tmp_path):
    """Without rows, and with rows that have no prompt: `reset` is given the rows' columns, and gives the prompt."""
    asked = []

    class Asks(Counter):
        def reset(self, **row):
            asked.append(row)
            self.total, self.row = 0, row
            return "5+5"

        def get_reward(self):
            return self.total / 4

    trainer = copd(
        tmp_path, [Expert("alone", environment_factory=Asks),
                   Expert("rows", rows().remove_columns("prompt"), environment_factory=Asks)],
        topology="mutual", opd_steps=0, max_steps=1,
    )  # fmt: skip
    replay_copd(trainer)
    trainer.train()
    assert [set(row) for row in asked] == [{"prompt"}] * 8 + [{"solution"}] * 8
    for name in ("alone", "rows"):
        talk = trainer.branches[name].talk
        assert {prompt[-1]["content"] for prompt in talk.prompts} == {"5+5"}
        assert trainer.processing_class.decode(talk.prompt_ids[0]).endswith("5+5=")


def test_a_rollout_function_has_its_branch_s_adapter_and_the_engine(tmp_path):
    active = []

    def roll_out(prompts, trainer):
        active.append(trainer.peft_model.active_adapters)
        ids = trainer.processing_class.apply_chat_template(
            prompts, add_generation_prompt=True, tokenize=True, return_dict=True
        )["input_ids"]
        sampled, logps = trainer.sample(ids)
        active.append(trainer.peft_model.active_adapters)
        return {"prompt_ids": ids, "completion_ids": sampled, "logprobs": logps}

    trainer = copd(
        tmp_path, [Expert("one", rows(), talk_reward, rollout_func=roll_out), Expert("two", rows(3), talk_reward)],
        topology="student", rlvr_steps=1, opd_steps=1, max_steps=2, opd_fraction=0.5, overlap_every=0,
    )  # fmt: skip
    waves = replay_copd(trainer)
    trainer.train()
    assert waves == [["one", "two"], ["one", "two", "student"]]  # no wave of its own
    assert sorted(set(map(tuple, active))) == [("one",), ("student",), ("two",)]


@pytest.mark.parametrize(
    ("template", "end"),
    [("qwen3", "<|im_end|>"), ("qwen2_5", "<|im_end|>"), ("llama3", "<|eot_id|>"), ("gemma3", "<end_of_turn>")],
)
def test_what_a_rollout_function_puts_between_two_replies(template, end):
    """The templates' own text of the conversation, whether the reply has ended by itself or was cut."""
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": [end]})
    tokenizer.eos_token, folder = end, Path(trl.__file__).parent / "chat_templates"
    tokenizer.chat_template = (folder / f"{template}.jinja").read_text()
    actor = SimpleNamespace(
        processing_class=tokenizer, _tokenizer=tokenizer, _is_vlm=False, chat_template=None, chat_template_kwargs={}
    )
    talk = [("user", "Hi"), ("assistant", "Seven."), ("user", "Wrong.")]
    messages = [{"role": role, "content": content} for role, content in talk]
    asked, whole = (
        tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=False)
        for said in (messages[:1], messages)
    )
    for reply in ("Seven.", f"Seven.{end}"):
        ids = tokenizer(reply, add_special_tokens=False)["input_ids"]
        assert asked + reply + tokenizer.decode(Actor.turn_ids(actor, ids, messages[2:])) == whole


def test_arguments_of_the_template_are_an_expert_s(tmp_path):
    """Those of the domain, also in cross rows."""
    experts = [
        Expert("one", rows(), talk_reward, chat_template_kwargs={"ending": "h"}),
        Expert("two", rows(), talk_reward),
    ]
    model = acting_model()
    args = CoPDConfig(**settings(tmp_path, topology="mutual", rlvr_steps=1, opd_steps=1, max_steps=2, opd_fraction=0.5,
                                 overlap_every=0))  # fmt: skip
    tokenizer = acting_tokenizer()
    tokenizer.chat_template += "{{ ending }}"
    trainer = CoPDTrainer(model, experts, args, processing_class=tokenizer, peft_config=lora())
    replay_copd(trainer)
    trainer.train()
    for name, other in (("one", "two"), ("two", "one")):
        branch = trainer.branches[name]
        for policy, domain in ((branch, name), (branch.taught, other)):
            ids = policy.rollouts[0][0]
            assert {tokenizer.decode(row)[-1] for row in ids} == {"h" if domain == "one" else "="}


def test_the_reward_of_some_environments_as_trl_has_it(tmp_path):
    """One function for a class of environments under several names; `None` for those of another class."""

    class Scored(Counter):
        def get_reward(self):
            return 0.5

    trainer = copd(
        tmp_path,
        [Expert("one", rows().map(lambda row, index: {"environment": ["x", "y", "plain"][index % 3]},
                                  with_indices=True), talk_reward,
                environment_factory={"x": Scored, "y": Scored, "plain": Counter})],
        topology="mutual", opd_steps=0, max_steps=1,
    )  # fmt: skip
    branch = trainer.branches["one"]
    assert branch.reward_func_names == ["talk_reward", "Scored"] and branch.reward_weights.tolist() == [1.0, 1.0]
    assert branch.reward_funcs[1](environments=[Scored(), Counter()]) == [0.5, None]
