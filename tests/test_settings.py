"""docs/settings.md says of every field of CoPDConfig what becomes of it, and what it says is so."""

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from tiny import build_experts, build_trainer, distance, history, letter_reward, rows, settings, tiny_model, weights
from transformers import LlamaForSequenceClassification
from trl import GRPOConfig

from trl_copd import CoPDConfig, Expert
from trl_copd.shared_prompts import drops
from trl_copd.trainers.settings import REFUSED


TABLE = (Path(__file__).parents[1] / "docs" / "settings.md").read_text()
ROWS = [line.strip("| \n").split(" | ") for line in TABLE.splitlines() if line.startswith("| `")]
STATUS = {field: row[1].strip() for row in ROWS for field in re.findall(r"`(\w+)`", row[0])}


def test_every_field_is_in_the_table_once():
    listed = [field for row in ROWS for field in re.findall(r"`(\w+)`", row[0])]
    assert sorted(listed) == sorted(field.name for field in dataclasses.fields(CoPDConfig))
    assert set(STATUS.values()) == {"honoured", "refused", "without meaning"}


def test_own_fields_have_a_table_with_their_defaults():
    inherited = {field.name for field in dataclasses.fields(GRPOConfig)}
    own = {
        field.name: f"`{field.default!r}`" for field in dataclasses.fields(CoPDConfig) if field.name not in inherited
    }
    table = TABLE[TABLE.index("## CoPD's own fields") : TABLE.index("## Every field")]
    assert own == dict(re.findall(r"^\| (\w+) \| (`[^|]*`) \|", table, re.M))


# Values that a configuration takes by itself
REFUSED_VALUES = {
    "sync_ref_model": {"sync_ref_model": True, "beta": 0.1},
    "log_completions_hub_repo": {"log_completions_hub_repo": "me/completions", "log_completions": True},
    "auto_find_batch_size": {"auto_find_batch_size": True},
    "parallelism_config": {"parallelism_config": object()},
    "optim_target_modules": {"optim_target_modules": "all-linear"},
    "deepspeed": {"deepspeed": {"train_micro_batch_size_per_gpu": 8}},
}


@pytest.mark.parametrize("field", [field for field, status in STATUS.items() if status == "refused"])
def test_what_is_refused_is_refused_before_the_model_is_loaded(tmp_path, field, monkeypatch):
    values = dict(REFUSED_VALUES[field])
    late = {name: values.pop(name) for name in ("parallelism_config", "deepspeed") if name in values}
    monkeypatch.setattr(CoPDConfig, "__post_init__", _with(late, CoPDConfig.__post_init__))
    error = REFUSED.get(field, {"deepspeed": "DeepSpeed", "auto_find_batch_size": "full prompt groups"}.get(field))
    with pytest.raises(ValueError, match=re.escape(error)):
        build_trainer(tmp_path, model="/nowhere/no-model", **values)


def _with(late, own):
    """Set what accelerate and DeepSpeed would check, and are not installed for, behind the configuration's back."""

    def post_init(self):
        own(self)
        vars(self).update(late)

    return post_init


@pytest.mark.parametrize(("name", "processes"), [("split_batches", 2), ("dispatch_batches", 1)])
def test_sharing_out_micro_steps_is_refused(tmp_path, monkeypatch, name, processes):
    monkeypatch.setattr(CoPDConfig, "world_size", processes)
    with pytest.raises(ValueError, match=f"{name}=True would split micro-steps"):
        build_trainer(tmp_path, model="/nowhere/no-model", accelerator_config={name: True})


# One value for each that is not the default; those that only a GPU or several processes could show are left out
MEANINGLESS = {
    "ref_model_mixup_alpha": 0.1, "ref_model_sync_steps": 1, "log_multimodal": False,
    "vllm_group_port": 1, "ds3_gather_for_generation": False, "label_smoothing_factor": 0.3, "label_names": ["x"],
    "average_tokens_across_devices": False, "data_seed": 9, "train_sampling_strategy": "sequential",
    "length_column_name": "l", "dataloader_drop_last": True, "ignore_data_skip": True, "remove_unused_columns": True,
    "dataloader_num_workers": 1, "dataloader_pin_memory": False, "dataloader_persistent_workers": True,
    "dataloader_prefetch_factor": 2, "dataloader_multiprocessing_context": "fork", "dataloader_in_order": False,
    "prediction_loss_only": True, "eval_do_concat_batches": False, "eval_use_gather_object": True,
    "eval_accumulation_steps": 1, "include_for_metrics": ["loss"], "batch_eval_metrics": False,
    "bf16_full_eval": True, "ddp_find_unused_parameters": True, "ddp_bucket_cap_mb": 1, "ddp_broadcast_buffers": True,
    "ddp_static_graph": False, "do_train": True, "do_eval": True, "do_predict": True,
}  # fmt: skip


