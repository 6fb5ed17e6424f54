"""Experts that see, beside experts that read, on a tiny Qwen2.5-VL with Qwen's own processor."""

import io

import pandas as pd
import pytest
import torch
from datasets import Dataset, Image, IterableDataset
from PIL import Image as PIL
from test_resume import Kill
from tiny import distance, history, lora, replay_copd, replay_grpo, settings, tiny_model, tiny_tokenizer, weights
from tiny_vision import (
    build_seeing,
    colour_reward,
    different_adapters,
    mixed_rows,
    picture,
    read_rows,
    seen_rows,
    two_experts,
    vision_model,
    vision_processor,
)
from trl import GRPOConfig, GRPOTrainer

from trl_copd import CoPDConfig, CoPDTrainer, Expert
from trl_copd.pictures import open_picture, pictures_of, prepared


BESIDE_LANGUAGE = r".*visual.*"


def grpo(folder, dataset, **overrides) -> GRPOTrainer:
    return GRPOTrainer(
        vision_model(),
        colour_reward,
        GRPOConfig(**settings(folder, **overrides)),
        dataset,
        processing_class=vision_processor(),
        peft_config=lora(exclude_modules=BESIDE_LANGUAGE),
    )


# ---- Training -------------------------------------------------------------------------------------------------------

# one picture or several a row; rollouts that are reused hold pixels; TRL's reference is scored with pixels
SETTINGS = [
    ("image", {}),
    ("images", {}),
    ("images", {"gradient_accumulation_steps": 2, "steps_per_generation": 4, "num_iterations": 2}),
    ("image", {"beta": 0.1}),
]


@pytest.mark.parametrize("column, overrides", SETTINGS)
def test_one_expert_that_sees_is_grpo_bit_for_bit(tmp_path, column, overrides):
    reference = grpo(tmp_path / "grpo", seen_rows(column=column), **overrides)
    reference.train()
    expert = Expert("eye", seen_rows(column=column), colour_reward)
    trainer = build_seeing(tmp_path / "copd", [expert], topology="mutual", opd_steps=0, **overrides)
    start = weights(trainer, "eye")
    trainer.train()
    assert distance(weights(trainer, "eye"), start) > 1e-3
    assert distance(weights(trainer, "eye"), weights(reference, "default")) == 0.0


def test_an_expert_that_sees_and_one_that_reads_are_separate_runs(tmp_path):
    domains = {"eye": seen_rows(), "text": read_rows()}
    references = {}
    for name, rows in domains.items():
        references[name] = grpo(tmp_path / name, rows)
        replay_grpo(references[name])
        references[name].train()
    experts = [Expert(name, rows, colour_reward) for name, rows in domains.items()]
    trainer = build_seeing(tmp_path / "copd", experts, topology="mutual", opd_steps=0)
    replay_copd(trainer)
    trainer.train()
    for name, reference in references.items():
        assert distance(weights(trainer, name), weights(reference, "default")) < 1e-6, name
    assert distance(weights(trainer, "eye"), weights(trainer, "text")) > 1e-3


def alone(trainer, name: str, prompt, completion: list[int]) -> torch.Tensor:
    """Log-probabilities of a completion, from one forward over this row, which the processor makes anew."""
    processor, model = trainer.processing_class, trainer.peft_model
    inputs = processor.apply_chat_template(
        [prompt], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    width, tokens = inputs["input_ids"].size(1), torch.tensor([completion])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], tokens], dim=1)
    for key, filler in (("attention_mask", 1), ("mm_token_type_ids", 0)):
        inputs[key] = torch.cat([inputs[key], torch.full_like(tokens, filler)], dim=1)
    model.set_adapter(name)
    with torch.no_grad():
        logits = model.eval()(**inputs).logits[0, width - 1 : -1] / trainer.temperature
    return logits.log_softmax(-1).gather(1, tokens.T)[:, 0]


@pytest.mark.parametrize("topology", ["mutual", "student"])
def test_cross_rows_carry_the_log_ratio_with_the_teachers_pictures(tmp_path, topology):
    beta, found = 2.0, []
    experts = [*two_experts(), Expert("mix", mixed_rows(20), colour_reward)]
    trainer = build_seeing(
        tmp_path, experts, topology=topology, rlvr_steps=1, opd_steps=2, max_steps=3, opd_beta=beta, overlap_every=0
    )
    teach = trainer.teaching.teach

    def checked(learner, faults, batch, edges):
        teach(learner, faults, batch, edges)
        rows = trainer.branches[learner].rows.cross
        for row, edge, ids, mask, advantages in zip(
            rows, edges, batch["completion_ids"], batch["completion_mask"], batch["advantages"], strict=True
        ):
            completion = ids[mask.bool()].tolist()
            ratio = alone(trainer, edge.teacher, row["prompt"], completion)
            ratio = ratio - alone(trainer, learner, row["prompt"], completion)
            found.append((edge, (advantages[mask.bool()] - beta * ratio).abs().max().item(), ratio.abs().max().item()))

    trainer.teaching.teach = checked
    trainer.train()
    edges = {(edge.learner, edge.domain) for edge, _, _ in found}
    assert {domain for _, domain in edges} == {"eye", "text", "mix"}, "pictures and texts have crossed"
    assert max(error for _, error, _ in found) < 1e-5
    assert max(ratio for _, _, ratio in found) > 1e-2


