"""The two tests that were written down before they were run: equal budgets, equal searches, and their tables."""

import pytest
from compare_records import record
from test_compare import spent

from benchmarks.compare import recipe
from benchmarks.compare_results import Results, key
from benchmarks.compare_tests import TESTS, TRANSFER, UNEQUAL, table_of
from trl_copd.compare.intervals import interval


SETUPS = {"transfer": TRANSFER, "unequal": UNEQUAL}


@pytest.mark.parametrize("study", TESTS)
def test_every_method_has_as_many_rollouts_and_candidates(study, tmp_path):
    test, budget = SETUPS[study], SETUPS[study].rows * SETUPS[study].rounds
    for method in TESTS[study].values():
        assert len({key(job) for job in method.candidates}) == len(method.candidates) == 3
        for job in method.candidates:
            settings = recipe(job, tmp_path, None)
            assert settings["per_device_train_batch_size"] == test.rows and len(settings["domains"]) == test.experts
            found = settings["max_rollouts"] if settings.get("allocation") else spent(job, tmp_path)
            assert found == budget


def test_the_table_of_a_test(tmp_path):
    made, methods = Results(tmp_path / "results.jsonl"), TESTS["transfer"]
    assert table_of("transfer", made) == ""
    levels = {"mixed-adaptive": 0.5, "copd-student": 0.75}
    for name, level in levels.items():
        for place, job in enumerate(methods[name].candidates):
            for seed in (100, 101):  # the last candidate is the best
                made.add(record(job, seed, level * (1 + place) / 3))
    for name, level in levels.items():
        for seed in (0, 1):
            made.add(record(methods[name].candidates[-1], seed, level + 0.1 * seed))
    head, _, mixed, ours = table_of("transfer", made).splitlines()
    assert "copd-student minus it | mixed-adaptive minus it" in head
    low, high = interval([0.4, 0.48])
    assert mixed.startswith(f"| mixed-adaptive | 0.440 | [{low:.3f}, {high:.3f}] |")
    assert "| +0.200 [" in mixed and "| -0.200 [" in ours and "nan" not in mixed + ours
