"""Figures from a run folder written by hand: what is read, what is drawn, and what is said when files are missing."""

import json
import logging
import math
import subprocess
import sys
from pathlib import Path

import pytest

from trl_copd import history, report
from trl_copd import style as looks
from trl_copd.plots import lines, style


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
    assert history.mean_by_learner(edges) == {"s": ([1, 2, 3], [0.5, 0.75, 0.5]), "a": ([3], [0.25])}


def test_edges_that_take_turns_have_a_mean():
    turns = {"a->s": ([0, 40], [1.0, 0.6]), "b->s": ([20, 60], [0.8, 0.4])}
    assert history.mean_by_learner(turns) == {"s": ([0, 20, 40, 60], [1.0, 0.9, 0.7, 0.5])}
    assert history.range_by_learner(turns)["s"][1:] == ([1.0, 0.8, 0.6, 0.4], [1.0, 1.0, 0.8, 0.6])


def test_the_students_line_is_broken_between_phases():
    steps, values = lines.broken([1, 2, 3, 10, 11], [0.1, 0.2, 0.3, 0.4, 0.5])
    assert steps == [1, 2, 3, 3, 10, 11] and values[:3] == [0.1, 0.2, 0.3] and math.isnan(values[3])
    assert lines.broken([10, 20, 30], [0.0, 0.5, 1.0]) == ([10, 20, 30], [0.0, 0.5, 1.0])
    assert lines.broken([], []) == ([], [])


def test_running_means():
    assert looks.running_mean([1.0, 2.0, 6.0, 4.0], 1) == [1.5, 3.0, 4.0, 5.0]
    assert looks.running_mean([1.0, 2.0], 0) == [1.0, 2.0]


def test_spread_moves_only_what_is_too_close():
    assert style.spread([0.25, 0.25, 0.875], 0.125) == [0.1875, 0.3125, 0.875]
    assert style.spread([0.0, 0.5], 0.125) == [0.0, 0.5]
    assert style.spread([0.9, 1.0, 1.0], 0.25) == pytest.approx([0.5, 0.75, 1.0], abs=0.01)  # stays in the panel


def test_short_names_keep_both_ends():
    assert looks.short("code") == "code"
    assert looks.short("formal_proofs_in_lean", 11) == "forma…_lean" and len(looks.short("x" * 40)) == looks.LONGEST


def test_colours_repeat_with_dashes():
    run = history.Run(tuple(f"e{i}" for i in range(10)) + ("student",), [], [], {})
    looks = {(style.color_of(run, name), style.dashes_of(run, name)) for name in run.branches}
    assert len(looks) == 11 and style.dashes_of(run, "e7") == "-" != style.dashes_of(run, "e8")


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
    assert list(mean.get_ydata())[2:-2] == looks.running_mean(values, 2)[2:-2]


def test_edges_drawn_are_the_logged_values_in_one_colour_per_domain(tmp_path):
    run, ax = history.load_run(write(tmp_path)), axes()
    lines.draw_edges(ax, run, run.per_edge("opd/overlap"))
    assert drawn(ax) == {
        "student->code@math": ([2], [0.7]),
        "math->student": ([2, 4], [0.9, 0.95]),
        "code->student": ([2], [0.8]),
    }
    assert [line.get_color() for line in ax.lines] == [looks.PALETTE[0], looks.PALETTE[0], looks.PALETTE[1]]


@pytest.mark.parametrize(("count", "grid"), [(2, (1, 2)), (5, (1, 5)), (8, (2, 4))])
def test_overlap_has_a_panel_per_learner_in_which_no_two_lines_look_alike(tmp_path, count, grid):
    from matplotlib.figure import Figure

    experts = [f"e{index}" for index in range(count)]
    edges = [f"{teacher}->{learner}" for teacher in experts for learner in experts if teacher != learner]
    metrics = {f"{edge}/opd/overlap": index / 100 for index, edge in enumerate(edges)}
    log = [{"step": step, **metrics} for step in (5, 10)]
    run = history.load_run(write(tmp_path, plan={**PLAN, "branches": experts}, log=log))
    figure = Figure()
    lines.overlap_figure(figure, run)
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
    colors = image.get_array()  # from white at 0 to one colour at 1, whatever else the run has
    for place, value in {(0, 0): 0.5, (1, 0): 0.75, (2, 0): 0.25, (1, 1): 0.0}.items():
        assert tuple(colors[place]) == pytest.approx([1 - value * (1 - full) for full in style.FULL])


def test_matrix_shows_standard_errors_where_the_number_of_rows_is_known(tmp_path):
    ax = axes()
    report.draw_matrix(ax, history.load_run(write(tmp_path, plan={**PLAN, "held_out": {"math": 100, "code": 25}})))
    errors = {text.xy: text.get_text() for text in ax.texts if text.get_text().startswith("±")}
    assert errors[0, 0] == "±5.0" and errors[1, 0] == "±8.7"  # sqrt(.5 * .5 / 100), sqrt(.25 * .75 / 25)
    assert errors[2, 0] == "±5.0" and (1, 1) not in errors  # half of sqrt(.05^2 + .0866^2); not measured
    assert [label.get_text() for label in ax.get_xticklabels()] == ["math\nn = 100", "code\nn = 25", "mean"]


def test_shares_are_drawn_from_0_to_1_and_other_rewards_are_not(tmp_path):
    run, ax = history.load_run(write(tmp_path)), axes()
    report.draw_lines(ax, run, run.rewards)
    assert ax.get_ylim() == (-0.03, 1.06)
    lengths = history.load_run(write(tmp_path, log=[{"step": s, "math/reward": 20.0 + s} for s in (1, 2)]))
    ax = axes()
    report.draw_lines(ax, lengths, lengths.rewards)
    assert ax.get_ylim()[1] < 23


