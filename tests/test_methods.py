"""Methods by name: what makes one, what a recipe may change, and equal budgets in a comparison."""

import itertools

import pytest
import yaml
from scipy.stats import t as student_t
from tiny import settings as tiny_settings

from trl_copd import CoPDConfig
from trl_copd.compare.intervals import interval, paired, t_quantile
from trl_copd.compare.jobs import Job, branches_by_round, build_jobs, generation_rows, rollouts_of
from trl_copd.compare.results import Results
from trl_copd.compare.summary import measured, summary, table, verdict
from trl_copd.methods import METHODS, settings
from trl_copd.train import PARSED, RecipeParser


DOMAINS = [{"name": name, "builtin": f"demo/{name}"} for name in ("sort", "rev", "count")]
RECIPE = {"domains": DOMAINS, "per_device_train_batch_size": 8, "num_generations": 4, "max_steps": 40}


@pytest.mark.parametrize("method", METHODS)
def test_a_preset_is_the_method_whatever_else_is_given(method, tmp_path):
    hub = {"hub": "math"} if method == "copd-hub" else {}
    config = CoPDConfig.preset(method, **tiny_settings(tmp_path, max_steps=20), **hub)
    assert all(getattr(config, name) == value for name, value in METHODS[method].fields.items() if name != "hub")
    changed = CoPDConfig.preset(method, **tiny_settings(tmp_path, max_steps=20, opd_fraction=0.5), **hub)
    assert changed.opd_fraction == 0.5 and changed.topology == config.topology


def test_copd_keeps_a_share_of_its_length_for_the_last_phase(tmp_path):
    preset = lambda **fields: CoPDConfig.preset("copd", **tiny_settings(tmp_path, **fields)).final_opd_steps  # noqa: E731
    assert preset(max_steps=20) == 10 and preset(max_steps=20, final_opd_steps=3) == 3
    assert preset(max_steps=-1, max_rollouts=640) == 22  # 9/32 of 80 generations of 8
    split = {"gradient_accumulation_steps": 4, "steps_per_generation": 1}  # a round has 4 generations
    assert preset(max_steps=-1, max_rollouts=640, **split) == 5
    assert preset(max_steps=-1, max_rollouts=640, num_iterations=2) == 44  # 2 rounds have one
    assert preset(max_steps=-1) == 0, "its length is not known"
    assert preset(max_steps=1) == 0


def test_what_would_be_another_method_is_refused_or_replaced():
    with pytest.raises(ValueError, match="method='mopd' means topology='mopd', but topology='student' is given"):
        CoPDConfig.preset("mopd", topology="student")
    with pytest.raises(ValueError, match="unknown. Did you mean 'copd-mutual'"):
        CoPDConfig.preset("copd-mutal")
    found = settings(
        "experts", {"topology": "student", "student_init": "merge", "final_opd_steps": 9, "rlvr_steps": 0}
    )
    assert (found["topology"], found["final_opd_steps"], found["student_init"]) == ("mutual", 0, "fresh")
    assert found["rlvr_steps"] == 1


