"""The demonstration that sees, its data and its base; and the recipe after the paper, with a tiny base."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from datasets import Dataset, Features, Image, Value, load_dataset
from datasets import List as ListOf
from PIL import Image as PIL
from tiny_vision import picture
from tiny_vision_families import qwen3_vl
from transformers import AutoModelForImageTextToText

import trl_copd.train
from trl_copd.pictures import open_picture
from trl_copd.recipes.build import build_experts
from trl_copd.recipes.scenes import CELL, CELLS, COLOURS, SHAPES, scene_domain
from trl_copd.recipes.vision_base import PictureProcessor, build_vision_base, grade


ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases") / "vision-picture0.18-words0.18-seed0"
    build_vision_base(folder, seed=0, steps=1, batch_size=8)
    (folder / "done").touch()
    return folder


def count_cells(image: PIL.Image) -> str:
    """How many cells of a picture are of each colour, by the pixel in the middle of their lower half."""
    pixels = [image.getpixel((x * CELL + 4, y * CELL + 5)) for y in range(CELLS) for x in range(CELLS)]
    return " ".join(str(pixels.count(colour)) for colour in COLOURS.values())


def test_answers_are_right_and_held_out_scenes_are_never_trained_on():
    train, held_out = scene_domain("picture", 200, 50, seed=0)
    assert all(row["solution"] == count_cells(row["image"]) for row in held_out)
    rows = {task: scene_domain(task, 200, 50, seed=0) for task in ("picture", "words")}
    for row in rows["words"][1]:
        scene, _, question = row["prompt"][0]["content"].partition(": ")
        assert question == "how many of each?"
        assert row["solution"] == " ".join(str(scene.count(shape)) for shape in SHAPES)
    seen = {str(row["prompt"]) for seed in (0, 1) for row in scene_domain("words", 400, 1, seed)[0]}
    assert not seen & {str(row["prompt"]) for row in rows["words"][1]}
    assert len({image.tobytes() for image in train["image"]}) == 200
    with pytest.raises(ValueError, match="There is no domain of scenes 'video'"):
        scene_domain("video", 1, 1, 0)


def test_a_base_is_the_same_for_a_seed_and_sees(base, tmp_path):
    build_vision_base(tmp_path, seed=0, steps=1, batch_size=8)
    files = [(folder / "model.safetensors").read_bytes() for folder in (base, tmp_path)]
    assert files[0] == files[1]
    model, processor = AutoModelForImageTextToText.from_pretrained(base), PictureProcessor.from_pretrained(base)
    rows = list(scene_domain("picture", 2, 1, seed=0)[0])
    with torch.no_grad():
        losses = [grade(model, processor, [rows[0] | {"image": row["image"]}])[0].item() for row in rows]
        both = grade(model, processor, [rows[0], rows[0] | {"image": rows[1]["image"]}])[0]
    assert losses[0] != losses[1], "the picture changes nothing"
    torch.testing.assert_close(both, torch.tensor(losses), atol=1e-5, rtol=0)
    (ids,) = processor.apply_chat_template(
        [[{"role": "user", "content": [{"type": "image", "image": rows[0]["image"]}, {"type": "text", "text": "?"}]}]],
        tokenize=True, return_dict=True,
    )["input_ids"]  # fmt: skip
    assert ids.count(processor.image_token_id) == CELLS * CELLS, "a token a cell"


def write_config(path: Path, recipe: dict) -> str:
    path.write_text(yaml.safe_dump(recipe))
    return str(path)


FEW = {"max_steps": 2, "rlvr_steps": 1, "opd_steps": 1, "per_device_train_batch_size": 8, "num_generations": 4,
       "gradient_accumulation_steps": 1, "max_completion_length": 4, "use_cpu": True, "bf16": False,
       "disable_tqdm": True, "overlap_every": 1}  # fmt: skip


def test_the_demonstration_runs(base, tmp_path, capsys):
    recipe = yaml.safe_load((ROOT / "recipes/vision_demo.yaml").read_text()) | FEW
    for domain in recipe["domains"]:
        domain.update(n_train=16, n_eval=4)
        domain.pop("base_accuracy", None)
    config = write_config(tmp_path / "demo.yaml", recipe | {"output_dir": str(tmp_path / "run")})
    trainer = trl_copd.train.main(["--config", config, "--base_dir", str(base.parent)])
    assert trainer.experts["picture"].sees and not trainer.experts["words"].sees
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    matrix = json.loads((tmp_path / "run/capability_matrix.json").read_text())
    assert summary["student"] == pytest.approx(sum(matrix["student"].values()) / 2)
    assert {"_samples.png", "figures", "experts"} <= {path.name for path in (tmp_path / "run").iterdir()}
    processor = PictureProcessor.from_pretrained(tmp_path / "run")
    assert processor.image_processor.size == PictureProcessor.from_pretrained(base).image_processor.size


def write_geometry(path: Path) -> str:
    """Rows as the image recipe's data set has them."""
    features = Features({"images": ListOf(Image()), "problem": Value("string"), "answer": Value("string")})
    rows = [{"images": [picture(i)], "problem": f"<image>a+{i}=", "answer": str(i)} for i in range(24)]
    Dataset.from_list(rows, features=features).to_parquet(path)
    return str(path)


