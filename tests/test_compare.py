"""The comparison's bookkeeping: equal rollouts, what counts as measured, intervals; and a run of one round."""

import dataclasses
import json
from statistics import mean

import pytest
import torch
import yaml
from scipy import stats

from benchmarks import compare, compare_ablations, compare_curves, compare_page, gradient_conflict
from benchmarks.compare import recipe, rollouts, run
from benchmarks.compare_methods import (
    APART,
    BUDGET,
    CLOSE,
    METHODS,
    SAWTOOTH,
    SMOLLM2,
    SMOLLM2_BUDGET,
    TRADE,
    Job,
    Method,
    alone,
    student,
    taught,
)
from benchmarks.compare_results import MORE_SEEDS, RESULTS, Results, accuracy, best, contenders, domains, key
from recipes.build import DOMAIN_KEYS
from trl_copd import CoPDConfig
from trl_copd.history import series
from trl_copd.schedule import Schedule


NAMES = ("up", "down", "back", "rotate")
JOBS = {key(job): job for method in METHODS.values() for job in method.candidates}
OTHERS = {key(job): job for jobs in compare_ablations.ABLATIONS.values() for job in jobs.values()}


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
    assert spent(SMOLLM2[name].candidates[0], tmp_path) == SMOLLM2_BUDGET * 16


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


def record(job, seed, level, **more):
    """A run in which each adapter has `level` on its own domain, half of it elsewhere, and the student between."""
    matrix = {name: {d: level if d == name else level / 2 for d in NAMES} for name in NAMES}
    matrix |= {"base": dict.fromkeys(NAMES, 0.1), "student": dict.fromkeys(NAMES, level * 0.8)}
    common = {"rollouts": 10, "tokens": 20, "train_seconds": 30.0, "matrix": matrix, "curves": {}}
    return {"key": key(job), "seed": seed, **common, **more}


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


def test_intervals_are_those_of_scipy():
    values = [0.71, 0.8, 0.77, 0.9, 0.65]
    low, high = stats.t.interval(0.95, 4, loc=mean(values), scale=stats.sem(values))
    assert compare_page.interval(values) == [round(low, 4), round(high, 4)]
    assert compare_page.interval([0.5]) is None
    assert compare_page.paired({0: 0.5, 1: 0.7, 2: 0.9}, {1: 0.6, 2: 0.7, 3: 0.0}) == {
        "diff": 0.15, "ci95": compare_page.interval([0.1, 0.2])}  # fmt: skip


@pytest.fixture
def results(tmp_path):
    """Every candidate on every seed; the later a candidate, the better; every seed a little better than the last."""
    found = Results(tmp_path / "r.jsonl")
    for place, job in enumerate(JOBS.values()):
        for seed in (*compare.SEARCH_SEEDS, *compare.SEEDS):
            curve = [list(range(0, 161, 5)), [1.0 - (step % 40) / 1000 for step in range(0, 161, 5)]]
            apart = [curve[0], [0.5] * len(curve[0])]
            chosen = curve if key(job) == key(SAWTOOTH[0]) else apart
            level = 0.3 + place / 100 + seed % 100 / 1000
            found.add(record(job, seed, level, curves={"overlap": chosen, "symmetric_kl": chosen}))
    for job in OTHERS.values():
        for seed in compare_ablations.SEEDS:
            if found.find(job, seed) is None:
                found.add(record(job, seed, 0.5 + seed / 10))
    watched = {"edges": {"up->back": [[30, 120], [0.8, 0.9]], "back->up": [[30, 120], [0.7, 0.6]]}}
    grades = {str(step): {name: {d: 0.9 if d == name else step / 200 for d in NAMES} for name in NAMES}
              for step in (30, 40, 120, 130)}  # fmt: skip
    for job in compare_ablations.PILOT:
        for seed in compare_ablations.SEEDS:
            found.add(record(job, seed, 0.5, evaluations=grades, **watched))
    return found