@pytest.mark.parametrize(
    ("equal", "budget"), [("rollouts", None), ("rollouts", 500), ("rounds", None), ("rounds", 12)]
)
@pytest.mark.parametrize(("generations", "processes"), [(1, 1), (2, 1), (1, 2)])
def test_all_methods_of_a_comparison_have_the_same_budget(equal, budget, generations, processes):
    """Also where a round has several generations: its rows are the same."""
    split = {"gradient_accumulation_steps": generations, "steps_per_generation": 1}
    recipe = {**RECIPE, **split, "per_device_train_batch_size": 8 // generations // processes}
    jobs = build_jobs(recipe, list(METHODS), equal, budget, processes)
    own = rollouts_of(recipe, processes)
    for job in jobs:
        spent = rollouts_of(job.settings, processes)
        if equal == "rounds":
            assert job.settings["max_steps"] == (budget or 40)
            assert job.method != "mixed" or spent == 24 * (budget or 40)
        else:
            most = budget or own
            assert most - 8 * 4 < spent <= most, "less than a round of all branches is left over"
    if equal == "rounds":
        batch = {job.method: generation_rows(job.settings, processes) for job in jobs}
        assert batch.pop("mixed") == 24 // generations and set(batch.values()) == {8 // generations}


def test_the_budget_of_a_job_is_what_its_plan_samples():
    job = build_jobs(RECIPE, ["copd"], "rollouts", 640, 1)[0]
    plan = branches_by_round(job.settings, job.settings["max_steps"])
    assert sum(map(len, plan)) * 8 == rollouts_of(job.settings)
    last = job.settings["final_opd_steps"]
    assert last == job.settings["max_steps"] // 2 and all(names == ["student"] for names in plan[-last:])
    mopd = build_jobs(RECIPE, ["mopd"], "rollouts", 640, 1)[0]
    plan = branches_by_round(mopd.settings, mopd.settings["max_steps"])
    assert [len(names) for names, _ in itertools.groupby(plan)] == [3, 1], "experts first, then the student"


def test_a_recipes_own_settings_come_along_and_its_lists_fit():
    recipe = {**RECIPE, "topology": "student", "opd_beta": [0.1, 0.1, 0.1, 1.0], "opd_steps": 7, "final_opd_steps": 5}
    recipe["domains"] = [{**domain, "learning_rate": 0.5} for domain in DOMAINS]
    by_name = {job.method: job.settings for job in build_jobs(recipe, list(METHODS), "rounds", None, 1)}
    assert by_name["copd"]["opd_beta"] == [0.1, 0.1, 0.1, 1.0] and by_name["copd"]["final_opd_steps"] == 5
    assert by_name["copd-mutual"]["opd_beta"] == [0.1] * 3 and by_name["copd-mutual"]["opd_steps"] == 7
    assert by_name["copd-hub"]["hub"] == "sort"
    assert not any("learning_rate" in domain for domain in by_name["mixed"]["domains"])
    assert all(domain["learning_rate"] == 0.5 for domain in by_name["mopd"]["domains"])
    assert by_name["mixed"]["method"] == "mixed" and "method" not in by_name["mopd"]


def test_with_an_allocation_the_run_counts_its_rollouts_itself():
    jobs = build_jobs({**RECIPE, "allocation": "adaptive"}, ["copd", "mixed", "mopd"], "rollouts", 640, 1)
    assert all(job.settings["max_rollouts"] == 640 and job.settings["max_steps"] == -1 for job in jobs)


def test_budgets_that_cannot_be():
    with pytest.raises(ValueError, match="is less than one round of method 'experts'"):
        build_jobs(RECIPE, ["experts"], "rollouts", 8, 1)
    split = {"gradient_accumulation_steps": 4, "steps_per_generation": 1}
    with pytest.raises(ValueError, match="samples 32 for each branch of 3 domains"):
        build_jobs({**RECIPE, **split}, ["experts"], "rollouts", 90, 1)
    with pytest.raises(ValueError, match="its budget is not known"):
        build_jobs({**RECIPE, "max_steps": -1}, ["experts"], "rollouts", None, 1)


def test_methods_that_are_read_off_one_run_share_it():
    experts, average, mixed = build_jobs(RECIPE, ["experts", "average", "mixed"], "rollouts", None, 1)
    assert experts.key == average.key != mixed.key
    other = Job("experts", {**experts.settings, "learning_rate": 0.5})
    aside = Job("experts", {**experts.settings, "seed": 5, "output_dir": "elsewhere"})
    assert other.key != experts.key == aside.key


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9, 10, 31])
def test_quantiles_are_students_t(degrees):
    for level in (0.5, 0.9, 0.95, 0.99):
        assert t_quantile(level, degrees) == pytest.approx(student_t.ppf((1 + level) / 2, degrees), rel=1e-9)


def test_intervals_by_hand():
    assert interval([1.0]) is None
    assert interval([0.0, 1.0]) == [
        pytest.approx(0.5 - 12.7062 / 2, abs=1e-3),
        pytest.approx(0.5 + 12.7062 / 2, abs=1e-3),
    ]
    assert paired({0: 0.5, 1: 0.7, 2: 0.9}, {1: 0.6, 2: 0.9}) == {"diff": 0.05, "ci95": interval([0.1, 0.0])}
    assert paired({0: 0.5}, {1: 0.5}) == {}


def record(job, seed, student, **experts):
    names = [domain["name"] for domain in DOMAINS]
    matrix = {"base": dict.fromkeys(names, 0.1)} | {name: dict.fromkeys(names, 0.2) for name in names}
    for name, value in experts.items():
        matrix[name][name] = value
    matrix["student"] = dict.fromkeys(names, student)
    return {"key": job.key, "seed": seed, "matrix": matrix, "rollouts": 640, "rounds": 9, "seconds": 2.0,
            "wall_seconds": 3.0}  # fmt: skip


