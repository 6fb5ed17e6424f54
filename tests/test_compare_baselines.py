"""Baselines of the comparison: what is run, what it leaves, and their table."""

import json
from types import SimpleNamespace

import pytest
import torch
import yaml
from compare_records import record
from peft import LoraConfig, get_peft_model
from test_compare import spent

from benchmarks import baseline
from benchmarks.compare import recipe
from benchmarks.compare_anytime import ANYTIME, SHARES, anytime_table
from benchmarks.compare_baselines import AGAIN, AGAINST, BASELINES, WIDE_ROUNDS, baselines_table
from benchmarks.compare_methods import ALLOCATED, BUDGET, EXPERTS, METHODS
from benchmarks.compare_results import Results, key
from trl_copd.compare.intervals import interval
from trl_copd.recipes.demo_base import build_model, build_tokenizer


NAMES = ("up", "back")
CANDIDATES = {name: method.candidates for name, method in BASELINES.items()}


@pytest.fixture
def settings(tmp_path):
    """A recipe of two domains whose finished experts are random adapters on a base that was never warmed up."""
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(tmp_path / "base")
    build_model(tokenizer, seed=0).save_pretrained(tmp_path / "base")
    domains = []
    for place, name in enumerate(NAMES):
        config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
        torch.manual_seed(place)
        get_peft_model(build_model(tokenizer, seed=0), config).save_pretrained(tmp_path / name)
        domains.append({"name": name, "builtin": f"demo/{name}", "n_train": 8, "n_eval": 4,
                        "adapter": str(tmp_path / name)})  # fmt: skip
    found = yaml.safe_load((baseline.ROOT / "recipes" / "compare.yaml").read_text())
    out = tmp_path / "out"
    return found | {"domains": domains, "model_name_or_path": str(tmp_path / "base"), "output_dir": str(out)}


def left(settings):
    folder = baseline.Path(settings["output_dir"])
    return (json.loads((folder / name).read_text()) for name in ("capability_matrix.json", "trainer_state.json"))


def test_a_constant_stands_for_the_teacher():
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    teacher, learner = torch.randn(2, 3), torch.randn(2, 3)
    found = baseline.constant_teacher(-0.5)(teacher, learner, mask, 2.0, None)
    assert found.tolist() == [[-1.0, -1.0, 0.0], [-1.0, 0.0, 0.0]]


def test_a_run_is_evaluated_once_at_each_mark():
    trainer = SimpleNamespace(round=SimpleNamespace(rollouts=0))
    watch, seen = baseline.Watch(trainer, [30, 10]), []
    for rollouts in (8, 16, 24, 32, 40):
        control = SimpleNamespace(should_evaluate=False)
        trainer.round.rollouts = rollouts
        watch.on_step_end(None, None, control)
        seen.append(control.should_evaluate)
    assert seen == [False, True, False, True, False]


def test_task_arithmetic_adds_the_deltas(settings):
    _, _, model = baseline.load(settings)
    weight = model.get_base_model().model.layers[0].mlp.up_proj
    model.add_weighted_adapter(list(NAMES), [0.5] * 2, "student", combination_type="cat")
    total = sum(0.5 * weight.get_delta_weight(name) for name in NAMES)
    assert torch.allclose(weight.get_delta_weight("student"), total, atol=1e-6)
    baseline.task_arithmetic(settings, 0.5)
    matrix, state = left(settings)
    assert set(matrix) == {"base", *NAMES, "student"} and set(matrix["student"]) == set(NAMES)
    assert state["global_step"] == 0 and state["log_history"][0]["rollouts"] == 0


def test_only_rollouts_that_are_right_are_trained_on(settings, monkeypatch):
    seen = {}
    monkeypatch.setattr(baseline, "grades", lambda expert, rows, texts: [1.0, 0.0] * (len(texts) // 2))

    class Trainer(baseline.SFTTrainer):
        def __init__(self, model, args, train_dataset, **more):
            seen["rows"] = train_dataset
            super().__init__(model, args, train_dataset=train_dataset, **more)

    monkeypatch.setattr(baseline, "SFTTrainer", Trainer)
    baseline.supervised(settings | {"per_device_train_batch_size": 4}, epochs=2, rollouts=16)
    matrix, state = left(settings)
    assert len(seen["rows"]) == 8 and matrix["student"] == dict.fromkeys(NAMES, 0.5)
    assert state["global_step"] == 4 and state["log_history"][0] | {"train_runtime": 0} == {
        "step": 4, "train_runtime": 0, "rollouts": 16, "right": 8}  # fmt: skip
    assert 16 * 10 < state["num_input_tokens_seen"] <= 16 * (10 + settings["max_completion_length"])


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "mixed-wide"])
def test_baselines_have_the_rollouts_of_the_other_methods(name, tmp_path):
    for job in BASELINES[name].candidates:
        own = (job.baseline or {}).get("rollouts", 0 if "scale" in (job.baseline or {}) else None)
        if own is None:
            assert spent(job, tmp_path) == BUDGET * 128
        else:
            head = job.head or job.parent.fields["max_steps"]
            assert own + 128 * EXPERTS * head == BUDGET * 128