def test_what_is_without_meaning_changes_nothing(tmp_path):
    assert set(MEANINGLESS) | {"fp16_full_eval"} == {f for f, status in STATUS.items() if status == "without meaning"}
    runs = []
    for name, fields in {"plain": {}, "odd": MEANINGLESS}.items():
        experts = build_experts(2, eval_dataset=rows(50, 3))
        experts[1].eval_dataset = rows(60, 3)
        trainer = build_trainer(tmp_path / name, experts, rlvr_steps=1, opd_steps=1, overlap_every=1, max_steps=3,
                                eval_strategy="steps", eval_steps=2, **fields)  # fmt: skip
        trainer.train()
        runs.append(trainer)
    plain, odd = runs
    assert history(plain) == history(odd) and plain.last_matrix == odd.last_matrix
    for name in plain.branches:
        assert distance(weights(plain, name), weights(odd, name)) == 0.0


@pytest.mark.slow
def test_a_compiled_update_is_the_same_update(tmp_path):
    phases = {"topology": "mutual", "rlvr_steps": 1, "opd_steps": 1, "max_steps": 2, "overlap_every": 0}
    compiled = {"torch_compile": True, "torch_compile_backend": "eager"}
    plain, fast = (build_trainer(tmp_path / str(bool(fields)), build_experts(2), **phases | fields)
                   for fields in ({}, compiled))  # fmt: skip
    for trainer in (plain, fast):
        torch.manual_seed(0)
        trainer.train()
    for name in plain.branches:
        assert distance(weights(plain, name), weights(fast, name)) < 1e-6


def test_rows_under_noise_do_not_share_a_prefill(tmp_path):
    noisy = build_trainer(tmp_path, build_experts(2), neftune_noise_alpha=5.0)
    embedding = noisy.peft_model.get_input_embeddings()
    embedding.neftune_noise_alpha = 5.0  # as transformers does for the length of a training
    assert drops(embedding.train()) and not drops(embedding.eval())


# ---- num_generations_eval -------------------------------------------------------------------------------------------


def test_num_generations_eval_is_the_number_of_completions_per_held_out_row(tmp_path):
    graded = []

    def count(completions, **kwargs):
        graded.append(len(completions))
        return [0.0] * len(completions)

    expert = Expert("math", rows(0, 20), count, eval_dataset=rows(50, 3))
    trainer = build_trainer(tmp_path, [expert], topology="mutual", opd_steps=0, num_generations_eval=2)
    for asked, completions in ((None, 2), (1, 1), (3, 3)):
        graded.clear()
        trainer.capability_matrix(asked)
        assert sum(graded) == 3 * 3 * completions  # base, expert and student on three rows
    graded.clear()
    trainer.evaluate()
    assert sum(graded) == 3 * 3 * 2
    with pytest.raises(ValueError, match="`num_generations_eval` must be >= 1"):
        CoPDConfig(**settings(tmp_path, num_generations_eval=0))


@pytest.mark.parametrize("samples", [None, 3])
def test_an_evaluation_needs_no_whole_groups(tmp_path, samples):
    # greedy, or rows that are graded one by one: TRL would ask for a multiple of 6, or of 3, rows at once
    batches = {"num_generations": 6, "per_device_train_batch_size": 12, "per_device_eval_batch_size": 8}
    args = CoPDConfig(
        **settings(tmp_path, eval_strategy="steps", eval_steps=1, num_generations_eval=samples, **batches)
    )
    assert args.num_generations_eval == samples


# ---- Reward models --------------------------------------------------------------------------------------------------


def reward_model():
    return LlamaForSequenceClassification(tiny_model(num_labels=1).config)


def test_one_tokenizer_does_not_serve_two_reward_models():
    two = [reward_model(), letter_reward, "some/model"]
    with pytest.raises(ValueError, match="'a' has one `reward_processing_classes` for 2 reward models"):
        Expert("a", rows(), two, reward_processing_classes=object())
    one = [reward_model(), letter_reward]
    assert Expert("a", rows(), one, reward_processing_classes="tokenizer").reward_processing_classes == "tokenizer"


# two experts with two functions each: 1 + 3 classes are as many as the functions of both
@pytest.mark.parametrize("count", [0, 1, 3])
def test_processing_classes_are_counted_expert_by_expert(count):
    with pytest.raises(ValueError, match=f"'a' has {count} `reward_processing_classes` for 2 reward functions"):
        Expert("a", rows(), [letter_reward, reward_model()], reward_processing_classes=(None,) * count)
    given = (None, "tokenizer")
    expert = Expert("a", rows(), [letter_reward, reward_model()], reward_processing_classes=given)
    assert expert.reward_processing_classes == [None, "tokenizer"]
