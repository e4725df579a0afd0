"""A run is stopped at every place between start and exit; repeating the command loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import places
import pytest
from places import PLACES
from support import identical


class Whole(NamedTuple):
    """The data, the calls of each place, and what an uninterrupted run leaves."""

    data: Path
    calls: dict[str, int]
    left: dict[str, Any]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    data = places.make_data(folder / "data")
    calls = places.counted(data, folder / "run")
    return Whole(data, calls, places.left(folder / "run"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("small") / "disk"
    try:
        with places.disk(folder) as mounted:
            yield mounted
    except OSError as error:
        pytest.skip(f"a small disk cannot be mounted here: {error}")


# One member of each place: (place, its call from the first (1) or the last (-1), fault)
MEMBERS = [
    ("config.json", 1, "SIGTERM"), ("machine.json", 1, "exception"), ("step", 3, "SIGTERM"),
    ("log line", 2, "SIGKILL"), ("log of a step", -2, "SIGKILL"), ("look", -1, "SIGTERM"),
    ("diagnostics", 2, "exception"), ("sample grid", -1, "ENOSPC"),
    ("image of a sample grid or patch map", 4, "exception"), ("validation", 1, "SIGTERM"),
    ("image of a validation", -1, "SIGTERM"), ("best models", 1, "ENOSPC"),
    ("page", -1, "exception"), ("checkpoint", 2, "SIGKILL"), ("file of tensors", 8, "SIGKILL"),
    ("file in its place", -2, "SIGKILL"), ("best models published", 2, "SIGKILL"),
    ("models", 2, "ENOSPC"), ("EMA models", -1, "SIGTERM"), ("end of the log", 1, "SIGTERM"),
]  # fmt: skip


def check(whole: Whole, run: Path, name: str, call: int, fault: str) -> None:
    call = call if call > 0 else whole.calls[name] + 1 + call
    ended = places.hit(whole.data, run, name, call, fault)
    assert places.faults_of(ended, name, fault) == [], f"{ended}\n{ended.said}"
    places.repeated(whole.data, run)
    left = places.left(run)
    assert {part for part in left if not identical(left[part], whole.left[part])} == set()


QUICK = {"step", "diagnostics", "best models", "checkpoint"}  # one for each fault


@pytest.mark.parametrize(("name", "call", "fault"), [
    pytest.param(*member, marks=[] if member[0] in QUICK else pytest.mark.slow)
    for member in MEMBERS
])  # fmt: skip
def test_nothing_is_lost_at_any_place(
    name: str, call: int, fault: str, whole: Whole, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue("small") if fault == "ENOSPC" else tmp_path
    check(whole, folder / f"{name}-{call}", name, call, fault)


def test_every_place_has_a_member_and_is_passed(whole: Whole) -> None:
    assert {name for name, *_ in MEMBERS} == set(PLACES)
    assert all(whole.calls.values()), whole.calls


def test_a_look_before_the_save_loses_steps(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: a failure of a look that ends the run at once."""
    monkeypatch.setattr(
        "viceversa.training.run.Run.monitor_if_due",
        lambda run: run.monitor.run(run.log, run.progress),
    )
    ended = places.hit(whole.data, tmp_path / "run", "diagnostics", 1, "exception")
    assert "a failed look lost steps" in places.faults_of(ended, "diagnostics", "exception")[0]
