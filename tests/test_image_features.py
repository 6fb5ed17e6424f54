"""The vision tower runs once for each image: what the language model sees stays the same, and nothing else changes."""

import pytest
import torch
from accelerate import PartialState
from peft import get_peft_model
from tiny import lora
from tiny_vision import build_seeing, different_adapters, picture, seen_rows, two_experts
from tiny_vision_families import FAMILIES

from trl_copd import Expert
from trl_copd.image_features import ImageFeatures


def seeing(family: str, **overrides):
    PartialState()  # what is logged asks for it
    model, processor = FAMILIES[family]()
    if family == "gemma3":  # zeros in a fresh one
        torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=0.3)
    return get_peft_model(model, lora(**{"exclude_modules": ".*(visual|vision|projector).*"} | overrides)), processor


def inputs_of(processor, indices: list[int]) -> dict[str, torch.Tensor]:
    """A forward's inputs for rows with one picture each, named by its number."""
    message = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a+b"}]}]
    text = processor.apply_chat_template(message, add_generation_prompt=True)
    images = [[picture(index, 16, 16)] for index in indices]
    return dict(processor(text=[text] * len(indices), images=images, return_tensors="pt", padding=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_each_image_runs_once_and_the_logits_stay(family):
    model, processor = seeing(family)
    first, second = inputs_of(processor, [1, 1, 2, 1]), inputs_of(processor, [2, 3, 3])
    with torch.no_grad():
        plain = [model(**inputs).logits for inputs in (first, second)]
    features = ImageFeatures(model, 8)
    with torch.no_grad():
        shared = [model(**inputs).logits for inputs in (first, second)]
    assert features.trusted is True
    assert features.runs == 3  # pictures 1 and 2, then 3
    for one, other in zip(shared, plain, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    assert not torch.equal(shared[0][0], shared[0][2]), "pictures change nothing"


def test_gradients_are_those_of_the_plain_forward():
    model, processor = seeing("qwen2_5_vl", init_lora_weights=False)
    inputs = inputs_of(processor, [1, 1, 2])

    def gradients():
        model.zero_grad()
        model.train()
        model(**inputs).logits.square().mean().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    plain = gradients()
    ImageFeatures(model, 8)
    shared = gradients()
    assert plain.keys() == shared.keys() and plain
    for name, gradient in plain.items():
        torch.testing.assert_close(shared[name], gradient, atol=1e-6, rtol=1e-4)


def test_features_depend_on_no_other_image():
    """Otherwise a resumed run, which sees other images beside it, would not be the uninterrupted one to the bit."""
    seen = []
    for indices in ([1, 2, 3], [3]):
        model, processor = seeing("qwen2_5_vl")
        features = ImageFeatures(model, 8)
        model(**inputs_of(processor, indices))
        inner, inputs = features.owner, inputs_of(processor, [3])
        seen.append(inner.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"]).pooler_output[0])
    assert torch.equal(*seen)


def test_only_the_latest_are_kept():
    model, processor = seeing("qwen2_5_vl")
    features = ImageFeatures(model, 2)
    for indices in ([1], [2], [1], [3], [1], [2]):  # 3 drives 2 out, 1 was used since
        model(**inputs_of(processor, indices))
    assert features.runs == 4 and len(features._kept) == 2


def test_images_that_only_look_alike_are_told_apart(monkeypatch):
    model, processor = seeing("qwen2_5_vl")
    features = ImageFeatures(model, 8)
    monkeypatch.setattr(features, "_keys", lambda images: [("the same",)] * len(images))
    model(**inputs_of(processor, [1, 2, 1]))
    assert features.runs == 2


def test_precision_tells_features_apart():
    model, processor = seeing("qwen2_5_vl")
    features, inputs = ImageFeatures(model, 8), inputs_of(processor, [1])
    model(**inputs)
    with torch.autocast("cpu", torch.bfloat16):
        model(**inputs)
    model.double()(**inputs)
    assert features.runs == 3


def test_where_the_plain_call_stays():
    model, processor = seeing("qwen2_5_vl", exclude_modules=None)  # adapters on the tower: features differ by branch
    features = ImageFeatures(model, 8)
    model(**inputs_of(processor, [1, 1]))
    assert "get_image_features" not in vars(features.owner) and features.runs == 0

    model, processor = seeing("qwen2_5_vl")
    features = ImageFeatures(model, 8)
    features.owner.visual.dropout = torch.nn.Dropout(0.5).train()
    model.train()(**inputs_of(processor, [1]))
    assert features.runs == 0


def test_a_tower_that_looks_at_several_images_at_once_is_left_alone():
    model, processor = seeing("qwen2_5_vl")
    features, inputs = ImageFeatures(model, 8), inputs_of(processor, [1, 2])
    plain = features._plain

    def mixing(pixel_values, image_grid_thw=None, **others):
        output = plain(pixel_values, image_grid_thw, **others)
        output.pooler_output = tuple(one + len(image_grid_thw) for one in output.pooler_output)
        return output

    features._plain = mixing
    with torch.no_grad():
        first = model(**inputs).logits
        second = model(**inputs).logits
    assert features.trusted is False and torch.equal(first, second)


@pytest.mark.parametrize("topology", ["student", "mutual"])
def test_a_round_runs_each_image_once(tmp_path, topology):
    experts = [*two_experts(), Expert("more", seen_rows(8, offset=20), two_experts()[0].reward_funcs)]
    trainer = build_seeing(tmp_path, experts, topology=topology, rlvr_steps=1, opd_steps=1, max_steps=2,
                           overlap_every=1, matrix_at_end=False)  # fmt: skip
    different_adapters(trainer)
    seen: set[bytes] = set()
    images = trainer.forwards.images
    plain = images._plain

    def watched(pixel_values, image_grid_thw=None, **others):
        assert images.trusted is None or len(image_grid_thw) == 1
        if len(image_grid_thw) == 1:
            seen.add(pixel_values.numpy().tobytes())
        return plain(pixel_values, image_grid_thw, **others)

    images._plain = watched
    trainer.train()
    assert images.trusted and 0 < images.runs == len(seen)


def test_one_branch_alone_is_left_as_it_is(tmp_path):
    alone = build_seeing(tmp_path, two_experts()[:1], topology="mutual", opd_steps=0)
    assert alone.forwards.images is None
    shared = build_seeing(tmp_path, two_experts()[:1], topology="mutual", opd_steps=0, share_prompts=True)
    assert shared.forwards.images is not None
