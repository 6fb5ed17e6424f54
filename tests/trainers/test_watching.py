"""Watching a run: where its numbers go (trackers, tables of completions), the live view, and the best model."""

import io
import json
import logging
import math
import os
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from peft import PeftModel
from tiny import build_experts, build_trainer, distance, letter_reward, rows, tiny_model, weights
from transformers import TrainerCallback

from trl_copd import CoPDConfig, Expert
from trl_copd.schedule import Schedule
from trl_copd.show.progress import PhaseProgress, choose_progress
from trl_copd.topology import build_topology


CYCLE = {"rlvr_steps": 2, "opd_steps": 1, "max_steps": 3, "overlap_every": 1, "overlap_edges": "all"}


def experts(count=2):
    return [Expert(e.name, e.train_dataset, letter_reward, eval_dataset=rows(40 + i, 4))
            for i, e in enumerate(build_experts(count))]  # fmt: skip


# ---- Trackers -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """One run with every tracker that is installed, and what it logged."""
    folder = tmp_path_factory.mktemp("tracked")
    names = [name for name in ("trackio", "tensorboard", "wandb") if _installed(name)]
    with pytest.MonkeyPatch.context() as patch:
        folders = {"WANDB_DIR": ".", "TENSORBOARD_LOGGING_DIR": "tensorboard"}
        for key, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true", **folders}.items():
            patch.setenv(key, str(folder / value) if key in folders else value)
        trainer = build_trainer(
            folder / "out", experts(), report_to=names, project=folder.name, run_name="watched", log_completions=True,
            eval_strategy="steps", eval_steps=3, hub_token="hf_SECRET", generation_kwargs={"hf_token": "hf_SECRET"},
            matrix_at_end=False, **CYCLE,
        )  # fmt: skip
        del trainer.args.generation_kwargs["hf_token"]  # `generate` would refuse it; the callbacks read `to_dict`
        trainer.args.model_init_kwargs = {"token": "hf_SECRET"}
        trainer.train()
        matrix = trainer.capability_matrix()  # outside of the run: TRL's timings would make trackio raise
    assert set(matrix) == {"base", "math", "code", "student"}
    keys = {key for log in trainer.state.log_history for key in log}
    return folder, names, {_as_in_trackers(key) for key in keys if "/" in key}


def _installed(name):
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def _as_in_trackers(key):
    return f"eval/{key.removeprefix('eval_')}" if key.startswith("eval_") else f"train/{key}"


def _no_secret(folder):
    return not [path for path in folder.rglob("*") if path.is_file() and b"hf_SECRET" in path.read_bytes()]


def test_trackio(tracked):
    folder, names, keys = tracked
    if "trackio" not in names:
        pytest.skip("trackio is not installed")
    import sqlite3

    database = Path(os.environ["TRACKIO_DIR"], f"{folder.name}.db")  # see conftest.py
    with sqlite3.connect(database) as connection:
        logged = [json.loads(row) for (row,) in connection.execute("select metrics from metrics")]
        (config,) = [json.loads(row) for (row,) in connection.execute("select config from configs")]
    found = {key: value for entry in logged for key, value in entry.items()}
    assert keys <= set(found)
    assert {"train/math/reward", "train/student->math@code/opd/kl", "eval/student/accuracy"} <= keys
    for name in ("math", "code", "student"):
        assert found[f"completions/{name}"]["_type"] == "trackio.table"
    assert config["topology"] == "student" and config["rlvr_steps"] == 2
    assert config["model_init_kwargs"] == {"token": None} and _no_secret(database.parent)


def test_tensorboard(tracked):
    folder, names, keys = tracked
    if "tensorboard" not in names:
        pytest.skip("tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(next((folder / "tensorboard").rglob("events*")).parent)).Reload()
    assert keys <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("train/math->student/opd/overlap")] == [0, 1, 2]
    assert _no_secret(folder / "tensorboard")


def test_wandb(tracked):
    folder, names, keys = tracked
    if "wandb" not in names:
        pytest.skip("wandb is not installed")
    import wandb

    summary = dict(wandb.run.summary)
    wandb.finish()
    assert keys <= set(summary) and {"completions/math", "completions/student"} <= set(summary)
    assert _no_secret(folder / "wandb")


