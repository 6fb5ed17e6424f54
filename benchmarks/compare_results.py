"""Results of `benchmarks/compare.py`: one JSON object a run, how it is read, and which candidate it says is best."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.compare_methods import SEARCH_SEEDS as SEARCH_SEEDS  # noqa: E402
from benchmarks.compare_methods import Job, Method  # noqa: E402
from trl_copd.compare import results  # noqa: E402
from trl_copd.topology import STUDENT  # noqa: E402


RESULTS = ROOT / "docs" / "results" / "compare.jsonl"
SEEDS = (0, 1, 2, 3, 4)
MORE_SEEDS = (5, 6, 7, 8, 9)  # decided on after the table was seen, and read apart from it
MARGIN = 0.1  # accuracy by which a candidate may be behind after the first search seed


class Results(results.Results):
    """The results file, read by job."""

    def find(self, job: Job, seed: int) -> dict[str, Any] | None:
        return self.get(key(job), seed)


def key(job: Job) -> str:
    """Short hash of everything that a job is, the recipe's file excepted."""
    return hashlib.sha256(json.dumps(job.describe(), sort_keys=True).encode()).hexdigest()[:10]


def domains(method: Method, record: dict[str, Any]) -> dict[str, float]:
    """Accuracy of a method in each domain, in [0, 1], out of a run's capability matrix."""
    matrix = record["matrix"]
    if method.read == "experts":
        return {name: matrix[name][name] for name in matrix[STUDENT]}
    if method.read == "branches":
        branches = [row for name, row in matrix.items() if name in matrix[STUDENT]]
        return {name: sum(row[name] for row in branches) / len(branches) for name in matrix[STUDENT]}
    return dict(matrix[method.read])


def accuracy(method: Method, record: dict[str, Any]) -> float:
    """Mean over the domains."""
    values = domains(method, record).values()
    return sum(values) / len(values)


def best(method: Method, results: Results) -> Job:
    """The candidate with the highest mean accuracy over the search seeds, of those that were run with all of them."""
    if len(method.candidates) == 1:
        return method.candidates[0]
    scores = {}
    for job in method.candidates:
        found = [results.find(job, seed) for seed in method.search]
        if all(found):
            scores[key(job)] = sum(accuracy(method, record) for record in found if record), job
    if not scores:
        raise SystemExit(f"Not searched with seeds {method.search}: {method}. Run `compare.py search` first.")
    return max(scores.values(), key=lambda pair: pair[0])[1]


def contenders(method: Method, results: Results, seed: int) -> list[Job]:
    """The candidates that are at most `MARGIN` behind the best one with this seed: the others are dropped."""
    found = [(job, results.find(job, seed)) for job in method.candidates]
    scores = [(job, accuracy(method, record)) for job, record in found if record is not None]
    return [job for job, score in scores if score >= max(score for _, score in scores) - MARGIN]
