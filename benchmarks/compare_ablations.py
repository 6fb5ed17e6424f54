"""
One setting at a time: what `benchmarks/compare.py ablate` runs, and how it is read.

Each ablation maps the setting's values to a job; accuracy is the student's. The rest is that of one candidate of the
comparison, whose results are not run again: of `mutual`, 30:10 rounds, a fraction of 0.25 and beta 1; of a student
from the merge, 160 rounds at 5e-4 after 120 of experts apart. The first one leads from the paper's loss and ratio to
the form of `copd-student` that the search chose, each step on top of those before it; the second one goes from
the student as `CoPDConfig` has it to other forms.
"""

from statistics import mean
from typing import Any

from benchmarks.compare_methods import APART, Job, alone, mixed, mutual, student, taught


SEEDS = (0, 1, 2)
PHASES = ((13, 27), (20, 20), (24, 16), (30, 10), (34, 6))  # RLVR : OPD, cycles of 40: 0.5, 1, 1.5, 3, 6
LOSSES = ("sampled", "reverse_kl", "forward_kl", "jsd", "topk")
MERGES = ("average", "linear", "svd", "ties", "dare")
BRANCHES = {2: ("up", "back"), 3: ("up", "back", "down"), 4: None}  # a habit and a rare skill first
RANKS = (4, 16, 64)


def merged(parent: Job, method: str) -> Job:
    """The student that a merge makes of the parent's experts: one round at a rate of 0, then measured."""
    still = {"topology": "mutual", "student_init": "fresh", "rlvr_steps": 1, "opd_steps": 0, "learning_rate": 0.0}
    return Job({**still, "max_steps": 1, "merge_method": method, "overlap_every": 0}, parent, head=None)


def subset(job: Job, domains: tuple[str, ...] | None) -> Job:
    parent = subset(job.parent, domains) if job.parent else None
    return Job(job.fields, parent, job.head, domains)


def ranked(rank: int) -> Job:
    fields = {} if rank == 16 else {"lora_r": rank, "lora_alpha": 2 * rank}
    return taught(alone(1e-3, **fields), 5e-4, "merge", **fields)


_RATE = {"learning_rate": 2.5e-4}  # the student's
_SAMPLED = {**_RATE, "opd_loss": "sampled", "student_init": "fresh"}
_DEFAULT = {"learning_rate": 1e-3, "opd_loss": "sampled", "student_init": "fresh"}
ABLATIONS: dict[str, dict[str, Job]] = {
    "copd-student, step by step": {
        "15:10, sampled": student(15, 10, 0.5, 1.0, 1.0, rounds=146, **_SAMPLED),
        "+ forward_kl": student(15, 10, 0.5, 1.0, 1.0, rounds=146, student_init="fresh", **_RATE),
        "+ from the merge": student(15, 10, 0.5, 1.0, 1.0, rounds=146, **_RATE),
        "+ fraction 1/16": student(15, 10, 1 / 16, 1.0, 1.0, rounds=146, **_RATE),
        "+ 30:10": student(30, 10, 1 / 16, 1.0, 1.0, rounds=152, **_RATE),
        "+ final phase": student(30, 10, 1 / 16, 1.0, 1.0, **_RATE),
        "+ experts' beta 0.1": student(30, 10, 1 / 16, 0.1, 1.0, **_RATE),
    },
    "the defaults": {
        # the student of `CoPDConfig`: sampled, fresh, one rate for all, no final phase
        "15:10, 0.5": student(15, 10, 0.5, 1.0, 1.0, rounds=146, **_DEFAULT),
        "10:20, 0.25": student(10, 20, 0.25, 1.0, 1.0, rounds=138, **_DEFAULT),
        "+ forward_kl": student(10, 20, 0.25, 1.0, 1.0, rounds=138, **{**_DEFAULT, "opd_loss": "forward_kl"}),
        "+ from the merge": student(10, 20, 0.25, 1.0, 1.0, rounds=138, **_RATE),
        "+ final phase": student(10, 20, 0.25, 1.0, 1.0, rounds=110, **_RATE),
        "mutual instead": mutual(1e-3, 10, 20, 0.25, opd_loss="sampled"),
        "and forward_kl": mutual(1e-3, 10, 20, 0.25),
    },
    "opd_fraction, mutual 13:27": {str(share): mutual(1e-3, 13, 27, share) for share in (0.25, 0.5)},
    "RLVR : OPD, mutual": {f"{steps[0]}:{steps[1]}": mutual(1e-3, *steps, 0.25) for steps in PHASES},
    "opd_beta, mutual": {str(beta): mutual(1e-3, 30, 10, 0.25, beta) for beta in (0.1, 1.0, 10.0)},
    "opd_fraction, mutual": {str(share): mutual(1e-3, 30, 10, share) for share in (0.0625, 0.25, 0.5)},
    "opd_loss, student from the merge": {loss: taught(APART, 5e-4, "merge", loss) for loss in LOSSES},
    "merge_method, experts apart": {method: merged(APART, method) for method in MERGES},
    "merge_method, mutual": {method: merged(mutual(1e-3, 30, 10, 0.25), method) for method in MERGES},
    "branches, student from the merge": {
        str(count): subset(taught(APART, 5e-4, "merge"), names) for count, names in BRANCHES.items()
    },
    "branches, mixed": {
        # as many rollouts as that student and its experts
        str(count): subset(mixed(5e-4, max_steps=round((120 * count + 160) / count)), names)
        for count, names in BRANCHES.items()
    },
    "LoRA rank, student from the merge": {str(rank): ranked(rank) for rank in RANKS},
}

