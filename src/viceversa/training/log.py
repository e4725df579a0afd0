"""What a run says: a progress bar or plain lines, a JSONL log, pictures; and to TensorBoard."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import finite
from ..images import Pixels, write
from ..terminal import Output, say
from .progress import TrainingBar, duration
from .tensorboard_log import TensorBoardLog

if TYPE_CHECKING:
    from torch import Tensor


SHEETS = "samples", "patch_maps"
NORM = "norm_"  # begins the name of a value that is the norm of a player's gradient


class Report:
    """The console and the log of one run. Losses stay on the device until a line is due.

    What the log and the folders of pictures get, TensorBoard's files in tensorboard/ get as well.
    """

    def __init__(
        self, folder: Path, total: int, done: int, every: int, state: dict[str, Any] | None = None,
        speaks: bool = True, board: bool = False, looked: int | None = None,
        epochs: int = 0,
    ):  # fmt: skip
        """`total` and `done` count images; `every` images a line is written.

        `state`: what `state` gave when the run that goes on was saved. One that does not speak
        counts alone: of several processes the first one speaks for all. `looked`: images of the
        last complete look; lines of later looks are removed, since the run repeats these.
        """
        self.speaks = speaks
        self.folder, self.every, self.total, self.done = folder, every, total, done
        state = state or {"sums": {}, "counts": {}}
        self._sums: dict[str, Tensor] = dict(state["sums"])
        self._counts: dict[str, int] = dict(state["counts"])
        self._since, self._from = time.perf_counter(), done
        self._began, self._first = self._since, done
        self._log = folder / "log.jsonl"
        self._torn = False  # the last line of the log may be incomplete
        self._bar: TrainingBar | None = None
        self._board = (
            TensorBoardLog(folder / "tensorboard", done, say) if board and speaks else None
        )
        if speaks:
            self._forget_after(done, done if looked is None else looked)
        if speaks and Output(sys.stdout).isatty():
            self._bar = TrainingBar(total, done, epochs)
            self._bar.start()

    def step(self, images: int, epoch: int, losses: dict[str, Tensor], lr: float) -> None:
        """Count a step of so many images; write a line where one is due."""
        self._add(losses)
        due = self.due(images)
        self.done += images
        if self._bar is not None:
            self._bar.done, self._bar.epoch = self.done, epoch
        if due and self.speaks:
            self._tell(epoch, lr)
        if due:
            self._sums, self._counts = {}, {}

    def norms(self, norms: dict[str, Tensor]) -> None:
        """Take in the norm of each player's gradient; before `step`."""
        self._add({NORM + player: norm for player, norm in norms.items()})

    def _add(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            before = self._sums.get(name)
            self._sums[name] = value if before is None else before.to(value.device) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def _means(self) -> tuple[dict[str, float], dict[str, float]]:
        """Losses, and norms of gradients."""
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        gradients = {
            name.removeprefix(NORM): means.pop(name) for name in list(means) if _is_norm(name)
        }
        return means, gradients

    def line(self, entry: dict[str, Any]) -> None:
        """Write a line of the log; a number that is not finite is null there."""
        entry = finite(entry)
        try:
            with self._log.open("a") as file:
                file.write("\n" * self._torn + json.dumps(entry, allow_nan=False) + "\n")
            self._torn = False
        except OSError as error:  # a line that is lost is no reason to lose a run
            self._torn = True
            say(f"a line could not be written to {self._log}: {error.strerror}")
        if self._board is not None:
            self._board.line(entry)

    def due(self, images: int) -> bool:
        """Whether a line is due after so many more images."""
        after = self.done + images
        return after // self.every > self.done // self.every or after == self.total

    def state(self) -> dict[str, Any]:
        """The losses since the last line, for a run that goes on to write the same next one."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def not_finite(self, more: dict[str, Tensor]) -> list[str]:
        """The losses that were not finite since the last line, or are not among `more`."""
        names = dict.fromkeys([*self._sums, *more])
        zero = 0.0
        return [
            name for name in names
            if not _is_norm(name)
            and not math.isfinite(float(self._sums.get(name, zero)) + float(more.get(name, zero)))
        ]  # fmt: skip

    def picture(self, kind: str, sheet: Pixels) -> None:
        """Write a sheet of `samples` or `verdicts`, named by the images seen."""
        if self._board is not None:
            self._board.image(kind, self.done, sheet)
        write(self.folder / kind / f"{self.done:08d}.png", sheet)

    def close(self) -> None:
        """Give the terminal back, and let go of files."""
        if self._bar is not None:
            self._bar.stop()
        if self._board is not None:
            self._board.close()

    def _tell(self, epoch: int, lr: float) -> None:
        now = time.perf_counter()
        means, gradients = self._means()
        speed = (self.done - self._from) / max(now - self._since, 1e-9)
        self.line({
            "images": self.done, "epoch": epoch, "lr": lr, "images_per_s": round(speed, 2),
            "losses": means, "gradients": gradients,
        })  # fmt: skip
        losses = [f"{name} {value:.3f}" for name, value in means.items()]
        if self._bar is not None:
            self._bar.losses = [f"{speed:.1f} images/s", *losses]
        else:
            overall = (self.done - self._first) / max(now - self._began, 1e-9)
            left = (self.total - self.done) / max(overall, 1e-9)
            say(f"{self.done}/{self.total} images  epoch {epoch}  {speed:.1f} images/s  "
                f"{duration(left)} left  {'  '.join(losses)}")  # fmt: skip
        self._since, self._from = now, self.done

    def _forget_after(self, images: int, looked: int) -> None:
        """Drop lines and sheets that a run which goes on from `images` will make again."""
        try:
            lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
            kept = [line for line in lines if _kept(line, images, looked)]
            if len(kept) < len(lines):
                aside = self._log.with_name("log.jsonl.tmp")  # a full disk must not cost the log
                aside.write_text("".join(line + "\n" for line in kept))
                aside.replace(self._log)
            for kind in SHEETS:
                for sheet in (self.folder / kind).glob("*.png"):
                    if sheet.stem.isdigit() and int(sheet.stem) > images:
                        sheet.unlink()
        except OSError as error:  # what is too much there is no reason not to train
            say(f"{self.folder} still contains log lines of later images: {error}")


def _is_norm(name: str) -> bool:
    """Whether a value is the norm of a player's gradient, and not a loss."""
    return name.startswith(NORM)


def _kept(line: str, images: int, looked: int) -> bool:
    """Whether a line of the log is about no later step or look; False for one that a crash cut."""
    try:
        entry = json.loads(line)
        of_a_look = "validation" in entry or "health" in entry
        return float(entry["images"]) <= (looked if of_a_look else images)
    except (ValueError, KeyError, TypeError):
        return False