def test_a_null_run_looks_null(tmp_path):
    """An overlap that moves by a thousandth fills a fiftieth of its axis, not all of it."""
    edges = {"math->student": ([1, 2], [0.999, 1.0]), "code->student": ([1, 2], [1.0, 0.9995])}
    run, ax = history.load_run(write(tmp_path)), axes()
    report.draw_lines(ax, run, history.mean_by_learner(edges), bands=history.range_by_learner(edges))
    low, high = ax.get_ylim()
    assert high - low > 0.05 and history.range_by_learner(edges) == {"student": ([1, 2], [0.999, 0.9995], [1.0, 1.0])}
    (band,) = ax.collections
    assert {round(y, 4) for _, y in band.get_paths()[0].vertices} == {0.999, 0.9995, 1.0}


def test_student_over_rounds_beside_other_runs(tmp_path):
    log = [{"step": s, "student/math/reward": s / 10, "student/code/reward": 0.5, "math/reward": 1.0} for s in (1, 2)]
    log.append({"step": 2, "eval_student/accuracy": 0.3, "eval_student/math": 0.1})
    run, ax = history.load_run(write(tmp_path / "run", log=[*log, {"step": 4}])), axes()
    write(tmp_path / "mixed", matrix={"base": {"math": 0.5, "code": 0.5}, "student": {"math": 0.9, "code": 0.7}})
    apart = {
        "math": {"math": 1.0, "code": 0.0},
        "code": {"math": 0.0, "code": 0.5},
        "student": {"math": 0.0, "code": 0},
    }
    write(tmp_path / "apart", matrix=apart)
    beside = report.references(run, {"mixed": tmp_path / "mixed", "experts": tmp_path / "apart"})
    assert beside == {"base": 0.375, "mixed": pytest.approx(0.8), "experts": 0.75}
    report.draw_student(ax, run, beside)
    shown = drawn(ax)
    assert shown["math, sampled"] == ([1, 2], [0.1, 0.2]) and shown["code, sampled"] == ([1, 2], [0.5, 0.5])
    assert shown["held out, averaged"] == ([2, 4], [0.3, 0.625])  # the matrix is the last point
    assert {text.get_text() for text in ax.texts} >= {"base 0.38", "mixed 0.80", "experts 0.75"}
    write(tmp_path / "none", matrix=None)
    with pytest.raises(ValueError, match="no accuracy to compare with"):
        report.references(run, {"mixed": tmp_path / "none"})


def test_who_learnt_when(tmp_path):
    log = [{"step": s, "math/rests": float(s > 2), "code/rests": 0.0, "math/reward": 0.5} for s in (1, 2, 3, 4)]
    folder = write(tmp_path, log=log)
    run, ax = history.load_run(folder), axes()
    report.draw_allocation(ax, run)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["math", "code"]
    filled = [area.get_paths()[0].get_extents().x0 for area in ax.collections if area.get_alpha() > 0]
    assert filled == [0, 1, 0, 1, 2, 3]  # math learns in the first two rounds, code in all
    assert "allocation" in [path.stem for path in report.draw_report(folder, formats=["png"])]


def test_titles_name_run_topology_and_seed(tmp_path):
    plan = {**PLAN, "fingerprint": {"settings": {"seed": 3}}}
    assert style.title_of(history.load_run(write(tmp_path / "words", plan=plan))) == (
        "words · topology student · seed 3 · 4 rounds"
    )
    assert style.title_of(history.load_run(write(tmp_path / "x", plan=None, log=None))) == "x"


# The whole report.


def test_figures_of_a_complete_run(tmp_path, caplog):
    paths = report.draw_report(write(tmp_path))
    assert paths == [tmp_path / "figures" / f"{name}.png" for name in NAMES]
    for path in paths:
        assert_png(path)
        assert path.with_suffix(".svg").read_text().startswith("<?xml")
        assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    assert not caplog.records
    assert report.draw_report(tmp_path, formats=["svg"]) == [path.with_suffix(".svg") for path in paths]


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
    command = [sys.executable, "-m", "trl_copd.report", "--formats", "png", "--"]
    root = Path(report.__file__).parent.parent
    done = subprocess.run([*command, write(tmp_path)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "figures" / f"{name}.png") for name in NAMES]
    failed = subprocess.run([*command, tmp_path / "nowhere"], cwd=root, capture_output=True, text=True)
    assert failed.returncode == 2 and "Nothing to draw" in failed.stderr and "Traceback" not in failed.stderr


def test_options_with_several_runs(tmp_path, capsys):
    runs = [str(write(tmp_path / name)) for name in ("a", "b")]
    assert report.main([*runs, "--formats", "pdf"]) == 0
    assert [path.name for path in tmp_path.glob("side_by_side.*")] == ["side_by_side.pdf"]
    assert report.main([*runs, "--beside", "mixed=x"]) == 2 and "Name one, or leave it out" in capsys.readouterr().err
    assert report.main([runs[0], "--output", str(tmp_path)]) == 2 and "own folder" in capsys.readouterr().err


def test_report_itself_imports_neither_torch_nor_trl():
    sources = [Path(report.__file__), *Path(style.__file__).parent.glob("*.py")]
    code = "\n".join(path.read_text() for path in sources)
    imported = {line.split()[1].split(".")[0] for line in code.splitlines() if line.startswith(("import", "from"))}
    assert not imported & {"torch", "trl", "transformers", "peft", "matplotlib"}
