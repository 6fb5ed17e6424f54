"""Domains of unequal kinds: equal budgets, equal searches, and the table."""

import pytest
from compare_records import record
from test_compare import spent

from benchmarks.compare import recipe
from benchmarks.compare_results import Results, key
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
