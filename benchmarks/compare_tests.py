"""
Two tests that were written down before any method had seen them: skills of which one is made of two others
(`transfer`), and domains of unequal kinds (`unequal`). What is run, and their tables.

Every method but separate experts gives rollouts to where something is left to learn (`allocation: adaptive`). All have
as many of them, and three candidates in the search.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.compare_baselines import chosen  # noqa: E402
from benchmarks.compare_methods import Job, Method  # noqa: E402
from benchmarks.compare_results import Results, accuracy, domains  # noqa: E402
from trl_copd.compare.intervals import interval, paired, span  # noqa: E402


EXPERT_RATES, MIXED_RATES = (1e-3, 5e-4, 2e-3), (5e-4, 2.5e-4, 1e-3)
AGAINST = ("copd-student", "mixed-adaptive")


@dataclass(frozen=True)
class Test:
    """
    Args:
        recipe (`str`): Its recipe.
        experts (`int`): Domains.
        rounds (`int`): Rounds of one branch that every method has.
        rows (`int`): Rollouts of a branch in a round.
    """

    recipe: str
    experts: int
    rounds: int
    rows: int

    def job(self, **fields: Any) -> Job:
        return Job(fields, recipe=self.recipe)

    def allocated(self, **fields: Any) -> Job:
        """Ends with the budget; the number of rounds only says when it would end at the latest."""
        limits = {"max_steps": self.rounds, "max_rollouts": self.rows * self.rounds}
        return self.job(allocation="adaptive", allocation_floor=0.05, **limits, **fields)

    def alone(self, rate: float) -> Job:
        apart = {"topology": "mutual", "student_init": "fresh", "rlvr_steps": 1, "opd_steps": 0}
        return self.job(**apart, learning_rate=rate, max_steps=self.rounds // self.experts)

    def mixed_adaptive(self, rate: float) -> Job:
        return self.allocated(method="mixed", learning_rate=rate)

    def mopd(self, expert_rate: float, final: float) -> Job:
        """Experts apart, then a student that starts from their mean, for a share of the rollouts."""
        last = round(self.rounds * final)
        phases = {"topology": "mopd", "rlvr_steps": self.rounds - last, "opd_steps": last * self.experts}
        return self.allocated(**phases, learning_rate=2.5e-4, expert_learning_rate=expert_rate)

    def student(self, expert_rate: float, fraction: float) -> Job:
        last = {"final_opd_steps": round(self.rounds * 0.28)}
        teaching = {"opd_fraction": fraction, "opd_beta": [0.1 if fraction < 0.1 else 1.0] * self.experts + [1.0]}
        return self.allocated(**last, **teaching, learning_rate=2.5e-4, expert_learning_rate=expert_rate)

    def mutual(self, rate: float, rlvr: int, opd: int) -> Job:
        phases = {"topology": "mutual", "student_init": "fresh", "rlvr_steps": rlvr, "opd_steps": opd}
        return self.allocated(**phases, opd_fraction=0.25, learning_rate=rate)

    def methods(self, mutual: bool = True) -> dict[str, Method]:
        alone = tuple(map(self.alone, EXPERT_RATES))
        mopd = ((1e-3, 0.28), (1e-3, 0.45), (5e-4, 0.28))  # the experts' rate, the student's share of the rollouts
        taught = ((1e-3, 1 / 16), (1e-3, 0.25), (5e-4, 0.25))  # the experts' rate, and their share of cross prompts
        phases = ((1e-3, 30, 10), (1e-3, 13, 27), (5e-4, 13, 27))
        found = {
            "base": Method("base", alone),
            "experts": Method("experts", alone),
            "average": Method("student", alone),
            "mixed-adaptive": Method("student", tuple(map(self.mixed_adaptive, MIXED_RATES))),
            "mopd-merge": Method("student", tuple(self.mopd(*pair) for pair in mopd)),
            "copd-student": Method("student", tuple(self.student(*pair) for pair in taught), copd=True),
        }
        if mutual:
            found["copd-mutual"] = Method("student", tuple(self.mutual(*each) for each in phases), copd=True)
        return found


TRANSFER = Test("compare_transfer", experts=3, rounds=360, rows=128)
UNEQUAL = Test("compare_unequal", experts=4, rounds=400, rows=64)
TESTS = {"transfer": TRANSFER.methods(), "unequal": UNEQUAL.methods(mutual=False)}


def table_of(study: str, results: Results, searched: Results | None = None) -> str:
    """What each method has on one of `TESTS`, with the paired differences of `AGAINST`; empty if nothing was run."""
    methods = TESTS[study]
    runs = {name: chosen(method, results, searched or results) for name, method in methods.items()}
    scores = {
        name: {seed: accuracy(methods[name], record) for seed, record in records.items()}
        for name, records in runs.items()
        if records
    }
    if not scores:
        return ""
    names = list(next(record for records in runs.values() for record in records.values())["matrix"]["base"])
    lines = [
        f"| Method | mean | 95 % | {' | '.join(names)} | {' | '.join(f'{a} minus it' for a in AGAINST)} | CPU s |"
    ]
    lines.append("|---" * (len(names) + len(AGAINST) + 4) + "|")
    for name, values in scores.items():
        rows = [domains(methods[name], record) for record in runs[name].values()]
        cells = [f"{mean(values.values()):.3f}", span(interval(list(values.values())))]
        cells += [f"{mean(row[domain] for row in rows):.3f}" for domain in names]
        for ours in AGAINST:
            gap = paired(scores.get(ours, {}), values) if name != ours else {}
            cells.append(f"{gap['diff']:+.3f} {span(gap['ci95'], '+')}".strip() if gap else "")
        trained = methods[name].read != "base"
        cells.append(f"{mean(record['train_seconds'] for record in runs[name].values()):.0f}" if trained else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
