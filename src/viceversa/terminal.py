"""Messages and progress on standard output and standard error, and in the logger `viceversa`.

The streams may be missing, closed, full or a broken pipe; no write to them raises.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any

LOGGER = logging.getLogger("viceversa")
LOGGER.addHandler(logging.NullHandler())  # without a handler of the user, nothing is written
BAR_AFTER = 2.0  # seconds
LINE_EVERY = 10.0  # seconds
_quiet = 0  # number of `quiet` contexts that are open


class Output:
    """A stream whose writes never raise; `error` is the first failure, None if there was none.

    A lost line must not end a training run, and a command whose result was lost must not report
    success: the command line checks `error` at its end.
    """

    def __init__(self, stream: Any):
        """`stream`: a text or binary stream; None if the process has none."""
        self._stream = stream
        self._buffer: Output | None = None
        self._error: Exception | None = None

    @property
    def error(self) -> Exception | None:
        """The first failed write, of text or of bytes."""
        return self._error or (self._buffer.error if self._buffer else None)

    @property
    def buffer(self) -> Output:
        """The underlying binary stream, guarded too."""
        if self._buffer is None:
            self._buffer = Output(getattr(self._stream, "buffer", None))
        return self._buffer

    def write(self, content: Any) -> int:
        """Write text or bytes."""
        if self._stream is None:
            self._error = self._error or OSError(errno.EBADF, os.strerror(errno.EBADF))
        else:
            self._try(lambda: self._stream.write(content))
        return len(content)

    def flush(self) -> None:
        """Flush the stream."""
        if self._stream is not None:
            self._try(self._stream.flush)

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        try:
            return bool(self._stream is not None and self._stream.isatty())
        except (OSError, ValueError):  # it is closed
            return False

    def discard(self) -> None:
        """Redirect the stream to the null device: the interpreter flushes it once more at exit."""
        with suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def _try(self, write: Callable[[], object]) -> None:
        try:
            write()
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            self._error = self._error or error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def guarded() -> Iterator[tuple[Output, Output]]:
    """Guard sys.stdout and sys.stderr; yields both, and flushes them at the end."""
    out, err = Output(sys.stdout), Output(sys.stderr)
    streams: tuple[Any, Any] = out, err
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
        try:
            yield out, err
        finally:
            out.flush()
            err.flush()


def occupy_descriptors() -> None:
    """Open the null device where stdin, stdout or stderr is closed.

    A file opened later would get that number, and everything that libraries write to stderr.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


@contextmanager
def quiet(active: bool = True) -> Iterator[None]:
    """Write nothing to stdout and stderr while it is active; the logger still gets every message.

    It holds for the whole process, since threads report messages too.
    """
    global _quiet
    _quiet += active
    try:
        yield
    finally:
        _quiet -= active


def shows_progress(stream: Any) -> bool:
    """Return whether progress bars can be drawn on a stream: it is a terminal, and not `quiet`."""
    return not _quiet and Output(stream).isatty()


def say(text: str) -> None:
    """Print one line, and log it at level INFO."""
    LOGGER.info(text)
    if _quiet:
        return
    with suppress(OSError, ValueError):  # called from Python, stdout may be closed
        print(text, flush=True)


def silent(text: str) -> None:
    """Print nothing: `say` of the processes that are not the first one."""


class ProgressLines:
    """Progress as a line on stderr every `LINE_EVERY` seconds, for the logs of long jobs.

    Args:
        what: The work, such as "translating".
        unit: Name of the counted items, such as "images".
        clock: Returns the time in seconds.
    """

    def __init__(self, what: str, unit: str, clock: Callable[[], float] = time.monotonic):
        self._what, self._unit, self._clock = what, unit, clock
        self._began = self._line = clock()

    def __call__(self, done: float, total: int) -> None:
        """Write a line if the last one was long ago."""
        now = self._clock()
        if _quiet or now - self._line < LINE_EVERY:
            return
        self._line = now
        stream = Output(sys.stderr)
        about = pace(done, total, now - self._began, self._unit)
        stream.write(
            f"{self._what}: {_count(done)} of {total} {self._unit}{about and f', {about}'}\n"
        )
        stream.flush()


def _count(done: float) -> str:
    """Return a count as text; it is fractional if the last item is partly done."""
    return f"{done:.0f}" if done == int(done) else f"{done:.2f}"


def pace(done: float, total: int, seconds: float, unit: str) -> str:
    """Return the rate and the time left, as "3.4 images/s, 1:52 left"."""
    if not done or seconds <= 0:
        return ""
    left = f", {duration(seconds / done * (total - done))} left" if done < total else ""
    rate = done / seconds
    return f"{rate:.0f} {unit}/s{left}" if rate >= 100 else f"{rate:.3g} {unit}/s{left}"


def duration(seconds: float) -> str:
    """Return a duration as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def counter(
    what: str, unit: str = "", clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[float, int], None]]:
    """Yield a function of (done, total) that updates a progress bar on stderr.

    `done` may be fractional.

    Args:
        what: The work, such as "translating".
        unit: Name of the counted items. With a unit, the bar appears after `BAR_AFTER` seconds and
            shows the rate, and without a terminal a line is written every `LINE_EVERY` seconds.
            Without a unit, nothing is written without a terminal.
        clock: Returns the time in seconds.
    """
    stream: Any = Output(sys.stderr)
    if not shows_progress(sys.stderr):
        yield ProgressLines(what, unit, clock) if unit else lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    last: ProgressColumn = TextColumn("{task.fields[pace]}") if unit else TimeRemainingColumn()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), last
    began = clock()
    bar = Progress(*columns, console=Console(file=stream), redirect_stdout=False)
    task = bar.add_task(what, pace="")
    if not unit:
        bar.start()

    def update(done: float, total: int) -> None:
        seconds = clock() - began
        bar.update(task, completed=done, total=total, pace=pace(done, total, seconds, unit))
        if seconds >= BAR_AFTER:
            bar.start()  # nothing happens if it was started before

    try:
        yield update
    finally:
        bar.stop()