@pytest.mark.slow
def test_the_recipe_after_the_paper_runs_with_a_tiny_base(tmp_path, monkeypatch):
    model, processor = qwen3_vl()
    model.save_pretrained(tmp_path / "base")
    monkeypatch.setattr(
        trl_copd.train, "load_processor", lambda name, folder: processor
    )  # AutoProcessor's needs torchvision
    recipe = yaml.safe_load((ROOT / "recipes/qwen3_vl_gpu.yaml").read_text())
    assert recipe["rlvr_steps"] / recipe["opd_steps"] == 1.5 and recipe["num_generations"] == 8
    assert (recipe["epsilon"], recipe["epsilon_high"], recipe["temperature"], recipe["beta"]) == (0.2, 0.28, 1.0, 0.0)
    recipe |= FEW | {"model_name_or_path": str(tmp_path / "base"), "dtype": "float32", "save_strategy": "no"}
    text = tmp_path / "text.jsonl"
    text.write_text("".join(json.dumps({"problem": f"{i}+{i}=", "answer": str(2 * i)}) + "\n" for i in range(24)))
    for domain, source in zip(recipe["domains"], (write_geometry(tmp_path / "rows.parquet"), str(text)), strict=True):
        domain.update(dataset=source, n_train=16, n_eval=4)
        del domain["eval_split"]
    config = write_config(tmp_path / "recipe.yaml", recipe | {"output_dir": str(tmp_path / "run"), "seed": 1})
    trainer = trl_copd.train.main(["--config", config])
    assert trainer.state.global_step == 2 and trainer.experts["image"].sees and not trainer.experts["text"].sees
    adapted = {name for name, _ in trainer.peft_model.named_parameters() if "lora_" in name}
    assert adapted and all(".language_model." in name for name in adapted)


def test_pictures_of_a_file_keep_their_rows(tmp_path):
    source = write_geometry(tmp_path / "rows.parquet")
    domain = {"name": "image", "dataset": source, "prompt": "{problem}", "solution": "{answer}", "n_train": 20,
              "n_eval": 4, "rewards": "math_reward"}  # fmt: skip
    (expert,) = build_experts([domain], seed=0)
    assert expert.sees and len(expert.train_dataset) == 20
    for row in expert.train_dataset:
        assert row["prompt"][0]["content"] == f"a+{row['solution']}=", "the place of the picture is no text"
        assert open_picture(row["images"][0]).tobytes() == picture(int(row["solution"])).tobytes()
    assert load_dataset("parquet", data_files=source, split="train").features["images"] == ListOf(Image())