# ---- The pilot study: what an OPD phase gives, against the overlap at its start ---------------------------------

_WATCHED = {"eval_strategy": "steps", "eval_steps": 10, "n_eval": 200, "per_device_eval_batch_size": 200}
PILOT = (mutual(1e-3, 30, 10, 0.25, **_WATCHED), mutual(1e-3, 120, 40, 0.25, **_WATCHED))
PILOT_ROUNDS = 10  # of OPD, over which the gain is taken


def pilot_points(record: dict[str, Any], phases: list[tuple[str, int, int]]) -> list[tuple[float, float, float]]:
    """
    Each edge in each OPD phase: overlap at its start, gain and gap.

    Returns:
        `list[tuple]`: Overlap in [0, 1]; the learner's gain in accuracy on the teacher's domain over the phase's first
        `PILOT_ROUNDS`; and how far the teacher was ahead of it there at the start.
    """
    found = []
    for _, start, _ in (span for span in phases if span[0] == "opd"):
        before, after = (record["evaluations"].get(str(step)) for step in (start, start + PILOT_ROUNDS))
        if before is None or after is None:
            continue
        for edge, curve in record["edges"].items():
            teacher, learner = edge.split("->")
            overlap = dict(zip(*curve, strict=True)).get(start)
            if overlap is not None:
                gain = after[learner][teacher] - before[learner][teacher]
                found.append((overlap, gain, before[teacher][teacher] - before[learner][teacher]))
    return found


def correlation(points: list[tuple[float, float]]) -> float:
    """Pearson's r; 0 for fewer than three points or a constant."""
    if len(points) < 3:
        return 0.0
    xs, ys = zip(*points, strict=True)
    x0, y0 = mean(xs), mean(ys)
    sx, sy = (sum((v - m) ** 2 for v in vs) for vs, m in ((xs, x0), (ys, y0)))
    return sum((x - x0) * (y - y0) for x, y in points) / (sx * sy) ** 0.5 if sx and sy else 0.0


def partial_correlation(points: list[tuple[float, float, float]]) -> float:
    """Correlation of the first two given the third."""
    xy, xz, yz = (correlation([(point[i], point[j]) for point in points]) for i, j in ((0, 1), (0, 2), (1, 2)))
    rest = (1 - xz**2) * (1 - yz**2)
    return (xy - xz * yz) / rest**0.5 if rest > 1e-12 else 0.0