def test_summary(results):
    found = compare_page.summary(results, METHODS, compare.SEEDS)
    assert set(found) == {*METHODS, "best_copd", "paired", "paired_domains"}
    chosen = found["best_copd"]
    assert METHODS[chosen].copd and set(found["paired"]) == set(METHODS) - {chosen}
    for name, gap in found["paired"].items():
        assert gap["diff"] == pytest.approx(found[chosen]["mean"] - found[name]["mean"], abs=2e-4)
    assert found["mixed"]["seeds"] == [0, 1, 2, 3, 4] and found["mixed"]["rollouts"] == 10
    assert found["base"]["mean"] == pytest.approx(0.1) and found["base"]["seconds"] == 0
    json.dumps(found)
    some = compare_page.summary(results, ("mixed", chosen), (0, 7))
    assert some["mixed"]["seeds"] == [0] and some["mixed"]["ci95"] is None and set(some["paired"]) == {"mixed"}


def test_a_search_is_taken_from_the_authors_file(results, tmp_path):
    mine = Results(tmp_path / "mine.jsonl")
    for name in ("mixed", "experts"):
        mine.add(record(best(METHODS[name], results), 1, 0.7))
    found = compare_page.summary(mine, METHODS, (0, 1), searched=results)
    assert set(found) == {"mixed", "experts", "average", "best_copd", "paired"} and found["best_copd"] is None
    assert "| mixed |" in compare_page.markdown(found, mine, (0, 1), results) and found["paired"] == {}
    nothing = Results(tmp_path / "none.jsonl")
    empty = compare_page.summary(nothing, METHODS, (0, 1), searched=results)
    assert "Nothing was measured" in compare_page.markdown(empty, nothing, (0, 1), results)
    text = compare_page.markdown(compare_page.summary(results, METHODS, (0, 1)), results, (0, 1))
    for part in ("| mixed |", "minus the expert", "An RLVR phase", "| opd_loss, student from the merge |"):
        assert part in text


def test_pilot_points_and_correlation():
    at = {30: 0.5, 40: 0.7}
    evaluations = {str(step): {"up": {"up": 0.9, "back": level}, "back": {"up": 0.1, "back": 1.0}}
                   for step, level in at.items()}  # fmt: skip
    found = {"evaluations": evaluations, "edges": {"back->up": [[30, 40], [0.8, 0.9]], "up->back": [[0], [1.0]]}}
    points = compare_ablations.pilot_points(found, [("rlvr", 0, 30), ("opd", 30, 40), ("opd", 70, 80)])
    assert points == [(0.8, pytest.approx(0.2), 0.5)]
    pairs = [(0.1, 1.0), (0.4, 0.7), (0.9, 0.8), (0.3, 0.9)]
    assert compare_ablations.correlation(pairs) == pytest.approx(stats.pearsonr(*zip(*pairs, strict=True)).statistic)
    assert compare_ablations.correlation(pairs[:2]) == compare_ablations.correlation([(1, 1)] * 4) == 0.0


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

    from recipes.copd import RecipeArguments

    small = {key(job): job for method in SMOLLM2.values() for job in method.candidates}
    pilot = {key(job): job for job in compare_ablations.PILOT}
    for name, job in (JOBS | OTHERS | small | pilot).items():
        path = tmp_path / f"{name}.yaml"
        settings = recipe(job, tmp_path, tmp_path if job.parent else None)
        path.write_text(yaml.safe_dump(settings | {"model_name_or_path": "base"}))
        parser = TrlParser((RecipeArguments, CoPDConfig, ModelConfig))
        args = parser.parse_args_and_config(["--config", str(path)])[1]
        assert args.max_steps == job.fields["max_steps"]


