"""
Tricks from elsewhere, tried on the search seeds: what is run, and the table. `benchmarks/tricks.py` has each of them.

Everything is `mopd-merge-again` with one thing changed: experts after `HEAD` rounds, their mean as the student, `TAIL`
rounds of the student. A trick of another loss has a reference with that loss.
"""

import sys
from pathlib import Path
from statistics import mean
from typing import Any


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.compare_baselines import AGAIN, BASELINES  # noqa: E402
from benchmarks.compare_methods import CHEAP, EXPERTS, SEARCH_SEEDS, TAIL, Job, Method, taught  # noqa: E402
from benchmarks.compare_results import Results, accuracy, domains  # noqa: E402


RATE = 2.5e-4
MORE = (102, 103)  # for what wins on the search seeds, and its references
PLAIN, SAMPLED, TOKENS = "mopd-merge-again", "sampled", "token-mean"  # references
_QUICK = {name: CHEAP[name] for name in ("overlap_every", "share_prompts")}
_ITS_STUDENT = dict.fromkeys(("up", "down", "back", "rotate"), ".")


def _run(trick: dict[str, Any] | None = None, loss: str = "forward_kl", **fields: Any) -> Method:
    job = taught(AGAIN, RATE, "merge", loss, **_QUICK, **fields)
    return Method("student", (Job(job.fields, job.parent, job.head, baseline=trick),))


def _target(own: float, others: float = 0.0) -> Method:
    return _run({"trick": "target", "own": own, "others": others})


def _top(k: int, trick: dict[str, Any] | None = None) -> Method:
    return _run(trick, "topk", opd_top_k=k)


def _final_rlvr(rounds: int) -> Method:
    """The last rounds of the student's are RLVR on all data in place of distillation."""
    before = taught(AGAIN, RATE, "merge", max_steps=TAIL - rounds, **_QUICK)
    fields = {"method": "mixed", "learning_rate": RATE, "max_steps": rounds // EXPERTS, **_QUICK}
    return Method("student", (Job(fields, before, None, adapters=_ITS_STUDENT),))


TRICKS: dict[str, Method] = {
    PLAIN: BASELINES[PLAIN],
    "the same once more": _target(1.0001),  # how far a difference that means nothing leads
    SAMPLED: _run(loss="sampled"),
    TOKENS: _run(loss_type="dapo"),
    "top-2": _top(2),
    "top-4": _top(4),
    "token-share": _run({"trick": "token-share"}, loss_type="dapo"),
    **{f"bounded-ratio, {a}": _run({"trick": "bounded-ratio", "alpha": a}, "sampled") for a in (0.1, 0.5, 0.9)},
    "all-teachers, sum": _target(1.0, 1.0),
    "all-teachers, mean": _target(1 / EXPERTS, 1 / EXPERTS),
    **{f"beyond, {own}": _target(own) for own in (1.25, 1.5, 2.0)},
    **{f"final-rlvr, {rounds}": _final_rlvr(rounds) for rounds in (20, 60)},
    **{f"teacher-top-{k}": _top(k, {"trick": "teacher-top-k"}) for k in (2, 4)},
}
REFERENCES = {name: PLAIN for name in TRICKS if name != PLAIN} | {
    "token-share": TOKENS,
    **{name: SAMPLED for name in TRICKS if name.startswith("bounded-ratio")},
    **{f"teacher-{name}": name for name in ("top-2", "top-4")},
}


def scores(results: Results) -> dict[str, dict[int, dict[str, Any]]]:
    """The record of each run by seed; runs without one are left out."""
    found = {}
    for name, method in TRICKS.items():
        records = {seed: results.find(method.candidates[0], seed) for seed in SEARCH_SEEDS + MORE}
        if kept := {seed: record for seed, record in records.items() if record is not None}:
            found[name] = kept
    return found


def tricks_table(results: Results) -> str:
    """Each seed by itself, with the differences to the reference; empty unless a trick was run."""
    found = scores(results)
    if not set(found) - {PLAIN}:
        return ""
    seeds = sorted({seed for records in found.values() for seed in records})
    lines = [f"| Run | {' | '.join(map(str, seeds))} | mean | `back` | reference | minus it, seed by seed | CPU s |"]
    lines.append("|---" * (len(seeds) + 6) + "|")
    for name, records in found.items():
        method, reference = TRICKS[name], REFERENCES.get(name)
        values = {seed: accuracy(method, record) for seed, record in records.items()}
        theirs = {seed: accuracy(TRICKS[reference], r) for seed, r in found.get(reference, {}).items()}
        cells = [f"{values[seed]:.3f}" if seed in values else "" for seed in seeds]
        cells += [f"{mean(values.values()):.3f}", f"{mean(domains(method, r)['back'] for r in records.values()):.3f}"]
        gaps = ", ".join(f"{values[seed] - theirs[seed]:+.3f}" for seed in values if seed in theirs)
        seconds = mean(record["train_seconds"] for record in records.values())
        lines.append(f"| {name} | {' | '.join(cells)} | {reference or ''} | {gaps} | {seconds:.0f} |")
    return "\n".join(lines)
