"""Stop signals are collected; a second one ends the process, except SIGHUP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from viceversa.runtime.signals import collect_stop_signals

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Install handlers that raise, so that signals do not end the test process."""
    before = {number: signal.signal(number, end) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Ended(Exception):
    pass


def end(number: int, frame: object) -> None:
    raise Ended(number)


def send(*signals: signal.Signals) -> None:
    for number in signals:
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("kind", SIGNALS)
def test_a_signal_is_collected_and_the_previous_handler_restored(kind: signal.Signals) -> None:
    with collect_stop_signals() as received:
        send(kind)
        assert received == [kind]
    with pytest.raises(Ended):
        send(kind)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGINT, signal.SIGTERM),
        (signal.SIGUSR1, signal.SIGINT),
    ],
)
def test_a_second_signal_has_its_previous_effect(
    first: signal.Signals, second: signal.Signals
) -> None:
    with collect_stop_signals() as received:
        send(first)
        with pytest.raises(Ended):
            send(second)
        assert received == [first]


@pytest.mark.parametrize(
    "sent",
    [
        [signal.SIGHUP, signal.SIGHUP, signal.SIGHUP],
        [signal.SIGHUP, signal.SIGTERM],
        [signal.SIGTERM, signal.SIGHUP],
        [signal.SIGHUP, signal.SIGHUP, signal.SIGINT, signal.SIGHUP],
    ],
)
def test_a_hangup_never_counts_as_a_second_signal(sent: list[signal.Signals]) -> None:
    with collect_stop_signals() as received:
        send(*sent)
        assert received == sent


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with collect_stop_signals() as received:
        send(signal.SIGHUP)
        assert received == [] and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_nohup_keeps_a_process_alive() -> None:
    code = (
        "import os, signal; from viceversa.runtime.signals import collect_stop_signals\n"
        "with collect_stop_signals() as received: os.kill(os.getpid(), signal.SIGHUP)\n"
        "print(received)"
    )
    done = subprocess.run(
        ["nohup", sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