def test_settings_keep_no_secret(tmp_path):
    args = CoPDConfig(
        str(tmp_path),
        use_cpu=True,
        bf16=False,
        hub_token="hf_1",
        model_init_kwargs={"token": "hf_2", "dtype": "float32"},
        generation_kwargs={"nested": {"api_key": "3", "max": 4}},
    )
    shown = args.to_dict()
    assert shown["hub_token"] is None
    assert shown["model_init_kwargs"] == {"token": None, "dtype": "float32"}
    assert shown["generation_kwargs"] == {"nested": {"api_key": None, "max": 4}}
    assert args.model_init_kwargs["token"] == "hf_2"  # the run keeps it


# ---- Completions ----------------------------------------------------------------------------------------------------


def test_completions_of_each_branch_with_the_edges_of_cross_rows(tmp_path, capsys):
    trainer = build_trainer(tmp_path, experts(), log_completions=True, num_completions_to_print=8, **CYCLE)
    taught = {}
    teach = trainer.teaching.teach

    def watch(learner, faults, batch, edges):
        teach(learner, faults, batch, edges)
        advantages, mask = batch["advantages"], batch["completion_mask"]
        taught[learner] = [edge.label for edge in edges], ((advantages * mask).sum(1) / mask.sum(1))

    trainer.teaching.teach = watch
    trainer.train()
    rlvr, opd = (pd.read_parquet(tmp_path / "completions" / f"completions_0000{step}.parquet") for step in (2, 3))
    assert set(rlvr["branch"]) == {"math", "code"} and set(rlvr["edge"]) == {""} and len(rlvr) == 16
    assert rlvr["letter_reward"].notna().all()
    assert opd.groupby("branch").size().to_dict() == {"math": 8, "code": 8, "student": 8}
    for name, (labels, advantages) in taught.items():
        cross = opd[(opd["branch"] == name) & (opd["edge"] != "")]
        assert list(cross["edge"]) == labels and cross["letter_reward"].isna().all()
        assert list(cross["advantage"]) == pytest.approx(advantages.tolist())
        native = opd[(opd["branch"] == name) & (opd["edge"] == "")]
        assert len(native) == (0 if name == "student" else 4) and native["letter_reward"].notna().all()
    printed = capsys.readouterr().out
    for title in ("Step 1: math", "Step 1: code", "Step 3: student"):
        assert printed.count(title) == 1
    assert "Step 1: student" not in printed  # it rests in RLVR rounds
    assert "student->math@code" in printed.replace("\n", "")


# ---- When overlap is measured ---------------------------------------------------------------------------------------


def test_rewards_of_one_name_are_told_apart(tmp_path):
    """TRL would put both into one metric, and the table would have two columns in one."""
    pair = [lambda completions, **_: [1.0] * len(completions), lambda completions, **_: [0.25] * len(completions)]
    trainer = build_trainer(tmp_path, [Expert("math", rows(0), pair)], topology="mutual", opd_steps=0, max_steps=1,
                            log_completions=True, max_completion_length=2)  # fmt: skip
    trainer.train()
    log = trainer.state.log_history[0]
    assert log["rewards/<lambda>/mean"] == 1.0 and log["math/rewards/<lambda>_2/mean"] == 0.25
    table = pd.read_parquet(next((tmp_path / "completions").glob("*.parquet")))
    assert set(table["<lambda>"]) == {1.0} and set(table["<lambda>_2"]) == {0.25}


def test_overlap_is_logged_at_the_round_that_it_is_measured_at(tmp_path):
    measured = {"overlap_every": 2, "overlap_edges": "all"}
    trainer = build_trainer(tmp_path, rlvr_steps=2, opd_steps=2, max_steps=4, logging_steps=4, **measured)
    seen = []
    measure = trainer.overlap.compare

    def watch(edge, rollouts):
        seen.append(trainer.state.global_step)
        return measure(edge, rollouts)

    trainer.overlap.compare = watch
    trainer.train()
    logged = [log["step"] for log in trainer.state.log_history if "math->student/opd/overlap" in log]
    assert logged == sorted(set(seen)) == [0, 2]
    assert trainer.state.log_history[0]["math->student/opd/overlap"] == 1.0  # adapters start as copies
    assert "math/reward" not in trainer.state.log_history[0]


