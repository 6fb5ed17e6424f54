"""Who teaches whom, on what: a topology is a set of edges. Pure data, no torch."""

from dataclasses import dataclass


STUDENT = "student"
TOPOLOGIES = ("student", "mutual", "hub", "mopd")


@dataclass(frozen=True, order=True)
class Edge:
    """
    One direction of teaching: the learner samples on the domain, the teacher scores its tokens.

    Args:
        teacher (`str`): Branch whose weights at the start of the round give the teacher log-probabilities.
        learner (`str`): Branch that samples the rollouts and is updated.
        domain (`str`): Expert whose dataset the prompts come from.
    """

    teacher: str
    learner: str
    domain: str

    @property
    def label(self) -> str:
        """Name of the edge in logs and figures: `math->code`, or `student->math@code` off the teacher's domain."""
        arrow = f"{self.teacher}->{self.learner}"
        return arrow if self.domain == self.teacher else f"{arrow}@{self.domain}"


@dataclass(frozen=True)
class Topology:
    """
    A named set of edges over experts, and over the student if it is a branch of its own.

    Args:
        name (`str`): One of `TOPOLOGIES`.
        experts (`tuple[str, ...]`): Names of the experts, in the user's order.
        edges (`tuple[Edge, ...]`): All edges. Which are live in which round is the schedule's business.
        frozen (`tuple[str, ...]`): Experts that teach and never learn.
    """

    name: str
    experts: tuple[str, ...]
    edges: tuple[Edge, ...]
    frozen: tuple[str, ...] = ()

    @property
    def has_student_branch(self) -> bool:
        """Whether the student is trained as a branch; otherwise it is the merge of the experts."""
        return self.name in ("student", "mopd")

    @property
    def branches(self) -> tuple[str, ...]:
        return (*self.experts, STUDENT) if self.has_student_branch else self.experts

    def edges_into(self, learner: str) -> tuple[Edge, ...]:
        """Edges that teach `learner`, in the order in which they take turns, whatever the order of the experts."""
        return tuple(sorted(edge for edge in self.edges if edge.learner == learner))

    def __str__(self) -> str:
        lines = [f"topology {self.name}: branches {', '.join(self.branches)}"]
        return "\n".join(lines + [f"  {edge.label}" for edge in self.edges])


def build_topology(
    name: str, experts: tuple[str, ...], hub: str | None = None, frozen: tuple[str, ...] = ()
) -> Topology:
    """
    Build one of the topologies.

    - `"student"`: every expert teaches the student on its domain; the student teaches each expert on the others.
    - `"mutual"`: every ordered pair of experts, on the teacher's domain (Algorithm 1 of arXiv 2604.27083).
    - `"hub"`: the hub exchanges mutual teaching with each spoke (the paper's hub-and-spoke).
    - `"mopd"`: every (finished, frozen) expert teaches the student on its domain.

    Args:
        name (`str`): One of `TOPOLOGIES`.
        experts (`tuple[str, ...]`): Names of the experts.
        hub (`str`, *optional*): The expert that is the hub; required by `"hub"`, refused elsewhere.
        frozen (`tuple[str, ...]`): Experts that teach and never learn: no edge leads to them.

    Raises:
        ValueError: Unknown name, or a `hub` that is missing, no expert, or not wanted.
    """
    if name not in TOPOLOGIES:
        raise ValueError(f"topology={name!r} is unknown. Choose one of {', '.join(map(repr, TOPOLOGIES))}.")
    if name == "hub":
        if hub is None or hub not in experts:
            raise ValueError(
                f"topology='hub' needs `hub` to name one of the experts, got hub={hub!r}. "
                f"Set it to one of: {', '.join(experts)}."
            )
    elif hub is not None:
        raise ValueError(f"hub={hub!r} has no meaning with topology={name!r}. Set topology='hub', or leave `hub` out.")

    if name == "mutual":
        edges = [Edge(j, k, j) for k in experts for j in experts if j != k]
    elif hub is not None:
        spokes = [name for name in experts if name != hub]
        edges = [Edge(spoke, hub, spoke) for spoke in spokes] + [Edge(hub, spoke, hub) for spoke in spokes]
    else:
        edges = [Edge(expert, STUDENT, expert) for expert in experts]
        if name == "student":
            edges += [Edge(STUDENT, k, j) for k in experts for j in experts if j != k]
    edges = [edge for edge in edges if edge.learner not in frozen]
    return Topology(name=name, experts=experts, edges=tuple(edges), frozen=frozen)
