"""Requests to save or to end a run: signals, time limits, early stopping, an error."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from ..config.train import TrainConfig
from ..errors import RunStopped, UserError
from ..runtime.distributed import Ranks
from .progress import Progress

# Seconds in which a process that failed can report its error: torchrun kills all processes as soon
# as one has ended.
REPORTING = 1.0


class Request(NamedTuple):
    """The requests of all processes after a step; 0: none."""

    signal: int = 0
    """Number of the signal that ends the run."""
    time_over: int = 0
    """`train.max_time` is over."""
    save: int = 0
    """A checkpoint is due by `train.save_minutes`."""
    early_stop: int = 0
    """`validate.patience` is used up: training is complete."""
    failed: int = 0
    """A process has an error, such as of a user's function; all processes save and end."""

    @property
    def ends_now(self) -> bool:
        """Whether the run is to end even if only the last validation is left."""
        return bool(self.signal or self.failed)

    @property
    def ends_run(self) -> bool:
        """Whether the run is to end before training is complete."""
        return self.ends_now or bool(self.time_over)


class Interrupted(Exception):
    """A stop signal interrupted monitoring; the resumed run repeats it."""


class Requests:
    """Collects the requests of this process, and agrees on them with the other processes."""

    def __init__(self, train: TrainConfig, ranks: Ranks, early_stop: Callable[[], bool]):
        self.train, self.ranks, self.early_stop = train, ranks, early_stop
        self.signals: list[int] = []
        self.error: Exception | None = None  # ends the run once it is saved
        self.ends_at = time.monotonic() + 60 * (train.max_time or float("inf"))
        self.saved, self.saved_at = 0, time.monotonic()  # images and time of the last checkpoint

    @property
    def interrupts_monitoring(self) -> bool:
        """Whether a signal interrupts monitoring; the resumed run repeats it.

        With several processes only the first one monitors; the others would be a step ahead.
        """
        return bool(self.signals) and self.ranks.count == 1

    @contextmanager
    def errors_end_run(self) -> Iterator[None]:
        """Take an error in the block as a request to end the run once it is saved."""
        try:
            yield
        except Exception as error:
            self.error = error

    def own(self) -> Request:
        """Return the requests of this process."""
        every, now = self.train.save_minutes, time.monotonic()
        # A process whose torchrun has ended stops by itself: nothing else would end it.
        ending = signal.SIGTERM if self.ranks.launcher_exited() else 0
        return Request(
            signal=int(self.signals[0] if self.signals else ending),
            time_over=int(now >= self.ends_at),
            save=int(bool(every and (now - self.saved_at) / 60 >= every)),
            early_stop=int(self.early_stop()),
            failed=int(self.error is not None),
        )

    def agree(self, counts: Sequence[int] = ()) -> tuple[list[int], Request]:
        """Sum counts and requests over all processes, in one call that all of them make."""
        own = self.own()
        numbers = self.ranks.sum([*counts, *map(bool, own)])
        sums, (stop, *others) = numbers[: len(counts)], numbers[len(counts) :]
        return sums, Request(own.signal or bool(stop) * signal.SIGTERM, *others)

    def latest(self, agreed: Request) -> Request:
        """Return the current requests of a single process; else those agreed on for this step."""
        return self.own() if self.ranks.count == 1 else agreed

    def save_due(self, request: Request, progress: Progress) -> bool:
        """Return whether a checkpoint is due by images, time or epochs."""
        train = self.train
        epochs_done = 0 if progress.batch else progress.epoch - 1
        return bool(
            crossed(self.saved, progress.images, train.save_every)
            or request.save
            or (train.save_epochs and epochs_done and epochs_done % train.save_epochs == 0)
        )

    def note_save(self, progress: Progress) -> None:
        """Note that a checkpoint is being written."""
        self.saved, self.saved_at = progress.images, time.monotonic()

    def exception(self, request: Request) -> Exception:
        """Return the exception that ends the run as requested; all processes call it."""
        if request.failed:
            failed = self.ranks.all_gather(self.error is not None)
            return self.error or self._failure_of_others(failed)
        if request.signal:
            return RunStopped("interrupted", 128 + request.signal)
        return RunStopped(f"train.max_time, {self.train.max_time:g} minutes, is over", 75)

    def _failure_of_others(self, failed: Sequence[bool]) -> UserError:
        """Return the error of a process that ends because others failed."""
        names = " and ".join(str(index) for index, one in enumerate(failed) if one)
        time.sleep(REPORTING)
        return UserError(
            f"process {self.ranks.index} of {self.ranks.count} ends because process {names} "
            "failed, whose message states the reason; the run is saved"
        )


def crossed(before: int, after: int, every: int) -> bool:
    """Return whether something due every `every` images (0: never) has become due."""
    return bool(every) and after // every > before // every