# ---- The best model -------------------------------------------------------------------------------------------------


def score_by_round(trainer, accuracies):
    """Let evaluations find the accuracy of the student that is given for the round."""
    calls = []

    def matrix(num_generations=1):
        calls.append((trainer.state.global_step, weights(trainer, "math")))
        value = accuracies[trainer.state.global_step]
        trainer.last_matrix = {name: {"math": value, "code": value} for name in ("base", *trainer.experts, "student")}
        return trainer.last_matrix

    trainer.capability_matrix = matrix
    return calls


BEST = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1,
        "save_strategy": "steps"}  # fmt: skip


@pytest.mark.parametrize("topology", ["student", "mutual"])
def test_every_adapter_of_the_best_checkpoint_is_loaded(tmp_path, topology):
    trainer = build_trainer(tmp_path, experts(), topology=topology, save_total_limit=1, **BEST, **CYCLE)
    assert (trainer.args.metric_for_best_model, trainer.args.greater_is_better) == ("eval_student/accuracy", True)
    calls = score_by_round(trainer, {1: 0.25, 2: 0.75, 3: 0.5})
    kept = {}

    class Keep(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            kept[state.global_step] = {name: weights(trainer, name) for name in trainer.branches}

    trainer.add_callback(Keep())
    trainer.train()
    assert trainer.state.best_metric == 0.75 and trainer.state.best_global_step == 2
    for name in trainer.branches:
        assert distance(weights(trainer, name), kept[2][name]) == 0
        assert distance(kept[3][name], kept[2][name]) > 0
    assert distance(calls[-1][1], kept[2]["math"]) == 0  # the matrix at the end is that of the best model
    trainer.save_model()
    for name in trainer.experts:
        saved = PeftModel.from_pretrained(tiny_model(), tmp_path / "experts" / name)
        for key, value in saved.state_dict().items():
            if "lora_" in key:
                own = trainer.peft_model.state_dict()[key.replace(".default.", f".{name}.")]
                assert torch.equal(value, own)


def test_a_resumed_run_keeps_the_best_model(tmp_path):
    settings = {**CYCLE, **BEST, "max_steps": 2}
    first = build_trainer(tmp_path, experts(), **settings)
    score_by_round(first, {1: 0.75, 2: 0.5})
    first.train()
    again = build_trainer(tmp_path, experts(), **{**settings, "max_steps": 3})
    score_by_round(again, {3: 0.25})
    again.train(resume_from_checkpoint=True)
    assert again.state.best_metric == 0.75
    assert again.state.best_model_checkpoint.endswith("checkpoint-1")
    assert distance(weights(again, "student"), weights(first, "student")) == 0


def test_an_accuracy_that_was_not_measured_is_no_best_one(tmp_path):
    trainer = build_trainer(tmp_path, experts(), **BEST, **CYCLE)
    score_by_round(trainer, {1: 0.25, 2: None, 3: 0.125})
    trainer.train()
    assert trainer.state.best_global_step == 1
    assert [log["step"] for log in trainer.state.log_history if "eval_student/accuracy" in log] == [1, 3]
    score_by_round(trainer, {3: None})
    assert all(math.isnan(trainer.evaluate()[f"eval_math/{key}"]) for key in ("accuracy", "math"))


def test_a_learning_rate_may_follow_the_student(tmp_path):
    """It falls after an evaluation that is no better: an accuracy is to rise, not to fall as a loss is."""
    scheduler = {"lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": {"factor": 0.1, "patience": 0}}
    trainer = build_trainer(tmp_path, experts(), eval_strategy="steps", eval_steps=1, **scheduler, **CYCLE)
    assert trainer.args.metric_for_best_model == "eval_student/accuracy"
    score_by_round(trainer, {1: 0.25, 2: 0.125, 3: 0.5})
    trainer.train()
    rates = [log["learning_rate"] for log in trainer.state.log_history if "learning_rate" in log]
    assert rates == pytest.approx([1e-2, 1e-2, 1e-3])


def test_a_best_checkpoint_that_is_gone_does_not_end_the_run(tmp_path, caplog):
    trainer = build_trainer(tmp_path, **CYCLE)
    trainer.state.best_model_checkpoint = str(tmp_path / "checkpoint-1")
    before = weights(trainer, "math")
    with caplog.at_level(logging.WARNING):
        trainer._load_best_model()
    assert "is gone" in caplog.text and distance(before, weights(trainer, "math")) == 0


# ---- The live view --------------------------------------------------------------------------------------------------


def a_view(topology="mutual", names=("math", "code", "logic"), at=17, total=40):
    from trl_copd.show.frame import RunView

    edges = build_topology(topology, names)
    view = RunView(edges, Schedule(5, 5), total)
    for step in range(at + 1):
        if step % 5 == 0:
            view.update({f"{edge.label}/opd/overlap": 1 - step / 100 for edge in edges.edges}, step)
        if step:
            logs = {f"{name}/{key}": step / 100 for name in names for key in ("reward", "entropy")}
            view.update({**logs, "phase": 0.0, "math/math_reward/infrastructure_failures": 0.5}, step)
    view.update(
        {f"eval_{a}/{d}": 0.25 + 0.5 * (a == "student") for a in ("base", *names, "student") for d in names}, at
    )
    return view


def shown(view, width, height, now=34.0):
    from rich.console import Console

    from trl_copd.show.frame import frame

    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, record=True)
    console.print(frame(view, width, height, now))
    return console.export_text()


