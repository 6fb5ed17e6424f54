"""Domains of texts beside domains of messages: what TRL decides by the first row of a batch is decided row by row."""

import json

import pandas as pd
import pytest
import torch
from tiny import build_trainer, letter_reward, lora, replay_copd, rows, tiny_tokenizer

from trl_copd import Expert
from trl_copd.recipes.build import pool


def messages(offset=0, count=20):
    """The rows of `tiny.rows` as messages; the template adds the `=`."""
    return rows(offset, count).map(lambda row: {"prompt": [{"role": "user", "content": row["prompt"].rstrip("=")}]})


def reward_of_messages(completions, solution, **kwargs):
    return letter_reward([completion[0]["content"] for completion in completions], solution)


def experts(*kinds):
    made = {
        "text": lambda name, i: Expert(name, rows(i, 20), letter_reward, eval_dataset=rows(i + 40, 4)),
        "messages": lambda name, i: Expert(name, messages(i), reward_of_messages, eval_dataset=messages(i + 40, 4)),
    }
    return [made[kind](name, i) for i, (name, kind) in enumerate(zip(("math", "code", "logic"), kinds, strict=False))]


RUNS = [
    (("text", "messages"), {"topology": "student"}),
    (("messages", "text"), {"topology": "mutual"}),
    (("text", "messages", "text"), {"topology": "hub", "hub": "code"}),
    (("messages", "text"), {"topology": "mopd"}),
]
CYCLE = {"rlvr_steps": 1, "opd_steps": 1, "max_steps": 2, "overlap_every": 1}


@pytest.mark.parametrize("kinds, options", RUNS, ids=[options["topology"] for _, options in RUNS])
def test_texts_and_messages_learn_from_each_other(tmp_path, kinds, options):
    trainer = build_trainer(tmp_path, experts(*kinds), log_completions=True, num_completions_to_print=1,
                            **CYCLE | options)  # fmt: skip
    trainer.train()
    assert set(trainer.last_matrix["student"]) == {"math", "code", "logic"} & set(trainer.experts)
    # Parquet's columns have one type: messages are JSON beside texts
    table = pd.concat(map(pd.read_parquet, (tmp_path / "completions").glob("*.parquet")))
    cross = table[table["edge"] != ""]
    assert len(cross)
    kind_of = dict(zip(trainer.experts, kinds, strict=False))
    domains = {edge.label: edge.domain for edge in trainer.topology.edges}
    for _, row in table.iterrows():
        domain = domains[row["edge"]] if row["edge"] else row["branch"]
        if isinstance(row["prompt"], str) and not row["prompt"].startswith("["):
            assert kind_of[domain] == "text" and not str(row["completion"]).startswith("[")
        else:
            completion = row["completion"]
            completion = json.loads(completion) if isinstance(completion, str) else completion
            assert kind_of[domain] == "messages" and completion[0]["role"] == "assistant"


def test_the_kind_of_a_prompt_changes_no_weight(tmp_path):
    """`1+2=` as a text has the tokens of the message `1+2`: given like rollouts, the adapters are the same."""
    trained = {}
    for kinds in (("text", "text"), ("text", "messages"), ("messages", "text")):
        trainer = build_trainer(tmp_path / "-".join(kinds), experts(*kinds), peft_config=lora(), topology="mutual",
                                matrix_at_end=False, **CYCLE)  # fmt: skip
        replay_copd(trainer)
        trainer.train()
        trained[kinds] = torch.cat([p.detach().flatten() for b in trainer.branches.values() for p in b.parameters])
    first, *others = trained.values()
    assert all(torch.equal(first, other) for other in others)


def test_one_policy_on_all_data_needs_prompts_of_one_kind():
    with pytest.raises(ValueError, match="Set the same `chat` in every domain"):
        pool(experts("text", "messages"), seed=0)


def test_each_run_of_prompts_is_tokenized_as_what_it_is(tmp_path):
    trainer = build_trainer(tmp_path, experts("text", "messages"), **CYCLE)
    prompts = ["1+2=", [{"role": "user", "content": "1+2"}], [{"role": "user", "content": "3"}], "4"]
    tokenizer = tiny_tokenizer()
    expected = [tokenizer(text)["input_ids"] for text in ("1+2=", "1+2=", "3=", "4")]
    assert trainer.round.tokenize(prompts)[0] == expected
    assert trainer.round.tokenize(list(reversed(prompts)))[0] == list(reversed(expected))
