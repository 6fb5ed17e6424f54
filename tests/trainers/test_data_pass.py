"""Bad rows are found before training, or when a stream yields them, and named with their expert."""

import pytest
from datasets import Dataset, IterableDataset
from tiny import build_trainer, length_reward, letter_reward, lora, rows, settings, tiny_model, tiny_tokenizer
from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

from trl_copd import CoPDConfig, CoPDTrainer, Expert


NO_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{{ m['content'] }}{% endfor %}"
)


def talk(*changed):
    """30 rows of messages, where row i of `changed` is `changed[i][1]`."""
    made = [[{"role": "user", "content": f"{i}+1"}] for i in range(30)]
    for index, prompt in changed:
        made[index] = prompt
    return [{"prompt": prompt, "solution": "a"} for prompt in made]


def texts(*changed):
    made = [f"{i}+1=" for i in range(30)]
    for index, prompt in changed:
        made[index] = prompt
    return [{"prompt": prompt, "solution": "a"} for prompt in made]


def build(tmp_path, data, tokenizer=None, model=None, held_out=None, stream=False, **overrides):
    made = Dataset.from_list(data)
    if stream:
        made = IterableDataset.from_generator(lambda: iter(data))
    good = Expert("code", rows(1, 20), letter_reward)
    bad = Expert("math", made, length_reward, eval_dataset=held_out and Dataset.from_list(held_out))
    overrides = {"topology": "mutual", "rlvr_steps": 9, "opd_steps": 9, **overrides}
    return CoPDTrainer(
        model or tiny_model(), [good, bad], CoPDConfig(**settings(tmp_path, **overrides)),
        processing_class=tokenizer or tiny_tokenizer(), peft_config=lora(),
    )  # fmt: skip


def strict():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = NO_SYSTEM
    return tokenizer


