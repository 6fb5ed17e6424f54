"""The comparison's tables, figures and page: what is read out of made-up results, and out of the committed ones."""

import json
from statistics import mean

import pytest
from compare_records import JOBS, NAMES, OTHERS, record
from scipy import stats

from benchmarks import compare, compare_ablations, compare_curves, compare_page
from benchmarks.compare_added import added_table
from benchmarks.compare_methods import (
    ADDED_SKILL,
    APART,
    CLOSE,
    METHODS,
    NEW,
    OLD,
    SAWTOOTH,
    TRADE,
)
from benchmarks.compare_results import MORE_SEEDS, RESULTS, Results, best, key


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
    monkeypatch.setattr(compare_page, "ADDED", readme)
    monkeypatch.setattr(compare_page, "FIGURES", tmp_path)
    compare_page.update_page(results)
    text = page.read_text()
    assert text.count("| accuracy, seeds 0, 1, 2 |") == len(compare_ablations.ABLATIONS)
    assert "every edge in every OPD phase" in text
    assert "old" not in readme.read_text() and readme.read_text().count("\n| ") == 1 + len(compare_page.SHORT)
    assert "old" not in text and text.count("before\n<!--") == text.count("<!-- end -->\nafter") == 10
    assert text.count("\n| mixed |") == 2 and "1,000,000" not in text and "1000000" not in text
    for name in ("compare", "compare_overlap", "compare_ablations", "compare_pilot"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def test_the_committed_page_is_that_of_the_committed_results():
    parts = compare_page.page_parts(Results(RESULTS))
    for page in (compare_page.PAGE, compare_page.README, compare_page.ADDED):
        text = page.read_text()
        filled = text
        for name, content in parts.items():
            filled = compare_page.fill(filled, name, content)
        assert filled == text, f"{page.name}: run `python benchmarks/compare.py page`"


def test_a_skill_that_is_added(tmp_path):
    made = Results(tmp_path / "results.jsonl")
    three, four = dict.fromkeys(OLD, 0.75), dict.fromkeys(OLD, 0.5)
    for seed in (100, 101, 0, 1):
        for name, method in ADDED_SKILL.items():
            for rank, job in enumerate(method.candidates):
                new = {NEW: 1.0 - rank / 10 - (name == "added-mixed") / 5 + seed / 1000}
                row = three if name == "finished" else four | new
                made.add({"key": key(job), "seed": seed, "matrix": {method.read: row}})
    header, _, finished, alone, mixed, ours = added_table(made).splitlines()
    assert header.startswith("| Method | the three old skills | the new skill | all four |")
    assert finished == "| finished | 0.750 [0.750, 0.750] |  |  |  | 2 |"
    assert (
        alone.startswith("| added-rlvr | 0.500 [0.500, 0.500] | 1.000 ") and "| +0.000 [+0.000, +0.000] | 2 |" in alone
    )
    assert "| 0.800 " in mixed and "| +0.050 [+0.050, +0.050] | 2 |" in mixed
    assert ours.endswith("|  | 2 |")
    assert added_table(Results(tmp_path / "none.jsonl")) == ""


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