def test_what_the_intervals_tell_apart_and_what_not(tmp_path):
    jobs = {job.method: job for job in build_jobs(RECIPE, ["average", "experts", "mixed", "mopd"], "rollouts", 640, 1)}
    results = Results(tmp_path / "results.jsonl")
    for seed, noise in enumerate((0.00, 0.02, -0.01)):
        results.add(record(jobs["average"], seed, 0.3 + noise, sort=0.9, rev=0.9, count=0.9))
        results.add(record(jobs["mixed"], seed, 0.8 + noise))
        results.add(record(jobs["mopd"], seed, 0.8 - noise))
    found = summary(jobs, Results(results.path).records, [0, 1, 2])
    assert found["experts"]["mean"] == pytest.approx(0.9) and found["average"]["mean"] == pytest.approx(
        0.3033, abs=1e-4
    )
    assert found["base"]["mean"] == pytest.approx(0.1)
    assert found["paired"]["mixed minus average"] == {"diff": 0.5, "ci95": [0.5, 0.5]}
    text = verdict(found)
    apart, alike = text.split("cannot tell these apart")
    assert "mixed minus average" in apart and "mixed minus mopd" in alike
    lines = table(found).splitlines()
    assert lines[2].startswith("| **experts** | 0.900") and lines[-1].startswith("| base |")
    assert set(measured(jobs, results.records, [7])) == set()


def test_a_line_that_was_cut_off_counts_as_not_there(tmp_path):
    job = build_jobs(RECIPE, ["mixed"], "rollouts", 640, 1)[0]
    path = tmp_path / "results.jsonl"
    Results(path).add(record(job, 0, 0.5))
    path.write_text(path.read_text() + '{"key": "half')
    again = Results(path)
    assert again.get(job.key, 0) and len(again.records) == 1
    again.add(record(job, 1, 0.6))
    assert set(Results(path).records) == {(job.key, 0), (job.key, 1)}


def parsed(tmp_path, *argv, **fields):
    """The configuration that a recipe and a command line make."""
    path = tmp_path / "recipe.yaml"
    small = {"use_cpu": True, "bf16": False, "output_dir": str(tmp_path), "report_to": "none"}
    path.write_text(yaml.safe_dump({**RECIPE, **small, **fields}))
    return RecipeParser(PARSED).parse_args_and_config(["--config", str(path), *argv])[1]


@pytest.mark.parametrize("method", METHODS)
def test_a_method_on_the_command_line_wins_over_what_the_recipe_is(method, tmp_path):
    other = {"topology": "student", "student_init": "merge", "opd_steps": 5, "final_opd_steps": 3, "opd_fraction": 0.3}
    hub = ["--hub", "rev"] if method == "copd-hub" else []
    args = parsed(tmp_path, "--method", method, *hub, **other)
    assert all(getattr(args, name) == value for name, value in METHODS[method].fields.items() if name != "hub")
    assert args.opd_fraction == 0.3, "what is not the method's own stays the recipe's"
    if args.opd_steps:
        assert args.opd_steps == 5 and args.rlvr_steps == METHODS[method].defaults["rlvr_steps"]


def test_a_recipe_names_its_method_and_changes_its_settings(tmp_path):
    args = parsed(tmp_path, method="mopd", opd_steps=9)
    assert (args.topology, args.student_init, args.opd_loss, args.opd_steps) == ("mopd", "merge", "forward_kl", 9)
    assert parsed(tmp_path, "--opd_steps=6", method="mopd", opd_steps=9).opd_steps == 6
    assert parsed(tmp_path, "--max_steps", "12", method="copd").final_opd_steps == 6
    plain = parsed(tmp_path)
    assert (plain.topology, plain.opd_loss, plain.final_opd_steps) == ("student", "sampled", 0), "no method, no preset"


def test_experts_apart_overrule_a_recipes_distillation(tmp_path):
    for argv in (["--method", "experts"], ["--no_opd"], ["--method", "mixed", "--opd_steps", "4"]):
        args = parsed(tmp_path, *argv, topology="student", student_init="merge", final_opd_steps=3, opd_steps=5)
        assert (args.topology, args.opd_steps, args.final_opd_steps, args.student_init) == ("mutual", 0, 0, "fresh")


def test_contradictions_are_refused(tmp_path):
    with pytest.raises(ValueError, match="method='mopd' means topology='mopd', but topology='student'"):
        parsed(tmp_path, method="mopd", topology="student")
    with pytest.raises(ValueError, match="method='copd' means topology='student', but topology='hub'"):
        parsed(tmp_path, "--method", "copd", "--topology", "hub")
    with pytest.raises(ValueError, match="method='copd-hub' needs the name of an expert.*'sort', 'rev', 'count'"):
        parsed(tmp_path, "--method", "copd-hub")
    with pytest.raises(ValueError, match="method='mixeed' is unknown. Did you mean 'mixed'"):
        parsed(tmp_path, "--method", "mixeed")
