"""
Figures of a run, redrawn from its files on disk: `trl-copd report OUTPUT_DIR`. Several runs are drawn side by side.

    copd.json               branches and phases           ┐    figures/reward.png             reward per branch
    trainer_state.json      `log_history`                 ├─>  figures/overlap.png            the saw-tooth, per edge
    capability_matrix.json  {adapter: {domain: accuracy}} ┘    figures/capability_matrix.png  accuracy, gain over base
                                                               figures/student.png            the student over rounds
                                                               figures/allocation.png         who learnt when
                                                               figures/summary.png            side by side

x is `global_step`, the rounds done: rewards of step s are those of the 0-based round s - 1, overlap is measured after
s rounds, and rounds [start, end) span x from start to end.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import side_by_side
from .history import (
    Run,
    learners_of,
    load_run,
    matrix_rows,
    mean_by_learner,
    mean_of,
    range_by_learner,
    standard_errors,
)
from .plots.lines import draw_allocation, draw_lines, draw_student, overlap_figure
from .plots.matrix import draw_matrix
from .plots.style import grid_of, title_of
from .spelling import Parser
from .style import MUTED, STYLE, short
from .topology import STUDENT


logger = logging.getLogger(__name__)

FORMATS = ("png", "svg", "pdf")


def panel_size(run: Run, draw) -> tuple[float, float]:
    """Width and height in inches that a panel needs for its names and cells."""
    names = 0.1 * max(len(short(name)) for name in (*run.branches, "student"))
    if draw is draw_matrix:
        adapters, domains, rows = matrix_rows(run)
        known = any(error is not None for row in standard_errors(run, domains, rows) for error in row)
        return max(3.6, 0.6 + names + 0.7 * (len(domains) + 1)), 1.4 + (0.66 if known else 0.52) * len(adapters)
    return 3.1 + names, 3.9


def panels_figure(figure, run: Run, panels: list[tuple]) -> None:
    """Panels `(title, draw, *arguments)` side by side, each as wide as it needs."""
    widths = [panel_size(run, draw)[0] for _, draw, *_ in panels]
    parts = figure.subfigures(1, len(panels), width_ratios=widths, squeeze=False)[0]
    for part, (title, draw, *arguments) in zip(parts, panels, strict=True):
        ax = part.subplots()
        draw(ax, run, *arguments)
        ax.set_title(title)


def references(run: Run, beside: Mapping[str, str | Path]) -> dict[str, float]:
    """
    Accuracies to compare the student with, averaged over its domains: the base; of every other run its student or,
    where it trained experts apart (no student that was taught), also each expert on its own domain.
    """
    found = {"base": mean_of(run.matrix.get("base", {}))}
    for name, folder in beside.items():
        other = load_run(folder)
        own = {expert: row[expert] for expert, row in other.matrix.items() if expert in row}
        found[name] = mean_of(own if name == "experts" and own else other.matrix.get(STUDENT, {}))
        if found[name] is None:
            raise ValueError(f"The run {str(folder)!r} has no accuracy to compare with in its capability_matrix.json.")
    return {name: value for name, value in found.items() if value is not None}


def draw_report(
    output_dir: str | Path,
    quiet: bool = False,
    formats: Sequence[str] = FORMATS,
    beside: Mapping[str, str | Path] | None = None,
) -> list[Path]:
    """
    Draw all figures that a run's folder allows into `output_dir/figures`.

    Args:
        output_dir (`str` or `Path`): Folder of the run.
        quiet (`bool`, *optional*, defaults to `False`): Whether to log missing inputs without a warning.
        formats (`Sequence[str]`, *optional*, defaults to `("png", "svg", "pdf")`): Endings of the files.
        beside (`Mapping[str, str | Path]`, *optional*):
            Other runs whose accuracy is drawn beside the student's, by the name of their line: `{"mixed":
            "runs/mixed", "experts": "runs/apart"}`. `experts` stands for each expert on its own domain.

    Returns:
        `list[Path]`: The figures, in the first of the formats.

    Raises:
        FileNotFoundError: There is nothing to draw.
        ImportError: matplotlib is missing.
        ValueError: A file of the run is not JSON, or a run in `beside` has no accuracy.
    """
    run = load_run(output_dir)
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Figures need matplotlib. Install it: pip install "trl-copd[plots]".') from error
    overlap, kl = run.per_edge("opd/overlap"), run.per_edge("opd/symmetric_kl")
    reward = ("Reward", draw_lines, run.rewards, True)
    teachers = (
        "Overlap with teachers",
        draw_lines,
        mean_by_learner(overlap),
        False,
        range_by_learner(overlap),
    )
    matrix = ("Accuracy (%)" + " ± standard error" * bool(run.held_out), draw_matrix)
    panels = [panel for panel, data in ((reward, run.rewards), (teachers, teachers[2]), (matrix, run.matrix)) if data]
    sizes = [panel_size(run, draw) for _, draw, *_ in panels]
    alone = sizes and (max(4.6, sizes[-1][0]), sizes[-1][1])  # as wide as its title
    columns, blocks = grid_of(len(learners_of(overlap | kl))) if overlap or kl else (1, 1)
    student = ("Student", draw_student, references(run, beside or {}))
    lanes = ("Who learnt when", draw_allocation)
    figures = {
        "reward": ((7.5, 4.2), [reward], run.rewards, "'<branch>/reward' in the log of trainer_state.json"),
        "overlap": (
            (2.3 + max(4, 2.5 * columns), 4.4 * blocks + 0.6), None, overlap | kl,
            "'<edge>/opd/overlap' in the log of trainer_state.json",
        ),
        "capability_matrix": (alone, [matrix], run.matrix, "capability_matrix.json"),
        "student": ((7.5, 4.2), [student], run.student_rewards or (beside and run.matrix), None),
        "allocation": ((7.5, 1.4 + 0.6 * len(run.rests)), [lanes], run.rests, None),
        "summary": (
            (sum(width for width, _ in sizes), max((height for _, height in sizes), default=0)), panels, panels,
            "reward, overlap or capability matrix",
        ),
    }  # fmt: skip
    folder, drawn = Path(output_dir) / "figures", []
    folder.mkdir(exist_ok=True)
    for name, (size, parts, data, needed) in figures.items():
        if not data:
            if needed is not None:  # the other figures belong to some runs only
                (logger.debug if quiet else logger.warning)("%s.png is not drawn: the run has no %s.", name, needed)
            continue
        with rc_context(STYLE):
            figure = Figure(figsize=size, layout="constrained", dpi=200)
            panels_figure(figure, run, parts) if parts else overlap_figure(figure, run)
            figure.suptitle(title_of(run), x=0.01, ha="left", size=8.5, color=MUTED)
            for ending in formats:
                figure.savefig(folder / f"{name}.{ending}")
        drawn.append(folder / f"{name}.{formats[0]}")
    return drawn


def main(argv: list[str] | None = None) -> int:
    """
    Draw the figures of a run, or put several side by side.

    Args:
        argv (`list[str]`, *optional*): Command line without the program's name; by default that of the process.

    Returns:
        `int`: Exit status: 0, or 2 if there is nothing to draw or an option has no effect.
    """
    parser = Parser(
        prog="trl-copd report",
        description="Draw the figures of a run into its folder; of several runs, put their students side by side.",
    )
    parser.add_argument("output_dir", nargs="+", help="folder of a run, as in `CoPDConfig(output_dir=...)`")
    parser.add_argument(
        "--output", type=Path, help="folder for the figure of several runs (default: their parent folder)"
    )
    parser.add_argument(
        "--beside", action="append", default=[], metavar="NAME=DIR",
        help="draw the accuracy of another run as a line beside the student's, such as mixed=runs/mixed; "
        "experts=DIR takes each expert on its own domain; may be repeated",
    )  # fmt: skip
    parser.add_argument("--formats", nargs="+", choices=FORMATS, help="default: all; png and svg for several runs")
    options = parser.parse_args(argv)
    try:
        for pair in options.beside:
            if not all(pair.partition("=")):
                raise ValueError(f"--beside takes NAME=DIR, such as mixed=runs/mixed, got {pair!r}.")
        if len(options.output_dir) == 1:
            beside = dict(pair.split("=", 1) for pair in options.beside)
            if options.output is not None:
                raise ValueError("--output is for several runs; the figures of one go to its own folder `figures`.")
            print(*draw_report(options.output_dir[0], formats=options.formats or FORMATS, beside=beside), sep="\n")
            return 0
        if options.beside:
            raise ValueError(
                "--beside draws a line in the figure of one run, and several are given. Name one, or leave it out."
            )
        runs = side_by_side.load_runs(options.output_dir)
        print(side_by_side.table(runs))
        folder = options.output or side_by_side.common_folder(options.output_dir)
        formats = {"formats": options.formats} if options.formats else {}
        print(*side_by_side.draw(runs, folder, **formats), sep="\n")
    except (FileNotFoundError, ImportError, ValueError) as error:
        print(f"trl-copd report: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