def foreign():
    """Has tokens that the model's embedding has not."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["!"])
    return tokenizer


def gpt2():
    config = GPT2Config(vocab_size=30, n_embd=16, n_layer=1, n_head=2, n_positions=16, bos_token_id=1, eos_token_id=2)
    return GPT2LMHeadModel(config)


SYSTEM = [{"role": "system", "content": "1"}, {"role": "user", "content": "2"}]
CASES = {
    "a template that refuses a role": (talk((17, SYSTEM)), {"tokenizer": strict}, 17, "System role not supported"),
    "no content": (talk((21, [{"role": "user", "content": None}])), {}, 21, r"message 0 \(role 'user'\) has no c"),
    "no content, later": (talk((3, [*SYSTEM, {"role": "user", "content": None}])), {}, 3, "message 2"),
    "no message": (talk((29, [])), {}, 29, "an empty list of messages"),
    "messages that say nothing": (talk((4, [{"role": "user", "content": ""}])), {}, 4, "no message has a content"),
    "an empty text": (texts((5, "")), {}, 5, "it is empty"),
    "longer than the model": (texts((11, "1" * 64)), {}, 11, "64 tokens, but at most 63 are .* 64 positions"),
    "too long for a completion": (texts((2, "1" * 11)), {"model": gpt2}, 2, "11 tokens, but at most 10 are possible"),
    "an unknown token": (texts((7, "1!")), {"tokenizer": foreign}, 7, "token 30 is not in the model's embedding, "),
    "held out": (texts(), {"held_out": lambda: texts((9, ""))}, 9, "it is empty"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_bad_row_is_named_before_training(tmp_path, case):
    data, options, row, message = CASES[case]
    options = {name: make() for name, make in options.items()}
    argument = "eval_dataset" if "held_out" in options else "train_dataset"
    with pytest.raises(ValueError, match=f"{argument} of expert 'math', row {row}: .*{message}"):
        build(tmp_path, data, **options)


def test_prompts_with_unknown_text_are_counted(tmp_path, caplog):
    build(tmp_path, texts((3, "Ü+1="), (4, "Ü")))
    assert "train_dataset of expert 'math': 2 of 30 prompts hold text that is not in the tokenizer's" in caplog.text
    assert "'code'" not in caplog.text


def test_all_bad_rows_are_counted(tmp_path):
    bad = [(index, "") for index in (4, 5, 6, 9, 20, 21, 29)]
    with pytest.raises(ValueError, match=r"row 4: it is empty.* 6 more rows .* either: 5, 6, 9, 20, 21, \.\.\."):
        build(tmp_path, texts(*bad))


def test_the_longest_prompts_that_fit(tmp_path):
    build(tmp_path, texts((11, "1" * 63)))
    trainer = build(tmp_path, texts((2, "1" * 10)), model=gpt2(), max_steps=1)
    trainer.train()
    assert trainer.state.global_step == 1


STREAMED = {
    "no content": (talk((2, [{"role": "user", "content": None}])), "has no content"),
    "an empty text": (texts((5, "")), "it is empty"),
    "no prompt": (texts((6, None)), r"it has no prompt \(None\)"),
}


@pytest.mark.parametrize("case", STREAMED)
def test_a_stream_names_the_row_when_it_comes(tmp_path, case):
    data, message = STREAMED[case]
    trainer = build(tmp_path, data, stream=True, shuffle_dataset=False, max_steps=9, overlap_every=0)
    row = next(i for i, one in enumerate(data) if type(one["prompt"]) is not type(data[0]["prompt"])
               or not one["prompt"] or "None" in str(one["prompt"]))  # fmt: skip
    with pytest.raises(ValueError, match=f"of expert 'math', row {row}: .*{message}"):
        trainer.train()
    assert 0 < trainer.state.global_step < 9


def test_the_flag_leaves_it_to_the_round(tmp_path):
    data = texts(*((index, "") for index in range(1, 30)))
    with pytest.raises(ValueError, match=r"measuring overlap of expert 'math', row 0: it is empty"):
        build(tmp_path, data, check_data=False)
    trainer = build(tmp_path, data, check_data=False, overlap_every=0)
    with pytest.raises(ValueError, match=r"train_dataset of expert 'math', row \d+: it is empty"):
        trainer.train()
    with pytest.raises(TypeError, match="check_data"):
        CoPDConfig(**settings(tmp_path, check_data="no"))


def test_what_is_rendered_once_is_not_checked_again(tmp_path):
    trainer = build(tmp_path, texts())
    assert all(b.prompts.native.check is None for b in trainer.branches.values())
    assert all(s.check is None for b in trainer.branches.values() for s in b.prompts.cross.values())


@pytest.mark.parametrize("disable_tqdm", [True, False])
def test_a_progress_bar_shows_the_pass(tmp_path, capfd, disable_tqdm):
    build_trainer(tmp_path, disable_tqdm=disable_tqdm)
    assert ("Checking prompts" in capfd.readouterr().err) != disable_tqdm


@pytest.mark.parametrize("name", ["prompts", "completions", "trainer_state", "log_metric"])
def test_a_column_that_trl_needs_itself(name):
    with pytest.raises(ValueError, match=f"expert 'math'.*a column '{name}'|Expert 'math'.*a column '{name}'"):
        Expert("math", rows().add_column(name, ["x"] * 12), letter_reward)
    Expert("math", rows().add_column("completion", ["x"] * 12), letter_reward)  # TRL leaves it out


def test_a_tokenizer_without_an_end_token(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="has no end token"):
        build(tmp_path, texts(), tokenizer=tokenizer)


def test_an_encoder_decoder(tmp_path):
    model = T5ForConditionalGeneration(T5Config(vocab_size=30, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2))
    with pytest.raises(ValueError, match="T5ForConditionalGeneration is an encoder-decoder"):
        build(tmp_path, texts(), model=model)


def test_trained_tokens_of_tied_embeddings(tmp_path):
    with pytest.raises(ValueError, match="tied embeddings"):
        build_trainer(tmp_path, model=tiny_model(tie_word_embeddings=True),
                      peft_config=lora(trainable_token_indices=[1, 2]))  # fmt: skip


def test_a_path_with_a_typo_is_said_in_python_too(tmp_path):
    for error in (ValueError, OSError):  # as any bad value, and as transformers raises
        with pytest.raises(error, match="model='./modles/mine' is neither a folder .* nor a Hub id"):
            CoPDTrainer("./modles/mine", [Expert("math", rows(), letter_reward)],
                        CoPDConfig(**settings(tmp_path, topology="mutual", opd_steps=0)),
                        peft_config=lora())  # fmt: skip


def test_rows_that_a_transform_makes(tmp_path):
    """Prompt and solution are in no column of the table; row 3 has no prompt."""
    made = {"prompt": lambda n: f"{n}+1=" if n != 3 else None, "solution": lambda n: "ab"[n % 2]}
    data = Dataset.from_dict({"n": range(30)}).with_transform(
        lambda batch: {name: [make(n) for n in batch["n"]] for name, make in made.items()}
    )
    with pytest.raises(ValueError, match="train_dataset of expert 'math', row 3: it has no prompt"):
        build_trainer(tmp_path, [Expert("math", data, letter_reward)])
    made["prompt"] = lambda n: f"{n}+1="
    trainer = build_trainer(tmp_path, [Expert("math", data, letter_reward)])
    row = trainer.branches["math"].prompts.native.take(1)[0]
    assert row["prompt"].endswith("+1=") and row["solution"] in "ab"
