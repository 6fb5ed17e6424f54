"""The comparison's bookkeeping: equal rollouts, settings, what counts as measured; and a run of one round."""

import dataclasses
import json

import pytest
import torch
import yaml
from compare_records import JOBS, NAMES, OTHERS, record

from benchmarks import compare, compare_ablations, gradient_conflict
from benchmarks.compare import recipe, rollouts, run
from benchmarks.compare_methods import (
    BUDGET,
    Job,
    Method,
    alone,
    student,
    taught,
)
from benchmarks.compare_results import Results, accuracy, best, contenders, domains, key
from benchmarks.compare_smollm2 import LONG, ROUNDS, ROWS, SMOLLM2, SMOLLM2_LONG
from trl_copd import CoPDConfig
from trl_copd.history import series
from trl_copd.recipes.build import DOMAIN_KEYS
from trl_copd.schedule import Schedule


def spent(job, tmp_path):
    settings = recipe(job, tmp_path, tmp_path if job.parent else None)
    rounds = settings["max_steps"] * (len(settings["domains"]) if settings.get("method") == "mixed" else 1)
    parent = rollouts(recipe(job.parent, tmp_path, None), job.head) if job.parent else 0
    return rollouts(settings, rounds) + parent


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_every_candidate_has_the_same_number_of_rollouts(job, tmp_path):
    assert spent(job, tmp_path) == BUDGET * 128


@pytest.mark.parametrize("name", SMOLLM2)
def test_so_have_the_methods_on_smollm2(name, tmp_path):
    for methods, rounds in ((SMOLLM2, ROUNDS), (SMOLLM2_LONG, LONG)):
        job = methods[name].candidates[0]
        settings = recipe(job, tmp_path, None)
        assert settings["per_device_train_batch_size"] == ROWS
        assert settings.get("max_rollouts") == ROWS * rounds or spent(job, tmp_path) == ROWS * rounds


def test_a_students_rounds_are_paid_for():
    job = student(30, 10, 0.25, 0.1, 1.0)
    total, final = job.fields["max_steps"], job.fields["final_opd_steps"]
    opd = [Schedule(30, 10, final_opd_steps=final).phase(i, total) for i in range(total)].count("opd")
    assert 4 * (total - final) + opd == BUDGET


def test_a_recipe_has_the_parents_experts_and_their_rates(tmp_path):
    job = Job({"expert_learning_rate": 0.5}, alone(1e-3), domains=("up", "back"))
    settings = recipe(job, tmp_path / "run", tmp_path / "parent")
    assert [domain["name"] for domain in settings["domains"]] == ["up", "back"]
    assert {domain["learning_rate"] for domain in settings["domains"]} == {0.5}
    assert settings["domains"][1]["adapter"] == str(tmp_path / "parent" / "checkpoint-120" / "experts" / "back")
    assert all(set(domain) <= DOMAIN_KEYS for domain in settings["domains"])


def test_keys_tell_jobs_apart():
    jobs = [alone(1e-3), alone(5e-4), taught(alone(1e-3), 1e-3, "merge"), taught(alone(5e-4), 1e-3, "merge"),
            Job({}), Job({}, domains=("up",)), Job({}, alone(1e-3), 3), Job({}, alone(1e-3), 4)]  # fmt: skip
    assert len({key(job) for job in jobs}) == len(jobs)
    assert key(alone(1e-3)) == key(alone(1e-3))


def test_where_a_methods_accuracy_is_read():
    found = record(Job(), 0, 0.8)
    assert domains(Method("experts", ()), found) == dict.fromkeys(NAMES, 0.8)
    assert domains(Method("base", ()), found) == dict.fromkeys(NAMES, 0.1)
    assert domains(Method("student", ()), found) == dict.fromkeys(NAMES, pytest.approx(0.64))
    assert accuracy(Method("branches", ()), found) == pytest.approx((0.8 + 3 * 0.4) / 4)


def test_results_survive_a_line_that_was_cut_off(tmp_path):
    path, (first, second) = tmp_path / "results.jsonl", (alone(1e-3), alone(5e-4))
    results = Results(path)
    results.add(record(first, 0, 0.5))
    with path.open("a") as file:
        file.write('{"key": "torn", "se')
    again = Results(path)
    assert again.find(first, 0)["tokens"] == 20 and again.find(first, 1) is None
    again.add(record(second, 3, 0.6))
    assert set(Results(path).records) == {(key(first), 0), (key(second), 3)}


def test_the_best_candidate_is_chosen_on_the_search_seeds(tmp_path):
    results, (low, high) = Results(tmp_path / "r.jsonl"), (alone(5e-4), alone(1e-3))
    method = Method("experts", (low, high))
    for job, levels in (low, (0.5, 0.6)), (high, (0.4, 0.9)):
        for seed, level in zip(compare.SEARCH_SEEDS, levels, strict=True):
            results.add(record(job, seed, level))
    results.add(record(low, 0, 1.0))  # a seed of the table
    third = alone(3e-4)
    results.add(record(third, 100, 1.0))  # not run with the other seed
    assert best(method, results) == best(Method("experts", (low, high, third)), results) == high
    with pytest.raises(SystemExit, match="Not searched"):
        best(Method("experts", (alone(1e-5), third)), results)
    for job, score in (low, 0.8), (high, 0.71), (third, 0.69):
        results.add(record(job, 100, score))
    assert contenders(Method("experts", (low, high, third)), results, 100) == [low, high]


