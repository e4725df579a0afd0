"""A signal ends training after the step it is at, with all of it saved (promise C8)."""

from __future__ import annotations

import signal
from contextlib import nullcontext
from pathlib import Path

import pytest
import stops
from runs import make_data

from viceversa.training import loop as training


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path / "data")


@pytest.mark.parametrize(("kind", "after"), [
    (signal.SIGTERM, 0.0), (signal.SIGTERM, 0.05), (signal.SIGTERM, 0.11), (signal.SIGTERM, 0.2),
    (signal.SIGINT, 0.13), (signal.SIGUSR1, 0.07),
])  # fmt: skip
def test_all_is_saved_when_a_signal_ends_a_run(
    data: Path, tmp_path: Path, kind: signal.Signals, after: float
) -> None:
    stop = stops.stopped(data, tmp_path / "run", kind, after)
    assert stop.durable and stop.seconds < 5, stop


@pytest.mark.parametrize(("kind", "code"), [
    (signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130), (signal.SIGUSR1, -signal.SIGUSR1),
])  # fmt: skip
def test_a_second_signal_ends_it_at_once(
    data: Path, tmp_path: Path, kind: signal.Signals, code: int
) -> None:
    ended, seconds = stops.twice(data, tmp_path / "run", kind)
    assert ended == code and seconds < 1


def test_a_run_that_catches_no_signal_loses_its_steps(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "collect_stop_signals", lambda: nullcontext([]))
    stop = stops.stopped(data, tmp_path / "run", signal.SIGTERM, 0.1)
    assert not stop.durable and stop.code == -signal.SIGTERM
    assert stop.told > stop.saved == 0
