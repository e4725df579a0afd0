"""Pass a run's log to a logger in another process, without waiting for it."""

from __future__ import annotations

import json
import math
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...run_log import Entry

QUEUED = 1000  # entries that wait for a slow logger; more are left out
TIMEOUT = 30.0  # seconds in which a logger must finish when the run ends


class BackgroundLogger:
    """A logger in another process, which can neither stop nor slow the run.

    A daemon thread writes entries from a bounded queue to the process. If the queue is full,
    entries are left out and counted. An error in the logger is reported once, and nothing is logged
    after it. A process that does not end in time is killed.

    Args:
        title: Name of the logger in messages.
        command: Command line of the process, which calls `child.serve`.
        about: Fields of `child.About`.
        report: Function that reports a message.
        queued: Size of the queue.
        timeout: Seconds from `finish` until `close` ends the process.
    """

    def __init__(
        self,
        title: str,
        command: Sequence[str],
        about: Mapping[str, Any],
        report: Callable[[str], None],
        queued: int = QUEUED,
        timeout: float = TIMEOUT,
    ):
        self.title, self.timeout, self.dropped = title, timeout, 0
        self._report = report
        self._queue: queue.Queue[Any] = queue.Queue(queued)
        self._process: subprocess.Popen[bytes] | None = None
        self._off = threading.Event()  # set after an error
        self._deadline = math.inf
        work = threading.Thread(target=self._run, args=(command, about), daemon=True)
        self._thread = work
        work.start()

    def log(self, entry: Entry) -> None:
        """Log an entry of the log."""
        self._send({"entry": entry})

    def image(self, kind: str, images: int, path: Path) -> None:
        """Log an image file: a grid of `samples` or `patch_maps` after so many images."""
        self._send({"image": [kind, images, str(path.absolute())]})

    def finish(self) -> None:
        """Log nothing more, and let the logger finish; returns at once."""
        self._deadline = time.monotonic() + self.timeout
        if self._off.is_set():
            return
        try:
            self._queue.put_nowait(None)
        except queue.Full:  # one entry less, so that the end fits in
            with suppress(queue.Empty):
                self._queue.get_nowait()
                self.dropped += 1
            self._queue.put_nowait(None)

    def close(self) -> None:
        """Wait until the logger has finished, or end it after the timeout."""
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        if self._thread.is_alive():
            self._fail(f"did not finish within {self.timeout:g} s; its log is incomplete")
            if self._process is not None:
                self._process.kill()
            self._thread.join(self.timeout)
        if self.dropped:
            self._report(f"{self.title} was too slow: {self.dropped} log entries are missing there")

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._off.is_set():
            return
        try:
            self._queue.put_nowait(message)
        except queue.Full:
            if not self.dropped:
                self._report(f"{self.title} is too slow: log entries are left out there")
            self.dropped += 1

    def _fail(self, reason: str) -> None:
        if not self._off.is_set():
            self._off.set()
            self._report(f"{self.title} {reason}")

    def _run(self, command: Sequence[str], about: Mapping[str, Any]) -> None:
        """Start the process and write to it, in the thread."""
        answer: dict[str, str] = {}
        try:
            with subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C ends the run, which then ends the logger
            ) as self._process:
                answer = self._write_all(self._process, about)
        except OSError as error:
            answer = {"error": error.strerror or str(error)}
        if "closed" not in answer:
            reason = answer.get("error", "its process ended")
            self._fail(f"failed ({reason}); training continues without it")

    def _write_all(
        self, process: subprocess.Popen[bytes], about: Mapping[str, Any]
    ) -> dict[str, str]:
        """Write everything from the queue to the process; return its last answer."""
        assert process.stdin is not None and process.stdout is not None
        answer = {}
        with suppress(BrokenPipeError):  # the process has ended; its last answer is the reason
            _write(process, about)
            answer = _answer(process.stdout.readline())
            if address := answer.get("opened"):
                self._report(f"{self.title}: {address}")
            for message in iter(self._queue.get, None) if "opened" in answer else ():
                _write(process, message)
        with suppress(BrokenPipeError):
            process.stdin.close()
        return _answer(process.stdout.readline()) or answer


def _write(process: subprocess.Popen[bytes], message: Mapping[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()


def _answer(line: bytes) -> dict[str, str]:
    """Return an answer of the process, empty if it has ended without one."""
    try:
        answer = json.loads(line)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
