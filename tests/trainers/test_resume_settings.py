"""What a resumed run may set anew is a list (docs/resume.md); every other setting is compared, and named."""

import dataclasses
import json

import pytest
from peft import LoraConfig
from tiny import build_experts, build_trainer, distance, lora, weights

from trl_copd import CoPDConfig
from trl_copd.run.fingerprint import MAY_CHANGE, differences
from trl_copd.run.folder import RUN_FILE


SETTINGS = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1, "overlap_every": 0, "topology": "mutual",
            "rlvr_steps": 1, "opd_steps": 1}  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    build_trainer(folder, build_experts(2), **SETTINGS).train()
    return folder / "checkpoint-1"


# Settings of the loss, of sampling, of the optimizer and of rewards: none of them was compared before
CHANGED = {
    "loss_type": ("dapo", "loss_type: 'grpo' in the checkpoint, 'dapo' here"),
    "temperature": (0.5, "temperature: 1.0 in the checkpoint, 0.5 here"),
    "epsilon": (0.1, "epsilon: 0.2 in the checkpoint, 0.1 here"),
    "epsilon_high": (0.28, "epsilon_high: None in the checkpoint, 0.28 here"),
    "max_completion_length": (5, "max_completion_length: 6 in the checkpoint, 5 here"),
    "scale_rewards": ("batch", "scale_rewards: 'group' in the checkpoint, 'batch' here"),
    "mask_truncated_completions": (True, "mask_truncated_completions: False in the checkpoint, True here"),
    "top_p": (0.9, "top_p: 1.0 in the checkpoint, 0.9 here"),
    "beta": (0.1, "beta: 0.0 in the checkpoint, 0.1 here"),
    "learning_rate": (1e-3, "learning_rate: 0.01 in the checkpoint, 0.001 here"),
    "weight_decay": (0.1, "weight_decay: 0.0 in the checkpoint, 0.1 here"),
    "max_grad_norm": (0.5, "max_grad_norm: 1.0 in the checkpoint, 0.5 here"),
    "optim": ("sgd", "optim: .*in the checkpoint.*sgd"),
    "seed": (8, "seed: 7 in the checkpoint, 8 here"),
    "opd_fraction": (0.25, "opd_fraction: 0.5 in the checkpoint, 0.25 here"),
    "per_device_train_batch_size": (16, "rows of a branch and round: 8 in the checkpoint, 16 here"),
    "num_iterations": (2, "num_iterations: 1 in the checkpoint, 2 here"),
    "opd_beta": ({"math": 2.0, "code": 1.0}, "opd_beta: 1.0 in the checkpoint, .*'math': 2.0"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_setting_is_refused_and_named(saved, tmp_path, name):
    value, message = CHANGED[name]
    phases = {"rlvr_steps": 2, "opd_steps": 2} if name == "num_iterations" else {}
    with pytest.raises(ValueError, match=message):
        build_trainer(
            tmp_path, build_experts(2), **SETTINGS | phases | {name: value, "resume_from_checkpoint": str(saved)}
        )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (lora(r=8), "adapter: r: 4 in the checkpoint, 8 here"),
        (lora(lora_dropout=0.1), "adapter: lora_dropout: 0.0 in the checkpoint, 0.1 here"),
        (LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj"]), "adapter: target_modules: 'all-linear' in the"),
    ],
)
def test_another_adapter_is_refused_by_what_differs(saved, tmp_path, config, message):
    with pytest.raises(ValueError, match=message) as error:
        build_trainer(tmp_path, build_experts(2), None, config, **SETTINGS, resume_from_checkpoint=str(saved))
    assert len(str(error.value)) < 500, "a difference, and not two dumps"


def test_every_field_is_compared_or_on_the_list():
    fields = {field.name for field in dataclasses.fields(CoPDConfig)}
    assert fields >= MAY_CHANGE, f"no fields of CoPDConfig: {sorted(MAY_CHANGE - fields)}"
    for name in ("loss_type", "opd_loss", "temperature", "seed", "num_iterations", "learning_rate", "bf16"):
        assert name not in MAY_CHANGE


def test_what_measures_shows_and_saves_may_change(saved, tmp_path):
    changes = {"overlap_top_k": 3, "logging_steps": 2, "save_strategy": "no", "matrix_at_end": False, "run_name": "b",
               "per_device_eval_batch_size": 3, "rollout_chunk_rows": 3, "max_steps": 3}  # fmt: skip
    resumed = build_trainer(tmp_path, build_experts(2), **SETTINGS | changes)
    resumed.train(resume_from_checkpoint=str(saved))
    assert resumed.state.global_step == 3


def test_a_round_may_be_split_otherwise(saved, tmp_path):
    """8 rows in one micro-batch, or 4 and 4: the same rows, and gradients that differ in the last digits alone."""
    whole = build_trainer(tmp_path / "whole", build_experts(2), **SETTINGS)
    whole.train(resume_from_checkpoint=str(saved))
    split = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    resumed = build_trainer(tmp_path / "split", build_experts(2), **SETTINGS | split)
    resumed.train(resume_from_checkpoint=str(saved))
    for name in whole.branches:
        assert distance(weights(whole, name), weights(resumed, name)) < 1e-5
    assert resumed.branches["math"].prompts.position() == whole.branches["math"].prompts.position()


def test_a_generation_in_use_keeps_its_split(tmp_path):
    settings = SETTINGS | {"rlvr_steps": 2, "opd_steps": 2, "num_iterations": 2, "max_steps": 4}
    build_trainer(tmp_path, build_experts(2), **settings).train()
    split = settings | {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    with pytest.raises(ValueError, match="saved inside a generation.*per_device_train_batch_size=8"):
        build_trainer(tmp_path, build_experts(2), **split, resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    resumed = build_trainer(tmp_path, build_experts(2), **split)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert resumed.state.global_step == 4


def test_a_checkpoint_of_an_earlier_version_is_refused_in_words():
    old = {"rlvr_steps": 1, "adapter": "{}", "experts": ["math"]}  # version 0.1 had no format
    assert differences(old, {"format": 2, "settings": {}}) == [
        "written by a version of trl_copd that recorded other settings: resume it with that version"
    ]


def test_a_run_says_what_it_is(saved):
    described = json.loads((saved / RUN_FILE).read_text())
    assert described["generation_spent"] and described["splitting"]["gradient_accumulation_steps"] == 1
    assert described["fingerprint"]["settings"]["loss_type"] == "grpo"
    assert "output_dir" not in described["fingerprint"]["settings"]
