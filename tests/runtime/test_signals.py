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
    """Handlers that raise, so that a signal that is not caught does not end the tests."""
    before = {one: signal.signal(one, end) for one in SIGNALS}
    yield
    for one, handler in before.items():
        signal.signal(one, handler)


class Ended(Exception):
    pass


def end(number: int, frame: object) -> None:
    raise Ended(number)


def send(*signals: signal.Signals) -> None:
    for one in signals:
        os.kill(os.getpid(), one)


@pytest.mark.parametrize("kind", SIGNALS)
def test_a_signal_is_collected_and_the_handler_comes_back(kind: signal.Signals) -> None:
    with collect_stop_signals() as asked:
        send(kind)
        assert asked == [kind]
    with pytest.raises(Ended):
        send(kind)


@pytest.mark.parametrize(("first", "second"), [
    (signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM),
    (signal.SIGUSR1, signal.SIGINT),
])  # fmt: skip
def test_a_second_signal_has_its_previous_effect(
    first: signal.Signals, second: signal.Signals
) -> None:
    with collect_stop_signals() as asked:
        send(first)
        with pytest.raises(Ended):
            send(second)
        assert asked == [first]


@pytest.mark.parametrize("sent", [
    [signal.SIGHUP, signal.SIGHUP, signal.SIGHUP], [signal.SIGHUP, signal.SIGTERM],
    [signal.SIGTERM, signal.SIGHUP], [signal.SIGHUP, signal.SIGHUP, signal.SIGINT, signal.SIGHUP],
])  # fmt: skip
def test_a_hangup_never_counts_as_a_second_signal(sent: list[signal.Signals]) -> None:
    with collect_stop_signals() as asked:
        send(*sent)
        assert asked == sent


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with collect_stop_signals() as asked:
        send(signal.SIGHUP)
        assert asked == [] and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_nohup_keeps_a_process_alive() -> None:
    code = (
        "import os, signal; from viceversa.runtime.signals import collect_stop_signals\n"
        "with collect_stop_signals() as asked: os.kill(os.getpid(), signal.SIGHUP)\n"
        "print(asked)"
    )
    done = subprocess.run(
        ["nohup", sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
