"""Progress bar of training."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from ..terminal import Output, duration

WIDEST = 40  # columns of a bar


class TrainingBar:
    """Epoch, bar, percentage, elapsed and remaining time of a run on one line, losses below.

    A thread draws it a few times a second, so `done`, `epoch` and `losses` may be set at every
    step. At any width of the terminal the first line is complete; losses take more lines.
    """

    def __init__(self, total: int, done: int, epochs: int, own: Console | None = None):
        """`total` and `done` count images; `epochs`: of the run; `own`: a console, not stdout."""
        self.total, self.done, self.epochs = total, done, epochs
        self.epoch = min(epochs, 1 + done * epochs // max(total, 1))
        self.losses: list[str] = []
        self._first, self._began = done, time.monotonic()
        stream: Any = Output(sys.stdout)
        self._console = own or Console(file=stream)
        self._live = Live(get_renderable=self._drawn, console=self._console)

    def start(self) -> None:
        """Show the progress bar."""
        self._live.start()

    def stop(self) -> None:
        """Draw the progress bar a last time and release the terminal."""
        self._live.stop()

    def _drawn(self) -> Group:
        elapsed, done = time.monotonic() - self._began, self.done
        new = done - self._first
        left = duration(elapsed / new * (self.total - done)) if new else "-:--"
        times = f"{100 * done / max(self.total, 1):.0f}% {duration(elapsed)}<{left}"
        epoch = f"{self.epoch}/{self.epochs}" if self.epochs else str(self.epoch)
        room = self._console.width - len(epoch) - len(times) - 2
        if room >= WIDEST // 4 + len("epoch "):
            epoch, room = f"epoch {epoch}", room - len("epoch ")
        line = Table.grid(padding=(0, 1))
        for _ in range(3):
            line.add_column(no_wrap=True)
        bar = ProgressBar(self.total, done, width=max(1, min(WIDEST, room)))
        line.add_row(epoch, bar, times)
        return Group(line, Columns(self.losses, padding=(0, 2)))