def test_a_wide_batch_has_more_rollouts(tmp_path):
    settings = recipe(BASELINES["mixed-wide"].candidates[0], tmp_path, None)
    assert settings["max_rollouts"] == WIDE_ROUNDS * settings["per_device_train_batch_size"] == 128_000 > BUDGET * 128


def test_every_candidate_is_another_run_and_searches_are_as_large():
    keys = [key(job) for jobs in CANDIDATES.values() for job in jobs]
    assert len(set(keys)) == len(keys)
    sizes = {"mopd-merge-constant": "mopd-merge", "sft": "mopd", "mixed-wide": "mixed"}
    assert all(len(CANDIDATES[name]) == len(METHODS[like].candidates) for name, like in sizes.items())


def test_the_table_of_baselines(tmp_path):
    made = Results(tmp_path / "results.jsonl")
    assert baselines_table(made) == ""
    for name, method in BASELINES.items():
        for place, job in enumerate(method.candidates):
            for seed in (100, 101, 0, 1):
                level = (1.0 if name == AGAINST[0] else 0.5) - place / 10 + (name == "sft") * seed % 100 / 10
                made.add(record(job, seed, level))
    made.add(record(AGAIN, 1, 0.8))
    for job in METHODS["mixed"].candidates:
        for seed in (100, 101, 1):
            made.add(record(job, seed, 0.25))
    lines = baselines_table(made).splitlines()
    titles = " | ".join(f"{name} minus it" for name in AGAINST)
    assert lines[0] == f"| Method | mean | 95 % | up | down | back | rotate | {titles} | rollouts | seeds |"
    rows = {line.split(" |")[0].removeprefix("| "): line.split(" | ")[1:] for line in lines[2:]}
    assert list(rows) == ["experts-again", "average-again", *BASELINES, "mixed"]
    low, high = interval([0.4, 0.32])
    minus = f"[{-high:+.3f}, {-low:+.3f}]"
    assert rows[AGAINST[0]] == ["0.800", "[0.800, 0.800]", *["0.800"] * 4, "", f"-0.360 {minus}", "10", "2 |"]
    assert rows["sft"][-4:] == [f"+0.360 [{low:+.3f}, {high:+.3f}]", "", "10", "2 |"]
    assert [rows[name][0] for name in ("experts-again", "average-again")] == ["0.800", "0.640"]
    assert rows["mixed"][:2] == ["0.200", ""] and rows["mixed"][-4:] == ["+0.600", "+0.280", "10", "1 |"]


def test_how_far_a_method_is_along_the_way(tmp_path):
    made = Results(tmp_path / "results.jsonl")
    assert anytime_table(made) == ""
    for method in ANYTIME.values():
        (job,) = method.candidates
        watched = {str(step): {"student": dict.fromkeys(NAMES, step / 1000)} for step in (480, 320, 160)}
        made.add(record(job, 3, 0.5, **({"evaluations": watched} if job.baseline else {})))
    made.add(record(ALLOCATED["mopd-merge-adaptive"].candidates[0], 3, 1.0))
    header, _, *rows = anytime_table(made).splitlines()
    assert header.startswith("| Method | 25% of the rollouts | 50% of the rollouts |")
    assert rows == [
        "| mixed-adaptive | 0.160 | 0.320 | 0.480 | 0.400 | 3 |",
        "| copd-student-adaptive | 0.160 | 0.320 | 0.480 | 0.400 | 3 |",
        "| mopd-merge-adaptive | 0.400 | 0.400 | 0.400 | 0.800 | 3 |",
    ]
    shares = [ANYTIME[f"mopd-merge-adaptive-{share:.0%}"].candidates[0].fields for share in SHARES]
    assert [fields["max_rollouts"] for fields in shares] == [20480, 40960, 61440]
    assert [fields["opd_steps"] for fields in shares] == [180, 360, 540] and shares[1]["rlvr_steps"] == 230


def test_only_wanted_rows_of_the_matrix_are_measured():
    asked = []

    def grade(self, names, expert, rows, samples):
        asked.append(names)
        return torch.full((len(names), len(rows)), 0.5)

    names = ["base", "up", "back", "student"]
    found = baseline.some_rows(grade, ["own", "student"])(None, names, "back", [{}, {}], 1)
    assert asked == [["back", "student"]]
    assert found.isnan().all(1).tolist() == [True, True, False, False] and (found[2:] == 0.5).all()
