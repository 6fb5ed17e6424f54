"""Figures from a run folder written by hand: what is read, what is drawn, and what is said when files are missing."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from trl_copd import history, report


pytest.importorskip("matplotlib")

PLAN = {
    "experts": ["math", "code"],
    "branches": ["math", "code", "student"],
    "topology": "student",
    "rlvr_steps": 2,
    "opd_steps": 1,
    "phases": [
        {"phase": "rlvr", "start": 0, "end": 2},
        {"phase": "opd", "start": 2, "end": 3},
        {"phase": "rlvr", "start": 3, "end": 5},
        {"phase": "opd", "start": 5, "end": 6},
    ],
}
LOG = [
    {"step": 1, "math/reward": 0.25, "code/reward": 0.5, "student/reward": None, "math/entropy": 1.0, "loss": 0.1},
    {"step": 2, "math/reward": 0.375, "math->student/opd/overlap": 0.9, "code->student/opd/overlap": 0.8},
    {"step": 2, "math->student/opd/symmetric_kl": 0.125, "student->code@math/opd/overlap": 0.7},
    {"step": 3, "math/reward": 0.5, "code/reward": float("nan"), "math->student/opd/kl": 0.01},
    {"step": 4, "math/reward": 0.625, "math->student/opd/overlap": 0.95, "code->student/opd/overlap": None},
    {"step": 4, "eval_math/reward": 1.0, "math/rewards/accuracy": 1.0, "math->student/opd/symmetric_kl": 0.0625},
    {"train_runtime": 3.0, "step": 4},
]
MATRIX = {
    "student": {"math": 0.75, "code": 0.5},
    "base": {"math": 0.5, "code": 0.25},
    "code": {"math": 0.25, "code": 0.5},
    "math": {"math": 0.75, "code": None},
}
NAMES = ["reward", "overlap", "capability_matrix", "summary"]


def write(folder: Path, *, plan=PLAN, log=LOG, matrix=MATRIX, state: str = "trainer_state.json") -> Path:
    (folder / state).parent.mkdir(parents=True, exist_ok=True)
    history = None if log is None else {"log_history": log}
    for name, data in (("copd.json", plan), (state, history), ("capability_matrix.json", matrix)):
        if data is not None:
            (folder / name).write_text(json.dumps(data))
    return folder


def axes():
    from matplotlib.figure import Figure

    return Figure().subplots()


def drawn(ax) -> dict:
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines}


def assert_png(path: Path) -> None:
    from matplotlib.image import imread

    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    height, width, _ = imread(path).shape
    assert 700 <= width <= 3000 and 500 <= height <= 3000
    pixels = imread(path)[..., :3]
    border = [pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]
    assert pixels.min() < 0.5 and all((edge == 1).all() for edge in border), f"{path.name} is empty, or clipped"


# Reading: pure functions on plain data.


def test_series_leaves_out_none_nan_and_longer_keys():
    assert history.series(LOG, "reward") == {
        "math": ([1, 2, 3, 4], [0.25, 0.375, 0.5, 0.625]),
        "code": ([1], [0.5]),
        "eval_math": ([4], [1.0]),
    }
    assert history.series(LOG, "opd/overlap") == {
        "math->student": ([2, 4], [0.9, 0.95]),
        "code->student": ([2], [0.8]),
        "student->code@math": ([2], [0.7]),
    }
    assert history.series([], "reward") == {}


def test_series_of_a_resumed_run_takes_the_later_entry():
    log = [{"step": 1, "a/reward": 0.1}, {"step": 2, "a/reward": 0.2}, {"step": 2, "a/reward": 0.3}]
    assert history.series([*log, {"step": 1, "a/reward": 0.4}], "reward") == {"a": ([1, 2], [0.4, 0.3])}


def test_phase_spans_are_cut_at_the_last_log():
    assert history.phase_spans(PLAN, LOG) == [("rlvr", 0, 2), ("opd", 2, 3), ("rlvr", 3, 4)]
    assert history.phase_spans(PLAN, [{"step": 6}])[-1] == ("opd", 5, 6)
    assert history.phase_spans({}, LOG) == history.phase_spans(PLAN, []) == []


def test_edge_parts():
    assert history.edge_parts("math->code") == ("math", "code", "math")
    assert history.edge_parts("student->math-2@code_b") == ("student", "math-2", "code_b")
    assert history.edge_parts("a-->b") == ("a-", "b", "a-")  # a name may end in a hyphen


def test_means():
    edges = {"a->s": ([1, 2], [0.5, 1.0]), "b->s": ([2, 3], [0.5, 0.0]), "s->a@b": ([3], [0.25])}
    assert history.mean_by_learner(edges) == {"s": ([2], [0.75]), "a": ([3], [0.25])}
    assert report.running_mean([1.0, 2.0, 6.0, 4.0], 1) == [1.5, 3.0, 4.0, 5.0]
    assert report.running_mean([1.0, 2.0], 0) == [1.0, 2.0]


def test_spread_moves_only_what_is_too_close():
    assert report.spread([0.25, 0.25, 0.875], 0.125) == [0.1875, 0.3125, 0.875]
    assert report.spread([0.0, 0.5], 0.125) == [0.0, 0.5]
    assert report.spread([0.9, 1.0, 1.0], 0.25) == pytest.approx([0.5, 0.75, 1.0], abs=0.01)  # stays in the panel


def test_short_names_keep_both_ends():
    assert report.short("code") == "code"
    assert report.short("formal_proofs_in_lean", 11) == "forma…_lean" and len(report.short("x" * 40)) == report.LONGEST


def test_colours_repeat_with_dashes():
    run = history.Run(tuple(f"e{i}" for i in range(10)) + ("student",), [], [], {})
    looks = {(report.color_of(run, name), report.dashes_of(run, name)) for name in run.branches}
    assert len(looks) == 11 and report.dashes_of(run, "e7") == "-" != report.dashes_of(run, "e8")


def test_matrix_rows_are_base_experts_student_and_end_in_the_mean(tmp_path):
    assert history.matrix_rows(history.load_run(write(tmp_path))) == (
        ["base", "math", "code", "student"],
        ["math", "code"],
        [[0.5, 0.25, 0.375], [0.75, None, None], [0.25, 0.5, 0.375], [0.75, 0.5, 0.625]],
    )


def test_root_state_comes_before_checkpoints_and_the_latest_checkpoint_next(tmp_path):
    for number, value in ((9, 0.5), (10, 0.75)):  # as text, 9 comes after 10
        write(tmp_path, log=[{"step": 1, "math/reward": value}], state=f"checkpoint-{number}/trainer_state.json")
    (tmp_path / "checkpoint-11").mkdir()  # killed while it was being written
    (tmp_path / "checkpoint-best").mkdir()
    assert history.load_run(tmp_path).rewards == {"math": ([1], [0.75])}
    write(tmp_path)
    assert history.load_run(tmp_path).rewards["math"][1] == [0.25, 0.375, 0.5, 0.625]


# Drawing: the numbers on the axes are those of the log.


def test_lines_drawn_are_the_logged_values(tmp_path):
    run, ax = history.load_run(write(tmp_path)), axes()
    report.draw_lines(ax, run, run.rewards, smooth=True)
    assert drawn(ax) == {"math": ([1, 2, 3, 4], [0.25, 0.375, 0.5, 0.625]), "code": ([1], [0.5])}
    assert {text.get_text() for text in ax.texts} == {"math", "code", "OPD"}
    assert [(patch.get_x(), patch.get_width()) for patch in ax.patches] == [(2, 1)]  # the OPD phase, and it alone


def test_a_long_run_keeps_the_logged_values_under_the_running_mean(tmp_path):
    values = [step % 2 for step in range(48)]
    log = [{"step": step + 1, "math/reward": value} for step, value in enumerate(values)]
    run, ax = history.load_run(write(tmp_path, log=log)), axes()
    report.draw_lines(ax, run, run.rewards, smooth=True)
    logged, mean = ax.lines
    assert list(logged.get_ydata()) == values
    assert list(mean.get_ydata())[2:-2] == report.running_mean(values, 2)[2:-2]


def test_edges_drawn_are_the_logged_values_in_one_colour_per_domain(tmp_path):
    run, ax = history.load_run(write(tmp_path)), axes()
    report.draw_edges(ax, run, run.per_edge("opd/overlap"))
    assert drawn(ax) == {
        "student->code@math": ([2], [0.7]),
        "math->student": ([2, 4], [0.9, 0.95]),
        "code->student": ([2], [0.8]),
    }
    assert [line.get_color() for line in ax.lines] == [report.PALETTE[0], report.PALETTE[0], report.PALETTE[1]]


@pytest.mark.parametrize(("count", "grid"), [(2, (1, 2)), (5, (1, 5)), (8, (2, 4))])
def test_overlap_has_a_panel_per_learner_in_which_no_two_lines_look_alike(tmp_path, count, grid):
    from matplotlib.figure import Figure

    experts = [f"e{index}" for index in range(count)]
    edges = [f"{teacher}->{learner}" for teacher in experts for learner in experts if teacher != learner]
    metrics = {f"{edge}/opd/overlap": index / 100 for index, edge in enumerate(edges)}
    log = [{"step": step, **metrics} for step in (5, 10)]
    run = history.load_run(write(tmp_path, plan={**PLAN, "branches": experts}, log=log))
    figure = Figure()
    report.overlap_figure(figure, run)
    titles = {ax.get_title(): ax for ax in figure.axes if ax.get_title()}
    assert list(titles) == [f"{name} learns" for name in experts]
    for learner in experts:
        ax = titles[f"{learner} learns"]
        assert {line.get_label() for line in ax.lines} == {edge for edge in edges if edge.endswith(f"->{learner}")}
        assert len({line.get_color() for line in ax.lines}) == count - 1
        assert len({line.get_marker() for line in ax.lines}) == count - 1
        assert ax.get_ylim() == titles["e0 learns"].get_ylim()
        assert all(0 < y < ax.get_ylim()[1] for line in ax.lines for y in line.get_ydata() if y)
    rows, columns = grid
    assert len(figure.axes) == 2 * rows * columns
    assert [text.get_text() for text in figure.legends[0].get_texts()] == experts


def test_matrix_shows_accuracy_and_gain(tmp_path):
    ax = axes()
    report.draw_matrix(ax, history.load_run(write(tmp_path)))
    cells = {}
    for text in ax.texts:
        cells.setdefault(text.xy, []).append(text.get_text())
    cells = {(column, row): [text for text in texts if text] for (column, row), texts in cells.items()}
    assert cells[0, 0] == ["50.0"]  # base: no gain over itself
    assert cells[0, 1] == ["75.0", "+25.0"] and cells[0, 2] == ["25.0", "−25.0"]
    assert cells[1, 1] == cells[2, 1] == ["–"]  # not measured, so neither is the mean
    assert cells[2, 3] == ["62.5", "+25.0"]
    bold = {text.xy for text in ax.texts if text.get_weight() == "bold" and text.get_text()}
    assert bold == {(0, 1), (0, 3), (1, 2), (1, 3), (2, 3)}
    (image,) = ax.images
    colors = image.get_array()
    assert tuple(colors[0][0]) == (1, 1, 1)
    assert tuple(colors[1][0]) == pytest.approx(report.GAIN) and tuple(colors[2][0]) == pytest.approx(report.LOSS)


# The whole report.


def test_figures_of_a_complete_run(tmp_path, caplog):
    paths = report.draw_report(write(tmp_path))
    assert paths == [tmp_path / "figures" / f"{name}.png" for name in NAMES]
    for path in paths:
        assert_png(path)
    assert not caplog.records


def test_many_experts_with_long_names_are_not_clipped(tmp_path):
    experts = ["mathematics", "code-generation", "formal_proofs", "sql"]
    edges = [f"{teacher}->{learner}" for teacher in experts for learner in experts if teacher != learner]
    metrics = [f"{edge}/opd/{name}" for edge in edges for name in ("overlap", "symmetric_kl")]
    metrics += [f"{expert}/reward" for expert in experts]
    log = [{"step": step, **dict.fromkeys(metrics, 0.5 + step / 100)} for step in range(1, 31)]
    matrix = {name: dict.fromkeys(experts, 0.5) for name in ("base", *experts, "student")}
    for path in report.draw_report(write(tmp_path, plan={**PLAN, "branches": experts}, log=log, matrix=matrix)):
        assert_png(path)


@pytest.mark.parametrize(
    ("missing", "left", "said"),
    [
        ({"plan": None}, NAMES, "No copd.json"),
        ({"matrix": None}, ["reward", "overlap", "summary"], "has no capability_matrix.json"),
        ({"matrix": {"base": {}}}, ["reward", "overlap", "summary"], "has no capability_matrix.json"),
        ({"log": None}, ["capability_matrix", "summary"], "has no '<branch>/reward'"),
        ({"log": LOG[:1]}, ["reward", "capability_matrix", "summary"], "has no '<edge>/opd/overlap'"),
        (
            {"log": LOG[:1], "plan": {"branches": ["x"]}, "matrix": None},
            [],
            "has no reward, overlap or capability matrix",
        ),
    ],
)
def test_what_is_missing_is_said_and_the_rest_is_drawn(tmp_path, caplog, missing, left, said):
    with caplog.at_level(logging.WARNING):
        paths = report.draw_report(write(tmp_path, **missing))
    assert [path.stem for path in paths] == left
    assert said in caplog.text


@pytest.mark.parametrize("files", [None, {"log": None, "matrix": None}, {"log": [], "matrix": {}}])
def test_nothing_to_draw(tmp_path, files):
    folder = tmp_path / "run"
    if files is not None:
        write(folder, **files)
    with pytest.raises(FileNotFoundError, match=r"trainer_state\.json.*checkpoint-N.*capability_matrix\.json.*call"):
        report.draw_report(folder)
    assert not (folder / "figures").exists()


def test_a_cut_off_file_is_named(tmp_path):
    (write(tmp_path) / "capability_matrix.json").write_text('{"base": {"ma')
    with pytest.raises(ValueError, match=r"capability_matrix\.json' is not JSON"):
        report.draw_report(tmp_path)


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "trl-copd\[plots\]"'):
        report.draw_report(write(tmp_path))


def test_command_line(tmp_path):
    command = [sys.executable, "-m", "trl_copd.report"]
    root = Path(report.__file__).parent.parent
    done = subprocess.run([*command, write(tmp_path)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "figures" / f"{name}.png") for name in NAMES]
    failed = subprocess.run([*command, tmp_path / "nowhere"], cwd=root, capture_output=True, text=True)
    assert failed.returncode == 1 and "Nothing to draw" in failed.stderr and "Traceback" not in failed.stderr


def test_report_itself_imports_neither_torch_nor_trl():
    source = Path(report.__file__).read_text()
    imported = {line.split()[1].split(".")[0] for line in source.splitlines() if line.startswith(("import", "from"))}
    assert not imported & {"torch", "trl", "transformers", "peft", "matplotlib"}
