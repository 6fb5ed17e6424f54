"""Rows of one prompt with images share it, against TRL's own forward: log-probabilities, gradients, whole runs."""

from contextlib import nullcontext

import pytest
import torch
from accelerate import PartialState
from peft import get_peft_model
from test_image_features import seeing
from test_shared_prompts import assert_close, outcome
from tiny import distance, lora, replay_copd, weights
from tiny_vision import build_seeing, picture, two_experts
from tiny_vision_families import FAMILIES
from trl.trainer.utils import add_fused_lm_head

from trl_copd import adapters
from trl_copd.divergence import last_hidden_states
from trl_copd.engines.grouped import shared_prefill
from trl_copd.shared_images import shared_out
from trl_copd.shared_prompts import SharedPrompts


@pytest.fixture(autouse=True)
def logging_works():
    PartialState(cpu=True)


def adapted(family):
    model, processor = seeing(family, init_lora_weights=False)
    base = model.unload()
    add_fused_lm_head(base, outputs=("log_probs", "entropy"))
    torch.manual_seed(0)
    config = lora(init_lora_weights=False, exclude_modules=".*(visual|vision|projector).*")
    model = get_peft_model(base, config, adapter_name="math")
    model.add_adapter("code", config)
    return model.train(), processor


def batch_of(processor, rows: list[tuple[str, list[int]]], completion: int = 5) -> dict:
    """Rows of a text and the numbers of its pictures, no two sizes alike, with completions of 1 to 5 tokens."""
    texts, images = [], []
    for text, pictures in rows:
        parts = [{"type": "image"}] * len(pictures) + [{"type": "text", "text": text}]
        texts.append(processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True))
        images.append([picture(number, 16, 16 + 8 * (number % 2)) for number in pictures])
    given = dict(processor(
        text=texts, images=images if any(images) else None, return_tensors="pt", padding=True,
        return_mm_token_type_ids=True,
    ))  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(4, 20, (len(rows), completion), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(len(rows)):
        mask[row, 1 + row % completion :] = 0
    length = given["input_ids"].size(1)
    for name, value in {"input_ids": ids, "attention_mask": mask}.items():
        given[name] = torch.cat([given[name], value], dim=1)
    for name in ("token_type_ids", "mm_token_type_ids"):
        if name in given:
            given[name] = torch.cat([torch.as_tensor(given[name]), torch.zeros_like(ids)], dim=1)
    labels = given["input_ids"].masked_fill(given["attention_mask"] == 0, -100)
    labels[:, :length] = -100
    return given | {"labels": labels, "fused_lm_head": True}


ROWS = {
    "one prompt": [("a+b", [1]), ("a+b", [2]), ("a+b", [1]), ("c", [3]), ("a+b", [2]), ("c", [3])],
    "texts among them": [("a+b", []), ("a+b", [2]), ("abcde", []), ("a+b", [2]), ("abcde", []), ("a+b", [])],
    "several images": [("a", [1, 2]), ("a", [2, 1]), ("a", [1, 2]), ("b", [1]), ("b", [1]), ("a", [2, 1])],
    "texts alone": [("a+b", []), ("a+b", []), ("abcde", []), ("abcde", []), ("c", []), ("abcde", [])],
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rows", ROWS)
def test_log_probabilities_and_gradients_are_those_of_the_plain_forward(family, rows, caplog):
    model, processor = adapted(family)
    inputs = batch_of(processor, ROWS[rows])
    plain = outcome(model, inputs)
    shared, seen = SharedPrompts(model), []
    assert_close(outcome(model, inputs, shared), plain)
    assert shared.trusted == {rows != "texts alone": True} and not caplog.records
    layer = model.get_base_model().base_model.language_model.layers[0]
    layer.register_forward_pre_hook(lambda module, args, kwargs: seen.append(len(args[0])), with_kwargs=True)
    assert_close(outcome(model, inputs, shared), plain)
    assert seen == [3, 6], "prompts that differ only in their images are one, or like ones are not"


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_different_adapters_are_never_alike(family):
    model, processor = adapted(family)
    inputs = batch_of(processor, [("a+b", [1])] * 3 + [("a+b", [2])] + [("a+b", [1])] * 2)
    names, counts = ("math", "code"), [3, 3]
    apart = SharedPrompts(model)
    apart.trusted[True] = False
    plain, shared = outcome(model, inputs, apart, names, counts), SharedPrompts(model)
    assert_close(outcome(model, inputs, shared, names, counts), plain)
    assert shared.trusted[True]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rows", ["one prompt", "texts alone"])
def test_states_are_those_of_the_completions_alone(family, rows):
    # the decoder, where states are collected, lies below the module that prompts are run through
    model, processor = adapted(family)
    inputs, shared = batch_of(processor, ROWS[rows]), SharedPrompts(model)
    with last_hidden_states(model.get_base_model()) as plain:
        model(**inputs)
    for _ in range(2):  # the first is compared with the plain forward
        with shared.active(), last_hidden_states(model.get_base_model()) as states:
            model(**inputs)
        assert len(states) == 1 and states[0].shape == (6, 6, 32) and any(shared.trusted.values())
        torch.testing.assert_close(states[0], plain[0][:, -6:], atol=1e-5, rtol=1e-5)


def test_whose_images_are():
    # two tokens for each size: rows of 8, 0, 12 and 4 tokens
    assert shared_out([4, 2, 4, 2], [8, 0, 12, 4]) == [range(0, 1), range(1, 1), range(1, 3), range(3, 4)]
    assert shared_out([4, 2], [8, 0, 2]) is None, "an image is cut in two"
    assert shared_out([4, 2], [2, 10]) is None
    assert shared_out([1, 1], [4, 4]) == [range(0, 1), range(1, 2)]
    assert shared_out([4], [0, 0]) is None


def test_a_run_moves_as_it_does_without(tmp_path, caplog):
    settings = {
        "max_steps": 2, "rlvr_steps": 1, "opd_steps": 1, "overlap_every": 0, "optim": "sgd", "learning_rate": 0.1,
        "per_device_train_batch_size": 8, "topology": "mutual", "opd_loss": "forward_kl",
    }  # fmt: skip
    moved, logged = [], []
    for share in (False, True):
        trainer = build_seeing(
            tmp_path / str(share), two_experts(), lora(init_lora_weights=False), share_prompts=share, **settings
        )
        replay_copd(trainer)
        before = {name: weights(trainer, name) for name in trainer.branches}
        trainer.train()
        moved.append(
            {name: {k: v - before[name][k] for k, v in weights(trainer, name).items()} for name in trainer.branches}
        )
        logs = trainer.state.log_history
        logged.append({key: log[key] for log in logs for key in log if key.endswith(("opd/kl", "opd/divergence"))})
    assert len(logged[0]) == 4 and logged[1] == pytest.approx(logged[0], rel=1e-4)
    assert trainer.forwards.shared_prompts.trusted[True] and "do not share" not in caplog.text
    for name in ("eye", "text"):
        size = max(value.norm().item() for value in moved[0][name].values())
        assert size > 0 and distance(moved[0][name], moved[1][name]) <= 1e-4 * size, name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rows", ROWS)
def test_a_prefill_is_shared_and_tokens_stay(family, rows):
    model, processor = adapted(family)
    # rows of a prompt are consecutive, three of each adapter
    order = sorted(range(6), key=lambda row: ROWS[rows][row])
    given = batch_of(processor, [ROWS[rows][row] for row in order])
    length = given["input_ids"].size(1) - 5
    for name in ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"):
        if name in given:
            given[name] = given[name][:, :length]
    inputs = {name: value for name, value in given.items() if name not in ("labels", "fused_lm_head")}
    names, counts, seen, sampled = ("math", "code"), [3, 3], [], []
    layer = model.get_base_model().base_model.language_model.layers[0]
    layer.register_forward_pre_hook(lambda module, args, kwargs: seen.append(len(args[0])), with_kwargs=True)
    for share in (False, True):
        with torch.no_grad(), adapters.grouped(model.eval(), names, counts) as groups:
            with shared_prefill(model, groups) if share else nullcontext():
                made = model.generate(**inputs, max_new_tokens=6, do_sample=False, output_logits=True,
                                      return_dict_in_generate=True, eos_token_id=None)  # fmt: skip
        sampled.append((made.sequences, torch.stack(made.logits)))
    assert sampled[0][0].equal(sampled[1][0])
    torch.testing.assert_close(*(logits for _, logits in sampled), atol=1e-5, rtol=1e-4)
    texts = [ROWS[rows][row] for row in order]
    unlike = len(set(map(str, texts[:3]))) + len(set(map(str, texts[3:])))
    assert seen == [6] * 6 + [unlike] + [6] * 5 and unlike < 6