def test_greedy_rollouts_of_all_branches_equal_rows_alone(tmp_path):
    experts = [*two_experts(), Expert("mix", mixed_rows(20), colour_reward)]
    trainer = build_seeing(tmp_path, experts, topology="mutual", opd_steps=0, max_completion_length=8)
    different_adapters(trainer)
    rows = {name: [prepared(row)["prompt"] for row in expert.train_dataset][:3] for name, expert in
            trainer.experts.items()}  # fmt: skip
    prompts = trainer.round.tokenize([prompt for own in rows.values() for prompt in own])[0]
    names = [name for name, own in rows.items() for _ in own]
    together = trainer.engine.generate(prompts, names, greedy=True)[0]
    apart = [trainer.engine.generate([p], [n], greedy=True)[0][0] for p, n in zip(prompts, names, strict=True)]
    assert together == apart
    trainer.engine.chunk_rows = 2  # chunks with and without pictures, and with rows of two branches
    assert trainer.engine.generate(prompts, names, greedy=True)[0] == apart
    blind = [list(prompt) for prompt in prompts]
    for prompt in blind:
        prompt[:] = [token for token in prompt if token != trainer._image_pad_token_id]
    assert trainer.engine.generate(blind, names, greedy=True)[0] != apart, "pictures change nothing"


def test_overlap_is_measured_with_the_pictures(tmp_path):
    trainer = build_seeing(tmp_path, two_experts(), topology="mutual", opd_steps=1, rlvr_steps=1)
    different_adapters(trainer)
    edge = trainer.overlap.edges[0]
    rows = [prepared(row)["prompt"] for data in (seen_rows(3), read_rows(2)) for row in data]
    rollouts = [(prompt, [5, 6, 7][: 1 + i % 3]) for i, prompt in enumerate(trainer.overlap.tokenize(rows))]
    together = trainer.overlap.compare(edge, rollouts)
    apart = sum(trainer.overlap.compare(edge, [row]) for row in rollouts)
    assert torch.allclose(together, apart, atol=1e-5)
    other = trainer.overlap.tokenize([prepared(seen_rows(1, offset=5)[0])["prompt"]])[0]
    other.fields["image_grid_thw"] = rollouts[1][0].fields["image_grid_thw"]
    assert list(other) == list(rollouts[1][0])
    swapped = trainer.overlap.compare(edge, [(other, rollouts[1][1])])
    assert (swapped - trainer.overlap.compare(edge, [rollouts[1]])).abs().max() > 1e-3


RESUMED = [
    pytest.param({"save_steps": 1, "rlvr_steps": 2, "opd_steps": 1}, id="in RLVR", marks=pytest.mark.slow),
    pytest.param({"save_steps": 2, "rlvr_steps": 1, "opd_steps": 2}, id="in OPD", marks=pytest.mark.slow),
    pytest.param(
        {"save_steps": 3, "rlvr_steps": 2, "opd_steps": 2, "num_iterations": 2, "topology": "mutual"},
        id="inside a reused generation of OPD",
    ),
]


@pytest.mark.parametrize("overrides", RESUMED)
def test_resumed_run_equals_uninterrupted_run(tmp_path, overrides):
    overrides = {"max_steps": 5, "save_strategy": "steps", "overlap_every": 3, **overrides}
    kill = overrides["save_steps"] + 1

    def build(folder):
        return build_seeing(tmp_path / folder, [*two_experts(), Expert("mix", mixed_rows(20), colour_reward)],
                            **overrides)  # fmt: skip

    whole = build("whole")
    whole.train()
    killed = build("killed")
    killed.add_callback(Kill(kill))
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    torch.manual_seed(123)
    resumed = build("killed")
    resumed.train(resume_from_checkpoint=True)
    for name in whole.branches:
        assert distance(weights(whole, name), weights(resumed, name)) == 0.0, name
    assert history(resumed) == history(whole)


