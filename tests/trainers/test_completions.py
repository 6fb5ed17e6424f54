"""Rewards are given the same completions in the capability matrix as in training: TRL makes them for both."""

import pytest
from datasets import Dataset
from tiny import lora, rows, settings, tiny_model, tiny_tokenizer

from trl_copd import CoPDConfig, CoPDTrainer, Expert


TEMPLATE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "=",
    "fields": {
        "reasoning_content": {"open": "a", "close_pattern": r":\s*", "content": "text"},
        "content": {"close_pattern": r"<eos>\s*", "content": "text"},
    },
}
SAMPLED = {
    "reasoning, then content": ["a", "b", ":", "c", "<eos>"],
    "content alone": ["c", "<eos>"],
    "reasoning that is cut off": ["a", "b", "c"],
    "nothing": ["<eos>"],
}


def build(tmp_path, prompts, template):
    """A trainer whose engine samples one text for all rows, and what its reward is given."""
    tokenizer, given = tiny_tokenizer(), []
    tokenizer.response_template = template

    def reward(completions, prompts, completion_ids, **kwargs):
        given.append((completions[0], prompts[0], completion_ids[0]))
        return [float(_content(completion).strip() == "c") for completion in completions]

    expert = Expert("math", prompts, reward, eval_dataset=prompts.take(1))
    args = CoPDConfig(**settings(tmp_path, max_steps=1, topology="mutual", opd_steps=0, matrix_at_end=False))
    trainer = CoPDTrainer(tiny_model(), [expert], args, processing_class=tokenizer, peft_config=lora())
    return trainer, given


def _content(completion):
    return completion if isinstance(completion, str) else completion[-1]["content"]


def sample(trainer, tokens):
    ids = trainer.processing_class.convert_tokens_to_ids(tokens)
    trainer.engine.generate = lambda prompt_ids, names, greedy=False: ([list(ids) for _ in prompt_ids], None)


MESSAGES = Dataset.from_list([{"prompt": [{"role": "user", "content": "1+1"}]}] * 8)


@pytest.mark.parametrize("sampled", SAMPLED)
@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["no template", "template"])
@pytest.mark.parametrize("prompts", [MESSAGES, rows().select_columns("prompt")], ids=["messages", "text"])
def test_the_matrix_grades_what_training_grades(tmp_path, prompts, template, sampled):
    trainer, given = build(tmp_path, prompts, template)
    sample(trainer, SAMPLED[sampled])
    trainer.train()
    rewarded = next(log["math/reward"] for log in trainer.state.log_history if "math/reward" in log)
    matrix = trainer.capability_matrix()
    (training, _, training_ids), (measured, _, measured_ids) = given[0], given[-1]
    assert measured == training and measured_ids == training_ids
    assert matrix["math"] == matrix["base"] == matrix["student"] == {"math": rewarded}


def test_reasoning_is_no_part_of_the_answer(tmp_path):
    trainer, given = build(tmp_path, MESSAGES, TEMPLATE)
    sample(trainer, SAMPLED["reasoning, then content"])
    assert trainer.capability_matrix()["math"] == {"math": 1.0}
    message = given[-1][0][0]
    assert message["reasoning_content"].strip() == "b" and message["content"].strip() == "c"


def test_measuring_leaves_no_metric_behind(tmp_path):
    trainer, _ = build(tmp_path, MESSAGES, TEMPLATE)
    tokens = trainer.state.num_input_tokens_seen
    trainer.capability_matrix(num_generations=2)
    branch = trainer.branches["math"]
    assert not any(trainer._metrics[mode] or branch._metrics[mode] for mode in ("train", "eval"))
    assert trainer.state.num_input_tokens_seen == tokens and not branch._logs["prompt"]


def test_an_engine_may_give_no_token_at_all(tmp_path):
    trainer, given = build(tmp_path, MESSAGES, None)
    trainer.engine.generate = lambda prompt_ids, names, greedy=False: ([[] for _ in prompt_ids], None)
    assert trainer.capability_matrix()["math"] == {"math": 0.0}
    assert given[-1][0] == [{"role": "assistant", "content": ""}]