def test_frame_says_where_the_run_is():
    pytest.importorskip("rich")
    text = shown(a_view(), 80, 40)
    for words in ("OPD  3/5", "cycle 2/4", "round 17/40", "0:34, 0:46 left", "code → math", "accuracy @17"):
        assert words in text, words
    math_row = next(line for line in text.splitlines() if line.startswith("│ math "))
    assert "0.17" in math_row and math_row.split()[-2] == "8"  # half a row each round for 17 rounds
    assert next(line for line in text.splitlines() if line.startswith("│ student ")).split()[2:6] == ["75.0"] * 4


def test_a_constant_one_is_a_full_bar():
    pytest.importorskip("rich")
    from trl_copd.show.frame import RunView

    edges = build_topology("mutual", ("math", "code"))
    view = RunView(edges, Schedule(5, 5), 10)
    for step in (1, 2):
        view.update({"math/reward": 1.0, "code/reward": 0.0, "math->code/opd/overlap": 1.0, "phase": 0.0}, step)
    lines = shown(view, 80, 40).splitlines()
    rows = {
        start: next(line for line in lines if f"│ {start} " in line) for start in ("math → code", "math  ", "code  ")
    }
    assert "████" in rows["math  "] and "▁▁▁▁" in rows["code  "] and "████" in rows["math → code"]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 20), (100, 40), (200, 50), (80, 12)])
@pytest.mark.parametrize("experts", [1, 3, 8])
@pytest.mark.parametrize("topology", ["student", "mutual"])
def test_frame_fits_the_terminal(width, height, experts, topology):
    pytest.importorskip("rich")
    names = tuple(f"an_expert_with_a_long_name_{index}" for index in range(experts))
    lines = shown(a_view(topology, names), width, height).splitlines()
    assert max(map(len, lines)) == width
    assert len(lines) <= max(height, 6 + experts)  # its branches are always shown
    assert not [line for line in lines[2:-1] if line and not (line[0] == line[-1] == "│")]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def screen_of(text, width=100, height=120):
    pyte = pytest.importorskip("pyte")
    screen = pyte.Screen(width, height)
    screen.set_mode(pyte.modes.LNM)  # a terminal's driver turns a line feed into a new line
    pyte.Stream(screen).feed(text)
    return [line.rstrip() for line in screen.display], screen


