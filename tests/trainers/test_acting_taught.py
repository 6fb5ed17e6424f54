"""Rows of experts that act, in other branches: taught, measured, logged, resumed."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny import letter_reward, weights
from tiny import rows as plain_rows
from tiny_acting import Counter, a, b, copd, replay_copd, rows, state_reward, talk_reward

from trl_copd import Expert
from trl_copd.trainers.teaching import Teaching


def three(**held_out):
    """One with tools, one with an environment, one that answers texts at once."""
    return [
        Expert("tools", rows(0), talk_reward, tools=[a, b], **held_out),
        Expert("game", rows(3), [state_reward, talk_reward], environment_factory=Counter, **held_out),
        Expert("plain", plain_rows(), letter_reward),
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two rounds of `student`, each with cross rows; what the teachers were given, and what became of it."""
    folder, seen = tmp_path_factory.mktemp("taught"), []
    trainer = copd(
        folder, three(eval_dataset=None), topology="student", rlvr_steps=1, opd_steps=2, max_steps=3, opd_fraction=0.5,
        overlap_every=0, log_completions=True, logging_steps=1, opd_beta=0.7, per_device_train_batch_size=12,
        learning_rate=1e-3,
    )  # fmt: skip
    replay_copd(trainer)
    teach = Teaching.teach

    def watched(self, learner, faults, batch, edges):
        before = {key: value.clone() for key, value in batch.items() if torch.is_tensor(value)}
        adapters = {name: weights(trainer, name) for name in trainer.branches}
        teach(self, learner, faults, batch, edges)
        seen.append((learner, edges, before, batch["advantages"].clone(), adapters))

    Teaching.teach = watched
    try:
        trainer.train()
    finally:
        Teaching.teach = teach
    return trainer, seen


def logps(trainer, adapter, values, batch):
    """By transformers alone: log-probabilities of the completion's tokens under an adapter's weights at the time."""
    model = trainer.peft_model
    kept = weights(trainer, adapter)
    load(model, adapter, values)
    model.set_adapter(adapter)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    load(model, adapter, kept)
    length = batch["completion_ids"].size(1)
    return logits.log_softmax(-1).gather(2, ids[:, 1:, None])[:, -length:, 0]


def load(model, adapter, values):
    for name, parameter in model.named_parameters():
        if f".{adapter}." in name:
            parameter.data.copy_(values[name.replace(f".{adapter}.", ".")])


def test_teachers_score_what_the_learner_said_and_nothing_else(run):
    trainer, seen = run
    domains, masked = set(), 0
    for learner, edges, batch, advantages, adapters in seen:
        for i, edge in enumerate(edges):
            row = {key: value[i : i + 1] for key, value in batch.items() if value.dim() > 1}
            delta = logps(trainer, edge.teacher, adapters[edge.teacher], row)
            delta = delta - logps(trainer, learner, adapters[learner], row)
            said = row["completion_mask"] * row.get("tool_mask", torch.ones_like(row["completion_mask"]))
            assert torch.allclose(advantages[i], (0.7 * delta * said)[0], atol=1e-4)
            assert (advantages[i][said[0] == 0] == 0).all()
            heard = row["completion_mask"][0] - said[0]
            masked += int(heard.sum())
            text = trainer.processing_class.decode(row["completion_ids"][0][heard.bool()])
            assert (":" in text) if heard.any() else edge.domain == "plain" or "tool" not in text
            domains.add((edge.domain, bool(heard.any())))
    assert masked > 50 and {("tools", True), ("game", True), ("plain", False)} <= domains
    assert ("plain", True) not in domains


def test_native_rows_of_a_branch_that_is_taught_keep_their_tools_masked(run):
    trainer, _ = run
    for name in ("tools", "game"):
        buffered = trainer.branches[name]._buffered_inputs
        heard = torch.cat([batch["tool_mask"] == 0 for batch in buffered])
        advantages = torch.cat([batch["advantages"] for batch in buffered])
        assert heard.any() and (advantages[heard] == 0).all() and (advantages[~heard] != 0).any()


def test_cross_rows_are_graded_by_what_their_environments_have_become(run):
    trainer, _ = run
    student = trainer.branches["student"]
    talk, rewards = student.taught.talk, []
    for i, edge in enumerate(student.rows.edges):
        if edge.domain == "game":
            called = [m for m in talk.completions[i] if m["role"] == "tool" and m["name"] == "a"]
            assert talk.environments[i].row["solution"] == student.rows.cross[i]["solution"]
            assert talk.prompts[i][-1]["content"].endswith(f"{student.rows.cross[i]['solution']}:")
            assert talk.environments[i].total == (int(called[-1]["content"]) if called else 0)
            rewards.append(talk.environments[i].total / 4 + len(talk.completions[i]) / 8)
    assert len(set(rewards)) > 1
    assert student.cross_accuracy["game"] == pytest.approx(sum(rewards) / len(rewards))


def test_conversations_in_the_table(run):
    trainer, _ = run
    table = pd.read_parquet(sorted((Path(trainer.args.output_dir) / "completions").glob("*"))[-1])
    talks = [json.loads(talk) for talk in table[table["branch"] == "student"]["completion"] if talk.startswith("[")]
    assert any(message["role"] == "tool" for talk in talks for message in talk)
    logs = trainer.state.log_history
    assert any(log.get("game/tools/call_frequency", 0) > 0 for log in logs)
    assert not any("plain/tools/call_frequency" in log for log in logs)
