"""The model card says what is known of a run, at the moment it is written, and nothing else."""

import pytest
from tiny import build_experts, build_trainer

from trl_copd.run.card import hub_source, is_hub_id, weights_round, write_model_card
from trl_copd.trainers import ending


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    experts = build_experts(2)
    experts[0].train_dataset.info.download_checksums = {
        "hf://datasets/openai/gsm8k@740312add88f781978c0658806c59bc2815b9866/main/train-00000-of-00001.parquet": {}
    }
    experts[1].train_dataset.info.download_checksums = {"/home/me/private/rows.jsonl": {}}
    folder = tmp_path_factory.mktemp("run")
    return build_trainer(folder, experts, topology="student", rlvr_steps=2, opd_steps=1, overlap_every=0)


def card(trainer, folder, **kwargs):
    write_model_card(ending.card(trainer, "words", **kwargs), folder)
    return (folder / "README.md").read_text()


def test_where_the_data_came_from(trainer, tmp_path):
    text = card(trainer, tmp_path, dataset_name="me/more")
    assert "datasets:\n- me/more\n- openai/gsm8k\n" in text
    assert "| math | [openai/gsm8k](https://huggingface.co/datasets/openai/gsm8k) | 20 | 0 | `letter_reward` |" in text
    assert "| code | local | 20 |" in text and "/home/me" not in text
    assert hub_source(iter([])) is None


def test_how_far_the_run_is(trainer, tmp_path, monkeypatch):
    assert "The adapters are untrained." in card(trainer, tmp_path)
    for (step, total, in_train), words in {
        (2, 3, True): "**Training is under way**: these are the weights after round 2 of 3.",
        (3, 3, True): "These are the weights after the last of 3 rounds.",
        (2, 3, False): "Training ended early: these are the weights after round 2 of 3.",
    }.items():
        monkeypatch.setattr(trainer.state, "global_step", step)
        monkeypatch.setattr(trainer.state, "max_steps", total)
        monkeypatch.setattr(trainer, "is_in_train", in_train)
        text = card(trainer, tmp_path)
        assert words in text
        assert "matrix" not in text and "summary.png" not in text


def test_a_matrix_is_of_the_round_it_was_measured_in(trainer, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer.state, "global_step", 3)
    monkeypatch.setattr(trainer.state, "max_steps", 3)
    monkeypatch.setattr(trainer, "last_matrix", {"base": {"math": 0.25}, "student": {"math": 0.5}})
    monkeypatch.setattr(trainer, "last_matrix_round", 3)
    assert "Accuracy on held-out rows.\n\n| | math | mean |" in card(trainer, tmp_path)
    monkeypatch.setattr(trainer, "last_matrix_round", 2)
    assert "Accuracy on held-out rows after round 2 (these weights are of round 3)." in card(trainer, tmp_path)
    # the best model has been loaded: its round counts, and not the last
    monkeypatch.setattr(trainer.args, "load_best_model_at_end", True)
    monkeypatch.setattr(trainer.args, "metric_for_best_model", "eval_student/accuracy")
    monkeypatch.setattr(trainer.state, "best_model_checkpoint", "checkpoint-2")
    monkeypatch.setattr(trainer.state, "best_global_step", 2)
    assert weights_round(trainer.state, trainer.args, training=False) == 2
    text = card(trainer, tmp_path)
    assert "the weights after round 2 of 3, the best by `eval_student/accuracy`." in text
    assert "Accuracy on held-out rows.\n" in text


def test_method_versions_and_citations(trainer, tmp_path):
    text = card(trainer, tmp_path, tags="mine")
    for words in (
        "- copd\n- grpo\n- lora\n- mine\n- trl\n", "- topology: student\n", "- schedule: cycles of 2 RLVR : 1 OPD\n",
        "LORA, rank 4, alpha 8, on down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj\n", "- seed: 7\n",
        "- trl 1.16.0\n", "eprint = {arXiv:2604.27083}", "{arXiv:2402.03300}", 'subfolder="experts/math"',
    ):  # fmt: skip
        assert words in text, words
    assert text.count("author") == 1  # GRPO's; CoPD's are not invented


@pytest.mark.parametrize(
    ("base", "is_id"),
    [("Qwen/Qwen3-0.6B", True), ("gpt2", True), ("/models/gpt2", False), ("runs/bases/demo", False), ("", False)],
)
def test_hub_ids(base, is_id):
    assert is_hub_id(base) == is_id