def test_pilot(results):
    found = compare_curves.pilot(results, (0, 1))
    assert list(found["points"]) == ["30:10", "120:40"] and found["seeds"] == [0, 1]
    for points in found["points"].values():
        assert len(points) == 2 * 2  # edges, seeds; one phase
        assert all(gain == pytest.approx(0.05) for _, gain, _ in points)
    assert found["gain"]["r"] == 0.0 and found["gain"]["ci95"] == [0.0, 0.0]  # a constant
    two = [(0.9, 0.1, 0.0), (0.8, 0.0, 0.0)], [(0.3, 0.9, 0.0), (0.1, 0.7, 0.0)]  # the later phase gains more
    parts = [pair for points in two for pair in compare_curves.centred(points)]
    assert parts == [pytest.approx(pair) for pair in [(0.05, 0.05), (-0.05, -0.05), (0.1, 0.1), (-0.1, -0.1)]]
    triples = [(0.1, 0.5, 0.3), (0.4, 0.1, 0.9), (0.9, 0.8, 0.2), (0.3, 0.9, 0.7), (0.5, 0.2, 0.4)]
    x, y, z = (list(column) for column in zip(*triples, strict=True))
    rest = [[v - fit.intercept - fit.slope * w for v, w in zip(values, z, strict=True)]
            for values, fit in ((x, stats.linregress(z, x)), (y, stats.linregress(z, y)))]  # fmt: skip
    assert compare_ablations.partial_correlation(triples) == pytest.approx(stats.pearsonr(*rest).statistic)
    assert compare_curves.pilot(Results(results.path.parent / "none.jsonl"), (0, 1)) == {}


def test_sawtooth(results):
    found = compare_page.sawtooth(results, compare.SEEDS)
    # 30 rounds of RLVR take 0.030 off; the curve is back at 1.0 at the end of the OPD phase
    assert found["rlvr"]["mean"] == pytest.approx(-0.03) and found["opd"]["mean"] == pytest.approx(0.03)
    curve = [1.0 - (step % 40) / 1000 for step in range(35, 161, 5)]
    assert found["above"]["mean"] == pytest.approx(mean(curve) - 0.5, abs=1e-4)
    assert found["seeds"] == [0, 1, 2, 3, 4]


