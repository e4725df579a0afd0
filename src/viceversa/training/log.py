"""Log of a run: a progress bar or lines on the terminal, log.jsonl, image grids, loggers."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import run_log
from ..errors import UserError
from ..files import finite, write_bytes
from ..images import Pixels, write
from ..terminal import duration, say, shows_progress
from .progress_bar import TrainingBar

if TYPE_CHECKING:
    from torch import Tensor

    from .loggers.background import BackgroundLogger


GRIDS = "samples", "patch_maps"  # folders of image grids
NORM = "norm_"  # prefix of the values that are gradient norms


class Log:
    """Log of one run. Losses stay on the device until a line is due.

    Args:
        folder: The run folder.
        total: Images that the whole run processes.
        done: Images processed so far.
        every: Images between two lines.
        state: The result of `state` in the checkpoint that is resumed.
        writes: Whether this process writes; with several processes only the first one does.
        loggers: Loggers that get every entry and grid too.
        monitored: Images processed at the last complete monitoring; the resumed run writes the
            lines of later monitoring again.
        epochs: Number of epochs, for the progress bar.
    """

    def __init__(
        self,
        folder: Path,
        total: int,
        done: int,
        every: int,
        state: Mapping[str, Any] | None = None,
        writes: bool = True,
        loggers: Sequence[BackgroundLogger] = (),
        monitored: int | None = None,
        epochs: int = 0,
    ):
        self.folder, self.total, self.done, self.every = folder, total, done, every
        self.writes = writes
        state = state or {}
        self._sums: dict[str, Tensor] = dict(state.get("sums", {}))
        self._counts: dict[str, int] = dict(state.get("counts", {}))
        self.step: int = state.get("step", 0)
        self._epoch: int = state.get("epoch", 1)
        self._lr: float | None = state.get("lr")
        self._started = self._line = (time.perf_counter(), done)  # time and images
        self._line_incomplete = False  # the last line of log.jsonl may be
        self._bar: TrainingBar | None = None
        self._loggers = loggers
        if not writes:
            return
        self._remove_later_entries(done, done if monitored is None else monitored)
        if shows_progress(sys.stdout):
            self._bar = TrainingBar(total, done, epochs)
            self._bar.start()

    def add(
        self,
        images: int,
        epoch: int,
        lr: float,
        losses: Mapping[str, Tensor],
        norms: Mapping[str, Tensor],
    ) -> None:
        """Add a step: its images, epoch, learning rate and losses, and gradient norms by player.

        Without a valid image there are no losses, and no optimizer step is taken.
        """
        self.step += bool(losses)
        self._epoch, self._lr = epoch, lr
        values = {**losses, **{NORM + player: norm for player, norm in norms.items()}}
        for name, value in values.items():
            before = self._sums.get(name)
            self._sums[name] = value if before is None else before.to(value.device) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        self.done += images
        if self._bar is not None:
            self._bar.done, self._bar.epoch = self.done, epoch

    @property
    def due(self) -> bool:
        """Whether a line is due."""
        return self.done // self.every > self._line[1] // self.every or self.done == self.total

    def write_line(self) -> None:
        """Write a line with the means since the last one."""
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        norms = {n.removeprefix(NORM): v for n, v in means.items() if n.startswith(NORM)}
        losses = {name: value for name, value in means.items() if not name.startswith(NORM)}
        now = time.perf_counter()
        speed = (self.done - self._line[1]) / max(now - self._line[0], 1e-9)
        self._line = now, self.done
        if not self.writes:
            return
        values = run_log.dotted("loss", losses) | run_log.dotted("grad_norm", norms)
        self.append("train", {"images_per_s": round(speed, 2), **values})
        words = [f"{name} {value:.3f}" for name, value in losses.items()]
        if self._bar is not None:
            self._bar.losses = [f"{speed:.1f} images/s", *words]
            return
        average = (self.done - self._started[1]) / max(now - self._started[0], 1e-9)
        left = (self.total - self.done) / max(average, 1e-9)
        say(
            f"{self.done}/{self.total} images  epoch {self._epoch}  {speed:.1f} images/s  "
            f"{duration(left)} left  {'  '.join(words)}"
        )

    def append(self, kind: run_log.Kind, values: Mapping[str, Any]) -> None:
        """Append an entry to log.jsonl; non-finite numbers become null."""
        common = (kind, round(time.time(), 3), self.step, self._epoch, self.done, self._lr)
        entry = finite({**dict(zip(run_log.COMMON, common, strict=True)), **values})
        path = self.folder / run_log.NAME
        try:
            with path.open("a") as file:
                text = json.dumps(entry, allow_nan=False)
                file.write("\n" * self._line_incomplete + text + "\n")
            self._line_incomplete = False
        except OSError as error:  # a lost line must not end a run
            self._line_incomplete = True
            say(f"a line could not be written to {path}: {error.strerror}")
        for logger in self._loggers:
            logger.log(entry)

    def write_grid(self, kind: str, grid: Pixels, about: Mapping[str, Any]) -> None:
        """Write a grid of `samples` or `patch_maps`, named by the images processed.

        `about`: contents of the grid, which the file records as JSON.
        """
        path = self.folder / kind / f"{self.done:08d}.png"
        write(path, grid, about=json.dumps(about))
        for logger in self._loggers:
            logger.image(kind, self.done, path)

    def non_finite_losses(self) -> list[str]:
        """Return the names of the losses that were not finite since the last line."""
        return [
            name
            for name, total in self._sums.items()
            if not name.startswith(NORM) and not math.isfinite(float(total))
        ]

    def state(self) -> dict[str, Any]:
        """Return the losses since the last line, and the latest step, for a checkpoint."""
        latest = {"step": self.step, "epoch": self._epoch, "lr": self._lr}
        return {"sums": dict(self._sums), "counts": dict(self._counts), **latest}

    def close(self) -> None:
        """Stop the progress bar and close the loggers."""
        if self._bar is not None:
            self._bar.stop()
        for logger in self._loggers:
            logger.finish()
        for logger in self._loggers:
            logger.close()

    def _remove_later_entries(self, images: int, monitored: int) -> None:
        """Remove lines and grids that a run resumed at `images` writes again.

        Nested lines of earlier versions are replaced by flat ones.
        """
        path = self.folder / run_log.NAME
        try:
            lines = path.read_text(errors="replace").splitlines() if path.exists() else []
            kept = list(_kept(lines, images, monitored))
            if kept != lines:
                write_bytes(path, "".join(line + "\n" for line in kept).encode())
            for kind in GRIDS:
                for grid in (self.folder / kind).glob("*.png"):
                    if grid.stem.isdigit() and int(grid.stem) > images:
                        grid.unlink()
        except (OSError, UserError) as error:  # entries of later images do no harm
            say(f"{self.folder} still contains log lines of later images: {error}")


def _kept(lines: Iterable[str], images: int, monitored: int) -> Iterator[str]:
    """Yield the lines of earlier steps and monitoring, without lines that a crash cut."""
    for line in lines:
        entry = run_log.parse(line)
        if entry is None:
            continue
        of_monitoring = entry["kind"] in ("validation", "diagnostic")
        if entry["images"] <= (monitored if of_monitoring else images):
            yield line if line.startswith('{"kind": ') else json.dumps(finite(entry))
