"""Wait for a file with a time limit that does not count time in which the process stood still."""

from __future__ import annotations

import time
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")
TICK = 0.25  # seconds
MOST = 4 * TICK  # seconds that a tick counts at most


class TooLate(Exception):
    """The time limit is over."""


def patient(future: Future[T], seconds: float) -> T:
    """Return a future's result, or raise its error.

    The wait is divided into ticks. A tick that took much longer than it should is one in which the
    whole process was stopped (Ctrl-Z, SIGSTOP, a suspended machine) or swapped out, and its file
    could not be read either: it counts as `MOST` seconds.

    Raises:
        TooLate: The result did not come within `seconds`, without such gaps.
    """
    waited = 0.0
    while waited < seconds:
        began = time.monotonic()
        if wait([future], min(TICK, seconds - waited)).done:
            return future.result()
        waited += min(time.monotonic() - began, MOST)
    if future.done():
        return future.result()
    raise TooLate
