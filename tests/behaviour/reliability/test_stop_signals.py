"""A stop signal ends training after the current step, with everything saved (promise C8)."""

from __future__ import annotations

import signal
from contextlib import nullcontext
from pathlib import Path

import pytest
import stopped_runs
from short_runs import write_pairs

from viceversa.training import loop as training

pytestmark = pytest.mark.slow


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "data")


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        (signal.SIGTERM, 0.0),
        (signal.SIGTERM, 0.05),
        (signal.SIGTERM, 0.11),
        (signal.SIGTERM, 0.2),
        (signal.SIGINT, 0.13),
        (signal.SIGUSR1, 0.07),
    ],
)
def test_a_signal_ends_a_run_with_everything_saved(
    data: Path, tmp_path: Path, kind: signal.Signals, after: float
) -> None:
    stop = stopped_runs.stop_run(data, tmp_path / "run", kind, after)
    assert stop.durable and stop.seconds < 5, stop


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (signal.SIGTERM, -signal.SIGTERM),
        (signal.SIGINT, 130),
        (signal.SIGUSR1, -signal.SIGUSR1),
    ],
)
def test_a_second_signal_ends_a_run_at_once(
    data: Path, tmp_path: Path, kind: signal.Signals, code: int
) -> None:
    exit_code, seconds = stopped_runs.stop_twice(data, tmp_path / "run", kind)
    assert exit_code == code and seconds < 1


def test_control_a_run_that_ignores_signals_loses_its_steps(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "collect_stop_signals", lambda: nullcontext([]))
    stop = stopped_runs.stop_run(data, tmp_path / "run", signal.SIGTERM, 0.1)
    assert not stop.durable and stop.code == -signal.SIGTERM
    assert stop.reported > stop.saved == 0
