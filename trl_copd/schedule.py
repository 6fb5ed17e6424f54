"""Which phase a round is in, and what each branch does in it. Pure data, no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .topology import STUDENT, Edge, Topology


Phase = Literal["rlvr", "opd"]


@dataclass(frozen=True)
class BranchPlan:
    """
    What one branch does in one round.

    Args:
        native (`bool`): Whether it samples on its own domain and learns from its own rewards (RLVR).
        edges (`tuple[Edge, ...]`): Live edges into the branch, which share its cross prompts.
    """

    native: bool
    edges: tuple[Edge, ...] = ()

    @property
    def idle(self) -> bool:
        return not self.native and not self.edges


@dataclass(frozen=True)
class Schedule:
    """
    Cycles of `rlvr_steps` rounds of RLVR followed by `opd_steps` rounds of OPD.

    Args:
        rlvr_steps (`int`): Rounds of RLVR in a cycle, >= 0.
        opd_steps (`int`): Rounds of OPD in a cycle, >= 0.
        static (`bool`): Same number of rounds of either phase over the run, but all RLVR rounds first (`"mopd"`).
        reuse (`int`): Rounds that one generation serves; the phases of a static schedule are multiples of it.
        final_opd_steps (`int`): Rounds at the end, part of the total, in which frozen experts teach the student alone.
        budget (`int`, *optional*): Rollouts of the whole run; it says when the last phase begins, and not the rounds.
        reserve (`int`): Rollouts of it that are kept for that phase.
        began (`list[int]`): The round in which that phase began, once it has.
    """

    rlvr_steps: int
    opd_steps: int
    static: bool = False
    reuse: int = 1
    final_opd_steps: int = 0
    budget: int | None = None
    reserve: int = 0
    began: list[int] = field(default_factory=list)

    def advance(self, round_index: int, overlaps: Sequence[float], spent: int = 0) -> None:
        """
        Call before every round, in order.

        Args:
            round_index (`int`): The round, 0-based.
            overlaps (`Sequence[float]`): Overlap of every edge measured at its start; empty if nothing was measured.
            spent (`int`): Rollouts so far.
        """
        due = self.budget is not None and self.reserve > 0 and self.budget - spent <= self.reserve
        if due and not self.began and round_index % self.reuse == 0:
            self.began.append(round_index)

    def state_dict(self) -> dict[str, Any]:
        return {"began": list(self.began)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.began[:] = state["began"]

    @property
    def cycle_steps(self) -> int:
        return self.rlvr_steps + self.opd_steps

    def rlvr_rounds(self, total: int) -> int:
        """Number of RLVR rounds among the first `total` rounds of the cyclic schedule."""
        if self.static and self.budget is not None:
            return self.began[0] if self.began else total
        cycles, rest = divmod(total, self.cycle_steps)
        rounds = cycles * self.rlvr_steps + min(rest, self.rlvr_steps)
        return rounds - rounds % self.reuse if self.static else rounds

    def final_start(self, total: int) -> int:
        """First round of the final phase, if there is one."""
        if self.budget is not None:
            return self.began[0] if self.began else total
        start = max(0, total - self.final_opd_steps)
        return start - start % self.reuse

    def is_final(self, round_index: int, total: int) -> bool:
        """Whether the round belongs to the final phase."""
        return self.final_opd_steps > 0 and round_index >= self.final_start(total)

    def phase(self, round_index: int, total: int) -> Phase:
        """Phase of round `round_index` (0-based) in a run of `total` rounds."""
        return "opd" if self.is_final(round_index, total) else self._cyclic_phase(round_index, total)

    def _cyclic_phase(self, round_index: int, total: int) -> Phase:
        if self.static:
            return "rlvr" if round_index < self.rlvr_rounds(total) else "opd"
        return "rlvr" if round_index % self.cycle_steps < self.rlvr_steps else "opd"

    def cycle(self, round_index: int, total: int) -> int:
        """0-based index of the cycle that the round belongs to; a static schedule and a final phase are one each."""
        if self.is_final(round_index, total):
            start = self.final_start(total)
            return self._cyclic_cycle(start - 1) + 1 if start else 0
        return self._cyclic_cycle(round_index)

    def _cyclic_cycle(self, round_index: int) -> int:
        return 0 if self.static else round_index // self.cycle_steps

    def opd_begins(self, round_index: int, total: int) -> bool:
        """Whether the round is the first one of an OPD phase."""
        if self.phase(round_index, total) != "opd":
            return False
        before = round_index - 1
        if before < 0 or self.phase(before, total) != "opd":
            return True
        return self.cycle(before, total) != self.cycle(round_index, total)

    def phases(self, total: int) -> list[tuple[Phase, int, int]]:
        """The run as spans `(phase, start, end)`, start inclusive, end exclusive, in rounds."""
        spans: list[tuple[Phase, int, int]] = []
        for index in range(total):
            phase = self.phase(index, total)
            if spans and spans[-1][0] == phase and self.cycle(index, total) == self.cycle(index - 1, total):
                spans[-1] = (phase, spans[-1][1], index + 1)
            else:
                spans.append((phase, index, index + 1))
        return spans

    def plan(self, topology: Topology, round_index: int, total: int) -> dict[str, BranchPlan]:
        """
        What every branch does in the round, idle branches included.

        RLVR never pauses for an expert, except under `"mopd"` once RLVR is over and in the final phase, where experts
        are frozen. The student has no domain of its own and rests while the experts do RLVR.
        """
        opd = self.phase(round_index, total) == "opd"
        frozen = opd and (topology.name == "mopd" or self.is_final(round_index, total))
        return {
            branch: BranchPlan(
                native=branch != STUDENT and not frozen and branch not in topology.frozen,
                edges=topology.edges_into(branch) if opd and (branch == STUDENT or not frozen) else (),
            )
            for branch in topology.branches
        }

    def __str__(self) -> str:
        order = "all RLVR rounds, then all OPD rounds" if self.static else "cycles"
        return f"{order} of {self.rlvr_steps} RLVR : {self.opd_steps} OPD{self._ending}"

    @property
    def _ending(self) -> str:
        last = self.final_opd_steps
        return f"; in the last {last} the experts are frozen and teach the student alone" if last else ""


@dataclass(frozen=True)
class OverlapSchedule(Schedule):
    """
    Phases that end when teachers and learners have moved far enough apart, or together, for the next one.

    RLVR ends when the overlap of any edge falls below `low`. OPD ends when that of every edge is above `high`, or when
    the lowest has not risen over two measurements. `rlvr_steps` and `opd_steps` are the longest phases.

    Args:
        low (`float`): Top-k overlap in [0, 1].
        high (`float`): Likewise, > `low`.
        starts (`list[int]`): First round of each phase so far; even ones are RLVR.
        lowest (`list[float]`): Lowest overlap at each measurement of the phase at hand.
    """

    low: float = 0.90
    high: float = 0.95
    starts: list[int] = field(default_factory=lambda: [0])
    lowest: list[float] = field(default_factory=list)

    def advance(self, round_index: int, overlaps: Sequence[float], spent: int = 0) -> None:
        """Decide the phase of a round. See [`Schedule.advance`]."""
        super().advance(round_index, overlaps, spent)
        if overlaps:
            self.lowest.append(min(overlaps))
        longest = self.opd_steps if self._in_opd else self.rlvr_steps
        lasted = round_index - self.starts[-1]
        if lasted > 0 and (lasted >= longest or (overlaps and lasted % self.reuse == 0 and self._far_enough())):
            self.starts.append(round_index)
            self.lowest[:-1] = []  # the next phase starts from where this one ended

    @property
    def _in_opd(self) -> bool:
        return len(self.starts) % 2 == 0

    def _far_enough(self) -> bool:
        if not self._in_opd:
            return self.lowest[-1] < self.low
        stalled = len(self.lowest) > 2 and max(self.lowest[-2:]) <= max(self.lowest[:-2])
        return self.lowest[-1] > self.high or stalled

    def _index(self, round_index: int) -> int:
        return sum(start <= round_index for start in self.starts) - 1

    def _cyclic_phase(self, round_index: int, total: int) -> Phase:
        """Phase of a round that was decided; of a later one, that of the latest."""
        return "opd" if self._index(round_index) % 2 else "rlvr"

    def _cyclic_cycle(self, round_index: int) -> int:
        return self._index(round_index) // 2

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "starts": list(self.starts), "lowest": list(self.lowest)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.starts[:], self.lowest[:] = state["starts"], state["lowest"]

    def __str__(self) -> str:
        return (
            f"RLVR until an edge's overlap is below {self.low} (at most {self.rlvr_steps} rounds), OPD until all are "
            f"above {self.high} or no longer rise (at most {self.opd_steps}){self._ending}"
        )


def cross_prompts(prompts: int, fraction: float) -> int:
    """
    Cross-branch prompts among the P prompts of a global generation batch in an OPD round, for a branch that has a
    domain of its own: `min(P - 1, max(1, round(f * P)))`. One native prompt remains, so that RLVR does not pause; a
    batch of a single prompt is native as a whole.
    """
    return min(prompts - 1, max(1, round(fraction * prompts)))
