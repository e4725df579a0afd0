"""Sample grids by elapsed time and at stops change nothing but the grids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from monitored_runs import lines, noise_splits, settings
from support import CLOCK, checkpoint_state, identical, raises_user_error, sigterm_after

from viceversa.errors import RunStopped
from viceversa.training import intervals as intervals
from viceversa.training import loop as training
from viceversa.training.intervals import Schedule
from viceversa.training.log import Log

MONITORING = {"validate": {"every": 4, "health": 3}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_splits(tmp_path_factory.mktemp("grids"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list whose only element, set by the test, is the time in seconds."""
    now = [1000.0]
    monkeypatch.setattr(intervals.time, "monotonic", lambda: now[0])
    return now


def grids(run: Path) -> list[int]:
    return sorted(int(path.stem) for path in (run / "samples").glob("*.png"))


# sample_minutes, then (seconds since the start, images, whether a grid is due)
@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        (10.0, [(59, 1, False), (60, 2, True), (61, 3, False), (659, 4, False), (660, 5, True)]),
        (0.5, [(29, 1, False), (30, 2, True), (59, 3, False), (60, 4, True)]),
        (0.0, [(60, 1, False), (10**9, 2, False)]),
        # sample_every is reached at 2000 images; the time counts from that grid
        (10.0, [(30, 2000, True), (60, 2001, False), (630, 2002, True)]),
    ],
)
def test_when_a_grid_is_due(
    minutes: float, expected: list[tuple[float, int, bool]], clock: list[float], tmp_path: Path
) -> None:
    more = {"train": {"sample_minutes": minutes, "sample_every": 2000}}
    plan = Schedule(settings("pix2pix", tmp_path, tmp_path / "run", **more))
    for seconds, images, due in expected:
        clock[0] = 1000.0 + seconds
        assert plan.due(images).draw == due, (seconds, images)
        if due:
            plan.note_drawn(images)
        plan.monitored = images


def state_and_log(run: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    log = [*lines(run, "train"), *lines(run, "validation"), *lines(run, "diagnostic")]
    return checkpoint_state(run), [{k: v for k, v in one.items() if k not in CLOCK} for one in log]


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_grids_by_time_change_neither_state_nor_log(
    name: str, data: Path, tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_clock = training.train(settings(name, data, tmp_path / "calm", **MONITORING))
    assert grids(without_clock) == [0, 12]
    step = Log.add

    def add_slowly(self: Log, *details: Any) -> None:
        step(self, *details)
        clock[0] += 25

    monkeypatch.setattr(Log, "add", add_slowly)
    more = {"train": {"sample_minutes": 2.0}, **MONITORING}
    with_clock = training.train(settings(name, data, tmp_path / "busy", **more))
    assert grids(with_clock) == [0, 3, 8, 12]  # after 75 s and after another 125 s
    assert identical(state_and_log(with_clock), state_and_log(without_clock))


def test_a_stop_draws_a_grid(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = settings("pix2pix", data, tmp_path)
    with monkeypatch.context() as patch:
        sigterm_after(patch)(5)
        with pytest.raises(RunStopped):
            training.train(run)
    assert grids(tmp_path) == [0, 5]
    training.train(run)
    assert grids(tmp_path) == [0, 5, 12]


def test_samples_0_draws_no_grid(data: Path, tmp_path: Path) -> None:
    with pytest.raises(RunStopped):
        training.train(settings("pix2pix", data, tmp_path, train={"samples": 0, "max_time": 1e-9}))
    assert not (tmp_path / "samples").exists()


def test_a_negative_time_is_refused(data: Path, tmp_path: Path) -> None:
    with raises_user_error("train.sample_minutes"):
        settings("pix2pix", data, tmp_path, train={"sample_minutes": -1.0})
