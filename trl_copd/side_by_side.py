"""Finished runs side by side, as a table and a figure: `trl-copd report runs/a runs/b`."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from .history import Run, load_run
from .style import INK, MARKERS, MUTED, PALETTE, STYLE, running_mean, short
from .topology import STUDENT


def load_runs(folders: Sequence[str | Path]) -> dict[str, Run]:
    """
    The runs by the shortest end of their path that tells them apart.

    Raises:
        FileNotFoundError, ValueError: A folder has no run, or a run no capability matrix, or a folder is named twice.
    """
    paths = [Path(folder).resolve() for folder in folders]
    twice = [str(path) for path in paths if paths.count(path) > 1]
    if twice:
        raise ValueError(f"{twice[0]} is named twice. Name each run once.")
    length = next(n for n in range(1, 99) if len({path.parts[-n:] for path in paths}) == len(paths))
    found = {}
    for path in paths:
        run = load_run(path)
        if STUDENT not in run.matrix:
            raise ValueError(
                f"The run in '{path}' has no capability matrix with a student, so it cannot be compared. Let it end, "
                "or call `trainer.capability_matrix()`."
            )
        found["/".join(path.parts[-length:])] = run
    return found


def accuracies(run: Run, adapter: str = STUDENT) -> dict[str, float | None]:
    """Accuracy of an adapter by domain, in [0, 1]; `"own"` takes each expert on its own domain."""
    if adapter != "own":
        return dict(run.matrix.get(adapter, {}))
    return {name: row[name] for name, row in run.matrix.items() if name in row}


def mean_of(values: Mapping[str, float | None]) -> float | None:
    """Mean over the domains; `None` if one was not graded, or there are none."""
    known = [value for value in values.values() if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def table(runs: Mapping[str, Run]) -> str:
    """Student, base and experts of each run, as Markdown; a domain that a run does not have is a dash."""
    domains = list(dict.fromkeys(name for run in runs.values() for name in run.matrix[STUDENT]))
    head = ["run", *domains, "mean", "base", "experts, own domain", "rounds", "rollouts"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for label, run in runs.items():
        own = accuracies(run)
        values = [own.get(name) for name in domains]
        values += [mean_of(own), mean_of(accuracies(run, "base")), mean_of(accuracies(run, "own"))]
        cells = ["–" if value is None else f"{value:.3f}" for value in values]
        cells += [f"{max((entry['step'] for entry in run.history), default=0)}", rollouts_text(run)]
        lines.append("| " + " | ".join([label, *cells]) + " |")
    return "\n".join(lines)


def rollouts_text(run: Run) -> str:
    logged = [entry["rollouts"] for entry in run.history if "rollouts" in entry]
    return f"{round(logged[-1]):,}" if logged else "–"


def draw(runs: Mapping[str, Run], folder: Path, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """
    The students by domain, and the mean reward of all that is sampled against rollouts.

    Returns:
        `list[Path]`: `side_by_side.png` and `.svg` in the folder, or the files of the other `formats`.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Figures need matplotlib. Install it: pip install "trl-copd[plots]".') from error
    domains = [*dict.fromkeys(name for run in runs.values() for name in run.matrix[STUDENT]), "mean"]
    curves = {label: reward_curve(run) for label, run in runs.items()}
    panels = 1 + any(curves.values())
    with rc_context(STYLE):
        size = 5.6 * panels, 1.6 + 0.42 * len(domains) + 0.2 * len(runs)
        figure = Figure(figsize=size, layout="constrained", dpi=200)
        axes = figure.subplots(1, panels, squeeze=False)[0]
        for index, (label, run) in enumerate(runs.items()):
            style = {"color": PALETTE[index % len(PALETTE)], "marker": MARKERS[index % len(MARKERS)]}
            values = {**accuracies(run), "mean": mean_of(accuracies(run))}
            shift = 0.5 * ((index + 0.5) / len(runs) - 0.5)
            points = [
                (value, place + shift) for place, name in enumerate(domains) if (value := values.get(name)) is not None
            ]
            axes[0].plot(*zip(*points, strict=True), ls="", ms=6, label=short(label, 32), **style)
            if panels > 1 and curves[label]:
                spent, rewards = zip(*curves[label], strict=True)
                axes[1].plot(spent, running_mean(list(rewards), len(rewards) // 24), color=style["color"], lw=2)
        axes[0].set_yticks(range(len(domains)), map(short, domains))
        axes[0].set_ylim(len(domains) - 0.5, -0.5)
        axes[0].axhline(len(domains) - 1.5, color=MUTED, lw=0.8)
        axes[0].set(title="Students", xlabel="accuracy on held-out rows")
        axes[0].grid(axis="x", color="#E6E6E6", lw=0.8)
        if panels > 1:
            axes[1].set(title="Reward of what is sampled", xlabel="rollouts", ylabel="mean over the branches")
        figure.legend(loc="outside lower center", ncols=min(3, len(runs)), labelcolor=INK)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"side_by_side.{kind}" for kind in formats]
        for path in paths:
            figure.savefig(path)
    return paths


def reward_curve(run: Run) -> list[tuple[float, float]]:
    """Rollouts so far and mean reward of the branches, at each round that logged both."""
    return [(e["rollouts"], e["reward"]) for e in run.history if "rollouts" in e and "reward" in e]


def common_folder(folders: Sequence[str | Path]) -> Path:
    """The folder in which all of the runs lie."""
    return Path(os.path.commonpath([Path(folder).resolve().parent for folder in folders]))