def test_other_pictures_are_another_run(tmp_path):
    build_seeing(tmp_path, two_experts(), opd_steps=1, max_steps=1, save_strategy="steps", save_steps=1).train()
    experts = [Expert("eye", seen_rows(20, offset=1), colour_reward), two_experts()[1]]
    with pytest.raises(ValueError, match="expert eye: data"):
        build_seeing(tmp_path, experts, opd_steps=1, max_steps=2, resume_from_checkpoint=True)


def test_matrix_and_table_show_what_was_seen(tmp_path):
    shown = []

    def reward(prompts, completions, image, **kwargs):
        shown.extend((p, i, c[0]["content"]) for p, i, c in zip(prompts, image, completions, strict=True))
        return [float(i is not None) for i in image]

    held_out = mixed_rows(6)
    expert = Expert("mix", mixed_rows(20), reward, eval_dataset=held_out)
    trainer = build_seeing(tmp_path, [expert, two_experts()[1]], opd_steps=1, max_steps=1, log_completions=True)
    trainer.train()
    table = pd.read_parquet(next(tmp_path.glob("completions/*.parquet")))
    kinds = {part["type"] for prompt in table["prompt"] for message in prompt for part in message["content"]}
    assert kinds == {"image", "text"}
    with PIL.open(tmp_path / "_samples.png") as samples:
        assert len(samples.convert("RGB").resize((64, 64)).getcolors(64 * 64)) > 8, "the pictures are drawn"
    different_adapters(trainer)
    shown.clear()
    assert trainer.capability_matrix()["mix"]["mix"] == 0.5, "the reward reads the column of pictures"
    kept = trainer.evaluation.answers
    assert [pictures_of(row.prompt)[0].tobytes() for row in kept] == [picture(i).tobytes() for i in (1, 3, 5)]
    answers = [text for _, _, text in shown][len(held_out) : 2 * len(held_out)]  # after the base's
    assert [(row.texts["mix"], row.grades["mix"]) for row in kept] == [(answers[i], 1.0) for i in (1, 3, 5)]
    prompts = [prepared(row)["prompt"] for row in held_out]
    ids = trainer.round.tokenize(prompts)[0]
    alone = [trainer.engine.generate([row], ["mix"], greedy=True)[0][0] for row in ids]
    assert answers == trainer.processing_class.batch_decode(alone, skip_special_tokens=True)


# ---- Adapters -------------------------------------------------------------------------------------------------------


def test_adapters_are_on_the_language_model_alone(tmp_path):
    trainer = build_seeing(tmp_path, two_experts(), topology="mutual", opd_steps=0)
    adapted = {name.split(".lora_")[0] for name, _ in trainer.model.named_parameters() if "lora_" in name}
    assert adapted and all(".language_model." in name for name in adapted)
    assert len(adapted) == 2 * 7  # all linear layers of two blocks


def test_adapters_beyond_the_language_model_run_one_after_the_other(tmp_path):
    pattern = r".*(visual.*attn\.qkv|language_model.*q_proj)"
    trainer = build_seeing(tmp_path, two_experts(), lora(target_modules=pattern), topology="mutual", opd_steps=0)
    adapted = {name.split(".lora_")[0] for name, _ in trainer.model.named_parameters() if "lora_" in name}
    assert {".visual." in name for name in adapted} == {True, False}
    assert not trainer.forwards.can_stack(["eye", "text"])
    different_adapters(trainer)
    prompts = trainer.round.tokenize([prepared(row)["prompt"] for row in seen_rows(4)])[0]
    names = ["eye", "eye", "text", "text"]
    together = trainer.engine.generate(prompts, names, greedy=True)[0]
    assert together == [
        trainer.engine.generate([p], [n], greedy=True)[0][0] for p, n in zip(prompts, names, strict=True)
    ]
    trainer.train()


# ---- Data -----------------------------------------------------------------------------------------------------------


