"""The comparison's jobs, and made-up runs of them, for its tests."""

from benchmarks import compare_ablations
from benchmarks.compare_methods import METHODS
from benchmarks.compare_results import key


NAMES = ("up", "down", "back", "rotate")
JOBS = {key(job): job for method in METHODS.values() for job in method.candidates}
OTHERS = {key(job): job for jobs in compare_ablations.ABLATIONS.values() for job in jobs.values()}


def record(job, seed, level, **more):
    """A run in which each adapter has `level` on its own domain, half of it elsewhere, and the student between."""
    matrix = {name: {d: level if d == name else level / 2 for d in NAMES} for name in NAMES}
    matrix |= {"base": dict.fromkeys(NAMES, 0.1), "student": dict.fromkeys(NAMES, level * 0.8)}
    common = {"rollouts": 10, "tokens": 20, "train_seconds": 30.0, "matrix": matrix, "curves": {}}
    return {"key": key(job), "seed": seed, **common, **more}
