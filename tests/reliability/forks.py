"""Processes that are made to die: children of this one, that have torch loaded already."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress

FAILED = 70  # the exit code of a child whose work raised


class Child:
    """A process, and the end of a pipe that it writes to."""

    def __init__(self, process: int, pipe: int):
        self.process, self.pipe = process, pipe
        self.status: int | None = None
        self.ended_at = 0.0

    def send(self, number: int) -> None:
        os.kill(self.process, number)

    def poll(self) -> bool:
        if self.status is None:
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                self.status, self.ended_at = os.waitstatus_to_exitcode(status), time.monotonic()
        return self.status is not None

    def wait(self, seconds: float) -> int | None:
        """The exit code, or minus the signal; None, and the child killed, after that time."""
        ends = time.monotonic() + seconds
        while not self.poll():
            if time.monotonic() > ends:
                self.kill()
                return None
            time.sleep(0.001)
        return self.status

    def kill(self) -> None:
        if not self.poll():
            with suppress(ProcessLookupError):
                self.send(signal.SIGKILL)
            _, status = os.waitpid(self.process, 0)
            self.status, self.ended_at = os.waitstatus_to_exitcode(status), time.monotonic()

    def said(self) -> bytes:
        """All that was written to the pipe, once the child has ended; closes it."""
        with open(self.pipe, "rb") as file:
            return file.read()


def fork(work: Callable[[int], object]) -> Child:
    """Run `work` in a child, with the number of a pipe to write to."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # From 3.12 on Python warns where threads run: a child does no more than its work.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process:
        os.close(writing)
        return Child(process, reading)
    code = FAILED
    try:
        os.close(reading)
        work(writing)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else FAILED
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(code)
