"""
Who gets a round's rollouts: the branches, and within a branch the domains, on which something is still to be learnt.

Pure data, no torch. Every process decides alike, from numbers that were gathered.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .schedule import BranchPlan


ALLOCATIONS = ("uniform", "adaptive")
ENOUGH = 0.1  # share of groups whose rewards differ from which on a domain counts in full
SMOOTHING = 0.7  # weight of what was known of a domain before its latest generation
GROUPS = 4  # of a generation with fewer groups the signal counts for less


@dataclass
class Turns:
    """
    Hands out turns in proportion to weights, in a fixed order and without chance.

    Args:
        credit (`dict[str, float]`): What each name has coming, in turns; grows by its weight, a turn costs 1.
    """

    credit: dict[str, float] = field(default_factory=dict)

    def due(self, weights: Mapping[str, float]) -> list[str]:
        """The names that have a turn now: each has one in every 1 / weight calls, for weights in (0, 1]."""
        found = []
        for name, weight in weights.items():
            self.credit[name] = self.credit.get(name, 1.0 - weight) + weight
            if self.credit[name] >= 1.0 - 1e-9:
                self.credit[name] -= 1.0
                found.append(name)
        return found

    def split(self, weights: Mapping[str, float], count: int) -> list[str]:
        """`count` turns shared out in proportion to the weights; what is left over counts for the next call."""
        total, drawn = sum(weights.values()), []
        for _ in range(count):
            for name, weight in weights.items():
                self.credit[name] = self.credit.get(name, 0.0) + weight / total
            name = max(weights, key=lambda name: self.credit[name])  # the first of those that are alike
            self.credit[name] -= 1.0
            drawn.append(name)
        return drawn


@dataclass
class Allocation:
    """
    Watches what is learnt on every domain and gives rollouts to where there is something left to learn.

    A domain's *promise* is the room above its accuracy, smoothed over generations: in full as long as the rewards of
    at least one group in ten differ, and in proportion to that share below it, since a group whose rewards are all
    alike moves nothing. More signal counts for nothing: skills that half of all rollouts get right would otherwise
    take the rollouts from those that are rarely rewarded, which need them most. Every domain is taken to have
    signal until enough groups say otherwise, so that a few without a reward settle nothing. An expert takes part in a
    round in proportion to its promise, relative to the highest; the one with the highest always does. One whose domain
    is learnt rests: it samples nothing, and still teaches. `floor` wakes it now and then, so that a domain that is
    forgotten, or at last rewarded, is found again.

    Args:
        domains (`Sequence[str]`): All domains.
        floor (`float`): Least weight of a domain, in (0, 1].
        signal (`dict[str, float]`): Share of groups whose rewards differ, smoothed, in [0, 1]; starts unknown.
        accuracy (`dict[str, float]`): Mean reward of the domain's first reward function, smoothed.
    """

    domains: Sequence[str]
    floor: float = 0.1
    signal: dict[str, float] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)
    turns: Turns = field(default_factory=Turns)
    given: dict[str, float] = field(default_factory=dict)  # the weights that the latest decision was made by
    resting: list[str] = field(default_factory=list)  # the branches that it lets rest

    def share(self, domains: Collection[str]) -> dict[str, float]:
        """The weights by which a branch shares its prompts out among domains."""
        self.given = self.weights(domains)
        return self.given

    def observe(self, domain: str, signal: float, accuracy: float, groups: int | None = None) -> None:
        """
        Take in what one generation has shown of a domain.

        Args:
            domain (`str`): The domain.
            signal (`float`): Share of its groups whose rewards differ, in [0, 1]; NaN if none was graded.
            accuracy (`float`): Mean of its first reward function; NaN if none was graded.
            groups (`int`, *optional*): How many groups that were. `None`: enough to say whether there is signal.
        """
        if signal == signal:  # not NaN
            last = self.signal.get(domain, signal if groups is None else 1.0)
            before = SMOOTHING if groups is None else SMOOTHING ** min(1.0, groups / GROUPS)
            self.signal[domain] = before * last + (1 - before) * signal
        if accuracy == accuracy:
            last = self.accuracy.get(domain, accuracy)
            self.accuracy[domain] = SMOOTHING * last + (1 - SMOOTHING) * accuracy

    def promise(self, domain: str) -> float:
        """What a generation on the domain promises to teach, in [0, 1]; 1 for one that was never seen."""
        if domain not in self.signal:
            return 1.0
        accuracy = self.accuracy.get(domain, 0.0)
        room = 1.0 - accuracy if 0.0 <= accuracy <= 1.0 else 1.0  # other rewards than 0 to 1 say nothing of the room
        return min(1.0, self.signal[domain] / ENOUGH) * room

    def gap(self, domain: str, learner: Mapping[str, float]) -> float:
        """How far a learner's accuracy is below its teacher's on a domain, in [0, 1]; 1 while it is unknown."""
        known = learner.get(domain, float("nan"))
        if known != known:
            return 1.0
        # a teacher that samples nothing of its own, as a frozen one, is taken for perfect
        return max(0.0, self.accuracy.get(domain, 1.0) - known)

    def weights(self, domains: Collection[str] | None = None) -> dict[str, float]:
        """Each domain's share of rounds relative to the most promising one, in [floor, 1]."""
        promises = {name: self.promise(name) for name in (self.domains if domains is None else domains)}
        highest = max(promises.values())
        if highest <= 0.0:  # nothing to tell them apart by
            return dict.fromkeys(promises, 1.0)
        return {name: max(self.floor, value / highest) for name, value in promises.items()}

    def rest(self, plans: Mapping[str, BranchPlan]) -> dict[str, BranchPlan]:
        """The plans of a round, without the part of those branches whose turn it is not."""
        native = [name for name, plan in plans.items() if plan.native and name in self.domains]
        self.resting = []
        if not native:
            return dict(plans)
        self.given = self.weights(native)
        due = self.turns.due(self.given)
        self.resting = [name for name in native if name not in due]
        return {
            name: replace(plan, native=False, edges=()) if name in self.resting else plan
            for name, plan in plans.items()
        }

    def state_dict(self) -> dict[str, Any]:
        return {"signal": dict(self.signal), "accuracy": dict(self.accuracy), "credit": dict(self.turns.credit)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.signal, self.accuracy = dict(state["signal"]), dict(state["accuracy"])
        self.turns.credit = dict(state["credit"])