def test_live_view_on_a_terminal(tmp_path, monkeypatch):
    """What is printed and logged meanwhile stands above one picture, which is the run's last state."""
    pytest.importorskip("rich")
    terminal = Terminal()
    for key, value in {"TERM": "xterm", "COLUMNS": "100", "LINES": "120"}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    handler = logging.StreamHandler(terminal)
    logger = logging.getLogger("a_library")
    logger.addHandler(handler)
    trainer = build_trainer(tmp_path, experts(), disable_tqdm=False, log_completions=True, num_completions_to_print=1,
                            **CYCLE)  # fmt: skip

    class Speak(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 3:
                print("a line that is printed")
                logger.warning("a line that is logged")

    trainer.add_callback(Speak())
    trainer.train()
    print("after the run")
    logger.removeHandler(handler)
    assert handler.stream is terminal and sys.stdout is terminal
    lines, screen = screen_of(terminal.getvalue())
    text = "\n".join(lines)
    assert not screen.cursor.hidden
    for said in ("a line that is printed", "a line that is logged", "round 3/3"):
        assert text.count(said) == 1, (said, text)
    assert text.count("╭─ CoPD") == 1 and text.index("a line that is logged") < text.index("╭─ CoPD")
    assert lines[[i for i, line in enumerate(lines) if line.startswith("╰") and line.endswith("╯")][-1] + 1] == (
        "after the run"
    )
    mean = 100 * sum(trainer.last_matrix["student"].values()) / 2
    assert f"{mean:.1f}" in next(line for line in lines if line.startswith("│ student  ") and "learns" not in line)


def test_a_run_that_fails_gives_the_terminal_back(tmp_path, monkeypatch):
    pytest.importorskip("rich")
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", terminal)
    trainer = build_trainer(tmp_path, disable_tqdm=False, **CYCLE)
    monkeypatch.setattr(trainer.round, "_sample", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trainer.train()
    assert sys.stdout is terminal and not screen_of(terminal.getvalue())[1].cursor.hidden


def test_narrowing_the_terminal_leaves_no_rest_of_the_old_picture():
    """The old picture's lines wrap when the terminal is narrowed: as many rows more are erased."""
    pytest.importorskip("rich")
    from rich.console import Console

    from trl_copd.show.live import LiveProgress

    console = Console(file=Terminal(), force_terminal=True, width=80, height=40)
    live = LiveProgress(topology=None, schedule=None, console=console)
    live.view = a_view()
    live._start()
    height = sum("│" in line or "╭" in line or "╰" in line for line in console.file.getvalue().splitlines())
    before = console.file.tell()
    console.width = 50
    live._refresh()
    erased = console.file.getvalue()[before:].split("╭")[0].count("\x1b[1A")
    live._stop()
    assert height <= erased <= 2 * height


@pytest.mark.parametrize(("case", "live"), [("terminal", True), ("no terminal", False), ("dumb", False),
                                            ("switched off", False), ("no rich", False)])  # fmt: skip
def test_when_the_view_is_live(case, live, monkeypatch, tmp_path):
    pytest.importorskip("rich")
    monkeypatch.setattr(sys, "stdout", io.StringIO() if case == "no terminal" else Terminal())
    monkeypatch.setenv("TERM", "dumb" if case == "dumb" else "xterm")
    if case == "no rich":
        monkeypatch.setattr("trl_copd.show.progress.is_rich_available", lambda: False)
    shown = choose_progress(build_topology("mutual", ("a", "b")), Schedule(2, 2), live_view=case != "switched off")
    assert isinstance(shown, PhaseProgress) != live


def test_view_counts_ungraded_rows_over_longer_logs():
    pytest.importorskip("rich")
    from trl_copd.show.frame import RunView

    view = RunView(build_topology("mutual", ("a", "b")), Schedule(2, 2), 8)
    for step in (4, 8):  # logging_steps=4: a log holds the mean of four rounds
        view.update({"a/r/unreadable": 0.5, "a/reward": math.nan, "b/reward": None, "phase": 0.0}, step)
    assert view.ungraded == {"a": 4.0} and view.last("a/reward") is None
