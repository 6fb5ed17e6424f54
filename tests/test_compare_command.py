"""`python -m trl_copd.compare`: estimate, resuming, table, figure; runs are stand-ins but for the slow test's."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from trl_copd.compare import __main__ as command
from trl_copd.compare import estimate, launch
from trl_copd.compare.figure import draw
from trl_copd.compare.jobs import build_jobs
from trl_copd.compare.results import Results


ROOT = Path(__file__).parent.parent
DOMAINS = [{"name": name, "builtin": f"demo/{name}", "n_train": 64, "n_eval": 8} for name in ("sort", "rev")]
RECIPE = {
    "builtin_base": "demo", "domains": DOMAINS, "per_device_train_batch_size": 8, "num_generations": 4, "max_steps": 6,
    "rlvr_steps": 2, "opd_steps": 1, "max_completion_length": 8, "learning_rate": 1e-3, "use_cpu": True, "bf16": False,
    "gradient_checkpointing": False, "report_to": "none", "save_strategy": "no", "logging_steps": 1,
}  # fmt: skip
SPEED = {"native": 0.5, "taught": 0.75, "measured": 0.125, "row": 0.01, "start": 4.0}


def stand_in(runs, fail=()):
    """What `launch.execute` returns, without a run; accuracy depends on method and seed alone."""

    def execute(command_, settings, folder, environment=None):
        names = [domain["name"] for domain in settings["domains"]]
        runs.append((Path(folder).name, settings, environment))
        if len(runs) in fail:
            raise KeyboardInterrupt
        value = 0.9 if settings.get("method") == "mixed" else 0.6
        matrix = {"base": dict.fromkeys(names, 0.1), **{name: dict.fromkeys(names, 0.7) for name in names}}
        matrix["student"] = dict.fromkeys(names, value + 0.01 * settings["seed"])
        if Path(folder).name == "pace":
            history = paced(settings, names)
            training = sum(entry.pop("seconds") for entry in history)
            evaluated = sum(domain["n_eval"] for domain in settings["domains"]) * (len(names) + 2)
            wall = training + SPEED["start"] + evaluated * SPEED["row"]
        else:
            history, training, wall = [], 3.0, 5.0
        return {"matrix": matrix, "history": history, "rollouts": 96, "tokens": 9, "rounds": settings["max_steps"],
                "seconds": training, "wall_seconds": wall, "cpu_seconds": 2.0}  # fmt: skip

    return execute


def paced(settings, names):
    """A log in which everything takes what `SPEED` says; a measurement every `overlap_every` rounds."""
    rows, found = settings["per_device_train_batch_size"], []
    for index in range(settings["max_steps"]):
        opd = index >= settings["rlvr_steps"]
        live = [*names, "student"] if opd else names
        entry = {"step": index + 1, "phase": float(opd), "rollout_time": rows * len(names) * SPEED["row"]}
        share = entry["rollout_time"] / len(live)
        for name in live:
            entry[f"{name}/step_time"] = SPEED["taught" if name == "student" else "native"] - share
        busy = entry["rollout_time"] + sum(entry[f"{name}/step_time"] for name in live)
        measured = index % settings.get("overlap_every", 5) == 0
        found.append({**entry, "seconds": busy + measured * len(names) ** 2 * SPEED["measured"]})
    return found


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_build_base", lambda settings: None)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


def lines(capsys):
    return capsys.readouterr().out


def test_a_comparison_goes_on_where_it_was_killed(recipe, monkeypatch, capsys):
    arguments = ["--config", str(recipe), "--methods", "mixed", "average", "experts", "--seeds", "0", "1", "2"]
    runs = []
    monkeypatch.setattr(launch, "execute", stand_in(runs, fail=(4,)))
    assert command.main(arguments) == 130
    assert [name.split("-")[0] for name, *_ in runs] == ["pace", "mixed", "average", "mixed"]
    assert "6 runs: about" in lines(capsys), "experts and average are read off one run"
    runs.clear()
    monkeypatch.setattr(launch, "execute", stand_in(runs))
    assert command.main(arguments) == 0
    assert [(name.split("-")[0], settings["seed"]) for name, settings, _ in runs] == [
        ("mixed", 1), ("average", 1), ("mixed", 2), ("average", 2)
    ]  # fmt: skip
    said = lines(capsys)
    assert "4 runs (2 are done): about 20 seconds, 20 s." in said, "from the runs that are done"
    assert "| **mixed** | 0.910 | [0.885, 0.935] |" in said and "| experts | 0.700 |" in said
    assert "mixed minus average: +0.300 [+0.300, +0.300]" in said.split("tell these apart")[1]
    runs.clear()
    assert command.main([*arguments, "--json"]) == 0 and not runs
    found = json.loads(lines(capsys).splitlines()[-1])
    assert found["mixed"]["mean"] == 0.91 and found["paired"]["mixed minus experts"]["diff"] == 0.21
    folder = Path("runs/compare-mine")
    assert {path.suffix for path in folder.glob("compare.*")} == {".png", ".svg"}
    kept = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert len(kept) == 6
    assert all(
        {"key", "method", "seed", "settings", "commit", "machine", "rollouts"} <= set(record) for record in kept
    )


def test_the_estimate_is_what_such_runs_take(recipe, monkeypatch, capsys):
    """Against seconds counted by hand, for methods of each kind."""
    runs = []
    monkeypatch.setattr(launch, "execute", stand_in(runs))
    assert command.main(["--config", str(recipe), "--methods", "experts", "--seeds", "0", "--estimate"]) == 0
    assert len(runs) == 1 and "1 runs: about" in lines(capsys)
    settings = runs[0][1]
    pace = estimate.pace(settings, stand_in([])((), settings, Path("pace")))
    assert vars(pace) == pytest.approx({**SPEED, "rows": 8})
    by_name = {
        job.method: job for job in build_jobs(RECIPE, ["experts", "mixed", "mopd", "copd-mutual"], "rounds", None, 1)
    }
    evaluated = 16 * 0.01
    seconds = {name: estimate.seconds_of(job, pace) for name, job in by_name.items()}
    assert seconds["experts"] == pytest.approx(4 + 6 * 2 * 0.5 + 4 * evaluated)
    assert seconds["mixed"] == pytest.approx(4 + 6 * 2 * 0.5 + 3 * evaluated), "a batch twice as large"
    # two rounds in three of two experts, the others of the student; two edges, measured every five rounds
    assert seconds["mopd"] == pytest.approx(4 + 4 * 2 * 0.5 + 2 * 0.75 + 4 * evaluated + 2 * 0.125 * 6 / 5)
    assert seconds["copd-mutual"] == pytest.approx(4 + 6 * 2 * 0.5 + 4 * evaluated + 2 * 0.125 * 6 / 5)


def test_settings_of_one_method_and_devices(recipe, monkeypatch, capsys):
    runs = []
    monkeypatch.setattr(launch, "execute", stand_in(runs))
    arguments = ["--config", str(recipe), "--methods", "mixed", "mopd", "--seeds", "0", "--gpus", "3", "7"]
    assert command.main([*arguments, "--set", "mixed.learning_rate=5.0e-4"]) == 0
    rates = {name.split("-")[0]: settings["learning_rate"] for name, settings, _ in runs[1:]}
    assert rates == {"mixed": 5e-4, "mopd": 1e-3}
    assert {environment["CUDA_VISIBLE_DEVICES"] for *_, environment in runs[1:]} <= {"3", "7"}
    assert "2 at a time" in lines(capsys)


@pytest.mark.parametrize(("extra", "message"), [
    (["--methods", "mixd"], "method 'mixd' is unknown. Did you mean 'mixed'"),
    (["--budget", "0"], "--budget must be >= 1"),
    (["--budget", "3"], "is less than one round"),
    (["--methods", "mopd", "--set", "mixed.learning_rate=1"], "METHOD.FIELD=VALUE"),
    (["--config", "nowhere.yaml"], "nowhere.yaml"),
    (["--set", "mixed.learning_rat=1e-3"], "there is no field 'learning_rat'. Did you mean 'learning_rate'"),
    (["--set", "mopd.seed=3"], "this command sets 'seed' of each run"),
    (["--gpus", "0", "--jobs", "2"], "--jobs would have no effect"),
])  # fmt: skip
def test_what_cannot_be_is_said_before_anything_runs(recipe, monkeypatch, capsys, extra, message):
    monkeypatch.setattr(launch, "execute", lambda *_: pytest.fail("it ran"))
    with pytest.raises(SystemExit) as ended:
        command.main(["--config", str(recipe), *extra])
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_domains_that_cannot_be_pooled_are_named_before_anything_runs(recipe, monkeypatch, capsys):
    domains = [{"name": name, "builtin": f"agent/{name}", "n_train": 8, "n_eval": 4} for name in ("sums", "lookup")]
    recipe.write_text(yaml.safe_dump({**RECIPE, "builtin_base": "agent", "domains": domains}))
    monkeypatch.setattr(launch, "execute", lambda *_: pytest.fail("it ran"))
    with pytest.raises(SystemExit) as ended:
        command.main(["--config", str(recipe), "--seeds", "0"])
    assert ended.value.code == 2 and "the domains 'sums' and 'lookup' differ in `tools`" in capsys.readouterr().err
    runs = []
    monkeypatch.setattr(launch, "execute", stand_in(runs))
    assert command.main(["--config", str(recipe), "--methods", "copd", "--seeds", "0"]) == 0 and runs


def test_a_run_that_fails_is_shown_and_the_others_stay(recipe, tmp_path, capsys):
    code = "import sys; print('no such data', file=sys.stderr); sys.exit(3)"
    with pytest.raises(launch.RunFailed, match="(?s)exit status 3.*no such data"):
        launch.execute((sys.executable, "-c", code), {"output_dir": str(tmp_path)}, tmp_path / "run")


def test_a_run_whose_comparison_was_killed_is_ended_before_it_is_run_again(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    waiting = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "--config", str(recipe)])
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (tmp_path / "pid").write_text(str(other.pid))
    launch.end_orphan(tmp_path)
    assert other.poll() is None, "it bears the number, and is no run of this folder"
    (tmp_path / "pid").write_text(str(waiting.pid))
    reaped = threading.Thread(target=waiting.wait)  # as init does
    reaped.start()
    launch.end_orphan(tmp_path)
    reaped.join(60)
    assert waiting.returncode == -15 and not (tmp_path / "pid").exists()
    other.kill()
    other.wait()


def test_the_figure_is_clipped_and_has_a_row_for_each_method(tmp_path):
    paths = draw({"base": {0: 0.1, 1: 0.12}, "mixed": {0: 0.9, 1: 1.0}, "copd": {0: 0.95}}, tmp_path)
    assert all(path.stat().st_size > 5000 for path in paths)


@pytest.mark.slow
def test_two_methods_two_seeds_killed_and_resumed(tmp_path):
    """Real runs: killed after the first result, gone on with, and done in about the time that was said."""
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, "max_steps": 12, "per_device_train_batch_size": 32}))
    arguments = [sys.executable, "-m", "trl_copd.compare", "--config", str(path), "--output", str(tmp_path / "out"),
                 "--methods", "mixed", "copd", "--seeds", "0", "1"]  # fmt: skip
    results = tmp_path / "out" / "results.jsonl"
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 900
    while not (results.exists() and results.read_text().count("\n")) and time.monotonic() < deadline:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.5)
    process.kill()
    process.wait()
    before = len(Results(results).records)
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{4 - before} runs ({before} are done)" in done.stdout
    assert len(Results(results).records) == 4 and "minus" in done.stdout
    assert (tmp_path / "out" / "compare.svg").is_file()