def test_ablations_change_what_they_say(tmp_path):
    for jobs in compare_ablations.ABLATIONS.values():
        assert len({key(job) for job in jobs.values()}) == len(jobs)
    ablations = compare_ablations.ABLATIONS
    for name in ("copd-student, step by step", "the defaults", "RLVR : OPD, mutual"):
        assert {spent(job, tmp_path) for job in ablations[name].values()} == {BUDGET * 128}
    defaults = {name: getattr(CoPDConfig, name) for name in ("topology", "rlvr_steps", "opd_steps", "opd_fraction",
                "opd_beta", "opd_loss", "student_init", "final_opd_steps")}  # fmt: skip
    assert defaults.items() <= ablations["the defaults"]["10:20, 0.25"].fields.items()
    for count, names in compare_ablations.BRANCHES.items():
        job, alone_ = (
            ablations["branches, student from the merge"][str(count)],
            ablations["branches, mixed"][str(count)],
        )
        assert job.domains == job.parent.domains == alone_.domains == names
        settings = recipe(job, tmp_path, tmp_path)
        assert settings["domains"][-1]["adapter"].endswith(settings["domains"][-1]["name"])
        wanted = rollouts(settings, settings["max_steps"]) + rollouts(recipe(job.parent, tmp_path, None), job.head)
        mixed_rounds = alone_.fields["max_steps"] * count
        assert abs(wanted / 128 - mixed_rounds) < count
    assert recipe(compare_ablations.PILOT[0], tmp_path, None)["domains"][0]["n_eval"] == 200
    merge = ablations["merge_method, experts apart"]["svd"]
    assert recipe(merge, tmp_path, tmp_path / "parent")["domains"][0]["adapter"] == str(tmp_path / "parent/experts/up")


def test_every_jobs_settings_are_accepted(tmp_path):
    from trl import ModelConfig, TrlParser

    from trl_copd.train import RecipeArguments

    small = {key(job): job for method in (*SMOLLM2.values(), *SMOLLM2_LONG.values()) for job in method.candidates}
    pilot = {key(job): job for job in compare_ablations.PILOT}
    for name, job in (JOBS | OTHERS | small | pilot).items():
        path = tmp_path / f"{name}.yaml"
        settings = recipe(job, tmp_path, tmp_path if job.parent else None)
        settings.pop("baseline", None)  # read and taken out by benchmarks/baseline.py
        path.write_text(yaml.safe_dump(settings | {"model_name_or_path": "base"}))
        parser = TrlParser((RecipeArguments, CoPDConfig, ModelConfig))
        args = parser.parse_args_and_config(["--config", str(path)])[1]
        assert args.max_steps == job.fields["max_steps"]


@pytest.mark.slow
def test_a_student_is_taught_by_a_runs_experts(tmp_path, monkeypatch, capsys):
    """Two real runs: experts with a checkpoint, and the student that goes on from it; the second call runs nothing."""
    few = {"num_generations": 4, "per_device_train_batch_size": 8, "overlap_every": 1}
    parent = alone(1e-3, 2, save_steps=1, **few)
    job = dataclasses.replace(taught(parent, 5e-4, "merge", max_steps=1, **few), head=1)
    results = Results(tmp_path / "r.jsonl")
    found = run(job, 0, results, tmp_path / "runs")
    above = results.find(parent, 0)
    assert above["head"]["rollouts"] == 32 and found["rollouts"] == 32 + 8
    assert above["head"]["tokens"] < above["tokens"] and found["tokens"] > above["head"]["tokens"]
    assert above["curves"]["overlap"][0] == [0, 1] and above["curves"]["overlap"][1][0] == 1.0
    state = json.loads((compare.target(parent, 0, tmp_path / "runs") / "trainer_state.json").read_text())
    assert len(series(state["log_history"], "opd/overlap")) == 12  # measured, though nobody is taught
    assert set(found["matrix"]) == {"base", *NAMES, "student"}
    executed = []
    monkeypatch.setattr(compare, "execute", lambda *job: executed.append(job) or {"matrix": {}})
    again = Results(tmp_path / "r.jsonl")
    assert run(job, 0, again, tmp_path / "runs") == found and not executed
    compare.trained(parent, 1, 0, again, tmp_path / "runs")
    assert not executed
    compare.trained(parent, 1, 0, again, tmp_path / "elsewhere")  # its result was kept, its adapters were not
    assert "not those of the recorded run" in capsys.readouterr().out
    assert executed == [(parent, 0, tmp_path / "elsewhere", None)]


def test_cosines_of_skills_are_free_of_noise():
    generator = torch.Generator().manual_seed(0)
    size, batches = 4000, 16
    a = torch.randn(size, generator=generator)
    b = -0.6 * a + 0.8 * torch.randn(size, generator=generator)
    noise = {name: 3 * torch.randn(batches, size, generator=generator) for name in "abc"}
    rounds = {name: [mean_ + row for row in noise[name]] for name, mean_ in (("a", a), ("b", b), ("c", 0 * a))}
    found = gradient_conflict.conflict(rounds)
    assert found["pairs"]["a, b"] == pytest.approx(-0.6, abs=0.06)
    assert found["agreement"]["a"] == pytest.approx(0.1, abs=0.02)  # the noise's variance is nine times the mean's
    assert found["pairs"]["a, c"] is None and found["pairs"]["b, c"] is None  # pure noise has no direction
    assert gradient_conflict.conflict({name: [torch.zeros(4)] * 2 for name in "ab"})["pairs"] == {"a, b": None}
