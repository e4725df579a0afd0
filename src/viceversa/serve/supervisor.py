"""Start several worker processes that share a socket, monitor them, and replace failed workers.

At regular intervals, the supervisor sends each worker the counts of the other workers, and the
worker answers with a report. A worker stops if it receives None, or if the supervisor has ended.
"""

from __future__ import annotations

import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType

from ..errors import UserError
from .address import address
from .metrics import Counts
from .reports import GONE, Report
from .settings import GRACE_SECONDS, SIGNALS, ServeSettings

LOGGER = logging.getLogger("viceversa.serve")
BEAT_SECONDS = 0.25  # time between two reports of a worker
SILENT_SECONDS = 10.0  # a worker that sends no report for this time is replaced
STALLED_SECONDS = 2.0  # time in which a stalled worker refuses its waiting requests
END_SECONDS = GRACE_SECONDS + 5
MOST_DELAY = 30.0  # maximum time before the next try to start a worker


@dataclass
class Worker:
    """Worker process, with its connection and its latest report."""

    process: BaseProcess
    channel: Connection
    heard: float = field(default_factory=time.monotonic)
    """Time of the latest report."""
    report: Report = field(default_factory=Report)
    asked: bool = False
    """Whether a report is expected."""

    def receive(self) -> None:
        """Receive the reports that have arrived."""
        with suppress(*GONE):
            while self.channel.poll():
                self.report = self.channel.recv()
                self.heard, self.asked = time.monotonic(), False

    def send(self, others: Counts | None) -> None:
        """Send the counts of the other workers; None: stop."""
        with suppress(*GONE):
            self.channel.send(others)
            self.asked = True

    def kill(self) -> None:
        """Kill the worker."""
        self.process.kill()
        self.channel.close()  # ends the worker even if the fork server was killed

    @property
    def failure(self) -> str:
        """Reason to replace the worker; empty: it works."""
        if not self.process.is_alive():
            return "ended"
        if self.report.stalled:
            return "takes longer than --timeout for a translation"
        if self.report.ready and self.asked and time.monotonic() - self.heard > SILENT_SECONDS:
            return f"does not respond for {SILENT_SECONDS:g} s"
        return ""


class Supervisor:
    """Supervisor of the workers of a service.

    Args:
        models: Models of the command line.
        settings: Options of the service.
        token: Token that clients must send; empty: no token is needed.
        ready: Called with the address and the descriptions of the models by name, once all workers
            accept images.
    """

    def __init__(
        self,
        models: Sequence[str],
        settings: ServeSettings,
        token: str,
        ready: Callable[[str, dict[str, str]], None],
    ) -> None:
        self._options = list(models), settings, token
        self._count, self._ready = settings.workers, ready
        self._workers: list[Worker] = []
        self._stalled: list[tuple[Worker, float]] = []
        """Replaced workers that have not ended yet, and the times at which they are killed."""
        self._past = Counts()  # counts of workers that have ended
        self._stopping, self._delay, self._next_start = False, 0.0, 0.0
        # Workers are forked from a process that has loaded torch, but computed nothing: they start
        # within one second instead of several, and share memory.
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload([f"{__package__}.worker"])

    def run(self, bound: socket.socket) -> None:
        """Serve until a signal. Raises UserError if a worker cannot start at first."""
        with self._signals():
            try:
                self._run(bound)
            finally:
                for worker in [*self._workers, *(one for one, _ in self._stalled)]:
                    worker.kill()

    def _run(self, bound: socket.socket) -> None:
        announced = False
        while not self._stopping:
            while len(self._workers) < self._count and time.monotonic() >= self._next_start:
                try:
                    self._start(bound, early=not (announced or self._workers))
                except OSError as error:
                    text = f"a worker cannot be started: {error}"
                    if not announced:
                        raise UserError(text, option="--workers") from None
                    LOGGER.warning(text)
                    self._postpone()
            wait([one.process.sentinel for one in self._workers], BEAT_SECONDS)
            for worker in list(self._workers):
                worker.receive()
                if not self._stopping and (reason := worker.failure):
                    self._remove(worker, reason, announced)
            for worker in self._workers:
                if not worker.asked:
                    worker.send(self._counts_without(worker))
            self._kill_stalled()
            started = sum(one.report.ready for one in self._workers)
            if not announced and started == self._count:
                announced = True
                self._ready(address(bound), self._workers[0].report.models)
        bound.close()
        self._stop()

    def _start(self, bound: socket.socket, early: bool) -> None:
        here, there = self._context.Pipe()
        # The function is passed by name, since this process does not load torch.
        process = self._context.Process(
            target=run_worker, args=(*self._options, bound, there, early), name="viceversa worker"
        )
        process.start()
        there.close()
        self._workers.append(Worker(process, here))

    def _remove(self, worker: Worker, reason: str, announced: bool) -> None:
        """Remove a failed worker. Its replacement starts at once, or later after a failed start."""
        self._workers.remove(worker)
        report = worker.report
        if not report.ready and not announced:
            text = report.error or "the server could not start; the reason is on standard error"
            raise UserError(text)
        LOGGER.warning(
            "a worker %s; it is replaced%s", reason, report.error and f": {report.error}"
        )
        if report.stalled:
            worker.send(None)
            self._stalled.append((worker, time.monotonic() + STALLED_SECONDS))
        else:
            worker.kill()
        self._past.add(report.counts.without_gauges())
        self._past.values["worker_restarts_total", ()] += 1
        if report.ready:
            self._delay = 0.0
        else:
            self._postpone()

    def _postpone(self) -> None:
        """Wait before the next start, longer after each failure."""
        self._delay = min(MOST_DELAY, 2 * self._delay + 1)
        self._next_start = time.monotonic() + self._delay

    def _kill_stalled(self) -> None:
        now = time.monotonic()
        for worker, end in list(self._stalled):
            if now > end:
                worker.kill()
                self._stalled.remove((worker, end))

    def _counts_without(self, worker: Worker) -> Counts:
        counts = Counts()
        counts.add(self._past)
        for one in self._workers:
            if one is not worker:
                counts.add(one.report.counts)
        return counts

    def _stop(self) -> None:
        """End all workers after their requests in progress."""
        for worker in self._workers:
            worker.send(None)
        end = time.monotonic() + END_SECONDS
        for worker in self._workers:
            worker.process.join(max(0.0, end - time.monotonic()))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop at the first SIGINT or SIGTERM; at the second, at once."""

        def stop(sig: int, frame: FrameType | None) -> None:
            if self._stopping:
                for worker in self._workers:
                    worker.process.kill()
                signal.signal(sig, signal.SIG_DFL)
                signal.raise_signal(sig)
            self._stopping = True

        before = {kind: signal.signal(kind, stop) for kind in SIGNALS}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)


def run_worker(*arguments: object) -> None:
    """Run a worker. The import is here, since the supervisor does not load torch."""
    from .worker import work

    work(*arguments)  # type: ignore[arg-type]
