"""Signals that ask for an end, which comes after the step at hand."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """A list that SIGINT, SIGTERM and SIGUSR1 fill, so that a step is finished before the end.

    A second signal does what it did before. Outside the main thread nothing can be caught.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    names = ("SIGINT", "SIGTERM", "SIGUSR1")  # the last is what some schedulers send beforehand
    kinds = [kind for kind in signal.Signals if kind.name in names]
    before = {kind: signal.getsignal(kind) for kind in kinds}

    def ask(number: int, frame: object) -> None:
        asked.append(number)
        for kind, handler in before.items():
            signal.signal(kind, handler)

    for kind in before:
        signal.signal(kind, ask)
    try:
        yield asked
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
