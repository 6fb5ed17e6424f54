"""What a run says at its end: numbers computed by hand, and commands that work."""

from trl_copd.show.summary import run_summary


MATRIX = {
    "base": {"sort": 0.25, "rev": 0.5},
    "sort": {"sort": 0.9, "rev": 0.5},
    "rev": {"sort": 0.25, "rev": 0.75},
    "student": {"sort": 0.75, "rev": 0.75},
}


def test_gains_come_with_intervals():
    lines = run_summary(MATRIX, {"sort": 100, "rev": 100}, ["sort", "rev"], "runs/x", "me/base").splitlines()
    # errors squared: (.1875 + .1875) / 400 of the student, (.1875 + .25) / 400 of the base; 1.96 of their root: .0884
    assert lines[0] == ("Student 0.750, base 0.375: +0.375 [+0.287, +0.463], a gain, averaged over 2 domain(s).")
    # sqrt((.1875 + .09) / 100) = .0527
    assert lines[1] == "  on sort: student 0.750, its expert 0.900: -0.150 [-0.253, -0.047], a loss"
    assert lines[2].endswith("+0.000 [-0.120, +0.120], no clear difference")
    assert "writes the student to runs/x and the experts to runs/x/experts/{sort,rev}." in lines[3]
    assert lines[5].endswith("PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained('me/base'), 'runs/x')")
    assert lines[6].split(None, 1)[1] == "trl-copd export runs/x --output runs/x-merged"


def test_without_the_number_of_rows_there_is_no_interval():
    lines = run_summary(MATRIX, {"sort": 100}, ["sort", "rev"], "x", None).splitlines()
    assert lines[0] == "Student 0.750, base 0.375: +0.375, averaged over 2 domain(s)."
    assert "[" in lines[1] and "[" not in lines[2]
    lengths = {name: {"a": 12.0} for name in ("base", "a", "student")}
    assert "+0.000, averaged" in run_summary(lengths, {"a": 9}, ["a"], "x", None)


def test_what_was_not_graded_is_not_compared():
    partial = {name: {**row, "rev": None} for name, row in MATRIX.items()}
    shown = run_summary(partial, {"sort": 100, "rev": 100}, ["sort", "rev"], "x", None)
    assert "base" not in shown.splitlines()[0] and "on rev" not in shown and "on sort" in shown
