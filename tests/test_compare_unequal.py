"""Domains of unequal kinds, and a real language model: equal budgets, equal searches, and their tables."""

import pytest
from compare_records import record
from test_compare import spent

from benchmarks.compare import recipe
from benchmarks.compare_results import Results, key
from benchmarks.compare_smollm2 import SMOLLM2, smollm2_table
from benchmarks.compare_unequal import EXPERTS, ROUNDS, ROWS, UNEQUAL, unequal_table
from trl_copd.compare.intervals import interval


@pytest.mark.parametrize("name", UNEQUAL)
def test_every_method_has_as_many_rollouts_and_candidates(name, tmp_path):
    jobs = UNEQUAL[name].candidates
    assert len({key(job) for job in jobs}) == len(jobs) == 3
    for job in jobs:
        settings = recipe(job, tmp_path, None)
        assert settings["per_device_train_batch_size"] == ROWS and len(settings["domains"]) == EXPERTS
        found = settings["max_rollouts"] if settings.get("allocation") else spent(job, tmp_path)
        assert found == ROWS * ROUNDS


def test_the_table(tmp_path):
    made, levels = Results(tmp_path / "results.jsonl"), {"mixed-adaptive": 0.5, "copd-student": 0.75}
    assert unequal_table(made) == ""
    for name, level in levels.items():
        for place, job in enumerate(UNEQUAL[name].candidates):
            for seed in (100, 101):  # the last candidate is the best
                made.add(record(job, seed, level * (1 + place) / 3))
    for name, level in levels.items():
        for seed in (0, 1):
            made.add(record(UNEQUAL[name].candidates[-1], seed, level + 0.1 * seed))
    head, _, mixed, ours = unequal_table(made).splitlines()
    assert "copd-student minus it | mixed-adaptive minus it" in head
    low, high = interval([0.4, 0.48])
    assert mixed.startswith(f"| mixed-adaptive | 0.440 | [{low:.3f}, {high:.3f}] |") and mixed.endswith("| 2 |")
    assert "| +0.200 [" in mixed and "| -0.200 [" in ours and "nan" not in mixed + ours


def test_what_was_not_measured_is_left_out_of_the_table(tmp_path):
    made = Results(tmp_path / "results.jsonl")
    assert smollm2_table(made) == ""
    for name, matrix in {
        "experts": {"base": {"a": 0.1, "b": 0.3}, "a": {"a": 0.8}, "b": {"b": 0.6}, "student": {"a": 0.5, "b": 0.4}},
        "copd-student": {"student": {"a": 0.6, "b": 0.9}},
    }.items():
        job = SMOLLM2[name].candidates[0]
        made.add({**record(job, 0, 1.0), "matrix": matrix})
    rows = [line.split(" | ")[:5] for line in smollm2_table(made).splitlines()[2:]]
    assert [(row[0], row[1], *row[3:]) for row in rows] == [
        ("| base", "0.200", "0.100", "0.300"), ("| experts", "0.700", "0.800", "0.600"),
        ("| average", "0.450", "0.500", "0.400"), ("| copd-student", "0.750", "0.600", "0.900"),
    ]  # fmt: skip