def png(image: PIL.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_forms_of_a_picture_are_one_picture(tmp_path):
    image, path = picture(3), tmp_path / "a.png"
    image.save(path)
    forms = [
        image,
        str(path),
        path,
        png(image),
        {"bytes": png(image), "path": None},
        {"bytes": None, "path": str(path)},
    ]
    assert [open_picture(form).tobytes() for form in forms] == [image.tobytes()] * len(forms)
    assert open_picture(image.convert("L")).mode == open_picture(image.convert("RGBA")).mode == "RGB"


def message(*parts):
    return [{"role": "user", "content": list(parts)}]


PLACE, TEXT = {"type": "image"}, {"type": "text", "text": "a"}


def rows_of(cells, column="image", content="a", decode=None) -> Dataset:
    prompt = [{"role": "user", "content": content}]
    data = Dataset.from_list([{"prompt": prompt, column: cell, "solution": "a"} for cell in cells])
    return data if decode is None else data.cast_column(column, Image(decode=decode))


def bad_data(folder):
    good, cut = png(picture(1)), png(picture(1, 64, 64))[:90]
    (folder / "cut.png").write_bytes(cut)
    (folder / "good.png").write_bytes(good)
    deep = PIL.new("I;16", (8, 8))
    at = [{"prompt": "a", "image": picture(0), "solution": "a"}]
    return {
        # files: truncated, missing, no picture at all; as bytes, by path, decoded by `datasets` or not
        "truncated": (rows_of([good, cut]), "row 1 of `train_dataset`: its image cannot be read"),
        "truncated, decoded": (rows_of([good, cut], decode=True), "row 1 of `train_dataset`"),
        "truncated, not decoded": (rows_of([good, cut], decode=False), "row 1 of `train_dataset`: its image cannot"),
        "truncated file": (rows_of([str(folder / "good.png"), str(folder / "cut.png")]), "row 1 .*cannot be read"),
        "missing": (rows_of([str(folder / "good.png"), str(folder / "no.png")]), "row 1 .*no.png' is not a file"),
        "no picture": (rows_of([b"hello"]), "row 0 .*cannot be read"),
        "an address": (rows_of(["https://example.com/a.png"]), "row 0 .*is an address"),
        # what is no picture, or one that RGB would clip
        "a number": (rows_of([7]), "row 0 .*must be a PIL image, a path or a file's bytes, not int"),
        "16 bits": (rows_of([picture(0), deep], decode=True), "row 1 .*has the mode 'I;16'"),
        # places: too few, too many, none in a text
        "two for one place": (rows_of([[picture(0)] * 2], "images", [PLACE, TEXT]), r"row 0 .*provided \(2\)"),
        "none for a place": (rows_of([None, picture(0)], content=[PLACE, TEXT]), "row 0 .*placeholder for an image"),
        "one for two places": (rows_of([picture(0)], content=[PLACE, PLACE, TEXT]), r"row 0 .*placeholders \(2\)"),
        "no place": (rows_of([picture(0)], content=[TEXT]), r"row 0 .*placeholders \(0\)"),
        "a text": (Dataset.from_list(at), "row 0 .*its prompt is a text"),
        "a video": (rows_of([None], content=[{"type": "video", "video": "a.mp4"}, TEXT]), "row 0 .*has a video"),
    }  # fmt: skip


def test_bad_pictures_name_expert_and_row(tmp_path):
    for case, (data, reason) in bad_data(tmp_path).items():
        with pytest.raises(ValueError, match=f"Expert 'eye', {reason}"):
            Expert("eye", data, colour_reward)
            pytest.fail(case)


def test_pictures_in_messages_and_text_domains_of_either_kind(tmp_path):
    inside = [{"prompt": message({"type": "image", "image": picture(i)}, TEXT), "solution": "a"} for i in range(20)]
    plain = Dataset.from_list([{"prompt": f"{i}+", "solution": "a"} for i in range(20)])

    def reward(completions, **kwargs):
        return [float(len(c if isinstance(c, str) else c[0]["content"])) for c in completions]

    experts = [Expert("eye", Dataset.from_list(inside), reward), Expert("plain", plain, reward)]
    assert experts[0].sees and not experts[1].sees
    trainer = build_seeing(tmp_path, experts, topology="mutual", opd_steps=0, max_steps=1)
    start = weights(trainer, "plain")
    trainer.train()
    assert distance(weights(trainer, "eye"), start) > 1e-4 and distance(weights(trainer, "plain"), start) > 1e-4


def test_streamed_pictures(tmp_path):
    stream = IterableDataset.from_generator(lambda: (dict(row) for row in seen_rows(20)))
    expert = Expert("eye", stream, colour_reward)
    assert expert.sees
    build_seeing(tmp_path, [expert, two_experts()[1]], opd_steps=1, rlvr_steps=1, max_steps=2).train()


def test_where_pictures_are_refused(tmp_path):
    arguments = {"peft_config": lora(), "processing_class": tiny_tokenizer()}
    with pytest.raises(ValueError, match="Expert 'eye' has images, but the base .llama. reads only text"):
        CoPDTrainer(tiny_model(), two_experts(), CoPDConfig(**settings(tmp_path)), **arguments)
    with pytest.raises(ValueError, match="Expert 'eye' has images, but `processing_class` is TokenizersBackend"):
        CoPDTrainer(vision_model(), two_experts(), CoPDConfig(**settings(tmp_path)), **arguments)
    folder = tmp_path / "base"
    vision_model().save_pretrained(folder)
    args = CoPDConfig(**settings(tmp_path, use_vllm=True))
    with pytest.raises(ValueError, match="use_vllm=True, but expert 'eye' has images"):
        CoPDTrainer(str(folder), two_experts(), args, **arguments)
