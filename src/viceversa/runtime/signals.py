"""Stop signals, collected until the current step is finished and saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SIGNALS = "SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"  # some schedulers send SIGUSR1 first


@contextmanager
def collect_stop_signals() -> Iterator[list[int]]:
    """Collect stop signals in a list, so that the current step is finished and saved first.

    A second signal has its previous effect: it ends the process. SIGHUP is an exception. A closing
    terminal may send it several times, and other signals with it, so it never counts as a second
    signal, nor as the first of two. If it is ignored (nohup), it stays ignored. Outside the main
    thread, no signal is caught.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    hangup = getattr(signal, "SIGHUP", None)
    kinds = [kind for kind in signal.Signals if kind.name in STOP_SIGNALS]
    before = {kind: signal.getsignal(kind) for kind in kinds}
    if hangup and before[hangup] == signal.SIG_IGN:
        del before[hangup]

    def receive(number: int, frame: object) -> None:
        received.append(number)
        if number == hangup:
            return
        for kind, handler in before.items():
            if kind != hangup:
                signal.signal(kind, handler)

    for kind in before:
        signal.signal(kind, receive)
    try:
        yield received
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextmanager
def keep_handlers() -> Iterator[None]:
    """Set the handlers of stop signals again after a library has replaced them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {kind: signal.getsignal(kind) for kind in signal.Signals if kind.name in STOP_SIGNALS}
    yield
    for kind, handler in before.items():
        signal.signal(kind, handler)
