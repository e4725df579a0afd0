"""Requests to save or to end a run: signals, time limits, patience, a failure."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import NamedTuple

from ..config.train import TrainConfig
from ..errors import RunStopped
from ..runtime.distributed import Ranks
from .checkpoint import Place


class RequestFlags(NamedTuple):
    """The requests of all processes after a step; 0 is none."""

    stop: int = 0
    """The number of a signal."""
    late: int = 0
    """`train.max_time` is over."""
    save: int = 0
    """A checkpoint is due by `train.save_minutes`."""
    enough: int = 0
    """`validate.patience` is used up: training is over."""


class Requests:
    """The requests of this process, and those of all processes together."""

    def __init__(self, train: TrainConfig, ranks: Ranks, enough: Callable[[], bool]):
        self.train, self.ranks, self.enough = train, ranks, enough
        self.signals: list[int] = []
        self.failure: Exception | None = None  # ends the run once it is saved
        self.ends_at = time.monotonic() + 60 * (train.max_time or float("inf"))
        self.saved, self.saved_at = 0, time.monotonic()  # images and time of the last checkpoint

    @property
    def interrupt(self) -> bool:
        """Whether a signal interrupts a look at the run, which a resumed run then repeats.

        Of several processes only the first one looks. The others would be a step ahead of it.
        """
        return bool(self.signals) and self.ranks.count == 1

    def own(self) -> RequestFlags:
        """The requests of this process."""
        every, now = self.train.save_minutes, time.monotonic()
        # A process whose torchrun has died ends itself, since no other process would end it.
        ending = signal.SIGTERM if self.failure or self.ranks.launcher_exited() else 0
        return RequestFlags(
            stop=int(self.signals[0] if self.signals else ending),
            late=int(now >= self.ends_at),
            save=int(bool(every and (now - self.saved_at) / 60 >= every)),
            enough=int(self.enough()),
        )

    def agree(self, number: int = 0) -> tuple[int, RequestFlags]:
        """The sum of a number over all processes, and their requests; they all call it at once."""
        own = self.own()
        total, stop, *rest = self.ranks.sum([number, *map(bool, own)])
        return total, RequestFlags(
            own.stop or bool(stop) * signal.SIGTERM, *rest
        )  # by its own signal

    def update(self, asked: RequestFlags) -> RequestFlags:
        """The requests after a step that began with `asked`: of one process alone, the latest."""
        return self.own() if self.ranks.count == 1 else asked

    def save_due(self, asked: RequestFlags, place: Place) -> bool:
        """Whether a checkpoint is due by images, time or epochs."""
        train = self.train
        return bool(
            crossed(self.saved, place.images, train.save_every)
            or asked.save
            or (train.save_epochs and not place.batch and not (place.epoch - 1) % train.save_epochs)
        )

    def note_save(self, place: Place) -> None:
        """A checkpoint is being written."""
        self.saved, self.saved_at = place.images, time.monotonic()

    def stopped(self, asked: RequestFlags) -> Exception:
        """The end of a run that was asked to end."""
        if self.failure is not None:
            return self.failure
        if asked.stop:
            return RunStopped("interrupted", 128 + asked.stop)
        return RunStopped(f"train.max_time, {self.train.max_time:g} minutes, is over", 75)


def crossed(before: int, after: int, every: int) -> bool:
    """Whether what is due every `every` images (0: never) has become due."""
    return bool(every) and after // every > before // every
