"""What a run shows and leaves behind: logs, capability matrix, model card, figures, conversational data, callbacks."""

import json
import re
from pathlib import Path

import pytest
import torch
from datasets import Dataset, DatasetDict, IterableDatasetDict
from peft import PeftModel
from tiny import build_experts, build_trainer, letter_reward, rows, tiny_model, tiny_tokenizer
from transformers import TrainerCallback

from trl_copd import Expert
from trl_copd.measure.matrix import matrix_table


CYCLE = {"rlvr_steps": 2, "opd_steps": 1, "max_steps": 3, "overlap_every": 1, "overlap_edges": "all"}


def first_letter(completions, solution, **kwargs):
    """0/1, and ungraded where the solution is `h`."""
    return [None if s == "h" else float(text[:1] == s) for text, s in zip(completions, solution, strict=True)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    experts = [Expert(n, rows(i, 20), [first_letter, letter_reward], eval_dataset=rows(40 + i, 9))
               for i, n in enumerate(["math", "code"])]  # fmt: skip
    trainer = build_trainer(folder, experts, topology="student", log_completions=True, **CYCLE)
    trainer.train()
    trainer.save_model()
    return trainer, folder


def test_logs(run):
    trainer, _ = run
    rlvr, _, opd = [log for log in trainer.state.log_history if "phase" in log]
    measured = [log for log in trainer.state.log_history if "math->student/opd/overlap" in log]
    assert [log["step"] for log in measured] == [0, 1, 2]
    for name in ("math", "code"):
        for key in ("reward", "entropy", "completions/mean_length", "grad_norm", "rewards/first_letter/mean"):
            assert f"{name}/{key}" in rlvr and f"{name}/{key}" in opd
    assert rlvr["reward"] == pytest.approx((rlvr["math/reward"] + rlvr["code/reward"]) / 2)
    assert "student/entropy" not in rlvr and "student/entropy" in opd  # idle in RLVR
    assert "student/reward" not in opd  # a student has no domain of its own
    assert (rlvr["phase"], opd["phase"], rlvr["cycle"]) == (0.0, 1.0, 0.0)
    for edge in ("math->student", "code->student", "student->math@code", "student->code@math"):
        assert f"{edge}/opd/kl" not in rlvr and f"{edge}/opd/kl" in opd
        for log in measured:
            assert 0 <= log[f"{edge}/opd/overlap"] <= 1 and log[f"{edge}/opd/symmetric_kl"] >= 0


def test_every_metric_is_on_the_page_of_metrics(run):
    page = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    names = re.findall(
        r"`([^`]+)`", "\n".join(line.split("|")[1] for line in page.splitlines() if line.startswith("|"))
    )
    known = [re.sub(r"<\w+>|\*", "~", name) for name in names]
    patterns = [re.compile(re.escape(name).replace("\\~", ".+").replace("~", ".+")) for name in known]
    trainer, _ = run
    summary = {
        "step",
        "train_runtime",
        "train_samples_per_second",
        "train_steps_per_second",
        "total_flos",
        "train_loss",
    }
    for log in trainer.state.log_history:
        for name in log.keys() - summary:
            assert any(pattern.fullmatch(name) for pattern in patterns), f"docs/metrics.md does not explain {name}"


def test_capability_matrix_against_generation_by_hand(run):
    trainer, folder = run
    matrix = json.loads((folder / "capability_matrix.json").read_text())
    assert matrix == trainer.last_matrix and list(matrix) == ["base", "math", "code", "student"]
    tokenizer = tiny_tokenizer()
    for adapter, path in {"base": None, "math": "experts/math", "student": "."}.items():
        model = tiny_model()
        model = model if path is None else PeftModel.from_pretrained(model, folder / path)
        for domain, dataset in {"math": rows(40, 9), "code": rows(41, 9)}.items():
            grades = []
            for row in dataset:
                ids = torch.tensor([tokenizer(row["prompt"])["input_ids"]])
                out = model.generate(input_ids=ids, max_new_tokens=6, do_sample=False)[0, ids.size(1) :]
                text = tokenizer.decode(out, skip_special_tokens=True)
                grades += first_letter([text], [row["solution"]])
            graded = [grade for grade in grades if grade is not None]
            assert len(graded) < len(grades)
            assert matrix[adapter][domain] == pytest.approx(sum(graded) / len(graded), abs=1e-6)
    assert "ungraded" in (folder / "capability_matrix.md").read_text()


def test_sampled_matrix_leaves_the_random_stream_alone(run):
    trainer, _ = run
    before = torch.random.get_rng_state()
    values = trainer.capability_matrix(num_generations=3)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(0 <= value <= 1 for row in values.values() for value in row.values())
    trainer.capability_matrix()


def test_matrix_table():
    table = matrix_table({"base": {"a": 0.5, "b": 0.25}, "student": {"a": None, "b": 1.0}})
    assert table.splitlines()[2:] == ["| base | 0.500 | 0.250 | 0.375 |", "| student | – | 1.000 | 1.000 |"]


def test_model_card(run):
    _, folder = run
    card = (folder / "README.md").read_text()
    for words in ("library_name: peft", "2604.27083", "2402.03300", "| student |", "experts/math", "first_letter"):
        assert words in card, words


def test_figures_and_description(run):
    _, folder = run
    assert {p.stem for p in (folder / "figures").glob("*.png")} >= {
        "reward",
        "overlap",
        "capability_matrix",
        "summary",
    }
    description = json.loads((folder / "copd.json").read_text())
    assert description["phases"] == [
        {"phase": "rlvr", "start": 0, "end": 2}, {"phase": "opd", "start": 2, "end": 3}]  # fmt: skip


def test_completions_table_names_the_branch(run):
    import pandas as pd

    _, folder = run
    table = pd.read_parquet(sorted((folder / "completions").glob("*.parquet"))[0])
    assert set(table["branch"]) == {"math", "code"} and len(table) == 16


def test_evaluate_logs_accuracies_and_best_model_is_found(tmp_path):
    experts = build_experts(2, eval_dataset=None)
    for index, expert in enumerate(experts):
        expert.eval_dataset = rows(40 + index, 4)
    trainer = build_trainer(
        tmp_path, experts, topology="mutual", eval_strategy="steps", eval_steps=1, save_strategy="steps", save_steps=1,
        load_best_model_at_end=True, metric_for_best_model="eval_student/accuracy", greater_is_better=True, **CYCLE
    )  # fmt: skip
    trainer.train()
    logged = [log["eval_student/accuracy"] for log in trainer.state.log_history if "eval_student/accuracy" in log]
    assert len(logged) == 3 and trainer.state.best_metric == max(logged)
    mean = sum(trainer.last_matrix["student"].values()) / 2
    assert mean == pytest.approx(max(logged), abs=1e-6)  # the matrix at the end is the best model's


def test_conversational_prompts_beside_plain_ones(tmp_path):
    def reward(completions, solution, **kwargs):
        texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
        return letter_reward(texts, solution)

    def chat(row):
        return {"prompt": [{"role": "user", "content": row["prompt"].rstrip("=")}]}

    data = rows(1, 20)
    messages = Dataset.from_list([{**row, **chat(row)} for row in data])
    experts = [Expert("plain", rows(0, 20), reward), Expert("chat", messages, reward, eval_dataset=messages.take(4))]
    trainer = build_trainer(tmp_path, experts, topology="mutual", **CYCLE)
    trainer.train()
    assert trainer.last_matrix["student"]["chat"] > 0


def test_async_rewards_weights_and_pooled_data(tmp_path):
    async def slow(completions, **kwargs):
        return [0.5] * len(completions)

    expert = Expert("pooled", rows(0, 20), [letter_reward, slow], reward_weights=[1.0, 0.1],
                    eval_dataset={"low": rows(40, 4), "high": rows(45, 4)})  # fmt: skip
    trainer = build_trainer(tmp_path, [expert], topology="mutual", opd_steps=0, max_steps=2)
    trainer.train()
    assert list(trainer.last_matrix["base"]) == ["low", "high"]
    log = next(log for log in trainer.state.log_history if "phase" in log)
    assert log["pooled/rewards/slow/mean"] == 0.5
    assert log["pooled/reward"] == pytest.approx(log["pooled/rewards/letter_reward/mean"] + 0.05)


def test_held_out_domains_as_a_dictionary_of_datasets_splits_or_streams(tmp_path):
    """As `GRPOTrainer` takes them."""
    parts = {"low": rows(40, 4), "high": rows(45, 4)}
    streams = {domain: part.to_iterable_dataset() for domain, part in parts.items()}
    matrices = []
    for held_out in (parts, DatasetDict(parts), streams, IterableDatasetDict(streams)):
        expert = Expert("pooled", rows(0, 20), letter_reward, eval_dataset=held_out)
        matrices.append(build_trainer(tmp_path, [expert], topology="mutual", opd_steps=0).capability_matrix())
    assert list(matrices[0]["base"]) == ["low", "high"] and all(matrix == matrices[0] for matrix in matrices)


def test_rows_are_not_given_to_evaluate(tmp_path):
    with pytest.raises(ValueError, match="belong to `Expert\\(eval_dataset=...\\)`"):
        build_trainer(tmp_path).evaluate(eval_dataset=rows(40, 4))


def test_start_from_a_trained_adapter(tmp_path, run):
    trainer, folder = run
    experts = [Expert("math", rows(0, 20), letter_reward, adapter=folder / "experts" / "math"), build_experts(2)[1]]
    started = build_trainer(tmp_path, experts, topology="student", **CYCLE)
    for old, new in zip(trainer.branches["math"].parameters, started.branches["math"].parameters, strict=True):
        assert torch.equal(old, new)
    assert any((p != 0).any() for p in started.branches["math"].parameters)
    started.train()


def test_progress_names_the_phase(tmp_path, capsys):
    lines = []
    trainer = build_trainer(tmp_path, topology="mutual", disable_tqdm=False, **CYCLE)

    class Watch(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            bars = [cb.training_bar for cb in trainer.callback_handler.callbacks if hasattr(cb, "training_bar")]
            lines.append(bars[0].desc)

    trainer.add_callback(Watch())
    trainer.train()
    assert [line.strip(": ") for line in lines] == ["cycle 1 RLVR", "cycle 1 RLVR", "cycle 1  OPD"]
    assert "reward: math" in capsys.readouterr().out
