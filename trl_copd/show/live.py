"""The live view of a run: phase, progress, rewards, edges and the last matrix, redrawn in place after every event."""

import logging
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from transformers.trainer_callback import TrainerCallback

from ..history import Matrix
from ..schedule import Schedule
from ..topology import Topology
from .frame import RunView, frame


SECONDS = 0.2  # at least, between two pictures: rounds may be shorter


class LiveProgress(TrainerCallback):
    """
    Keeps a [`RunView`] up to date from the run's logs and shows it with rich.

    It draws on the trainer's events and in no thread of its own, so that reward functions may fork at any time. What
    Python code prints or logs meanwhile appears above it.

    Args:
        topology ([`Topology`]): Branches and edges.
        schedule ([`Schedule`]): Phases.
        console ([`~rich.console.Console`], *optional*): Where to draw; the terminal by default.
    """

    shows_matrix = True

    def __init__(self, topology: Topology, schedule: Schedule, console: Console | None = None):
        self.topology, self.schedule = topology, schedule
        self.console = console if console is not None else Console()
        self.view: RunView | None = None
        self._live: Live | None = None
        self._width = 0
        self._drawn = 0.0
        self._streams: list[tuple[logging.StreamHandler, Any]] = []

    # ---- Events -----------------------------------------------------------------------------------------------------

    def on_train_begin(self, args, state, control, **kwargs):
        if not state.is_world_process_zero:
            return
        self.view = RunView(
            self.topology, self.schedule, state.max_steps, start=state.global_step, began=time.monotonic()
        )
        for entry in state.log_history:  # of a resumed run
            self.view.update(entry, entry["step"])
        self._start()

    def on_step_begin(self, args, state, control, **kwargs):
        self._refresh(round=state.global_step)

    def on_substep_end(self, args, state, control, **kwargs):
        self._refresh()

    def on_step_end(self, args, state, control, **kwargs):
        self._refresh(round=state.global_step)

    def on_log(self, args, state, control, logs: dict[str, Any] | None = None, **kwargs):
        if self.view is not None and logs:
            self.view.update(logs, state.global_step)
            self._refresh()

    def on_train_end(self, args, state, control, **kwargs):
        self._refresh(round=state.global_step)

    def close(self, matrix: Matrix | None = None, matrix_round: int | None = None) -> None:
        """Draw the last state, then leave the terminal as it was found. See [`PhaseProgress.close`]."""
        if self.view is None:
            return
        if matrix is not None and self.view.round >= self.view.total:  # that of the end of `train`
            self.view.matrix, self.view.matrix_round = matrix, matrix_round or self.view.round
        self._refresh(force=True)
        self._stop()
        self.view = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the view off the screen for what prints to the terminal by itself."""
        if self._live is None:
            yield
            return
        self._live.transient = True
        self._stop()
        try:
            yield
        finally:
            self._start()

    # ---- The screen -------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._live = Live(
            console=self.console,
            auto_refresh=False,
            get_renderable=self._frame,
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=sys.stderr.isatty(),  # `2> file` stays in the file
            vertical_overflow="crop",
        )
        before = (sys.stdout, sys.stderr)
        self._live.start(refresh=True)
        self._width = self.console.width
        # handlers that hold the stream itself would write into the picture
        for handler in _stream_handlers():
            for old, new in zip(before, (sys.stdout, sys.stderr), strict=True):
                if handler.stream is old and new is not old:
                    self._streams.append((handler, handler.setStream(new)))

    def _stop(self) -> None:
        if self._live is not None:
            for handler, stream in self._streams:
                handler.setStream(stream)
            self._streams.clear()
            self._live.stop()
            self._live = None

    def _frame(self):
        return frame(self.view, self.console.width, self.console.height - 1, time.monotonic())

    def _refresh(self, round: int | None = None, force: bool = False) -> None:
        if self._live is None:
            return
        if round is not None:
            self.view.round = round
        now = time.monotonic()
        if force or now - self._drawn > SECONDS:
            self._drawn = now
            self._make_room()
            self._live.refresh()

    def _make_room(self) -> None:
        """After the terminal was narrowed, erase the rows that the old picture's lines wrapped into."""
        width, old = self.console.width, self._width
        self._width = width
        if width < old:
            height = len(self.console.render_lines(self._frame(), pad=False))
            extra = height * (math.ceil(old / width) - 1)
            self.console.control(
                Control(
                    ControlType.CARRIAGE_RETURN, *[(ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)] * extra
                )
            )


def _stream_handlers() -> list[logging.StreamHandler]:
    loggers = [logging.root, *(x for x in logging.root.manager.loggerDict.values() if isinstance(x, logging.Logger))]
    return [handler for logger in loggers for handler in logger.handlers if isinstance(handler, logging.StreamHandler)]