def test_the_page(results, tmp_path, monkeypatch):
    page = tmp_path / "experiments.md"
    marks = (
        "table",
        "settings",
        "sawtooth",
        "own",
        "replication",
        "trade",
        "conflict",
        "ablations",
        "pilot",
        "smollm2",
    )
    page.write_text("".join(f"before\n<!-- measured: {name} -->\nold\n<!-- end -->\nafter\n" for name in marks))
    readme = tmp_path / "README.md"
    readme.write_text("<!-- measured: short -->\nold\n<!-- end -->\n")
    monkeypatch.setattr(compare_page, "PAGE", page)
    monkeypatch.setattr(compare_page, "README", readme)
    monkeypatch.setattr(compare_page, "FIGURES", tmp_path)
    compare_page.update_page(results)
    text = page.read_text()
    assert text.count("| accuracy, seeds 0, 1, 2 |") == len(compare_ablations.ABLATIONS)
    assert "Every edge in every OPD phase" in text
    assert "old" not in readme.read_text() and readme.read_text().count("\n| ") == 1 + len(compare_page.SHORT)
    assert "old" not in text and text.count("before\n<!--") == text.count("<!-- end -->\nafter") == 10
    assert text.count("\n| mixed |") == 2 and "1,000,000" not in text and "1000000" not in text
    for name in ("compare", "compare_overlap", "compare_ablations", "compare_pilot"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def test_the_committed_page_is_that_of_the_committed_results():
    parts = compare_page.page_parts(Results(RESULTS))
    for page in (compare_page.PAGE, compare_page.README):
        text = page.read_text()
        filled = text
        for name, content in parts.items():
            filled = compare_page.fill(filled, name, content)
        assert filled == text, f"{page.name}: run `python benchmarks/compare.py page`"


def test_the_table_of_conflicts():
    looks = [{"seed": seed, "round": step, "rewards": {"up": 0.5 + seed / 10, "down": 0.2},
              "pairs": {"up, down": None if step == 80 and seed else seed / 10}}
             for step in (40, 80) for seed in (0, 1, 2)]  # fmt: skip
    header, _, first, last = compare_curves.conflict_table({"rounds": [40, 80], "looks": looks}).splitlines()
    assert header == "| Round | reward of up, down | up, down |"
    low, high = compare_page.interval([0.0, 0.1, 0.2])
    assert first == f"| 40 | 0.60, 0.20 | +0.10 [{low:+.3f}, {high:+.3f}] (3) |"
    assert last == "| 80 | 0.60, 0.20 | +0.00 (1) |"


def test_what_teaching_gives_and_takes(results):
    rows = compare_page.trade_off(results, compare.SEEDS).splitlines()[2:]
    assert [row.split(" |")[0] for row in rows] == ["| apart", "| 30:10", "| 13:27"]
    for row, job in zip(rows, TRADE.values(), strict=True):
        level = mean(results.find(job, seed)["matrix"]["up"]["up"] for seed in compare.SEEDS)
        cells = [cell.split()[0] for cell in row.split("|")[3:6]]
        assert cells == [f"{value:.3f}" for value in (level * 0.8, level, level)]
        assert ("(" in row) == (job is not APART)
    assert compare_page.trade_off(results, (77,)) == ""


def test_a_study_of_few_seeds_shows_each(tmp_path):
    few = Results(tmp_path / "few.jsonl")
    assert compare_page.table_of_seeds(few, SMOLLM2, (0, 1)) == ""
    accuracies = {("experts", 0): 0.8, ("experts", 1): 0.7, ("copd-student", 0): 0.9, ("copd-student", 1): 0.6}
    for (name, seed), value in (accuracies | {("mixed", 1): 0.5}).items():
        few.add(record(SMOLLM2[name].candidates[0], seed, value))
    lines = compare_page.table_of_seeds(few, SMOLLM2, (0, 1, 2)).splitlines()
    rows = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in lines}
    assert "seed 1: mean" in lines[0] and "seed 2" not in lines[0] and "copd-mutual" not in rows
    shown = ["0.800"] * 5 + ["0.700"] * 5  # the mean and four domains of each seed
    assert rows["experts"] == [*shown, "-0.080, -0.220", "30"]
    assert rows["mixed"] == [*[""] * 5, *["0.400"] * 5, "+0.080", "30"]
    assert rows["**copd-student**"] == [*["0.720"] * 5, *["0.480"] * 5, "", "30"]
    assert {len(row) for row in rows.values()} == {12}


def test_an_ablation_has_the_seeds_that_all_values_have(results):
    jobs = compare_ablations.ABLATIONS["opd_beta, mutual"]
    del results.records[key(jobs["10.0"]), 2]
    found = compare_curves.ablation("opd_beta, mutual", results, (0, 1, 2))
    assert all(list(scores) == [0, 1] for scores in found.values()) and set(found) == {"0.1", "1.0", "10.0"}
    assert "| accuracy, seeds 0, 1 |" in compare_curves.ablation_tables(results, (0, 1, 2))
    assert compare_curves.ablation("opd_beta, mutual", results, (2,)) == {}


def test_more_seeds_are_read_apart(results):
    assert compare_page.replication(results) == ""
    for name in CLOSE:
        for seed in MORE_SEEDS:
            results.add(record(best(METHODS[name], results), seed, 0.9 if name == "copd-student" else 0.8))
    row = next(
        line
        for line in compare_page.replication(results).splitlines()
        if line.startswith("| copd-student minus mixed |")
    )
    first, later = (compare_page.summary(results, CLOSE, seeds)["paired"]["mixed"]["diff"]
                    for seeds in (compare.SEEDS, MORE_SEEDS))  # fmt: skip
    assert first != later and [cell.split()[0] for cell in row.split("|")[2:5]] == [
        f"{value:+.3f}" for value in (first, later, (first + later) / 2)
    ]


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
