"""Sample grids by time and at stops: pictures only."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from monitored_runs import data_set, lines, settings
from support import checkpoint_state, identical

from viceversa.errors import RunStopped, UserError
from viceversa.training import intervals as schedule
from viceversa.training import loop as training
from viceversa.training.intervals import Schedule
from viceversa.training.log import Log

LOOKS = {"validate": {"every": 4, "health": 3}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_set(tmp_path_factory.mktemp("grids"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, which a test sets."""
    now = [1000.0]
    monkeypatch.setattr(schedule.time, "monotonic", lambda: now[0])
    return now


def grids(run: Path) -> list[int]:
    return sorted(int(path.stem) for path in (run / "samples").glob("*.png"))


# Minutes between grids; then (seconds since the start, images, whether a grid is drawn)
@pytest.mark.parametrize(("minutes", "moments"), [
    (10.0, [(59, 1, False), (60, 2, True), (61, 3, False), (659, 4, False), (660, 5, True)]),
    (0.5, [(29, 1, False), (30, 2, True), (59, 3, False), (60, 4, True)]),
    (0.0, [(60, 1, False), (10**9, 2, False)]),
    # 2000 images bring a grid too, and the time counts from it
    (10.0, [(30, 2000, True), (60, 2001, False), (630, 2002, True)]),
])  # fmt: skip
def test_when_a_grid_is_due(
    minutes: float, moments: list[tuple[float, int, bool]], clock: list[float], tmp_path: Path
) -> None:
    more = {"train": {"sample_minutes": minutes, "sample_every": 2000}}
    plan = Schedule(settings("pix2pix", tmp_path, tmp_path / "run", **more))
    for seconds, images, drawn in moments:
        clock[0] = 1000.0 + seconds
        assert plan.due(images).draw == drawn, (seconds, images)
        if drawn:
            plan.note_drawn(images)
        plan.monitored = images


def learned(run: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    log = [*lines(run, "losses"), *lines(run, "validation"), *lines(run, "health")]
    return checkpoint_state(run), [
        {k: v for k, v in one.items() if k != "images_per_s"} for one in log
    ]


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_the_clock_changes_pictures_alone(
    name: str, data: Path, tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = training.train(settings(name, data, tmp_path / "calm", **LOOKS))
    assert grids(calm) == [0, 12]
    step = Log.add

    def slowly(self: Log, *details: Any) -> None:
        step(self, *details)
        clock[0] += 25

    monkeypatch.setattr(Log, "add", slowly)
    more = {"train": {"sample_minutes": 2.0}, **LOOKS}
    busy = training.train(settings(name, data, tmp_path / "busy", **more))
    assert grids(busy) == [0, 3, 8, 12]  # after 75 s, and 2 minutes later
    assert identical(learned(busy), learned(calm))


def test_a_stop_draws_a_grid(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = settings("pix2pix", data, tmp_path)
    step = Log.add

    def stopping(self: Log, *details: Any) -> None:
        step(self, *details)
        if self.done == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Log, "add", stopping)
        with pytest.raises(RunStopped):
            training.train(run)
    assert grids(tmp_path) == [0, 5]
    training.train(run)
    assert grids(tmp_path) == [0, 5, 12]


def test_no_grid_is_drawn_where_none_is_wanted(data: Path, tmp_path: Path) -> None:
    with pytest.raises(RunStopped):
        training.train(settings("pix2pix", data, tmp_path,
                                train={"samples": 0, "max_time": 1e-9}))  # fmt: skip
    assert not (tmp_path / "samples").exists()


def test_a_negative_time_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.sample_minutes must be at least 0"):
        settings("pix2pix", data, tmp_path, train={"sample_minutes": -1.0})
